#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/preference/sft.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::sft_kind;

namespace {
const policy_loss_traits traits{
    .function = "sft", .needs = {}, .factor = false, .prefix = "", .gradient = "d_log_prob"};

/// sft with the call of a policy loss.
const auto loss = [](const auto& terms, std::span<const double> weight, const auto& gradient) {
    return rlgaf::sft{}(terms.log_prob, terms.mask, weight, gradient);
};
const auto dft = [](const auto& terms, std::span<const double> weight, const auto& gradient) {
    return rlgaf::sft{.kind = sft_kind::dft}(terms.log_prob, terms.mask, weight, gradient);
};
}  // namespace

TEST_CASE("sft keeps the promises of a policy loss") {
    check_policy_loss(traits, [](dice&) { return loss; });
}

TEST_CASE("sft is the negative log-likelihood per token of the whole step") {
    // L = -(1/N) sum m l, d/dl = -m/N, with N = 3 unmasked tokens.
    policy_case c{.log_prob = {{-0.5, -1.5, -9}, {-1}}, .mask = {{1, 1, 0}, {1}}};
    const std::uint32_t count[] = {2, 1};
    c.weight.resize(2);
    rlgaf::workspace work;
    rlgaf::aggregate{.mode = rlgaf::aggregation::token_mean}(count, {}, work, c.weight);
    const policy_result r = run(loss, c);
    REQUIRE(gap(r.loss, 1) < 1e-15);
    REQUIRE(gap(r.gradient, table{{-1.0 / 3, -1.0 / 3, 0}, {-1.0 / 3}}) < 1e-15);

    policy_arrays<double> arrays(c, layout::packed);
    ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
    REQUIRE(loss(arrays.terms(), std::span<const double>(arrays.weight), gradient.view()).tokens == 3);
}

TEST_CASE("sft dft: -sg(p) log p, whose slope is -p, on known values") {
    const policy_case c{.log_prob = {{std::log(0.5), std::log(0.25)}, {0}, {-200}}, .weight = {1, 3, 1}};
    const policy_result r = run(dft, c);
    REQUIRE(gap(r.loss, 0.5 * std::log(2) + 0.25 * std::log(4)) < 1e-15);
    REQUIRE(gap(r.gradient, table{{-0.5, -0.25}, {-3}, {-std::exp(-200)}}) < 1e-15);
    REQUIRE(r.gradient[2][0] < 0);
}

TEST_CASE("sft dft keeps the promises of a policy loss; its slope is that of nll with constant weights p") {
    dice d(2508);
    for (int i = 0; i < 3000; ++i) {
        policy_case c = random_policy_case(d, traits);
        const policy_result r = run(dft, c);
        const table constant = c.log_prob;
        const auto value = [&] {  // the definition, with p of the first call
            double sum = 0;
            for (std::size_t b = 0; b < constant.size(); ++b)
                for (std::size_t t = 0; t < constant[b].size(); ++t)
                    if (included(c.mask, b, t)) sum -= c.weight[b] * std::exp(constant[b][t]) * c.log_prob[b][t];
            return sum;
        };
        REQUIRE(gap(r.loss, value()) < 1e-12);
        for (std::size_t b = 0; b < constant.size(); ++b)
            for (std::size_t t = 0; t < constant[b].size(); ++t)
                REQUIRE(gap(slope(value, c.log_prob[b][t]), r.gradient[b][t]) < 1e-8);
        if (i % 10 != 0) continue;
        check_storage(dft, c, d);
        check_rows(dft, c, d);
    }
    check_nothing_to_learn(dft, traits);
    check_no_allocation(dft, traits, d);
    check_shape_errors(dft, traits);
}
