#include "rlgaf/discriminator/loss/three_way.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

using namespace rlgaf_test;
using rlgaf::three_way;
using rlgaf::tie_objective;

namespace {

struct result {
    rlgaf::discriminator_loss_stats stats;
    std::vector<double> d;
};

template <class T = double>
result judge(const three_way& loss, const std::vector<double>& z, double start = 0) {
    const std::vector<T> score(z.begin(), z.end());
    std::vector<T> d(z.size(), static_cast<T>(start));
    rlgaf::discriminator_loss_stats stats;
    const std::size_t allocated = allocations_of([&] { stats = loss(rlgaf::pair_terms<T>{score}, std::span<T>(d)); });
    REQUIRE(allocated == 0);
    return {stats, {d.begin(), d.end()}};
}

three_way random_loss(dice& d) {
    if (d.chance(0.5)) return {.reward_of_tie = d.uniform()};
    return {.objective = tie_objective::likelihood, .tie = d.chance(0.3) ? 0 : d.uniform(0, 0.99)};
}

}  // namespace

TEST_CASE("three_way on one pair, by hand") {
    // p = (0.5, 0.2, 0.3): J = 0.5 + 0.55 * 0.3 = 0.665
    const std::vector<double> z = {std::log(0.5), std::log(0.2), std::log(0.3)};
    const result reward = judge(three_way{}, z);
    REQUIRE(gap(reward.stats.loss, -0.665) < 1e-14);
    REQUIRE(gap(reward.d, {-0.5 * 0.335, 0.2 * 0.665, 0.3 * 0.115}) < 1e-14);
    REQUIRE(reward.stats.accuracy == 1);
    REQUIRE(gap(reward.stats.real_mean, std::log(0.5)) < 1e-14);
    REQUIRE(gap(reward.stats.fake_mean, std::log(0.2)) < 1e-14);
    const result label = judge(three_way{.objective = tie_objective::likelihood}, z);
    REQUIRE(gap(label.stats.loss, std::log(2)) < 1e-14);
    REQUIRE(gap(label.d, {-0.5, 0.2, 0.3}) < 1e-14);
    const result shared = judge(three_way{.objective = tie_objective::likelihood, .tie = 0.25}, z);
    REQUIRE(gap(shared.stats.loss, 0.75 * std::log(2) - 0.25 * std::log(0.3)) < 1e-14);
    REQUIRE(gap(shared.d, {-0.25, 0.2, 0.05}) < 1e-14);
}

TEST_CASE("three_way: finite differences, accumulation, order of pairs, float") {
    dice d(2511);
    for (int round = 0; round < 2000; ++round) {
        const three_way loss = random_loss(d);
        std::vector<double> z(3 * d.below(6));
        const double scale = d.chance(0.2) ? 20 : 2;
        for (double& v : z) v = scale * d.normal();
        const result r = judge(loss, z);
        for (std::size_t k = 0; k < z.size(); ++k)
            REQUIRE(gap(slope([&] { return judge(loss, z).stats.loss; }, z[k]), r.d[k]) < 1e-6);
        const result added = judge(loss, z, 5);
        for (std::size_t k = 0; k < z.size(); ++k) REQUIRE(gap(added.d[k] - 5, r.d[k]) < 1e-12);

        const std::vector<std::size_t> order = d.permutation(z.size() / 3);
        std::vector<double> turned(z.size());
        double above = 0;
        for (std::size_t j = 0; j < order.size(); ++j) {
            for (std::size_t k = 0; k < 3; ++k) turned[3 * j + k] = z[3 * order[j] + k];
            above += z[3 * j] > z[3 * j + 1] ? 1 : 0;
        }
        const result other = judge(loss, turned);
        REQUIRE(gap(other.stats.loss, r.stats.loss) < 1e-12 * (1 + std::abs(r.stats.loss)));
        for (std::size_t j = 0; j < order.size(); ++j)
            for (std::size_t k = 0; k < 3; ++k) REQUIRE(other.d[3 * j + k] == r.d[3 * order[j] + k]);
        if (!z.empty()) REQUIRE(gap(r.stats.accuracy, above / static_cast<double>(order.size())) < 1e-12);

        for (double& v : z) v = static_cast<double>(static_cast<float>(v));
        const result wide = judge(loss, z), narrow = judge<float>(loss, z);
        REQUIRE(narrow.stats.loss == wide.stats.loss);
        for (std::size_t k = 0; k < z.size(); ++k)
            REQUIRE(narrow.d[k] == static_cast<double>(static_cast<float>(wide.d[k])));
    }
}

TEST_CASE("three_way: a tie earns most exactly where 1 - reward_of_tie <= belief <= reward_of_tie") {
    // A critic that believes with probability b that the first answer is the demonstration faces both orders of one
    // pair at once: (1, 0, tau) with b, (0, 1, tau) with 1 - b. Its numbers are swapped in the second.
    for (const double tau : {0.3, 0.5, 0.55, 0.7})
        for (int percent = 1; percent < 100; percent += 2) {
            const double b = percent / 100.0;
            if (gap(b, tau) < 1e-9 || gap(b, 1 - tau) < 1e-9) continue;
            std::vector<double> z(3, 0.0);
            for (int step = 0; step < 3000; ++step) {  // of gradient ascent on the expectation
                const std::vector<double> straight = {z[0], z[1], z[2]}, swapped = {z[1], z[0], z[2]};
                const std::vector<double> first = judge(three_way{.reward_of_tie = tau}, straight).d,
                                          second = judge(three_way{.reward_of_tie = tau}, swapped).d;
                z[0] -= 20 * (b * first[0] + (1 - b) * second[1]);
                z[1] -= 20 * (b * first[1] + (1 - b) * second[0]);
                z[2] -= 20 * (b * first[2] + (1 - b) * second[2]);
            }
            const std::size_t best = z[0] > z[1] ? (z[0] > z[2] ? 0 : 2) : (z[1] > z[2] ? 1 : 2);
            CAPTURE(tau, b, z[0], z[1], z[2]);
            REQUIRE(best == (b > tau && b > 0.5       ? 0u
                             : 1 - b > tau && b < 0.5 ? 1u
                             : tau > 0.5              ? 2u
                             : b > 0.5                ? 0u
                                                      : 1u));
            REQUIRE((best == 2) == (1 - tau <= b && b <= tau));
        }
}

TEST_CASE("three_way with saturated scores, ties and no pairs") {
    const result sure = judge(three_way{}, {1e4, -1e4, 0});
    REQUIRE(sure.stats.loss == -1);
    REQUIRE(gap(sure.d, {0, 0, 0}) == 0);
    const result wrong = judge(three_way{.objective = tie_objective::likelihood}, {-1e4, 1e4, 0});
    REQUIRE(wrong.stats.loss == 2e4);
    REQUIRE(gap(wrong.d, {-1, 1, 0}) == 0);
    REQUIRE(wrong.stats.accuracy == 0);
    REQUIRE(judge(three_way{}, {1, 1, 0}).stats.accuracy == 0.5);
    const result none = judge(three_way{}, {});
    REQUIRE(none.stats.loss == 0);
    REQUIRE(none.stats.accuracy == 0.5);
}

TEST_CASE("three_way names what does not fit") {
    std::vector<double> four(4), three(3);
    const auto message = [](std::span<const double> z, std::span<double> d) {
        return message_of<rlgaf::shape_error>([&] { three_way{}(rlgaf::pair_terms<double>{z}, d); });
    };
    REQUIRE(message(four, four) == "rlgaf::three_way: score: expected 3 elements, got 4");
    REQUIRE(message(three, four) == "rlgaf::three_way: d_score: expected 3 elements, got 4");
    for (const double x : {-0.1, 1.1, not_a_number})
        REQUIRE(refuses(three_way{.reward_of_tie = x}, "three_way", "reward_of_tie"));
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(three_way{.objective = tie_objective::likelihood, .tie = x}, "three_way", "tie"));
    REQUIRE(refuses(three_way{.tie = 0.1}, "three_way", "tie"));
    REQUIRE_THROWS_AS(judge(three_way{.reward_of_tie = 2}, {0, 0, 0}), rlgaf::option_error);
}
