#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/interop/torch/headers.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Rows in the form that modules read.
struct torch_rows {
    torch::Tensor tokens;             ///< int64 [B, T] on the host
    torch::Tensor lengths;            ///< int64 [B]: positions before the padding
    std::vector<std::int64_t> begin;  ///< [B]: the position of the completion's first token

    /// `prompt(i)` and `completion(i)` are spans. T is at least 1.
    template <class Prompt, class Completion>
    torch_rows(std::size_t count, std::int32_t start, std::int32_t pad, Prompt&& prompt, Completion&& completion)
        : lengths(torch::empty({static_cast<std::int64_t>(count)}, torch::kLong)), begin(count) {
        std::int64_t* const length = lengths.data_ptr<std::int64_t>();
        std::int64_t longest = 1;
        for (std::size_t i = 0; i < count; ++i) {
            begin[i] = (start >= 0 ? 1 : 0) + static_cast<std::int64_t>(prompt(i).size());
            length[i] = begin[i] + static_cast<std::int64_t>(completion(i).size());
            longest = std::max(longest, length[i]);
        }
        tokens = torch::full({static_cast<std::int64_t>(count), longest}, pad, torch::kLong);
        std::int64_t* row = tokens.data_ptr<std::int64_t>();
        for (std::size_t i = 0; i < count; ++i, row += longest) {
            std::int64_t* at = row;
            if (start >= 0) *at++ = start;
            for (const std::int32_t token : prompt(i)) *at++ = token;
            for (const std::int32_t token : completion(i)) *at++ = token;
        }
    }

    /// Bool [B, T, 1]: padding.
    torch::Tensor padding() const { return padding_after(lengths, tokens.size(1)); }
    static torch::Tensor padding_after(const torch::Tensor& lengths, std::int64_t positions) {
        return (torch::arange(positions).unsqueeze(0) >= lengths.unsqueeze(1)).unsqueeze(-1);
    }
};

/// Host numbers in the device's memory. Copies, because autograd keeps what it is given.
template <class T>
torch::Tensor torch_tensor(const std::vector<T>& x, const torch::Tensor& like) {
    const torch::Tensor host = torch::empty({static_cast<std::int64_t>(x.size())}, c10::CppTypeToScalarType<T>::value);
    std::copy(x.begin(), x.end(), host.data_ptr<T>());
    return host.to(like.device(), std::is_floating_point_v<T> ? like.scalar_type() : host.scalar_type());
}

/// Single precision in host memory, contiguous.
inline torch::Tensor torch_host(const torch::Tensor& x) {
    return x.detach().to(torch::kCPU, torch::kFloat).contiguous();
}

/// Numbers of the unmasked tokens, in their order, to their places in the batch and back.
inline void torch_scatter(const mask_view& included, const torch::Tensor& x, const ragged_view<float>& to) {
    if (to.empty()) return;
    const torch::Tensor host = torch_host(x);
    const float* from = host.data_ptr<float>();
    for_each_token(to, included, [&](std::size_t i, std::size_t t) { to.row(i)[t] = *from++; });
}
struct torch_slots {
    std::vector<std::size_t> offset;  ///< of the batch
    std::vector<std::uint8_t> mask;   ///< of the batch

    torch::Tensor gather(const ragged_view<const float>& from, const torch::Tensor& like, const char* function,
                         const char* argument) const {
        const auto shape = ragged_view<const float>::packed(nullptr, offset);
        check_same_shape(shape, from, function, argument);
        const mask_view included = mask.empty() ? mask_view{} : mask_view::packed(mask.data(), offset);
        std::vector<float> x;
        for_each_token(shape, included, [&](std::size_t i, std::size_t k) { x.push_back(from.row(i)[k]); });
        return torch_tensor(x, like);
    }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
