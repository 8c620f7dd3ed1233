#pragma once
#include "rlgaf/training/roles.hpp"
#include "rlgaf/training/token_weights.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct policy_update_options {
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    std::size_t epochs = 1;       ///< passes over the round's samples, > 0
    std::size_t minibatches = 1;  ///< optimiser steps a pass, > 0, at most one a row
    aggregate aggregation{};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all

    void check() const {
        step.check();
        aggregation.check();
        detail::check_option(epochs > 0, "policy_update_options", "epochs", "at least 1", 0);
        detail::check_option(minibatches > 0, "policy_update_options", "minibatches", "at least 1", 0);
    }
};

struct policy_update_report {
    advantage_stats advantage;
    policy_loss_stats loss;         ///< summed over all steps
    regularizer_stats regularizer;  ///< likewise, all regularisers together
    double grad_norm = 0;           ///< of the last step, before clipping
    std::size_t steps = 0;          ///< applied
    std::size_t discarded = 0;      ///< steps whose gradient was not finite
};

namespace detail {

/// Rows `pick` of a per-token array.
template <class T>
void gather(const ragged_view<const T>& from, std::span<const std::size_t> pick, std::span<const std::uint32_t> lengths,
            ragged_buffer<T>& to) {
    to.assign(lengths);
    const ragged_view<T> view = to.view();
    for (std::size_t i = 0; i < pick.size(); ++i) {
        const auto source = from.row(pick[i]);
        const auto target = view.row(i);
        for (std::size_t k = 0; k < target.size(); ++k) target[k] = source[k];
    }
}

/// Regularisers that bring rows of their own and accumulate a gradient themselves (see ptx).
template <class C>
constexpr bool has_rows_of_its_own() {
    if constexpr (requires { C::has_rows_of_its_own; })
        return C::has_rows_of_its_own;
    else
        return false;
}
/// Advantage estimators whose advantages contain the importance weight already (V-trace).
template <class C>
constexpr bool weighs_by_itself() {
    if constexpr (requires { C::needs_behaviour_log_prob; })
        return C::needs_behaviour_log_prob;
    else
        return false;
}
template <class C>
constexpr bool row_separable() {
    if constexpr (requires { C::row_separable; })
        return C::row_separable;
    else
        return false;
}

}  // namespace detail

/// Role 4: advantages from the round's rewards, then `epochs` x `minibatches` optimiser steps of loss and regularisers.
/// A round whose advantages are all zero, without regularisers, has no gradient: no step is taken, momentum included.
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
    const std::size_t n = rows(t.batch);
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

    ragged_buffer<T> log_prob, entropy, d_log_prob, d_entropy, old_part, advantage_part, reference_part, factor_part,
        factor_now;
    std::vector<std::uint32_t> count, group_part;
    std::vector<double> weight;
    std::vector<std::size_t> order(n), picked;
    count_up(std::span(order));

    for (std::size_t epoch = 0; epoch < options.epochs; ++epoch) {
        const std::size_t parts = options.minibatches < n ? options.minibatches : n;
        if (parts > 1) shuffle(std::span(order), key, epoch);
        for (std::size_t p = 0; p < parts; ++p) {
            const bool whole = parts == 1;
            const std::span<const std::size_t> pick(order.data() + p * n / parts, (p + 1) * n / parts - p * n / parts);
            const typename P::batch subset = whole ? typename P::batch{} : select(t.batch, pick);
            const typename P::batch& batch = whole ? t.batch : subset;
            const mask_view part_mask = mask_of(batch);
            const std::span<const std::uint32_t> length = lengths(batch);

            log_prob.assign(length);
            d_log_prob.assign(length);
            policy_terms<T> terms{.log_prob = std::as_const(log_prob).view(), .mask = part_mask};
            if (whole) {
                terms.old_log_prob = std::as_const(t.old_log_prob).view();
                terms.advantage = std::as_const(advantages).view();
                terms.reference_log_prob = t.reference_view();
                terms.token_factor = t.factor_view();
            } else {
                const auto take = [&](const ragged_view<const T>& from, ragged_buffer<T>& to) {
                    if (from.empty()) return ragged_view<const T>{};
                    detail::gather(from, pick, length, to);
                    return std::as_const(to).view();
                };
                terms.old_log_prob = take(std::as_const(t.old_log_prob).view(), old_part);
                terms.advantage = take(std::as_const(advantages).view(), advantage_part);
                terms.reference_log_prob = take(t.reference_view(), reference_part);
                terms.token_factor = take(t.factor_view(), factor_part);
            }
            policy_outputs<T> outputs{.log_prob = log_prob.view()};
            policy_cotangents<T> cotangents{.d_log_prob = std::as_const(d_log_prob).view()};
            if constexpr (with_entropy) {
                entropy.assign(length);
                d_entropy.assign(length);
                outputs.entropy = entropy.view();
                terms.entropy = std::as_const(entropy).view();
                cotangents.d_entropy = std::as_const(d_entropy).view();
            }

            count.resize(pick.size());
            count_tokens(terms.log_prob, part_mask, std::span(count));
            group_part.resize(pick.size());
            for (std::size_t i = 0; i < pick.size(); ++i) group_part[i] = t.group_id[pick[i]];
            weight.resize(pick.size());
            options.aggregation(count, {group_part, t.group_count}, t.work, weight);

            constexpr bool separable =
                detail::row_separable<Loss>() &&
                ((component_of<Regularizers, role::token_factor> || detail::row_separable<Regularizers>()) && ... &&
                 true);
            policy.discard();  // what an error left behind
            accumulate_gradient(
                policy, batch, outputs, cotangents, options.micro_batch_rows, separable, picked,
                [&](std::size_t first, std::size_t size) {
                    policy_terms<T> part_terms = terms.slice(first, size);
                    detail::weigh_now(part_terms, detail::slice_if_given(behaviour_log_prob(batch), first, size),
                                      t.work, factor_now, regularizers...);
                    const std::span<const double> part_weight(weight.data() + first, size);
                    const ragged_view<T> d = d_log_prob.view().slice(first, size);
                    if constexpr (detail::takes<Loss, const policy_terms<T>&, std::span<const double>,
                                                const ragged_view<T>&, workspace&>())
                        report.loss.merge(loss(part_terms, part_weight, d, t.work));
                    else
                        report.loss.merge(loss(part_terms, part_weight, d));
                    [[maybe_unused]] const auto add = [&](auto& regularizer) {
                        using C = decltype(regularizer.component);
                        if constexpr (detail::has_rows_of_its_own<C>() || component_of<C, role::token_factor>)
                            return;
                        else if constexpr (detail::needs_entropy<C>())
                            report.regularizer.merge(
                                regularizer(part_terms, part_weight, d_entropy.view().slice(first, size)));
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
        }
    }
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
