#pragma once
#include "rlgaf/core/clock.hpp"
#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/preference/sft.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/roles.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct sft_options {
    std::size_t epochs = 1;          ///< passes over the demonstrations, > 0
    std::size_t rows_per_step = 64;  ///< demonstrations a step, > 0
    step_options step{.learning_rate = 1e-3, .max_norm = 1};
    schedule learning_rate{};          ///< multiplies step.learning_rate, by step of this call
    aggregate aggregation{};           ///< token_mean: nats a token
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::uint64_t seed = 1;            ///< of the order of rows
    sft loss{};                        ///< likelihood, or DFT

    void check() const {
        step.check();
        learning_rate.check();
        aggregation.check();
        detail::check_option(epochs > 0, "sft_options", "epochs", "at least 1", 0);
        detail::check_option(rows_per_step > 0, "sft_options", "rows_per_step", "at least 1", 0);
    }
    /// Steps that a call on `rows` demonstrations takes.
    std::size_t steps(std::size_t rows) const { return epochs * ((rows + rows_per_step - 1) / rows_per_step); }
};

/// Supervised fine-tuning of a policy on demonstrations: the baseline of RLGAF, and its warm start.
/// Observers see a round_report a step, with policy_loss = nats a token. Returns the last one.
/// Errors: option_error if there are no demonstrations.
template <policy_backend P, class... Observers>
round_report fine_tune(P& policy, const typename P::batch& demonstrations, const sft_options& options,
                       Observers&&... observers) {
    using T = typename P::scalar;
    static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
    options.check();
    const std::size_t n = rows(demonstrations);
    if (n == 0) fail(error_kind::option, "fine_tune", "demonstrations", "at least one row", "none");
    const double start = clock_seconds();
    const std::size_t rounds = options.steps(n);
    detail::notify_begin(run_info{.rounds = rounds}, observers...);

    ragged_buffer<T> log_prob, d_log_prob;
    std::vector<std::uint32_t> count, group;
    std::vector<double> weight;
    std::vector<std::size_t> order(n), picked;
    workspace work;
    count_up(detail::span_of(order));
    round_report report{.rounds = rounds};
    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        shuffle(detail::span_of(order), {options.seed, 0}, epoch);
        for (std::size_t first = 0; first < n; first += options.rows_per_step) {
            const std::size_t size = options.rows_per_step < n - first ? options.rows_per_step : n - first;
            const typename P::batch batch = select(demonstrations, detail::span_of(order, first, size));
            log_prob.assign(lengths(batch));
            d_log_prob.assign(lengths(batch));
            const mask_view mask = mask_of(batch);
            count.resize(size);
            count_tokens(log_prob.view(), mask, detail::span_of(count));
            group.resize(size);
            count_up(detail::span_of(group));
            weight.resize(size);
            options.aggregation(detail::span_of(count), {detail::span_of(group), size}, work, detail::span_of(weight));

            sft_stats stats;
            policy.discard();  // what an error left behind
            accumulate_gradient(
                policy, batch, {.log_prob = log_prob.view()}, {.d_log_prob = std::as_const(d_log_prob).view()},
                options.micro_batch_rows, true, picked, [&](std::size_t from, std::size_t rows_now) {
                    const sft_stats s =
                        options.loss(std::as_const(log_prob).view().slice(from, rows_now),
                                     detail::slice_if_given(mask, from, rows_now),
                                     detail::span_of(weight, from, rows_now), d_log_prob.view().slice(from, rows_now));
                    stats.loss += s.loss, stats.tokens += s.tokens;
                });
            step_options step = options.step;
            step.learning_rate *= options.learning_rate(report.round);
            const step_report done = policy.step(step);
            report.round += 1;
            report.policy_loss = stats.loss;
            report.policy_grad_norm = done.grad_norm;
            report.policy_steps = done.applied;
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

}  // namespace rlgaf::inline RLGAF_ABI
