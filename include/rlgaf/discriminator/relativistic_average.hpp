#pragma once
#include "rlgaf/core/component.hpp"
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// What a loss of "how far above the other side's mean" gives.
template <class T>
struct loss_slope {
    T loss, slope;
};

/// Mean of g(gap).loss; each gap becomes its share of the slope.
template <class Formula>
RLGAF_FLATTEN double gaps_to_slopes(std::span<double> gaps, Formula&& g) {
    const double weight = 1 / static_cast<double>(gaps.size());
    lane_sum total;
    double loss[block_tokens];
    for_each_block(gaps.size(), [&](const std::size_t first, const std::size_t n) {
        double* const gap = gaps.data() + first;
        for (std::size_t i = 0; i < n; ++i) {
            const loss_slope<double> at = g(gap[i]);
            loss[i] = at.loss;
            gap[i] = weight * at.slope;
        }
        total.add(loss, n);
    });
    return weight * total.total();
}

/// Mean of g(gap).loss over one side's scores, gap = sign (score - the other side's mean). d_score += sign slope / n; the
/// mean slope goes to `pull`.
template <class T, class Formula>
RLGAF_FLATTEN double relativistic_side(std::span<const T> score, double other_mean, int sign, std::span<T> d_score,
                                       double& pull, Formula&& g) {
    const double share = 1 / static_cast<double>(score.size());
    const T weight = static_cast<T>(share), mean = static_cast<T>(other_mean), way = static_cast<T>(sign);
    lane_sum total, slopes;
    struct {  // in one piece: clang compares each input with it once
        T loss[block_tokens], slope[block_tokens];
    } out;
    for_each_block(score.size(), [&](const std::size_t first, const std::size_t n) {
        const T* const x = score.data() + first;
        T* const d = d_score.data() + first;
        for (std::size_t i = 0; i < n; ++i) {
            const loss_slope<T> at = g(way * (x[i] - mean));
            out.loss[i] = at.loss;
            out.slope[i] = at.slope;
        }
        total.add(out.loss, n), slopes.add(out.slope, n);
        for (std::size_t i = 0; i < n; ++i) d[i] += way * weight * out.slope[i];
    });
    pull = share * slopes.total();
    return share * total.total();
}

/// The loss with the means of all rows.
template <class T, class Formula>
double relativistic_step(const discriminator_terms<T>& terms, double real_mean, double fake_mean, std::span<T> d_real,
                         std::span<T> d_fake, Formula&& g) {
    double of_real = 0, of_fake = 0;
    const double loss = relativistic_side(terms.real, fake_mean, 1, d_real, of_real, g) +
                        relativistic_side(terms.fake, real_mean, -1, d_fake, of_fake, g);
    const T through_real = static_cast<T>(of_fake / static_cast<double>(d_real.size()));
    const T through_fake = static_cast<T>(of_real / static_cast<double>(d_fake.size()));
    for (T& d : d_real) d += through_real;
    for (T& d : d_fake) d -= through_fake;
    return loss;
}

/// The loss with the means of each prompt; `work` is overwritten.
template <class T, class Formula>
double relativistic_prompts(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                            workspace& work, Formula&& g) {
    const std::size_t n_real = terms.real.size(), n_fake = terms.fake.size();
    const std::uint32_t* const real_of = terms.pairs.real_of_fake.data();
    std::vector<double>&x = work.a, &y = work.b;                        // of demonstrations, of samples
    std::vector<double>&count = work.c, &sum = work.d, &pull = work.e;  // of prompts
    std::vector<std::size_t>& compared = work.index;                    // demonstrations with samples
    x.clear(), y.clear(), compared.clear();
    count.assign(n_real, 0.0), sum.assign(n_real, 0.0), pull.assign(n_real, 0.0);
    for (std::size_t j = 0; j < n_fake; ++j) {
        count[real_of[j]] += 1;
        sum[real_of[j]] += static_cast<double>(terms.fake[j]);
    }
    for (std::size_t i = 0; i < n_real; ++i) {
        if (count[i] == 0) continue;
        compared.push_back(i);
        x.push_back(static_cast<double>(terms.real[i]) - sum[i] / count[i]);
    }
    for (std::size_t j = 0; j < n_fake; ++j)
        y.push_back(static_cast<double>(terms.real[real_of[j]]) - static_cast<double>(terms.fake[j]));
    const double loss = gaps_to_slopes(span_of(x), g) + gaps_to_slopes(span_of(y), g);
    for (std::size_t m = 0; m < compared.size(); ++m) sum[compared[m]] = x[m];
    for (std::size_t j = 0; j < n_fake; ++j) pull[real_of[j]] += y[j];
    for (const std::size_t i : compared) d_real[i] += static_cast<T>(sum[i] + pull[i]);
    for (std::size_t j = 0; j < n_fake; ++j) d_fake[j] -= static_cast<T>(y[j] + sum[real_of[j]] / count[real_of[j]]);
    return loss;
}

/// mean over i of g(real[i] - mean fake) + mean over j of g(mean real - fake[j]), with the gradient through the means.
/// Per prompt: means are over a demonstration and the samples that share it; demonstrations without samples stay out.
template <class T, class Formula>
discriminator_loss_stats relativistic_average(const discriminator_terms<T>& terms, std::span<T> d_real,
                                              std::span<T> d_fake, bool per_prompt, workspace& work,
                                              const char* function, Formula&& g) {
    discriminator_loss_stats stats = begin_discriminator_loss(terms, d_real, d_fake, function, per_prompt);
    if (terms.real.empty() || terms.fake.empty()) return stats;
    stats.loss = per_prompt ? relativistic_prompts(terms, d_real, d_fake, work, g)
                            : relativistic_step(terms, stats.real_mean, stats.fake_mean, d_real, d_fake, g);
    return stats;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
