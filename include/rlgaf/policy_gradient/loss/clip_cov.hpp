#pragma once
#include "rlgaf/core/random.hpp"
#include "rlgaf/policy_gradient/ratio_bounds.hpp"
#include "rlgaf/policy_gradient/token_loss.hpp"
#include "rlgaf/policy_gradient/token_order.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Clip-Cov: PPO's clip, and a few random tokens among those that lower the entropy, by the covariance of log-prob and
/// advantage, are left out.
/// Formula: r = exp(log_prob - old_log_prob);  c = (A - mean A)(log_prob - mean log_prob), means over all unmasked tokens;
///          candidates: lowest_covariance < c < highest_covariance, and r not clipped;
///          S = max(1, floor(fraction N)) of them at random (all where there are fewer), N = unmasked tokens;
///          L = sum of w_i f_it max(-A_it r_it, -A_it clip(r_it, 1 - clip_low, 1 + clip_high)) over unmasked tokens not
///          in S.
/// Shapes:  all [B, length]; row_weight [B]. Call it with all rows of the step.
/// Adds:    d_log_prob += -w f A r where nothing is clipped, 0 where it is and on S. Constants: all but log_prob, and S.
/// Units:   nats; c in nats times the advantage's unit. The log-ratio is held within +-20; outside, the ratio is
///          constant and has no gradient (verl: no limit).
/// At kinks: r equal to a bound counts as not clipped, c equal to one is no candidate. A = 0: no loss, no gradient.
/// Degenerate: no candidate: PPO's clip.
/// Stats:   clipped_dual counts S; tokens, kl_old and ratio_max include it.
/// Errors:  shape_error; option_error.
/// Needs:   old_log_prob at the same temperature as log_prob.
/// Source:  Cui et al. 2025, arXiv 2505.22617. S is drawn from (seed, number of calls before).
struct clip_cov {
    using role = role::policy_loss;
    static constexpr bool row_separable = false;
    double clip_low = 0.2;          ///< in [0, 1]; verl: 0.2, the authors' script: 1 (off)
    double clip_high = 0.2;         ///< >= 0; verl: 0.2, the authors' script: 1
    double fraction = 2e-4;         ///< of the unmasked tokens, in [0, 1]; 0: none
    double lowest_covariance = 1;   ///< any number
    double highest_covariance = 5;  ///< > lowest_covariance, infinity for none
    std::uint64_t seed = 0;

    struct state {
        std::uint64_t draws = 0;  ///< calls
        template <class Archive>
        void visit(Archive& a) {
            a("draws", draws);
        }
    };
    void check() const {
        detail::check_option(clip_low >= 0 && clip_low <= 1, "clip_cov", "clip_low", "in [0, 1]", clip_low);
        detail::check_option(clip_high >= 0, "clip_cov", "clip_high", "0 or positive", clip_high);
        detail::check_option(fraction >= 0 && fraction <= 1, "clip_cov", "fraction", "in [0, 1]", fraction);
        detail::check_option(lowest_covariance == lowest_covariance, "clip_cov", "lowest_covariance", "a number",
                             lowest_covariance);
        detail::check_option(highest_covariance > lowest_covariance, "clip_cov", "highest_covariance",
                             "above .lowest_covariance", highest_covariance);
    }

    template <class T>
    policy_loss_stats operator()(state& memory, const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob, workspace& work) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "clip_cov");
        detail::check_same_shape(terms.log_prob, terms.advantage, "clip_cov", "terms.advantage");
        detail::check_same_shape(terms.log_prob, terms.old_log_prob, "clip_cov", "terms.old_log_prob");
        const T lowest = static_cast<T>(1 - clip_low), highest = detail::ratio_bound<T>(1 + clip_high);
        const T none = detail::ratio_bound<T>(std::numeric_limits<double>::infinity());
        const auto formula = [=](const auto& x) {
            const T gains = detail::choose(x.advantage > 0, T{1}, T{0});
            const T loses = detail::choose(x.advantage < 0, T{1}, T{0});
            const auto r = detail::hold_ratio(x.ratio, loses * lowest, gains * highest + (1 - gains) * none);
            return detail::token_output<T>{
                .value = r.value, .slope = r.free * x.alive, .clips = detail::clip_code(r.below, r.above, T{0})};
        };
        pick(memory, terms, work, formula);
        detail::hold_gradients(work.index, d_log_prob, work.e);
        policy_loss_stats stats = detail::token_loss<true>(terms, row_weight, d_log_prob, "clip_cov", formula);
        for (std::size_t i = 0; i < work.index.size(); i += 2) {
            const std::size_t b = work.index[i], t = work.index[i + 1];
            const token_input<T> x = input(terms, b, t);
            const T factor = terms.token_factor.empty() ? T{1} : terms.token_factor.row(b)[t];
            const T gain = static_cast<T>(row_weight[b]) * factor * x.advantage;
            stats.loss += static_cast<double>(gain * formula(x).value);
            d_log_prob.row(b)[t] = static_cast<T>(work.e[i / 2]);
        }
        stats.clipped_dual = static_cast<double>(work.index.size() / 2);
        return stats;
    }

private:
    template <class T>
    using token_input = detail::token_input<T>;

    template <class T>
    static token_input<T> input(const policy_terms<T>& terms, std::size_t b, std::size_t t) {
        const T limit = static_cast<T>(log_ratio_limit);
        const T apart = terms.log_prob.row(b)[t] - terms.old_log_prob.row(b)[t];
        const T held = apart < -limit ? -limit : apart > limit ? limit : apart;
        return {.log_prob = terms.log_prob.row(b)[t],
                .log_ratio = held,
                .ratio = exponential(held),
                .alive = held == apart ? T{1} : T{0},
                .advantage = terms.advantage.row(b)[t]};
    }

    /// S, to work.index.
    template <class T, class Formula>
    void pick(state& memory, const policy_terms<T>& terms, workspace& work, const Formula& formula) const {
        detail::token_covariance(terms, work.a);
        std::vector<std::size_t>& pairs = work.index;
        pairs.clear();
        const double* c = work.a.data();
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            if (*c > lowest_covariance && *c < highest_covariance && formula(input(terms, b, t)).clips == 0)
                pairs.push_back(b), pairs.push_back(t);
            ++c;
        });
        const std::size_t candidates = pairs.size() / 2, most = detail::picked_count(fraction, work.a.size());
        const std::size_t count = most < candidates ? most : candidates;
        const random_stream random({seed, static_cast<std::uint32_t>(memory.draws++)}, stream::selection);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t j = i + random.below(candidates - i, i & 0xFFFFFFu, static_cast<std::uint32_t>(i >> 24));
            const std::size_t row = pairs[2 * i], token = pairs[2 * i + 1];
            pairs[2 * i] = pairs[2 * j], pairs[2 * i + 1] = pairs[2 * j + 1];
            pairs[2 * j] = row, pairs[2 * j + 1] = token;
        }
        pairs.resize(2 * count);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
