#pragma once
#include "rlgaf/backend/conformance_outputs.hpp"

/// The ability attributes_tokens. What the weights mean is the scorer's own business and cannot be checked.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

template <class M, class B>
struct attribute_subject {
    using scalar = typename M::scalar;
    using batch = B;
    static constexpr std::size_t channels = 1;

    static const char* name(std::size_t) { return "token weight"; }
    static numbers<scalar> blank(const B& b) {
        return numbers<scalar>(std::span<const std::uint32_t>(lengths(b)), mask_of(b), 1);
    }
    static void evaluate(M& m, const B& b, numbers<scalar>& x) { m.attribute(b, x.channel(0)); }
};

template <class S, class M>
std::string check_attributes(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    m.discard();
    const auto weight = evaluated<S>(m, b);
    if (largest(take_gradient(m)) != 0) return "!attribute has left gradients in the parameters; it adds nothing there";
    double most = 0;
    for (std::size_t i = 0; i < weight.value.size(); ++i) {
        const double w = std::abs(static_cast<double>(weight.value[i]));
        if (!(w < std::numeric_limits<double>::infinity()))
            return "!attribute leaves " + text_of(w) +
                   " in a slot (the array was filled with NaN before): every unmasked slot is written";
        most = std::fmax(most, w);
    }
    if (const auto d = difference(weight, evaluated<S>(m, b), limit.tolerance); !d.empty())
        return "!attribute says two things about one batch: " + d + "; is dropout on?";
    if (auto d = check_rearranged<S>(m, b, limit); d[0] == '!') return d;
    return most == 0 ? "skipped: all weights are 0"
                     : "weights of up to " + text_of(most) + ", and nothing else changes";
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
