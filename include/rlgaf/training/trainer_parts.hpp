#pragma once
#include <tuple>
#include <utility>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/check.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/training/discriminator_parts.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/score.hpp"
#include "rlgaf/training/update_policy.hpp"

/// How the trainer finds its components, and the sentences for what it cannot work with.
namespace rlgaf::inline RLGAF_ABI {

/// For a true_reward: nothing to imitate.
struct no_experts_type {};
inline constexpr no_experts_type no_experts{};

namespace detail {

template <class Policy>
struct reference_component {
    using role = role::reference;
    Policy* policy;
};
template <class Batch>
struct held_out_component {
    using role = role::held_out;
    Batch batch;
};
template <class Source>
struct prompt_component {
    using role = role::prompt_source;
    Source* source;
};
template <class Batch>
struct fixed_rows_component {
    using role = role::score_reference;
    Batch batch;
};

}  // namespace detail

/// Component: the policy that KL is measured against. Without it the trainer keeps a clone of the policy as it was at
/// first.
template <class Policy>
auto frozen_reference(Policy& policy) {
    return detail::reference_component<Policy>{&policy};
}
/// Component: demonstrations that the discriminator never trains on, to measure how much of its accuracy is memory.
template <class Batch>
auto held_out_experts(Batch demonstrations) {
    return detail::held_out_component<Batch>{static_cast<Batch&&>(demonstrations)};
}
/// Component: where prompts come from: `source.sample(n, key) -> prompts`.
template <class Source>
auto prompts_from(Source& source) {
    return detail::prompt_component<Source>{&source};
}

/// Component: rows that the discriminator scores every round; stages that read fixed_score see its scale move.
template <class Batch>
auto fixed_rows(Batch batch) {
    return detail::fixed_rows_component<Batch>{static_cast<Batch&&>(batch)};
}

namespace detail {

template <class Role, class F>
struct callable_component {
    using role = Role;
    F function;
    void check() const {}
    template <class... Args>
        requires std::is_invocable_v<const F&, Args...>
    decltype(auto) operator()(Args&&... args) const { return function(std::forward<Args>(args)...); }
};

template <class Role, class... C>
constexpr std::size_t count_role = (std::size_t{component_of<C, Role>} + ... + 0);
template <class Role, class... C>
constexpr bool has_role = count_role<Role, C...> > 0;

struct no_component {};

/// The part of that role, or the given default.
template <class Role, class Default, class... C>
auto& find_part(std::tuple<part<C>...>& parts, Default& fallback) {
    if constexpr (has_role<Role, C...>) {
        constexpr std::size_t index = [] {
            const bool match[] = {component_of<C, Role>...};
            std::size_t i = 0;
            while (!match[i]) ++i;
            return i;
        }();
        return std::get<index>(parts);
    } else {
        return fallback;
    }
}
template <class Role, class... C>
auto parts_of_role(std::tuple<part<C>...>& parts) {
    return std::apply(
        [](auto&... p) {
            return std::tuple_cat([](auto& one) {
                if constexpr (component_of<std::remove_reference_t<decltype(one.component)>, Role>)
                    return std::tie(one);
                else
                    return std::tuple<>();
            }(p)...);
        },
        parts);
}

template <class P, bool Needed>
struct clone_of {
    using type = P;
};
template <class P>
struct clone_of<P, false> {
    using type = no_component;
};
template <class P, bool Needed>
using clone_type = typename clone_of<P, Needed>::type;

template <class A>
std::size_t group_size_of(const A& advantage) {
    if constexpr (requires { advantage.group_size; })
        return advantage.group_size;
    else
        return 1;
}

template <class P, class S>
constexpr bool same_scalar() {
    if constexpr (is_true_reward<std::remove_const_t<S>>)
        return true;
    else
        return std::is_same_v<typename P::scalar, typename S::scalar>;
}

template <class P, class S, class E, class... C>
constexpr bool experts_fit() {
    if constexpr (is_true_reward<std::remove_const_t<S>>)
        return true;
    else if constexpr (has_role<role::prompt_source, C...>)
        return expert_answers<E, P>;
    else
        return expert_source<E, typename P::batch>;
}

template <class C>
constexpr bool reads_values = requires {
    C::needs_value;
};
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
    if constexpr (Kind == judged::rows)
        return check_scorer<S, B>();
    else if constexpr (Kind == judged::tokens)
        static_assert(scores_tokens<S, B>,
                      "rlgaf: a discriminator loss of tokens needs a scorer that scores_tokens: evaluate_tokens, "
                      "forward_tokens and backward_tokens, see backend/abilities.hpp");
    else
        static_assert(
            scores_pairs<S, B>,
            "rlgaf: a discriminator loss of pairs needs a critic that scores_pairs (rlgaf::pair_critic makes one "
            "of a scorer of width 3), see backend/abilities.hpp");
    return judges<Kind, S, B>;
}

/// One sentence for the first thing that does not fit.
template <class P, class S, class E, class... C>
consteval bool check_trainer() {
    if constexpr (!check_policy<P>())
        return false;
    else if constexpr (!is_true_reward<std::remove_const_t<S>> &&
                       !judges<judged_in_trainer<C...>(), S, typename P::batch>)
        return check_judge<judged_in_trainer<C...>(), S, typename P::batch>();
    else if constexpr (!same_scalar<P, S>()) {
        static_assert(same_scalar<P, S>(), "rlgaf: policy and discriminator must have the same scalar type");
        return false;
    } else if constexpr (!(component<C> && ...)) {
        static_assert((component<C> && ...),
                      "rlgaf: an argument of adversarial_trainer is not a component; wrap a callable of your own in "
                      "as_reward, as_advantage, as_policy_loss or as_discriminator_loss");
        return false;
    } else {
        constexpr bool advantage = count_role<role::advantage, C...> <= 1,
                       loss = count_role<role::policy_loss, C...> <= 1, reward = count_role<role::reward, C...> <= 1,
                       discriminator = count_role<role::discriminator_loss, C...> <= 1,
                       gate = count_role<role::gate, C...> <= 1,
                       reference_once = count_role<role::reference, C...> <= 1,
                       held_out = count_role<role::held_out, C...> <= 1,
                       fixed = count_role<role::score_reference, C...> <= 1,
                       noise = count_role<role::input_noise, C...> <= 1, credit = count_role<role::credit, C...> <= 1,
                       probe = count_role<role::probe, C...> <= 1, prompts = count_role<role::prompt_source, C...> <= 1;
        static_assert(advantage, "rlgaf: adversarial_trainer was given two advantage estimators; it takes one");
        static_assert(loss, "rlgaf: adversarial_trainer was given two policy losses; it takes one");
        static_assert(reward, "rlgaf: adversarial_trainer was given two rewards; put stages into one pipeline{...}");
        static_assert(discriminator, "rlgaf: adversarial_trainer was given two discriminator losses; it takes one");
        static_assert(gate, "rlgaf: adversarial_trainer was given two gates; it takes one");
        static_assert(reference_once, "rlgaf: adversarial_trainer was given two frozen references; it takes one");
        static_assert(held_out, "rlgaf: adversarial_trainer was given two sets of held-out experts; it takes one");
        static_assert(prompts, "rlgaf: adversarial_trainer was given two sources of prompts; it takes one");
        static_assert(fixed, "rlgaf: adversarial_trainer was given two sets of fixed rows; it takes one");
        static_assert(noise, "rlgaf: adversarial_trainer was given two kinds of noise; it takes one");
        static_assert(credit, "rlgaf: adversarial_trainer was given two kinds of rollouts; it takes one");
        static_assert(probe, "rlgaf: adversarial_trainer was given two probes; it takes one");
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
        constexpr bool with_discriminator =
            !is_true_reward<std::remove_const_t<S>> ||
            !(has_role<role::gate, C...> || has_role<role::discriminator_loss, C...> ||
              has_role<role::held_out, C...> || has_role<role::discriminator_regularizer, C...> ||
              has_role<role::input_penalty, C...> || has_role<role::weight_constraint, C...> ||
              has_role<role::input_noise, C...> || has_role<role::score_reference, C...> ||
              has_role<role::probe, C...>);
        static_assert(with_discriminator,
                      "rlgaf: with a true_reward there is no discriminator for a gate, a discriminator loss or "
                      "held-out experts to act on");
        constexpr bool comparable = !(has_role<role::held_out, C...> && has_role<role::prompt_source, C...>);
        static_assert(comparable,
                      "rlgaf: held_out_experts compares scores across rows, which means nothing between "
                      "different prompts; leave it out with prompts_from");
        constexpr bool experts = experts_fit<P, S, E, C...>();
        static_assert(experts,
                      "rlgaf: the experts need `batch sample(std::size_t n, rlgaf::rng_key)`, or with prompts_from "
                      "`batch answers(const prompts&, rlgaf::rng_key)` (rlgaf::demonstrations{batch} does the first)");
        constexpr bool reference =
            !(needs_reference<C>() || ... || false) || has_role<role::reference, C...> || clonable<P>;
        static_assert(reference,
                      "rlgaf: a component measures KL to a reference policy; add frozen_reference(policy) or "
                      "give the policy `clone() const`");
        constexpr bool without_values = !(reads_values<C> || ... || false);
        static_assert(
            without_values,
            "rlgaf: adversarial_trainer has no critic, whose values this advantage estimator reads; rlhf_trainer "
            "has one, and the roles of training/roles.hpp can be driven by hand");
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
        return without_values && greedy && norms && advantage && loss && reward && discriminator && gate &&
               reference_once && held_out && prompts && fixed && noise && credit && probe && rolls_out &&
               scored_by_row && fixed_given && with_discriminator && comparable && experts && reference;
    }
}

/// Share of pairs (the shorter side repeats) in which the demonstration scores higher; a tie counts
/// half.
template <class T>
double pair_accuracy(std::span<const T> real, std::span<const T> fake) {
    if (real.empty() || fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    const std::size_t pairs = real.size() > fake.size() ? real.size() : fake.size();
    for (std::size_t j = 0; j < pairs; ++j) {
        const T r = real[j % real.size()], f = fake[j % fake.size()];
        right += r > f ? 1.0 : r < f ? 0.0 : 0.5;
    }
    return right / static_cast<double>(pairs);
}
template <class T>
double matched_accuracy(std::span<const T> real, std::span<const T> fake, std::span<const std::uint32_t> pairs) {
    if (fake.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < fake.size(); ++j)
        right += real[pairs[j]] > fake[j] ? 1.0 : real[pairs[j]] < fake[j] ? 0.0 : 0.5;
    return right / static_cast<double>(fake.size());
}

/// Share of pairs in which a critic of pairs prefers the demonstration to the sample.
template <class T>
double pair_critic_accuracy(std::span<const T> score) {
    if (score.empty()) return std::numeric_limits<double>::quiet_NaN();
    double right = 0;
    for (std::size_t j = 0; j < score.size(); j += 3)
        right += score[j] > score[j + 1] ? 1.0 : score[j] < score[j + 1] ? 0.0 : 0.5;
    return 3 * right / static_cast<double>(score.size());
}

template <bool Valid, class P, class S, class E, class... C>
class adversarial_loop {
public:
    template <class... Args>
    explicit adversarial_loop(Args&&...) {}
    template <class Options = run_info, class... Observers>
    round_report run(const Options&, Observers&&...) {
        return {};
    }
};

/// The sanity gate: sampled, evaluated and trained log-probs of the first round must be the same numbers. A sampler
/// that truncates has probabilities of its own, and only the other two are compared. Errors: numeric_error with the
/// first token that disagrees.
template <policy_backend P>
void check_log_probs(P& policy, const trajectories<P>& t, bool truncated_sampling, double tolerance,
                     std::size_t evaluate_rows, std::size_t forward_rows,
                     const char* function = "adversarial_trainer") {
    using T = typename P::scalar;
    if (tolerance == 0) tolerance = std::is_same_v<T, float> ? 1e-3 : 1e-9;
    ragged_buffer<T> evaluated, trained;
    evaluated.assign(lengths(t.batch));
    trained.assign(lengths(t.batch));
    std::vector<std::size_t> pick;
    evaluate_in_parts(policy, t.batch, {.log_prob = evaluated.view()}, evaluate_rows, pick);
    for_each_micro_batch(t.batch, forward_rows, pick, [&](std::size_t first, std::size_t count, const auto& rows_now) {
        [[maybe_unused]] const typename P::tape dropped =
            policy.forward(rows_now, {.log_prob = trained.view().slice(first, count)});
    });
    const auto compare = [&](const ragged_view<const T>& a, const ragged_view<const T>& b, const char* what,
                             const char* expected) {
        for_each_token(a, mask_of(t.batch), [&](std::size_t r, std::size_t k) {
            const double x = static_cast<double>(a.row(r)[k]), y = static_cast<double>(b.row(r)[k]);
            if (!(std::abs(x - y) <= tolerance)) [[unlikely]]
                fail(error_kind::numeric, function, short_text(what, " of row ", r, " token ", k),
                     short_text(x, expected), short_text(y));
        });
    };
    if (!truncated_sampling)
        compare(behaviour_log_prob(t.batch), std::as_const(evaluated).view(), "evaluate's log_prob",
                " as rollout reported (same temperature? same tokens? dropout off?)");
    compare(std::as_const(evaluated).view(), std::as_const(trained).view(), "forward's log_prob",
            " as evaluate gave, so that the first ratio is 1 (is dropout on in forward?)");
}

template <policy_backend P>
void describe_round(trajectories<P>& t, round_report& report) {
    const std::size_t n = rows(t.batch);
    const mask_view mask = mask_of(t.batch);
    const auto old = std::as_const(t.old_log_prob).view();
    double tokens = 0, all_tokens = 0, truncated = 0, log_prob = 0, kl = 0;
    for_each_token(old, mask, [&](std::size_t b, std::size_t k) {
        tokens += 1;
        log_prob += static_cast<double>(old.row(b)[k]);
        if (t.has_reference)
            kl += static_cast<double>(old.row(b)[k]) - static_cast<double>(t.reference_view().row(b)[k]);
    });
    for (std::size_t b = 0; b < n; ++b) {
        all_tokens += static_cast<double>(old.length(b));
        truncated += t.truncated[b];
    }
    const reward_view<typename P::scalar> reward = t.reward.view();
    std::vector<double>& total = t.work.a;
    total.assign(n, 0.0);
    for (std::size_t b = 0; b < n; ++b) {
        bool applies = !reward.token.empty();
        for (const outcome_reward& r : reward.outcome)
            if (!is_nan(&r.value[b])) {
                total[b] += r.value[b];
                applies = true;
            }
        if (!reward.token.empty()) total[b] += masked_row_sum(reward.token, mask, b);
        if (!applies) total[b] = round_report::none;
    }
    const moments m = moments_of(span_of(total));
    report.tokens = all_tokens;
    report.reward_mean = m.mean;
    report.reward_deviation = m.deviation();
    report.score_policy = sum(std::span<const typename P::scalar>(t.score)) / static_cast<double>(n * t.width);
    if (tokens > 0) {
        report.entropy_sampled = -log_prob / tokens;
        if (t.has_reference) report.kl_reference_per_token = kl / tokens;
    }
    report.length_mean = all_tokens / static_cast<double>(n);
    report.truncated_share = truncated / static_cast<double>(n);
}

inline void describe_policy(const policy_update_report& done, round_report& report) {
    const double tokens = done.loss.tokens > 0 ? done.loss.tokens : round_report::none;
    const double steps = static_cast<double>(done.steps + done.discarded);
    report.advantage_deviation = done.advantage.deviation;
    report.constant_reward_share = done.advantage.constant_groups;
    report.policy_loss = steps > 0 ? (done.loss.loss + done.regularizer.loss) / steps : round_report::none;
    report.policy_grad_norm = steps > 0 ? done.grad_norm : round_report::none;
    report.policy_steps = done.steps;
    report.discarded_steps += done.discarded;
    report.kl_old_k3 = done.loss.kl_old / tokens;
    report.ratio_max = done.loss.tokens > 0 ? done.loss.ratio_max : round_report::none;
    report.clip_fraction_low = done.loss.clipped_low / tokens;
    report.clip_fraction_high = done.loss.clipped_high / tokens;
    report.clip_fraction_dual = done.loss.clipped_dual / tokens;
    if (done.epochs > 0) report.policy_epochs = static_cast<double>(done.epochs);
    if (done.entropy.count > 0) report.entropy = done.entropy.mean;
    report.entropy_coefficient = done.entropy_coefficient;
    if (const summary& weight = done.token_weight.weight; weight.count > 0) {
        report.weight_dropped_share = done.token_weight.dropped_share();
        report.weight_min = weight.min, report.weight_mean = weight.mean, report.weight_max = weight.max;
        report.weight_ess_fraction = ess_fraction(weight);
    }
}

}  // namespace detail

/// An advantage estimator of your own: `advantage_stats (const advantage_terms<T>&, workspace&, const
/// ragged_view<T>&)`.
template <class F>
auto as_advantage(F function) {
    return detail::callable_component<role::advantage, F>{static_cast<F&&>(function)};
}
/// A policy loss of your own: `policy_loss_stats (const policy_terms<T>&, std::span<const double>, const
/// ragged_view<T>&)`.
template <class F>
auto as_policy_loss(F function) {
    return detail::callable_component<role::policy_loss, F>{static_cast<F&&>(function)};
}
/// A discriminator loss of your own: `discriminator_loss_stats (const discriminator_terms<T>&, std::span<T>,
/// std::span<T>)`.
template <class F>
auto as_discriminator_loss(F function) {
    return detail::callable_component<role::discriminator_loss, F>{static_cast<F&&>(function)};
}

}  // namespace rlgaf::inline RLGAF_ABI
