#pragma once
#include "rlgaf/math/moments.hpp"
#include "rlgaf/training/observer.hpp"
#include "rlgaf/training/roles.hpp"
#include "rlgaf/training/update_policy.hpp"

/// What trainers check of a round, and what they report of it.
namespace rlgaf::inline RLGAF_ABI::detail {

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

/// Share of rows whose outcome "discriminator" is the round's largest, or its smallest if they are more: 1 where it is
/// constant, near 1 where nearly all are clipped. NaN with less than two such rewards.
template <class T>
double constant_score_share(const reward_view<T>& reward) {
    for (const outcome_reward& r : reward.outcome) {
        if (!(r.name == chars("discriminator"))) continue;
        double least = std::numeric_limits<double>::infinity(), most = -least, n = 0, low = 0, high = 0;
        for (const double v : r.value)
            if (!is_nan(&v)) least = std::fmin(least, v), most = std::fmax(most, v), n += 1;
        for (const double v : r.value)
            if (!is_nan(&v)) low += centred(v, least) == 0, high += centred(v, most) == 0;
        return n < 2 ? round_report::none : std::fmax(low, high) / n;
    }
    return round_report::none;
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
    total.resize(n);
    for (std::size_t b = 0; b < n; ++b) total[b] = total_reward(reward, mask, b);
    const moments m = moments_of(span_of(total));
    report.constant_score_share = constant_score_share(reward);
    report.tokens = all_tokens;
    report.reward_mean = m.mean;
    report.reward_deviation = m.deviation();
    report.score_policy = sum(std::span<const typename P::scalar>(t.score)) / static_cast<double>(n * t.width);
    if (tokens > 0) {
        report.entropy_sampled = -log_prob / tokens;
        if (t.has_reference) report.kl_reference_per_token = kl / tokens;
    }
    if (t.has_reference) report.kl_reference_per_row = kl / static_cast<double>(n);
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
    report.chosen_rows = done.chosen_rows;
    if (const summary& weight = done.token_weight.weight; weight.count > 0) {
        report.weight_dropped_share = done.token_weight.dropped_share();
        report.weight_min = weight.min, report.weight_mean = weight.mean, report.weight_max = weight.max;
        report.weight_ess_fraction = ess_fraction(weight);
    }
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
