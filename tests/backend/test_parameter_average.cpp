#include "rlgaf/backend/parameter_average.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::parameter_average;
using rlgaf::reference_sync;

namespace {
/// A model of two blocks.
template <class T>
struct model {
    std::vector<T> a, b, unused;
    std::vector<rlgaf::parameter_block<T>> blocks;

    model(std::vector<T> first, std::vector<T> second) : a(first), b(second), unused(first.size() + second.size()) {
        const std::span<T> g = unused;
        blocks = {{"a", {a.size()}, a, g.first(a.size())}, {"b", {b.size()}, b, g.last(b.size())}};
    }
    model(const model&) = delete;
    std::span<const rlgaf::parameter_block<T>> view() const { return blocks; }
    std::vector<double> all() const {
        std::vector<double> x(a.begin(), a.end());
        x.insert(x.end(), b.begin(), b.end());
        return x;
    }
};

/// Writes a state to numbers and reads it again.
struct writer {
    std::vector<std::vector<double>> out;
    void operator()(const char*, double& x) { out.push_back({x}); }
    void operator()(const char*, std::uint64_t& x) { out.push_back({static_cast<double>(x)}); }
    void operator()(const char*, std::vector<double>& x) { out.push_back(x); }
};
struct reader {
    std::vector<std::vector<double>> in;
    std::size_t next = 0;
    void operator()(const char*, double& x) { x = in[next++][0]; }
    void operator()(const char*, std::uint64_t& x) { x = static_cast<std::uint64_t>(in[next++][0]); }
    void operator()(const char*, std::vector<double>& x) { x = in[next++]; }
};
template <class State>
State copied(State& s) {
    writer w;
    s.visit(w);
    State other;
    reader r{w.out};
    other.visit(r);
    REQUIRE(r.next == w.out.size());
    return other;
}
}  // namespace

TEST_CASE("parameter_average is the mean with weights decay^(k - j), whose start is corrected for") {
    dice d(101);
    for (const double decay : {0.0, 0.5, 0.992}) {
        const parameter_average average{.decay = decay};
        parameter_average::state s;
        model<double> m({0, 0}, {0});
        std::vector<double> sum(3, 0.0);
        double weight = 0;
        for (int k = 0; k < 200; ++k) {
            for (double* x : {&m.a[0], &m.a[1], &m.b[0]}) *x = 5 + d.normal();
            average(s, m.view());
            weight = decay * weight + 1;
            for (std::size_t i = 0; i < 3; ++i) sum[i] = decay * sum[i] + m.all()[i];
            for (std::size_t i = 0; i < 3; ++i) REQUIRE(gap(s.average[i], sum[i] / weight) < 1e-12);
            if (k == 0) REQUIRE(gap(s.average, m.all()) == 0);
        }
    }
}

TEST_CASE("parameter_average keeps moves that are too small for a float") {
    model<float> m({1}, {});
    parameter_average::state s;
    const parameter_average average{.decay = 0.999};
    average(s, m.view());
    m.a[0] = std::nextafter(1.0f, 2.0f);
    for (int k = 0; k < 500; ++k) average(s, m.view());
    REQUIRE(s.average[0] > 1);
    REQUIRE(s.average[0] < static_cast<double>(m.a[0]));
}

TEST_CASE("parameter_average swaps in and out bit for bit, from a checkpoint of the moment between too") {
    model<float> m({0.1f, -3e-7f}, {1e20f});
    parameter_average::state s;
    const parameter_average average{.decay = 0.9};
    average(s, m.view());
    m.a = {0.7f, 2};
    m.b = {-1};
    average(s, m.view());
    const std::vector<double> live = m.all(), mean = s.average;
    average.swap_in(s, m.view());
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(m.all()[i] == static_cast<double>(static_cast<float>(mean[i])));
    REQUIRE_THROWS_AS(average(s, m.view()), rlgaf::option_error);
    REQUIRE_THROWS_AS(average.swap_in(s, m.view()), rlgaf::option_error);
    parameter_average::state later = copied(s);
    average.swap_out(later, m.view());
    REQUIRE(same_bits(m.all(), live));
    REQUIRE(same_bits(later.average, mean));
    REQUIRE_THROWS_AS(average.swap_out(later, m.view()), rlgaf::option_error);
    average(later, m.view());
    REQUIRE(allocations_of([&] {
                average(later, m.view());
                average.swap_in(later, m.view());
                average.swap_out(later, m.view());
            }) == 0);
}

TEST_CASE("parameter_average refuses other models and options by name, and a swap before an average") {
    const parameter_average average;
    parameter_average::state s;
    model<double> m({1, 2}, {3}), other({1, 2}, {3, 4});
    REQUIRE(message_of<rlgaf::option_error>([&] { average.swap_in(s, m.view()); }) ==
            "rlgaf::parameter_average: .swap: expected out, with an average to take in, got 0");
    average(s, m.view());
    REQUIRE(message_of<rlgaf::shape_error>([&] { average(s, other.view()); }) ==
            "rlgaf::parameter_average: blocks block b: expected 1 elements, got 2");
    REQUIRE(message_of<rlgaf::shape_error>([&] { average(s, m.view().first(1)); }) ==
            "rlgaf::parameter_average: blocks: expected 2 elements, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] { average.swap_in(s, other.view()); }) ==
            "rlgaf::parameter_average::swap_in: blocks block b: expected 1 elements, got 2");
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(parameter_average{.decay = x}, "parameter_average", "decay"));
}

TEST_CASE("reference_sync: every n-th call the reference goes `mix` of the way, otherwise nothing moves") {
    const reference_sync sync{.mix = 0.6, .every = 3};
    reference_sync::state s;
    model<double> policy({1, 2}, {-4}), reference({0, 0}, {6});
    for (int k = 1; k <= 9; ++k) {
        const std::vector<double> before = reference.all();
        const bool moved = sync(s, policy.view(), reference.view());
        REQUIRE(moved == (k % 3 == 0));
        for (std::size_t i = 0; i < 3; ++i)
            REQUIRE(gap(reference.all()[i], moved ? 0.6 * policy.all()[i] + 0.4 * before[i] : before[i]) < 1e-15);
        s = copied(s);
    }
    REQUIRE(gap(policy.all(), {1, 2, -4}) == 0);
    REQUIRE(s.steps == 9);
    REQUIRE(reference_sync{.mix = 1, .every = 1}(s, policy.view(), reference.view()));
    REQUIRE(same_bits(reference.all(), policy.all()));
    model<float> small({1}, {}), still({0.1f}, {});
    REQUIRE(reference_sync{.mix = 0.3, .every = 1}(s, small.view(), still.view()));
    REQUIRE(still.a[0] == static_cast<float>(0.3 * 1 + (1 - 0.3) * static_cast<double>(0.1f)));
}

TEST_CASE("reference_sync refuses other models and options by name") {
    reference_sync::state s;
    model<double> policy({1, 2}, {3}), other({1, 2}, {3, 4}), named({1, 2}, {3});
    const auto message = [&](std::span<const rlgaf::parameter_block<double>> reference) {
        return message_of<rlgaf::shape_error>([&] { reference_sync{}(s, policy.view(), reference); });
    };
    REQUIRE(message(named.view()) == "nothing thrown");
    REQUIRE(message(other.view()) == "rlgaf::reference_sync: reference block b: expected 1 elements, got 2");
    REQUIRE(message(named.view().first(1)) == "rlgaf::reference_sync: reference: expected 2 elements, got 1");
    named.blocks[1].name = "c";
    REQUIRE(message(named.view()) == "rlgaf::reference_sync: reference block b: expected the same name, got c");
    REQUIRE(s.steps == 1);
    for (const double x : {0.0, -0.1, 1.1, not_a_number})
        REQUIRE(refuses(reference_sync{.mix = x}, "reference_sync", "mix"));
    REQUIRE(refuses(reference_sync{.every = 0}, "reference_sync", "every"));
}
