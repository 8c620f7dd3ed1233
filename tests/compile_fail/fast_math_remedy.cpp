// flags: -ffast-math -fno-finite-math-only
// expect: ok
#include "rlgaf/rlgaf.hpp"
