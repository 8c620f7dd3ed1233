#pragma once
#include <limits>

#include "rlgaf/training/discriminator_parts.hpp"
#include "rlgaf/training/score.hpp"

/// How often the discriminator is right, in the kinds of pairs that trainers have.
namespace rlgaf::inline RLGAF_ABI::detail {

/// Share of pairs (the shorter side repeats) in which the demonstration scores higher; a tie counts
/// half.
template <class T>
double pair_accuracy(std::span<const T> real, std::span<const T> fake) {
    if (real.empty() || fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    const std::size_t pairs = real.size() > fake.size() ? real.size() : fake.size();
    for (std::size_t j = 0; j < pairs; ++j) {
        const T r = real[j % real.size()], f = fake[j % fake.size()];
        right += r > f ? 1.0 : r < f ? 0.0 : 0.5;
    }
    return right / static_cast<double>(pairs);
}
template <class T>
double matched_accuracy(std::span<const T> real, std::span<const T> fake, std::span<const std::uint32_t> pairs) {
    if (fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < fake.size(); ++j)
        right += real[pairs[j]] > fake[j] ? 1.0 : real[pairs[j]] < fake[j] ? 0.0 : 0.5;
    return right / static_cast<double>(fake.size());
}

/// Share of pairs in which a critic of pairs prefers the demonstration to the sample.
template <class T>
double pair_critic_accuracy(std::span<const T> score) {
    if (score.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < score.size(); j += 3)
        right += score[j] > score[j + 1] ? 1.0 : score[j] < score[j + 1] ? 0.0 : 0.5;
    return 3 * right / static_cast<double>(score.size());
}

/// The shares above for what a trainer's discriminator judges: rows, tokens or pairs.
template <class P, class S, judged Kind>
class accuracy_meter {
public:
    using T = typename P::scalar;
    using batch = typename P::batch;

    /// Of the discriminator as it is, on a round's scores and the demonstrations that its rows are matched with.
    double of_round(S& discriminator, const batch& real, std::span<const std::uint32_t> matched, trajectories<P>& round,
                    std::size_t micro_rows) {
        if constexpr (Kind == judged::pairs) {
            return pair_critic_accuracy(std::span<const T>(round.score));
        } else if constexpr (Kind == judged::rows) {
            score_rows(discriminator, real, real_score_, micro_rows, 0, round.pick);
            mean_of_columns(std::span<const T>(real_score_), round.width, real_mean_);
        } else {
            trajectories<P> experts;
            experts.batch = real;
            score_tokens(discriminator, experts, micro_rows);
            real_mean_ = experts.score;
        }
        mean_of_columns(std::span<const T>(round.score), round.width, mean_);
        return matched_accuracy(std::span<const T>(real_mean_), std::span<const T>(mean_), matched);
    }

    /// The same against demonstrations that it never trains on, each sample with whichever is its turn.
    double held_out(S& discriminator, const batch& held, trajectories<P>& round, std::size_t micro_rows) {
        score_rows(discriminator, held, real_score_, micro_rows, 0, round.pick);
        mean_of_columns(std::span<const T>(real_score_), round.width, real_mean_);
        mean_of_columns(std::span<const T>(round.score), round.width, mean_);
        return pair_accuracy(std::span<const T>(real_mean_), std::span<const T>(mean_));
    }

private:
    std::vector<T> real_score_, real_mean_, mean_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
