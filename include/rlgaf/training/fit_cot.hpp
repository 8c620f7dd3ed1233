#pragma once
#include "rlgaf/policy_gradient/full_kl.hpp"
#include "rlgaf/training/describe_samples.hpp"
#include "rlgaf/training/row_turns.hpp"
#include "rlgaf/training/sft.hpp"
#include "rlgaf/training/visit_logits.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct cot_options {
    std::size_t rounds = 100;
    std::size_t rows = 64;           ///< samples a round, and demonstrations of each step of the mediator; > 0
    std::size_t mediator_steps = 1;  ///< a round, each on demonstrations of its own and the round's samples; > 0
    rollout_options sampling{};      ///< temperature 1; top_k and top_p as you like
    step_options policy{.learning_rate = 1e-3, .max_norm = 5};
    step_options mediator{.learning_rate = 1e-3, .max_norm = 5};
    schedule policy_rate{};            ///< multiplies policy.learning_rate, by round
    schedule mediator_rate{};          ///< likewise
    aggregate aggregation{};           ///< of both losses; token_mean: nats a token
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all. So many rows' distributions are kept
    std::uint64_t seed = 1;            ///< of samples and of the order of demonstrations

    void check() const {
        sampling.check();
        policy.check();
        mediator.check();
        policy_rate.check();
        mediator_rate.check();
        aggregation.check();
        detail::check_option(sampling.temperature == 1, "cot_options", "sampling.temperature",
                             "1: the mediator judges the policy, not a sharper one", sampling.temperature);
        detail::check_option(rows > 0, "cot_options", "rows", "at least 1", 0);
        detail::check_option(mediator_steps > 0, "cot_options", "mediator_steps", "at least 1", 0);
    }
};

namespace detail {

/// Mean KL(policy || mediator) at the batch's tokens, by row weights, and its gradient by the policy; where the tokens
/// stand is given.
template <exposes_logits P, exposes_logits M>
double accumulate_mediated(P& policy, M& mediator, const typename P::batch& batch, std::span<const double> weight,
                           std::size_t micro_batch_rows, workspace& work) {
    using T = typename P::scalar;
    std::vector<std::size_t> pick, whole;
    ragged_buffer<T> log_prob;
    std::vector<T> reference;  // logits of the part's tokens, one after the other
    double loss = 0;
    for_each_micro_batch(batch, micro_batch_rows, pick, [&](std::size_t first, std::size_t, const auto& part) {
        log_prob.assign(lengths(part));
        reference.clear();
        visit_logits(
            mediator, part, log_prob.view(), 0, whole,
            [&](std::size_t, std::size_t, std::span<const T> logits, std::span<T>) {
                reference.insert(reference.end(), logits.begin(), logits.end());
            },
            [](typename M::tape&&, std::size_t, std::size_t) {});
        std::size_t seen = 0;
        visit_logits(
            policy, part, log_prob.view(), 0, whole,
            [&](std::size_t b, std::size_t, std::span<const T> logits, std::span<T> d_logits) {
                if (reference.size() < seen + logits.size()) [[unlikely]]
                    fail(error_kind::shape, "fit_cot", "mediator", short_text(logits.size(), " logits a token"),
                         "fewer");
                const double w = weight[first + b];
                loss += w * full_kl{}(logits, std::span<const T>(reference).subspan(seen, logits.size()), w, work,
                                      d_logits);
                seen += logits.size();
            },
            [&](typename P::tape&& tape, std::size_t, std::size_t) {
                policy.backward(static_cast<typename P::tape&&>(tape), {});
            });
        check_size(reference.size(), seen, "fit_cot", "logits of the mediator");
    });
    return loss;
}

}  // namespace detail

/// Cooperative training: a mediator learns the likelihood of demonstrations and samples alike, and the policy follows its
/// full distribution at every token. No scores, no rewards, and no sampling of the next token in the gradient.
/// Formula: the mediator descends the mean of -log M over as many demonstrations as samples, so M tends to (P + G) / 2; the
///          policy descends sum_v G(v | prefix) (log G(v | prefix) - log M(v | prefix)) at the prefixes of its samples, which
///          count as given: at the best M twice the Jensen-Shannon divergence, less KL(P || M).
/// Row i of the demonstrations answers prompt i, and a round's samples answer the prompts of the demonstrations of its
/// first mediator step; a policy that is not asked anything takes none: `fit_cot(policy, mediator, {}, demonstrations, {})`.
/// Observers see a round_report a round: policy_loss (nats to the mediator), discriminator_loss (the mediator's nats a
/// token), entropy_sampled, length_mean, truncated_share. Returns the last one.
/// Errors: option_error if there are no demonstrations; shape_error; numeric_error.
/// Needs:  policy and mediator of one batch, scalar type and vocabulary. A mediator that begins as the policy does begins
///         with a KL of 0.
/// Source: Lu et al. 2018, arXiv 1804.03782, algorithm 1 (which samples anew for the mediator).
template <policy_backend P, policy_backend M, class... Observers>
round_report fit_cot(P& policy, M& mediator, const typename P::prompts& prompts,
                     const typename P::batch& demonstrations, const cot_options& options, Observers&&... observers) {
    constexpr bool shown = exposes_logits<P> && exposes_logits<M>;
    static_assert(shown,
                  "rlgaf: fit_cot needs a policy and a mediator that show their logits: `tape forward(const batch&, "
                  "rlgaf::policy_outputs<T>, rlgaf::logit_visitor<T>)`, see exposes_logits in backend/abilities.hpp");
    static_assert(
        std::same_as<typename P::batch, typename M::batch> && std::same_as<typename P::scalar, typename M::scalar>,
        "rlgaf: fit_cot needs a policy and a mediator of one batch and scalar type");
    static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
    options.check();
    const std::size_t n = rows(demonstrations), k = options.rows;
    if (n == 0) fail(error_kind::option, "fit_cot", "demonstrations", "at least one row", "none");
    if (rows(prompts) > 0) detail::check_size(rows(prompts), n, "fit_cot", "prompts");
    const double start = clock_seconds();
    detail::notify_begin(run_info{.rounds = options.rounds, .per_sample_streams = per_sample_streams<P>()},
                         observers...);

    std::vector<std::uint64_t> id(k);
    std::vector<std::size_t> taken(k);
    std::vector<std::uint32_t> count(k), group(k);
    std::vector<double> weight(k);
    count_up(detail::span_of(id));
    count_up(detail::span_of(group));
    detail::row_turns turns(n, options.seed);
    workspace work;
    round_report report{.rounds = options.rounds};
    for (std::size_t i = 0; i < options.rounds; ++i) {
        turns.take(detail::span_of(taken));
        const rng_key key{options.seed, static_cast<std::uint32_t>(i)};
        const typename P::batch samples =
            policy.rollout(rows(prompts) > 0 ? select(prompts, taken) : prompts, id, options.sampling, key);
        detail::check_size(rows(samples), k, "fit_cot", "rows of the policy's rollout");
        report = {.round = i + 1, .rounds = options.rounds, .discarded_steps = report.discarded_steps};
        detail::describe_samples(report, samples);

        sft_options likelihood{.rows_per_step = 2 * k,
                               .step = options.mediator,
                               .aggregation = options.aggregation,
                               .micro_batch_rows = options.micro_batch_rows};
        likelihood.step.learning_rate *= options.mediator_rate(i);
        for (std::size_t j = 0; j < options.mediator_steps; ++j) {
            if (j > 0) turns.take(detail::span_of(taken));
            const round_report done = fine_tune(mediator, concat(select(demonstrations, taken), samples), likelihood);
            report.discriminator_loss = done.policy_loss;
            report.discriminator_grad_norm = done.policy_grad_norm;
            report.discriminator_steps += done.policy_steps;
            report.discarded_steps += done.discarded_steps;
        }

        const std::span<const std::uint32_t> length = lengths(samples);
        ragged_buffer<typename P::scalar> shape;
        shape.assign(length);
        count_tokens(shape.view(), mask_of(samples), detail::span_of(count));
        options.aggregation(detail::span_of(count), {detail::span_of(group), k}, work, detail::span_of(weight));
        policy.discard();  // what an error left behind
        if constexpr (shown)
            report.policy_loss = detail::accumulate_mediated(policy, mediator, samples, detail::span_of(weight),
                                                             options.micro_batch_rows, work);
        step_options step = options.policy;
        step.learning_rate *= options.policy_rate(i);
        const step_report done = policy.step(step);
        report.policy_grad_norm = done.grad_norm;
        report.policy_steps = done.applied;
        report.discarded_steps += !done.applied;
        report.seconds = clock_seconds() - start;
        detail::notify_rollout(report, samples, observers...);
        if (detail::notify_round(report, observers...)) break;
    }
    detail::notify_end(report, observers...);
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
