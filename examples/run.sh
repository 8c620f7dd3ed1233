#!/usr/bin/env bash
# examples/run.sh [NAME] [ARGUMENTS]: installs what is missing, builds one example and runs it (default: align_words).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../tests/support/setup.sh"

if [[ $# -gt 0 && $1 == --* && $1 != --help ]]; then
    set -- align_words "$@"  # arguments alone are those of the default
fi
name=${1:-align_words}
[[ $# -gt 0 ]] && shift
if [[ $name == align_words ]]; then
    want_packages "a built-in generator of invented languages takes the place of word lists" \
        wamerican wfrench wngerman wspanish witalian
fi
run_program examples example "$name" "$@"
