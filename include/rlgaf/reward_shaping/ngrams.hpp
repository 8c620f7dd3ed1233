#pragma once
#include <concepts>

#include "rlgaf/reward_shaping/terms.hpp"

/// Runs of n tokens, for stages that judge repetition and likeness.
namespace rlgaf::inline RLGAF_ABI::detail {

template <class Batch>
concept batch_of_tokens = requires(const Batch& b) {
    { tokens(b) } -> std::convertible_to<ragged_view<const std::int32_t>>;
};

/// Errors: shape_error unless tokens and mask have a row for each row of the step.
template <class T, class Batch>
ragged_view<const std::int32_t> tokens_of(const Batch& batch, const shaping_terms<T>& terms, const rewards<T>& out,
                                          const char* stage) {
    static_assert(batch_of_tokens<Batch>,
                  "rlgaf: repetition_penalty, similarity_penalty and duplicate_discount need a batch that shows its "
                  "tokens; write `rlgaf::ragged_view<const std::int32_t> tokens(const batch&)` beside it");
    if constexpr (batch_of_tokens<Batch>) {
        const ragged_view<const std::int32_t> token = tokens(batch);
        check_size(token.rows(), out.rows(), stage, "tokens(batch)");
        check_same_shape_if_given(token, terms.mask, stage, "terms.mask");
        return token;
    }
    return {};
}

/// Calls f(first) for every run of n unmasked tokens of row b; returns how many there are.
template <class F>
std::size_t for_each_ngram(const ragged_view<const std::int32_t>& token, const mask_view& mask, std::size_t b,
                           std::size_t n, F&& f) {
    const included_tokens included(mask, b);
    std::size_t run = 0, count = 0;
    for (std::size_t t = 0; t < token.length(b); ++t) {
        run = included[t] ? run + 1 : 0;
        if (run < n) continue;
        f(t + 1 - n);
        ++count;
    }
    return count;
}

inline std::uint64_t hash_token(std::uint64_t hash, std::int32_t token) noexcept {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 32);
}

/// The different runs of n tokens of one row: a hash table over their places, in memory that the caller lends.
class ngram_set {
public:
    ngram_set(std::span<const std::int32_t> row, std::size_t n, std::vector<std::size_t>& table)
        : row_(row), n_(n), place_(table) {
        std::size_t size = 2;
        while (size < 2 * row.size()) size *= 2;
        place_.assign(size, 0);
    }
    /// Whether the run at `first` is new.
    bool insert(std::size_t first) {
        std::size_t& place = find(row_, first);
        if (place != 0) return false;
        place = first + 1;
        return true;
    }
    bool contains(std::span<const std::int32_t> row, std::size_t first) { return find(row, first) != 0; }

private:
    /// One more than the place of an equal run, or an empty slot for it.
    std::size_t& find(std::span<const std::int32_t> row, std::size_t first) {
        std::uint64_t hash = n_;
        for (std::size_t k = 0; k < n_; ++k) hash = hash_token(hash, row[first + k]);
        for (;; ++hash) {
            std::size_t& place = place_[hash & (place_.size() - 1)];
            std::size_t k = 0;
            while (place != 0 && k < n_ && row_[place - 1 + k] == row[first + k]) ++k;
            if (place == 0 || k == n_) return place;
        }
    }

    std::span<const std::int32_t> row_;
    std::size_t n_;
    std::vector<std::size_t>& place_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
