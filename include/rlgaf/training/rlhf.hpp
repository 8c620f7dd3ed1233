#pragma once
#include <optional>
#include <tuple>

#include "rlgaf/core/clock.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/reward_shaping/adaptive_kl_penalty.hpp"
#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/training/trainer_parts.hpp"
#include "rlgaf/training/update_critic.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct rlhf_options {
    std::size_t rounds = 100;  ///< of this call
    std::size_t rows = 512;    ///< samples a round, a multiple of the advantage's group size
    std::uint64_t seed = 1;
    rollout_options sampling{};
    bool recompute_old = false;  ///< evaluate old log-probs anew instead of trusting the sampler's
    double importance_cap = 2;   ///< see roll_out_options
    policy_update_options policy{.epochs = 4, .minibatches = 4};
    critic_update_options critic{.epochs = 4, .minibatches = 4};
    schedule policy_rate{};  ///< multiplies policy.step.learning_rate, by round of this call
    schedule critic_rate{};  ///< likewise
    /// First rounds of the trainer in which only the critic trains: a first run of fewer leaves the policy as it is.
    std::size_t critic_warmup = 5;
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass of roll_out, score and values at most; 0: all
    double log_prob_tolerance = 0;     ///< of the sanity gate of the first round; 0: 1e-3 for float, 1e-9 for double

    void check() const {
        policy.check();
        critic.check();
        policy_rate.check();
        critic_rate.check();
        detail::check_option(log_prob_tolerance >= 0, "rlhf_options", "log_prob_tolerance", "0 or positive",
                             log_prob_tolerance);
    }
};

/// The last step of RLHF: PPO against a frozen reward model, with a critic and a KL coefficient that adapts. What RLGAF
/// replaces, for comparison. The steps before it are fine_tune and fit_reward_model.
///
///   fine_tune(policy, demonstrations, {.epochs = 3});
///   fit_reward_model(reward_model, samples, pairs, {});
///   rlhf_trainer trainer{policy, reward_model, critic, gae{}, ppo_clip{},
///                        pipeline{logit_reward{.clip = 10}, adaptive_kl_penalty{}, missing_eos{.penalty = 1}}};
///   trainer.run({.rounds = 200}, progress_bar{});
///
/// Components come in any order. Missing ones: gae{}, ppo_clip{}, the pipeline above; no regulariser. Policy, reward
/// model and critic are referred to, never copied; the reward model never learns. The reference is the policy as it was
/// at first, unless frozen_reference is given. A true_reward may stand in for the reward model. `run` may be called again
/// and goes on where it stopped. Truncated rows count as finished (as in TRL, verl, OpenRLHF): nothing is bootstrapped.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Ziegler et al. 2019, arXiv 1909.08593; Ouyang et al. 2022, arXiv 2203.02155, section 3.5.
template <class P, class S, class C, class... Components>
class rlhf_trainer;

namespace detail {

template <class A, class T>
constexpr bool fills_returns() {
    return takes<A, const advantage_terms<T>&, workspace&, const ragged_view<T>&, const ragged_view<T>&>();
}
template <class T, class... C>
constexpr bool advantage_fills_returns() {
    return ((!component_of<C, role::advantage> || fills_returns<C, T>()) && ... && true);
}
template <class C>
constexpr bool rlhf_component =
    component_of<C, role::advantage> || component_of<C, role::policy_loss> ||
    component_of<C, role::policy_regularizer> || component_of<C, role::token_factor> || component_of<C, role::reward> ||
    component_of<C, role::reference> || component_of<C, role::prompt_source>;

/// One sentence for the first thing that does not fit.
template <class P, class S, class C, class... Components>
consteval bool check_rlhf() {
    if constexpr (!check_policy<P>())
        return false;
    else if constexpr (!is_true_reward<std::remove_const_t<S>> && !scorer_backend<S, typename P::batch>)
        return check_scorer<S, typename P::batch>();
    else if constexpr (!critic_backend<C, typename P::batch>)
        return check_critic<C, typename P::batch>();
    else if constexpr (!(same_scalar<P, S>() && same_scalar<P, C>())) {
        static_assert(same_scalar<P, S>() && same_scalar<P, C>(),
                      "rlgaf: policy, reward model and critic must have the same scalar type");
        return false;
    } else if constexpr (!(rlhf_component<Components> && ... && true)) {
        static_assert((rlhf_component<Components> && ... && true),
                      "rlgaf: rlhf_trainer takes an advantage estimator, a policy loss, regularisers, token factors, a "
                      "reward, frozen_reference and prompts_from; wrap a callable of your own in as_reward, "
                      "as_advantage or as_policy_loss");
        return false;
    } else {
        constexpr bool advantage = count_role<role::advantage, Components...> <= 1,
                       loss = count_role<role::policy_loss, Components...> <= 1,
                       reward = count_role<role::reward, Components...> <= 1,
                       reference_once = count_role<role::reference, Components...> <= 1,
                       prompts = count_role<role::prompt_source, Components...> <= 1,
                       returns = advantage_fills_returns<typename P::scalar, Components...>();
        static_assert(advantage, "rlgaf: rlhf_trainer was given two advantage estimators; it takes one");
        static_assert(loss, "rlgaf: rlhf_trainer was given two policy losses; it takes one");
        static_assert(reward, "rlgaf: rlhf_trainer was given two rewards; put stages into one pipeline{...}");
        static_assert(reference_once, "rlgaf: rlhf_trainer was given two frozen references; it takes one");
        static_assert(prompts, "rlgaf: rlhf_trainer was given two sources of prompts; it takes one");
        static_assert(returns,
                      "rlgaf: the advantage estimator of rlhf_trainer must give the critic its targets, as gae does: "
                      "a fourth argument `const rlgaf::ragged_view<T>& returns`");
        constexpr bool reference =
            (has_role<role::reward, Components...> && !(needs_reference<Components>() || ... || false)) ||
            has_role<role::reference, Components...> || clonable<P>;
        static_assert(reference,
                      "rlgaf: a component measures KL to a reference policy; add frozen_reference(policy) or "
                      "give the policy `clone() const`");
        return advantage && loss && reward && reference_once && prompts && returns && reference;
    }
}

/// The memory of an adaptive_kl_penalty inside a reward's, or null.
template <class State>
const adaptive_kl_penalty::state* find_adaptive_kl(const State& s) {
    if constexpr (std::is_same_v<State, adaptive_kl_penalty::state>)
        return &s;
    else if constexpr (requires { std::tuple_size<decltype(s.stage)>::value; })
        return std::apply(
            [](const auto&... stage) {
                const adaptive_kl_penalty::state* found = nullptr;
                ((found = found ? found : find_adaptive_kl(stage)), ...);
                return found;
            },
            s.stage);
    else
        return nullptr;
}

template <bool Valid, class P, class S, class C, class... Components>
class rlhf_loop {
public:
    template <class... Args>
    explicit rlhf_loop(Args&&...) {}
    template <class Options = run_info, class... Observers>
    round_report run(const Options&, Observers&&...) {
        return {};
    }
};

template <class P, class S, class C, class... Components>
class rlhf_loop<true, P, S, C, Components...> {
public:
    rlhf_loop(P& policy, S& reward_model, C& critic, Components... components)
        : policy_(policy), reward_model_(reward_model), critic_(critic), part_(part<Components>(components)...) {}

    /// Runs `options.rounds` rounds; returns the report of the last one.
    template <class... Observers>
    round_report run(const rlhf_options& options, Observers&&... observers) {
        static_assert((check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
        options.check();
        const double start = clock_seconds();
        notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()}, observers...);
        round_report report{.rounds = options.rounds};
        for (std::size_t i = 0; i < options.rounds; ++i) {
            rlhf_options now = options;
            now.policy.step.learning_rate *= options.policy_rate(i);
            now.critic.step.learning_rate *= options.critic_rate(i);
            report = one_round(now, report);
            report.round = i + 1;
            report.seconds = clock_seconds() - start;
            notify_rollout(report, round_.batch, observers...);
            if (notify_round(report, observers...)) break;
        }
        notify_end(report, observers...);
        return report;
    }

    /// Rounds over all calls of `run`.
    std::size_t rounds_done() const { return rounds_done_; }
    /// The last round's samples, scores, rewards, values and returns.
    const trajectories<P>& last_round() const { return round_; }

private:
    using default_reward = pipeline<logit_reward, adaptive_kl_penalty, missing_eos>;
    static constexpr bool with_reference =
        !has_role<role::reward, Components...> || (needs_reference<Components>() || ... || false);

    round_report one_round(const rlhf_options& options, const round_report& before) {
        round_report report{.rounds = options.rounds, .discarded_steps = before.discarded_steps};
        const std::size_t number = round_number_++;  // a round that fails is not repeated with the same random numbers
        const rng_key key{options.seed, static_cast<std::uint32_t>(number)};
        double time = clock_seconds();
        const auto lap = [&time] {
            const double before_now = time;
            time = clock_seconds();
            return time - before_now;
        };

        auto& advantage = find_part<role::advantage>(part_, default_advantage_);
        const roll_out_options rollout{.rows = options.rows,
                                       .group_size = group_size_of(advantage.component),
                                       .sampling = options.sampling,
                                       .recompute_old = options.recompute_old,
                                       .importance_cap = options.importance_cap,
                                       .micro_batch_rows = options.micro_batch_rows};
        rollout.check();
        roll_out(policy_, draw_prompts(rollout.prompts(), key), rollout, key, round_);
        if (!gate_passed_)
            check_log_probs(policy_, round_, options.sampling.truncates(), options.log_prob_tolerance,
                            options.micro_batch_rows, options.policy.micro_batch_rows, "rlhf_trainer");
        gate_passed_ = true;
        if constexpr (with_reference) evaluate_reference(reference(), round_, options.micro_batch_rows);
        report.rollout_seconds = lap();

        score(reward_model_, round_, options.micro_batch_rows);
        auto& shaping = find_part<role::reward>(part_, default_reward_);
        shape(shaping, round_);
        evaluate_values(critic_, round_, options.micro_batch_rows);
        report.score_seconds = lap();
        describe_round(round_, report);
        if constexpr (with_reference) {
            report.kl_sequence = report.kl_reference * unmasked_tokens() / static_cast<double>(rows(round_.batch));
            if (const adaptive_kl_penalty::state* const kl = find_adaptive_kl(shaping.memory))
                report.kl_beta = kl->beta;
        }

        if (number >= options.critic_warmup) {
            const policy_update_report done = std::apply(
                [&](auto&... other) {
                    return update_policy(policy_, round_, options.policy, key, advantage,
                                         find_part<role::policy_loss>(part_, default_loss_), other...);
                },
                std::tuple_cat(parts_of_role<role::token_factor>(part_),
                               parts_of_role<role::policy_regularizer>(part_)));
            describe_policy(done, report);
        } else {
            estimate_returns(round_, advantage);
        }
        report.policy_seconds = lap();

        const critic_update_report done = update_critic(critic_, round_, options.critic, key);
        report.value_loss = done.loss.loss / static_cast<double>(done.steps + done.discarded);
        report.value_explained = done.explained_variance;
        report.critic_grad_norm = done.grad_norm;
        report.critic_steps = done.steps;
        report.discarded_steps += done.discarded;
        report.critic_seconds = lap();
        ++rounds_done_;
        return report;
    }

    double unmasked_tokens() {
        double n = 0;
        for_each_token(round_.old_log_prob.view(), mask_of(round_.batch), [&](std::size_t, std::size_t) { n += 1; });
        return n;
    }

    typename P::prompts draw_prompts([[maybe_unused]] std::size_t n, [[maybe_unused]] rng_key key) {
        if constexpr (has_role<role::prompt_source, Components...>) {
            auto prompts = find_part<role::prompt_source>(part_, no_part_).component.source->sample(n, key);
            check_size(rows(prompts), n, "rlhf_trainer", "prompts of the source");
            return prompts;
        } else {
            return typename P::prompts{};
        }
    }

    auto& reference() {
        if constexpr (has_role<role::reference, Components...>) {
            return *find_part<role::reference>(part_, no_part_).component.policy;
        } else {
            if (!clone_) clone_.emplace(policy_.clone());
            return *clone_;
        }
    }

    P& policy_;
    S& reward_model_;
    C& critic_;
    std::tuple<part<Components>...> part_;
    part<gae> default_advantage_{gae{}};
    part<ppo_clip> default_loss_{ppo_clip{}};
    part<default_reward> default_reward_{default_reward{logit_reward{}, adaptive_kl_penalty{}, missing_eos{}}};
    no_component no_part_{};
    std::optional<clone_type<P, with_reference && !has_role<role::reference, Components...>>> clone_;

    trajectories<P> round_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
    bool gate_passed_ = false;
};

}  // namespace detail

template <class P, class S, class C, class... Components>
class rlhf_trainer : public detail::rlhf_loop<detail::check_rlhf<P, S, C, Components...>(), P, S, C, Components...> {
public:
    rlhf_trainer(P& policy, S& reward_model, C& critic, Components... components)
        : detail::rlhf_loop<detail::check_rlhf<P, S, C, Components...>(), P, S, C, Components...>(
              policy, reward_model, critic, static_cast<Components&&>(components)...) {}
};

}  // namespace rlgaf::inline RLGAF_ABI
