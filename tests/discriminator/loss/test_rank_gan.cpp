#include "rlgaf/discriminator/loss/rank_gan.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::rank_gan;

namespace {

struct features {
    std::vector<double> real, fake;
    std::size_t width = 2;
};

template <class T = double>
score_result rank(const rank_gan& loss, const features& c, double start = 0) {
    const std::vector<T> real(c.real.begin(), c.real.end()), fake(c.fake.begin(), c.fake.end());
    std::vector<T> d_real(real.size(), static_cast<T>(start)), d_fake(fake.size(), static_cast<T>(start));
    rlgaf::discriminator_terms<T> terms{real, fake, {}};
    terms.width = c.width;
    rlgaf::workspace& work = grown_workspace();
    rlgaf::discriminator_loss_stats stats;
    const std::size_t allocated =
        allocations_of([&] { stats = loss(terms, std::span<T>(d_real), std::span<T>(d_fake), work); });
    REQUIRE(allocated == 0);
    return {stats, {d_real.begin(), d_real.end()}, {d_fake.begin(), d_fake.end()}};
}

features random_features(dice& d) {
    features c;
    c.width = 2 + d.below(4);
    c.real.resize((2 + d.below(4)) * c.width), c.fake.resize((1 + d.below(4)) * c.width);
    const double scale = d.chance(0.2) ? 10 : 1;
    for (auto* x : {&c.real, &c.fake})
        for (double& v : *x) v = scale * d.normal();
    return c;
}

/// R of row i (demonstrations first), from the definition and without any of the header's sums.
double rank_of(double gamma, const features& c, std::size_t i) {
    const std::size_t w = c.width, m = c.real.size() / w, n = c.fake.size() / w;
    const auto row = [&](std::size_t k) { return k < m ? c.real.data() + k * w : c.fake.data() + (k - m) * w; };
    const auto close = [&](std::size_t k, std::size_t u) {
        double ab = 0, aa = 0, bb = 0;
        for (std::size_t x = 0; x < w; ++x)
            ab += row(k)[x] * row(u)[x], aa += row(k)[x] * row(k)[x], bb += row(u)[x] * row(u)[x];
        return std::exp(gamma * ab / std::sqrt(aa * bb));
    };
    double sum = 0, references = 0;
    for (std::size_t u = 0; u < m; ++u) {
        if (i == u) continue;
        double all = close(i, u);
        for (std::size_t k = i < m ? m : 0; k < (i < m ? m + n : m); ++k)
            if (k != u) all += close(k, u);
        sum += close(i, u) / all, references += 1;
    }
    return sum / references;
}

double definition(double gamma, const features& c) {
    const std::size_t m = c.real.size() / c.width, n = c.fake.size() / c.width;
    double loss = 0;
    for (std::size_t i = 0; i < m; ++i) loss -= std::log(rank_of(gamma, c, i)) / static_cast<double>(m);
    for (std::size_t i = m; i < m + n; ++i) loss -= std::log(1 - rank_of(gamma, c, i)) / static_cast<double>(n);
    return loss;
}

}  // namespace

TEST_CASE("rank_gan by hand: two demonstrations at right angles, one sample on the first") {
    const double e = std::exp(1.0);
    const score_result r = rank(rank_gan{}, {{2, 0, 0, 3}, {1, 0}, 2});
    // demonstration 1 beside 2: K 1 against the sample's 1; demonstration 2 beside 1: 1 against e.
    // sample beside 1: e against 1 (demonstration 2); beside 2: 1 against 1.
    REQUIRE(gap(r.stats.loss, -(std::log(0.5) + std::log(1 / (1 + e))) / 2 - std::log((1 / (e + 1) + 0.5) / 2)) <
            1e-14);
    REQUIRE(gap(r.stats.real_mean, 0) < 1e-15);
    REQUIRE(gap(r.stats.fake_mean, 0.5) < 1e-15);
    REQUIRE(r.stats.accuracy == 0);
}

TEST_CASE("rank_gan against its definition, by finite differences, in any order, added, in float") {
    dice d(1705);
    for (int round = 0; round < 1500; ++round) {
        CAPTURE(round);
        features c = random_features(d);
        const rank_gan loss{.gamma = d.uniform(0.2, 6)};
        const score_result r = rank(loss, c);
        REQUIRE(gap(r.stats.loss, definition(loss.gamma, c)) < 1e-11);
        const auto value = [&] { return rank(loss, c).stats.loss; };
        for (std::size_t k = 0; k < c.real.size(); ++k) {
            double& x = c.real[k];
            REQUIRE(gap(slope(value, x), r.d_real[k]) < 2e-6);
        }
        for (std::size_t k = 0; k < c.fake.size(); ++k) {
            double& x = c.fake[k];
            REQUIRE(gap(slope(value, x), r.d_fake[k]) < 2e-6);
        }
        const score_result added = rank(loss, c, 5);
        for (std::size_t k = 0; k < c.real.size(); ++k) REQUIRE(gap(added.d_real[k] - 5, r.d_real[k]) < 1e-12);
        for (std::size_t k = 0; k < c.fake.size(); ++k) REQUIRE(gap(added.d_fake[k] - 5, r.d_fake[k]) < 1e-12);

        const std::size_t w = c.width;
        features turned = c;
        const std::vector<std::size_t> reals = d.permutation(c.real.size() / w),
                                       fakes = d.permutation(c.fake.size() / w);
        for (std::size_t i = 0; i < reals.size(); ++i)
            for (std::size_t x = 0; x < w; ++x) turned.real[i * w + x] = c.real[reals[i] * w + x];
        for (std::size_t i = 0; i < fakes.size(); ++i)
            for (std::size_t x = 0; x < w; ++x) turned.fake[i * w + x] = c.fake[fakes[i] * w + x];
        const score_result other = rank(loss, turned);
        REQUIRE(gap(other.stats.loss, r.stats.loss) < 1e-12);
        REQUIRE(gap(other.stats.accuracy, r.stats.accuracy) < 1e-12);
        for (std::size_t i = 0; i < reals.size(); ++i)
            for (std::size_t x = 0; x < w; ++x)
                REQUIRE(gap(other.d_real[i * w + x], r.d_real[reals[i] * w + x]) < 1e-10);
        for (std::size_t i = 0; i < fakes.size(); ++i)
            for (std::size_t x = 0; x < w; ++x)
                REQUIRE(gap(other.d_fake[i * w + x], r.d_fake[fakes[i] * w + x]) < 1e-10);

        for (auto* x : {&c.real, &c.fake})
            for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
        const score_result wide = rank(loss, c), narrow = rank<float>(loss, c);
        REQUIRE(narrow.stats.loss == wide.stats.loss);
        for (std::size_t k = 0; k < c.real.size(); ++k)
            REQUIRE(narrow.d_real[k] == static_cast<double>(static_cast<float>(wide.d_real[k])));
    }
}

TEST_CASE("rank_gan: the R of samples is the one that rank_score pays the policy for") {
    dice d(3);
    for (int round = 0; round < 100; ++round) {
        const features c = random_features(d);
        std::vector<double> log_score(c.fake.size() / c.width);
        rlgaf::rank_score(std::span<const double>(c.fake), std::span<const double>(c.real), c.width, 2,
                          std::span(log_score), grown_workspace());
        for (std::size_t f = 0; f < log_score.size(); ++f)
            REQUIRE(gap(log_score[f], std::log(rank_of(2, c, c.real.size() / c.width + f))) < 1e-12);
    }
}

TEST_CASE("rank_gan: rows of zeros have no gradient; the largest gamma stays finite") {
    const score_result r = rank(rank_gan{}, {{1, 0, 0, 1, 0, 0}, {0, 0, 1, 2}, 2});
    for (const double v : {r.d_real[4], r.d_real[5], r.d_fake[0], r.d_fake[1]}) REQUIRE(v == 0);
    REQUIRE(std::abs(r.d_fake[2]) > 1e-3);
    REQUIRE(std::isfinite(r.stats.loss));
    const features opposite{{1, 0, 1, 1e-3}, {-1, 0, -1, 0}, 2}, same{{1, 0, -1, 0}, {1, 0, 1, 0}, 2};
    for (const features& c : {opposite, same}) {
        const score_result hard = rank(rank_gan{.gamma = 300}, c);
        REQUIRE(std::isfinite(hard.stats.loss));
        for (const double v : hard.d_real) REQUIRE(std::isfinite(v));
        for (const double v : hard.d_fake) REQUIRE(std::isfinite(v));
    }
    REQUIRE(rank(rank_gan{}, opposite).stats.accuracy == 1);
    // every row alike: chance on both sides, and nothing to move
    const score_result alike = rank(rank_gan{}, {{1, 2, 1, 2}, {2, 4, 3, 6, 1, 2}, 2});
    REQUIRE(gap(alike.stats.loss, std::log(4) - std::log(0.5)) < 1e-14);
    for (const double v : alike.d_fake) REQUIRE(std::abs(v) < 1e-14);
}

TEST_CASE("rank_gan: fewer than two demonstrations or no samples are no loss") {
    for (const features& c : {features{{}, {1, 2}, 2}, features{{1, 2}, {3, 4}, 2}, features{{1, 2, 3, 4}, {}, 2}}) {
        const score_result none = rank(rank_gan{}, c);
        REQUIRE(none.stats.loss == 0);
        REQUIRE(none.stats.accuracy == 0.5);
        REQUIRE(gap(none.d_real, std::vector<double>(c.real.size())) == 0);
        REQUIRE(gap(none.d_fake, std::vector<double>(c.fake.size())) == 0);
    }
}

TEST_CASE("rank_gan names what does not fit") {
    const std::string start = "rlgaf::rank_gan: ";
    const auto message = [](const features& c) { return message_of<rlgaf::shape_error>([&] { rank(rank_gan{}, c); }); };
    REQUIRE(message({{1, 2}, {1, 2}, 1}) == start + "width: expected at least 2 numbers a row, got 1");
    REQUIRE(message({{1, 2, 3}, {1, 2}, 2}) == start + "real: expected 2 elements, got 3");
    REQUIRE(message({{1, 2}, {1, 2, 3}, 2}) == start + "fake: expected 2 elements, got 3");
    const std::vector<double> four(4), two(2);
    std::vector<double> g4(4), g2(2);
    rlgaf::discriminator_terms<double> terms{four, two, {}};
    terms.width = 2;
    const auto gradients = [&](std::span<double> d_real, std::span<double> d_fake) {
        return message_of<rlgaf::shape_error>([&] { rank_gan{}(terms, d_real, d_fake, grown_workspace()); });
    };
    REQUIRE(gradients(g2, g2) == start + "d_real: expected 4 elements, got 2");
    REQUIRE(gradients(g4, g4) == start + "d_fake: expected 2 elements, got 4");
    for (const double x : {0.0, -1.0, 301.0, not_a_number}) REQUIRE(refuses(rank_gan{.gamma = x}, "rank_gan", "gamma"));
}
