#pragma once
#include "rlgaf/models/point_mass/policy.hpp"
#include "rlgaf/models/point_mass/scorer.hpp"

/// A policy with Gaussian actions and a scorer for the point mass: a backend whose actions are numbers, whose log-probs
/// are those of a density (and may be positive), and whose batch shows no tokens and has no mask.
