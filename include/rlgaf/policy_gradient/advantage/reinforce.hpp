#pragma once
#include "rlgaf/math/moments.hpp"
#include "rlgaf/policy_gradient/advantage/step_spread.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class reinforce_baseline {
    none,        ///< rewards as they are; with rewards of one sign everything that was sampled is pushed the same way
    batch_mean,  ///< mean return of the step's rows, the row itself included: a pure scale of 1 - 1 / B
    ema,         ///< running mean of earlier steps' returns; lags behind a discriminator by 1 / (1 - decay) steps
    per_step     ///< mean of the returns at the same token position, the row's own included: where n rows get so far, a
                 ///< scale of 1 - 1 / n at that position
};

/// Discounted rewards to go, minus a baseline.
/// Formula: G_t = r_t + discount G_{t+1} over unmasked tokens; the row's outcomes are paid at its last unmasked token,
///          `bootstrap` after it;  A_t = G_t - b. Masked tokens are skipped: a hole costs no discount.
/// Shapes:  advantage [B, length], overwritten; masked tokens get 0.
/// Degenerate: a row without a reward or without an unmasked token: 0, and it is in no baseline.
///          ema in its first step: b = 0.
/// Errors:  shape_error; option_error.
/// Source:  Williams 1992, Machine Learning 8; per_step as in sequence-GAN practice.
struct reinforce {
    using role = role::advantage;
    reinforce_baseline baseline = reinforce_baseline::batch_mean;
    double discount = 1;         ///< in [0, 1]
    double ema_decay = 0.9;      ///< in [0, 1), for reinforce_baseline::ema
    std::size_t group_size = 1;  ///< samples a prompt that the trainer draws

    struct state {
        double mean = 0, weight = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("mean", mean), a("weight", weight);
        }
    };
    void check() const {
        detail::check_option(discount >= 0 && discount <= 1, "reinforce", "discount", "in [0, 1]", discount);
        detail::check_option(ema_decay >= 0 && ema_decay < 1, "reinforce", "ema_decay", "in [0, 1)", ema_decay);
    }

    template <class T>
    advantage_stats operator()(state& memory, const advantage_terms<T>& terms, workspace& work,
                               const ragged_view<T>& advantage) const {
        check();
        detail::check_token_rewards(terms, advantage, "reinforce");
        const std::size_t rows = advantage.rows();

        // work.a: return of the row from its first token, NaN where the row takes no part.
        // work.d, work.e: sum and number of the returns at each token position.
        work.a.assign(rows, std::numeric_limits<double>::quiet_NaN());
        work.d.clear();
        work.e.clear();
        const bool flat = discount == 1 && terms.reward.token.empty() && baseline != reinforce_baseline::per_step;
        for (std::size_t i = 0; i < rows; ++i) {
            if (flat) {
                if (detail::has_token(advantage, terms.mask, i)) work.a[i] = detail::row_return(terms.reward, i);
                continue;
            }
            if (work.d.size() < advantage.length(i)) {
                work.d.resize(advantage.length(i), 0.0);
                work.e.resize(advantage.length(i), 0.0);
            }
            detail::for_each_return(terms, i, advantage.length(i), discount, [&](std::size_t t, double to_go) {
                work.a[i] = to_go;
                work.d[t] += to_go;
                work.e[t] += 1;
            });
        }
        const moments returns = moments_of(detail::span_of(work.a));
        double b = baseline == reinforce_baseline::batch_mean ? returns.mean : 0;
        if (baseline == reinforce_baseline::ema) {
            if (memory.weight > 0) b = memory.mean / memory.weight;
            if (returns.count > 0) {
                memory.mean = ema_decay * memory.mean + (1 - ema_decay) * returns.mean;
                memory.weight = ema_decay * memory.weight + (1 - ema_decay);
            }
        }
        const double constant = detail::same_rewards(terms, advantage, work.b);
        if (flat) {  // every token of a row has the same return
            for (double& v : work.a) v = is_nan(&v) ? 0 : centred(v, b);
            return detail::finish_rows(detail::span_of(work.a), terms.mask, advantage, constant);
        }
        for (std::size_t i = 0; i < rows; ++i) {
            const auto out = advantage.row(i);
            for (T& v : out) v = 0;
            detail::for_each_return(terms, i, out.size(), discount, [&](std::size_t t, double to_go) {
                out[t] = static_cast<T>(
                    centred(to_go, baseline == reinforce_baseline::per_step ? work.d[t] / work.e[t] : b));
            });
        }
        return detail::summarize(advantage, terms.mask, constant);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
