#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/training/roles.hpp"
#include "rlgaf/training/step_measures.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the policy's likeliest answers earn: a role for estimators that need greedy_reward (remax), after roll_out and
/// before shape. Fills t.greedy_reward, one number a row: that of the greedy answer to its prompt; without prompts there
/// is one answer for all.
/// `prompts` and `options` are those of roll_out. `judge(greedy)` does with the answers what is done with the samples between
/// roll_out and shape: `[&](auto& g) { evaluate_reference(reference, g); score(scorer, g); }`. `greedy` holds them afterwards.
/// Formula: top_k = 1 at every step; shaped by a copy of `stage` with its memory as it is, which is thus left alone; the
///          reward is the sum of the outcomes and token rewards, NaN if none applies.
/// Errors:  those of roll_out, judge and shape. A policy without discrete actions refuses top_k.
/// Needs:   a stage that looks at one row at a time: one that normalises over the step would normalise the greedy answers
///          among themselves.
/// Source:  Li et al. 2023, arXiv 2310.10505, algorithm 1.
template <policy_backend P, class Stage, class Judge>
void greedy_baseline(P& policy, const typename P::prompts& prompts, const roll_out_options& options, rng_key key,
                     const part<Stage>& stage, trajectories<P>& t, trajectories<P>& greedy, Judge&& judge) {
    roll_out_options once = options;
    once.rows = rows(prompts) > 0 ? rows(prompts) : 1;
    once.group_size = 1;
    once.sampling.top_k = 1;
    once.sampling.top_p = 1;
    once.recompute_old = true;  // at the probabilities of the policy, not of the choice of the best
    roll_out(policy, prompts, once, key, greedy);
    judge(greedy);
    part<Stage> same = stage;
    shape(same, greedy);

    const reward_view<typename P::scalar> earned = greedy.reward.view();
    const std::size_t n = rows(t.batch), per_prompt = n / once.rows;
    detail::check_size(n, options.rows, "greedy_baseline", "rows of the round");
    t.greedy_reward.resize(n);
    for (std::size_t i = 0; i < n; ++i)
        t.greedy_reward[i] = detail::total_reward(earned, mask_of(greedy.batch), i / per_prompt);
}

/// Squared norms of the score functions by the logits: a role for estimators that need score_norm
/// (optimal_token_baseline), after roll_out. Fills t.score_norm.
/// Formula: 1 - 2 p + sum of all squared probabilities, p: that of the token; times token_factor^2 where old log-probs were
///          evaluated anew.
/// Needs:   a policy that exposes_logits, and has no dropout in forward.
/// Source:  verl, optimal_token_baseline.
template <policy_backend P>
    requires exposes_logits<P>
void evaluate_score_norms(P& policy, trajectories<P>& t, std::size_t micro_batch_rows = 0) {
    using T = typename P::scalar;
    t.score_norm.assign(lengths(t.batch));
    ragged_buffer<T> log_prob;
    log_prob.assign(lengths(t.batch));
    std::vector<double> collision;  // of the unmasked tokens of a micro-batch, in order
    detail::for_each_micro_batch(
        t.batch, micro_batch_rows, t.pick, [&](std::size_t first, std::size_t count, const auto& rows_now) {
            collision.clear();
            const auto look = [&](std::size_t, std::span<const T> logits, std::span<T>) {
                double most = -std::numeric_limits<double>::infinity(), sum = 0, squares = 0;
                for (const T z : logits) most = std::fmax(most, static_cast<double>(z));
                for (const T z : logits) {
                    const double p = std::exp(static_cast<double>(z) - most);
                    sum += p, squares += p * p;
                }
                collision.push_back(squares / (sum * sum));
            };
            [[maybe_unused]] const typename P::tape dropped =
                policy.forward(rows_now, {.log_prob = log_prob.view().slice(first, count)}, logit_visitor<T>(look));
            std::size_t next = 0;
            for_each_token(log_prob.view().slice(first, count), mask_of(rows_now), [&](std::size_t b, std::size_t i) {
                const double p = std::exp(static_cast<double>(log_prob.view().row(first + b)[i]));
                const double weight =
                    t.has_token_factor ? static_cast<double>(t.token_factor.view().row(first + b)[i]) : 1;
                t.score_norm.view().row(first + b)[i] =
                    static_cast<T>((1 - 2 * p + collision[next++]) * weight * weight);
            });
        });
    t.has_score_norm = true;
}

}  // namespace rlgaf::inline RLGAF_ABI
