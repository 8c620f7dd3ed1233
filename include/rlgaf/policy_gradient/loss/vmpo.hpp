#pragma once
#include <cmath>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/policy_gradient/token_order.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// V-MPO: imitates the better part of the policy's own tokens, weighed by the exponential of their advantage; the
/// temperature of the weights adapts to a bound on how far they may lead.
/// Formula: S = the max(1, floor(fraction N)) of the N unmasked tokens with the largest A; eta: the state's temperature;
///          psi_it = w_i f_it exp(A_it / eta), summing to 1 over S; f = token_factor or 1;
///          L = -W sum over S of psi_it log_prob_it, W = sum of w_i over all unmasked tokens;
///          dual(eta) = eta (bound + log m), m = sum of w f exp(A / eta) over S / sum of w over S;
///          eta *= exp(-rate clamp(d dual / d eta, -1, 1)), held within [lowest, highest], for the next step;
///          d dual / d eta = bound + log m - sum of psi A / eta: bound minus the divergence of psi from even weights.
/// Shapes:  all [B, length]; row_weight [B]. Call it with all rows of the step.
/// Adds:    d_log_prob += -W psi on S. Constants: all but log_prob, and psi.
/// Units:   eta: of the advantages; bound: nats. With weights that sum to 1, as every mean has, W = 1.
/// Stats:   loss without the dual; clipped_low counts the tokens outside S; old_log_prob is not read, ratio_max and
///          kl_old are 0.
/// At kinks: tokens that tie with the last one of S are in S too, whatever the order of the rows.
/// Degenerate: no unmasked token, or none of S with a weight: nothing is added, eta stays. Equal advantages: S is all.
/// Errors:  shape_error; option_error; numeric_error for an advantage that is not finite.
/// Needs:   a limit on the step, which the paper takes from a second constraint: kl_loss to the policy that sampled.
/// Source:  Song et al. 2019, arXiv 1909.12238, equations 3 to 5; rlax vmpo_loss, which leaves the
///          step of eta to the optimiser and adds 1e-10 to its sums.
struct vmpo {
    using role = role::policy_loss;
    static constexpr bool row_separable = false;
    double fraction = 0.5;   ///< of the unmasked tokens, in (0, 1]
    double temperature = 1;  ///< eta of the first step, in [lowest, highest]
    double bound = 0.01;     ///< nats, finite, > 0
    double rate = 0.1;       ///< of eta's steps, finite, >= 0; 0: eta stays
    double lowest = 1e-3;    ///< > 0
    double highest = 1e6;    ///< finite, >= lowest

    struct state {
        double temperature = 0;  ///< 0 before the first step
        double dual_slope = 0;   ///< d dual / d eta of the last step, before its update
        template <class Archive>
        void visit(Archive& a) {
            a("temperature", temperature), a("dual_slope", dual_slope);
        }
    };
    void check() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(fraction > 0 && fraction <= 1, "vmpo", "fraction", "in (0, 1]", fraction);
        detail::check_option(lowest > 0, "vmpo", "lowest", "positive", lowest);
        detail::check_option(highest >= lowest && highest < infinity, "vmpo", "highest", "finite, at least .lowest",
                             highest);
        detail::check_option(temperature >= lowest && temperature <= highest, "vmpo", "temperature",
                             "in [.lowest, .highest]", temperature);
        detail::check_option(bound > 0 && bound < infinity, "vmpo", "bound", "finite and positive nats", bound);
        detail::check_option(rate >= 0 && rate < infinity, "vmpo", "rate", "finite, 0 or positive", rate);
    }

    template <class T>
    policy_loss_stats operator()(state& memory, const policy_terms<T>& terms, std::span<const double> row_weight,
                                 const ragged_view<T>& d_log_prob, workspace& work) const {
        check();
        detail::check_policy_terms(terms, row_weight, d_log_prob, "vmpo");
        detail::check_same_shape(terms.log_prob, terms.advantage, "vmpo", "terms.advantage");
        detail::check_finite(terms.advantage, terms.mask, "vmpo", "terms.advantage");
        if (memory.temperature == 0) memory.temperature = temperature;
        const double eta = memory.temperature;
        work.a.clear(), work.b.clear();
        double whole = 0;
        for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
            work.a.push_back(static_cast<double>(terms.advantage.row(b)[t]));
            work.b.push_back(work.a.back());
            whole += row_weight[b];
        });
        policy_loss_stats stats{.tokens = static_cast<double>(work.a.size())};
        if (work.a.empty()) return stats;
        const std::size_t picked = detail::picked_count(fraction, work.a.size());
        const double least = kth_smallest(detail::span_of(work.b), work.b.size() - picked);

        double largest = least;
        for (const double a : work.a) largest = std::fmax(largest, a);
        const auto for_each_picked = [&](auto&& f) {  // f(row, token, advantage, w, w f exp((A - largest) / eta))
            const double* a = work.a.data();
            for_each_token(terms.log_prob, terms.mask, [&](std::size_t b, std::size_t t) {
                const double advantage = *a++, w = row_weight[b];
                if (advantage < least) return;
                const double factor =
                    terms.token_factor.empty() ? 1 : static_cast<double>(terms.token_factor.row(b)[t]);
                f(b, t, advantage, w, w * factor * std::exp((advantage - largest) / eta));
            });
        };
        double sum = 0, even = 0, excess = 0, taken = 0;
        for_each_picked([&](std::size_t, std::size_t, double advantage, double w, double psi) {
            sum += psi, even += w, excess += psi * (advantage - largest), taken += 1;
        });
        stats.clipped_low = stats.tokens - taken;
        if (sum == 0) return stats;
        for_each_picked([&](std::size_t b, std::size_t t, double, double, double psi) {
            const double share = whole * psi / sum;
            stats.loss -= share * static_cast<double>(terms.log_prob.row(b)[t]);
            d_log_prob.row(b)[t] -= static_cast<T>(share);
        });
        // log m = log(sum / even) + largest / eta; the last terms of both sums cancel
        memory.dual_slope = bound + std::log(sum / even) - excess / sum / eta;
        const double held = std::fmin(std::fmax(memory.dual_slope, -1), 1);
        memory.temperature = std::fmin(std::fmax(eta * std::exp(-rate * held), lowest), highest);
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
