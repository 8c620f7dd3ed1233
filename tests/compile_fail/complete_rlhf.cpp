// expect: ok
#include "complete_rlhf.hpp"
