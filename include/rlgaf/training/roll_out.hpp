#pragma once
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/training/trajectories.hpp"

namespace rlgaf::inline RLGAF_ABI {

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

}  // namespace rlgaf::inline RLGAF_ABI
