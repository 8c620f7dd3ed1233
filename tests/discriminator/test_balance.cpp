#include "rlgaf/discriminator/balance.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::accuracy_gate;
using rlgaf::turn;

TEST_CASE("accuracy_gate follows the running accuracy, started at the first one") {
    const accuracy_gate gate{.high = 0.85, .low = 0.65, .decay = 0.75};
    accuracy_gate::state s;
    const struct {
        double measured, running;
        bool policy, discriminator;
    } rounds[] = {{1, 1, true, false},        // far too good: the discriminator rests
                  {0.6, 0.9, true, false},    // 0.75 + 0.15
                  {0.5, 0.8, true, true},     // 0.675 + 0.125
                  {0.08, 0.62, false, true},  // 0.6 + 0.02: too weak to teach, the policy rests
                  {0.74, 0.65, true, true}};  // the bound itself: both train
    for (const auto& r : rounds) {
        const turn t = gate(s, r.measured);
        REQUIRE(gap(s.accuracy, r.running) < 1e-12);
        REQUIRE(t.policy == r.policy);
        REQUIRE(t.discriminator == r.discriminator);
    }
    REQUIRE(s.rounds == 5);
}

TEST_CASE("accuracy_gate: bounds count as inside, and by default the discriminator never rests") {
    accuracy_gate::state s;
    REQUIRE(accuracy_gate{.high = 0.75, .low = 0.5}(s, 0.75).discriminator);
    accuracy_gate::state t;
    REQUIRE(accuracy_gate{.high = 0.75, .low = 0.625}(t, 0.625).policy);
    accuracy_gate::state always;
    for (int k = 0; k < 3; ++k) REQUIRE(accuracy_gate{}(always, 1).discriminator);
    accuracy_gate::state weak;
    REQUIRE(!accuracy_gate{}(weak, 0.4).policy);
}

TEST_CASE("accuracy_gate does not take in an accuracy that is NaN") {
    const accuracy_gate gate{.high = 0.75, .decay = 0.5};
    accuracy_gate::state s, same;
    REQUIRE(gate(s, not_a_number).discriminator);  // nothing known yet
    for (const double x : {0.9, 0.8}) gate(s, x), gate(same, x);
    REQUIRE(!gate(s, not_a_number).discriminator);
    REQUIRE((s.accuracy == same.accuracy && s.rounds == same.rounds));
}

TEST_CASE("accuracy_gate's memory is two named numbers") {
    struct {
        std::string names;
        void operator()(std::string_view name, double&) { names.append(name).append(" double "); }
        void operator()(std::string_view name, std::uint64_t&) { names.append(name).append(" integer "); }
    } archive;
    accuracy_gate::state s;
    s.visit(archive);
    REQUIRE(archive.names == "accuracy double rounds integer ");
}

TEST_CASE("accuracy_gate refuses options out of range by name") {
    for (const double x : {0.4, -1.0, not_a_number}) REQUIRE(refuses(accuracy_gate{.low = x}, "accuracy_gate", "low"));
    for (const double x : {0.5, 0.3, 1.1, not_a_number})
        REQUIRE(refuses(accuracy_gate{.high = x}, "accuracy_gate", "high"));
    REQUIRE(refuses(accuracy_gate{.high = 0.8, .low = 0.8}, "accuracy_gate", "high"));
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(accuracy_gate{.decay = x}, "accuracy_gate", "decay"));
    accuracy_gate::state s;
    REQUIRE_THROWS_AS(accuracy_gate{.decay = 1}(s, 0.5), rlgaf::option_error);
}
