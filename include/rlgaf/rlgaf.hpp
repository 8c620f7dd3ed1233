#pragma once
/// Everything but the leaves: floors 0 to 4, which need the standard library only. Each header also works on its own.
/// Leaves are included by name: data/ and io/ (files), interop/ (xtensor, Eigen, LibTorch), models/ (ready backends); so is
/// backend/conformance.hpp, which tests of a backend want and programs do not.

// Lowest floor first.
// clang-format off
// IWYU pragma: begin_exports
#include "rlgaf/version.hpp"

#include "rlgaf/core/clock.hpp"
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/config.hpp"
#include "rlgaf/core/error.hpp"
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/ragged_view.hpp"
#include "rlgaf/core/random.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/core/text.hpp"

#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/math/categorical.hpp"
#include "rlgaf/math/groups.hpp"
#include "rlgaf/math/kl_estimators.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/math/rewards.hpp"
#include "rlgaf/math/schedule.hpp"

#include "rlgaf/discriminator/balance.hpp"
#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/replay.hpp"
#include "rlgaf/discriminator/terms.hpp"
#include "rlgaf/policy_gradient/advantage/center.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "rlgaf/policy_gradient/advantage/rloo.hpp"
#include "rlgaf/policy_gradient/entropy.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/policy_gradient/terms.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"
#include "rlgaf/preference/sft.hpp"
#include "rlgaf/reward_shaping/as_reward.hpp"
#include "rlgaf/reward_shaping/kl_penalty.hpp"
#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "rlgaf/reward_shaping/normalize.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/reward_shaping/terms.hpp"

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/batch.hpp"
#include "rlgaf/backend/check.hpp"
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/backend/policy.hpp"
#include "rlgaf/backend/scorer.hpp"
#include "rlgaf/backend/token_batch.hpp"

#include "rlgaf/training/adversarial_trainer.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/roles.hpp"
#include "rlgaf/training/sft.hpp"
#include "rlgaf/training/trainer_parts.hpp"
#include "rlgaf/training/update_discriminator.hpp"
#include "rlgaf/training/update_policy.hpp"
// IWYU pragma: end_exports
