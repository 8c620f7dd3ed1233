#pragma once
#include <cstdint>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/error.hpp"
#include "rlgaf/core/finite.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Who trains this round.
struct turn {
    bool policy = true;
    bool discriminator = true;
};

/// Lets the side that is behind train alone, by the running accuracy of the discriminator on fresh samples.
/// Formula: a = decay a + (1 - decay) accuracy, started at the first accuracy;  a > high: the discriminator rests;
///          a < low: the policy rests, because the reward says nothing yet.
/// Units:   accuracy = share of pairs in which the demonstration scores higher; 0.5 is a guess.
/// Degenerate: an accuracy that is NaN (nothing was compared) is not taken in.
/// Errors:  option_error unless 0.5 <= low < high <= 1.
/// Source:  accuracy gates as in GAN practice; the two bounds follow reports on GAD (65 to 85 % is healthy).
struct accuracy_gate {
    using role = role::gate;
    double high = 1;     ///< in (low, 1]; 1: the discriminator never rests
    double low = 0.5;    ///< in [0.5, high); 0.5: the policy rests only while the discriminator is worse than a guess
    double decay = 0.9;  ///< in [0, 1)

    struct state {
        double accuracy = 0.5;
        std::uint64_t rounds = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("accuracy", accuracy), a("rounds", rounds);
        }
    };
    void check() const {
        detail::check_option(low >= 0.5, "accuracy_gate", "low", "at least 0.5", low);
        detail::check_option(high > low && high <= 1, "accuracy_gate", "high", "above .low and at most 1", high);
        detail::check_option(decay >= 0 && decay < 1, "accuracy_gate", "decay", "in [0, 1)", decay);
    }

    /// Takes in this round's accuracy; says who trains in it.
    turn operator()(state& s, double accuracy) const {
        check();
        if (!is_nan(&accuracy)) s.accuracy = s.rounds++ == 0 ? accuracy : decay * s.accuracy + (1 - decay) * accuracy;
        return {.policy = !(s.accuracy < low), .discriminator = !(s.accuracy > high)};
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
