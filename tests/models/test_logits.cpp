#include <array>

#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/policy_gradient/full_kl.hpp"
#include "rlgaf/preference/label_smoothing.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::dice;

namespace {

static_assert(exposes_logits<lstm_policy<float>> && exposes_logits<ngram_policy<float>> &&
              exposes_logits<ngram_policy<double, token_prompts>>);
static_assert(!std::constructible_from<logit_visitor<double>, int&>);
static_assert(!std::constructible_from<logit_visitor<double>, void (&)(std::size_t)>);

/// Ragged rows with empty ones, masked tokens, and a temperature a row.
token_batch<double> random_batch(dice& d, std::size_t vocabulary) {
    token_batch<double> b;
    for (std::size_t i = 1 + d.below(4); i > 0; --i) {
        std::vector<std::int32_t> row(d.below(6));
        std::vector<std::uint8_t> mask(row.size());
        for (auto& t : row) t = static_cast<std::int32_t>(d.below(vocabulary));
        for (auto& m : mask) m = d.chance(0.7);
        if (row.empty() && b.token.empty()) continue;  // the first row says whether there is a mask
        b.add(row, row_end::terminated, {}, d.uniform(0.5, 2), mask);
    }
    return b;
}

/// A policy of either kind over `size` tokens, its parameters moved by dice where they are given.
template <class P>
P policy_of(std::size_t size, std::uint64_t seed, dice* moved = nullptr) {
    P p = [&] {
        if constexpr (std::is_same_v<P, lstm_policy<double>>)
            return P({.vocabulary = size, .embedding = 3, .hidden = 4, .max_length = 8, .seed = seed});
        else
            return P({.shape = {size, 2}, .initial_spread = 1, .seed = seed});
    }();
    if (moved)
        for (const auto& block : p.parameters())
            for (double& x : block.values) x += 0.3 * moved->normal();
    return p;
}

/// Forward with the visitor and backward; compares with slopes of `value`, the sum of what visits return.
template <class P, class Visit>
void require_slopes(P& p, const token_batch<double>& b, Visit&& visit) {
    double total = 0;
    const auto visitor = [&](std::size_t token, std::span<const double> z, std::span<double> d_z) {
        total += visit(token, z, d_z);
    };
    p.discard();
    p.backward(p.forward(b, {}, visitor), {});
    for (const auto& block : p.parameters())
        for (std::size_t k = 0; k < block.values.size(); ++k) {
            const double slope = rlgaf_test::slope(
                [&] {
                    total = 0;
                    p.forward(b, {}, visitor);
                    return total;
                },
                block.values[k]);
            REQUIRE(rlgaf_test::gap(block.gradients[k], slope) < 1e-8);
        }
}

}  // namespace

TEMPLATE_TEST_CASE("logits: shown token by token, at the temperature that the row was sampled at", "[models]",
                   ngram_policy<double>, lstm_policy<double>) {
    TestType p = policy_of<TestType>(4, 1);
    dice d(71);
    for (int round = 0; round < 200; ++round) {
        const auto b = random_batch(d, 4);
        ragged_buffer<double> log_prob;
        log_prob.assign(lengths(b));
        std::vector<double> shown, written;
        std::vector<std::size_t> order;
        auto visitor = [&](std::size_t token, std::span<const double> z, std::span<double> d_z) {
            order.push_back(token);
            REQUIRE((z.size() == 4 && d_z.size() == 4));
            for (const double x : d_z) REQUIRE(x == 0);
            d_z[0] = 1;  // a visit never sees what another one adds
            shown.insert(shown.end(), z.begin(), z.end());
        };
        p.forward(b, {.log_prob = log_prob.view()}, visitor);  // a tape without backward adds nothing
        for (const auto& block : p.parameters())
            for (const double g : block.gradients) REQUIRE(g == 0);
        std::size_t k = 0;
        std::array<double, 4> log_p{};
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) {
            REQUIRE(order[k] == k);
            log_softmax(std::span<const double>(shown).subspan(4 * k++, 4), 1.0, std::span<double>(log_p));
            REQUIRE(log_p[static_cast<std::size_t>(b.row(i)[t])] == Approx(log_prob.view().row(i)[t]));
        });
        REQUIRE(order.size() == k);
    }
}

TEMPLATE_TEST_CASE("logits: label smoothing has the slopes of its loss", "[models]", ngram_policy<double>,
                   lstm_policy<double>) {
    dice d(72);
    for (int round = 0; round < 30; ++round) {
        const std::size_t size = 2 + d.below(3);
        TestType p = policy_of<TestType>(size, d.below(1000));
        const auto b = random_batch(d, size);
        const double smoothing = d.uniform(0, 0.9);
        std::vector<std::size_t> action;
        std::vector<double> weight, log_p(size);
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) {
            action.push_back(static_cast<std::size_t>(b.row(i)[t]));
            weight.push_back(d.uniform(-1, 2));
        });
        require_slopes(p, b, [&](std::size_t token, std::span<const double> z, std::span<double> d_z) {
            log_softmax(z, 1.0, std::span(log_p));
            return smoothed_nll(std::span<const double>(log_p), action[token], smoothing, 1, weight[token], d_z);
        });
    }
}

TEMPLATE_TEST_CASE("logits: exact KL to a reference has the slopes of the KL", "[models]", ngram_policy<double>,
                   lstm_policy<double>) {
    dice d(73);
    for (int round = 0; round < 30; ++round) {
        const std::size_t size = 2 + d.below(3);
        TestType p = policy_of<TestType>(size, 1 + d.below(1000), &d), reference = policy_of<TestType>(size, 7);
        const auto b = random_batch(d, size);
        std::vector<double> other, weight;
        const auto note = [&](std::size_t, std::span<const double> z, std::span<double>) {
            other.insert(other.end(), z.begin(), z.end());
            weight.push_back(d.uniform(-1, 2));
        };
        reference.forward(b, {}, note);
        workspace work;
        const full_kl kl{.direction = round % 2 == 0 ? kl_direction::reverse : kl_direction::forward};
        require_slopes(p, b, [&](std::size_t token, std::span<const double> z, std::span<double> d_z) {
            return weight[token] *
                   kl(z, std::span<const double>(other).subspan(token * size, size), weight[token], work, d_z);
        });
    }
}

TEMPLATE_TEST_CASE("logits: what visits add is added to the other cotangents", "[models]", ngram_policy<double>,
                   lstm_policy<double>) {
    TestType p = policy_of<TestType>(3, 1);
    dice d(74);
    const auto b = random_batch(d, 3);
    ragged_buffer<double> c;
    c.assign(lengths(b), 0.7);
    const policy_cotangents<double> cotangents{.d_log_prob = std::as_const(c).view()};
    const auto add = [](std::size_t token, std::span<const double>, std::span<double> d_z) {
        for (std::size_t v = 0; v < 3; ++v) d_z[v] += static_cast<double>(3 * token + v);
    };
    const auto gradient = [&](auto&& accumulate) {
        p.discard();
        accumulate();
        std::vector<double> all;
        for (const auto& block : p.parameters()) all.insert(all.end(), block.gradients.begin(), block.gradients.end());
        return all;
    };
    const auto both = gradient([&] { p.backward(p.forward(b, {}, add), cotangents); });
    const auto apart = gradient([&] {
        p.backward(p.forward(b, {}), cotangents);
        p.backward(p.forward(b, {}, add), {});
    });
    REQUIRE(rlgaf_test::gap(both, apart) < 1e-12);
    REQUIRE(rlgaf_test::gap(both, std::vector<double>(both.size())) > 1);
}
