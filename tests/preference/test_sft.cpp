#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/preference/sft.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;

namespace {
/// sft with the call of a policy loss.
const auto loss = [](const auto& terms, std::span<const double> weight, const auto& gradient) {
    return rlgaf::sft{}(terms.log_prob, terms.mask, weight, gradient);
};
}  // namespace

TEST_CASE("sft keeps the promises of a policy loss") {
    const policy_loss_traits traits{
        .function = "sft", .needs = {}, .factor = false, .prefix = "", .gradient = "d_log_prob"};
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
    REQUIRE(loss(arrays.terms(), std::span<const double>(c.weight), gradient.view()).tokens == 3);
}
