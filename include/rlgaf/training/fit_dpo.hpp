#pragma once
#include "rlgaf/core/clock.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/preference/dpo.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/pair_step.hpp"
#include "rlgaf/training/pair_weighting.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct dpo_options {
    std::size_t epochs = 1;           ///< passes over the pairs, > 0
    std::size_t pairs_per_step = 64;  ///< > 0
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    schedule learning_rate{};          ///< multiplies step.learning_rate, by step of this call
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::uint64_t seed = 1;            ///< of the order of pairs
    std::span<const double> margin{};  ///< [pairs] or none: by how much each chosen reward is to be above the other
    pair_weighting weighting = pair_weighting::none;
    wpo weights{};  ///< of weighting

    void check() const {
        step.check();
        learning_rate.check();
        weights.check();
        detail::check_option(epochs > 0, "dpo_options", "epochs", "at least 1", 0);
        detail::check_option(pairs_per_step > 0, "dpo_options", "pairs_per_step", "at least 1", 0);
    }
    /// Steps that a call on `pairs` pairs takes.
    std::size_t steps(std::size_t pairs) const { return epochs * ((pairs + pairs_per_step - 1) / pairs_per_step); }
};

namespace detail {

inline void describe_pairs(const pair_report& done, round_report& report) {
    report.policy_loss = done.loss.loss;
    report.accuracy = done.loss.accuracy;
    report.score_expert = done.loss.chosen;
    report.score_policy = done.loss.rejected;
    report.policy_grad_norm = done.step.grad_norm;
    report.policy_steps = done.step.applied;
    report.discarded_steps += !done.step.applied;
}

/// Passes over the pairs; true if an observer asked to stop. `report` counts on.
template <policy_backend P, class Loss, class... Observers>
bool run_epochs(P& policy, const typename P::batch& batch, const ragged_view<const typename P::scalar>& reference,
                std::span<const preference_pair> pairs, const dpo_options& options, const Loss& loss, rng_key key,
                double start, const char* function, round_report& report, Observers&... observers) {
    step_pairs taken(rows(batch));
    pair_scratch<typename P::scalar> scratch;
    using T = typename P::scalar;
    ragged_buffer<T> collision;
    std::vector<double> factor;
    const auto weighed = [&](const preference_terms<T>& terms, workspace& work, const ragged_view<T>& d_log_prob) {
        if (options.weighting == pair_weighting::none) return loss(terms, work, d_log_prob);
        options.weights(terms, std::as_const(collision).view(), work, factor);
        preference_terms<T> with_factor = terms;
        with_factor.factor = span_of(factor);
        return loss(with_factor, work, d_log_prob);
    };
    std::vector<std::size_t> order(pairs.size());
    count_up(span_of(order));
    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        shuffle(span_of(order), key, epoch);
        for (std::size_t first = 0; first < order.size(); first += options.pairs_per_step) {
            const std::size_t left = order.size() - first;
            taken.take(pairs, options.margin,
                       span_of(order, first, options.pairs_per_step < left ? options.pairs_per_step : left));
            step_options step = options.step;
            step.learning_rate *= options.learning_rate(report.round);
            if (options.weighting == pair_weighting::relative_likelihood)
                read_log_collision(policy, select(batch, taken.rows()), options.micro_batch_rows, collision, function);
            const pair_report done = step_on_pairs(policy, batch, reference, taken, weighed, step,
                                                   options.micro_batch_rows, scratch, function);
            report.round += 1;
            describe_pairs(done, report);
            report.seconds = clock_seconds() - start;
            if (notify_round(report, observers...)) return true;
            report.tokens = 0;
        }
    }
    return false;
}

}  // namespace detail

/// Trains a policy on pairs of answers, without a reward model: direct preference optimisation and its relatives. Pairs
/// are rows of `batch`; a row in several pairs of a step is read once. The reference is only read, once, before the first
/// step: it may be the policy itself. `loss` is dpo, aot, spin or a callable like them; options.weighting is wpo.
/// Observers see a round_report a step: policy_loss, accuracy (of the step's pairs, before the step), score_expert and
/// score_policy (implicit rewards of the chosen and of the rejected). Returns the last one.
/// Errors: option_error if there are no pairs; shape_error for rows that the batch does not have; numeric_error for
///         log-probs of the reference that are not finite; all before the first step.
/// Source: Rafailov et al. 2023, arXiv 2305.18290.
template <policy_backend P, class Reference, class Loss, class... Observers>
    requires preference_loss<Loss, typename P::scalar> round_report
    fit_dpo(P& policy, Reference& reference, const typename P::batch& batch, std::span<const preference_pair> pairs,
            const dpo_options& options, const Loss& loss, Observers&&... observers) {
        using T = typename P::scalar;
        static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
        options.check();
        if constexpr (requires { loss.check(); }) loss.check();
        if (pairs.empty()) fail(error_kind::option, "fit_dpo", "pairs", "at least one", "none");
        detail::check_pairs(pairs, rows(batch), "fit_dpo");
        if (!options.margin.empty())
            detail::check_size(options.margin.size(), pairs.size(), "fit_dpo", "options.margin");
        const double start = clock_seconds();
        ragged_buffer<T> reference_log_prob;
        detail::read_log_probs(reference, batch, options.micro_batch_rows, reference_log_prob, "fit_dpo");
        round_report report{.rounds = options.steps(pairs.size())};
        detail::notify_begin(run_info{.rounds = report.rounds}, observers...);
        detail::run_epochs(policy, batch, std::as_const(reference_log_prob).view(), pairs, options, loss,
                           {options.seed, 0}, start, "fit_dpo", report, observers...);
        detail::notify_end(report, observers...);
        return report;
    }
/// The same with dpo{}.
template <policy_backend P, class Reference, class... Observers>
    requires(!preference_loss<std::remove_cvref_t<Observers>, typename P::scalar> && ... && true)
round_report fit_dpo(P& policy, Reference& reference, const typename P::batch& batch,
                     std::span<const preference_pair> pairs, const dpo_options& options, Observers&&... observers) {
    return fit_dpo(policy, reference, batch, pairs, options, dpo{}, observers...);
}

/// How a policy orders pairs that it need not have trained on: loss and accuracy, no gradient. Where `margin` is given,
/// one number a pair: by how many nats the log-ratio to the reference of the chosen row exceeds the rejected row's.
template <policy_backend P, class Reference, class Loss = dpo>
preference_stats judge_pairs(P& policy, Reference& reference, const typename P::batch& batch,
                             std::span<const preference_pair> pairs, const Loss& loss = {},
                             std::span<double> margin = {}, std::size_t micro_batch_rows = 0) {
    using T = typename P::scalar;
    detail::check_pairs(pairs, rows(batch), "judge_pairs");
    if (!margin.empty()) detail::check_size(margin.size(), pairs.size(), "judge_pairs", "margin");
    ragged_buffer<T> log_prob, reference_log_prob, unused;
    detail::read_log_probs(policy, batch, micro_batch_rows, log_prob, "judge_pairs");
    detail::read_log_probs(reference, batch, micro_batch_rows, reference_log_prob, "judge_pairs");
    unused.assign(lengths(batch));
    const preference_terms<T> terms{.log_prob = std::as_const(log_prob).view(),
                                    .reference_log_prob = std::as_const(reference_log_prob).view(),
                                    .pairs = pairs,
                                    .mask = mask_of(batch)};
    const auto ratio = [&](std::uint32_t b) {
        return masked_row_sum(terms.log_prob, terms.mask, b) - masked_row_sum(terms.reference_log_prob, terms.mask, b);
    };
    for (std::size_t p = 0; p < margin.size(); ++p) margin[p] = ratio(pairs[p].chosen) - ratio(pairs[p].rejected);
    workspace work;
    return loss(terms, work, unused.view());
}

}  // namespace rlgaf::inline RLGAF_ABI
