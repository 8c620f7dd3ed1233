#pragma once
#include "rlgaf/backend/check.hpp"
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/clock.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/preference/reward_model.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/pair_step.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct reward_model_options {
    std::size_t epochs = 1;           ///< passes over the pairs, > 0; more than one overfits soon (Ouyang et al. 2022)
    std::size_t pairs_per_step = 64;  ///< > 0
    step_options step{.learning_rate = 1e-3, .max_norm = 1};
    schedule learning_rate{};  ///< multiplies step.learning_rate, by step of this call
    reward_model loss{};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::uint64_t seed = 1;            ///< of the order of pairs

    void check() const {
        step.check();
        learning_rate.check();
        loss.check();
        detail::check_option(epochs > 0, "reward_model_options", "epochs", "at least 1", 0);
        detail::check_option(pairs_per_step > 0, "reward_model_options", "pairs_per_step", "at least 1", 0);
    }
    /// Steps that a call on `pairs` pairs takes.
    std::size_t steps(std::size_t pairs) const { return epochs * ((pairs + pairs_per_step - 1) / pairs_per_step); }
};

/// Trains a scorer to prefer what people, or rules, prefer: the reward model of RLHF. Pairs are rows of `batch`; a row
/// in several pairs of a step is read once.
/// Observers see a round_report a step: discriminator_loss, accuracy (of the step's pairs, before the step),
/// score_expert (mean of the chosen), score_policy (of the rejected). Returns the last one.
/// Errors: option_error if there are no pairs; shape_error for rows that the batch does not have.
/// Source: Ouyang et al. 2022, arXiv 2203.02155, section 3.5; Stiennon et al. 2020, arXiv 2009.01325.
template <class S, class Batch, class... Observers>
round_report fit_reward_model(S& scorer, const Batch& batch, std::span<const preference_pair> pairs,
                              const reward_model_options& options, Observers&&... observers) {
    using T = typename S::scalar;
    static_assert(check_scorer<S, Batch>());
    static_assert((detail::check_observer<std::remove_reference_t<Observers>, Batch>() && ... && true));
    options.check();
    const std::size_t n = pairs.size();
    if (n == 0) fail(error_kind::option, "fit_reward_model", "pairs", "at least one", "none");
    detail::check_pairs(pairs, rows(batch), "fit_reward_model");
    const double start = clock_seconds();
    round_report report{.rounds = options.steps(n)};
    detail::notify_begin(run_info{.rounds = report.rounds}, observers...);

    detail::step_pairs taken(rows(batch));
    std::vector<std::size_t> order(n), pick;
    std::vector<T> score, d_score;
    count_up(detail::span_of(order));
    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        shuffle(detail::span_of(order), {options.seed, 0}, epoch);
        for (std::size_t first = 0; first < n; first += options.pairs_per_step) {
            const std::size_t size = options.pairs_per_step < n - first ? options.pairs_per_step : n - first;
            taken.take(pairs, {}, detail::span_of(order, first, size));
            score.assign(taken.rows().size(), T{0});
            d_score.assign(taken.rows().size(), T{0});

            preference_stats stats;
            scorer.discard();  // what an error left behind
            accumulate_gradient(scorer, select(batch, detail::span_of(taken.rows())), std::span<T>(score),
                                std::span<T>(d_score), options.micro_batch_rows, pick, [&] {
                                    detail::check_finite(std::span<const T>(score), "fit_reward_model", "score");
                                    stats = options.loss(
                                        reward_model_terms<T>{.score = score, .pairs = detail::span_of(taken.pairs())},
                                        std::span<T>(d_score));
                                });
            step_options step = options.step;
            step.learning_rate *= options.learning_rate(report.round);
            const step_report done = scorer.step(step);
            report.round += 1;
            report.discriminator_loss = stats.loss;
            report.accuracy = stats.accuracy;
            report.score_expert = stats.chosen;
            report.score_policy = stats.rejected;
            report.discriminator_grad_norm = done.grad_norm;
            report.discriminator_steps = done.applied;
            report.discarded_steps += !done.applied;
            report.seconds = clock_seconds() - start;
            if (detail::notify_round(report, observers...)) {
                detail::notify_end(report, observers...);
                return report;
            }
        }
    }
    detail::notify_end(report, observers...);
    return report;
}

/// How a scorer orders pairs that it need not have trained on: loss and accuracy, no gradient.
template <class S, class Batch>
preference_stats judge_pairs(S& scorer, const Batch& batch, std::span<const preference_pair> pairs,
                             const reward_model& loss = {}, std::size_t micro_batch_rows = 0) {
    using T = typename S::scalar;
    std::vector<T> score(rows(batch)), unused(rows(batch));
    std::vector<std::size_t> pick;
    evaluate_in_parts(scorer, batch, std::span<T>(score), micro_batch_rows, pick);
    return loss(reward_model_terms<T>{.score = score, .pairs = pairs}, std::span<T>(unused));
}

}  // namespace rlgaf::inline RLGAF_ABI
