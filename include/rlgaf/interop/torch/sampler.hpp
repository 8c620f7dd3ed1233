#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "rlgaf/backend/batch.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/math/categorical.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

/// One draw from softmax(logit / temperature), truncated to the top_k likeliest and of these to the smallest set with a
/// share of top_p, then renormalised. Ties: the lower token first.
class torch_sampler {
public:
    struct draw {
        std::int32_t token;
        float log_prob;  ///< in the distribution that was drawn from
    };
    /// Errors: numeric_error for NaN and for logits without a finite maximum.
    draw operator()(std::span<const float> logit, const rollout_options& o, double u) {
        const std::size_t size = logit.size();
        double largest = -std::numeric_limits<double>::infinity();
        for (const float z : logit) largest = std::fmax(largest, static_cast<double>(z));
        weight_.resize(size);
        for (std::size_t v = 0; v < size; ++v)
            weight_[v] = std::exp((static_cast<double>(logit[v]) - largest) / o.temperature);
        if (o.truncates()) truncate(o);
        const std::size_t token = sample_categorical(std::span<const double>(weight_), u);
        const double total = sum(std::span<const double>(weight_));
        return {static_cast<std::int32_t>(token), static_cast<float>(std::log(weight_[token] / total))};
    }

private:
    void truncate(const rollout_options& o) {
        order_.resize(weight_.size());
        for (std::size_t v = 0; v < order_.size(); ++v) order_[v] = v;
        const auto likelier = [&](std::size_t a, std::size_t b) {
            return weight_[a] > weight_[b] || (weight_[a] == weight_[b] && a < b);
        };
        std::size_t kept = o.top_k == 0 ? order_.size() : std::min<std::size_t>(o.top_k, order_.size());
        std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(kept), order_.end(), likelier);
        if (o.top_p < 1) {
            double mass = 0, reached = 0;
            for (std::size_t i = 0; i < kept; ++i) mass += weight_[order_[i]];
            for (std::size_t i = 0; i < kept && reached < o.top_p * mass; ++i) {
                reached += weight_[order_[i]];
                if (reached >= o.top_p * mass) kept = i + 1;
            }
        }
        for (std::size_t i = kept; i < order_.size(); ++i) weight_[order_[i]] = 0;
    }

    std::vector<double> weight_;
    std::vector<std::size_t> order_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
