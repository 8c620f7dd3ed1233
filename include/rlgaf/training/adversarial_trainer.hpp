#pragma once
#include <optional>
#include <tuple>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/check.hpp"
#include "rlgaf/core/clock.hpp"
#include "rlgaf/discriminator/balance.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/replay.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/reward_shaping/score_reward.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/trainer_parts.hpp"
#include "rlgaf/training/update_discriminator.hpp"
#include "rlgaf/training/update_policy.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct adversarial_options {
    std::size_t rounds = 100;  ///< of this call
    std::size_t rows = 512;    ///< samples a round, a multiple of the advantage's group size
    std::uint64_t seed = 1;
    rollout_options sampling{};
    bool recompute_old = false;  ///< evaluate old log-probs anew instead of trusting the sampler's
    double importance_cap = 2;   ///< see roll_out_options
    policy_update_options policy{};
    discriminator_update_options discriminator{};
    schedule policy_rate{};                 ///< multiplies policy.step.learning_rate, by round of this call
    schedule discriminator_rate{};          ///< likewise
    std::size_t discriminator_updates = 1;  ///< steps of the discriminator a round; 0 freezes it
    std::size_t discriminator_rows = 0;     ///< samples a discriminator step; 0: `rows`
    double replay_fraction = 0.5;           ///< in [0, 1): share of those that are past samples, once there are any
    std::size_t replay_capacity = 10000;    ///< past samples that are kept; 0: none
    /// First rounds of the trainer in which only the discriminator trains: a first run of fewer leaves the policy as it is.
    std::size_t discriminator_warmup = 10;
    std::size_t held_out_every = 10;   ///< held-out demonstrations are measured in the first and every n-th round, > 0
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass of roll_out and score at most; 0: all
    double log_prob_tolerance = 0;     ///< of the sanity gate of the first round; 0: 1e-3 for float, 1e-9 for double

    void check() const {
        policy.check();
        discriminator.check();
        policy_rate.check();
        discriminator_rate.check();
        detail::check_option(replay_fraction >= 0 && replay_fraction < 1, "adversarial_options", "replay_fraction",
                             "in [0, 1)", replay_fraction);
        detail::check_option(held_out_every > 0, "adversarial_options", "held_out_every", "at least 1", 0);
        detail::check_option(log_prob_tolerance >= 0, "adversarial_options", "log_prob_tolerance", "0 or positive",
                             log_prob_tolerance);
    }
};

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
        static_assert((check_observer<std::remove_reference_t<Observers>, batch>() && ... && true));
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
        const typename P::prompts prompts = draw_prompts(rollout.prompts(), key);
        roll_out(policy_, prompts, rollout, key, round_);
        if (!gate_passed_)
            check_log_probs(policy_, round_, options.sampling.truncates(), options.log_prob_tolerance,
                            options.micro_batch_rows, options.policy.micro_batch_rows);
        gate_passed_ = true;
        if constexpr (with_reference) evaluate_reference(reference(), round_, options.micro_batch_rows);
        report.rollout_seconds = lap();

        score(discriminator_, round_, options.micro_batch_rows);
        auto& shaping = find_part<role::reward>(part_, default_reward_);
        shape(shaping, round_);
        report.score_seconds = lap();
        describe_round(round_, report);

        const bool warm =
            number >= options.discriminator_warmup || options.discriminator_updates == 0 || true_reward_mode;
        turn who{.policy = warm};
        if constexpr (!true_reward_mode) {
            draw_experts(prompts, options, key);
            if constexpr (has_role<role::gate, C...>) {
                expert_score_.assign(rows(real_), T{0});
                evaluate_in_parts(discriminator_, real_, std::span<T>(expert_score_), options.micro_batch_rows,
                                  round_.pick);
                report.accuracy = matched_accuracy(std::span<const T>(expert_score_), std::span<const T>(round_.score),
                                                   std::span<const std::uint32_t>(matched_));
                const turn gate = find_part<role::gate>(part_, no_part_)(report.accuracy);
                who.policy = who.policy && gate.policy;
                who.discriminator = gate.discriminator || !warm;
            }
            if constexpr (has_role<role::held_out, C...>) {
                if (number == 0 || (number + 1) % options.held_out_every == 0) {
                    const auto& held = find_part<role::held_out>(part_, no_part_).component;
                    expert_score_.assign(rows(held.batch), T{0});
                    evaluate_in_parts(discriminator_, held.batch, std::span<T>(expert_score_), options.micro_batch_rows,
                                      round_.pick);
                    report.accuracy_held_out =
                        pair_accuracy(std::span<const T>(expert_score_), std::span<const T>(round_.score));
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

    typename P::prompts draw_prompts([[maybe_unused]] std::size_t n, [[maybe_unused]] rng_key key) {
        if constexpr (has_role<role::prompt_source, C...>) {
            auto prompts = find_part<role::prompt_source>(part_, no_part_).component.source->sample(n, key);
            check_size(rows(prompts), n, "adversarial_trainer", "prompts of the source");
            return prompts;
        } else {
            return typename P::prompts{};
        }
    }

    /// Fills real_ and matched_: one demonstration a sample, or one a prompt that its samples share.
    void draw_experts([[maybe_unused]] const typename P::prompts& prompts, const adversarial_options& options,
                      rng_key key) {
        matched_.resize(options.rows);
        if constexpr (has_role<role::prompt_source, C...>) {
            real_ = experts_.answers(prompts, key);
            const std::size_t per_prompt = options.rows / rows(prompts);
            check_size(rows(real_), rows(prompts), "adversarial_trainer", "rows of the experts' answers");
            for (std::size_t i = 0; i < matched_.size(); ++i) matched_[i] = static_cast<std::uint32_t>(i / per_prompt);
        } else {
            real_ = experts_.sample(options.rows, key);
            check_size(rows(real_), options.rows, "adversarial_trainer", "rows of the experts' sample");
            for (std::size_t i = 0; i < matched_.size(); ++i) matched_[i] = static_cast<std::uint32_t>(i);
        }
    }

    void train_discriminator(const adversarial_options& options, rng_key key, round_report& report) {
        if (!replay_fake_ || replay_fake_->capacity() != options.replay_capacity) {
            replay_fake_.emplace(options.replay_capacity);
            replay_real_.emplace(options.replay_capacity);
        }
        const std::size_t wanted = options.discriminator_rows == 0 ? options.rows : options.discriminator_rows;
        std::vector<std::size_t> order(options.rows), real_rows;
        std::vector<std::uint32_t> pairs;
        count_up(std::span(order));
        auto& loss = find_part<role::discriminator_loss>(part_, default_discriminator_loss_);
        for (std::size_t k = 0; k < options.discriminator_updates; ++k) {
            const std::size_t old_rows =
                replay_fake_->size() == 0
                    ? 0
                    : static_cast<std::size_t>(options.replay_fraction * static_cast<double>(wanted));
            const std::size_t fresh_rows = wanted - old_rows < options.rows ? wanted - old_rows : options.rows;
            shuffle(std::span(order), key, k, stream::discriminator);

            // The fresh samples' demonstrations, each once; then one demonstration for each past sample.
            pairs.clear();
            real_rows.clear();
            place_.assign(rows(real_), rows(real_));
            for (std::size_t i = 0; i < fresh_rows; ++i) {
                std::size_t& place = place_[matched_[order[i]]];
                if (place == rows(real_)) {
                    place = real_rows.size();
                    real_rows.push_back(matched_[order[i]]);
                }
                pairs.push_back(static_cast<std::uint32_t>(place));
            }
            batch fake = select(round_.batch, std::span<const std::size_t>(order).first(fresh_rows));
            batch real = select(real_, real_rows);
            const std::size_t fresh_real = real_rows.size();
            if (old_rows > 0) {
                const rng_key draw{key.seed ^ (k << 32), key.step};
                fake = concat(fake, replay_fake_->sample(old_rows, draw));
                real = concat(real, replay_real_->sample(old_rows, draw));
                for (std::size_t i = 0; i < old_rows; ++i) pairs.push_back(static_cast<std::uint32_t>(fresh_real + i));
            }
            const discriminator_update_report done =
                update_discriminator(discriminator_, real, fake, {pairs}, options.discriminator, loss, scratch_);
            report.discriminator_loss = done.loss.loss;
            report.discriminator_grad_norm = done.grad_norm;
            report.discriminator_steps += done.applied;
            report.discarded_steps += !done.applied;
            report.score_expert = done.loss.real_mean;
            if (k == 0 && !has_role<role::gate, C...>) {
                const std::span<const T> score(scratch_.score);
                report.accuracy =
                    matched_accuracy(score.first(rows(real)), score.subspan(rows(real), fresh_rows), pairs);
            }
        }
        replay_fake_->add(round_.batch);
        real_rows.assign(matched_.begin(), matched_.end());
        replay_real_->add(select(real_, real_rows));
    }

    auto& reference() {
        if constexpr (has_role<role::reference, C...>) {
            return *find_part<role::reference>(part_, no_part_).component.policy;
        } else {
            if (!clone_) clone_.emplace(policy_.clone());
            return *clone_;
        }
    }

    P& policy_;
    S& discriminator_;
    E& experts_;
    std::tuple<part<C>...> part_;
    part<grpo> default_advantage_{grpo{}};
    part<ppo_clip> default_loss_{ppo_clip{}};
    part<bradley_terry> default_discriminator_loss_{bradley_terry{}};
    part<logit_reward> default_reward_{logit_reward{}};
    no_component no_part_{};
    std::optional<clone_type<P, with_reference && !has_role<role::reference, C...>>> clone_;

    trajectories<P> round_;
    batch real_;
    std::vector<std::uint32_t> matched_;
    std::vector<std::size_t> place_;
    std::vector<T> expert_score_;
    discriminator_scratch<T> scratch_;
    std::optional<replay_buffer<batch>> replay_fake_, replay_real_;
    std::size_t round_number_ = 0;  // begun; a round that failed keeps its number
    std::size_t rounds_done_ = 0;
    bool gate_passed_ = false;
};

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
