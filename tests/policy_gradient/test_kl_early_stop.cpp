#include "rlgaf/policy_gradient/kl_early_stop.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::kl_early_stop;

TEST_CASE("kl_early_stop stops above its limit, not at it") {
    const kl_early_stop stop{.limit = 0.02};
    REQUIRE(!stop(0));
    REQUIRE(!stop(0.02));
    REQUIRE(stop(0.0200001));
    REQUIRE(stop(infinity));
    REQUIRE(!stop(-1));
    REQUIRE(kl_early_stop{}(0.016));
    REQUIRE(!kl_early_stop{.limit = infinity}(1e300));
}

TEST_CASE("kl_early_stop refuses NaN and options out of range by name") {
    REQUIRE(message_of<rlgaf::numeric_error>([] { kl_early_stop{}(not_a_number); }) ==
            "rlgaf::kl_early_stop: approx_kl: expected a number, got nan");
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(kl_early_stop{.limit = x}, "kl_early_stop", "limit"));
    REQUIRE_THROWS_AS(kl_early_stop{.limit = 0}(1), rlgaf::option_error);
}
