#pragma once
#include "rlgaf/backend/conformance_input_gradient.hpp"

/// The ability perturbs_inputs.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// A perturbation that moves nothing changes nothing; norms, scale and add fit together.
template <class M, class B>
std::string check_perturbation(M& m, const B& b, const conformance_options& o,
                               const limits<typename M::scalar>& limit) {
    using T = typename M::scalar;
    using P = typename M::perturbation;
    const std::size_t n = rows(b);
    std::vector<T> still(n), moved(n);
    m.evaluate(b, std::span<T>(still));
    const auto compare = [&](const P& p, const char* what) -> std::string {
        { [[maybe_unused]] const auto tape = m.forward(b, p, std::span<T>(moved)); }
        for (std::size_t i = 0; i < n; ++i)
            if (!(std::abs(static_cast<double>(still[i] - moved[i])) <=
                  limit.tolerance * (1 + std::abs(static_cast<double>(still[i])))))
                return std::string("!forward with ") + what + " says " + text_of(static_cast<double>(moved[i])) +
                       " about row " + std::to_string(i) + ", evaluate " + text_of(static_cast<double>(still[i])) +
                       "; is the unmoved input read, with dropout off?";
        return {};
    };
    const std::vector<T> one(n, T{1}), two(n, T{2}), half(n, T(0.5));
    const std::span<const T> whole(one);
    const rng_key key{o.seed, 3};
    const P noise = m.noise(b, 0.1, key);
    if (auto d = compare(P{}, "a default-constructed perturbation"); !d.empty()) return d;
    if (auto d = compare(m.noise(b, 0, key), "noise of deviation 0"); !d.empty()) return d;
    if (auto d = compare(m.towards(b, b, whole), "rows moved towards themselves"); !d.empty()) return d;
    std::vector<std::size_t> turned;
    for (std::size_t i = n; i-- > 0;) turned.push_back(i);
    const B other = select(b, std::span<const std::size_t>(turned));
    const auto norm = norms_of(m, noise, n), way = norms_of(m, m.towards(b, other, whole), n);
    const auto require = [&](const P& p, const std::vector<T>& reference, double factor, const char* what) {
        const auto x = norms_of(m, p, n);
        for (std::size_t i = 0; i < n; ++i) {
            const double wanted = factor * static_cast<double>(reference[i]), is = static_cast<double>(x[i]);
            if (!(std::abs(is - wanted) <= 10 * limit.tolerance * (1 + wanted)))
                return "!" + std::string(what) + ": the norm of row " + std::to_string(i) + " is " + text_of(is) +
                       " instead of " + text_of(wanted);
        }
        return std::string{};
    };
    P doubled = noise;
    m.scale(doubled, std::span<const T>(two));
    if (auto d = require(doubled, norm, 2, "noise that was scaled by 2"); !d.empty()) return d;
    if (auto d = require(noise, norm, 1, "a copy was scaled, and the original has changed"); !d.empty()) return d;
    if (auto d = require(sum_of(m, noise, noise, one), norm, 2, "noise added to itself"); !d.empty()) return d;
    if (auto d = require(sum_of(m, P{}, noise, one), norm, 1, "noise added to nothing"); !d.empty()) return d;
    if (auto d = require(m.noise(b, 0.2, key), norm, 2, "the same noise at twice the deviation"); !d.empty()) return d;
    if (auto d = require(m.towards(b, other, std::span<const T>(half)), way, 0.5, "half of the way to other rows");
        !d.empty())
        return d;
    if (require(m.noise(b, 0.1, {o.seed, 4}), norm, 1, "").empty())
        return "!noise of another key has the same norms; is rng_key used?";
    if (largest({norm.begin(), norm.end()}) == 0) return "!noise moves nothing";
    return "perturbations add up";
}

template <class M, class B>
void check_inputs(M& m, const B& b, const conformance_options& o, conformance_report& report) {
    const limits<typename M::scalar> limit(o);
    if (score_width(m) != 1) {
        report.findings.push_back({"perturbed inputs", true, "skipped: more than one number a row"});
        return;
    }
    run(report, "perturbed inputs", [&] { return check_perturbation(m, b, o, limit); });
    const typename M::perturbation noise = m.noise(b, 0.1, {o.seed, 6});
    run(report, "input gradient", [&] { return check_input_gradient(m, b, {}, o, limit); });
    run(report, "input gradient of moved rows", [&] { return check_input_gradient(m, b, noise, o, limit); });
    run(report, "gradient of moved rows", [&]() -> std::string {
        if constexpr (flat_parameters<M>)
            return check_gradient<moved_subject<M, B>>(m, {b, noise}, 0, o, limit);
        else
            return "skipped: no parameters() to take differences of";
    });
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
