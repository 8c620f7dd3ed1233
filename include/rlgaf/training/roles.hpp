#pragma once
/// The five roles of adversarial training: roll_out, score, shape, update_policy, update_discriminator. The trainer
/// calls them in this order; so can you, in a plain loop or on different processes. Here are those that need no model but
/// the policy; the others are in score.hpp, update_policy.hpp, update_discriminator.hpp and update_critic.hpp.
#include "rlgaf/training/roll_out.hpp"
#include "rlgaf/training/shape.hpp"
