#pragma once
#include "rlgaf/backend/batch.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/training/round_report.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// What a round's report says of its samples: tokens, lengths, ends, and the entropy of unmasked tokens.
template <class Batch>
void describe_samples(round_report& report, const Batch& b) {
    if (rows(b) == 0) return;
    double truncated = 0, log_prob = 0, unmasked = 0;
    report.tokens = 0;
    for (const std::uint32_t length : lengths(b)) report.tokens += length;
    for (const row_end end : ends(b)) truncated += end == row_end::truncated;
    const auto said = behaviour_log_prob(b);
    for_each_token(said, mask_of(b), [&](std::size_t i, std::size_t t) {
        log_prob += static_cast<double>(said.row(i)[t]);
        unmasked += 1;
    });
    report.entropy_sampled = -log_prob / unmasked;
    report.length_mean = report.tokens / static_cast<double>(rows(b));
    report.truncated_share = truncated / static_cast<double>(rows(b));
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
