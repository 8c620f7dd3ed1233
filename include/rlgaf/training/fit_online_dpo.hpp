#pragma once
#include "rlgaf/preference/online_dpo.hpp"
#include "rlgaf/training/fit_dpo.hpp"
#include "rlgaf/training/trainer_parts.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct online_dpo_options {
    std::size_t rounds = 100;
    std::size_t rows = 256;      ///< samples a round, a multiple of group_size
    std::size_t group_size = 2;  ///< samples a prompt, > 1: best against worst
    rollout_options sampling{};
    online_dpo pairs{};
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    schedule learning_rate{};          ///< multiplies step.learning_rate, by round
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::uint64_t seed = 1;

    void check() const {
        pairs.check();
        step.check();
        learning_rate.check();
        detail::check_option(group_size > 1, "online_dpo_options", "group_size", "at least 2",
                             static_cast<double>(group_size));
        rollout().check();
    }
    roll_out_options rollout() const {
        return {.rows = rows,
                .group_size = group_size,
                .sampling = sampling,
                .recompute_old = sampling.truncates(),
                .micro_batch_rows = micro_batch_rows};
    }
};

/// Online DPO: each round samples, lets the scorer judge, and takes one step that prefers the best answer to the worst.
/// `scorer` is a reward model, a discriminator or a true_reward; `source` has `sample(n, key) -> prompts`, or is
/// a list of prompts itself: no_prompts{} where the policy is not asked anything. Policy, reference and scorer are referred to; only the policy
/// learns. The reference stays as it is: a clone of the policy, most often.
/// Observers see a round_report a round: what fit_dpo reports, of the round's pairs, but score_policy: the scorer's mean
/// over all samples; kl_reference_per_token, entropy_sampled, length_mean, truncated_share of the samples. A round
/// without a pair (all scores equal) takes no step. Returns the last one.
/// Errors: shape_error; option_error; numeric_error.
/// Source: Guo et al. 2024, arXiv 2402.04792, algorithm 1.
template <policy_backend P, class Reference, class S, class Source, class Loss, class... Observers>
    requires preference_loss<Loss, typename P::scalar> round_report fit_online_dpo(P& policy, Reference& reference,
                                                                                   S& scorer, Source&& source,
                                                                                   const online_dpo_options& options,
                                                                                   const Loss& loss,
                                                                                   Observers&&... observers) {
        static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
        options.check();
        if constexpr (requires { loss.check(); }) loss.check();
        const double start = clock_seconds();
        detail::notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()},
                             observers...);
        const roll_out_options rollout = options.rollout();
        round_report report{.rounds = options.rounds};
        trajectories<P> t;
        detail::pair_scratch<typename P::scalar> scratch;
        std::vector<preference_pair> pairs;
        std::vector<std::size_t> all;
        for (std::size_t i = 0; i < options.rounds; ++i) {
            const rng_key key{options.seed, static_cast<std::uint32_t>(i)};
            report = {.round = i + 1, .rounds = options.rounds, .discarded_steps = report.discarded_steps};
            if constexpr (std::is_same_v<std::remove_cvref_t<Source>, typename P::prompts>)
                roll_out(policy, source, rollout, key, t);
            else
                roll_out(policy, source.sample(rollout.prompts(), key), rollout, key, t);
            evaluate_reference(reference, t, options.micro_batch_rows);
            score(scorer, t, options.micro_batch_rows);
            options.pairs(std::span<const typename P::scalar>(t.score), t.group(), t.work, pairs);
            if (!pairs.empty()) {
                detail::step_pairs taken(rows(t.batch));
                all.resize(pairs.size());
                count_up(detail::span_of(all));
                taken.take(detail::span_of(pairs), {}, detail::span_of(all));
                step_options step = options.step;
                step.learning_rate *= options.learning_rate(i);
                detail::describe_pairs(detail::step_on_pairs(policy, t.batch, t.reference_view(), taken, loss, step,
                                                             options.micro_batch_rows, scratch, "fit_online_dpo"),
                                       report);
            }
            detail::describe_round(t, report);
            report.reward_mean = report.reward_deviation = round_report::none;  // nothing was shaped
            report.seconds = clock_seconds() - start;
            detail::notify_rollout(report, t.batch, observers...);
            if (detail::notify_round(report, observers...)) break;
        }
        detail::notify_end(report, observers...);
        return report;
    }
/// The same with dpo{}.
template <policy_backend P, class Reference, class S, class Source, class... Observers>
    requires(!preference_loss<std::remove_cvref_t<Observers>, typename P::scalar> && ... && true)
round_report fit_online_dpo(P& policy, Reference& reference, S& scorer, Source&& source,
                            const online_dpo_options& options, Observers&&... observers) {
    return fit_online_dpo(policy, reference, scorer, source, options, dpo{}, observers...);
}

}  // namespace rlgaf::inline RLGAF_ABI
