#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/discriminator/regularizer/input_penalty.hpp"

/// Input penalties without a second derivative of the model: for phi(n), n = |g|, g = d score / d input,
///   d phi / d parameters = phi'(n) u . d g / d parameters = phi'(n) d/dh [d score(x + h u) / d parameters] at h = 0, u = g / n,
/// the derivative by h as a central difference: one backward pass to the inputs, two to the parameters.
namespace rlgaf::inline RLGAF_ABI {

template <class T>
struct penalty_scratch {
    std::vector<T> score, moved, d_score, d_moved, factor;
    std::vector<double> norm, slope;
    std::vector<std::size_t> pick;
};

namespace detail {

/// Noise for rows first, first + 1, ... of a step: the same whatever the micro-batches, if the scorer knows of rows.
template <class S, class Batch>
typename S::perturbation noise_from(S& scorer, const Batch& part, double sigma, rng_key key, std::size_t first) {
    if constexpr (requires { scorer.noise(part, sigma, key, first); })
        return scorer.noise(part, sigma, key, first);
    else
        return scorer.noise(part, sigma, {key.seed ^ (static_cast<std::uint64_t>(first) << 20), key.step});
}

/// How far inputs are moved. A scorer that computes in another precision than its scores have says so in
/// `double difference_step()`.
template <class S>
double step_of_differences([[maybe_unused]] S& scorer) {
    if constexpr (requires { scorer.difference_step(); })
        return scorer.difference_step();
    else
        return std::is_same_v<typename S::scalar, float> ? 1e-2 : 1e-4;
}

/// Input gradients of this norm or less have no direction.
inline constexpr double no_norm = 1e-12;

/// Sum over rows of slope[b] * d norm_b / d parameters, at the rows moved by `base`; the score is the mean of a row's numbers.
template <class S, class Batch, class Slopes>
penalty_stats penalize_slopes(S& scorer, const Batch& batch, const typename S::perturbation& base, Slopes&& slopes,
                              penalty_scratch<typename S::scalar>& x) {
    using T = typename S::scalar;
    const std::size_t n = rows(batch), width = score_width(scorer);
    const double step = step_of_differences(scorer);
    x.score.resize(n * width);
    x.d_score.assign(n * width, static_cast<T>(1 / static_cast<double>(width)));
    typename S::perturbation direction = scorer.input_gradient(batch, base, std::span<const T>(x.d_score));
    x.factor.resize(n);
    scorer.row_norms(direction, std::span<T>(x.factor));
    check_finite(std::span<const T>(x.factor), "accumulate_penalty", "norm of the input gradient");
    x.norm.assign(x.factor.begin(), x.factor.end());
    x.slope.assign(n, 0.0);
    const penalty_stats stats = slopes(std::span<const double>(x.norm), std::span<double>(x.slope));
    for (std::size_t b = 0; b < n; ++b) x.factor[b] = static_cast<T>(x.norm[b] > no_norm ? step / x.norm[b] : 0);
    scorer.scale(direction, std::span<const T>(x.factor));
    for (const double sign : {1.0, -1.0}) {
        typename S::perturbation at = base;
        scorer.add(at, direction);
        if (sign > 0) {  // the next one is base - direction
            x.factor.assign(n, T{-1});
            scorer.scale(direction, std::span<const T>(x.factor));
        }
        typename S::tape tape = scorer.forward(batch, at, std::span<T>(x.score));
        for (std::size_t b = 0; b < n; ++b)
            for (std::size_t k = 0; k < width; ++k)
                x.d_score[b * width + k] = static_cast<T>(
                    x.norm[b] > no_norm ? sign * x.slope[b] / (2 * step * static_cast<double>(width)) : 0);
        scorer.backward(static_cast<typename S::tape&&>(tape), std::span<const T>(x.d_score));
    }
    return stats;
}

/// The penalty of differences of scores (approximate_r1).
template <class S, class Batch, class Penalty>
penalty_stats penalize_differences(S& scorer, const Batch& batch, const typename S::perturbation& noise,
                                   const Penalty& penalty, double weight, penalty_scratch<typename S::scalar>& x) {
    using T = typename S::scalar;
    const std::size_t n = rows(batch) * score_width(scorer);
    x.score.resize(n), x.moved.resize(n);
    x.d_score.assign(n, T{0}), x.d_moved.assign(n, T{0});
    typename S::tape still = scorer.forward(batch, typename S::perturbation{}, std::span<T>(x.score));
    typename S::tape moved = scorer.forward(batch, noise, std::span<T>(x.moved));
    const penalty_stats stats = penalty(std::span<const T>(x.score), std::span<const T>(x.moved),
                                        std::span<T>(x.d_score), std::span<T>(x.d_moved));
    for (auto* d : {&x.d_score, &x.d_moved})
        for (T& v : *d) v = static_cast<T>(weight * static_cast<double>(v));
    scorer.backward(static_cast<typename S::tape&&>(still), std::span<const T>(x.d_score));
    scorer.backward(static_cast<typename S::tape&&>(moved), std::span<const T>(x.d_moved));
    return stats;
}

}  // namespace detail

/// Adds `weight` times the penalty's gradient to the scorer's parameters, `micro_rows` rows at a time (0: all at once).
/// Shapes: pairs.real_of_fake [rows of fake]: whom a sample is interpolated with.
/// Errors: numeric_error if an input gradient is not finite; what the penalty checks.
template <class S, class Batch, class Penalty>
penalty_stats accumulate_penalty(S& scorer, const Batch& real, const Batch& fake, const matching& pairs,
                                 const Penalty& penalty, double weight, rng_key key, std::size_t micro_rows,
                                 penalty_scratch<typename S::scalar>& x) {
    using T = typename S::scalar;
    static_assert(
        perturbs_inputs<S, Batch>,
        "rlgaf: an input penalty needs a scorer that perturbs_inputs: noise, towards, input_gradient, row_norms, "
        "scale, add and forward(batch, perturbation, score), see backend/abilities.hpp");
    constexpr bool between = Penalty::place == penalty_place::between;
    std::vector<std::size_t> pick;
    if constexpr (between) {
        detail::check_matching(pairs, rows(real), rows(fake), "accumulate_penalty");
        pick.clear();
        for (const std::uint32_t i : pairs.real_of_fake) pick.push_back(i);
    }
    const Batch chosen = between ? select(real, pick) : Batch{};
    const Batch& at = between ? chosen : Penalty::place == penalty_place::fake ? fake : real;
    const double all = static_cast<double>(rows(at));
    penalty_stats total;
    if (rows(at) == 0) return total;
    detail::for_each_micro_batch(at, micro_rows, x.pick, [&](std::size_t first, std::size_t count, const auto& part) {
        const double share = static_cast<double>(count) / all;
        penalty_stats stats;
        if constexpr (detail::takes<Penalty, std::span<const T>, std::span<const T>, std::span<T>, std::span<T>>()) {
            stats = detail::penalize_differences(
                scorer, part, detail::noise_from(scorer, part, penalty.sigma, key, first), penalty, weight * share, x);
        } else {
            typename S::perturbation base{};
            if constexpr (Penalty::place == penalty_place::around_real)
                base = detail::noise_from(scorer, part, penalty.sigma, key, first);
            if constexpr (between) {
                std::vector<std::size_t> others(count);
                count_up(detail::span_of(others), first);
                std::vector<T> way(count);
                for (std::size_t b = 0; b < count; ++b)
                    way[b] = static_cast<T>(random_stream(key, stream::noise, first + b).uniform(0));
                base = scorer.towards(part, select(fake, others), std::span<const T>(way));
            }
            stats = detail::penalize_slopes(
                scorer, part, base,
                [&](std::span<const double> norm, std::span<double> slope) {
                    const penalty_stats s = penalty(norm, slope);
                    for (double& v : slope) v *= weight * share;
                    return s;
                },
                x);
        }
        total.loss += share * stats.loss;
        total.norm += share * stats.norm;
    });
    return total;
}

}  // namespace rlgaf::inline RLGAF_ABI
