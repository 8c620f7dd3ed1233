#pragma once
#include "rlgaf/policy_gradient/advantage/token_reward.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// GRPO with process rewards: a token is credited with the normalised rewards of its own and the later steps.
/// Formula: z = (r - mean_g) / (deviation_g + epsilon) for every step of every row of the group, deviation with Bessel;
///          A_t = sum of z over the steps that end at t or later.
///          A step ends where the token reward is not 0; the row's outcomes are paid at its last unmasked token, which
///          is then the end of a step too. With outcomes only this is grpo on their sum.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a group of one, a group whose steps all earn the same, a row without a step: 0.
/// Errors:  shape_error; option_error.
/// Needs:   a step that is worth exactly 0 is not seen. No KL in the token rewards, which would end a step at every
///          token: use kl_loss.
/// Source:  Shao et al. 2024, arXiv 2402.03300, section 4.1.3. Not in TRL, verl or OpenRLHF.
struct process_grpo {
    using role = role::advantage;
    std::size_t group_size = 8;  ///< samples a prompt that the trainer draws; 0: the whole step is one group
    double epsilon = 0;          ///< >= 0, added to the deviation

    void check() const { detail::check_option(epsilon >= 0, "process_grpo", "epsilon", "0 or positive", epsilon); }

    template <class T>
    advantage_stats operator()(const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_advantage_terms(terms, advantage, "process_grpo");
        std::vector<double>&mean = work.a, &deviation = work.b, &steps = work.c, &members = work.d;
        for (std::vector<double>* x : {&mean, &deviation, &steps, &members}) x->assign(terms.group.count, 0.0);
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i];
            bool any = false;
            for_each_reward(terms, i, advantage.length(i), [&](std::size_t, double r, bool ends_step) {
                if (!ends_step) return;
                mean[g] += r;
                steps[g] += 1;
                any = true;
            });
            members[g] += any;
        }
        for (std::size_t g = 0; g < terms.group.count; ++g)
            if (steps[g] > 0) mean[g] /= steps[g];
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i];
            for_each_reward(terms, i, advantage.length(i), [&](std::size_t, double r, bool ends_step) {
                if (ends_step) deviation[g] += (r - mean[g]) * (r - mean[g]);
            });
        }
        double constant = 0, filled = 0;
        for (std::size_t g = 0; g < terms.group.count; ++g) {
            deviation[g] = members[g] > 1 ? std::sqrt(deviation[g] / (steps[g] - 1)) : 0;
            if (is_constant(deviation[g], mean[g])) deviation[g] = 0;
            filled += members[g] > 0;
            constant += members[g] > 0 && deviation[g] == 0;
        }
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i];
            const auto out = advantage.row(i);
            for (T& v : out) v = 0;
            if (deviation[g] == 0) continue;
            double to_go = 0;
            for_each_reward(terms, i, out.size(), [&](std::size_t t, double r, bool ends_step) {
                if (ends_step) to_go += (r - mean[g]) / (deviation[g] + epsilon);
                out[t] = static_cast<T>(to_go);
            });
        }
        return detail::summarize(advantage, terms.mask, filled > 0 ? constant / filled : 0);
    }

private:
    /// Calls f(token, reward, whether a step ends there) for the unmasked tokens of row i, the last one first.
    template <class T, class F>
    static void for_each_reward(const advantage_terms<T>& terms, std::size_t i, std::size_t length, F&& f) {
        const double outcome = detail::outcome_of(terms.reward, i);
        bool pays_outcome = !is_nan(&outcome);
        detail::for_each_reward(terms, i, length, [&](std::size_t t, double r) {
            f(t, r, pays_outcome || r != 0);
            pays_outcome = false;
        });
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
