#pragma once
#include "rlgaf/models/lstm/body.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Embeddings of mixtures of tokens, and their gradients. Embeddings are columns of `stride()` elements.
template <class T>
class mixed_embedding {
public:
    void assign(const T* table, const sizes& n) {
        n_ = n;
        token_.assign(padded<T>(n.vocabulary), packed_matrix<T>::none);
        element_.assign(stride(), packed_matrix<T>::none);
        for (std::size_t v = 0; v < n.vocabulary; ++v) token_[v] = v * n.embedding;
        for (std::size_t e = 0; e < n.embedding; ++e) element_[e] = e;
        mix_.assign(element_, std::span(token_).first(n.vocabulary), table);
        spread_.assign(token_, std::span(element_).first(n.embedding), table);
    }
    std::size_t stride() const { return padded<T>(n_.embedding); }

    /// x = table^T share, of n mixtures [vocabulary, n].
    void mix(const T* share, std::size_t n, T* x) const { multiply(mix_, share, n_.vocabulary, n, x, stride()); }
    /// d_share = table d_x, [padded vocabulary, n].
    void spread(const T* d_x, std::size_t n, T* d_share) const {
        multiply(spread_, d_x, stride(), n, d_share, padded<T>(n_.vocabulary));
    }
    /// d_table += share d_x^T, of the rows [vocabulary, embedding].
    void add_gradient(const T* share, const T* d_x, std::size_t n, T* d_table) {
        T* const sum = sum_.zeroed(stride() * n_.vocabulary);
        add_outer(d_x, stride(), stride(), share, n_.vocabulary, n_.vocabulary, n, sum, stride(), outer_);
        for (std::size_t v = 0; v < n_.vocabulary; ++v)
            for (std::size_t e = 0; e < n_.embedding; ++e) d_table[v * n_.embedding + e] += sum[v * stride() + e];
    }

private:
    sizes n_;
    std::vector<std::size_t> token_, element_;
    packed_matrix<T> mix_, spread_;
    scratch<T> sum_, outer_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
