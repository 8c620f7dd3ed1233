#!/usr/bin/env bash
# plain_compiler.sh SOURCE_DIR SCRATCH_DIR COMPILER: one program, without any build system.
set -euo pipefail
mkdir -p "$2"
cat > "$2/main.cpp" <<'CPP'
#include "rlgaf/rlgaf.hpp"

int main() {
    const auto word = rlgaf::philox4x32({0, 0, 0, 0}, {0, 0});
    return word[0] == 0x6627e8d5u ? 0 : 1;
}
CPP
"$3" -std=c++20 -I "$1/include" "$2/main.cpp" -o "$2/main"
"$2/main"
