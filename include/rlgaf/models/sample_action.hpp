#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "rlgaf/backend/batch.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct sampled_action {
    std::size_t action = 0;
    double log_prob = 0;  ///< of the distribution that was sampled from: after top-k and top-p, renormalised
};

/// Draws one action from log-probabilities [V], with top-k and top-p if asked for (top-k first; ties: lowest index).
/// `order` and `weight` are scratch memory; u in [0, 1) is the random number.
/// Source: top-p: Holtzman et al. 2019, arXiv 1904.09751.
template <class T>
sampled_action sample_action(std::span<const T> log_prob, const rollout_options& options, double u,
                             std::vector<std::size_t>& order, std::vector<double>& weight) {
    weight.resize(log_prob.size());
    for (std::size_t v = 0; v < log_prob.size(); ++v) weight[v] = std::exp(static_cast<double>(log_prob[v]));
    double kept = 1;
    if (options.truncates()) {
        order.resize(log_prob.size());
        for (std::size_t v = 0; v < order.size(); ++v) order[v] = v;
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return weight[a] > weight[b] || (weight[a] == weight[b] && a < b);
        });
        const std::size_t k = options.top_k == 0 ? order.size() : std::min<std::size_t>(options.top_k, order.size());
        double in_k = 0;
        for (std::size_t i = 0; i < k; ++i) in_k += weight[order[i]];
        std::size_t n = 0;
        for (kept = 0; n < k && (n == 0 || kept < options.top_p * in_k); ++n) kept += weight[order[n]];
        for (std::size_t i = n; i < order.size(); ++i) weight[order[i]] = 0;
    }
    const std::size_t action = sample_categorical(std::span<const double>(weight), u);
    return {action, std::fmin(static_cast<double>(log_prob[action]) - std::log(kept), 0.0)};
}

}  // namespace rlgaf::inline RLGAF_ABI
