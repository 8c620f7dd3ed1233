#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How a critic's three numbers become a verdict.
enum class verdict {
    expected,  ///< what a label drawn from their softmax is worth on average
    likeliest  ///< the label with the largest one
};

/// What a pair critic with ties pays the policy: RARO's reward. Adds the outcome "discriminator" [B].
/// Formula: p = softmax(z_expert, z_policy, z_tie);  r = p_policy + reward_of_tie p_tie (expected), or by the label
///          0, 1, reward_of_tie.
/// Shapes:  score [B * 3]: for each row, that its demonstration is better, that it is better itself, neither.
/// Units:   probability. Survival bias: longer rows. Where the two players' rewards of a tie sum to more than 1, both
///          sides gain from ties.
/// At kinks: of equal numbers the earlier one is the likeliest: expert, policy, tie.
/// Degenerate: a NaN among the three: NaN, the reward does not apply.
/// Errors:  shape_error unless width is 3 and score fits; option_error.
/// Source:  Cai and Provilkov 2025, arXiv 2511.21667 (labels sampled there: `expected` has the same mean and no noise).
struct raro_reward {
    using role = role::reward;
    double reward_of_tie = 0.6;  ///< in [0, 1]; of the policy
    verdict label = verdict::expected;

    void check() const {
        detail::check_option(reward_of_tie >= 0 && reward_of_tie <= 1, "raro_reward", "reward_of_tie", "in [0, 1]",
                             reward_of_tie);
    }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        if (terms.width != 3) [[unlikely]]
            fail(error_kind::shape, "raro_reward", "terms.width", "3 numbers a row", short_text(terms.width));
        detail::check_scores(terms, out, "raro_reward");
        const std::span<double> r = out.add_outcome("discriminator");
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double z[] = {static_cast<double>(terms.score[3 * i]), static_cast<double>(terms.score[3 * i + 1]),
                                static_cast<double>(terms.score[3 * i + 2])};
            const double total = log_sum_exp(std::span<const double>(z));
            if (label == verdict::expected || is_nan(&total))
                r[i] = std::exp(z[1] - total) + reward_of_tie * std::exp(z[2] - total);
            else
                r[i] = z[1] > z[0] ? (z[2] > z[1] ? reward_of_tie : 1) : (z[2] > z[0] ? reward_of_tie : 0);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
