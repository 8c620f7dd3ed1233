#include "rlgaf/discriminator/shortcut_probe.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::shortcut_probe;

namespace {
struct rows_of_length {
    std::vector<std::uint32_t> length;
    std::vector<std::uint8_t> truncated;
    shortcut_probe::side view() const { return {length, truncated}; }
};
rows_of_length draw(dice& d, std::size_t n, std::uint32_t shortest, std::uint32_t count, double truncated) {
    rows_of_length r;
    for (std::size_t i = 0; i < n; ++i) {
        r.length.push_back(shortest + static_cast<std::uint32_t>(d.below(count)));
        r.truncated.push_back(d.chance(truncated));
    }
    return r;
}
double accuracy_after(int rounds, std::uint32_t fake_shortest, double fake_truncated) {
    dice d(17);
    shortcut_probe::state s;
    std::vector<std::uint32_t> pairs;
    for (std::uint32_t i = 0; i < 400; ++i) pairs.push_back(i);
    double last = 0;
    for (int k = 0; k < rounds; ++k)
        last = shortcut_probe{}(s, draw(d, 400, 4, 4, 0).view(), draw(d, 400, fake_shortest, 4, fake_truncated).view(),
                                pairs);
    return last;
}
}  // namespace

TEST_CASE("shortcut_probe: a guess where lengths and endings are alike, certainty where they never meet") {
    REQUIRE(accuracy_after(1, 40, 0) == 0.5);  // nothing counted yet
    REQUIRE(std::abs(accuracy_after(20, 4, 0) - 0.5) < 0.08);
    REQUIRE(accuracy_after(20, 40, 0) == 1);
    REQUIRE(accuracy_after(20, 4, 1) == 1);
    const double half = accuracy_after(20, 4, 0.5);  // the truncated half is found out, the rest is a guess
    REQUIRE(half > 0.7);
    REQUIRE(half < 0.85);
}

TEST_CASE("shortcut_probe: no samples, huge lengths, shapes and options") {
    shortcut_probe::state s;
    const rows_of_length real{{0, 4294967295u}, {0, 1}}, none{{}, {}}, two{{3, 5}, {0, 0}};
    REQUIRE(shortcut_probe{}(s, real.view(), none.view(), {}) == 0.5);
    const std::vector<std::uint32_t> outside = {0, 2}, few = {0};
    REQUIRE_THROWS_AS(shortcut_probe{}(s, real.view(), two.view(), outside), rlgaf::shape_error);
    REQUIRE_THROWS_AS(shortcut_probe{}(s, real.view(), two.view(), few), rlgaf::shape_error);
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(shortcut_probe{.decay = x}, "shortcut_probe", "decay"));
}
