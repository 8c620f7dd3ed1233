#!/usr/bin/env bash
# write_umbrella.sh [SOURCE_DIR]: writes rlgaf.hpp anew from the headers that are on the floors. Run it after adding or
# removing a header; floors.sh tells when that was forgotten.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}/include"
{
    cat <<'TEXT'
#pragma once
/// Everything but the leaves: floors 0 to 4, which need the standard library only. Each header also works on its own.
/// Leaves are included by name: data/ and io/ (files), interop/ (xtensor, Eigen, LibTorch), models/ (ready backends); so is
/// backend/conformance.hpp, which tests of a backend want and programs do not.

// Lowest floor first.
// clang-format off
// IWYU pragma: begin_exports
#include "rlgaf/version.hpp"
TEXT
    for floor in core math "policy_gradient discriminator reward_shaping preference" backend training; do
        echo
        # shellcheck disable=SC2086
        (cd rlgaf && find $floor -name '*.hpp' ! -name 'conformance*' | LC_ALL=C sort) | sed 's|.*|#include "rlgaf/&"|'
    done
    echo '// IWYU pragma: end_exports'
} > rlgaf/rlgaf.hpp.new
mv rlgaf/rlgaf.hpp.new rlgaf/rlgaf.hpp
