#!/usr/bin/env bash
# compile_cost.sh SOURCE_DIR SCRATCH_DIR COMPILER [FLAG...]: FLAG tells where Eigen is.
# Compiling rlgaf.hpp alone costs at most 0.75 of compiling Eigen/Core alone. Processor time; other programs only ever add
# to it, so the least of a fixed number of runs that take turns.
set -euo pipefail
limit=0.75
runs=9
source=$1 scratch=$2 compiler=$3
shift 3
mkdir -p "$scratch"
cd "$scratch"
echo '#include "rlgaf/rlgaf.hpp"' > umbrella.cpp
echo '#include <Eigen/Core>' > eigen.cpp
if ! "$compiler" -std=c++20 "$@" -fsyntax-only eigen.cpp 2> /dev/null; then
    echo "no Eigen here, nothing to compare with"
    exit 0
fi
"$compiler" -std=c++20 -I "$source/include" -fsyntax-only umbrella.cpp
flags=(-std=c++20 -I "$source/include" "$@" -fsyntax-only)
TIMEFORMAT=%U
cost() { { time "$compiler" "${flags[@]}" "$1" 2> /dev/null; } 2>&1; }
least() { sort -n "$1" | head -n 1; }
: > umbrella.times
: > eigen.times
for ((i = 0; i < runs; ++i)); do
    cost umbrella.cpp >> umbrella.times
    cost eigen.cpp >> eigen.times
done
awk -v ours="$(least umbrella.times)" -v theirs="$(least eigen.times)" -v limit=$limit 'BEGIN {
    printf "rlgaf.hpp %.2f s, Eigen/Core %.2f s, ratio %.2f, at most %.2f\n", ours, theirs, ours / theirs, limit
    exit ours / theirs > limit
}'
