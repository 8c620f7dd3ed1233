// expect: rlgaf: an argument of the trainer is not a component; wrap a callable of your own in as_reward,
// as_advantage, as_policy_loss or as_discriminator_loss
#define COMPONENTS rlgaf::ppo_clip{}, [](double score) { return 2 * score; }
#include "complete_trainer.hpp"
