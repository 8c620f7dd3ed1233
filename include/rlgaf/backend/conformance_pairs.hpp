#pragma once
#include "rlgaf/backend/conformance_clone.hpp"
#include "rlgaf/backend/conformance_model.hpp"
#include "rlgaf/backend/conformance_slope.hpp"

/// The conformance kit for critics of pairs (ability scores_pairs); see backend/conformance.hpp.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// Row i is the pair of a's row i and b's.
template <class B>
struct paired_rows {
    B a, b;

    friend std::size_t rows(const paired_rows& p) { return rows(p.a); }
    friend decltype(auto) lengths(const paired_rows& p) { return lengths(p.a); }
    friend decltype(auto) ends(const paired_rows& p) { return ends(p.a); }
    friend paired_rows select(const paired_rows& p, std::span<const std::size_t> pick) {
        return {select(p.a, pick), select(p.b, pick)};
    }
    friend paired_rows concat(const paired_rows& p, const paired_rows& q) {
        return {concat(p.a, q.a), concat(p.b, q.b)};
    }
};

template <class M, class B>
struct pair_subject {
    using scalar = typename M::scalar;
    using batch = paired_rows<B>;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "pair score"; }
    static numbers<scalar> blank(const batch& p) {
        return numbers<scalar>(std::vector<std::size_t>(rows(p), 3), mask_view{}, 1);
    }
    static void evaluate(M& m, const batch& p, numbers<scalar>& x) {
        m.evaluate_pairs(p.a, p.b, std::span<scalar>(x.value));
    }
    static auto forward(M& m, const batch& p, numbers<scalar>& x) {
        return m.forward_pairs(p.a, p.b, std::span<scalar>(x.value));
    }
    static void backward(M& m, typename M::pair_tape&& t, const numbers<scalar>& x) {
        m.backward_pairs(std::move(t), std::span<const scalar>(x.value));
    }
};

}  // namespace detail::conformance

/// Checks a critic of pairs on 4 or more pairs: sizes, order of the rows, gradients. Whether a and b are exchanged cannot
/// be seen from outside: look at the scores after some training. Nothing is compared across a step, because a critic may
/// read its pairs in another order then.
template <class C, class B>
    requires scores_pairs<C, B> conformance_report check_conformance_pairs(C& critic, const B& a, const B& b,
                                                                           const conformance_options& options = {}) {
        namespace kit = detail::conformance;
        using subject = kit::pair_subject<C, B>;
        options.check();
        if (rows(a) < 4) fail(error_kind::shape, "check_conformance_pairs", "a", "4 or more rows", short_text(rows(a)));
        detail::check_size(rows(b), rows(a), "check_conformance_pairs", "rows of b");
        const kit::limits<typename C::scalar> limit(options);
        const typename subject::batch pairs{a, b};
        conformance_report report;
        const auto check = [&](C& m) {
            kit::run(report, "evaluate and forward agree",
                     [&] { return kit::check_outputs<subject>(m, pairs, limit); });
            kit::run(report, "select and concat", [&] { return kit::check_rearranged<subject>(m, pairs, limit); });
            if constexpr (flat_parameters<C>) {
                kit::run(report, "gradient of pair score",
                         [&] { return kit::check_gradient<subject>(m, pairs, 0, options, limit); });
                kit::run(report, "gradients accumulate",
                         [&] { return kit::check_accumulation<subject>(m, pairs, options, limit); });
            } else {
                report.findings.push_back({"gradient of pair score", true, "skipped: no parameters()"});
            }
            m.discard();
        };
        if constexpr (clonable<C>) {
            C copy = critic.clone();
            check(copy);
        } else {
            check(critic);
        }
        return report;
    }

}  // namespace rlgaf::inline RLGAF_ABI
