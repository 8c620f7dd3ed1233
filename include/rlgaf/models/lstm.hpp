#pragma once
/// A recurrent policy, scorer and critic on token batches.
///
/// Needs Eigen 3.4 or newer, of which only the packet layer is used (no Eigen product runs, so none of its threads do).
/// OpenMP is used if it is enabled. Files of one program that include this must agree on instruction set (-march) and
/// on OpenMP, as with Eigen itself; -O2 -march=native or the like is worth a factor of three over plain x86-64.
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/models/lstm_policy.hpp"
#include "rlgaf/models/lstm_scorer.hpp"
