#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/categorical.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class kl_direction {
    reverse,  ///< KL(policy || reference): what kl_loss estimates
    forward   ///< KL(reference || policy): distillation
};

/// Exact KL to the reference over all V choices of one token, for backends that expose their logits.
/// Formula: p = softmax(logit / temperature), q likewise of the reference;
///          reverse: sum of p_j (log p_j - log q_j);   forward: sum of q_j (log q_j - log p_j).
/// Shapes:  logit, reference_logit, d_logit [V]; d_logit may be empty. Returns the KL, without the weight.
/// Adds:    reverse: d_logit_j += weight p_j (log p_j - log q_j - KL) / temperature;
///          forward: d_logit_j += weight (p_j - q_j) / temperature.
/// Units:   nats; normalised log-probs are logits too. Computed in double.
/// Degenerate: a choice that both sides exclude (a logit of -infinity) takes no part.
/// Errors:  shape_error; option_error; numeric_error for NaN, or where the KL is infinite because one side excludes
///          a choice that the other allows. No allocation in steady state; work.a and work.b are overwritten.
/// Source:  the definition; verl offers "full" and raises NotImplementedError.
struct full_kl {
    kl_direction direction = kl_direction::reverse;
    double temperature = 1;  ///< > 0: that of the sampling

    void check() const { detail::check_option(temperature > 0, "full_kl", "temperature", "positive", temperature); }

    template <class T>
    double operator()(std::span<const T> logit, std::span<const T> reference_logit, double weight, workspace& work,
                      std::span<T> d_logit) const {
        check();
        detail::check_size(reference_logit.size(), logit.size(), "full_kl", "reference_logit");
        if (!d_logit.empty()) detail::check_size(d_logit.size(), logit.size(), "full_kl", "d_logit");
        const std::span<const double> p = log_probs(logit, work.a, "logit");
        const std::span<const double> q = log_probs(reference_logit, work.b, "reference_logit");
        const bool reverse = direction == kl_direction::reverse;
        const double kl = reverse ? kl_divergence(p, q) : kl_divergence(q, p);
        if (!(kl < std::numeric_limits<double>::infinity())) [[unlikely]]
            fail(error_kind::numeric, "full_kl", reverse ? "reference_logit" : "logit",
                 "a finite one wherever the other side has one", short_text(kl, " nats"));
        for (std::size_t j = 0; j < d_logit.size(); ++j) {
            const double pj = std::exp(p[j]);
            const double d = !reverse ? pj - std::exp(q[j]) : pj > 0 ? pj * (p[j] - q[j] - kl) : 0;
            d_logit[j] += static_cast<T>(weight * d / temperature);
        }
        return kl;
    }

private:
    template <class T>
    std::span<const double> log_probs(std::span<const T> logit, std::vector<double>& out, const char* argument) const {
        out.assign(logit.begin(), logit.end());
        const std::span<double> numbers = detail::span_of(out);
        log_softmax(std::span<const double>(numbers), temperature, numbers);
        if (is_nan(&out[0])) [[unlikely]]  // one NaN makes all of them NaN
            fail(error_kind::numeric, "full_kl", argument, "numbers", "nan");
        return numbers;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
