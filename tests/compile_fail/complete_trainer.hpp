#pragma once
/// A trainer around the complete backend; the sources beside this file get one argument of it wrong.
#include "complete_backend.hpp"
#include "rlgaf/training/adversarial_trainer.hpp"

#ifndef COMPONENTS
#define COMPONENTS \
    rlgaf::ppo_clip{}, rlgaf::grpo { .group_size = 4 }
#endif

struct my_observer {
#ifdef MISSPELT_HOOK
    void on_rounds(const rlgaf::round_report&) {}
#else
    void on_round(const rlgaf::round_report&) {}
#endif
};

inline void train(mine::policy& policy, mine::scorer& discriminator, rlgaf::demonstrations<mine::batch>& experts) {
    rlgaf::adversarial_trainer trainer{policy, discriminator, experts, COMPONENTS};
    trainer.run({.rounds = 5}, my_observer{});
}
