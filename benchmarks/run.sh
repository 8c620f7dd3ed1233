#!/usr/bin/env bash
# benchmarks/run.sh [NAME] [ARGUMENTS]: installs what is missing, builds one benchmark and runs it (default: the first).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../tests/support/setup.sh"

first=$(find "$root/benchmarks" -maxdepth 1 -name '*.cpp' -exec basename {} .cpp \; | LC_ALL=C sort | head -n 1)
if [[ $# -gt 0 && $1 == --* && $1 != --help && -n $first ]]; then
    set -- "$first" "$@"  # arguments alone are those of the default
fi
name=${1:-${first:---help}}
[[ $# -gt 0 ]] && shift
if grep -qsE 'dict|load_words' "$root/benchmarks/$name.cpp"; then
    want_packages "a built-in generator of invented languages takes the place of word lists" \
        wamerican wfrench wngerman wspanish witalian
fi
run_program benchmarks benchmark "$name" "$@"
