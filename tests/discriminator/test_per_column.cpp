#include "rlgaf/discriminator/loss/bce.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/loss/ragan.hpp"
#include "rlgaf/discriminator/per_column.hpp"
#include "support/discriminator_checks.hpp"

using namespace rlgaf_test;
using rlgaf::per_column;

namespace {

/// A score_case whose rows have several numbers.
struct wide_case {
    score_case c;
    std::size_t width = 1;

    score_case column(std::size_t k) const {
        score_case one{{}, {}, c.pairs};
        for (std::size_t i = k; i < c.real.size(); i += width) one.real.push_back(c.real[i]);
        for (std::size_t j = k; j < c.fake.size(); j += width) one.fake.push_back(c.fake[j]);
        return one;
    }
};

wide_case random_wide(dice& d) {
    wide_case w;
    w.c = random_scores(d);
    w.width = 1 + d.below(4);
    for (auto* x : {&w.c.real, &w.c.fake}) {
        x->resize(x->size() * w.width);
        for (double& s : *x) s = 2 * d.normal();
    }
    return w;
}

template <class T = double, class Inner>
score_result run_wide(const per_column<Inner>& loss, typename per_column<Inner>::state& state, const wide_case& w,
                      double start = 0) {
    const std::vector<T> real(w.c.real.begin(), w.c.real.end()), fake(w.c.fake.begin(), w.c.fake.end());
    std::vector<T> d_real(real.size(), static_cast<T>(start)), d_fake(fake.size(), static_cast<T>(start));
    rlgaf::discriminator_terms<T> terms{real, fake, {w.c.pairs}};
    terms.width = w.width;
    const rlgaf::discriminator_loss_stats stats =
        loss(state, terms, std::span<T>(d_real), std::span<T>(d_fake), grown_workspace());
    return {stats, {d_real.begin(), d_real.end()}, {d_fake.begin(), d_fake.end()}};
}
template <class T = double, class Inner>
score_result run_wide(const per_column<Inner>& loss, const wide_case& w, double start = 0) {
    typename per_column<Inner>::state state;
    return run_wide<T>(loss, state, w, start);
}

template <class Inner>
void check_columns(const Inner& inner) {
    const per_column loss{inner};
    dice d(1907);
    for (int round = 0; round < 500; ++round) {
        wide_case w = random_wide(d);
        const score_result r = run_wide(loss, w);
        const double width = static_cast<double>(w.width);
        double mean = 0;
        for (std::size_t k = 0; k < w.width; ++k) {
            const score_result one = run(inner, w.column(k));
            mean += one.stats.loss / width;
            for (std::size_t i = 0; i < one.d_real.size(); ++i)
                REQUIRE(gap(r.d_real[i * w.width + k], one.d_real[i] / width) < 1e-14);
            for (std::size_t j = 0; j < one.d_fake.size(); ++j)
                REQUIRE(gap(r.d_fake[j * w.width + k], one.d_fake[j] / width) < 1e-14);
        }
        REQUIRE(gap(r.stats.loss, mean) < 1e-13);
        const auto value = [&] { return run_wide(loss, w).stats.loss; };
        for (std::size_t i = 0; i < w.c.real.size(); ++i) REQUIRE(gap(slope(value, w.c.real[i]), r.d_real[i]) < 1e-6);
        for (std::size_t j = 0; j < w.c.fake.size(); ++j) REQUIRE(gap(slope(value, w.c.fake[j]), r.d_fake[j]) < 1e-6);

        const score_result added = run_wide(loss, w, 5);
        for (std::size_t i = 0; i < w.c.real.size(); ++i) REQUIRE(gap(added.d_real[i] - 5, r.d_real[i]) < 1e-12);

        score_case means{std::vector<double>(w.c.real.size() / w.width), std::vector<double>(w.c.fake.size() / w.width),
                         w.c.pairs};
        for (std::size_t i = 0; i < w.c.real.size(); ++i) means.real[i / w.width] += w.c.real[i] / width;
        for (std::size_t j = 0; j < w.c.fake.size(); ++j) means.fake[j / w.width] += w.c.fake[j] / width;
        const rlgaf::discriminator_loss_stats of_means = run(inner, means).stats;
        REQUIRE(gap(r.stats.accuracy, of_means.accuracy) < 1e-12);
        REQUIRE(gap(r.stats.real_mean, of_means.real_mean) < 1e-12);
        REQUIRE(gap(r.stats.fake_mean, of_means.fake_mean) < 1e-12);

        for (auto* x : {&w.c.real, &w.c.fake})
            for (double& v : *x) v = static_cast<double>(static_cast<float>(v));
        const score_result exact = run_wide(loss, w), narrow = run_wide<float>(loss, w);
        REQUIRE(narrow.stats.loss == exact.stats.loss);
        for (std::size_t j = 0; j < w.c.fake.size(); ++j)
            REQUIRE(narrow.d_fake[j] == static_cast<double>(static_cast<float>(exact.d_fake[j])));
    }
}

/// Counts its calls and weighs its gradient with the count.
struct counting_loss {
    using role = rlgaf::role::discriminator_loss;
    void check() const {}
    struct state {
        double calls = 0;
        template <class Archive>
        void visit(Archive& a) {
            a("calls", calls);
        }
    };
    template <class T>
    rlgaf::discriminator_loss_stats operator()(state& s, const rlgaf::discriminator_terms<T>& terms,
                                               std::span<T> d_real, std::span<T>) const {
        s.calls += 1;
        d_real[0] += static_cast<T>(s.calls);
        return {.loss = static_cast<double>(terms.real[0]) * s.calls};
    }
};

struct writer {
    std::vector<double> numbers;
    template <class V>
    void operator()(const char*, V& v) {
        numbers.push_back(static_cast<double>(v));
    }
};
struct reader {
    const std::vector<double>& numbers;
    std::size_t next = 0;
    template <class V>
    void operator()(const char*, V& v) {
        v = static_cast<V>(numbers[next++]);
    }
};

}  // namespace

TEST_CASE("per_column is the mean of the inner loss over columns") {
    check_columns(rlgaf::bradley_terry{.centering = 0.01});
    check_columns(rlgaf::bce{.smooth_real = 0.1});
    check_columns(rlgaf::ragan{});  // takes a workspace
    check_columns(rlgaf::ragan{.per_prompt = true});
}

TEST_CASE("per_column on two columns: the sheet's scores, and their negatives") {
    wide_case w{{{2.0, -2.0, -0.5, 0.5, 0.3, -0.3}, {-1.0, 1.0, 0.7, -0.7, 0.1, -0.1}, {0, 1, 2}}, 2};
    const score_result r = run_wide(per_column{rlgaf::bradley_terry{.score_penalty = 0}}, w);
    // softplus(x) = softplus(-x) + x: the second column's loss is larger by the mean gap, 2 / 3
    REQUIRE(gap(r.stats.loss, 0.703336 + 1.0 / 3) < 1e-6);
    REQUIRE(gap(r.d_real[0], -0.015809 / 2) < 1e-6);
    REQUIRE(gap(r.d_real[1], -(1.0 / 3 - 0.015809) / 2) < 1e-6);
    REQUIRE(r.stats.accuracy == 0.5);  // the mean of every row is 0
}

TEST_CASE("per_column passes weights on") {
    const std::vector<double> real = {1, 2, 3, 4}, fake = {0, 0}, real_weight = {0.25, 2}, fake_weight = {-1};
    std::vector<double> d_real(4), d_fake(2);
    rlgaf::discriminator_terms<double> terms{real, fake, {}, real_weight, fake_weight, 2};
    per_column<rlgaf::bce>::state state;
    const auto stats =
        per_column{rlgaf::bce{}}(state, terms, std::span<double>(d_real), std::span<double>(d_fake), grown_workspace());
    double expected = -std::log(2);
    for (std::size_t i = 0; i < 4; ++i) expected += real_weight[i / 2] * rlgaf::softplus(-real[i]) / 2;
    REQUIRE(gap(stats.loss, expected) < 1e-14);
    REQUIRE(gap(d_real[3], -2 * rlgaf::sigmoid(-4.0) / 2) < 1e-15);
    REQUIRE(gap(d_fake, {-0.25, -0.25}) < 1e-15);
}

TEST_CASE("per_column: every column has a memory of its own, which a checkpoint brings back") {
    const per_column loss{counting_loss{}};
    per_column<counting_loss>::state state;
    const wide_case two{{{3, 5}, {}, {}}, 2};
    run_wide(loss, state, two);
    const score_result second = run_wide(loss, state, two);
    REQUIRE(second.stats.loss == 8);
    REQUIRE(gap(second.d_real, {1, 1}) == 0);
    REQUIRE(state.column.size() == 2);
    state.column[1].calls = 7;
    writer out;
    state.visit(out);
    REQUIRE(gap(out.numbers, {2, 2, 7}) == 0);
    per_column<counting_loss>::state restored;
    reader in{out.numbers};
    restored.visit(in);
    REQUIRE(run_wide(loss, restored, two).stats.loss == run_wide(loss, state, two).stats.loss);
}

TEST_CASE("per_column does not allocate once its state has grown") {
    const per_column loss{rlgaf::ragan{}};
    per_column<rlgaf::ragan>::state state;
    const std::vector<double> real(12, 1.0), fake(18, 0.5);
    std::vector<double> d_real(12), d_fake(18);
    rlgaf::discriminator_terms<double> terms{real, fake, {}};
    terms.width = 3;
    rlgaf::workspace& work = grown_workspace();
    const auto go = [&] { loss(state, terms, std::span<double>(d_real), std::span<double>(d_fake), work); };
    go();
    REQUIRE(allocations_of(go) == 0);
}

TEST_CASE("per_column names what does not fit, and leaves the rest to the inner loss") {
    const per_column loss{rlgaf::bradley_terry{}};
    const auto message = [&](const wide_case& w) { return message_of<rlgaf::shape_error>([&] { run_wide(loss, w); }); };
    const std::string start = "rlgaf::per_column: ";
    REQUIRE(message({{{1}, {0}, {0}}, 0}) == start + "width: expected at least 1, got 0");
    REQUIRE(message({{{1, 2, 3}, {0, 0}, {0}}, 2}) == start + "real: expected 2 elements, got 3");
    REQUIRE(message({{{1, 2}, {0, 0, 0}, {0}}, 2}) == start + "fake: expected 2 elements, got 3");
    REQUIRE(message({{{1, 2}, {0, 0}, {}}, 2}) ==
            "rlgaf::bradley_terry: matching.real_of_fake: expected 1 elements, got 0");
    REQUIRE(message({{{1, 2}, {0, 0}, {1}}, 2}) ==
            "rlgaf::bradley_terry: matching.real_of_fake[0]: expected below 1, got 1");
    const std::vector<double> four(4), two(2);
    std::vector<double> g4(4), g2(2);
    rlgaf::discriminator_terms<double> terms{four, two, {}};
    terms.width = 2;
    per_column<rlgaf::bradley_terry>::state state;
    const auto gradients = [&](std::span<double> d_real, std::span<double> d_fake) {
        return message_of<rlgaf::shape_error>([&] { loss(state, terms, d_real, d_fake, grown_workspace()); });
    };
    REQUIRE(gradients(g2, g2) == start + "d_real: expected 4 elements, got 2");
    REQUIRE(gradients(g4, g4) == start + "d_fake: expected 2 elements, got 4");
    REQUIRE(refuses(per_column{rlgaf::bradley_terry{.centering = -1}}, "bradley_terry", "centering"));
    // no rows at all
    REQUIRE(run_wide(per_column{rlgaf::bce{}}, {{{}, {}, {}}, 3}).stats.loss == 0);
}
