#pragma once
#include "rlgaf/models/adamw_model.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct lstm_options {
    std::size_t vocabulary = 0;     ///< tokens, the end-of-sequence token included; >= 1
    std::size_t embedding = 64;     ///< >= 1
    std::size_t hidden = 256;       ///< >= 1; a multiple of 16 is fastest
    std::int32_t end_token = 0;     ///< ends a row, as its last action; in 0 .. vocabulary - 1
    std::uint32_t max_length = 16;  ///< actions a row where rollout_options::max_length is 0; >= 1
    std::uint64_t seed = 0;         ///< of the first parameters
    adamw optimizer{};              ///< used by step

    void check() const {
        detail::check_sizes(
            "lstm_options",
            {{"vocabulary", vocabulary}, {"embedding", embedding}, {"hidden", hidden}, {"max_length", max_length}});
        detail::check_option(end_token >= 0 && static_cast<std::size_t>(end_token) < vocabulary, "lstm_options",
                             "end_token", "in 0 .. vocabulary - 1", static_cast<double>(end_token));
        optimizer.check();
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
