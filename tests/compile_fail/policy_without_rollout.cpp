// expect: rlgaf: the policy needs `batch rollout(const prompts&, std::span<const std::uint64_t> sample_id, const
// rlgaf::rollout_options&, rlgaf::rng_key)`: one sampled row for each id
#define WITHOUT_ROLLOUT
#include "complete_backend.hpp"

static_assert(rlgaf::check_policy<mine::policy>());
