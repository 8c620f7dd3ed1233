#pragma once
#include <array>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/models/optimizer_choice.hpp"
#include "rlgaf/models/point_mass_world.hpp"

/// A policy with Gaussian actions and a scorer for the point mass: a backend whose actions are numbers, whose log-probs
/// are those of a density (and may be positive), and whose batch shows no tokens and has no mask.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// Parameters of one kind with their gradient.
template <class T>
struct owned_block {
    std::vector<std::size_t> shape;
    std::vector<T> values, gradients;

    explicit owned_block(std::vector<std::size_t> size, double fill = 0) : shape(std::move(size)) {
        std::size_t n = 1;
        for (const std::size_t s : shape) n *= s;
        values.assign(n, static_cast<T>(fill));
        gradients.assign(n, T{0});
    }
    void randomize(double spread, std::uint64_t seed, std::uint64_t which) {
        const random_stream random({seed, 0}, stream::initialization, which);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<T>(spread * random.normal(static_cast<std::uint32_t>(i)));
    }
    double operator[](std::size_t i) const { return static_cast<double>(values[i]); }
    void add(std::size_t i, double gradient) { gradients[i] += static_cast<T>(gradient); }
    void discard() { gradients.assign(gradients.size(), T{0}); }
    parameter_block<T> block(const char* name) { return {name, shape, values, gradients}; }
};

}  // namespace detail

struct point_mass_policy_options {
    point_mass_world world{};
    double initial_std = 0.5;  ///< of the force, N; > 0
    optimizer_choice optimizer = adamw{};

    void check() const {
        world.check();
        detail::check_option(initial_std > 0, "point_mass_policy", "initial_std", "positive", initial_std);
    }
};

/// Gaussian actions with a mean that is linear in the state.
/// Formula: action ~ N(w . (x, v, 1), temperature exp(2 log_std));  value = u . (1, x, v, x^2, v^2, x v).
///          log_prob = -(d^2 / s + log(2 pi s)) / 2,  entropy = (1 + log(2 pi s)) / 2,  d = action - mean, s =
///          variance.
/// Units:   nats of a density over newtons. Errors: option_error for top-k and top-p, which need countable actions.
template <class T>
class point_mass_policy {
public:
    using scalar = T;
    using batch = point_mass_batch<T>;
    using prompts = no_prompts;
    struct tape {
        batch b;
    };
    static constexpr bool gives_entropy = true;
    static constexpr bool gives_value = true;
    static constexpr bool per_sample_streams = true;

    explicit point_mass_policy(const point_mass_policy_options& options)
        : options_((options.check(), options)),
          log_std_({1}, std::log(options.initial_std)),
          optimizer_(options.optimizer) {}

    const point_mass_policy_options& options() const { return options_; }

    batch rollout(const no_prompts&, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        check_sampling(o, "point_mass_policy::rollout");
        batch out;
        for (const std::uint64_t i : id)
            options_.world.run(random_stream(key, stream::environment, i), limit(o), o.temperature,
                               acting(random_stream(key, stream::rollout, i), variance_at(o.temperature), out), out);
        return out;
    }
    /// Row i of the result begins with prefix i and ends after max_length steps at most, the prefix included. A row that
    /// had ended stays as it is. What is kept keeps its log-probs; where b has none, it gets the policy's own at the
    /// sampling temperature. Errors: shape_error, option_error.
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       const rollout_options& o, rng_key key) {
        check_sampling(o, "point_mass_policy::rollout_from");
        detail::check_size(from.size(), id.size(), "point_mass_policy::rollout_from", "from");
        batch out;
        const double variance = variance_at(o.temperature);
        const bool known = !b.log_prob.empty();
        for (std::size_t i = 0; i < id.size(); ++i) {
            const auto [row, length] = from[i];
            if (row >= rows(b) || length > b.length[row] || length > limit(o)) [[unlikely]]
                fail(error_kind::shape, "point_mass_policy::rollout_from", "from",
                     "prefixes of the batch's rows, of at most max_length steps",
                     short_text("row ", row, ", length ", length));
            out.add_steps(b, row, length, known);
            const std::size_t first = b.offset[row], now = first + length;
            for (std::size_t s = first; !known && s < now; ++s)
                out.log_prob.push_back(static_cast<T>(
                    log_density(static_cast<double>(b.action[s]) -
                                    mean_of(static_cast<double>(b.position[s]), static_cast<double>(b.velocity[s])),
                                variance)));
            const bool whole = length == b.length[row];
            const T x = whole ? b.last_position[row] : b.position[now],
                    v = whole ? b.last_velocity[row] : b.velocity[now];
            if (whole && b.end[row] == row_end::terminated) {
                out.last_position.push_back(x);
                out.last_velocity.push_back(v);
                out.close(row_end::terminated, o.temperature);
            } else {
                options_.world.run_on(x, v, length, limit(o), o.temperature,
                                      acting(random_stream(key, stream::rollout_from, id[i]), variance, out), out);
            }
        }
        return out;
    }
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
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        mean_.discard();
        log_std_.discard();
        value_.discard();
    }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    point_mass_policy clone() const {
        point_mass_policy copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    static constexpr double two_pi = 6.283185307179586476925286766559;
    struct step_state {
        double off_mean, variance;
        std::array<double, 6> basis;  ///< 1, x, v, x^2, v^2, x v
    };
    static double log_density(double off_mean, double variance) {
        return -0.5 * (off_mean * off_mean / variance + std::log(two_pi * variance));
    }
    std::uint32_t limit(const rollout_options& o) const {
        return o.max_length == 0 ? options_.world.horizon : o.max_length;
    }
    static void check_sampling(const rollout_options& o, const char* function) {
        o.check();
        if (o.truncates())
            fail(error_kind::option, function, "options", "no top-k and no top-p (actions are numbers)",
                 short_text("top_k ", o.top_k, ", top_p ", o.top_p));
    }
    /// What the world asks for actions; adds their log-probs to `out`.
    auto acting(const random_stream& random, double variance, batch& out) const {
        return [this, random, variance, &out](std::uint32_t t, T x, T v) {
            const double mean = mean_of(static_cast<double>(x), static_cast<double>(v));
            const T action = static_cast<T>(mean + std::sqrt(variance) * random.normal(t));
            out.log_prob.push_back(static_cast<T>(log_density(static_cast<double>(action) - mean, variance)));
            return action;
        };
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
    detail::owned_block<T> mean_{{3}}, log_std_, value_{{6}};
    chosen_optimizer<T> optimizer_;
};

struct point_mass_scorer_options {
    std::size_t hidden = 8;  ///< tanh units; 0: linear in the quadratic features
    std::uint64_t seed = 1;  ///< of the first weights
    optimizer_choice optimizer = adamw{};
};

/// One number a row: the mean over its steps of a small net on quadratic features of state and action.
/// Formula: score = mean over t of direct . f + out . tanh(W f),  f = (1, x, v, a, x^2, v^2, a^2, x v, x a, v a).
/// Needs:   rows with at least one step; a row without any scores 0.
template <class T>
class point_mass_scorer {
public:
    using scalar = T;
    using batch = point_mass_batch<T>;
    struct tape {
        batch b;
    };

    explicit point_mass_scorer(const point_mass_scorer_options& options)
        : inner_({options.hidden, features}), out_({options.hidden}), optimizer_(options.optimizer) {
        inner_.randomize(0.3, options.seed, 16);
        out_.randomize(0.3, options.seed, 17);
    }

    void evaluate(const batch& b, std::span<T> score) {
        detail::check_size(score.size(), rows(b), "point_mass_scorer::evaluate", "score");
        for (std::size_t i = 0; i < rows(b); ++i) {
            double sum = 0;
            for (std::size_t s = b.offset[i]; s < b.offset[i + 1]; ++s) {
                const auto f = features_of(b, s);
                for (std::size_t k = 0; k < features; ++k) sum += direct_[k] * f[k];
                for (std::size_t j = 0; j < hidden(); ++j) sum += out_[j] * unit(j, f);
            }
            score[i] = static_cast<T>(b.length[i] == 0 ? 0 : sum / b.length[i]);
        }
    }
    tape forward(const batch& b, std::span<T> score) {
        evaluate(b, score);
        return {b};
    }
    void backward(tape&& taped, std::span<const T> d_score) {
        const batch& b = taped.b;
        detail::check_size(d_score.size(), rows(b), "point_mass_scorer::backward", "d_score");
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t s = b.offset[i]; s < b.offset[i + 1]; ++s) {
                const double d = static_cast<double>(d_score[i]) / b.length[i];
                const auto f = features_of(b, s);
                for (std::size_t k = 0; k < features; ++k) direct_.add(k, d * f[k]);
                for (std::size_t j = 0; j < hidden(); ++j) {
                    const double h = unit(j, f), d_inner = d * out_[j] * (1 - h * h);
                    out_.add(j, d * h);
                    for (std::size_t k = 0; k < features; ++k) inner_.add(j * features + k, d_inner * f[k]);
                }
            }
    }

    std::array<parameter_block<T>, 3> parameters() {
        return {direct_.block("direct"), inner_.block("inner"), out_.block("out")};
    }
    step_report step(const step_options& o) { return optimizer_.step(parameters(), o); }
    void discard() {
        direct_.discard();
        inner_.discard();
        out_.discard();
    }
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    point_mass_scorer clone() const {
        point_mass_scorer copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
    static constexpr std::size_t features = 10;
    std::size_t hidden() const { return out_.values.size(); }
    static std::array<double, features> features_of(const batch& b, std::size_t s) {
        const double x = static_cast<double>(b.position[s]), v = static_cast<double>(b.velocity[s]),
                     a = static_cast<double>(b.action[s]);
        return {1, x, v, a, x * x, v * v, a * a, x * v, x * a, v * a};
    }
    double unit(std::size_t j, const std::array<double, features>& f) const {
        double sum = 0;
        for (std::size_t k = 0; k < features; ++k) sum += inner_[j * features + k] * f[k];
        return std::tanh(sum);
    }

    detail::owned_block<T> direct_{{features}}, inner_, out_;
    chosen_optimizer<T> optimizer_;
};

}  // namespace rlgaf::inline RLGAF_ABI
