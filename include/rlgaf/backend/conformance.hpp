#pragma once
#include "rlgaf/backend/conformance_pairs.hpp"
#include "rlgaf/backend/conformance_policy.hpp"
#include "rlgaf/backend/conformance_relaxed.hpp"
#include "rlgaf/backend/conformance_scorer.hpp"

/// Finds what a concept cannot see: wrong signs, gradients that are set instead of added, log-probs of another
/// distribution than the one sampled from. Run it once on a small model, freshly initialised, dropout off:
///
///   const auto report = rlgaf::check_conformance(policy, prompts);
///   if (!report.ok()) std::puts(to_string(report).c_str());
///
/// check_conformance_scorer looks at scorers; check_conformance_pairs, check_conformance_relaxed and
/// check_conformance_critic (conformance_critic.hpp) at what else there is. An ability is checked where a backend has it.
///
/// Everything is checked through the waist alone; with `parameters()` gradients are compared with differences, with
/// `tokens(batch)` frequencies with probabilities, with `clone()` the model itself is never touched.
