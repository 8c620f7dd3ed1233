#pragma once
#include "rlgaf/discriminator/terms.hpp"
#include "rlgaf/math/rank_score.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// RankGAN: by closeness to demonstrations, a demonstration should rank high among samples, a sample low among
/// demonstrations.
/// Formula: K_iu = exp(gamma cos(row i, demonstration u)).
///          A demonstration s among all samples f: R_s = mean over u other than s of K_su / (K_su + sum_f K_fu);
///          a sample f among demonstrations: R_f = mean over u of K_fu / (K_fu + sum over r other than u of K_ru);
///          L = -mean_s log R_s - mean_f log(1 - R_f), the paper's form.
/// Shapes:  features: real [n_real, width], fake [n_fake, width], width >= 2. terms.pairs is not read.
/// Adds:    d_real, d_fake [n, width]: through rows, references and norms.
/// Units:   nats; the features' lengths do not matter. The policy's reward log R_f is rank_score (math/rank_score.hpp).
///          real_mean, fake_mean: mean cosine with (other) demonstrations; accuracy: share of all pairs of a
///          demonstration and a sample in which the demonstration's is larger.
/// Degenerate: a row of zeros has the cosine 0 with everything, and no gradient. Fewer than two demonstrations, or no
///          samples: loss 0, no gradient.
/// Errors:  shape_error; option_error. Time (n_real + n_fake) n_real width. No allocation once `work` has grown.
/// Source:  Lin et al. 2017, arXiv 1705.11001, equations 2 to 5. There references are drawn apart from the rows that
///          are ranked; here they are the other demonstrations of the batch. Texygen takes the cosine with the mean of
///          16 normalised references and one softmax over the whole batch.
struct rank_gan {
    using role = role::discriminator_loss;
    double gamma = 1;  ///< in (0, 300]: how much closeness counts

    void check() const { detail::check_gamma(gamma, "rank_gan"); }

    template <class T>
    discriminator_loss_stats operator()(const discriminator_terms<T>& terms, std::span<T> d_real, std::span<T> d_fake,
                                        workspace& work) const {
        check();
        const std::size_t width = terms.width;
        detail::check_features(terms.real, width, "rank_gan", "real");
        detail::check_features(terms.fake, width, "rank_gan", "fake");
        detail::check_size(d_real.size(), terms.real.size(), "rank_gan", "d_real");
        detail::check_size(d_fake.size(), terms.fake.size(), "rank_gan", "d_fake");
        discriminator_loss_stats stats;
        const std::size_t m = terms.real.size() / width, n_fake = terms.fake.size() / width, all = m + n_fake;
        if (m < 2 || n_fake == 0) return stats;
        const double reals = static_cast<double>(m), others = reals - 1, fakes = static_cast<double>(n_fake);

        work.a.resize(all * width), work.b.resize(all * m), work.c.assign(all * width, 0.0);
        work.d.assign(3 * all, 0.0), work.e.assign(2 * m, 0.0);
        double* const unit = work.a.data();   // rows, demonstrations first
        double* const close = work.b.data();  // K / exp(gamma), later the slopes by the cosines
        double* const pull = work.c.data();   // the slopes by unit
        double* const norm = work.d.data();
        double* const cosine = norm + all;           // mean with (other) demonstrations
        double* const score = cosine + all;          // R of a demonstration, 1 - R of a sample
        double* const samples = work.e.data();       // sum over f of K_fu
        double* const demonstrations = samples + m;  // sum over r other than u of K_ru
        detail::unit_rows(terms.real, width, unit, norm);
        detail::unit_rows(terms.fake, width, unit + m * width, norm + m);
        for (std::size_t i = 0; i < all; ++i)
            for (std::size_t u = 0; u < m; ++u) {
                if (i == u) continue;
                const double c = detail::dot(unit + i * width, unit + u * width, width);
                cosine[i] += c / (i < m ? others : reals);
                close[i * m + u] = std::exp(gamma * (c - 1));
                (i < m ? demonstrations : samples)[u] += close[i * m + u];
            }
        struct shares {
            double own, rest;  // of row i beside reference u, and of whom it is ranked among
        };
        const auto shares_of = [=](std::size_t i, std::size_t u) {
            const double own = close[i * m + u], rest = (i < m ? samples : demonstrations)[u];
            return shares{own / (own + rest), rest / (own + rest)};
        };
        for (std::size_t i = 0; i < all; ++i) {
            for (std::size_t u = 0; u < m; ++u)
                if (i != u) score[i] += i < m ? shares_of(i, u).own / others : shares_of(i, u).rest / reals;
            stats.loss -= std::log(score[i]) / (i < m ? reals : fakes);
            (i < m ? stats.real_mean : stats.fake_mean) += cosine[i] / (i < m ? reals : fakes);
        }
        double above = 0;
        for (std::size_t s = 0; s < m; ++s)
            for (std::size_t f = m; f < all; ++f)
                above += 0.5 * (1 + (cosine[s] > cosine[f]) - (cosine[s] < cosine[f]));
        stats.accuracy = above / (reals * fakes);

        for (std::size_t u = 0; u < m; ++u) {
            const auto slope = [=](std::size_t i) {  // by log K_iu where the others' stay
                const shares of = shares_of(i, u);
                return of.own * of.rest / (score[i] * reals * (i < m ? -others : fakes));
            };
            double of_reals = 0, of_fakes = 0;
            for (std::size_t i = 0; i < all; ++i)
                if (i != u) (i < m ? of_reals : of_fakes) += slope(i);
            for (std::size_t i = 0; i < all; ++i) {
                if (i == u) continue;
                double& k = close[i * m + u];
                const double through_sum = i < m ? k / demonstrations[u] * of_fakes : k / samples[u] * of_reals;
                const double w = k = gamma * (slope(i) - through_sum);
                for (std::size_t x = 0; x < width; ++x) {
                    pull[i * width + x] += w * unit[u * width + x];
                    pull[u * width + x] += w * unit[i * width + x];
                }
            }
        }
        for (std::size_t i = 0; i < all; ++i) {
            if (norm[i] == 0) continue;
            const double radial = detail::dot(pull + i * width, unit + i * width, width);
            T* const d = i < m ? d_real.data() + i * width : d_fake.data() + (i - m) * width;
            for (std::size_t x = 0; x < width; ++x)
                d[x] += static_cast<T>((pull[i * width + x] - radial * unit[i * width + x]) / norm[i]);
        }
        return stats;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
