#include <vector>

#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/discriminator/regularizer/spectral_norm.hpp"
#include "rlgaf/discriminator/regularizer/weight_clip.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

/// Two matrices and a vector; the loss of a model is any function of them.
template <class T>
struct weights {
    std::vector<T> table = std::vector<T>(6), matrix = std::vector<T>(12), bias = std::vector<T>(3);
    std::vector<T> d_table = std::vector<T>(6), d_matrix = std::vector<T>(12), d_bias = std::vector<T>(3);

    explicit weights(std::uint64_t seed) {
        dice d(seed);
        for (auto* x : {&table, &matrix, &bias})
            for (T& v : *x) v = static_cast<T>(d.normal());
    }
    std::vector<parameter_block<T>> blocks() {
        return {
            {"embedding", {3, 2}, table, d_table}, {"matrix", {4, 3}, matrix, d_matrix}, {"bias", {3}, bias, d_bias}};
    }
};

/// Largest singular value of [rows, columns], by many rounds of the power method on W^T W.
double largest_singular_value(const std::vector<double>& w, std::size_t columns) {
    std::vector<double> v(columns, 1);
    double size = 0;
    for (int round = 0; round < 2000; ++round) {
        std::vector<double> u(w.size() / columns), next(columns);
        for (std::size_t i = 0; i < w.size(); ++i) u[i / columns] += w[i] * v[i % columns];
        for (std::size_t i = 0; i < w.size(); ++i) next[i % columns] += w[i] * u[i / columns];
        size = 0;
        for (const double x : next) size += x * x;
        size = std::sqrt(size);
        for (std::size_t k = 0; k < columns; ++k) v[k] = next[k] / size;
    }
    return std::sqrt(size);
}

}  // namespace

TEST_CASE("weight_clip holds every parameter within its limit") {
    weights<float> w(3);
    weight_clip{.limit = 0.5}.after_step(w.blocks());
    for (const auto* x : {&w.table, &w.matrix, &w.bias})
        for (const float v : *x) REQUIRE(std::abs(v) <= 0.5f);
    weights<float> kept(3);
    weight_clip{.limit = 1e9}.after_step(kept.blocks());
    REQUIRE(kept.matrix == weights<float>(3).matrix);
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(weight_clip{.limit = x}, "weight_clip", "limit"));
}

TEST_CASE("spectral_norm gives matrices the norm that was asked for, and leaves vectors and embeddings alone") {
    weights<double> w(5);
    const weights<double> before = w;
    spectral_norm::state s;
    const spectral_norm constraint{.norm = 2, .first_rounds = 500};
    constraint.before_forward(s, w.blocks());
    REQUIRE(gap(largest_singular_value(w.matrix, 3), 2) < 1e-9);
    REQUIRE(w.table == before.table);
    REQUIRE(w.bias == before.bias);
    const double sigma = largest_singular_value(before.matrix, 3);
    for (std::size_t i = 0; i < w.matrix.size(); ++i) REQUIRE(gap(w.matrix[i], 2 * before.matrix[i] / sigma) < 1e-9);

    weights<double> all(5);
    spectral_norm::state everything;
    spectral_norm{.embeddings = true, .first_rounds = 500}.before_forward(everything, all.blocks());
    REQUIRE(gap(largest_singular_value(all.table, 2), 1) < 1e-9);
}

TEST_CASE("spectral_norm: a convolution is a matrix of its outputs, a last layer one of one column; names of tables") {
    dice d(8);
    std::vector<double> filters(24), head(5), table(6), nested(6), gradient(24);
    for (auto* x : {&filters, &head, &table, &nested})
        for (double& v : *x) v = 3 * d.normal();
    const std::vector<double> plain = table;
    const auto g = [&](std::size_t n) { return std::span(gradient).first(n); };
    const std::vector<parameter_block<double>> blocks = {{"filters", {2, 4, 3}, filters, g(24)},
                                                         {"head", {5, 1}, head, g(5)},
                                                         {"body.embedding.weight", {3, 2}, table, g(6)},
                                                         {"body.embeddings_of_mine", {3, 2}, nested, g(6)}};
    const spectral_norm constraint{.norm = 2, .first_rounds = 2000};
    spectral_norm::state s;
    constraint.before_forward(s, blocks);
    REQUIRE(gap(largest_singular_value(filters, 12), 2) < 1e-9);
    REQUIRE(gap(largest_singular_value(head, 1), 2) < 1e-9);
    REQUIRE(table == plain);
    REQUIRE(gap(largest_singular_value(nested, 2), 2) < 1e-9);
}

TEST_CASE("spectral_norm: the optimiser moves W along the gradient of the loss of W'") {
    // loss(W') = sum c * W'^2 with W' = W / sigma(W): by finite differences over W, with sigma exact
    weights<double> w(7);
    const std::vector<double> raw = w.matrix;
    dice d(8);
    std::vector<double> c(12);
    for (double& x : c) x = d.normal();
    spectral_norm::state s;
    const spectral_norm constraint{.norm = 1.5, .first_rounds = 2000};
    constraint.before_forward(s, w.blocks());
    for (std::size_t i = 0; i < 12; ++i) w.d_matrix[i] = 2 * c[i] * w.matrix[i];
    constraint.before_step(s, w.blocks());
    REQUIRE(w.matrix == raw);  // the optimiser sees W
    std::vector<double> moving = raw;
    const auto loss = [&] {
        const double sigma = largest_singular_value(moving, 3);
        double sum = 0;
        for (std::size_t i = 0; i < 12; ++i) sum += c[i] * std::pow(1.5 * moving[i] / sigma, 2);
        return sum;
    };
    for (std::size_t i = 0; i < 12; ++i) REQUIRE(gap(slope(loss, moving[i]), w.d_matrix[i]) < 1e-6);

    for (std::size_t i = 0; i < 12; ++i) w.matrix[i] -= 0.01 * w.d_matrix[i];
    constraint.after_step(s, w.blocks());
    const std::vector<double> stepped = s.of_block[1].raw;
    for (std::size_t i = 0; i < 12; ++i) REQUIRE(stepped[i] == raw[i] - 0.01 * w.d_matrix[i]);
    for (int round = 0; round < 200; ++round) constraint.before_forward(s, w.blocks());  // power iteration goes on
    REQUIRE(gap(largest_singular_value(w.matrix, 3), 1.5) < 1e-6);
    REQUIRE(s.of_block[1].raw == stepped);
}

TEST_CASE("spectral_norm takes up what somebody else put there, and leaves zeros") {
    weights<float> w(9);
    spectral_norm::state s;
    const spectral_norm constraint{};
    constraint.before_forward(s, w.blocks());
    for (float& x : w.matrix) x = 3;  // a loaded model: rank one, norm 3 sqrt(12)
    for (int i = 0; i < 50; ++i) constraint.before_forward(s, w.blocks());
    for (const float x : w.matrix) REQUIRE(gap(static_cast<double>(x), 1 / std::sqrt(12.0)) < 1e-5);
    for (float& x : w.matrix) x = 0;
    constraint.before_forward(s, w.blocks());
    constraint.before_step(s, w.blocks());
    constraint.after_step(s, w.blocks());
    for (const float x : w.matrix) REQUIRE(x == 0);
    for (const double x : {0.0, -1.0, std::numeric_limits<double>::infinity(), not_a_number})
        REQUIRE(refuses(spectral_norm{.norm = x}, "spectral_norm", "norm"));
}
