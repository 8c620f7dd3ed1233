#include "rlgaf/policy_gradient/popart.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::popart;
using rlgaf::popart_change;
using rlgaf::popart_scale;

namespace {
popart_change update(const popart& p, popart::state& s, const table& returns, const table& mask = {},
                     layout how = layout::packed) {
    ragged<double> x(returns, how, not_a_number);
    ragged<std::uint8_t> m(mask, how, 1);
    return p(s, rlgaf::ragged_view<const double>(x.view()), m.view());
}
}  // namespace

TEST_CASE("popart's scale is mean and deviation of all returns so far, each step weighted decay^age") {
    dice d(1602);
    for (const double decay : {0.0, 0.5, 0.99}) {
        popart::state state;
        std::vector<std::vector<double>> steps;
        for (int k = 0; k < 8; ++k) {
            const table shape = {std::vector<double>(1 + d.below(4)), {}, std::vector<double>(2)};
            const table mask = k % 2 == 0 ? table{} : table{std::vector<double>(shape[0].size(), 1), {}, {1, 0}};
            const table returns = table_like(
                shape, [&](auto b, auto t) { return included(mask, b, t) ? k + 3 * d.normal() : not_a_number; });
            steps.emplace_back();
            for (std::size_t b = 0; b < returns.size(); ++b)
                for (std::size_t t = 0; t < returns[b].size(); ++t)
                    if (included(mask, b, t)) steps.back().push_back(returns[b][t]);
            const popart_scale before = state.scale;
            const popart_change change = update(popart{.decay = decay}, state, returns, mask, layouts[k % 2]);
            REQUIRE(change.before.mean == before.mean);
            REQUIRE(change.before.deviation == before.deviation);
            REQUIRE(change.after.mean == state.scale.mean);
            REQUIRE(change.after.deviation == state.scale.deviation);
            double weight = 0, mean = 0, second = 0;
            for (std::size_t j = 0; j < steps.size(); ++j) {
                const double w = std::pow(decay, static_cast<double>(steps.size() - 1 - j));
                double m = 0, s = 0;
                for (const double x : steps[j]) m += x, s += x * x;
                weight += w;
                mean += w * m / static_cast<double>(steps[j].size());
                second += w * s / static_cast<double>(steps[j].size());
            }
            mean /= weight;
            REQUIRE(gap(state.scale.mean, mean) < 1e-12);
            REQUIRE(gap(state.scale.deviation, std::sqrt(second / weight - mean * mean)) < 1e-10);
        }
    }
}

TEST_CASE("popart preserves outputs: the same values before and after any number of rescalings") {
    dice d(1809);
    for (int i = 0; i < 300; ++i) {
        const std::size_t size = 1 + d.below(6);
        std::vector<double> weight(size), features(size);
        for (double& x : weight) x = d.normal();
        for (double& x : features) x = d.normal();
        double bias = d.normal();
        popart::state state;
        const popart p{.decay = 0.9};
        for (int k = 0; k < 10; ++k) {
            const auto value = [&] {
                double output = bias;
                for (std::size_t j = 0; j < size; ++j) output += weight[j] * features[j];
                return state.scale.denormalize(output);
            };
            const double before = value();
            const double center = 100 * d.normal(), width = std::exp(2 * d.normal());
            const popart_change change = update(p, state, {{center - width, center + width, center}});
            change.preserve_values(std::span<double>(weight), bias);
            REQUIRE(gap(value(), before) < 1e-12 * (1 + std::abs(before) + std::abs(center)));
        }
    }
}

TEST_CASE("popart preserves outputs to the last bit where the scales are powers of two") {
    dice d(18);
    for (int i = 0; i < 300; ++i) {
        const popart_change change{
            {std::ldexp(1.0, static_cast<int>(d.below(3))), std::ldexp(1.0, static_cast<int>(d.below(9)) - 4)},
            {std::ldexp(1.0, static_cast<int>(d.below(3))), std::ldexp(1.0, static_cast<int>(d.below(9)) - 4)}};
        double weight[2] = {static_cast<double>(d.below(64)) / 8, -static_cast<double>(d.below(64)) / 8};
        double bias = static_cast<double>(d.below(64)) / 8;
        const double features[2] = {static_cast<double>(d.below(8)), static_cast<double>(d.below(8))};
        const auto output = [&] { return weight[0] * features[0] + weight[1] * features[1] + bias; };
        const double before = change.before.denormalize(output());
        change.preserve_values(std::span<double>(weight), bias);
        REQUIRE(change.after.denormalize(output()) == before);
    }
}

TEST_CASE("popart by hand: weight s / s', (s bias + m - m') / s' (Hessel et al. 2018)") {
    const popart_change change{{1, 2}, {5, 4}};
    float weight[2] = {8, -2}, bias = 3;
    change.preserve_values(std::span<float>(weight), bias);
    REQUIRE(weight[0] == 4);
    REQUIRE(weight[1] == -1);
    REQUIRE(bias == 0.5f);  // (2 * 3 + 1 - 5) / 4
}

TEST_CASE("popart_scale takes targets there and back, and leaves masked slots alone") {
    const popart_scale scale{.mean = 3, .deviation = 2};
    REQUIRE(scale.normalize(7) == 2);
    REQUIRE(scale.denormalize(2) == 7);
    dice d(3);
    for (int i = 0; i < 200; ++i) {
        const table shape = random_shape(d, 5, 5), mask = random_mask(d, shape);
        const table x =
            table_like(shape, [&](auto b, auto t) { return included(mask, b, t) ? d.normal() : not_a_number; });
        ragged<double> values(x, layouts[i % 2], not_a_number);
        ragged<std::uint8_t> m(mask, layouts[i % 2], 1);
        scale.normalize(values.view(), m.view());
        REQUIRE(values.guards_intact());
        REQUIRE(same_bits(values.rows(), table_like(x, [&](auto b, auto t) {
                              return included(mask, b, t) ? (x[b][t] - 3) / 2 : x[b][t];
                          })));
        scale.denormalize(values.view(), m.view());
        for (std::size_t b = 0; b < x.size(); ++b)
            for (std::size_t t = 0; t < x[b].size(); ++t)
                if (included(mask, b, t)) REQUIRE(gap(values.rows()[b][t], x[b][t]) < 1e-14);
    }
    ragged<float> y({{1, 2}}, layout::padded, 0.0f);
    ragged<std::uint8_t> bad({{1}}, layout::padded, 1);
    REQUIRE(message_of<rlgaf::shape_error>([&] { scale.normalize(y.view(), bad.view()); }) ==
            "rlgaf::popart_scale::normalize: mask row 0: expected 2 tokens, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] { scale.denormalize(y.view(), bad.view()); }) ==
            "rlgaf::popart_scale::denormalize: mask row 0: expected 2 tokens, got 1");
}

TEST_CASE("popart keeps its deviation through equal returns and its whole scale through an empty step") {
    popart::state state;
    update({}, state, {{5, 5}, {5}});  // nothing but equal returns so far: the deviation is still 1
    REQUIRE(state.scale.mean == 5);
    REQUIRE(state.scale.deviation == 1);
    popart::state other;
    update({.decay = 0}, other, {{1, 5}});
    REQUIRE(other.scale.deviation == 2);
    update({.decay = 0}, other, {{0.1, 0.1, 0.1}});
    REQUIRE(gap(other.scale.mean, 0.1) < 1e-15);
    REQUIRE(other.scale.deviation == 2);  // a division by rounding noise would blow the head up
    for (const table& nothing : {table{}, table{{}, {}}}) {
        const popart_change change = update({}, other, nothing);
        REQUIRE(change.after.deviation == 2);
        REQUIRE(change.after.mean == change.before.mean);
    }
    update({}, other, {{1e9, not_a_number}}, {{0, 0}});
    REQUIRE(gap(other.scale.mean, 0.1) < 1e-15);
}

TEST_CASE("popart refuses a return that is not finite and keeps its state") {
    popart::state state;
    update({}, state, {{1, 2}});
    for (const double x : {not_a_number, infinity}) {
        REQUIRE(message_of<rlgaf::numeric_error>([&] {
                    update({}, state, {{1}, {2, x}});
                }).starts_with("rlgaf::popart: returns row 1 token 1: expected a finite number"));
        REQUIRE(state.scale.mean == 1.5);
        REQUIRE(state.returns.weight == 1);
    }
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                update({}, state, {{1, 2}}, {{1}});
            }) == "rlgaf::popart: mask row 0: expected 2 tokens, got 1");
    for (const double x : {-0.1, 1.0, not_a_number}) REQUIRE(refuses(popart{.decay = x}, "popart", "decay"));
    REQUIRE_THROWS_AS(update({.decay = 1}, state, {{1}}), rlgaf::option_error);
}

TEST_CASE("popart's state is visited by name and goes on where it was; floats; no allocation") {
    popart::state state, copy;
    update({}, state, {{1, 2, 6}});
    std::vector<std::string> names;
    std::vector<double> values;
    auto save = [&](const char* name, double& x) { names.push_back(name), values.push_back(x); };
    state.visit(save);
    REQUIRE(names == std::vector<std::string>{"weight", "mean", "variance", "scale_mean", "scale_deviation"});
    std::size_t next = 0;
    auto load = [&](const char*, double& x) { x = values[next++]; };
    copy.visit(load);
    update({}, state, {{-1, 4}});
    update({}, copy, {{-1, 4}});
    REQUIRE(copy.scale.mean == state.scale.mean);
    REQUIRE(copy.scale.deviation == state.scale.deviation);

    ragged<float> x({{1, 2}, {6}}, layout::padded, 0.0f);
    const rlgaf::ragged_view<const float> view = x.view();
    popart::state narrow;
    REQUIRE(allocations_of([&] { popart{}(narrow, view, {}); }) == 0);
    REQUIRE(narrow.scale.mean == 3);
    REQUIRE(gap(narrow.scale.deviation, std::sqrt(14.0 / 3)) < 1e-15);
}
