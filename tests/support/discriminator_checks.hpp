#pragma once
/// What every discriminator loss owes: see check_discriminator_loss.
#include <string>
#include <vector>

#include "rlgaf/discriminator/terms.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

namespace rlgaf_test {

struct score_case {
    std::vector<double> real, fake;
    std::vector<std::uint32_t> pairs;  ///< the demonstration of each sample
};
struct score_result {
    rlgaf::discriminator_loss_stats stats;
    std::vector<double> d_real, d_fake;
};

/// float is computed in float: a gap of 60 between scores is rounded by 32 of its epsilons before it is exponentiated, and
/// a ratio is raised to the 100th power where f_gan's alpha is 0.99.
inline void check_float(const score_result& narrow, const score_result& wide) {
    constexpr double tolerance = 256 * std::numeric_limits<float>::epsilon();
    double largest = 1;
    for (const auto* x : {&wide.d_real, &wide.d_fake})
        for (const double d : *x) largest = std::max(largest, std::abs(d));
    REQUIRE(gap(narrow.stats.loss, wide.stats.loss) <= tolerance * (1 + std::abs(wide.stats.loss)));
    REQUIRE(gap(narrow.d_real, wide.d_real) <= tolerance * largest);
    REQUIRE(gap(narrow.d_fake, wide.d_fake) <= tolerance * largest);
}

/// Calls the loss, with scratch memory if it takes any.
template <class Loss, class T>
rlgaf::discriminator_loss_stats call_loss(const Loss& loss, const rlgaf::discriminator_terms<T>& terms,
                                          std::span<T> d_real, std::span<T> d_fake, rlgaf::workspace& work) {
    if constexpr (std::is_invocable_v<const Loss&, const rlgaf::discriminator_terms<T>&, std::span<T>, std::span<T>,
                                      rlgaf::workspace&>)
        return loss(terms, d_real, d_fake, work);
    else
        return loss(terms, d_real, d_fake);
}

/// A workspace that has grown already to more than any of these cases needs.
inline rlgaf::workspace& grown_workspace() {
    static rlgaf::workspace work = [] {
        rlgaf::workspace w;
        for (auto* v : {&w.a, &w.b, &w.c, &w.d, &w.e}) v->reserve(4096);
        w.index.reserve(4096);
        return w;
    }();
    return work;
}

/// Calls the loss with gradients that start at `start`.
template <class T = double, class Loss>
score_result run(const Loss& loss, const score_case& c, double start = 0) {
    const std::vector<T> real(c.real.begin(), c.real.end()), fake(c.fake.begin(), c.fake.end());
    std::vector<T> d_real(real.size(), static_cast<T>(start)), d_fake(fake.size(), static_cast<T>(start));
    const rlgaf::discriminator_terms<T> terms{real, fake, {c.pairs}};
    rlgaf::workspace& work = grown_workspace();
    rlgaf::discriminator_loss_stats stats;
    const std::size_t allocated =
        allocations_of([&] { stats = call_loss(loss, terms, std::span<T>(d_real), std::span<T>(d_fake), work); });
    REQUIRE(allocated == 0);
    return {stats, {d_real.begin(), d_real.end()}, {d_fake.begin(), d_fake.end()}};
}

/// The score triples of the discriminator sheet's test vectors, i with i.
inline score_case sheet_scores() { return {{2.0, -0.5, 0.3}, {-1.0, 0.7, 0.1}, {0, 1, 2}}; }

/// Against a row of the sheet's table: L, dL/ds_r, dL/ds_f.
template <class Loss>
void check_scores(const Loss& loss, double value, const std::vector<double>& d_real,
                  const std::vector<double>& d_fake) {
    const score_result r = run(loss, sheet_scores());
    REQUIRE(gap(r.stats.loss, value) < 1e-6);
    REQUIRE(gap(r.d_real, d_real) < 1e-6);
    REQUIRE(gap(r.d_fake, d_fake) < 1e-6);
}

/// Demonstrations and samples in any number; several samples may share a demonstration.
inline score_case random_scores(dice& d) {
    score_case c;
    c.real.resize(1 + d.below(5));
    c.fake.resize(d.below(8));
    const double scale = d.chance(0.2) ? 20 : 2;
    for (double& s : c.real) s = scale * d.normal();
    for (double& s : c.fake) {
        s = scale * d.normal();
        c.pairs.push_back(static_cast<std::uint32_t>(d.below(c.real.size())));
    }
    return c;
}

template <class Loss>
void check_score_slopes(const Loss& loss, score_case c) {
    const score_result r = run(loss, c);
    const auto value = [&] { return run(loss, c).stats.loss; };
    for (std::size_t i = 0; i < c.real.size(); ++i) REQUIRE(gap(slope(value, c.real[i]), r.d_real[i]) < 1e-6);
    for (std::size_t j = 0; j < c.fake.size(); ++j) REQUIRE(gap(slope(value, c.fake[j]), r.d_fake[j]) < 1e-6);
}

/// Accumulation, order of rows, float, statistics.
template <class Loss>
void check_score_storage(const Loss& loss, const score_case& c, dice& d) {
    const score_result plain = run(loss, c);
    score_result added = run(loss, c, 5);
    for (auto* x : {&added.d_real, &added.d_fake})
        for (double& v : *x) v -= 5;
    REQUIRE(gap(added.d_real, plain.d_real) < 1e-12);
    REQUIRE(gap(added.d_fake, plain.d_fake) < 1e-12);
    REQUIRE(added.stats.loss == plain.stats.loss);

    const std::vector<std::size_t> reals = d.permutation(c.real.size()), fakes = d.permutation(c.fake.size());
    score_case shuffled{c.real, c.fake, c.pairs};
    std::vector<std::uint32_t> place(c.real.size());
    for (std::size_t i = 0; i < reals.size(); ++i) {
        shuffled.real[i] = c.real[reals[i]];
        place[reals[i]] = static_cast<std::uint32_t>(i);
    }
    for (std::size_t j = 0; j < fakes.size(); ++j) {
        shuffled.fake[j] = c.fake[fakes[j]];
        shuffled.pairs[j] = place[c.pairs[fakes[j]]];
    }
    const score_result other = run(loss, shuffled);
    REQUIRE(gap(other.stats.loss, plain.stats.loss) < 1e-12 * (1 + std::abs(plain.stats.loss)));
    for (std::size_t i = 0; i < reals.size(); ++i) REQUIRE(gap(other.d_real[i], plain.d_real[reals[i]]) < 1e-11);
    for (std::size_t j = 0; j < fakes.size(); ++j) REQUIRE(gap(other.d_fake[j], plain.d_fake[fakes[j]]) < 1e-11);

    score_case rounded = c;
    for (auto* x : {&rounded.real, &rounded.fake})
        for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
    const score_result wide = run(loss, rounded), narrow = run<float>(loss, rounded);
    check_float(narrow, wide);

    double real = 0, fake = 0, above = 0;
    for (const double s : c.real) real += s / static_cast<double>(c.real.size());
    for (std::size_t j = 0; j < c.fake.size(); ++j) {
        const double n = static_cast<double>(c.fake.size()), gap_of_scores = c.real[c.pairs[j]] - c.fake[j];
        fake += c.fake[j] / n;
        above += (gap_of_scores > 0 ? 1 : gap_of_scores < 0 ? 0 : 0.5) / n;
    }
    REQUIRE(gap(plain.stats.real_mean, real) < 1e-12);
    REQUIRE(gap(plain.stats.fake_mean, fake) < 1e-12);
    REQUIRE(gap(plain.stats.accuracy, c.fake.empty() ? 0.5 : above) < 1e-12);
}

template <class Loss>
void check_score_shapes(const Loss& loss, const std::string& name) {
    const std::vector<double> three(3), two(2);
    const std::vector<std::uint32_t> good = {0, 2}, outside = {0, 3}, few = {1};
    std::vector<double> g3(3), g2(2);
    const auto message = [&](const std::vector<std::uint32_t>& pairs, std::span<double> d_real,
                             std::span<double> d_fake) {
        return message_of<rlgaf::shape_error>([&] {
            call_loss(loss, rlgaf::discriminator_terms<double>{three, two, {pairs}}, d_real, d_fake, grown_workspace());
        });
    };
    const std::string start = "rlgaf::" + name + ": ";
    REQUIRE(message(good, g3, g2) == "nothing thrown");
    REQUIRE(message(good, g2, g2) == start + "d_real: expected 3 elements, got 2");
    REQUIRE(message(good, g3, g3) == start + "d_fake: expected 2 elements, got 3");
    REQUIRE(message(few, g3, g2) == start + "matching.real_of_fake: expected 2 elements, got 1");
    REQUIRE(message(outside, g3, g2) == start + "matching.real_of_fake[1]: expected below 3, got 3");
}

/// All of the above on random cases; make(dice) gives a loss with random options.
template <class Make>
void check_discriminator_loss(const std::string& name, Make&& make, int cases = 2000) {
    dice d(1406 + name.size());
    for (int i = 0; i < cases; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        const score_case c = random_scores(d);
        check_score_slopes(loss, c);
        check_score_storage(loss, c, d);
    }
    const auto loss = make(d);
    check_score_shapes(loss, name);
    for (const score_case& c : {score_case{{not_a_number}, {0.5}, {0}}, score_case{{0.5}, {not_a_number}, {0}},
                                score_case{{1, not_a_number}, {0, 0.5}, {0, 1}}})
        REQUIRE(std::isnan(run(loss, c).stats.loss));
}

}  // namespace rlgaf_test
