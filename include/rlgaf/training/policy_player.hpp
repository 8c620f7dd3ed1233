#pragma once
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/training/adversarial_options.hpp"
#include "rlgaf/training/critic_part.hpp"
#include "rlgaf/training/dynamic_sampling.hpp"
#include "rlgaf/training/greedy_baseline.hpp"
#include "rlgaf/training/kl_beta.hpp"
#include "rlgaf/training/trainer_sources.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// The policy's side of a trainer: it samples a round, is paid for it and learns, and so does its critic.
/// Defaults: the trainer's name and the reward of one that was given none.
template <class P, class Defaults, class... C>
class policy_player {
public:
    using prompts = typename P::prompts;
    static constexpr bool with_critic = has_role<role::critic, C...>;
    static constexpr bool with_reference =
        (needs_reference<C>() || ... || false) ||
        (!has_role<role::reward, C...> && needs_reference<typename Defaults::reward>());
    static constexpr bool resamples = (chooses_groups<C, typename P::scalar> || ... || false);

    P& policy;
    std::tuple<part<C>...> parts;
    trajectories<P> round;

    policy_player(P& p, C... components) : policy(p), parts(part<C>(components)...) {}

    /// Errors: option_error where the options ask for what the components cannot do.
    void check(const adversarial_options& options) {
        if (options.sync_reference) reference_policy<P, with_reference, C...>::check_follows(Defaults::name);
        if constexpr (!resamples)
            check_option(options.sampling_attempts == 1, Defaults::name, "sampling_attempts",
                         "1, or informative_groups{} among the components",
                         static_cast<double>(options.sampling_attempts));
        if constexpr ((std::is_same_v<C, informative_groups> || ... || false))
            check_option(group_size_of(advantage().component) != 1, Defaults::name, "group_size",
                         "0 or above 1 with informative_groups: an answer alone differs from none", 1);
    }

    /// Role 1, with the sanity gate before the first update. `judge(prompts, key)` scores the round as it is, where groups
    /// that teach nothing are sampled anew.
    template <class Judge>
    prompts sample(const adversarial_options& options, rng_key key, [[maybe_unused]] round_report& report,
                   [[maybe_unused]] Judge&& judge) {
        rollout_ = {.rows = options.rows,
                    .group_size = group_size_of(advantage().component),
                    .sampling = options.sampling,
                    .recompute_old = options.recompute_old,
                    .importance_cap = options.importance_cap,
                    .micro_batch_rows = options.micro_batch_rows};
        rollout_.check();
        if constexpr (resamples) {
            if (options.sampling_attempts > 1) {
                no_component none;
                dynamic_sampling_report done;
                const prompts kept = sample_informative(
                    policy, find_part<role::row_choice>(parts, none).component, options.sampling_attempts, rollout_,
                    key, find_part<role::reward>(parts, default_reward_), round, done, [&](rng_key own) {
                        const prompts asked = sample_once(options, own);
                        judge(asked, own);
                        return asked;
                    });
                rollout_.rows = rows(round.batch);
                refer(round, options);
                report.sampling_attempts = static_cast<double>(done.attempts);
                report.informative_share = static_cast<double>(done.kept) / static_cast<double>(done.groups);
                return kept;
            }
        }
        return sample_once(options, key);
    }

    /// Role 3, once the round has its scores, and what estimators read beside rewards. `judge(greedy)` scores the
    /// likeliest answers as the round was scored.
    template <class Judge>
    void earn([[maybe_unused]] const prompts& asked, const adversarial_options& options, [[maybe_unused]] rng_key key,
              round_report& report, [[maybe_unused]] Judge&& judge) {
        using A = decltype(advantage().component);
        auto& shaping = find_part<role::reward>(parts, default_reward_);
        if constexpr (requires { A::needs_greedy_reward; })
            greedy_baseline(policy, asked, rollout_, key, shaping, round, greedy_, [&](auto& g) {
                refer(g, options);
                judge(g);
            });
        if constexpr (requires { A::needs_score_norm; }) evaluate_score_norms(policy, round, options.micro_batch_rows);
        shape(shaping, round);
        critic_.value(parts, round, options.micro_batch_rows);
        describe_round(round, report);
        if constexpr (with_reference)
            if (const double* const beta = find_kl_beta(shaping.memory)) report.kl_beta = *beta;
    }

    /// Role 4. Without it the critic is told what the returns were.
    void learn(const adversarial_options& options, rng_key key, round_report& report) {
        const policy_update_report done = std::apply(
            [&](auto&... other) {
                return update_policy(policy, round, options.policy, key, advantage(),
                                     find_part<role::policy_loss>(parts, default_loss_), other...);
            },
            std::tuple_cat(parts_of_role<role::token_factor>(parts), parts_of_role<role::row_choice>(parts),
                           parts_of_role<role::policy_regularizer>(parts)));
        describe_policy(done, report);
        if (options.sync_reference) reference_.follow(policy, options.reference, done.steps);
    }
    void learn_values([[maybe_unused]] const adversarial_options& options, [[maybe_unused]] rng_key key,
                      [[maybe_unused]] round_report& report) {
        if constexpr (with_critic) {
            if (round.returns.flat().empty()) estimate_returns(round, advantage());
            critic_.learn(parts, round, options.critic, key, report);
        }
    }

    template <class Archive>
    void visit(Archive& a) {
        std::apply([&](auto&... p) { (visit_memory(a, p), ...); }, parts);
        if constexpr (!has_role<role::advantage, C...>) visit_memory(a, default_advantage_);
        if constexpr (!has_role<role::policy_loss, C...>) visit_memory(a, default_loss_);
        if constexpr (!has_role<role::reward, C...>) visit_memory(a, default_reward_);
        reference_.visit(a, policy);
        critic_.visit(a);
        a("gate_passed", gate_passed_);
    }

private:
    template <class Archive, class Part>
    static void visit_memory(Archive& a, Part& p) {
        p.memory.visit(a);
    }
    prompts sample_once(const adversarial_options& options, rng_key key) {
        const prompts asked = draw_prompts<P>(parts, rollout_.prompts(), key, Defaults::name);
        roll_out(policy, asked, rollout_, key, round);
        if (!gate_passed_)
            check_log_probs(policy, round, options.sampling.truncates(), options.log_prob_tolerance,
                            options.micro_batch_rows, options.policy.micro_batch_rows, Defaults::name);
        gate_passed_ = true;
        refer(round, options);
        return asked;
    }
    auto& advantage() { return find_part<role::advantage>(parts, default_advantage_); }
    void refer([[maybe_unused]] trajectories<P>& t, [[maybe_unused]] const adversarial_options& options) {
        if constexpr (with_reference) evaluate_reference(reference_.get(parts, policy), t, options.micro_batch_rows);
    }

    default_part<role::advantage, std::conditional_t<with_critic, gae, grpo>, C...> default_advantage_;
    default_part<role::policy_loss, ppo_clip, C...> default_loss_;
    default_part<role::reward, typename Defaults::reward, C...> default_reward_;
    reference_policy<P, with_reference, C...> reference_;
    critic_player<P, C...> critic_;
    roll_out_options rollout_;
    trajectories<P> greedy_;
    bool gate_passed_ = false;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
