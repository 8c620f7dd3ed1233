#pragma once
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "rlgaf/core/component.hpp"
#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How well demonstrations and samples can be told apart by length and ending alone. Where this comes near the
/// discriminator's accuracy, the discriminator needs no other reason, and the policy learns lengths.
/// Formula: score of a row = log((real + 1/2) / (fake + 1/2)), the running counts of rows of its length (in eighths of
///          octaves) and ending; accuracy = share of matched pairs in which the demonstration scores higher, ties half,
///          measured before the round enters the counts; counts keep `decay` of themselves a round.
/// Shapes:  lengths and truncated, of the demonstrations [n_real] and of the samples [n_fake]; real_of_fake [n_fake].
/// Degenerate: no samples, or the first round: 0.5, a guess.
/// Errors:  shape_error; option_error.
/// Source:  the library's own; the need for it: reports on GAD, where accuracies above 95 % were shortcuts.
struct shortcut_probe {
    using role = role::probe;
    double decay = 0.9;  ///< in [0, 1)

    struct state {
        std::vector<double> real, fake;
        template <class Archive>
        void visit(Archive& a) {
            a("real", real), a("fake", fake);
        }
    };
    void check() const { detail::check_option(decay >= 0 && decay < 1, "shortcut_probe", "decay", "in [0, 1)", decay); }

    /// One side: its rows' lengths, and 1 where a row ran out of length.
    struct side {
        std::span<const std::uint32_t> length;
        std::span<const std::uint8_t> truncated;
    };

    double operator()(state& s, const side& real, const side& fake, std::span<const std::uint32_t> real_of_fake) const {
        check();
        detail::check_size(real.truncated.size(), real.length.size(), "shortcut_probe", "real.truncated");
        detail::check_size(fake.truncated.size(), fake.length.size(), "shortcut_probe", "fake.truncated");
        detail::check_size(real_of_fake.size(), fake.length.size(), "shortcut_probe", "real_of_fake");
        s.real.resize(bins), s.fake.resize(bins);
        const auto score = [&](const side& rows, std::size_t i) {
            const std::size_t k = bin(rows, i);
            return std::log((s.real[k] + 0.5) / (s.fake[k] + 0.5));
        };
        double right = 0;
        for (std::size_t j = 0; j < real_of_fake.size(); ++j) {
            if (real_of_fake[j] >= real.length.size()) [[unlikely]]
                fail(error_kind::shape, "shortcut_probe", short_text("real_of_fake[", j, "]"),
                     short_text("below ", real.length.size()), short_text(real_of_fake[j]));
            const double gap = score(real, real_of_fake[j]) - score(fake, j);
            right += gap > 0 ? 1 : gap < 0 ? 0 : 0.5;
        }
        const auto enter = [&](const side& rows, std::vector<double>& count) {
            for (double& n : count) n *= decay;
            for (std::size_t i = 0; i < rows.length.size(); ++i) count[bin(rows, i)] += 1;
        };
        enter(real, s.real), enter(fake, s.fake);
        return real_of_fake.empty() ? 0.5 : right / static_cast<double>(real_of_fake.size());
    }

private:
    static constexpr std::size_t bins = 2 * 8 * 33;
    static std::size_t bin(const side& rows, std::size_t i) {
        const auto octave_eighths = static_cast<std::size_t>(8 * std::log2(1.0 + rows.length[i]));
        return 2 * octave_eighths + (rows.truncated[i] != 0);
    }
};

}  // namespace rlgaf::inline RLGAF_ABI
