#pragma once
#include "rlgaf/models/adamw_model.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What of a row's states the score is read from.
enum class pooling : std::uint8_t {
    last,  ///< the state after the last action
    mean   ///< the mean of the states after each action
};

struct lstm_scorer_options {
    std::size_t vocabulary = 0;    ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;    ///< >= 1
    std::size_t hidden = 256;      ///< >= 1; a multiple of 16 is fastest
    pooling pool = pooling::last;  ///< of a row without actions: the state before the first one
    double dropout = 0;            ///< of pooled units, in forward only; in [0, 1)
    std::uint64_t seed = 0;        ///< of the first parameters and of dropout
    adamw optimizer{};             ///< used by step
    std::size_t outputs = 1;       ///< numbers a row, the scorer's width(); >= 1

    void check() const {
        detail::check_sizes(
            "lstm_scorer_options",
            {{"vocabulary", vocabulary}, {"embedding", embedding}, {"hidden", hidden}, {"outputs", outputs}});
        detail::check_option(dropout >= 0 && dropout < 1, "lstm_scorer_options", "dropout", "in [0, 1)", dropout);
        optimizer.check();
    }
};

namespace detail::lstm {
/// The options of a model that begins with the body of another.
template <class Options, class Other>
Options sized_as(const Other& model, Options options) {
    options.vocabulary = model.options().vocabulary;
    options.embedding = model.options().embedding;
    options.hidden = model.options().hidden;
    return options;
}
}  // namespace detail::lstm

}  // namespace rlgaf::inline RLGAF_ABI
