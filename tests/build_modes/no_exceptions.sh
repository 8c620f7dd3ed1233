#!/usr/bin/env bash
# no_exceptions.sh SOURCE_DIR SCRATCH_DIR COMPILER
# Without exceptions and run-time types an error calls the handler, with the whole message, and then aborts.
set -euo pipefail
mkdir -p "$2"
cd "$2"
cat > main.cpp <<'CPP'
#include <cstdio>

#include "rlgaf/rlgaf.hpp"

int main() {
    rlgaf::set_error_handler([](rlgaf::error_kind kind, const char* message) {
        std::printf("%s %s\n", kind == rlgaf::error_kind::shape ? "shape" : "other", message);
        std::fflush(stdout);
    });
    const std::uint32_t lengths[] = {2, 9};
    float data[8] = {};
    const auto view = rlgaf::ragged_view<float>::padded(data, 4, lengths);
    std::printf("not reached: %zu\n", view.rows());
}
CPP
"$3" -std=c++20 -fno-exceptions -fno-rtti -I "$1/include" main.cpp -o main
ulimit -c 0
status=0
{ ./main > output; } 2> /dev/null || status=$?
cat output
expected='shape rlgaf::ragged_view::padded: lengths[1]: expected at most the stride 4, got 9'
[[ $(cat output) == "$expected" ]] || { echo "expected: $expected"; exit 1; }
[[ $status -eq 134 ]] || { echo "expected an abort (status 134), got $status"; exit 1; }
