#pragma once
#include "rlgaf/models/ngram/policy.hpp"
#include "rlgaf/models/ngram/scorer.hpp"

/// Tabular n-gram models on xtensor: small enough that every expectation can be enumerated, and complete backends.
