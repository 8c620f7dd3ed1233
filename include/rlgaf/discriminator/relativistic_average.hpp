#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// What a loss of "how far above the other side's mean" gives.
struct loss_slope {
    double loss, slope;
};

/// mean over i of g(real[i] - mean fake) + mean over j of g(mean real - fake[j]), with the gradient through the means.
/// Per prompt: means are over a demonstration and the samples that share it; demonstrations without samples stay out.
template <class T, class Formula>
discriminator_loss_stats relativistic_average(const discriminator_terms<T>& terms, std::span<T> d_real,
                                              std::span<T> d_fake, bool per_prompt, workspace& work,
                                              const char* function, Formula&& g) {
    discriminator_loss_stats stats = begin_discriminator_loss(terms, d_real, d_fake, function, per_prompt);
    const std::size_t n_real = terms.real.size(), n_fake = terms.fake.size(), groups = per_prompt ? n_real : 1;
    if (n_real == 0 || n_fake == 0) return stats;
    const auto of_real = [&](std::size_t i) { return per_prompt ? i : 0; };
    const auto of_fake = [&](std::size_t j) { return per_prompt ? terms.pairs.real_of_fake[j] : std::size_t{0}; };
    std::vector<double>&x = work.a, &y = work.b;                        // of demonstrations, of samples
    std::vector<double>&count = work.c, &sum = work.d, &pull = work.e;  // of groups
    std::vector<std::size_t>& compared = work.index;                    // demonstrations with samples
    x.clear(), y.clear(), compared.clear();
    count.assign(groups, 0.0), sum.assign(groups, 0.0), pull.assign(groups, 0.0);

    for (std::size_t j = 0; j < n_fake; ++j) {
        count[of_fake(j)] += 1;
        sum[of_fake(j)] += static_cast<double>(terms.fake[j]);
    }
    for (std::size_t i = 0; i < n_real; ++i) {
        const std::size_t k = of_real(i);
        if (count[k] == 0) continue;
        compared.push_back(i);
        x.push_back(static_cast<double>(terms.real[i]) - sum[k] / count[k]);
    }
    for (std::size_t j = 0; j < n_fake; ++j)
        y.push_back((per_prompt ? static_cast<double>(terms.real[of_fake(j)]) : stats.real_mean) -
                    static_cast<double>(terms.fake[j]));

    for (std::vector<double>* const side : {&x, &y}) {  // from gaps to slopes
        const double weight = 1 / static_cast<double>(side->size());
        lane_sum total;
        double loss[block_tokens];
        for (std::size_t first = 0; first < side->size(); first += block_tokens) {
            const std::size_t n = side->size() - first < block_tokens ? side->size() - first : block_tokens;
            double* const gap = side->data() + first;
            for (std::size_t i = 0; i < n; ++i) {
                const loss_slope at = g(gap[i]);
                loss[i] = at.loss;
                gap[i] = weight * at.slope;
            }
            total.add(loss, n);
        }
        stats.loss += weight * total.total();
    }

    sum.assign(groups, 0.0);
    for (std::size_t m = 0; m < compared.size(); ++m) sum[of_real(compared[m])] += x[m];
    for (std::size_t j = 0; j < n_fake; ++j) pull[of_fake(j)] += y[j];
    const double share = per_prompt ? 1 : 1 / static_cast<double>(n_real);
    for (std::size_t m = 0; m < compared.size(); ++m)
        d_real[compared[m]] += static_cast<T>(x[m] + share * pull[of_real(compared[m])]);
    for (std::size_t j = 0; j < n_fake; ++j) d_fake[j] -= static_cast<T>(y[j] + sum[of_fake(j)] / count[of_fake(j)]);
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
