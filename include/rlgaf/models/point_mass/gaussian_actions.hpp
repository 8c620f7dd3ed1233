#pragma once
#include <array>

#include "rlgaf/models/optimizer_choice.hpp"
#include "rlgaf/models/point_mass/owned_block.hpp"
#include "rlgaf/models/point_mass_world.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct point_mass_policy_options {
    point_mass_world world{};
    double initial_std = 0.5;  ///< of the force, N; > 0
    optimizer_choice optimizer = adamw{};

    void check() const {
        world.check();
        detail::check_option(initial_std > 0, "point_mass_policy", "initial_std", "positive", initial_std);
    }
};

namespace detail {

/// The part of point_mass_policy that says how likely given actions are.
template <class T>
class gaussian_actions {
public:
    using batch = point_mass_batch<T>;
    struct tape {
        batch b;
    };

    const point_mass_policy_options& options() const { return options_; }

    void evaluate(const batch& b, policy_outputs<T> out) {
        for_each_step(b, out.log_prob, out.entropy, out.value, [&](std::size_t i, std::size_t t, const step_state& s) {
            if (!out.log_prob.empty()) out.log_prob.row(i)[t] = static_cast<T>(log_density(s.off_mean, s.variance));
            if (!out.entropy.empty()) out.entropy.row(i)[t] = static_cast<T>(0.5 + 0.5 * std::log(two_pi * s.variance));
            if (!out.value.empty()) {
                double value = 0;
                for (std::size_t k = 0; k < s.basis.size(); ++k) value += value_[k] * s.basis[k];
                out.value.row(i)[t] = static_cast<T>(value);
            }
        });
    }
    tape forward(const batch& b, policy_outputs<T> out) {
        evaluate(b, out);
        return {b};
    }
    void backward(tape&& taped, policy_cotangents<T> c) {
        const auto at = [](const ragged_view<const T>& x, std::size_t i, std::size_t t) {
            return x.empty() ? 0.0 : static_cast<double>(x.row(i)[t]);
        };
        for_each_step(
            taped.b, c.d_log_prob, c.d_entropy, c.d_value, [&](std::size_t i, std::size_t t, const step_state& s) {
                const double d_log_prob = at(c.d_log_prob, i, t), d_value = at(c.d_value, i, t);
                const double d_mean = d_log_prob * s.off_mean / s.variance;
                mean_.add(0, d_mean * s.basis[1]);
                mean_.add(1, d_mean * s.basis[2]);
                mean_.add(2, d_mean);
                log_std_.add(0, d_log_prob * (s.off_mean * s.off_mean / s.variance - 1) + at(c.d_entropy, i, t));
                for (std::size_t k = 0; k < s.basis.size(); ++k) value_.add(k, d_value * s.basis[k]);
            });
    }

    std::array<parameter_block<T>, 3> parameters() {
        return {mean_.block("mean"), log_std_.block("log_std"), value_.block("value")};
    }
    template <class Archive>
    void visit(Archive& a) {
        visit_parameters(a, *this);
        optimizer_.visit(a);
    }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        mean_.discard();
        log_std_.discard();
        value_.discard();
    }

protected:
    explicit gaussian_actions(const point_mass_policy_options& options)
        : options_((options.check(), options)),
          log_std_({1}, std::log(options.initial_std)),
          optimizer_(options.optimizer) {}

    static constexpr double two_pi = 6.283185307179586476925286766559;
    struct step_state {
        double off_mean, variance;
        std::array<double, 6> basis;  ///< 1, x, v, x^2, v^2, x v
    };
    static double log_density(double off_mean, double variance) {
        return -0.5 * (off_mean * off_mean / variance + std::log(two_pi * variance));
    }
    double variance_at(double temperature) const { return temperature * std::exp(2 * log_std_[0]); }
    double mean_of(double x, double v) const { return mean_[0] * x + mean_[1] * v + mean_[2]; }

    /// Errors: shape_error if an array that is given has other rows or lengths than the batch.
    template <class View, class F>
    void for_each_step(const batch& b, const View& log_prob, const View& entropy, const View& value, F&& f) const {
        const auto shape = ragged_view<const T>::packed(b.action.data(), b.offset);
        detail::check_same_shape_if_given(shape, log_prob, "point_mass_policy", "log_prob");
        detail::check_same_shape_if_given(shape, entropy, "point_mass_policy", "entropy");
        detail::check_same_shape_if_given(shape, value, "point_mass_policy", "value");
        for (std::size_t i = 0; i < shape.rows(); ++i)
            for (std::size_t t = 0; t < shape.length(i); ++t) {
                const std::size_t s = b.offset[i] + t;
                const double x = static_cast<double>(b.position[s]), v = static_cast<double>(b.velocity[s]);
                f(i, t,
                  step_state{static_cast<double>(b.action[s]) - mean_of(x, v),
                             variance_at(b.temperature[i]),
                             {1, x, v, x * x, v * v, x * v}});
            }
    }

    point_mass_policy_options options_;
    owned_block<T> mean_{{3}}, log_std_, value_{{6}};
    chosen_optimizer<T> optimizer_;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
