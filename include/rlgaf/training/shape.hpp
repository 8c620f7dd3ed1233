#pragma once
#include "rlgaf/reward_shaping/stage.hpp"
#include "rlgaf/training/trajectories.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Role 3: from scores to rewards. Errors: numeric_error for an infinite outcome or a token reward that is not finite.
template <class Stage, policy_backend P>
void shape(part<Stage>& stage, trajectories<P>& t) {
    stage.component.check();
    if (needs_expert_score<Stage>() && t.expert_score.size() != t.score.size()) [[unlikely]]
        fail(error_kind::option, "shape", "trajectories",
             "score_experts before a stage that compares with the demonstrations' scores", "no such scores");
    if (needs_fixed_score<Stage>() && t.fixed_score.empty()) [[unlikely]]
        fail(error_kind::option, "shape", "trajectories",
             "score_fixed before a stage that reads the scores of fixed rows (give the trainer fixed_rows(batch))",
             "no such scores");
    if (needs_token_weight<Stage>() && !t.has_token_weight) [[unlikely]]
        fail(error_kind::option, "shape", "trajectories",
             "attribute_tokens before a stage that reads what tokens have to do with the score", "no such weights");
    if (needs_reference<Stage>() && !t.has_reference)
        fail(error_kind::option, "shape", "trajectories",
             "evaluate_reference before a stage that needs the reference policy", "no reference log-probs");
    const shaping_terms<typename P::scalar> terms{.score = t.score,
                                                  .log_prob = std::as_const(t.old_log_prob).view(),
                                                  .reference_log_prob = t.reference_view(),
                                                  .mask = mask_of(t.batch),
                                                  .truncated = t.truncated,
                                                  .group = t.group(),
                                                  .width = t.width,
                                                  .expert_score = t.expert_score,
                                                  .fixed_score = t.fixed_score,
                                                  .token_score = t.token_score_view(),
                                                  .prefix_value = t.prefix_value_view(),
                                                  .token_weight = t.token_weight_view()};
    t.reward.begin(lengths(t.batch));
    stage(terms, t.batch, t.reward, t.work);
    detail::check_outcomes(t.reward, "shape");
    detail::check_finite(t.reward.view().token, mask_of(t.batch), "shape", "token reward");
}

}  // namespace rlgaf::inline RLGAF_ABI
