#pragma once
#include "rlgaf/models/lstm/gumbel_rollout.hpp"
#include "rlgaf/models/lstm/relaxed_gradient.hpp"

/// Relaxed actions of an LSTM policy, and mixtures of tokens as inputs.
