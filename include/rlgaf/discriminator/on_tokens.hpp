#pragma once
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How the token losses of one side become one number.
enum class token_average {
    tokens,  ///< every unmasked token of the side counts the same
    rows     ///< every text counts the same, the mean of its tokens; texts without unmasked tokens do not count
};

/// A pointwise loss applied to every unmasked token: for scorers that give each token a number, by what is before it.
/// `on_tokens{bce{}}`.
/// Formula: L = inner(unmasked scores of real, of fake), with weights 1 / N, or 1 / (n_b B): N unmasked tokens in the
///          side, n_b in text b, B texts with any.
/// Shapes:  real, fake [n, length], masks likewise or not given.
/// Adds:    d_real, d_fake of the same shapes; computed in double. Masked slots are not touched.
/// Units:   those of the inner loss. accuracy: the mean over the sides of the share of tokens on the right side of the
///          inner loss's neutral_score(), 0 where it has none; on the border is half right. It and the means weigh
///          tokens as the loss does.
/// Degenerate: a side without unmasked tokens contributes nothing; accuracy without any: 0.5.
/// Errors:  shape_error; option_error: token_average::rows needs an inner loss that takes weights, a pointwise one.
///          No allocation in steady state.
/// Needs:   a scorer that does not look ahead, if its scores are to be rewards of single tokens; masks that include the
///          first end-of-text token.
/// Source:  de Masson d'Autume et al. 2019, "ScratchGAN", arXiv 1905.09922, whose code averages over masked slots too:
///          each adds log 2 to its loss and shrinks its gradient.
template <class Loss>
class on_tokens {
public:
    using role = role::discriminator_loss;
    static constexpr bool token_level = true;
    static_assert(
        component_of<Loss, rlgaf::role::discriminator_loss> &&
            std::is_invocable_v<const Loss&, const discriminator_terms<double>&, std::span<double>, std::span<double>>,
        "rlgaf: on_tokens takes a loss without memory that looks at one score at a time: bce, gail, lsgan, "
        "wgan, hinge, total_variation, f_gan, or one of your own in as_discriminator_loss");

    explicit on_tokens(Loss loss, token_average average = token_average::tokens)
        : loss_(static_cast<Loss&&>(loss)), average_(average) {}

    void check() const {
        loss_.check();
        const bool weighs = requires { Loss::pointwise; };
        if (!weighs && average_ != token_average::tokens) [[unlikely]]
            fail(error_kind::option, "on_tokens", ".average", "token_average::tokens, because the loss takes no weights",
                 "token_average::rows");
    }

    template <class T>
    discriminator_loss_stats operator()(const token_discriminator_terms<T>& terms, const ragged_view<T>& d_real,
                                        const ragged_view<T>& d_fake, workspace& work) const {
        check();
        detail::check_same_shape(terms.real, d_real, "on_tokens", "d_real");
        detail::check_same_shape(terms.fake, d_fake, "on_tokens", "d_fake");
        detail::check_same_shape_if_given(terms.real, terms.real_mask, "on_tokens", "terms.real_mask");
        detail::check_same_shape_if_given(terms.fake, terms.fake_mask, "on_tokens", "terms.fake_mask");
        const std::size_t most = slots(terms.real) + slots(terms.fake);
        work.a.resize(most), work.c.resize(most), work.b.assign(most, 0.0);
        double neutral = 0;
        if constexpr (requires { loss_.neutral_score(); }) neutral = loss_.neutral_score();
        const side real = gather(terms.real, terms.real_mask, 0, neutral, work);
        const side fake = gather(terms.fake, terms.fake_mask, real.count, neutral, work);

        const std::span<double> score = detail::span_of(work.a), d = detail::span_of(work.b),
                                weight = detail::span_of(work.c);
        discriminator_terms<double> flat{score.first(real.count), score.subspan(real.count, fake.count), {}};
        if (average_ == token_average::rows) {
            flat.real_weight = weight.first(real.count);
            flat.fake_weight = weight.subspan(real.count, fake.count);
        }
        discriminator_loss_stats stats = loss_(flat, d.first(real.count), d.subspan(real.count, fake.count));
        scatter(terms.real_mask, work.b.data(), d_real);
        scatter(terms.fake_mask, work.b.data() + real.count, d_fake);
        stats.real_mean = real.mean, stats.fake_mean = fake.mean;
        const double sides = (real.count > 0) + (fake.count > 0);
        if (sides > 0) stats.accuracy = (real.above + (fake.count > 0 ? 1 - fake.above : 0)) / sides;
        return stats;
    }

private:
    struct side {
        std::size_t count = 0;
        double mean = 0;
        double above = 0;  ///< share of tokens above the neutral score
    };

    template <class T>
    static std::size_t slots(const ragged_view<T>& x) noexcept {
        std::size_t n = 0;
        for (std::size_t b = 0; b < x.rows(); ++b) n += x.length(b);
        return n;
    }

    /// Copies unmasked scores to work.a and their weights to work.c, both from `first` on.
    template <class T>
    side gather(const ragged_view<const T>& score, const mask_view& mask, std::size_t first, double neutral,
                workspace& work) const {
        std::size_t next = first;
        double filled = 0;
        for (std::size_t b = 0; b < score.rows(); ++b) {
            const auto row = score.row(b);
            const included_tokens included(mask, b);
            const std::size_t start = next;
            for (std::size_t t = 0; t < row.size(); ++t)
                if (included[t]) work.a[next++] = static_cast<double>(row[t]);
            filled += next > start;
            for (std::size_t i = start; i < next; ++i) work.c[i] = 1 / static_cast<double>(next - start);
        }
        side s{.count = next - first};
        for (std::size_t i = first; i < next; ++i) {
            double& w = work.c[i];
            w = average_ == token_average::rows ? w / filled : 1 / static_cast<double>(s.count);
            s.mean += w * work.a[i];
            s.above += w * 0.5 * (1 + (work.a[i] > neutral) - (work.a[i] < neutral));
        }
        return s;
    }

    template <class T>
    static void scatter(const mask_view& mask, const double* from, const ragged_view<T>& d_score) {
        for_each_token(d_score, mask,
                       [&](std::size_t b, std::size_t t) { d_score.row(b)[t] += static_cast<T>(*from++); });
    }

    Loss loss_;
    token_average average_;
};

}  // namespace rlgaf::inline RLGAF_ABI
