#pragma once
#include <cmath>

#include "rlgaf/backend/token_batch.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Rows whose actions are shares of all tokens in place of one token each: what a Gumbel-softmax policy says. A ready-made
/// stand-in for the ability `relaxes`.
/// Shapes:  share, d_share [tokens of all rows, vocabulary], row after row, as `hard` lays out its tokens.
/// Ends:    the token drawn decides, as in a rollout: a row ends with its first end token, which belongs to it, or at the
///          longest length. No gradient flows through where rows end.
template <class T>
struct relaxed_rows {
    token_batch<T> hard;         ///< the tokens drawn, with the log-probs that they were drawn with, and the prompts
    std::size_t vocabulary = 0;  ///< tokens there are
    std::vector<T> share;        ///< not negative, 1 in sum
    std::vector<T> d_share;      ///< gradient of a loss by `share`; empty: none yet

    /// [length, vocabulary]
    std::span<const T> row(std::size_t i) const {
        return std::span(share).subspan(hard.offset[i] * vocabulary, hard.length[i] * vocabulary);
    }
};

template <class T>
const token_batch<T>& hard_rows(const relaxed_rows<T>& x) {
    return x.hard;
}

/// Shares of 1 for the tokens that the rows have: demonstrations as a scorer of relaxed rows sees them.
/// Errors: numeric_error for a token out of range.
template <class T>
relaxed_rows<T> one_hot(const token_batch<T>& b, std::size_t vocabulary) {
    relaxed_rows<T> out{.hard = b, .vocabulary = vocabulary, .share = {}, .d_share = {}};
    out.share.assign(b.token.size() * vocabulary, T{0});
    for (std::size_t n = 0; n < b.token.size(); ++n) {
        const std::int32_t token = b.token[n];
        if (token < 0 || static_cast<std::size_t>(token) >= vocabulary) [[unlikely]]
            fail(error_kind::numeric, "one_hot", "batch.token", short_text("tokens in 0 .. ", vocabulary - 1),
                 short_text(token));
        out.share[n * vocabulary + static_cast<std::size_t>(token)] = T{1};
    }
    return out;
}

namespace detail {
/// Number `index` of the stream's standard Gumbel numbers: -log(-log(u)), u strictly between 0 and 1. index < 2^32.
inline double gumbel(const random_stream& random, std::uint64_t index) {
    const auto w = random.bits(static_cast<std::uint32_t>(index & 0xFFFFFFu), static_cast<std::uint32_t>(index >> 24));
    const double u = (static_cast<double>((std::uint64_t{w[0]} << 32 | w[1]) >> 12) + 0.5) * 0x1p-52;
    return -std::log(-std::log(u));
}
}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
