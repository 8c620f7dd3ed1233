#include "rlgaf/core/scalar.hpp"
#include "rlgaf/math/log_normalizer.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;

TEST_CASE("log_normalizer_backward: softmax, which a constant on all logits goes through whole") {
    dice d(1908);
    std::vector<double> z(7), gradient(7, 1.0);
    for (double& v : z) v = 3 * d.normal();
    z[2] = -infinity;
    const std::span<const double> shown(z);
    rlgaf::log_normalizer_backward(shown, rlgaf::log_sum_exp(shown), 2.5, std::span<double>(gradient));
    double total = 0;
    for (std::size_t v = 0; v < z.size(); ++v) {
        total += gradient[v] - 1;
        if (v != 2) REQUIRE(gap(slope([&] { return 2.5 * rlgaf::log_sum_exp(shown); }, z[v]), gradient[v] - 1) < 1e-9);
    }
    REQUIRE(gap(total, 2.5) < 1e-14);
    REQUIRE(gradient[2] == 1);
    std::vector<double> few(6);
    REQUIRE(message_of<rlgaf::shape_error>([&] {
                rlgaf::log_normalizer_backward(shown, 0.0, 1.0, std::span<double>(few));
            }) == "rlgaf::log_normalizer_backward: d_logit: expected 7 elements, got 6");
}
