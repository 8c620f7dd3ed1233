#!/usr/bin/env bash
# benchmarks.sh SOURCE_DIR SCRATCH_DIR COMPILER [FLAG...]: FLAG tells where packages are.
# The benchmarks' sources still fit the library. Optimising them would take minutes, which benchmarks/run.sh spends.
set -euo pipefail
source=$1 compiler=$3
shift 3
for file in "$source"/benchmarks/*.cpp "$source"/benchmarks/support/*.cpp; do
    [[ $file == *_o2.cpp ]] && continue  # another, built with other flags
    "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
        "-DRLGAF_BENCHMARKS_DIR=\"$source/benchmarks\"" -I "$source/include" -I "$source/benchmarks" -I "$source/examples" \
        "$@" "$file"
    echo "$(basename "$file") compiles"
done
