#pragma once
#include "rlgaf/backend/check.hpp"
#include "rlgaf/math/temperature.hpp"
#include "rlgaf/training/describe_samples.hpp"
#include "rlgaf/training/update_discriminator.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Memory of pathwise updates. After an update: the relaxed samples, and the scores before the step, demonstrations
/// first, then samples.
template <class P>
struct pathwise_scratch {
    typename P::relaxed samples;
    std::vector<typename P::scalar> score, d_score;
    std::vector<std::uint32_t> pairs;
    workspace work;
};

struct pathwise_update_report {
    discriminator_loss_stats loss;  ///< before the step; real_mean and fake_mean are those of the loss's two sides
    double grad_norm = 0;
    bool applied = false;
};

namespace detail {
/// Row j with row j; x keeps them.
template <class P>
matching one_to_one(pathwise_scratch<P>& x, std::size_t n) {
    x.pairs.resize(n);
    const std::span<std::uint32_t> pairs = span_of(x.pairs);
    count_up(pairs);
    return {pairs};
}
template <class Loss>
constexpr bool is_pointwise = requires {
    Loss::pointwise;
};
}  // namespace detail

/// One optimiser step of the discriminator on demonstrations and relaxed samples, x.samples, of which there are as many.
template <class P, class S, class Loss, class... Constraint>
pathwise_update_report update_relaxed_discriminator(S& scorer, const typename P::batch& real, const step_options& step,
                                                    part<Loss>& loss, pathwise_scratch<P>& x,
                                                    part<Constraint>&... constraint) {
    using T = typename S::scalar;
    step.check();
    const std::size_t n = rows(real), half = n * score_width(scorer);
    detail::check_size(n, rows(hard_rows(x.samples)), "update_relaxed_discriminator", "real");
    x.score.assign(2 * half, T{0});
    x.d_score.assign(2 * half, T{0});
    const std::span<T> score(x.score), d_score(x.d_score);
    (detail::constrain_before_forward(scorer, constraint), ...);
    scorer.discard();  // what an error left behind
    auto of_real = scorer.forward(real, score.first(half));
    auto of_fake = scorer.forward(std::as_const(x.samples), score.subspan(half));
    detail::check_finite(std::span<const T>(score), "update_relaxed_discriminator", "score");
    const discriminator_terms<T> terms{.real = score.first(half),
                                       .fake = score.subspan(half),
                                       .pairs = detail::one_to_one(x, n),
                                       .width = score_width(scorer)};
    pathwise_update_report report{
        .loss = detail::call_loss(loss, terms, x.work, d_score.first(half), d_score.subspan(half))};
    scorer.backward(static_cast<typename S::tape&&>(of_real), std::span<const T>(d_score.first(half)));
    scorer.backward(static_cast<typename S::tape&&>(of_fake), std::span<const T>(d_score.subspan(half)));
    (detail::constrain_before_step(scorer, constraint), ...);
    const step_report done = scorer.step(step);
    (detail::constrain_after_step(scorer, constraint), ...);
    report.grad_norm = done.grad_norm;
    report.applied = done.applied;
    return report;
}

/// One optimiser step of the policy along the discriminator's gradient by relaxed samples, which it draws: row j answers
/// prompt j, if there are prompts, and is matched with demonstration j. The discriminator stays as it is.
/// Formula: L = loss with the sides exchanged: samples where demonstrations were, demonstrations where samples were. A
///          pointwise loss is told of no demonstrations, which would only add a constant.
///          d L / d parameters = d L / d score . d score / d share . d share / d logits . d logits / d parameters.
template <class P, class S, class Loss>
pathwise_update_report update_pathwise(P& policy, S& scorer, const typename P::prompts& prompts,
                                       std::span<const std::uint64_t> id, const typename P::batch& real,
                                       const relaxation_options& relaxation, rng_key key, const step_options& step,
                                       part<Loss>& loss, pathwise_scratch<P>& x) {
    using T = typename S::scalar;
    step.check();
    const std::size_t n = id.size(), half = n * score_width(scorer);
    detail::check_size(rows(real), n, "update_pathwise", "real");
    x.score.assign(2 * half, T{0});
    x.d_score.assign(2 * half, T{0});
    const std::span<T> score(x.score), d_score(x.d_score);
    policy.discard();  // what an error left behind
    auto drawn = policy.forward_relaxed(prompts, id, relaxation, key, x.samples);
    auto scored = scorer.forward(std::as_const(x.samples), score.subspan(half));
    constexpr bool alone = detail::is_pointwise<Loss>;
    if constexpr (!alone) scorer.evaluate(real, score.first(half));
    detail::check_finite(std::span<const T>(score), "update_pathwise", "score");
    const std::size_t compared = alone ? 0 : half;
    const discriminator_terms<T> exchanged{.real = score.subspan(half),
                                           .fake = score.first(compared),
                                           .pairs = detail::one_to_one(x, alone ? 0 : n),
                                           .width = score_width(scorer)};
    pathwise_update_report report{
        .loss = detail::call_loss(loss, exchanged, x.work, d_score.subspan(half), d_score.first(compared))};
    scorer.input_cotangent(static_cast<typename S::tape&&>(scored), std::span<const T>(d_score.subspan(half)),
                           x.samples);
    policy.backward_relaxed(static_cast<typename P::relaxed_tape&&>(drawn), std::as_const(x.samples));
    const step_report done = policy.step(step);
    report.grad_norm = done.grad_norm;
    report.applied = done.applied;
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
