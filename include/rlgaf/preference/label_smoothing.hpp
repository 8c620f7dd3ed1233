#pragma once
#include "rlgaf/math/categorical.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Negative log-likelihood of one token with label smoothing, for policies that expose their logits.
/// Formula: L = -(1 - s) log p_action - (s / V) sum of log p_v, p = softmax(logit / temperature). V counts the actions
///          with p > 0: a logit of -infinity takes no part.
/// Shapes:  log_prob, d_logit [V]; log_prob as log_softmax writes it at the same temperature.
/// Adds:    d_logit += weight (p_v - (1 - s) [v = action] - s / V) / temperature. Returns weight L.
/// Units:   nats.
/// Degenerate: weight 0 (a masked token): returns 0, adds nothing, reads nothing.
/// Errors:  shape_error; option_error unless smoothing is in [0, 1) and temperature > 0.
/// Source:  Szegedy et al. 2015, arXiv 1512.00567, section 7; as torch's cross_entropy, which does not leave out
///          actions of probability 0 (its loss is then infinite).
template <class T>
double smoothed_nll(std::span<const T> log_prob, std::size_t action, double smoothing, double temperature,
                    double weight, std::span<T> d_logit) {
    detail::check_size(d_logit.size(), log_prob.size(), "smoothed_nll", "d_logit");
    if (action >= log_prob.size()) [[unlikely]]
        fail(error_kind::shape, "smoothed_nll", "action", short_text("below ", log_prob.size()), short_text(action));
    detail::check_option(smoothing >= 0 && smoothing < 1, "smoothed_nll", "smoothing", "in [0, 1)", smoothing);
    detail::check_option(temperature > 0, "smoothed_nll", "temperature", "positive", temperature);
    if (weight == 0) return 0;
    const auto possible = [](double log_p) { return log_p > -std::numeric_limits<double>::infinity(); };
    double sum = 0, count = 0;
    for (const T l : log_prob)
        if (possible(static_cast<double>(l))) {
            sum += static_cast<double>(l);
            count += 1;
        }
    const double even = count > 0 ? smoothing / count : 0;
    for (std::size_t v = 0; v < log_prob.size(); ++v) {
        const double l = static_cast<double>(log_prob[v]);
        const double target = (v == action ? 1 - smoothing : 0) + (possible(l) ? even : 0);
        d_logit[v] += static_cast<T>(weight * (std::exp(l) - target) / temperature);
    }
    return -weight * ((1 - smoothing) * static_cast<double>(log_prob[action]) + even * sum);
}

}  // namespace rlgaf::inline RLGAF_ABI
