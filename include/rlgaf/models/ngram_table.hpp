#pragma once
#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/interop/xtensor.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct ngram_shape {
    std::size_t vocabulary = 2;  ///< tokens are 0 .. vocabulary - 1; >= 2
    std::size_t order = 2;       ///< n: a position sees itself and n - 1 tokens before it; >= 1

    /// Errors: option_error, also if the table would have more than 2^32 rows.
    void check() const {
        detail::check_option(vocabulary >= 2 && vocabulary < (std::size_t{1} << 31), "ngram", "vocabulary",
                             "2 or more tokens", static_cast<double>(vocabulary));
        detail::check_option(order >= 1, "ngram", "order", "1 or more", static_cast<double>(order));
        detail::check_option(std::pow(static_cast<double>(vocabulary + 1), static_cast<double>(order - 1)) <= 0x1p32,
                             "ngram", "order", "(vocabulary + 1)^(order - 1) at most 2^32", static_cast<double>(order));
    }
};

/// Numbers the histories that an n-gram model tells apart: the last n - 1 tokens, where "before the start" is one more
/// symbol. A prompt is history like any other.
class ngram_contexts {
public:
    explicit ngram_contexts(const ngram_shape& shape) : symbols_(shape.vocabulary + 1) {
        shape.check();
        for (std::size_t i = 1; i < shape.order; ++i) count_ *= symbols_;
    }
    std::size_t count() const { return count_; }                      ///< (V + 1)^(n - 1)
    std::size_t vocabulary() const { return symbols_ - 1; }           ///< V
    std::size_t start() const { return count_ - 1; }                  ///< nothing seen yet
    std::size_t after(std::size_t context, std::int32_t token) const  ///< the context one token later
    {
        return (context * symbols_ + static_cast<std::size_t>(token)) % count_;
    }
    /// Errors: numeric_error for a token outside the vocabulary.
    std::size_t after(std::size_t context, std::span<const std::int32_t> tokens, const char* function) const {
        for (const std::int32_t token : tokens) {
            check(token, function);
            context = after(context, token);
        }
        return context;
    }

    /// Calls f(row, position, context, token) for every position of the batch that its mask includes.
    /// Errors: numeric_error for a token outside the vocabulary.
    template <class T, class F>
    void for_each(const token_batch<T>& b, const char* function, F&& f) const {
        const mask_view included = mask(b);
        for (std::size_t i = 0; i < rows(b); ++i) {
            std::size_t context = rows(b.prompt) > 0 ? after(start(), b.prompt.row(i), function) : start();
            const std::span<const std::int32_t> row = b.row(i);
            for (std::size_t t = 0; t < row.size(); ++t) {
                check(row[t], function);
                if (included.empty() || included.row(i)[t]) f(i, t, context, static_cast<std::size_t>(row[t]));
                context = after(context, row[t]);
            }
        }
    }

private:
    void check(std::int32_t token, const char* function) const {
        if (token < 0 || static_cast<std::size_t>(token) >= vocabulary()) [[unlikely]]
            fail(error_kind::numeric, function, "token", "0 to " + std::to_string(vocabulary() - 1),
                 std::to_string(token));
    }

    std::size_t symbols_;
    std::size_t count_ = 1;
};

namespace detail {

/// A table of parameters [rows, columns] with its gradient, filled with normal numbers of deviation `spread`.
template <class T>
struct ngram_table {
    xt::xtensor<T, 2> values, gradients;

    ngram_table(std::size_t rows, std::size_t columns, double spread, std::uint64_t seed, std::uint64_t which)
        : values(std::array<std::size_t, 2>{rows, columns}, T{0}),
          gradients(std::array<std::size_t, 2>{rows, columns}, T{0}) {
        check_option(spread >= 0, "ngram", "initial_spread", "0 or positive", spread);
        for (std::size_t i = 0; spread > 0 && i < values.size(); ++i)
            values.data()[i] =
                static_cast<T>(spread * random_stream({seed, 0}, stream::initialization, which << 40 | i >> 24)
                                            .normal(static_cast<std::uint32_t>(i & 0xFFFFFF)));
    }
    std::span<const T> row(std::size_t i) const { return {values.data() + i * values.shape()[1], values.shape()[1]}; }
    std::span<T> gradient_row(std::size_t i) {
        return {gradients.data() + i * gradients.shape()[1], gradients.shape()[1]};
    }
    parameter_block<T> block(const char* name) {
        return {name,
                {values.shape()[0], values.shape()[1]},
                std::span<T>(values.data(), values.size()),
                std::span<T>(gradients.data(), gradients.size())};
    }
    void discard() { gradients.fill(T{0}); }
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
