#pragma once
#include "rlgaf/core/exponential.hpp"
#include "rlgaf/math/moments.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

/// Normalisers change every outcome that stands before them in the pipeline. NaN ("does not apply") takes no part and
/// stays.
namespace rlgaf::inline RLGAF_ABI {

/// Holds outcomes within +-limit. Survival bias: that of the outcomes.
struct clip_reward {
    using role = role::reward;
    double limit = 10;  ///< > 0

    void check() const { detail::check_option(limit > 0, "clip_reward", "limit", "positive", limit); }

    template <class T, class Batch>
    void operator()(const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        check();
        for (std::size_t k = 0; k < out.outcomes(); ++k)
            for (double& r : out.outcome(k)) r = detail::held_within(r, -limit, limit);
    }
};

/// Each outcome to mean 0 and deviation 1 among the answers to a prompt. A constant group becomes 0, and so does
/// a group of one row beside larger ones.
/// Survival bias: none, outcomes are paid once a row.
/// Errors: shape_error; option_error if there are several rows and no group has more than one of them: nothing is left.
/// Source: Shao et al. 2024, arXiv 2402.03300; for each reward apart: GDPO 2026, arXiv 2601.05242.
struct group_normalize {
    using role = role::reward;
    void check() const {}

    template <class T, class Batch>
    void operator()(const shaping_terms<T>& terms, const Batch&, rewards<T>& out, workspace& work) const {
        detail::check_groups(terms.group, out.rows(), "group_normalize");
        detail::check_shared_groups(terms.group, work, "group_normalize");
        for (std::size_t k = 0; k < out.outcomes(); ++k) {
            const std::span<double> r = out.outcome(k);
            std::vector<double>&mean = work.a, &squares = work.b, &count = work.c;
            mean.assign(terms.group.count, 0.0);
            squares.assign(terms.group.count, 0.0);
            count.assign(terms.group.count, 0.0);
            const auto each = [&](auto&& f) {
                for (std::size_t i = 0; i < r.size(); ++i)
                    if (!is_nan(&r[i])) f(r[i], terms.group.id[i]);
            };
            each([&](double v, std::size_t g) { mean[g] += v, count[g] += 1; });
            for (std::size_t g = 0; g < terms.group.count; ++g)
                if (count[g] > 0) mean[g] /= count[g];
            each([&](double v, std::size_t g) { squares[g] += (v - mean[g]) * (v - mean[g]); });
            each([&](double& v, std::size_t g) {
                const double deviation = count[g] > 1 ? std::sqrt(squares[g] / (count[g] - 1)) : 0;
                v = is_constant(deviation, mean[g]) ? 0 : (v - mean[g]) / deviation;
            });
        }
    }
};

/// Each outcome by the running mean and deviation of all steps so far; the statistics take in a step after it was used.
/// The first step passes unchanged. A discriminator that trains moves its scale: group_normalize does not lag behind.
/// Survival bias: none, outcomes are paid once a row.
/// Errors: numeric_error, before the statistics take in what is not finite.
/// Source: Chan et al. 1983 (merging); RunningNorm of the imitation library.
struct running_normalize {
    using role = role::reward;
    bool keep_mean = false;  ///< only scale: subtracting the mean changes what is optimal where rows may end early

    struct state {
        std::vector<moments> outcome;
        template <class Archive>
        void visit(Archive& a) {
            detail::visit_list(a, outcome);
        }
    };
    void check() const {}

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>&, const Batch&, rewards<T>& out, workspace&) const {
        detail::check_outcomes(out, "running_normalize");
        if (s.outcome.size() < out.outcomes()) s.outcome.resize(out.outcomes());
        for (std::size_t k = 0; k < out.outcomes(); ++k) {
            const std::span<double> r = out.outcome(k);
            const moments before = s.outcome[k], now = moments_of(r);
            s.outcome[k].merge(now);
            const double deviation = before.deviation();
            if (is_constant(deviation, before.mean)) continue;
            const double shift = keep_mean ? 0 : before.mean;
            for (double& v : r) v = (v - shift) / deviation;
        }
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
