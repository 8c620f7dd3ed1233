#pragma once
#include "rlgaf/policy_gradient/advantage/ordered_groups.hpp"
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Ranks in place of rewards, so that neither the scale nor the drift of the discriminator matters.
/// Formula: A = sigmoid(delta (rank / n - 1/2)), rank 1 for the smallest to n for the largest of the n rows compared,
///          equal values sharing their mean rank; then minus the mean over these rows unless subtract_mean is off.
///          Without token rewards: a row's total reward, compared in its group, on every unmasked token.
///          With them: every position on its own, over the group's rows that have an unmasked token there; the value is
///          the row's outcomes plus the token's reward (to_go: plus it, all later ones and the bootstrap).
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: equal values, a row alone in its group or at its position: 0 (subtract_mean off: all get the same).
///          A row without a reward: 0, and it takes no rank. Values that differ by rounding alone (1e-12) are equal.
///          With token rewards each position of a group counts as a group in the share of constant ones.
/// Errors:  shape_error; option_error.
/// Needs:   to_go off: a token's reward is the value of the prefix that ends with it, as Monte-Carlo rollouts give it.
/// Source:  Guo et al. 2017, arXiv 1709.08624 (LeakGAN, bootstrapped rescaled activation); the paper counts ranks from
///          the top, a shift of 1 / n; its code and Texygen's never sort. None subtracts a mean: all is pushed up.
struct rank_rescale {
    using role = role::advantage;
    std::size_t group_size = 0;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    double delta = 16;           ///< > 0, finite: how steep; large ones tell the better half from the worse, no more
    bool subtract_mean = true;   ///< false: LeakGAN's own values, all in (0, 1)
    bool to_go = false;          ///< true where token rewards are increments: rank what is still to come

    void check() const {
        detail::check_option(delta > 0 && delta < std::numeric_limits<double>::infinity(), "rank_rescale", "delta",
                             "positive", delta);
    }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        const auto rescale = [this](std::span<const double> value, std::span<double> out) { estimate(value, out); };
        if (terms.reward.token.empty())
            return detail::estimate_by_order(terms, work, advantage, "rank_rescale", rescale);

        detail::check_token_rewards(terms, advantage, "rank_rescale");
        const std::size_t rows = advantage.rows();
        std::size_t longest = 0;
        work.d.assign(rows, 0.0);
        for (std::size_t i = 0; i < rows; ++i) {
            const double outcome = detail::outcome_of(terms.reward, i);
            work.d[i] = is_nan(&outcome) ? 0 : outcome;
            if (to_go) work.d[i] += detail::bootstrap_of(terms.reward, i);
            longest = advantage.length(i) > longest ? advantage.length(i) : longest;
        }
        detail::group_tally tally;
        for (std::size_t t = longest; t-- > 0;) {
            const auto has_token = [&](std::size_t i) {
                return t < advantage.length(i) && included_tokens(terms.mask, i)[t] && has_reward(terms.reward, i);
            };
            work.a.assign(rows, std::numeric_limits<double>::quiet_NaN());
            for (std::size_t i = 0; i < rows; ++i) {
                if (!has_token(i)) continue;
                work.a[i] = work.d[i] + static_cast<double>(terms.reward.token.row(i)[t]);
                if (to_go) work.d[i] = work.a[i];
            }
            detail::for_each_ordered_group(terms.group, work, tally, rescale);
            for (std::size_t i = 0; i < rows; ++i)
                if (t < advantage.length(i)) advantage.row(i)[t] = static_cast<T>(work.a[i]);
        }
        return detail::summarize(advantage, terms.mask, tally.share());
    }

private:
    void estimate(std::span<const double> value, std::span<double> out) const {
        const std::size_t n = value.size();
        double mean = 0;
        for (std::size_t first = 0, last = 0; first < n; first = last) {
            while (last < n && centred(value[last], value[first]) == 0) ++last;
            const double rank = 0.5 * static_cast<double>(first + 1 + last);
            const double a = sigmoid(delta * (rank / static_cast<double>(n) - 0.5));
            for (std::size_t j = first; j < last; ++j) out[j] = a;
            mean += a * static_cast<double>(last - first) / static_cast<double>(n);
        }
        if (subtract_mean)
            for (double& v : out) v = centred(v, mean);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
