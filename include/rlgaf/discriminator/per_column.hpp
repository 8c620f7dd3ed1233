#pragma once
#include "rlgaf/discriminator/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A loss applied to every column of the scores, for scorers that give several numbers a row: an ensemble of heads,
/// RelGAN's embedded representations. `per_column{bradley_terry{}}`.
/// Formula: L = (1 / width) sum over columns c of inner(real[., c], fake[., c]).
/// Shapes:  real [n_real, width], fake [n_fake, width]; weights and terms.pairs go to the inner loss as they are.
/// Adds:    d_real, d_fake [n, width]: 1 / width of what the inner loss gives the column, computed in double.
/// Units:   those of the inner loss. accuracy, real_mean, fake_mean are those of the mean over columns.
/// Degenerate: those of the inner loss; width 1 is the inner loss.
/// Errors:  shape_error; those of the inner loss. No allocation once the state has grown.
/// Source:  Nie, Narodytska, Patel 2019, "RelGAN", ICLR (64 embeddings, one loss each).
template <class Inner>
class per_column {
public:
    using role = role::discriminator_loss;
    static_assert(component_of<Inner, rlgaf::role::discriminator_loss>,
                  "rlgaf: per_column takes a discriminator loss; wrap a callable of your own in as_discriminator_loss");

    explicit per_column(Inner inner) : inner_(static_cast<Inner&&>(inner)) {}

    struct state {
        std::vector<state_of<Inner>> column;             ///< what the inner loss remembers of each
        std::vector<double> real, fake, d_real, d_fake;  ///< the column at hand
        std::vector<double> mean_real, mean_fake;        ///< over columns

        template <class Archive>
        void visit(Archive& a) {
            std::uint64_t columns = column.size();
            a("columns", columns);
            column.resize(static_cast<std::size_t>(columns));
            for (state_of<Inner>& s : column) s.visit(a);
        }
    };

    void check() const { inner_.check(); }
    bool compares_prompts() const requires requires(const Inner& loss) { loss.compares_prompts(); }
    { return inner_.compares_prompts(); }

    template <class T>
    discriminator_loss_stats operator()(state& s, const discriminator_terms<T>& terms, std::span<T> d_real,
                                        std::span<T> d_fake, workspace& work) const {
        const std::size_t width = terms.width;
        if (width == 0) [[unlikely]]
            fail(error_kind::shape, "per_column", "width", "at least 1", "0");
        const std::size_t n_real = terms.real.size() / width, n_fake = terms.fake.size() / width;
        detail::check_size(terms.real.size(), n_real * width, "per_column", "real");
        detail::check_size(terms.fake.size(), n_fake * width, "per_column", "fake");
        detail::check_size(d_real.size(), terms.real.size(), "per_column", "d_real");
        detail::check_size(d_fake.size(), terms.fake.size(), "per_column", "d_fake");
        if (s.column.size() != width) s.column.resize(width);
        s.real.resize(n_real), s.fake.resize(n_fake);
        s.mean_real.assign(n_real, 0.0), s.mean_fake.assign(n_fake, 0.0);
        const discriminator_terms<double> column{s.real, s.fake, terms.pairs, terms.real_weight, terms.fake_weight};
        const double share = 1 / static_cast<double>(width);
        const auto gather = [=](std::span<const T> all, std::size_t c, std::vector<double>& one,
                                std::vector<double>& mean) {
            for (std::size_t i = 0; i < one.size(); ++i) {
                one[i] = static_cast<double>(all[i * width + c]);
                mean[i] += share * one[i];
            }
        };
        const auto scatter = [=](const std::vector<double>& one, std::size_t c, std::span<T> all) {
            for (std::size_t i = 0; i < one.size(); ++i) all[i * width + c] += static_cast<T>(share * one[i]);
        };
        double loss = 0;
        for (std::size_t c = 0; c < width; ++c) {
            gather(terms.real, c, s.real, s.mean_real), gather(terms.fake, c, s.fake, s.mean_fake);
            s.d_real.assign(n_real, 0.0), s.d_fake.assign(n_fake, 0.0);
            const std::span<double> d_column_real(s.d_real), d_column_fake(s.d_fake);
            if constexpr (detail::takes<Inner, const discriminator_terms<double>&, std::span<double>, std::span<double>,
                                        workspace&>())
                loss += share * call(inner_, s.column[c], column, d_column_real, d_column_fake, work).loss;
            else
                loss += share * call(inner_, s.column[c], column, d_column_real, d_column_fake).loss;
            scatter(s.d_real, c, d_real), scatter(s.d_fake, c, d_fake);
        }
        discriminator_loss_stats stats = detail::begin_discriminator_loss<double>(
            {s.mean_real, s.mean_fake, terms.pairs}, s.d_real, s.d_fake, "per_column", false);
        stats.loss = loss;
        return stats;
    }

private:
    Inner inner_;
};

}  // namespace rlgaf::inline RLGAF_ABI
