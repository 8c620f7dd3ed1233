#!/usr/bin/env bash
# compile_cost.sh SOURCE_DIR SCRATCH_DIR COMPILER [FLAG...]: FLAG tells where Eigen is.
# Compiling rlgaf.hpp alone costs at most 0.75 of compiling Eigen/Core alone, in processor time of a fixed number of runs
# that take turns. Two measures of the same ratio, because what disturbs them differs: least by least stands short
# disturbances, the middle one of the ratios of neighbours stands a machine that slows down for a while. One has to hold.
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
middle() { sort -n "$1" | sed -n "$((runs / 2 + 1))p"; }
: > umbrella.times
: > eigen.times
for ((i = 0; i < runs; ++i)); do
    cost umbrella.cpp >> umbrella.times
    cost eigen.cpp >> eigen.times
done
paste umbrella.times eigen.times | awk '{ print $1 / $2 }' > ratios
awk -v ours="$(least umbrella.times)" -v theirs="$(least eigen.times)" -v middle="$(middle ratios)" -v limit=$limit 'BEGIN {
    least = ours / theirs
    printf "rlgaf.hpp %.2f s, Eigen/Core %.2f s, ratio %.2f, median of ratios %.2f, at most %.2f\n", ours, theirs, least, middle, limit
    exit least > limit && middle > limit
}'
