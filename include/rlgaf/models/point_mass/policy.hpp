#pragma once
#include "rlgaf/models/point_mass/gaussian_actions.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Gaussian actions with a mean that is linear in the state.
/// Formula: action ~ N(w . (x, v, 1), temperature exp(2 log_std));  value = u . (1, x, v, x^2, v^2, x v).
///          log_prob = -(d^2 / s + log(2 pi s)) / 2,  entropy = (1 + log(2 pi s)) / 2,  d = action - mean, s =
///          variance.
/// Units:   nats of a density over newtons. Errors: option_error for top-k and top-p, which need countable actions.
template <class T>
class point_mass_policy : public detail::gaussian_actions<T> {
    using model = detail::gaussian_actions<T>;
    using model::options_, model::variance_at, model::mean_of, model::log_density;

public:
    using scalar = T;
    using batch = point_mass_batch<T>;
    using prompts = no_prompts;
    static constexpr bool gives_entropy = true;
    static constexpr bool gives_value = true;
    static constexpr bool per_sample_streams = true;

    explicit point_mass_policy(const point_mass_policy_options& options) : model(options) {}

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
    /// The same parameters, no gradients and an optimiser without memory, as if they were loaded from a file.
    point_mass_policy clone() const {
        point_mass_policy copy = *this;
        copy.discard();
        copy.optimizer_.forget();
        return copy;
    }

private:
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
};

}  // namespace rlgaf::inline RLGAF_ABI
