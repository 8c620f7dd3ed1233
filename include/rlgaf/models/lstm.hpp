#pragma once
/// A recurrent policy and a recurrent scorer on token batches. Needs Eigen 3.4 or newer; OpenMP is used if enabled.
#include "rlgaf/models/lstm_policy.hpp"
#include "rlgaf/models/lstm_scorer.hpp"
