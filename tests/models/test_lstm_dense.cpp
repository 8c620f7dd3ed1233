#include <cmath>
#include <utility>
#include <vector>

#include "rlgaf/core/scalar.hpp"
#include "rlgaf/models/lstm_dense.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using namespace rlgaf::detail::lstm;
using rlgaf_test::dice;
using rlgaf_test::gap;
using rlgaf_test::slope;

namespace {

constexpr sizes size{2, 3, 5};

struct net {
    parameter_memory<double> memory;
    packed_body<double> forward, backward;
    net() {
        add_body(memory, size, 4);
        pack();
    }
    void pack() {
        forward.assign(memory, size, false);
        backward.assign(memory, size, true);
    }
    double value(std::size_t block, std::size_t row, std::size_t gate, std::size_t unit) const {
        return memory.values(block)[row * 4 * size.hidden + gate * size.hidden + unit];
    }
};

using row_numbers = std::vector<std::vector<std::vector<double>>>;  ///< [row][t][element]

row_numbers random_inputs(dice& d, const std::vector<std::uint32_t>& length, std::size_t width) {
    row_numbers x(length.size());
    for (std::size_t i = 0; i < length.size(); ++i)
        for (std::uint32_t t = 0; t < length[i]; ++t) {
            x[i].emplace_back(width);
            for (double& v : x[i].back()) v = d.uniform(-1, 1);
        }
    return x;
}

/// The states by the formula.
row_numbers states(const net& n, const row_numbers& x) {
    row_numbers out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        std::vector<double> h(size.hidden), c(size.hidden);
        for (const auto& input : x[i]) {
            const auto before = h;
            for (std::size_t u = 0; u < size.hidden; ++u) {
                double z[4];
                for (std::size_t q = 0; q < 4; ++q) {
                    z[q] = n.value(bias_block, 0, q, u);
                    for (std::size_t e = 0; e < size.embedding; ++e) z[q] += input[e] * n.value(input_block, e, q, u);
                    for (std::size_t k = 0; k < size.hidden; ++k) z[q] += before[k] * n.value(recurrent_block, k, q, u);
                }
                c[u] = sigmoid(z[1]) * c[u] + sigmoid(z[0]) * std::tanh(z[2]);
                h[u] = sigmoid(z[3]) * std::tanh(c[u]);
            }
            out[i].push_back(h);
        }
    }
    return out;
}

double dot(const row_numbers& a, const row_numbers& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        for (std::size_t t = 0; t < a[i].size(); ++t)
            for (std::size_t j = 0; j < a[i][t].size(); ++j) sum += a[i][t][j] * b[i][t][j];
    return sum;
}

std::vector<double> body_gradients(net& n) {
    std::vector<double> g;
    for (const std::size_t block : {input_block, recurrent_block, bias_block})
        g.insert(g.end(), n.memory.blocks()[block].gradients.begin(), n.memory.blocks()[block].gradients.end());
    return g;
}
template <class F>
std::vector<double> body_slopes(net& n, F&& f) {
    std::vector<double> g;
    for (const std::size_t block : {input_block, recurrent_block, bias_block})
        for (double& x : n.memory.blocks()[block].values) g.push_back(slope(f, x));
    return g;
}

const std::vector<std::uint32_t> lengths_of_rows = {3, 0, 1, 5, 3, 0, 2, 5};

}  // namespace

TEST_CASE("dense_lstm: states and gradients are those of the formula", "[lstm]") {
    dice d(1);
    net n;
    const auto& length = lengths_of_rows;
    auto x = random_inputs(d, length, size.embedding);
    const auto c = random_inputs(d, length, size.hidden);
    dense_lstm<double> lstm;
    for (int round = 0; round < 2; ++round) {  // memory may be used again
        lstm.assign(length, size);
        CHECK(lstm.steps() == 5);
        CHECK(lstm.alive(0) == 6);
        CHECK(lstm.alive(4) == 2);
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t t = 0; t < x[i].size(); ++t) std::copy(x[i][t].begin(), x[i][t].end(), lstm.input(i, t));
        lstm.forward(n.forward);
        const auto expected = states(n, x);
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t t = 0; t < x[i].size(); ++t)
                for (std::size_t u = 0; u < size.hidden; ++u)
                    REQUIRE(lstm.state(i, t)[u] == Approx(expected[i][t][u]).epsilon(1e-12).margin(1e-14));

        for (const bool parameters : {false, true}) {
            lstm.begin_backward(parameters);
            for (std::size_t i = 0; i < x.size(); ++i)
                for (std::size_t t = 0; t < x[i].size(); ++t)
                    for (std::size_t u = 0; u < size.hidden; ++u) lstm.d_state(i, t)[u] += c[i][t][u];
            lstm.backward(n.backward);
            for (std::size_t i = 0; i < x.size(); ++i)
                for (std::size_t t = 0; t < x[i].size(); ++t)
                    for (std::size_t e = 0; e < size.embedding; ++e)
                        REQUIRE(lstm.d_input(i, t)[e] ==
                                Approx(slope([&] { return dot(c, states(n, x)); }, x[i][t][e])).margin(1e-9));
        }
        n.memory.clear_gradients();
        lstm.add_gradients(n.memory);
        CHECK(gap(body_gradients(n), body_slopes(n, [&] { return dot(c, states(n, x)); })) <= 1e-8);
    }
}

TEST_CASE("dense_lstm: inputs that depend on the states before them", "[lstm]") {
    // Input e at t is the given number plus the sum of the state before.
    dice d(2);
    net n;
    const auto& length = lengths_of_rows;
    auto x = random_inputs(d, length, size.embedding);
    const auto c = random_inputs(d, length, size.hidden);
    const auto run = [&](dense_lstm<double>& lstm) {
        n.pack();
        lstm.assign(length, size);
        double total = 0;
        for (std::size_t t = 0; t < lstm.steps(); ++t) {
            for (std::size_t i = 0; i < x.size(); ++i) {
                if (t >= length[i]) continue;
                double sum = 0;
                for (std::size_t u = 0; t > 0 && u < size.hidden; ++u) sum += lstm.state(i, t - 1)[u];
                for (std::size_t e = 0; e < size.embedding; ++e) lstm.input(i, t)[e] = x[i][t][e] + sum;
            }
            lstm.forward_step(n.forward, t);
        }
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t t = 0; t < length[i]; ++t)
                for (std::size_t u = 0; u < size.hidden; ++u) total += c[i][t][u] * lstm.state(i, t)[u];
        return total;
    };
    dense_lstm<double> lstm, other;
    run(lstm);
    lstm.begin_backward(true);
    for (std::size_t t = lstm.steps(); t-- > 0;) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            if (t >= length[i]) continue;
            for (std::size_t u = 0; u < size.hidden; ++u) {
                lstm.d_state(i, t)[u] += c[i][t][u];
                for (std::size_t e = 0; t + 1 < length[i] && e < size.embedding; ++e)
                    lstm.d_state(i, t)[u] += lstm.d_input(i, t + 1)[e];
            }
        }
        lstm.backward_step(n.backward, t);
    }
    lstm.add_gradients(n.memory);
    CHECK(gap(body_gradients(n), body_slopes(n, [&] { return run(other); })) <= 1e-8);
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t t = 0; t < length[i]; ++t)
            for (std::size_t e = 0; e < size.embedding; ++e)
                REQUIRE(lstm.d_input(i, t)[e] == Approx(slope([&] { return run(other); }, x[i][t][e])).margin(1e-9));
}

TEST_CASE("dense_lstm: no rows, and rows without inputs", "[lstm]") {
    net n;
    dense_lstm<double> lstm;
    for (const std::vector<std::uint32_t>& length : {std::vector<std::uint32_t>{}, std::vector<std::uint32_t>{0, 0}}) {
        lstm.assign(length, size);
        CHECK(lstm.steps() == 0);
        lstm.forward(n.forward);
        lstm.begin_backward(true);
        lstm.backward(n.backward);
        lstm.add_gradients(n.memory);
        CHECK(gap(body_gradients(n), std::vector<double>(body_gradients(n).size())) == 0);
    }
}
