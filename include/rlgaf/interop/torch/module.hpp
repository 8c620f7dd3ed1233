#pragma once
#include <concepts>
#include <string>

#include "rlgaf/core/config.hpp"
#include "rlgaf/interop/torch/headers.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

template <class M>
struct torch_module_of {
    using type = M;
};
template <class M>
    requires requires { typename M::ContainedType; }
struct torch_module_of<M> {
    using type = typename M::ContainedType;
};

template <class N>
concept torch_reads_tokens = requires(N& n, torch::Tensor t) {
    { n.forward(t) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_lengths = requires(N& n, torch::Tensor t) {
    { n.forward(t, t) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_embedded = requires(N& n, torch::Tensor x) {
    { n.forward_embedded(x) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_reads_embedded_lengths = requires(N& n, torch::Tensor x) {
    { n.forward_embedded(x, x) } -> std::convertible_to<torch::Tensor>;
};
template <class N>
concept torch_embeds = requires(N& n, torch::Tensor t) {
    { n.embed(t) } -> std::convertible_to<torch::Tensor>;
    requires torch_reads_embedded<N> || torch_reads_embedded_lengths<N>;
};
template <class N>
concept torch_clonable = std::derived_from<N, torch::nn::Cloneable<N>>;

inline std::string torch_shape(const torch::Tensor& t) {
    if (!t.defined()) return "no tensor";
    std::string text = "[";
    for (std::int64_t d = 0; d < t.dim(); ++d) text += (d ? ", " : "") + std::to_string(t.size(d));
    return text + "]";
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
