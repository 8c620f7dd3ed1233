#pragma once
#include <cstddef>
#include <limits>
#include <type_traits>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct run_info {
    std::size_t rounds = 0;
    bool per_sample_streams = true;  ///< false: a sample depends on the batch that it is drawn in, not on its id alone
};

/// One round in numbers. NaN = not measured in this round.
struct round_report {
    static constexpr double none = std::numeric_limits<double>::quiet_NaN();

    std::size_t round = 0;   ///< rounds finished, this one included
    std::size_t rounds = 0;  ///< rounds of the whole run
    double seconds = 0;      ///< since the run began
    double rollout_seconds = 0, score_seconds = 0, policy_seconds = 0, discriminator_seconds = 0;  ///< of this round
    double tokens = 0;  ///< sampled in this round

    double reward_mean = none, reward_deviation = none;  ///< of the rows' rewards, all outcomes together
    double advantage_deviation = none, constant_groups = none;
    double score_expert = none, score_policy = none;  ///< raw means
    double accuracy = none;  ///< share of (demonstration, fresh sample) pairs that the discriminator orders rightly
    double accuracy_held_out = none;  ///< the same with demonstrations that it never trained on
    double discriminator_loss = none, discriminator_grad_norm = none;
    std::size_t discriminator_steps = 0;

    double policy_loss = none, policy_grad_norm = none;
    std::size_t policy_steps = 0;
    std::size_t discarded_steps = 0;  ///< gradients that were not finite, of any model, since the run began
    double kl_reference = none;       ///< k1, nats a token, at the sampling policy
    double kl_old = none, ratio_max = none, clip_low = none, clip_high = none, clip_dual = none;
    double entropy = none;                        ///< -mean log_prob of what was sampled, nats a token
    double length_mean = none, truncated = none;  ///< tokens; share of rows

    double kl_sequence = none;  ///< k1 to the reference, nats a row: what adaptive_kl_penalty holds on its target
    double kl_beta = none;      ///< what it paid for a nat
    double value_loss = none, value_explained = none;  ///< of a critic; share of the returns' variance
    double critic_grad_norm = none;
    std::size_t critic_steps = 0;
    double critic_seconds = 0;  ///< of this round
};

/// Calls f(name, value) for every number of a report. Names stay.
template <class F>
void for_each_metric(const round_report& r, F&& f) {
    f("round", static_cast<double>(r.round));
    f("wall_s", r.seconds);
    f("timing/rollout_s", r.rollout_seconds);
    f("timing/score_s", r.score_seconds);
    f("timing/update_policy_s", r.policy_seconds);
    f("timing/update_discriminator_s", r.discriminator_seconds);
    f("tokens", r.tokens);
    f("reward/mean", r.reward_mean);
    f("reward/std", r.reward_deviation);
    f("reward/frac_constant_groups", r.constant_groups);
    f("advantage/std", r.advantage_deviation);
    f("disc/score_expert", r.score_expert);
    f("disc/score_policy", r.score_policy);
    f("disc/accuracy", r.accuracy);
    f("disc/accuracy_held_out", r.accuracy_held_out);
    f("disc/loss", r.discriminator_loss);
    f("disc/grad_norm", r.discriminator_grad_norm);
    f("disc/steps", static_cast<double>(r.discriminator_steps));
    f("policy/loss", r.policy_loss);
    f("policy/grad_norm", r.policy_grad_norm);
    f("policy/steps", static_cast<double>(r.policy_steps));
    f("policy/kl_reference", r.kl_reference);
    f("policy/kl_old", r.kl_old);
    f("policy/ratio_max", r.ratio_max);
    f("policy/clip_low", r.clip_low);
    f("policy/clip_high", r.clip_high);
    f("policy/clip_dual", r.clip_dual);
    f("policy/entropy", r.entropy);
    f("length/mean", r.length_mean);
    f("length/truncated", r.truncated);
    f("health/discarded_steps", static_cast<double>(r.discarded_steps));
    f("policy/kl_sequence", r.kl_sequence);
    f("reward/kl_beta", r.kl_beta);
    f("critic/loss", r.value_loss);
    f("critic/explained_variance", r.value_explained);
    f("critic/grad_norm", r.critic_grad_norm);
    f("critic/steps", static_cast<double>(r.critic_steps));
    f("timing/update_critic_s", r.critic_seconds);
}

namespace detail {

template <class O>
constexpr bool has_on_begin = requires(O& o, const run_info& i) {
    o.on_begin(i);
};
template <class O>
constexpr bool has_on_round = requires(O& o, const round_report& r) {
    o.on_round(r);
};
template <class O>
constexpr bool has_on_end = requires(O& o, const round_report& r) {
    o.on_end(r);
};
template <class O, class Batch>
constexpr bool has_on_rollout = requires(O& o, const round_report& r, const Batch& b) {
    o.on_rollout(r, b);
};

struct any_batch {};

/// A member of that name which is neither a template nor overloaded: then it must be callable as the hook.
template <class O>
constexpr bool names_on_begin = requires {
    &O::on_begin;
};
template <class O>
constexpr bool names_on_round = requires {
    &O::on_round;
};
template <class O>
constexpr bool names_on_end = requires {
    &O::on_end;
};
template <class O>
constexpr bool names_on_rollout = requires {
    &O::on_rollout;
};

template <class O, class Batch = any_batch>
constexpr bool check_observer() {
    constexpr bool ok = has_on_begin<O> || has_on_round<O> || has_on_end<O> || has_on_rollout<O, Batch>;
    static_assert(
        ok,
        "rlgaf: this observer has none of the hooks on_begin(const run_info&), on_round(const round_report&), "
        "on_rollout(const round_report&, const batch&), on_end(const round_report&); a misspelt hook would "
        "never be called");
    constexpr bool callable = (has_on_begin<O> || !names_on_begin<O>)&&(has_on_round<O> || !names_on_round<O>)&&(
        has_on_end<O> || !names_on_end<O>)&&(has_on_rollout<O, Batch> || !names_on_rollout<O>);
    static_assert(!ok || callable,
                  "rlgaf: a hook of this observer has the wrong parameters and would never be called; the "
                  "hooks are on_begin(const run_info&), on_round(const round_report&), "
                  "on_rollout(const round_report&, const batch&), on_end(const round_report&)");
    return ok && callable;
}

template <class... O>
void notify_begin(const run_info& info, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_begin<std::remove_reference_t<decltype(o)>>) o.on_begin(info);
    };
    (one(observers), ...);
}
/// True if an observer asks to stop: its on_round returns bool, and true.
template <class... O>
bool notify_round(const round_report& report, O&... observers) {
    bool stop = false;
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_round<std::remove_reference_t<decltype(o)>>) {
            if constexpr (std::is_same_v<decltype(o.on_round(report)), bool>)
                stop = o.on_round(report) || stop;
            else
                o.on_round(report);
        }
    };
    (one(observers), ...);
    return stop;
}
template <class Batch, class... O>
void notify_rollout(const round_report& report, const Batch& batch, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_rollout<std::remove_reference_t<decltype(o)>, Batch>) o.on_rollout(report, batch);
    };
    (one(observers), ...);
}
template <class... O>
void notify_end(const round_report& report, O&... observers) {
    [[maybe_unused]] const auto one = [&](auto& o) {
        if constexpr (has_on_end<std::remove_reference_t<decltype(o)>>) o.on_end(report);
    };
    (one(observers), ...);
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
