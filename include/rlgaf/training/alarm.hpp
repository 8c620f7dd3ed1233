#pragma once
#include <cstdint>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What can go wrong in adversarial training, as far as a round's numbers show it.
enum class alarm : std::uint8_t {
    discriminator_wins,
    discriminator_gives_up,
    discriminator_overfits,
    reward_collapse,
    mode_collapse,
    length_drift,
    memorisation,
    kl_runaway
};

/// What each alarm says: what is seen, what it means, what helps.
inline const char* explain(alarm a) {
    switch (a) {
        case alarm::discriminator_wins:
            return "the discriminator wins: it tells nearly all samples from demonstrations, round after round, and "
                   "its "
                   "reward says little about which sample is better. Lower its learning rate, add r1{} or label "
                   "smoothing, or let accuracy_gate{.high = 0.9} rest it";
        case alarm::discriminator_gives_up:
            return "the discriminator has given up: from the start it does no better than a guess, so the reward is "
                   "noise. "
                   "Raise its learning rate or its size, weaken its regularisers, or lengthen discriminator_warmup";
        case alarm::discriminator_overfits:
            return "the discriminator overfits: it knows its own demonstrations by heart and orders held-out ones "
                   "worse. "
                   "Give it more demonstrations, dropout, r1{} or token_noise{}, or fewer steps";
        case alarm::reward_collapse:
            return "the reward has collapsed: samples earn the same, all in all or from the discriminator, and there "
                   "is nothing to learn from. "
                   "Look at "
                   "clipping and saturating rewards (logit_reward{} does not saturate) and at groups that repeat one "
                   "text";
        case alarm::mode_collapse:
            return "the policy repeats itself: far fewer different bigrams than at the start. Raise kl_penalty's beta "
                   "or the "
                   "entropy bonus, lower the policy's learning rate, add duplicate_discount{} or replay of past "
                   "samples";
        case alarm::length_drift:
            return "lengths drift: rows have become much longer or shorter than at the start, or run into the limit. "
                   "Check "
                   "the sign of rewards paid by token (see survival bias in reward_shaping/), add missing_eos{} or "
                   "length_penalty{}, or show the discriminator beginnings";
        case alarm::memorisation:
            return "the policy recites demonstrations: a large share of its samples are among them. Use more "
                   "demonstrations, a weaker discriminator, or stop earlier";
        case alarm::kl_runaway:
            return "the policy runs away from its reference. Raise kl_penalty's beta, use adaptive_kl_penalty{}, or "
                   "lower the "
                   "policy's learning rate";
    }
    return "";
}

}  // namespace rlgaf::inline RLGAF_ABI
