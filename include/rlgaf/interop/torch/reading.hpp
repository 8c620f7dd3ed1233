#pragma once
#include "rlgaf/interop/torch/module.hpp"
#include "rlgaf/interop/torch/options.hpp"
#include "rlgaf/interop/torch/rows.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// What the module returned as [B, W], or [B, T, W].
/// Errors: shape_error.
inline torch::Tensor torch_checked_scores(torch::Tensor out, const torch_rows& in, std::int64_t numbers) {
    const std::int64_t count = in.tokens.size(0), positions = in.tokens.size(1);
    if (out.defined() && numbers == 1) {
        if (out.dim() > 1 && out.size(-1) == 1 && (out.dim() > 2 || positions > 1)) out = out.squeeze(-1);
        out = out.unsqueeze(-1);
    }
    const std::int64_t dim = out.defined() ? out.dim() : 0;
    if (!(dim == 2 || (dim == 3 && out.size(1) == positions)) || out.size(0) != count || out.size(dim - 1) != numbers)
        [[unlikely]] {
        const std::string w = numbers == 1 ? "" : ", " + std::to_string(numbers);
        const std::string t = torch_shape(in.tokens);
        fail(error_kind::shape, "torch_scorer", "module.forward",
             (numbers == 1 ? "[B] = [" : "[B, W] = [") + std::to_string(count) + w +
                 (numbers == 1 ? "] or [B, T] = " : "] or [B, T, W] = ") + t.substr(0, t.size() - 1) + w + "]",
             torch_shape(out.defined() && numbers == 1 ? out.squeeze(-1) : out));
    }
    const bool half = out.scalar_type() == torch::kHalf || out.scalar_type() == torch::kBFloat16;
    return half ? out.to(torch::kFloat) : out;
}

/// Row sums of picked positions, so that others are never read: [B, T, W] to [B, W].
inline torch::Tensor torch_read(const torch::Tensor& out, const token_batch<float>& b, const torch_rows& in,
                                torch_reading reading) {
    std::vector<std::int64_t> row, position;
    std::vector<double> weight;
    const auto pick = [&](std::size_t i, std::int64_t t, double w) {
        row.push_back(static_cast<std::int64_t>(i));
        position.push_back(static_cast<std::int64_t>(i) * out.size(1) + t);
        weight.push_back(w);
    };
    const std::int64_t* const length = in.lengths.data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < rows(b); ++i) {
        if (reading == torch_reading::last_token) {
            if (length[i] > 0) pick(i, length[i] - 1, 1);
            continue;
        }
        const auto included = [&](std::size_t t) { return b.mask.empty() || b.mask[b.offset[i] + t] != 0; };
        std::size_t n = 0;
        for (std::size_t t = 0; t < b.length[i]; ++t) n += included(t) ? 1 : 0;
        for (std::size_t t = 0; t < b.length[i]; ++t)
            if (included(t)) pick(i, in.begin[i] + static_cast<std::int64_t>(t), 1 / static_cast<double>(n));
    }
    const torch::Tensor picked = out.flatten(0, 1).index_select(0, torch_tensor(position, out));
    return torch::zeros({out.size(0), out.size(2)}, out.options())
        .index_add(0, torch_tensor(row, out), picked * torch_tensor(weight, out).unsqueeze(1));
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
