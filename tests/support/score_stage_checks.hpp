#pragma once
/// What every stage owes that turns each score into a reward by itself: see check_score_stage.
#include "support/shaping_checks.hpp"

namespace rlgaf_test {

/// The scores of the discriminator sheet's table of sample rewards.
inline const std::vector<double> sheet_samples = {-2, -0.5, 0, 0.5, 2};

/// The stage's outcome "discriminator" of these scores, `width` a row.
template <class T, class Stage>
std::vector<double> score_reward(const Stage& stage, const std::vector<T>& score, std::size_t width = 1,
                                 const std::vector<T>& expert = {}) {
    shaping_step<T> step{.score = score, .width = width, .expert_score = expert};
    for (std::size_t i = 0; i < score.size() / width; ++i) step.group.push_back(0);
    const std::vector<std::uint32_t> lengths(step.group.size(), 1);
    for (int k = 0; k < 2; ++k) {
        step.begin(lengths);
        step.run(stage);
    }
    REQUIRE(step.allocated == 0);
    REQUIRE(step.result.outcomes() == 1);
    REQUIRE(step.result.name(0) == "discriminator");
    REQUIRE(step.result.view().token.empty());
    return step.outcome(0);
}

/// NaN, float, several scores a row, wrong shapes. With `expert`, the stage compares with it.
template <class Stage>
void check_score_stage(const Stage& stage, const std::string& name) {
    constexpr bool pairs = rlgaf::needs_expert_score<Stage>();
    dice d(31 + name.size());
    std::vector<double> s(12), e(pairs ? 12 : 0);
    for (auto* x : {&s, &e})
        for (double& v : *x) v = static_cast<double>(static_cast<float>(3 * d.normal()));
    const std::vector<double> plain = score_reward(stage, s, 1, e), wide = score_reward(stage, s, 3, e);
    REQUIRE(wide.size() == 4);
    for (std::size_t i = 0; i < 4; ++i)
        REQUIRE(gap(wide[i], (plain[3 * i] + plain[3 * i + 1] + plain[3 * i + 2]) / 3) < 1e-12);
    const std::vector<float> narrow(s.begin(), s.end()), narrow_e(e.begin(), e.end());
    const std::vector<double> in_float = score_reward(stage, narrow, 1, narrow_e);
    for (std::size_t i = 0; i < plain.size(); ++i)
        REQUIRE(gap(in_float[i], plain[i]) < 2e-6 * (1 + std::abs(plain[i])));

    for (std::vector<double>* x : {&s, &e}) {
        if (x->empty()) continue;
        const double kept = x->at(4);
        x->at(4) = not_a_number;
        for (const std::size_t width : {std::size_t{1}, std::size_t{3}}) {
            const std::vector<double> r = score_reward(stage, s, width, e);
            for (std::size_t i = 0; i < r.size(); ++i) {
                REQUIRE(std::isnan(r[i]) == (i == 4 / width));
                if (i != 4 / width) REQUIRE(same_bits(r[i], (width == 1 ? plain : wide)[i]));
            }
        }
        x->at(4) = kept;
    }
    REQUIRE(score_reward(stage, std::vector<double>{}).empty());

    shaping_step<double> step{.score = {1, 2}, .expert_score = {1, 2}};
    const auto message = [&](std::size_t rows) {
        step.begin(std::vector<std::uint32_t>(rows, 1));
        return message_of<rlgaf::shape_error>([&] { step.run(stage); });
    };
    REQUIRE(message(2) == "nothing thrown");
    REQUIRE(message(3) == "rlgaf::" + name + ": terms.score: expected 3 elements, got 2");
    step.width = 2;
    REQUIRE(message(1) == "nothing thrown");
    REQUIRE(message(2) == "rlgaf::" + name + ": terms.score: expected 4 elements, got 2");
    if (pairs) {
        step.expert_score.pop_back();
        REQUIRE(message(1) == "rlgaf::" + name + ": terms.expert_score: expected 2 elements, got 1");
    }
}

}  // namespace rlgaf_test
