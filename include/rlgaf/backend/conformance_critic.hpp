#pragma once
#include "rlgaf/backend/conformance_gradient.hpp"
#include "rlgaf/backend/critic.hpp"

/// The conformance kit for critics; see backend/conformance.hpp.
namespace rlgaf::inline RLGAF_ABI {

namespace detail::conformance {

template <class M, class B>
struct critic_subject {
    using scalar = typename M::scalar;
    using batch = B;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "value"; }
    static numbers<scalar> blank(const B& b) {
        return numbers<scalar>(std::span<const std::uint32_t>(lengths(b)), mask_of(b), 1);
    }
    static void evaluate(M& m, const B& b, numbers<scalar>& x) { m.evaluate(b, {.value = x.channel(0)}); }
    static auto forward(M& m, const B& b, numbers<scalar>& x) { return m.forward(b, {.value = x.channel(0)}); }
    static void backward(M& m, typename M::tape&& t, const numbers<scalar>& x) {
        m.backward(std::move(t), {.d_value = x.channel(0)});
    }
};

}  // namespace detail::conformance

/// Every check of a critic, on a batch of 4 or more rows of different kinds. That a value does not see its own action
/// cannot be checked through the waist: compare rows that begin alike.
template <class C, class B>
    requires critic_backend<C, B> conformance_report check_conformance_critic(C& critic, const B& batch,
                                                                              const conformance_options& options = {}) {
        namespace kit = detail::conformance;
        using subject = kit::critic_subject<C, B>;
        options.check();
        if (rows(batch) < 4)
            fail(error_kind::shape, "check_conformance_critic", "batch", "4 or more rows", std::to_string(rows(batch)));
        conformance_report report;
        kit::without_harm<subject>(critic, report, [&](C& c) {
            kit::check_model<subject>(c, batch, options, report);
            return batch;
        });
        return report;
    }

}  // namespace rlgaf::inline RLGAF_ABI
