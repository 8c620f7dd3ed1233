#pragma once
#include <cmath>

#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/models/lstm/threads.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Displacements of the input embeddings of some rows: of a row's prompt, then of its completion. The start token stays
/// where it is. One without rows moves nothing.
template <class T>
class perturbation {
public:
    perturbation() = default;
    /// Zeros for the rows of a batch.
    perturbation(const token_batch<T>& b, std::size_t embedding) : embedding_(embedding) {
        for (std::size_t i = 0; i < rows(b); ++i) offset_.push_back(offset_.back() + inputs(b, i));
        by_.assign(offset_.back() * embedding, T{0});
    }

    /// Normal numbers of deviation sigma; row i of b is row first + i of the step. Errors: option_error.
    static perturbation noise(const token_batch<T>& b, std::size_t embedding, double sigma, rng_key key,
                              std::size_t first) {
        check_option(sigma >= 0, "perturbation::noise", "sigma", "0 or positive", sigma);
        perturbation p(b, embedding);
        for_each_row(rows(b), [&](std::size_t i) {
            const random_stream random(key, stream::noise, first + i);
            const std::span<T> x = p.row(i);
            for (std::size_t j = 0; j < x.size(); ++j)
                x[j] = static_cast<T>(sigma * random.normal(static_cast<std::uint32_t>(j & 0xFFFFFFu),
                                                            static_cast<std::uint32_t>(j >> 24)));
        });
        return p;
    }
    /// d[i] of the way from the completion of row i of a to that of b; `table` are the embeddings. Errors: shape_error.
    static perturbation towards(const token_batch<T>& a, const token_batch<T>& b, std::span<const T> d, const T* table,
                                std::size_t embedding) {
        check_size(rows(b), rows(a), "perturbation::towards", "rows of b");
        check_size(d.size(), rows(a), "perturbation::towards", "d");
        perturbation p(a, embedding);
        for (std::size_t i = 0; i < rows(a); ++i) {
            const std::span<const std::int32_t> from = a.row(i), to = b.row(i);
            const std::span<T> x = p.row(i).last(from.size() * embedding);
            for (std::size_t t = 0; t < std::min(from.size(), to.size()); ++t) {
                const T* const start = table + static_cast<std::size_t>(from[t]) * embedding;
                const T* const goal = table + static_cast<std::size_t>(to[t]) * embedding;
                for (std::size_t j = 0; j < embedding; ++j) x[t * embedding + j] = d[i] * (goal[j] - start[j]);
            }
        }
        return p;
    }

    bool empty() const { return size() == 0; }
    std::size_t size() const { return offset_.size() - 1; }  ///< rows
    /// [inputs, embedding]
    std::span<const T> row(std::size_t i) const {
        return std::span(by_).subspan(offset_[i] * embedding_, (offset_[i + 1] - offset_[i]) * embedding_);
    }
    std::span<T> row(std::size_t i) {
        return std::span(by_).subspan(offset_[i] * embedding_, (offset_[i + 1] - offset_[i]) * embedding_);
    }
    /// Errors: shape_error if there are prompts but not one a row.
    static std::size_t inputs(const token_batch<T>& b, std::size_t i) {
        if (rows(b.prompt) == 0) return b.length[i];
        check_size(rows(b.prompt), rows(b), "perturbation", "batch.prompt");
        return b.prompt.row(i).size() + b.length[i];
    }

    /// Errors: shape_error unless it was made for rows of these lengths.
    void check(const token_batch<T>& b, std::size_t embedding, const char* function) const {
        check_size(size(), rows(b), function, "rows of perturbation");
        check_size(embedding_, embedding, function, "embedding of perturbation");
        for (std::size_t i = 0; i < size(); ++i)
            check_size(offset_[i + 1] - offset_[i], inputs(b, i), function, "inputs of a row of perturbation");
    }

    /// With the embeddings of the completion of row i, token by token; `table` are all embeddings.
    void inner_products(std::size_t i, std::span<const std::int32_t> tokens, const T* table, std::span<T> out) const {
        const std::span<const T> by = row(i).last(tokens.size() * embedding_);
        for (std::size_t t = 0; t < tokens.size(); ++t) {
            const T* const e = table + static_cast<std::size_t>(tokens[t]) * embedding_;
            double sum = 0;
            for (std::size_t j = 0; j < embedding_; ++j)
                sum += static_cast<double>(e[j]) * static_cast<double>(by[t * embedding_ + j]);
            out[t] = static_cast<T>(sum);
        }
    }
    void row_norms(std::span<T> norm) const {
        if (!empty()) check_size(norm.size(), size(), "perturbation::row_norms", "norm");
        for (std::size_t i = 0; i < norm.size(); ++i) {
            double total = 0;
            if (!empty())
                for (const T x : row(i)) total += static_cast<double>(x) * static_cast<double>(x);
            norm[i] = static_cast<T>(std::sqrt(total));
        }
    }
    void scale(std::span<const T> by) {
        if (empty()) return;
        check_size(by.size(), size(), "perturbation::scale", "factors");
        for (std::size_t i = 0; i < size(); ++i)
            for (T& x : row(i)) x *= by[i];
    }
    void add(const perturbation& other) {
        if (other.empty()) return;
        if (empty()) {
            *this = other;
            return;
        }
        check_size(other.size(), size(), "perturbation::add", "rows");
        check_size(other.by_.size(), by_.size(), "perturbation::add", "inputs times embedding");
        for (std::size_t i = 0; i < size(); ++i)
            check_size(other.offset_[i + 1], offset_[i + 1], "perturbation::add", "inputs up to a row");
        for (std::size_t i = 0; i < by_.size(); ++i) by_[i] += other.by_[i];
    }

private:
    std::size_t embedding_ = 0;
    std::vector<std::size_t> offset_ = {0};  ///< [rows + 1], in inputs
    std::vector<T> by_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
