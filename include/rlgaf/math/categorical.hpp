#pragma once
#include <cmath>
#include <cstddef>
#include <span>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/scalar.hpp"

/// The categorical distribution softmax(logit / temperature) of one position, for models written without a framework.
namespace rlgaf::inline RLGAF_ABI {

/// Writes log-probabilities [V]; returns the entropy in nats. A logit of -infinity has probability 0 and takes no part.
/// Errors: shape_error; option_error unless temperature > 0; numeric_error if no logit is finite.
template <class T>
double log_softmax(std::span<const T> logit, double temperature, std::span<T> log_prob) {
    detail::check_size(log_prob.size(), logit.size(), "log_softmax", "log_prob");
    detail::check_option(temperature > 0, "log_softmax", "temperature", "positive", temperature);
    double largest = -std::numeric_limits<double>::infinity();
    for (const T z : logit) largest = std::fmax(largest, static_cast<double>(z));
    if (!(largest > -std::numeric_limits<double>::infinity()) || !(largest < std::numeric_limits<double>::infinity()))
        [[unlikely]]
        fail(error_kind::numeric, "log_softmax", "logit", "a finite largest logit", short_text(largest));
    double sum = 0;
    for (const T z : logit) sum += std::exp((static_cast<double>(z) - largest) / temperature);
    const double log_sum = std::log(sum);
    double entropy = 0;
    for (std::size_t v = 0; v < logit.size(); ++v) {
        const double lp = (static_cast<double>(logit[v]) - largest) / temperature - log_sum;
        log_prob[v] = static_cast<T>(lp);
        const double p = std::exp(lp);
        if (p > 0) entropy -= p * lp;
    }
    return entropy;
}

/// Draws one action from normalised log-probabilities [V]; u in [0, 1).
template <class T>
std::size_t sample_log_prob(std::span<const T> log_prob, double u) noexcept {
    std::size_t likely = 0;
    for (std::size_t v = 0; v < log_prob.size(); ++v) {
        const double p = std::exp(static_cast<double>(log_prob[v]));
        if (p > 0) {
            if (u < p) return v;
            likely = v;
        }
        u -= p;
    }
    return likely;
}

/// Adds to d_logit [V] the gradient of d_log_prob * log_prob[action] + d_entropy * entropy.
/// Formula: d/dz_j = (d_log_prob ([j = action] - p_j) - d_entropy p_j (log p_j + entropy)) / temperature.
/// Errors: shape_error.
template <class T>
void log_softmax_backward(std::span<const T> log_prob, std::size_t action, double entropy, double temperature,
                          double d_log_prob, double d_entropy, std::span<T> d_logit) {
    detail::check_size(d_logit.size(), log_prob.size(), "log_softmax_backward", "d_logit");
    if (action >= log_prob.size()) [[unlikely]]
        fail(error_kind::shape, "log_softmax_backward", "action", short_text("below ", log_prob.size()),
             short_text(action));
    for (std::size_t v = 0; v < log_prob.size(); ++v) {
        const double lp = static_cast<double>(log_prob[v]), p = std::exp(lp);
        double d = d_log_prob * ((v == action ? 1.0 : 0.0) - p);
        if (p > 0) d -= d_entropy * p * (lp + entropy);
        d_logit[v] += static_cast<T>(d / temperature);
    }
}

/// Without an entropy term.
template <class T>
void log_softmax_backward(std::span<const T> log_prob, std::size_t action, double temperature, double d_log_prob,
                          std::span<T> d_logit) {
    log_softmax_backward(log_prob, action, 0.0, temperature, d_log_prob, 0.0, d_logit);
}

/// KL(p || q) in nats of two log-probability rows; +infinity where q lacks what p has. Errors: shape_error.
template <class T>
double kl_divergence(std::span<const T> log_p, std::span<const T> log_q) {
    detail::check_size(log_q.size(), log_p.size(), "kl_divergence", "log_q");
    double kl = 0;
    for (std::size_t v = 0; v < log_p.size(); ++v) {
        const double p = std::exp(static_cast<double>(log_p[v]));
        if (p > 0) kl += p * (static_cast<double>(log_p[v]) - static_cast<double>(log_q[v]));
    }
    return kl;
}

}  // namespace rlgaf::inline RLGAF_ABI
