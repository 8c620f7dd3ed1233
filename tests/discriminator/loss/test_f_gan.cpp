#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/f_gan.hpp"
#include "support/pointwise_checks.hpp"

using namespace rlgaf_test;
using rlgaf::divergence;
using rlgaf::f_divergence;
using rlgaf::f_gan;

namespace {
constexpr divergence all[] = {divergence::kl,
                              divergence::reverse_kl,
                              divergence::pearson,
                              divergence::squared_hellinger,
                              divergence::jensen_shannon,
                              divergence::gan,
                              divergence::total_variation,
                              divergence::alpha};

/// D_f(p || q) from its definition, divergence by divergence.
double defined(const f_gan& loss, const two_distributions& both) {
    double sum = 0;
    for (std::size_t k = 0; k < both.p.size(); ++k) {
        const double p = both.p[k], q = both.q[k], a = loss.alpha, m = (p + q) / 2;
        switch (loss.kind) {
            case divergence::kl:
                sum += p * std::log(p / q);
                break;
            case divergence::reverse_kl:
                sum += q * std::log(q / p);
                break;
            case divergence::pearson:
                sum += (p - q) * (p - q) / q;
                break;
            case divergence::squared_hellinger:
                sum += std::pow(std::sqrt(p) - std::sqrt(q), 2);
                break;
            case divergence::jensen_shannon:
                sum += p * std::log(p / m) + q * std::log(q / m);
                break;
            case divergence::gan:
                sum += p * std::log(p / (p + q)) + q * std::log(q / (p + q));
                break;
            case divergence::total_variation:
                sum += std::abs(p - q) / 2;
                break;
            case divergence::alpha:
                sum += q * (std::pow(p / q, a) - 1 - a * (p / q - 1)) / (a * (a - 1));
                break;
        }
    }
    return sum;
}
}  // namespace

TEST_CASE("f_gan keeps the promises of a pointwise loss") {
    for (const divergence kind : all) {
        CAPTURE(static_cast<int>(kind));
        check_pointwise_loss(
            "f_gan",
            [kind](dice& d) {
                return f_gan{.kind = kind, .alpha = d.chance(0.5) ? d.uniform(0.1, 0.9) : d.uniform(1.1, 4)};
            },
            1, infinity, kind == divergence::alpha ? 0 : 1000);
    }
    dice d(1);
    for (int i = 0; i < 2000; ++i) {  // alpha above 1 has kinks where its ratio reaches 0 and its limit
        const double a = d.chance(0.5) ? d.uniform(0.1, 0.9) : d.uniform(1.1, 4);
        const f_gan loss{.kind = divergence::alpha, .alpha = a};
        if (a < 1) check_pointwise_slopes(loss, d, 1, infinity);
        if (a > 1) check_pointwise_slopes(loss, d, 0.2 / (a - 1) < 1 ? 0.2 / (a - 1) : 1, infinity);
        check_pointwise_sums(loss, random_weighted_scores(d, 1));
    }
}

TEST_CASE("f_gan on three scores a side: the sheet's golden vectors") {
    const std::vector<double> down(3, -0.333333), up(3, 0.333333);
    const std::vector<double> exponential = {-0.045112, -0.549574, -0.246939};
    const std::vector<double> logistic = {-0.039734, -0.207486, -0.141852};
    check_scores(f_gan{divergence::kl}, -0.172426, down, {0.045112, 0.246939, 0.135523});
    check_scores(f_gan{divergence::reverse_kl}, -0.225042, exponential, up);
    check_scores(f_gan{divergence::pearson}, -0.541667, down, {0.166667, 0.450000, 0.350000});
    check_scores(f_gan{divergence::squared_hellinger}, 0.003893, exponential, {0.122626, 0.671251, 0.368390});
    check_scores(f_gan{divergence::jensen_shannon}, -0.114226, logistic, {0.089647, 0.222729, 0.174993});
    check_scores(f_gan{divergence::gan}, 1.272068, logistic, {0.089647, 0.222729, 0.174993});
    check_scores(f_gan{divergence::total_variation}, -0.141797, {-0.011775, -0.131075, -0.152523},
                 {0.069996, 0.105790, 0.165011});
    check_scores(f_gan{divergence::alpha, 0.5}, 2.943182, logistic, {0.565182, 2.721574, 1.525263});
    check_scores(f_gan{divergence::alpha, 1.5}, -0.434889, down, {0.083333, 0.607500, 0.367500});
}

TEST_CASE("The gan divergence of f_gan is bce, jensen_shannon differs by a constant") {
    dice d(3);
    for (int i = 0; i < 200; ++i) {
        const score_case c = random_scores(d);
        const score_result b = run(rlgaf::bce{}, c), g = run(f_gan{divergence::gan}, c);
        const score_result j = run(f_gan{divergence::jensen_shannon}, c);
        REQUIRE(gap(g.stats.loss, b.stats.loss) < 1e-13);
        REQUIRE(gap(j.stats.loss, b.stats.loss - (c.fake.empty() ? 1 : 2) * std::log(2)) < 1e-13);
        for (const score_result& r : {g, j}) {
            REQUIRE(gap(r.d_real, b.d_real) < 1e-15);
            REQUIRE(gap(r.d_fake, b.d_fake) < 1e-15);
        }
    }
}

TEST_CASE("f_gan at its optimum: no gradient, and minus the loss is the divergence") {
    dice d(4);
    for (int i = 0; i < 200; ++i) {
        const two_distributions both = random_distributions(d, 2 + d.below(4));
        for (const divergence kind : all)
            for (const double a : {0.3, 0.5, 1.5, 2.0, 3.0}) {
                CAPTURE(static_cast<int>(kind), a);
                const f_gan loss{kind, a};
                if (kind == divergence::total_variation) {
                    std::vector<double> s;
                    for (std::size_t k = 0; k < both.p.size(); ++k)
                        s.push_back(f_divergence{kind}.score(both.p[k] / both.q[k]));
                    for (const double v : s) REQUIRE(std::abs(v) == infinity);
                    REQUIRE(gap(-both.expected(loss, s).stats.loss, defined(loss, both)) < 1e-14);
                    continue;
                }
                const auto optimum = [&](double u) { return f_divergence{kind, a}.score(u); };
                // below this ratio alpha > 1 is flat to rounding
                both.check_optimum(loss, optimum, 1e-10);
                std::vector<double> s;
                for (std::size_t k = 0; k < both.p.size(); ++k) s.push_back(optimum(both.p[k] / both.q[k]));
                REQUIRE(gap(-both.expected(loss, s).stats.loss, defined(loss, both)) < 1e-12);
            }
    }
    for (const divergence kind : all)
        REQUIRE(gap(f_gan{kind}.neutral_score(), kind == divergence::kl      ? 1
                                                 : kind == divergence::alpha ? -std::log(std::expm1(2))
                                                                             : 0) < 1e-15);
}

TEST_CASE("f_gan with saturated scores: finite; exponentials are straight lines above 20, flat below -20") {
    for (const divergence kind : all)
        for (const double a : {0.01, 0.5, 0.99, 1.01, 1.5, 10.0})
            for (const double s : {1e4, -1e4}) {
                const score_result r = run(f_gan{kind, a}, {{s}, {s}, {0}});
                REQUIRE(std::abs(r.stats.loss) < infinity);
                REQUIRE(std::abs(r.d_real[0]) < infinity);
                REQUIRE(std::abs(r.d_fake[0]) < infinity);
            }
    const double e20 = std::exp(20.0), e19 = std::exp(19.0);
    const score_result kl = run(f_gan{divergence::kl}, {{1e4}, {20}, {0}});
    REQUIRE(gap(kl.stats.loss, e19 - 1e4) < 1e-6);
    REQUIRE(kl.d_real[0] == -1);
    REQUIRE(gap(kl.d_fake[0] / e19, 1) < 1e-14);  // the limit is inside
    const score_result beyond = run(f_gan{divergence::kl}, {{25}, {25}, {0}});
    REQUIRE(gap((beyond.stats.loss + 25) / (6 * e19), 1) < 1e-14);
    REQUIRE(beyond.d_real[0] + beyond.d_fake[0] > 0);  // both scores come down
    REQUIRE(beyond.d_fake[0] == kl.d_fake[0]);
    REQUIRE(run(f_gan{divergence::kl}, {{}, {-21}, {}}).d_fake[0] == 0);
    for (const divergence kind : {divergence::reverse_kl, divergence::squared_hellinger}) {
        const score_result at = run(f_gan{kind}, {{-20}, {}, {}}), over = run(f_gan{kind}, {{-1e4}, {}, {}});
        REQUIRE(gap(at.d_real[0] / -e20, 1) < 1e-14);
        REQUIRE(over.d_real[0] == at.d_real[0]);
        REQUIRE(gap(over.stats.loss / (at.stats.loss + (1e4 - 20) * e20), 1) < 1e-14);
    }
    REQUIRE(run(f_gan{divergence::squared_hellinger}, {{}, {20}, {}}).d_fake[0] > 4e8);
    REQUIRE(run(f_gan{divergence::squared_hellinger}, {{}, {20.001}, {}}).d_fake[0] > 4e8);
    // alpha: sigmoid'd scores whose ratio is beyond exp(20)
    const score_result a = run(f_gan{divergence::alpha, 0.5}, {{}, {15}, {}});
    REQUIRE(gap(a.stats.loss, 2 * (std::exp(10.0) - 1)) < 1e-9);
    REQUIRE(a.d_fake[0] == 0);
    // alpha above 1: no ratio below 0; f* is -1 / alpha there
    const score_result none = run(f_gan{divergence::alpha, 1.5}, {{}, {-2, -50}, {}});
    REQUIRE(gap(none.stats.loss, -1 / 1.5) < 1e-12);
    REQUIRE(none.d_fake == std::vector<double>{0, 0});
}

TEST_CASE("f_gan refuses options out of range by name") {
    for (const double x : {0.0, 0.009, -1.0, 1.0, 0.995, 1.005, 10.1, not_a_number}) {
        REQUIRE(refuses(f_gan{.kind = divergence::alpha, .alpha = x}, "f_gan", "alpha"));
        REQUIRE_THROWS_AS(run(f_gan{divergence::alpha, x}, sheet_scores()), rlgaf::option_error);
        f_gan{.kind = divergence::kl, .alpha = x}.check();
    }
}
