// expect: rlgaf: the scorer needs `void backward(tape&&, std::span<const scalar> d_score)`: accumulate the gradient of
// sum(d_score * score)
#define WITHOUT_BACKWARD
#include "complete_trainer.hpp"
