#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "rlgaf/core/finite.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class schedule_shape { constant, linear, cosine };

/// A number that changes over training: warm-up from 0 to `from`, then to `to` at step `steps`, then `to`.
struct schedule {
    schedule_shape shape = schedule_shape::constant;
    double from = 1;           ///< finite, >= 0
    double to = 0;             ///< final value, finite, >= 0; unused by constant
    std::uint64_t steps = 1;   ///< steps until `to` is reached, warm-up included
    std::uint64_t warmup = 0;  ///< steps of linear rise from 0, < steps unless constant

    void check() const {
        const auto check_value = [](const char* field, double x) {
            detail::check_option(x >= 0 && x < std::numeric_limits<double>::infinity(), "schedule", field,
                                 "a finite number that is 0 or positive", x);
        };
        check_value("from", from);
        check_value("to", to);
        detail::check_option(shape == schedule_shape::constant || warmup < steps, "schedule", "warmup", "below .steps",
                             static_cast<double>(warmup));
    }

    double operator()(std::uint64_t step) const {
        check();
        if (step < warmup) return from * static_cast<double>(step + 1) / static_cast<double>(warmup);
        if (shape == schedule_shape::constant) return from;
        const double progress =
            step >= steps ? 1 : static_cast<double>(step - warmup) / static_cast<double>(steps - warmup);
        if (shape == schedule_shape::linear) return from + (to - from) * progress;
        return to + (from - to) * 0.5 * (1 + std::cos(3.14159265358979323846 * progress));
    }
};

/// Adapts a KL coefficient until the measured KL meets a target.
/// Formula: beta *= 1 + clip(kl / target - 1, -0.2, 0.2) * min(rows / horizon, 1), for the next step.
/// Units:   `target` is in nats per sequence (the row SUM of log-ratios, as in Ziegler). verl feeds its controller a
///          token mean: its targets do not carry over.
/// Source:  Ziegler et al. 2019, arXiv 1909.08593, section 2.2.
struct adaptive_kl {
    double initial = 0.2;            ///< first coefficient, > 0
    double target_per_sequence = 6;  ///< nats, > 0
    double horizon = 10000;          ///< rows over which the coefficient may change by 20 %, > 0

    struct state {
        double beta = 0;  ///< 0 before the first step
        template <class Archive>
        void visit(Archive& a) {
            a("beta", beta);
        }
    };
    void check() const {
        detail::check_option(initial > 0, "adaptive_kl", "initial", "positive", initial);
        detail::check_option(target_per_sequence > 0, "adaptive_kl", "target_per_sequence", "positive nats",
                             target_per_sequence);
        detail::check_option(horizon > 0, "adaptive_kl", "horizon", "positive", horizon);
    }
    /// Takes in one measured step; returns the coefficient for the next. Errors: numeric_error if it measured NaN.
    double operator()(state& s, double kl_per_sequence, double rows) const {
        check();
        if (is_nan(&kl_per_sequence)) [[unlikely]]
            fail(error_kind::numeric, "adaptive_kl", "kl_per_sequence", "a number", "nan");
        if (s.beta == 0) s.beta = initial;
        const double error = std::fmin(std::fmax(kl_per_sequence / target_per_sequence - 1, -0.2), 0.2);
        return s.beta *= 1 + error * std::fmin(rows / horizon, 1);  // one step changes it by 20 % at most
    }
};

/// Halves or doubles a KL coefficient: the rule of PPO with a KL penalty.
/// Formula: beta /= 2 if kl < target / 1.5;  beta *= 2 if kl > 1.5 target;  held within [lowest, highest] (the paper has
///          no bounds, and halving for ever ends at 0, which doubles to 0). For the next step.
/// Units:   nats per TOKEN, the step's mean of KL(old || new); adaptive_kl's target is per sequence.
/// At kinks: a kl of exactly target / 1.5 or 1.5 target changes nothing.
/// Source:  Schulman et al. 2017, arXiv 1707.06347, section 4.
struct kl_step_rule {
    double initial = 1;              ///< first coefficient, in [lowest, highest]
    double target_per_token = 0.01;  ///< nats, > 0; the paper tries 0.003 to 0.03
    double lowest = 1e-6;            ///< > 0
    double highest = 1e6;            ///< >= lowest

    struct state {
        double beta = 0;  ///< 0 before the first step
        template <class Archive>
        void visit(Archive& a) {
            a("beta", beta);
        }
    };
    void check() const {
        detail::check_option(lowest > 0, "kl_step_rule", "lowest", "positive", lowest);
        detail::check_option(highest >= lowest, "kl_step_rule", "highest", "at least .lowest", highest);
        detail::check_option(initial >= lowest && initial <= highest, "kl_step_rule", "initial",
                             "in [.lowest, .highest]", initial);
        detail::check_option(target_per_token > 0, "kl_step_rule", "target_per_token", "positive nats",
                             target_per_token);
    }
    /// Takes in one measured step; returns the coefficient for the next. Errors: numeric_error if it measured NaN.
    double operator()(state& s, double kl_per_token) const {
        check();
        if (is_nan(&kl_per_token)) [[unlikely]]
            fail(error_kind::numeric, "kl_step_rule", "kl_per_token", "a number", "nan");
        if (s.beta == 0) s.beta = initial;
        if (kl_per_token < target_per_token / 1.5) s.beta = std::fmax(s.beta / 2, lowest);
        if (kl_per_token > target_per_token * 1.5) s.beta = std::fmin(s.beta * 2, highest);
        return s.beta;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
