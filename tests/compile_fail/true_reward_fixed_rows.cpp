// expect: rlgaf: fixed_rows shows how a discriminator's scale moves; a true_reward has none, leave it out
#include "complete_backend.hpp"

inline void train(mine::policy& policy) {
    rlgaf::true_reward reward{[](const mine::batch&, std::size_t) { return 0.0; }};
    rlgaf::adversarial_trainer trainer{policy, reward, rlgaf::no_experts, rlgaf::fixed_rows(mine::batch{})};
    trainer.run({.rounds = 5});
}
