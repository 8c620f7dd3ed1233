#pragma once
#include "rlgaf/backend/batch.hpp"
#include "rlgaf/training/round_report.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// What a round's report says of the tokens drawn last.
template <class Batch>
void describe_samples(round_report& report, const Batch& b) {
    if (rows(b) == 0) return;
    double truncated = 0, log_prob = 0;
    report.tokens = 0;
    const auto said = behaviour_log_prob(b);
    for (std::size_t i = 0; i < rows(b); ++i) {
        report.tokens += lengths(b)[i];
        truncated += ends(b)[i] == row_end::truncated;
        for (const auto x : said.row(i)) log_prob += static_cast<double>(x);
    }
    report.entropy_sampled = -log_prob / report.tokens;
    report.length_mean = report.tokens / static_cast<double>(rows(b));
    report.truncated_share = truncated / static_cast<double>(rows(b));
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
