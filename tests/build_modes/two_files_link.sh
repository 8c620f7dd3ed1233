#!/usr/bin/env bash
# two_files_link.sh SOURCE_DIR SCRATCH_DIR COMPILER
# The same headers in two files of one program: a function that is not inline would be defined twice. The files differ
# in what they allow of NaN, so the ABI tag has to keep their definitions apart as well.
set -euo pipefail
mkdir -p "$2"
cd "$2"
{
    echo '#include "rlgaf/rlgaf.hpp"'
    # The leaves that need the standard library only.
    find "$1/include/rlgaf/data" -name '*.hpp' | LC_ALL=C sort | while read -r header; do
        grep -qE '^# *include *<(fmt|nlohmann|xtensor|Eigen)/' "$header" || echo "#include \"$header\""
    done
} > headers.hpp
cat > first.cpp <<'CPP'
#include "headers.hpp"
bool sees_nan(const float* x);
bool first_sees_nan(const float* x) { return rlgaf::first_nonfinite(std::span<const float>(x, 1)) == 0; }
int main() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return first_sees_nan(&nan) && sees_nan(&nan) ? 0 : 1;
}
CPP
cat > second.cpp <<'CPP'
#include "headers.hpp"
bool sees_nan(const float* x) { return rlgaf::first_nonfinite(std::span<const float>(x, 1)) == 0; }
CPP
"$3" -std=c++20 -O1 -I "$1/include" -c first.cpp -o first.o
"$3" -std=c++20 -O1 -I "$1/include" -c second.cpp -o second.o
"$3" -std=c++20 -O2 -ffast-math -DRLGAF_ALLOW_FINITE_MATH -I "$1/include" -c second.cpp -o second_fast.o
for second in second.o second_fast.o; do
    for order in "first.o $second" "$second first.o"; do
        # shellcheck disable=SC2086
        "$3" $order -o program
        ./program
    done
done
