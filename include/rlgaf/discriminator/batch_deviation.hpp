#pragma once
#include "rlgaf/discriminator/terms.hpp"
#include "rlgaf/math/batch_deviation.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Minibatch deviation: the scorer may see how varied its batch is, so that a policy that repeats itself is seen to.
/// `batch_deviation{bce{}}`.
/// Formula: of the numbers of row i, x_i0 is the score, x_i1 a gate, the others features (with two numbers: the score).
///          s'_i = x_i0 + x_i1 m;  m = mean over features k of sqrt(mean over rows (x_ik - mean_k)^2), for real and
///          fake apart;  L = inner(s'_real, s'_fake).
/// Shapes:  real [n_real, width], fake [n_fake, width], width >= 2. Pairs and weights go to the inner loss only.
/// Adds:    d_real, d_fake of the same shapes, through m as well, computed in double.
/// Units:   those of the inner loss; accuracy and means are those of s'.
/// At kinks: a feature with equal rows (to 1e-12 of their mean) has deviation 0 and no derivative.
/// Degenerate: one row: m = 0, and s' is the score. No rows: nothing.
/// Errors:  shape_error; those of the inner loss. No allocation in steady state.
/// Needs:   gates or features that do not all begin at 0, where neither has a gradient; rewards from deviation_reward, over
///          batches about as large as those trained on: large ones deviate more.
/// Source:  Karras et al. 2017, arXiv 1710.10196, section 3. There m is one more feature map, with 1e-8 under its root;
///          here a scorer that cannot see its batch gives the gate that m is multiplied by.
template <class Loss>
class batch_deviation {
public:
    using role = role::discriminator_loss;
    static_assert(component_of<Loss, rlgaf::role::discriminator_loss>,
                  "rlgaf: batch_deviation takes a discriminator loss; wrap a callable of your own in "
                  "as_discriminator_loss");

    explicit batch_deviation(Loss loss) : loss_(static_cast<Loss&&>(loss)) {}

    struct state {
        state_of<Loss> inner;
        std::vector<double> real, fake, d_real, d_fake;  ///< s' and its gradient; rewritten by every call

        template <class Archive>
        void visit(Archive& a) {
            inner.visit(a);
        }
    };

    void check() const { loss_.check(); }
    bool compares_prompts() const requires requires(const Loss& loss) { loss.compares_prompts(); }
    { return loss_.compares_prompts(); }

    template <class T>
    discriminator_loss_stats operator()(state& s, const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake, workspace& work) const {
        check();
        const std::size_t width = terms.width;
        detail::check_deviation_width(width, terms.real.size(), "real");
        detail::check_deviation_width(width, terms.fake.size(), "fake");
        detail::check_size(d_real.size(), terms.real.size(), "batch_deviation", "d_real");
        detail::check_size(d_fake.size(), terms.fake.size(), "batch_deviation", "d_fake");
        const double m_real = mix(terms.real, width, s.real, s.d_real);
        const double m_fake = mix(terms.fake, width, s.fake, s.d_fake);
        const discriminator_terms<double> mixed{s.real, s.fake, terms.pairs, terms.real_weight, terms.fake_weight};
        const std::span<double> g_real(s.d_real), g_fake(s.d_fake);
        discriminator_loss_stats stats;
        if constexpr (detail::takes<Loss, const discriminator_terms<double>&, std::span<double>, std::span<double>,
                                    workspace&>())
            stats = call(loss_, s.inner, mixed, g_real, g_fake, work);
        else
            stats = call(loss_, s.inner, mixed, g_real, g_fake);
        unmix(terms.real, width, m_real, s.d_real, d_real);
        unmix(terms.fake, width, m_fake, s.d_fake, d_fake);
        return stats;
    }

private:
    template <class T>
    static double mix(std::span<const T> x, std::size_t width, std::vector<double>& out, std::vector<double>& d_out) {
        const double m = mean_deviation(x, width);
        out.resize(x.size() / width);
        d_out.assign(x.size() / width, 0.0);
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = static_cast<double>(x[i * width]) + static_cast<double>(x[i * width + 1]) * m;
        return m;
    }

    template <class T>
    static void unmix(std::span<const T> x, std::size_t width, double m, const std::vector<double>& g, std::span<T> d) {
        double d_m = 0;
        for (std::size_t i = 0; i < g.size(); ++i) {
            d[i * width] += static_cast<T>(g[i]);
            d[i * width + 1] += static_cast<T>(g[i] * m);
            d_m += g[i] * static_cast<double>(x[i * width + 1]);
        }
        const std::size_t first = detail::first_feature(width), features = width > 2 ? width - 2 : 1;
        for (std::size_t k = first; k < first + features && !x.empty(); ++k) {
            const detail::column_spread s = detail::spread_of_column(x, width, k);
            if (s.deviation == 0) continue;
            const double scale = d_m / (static_cast<double>(g.size() * features) * s.deviation);
            for (std::size_t i = k; i < x.size(); i += width)
                d[i] += static_cast<T>(scale * centred(static_cast<double>(x[i]), s.mean));
        }
    }

    Loss loss_;
};

}  // namespace rlgaf::inline RLGAF_ABI
