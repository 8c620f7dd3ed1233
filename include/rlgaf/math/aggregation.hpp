#pragma once
#include "rlgaf/core/ragged_view.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/math/groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How the losses of tokens become one number. n_i: unmasked tokens of row i; N: their sum; B+: rows with n_i > 0.
enum class aggregation {
    token_mean,     ///< 1 / N: every token counts the same (DAPO; TRL "dapo", "cispo", "vespo" and, in one micro-batch,
                    ///< "bnpo"; verl "token-mean"; OpenRLHF token_level_loss)
    sequence_mean,  ///< 1 / (n_i B+): every row counts the same (GRPO; TRL "grpo", "sapo"; verl "seq-mean-token-mean")
    sequence_sum,   ///< 1 / B+: log-probs of rows are summed (TRL "luspo", verl "seq-mean-token-sum")
    constant_length,  ///< 1 / (B constant_length): no length bias (Dr.GRPO; TRL "dr_grpo", verl "seq-mean-token-sum-norm")
    prompt_mean,      ///< 1 / (P+ sum of n_j in the row's group): every prompt counts the same (ScaleRL)
    sum               ///< 1: nothing is divided (SeqGAN)
};

/// One weight a row: the loss is sum over i, t of weight[i] * mask[i, t] * loss[i, t].
/// Shapes: token_count [B], groups [B], weight [B] (overwritten). Rows without tokens get 0.
/// Units:  counts are those of the whole optimiser step, so that splitting it into micro-batches changes nothing.
/// Errors: shape_error; option_error if constant_length is not positive where it is used.
/// Source: Shao et al. 2024, arXiv 2402.03300; Yu et al. 2025, arXiv 2503.14476; Liu et al. 2025, arXiv 2503.20783.
struct aggregate {
    aggregation mode = aggregation::token_mean;
    double constant_length = 0;  ///< tokens, > 0: for aggregation::constant_length only

    void check() const {
        if (mode == aggregation::constant_length)
            detail::check_option(constant_length > 0, "aggregate", "constant_length", "a positive number of tokens",
                                 constant_length);
    }

    void operator()(std::span<const std::uint32_t> token_count, const groups& group, workspace& work,
                    std::span<double> weight) const {
        check();
        const std::size_t rows = token_count.size();
        detail::check_size(weight.size(), rows, "aggregate", "weight");
        double tokens = 0, filled = 0;
        for (const std::uint32_t n : token_count) {
            tokens += n;
            filled += n > 0;
        }
        if (mode == aggregation::prompt_mean) {
            detail::check_groups(group, rows, "aggregate");
            work.a.assign(group.count, 0.0);
            for (std::size_t i = 0; i < rows; ++i) work.a[group.id[i]] += token_count[i];
            filled = 0;
            for (const double n : work.a) filled += n > 0;
        }
        for (std::size_t i = 0; i < rows; ++i) {
            if (token_count[i] == 0) {
                weight[i] = 0;
                continue;
            }
            switch (mode) {
                case aggregation::token_mean:
                    weight[i] = 1 / tokens;
                    break;
                case aggregation::sequence_mean:
                    weight[i] = 1 / (token_count[i] * filled);
                    break;
                case aggregation::sequence_sum:
                    weight[i] = 1 / filled;
                    break;
                case aggregation::constant_length:
                    weight[i] = 1 / (static_cast<double>(rows) * constant_length);
                    break;
                case aggregation::prompt_mean:
                    weight[i] = 1 / (filled * work.a[group.id[i]]);
                    break;
                case aggregation::sum:
                    weight[i] = 1;
                    break;
            }
        }
    }
};

/// Unmasked tokens of each row. `shape` gives the lengths; an empty mask includes everything.
template <class T>
void count_tokens(const ragged_view<T>& shape, const mask_view& mask, std::span<std::uint32_t> count) {
    detail::check_size(count.size(), shape.rows(), "count_tokens", "count");
    detail::check_same_shape_if_given(shape, mask, "count_tokens", "mask");
    for (std::size_t b = 0; b < shape.rows(); ++b) {
        std::uint32_t n = static_cast<std::uint32_t>(shape.length(b));
        if (!mask.empty()) {
            n = 0;
            for (const std::uint8_t m : mask.row(b)) n += m != 0;
        }
        count[b] = n;
    }
}

}  // namespace rlgaf::inline RLGAF_ABI
