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
        detail::center_rewards(terms, advantage.rows(), false, work);
        members.resize(2 * terms.group.count);
        double* const size = members.data() + terms.group.count;  // what a group's spread is judged by
        for (std::size_t g = 0; g < terms.group.count; ++g) size[g] = work.b[g], members[g] = 0;
        for (std::vector<double>* x : {&mean, &deviation, &steps}) x->assign(terms.group.count, 0.0);
        work.e.resize(detail::all_tokens(advantage));  // rewards, then what they are above the mean, row by row
        work.index.resize(advantage.rows());
        double* row = work.e.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i], n = detail::list_rewards(terms, i, advantage.length(i), row);
            work.index[i] = n;
            double ends = ends_with_nothing(terms, i, row, n);
            for (std::size_t k = 0; k < n; ++k) ends += row[k] != 0;
            detail::lane_sum sum;
            sum.add(row, n);
            mean[g] += sum.total(), steps[g] += ends, members[g] += ends > 0;
            row += n;
        }
        for (std::size_t g = 0; g < terms.group.count; ++g)
            if (steps[g] > 0) mean[g] /= steps[g];
        row = work.e.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i], n = work.index[i], ends[] = {0, n};
            const double middle = mean[g];
            const bool nothing = ends_with_nothing(terms, i, row, n);
            for (std::size_t k = 0; k < n; ++k) row[k] = row[k] != 0 ? row[k] - middle : 0;
            if (nothing) row[n - 1] = -middle;
            const auto squares = detail::sum_tokens<1>(
                {}, [](double z) { return detail::token_numbers<1, double>{{z * z}}; },
                ragged_view<const double>::packed(row, detail::span_of(ends)));
            deviation[g] += squares.sum[0];
            row += n;
        }
        double constant = 0, filled = 0;
        for (std::size_t g = 0; g < terms.group.count; ++g) {
            deviation[g] = members[g] > 1 ? std::sqrt(deviation[g] / (steps[g] - 1)) : 0;
            if (is_constant(deviation[g], std::fmin(size[g], std::abs(mean[g])))) deviation[g] = 0;
            filled += members[g] > 0;
            constant += members[g] > 0 && deviation[g] == 0;
        }
        row = work.e.data();
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            const std::size_t g = terms.group.id[i], n = work.index[i];
            const bool teaches = n > 0 && deviation[g] > 0;
            const double scale = 1 / (deviation[g] + epsilon);
            detail::sum_to_go(row, n, 1, 0);
            detail::write_tokens(advantage, terms.mask, i, [=](std::size_t k) { return teaches ? row[k] * scale : 0; });
            row += n;
        }
        return detail::summarize(advantage, terms.mask, filled > 0 ? constant / filled : 0);
    }

private:
    /// Whether the last of row i's n rewards is a step although it is 0: outcomes were paid with it.
    template <class T>
    static bool ends_with_nothing(const advantage_terms<T>& terms, std::size_t i, const double* reward, std::size_t n) {
        const double outcome = detail::outcome_of(terms.reward, i);
        return n > 0 && reward[n - 1] == 0 && !is_nan(&outcome);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
