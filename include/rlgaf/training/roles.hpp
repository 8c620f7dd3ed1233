#pragma once
#include <vector>

#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/discriminator/terms.hpp"
#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/reward_shaping/terms.hpp"

/// The five roles of adversarial training: roll_out, score, shape, update_policy, update_discriminator. The trainer
/// calls them in this order; so can you, in a plain loop or on different processes.
namespace rlgaf::inline RLGAF_ABI {

/// A component together with its memory: `part advantage{grpo{.group_size = 8}};`
template <component C>
struct part {
    C component;
    state_of<C> memory{};

    explicit part(C c) : component(static_cast<C&&>(c)) {}
    template <class... Args>
    decltype(auto) operator()(Args&&... args) {
        return call(component, memory, std::forward<Args>(args)...);
    }
};

/// What one round's samples carry from role to role. Reuse one object from round to round: it keeps its memory.
template <policy_backend P>
struct trajectories {
    using scalar = typename P::scalar;

    typename P::batch batch;
    std::vector<std::uint32_t> group_id;  ///< [B] which prompt a row answers
    std::size_t group_count = 0;
    std::vector<std::uint8_t> truncated;       ///< [B]
    ragged_buffer<scalar> old_log_prob;        ///< [B, length] of the policy before this round's update
    ragged_buffer<scalar> reference_log_prob;  ///< [B, length] if evaluate_reference was called
    ragged_buffer<scalar> token_factor;        ///< [B, length] if old log-probs were evaluated anew
    ragged_buffer<scalar> value;               ///< [B, length] of a critic, if evaluate_values was called
    ragged_buffer<scalar> returns;             ///< [B, length] what the critic should have said, after update_policy
    std::vector<double> greedy_reward;         ///< [B] if greedy_baseline was called
    ragged_buffer<scalar> score_norm;          ///< [B, length] if evaluate_score_norms was called
    bool has_reference = false, has_token_factor = false, has_value = false, has_score_norm = false;
    std::size_t width = 1;               ///< numbers a row in score
    std::vector<scalar> score;           ///< [B, width] raw output of the discriminator
    std::vector<scalar> expert_score;    ///< [B, width] of each row's demonstration, if score_experts was called
    std::vector<scalar> fixed_score;     ///< of rows that stay the same, if score_fixed was called
    ragged_buffer<scalar> token_score;   ///< [B, length] if score_tokens was called
    ragged_buffer<scalar> prefix_value;  ///< [B, length] if roll_out_values was called
    ragged_buffer<scalar> token_weight;  ///< [B, length] if attribute_tokens was called
    bool has_token_score = false, has_prefix_value = false, has_token_weight = false;
    rewards<scalar> reward;

    workspace work;
    std::vector<std::size_t> pick;

    groups group() const { return {detail::span_of(group_id), group_count}; }
    ragged_view<const scalar> reference_view() const {
        return has_reference ? reference_log_prob.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> value_view() const { return has_value ? value.view() : ragged_view<const scalar>{}; }
    /// What advantage estimators read of the round.
    advantage_terms<scalar> earned() {
        return {.reward = reward.view(),
                .group = group(),
                .mask = mask_of(batch),
                .value = value_view(),
                .log_prob = std::as_const(old_log_prob).view(),
                .behaviour_log_prob = behaviour_log_prob(batch),
                .score_norm = has_score_norm ? std::as_const(score_norm).view() : ragged_view<const scalar>{},
                .greedy_reward = greedy_reward};
    }
    ragged_view<const scalar> token_score_view() const {
        return has_token_score ? token_score.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> prefix_value_view() const {
        return has_prefix_value ? prefix_value.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> token_weight_view() const {
        return has_token_weight ? token_weight.view() : ragged_view<const scalar>{};
    }
    ragged_view<const scalar> factor_view() const {
        return has_token_factor ? token_factor.view() : ragged_view<const scalar>{};
    }
};

struct roll_out_options {
    std::size_t rows = 512;      ///< samples, a multiple of group_size
    std::size_t group_size = 8;  ///< samples a prompt; 0: all rows are one group
    rollout_options sampling{};
    bool recompute_old = false;  ///< evaluate old log-probs instead of trusting the sampler's
    double importance_cap =
        2;  ///< > 0: with recompute_old, tokens weigh min(cap, exp(old - sampled)) in the policy's loss, unless a
            ///< component like importance_weights takes that on
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all

    void check() const {
        sampling.check();
        detail::check_option(rows > 0 && (group_size == 0 || rows % group_size == 0), "roll_out_options", "rows",
                             "a positive multiple of the group size", static_cast<double>(rows));
        detail::check_option(importance_cap > 0, "roll_out_options", "importance_cap", "positive", importance_cap);
        detail::check_option(recompute_old || !sampling.truncates(), "roll_out_options", "recompute_old",
                             "true with top_k or top_p, because the sampler's probabilities are not the policy's", 0);
    }
    std::size_t prompts() const { return group_size == 0 ? rows : rows / group_size; }
};

namespace detail {

/// Everything of a round that follows from its rows: t.batch, and in t.group_id which prompt each answers.
template <policy_backend P>
void begin_round(P& policy, const roll_out_options& options, trajectories<P>& t) {
    using T = typename P::scalar;
    const ragged_view<const T> sampled = behaviour_log_prob(t.batch);
    const mask_view mask = mask_of(t.batch);
    t.old_log_prob.assign(lengths(t.batch));
    check_same_shape(t.old_log_prob.view(), sampled, "roll_out", "behaviour_log_prob");
    check_finite(sampled, mask, "roll_out", "behaviour_log_prob");
    t.has_token_factor = options.recompute_old;
    if (options.recompute_old) {
        evaluate_in_parts(policy, t.batch, {.log_prob = t.old_log_prob.view()}, options.micro_batch_rows, t.pick);
        t.token_factor.assign(lengths(t.batch), T{1});
        for_each_token(sampled, mask, [&](std::size_t b, std::size_t i) {
            const double d =
                static_cast<double>(t.old_log_prob.view().row(b)[i]) - static_cast<double>(sampled.row(b)[i]);
            t.token_factor.view().row(b)[i] = static_cast<T>(std::fmin(options.importance_cap, std::exp(d)));
        });
    } else {
        const ragged_view<T> old = t.old_log_prob.view();
        for_each_token(sampled, mask, [&](std::size_t b, std::size_t i) { old.row(b)[i] = sampled.row(b)[i]; });
    }

    const std::span<const row_end> end = ends(t.batch);
    t.truncated.resize(rows(t.batch));
    for (std::size_t i = 0; i < end.size(); ++i) t.truncated[i] = end[i] == row_end::truncated;
    t.has_reference = t.has_value = t.has_score_norm = false;
    t.greedy_reward.clear();
    t.returns.clear();
    t.score.clear();
    t.expert_score.clear();
    t.has_token_score = t.has_prefix_value = t.has_token_weight = false;
    t.reward.begin(lengths(t.batch));
}

/// Rows answer prompts in order, group_size each; with 0 they are one group.
template <policy_backend P>
void number_groups(std::size_t n, std::size_t group_size, trajectories<P>& t) {
    t.group_id.resize(n);
    for (std::size_t i = 0; i < n; ++i)
        t.group_id[i] = group_size == 0 ? 0 : static_cast<std::uint32_t>(i / group_size);
    t.group_count = group_size == 0 ? 1 : n / group_size;
}

}  // namespace detail

/// Role 1: samples a round. `prompts` has options.prompts() rows, or none for a policy that is not asked anything.
template <policy_backend P>
void roll_out(P& policy, const typename P::prompts& prompts, const roll_out_options& options, rng_key key,
              trajectories<P>& t) {
    options.check();
    const std::size_t n = options.rows, per_prompt = options.group_size == 0 ? 1 : options.group_size;
    std::vector<std::uint64_t> id(n);
    count_up(detail::span_of(id));
    detail::number_groups(n, options.group_size, t);

    if (rows(prompts) > 0) {
        detail::check_size(rows(prompts), options.prompts(), "roll_out", "prompts");
        t.pick.resize(n);
        for (std::size_t i = 0; i < n; ++i) t.pick[i] = i / per_prompt;
        t.batch = policy.rollout(select(prompts, t.pick), id, options.sampling, key);
    } else {
        t.batch = policy.rollout(prompts, id, options.sampling, key);
    }
    detail::check_size(rows(t.batch), n, "roll_out", "rows of the policy's rollout");
    detail::begin_round(policy, options, t);
}

/// Log-probs of the round's samples under the policy that KL is measured against. Part of role 1.
template <policy_backend P, class Reference>
void evaluate_reference(Reference& reference, trajectories<P>& t, std::size_t micro_batch_rows = 0) {
    t.reference_log_prob.assign(lengths(t.batch));
    evaluate_in_parts(reference, t.batch, {.log_prob = t.reference_log_prob.view()}, micro_batch_rows, t.pick);
    t.has_reference = true;
}

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
    for (std::size_t k = 0; k < t.reward.outcomes(); ++k) {
        const std::span<const double> outcome = t.reward.outcome(k);
        for (std::size_t i = first_nonfinite(outcome); i < outcome.size();
             i += 1 + first_nonfinite(outcome.subspan(i + 1)))
            if (!is_nan(&outcome[i])) [[unlikely]]
                fail(error_kind::numeric, "shape", short_text("reward '", t.reward.name(k), "' of row ", i),
                     "a finite number, or NaN for \"does not apply\"", short_text(outcome[i]));
    }
    detail::check_finite(t.reward.view().token, mask_of(t.batch), "shape", "token reward");
}

}  // namespace rlgaf::inline RLGAF_ABI
