#pragma once
#include "rlgaf/backend/critic.hpp"
#include "rlgaf/policy_gradient/popart.hpp"
#include "rlgaf/policy_gradient/value.hpp"
#include "rlgaf/training/update_policy.hpp"

/// The roles that a critic adds: evaluate_values before the rewards are shaped into advantages, update_critic after.
namespace rlgaf::inline RLGAF_ABI {

struct critic_update_options {
    step_options step{.learning_rate = 1e-3, .max_norm = 1};
    std::size_t epochs = 1;       ///< passes over the round's samples, > 0
    std::size_t minibatches = 1;  ///< optimiser steps a pass, > 0, at most one a row
    value_loss loss{};
    aggregate aggregation{};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    /// Pop-Art: the critic learns returns of mean 0 and deviation 1, while its values keep the units of the rewards.
    /// loss.clip and the reported loss are then in those deviations. Needs a critic that rescales_values.
    bool normalize_returns = false;
    popart normalization{};

    void check() const {
        step.check();
        loss.check();
        normalization.check();
        aggregation.check();
        detail::check_option(epochs > 0, "critic_update_options", "epochs", "at least 1", 0);
        detail::check_option(minibatches > 0, "critic_update_options", "minibatches", "at least 1", 0);
    }
};

struct critic_update_report {
    value_loss_stats loss;  ///< summed over all steps
    double explained_variance =
        0;                      ///< of the returns, by the values that the advantages were taken to; NaN if constant
    double grad_norm = 0;       ///< of the last step, before clipping
    std::size_t steps = 0;      ///< applied
    std::size_t discarded = 0;  ///< steps whose gradient was not finite
};

/// What the critic says of the round's samples. Needs a rollout; advantages need it. `scale` is that of the popart::state
/// which update_critic was given, if any. Errors: numeric_error.
template <class C, policy_backend P>
void evaluate_values(C& critic, trajectories<P>& t, std::size_t micro_batch_rows = 0, const popart_scale& scale = {}) {
    static_assert(check_critic<C, typename P::batch>());
    t.value.assign(lengths(t.batch));
    evaluate_in_parts(critic, t.batch, t.value.view(), micro_batch_rows, t.pick);
    scale.denormalize(t.value.view(), mask_of(t.batch));
    detail::check_finite(std::as_const(t.value).view(), mask_of(t.batch), "evaluate_values", "value");
    t.has_value = true;
}

/// What the critic should have said, where the policy is not to learn yet: update_policy does the same.
template <policy_backend P, class Advantage>
advantage_stats estimate_returns(trajectories<P>& t, part<Advantage>& advantage) {
    using T = typename P::scalar;
    ragged_buffer<T> unused;
    unused.assign(lengths(t.batch));
    t.returns.assign(lengths(t.batch));
    advantage.component.check();
    return advantage(t.earned(), t.work, unused.view(), t.returns.view());
}

namespace detail {
/// Takes in the step's returns and moves the critic's head, so that its values stay what they were.
template <class C, class T>
popart_scale follow_returns(C& critic, const critic_update_options& options, popart::state* normalizer,
                            const ragged_view<const T>& returns, const mask_view& mask) {
    if constexpr (rescales_values<C>) {
        if (!options.normalize_returns) {  // no longer: the critic's outputs are its values again
            if (normalizer != nullptr) {
                critic.rescale(normalizer->scale.deviation, normalizer->scale.mean);
                *normalizer = {};
            }
            return {};
        }
        if (normalizer == nullptr) [[unlikely]]
            fail(error_kind::option, "update_critic", "normalizer", "a popart::state with .normalize_returns", "none");
        const popart_change to = options.normalization(*normalizer, returns, mask);
        critic.rescale(to.before.deviation / to.after.deviation, (to.before.mean - to.after.mean) / to.after.deviation);
        return to.after;
    } else {
        if (!options.normalize_returns) return {};
        fail(error_kind::option, "update_critic", "normalize_returns",
             "false, or a critic with `void rescale(double scale, double shift)`", "true");
    }
}
}  // namespace detail

/// Role of RLHF: `epochs` x `minibatches` optimiser steps of the critic towards t.returns, which update_policy or
/// estimate_returns filled. With normalize_returns `normalizer` is the memory of the scale, the same in every call.
/// Errors: option_error if values, returns or the normalizer are missing.
template <class C, policy_backend P>
critic_update_report update_critic(C& critic, trajectories<P>& t, const critic_update_options& options, rng_key key,
                                   popart::state* normalizer = nullptr) {
    using T = typename P::scalar;
    static_assert(check_critic<C, typename P::batch>());
    options.check();
    if (!t.has_value) [[unlikely]]
        fail(error_kind::option, "update_critic", "trajectories", "values (call evaluate_values first)", "none");
    detail::check_same_shape(t.value.view(), t.returns.view(), "update_critic", "returns");
    const std::size_t n = rows(t.batch);
    const mask_view mask = mask_of(t.batch);
    const ragged_view<const T> old = t.value_view(), target = std::as_const(t.returns).view();
    detail::check_finite(target, mask, "update_critic", "returns");
    critic_update_report report;
    report.explained_variance =
        explained_variance(token_summary(target, mask), token_summary(target, mask, [&](std::size_t b, std::size_t k) {
                               return static_cast<double>(target.row(b)[k]) - static_cast<double>(old.row(b)[k]);
                           }));

    const popart_scale scale = detail::follow_returns(critic, options, normalizer, target, mask);
    ragged_buffer<T> value, d_value, old_part, target_part;
    std::vector<std::uint32_t> count, group;
    std::vector<double> weight;
    std::vector<std::size_t> order(n);
    count_up(detail::span_of(order));
    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        const std::size_t parts = options.minibatches < n ? options.minibatches : n;
        if (parts > 1) shuffle(detail::span_of(order), key, epoch);
        for (std::size_t p = 0; p < parts; ++p) {
            const std::size_t first_row = p * n / parts, size = (p + 1) * n / parts - first_row;
            const std::span<const std::size_t> pick = detail::span_of(order, first_row, size);
            const typename P::batch subset = parts == 1 ? typename P::batch{} : select(t.batch, pick);
            const typename P::batch& batch = parts == 1 ? t.batch : subset;
            const mask_view part_mask = mask_of(batch);
            const std::span<const std::uint32_t> length = lengths(batch);
            detail::gather(old, pick, length, old_part);
            detail::gather(target, pick, length, target_part);
            scale.normalize(old_part.view(), part_mask), scale.normalize(target_part.view(), part_mask);
            value.assign(length);
            d_value.assign(length);
            count.resize(size);
            count_tokens(value.view(), part_mask, detail::span_of(count));
            group.resize(size);
            for (std::size_t i = 0; i < size; ++i) group[i] = t.group_id[pick[i]];
            weight.resize(size);
            options.aggregation(detail::span_of(count), {detail::span_of(group), t.group_count}, t.work,
                                detail::span_of(weight));

            const value_terms<T> terms{.value = std::as_const(value).view(),
                                       .old_value = std::as_const(old_part).view(),
                                       .returns = std::as_const(target_part).view(),
                                       .mask = part_mask};
            critic.discard();  // what an error left behind
            accumulate_gradient(critic, batch, value.view(), d_value.view(), options.micro_batch_rows, t.pick,
                                [&](std::size_t first, std::size_t rows_now) {
                                    report.loss.merge(options.loss(terms.slice(first, rows_now),
                                                                   detail::span_of(weight, first, rows_now),
                                                                   d_value.view().slice(first, rows_now)));
                                });
            const step_report step = critic.step(options.step);
            report.grad_norm = step.grad_norm;
            report.steps += step.applied;
            report.discarded += !step.applied;
        }
    }
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
