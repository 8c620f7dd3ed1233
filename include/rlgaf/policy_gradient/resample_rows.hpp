#pragma once
#include <cmath>
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How often a row comes back, by its score.
enum class resample_rule {
    power,      ///< |score|^power
    max_min,    ///< 1 for the largest and the smallest score of the step, 0 for what lies between
    max_random  ///< top_weight for the largest, 1 for the others
};

/// PF-PPO: rows drawn with replacement by how sure the reward model is of them, which large and small scores are a sign
/// of. Called on the step's rows after their advantages are known; select(batch, pick) and the same pick of every array
/// then stand in for the step.
/// Formula: pick[k] = row i with probability weight_i / sum of weights, B independent draws.
/// Shapes:  score [B]; pick [B], overwritten.
/// Degenerate: a row whose score is NaN is never drawn; no weight at all (scores of 0 with power): every row with a
///          score alike (verl gives every row 1e-8 more, so that none is ever out of reach). No row with a score: pick
///          is empty.
/// Errors:  option_error; numeric_error for an infinite score. No allocation once `work` and `pick` have grown.
/// Needs:   scores centred on 0 for power. A key that changes from step to step.
/// Source:  Zhang, Shen et al. 2024, arXiv 2409.06957; verl compute_pf_ppo_reweight_data (power 2; 0.4 to 0.1).
struct resample_rows {
    using role = rlgaf::role::row_choice;
    resample_rule rule = resample_rule::power;
    double power = 2;       ///< finite, >= 0; 0: every row alike
    double top_weight = 4;  ///< finite, > 0, for max_random

    void check() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        detail::check_option(power >= 0 && power < infinity, "resample_rows", "power", "finite, 0 or positive", power);
        detail::check_option(top_weight > 0 && top_weight < infinity, "resample_rows", "top_weight",
                             "finite and positive", top_weight);
    }

    template <class T>
    void operator()(std::span<const T> score, rng_key key, workspace& work, std::vector<std::size_t>& pick) const {
        check();
        std::vector<double>& until = work.a;  // running sum of the weights
        until.assign(score.begin(), score.end());
        double largest = -std::numeric_limits<double>::infinity(), smallest = -largest, size = 0, scored = 0;
        for (std::size_t i = 0; i < until.size(); ++i) {
            const double& s = until[i];
            if (is_nan(&s)) continue;
            if (first_nonfinite(std::span(&s, 1)) == 0) [[unlikely]]
                fail(error_kind::numeric, "resample_rows", short_text("score[", i, "]"), "a finite number or NaN",
                     short_text(s));
            largest = std::fmax(largest, s), smallest = std::fmin(smallest, s);
            size = std::fmax(size, std::abs(s)), scored += 1;
        }
        pick.clear();
        if (scored == 0) return;
        const bool none = rule == resample_rule::power && size == 0;
        double total = 0;
        for (double& s : until) {
            if (!is_nan(&s)) {
                if (none)
                    total += 1;
                else if (rule == resample_rule::power)
                    total += std::pow(std::abs(s) / size, power);
                else if (rule == resample_rule::max_min)
                    total += s == largest || s == smallest;
                else
                    total += s == largest ? top_weight : 1;
            }
            s = total;
        }
        const random_stream random(key, stream::selection);
        for (std::size_t k = 0; k < until.size(); ++k) {
            const double u =
                total * random.uniform(static_cast<std::uint32_t>(k & 0xFFFFFFu), static_cast<std::uint32_t>(k >> 24));
            std::size_t first = 0, last = until.size() - 1;  // the first row whose sum exceeds u
            while (first < last) {
                const std::size_t middle = first + (last - first) / 2;
                if (until[middle] > u)
                    last = middle;
                else
                    first = middle + 1;
            }
            pick.push_back(first);
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
