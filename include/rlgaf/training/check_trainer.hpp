#pragma once
#include "rlgaf/backend/check.hpp"
#include "rlgaf/training/check_counts.hpp"
#include "rlgaf/training/critic_part.hpp"

/// The sentences for what adversarial_trainer and rlhf_trainer cannot work with.
namespace rlgaf::inline RLGAF_ABI::detail {

template <class P, class S, class E, class... C>
constexpr bool experts_fit() {
    if constexpr (only_scores<S, E>)
        return true;
    else if constexpr (has_role<role::prompt_source, C...>)
        return expert_answers<E, P>;
    else
        return expert_source<E, typename P::batch>;
}

template <class C>
constexpr bool reads_greedy_rewards = requires {
    C::needs_greedy_reward;
};
template <class C>
constexpr bool reads_score_norms = requires {
    C::needs_score_norm;
};

/// What the trainer's discriminator loss compares.
template <class... C>
constexpr judged judged_in_trainer() {
    judged kind = judged::rows;
    ((component_of<C, role::discriminator_loss> ? (kind = judged_by<C>(), 0) : 0), ...);
    return kind;
}
template <judged Kind, class S, class B>
constexpr bool judges = Kind == judged::rows     ? scorer_backend<S, B>
                        : Kind == judged::tokens ? scores_tokens<S, B>
                                                 : scores_pairs<S, B>;
template <judged Kind, class S, class B>
consteval bool check_judge() {
    constexpr bool by_token = Kind != judged::tokens || scores_tokens<S, B>,
                   by_pair = Kind != judged::pairs || scores_pairs<S, B>;
    static_assert(by_token,
                  "rlgaf: a discriminator loss of tokens needs a scorer that scores_tokens: evaluate_tokens, "
                  "forward_tokens and backward_tokens, see backend/abilities.hpp");
    static_assert(by_pair,
                  "rlgaf: a discriminator loss of pairs needs a critic that scores_pairs (rlgaf::pair_critic makes one "
                  "of a scorer of width 3), see backend/abilities.hpp");
    return judges<Kind, S, B>;
}

/// Whether input penalties and noise have something to act on.
template <class P, class S>
constexpr bool moves_what_it_reads() {
    if constexpr (is_true_reward<std::remove_const_t<S>>)
        return false;
    else
        return perturbs_inputs<S, typename P::batch>;
}

/// Whether gradient_redistribution has weights to go by.
template <class P, class S>
constexpr bool weighs_tokens() {
    if constexpr (is_true_reward<std::remove_const_t<S>>)
        return false;
    else
        return attributes_tokens<S, typename P::batch>;
}

/// One sentence for the first thing that does not fit.
template <class Defaults, class P, class S, class E, class... C>
consteval bool check_trainer() {
    if constexpr (!check_policy<P>())
        return false;
    else if constexpr (!is_true_reward<std::remove_const_t<S>> && judged_in_trainer<C...>() == judged::rows &&
                       !scorer_backend<S, typename P::batch>)
        return check_scorer<S, typename P::batch>();
    else if constexpr (!is_true_reward<std::remove_const_t<S>> &&
                       !judges<judged_in_trainer<C...>(), S, typename P::batch>)
        return check_judge<judged_in_trainer<C...>(), S, typename P::batch>();
    else if constexpr (!same_scalar<P, S>()) {
        static_assert(same_scalar<P, S>(),
                      "rlgaf: policy and discriminator (or reward model) must have the same scalar type");
        return false;
    } else if constexpr (!(critic_fits<P, C> && ... && true)) {
        return (check_critic_part<P, C>() && ...);
    } else if constexpr (!(critic_scalar<P, C> && ... && true)) {
        static_assert((critic_scalar<P, C> && ... && true), "rlgaf: policy and critic must have the same scalar type");
        return false;
    } else if constexpr (!(component<C> && ...)) {
        static_assert((component<C> && ...),
                      "rlgaf: an argument of the trainer is not a component; wrap a callable of your own in "
                      "as_reward, as_advantage, as_policy_loss or as_discriminator_loss");
        return false;
    } else {
        constexpr bool counts = check_counts<C...>();
        constexpr bool moves = !(component_of<C, role::input_penalty> || ... || false) || moves_what_it_reads<P, S>();
        static_assert(moves,
                      "rlgaf: r1 and the other input penalties need a scorer that perturbs_inputs: noise, towards, "
                      "input_gradient, row_norms, scale, add and forward(batch, perturbation, score), see "
                      "backend/abilities.hpp (lstm_scorer does)");
        constexpr bool moves_by_noise = !(moves_inputs<C>() || ... || false) || moves_what_it_reads<P, S>();
        static_assert(
            moves_by_noise,
            "rlgaf: instance_noise needs a scorer that perturbs_inputs, see backend/abilities.hpp (lstm_scorer "
            "does); token_noise does without");
        constexpr bool corrupts = !((component_of<C, role::input_noise> && !moves_inputs<C>()) || ... || false) ||
                                  replaces_tokens<typename P::batch>;
        static_assert(
            corrupts,
            "rlgaf: token_noise needs a batch that replaces_tokens, see backend/abilities.hpp (rlgaf::token_batch "
            "does)");
        constexpr bool constrains = !(component_of<C, role::weight_constraint> || ... || false) || flat_parameters<S>;
        static_assert(constrains,
                      "rlgaf: spectral_norm and weight_clip need a scorer with flat_parameters: `parameters()`, see "
                      "backend/abilities.hpp");
        constexpr bool rolls_out =
            !has_role<role::credit, C...> || (continues_prefixes<P> && judged_in_trainer<C...>() == judged::rows);
        static_assert(rolls_out,
                      "rlgaf: rollout_values needs a policy that continues_prefixes (`rollout_from`, see "
                      "backend/abilities.hpp) and a discriminator loss of rows");
        constexpr bool scored_by_row =
            judged_in_trainer<C...>() == judged::rows ||
            !(has_role<role::held_out, C...> || has_role<role::score_reference, C...> ||
              has_role<role::discriminator_regularizer, C...> || (needs_expert_score<C>() || ... || false));
        static_assert(
            scored_by_row,
            "rlgaf: held-out experts, fixed rows, score regularisers and rewards relative to the demonstration's "
            "score go with a discriminator loss of rows, not of tokens or pairs");
        constexpr bool fixed_given = !(needs_fixed_score<C>() || ... || false) || has_role<role::score_reference, C...>;
        static_assert(fixed_given, "rlgaf: a reward stage reads the scores of fixed rows; add fixed_rows(batch)");
        constexpr bool scale_moves = !has_role<role::score_reference, C...> || !is_true_reward<std::remove_const_t<S>>;
        static_assert(
            scale_moves,
            "rlgaf: fixed_rows shows how a discriminator's scale moves; a true_reward has none, leave it out");
        constexpr bool weighs = !(needs_token_weight<C>() || ... || false) || weighs_tokens<P, S>();
        static_assert(weighs,
                      "rlgaf: gradient_redistribution needs a scorer that attributes_tokens: `void attribute(const "
                      "batch&, rlgaf::ragged_view<T> weight)`, see backend/abilities.hpp (lstm_scorer does)");
        constexpr bool with_discriminator =
            !only_scores<S, E> || !(has_role<role::gate, C...> || has_role<role::discriminator_loss, C...> ||
                                    has_role<role::held_out, C...> || has_role<role::discriminator_regularizer, C...> ||
                                    has_role<role::input_penalty, C...> || has_role<role::weight_constraint, C...> ||
                                    has_role<role::input_noise, C...> || has_role<role::probe, C...> ||
                                    (needs_expert_score<C>() || ... || false));
        static_assert(with_discriminator,
                      "rlgaf: with a true_reward or no_experts there is no discriminator that learns, for a gate, a "
                      "discriminator loss, held-out experts or rewards relative to demonstrations to act on");
        constexpr bool comparable = !(has_role<role::held_out, C...> && has_role<role::prompt_source, C...>);
        static_assert(comparable,
                      "rlgaf: held_out_experts compares scores across rows, which means nothing between "
                      "different prompts; leave it out with prompts_from");
        constexpr bool experts = experts_fit<P, S, E, C...>();
        static_assert(experts,
                      "rlgaf: the experts need `batch sample(std::size_t n, rlgaf::rng_key)`, or with prompts_from "
                      "`batch answers(const prompts&, rlgaf::rng_key)` (rlgaf::demonstrations{batch} does the first)");
        constexpr bool reference = !((needs_reference<C>() || ... || false) ||
                                     (!has_role<role::reward, C...> && needs_reference<typename Defaults::reward>())) ||
                                   has_role<role::reference, C...> || clonable<P>;
        static_assert(reference,
                      "rlgaf: a component measures KL to a reference policy; add frozen_reference(policy) or "
                      "give the policy `clone() const`");
        constexpr bool values = has_role<role::critic, C...> || !(reads_values<C> || ... || false);
        static_assert(values, "rlgaf: this advantage estimator reads the values of a critic; add with_critic(critic)");
        constexpr bool returns =
            !has_role<role::critic, C...> ||
            ((!component_of<C, role::advantage> || fills_returns<C, typename P::scalar>()) && ... && true);
        static_assert(returns,
                      "rlgaf: with a critic the advantage estimator must give it its targets, as gae does: a fourth "
                      "argument `const rlgaf::ragged_view<T>& returns`");
        constexpr bool greedy =
            !(reads_greedy_rewards<C> || ... || false) ||
            (judged_in_trainer<C...>() == judged::rows && !(needs_expert_score<C>() || ... || false));
        static_assert(
            greedy,
            "rlgaf: this advantage estimator reads the reward of greedy answers, which needs a discriminator loss "
            "of rows and a reward that does not compare with demonstrations");
        constexpr bool norms = !(reads_score_norms<C> || ... || false) || exposes_logits<P>;
        static_assert(
            norms,
            "rlgaf: this advantage estimator reads score norms, which needs a policy that exposes_logits, see "
            "backend/abilities.hpp");
        return counts && moves && moves_by_noise && corrupts && constrains && rolls_out && scored_by_row &&
               fixed_given && scale_moves && weighs && with_discriminator && comparable && experts && reference &&
               values && returns && greedy && norms;
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
