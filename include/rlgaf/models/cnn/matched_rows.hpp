#pragma once
#include "rlgaf/backend/token_batch.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// Rows of tokens or of shares, and how well each filter matches them.
template <class T>
struct matched_rows {
    token_batch<T> batch;
    std::vector<T> share;             ///< empty: tokens
    std::vector<std::size_t> column;  ///< [B + 1] of x
    std::vector<T> x;                 ///< [embedding, columns]
    std::vector<T> feature;           ///< [features, B], 0 where it was dropped
    std::vector<std::uint32_t> best;  ///< [features, B], columns
    T kept_scale = 1;                 ///< of the features that were not dropped
    bool filled = false;

    /// f(column of x, token, its shares or null) for every token that a row has, prompts first.
    template <class F>
    void for_each_input(std::size_t vocabulary, F&& f) const {
        for (std::size_t i = 0; i < rows(batch); ++i) {
            std::size_t at = column[i];
            if (rows(batch.prompt) > 0)
                for (const std::int32_t token : batch.prompt.row(i)) f(at++, static_cast<std::size_t>(token), nullptr);
            for (std::size_t k = batch.offset[i]; k < batch.offset[i + 1]; ++k)
                f(at++, static_cast<std::size_t>(batch.token[k]),
                  share.empty() ? nullptr : share.data() + k * vocabulary);
        }
    }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
