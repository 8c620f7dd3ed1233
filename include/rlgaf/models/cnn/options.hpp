#pragma once
#include "rlgaf/models/adamw_model.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct cnn_scorer_options {
    std::size_t vocabulary = 0;                      ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;                      ///< >= 1
    std::size_t filters = 100;                       ///< of each width, >= 1; RelGAN: 300
    std::vector<std::size_t> widths = {2, 3, 4, 5};  ///< tokens that a filter sees at once; one or more, each >= 1
    std::uint64_t seed = 0;                          ///< of the first parameters
    adamw optimizer{};                               ///< used by step

    void check() const {
        detail::check_sizes(
            "cnn_scorer_options",
            {{"vocabulary", vocabulary}, {"embedding", embedding}, {"filters", filters}, {"widths", widths.size()}});
        for (const std::size_t w : widths) detail::check_sizes("cnn_scorer_options", {{"widths", w}});
        optimizer.check();
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
