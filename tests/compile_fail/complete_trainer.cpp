// expect: ok
#include "complete_trainer.hpp"
