#pragma once
/// What ragan, ra_ls and ra_hinge have in common.
#include "support/discriminator_checks.hpp"

namespace rlgaf_test {

/// g(x) of "how far above the other side's mean", and its derivative.
struct gap_function {
    double (*value)(double);
    double (*slope)(double);
};

inline double mean_of(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<double>(x.size());
}

/// More than the blocks of the library's loops hold.
inline score_case many_scores(dice& d) {
    score_case c;
    for (std::size_t n = 129 + d.below(200); n > 0; --n) c.real.push_back(d.normal());
    for (std::size_t n = 129 + d.below(400); n > 0; --n) {
        c.fake.push_back(d.normal());
        c.pairs.push_back(static_cast<std::uint32_t>(d.below(c.real.size())));
    }
    return c;
}

/// Against the definition; against the gradient without the part through the means, which must differ by just that part.
template <class Loss>
void check_relativistic_average(const std::string& name, const Loss& whole, const Loss& per_prompt,
                                const gap_function& g) {
    check_discriminator_loss(name, [&](dice& d) { return d.chance(0.5) ? whole : per_prompt; });
    dice d(1807);
    for (int round = 0; round < 500; ++round) {
        score_case c = round < 490 ? random_scores(d) : many_scores(d);
        if (c.fake.empty()) continue;
        const double n_real = static_cast<double>(c.real.size()), n_fake = static_cast<double>(c.fake.size());
        const double m_real = mean_of(c.real), m_fake = mean_of(c.fake);
        double loss = 0, of_real = 0, of_fake = 0;  // mean slopes
        for (const double s : c.real) loss += g.value(s - m_fake) / n_real, of_real += g.slope(s - m_fake) / n_real;
        for (const double s : c.fake) loss += g.value(m_real - s) / n_fake, of_fake += g.slope(m_real - s) / n_fake;
        const score_result r = run(whole, c);
        REQUIRE(gap(r.stats.loss, loss) < 1e-11 * (1 + loss));
        for (std::size_t i = 0; i < c.real.size(); ++i)
            REQUIRE(gap(r.d_real[i], g.slope(c.real[i] - m_fake) / n_real + of_fake / n_real) < 1e-11);
        for (std::size_t j = 0; j < c.fake.size(); ++j)
            REQUIRE(gap(r.d_fake[j], -g.slope(m_real - c.fake[j]) / n_fake - of_real / n_fake) < 1e-11);
        double shift = 0;  // scores have no zero
        for (const double v : r.d_real) shift += v;
        for (const double v : r.d_fake) shift += v;
        REQUIRE(std::abs(shift) < 1e-11);

        // per prompt: every demonstration with its own samples; their scores may be moved together
        const score_result own = run(per_prompt, c);
        double expected = 0, compared = 0;
        for (std::size_t i = 0; i < c.real.size(); ++i) {
            std::vector<double> mine;
            for (std::size_t j = 0; j < c.fake.size(); ++j)
                if (c.pairs[j] == i) mine.push_back(c.fake[j]);
            if (!mine.empty()) compared += 1, expected += g.value(c.real[i] - mean_of(mine));
            double push = own.d_real[i];
            for (std::size_t j = 0; j < c.fake.size(); ++j) push += c.pairs[j] == i ? own.d_fake[j] : 0;
            REQUIRE(std::abs(push) < 1e-11);
            if (mine.empty()) REQUIRE(own.d_real[i] == 0);
        }
        expected /= compared;
        for (std::size_t j = 0; j < c.fake.size(); ++j) expected += g.value(c.real[c.pairs[j]] - c.fake[j]) / n_fake;
        REQUIRE(gap(own.stats.loss, expected) < 1e-11 * (1 + expected));
        score_case moved = c;
        for (std::size_t i = 0; i < c.real.size(); ++i) {
            const double by = static_cast<double>(i) - 2;
            moved.real[i] += by;
            for (std::size_t j = 0; j < c.fake.size(); ++j) moved.fake[j] += c.pairs[j] == i ? by : 0;
        }
        REQUIRE(gap(run(per_prompt, moved).stats.loss, own.stats.loss) < 1e-10 * (1 + own.stats.loss));
    }
    // one prompt in all: both forms are the same
    const score_case one{{0.7}, {0.2, -1, 1.5}, {0, 0, 0}};
    REQUIRE(gap(run(whole, one).stats.loss, run(per_prompt, one).stats.loss) < 1e-14);
    REQUIRE(gap(run(whole, one).d_fake, run(per_prompt, one).d_fake) < 1e-14);
    // a side without rows; pairs are needed per prompt only
    for (const score_case& c : {score_case{{1, 2}, {}, {}}, score_case{{}, {1, 2}, {}}, score_case{}}) {
        const score_result none = run(whole, c);
        REQUIRE(none.stats.loss == 0);
        REQUIRE(gap(none.d_real, std::vector<double>(c.real.size())) == 0);
        REQUIRE(gap(none.d_fake, std::vector<double>(c.fake.size())) == 0);
    }
    REQUIRE(run(per_prompt, {{1, 2}, {}, {}}).stats.loss == 0);
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                run(per_prompt, {{1}, {0}, {}});
            }) == "rlgaf::" + name + ": matching.real_of_fake: expected 1 elements, got 0");
    const score_case unpaired{{2.0, -0.5, 0.3}, {-1.0, 0.7, 0.1}, {}};
    REQUIRE(run(whole, unpaired).stats.loss == run(whole, sheet_scores()).stats.loss);
}

}  // namespace rlgaf_test
