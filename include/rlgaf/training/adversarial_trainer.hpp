#pragma once
#include "rlgaf/core/clock.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/training/discriminator_player.hpp"
#include "rlgaf/training/policy_player.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

struct adversarial_defaults {
    using reward = logit_reward;
    static constexpr const char* name = "adversarial_trainer";
};

}  // namespace detail

/// Adversarial training: the policy learns by policy gradient from a discriminator that learns, at the same time, to
/// tell its samples from demonstrations. A thin loop over the five roles of training/roles.hpp.
///
///   adversarial_trainer trainer{policy, discriminator, experts,
///                               grpo{.group_size = 8}, ppo_clip{}, bradley_terry{},
///                               pipeline{logit_reward{.clip = 10}, kl_penalty{.beta = 0.02}}};
///   trainer.run({.rounds = 500}, progress_bar{});
///
/// Components come in any order. Missing ones: grpo{}, or gae{} where with_critic(critic) is given; ppo_clip{},
/// bradley_terry{}, logit_reward{}; no gate, no regulariser, no critic. Policy, discriminator, experts and critic are
/// referred to, never copied; they must outlive the trainer. `run` may be called again and goes on where it stopped.
/// `experts` is a source of batches; no_experts makes the discriminator a frozen reward model, or is what a true_reward
/// has in its place. With a critic truncated rows count as finished (as in TRL, verl, OpenRLHF): nothing is bootstrapped.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Yu et al. 2023, arXiv 2305.06176; Ye et al. 2025, arXiv 2511.10643 (order of a round).
template <class P, class S, class E, class... Components>
class adversarial_trainer
    : public detail::adversarial_loop<detail::check_trainer<detail::adversarial_defaults, P, S, E, Components...>(),
                                      detail::adversarial_defaults, P, S, E, Components...> {
public:
    adversarial_trainer(P& policy, S& discriminator, E& experts, Components... components)
        : detail::adversarial_loop<detail::check_trainer<detail::adversarial_defaults, P, S, E, Components...>(),
                                   detail::adversarial_defaults, P, S, E, Components...>(
              policy, discriminator, experts, static_cast<Components&&>(components)...) {}
};

namespace detail {

template <class Defaults, class P, class S, class E, class... C>
class adversarial_loop<true, Defaults, P, S, E, C...> {
public:
    adversarial_loop(P& policy, S& discriminator, E& experts, C... components)
        : policy_(policy, static_cast<C&&>(components)...), discriminator_(discriminator, experts) {}

    /// Runs `options.rounds` rounds; returns the report of the last one.
    template <class... Observers>
    round_report run(const adversarial_options& options, Observers&&... observers) {
        [[maybe_unused]] constexpr bool checked =
            (check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true);
        options.check();
        policy_.check(options);
        const double start = clock_seconds();
        notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()}, observers...);
        round_report report{.rounds = options.rounds};
        for (std::size_t i = 0; i < options.rounds; ++i) {
            adversarial_options now = options;
            now.policy.step.learning_rate *= options.policy_rate(options.schedule_from + i);
            now.discriminator.step.learning_rate *= options.discriminator_rate(options.schedule_from + i);
            now.critic.step.learning_rate *= options.critic_rate(options.schedule_from + i);
            report = one_round(now, report);
            report.round = i + 1;
            report.seconds = clock_seconds() - start;
            notify_rollout(report, policy_.round.batch, observers...);
            if (notify_round(report, observers...)) break;
        }
        notify_end(report, observers...);
        return report;
    }

    /// Rounds over all calls of `run`.
    std::size_t rounds_done() const { return rounds_done_; }
    /// For a checkpoint: all but the options and what the trainer refers to (policy, discriminator, experts, critic).
    template <class Archive>
    void visit(Archive& a) {
        policy_.visit(a), discriminator_.visit(a);
        a("round_number", round_number_), a("rounds_done", rounds_done_);
    }
    /// The last round's samples, scores and rewards, and with a critic values and returns.
    const trajectories<P>& last_round() const { return policy_.round; }

private:
    static constexpr bool frozen = only_scores<S, E>;

    round_report one_round(const adversarial_options& options, const round_report& before) {
        round_report report{.rounds = options.rounds, .discarded_steps = before.discarded_steps};
        const std::size_t number = round_number_++;  // a round that fails is not repeated with the same random numbers
        const rng_key key{options.seed, static_cast<std::uint32_t>(number)};
        double time = clock_seconds();
        const auto lap = [&time] {
            const double before_now = time;
            time = clock_seconds();
            return time - before_now;
        };

        const auto judge = [&](const typename P::prompts& asked, rng_key own) {
            if constexpr (!frozen) discriminator_.draw_experts(policy_.parts, asked, rows(policy_.round.batch), own);
            discriminator_.judge(policy_.parts, policy_.policy, policy_.round, options, own);
        };
        const typename P::prompts prompts = policy_.sample(options, key, report, judge);
        report.rollout_seconds = lap();

        judge(prompts, key);
        policy_.earn(prompts, options, key, report,
                     [&](auto& greedy) { discriminator_.judge_as(policy_.round, greedy, options); });
        report.score_seconds = lap();
        turn who = discriminator_.decide(policy_.parts, policy_.round, number, options, report);
        if (has_role<role::critic, C...> && number < options.critic_warmup) who.policy = false;
        lap();

        if (who.policy) policy_.learn(options, key, report);
        report.policy_seconds = lap();
        policy_.learn_values(options, key, report);
        if constexpr (has_role<role::critic, C...>) report.critic_seconds = lap();
        if constexpr (!frozen) {
            if (who.discriminator) discriminator_.learn(policy_.parts, policy_.round, options, key, report);
            discriminator_.remember(policy_.round.batch, options);
            report.discriminator_seconds = lap();
        }
        ++rounds_done_;
        return report;
    }

    policy_player<P, Defaults, C...> policy_;
    discriminator_player<P, S, E, C...> discriminator_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
