#pragma once
#include "rlgaf/models/ngram_table.hpp"
#include "rlgaf/models/optimizer_choice.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct ngram_policy_options {
    ngram_shape shape{};
    std::int32_t end_token = 0;     ///< ends a row; in 0 .. vocabulary - 1
    std::uint32_t max_length = 16;  ///< tokens a row at most, the end token included; >= 1
    double initial_spread = 0;      ///< deviation of the first logits and values; >= 0; 0: uniform
    std::uint64_t seed = 1;         ///< of the first logits and values
    optimizer_choice optimizer = sgd{};

    void check() const {
        shape.check();
        detail::check_option(end_token >= 0 && static_cast<std::size_t>(end_token) < shape.vocabulary, "ngram_policy",
                             "end_token", "in 0 .. vocabulary - 1", end_token);
        detail::check_option(max_length >= 1, "ngram_policy", "max_length", "1 or more", max_length);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
