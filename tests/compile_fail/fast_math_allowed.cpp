// flags: -ffast-math -DRLGAF_ALLOW_FINITE_MATH
// expect: ok
#include "rlgaf/rlgaf.hpp"
