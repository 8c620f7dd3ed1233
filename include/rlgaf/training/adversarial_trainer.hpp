#pragma once
#include <tuple>

#include "rlgaf/core/clock.hpp"
#include "rlgaf/discriminator/balance.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/shortcut_probe.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/training/check_trainer.hpp"
#include "rlgaf/training/discriminator_feed.hpp"
#include "rlgaf/training/greedy_baseline.hpp"
#include "rlgaf/training/rollout_values.hpp"
#include "rlgaf/training/trainer_sources.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Adversarial training: the policy learns by policy gradient from a discriminator that learns, at the same time, to
/// tell its samples from demonstrations. A thin loop over the five roles of training/roles.hpp.
///
///   adversarial_trainer trainer{policy, discriminator, experts,
///                               grpo{.group_size = 8}, ppo_clip{}, bradley_terry{},
///                               pipeline{logit_reward{.clip = 10}, kl_penalty{.beta = 0.02}}};
///   trainer.run({.rounds = 500}, progress_bar{});
///
/// Components come in any order. Missing ones: grpo{}, ppo_clip{}, bradley_terry{}, logit_reward{}; no gate, no
/// regulariser. Policy, discriminator and experts are referred to, never copied; they must outlive the trainer. `run`
/// may be called again and goes on where it stopped. `experts` is a source of batches, or no_experts with a true_reward
/// as discriminator.
/// Errors: shape_error, option_error, numeric_error, before the step that they would spoil.
/// Source: Yu et al. 2023, arXiv 2305.06176; Ye et al. 2025, arXiv 2511.10643 (order of a round).
template <class P, class S, class E, class... Components>
class adversarial_trainer
    : public detail::adversarial_loop<detail::check_trainer<P, S, E, Components...>(), P, S, E, Components...> {
public:
    adversarial_trainer(P& policy, S& discriminator, E& experts, Components... components)
        : detail::adversarial_loop<detail::check_trainer<P, S, E, Components...>(), P, S, E, Components...>(
              policy, discriminator, experts, static_cast<Components&&>(components)...) {}
};

namespace detail {

template <class P, class S, class E, class... C>
class adversarial_loop<true, P, S, E, C...> {
public:
    adversarial_loop(P& policy, S& discriminator, E& experts, C... components)
        : policy_(policy), discriminator_(discriminator), experts_(experts), part_(part<C>(components)...) {}

    /// Runs `options.rounds` rounds; returns the report of the last one.
    template <class... Observers>
    round_report run(const adversarial_options& options, Observers&&... observers) {
        [[maybe_unused]] constexpr bool checked =
            (check_observer<std::remove_reference_t<Observers>, batch>() && ... && true);
        options.check();
        const double start = clock_seconds();
        notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()}, observers...);
        round_report report{.rounds = options.rounds};
        for (std::size_t i = 0; i < options.rounds; ++i) {
            adversarial_options now = options;
            now.policy.step.learning_rate *= options.policy_rate(i);
            now.discriminator.step.learning_rate *= options.discriminator_rate(i);
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
    /// The last round's samples, scores and rewards.
    const trajectories<P>& last_round() const { return round_; }

private:
    using T = typename P::scalar;
    using batch = typename P::batch;
    static constexpr bool true_reward_mode = is_true_reward<std::remove_const_t<S>>;
    static constexpr bool with_reference = (needs_reference<C>() || ...);
    static constexpr judged kind = judged_in_trainer<C...>();

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

        auto& advantage = find_part<role::advantage>(part_, default_advantage_);
        const roll_out_options rollout{.rows = options.rows,
                                       .group_size = group_size_of(advantage.component),
                                       .sampling = options.sampling,
                                       .recompute_old = options.recompute_old,
                                       .importance_cap = options.importance_cap,
                                       .micro_batch_rows = options.micro_batch_rows};
        rollout.check();
        const typename P::prompts prompts =
            detail::draw_prompts<P>(part_, rollout.prompts(), key, "adversarial_trainer");
        roll_out(policy_, prompts, rollout, key, round_);
        if (!gate_passed_)
            check_log_probs(policy_, round_, options.sampling.truncates(), options.log_prob_tolerance,
                            options.micro_batch_rows, options.policy.micro_batch_rows);
        gate_passed_ = true;
        if constexpr (with_reference)
            evaluate_reference(reference_.get(part_, policy_), round_, options.micro_batch_rows);
        report.rollout_seconds = lap();

        const bool warm = warm_ || number >= options.discriminator_warmup || options.discriminator_updates == 0;
        turn who{.policy = warm || true_reward_mode};
        if constexpr (!true_reward_mode) draw_experts(prompts, options, key);
        judge(options, key);
        auto& shaping = find_part<role::reward>(part_, default_reward_);
        fill_for(advantage.component, prompts, rollout, options, key, shaping);
        shape(shaping, round_);
        report.score_seconds = lap();
        describe_round(round_, report);

        if constexpr (!true_reward_mode) {
            if constexpr (has_role<role::gate, C...>) {
                report.accuracy = accuracy(options);
                const turn gate = find_part<role::gate>(part_, no_part_)(report.accuracy);
                who.policy = who.policy && gate.policy;
                who.discriminator = gate.discriminator || !warm;
            }
            if constexpr (has_role<role::probe, C...>) {
                std::vector<std::uint8_t> real_truncated(rows(feed_.real));
                const std::span<const row_end> end = ends(feed_.real);
                for (std::size_t i = 0; i < end.size(); ++i) real_truncated[i] = end[i] == row_end::truncated;
                report.shortcut_accuracy = find_part<role::probe>(part_, no_part_)(
                    shortcut_probe::side{lengths(feed_.real), real_truncated},
                    shortcut_probe::side{lengths(round_.batch), round_.truncated}, feed_.matched);
            }
            if constexpr (has_role<role::held_out, C...>) {
                if (number == 0 || (number + 1) % options.held_out_every == 0) {
                    const auto& held = find_part<role::held_out>(part_, no_part_).component;
                    score_rows(discriminator_, held.batch, expert_score_, options.micro_batch_rows, 0, round_.pick);
                    std::vector<T> held_mean;
                    mean_of_columns(std::span<const T>(expert_score_), round_.width, held_mean);
                    mean_of_columns(std::span<const T>(round_.score), round_.width, sample_score_);
                    report.accuracy_held_out =
                        pair_accuracy(std::span<const T>(held_mean), std::span<const T>(sample_score_));
                }
            }
            lap();
        }

        if (who.policy) {
            const policy_update_report done = std::apply(
                [&](auto&... other) {
                    return update_policy(policy_, round_, options.policy, key, advantage,
                                         find_part<role::policy_loss>(part_, default_loss_), other...);
                },
                std::tuple_cat(parts_of_role<role::token_factor>(part_),
                               parts_of_role<role::policy_regularizer>(part_)));
            describe_policy(done, report);
        }
        report.policy_seconds = lap();

        if constexpr (!true_reward_mode) {
            if (who.discriminator) train_discriminator(options, key, report);
            report.discriminator_seconds = lap();
        }
        ++rounds_done_;
        return report;
    }

    /// One demonstration a sample, or one a prompt that its samples share.
    void draw_experts([[maybe_unused]] const typename P::prompts& prompts, const adversarial_options& options,
                      rng_key key) {
        feed_.matched.resize(options.rows);
        std::size_t per_prompt = 1;
        if constexpr (has_role<role::prompt_source, C...>) {
            feed_.real = experts_.answers(prompts, key);
            per_prompt = options.rows / rows(prompts);
            check_size(rows(feed_.real), rows(prompts), "adversarial_trainer", "rows of the experts' answers");
        } else {
            feed_.real = experts_.sample(options.rows, key);
            check_size(rows(feed_.real), options.rows, "adversarial_trainer", "rows of the experts' sample");
        }
        for (std::size_t i = 0; i < feed_.matched.size(); ++i)
            feed_.matched[i] = static_cast<std::uint32_t>(i / per_prompt);
    }

    /// Role 2, for whatever the discriminator judges.
    void judge(const adversarial_options& options, [[maybe_unused]] rng_key key) {
        if constexpr (kind == judged::tokens) {
            score_tokens(discriminator_, round_, options.micro_batch_rows);
        } else if constexpr (kind == judged::pairs) {
            score_pairs(discriminator_, round_, feed_.real_of_samples(), options.micro_batch_rows);
        } else {
            score(discriminator_, round_, options.micro_batch_rows, options.score_passes);
            if constexpr ((needs_expert_score<C>() || ...))
                score_experts(discriminator_, round_, feed_.real, feed_.matched, options.micro_batch_rows,
                              options.score_passes);
            if constexpr (has_role<role::score_reference, C...>)
                score_fixed(discriminator_, round_, find_part<role::score_reference>(part_, no_part_).component.batch,
                            options.micro_batch_rows);
            if constexpr (has_role<role::credit, C...>) {
                const auto& credit = find_part<role::credit>(part_, no_part_).component;
                credit.check();
                roll_out_values(policy_, discriminator_, round_, credit.options(options.sampling), key,
                                [&](double s) { return map_score(credit.map, s); });
            }
        }
    }

    /// Of the discriminator as it is, on the round's samples and their demonstrations.
    double accuracy(const adversarial_options& options) {
        const std::span<const T> sampled(round_.score);
        if constexpr (kind == judged::pairs) {
            return pair_critic_accuracy(sampled);
        } else {
            if constexpr (kind == judged::rows) {
                score_rows(discriminator_, feed_.real, expert_score_, options.micro_batch_rows, 0, round_.pick);
                mean_of_columns(std::span<const T>(expert_score_), round_.width, expert_mean_);
            } else {
                trajectories<P> experts;
                experts.batch = feed_.real;
                score_tokens(discriminator_, experts, options.micro_batch_rows);
                expert_mean_ = experts.score;
            }
            mean_of_columns(sampled, round_.width, sample_score_);
            return matched_accuracy(std::span<const T>(expert_mean_), std::span<const T>(sample_score_),
                                    std::span<const std::uint32_t>(feed_.matched));
        }
    }

    void train_discriminator(const adversarial_options& options, rng_key key, round_report& report) {
        auto& loss = find_part<role::discriminator_loss>(part_, default_discriminator_loss_);
        for (std::size_t k = 0; k < options.discriminator_updates; ++k) {
            const auto& step = feed_.next(round_.batch, options, key, k);
            const rng_key own{key.seed ^ ((k + 1) << 40), key.step};
            const discriminator_update_report done = std::apply(
                [&](auto&... extra) {
                    return update_discriminator(discriminator_, step.real, step.fake, {step.pairs},
                                                options.discriminator, loss, scratch_, own, extra...);
                },
                std::tuple_cat(parts_of_role<role::discriminator_regularizer>(part_),
                               parts_of_role<role::input_penalty>(part_), parts_of_role<role::weight_constraint>(part_),
                               parts_of_role<role::input_noise>(part_)));
            report.discriminator_loss = done.loss.loss;
            report.discriminator_grad_norm = done.grad_norm;
            report.discriminator_steps += done.applied;
            report.discarded_steps += !done.applied;
            report.score_expert = done.loss.real_mean;
            if constexpr (has_role<role::discriminator_regularizer, C...> || has_role<role::input_penalty, C...>)
                report.discriminator_regularizer = done.regularizer;
            if constexpr (has_role<role::input_penalty, C...>) report.input_gradient = done.input_gradient;
            if constexpr (has_role<role::input_noise, C...>) report.discriminator_noise = done.noise;
            if (k == 0 && !has_role<role::gate, C...>) report.accuracy = fresh_accuracy(step, done);
        }
        if (report.accuracy > options.warmup_accuracy) warm_ = true;
        if (options.discriminator_updates > 0) feed_.remember(round_.batch);
    }

    /// Of a step before it was taken, on its fresh samples.
    double fresh_accuracy(const typename discriminator_feed<batch>::step& step,
                          const discriminator_update_report& done) {
        if constexpr (kind == judged::rows) {
            mean_of_columns(std::span<const T>(scratch_.score), score_width(discriminator_), sample_score_);
            const std::span<const T> score(sample_score_);
            return matched_accuracy(score.first(rows(step.real)), score.subspan(rows(step.real), step.fresh),
                                    std::span<const std::uint32_t>(step.pairs));
        } else if constexpr (kind == judged::pairs) {
            return pair_critic_accuracy(std::span<const T>(scratch_.score).first(3 * step.fresh));
        } else {
            return done.loss.accuracy;
        }
    }

    /// What only some advantage estimators read.
    template <class A, class Stage>
    void fill_for([[maybe_unused]] const A& advantage, [[maybe_unused]] const typename P::prompts& prompts,
                  [[maybe_unused]] const roll_out_options& rollout, [[maybe_unused]] const adversarial_options& options,
                  [[maybe_unused]] rng_key key, [[maybe_unused]] const part<Stage>& shaping) {
        if constexpr (requires { A::needs_greedy_reward; })
            greedy_baseline(policy_, prompts, rollout, key, shaping, round_, greedy_, [&](auto& g) {
                if constexpr (with_reference)
                    evaluate_reference(reference_.get(part_, policy_), g, options.micro_batch_rows);
                score(discriminator_, g, options.micro_batch_rows, options.score_passes);
                g.fixed_score = round_.fixed_score;
            });
        if constexpr (requires { A::needs_score_norm; })
            evaluate_score_norms(policy_, round_, options.micro_batch_rows);
    }

    P& policy_;
    S& discriminator_;
    E& experts_;
    std::tuple<part<C>...> part_;
    default_part<role::advantage, grpo, C...> default_advantage_;
    default_part<role::policy_loss, ppo_clip, C...> default_loss_;
    default_part<role::discriminator_loss, bradley_terry, C...> default_discriminator_loss_;
    default_part<role::reward, logit_reward, C...> default_reward_;
    no_component no_part_{};
    reference_policy<P, with_reference, C...> reference_;

    trajectories<P> round_, greedy_;
    discriminator_feed<batch> feed_;
    std::vector<T> expert_score_, expert_mean_, sample_score_;
    discriminator_scratch<T> scratch_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
    bool gate_passed_ = false;
    bool warm_ = false;  // the discriminator was accurate enough
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
