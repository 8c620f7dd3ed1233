#pragma once
#include <algorithm>
#include <vector>

#include "rlgaf/backend/batch.hpp"

/// A mass on a line that is to come to rest at 0: continuous actions, rows that terminate and rows that are cut off.
namespace rlgaf::inline RLGAF_ABI {

/// Trajectories. Step arrays are packed: row i has steps offset[i] .. offset[i + 1] - 1.
template <class T>
struct point_mass_batch {
    std::vector<T> position, velocity;  ///< before each action; m, m/s
    std::vector<T> action;              ///< force asked for; N (mass 1 kg); the world clips it
    std::vector<T> reward;              ///< the true reward of each step: for evaluation, no algorithm reads it
    std::vector<T> log_prob;            ///< as sampled; empty for demonstrations
    std::vector<std::size_t> offset = {0};
    std::vector<std::uint32_t> length;
    std::vector<row_end> end;
    std::vector<double> temperature;
    std::vector<T> last_position, last_velocity;  ///< after the last action, one a row

    /// Adds the first `steps` steps of row i of `from`; log-probs only if `keep_log_prob`.
    void add_steps(const point_mass_batch& from, std::size_t i, std::uint32_t steps, bool keep_log_prob) {
        const auto copy = [&](std::vector<T>& to, const std::vector<T>& x) {
            for (std::size_t s = from.offset[i]; s < from.offset[i] + steps; ++s) to.push_back(x[s]);
        };
        copy(position, from.position);
        copy(velocity, from.velocity);
        copy(action, from.action);
        copy(reward, from.reward);
        if (keep_log_prob) copy(log_prob, from.log_prob);
    }
    /// Appends row i of `from`; log-probs only if `keep_log_prob`.
    void append(const point_mass_batch& from, std::size_t i, bool keep_log_prob) {
        add_steps(from, i, from.length[i], keep_log_prob);
        last_position.push_back(from.last_position[i]);
        last_velocity.push_back(from.last_velocity[i]);
        close(from.end[i], from.temperature[i]);
    }
    /// Ends the row whose steps have been added.
    void close(row_end how, double sampled_at) {
        length.push_back(static_cast<std::uint32_t>(action.size() - offset.back()));
        offset.push_back(action.size());
        end.push_back(how);
        temperature.push_back(sampled_at);
    }
    template <class Archive>
    void visit(Archive& a) {
        a("position", position), a("velocity", velocity), a("action", action), a("reward", reward);
        a("log_prob", log_prob), a("offset", offset), a("length", length), a("end", end), a("temperature", temperature);
        a("last_position", last_position), a("last_velocity", last_velocity);
    }
    /// Sum of the true rewards of row i.
    double true_return(std::size_t i) const {
        double sum = 0;
        for (std::size_t s = offset[i]; s < offset[i + 1]; ++s) sum += static_cast<double>(reward[s]);
        return sum;
    }

    friend std::size_t rows(const point_mass_batch& b) { return b.length.size(); }
    friend std::span<const std::uint32_t> lengths(const point_mass_batch& b) { return b.length; }
    friend std::span<const row_end> ends(const point_mass_batch& b) { return b.end; }
    friend ragged_view<const T> behaviour_log_prob(const point_mass_batch& b) {
        return b.log_prob.empty() ? ragged_view<const T>{} : ragged_view<const T>::packed(b.log_prob.data(), b.offset);
    }
    friend point_mass_batch select(const point_mass_batch& b, std::span<const std::size_t> pick) {
        point_mass_batch out;
        for (const std::size_t i : pick) out.append(b, i, !b.log_prob.empty());
        return out;
    }
    /// Rows of a, then rows of b. Log-probs stay only if both have them.
    friend point_mass_batch concat(const point_mass_batch& a, const point_mass_batch& b) {
        if (rows(a) == 0) return b;
        point_mass_batch out = a;
        const bool keep = rows(b) == 0 || (!a.log_prob.empty() && !b.log_prob.empty());
        if (!keep) out.log_prob.clear();
        for (std::size_t i = 0; i < rows(b); ++i) out.append(b, i, keep);
        return out;
    }
};

/// The world. A row terminates when the goal is reached (slow and near 0) or the track is left; it is truncated when
/// the horizon runs out.
/// Formula: f = clip(force, -force_limit, force_limit);  v += dt (f - friction v);  x += dt v;
///          reward = -dt (x^2 + 0.1 v^2 + 0.01 f^2), and -10 for leaving the track.
struct point_mass_world {
    double dt = 0.1;             ///< s, > 0
    double friction = 0.1;       ///< 1/s, >= 0
    double force_limit = 2;      ///< N, > 0
    double bound = 2;            ///< m: |x| beyond it is off the track; > start
    double start = 1;            ///< m: first |x| is in [start / 2, start], at rest; > 0
    double goal_radius = 0.05;   ///< m, >= 0
    double goal_speed = 0.1;     ///< m/s, >= 0
    std::uint32_t horizon = 64;  ///< steps, >= 1

    void check() const {
        detail::check_option(dt > 0, "point_mass_world", "dt", "positive", dt);
        detail::check_option(friction >= 0, "point_mass_world", "friction", "0 or positive", friction);
        detail::check_option(force_limit > 0, "point_mass_world", "force_limit", "positive", force_limit);
        detail::check_option(start > 0, "point_mass_world", "start", "positive", start);
        detail::check_option(bound > start, "point_mass_world", "bound", "above .start", bound);
        detail::check_option(goal_radius >= 0, "point_mass_world", "goal_radius", "0 or positive", goal_radius);
        detail::check_option(goal_speed >= 0, "point_mass_world", "goal_speed", "0 or positive", goal_speed);
        detail::check_option(horizon >= 1, "point_mass_world", "horizon", "1 or more", horizon);
    }

    /// Appends one row of at most `limit` steps. `first` gives the start; act(step, x, v) -> action. Rewards are added,
    /// log-probs are not.
    template <class T, class Act>
    void run(const random_stream& first, std::uint32_t limit, double temperature, Act&& act,
             point_mass_batch<T>& out) const {
        const double place = start * (first.uniform(0) - 0.5);
        run_on(static_cast<T>(place + (place < 0 ? -0.5 : 0.5) * start), T{0}, 0, limit, temperature,
               static_cast<Act&&>(act), out);
    }
    /// Goes on with a row whose first `step` steps have been added and that then was at x with speed v.
    template <class T, class Act>
    void run_on(T x, T v, std::uint32_t step, std::uint32_t limit, double temperature, Act&& act,
                point_mass_batch<T>& out) const {
        row_end end = row_end::truncated;
        for (std::uint32_t t = step; t < limit && end == row_end::truncated; ++t) {
            const T action = act(t, x, v);
            out.position.push_back(x);
            out.velocity.push_back(v);
            out.action.push_back(action);
            const double force = std::clamp(static_cast<double>(action), -force_limit, force_limit);
            const double speed = static_cast<double>(v);
            v = static_cast<T>(speed + dt * (force - friction * speed));
            x = static_cast<T>(static_cast<double>(x) + dt * static_cast<double>(v));
            const double at = static_cast<double>(x), now = static_cast<double>(v);
            const bool left = std::abs(at) > bound;
            const bool reached = std::abs(at) <= goal_radius && std::abs(now) <= goal_speed;
            if (left || reached) end = row_end::terminated;
            out.reward.push_back(
                static_cast<T>(-dt * (at * at + 0.1 * now * now + 0.01 * force * force) - (left ? 10 : 0)));
        }
        out.last_position.push_back(x);
        out.last_velocity.push_back(v);
        out.close(end, temperature);
    }
};

/// Demonstrations by a hand-made controller: a spring and a damper, with a little noise on the force.
/// Formula: force = -stiffness x - damping v + noise n,  n standard normal.
template <class T>
struct point_mass_expert {
    point_mass_world world{};
    double stiffness = 2;  ///< N/m
    double damping = 2.5;  ///< N s/m
    double noise = 0.05;   ///< N, >= 0

    /// n rows that follow from the key; rows differ from step to step of it.
    point_mass_batch<T> sample(std::size_t n, rng_key key) const {
        world.check();
        point_mass_batch<T> out;
        for (std::size_t i = 0; i < n; ++i) {
            const random_stream random(key, stream::experts, i);
            world.run(
                random, world.horizon, 1,
                [&](std::uint32_t t, T x, T v) {
                    return static_cast<T>(-stiffness * static_cast<double>(x) - damping * static_cast<double>(v) +
                                          noise * random.normal(t, 1));
                },
                out);
        }
        return out;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
