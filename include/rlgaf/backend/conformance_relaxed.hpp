#pragma once
#include "rlgaf/backend/conformance_shares.hpp"

/// The conformance kit for relaxed actions (ability relaxes); see backend/conformance.hpp.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// From the score back to the policy's parameters, noise and tokens held fixed, along random directions.
template <class R, class T>
std::string check_relaxed_gradient(R& r, const relaxation_options& how, const conformance_options& o,
                                   const limits<T>& limit) {
    typename R::relaxed x;
    std::vector<T> said;
    const std::vector<T> d = r.cotangent(o.seed);
    r.policy.discard();
    auto drawn = r.draw(how, r.key, x);
    r.scorer.input_cotangent(r.score(x, said), std::span<const T>(d), x);
    r.policy.backward_relaxed(std::move(drawn), x);
    const std::vector<double> gradient = take_gradient(r.policy);
    const double noise = r.loss(x, d).noise,
                 h = limit.step / std::sqrt(std::sqrt(static_cast<double>(gradient.size())));
    const std::vector<T> saved = saved_parameters(r.policy);
    for (std::uint32_t j = 0; j < std::max<std::size_t>(1, o.directions); ++j) {
        double along = 0;
        std::vector<double> v(gradient.size());
        for (std::size_t i = 0; i < v.size(); ++i) {
            v[i] = random_stream({o.seed, j + 64}, stream::user, i).uniform(0) < 0.5 ? -1 : 1;
            along += v[i] * gradient[i];
        }
        bool same = true;
        const slope s = slope_of(
            [&](double by) {
                std::vector<T> parameters = saved;
                for (std::size_t i = 0; i < v.size(); ++i)
                    parameters[i] = static_cast<T>(static_cast<double>(saved[i]) + by * v[i]);
                restore_parameters(r.policy, parameters);
                typename R::relaxed moved;
                (void)r.draw(how, r.key, moved);
                for (std::size_t i = 0; i < r.id.size(); ++i)
                    same = same && batch_row_difference<T>(hard_rows(moved), i, hard_rows(x), i,
                                                           std::numeric_limits<double>::infinity())
                                       .empty();
                return r.loss(moved, d).value;
            },
            h, noise);
        restore_parameters(r.policy, saved);
        if (!same) return "skipped: another token was drawn within a step; try another .seed or .difference_step";
        const double size = std::fmax(std::abs(s.value), std::abs(along));
        if (!(std::abs(s.value - along) <= limit.gradient * size + s.error))
            return "!differences by the policy's parameters say " + text_of(s.value) + " (+- " + text_of(s.error) +
                   "), backward_relaxed says " + text_of(along) + "; " + likely_mistake(s.value, along);
    }
    return "differences by the policy's parameters agree";
}

}  // namespace detail::conformance

/// Every check of a policy and a scorer that share relaxed actions. Parameters are as before; gradients are cleared.
/// Differences across the kinks of a model (relu, a maximum) are no gradient: check those in double precision, or with a
/// smaller .difference_step.
template <class P, class S>
    requires relaxes<P, S> conformance_report check_conformance_relaxed(P& policy, S& scorer,
                                                                        const typename P::prompts& prompts,
                                                                        const conformance_options& options = {}) {
        namespace kit = detail::conformance;
        options.check();
        const kit::limits<typename P::scalar> limit(options);
        conformance_report report;
        std::vector<std::size_t> pick;
        std::vector<std::uint64_t> id(options.rows);
        for (std::size_t i = 0; i < options.rows; ++i) id[i] = i;
        for (std::size_t i = 0; i < options.rows && rows(prompts) > 0; ++i) pick.push_back(i % rows(prompts));
        const typename P::prompts ask =
            rows(prompts) > 0 ? select(prompts, std::span<const std::size_t>(pick)) : prompts;
        kit::relaxed_pair<P, S> r{policy, scorer, ask, id, {options.seed, 7}};
        kit::run(report, "one-hot rows", [&] { return kit::check_one_hot(r, limit); });
        kit::run(report, "input cotangent", [&] { return kit::check_input_cotangent(r, options, limit); });
        for (const bool soft : {false, true})
            kit::run(report, soft ? "gradient of relaxed rows, soft inputs" : "gradient of relaxed rows",
                     [&]() -> std::string {
                         if constexpr (flat_parameters<P>)
                             return kit::check_relaxed_gradient(r, {.soft_inputs = soft}, options, limit);
                         else
                             return "skipped: no parameters() to take differences of";
                     });
        policy.discard();
        scorer.discard();
        return report;
    }

}  // namespace rlgaf::inline RLGAF_ABI
