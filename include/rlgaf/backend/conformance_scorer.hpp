#pragma once
#include "rlgaf/backend/conformance_attributes.hpp"
#include "rlgaf/backend/conformance_gradient.hpp"
#include "rlgaf/backend/conformance_perturbation.hpp"
#include "rlgaf/backend/conformance_tokens.hpp"
#include "rlgaf/backend/scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

template <class M, class B>
struct scorer_subject {
    using scalar = typename M::scalar;
    using batch = B;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "score"; }
    static numbers<scalar> blank(const B& b) {
        return numbers<scalar>(std::vector<std::size_t>(rows(b), 1), mask_view{}, 1);
    }
    static void evaluate(M& m, const B& b, numbers<scalar>& x) { m.evaluate(b, std::span<scalar>(x.value)); }
    static auto forward(M& m, const B& b, numbers<scalar>& x) { return m.forward(b, std::span<scalar>(x.value)); }
    static void backward(M& m, typename M::tape&& t, const numbers<scalar>& x) {
        m.backward(std::move(t), std::span<const scalar>(x.value));
    }
};

}  // namespace detail::conformance

/// Every check of a scorer, on a batch of 4 or more rows of different kinds (a rollout joined with demonstrations).
template <class S, class B>
    requires scorer_backend<S, B> conformance_report check_conformance_scorer(S& scorer, const B& batch,
                                                                              const conformance_options& options = {}) {
        namespace kit = detail::conformance;
        using subject = kit::scorer_subject<S, B>;
        options.check();
        if (rows(batch) < 4)
            fail(error_kind::shape, "check_conformance_scorer", "batch", "4 or more rows", std::to_string(rows(batch)));
        conformance_report report;
        kit::without_harm<subject>(scorer, report, [&](S& s) {
            kit::check_model<subject>(s, batch, options, report);
            if constexpr (scores_tokens<S, B>) kit::check_tokens<kit::token_subject<S, B>>(s, batch, options, report);
            if constexpr (perturbs_inputs<S, B>) kit::check_inputs(s, batch, options, report);
            if constexpr (attributes_tokens<S, B>)
                kit::run(report, "token weights", [&] {
                    return kit::check_attributes<kit::attribute_subject<S, B>>(
                        s, batch, kit::limits<typename S::scalar>(options));
                });
            return batch;
        });
        return report;
    }

}  // namespace rlgaf::inline RLGAF_ABI
