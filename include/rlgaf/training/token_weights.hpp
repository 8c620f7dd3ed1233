#pragma once
#include "rlgaf/policy_gradient/token_factor.hpp"
#include "rlgaf/training/roles.hpp"

/// Where update_policy calls the components of role::token_factor.
namespace rlgaf::inline RLGAF_ABI::detail {

template <class C>
constexpr bool needs_entropy() {
    if constexpr (requires { C::needs_entropy; })
        return C::needs_entropy;
    else
        return false;
}
/// Token factors that read the log-probs of the moment: they act before every optimiser step instead of once a round.
template <class C>
constexpr bool every_step() {
    if constexpr (requires { C::every_step; })
        return C::every_step;
    else
        return false;
}
/// Weights of tokens that correct for the sampler: they take the place of those that roll_out made.
template <class C>
constexpr bool is_importance() {
    if constexpr (requires { C::is_importance; })
        return C::is_importance;
    else
        return false;
}
/// Factors made of old_log_prob against the sampler's.
template <class C>
constexpr bool compares_with_sampler() {
    if constexpr (requires { C::compares_with_sampler; })
        return C::compares_with_sampler;
    else
        return false;
}
/// Once a round: multiplies what the components make of it into token_factor.
template <policy_backend P, class... Parts>
void weigh_tokens(P& policy, trajectories<P>& t, ragged_view<const typename P::scalar> advantage,
                  std::size_t micro_batch_rows, Parts&... parts) {
    using T = typename P::scalar;
    if constexpr ((compares_with_sampler<decltype(Parts::component)>() || ... || false))
        if (!t.has_token_factor) [[unlikely]]
            fail(error_kind::option, "update_policy", "recompute_old",
                 "true with a component that compares the policy with its sampler (else both are the same numbers)",
                 "false");
    if (!t.has_token_factor || (is_importance<decltype(Parts::component)>() || ... || false))
        t.token_factor.assign(lengths(t.batch), T{1});
    t.has_token_factor = true;
    factor_terms<T> terms{.log_prob = std::as_const(t.old_log_prob).view(),
                          .old_log_prob = std::as_const(t.old_log_prob).view(),
                          .behaviour_log_prob = behaviour_log_prob(t.batch),
                          .advantage = advantage,
                          .mask = mask_of(t.batch)};
    [[maybe_unused]] ragged_buffer<T> entropy;
    const auto weigh = [&](auto& part) {
        using C = decltype(part.component);
        if constexpr (component_of<C, role::token_factor> && !every_step<C>()) {
            if constexpr (needs_entropy<C>())
                if (terms.entropy.empty()) {
                    ragged_buffer<T> unused;
                    unused.assign(lengths(t.batch));
                    entropy.assign(lengths(t.batch));
                    evaluate_in_parts(policy, t.batch, {.log_prob = unused.view(), .entropy = entropy.view()},
                                      micro_batch_rows, t.pick);
                    terms.entropy = std::as_const(entropy).view();
                }
            part(std::as_const(terms), t.work, t.token_factor.view());
        }
    };
    (weigh(parts), ...);
}

/// Before an optimiser step: what reads the log-probs of the moment is multiplied into a copy of token_factor.
template <class T, class... Parts>
void weigh_now(policy_terms<T>& terms, const ragged_view<const T>& behaviour, workspace& work, ragged_buffer<T>& factor,
               Parts&... parts) {
    if constexpr ((every_step<decltype(Parts::component)>() || ... || false)) {
        factor.assign(terms.log_prob, T{1});
        if (!terms.token_factor.empty())
            for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
                factor.view().row(b)[t] = terms.token_factor.row(b)[t];
            });
        const factor_terms<T> now{.log_prob = terms.log_prob,
                                  .old_log_prob = terms.old_log_prob,
                                  .behaviour_log_prob = behaviour,
                                  .advantage = terms.advantage,
                                  .mask = terms.mask};
        const auto weigh = [&](auto& part) {
            if constexpr (every_step<decltype(part.component)>()) part(now, work, factor.view());
        };
        (weigh(parts), ...);
        terms.token_factor = std::as_const(factor).view();
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
