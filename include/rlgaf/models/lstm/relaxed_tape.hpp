#pragma once
#include "rlgaf/backend/relaxed_rows.hpp"
#include "rlgaf/models/lstm/softmax_head.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// What backward_relaxed needs.
template <class T>
struct relaxed_tape {
    token_batch<T> hard;
    std::vector<T> soft;  ///< [tokens, vocabulary]
    relaxation_options options;
    bool filled = false;
};

/// The policy's weights as the products read them.

/// The policy as the products read it.
template <class T>
struct relaxed_weights {
    const packed_body<T>& body;
    const softmax_head<T>& head;
    const T* table;  ///< embeddings
    std::int32_t end_token;
    std::uint32_t max_length;

    const sizes& size() const { return body.size(); }
};

/// Shares that are one-hot are read as tokens.
inline bool reads_shares(const relaxation_options& o) { return o.soft_inputs && !o.straight_through; }

/// What comes before a row's first action.
struct opening {
    const token_prompts& prompts;
    std::size_t start_token;

    std::size_t length(std::size_t i) const { return rows(prompts) > 0 ? prompts.row(i).size() : 0; }
    std::size_t token(std::size_t i, std::size_t t) const {
        return t == 0 ? start_token : static_cast<std::size_t>(prompts.row(i)[t - 1]);
    }
};

/// One thread's rows.
struct row_range {
    std::size_t first = 0, last = 0;
};
/// A part is worth a thread from about ten microseconds on.
inline void cut_rows(std::size_t count, const sizes& n, std::vector<row_range>& parts) {
    const std::size_t worth = count * n.hidden * (4 * n.hidden + n.vocabulary) / 2000000;
    parts.resize(std::clamp<std::size_t>(worth, 1, threads()));
    for (std::size_t p = 0; p < parts.size(); ++p)
        parts[p] = {count * p / parts.size(), count * (p + 1) / parts.size()};
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
