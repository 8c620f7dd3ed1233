#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/training/roles.hpp"

/// Role 2: the discriminator's opinion of the round's samples, by row, by token or by comparison with demonstrations.
namespace rlgaf::inline RLGAF_ABI {

/// Stands in for a discriminator with a reward that is known, to find out whether a policy learns at all.
/// F: `double (const batch&, std::size_t row)`.
template <class F>
struct true_reward {
    F function;
    explicit true_reward(F f) : function(static_cast<F&&>(f)) {}
};

namespace detail {
template <class S>
constexpr bool is_true_reward = false;
template <class F>
constexpr bool is_true_reward<true_reward<F>> = true;

/// Scores [rows, width] of any batch. `passes` > 0: the mean of so many forward passes, with dropout on.
template <class S, class Batch, class T>
void score_rows(S& scorer, const Batch& batch, std::vector<T>& score, std::size_t micro_rows, std::size_t passes,
                std::vector<std::size_t>& pick) {
    const std::size_t width = score_width(scorer);
    score.assign(rows(batch) * width, T{0});
    if (passes == 0) return evaluate_in_parts(scorer, batch, std::span<T>(score), micro_rows, pick);
    std::vector<T> once(score.size());
    const auto pass = [&] {
        for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
            [[maybe_unused]] const typename S::tape dropped =
                scorer.forward(part, std::span<T>(once).subspan(first * width, count * width));
        });
    };
    for (std::size_t k = 0; k < passes; ++k) {
        if constexpr (requires { scorer.with_average(pass); })  // averaged_scorer
            scorer.with_average(pass);
        else
            pass();
        for (std::size_t i = 0; i < score.size(); ++i) score[i] += once[i] / static_cast<T>(passes);
    }
}

/// One number a row: the mean of its `width` numbers.
template <class T>
void mean_of_columns(std::span<const T> score, std::size_t width, std::vector<T>& mean) {
    mean.assign(score.size() / width, T{0});
    for (std::size_t i = 0; i < score.size(); ++i) mean[i / width] += score[i] / static_cast<T>(width);
}
}  // namespace detail

/// Fills t.score. `passes`: 0 for the discriminator without dropout, else the mean of so many passes with it.
/// Errors: numeric_error if a score is not finite.
template <class S, policy_backend P>
void score(S& scorer, trajectories<P>& t, std::size_t micro_batch_rows = 0, std::size_t passes = 0) {
    using T = typename P::scalar;
    if constexpr (detail::is_true_reward<std::remove_const_t<S>>) {
        t.width = 1;
        t.score.assign(rows(t.batch), 0);
        for (std::size_t i = 0; i < t.score.size(); ++i) t.score[i] = static_cast<T>(scorer.function(t.batch, i));
    } else {
        t.width = score_width(scorer);
        detail::score_rows(scorer, t.batch, t.score, micro_batch_rows, passes, t.pick);
    }
    detail::check_finite(std::span<const T>(t.score), "score", "score");
}

/// Fills t.token_score, and t.score with the mean over a row's unmasked tokens (0 for a row without).
template <class S, policy_backend P>
void score_tokens(S& scorer, trajectories<P>& t, std::size_t micro_batch_rows = 0) {
    using T = typename P::scalar;
    t.has_token_score = false;
    t.token_score.assign(lengths(t.batch));
    detail::for_each_micro_batch(t.batch, micro_batch_rows, t.pick,
                                 [&](std::size_t first, std::size_t count, const auto& part) {
                                     scorer.evaluate_tokens(part, t.token_score.view().slice(first, count));
                                 });
    const ragged_view<const T> token = std::as_const(t.token_score).view();
    const mask_view mask = mask_of(t.batch);
    detail::check_finite(token, mask, "score_tokens", "score");
    t.has_token_score = true;
    t.width = 1;
    t.score.assign(rows(t.batch), T{0});
    t.work.a.assign(rows(t.batch), 0.0);
    for_each_token(token, mask, [&](std::size_t b, std::size_t) { t.work.a[b] += 1; });
    for_each_token(token, mask, [&](std::size_t b, std::size_t k) {
        t.score[b] += static_cast<T>(static_cast<double>(token.row(b)[k]) / t.work.a[b]);
    });
}

/// Fills t.token_weight: what each token has to do with its row's score.
/// Errors: numeric_error if a weight is not finite.
template <class S, policy_backend P>
void attribute_tokens(S& scorer, trajectories<P>& t, std::size_t micro_batch_rows = 0) {
    static_assert(attributes_tokens<S, typename P::batch>,
                  "attribute_tokens needs a scorer with the ability attributes_tokens: `void attribute(const batch&, "
                  "rlgaf::ragged_view<T> weight)`, see backend/abilities.hpp");
    t.has_token_weight = false;
    t.token_weight.assign(lengths(t.batch));
    detail::for_each_micro_batch(t.batch, micro_batch_rows, t.pick,
                                 [&](std::size_t first, std::size_t count, const auto& part) {
                                     scorer.attribute(part, t.token_weight.view().slice(first, count));
                                 });
    detail::check_finite(std::as_const(t.token_weight).view(), mask_of(t.batch), "attribute_tokens", "weight");
    t.has_token_weight = true;
}

/// Fills t.score [B, 3] of a critic of pairs: each sample against its row of `real_of_fake` [B].
template <class S, policy_backend P>
void score_pairs(S& critic, trajectories<P>& t, const typename P::batch& real_of_fake,
                 std::size_t micro_batch_rows = 0) {
    using T = typename P::scalar;
    detail::check_size(rows(real_of_fake), rows(t.batch), "score_pairs", "real_of_fake");
    t.width = 3;
    t.score.assign(3 * rows(t.batch), T{0});
    std::vector<std::size_t> same;
    detail::for_each_micro_batch(t.batch, micro_batch_rows, t.pick,
                                 [&](std::size_t first, std::size_t count, const auto& part) {
                                     same.resize(count);
                                     count_up(detail::span_of(same), first);
                                     critic.evaluate_pairs(select(real_of_fake, same), part,
                                                           std::span<T>(t.score).subspan(3 * first, 3 * count));
                                 });
    detail::check_finite(std::span<const T>(t.score), "score_pairs", "score");
}

/// Fills t.expert_score: the score of the demonstration that each sample is matched with.
/// Shapes: real_of_fake [B], rows of `real`.
template <class S, policy_backend P>
void score_experts(S& scorer, trajectories<P>& t, const typename P::batch& real,
                   std::span<const std::uint32_t> real_of_fake, std::size_t micro_batch_rows = 0,
                   std::size_t passes = 0) {
    using T = typename P::scalar;
    detail::check_matching({real_of_fake}, rows(real), rows(t.batch), "score_experts");
    std::vector<T> once;
    detail::score_rows(scorer, real, once, micro_batch_rows, passes, t.pick);
    detail::check_finite(std::span<const T>(once), "score_experts", "score");
    const std::size_t width = score_width(scorer);
    t.expert_score.resize(real_of_fake.size() * width);
    for (std::size_t j = 0; j < t.expert_score.size(); ++j)
        t.expert_score[j] = once[real_of_fake[j / width] * width + j % width];
}

/// Fills t.fixed_score: scores of rows that are the same every round, which show the discriminator's scale move.
template <class S, policy_backend P>
void score_fixed(S& scorer, trajectories<P>& t, const typename P::batch& fixed, std::size_t micro_batch_rows = 0) {
    detail::score_rows(scorer, fixed, t.fixed_score, micro_batch_rows, 0, t.pick);
    detail::check_finite(std::span<const typename P::scalar>(t.fixed_score), "score_fixed", "score");
}

}  // namespace rlgaf::inline RLGAF_ABI
