#pragma once
#include "rlgaf/core/clock.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/reward_shaping/missing_eos.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/training/rlhf_options.hpp"
#include "rlgaf/training/rlhf_parts.hpp"
#include "rlgaf/training/trainer_sources.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

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
        if (options.sync_reference) reference_.check_follows("rlhf_trainer");
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
        roll_out(policy_, draw_prompts<P>(part_, rollout.prompts(), key, "rlhf_trainer"), rollout, key, round_);
        if (!gate_passed_)
            check_log_probs(policy_, round_, options.sampling.truncates(), options.log_prob_tolerance,
                            options.micro_batch_rows, options.policy.micro_batch_rows, "rlhf_trainer");
        gate_passed_ = true;
        if constexpr (with_reference)
            evaluate_reference(reference_.get(part_, policy_), round_, options.micro_batch_rows);
        report.rollout_seconds = lap();

        score(reward_model_, round_, options.micro_batch_rows);
        auto& shaping = find_part<role::reward>(part_, default_reward_);
        shape(shaping, round_);
        evaluate_values(critic_, round_, options.micro_batch_rows, return_scale_.scale);
        report.score_seconds = lap();
        describe_round(round_, report);
        if constexpr (with_reference) {
            report.kl_reference_per_row =
                report.kl_reference_per_token * unmasked_tokens() / static_cast<double>(rows(round_.batch));
            if (const double* const beta = find_kl_beta(shaping.memory)) report.kl_beta = *beta;
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
            if (options.sync_reference) reference_.follow(policy_, options.reference, done.steps);
        } else {
            estimate_returns(round_, advantage);
        }
        report.policy_seconds = lap();

        const critic_update_report done = update_critic(critic_, round_, options.critic, key, &return_scale_);
        report.value_loss = done.loss.loss / static_cast<double>(done.steps + done.discarded);
        report.explained_variance = done.explained_variance;
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

    P& policy_;
    S& reward_model_;
    C& critic_;
    std::tuple<part<Components>...> part_;
    default_part<role::advantage, gae, Components...> default_advantage_;
    default_part<role::policy_loss, ppo_clip, Components...> default_loss_;
    default_part<role::reward, pipeline<logit_reward, adaptive_kl_penalty, missing_eos>, Components...> default_reward_;
    reference_policy<P, with_reference, Components...> reference_;
    popart::state return_scale_;

    trajectories<P> round_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
    bool gate_passed_ = false;
};

}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
