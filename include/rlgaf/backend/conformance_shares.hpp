#pragma once
#include "rlgaf/backend/conformance_rollout.hpp"
#include "rlgaf/backend/conformance_slope.hpp"

/// Relaxed rows as a scorer reads them.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// Shares that can be moved, as relaxed_rows has them.
template <class X>
concept shows_shares = requires(X& x) {
    x.share[0] = x.share[0];
    x.d_share[0] = x.share[0];
    x.share.size();
};

template <class P, class S>
struct relaxed_pair {
    using scalar = typename P::scalar;
    using relaxed = typename P::relaxed;
    P& policy;
    S& scorer;
    const typename P::prompts& prompts;
    std::vector<std::uint64_t> id;
    rng_key key;

    auto draw(const relaxation_options& o, rng_key with, relaxed& x) {
        return policy.forward_relaxed(prompts, id, o, with, x);
    }
    auto score(const relaxed& x, std::vector<scalar>& said) {
        said.assign(id.size(), std::numeric_limits<scalar>::quiet_NaN());
        return scorer.forward(x, std::span<scalar>(said));
    }
    /// Of sum(d * score), and its rounding.
    inner_product loss(const relaxed& x, const std::vector<scalar>& d) {
        std::vector<scalar> said;
        { [[maybe_unused]] const auto tape = score(x, said); }
        inner_product sum;
        for (std::size_t i = 0; i < d.size(); ++i) {
            sum.value += static_cast<double>(d[i]) * static_cast<double>(said[i]);
            sum.noise += std::abs(static_cast<double>(d[i])) * (1 + std::abs(static_cast<double>(said[i]))) *
                         static_cast<double>(std::numeric_limits<scalar>::epsilon());
        }
        return sum;
    }
    std::vector<scalar> cotangent(std::uint64_t seed) const {
        std::vector<scalar> d(id.size());
        for (std::size_t i = 0; i < d.size(); ++i)
            d[i] = static_cast<scalar>(random_stream({seed, 32}, stream::user, i).normal(0));
        return d;
    }
};

/// Straight-through shares are those of one token each, and score as the tokens do. Rows follow from key and ids.
template <class R, class T>
std::string check_one_hot(R& r, const limits<T>& limit) {
    typename R::relaxed x, again, other;
    (void)r.draw({.straight_through = true}, r.key, x);
    (void)r.draw({.straight_through = true}, r.key, again);
    (void)r.draw({.straight_through = true}, {r.key.seed + 1, r.key.step}, other);
    const auto& hard = hard_rows(x);
    const std::size_t n = r.id.size();
    if (rows(hard) != n) return "!" + std::to_string(n) + " ids gave " + std::to_string(rows(hard)) + " rows";
    std::size_t same = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (!batch_row_difference<T>(hard, i, hard_rows(again), i, 0).empty())
            return "!the same key and ids drew other rows";
        same += batch_row_difference<T>(hard, i, hard_rows(other), i, 0).empty();
    }
    if (same == n) return "!another seed draws the same rows; is rng_key used?";
    if (auto d = check_behaviour(r.policy, hard, limit); d[0] == '!') return "!the rows drawn: " + d.substr(1);
    std::vector<T> relaxed, tokens(n);
    { [[maybe_unused]] const auto tape = r.score(x, relaxed); }
    r.scorer.evaluate(hard, std::span<T>(tokens));
    for (std::size_t i = 0; i < n; ++i)
        if (!(std::abs(static_cast<double>(relaxed[i] - tokens[i])) <=
              limit.tolerance * (1 + std::abs(static_cast<double>(tokens[i])))))
            return "!row " + std::to_string(i) + " scores " + text_of(static_cast<double>(relaxed[i])) +
                   " with shares of 1 for its tokens, and " + text_of(static_cast<double>(tokens[i])) +
                   " as tokens; a one-hot row is the row, with dropout off";
    return std::to_string(n) + " rows of one-hot shares score as their tokens";
}

/// input_cotangent against differences of the score by the shares; it adds, and leaves the parameters alone.
template <class R, class T>
std::string check_input_cotangent(R& r, const conformance_options& o, const limits<T>& limit) {
    if constexpr (!shows_shares<typename R::relaxed>) {
        return "skipped: shares cannot be moved from outside; see \"gradient of relaxed rows\"";
    } else {
        typename R::relaxed x;
        (void)r.draw({}, r.key, x);
        const std::vector<T> d = r.cotangent(o.seed);
        std::vector<T> said;
        r.scorer.discard();
        r.scorer.input_cotangent(r.score(x, said), std::span<const T>(d), x);
        const auto once = x.d_share;
        r.scorer.input_cotangent(r.score(x, said), std::span<const T>(d), x);
        const std::vector<double> first(once.begin(), once.end()), both(x.d_share.begin(), x.d_share.end());
        std::vector<double> twice = first;
        for (double& g : twice) g *= 2;
        if (const auto found = gradient_difference(both, twice, limit.tolerance); !found.empty())
            return "!two calls do not add up: " + found + "; input_cotangent adds to the gradient of x";
        if (largest(take_gradient(r.scorer)) != 0)
            return "!input_cotangent has left gradients in the scorer's parameters; it adds nothing there";
        const double h = limit.step / std::sqrt(std::sqrt(static_cast<double>(first.size())));
        for (std::uint32_t j = 0; j < std::max<std::size_t>(1, o.directions); ++j) {
            double along = 0;
            std::vector<double> v(first.size());
            for (std::size_t i = 0; i < v.size(); ++i) {
                v[i] = random_stream({o.seed, j}, stream::user, i).uniform(0) < 0.5 ? -1 : 1;
                along += v[i] * first[i];
            }
            auto moved = x;
            const slope s = slope_of(
                [&](double by) {
                    for (std::size_t i = 0; i < v.size(); ++i)
                        moved.share[i] = static_cast<T>(static_cast<double>(x.share[i]) + by * v[i]);
                    return r.loss(moved, d).value;
                },
                h, r.loss(x, d).noise);
            const double size = std::fmax(std::abs(s.value), std::abs(along));
            if (!(std::abs(s.value - along) <= limit.gradient * size + s.error))
                return "!differences by the shares say " + text_of(s.value) + " (+- " + text_of(s.error) +
                       "), input_cotangent says " + text_of(along) + "; " + likely_mistake(s.value, along);
        }
        return "differences by the shares agree";
    }
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
