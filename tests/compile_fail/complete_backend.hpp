#pragma once
/// A complete policy and scorer that do nothing. The sources beside this file define what to leave out or to get wrong,
/// so that a test's wrong backend differs from a right one in that place only.
#include "rlgaf/rlgaf.hpp"

#ifndef OUTPUT_SCALAR
#define OUTPUT_SCALAR float
#endif

namespace mine {

struct batch {
    std::vector<std::uint32_t> length;
    std::vector<rlgaf::row_end> end;
    std::vector<float> log_prob;
};
inline std::size_t rows(const batch& b) { return b.length.size(); }
inline std::span<const std::uint32_t> lengths(const batch& b) { return b.length; }
inline std::span<const rlgaf::row_end> ends(const batch& b) { return b.end; }
inline rlgaf::ragged_view<const float> behaviour_log_prob(const batch& b) {
    return rlgaf::ragged_view<const float>::padded(b.log_prob.data(), 1, b.length);
}
#ifndef WITHOUT_BATCH_FUNCTIONS
inline batch select(const batch& b, std::span<const std::size_t>) { return b; }
inline batch concat(const batch& a, const batch&) { return a; }
#endif

struct policy {
    using scalar = float;
    using batch = mine::batch;
    using prompts = rlgaf::no_prompts;
    struct tape {};
#ifndef WITHOUT_ROLLOUT
    batch rollout(const prompts&, std::span<const std::uint64_t>, const rlgaf::rollout_options&, rlgaf::rng_key) {
        return {};
    }
#endif
    void evaluate(const batch&, rlgaf::policy_outputs<OUTPUT_SCALAR>) {}
    tape forward(const batch&, rlgaf::policy_outputs<OUTPUT_SCALAR>) { return {}; }
    void backward(tape&&, rlgaf::policy_cotangents<float>) {}
#ifndef WITHOUT_STEP
    rlgaf::step_report step(const rlgaf::step_options&) { return {}; }
#endif
    void discard() {}
};

struct scorer {
    using scalar = float;
    struct tape {};
    void evaluate(const batch&, std::span<float>) {}
    tape forward(const batch&, std::span<float>) { return {}; }
#ifndef WITHOUT_BACKWARD
    void backward(tape&&, std::span<const float>) {}
#endif
    rlgaf::step_report step(const rlgaf::step_options&) { return {}; }
    void discard() {}
};

}  // namespace mine
