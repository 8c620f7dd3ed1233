#pragma once
/// An RLHF trainer around the complete backend; the sources beside this file get one argument of it wrong.
#include "complete_backend.hpp"
#include "rlgaf/training/rlhf.hpp"

#ifndef COMPONENTS
#define COMPONENTS \
    rlgaf::ppo_clip{}, rlgaf::gae { .lambda = 0.9 }
#endif
#ifndef CRITIC
#define CRITIC mine::critic
#endif

namespace mine {
struct cloned_policy : policy {
    cloned_policy clone() const { return *this; }
};
struct critic : policy {
    static constexpr bool gives_value = true;
};
}  // namespace mine

inline void train(mine::cloned_policy& policy, mine::scorer& reward_model, CRITIC& critic) {
    rlgaf::rlhf_trainer trainer{policy, reward_model, critic, COMPONENTS};
    trainer.run({.rounds = 5});
}
