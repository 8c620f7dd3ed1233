#pragma once
#include "rlgaf/core/random.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How a critic's three numbers become a verdict.
enum class verdict {
    expected,   ///< what a label drawn from their softmax is worth on average
    likeliest,  ///< the label with the largest one
    sampled     ///< a label drawn from their softmax, anew at every call
};

/// What a pair critic with ties pays the policy: RARO's reward. Adds the outcome "discriminator" [B].
/// Formula: p = softmax(z_expert, z_policy, z_tie);  r = p_policy + reward_of_tie p_tie (expected), or by the label
///          0, 1, reward_of_tie. Label of row i at call number k: by the number of (seed, k, i) in [0, 1).
/// Shapes:  score [B * 3]: for each row, that its demonstration is better, that it is better itself, neither.
/// Units:   probability. Survival bias: longer rows. Where the two players' rewards of a tie sum to more than 1, both
///          sides gain from ties.
/// At kinks: of equal numbers the earlier one is the likeliest: expert, policy, tie.
/// Degenerate: a NaN among the three: NaN, the reward does not apply.
/// Errors:  shape_error unless width is 3 and score fits; option_error.
/// Source:  Cai and Provilkov 2025, arXiv 2511.21667: `sampled`. `expected` has the same mean and no noise.
struct raro_reward {
    using role = role::reward;
    double reward_of_tie = 0.6;  ///< in [0, 1]; of the policy
    verdict label = verdict::expected;
    std::uint64_t seed = 0;  ///< of sampled

    struct state {
        std::uint64_t draws = 0;  ///< calls that sampled
        template <class Archive>
        void visit(Archive& a) {
            a("draws", draws);
        }
    };

    void check() const {
        detail::check_option(reward_of_tie >= 0 && reward_of_tie <= 1, "raro_reward", "reward_of_tie", "in [0, 1]",
                             reward_of_tie);
    }

    template <class T, class Batch>
    void operator()(state& memory, const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace&) const {
        check();
        if (terms.width != 3) [[unlikely]]
            fail(error_kind::shape, "raro_reward", "terms.width", "3 numbers a row", short_text(terms.width));
        detail::check_scores(terms, out, "raro_reward");
        const std::span<double> r = out.add_outcome("discriminator");
        const rng_key key{seed, static_cast<std::uint32_t>(memory.draws)};
        if (label == verdict::sampled) memory.draws += 1;
        for (std::size_t i = 0; i < r.size(); ++i) {
            const double z[] = {static_cast<double>(terms.score[3 * i]), static_cast<double>(terms.score[3 * i + 1]),
                                static_cast<double>(terms.score[3 * i + 2])};
            const double total = log_sum_exp(std::span<const double>(z));
            const double policy = std::exp(z[1] - total), tie = std::exp(z[2] - total);
            if (label == verdict::expected || is_nan(&total)) {
                r[i] = policy + reward_of_tie * tie;
            } else if (label == verdict::sampled) {
                const double u = random_stream(key, stream::selection, i).uniform(0, 1);
                r[i] = u < policy ? 1 : u < policy + tie ? reward_of_tie : 0;
            } else {
                r[i] = z[1] > z[0] ? (z[2] > z[1] ? reward_of_tie : 1) : (z[2] > z[0] ? reward_of_tie : 0);
            }
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
