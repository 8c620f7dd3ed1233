#pragma once
#include "rlgaf/core/clock.hpp"
#include "rlgaf/discriminator/replay.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/training/describe_samples.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/row_turns.hpp"
#include "rlgaf/training/sqil_step.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct sqil_options {
    std::size_t rounds = 100;
    std::size_t rows = 64;  ///< the policy's own rows a round, and as many demonstrations; > 0
    std::size_t replay_rows =
        10000;  ///< of its last rows, from which those are drawn that it learns from; 0: the round's
    std::size_t steps_per_round = 1;  ///< on the same rows, each with V as it then is; > 0
    sqil loss{};
    rollout_options sampling{};  ///< temperature 1; top_k and top_p as you like: the loss does not ask who acted
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    schedule learning_rate{};          ///< multiplies step.learning_rate, by round
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::uint64_t seed = 1;            ///< of samples and of the order of demonstrations

    void check() const {
        loss.check();
        sampling.check();
        step.check();
        learning_rate.check();
        detail::check_option(sampling.temperature == 1, "sqil_options", "sampling.temperature",
                             "1: logits are action values (loss.alpha is their temperature)", sampling.temperature);
        detail::check_option(rows > 0, "sqil_options", "rows", "at least 1", 0);
        detail::check_option(steps_per_round > 0, "sqil_options", "steps_per_round", "at least 1", 0);
    }
};

/// Soft Q imitation learning: each round the policy says something, as many demonstrations as rows of its own are drawn,
/// and the squared soft Bellman error of all of them goes down, in two passes over the rows (values of all positions, then
/// gradients). Row i of the demonstrations answers prompt i, and a round's samples answer the prompts of its
/// demonstrations; a policy that is not asked anything takes none: `fit_sqil(policy, {}, demonstrations, {})`.
/// Observers see a round_report a round: policy_loss, score_expert and score_policy (the rewards that the policy's values
/// stand for; of the round's last step), entropy_sampled, length_mean, truncated_share. Returns the last one.
/// Errors: option_error if there are no demonstrations, or if the policy shows log-probs for logits; shape_error;
///         numeric_error.
/// Needs:  see sqil; no dropout in forward; demonstrations at temperature 1.
/// Source: Reddy, Dragan, Levine 2019, arXiv 1905.11108, algorithm 1.
template <policy_backend P, class... Observers>
    requires exposes_logits<P> round_report fit_sqil(P& policy, const typename P::prompts& prompts,
                                                     const typename P::batch& demonstrations,
                                                     const sqil_options& options, Observers&&... observers) {
        using T = typename P::scalar;
        static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
        options.check();
        const std::size_t n = rows(demonstrations), k = options.rows;
        if (n == 0) fail(error_kind::option, "fit_sqil", "demonstrations", "at least one row", "none");
        if (rows(prompts) > 0) detail::check_size(rows(prompts), n, "fit_sqil", "prompts");
        const double start = clock_seconds();
        detail::notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()},
                             observers...);

        detail::sqil_scratch<T> s;
        replay_buffer<typename P::batch> past(options.replay_rows);
        std::vector<std::uint64_t> id(k);
        std::vector<std::size_t> taken(k);
        count_up(detail::span_of(id));
        detail::row_turns turns(n, options.seed);
        round_report report{.rounds = options.rounds};
        for (std::size_t i = 0; i < options.rounds; ++i) {
            turns.take(detail::span_of(taken));
            const rng_key key{options.seed, static_cast<std::uint32_t>(i)};
            const typename P::batch samples =
                policy.rollout(rows(prompts) > 0 ? select(prompts, taken) : prompts, id, options.sampling, key);
            detail::check_size(rows(samples), k, "fit_sqil", "rows of the policy's rollout");
            report = {.round = i + 1, .rounds = options.rounds, .discarded_steps = report.discarded_steps};
            detail::describe_samples(report, samples);

            past.add(samples);
            const typename P::batch both =
                concat(select(demonstrations, taken), past.size() > 0 ? past.sample(k, key) : samples);
            s.expert.assign(2 * k, 0), s.truncated.assign(2 * k, 0);
            for (std::size_t b = 0; b < 2 * k; ++b)
                s.expert[b] = b < k, s.truncated[b] = ends(both)[b] == row_end::truncated;
            step_options step = options.step;
            step.learning_rate *= options.learning_rate(i);
            for (std::size_t j = 0; j < options.steps_per_round; ++j) {
                policy.discard();  // what an error left behind
                const sqil_stats stats =
                    detail::accumulate_sqil(policy, both, options.loss, options.micro_batch_rows, i == 0 && j == 0, s);
                const step_report done = policy.step(step);
                report.policy_loss = stats.loss;
                report.score_expert = stats.expert_reward, report.score_policy = stats.policy_reward;
                report.policy_grad_norm = done.grad_norm;
                report.policy_steps += done.applied;
                report.discarded_steps += !done.applied;
            }
            report.seconds = clock_seconds() - start;
            detail::notify_rollout(report, samples, observers...);
            if (detail::notify_round(report, observers...)) break;
        }
        detail::notify_end(report, observers...);
        return report;
    }

}  // namespace rlgaf::inline RLGAF_ABI
