#pragma once
#include <cmath>
#include <span>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Adds to d_logit [V] the gradient of d_log_normalizer times log(sum of exp(logit)): d_log_normalizer softmax(logit).
/// Errors: shape_error.
template <class T>
void log_normalizer_backward(std::span<const T> logit, double log_normalizer, double d_log_normalizer,
                             std::span<T> d_logit) {
    detail::check_size(d_logit.size(), logit.size(), "log_normalizer_backward", "d_logit");
    for (std::size_t v = 0; v < logit.size(); ++v)
        d_logit[v] += static_cast<T>(d_log_normalizer * std::exp(static_cast<double>(logit[v]) - log_normalizer));
}

}  // namespace rlgaf::inline RLGAF_ABI
