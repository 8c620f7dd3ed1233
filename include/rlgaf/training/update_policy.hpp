#pragma once
#include "rlgaf/policy_gradient/kl_early_stop.hpp"
#include "rlgaf/training/policy_minibatch.hpp"
#include "rlgaf/training/row_choice.hpp"
#include "rlgaf/training/token_weights.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Role 4: advantages from the round's rewards, then `epochs` x `minibatches` optimiser steps of loss and regularisers.
/// A component of role::row_choice says which rows they train on: its rows only are counted and weighed.
/// A round whose advantages are all zero, without regularisers, has no gradient: no step is taken, momentum included; nor
/// is one where no row is chosen.
template <policy_backend P, class Advantage, class Loss, class... Regularizers>
policy_update_report update_policy(P& policy, trajectories<P>& t, const policy_update_options& options, rng_key key,
                                   part<Advantage>& advantage, part<Loss>& loss, part<Regularizers>&... regularizers) {
    using T = typename P::scalar;
    constexpr bool with_factors = (component_of<Regularizers, role::token_factor> || ... || false);
    constexpr bool with_entropy =
        ((!component_of<Regularizers, role::token_factor> && detail::needs_entropy<Regularizers>()) || ... || false);
    static_assert(!(detail::needs_entropy<Regularizers>() || ... || false) || gives_entropy<P>(),
                  "rlgaf: a component needs the policy's entropy; fill policy_outputs::entropy, use "
                  "policy_cotangents::d_entropy and add `static constexpr bool gives_entropy = true;` to the policy");
    static_assert(!detail::weighs_by_itself<Advantage>() || !(detail::is_importance<Regularizers>() || ... || false),
                  "rlgaf: this advantage estimator applies importance weights itself; leave out importance_weights");
    options.check();
    if (t.reward.outcomes() == 0 && t.reward.view().token.empty()) [[unlikely]]
        fail(error_kind::option, "update_policy", "trajectories", "rewards (call shape first)", "none");
    policy_update_report report;

    ragged_buffer<T> advantages;
    advantages.assign(lengths(t.batch));
    advantage.component.check();
    const advantage_terms<T> earned = t.earned();
    if constexpr (detail::weighs_by_itself<Advantage>()) t.has_token_factor = false;
    t.returns.clear();
    if constexpr (detail::takes<Advantage, const advantage_terms<T>&, workspace&, const ragged_view<T>&,
                                const ragged_view<T>&>()) {
        t.returns.assign(lengths(t.batch));
        report.advantage = advantage(earned, t.work, advantages.view(), t.returns.view());
    } else
        report.advantage = advantage(earned, t.work, advantages.view());
    if constexpr (!(component_of<Regularizers, role::policy_regularizer> || ... || needs_reference<Loss>())) {
        bool flat = true;
        for (const T a : advantages.flat()) flat = flat && a == 0;
        if (flat) return report;
    }

    if constexpr (with_factors)
        detail::weigh_tokens(policy, t, std::as_const(advantages).view(), options.micro_batch_rows, regularizers...);

    detail::policy_minibatch<P> m;
    ragged_buffer<T> factor_now;
    std::vector<std::size_t> order, picked;
    const bool chosen = detail::choose_rows(t, key, order, regularizers...);
    const std::size_t n = order.size();
    if (chosen) report.chosen_rows = static_cast<double>(n);
    if (n == 0) return report;

    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        if (epoch > 0 && options.stop_kl > 0 && kl_early_stop{.limit = options.stop_kl}(report.kl_last)) break;
        report.epochs = epoch + 1;
        const std::size_t parts = options.minibatches < n ? options.minibatches : n;
        if (parts > 1) shuffle(detail::span_of(order), key, epoch);
        for (std::size_t p = 0; p < parts; ++p) {
            const std::size_t first_row = p * n / parts, last_row = (p + 1) * n / parts;
            const std::span<const std::size_t> pick = detail::span_of(order, first_row, last_row - first_row);
            const typename P::batch& batch =
                m.take(t, std::as_const(advantages).view(), pick, !chosen && parts == 1, options, with_entropy);
            const policy_terms<T>& terms = m.terms;

            constexpr bool separable =
                detail::row_separable<Loss>() &&
                ((component_of<Regularizers, role::token_factor> || component_of<Regularizers, role::row_choice> ||
                  detail::row_separable<Regularizers>()) &&
                 ... && true);
            policy.discard();  // what an error left behind
            accumulate_gradient(
                policy, batch, m.outputs, m.cotangents, options.micro_batch_rows, separable, picked,
                [&](std::size_t first, std::size_t size) {
                    policy_terms<T> part_terms = terms.slice(first, size);
                    detail::weigh_now(part_terms, detail::slice_if_given(behaviour_log_prob(batch), first, size),
                                      t.work, factor_now, regularizers...);
                    if (!part_terms.token_factor.empty())
                        report.token_weight.add(part_terms.token_factor, part_terms.mask);
                    const std::span<const double> part_weight(m.weight.data() + first, size);
                    const ragged_view<T> d = m.d_log_prob.view().slice(first, size);
                    if constexpr (detail::takes<Loss, const policy_terms<T>&, std::span<const double>,
                                                const ragged_view<T>&, workspace&>())
                        report.loss.merge(loss(part_terms, part_weight, d, t.work));
                    else
                        report.loss.merge(loss(part_terms, part_weight, d));
                    [[maybe_unused]] const auto add = [&](auto& regularizer) {
                        using C = decltype(regularizer.component);
                        if constexpr (detail::has_rows_of_its_own<C>() || component_of<C, role::token_factor> ||
                                      component_of<C, role::row_choice>)
                            return;
                        else if constexpr (detail::needs_entropy<C>())
                            report.regularizer.merge(
                                regularizer(part_terms, part_weight, m.d_entropy.view().slice(first, size)));
                        else
                            report.regularizer.merge(regularizer(part_terms, part_weight, d));
                    };
                    (add(regularizers), ...);
                });
            const std::uint64_t step_number = epoch * parts + p + 1;
            [[maybe_unused]] const rng_key own_key{key.seed ^ (step_number << 32), key.step};
            [[maybe_unused]] const auto mix = [&](auto& regularizer) {
                if constexpr (detail::has_rows_of_its_own<decltype(regularizer.component)>())
                    report.regularizer.loss +=
                        regularizer.component.accumulate(policy, own_key, options.micro_batch_rows);
            };
            (mix(regularizers), ...);
            const step_report step = policy.step(options.step);
            report.grad_norm = step.grad_norm;
            report.steps += step.applied;
            report.discarded += !step.applied;
            if (options.stop_kl > 0) report.kl_last = detail::mean_k3(terms.old_log_prob, terms.log_prob, terms.mask);
            if constexpr (with_entropy) {
                const moments now = token_moments(terms.entropy, terms.mask);
                report.entropy.merge(now);
                const auto tell = [&](auto& regularizer) {
                    if constexpr (requires { regularizer.component.after_step(regularizer.memory, 0.0); }) {
                        if (now.count > 0) regularizer.component.after_step(regularizer.memory, now.mean);
                        report.entropy_coefficient = regularizer.memory.coefficient;
                    }
                };
                (tell(regularizers), ...);
            }
        }
    }
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
