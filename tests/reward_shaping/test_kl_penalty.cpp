#include "rlgaf/reward_shaping/kl_penalty.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::kl_estimator;
using rlgaf::kl_penalty;

namespace {
shaping_step<double> golden() {
    shaping_step<double> step{.log_prob = {{-0.7, -2.4}, {}, {-0.5}}, .reference_log_prob = {{-1.2, -1.9}, {}, {-0.4}}};
    step.begin({2, 0, 1});
    return step;
}
}  // namespace

TEST_CASE("kl_penalty takes beta times the estimate from every token: the policy sheet's golden vectors") {
    const struct {
        kl_estimator estimator;
        double value[3];
    } all[] = {{kl_estimator::k1, {0.5, -0.5, -0.1}},
               {kl_estimator::k2, {0.125, 0.125, 0.005}},
               {kl_estimator::k3, {0.106531, 0.148721, 0.005171}}};
    for (const auto& e : all) {
        shaping_step<double> step = golden();
        step.run(kl_penalty{.beta = 2, .estimator = e.estimator});
        REQUIRE(gap(step.token(), table{{-2 * e.value[0], -2 * e.value[1]}, {}, {-2 * e.value[2]}}) < 2e-6);
        REQUIRE(step.result.outcomes() == 0);
    }
}

TEST_CASE("kl_penalty adds to what is there, in both layouts, and never reads masked slots") {
    for (const layout how : layouts) {
        shaping_step<double> step = golden();
        step.how = how;
        step.mask = {{1, 0}, {}, {1}};
        step.log_prob[0][1] = step.reference_log_prob[0][1] = not_a_number;
        step.result.token().row(0)[0] = 10;
        step.result.token().row(0)[1] = 20;
        step.run(kl_penalty{.beta = 1});
        REQUIRE(gap(step.token(), table{{9.5, 20}, {}, {0.1}}) < 1e-12);
    }
}

TEST_CASE("kl_penalty at a log-ratio of 200, and in float") {
    shaping_step<float> step{.log_prob = {{0, -200}}, .reference_log_prob = {{-200, 0}}};
    for (int k = 0; k < 2; ++k) {
        step.begin({2});
        step.run(kl_penalty{.beta = 0.5});
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(gap(step.token(), table{{-100, 100}}) == 0);
    step.begin({2});
    step.run(kl_penalty{.beta = 1, .estimator = kl_estimator::k3});
    REQUIRE(gap(step.token(), as_float({{-199, -(std::exp(20.0) - 21)}})) == 0);
}

TEST_CASE("kl_penalty refuses what does not fit, by name") {
    const auto message = [](shaping_step<double> step) {
        return message_of<rlgaf::shape_error>([&] { step.run(kl_penalty{}); });
    };
    REQUIRE(message(golden()) == "nothing thrown");
    shaping_step<double> bad = golden();
    bad.reference_log_prob = {};
    REQUIRE(message(bad) == "rlgaf::kl_penalty: terms.reference_log_prob: expected 3 elements, got 0");
    bad = golden();
    bad.log_prob[1] = {0};
    REQUIRE(message(bad) == "rlgaf::kl_penalty: terms.log_prob row 1: expected 0 tokens, got 1");
    bad = golden();
    bad.mask = {{1}, {}, {1}};
    REQUIRE(message(bad) == "rlgaf::kl_penalty: terms.mask row 0: expected 2 tokens, got 1");
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(kl_penalty{.beta = x}, "kl_penalty", "beta"));
    REQUIRE_NOTHROW(kl_penalty{.beta = 0}.check());
    bad = golden();
    REQUIRE_THROWS_AS(bad.run(kl_penalty{.beta = -1}), rlgaf::option_error);
}
