#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/math/categorical.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class all_action_rule {
    q_policy_gradient,  ///< QPG: the exact policy gradient of the action values
    regret_matching,    ///< RM: only what is better than the mean is learnt, in proportion to its probability
    regret              ///< RPG: descends the sum of the regrets
};

/// All-action losses of one token: the gradient from the values of all V actions, none of them sampled. For backends
/// that expose their logits, and a critic of action values.
/// Formula: p = softmax(logit / temperature), b = sum of p_a q_a, A_a = q_a - b;
///          q_policy_gradient: L = -b;   regret_matching: L = -sum of p_a max(0, A_a), max(..) a constant;
///          regret: L = sum of max(0, A_a).
/// Shapes:  logit, action_value, d_logit [V]; d_logit may be empty. Returns L, without the weight.
/// Adds:    d_logit_j += weight g_j / temperature;   q_policy_gradient: g_j = -p_j A_j;
///          regret_matching: g_j = -p_j (max(0, A_j) - sum of p_a max(0, A_a));
///          regret: g_j = -K p_j A_j, K the number of actions with A > 0.
/// Units:   those of action_value, which gets no gradient. Computed in double.
/// At kinks: A = 0 counts as no regret.
/// Degenerate: an action with a logit of -infinity takes no part, whatever its value; equal values: no gradient.
/// Errors:  shape_error; option_error; numeric_error for NaN. No allocation in steady state; work.a is overwritten.
/// Source:  Srinivasan et al. 2018, arXiv 1810.09026, section 3; rlax qpg_loss (its value is sum of p_a A_a, always 0),
///          rm_loss, rpg_loss.
struct all_action {
    all_action_rule rule = all_action_rule::q_policy_gradient;
    double temperature = 1;  ///< finite, > 0: that of the sampling

    void check() const {
        detail::check_option(temperature > 0 && temperature < std::numeric_limits<double>::infinity(), "all_action",
                             "temperature", "finite and positive", temperature);
    }

    template <class T>
    double operator()(std::span<const T> logit, std::span<const T> action_value, double weight, workspace& work,
                      std::span<T> d_logit) const {
        check();
        const std::size_t n = logit.size();
        detail::check_size(action_value.size(), n, "all_action", "action_value");
        if (!d_logit.empty()) detail::check_size(d_logit.size(), n, "all_action", "d_logit");
        work.a.assign(logit.begin(), logit.end());
        const std::span<double> log_p = detail::span_of(work.a);
        log_softmax(std::span<const double>(log_p), temperature, log_p);
        if (is_nan(&log_p[0])) [[unlikely]]  // one NaN makes all of them NaN
            fail(error_kind::numeric, "all_action", "logit", "numbers", "nan");
        const auto sum_of = [&](auto&& f) {  // over the possible actions, of p_a f(q_a)
            double sum = 0;
            for (std::size_t a = 0; a < n; ++a)
                if (possible(log_p[a])) sum += std::exp(log_p[a]) * f(static_cast<double>(action_value[a]));
            return sum;
        };
        const double mean = sum_of([](double q) { return q; });
        if (is_nan(&mean)) [[unlikely]]
            fail(error_kind::numeric, "all_action", "action_value", "numbers", "nan");
        const auto regret = [mean](double q) { return q > mean ? q - mean : 0; };
        double regrets = 0, better = 0;
        if (rule == all_action_rule::regret_matching) regrets = sum_of(regret);
        if (rule == all_action_rule::regret)
            for (std::size_t a = 0; a < n; ++a) {
                const double r = possible(log_p[a]) ? regret(static_cast<double>(action_value[a])) : 0;
                regrets += r, better += r > 0;
            }
        for (std::size_t j = 0; j < d_logit.size(); ++j) {
            if (!possible(log_p[j])) continue;
            const double q = static_cast<double>(action_value[j]);
            const double gain = rule == all_action_rule::regret_matching ? regret(q) - regrets
                                : rule == all_action_rule::regret        ? better * (q - mean)
                                                                         : q - mean;
            d_logit[j] -= static_cast<T>(weight * std::exp(log_p[j]) * gain / temperature);
        }
        return rule == all_action_rule::q_policy_gradient ? -mean
               : rule == all_action_rule::regret_matching ? -regrets
                                                          : regrets;
    }

private:
    static bool possible(double log_p) noexcept { return log_p > -std::numeric_limits<double>::infinity(); }
};

}  // namespace rlgaf::inline RLGAF_ABI
