#include "rlgaf/backend/input_penalty.hpp"
#include "rlgaf/backend/optimizer.hpp"
#include "rlgaf/backend/token_batch.hpp"
#include "rlgaf/discriminator/regularizer/approximate_r1.hpp"
#include "rlgaf/discriminator/regularizer/dragan.hpp"
#include "rlgaf/discriminator/regularizer/gradient_penalty.hpp"
#include "rlgaf/discriminator/regularizer/r1.hpp"
#include "rlgaf/discriminator/regularizer/r2.hpp"
#include "rlgaf/discriminator/regularizer/wgan_div.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

/// score = sum over units k of a_k tanh(sum over tokens of w_k . x_token), x a table of two numbers a token that does not
/// train: small enough to know the norm of its input gradient and its derivative by heart.
template <class T>
struct small_scorer {
    using scalar = T;
    static constexpr std::size_t units = 3;
    using perturbation = std::vector<std::vector<double>>;  // [rows][2 * length]; empty: none
    struct tape {
        std::vector<std::vector<double>> x;  // inputs by row
    };
    std::vector<T> w = std::vector<T>(2 * units), a = std::vector<T>(units);
    std::vector<T> d_w = std::vector<T>(2 * units), d_a = std::vector<T>(units);

    explicit small_scorer(std::uint64_t seed) {
        dice d(seed);
        for (T& v : w) v = static_cast<T>(d.normal());
        for (T& v : a) v = static_cast<T>(d.normal());
    }
    static double table(std::int32_t token, std::size_t k) { return std::sin(1.0 + 3.0 * token + 1.7 * double(k)); }
    static std::vector<std::vector<double>> inputs(const token_batch<T>& b, const perturbation& p) {
        std::vector<std::vector<double>> x(rows(b));
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::size_t t = 0; t < b.length[i]; ++t)
                for (std::size_t k = 0; k < 2; ++k)
                    x[i].push_back(table(b.row(i)[t], k) + (p.empty() ? 0 : p[i][2 * t + k]));
        return x;
    }
    double unit(const std::vector<double>& x, std::size_t k) const {
        double sum = 0;
        for (std::size_t j = 0; j < x.size(); ++j) sum += static_cast<double>(w[2 * k + j % 2]) * x[j];
        return std::tanh(sum);
    }
    void evaluate(const token_batch<T>& b, std::span<T> score) { forward(b, score); }
    tape forward(const token_batch<T>& b, std::span<T> score) { return forward(b, {}, score); }
    tape forward(const token_batch<T>& b, const perturbation& p, std::span<T> score) {
        tape t{inputs(b, p)};
        for (std::size_t i = 0; i < score.size(); ++i) {
            double sum = 0;
            for (std::size_t k = 0; k < units; ++k) sum += static_cast<double>(a[k]) * unit(t.x[i], k);
            score[i] = static_cast<T>(sum);
        }
        return t;
    }
    void backward(tape&& t, std::span<const T> d) {
        for (std::size_t i = 0; i < d.size(); ++i)
            for (std::size_t k = 0; k < units; ++k) {
                const double u = unit(t.x[i], k), c = static_cast<double>(d[i]);
                d_a[k] += static_cast<T>(c * u);
                for (std::size_t j = 0; j < t.x[i].size(); ++j)
                    d_w[2 * k + j % 2] += static_cast<T>(c * static_cast<double>(a[k]) * (1 - u * u) * t.x[i][j]);
            }
    }
    step_report step(const step_options&) { return {}; }
    void discard() {
        d_w.assign(d_w.size(), T{0});
        d_a.assign(d_a.size(), T{0});
    }
    perturbation noise(const token_batch<T>& b, double sigma, rng_key key) {
        perturbation p(rows(b));
        for (std::size_t i = 0; i < rows(b); ++i)
            for (std::uint32_t j = 0; j < 2 * b.length[i]; ++j)
                p[i].push_back(sigma * random_stream(key, stream::noise, i).normal(j));
        return p;
    }
    perturbation towards(const token_batch<T>& from, const token_batch<T>& to, std::span<const T> share) {
        perturbation p(rows(from));
        const auto x = inputs(from, {}), y = inputs(to, {});
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t j = 0; j < x[i].size(); ++j)
                p[i].push_back(j < y[i].size() ? static_cast<double>(share[i]) * (y[i][j] - x[i][j]) : 0);
        return p;
    }
    perturbation input_gradient(const token_batch<T>& b, const perturbation& at, std::span<const T> d) {
        perturbation g = inputs(b, at);
        for (std::size_t i = 0; i < g.size(); ++i) {
            const std::vector<double> x = g[i];
            for (std::size_t j = 0; j < x.size(); ++j) {
                g[i][j] = 0;
                for (std::size_t k = 0; k < units; ++k) {
                    const double u = unit(x, k);
                    g[i][j] += static_cast<double>(d[i]) * static_cast<double>(a[k]) * (1 - u * u) *
                               static_cast<double>(w[2 * k + j % 2]);
                }
            }
        }
        return g;
    }
    void row_norms(const perturbation& p, std::span<T> norm) {
        for (std::size_t i = 0; i < p.size(); ++i) {
            double squares = 0;
            for (const double v : p[i]) squares += v * v;
            norm[i] = static_cast<T>(std::sqrt(squares));
        }
    }
    void scale(perturbation& p, std::span<const T> factor) {
        for (std::size_t i = 0; i < p.size(); ++i)
            for (double& v : p[i]) v *= static_cast<double>(factor[i]);
    }
    void add(perturbation& p, const perturbation& q) {
        if (p.empty()) p.assign(q.size(), {});
        for (std::size_t i = 0; i < q.size(); ++i) {
            p[i].resize(q[i].size(), 0.0);
            for (std::size_t j = 0; j < q[i].size(); ++j) p[i][j] += q[i][j];
        }
    }
};
static_assert(perturbs_inputs<small_scorer<double>, token_batch<double>>);
static_assert(perturbs_inputs<small_scorer<float>, token_batch<float>>);

template <class T>
token_batch<T> some_rows(dice& d, std::size_t n) {
    token_batch<T> b;
    for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::int32_t> row(1 + d.below(3));
        for (auto& token : row) token = static_cast<std::int32_t>(d.below(5));
        b.add(row, row_end::terminated);
    }
    return b;
}

/// The largest relative error of the penalty's parameter gradient, against finite differences over the parameters of the
/// penalty's value, which comes from the exact input gradient.
template <class T, class Penalty>
double relative_error(const Penalty& penalty, std::uint64_t seed, std::size_t micro_rows = 0) {
    dice d(seed);
    const token_batch<T> real = some_rows<T>(d, 5), fake = some_rows<T>(d, 6);
    std::vector<std::uint32_t> pairs;
    for (std::uint32_t j = 0; j < 6; ++j) pairs.push_back(static_cast<std::uint32_t>(d.below(5)));
    small_scorer<T> scorer(seed);
    penalty_scratch<T> scratch;
    const rng_key key{seed, 3};
    accumulate_penalty(scorer, real, fake, {pairs}, penalty, 2.5, key, micro_rows, scratch);

    small_scorer<double> exact(seed);
    exact.w.assign(scorer.w.begin(), scorer.w.end());
    exact.a.assign(scorer.a.begin(), scorer.a.end());
    dice again(seed);
    const token_batch<double> real_rows = some_rows<double>(again, 5), fake_rows = some_rows<double>(again, 6);
    penalty_scratch<double> other;
    const auto value = [&] {
        small_scorer<double> copy = exact;
        return 2.5 * accumulate_penalty(copy, real_rows, fake_rows, {pairs}, penalty, 1, key, micro_rows, other).loss;
    };
    double error = 0, size = 0;
    const auto compare = [&](std::vector<double>& at, const std::vector<T>& got) {
        for (std::size_t i = 0; i < at.size(); ++i) {
            const double want = slope(value, at[i]);
            error = std::fmax(error, std::abs(want - static_cast<double>(got[i])));
            size = std::fmax(size, std::abs(want));
        }
    };
    compare(exact.w, scorer.d_w);
    compare(exact.a, scorer.d_a);
    REQUIRE(size > 0);
    return error / size;
}

template <class Penalty>
void check_gradients(const Penalty& penalty) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        CAPTURE(seed);
        REQUIRE(relative_error<double>(penalty, seed) < 1e-4);
        REQUIRE(relative_error<float>(penalty, seed) < 2e-2);
    }
    for (std::uint64_t seed = 1; seed <= 20; ++seed)
        for (const std::size_t micro : {1u, 2u, 4u}) REQUIRE(relative_error<double>(penalty, seed, micro) < 1e-4);
}

}  // namespace

TEST_CASE("accumulate_penalty: central differences of gradients are the penalty's own parameter gradient") {
    check_gradients(r1{.gamma = 3});
    check_gradients(r2{.gamma = 0.5});
    check_gradients(gradient_penalty{.lambda = 2});
    check_gradients(wgan_div{.k = 0.5, .power = 3});
    check_gradients(dragan{.lambda = 2, .sigma = 0.3});
    check_gradients(approximate_r1{.lambda = 10, .sigma = 0.1});
}

TEST_CASE("accumulate_penalty: the value, the mean norm and the place") {
    dice d(4);
    const token_batch<double> real = some_rows<double>(d, 7), fake = some_rows<double>(d, 3);
    small_scorer<double> scorer(2);
    const auto norms = [&](const token_batch<double>& b) {
        const std::vector<double> ones(rows(b), 1.0);
        std::vector<double> norm(rows(b));
        scorer.row_norms(scorer.input_gradient(b, {}, ones), norm);
        return norm;
    };
    const auto mean = [](const std::vector<double>& x, int power) {
        double sum = 0;
        for (const double v : x) sum += std::pow(v, power) / static_cast<double>(x.size());
        return sum;
    };
    penalty_scratch<double> scratch;
    const penalty_stats at_real = accumulate_penalty(scorer, real, fake, {}, r1{.gamma = 2}, 1, {}, 0, scratch);
    REQUIRE(gap(at_real.loss, mean(norms(real), 2)) < 1e-12);
    REQUIRE(gap(at_real.norm, mean(norms(real), 1)) < 1e-12);
    const penalty_stats at_fake = accumulate_penalty(scorer, real, fake, {}, r2{.gamma = 2}, 1, {}, 0, scratch);
    REQUIRE(gap(at_fake.loss, mean(norms(fake), 2)) < 1e-12);
    const penalty_stats parts = accumulate_penalty(scorer, real, fake, {}, r1{.gamma = 2}, 1, {}, 3, scratch);
    REQUIRE(gap(parts.loss, at_real.loss) < 1e-12);
    REQUIRE(accumulate_penalty(scorer, token_batch<double>{}, fake, {}, r1{}, 1, {}, 0, scratch).loss == 0);
}

TEST_CASE("accumulate_penalty: a flat score has no direction and gets no gradient") {
    dice d(6);
    const token_batch<double> real = some_rows<double>(d, 4);
    small_scorer<double> scorer(2);
    scorer.a.assign(3, 0.0);
    penalty_scratch<double> scratch;
    const std::vector<std::uint32_t> pairs = {0, 1, 2, 3};
    const penalty_stats stats =
        accumulate_penalty(scorer, real, real, {pairs}, gradient_penalty{.lambda = 10}, 1, {}, 0, scratch);
    REQUIRE(gap(stats.loss, 10) < 1e-12);
    REQUIRE(scorer.d_w == std::vector<double>(6, 0.0));
    REQUIRE(scorer.d_a == std::vector<double>(3, 0.0));
}
