#pragma once
/// Everything but the leaves: floors 0 to 4, which need the standard library only. Each header also works on its own.
/// Leaves are included by name: data/ and io/ (files), interop/ (xtensor, Eigen, LibTorch), models/ (ready backends).

#include "rlgaf/version.hpp"  // IWYU pragma: export

#include "rlgaf/core/component.hpp"  // IWYU pragma: export
#include "rlgaf/core/config.hpp"  // IWYU pragma: export
#include "rlgaf/core/error.hpp"  // IWYU pragma: export
#include "rlgaf/core/finite.hpp"  // IWYU pragma: export
#include "rlgaf/core/ragged_view.hpp"  // IWYU pragma: export
#include "rlgaf/core/random.hpp"  // IWYU pragma: export
#include "rlgaf/core/reduce.hpp"  // IWYU pragma: export
#include "rlgaf/core/scalar.hpp"  // IWYU pragma: export

#include "rlgaf/math/aggregation.hpp"  // IWYU pragma: export
#include "rlgaf/math/categorical.hpp"  // IWYU pragma: export
#include "rlgaf/math/groups.hpp"  // IWYU pragma: export
#include "rlgaf/math/kl_estimators.hpp"  // IWYU pragma: export
#include "rlgaf/math/moments.hpp"  // IWYU pragma: export
#include "rlgaf/math/rewards.hpp"  // IWYU pragma: export
#include "rlgaf/math/schedule.hpp"  // IWYU pragma: export

#include "rlgaf/discriminator/balance.hpp"  // IWYU pragma: export
#include "rlgaf/discriminator/loss/bce.hpp"  // IWYU pragma: export
#include "rlgaf/discriminator/loss/bradley_terry.hpp"  // IWYU pragma: export
#include "rlgaf/discriminator/replay.hpp"  // IWYU pragma: export
#include "rlgaf/discriminator/terms.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/advantage/center.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/advantage/grpo.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/advantage/rloo.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/entropy.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/kl.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"  // IWYU pragma: export
#include "rlgaf/policy_gradient/terms.hpp"  // IWYU pragma: export
#include "rlgaf/preference/sft.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/as_reward.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/kl_penalty.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/missing_eos.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/normalize.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/pipeline.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/score_reward.hpp"  // IWYU pragma: export
#include "rlgaf/reward_shaping/terms.hpp"  // IWYU pragma: export

#include "rlgaf/backend/abilities.hpp"  // IWYU pragma: export
#include "rlgaf/backend/batch.hpp"  // IWYU pragma: export
#include "rlgaf/backend/check.hpp"  // IWYU pragma: export
#include "rlgaf/backend/conformance.hpp"  // IWYU pragma: export
#include "rlgaf/backend/conformance_gradient.hpp"  // IWYU pragma: export
#include "rlgaf/backend/conformance_model.hpp"  // IWYU pragma: export
#include "rlgaf/backend/conformance_report.hpp"  // IWYU pragma: export
#include "rlgaf/backend/conformance_sampling.hpp"  // IWYU pragma: export
#include "rlgaf/backend/driver.hpp"  // IWYU pragma: export
#include "rlgaf/backend/optimizer.hpp"  // IWYU pragma: export
#include "rlgaf/backend/policy.hpp"  // IWYU pragma: export
#include "rlgaf/backend/sample_action.hpp"  // IWYU pragma: export
#include "rlgaf/backend/scorer.hpp"  // IWYU pragma: export
#include "rlgaf/backend/token_batch.hpp"  // IWYU pragma: export

#include "rlgaf/training/adversarial_trainer.hpp"  // IWYU pragma: export
#include "rlgaf/training/observer.hpp"  // IWYU pragma: export
#include "rlgaf/training/roles.hpp"  // IWYU pragma: export
#include "rlgaf/training/sft.hpp"  // IWYU pragma: export
#include "rlgaf/training/trainer_parts.hpp"  // IWYU pragma: export
#include "rlgaf/training/update_discriminator.hpp"  // IWYU pragma: export
#include "rlgaf/training/update_policy.hpp"  // IWYU pragma: export
