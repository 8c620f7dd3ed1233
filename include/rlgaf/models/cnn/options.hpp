#pragma once
#include "rlgaf/models/adamw_model.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct cnn_scorer_options {
    std::size_t vocabulary = 0;                      ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;                      ///< >= 1
    std::size_t filters = 100;                       ///< of each width, >= 1; RelGAN: 300
    std::vector<std::size_t> widths = {2, 3, 4, 5};  ///< tokens that a filter sees at once; one or more, each >= 1
    std::uint64_t seed = 0;                          ///< of the first parameters and of dropout
    adamw optimizer{};                               ///< used by step
    double dropout = 0;                              ///< of features, in forward only; in [0, 1); SeqGAN, RelGAN: 0.25
    std::size_t outputs = 1;                         ///< numbers a row, the scorer's width(); >= 1; RelGAN: 64

    void check() const {
        detail::check_sizes("cnn_scorer_options", {{"vocabulary", vocabulary},
                                                   {"embedding", embedding},
                                                   {"filters", filters},
                                                   {"widths", widths.size()},
                                                   {"outputs", outputs}});
        for (const std::size_t w : widths) detail::check_sizes("cnn_scorer_options", {{"widths", w}});
        detail::check_option(dropout >= 0 && dropout < 1, "cnn_scorer_options", "dropout", "in [0, 1)", dropout);
        optimizer.check();
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
