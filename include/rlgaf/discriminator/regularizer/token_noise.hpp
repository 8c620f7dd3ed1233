#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/math/schedule.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Replaces tokens of what the discriminator reads, demonstrations and samples alike, while it trains: instance noise for
/// text, against shortcuts on the surface.
/// Formula: each token but the end of a row becomes one drawn evenly from the vocabulary with probability p(step).
/// Units:   steps are steps of the discriminator.
/// Errors:  option_error: a probability above 1, an empty vocabulary.
/// Needs:   a batch that replaces_tokens.
/// Source:  the library's own; for text as instance_noise for pictures.
struct token_noise {
    using role = role::input_noise;
    std::size_t vocabulary = 0;  ///< tokens that may come in; > 0
    schedule probability{.shape = schedule_shape::linear, .from = 0.1, .to = 0, .steps = 100};

    struct state {
        std::uint64_t steps = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("steps", steps);
        }
    };
    void check() const {
        probability.check();
        detail::check_option(vocabulary > 0, "token_noise", "vocabulary", "at least 1 token", 0);
        detail::check_option(probability.from <= 1 && probability.to <= 1, "token_noise", "probability", "at most 1",
                             probability.from > 1 ? probability.from : probability.to);
    }

    /// The probability for the next step.
    double operator()(state& s) const { return probability(s.steps++); }
};

}  // namespace rlgaf::inline RLGAF_ABI
