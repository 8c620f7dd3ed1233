#include "rlgaf/reward_shaping/ema_normalize.hpp"
#include "support/shaping_checks.hpp"

using namespace rlgaf_test;
using rlgaf::ema_normalize;

TEST_CASE("ema_normalize: moments in which step K - k weighs decay^k, taken in after use") {
    for (const bool keep_mean : {false, true}) {
        const ema_normalize stage{.decay = 0.8, .keep_mean = keep_mean};
        ema_normalize::state state;
        std::vector<std::vector<double>> seen;
        dice d(21);
        for (int k = 0; k < 6; ++k) {
            std::vector<double> r;
            for (int i = 0; i < 4; ++i) r.push_back(d.chance(0.2) ? not_a_number : 10 + d.normal());
            shaping_step<double> step = step_with({r});
            step.run(stage, state);
            if (k > 0) REQUIRE(step.allocated == 0);
            // mean and variance of all earlier numbers, those of a step weighing decay^k / their count
            double weight = 0, mean = 0, square = 0;
            for (std::size_t s = 0; s < seen.size(); ++s)
                for (const double v : seen[s]) {
                    const double w =
                        std::pow(0.8, static_cast<double>(seen.size() - 1 - s)) / static_cast<double>(seen[s].size());
                    weight += w, mean += w * v, square += w * v * v;
                }
            mean /= weight, square /= weight;
            for (std::size_t i = 0; i < 4; ++i) {
                if (std::isnan(r[i])) {
                    REQUIRE(std::isnan(step.outcome(0)[i]));
                    continue;
                }
                const double expected =
                    seen.empty() ? r[i] : (r[i] - (keep_mean ? 0 : mean)) / std::sqrt(square - mean * mean);
                REQUIRE(gap(step.outcome(0)[i], expected) < 1e-9);
            }
            std::vector<double> numbers;
            for (const double v : r)
                if (!std::isnan(v)) numbers.push_back(v);
            if (!numbers.empty()) seen.push_back(numbers);
        }
    }
}

TEST_CASE("ema_normalize equals imitation's EMANorm, written out for two steps") {
    // S = 1: mean 2, variance 1; then S = 1.99, a = 1 / S, d = 7 - 2, mean += a d, variance += a (4 + (1 - a) d^2 - 1)
    ema_normalize::state state;
    for (const auto& r : {std::vector<double>{1, 3}, std::vector<double>{5, 9}}) {
        shaping_step<double> step = step_with({r});
        step.run(ema_normalize{.decay = 0.99}, state);
    }
    const double a = 1 / 1.99;
    REQUIRE(gap(state.outcome[0].mean, 2 + a * 5) < 1e-14);
    REQUIRE(gap(state.outcome[0].variance, 1 + a * (4 + (1 - a) * 25 - 1)) < 1e-14);
}

TEST_CASE("ema_normalize: constant steps, an archive, refusals") {
    ema_normalize::state state;
    for (int k = 0; k < 3; ++k) {
        shaping_step<double> step = step_with({{17.3, 17.3, 17.3}, {1, 2, not_a_number}});
        step.run(ema_normalize{}, state);
        REQUIRE(gap(step.outcome(0), {17.3, 17.3, 17.3}) == 0);
    }
    auto copy = copy_through_archive(state);
    REQUIRE(copy.outcome.size() == 2);
    REQUIRE(gap(archived(copy), archived(state)) == 0);
    REQUIRE(copy.outcome[1].variance == 0.25);
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(ema_normalize{.decay = x}, "ema_normalize", "decay"));
}
