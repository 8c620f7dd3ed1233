// flags: -ffast-math
// expect: rlgaf: -ffinite-math-only (part of -ffast-math and -Ofast) removes NaN checks. Add -fno-finite-math-only
// after it, or define RLGAF_ALLOW_FINITE_MATH.
#include "rlgaf/rlgaf.hpp"
