/// The traps of estimators in use elsewhere, one test each, over all estimators that they concern.
#include "policy_gradient/advantage/row_arrays.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/gdpo.hpp"
#include "rlgaf/policy_gradient/advantage/gpg.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/advantage/max_second.hpp"
#include "rlgaf/policy_gradient/advantage/opo.hpp"
#include "rlgaf/policy_gradient/advantage/optimal_token_baseline.hpp"
#include "rlgaf/policy_gradient/advantage/pkpo.hpp"
#include "rlgaf/policy_gradient/advantage/process_grpo.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce_plus_plus.hpp"
#include "rlgaf/policy_gradient/advantage/remax.hpp"
#include "rlgaf/policy_gradient/advantage/rloo.hpp"
#include "rlgaf/policy_gradient/advantage/vtrace.hpp"

using namespace rlgaf_test;
using namespace rlgaf;

namespace {

/// Estimators that compare the rows of a group.
template <class F>
void for_each_group_estimator(F&& f) {
    f("grpo", grpo{});
    f("rloo", rloo{});
    f("opo", opo{});
    f("gdpo", gdpo{});
    f("process_grpo", process_grpo{});
    f("reinforce_plus_plus with group_baseline", reinforce_plus_plus{.group_baseline = true, .group_size = 0});
    f("optimal_token_baseline", optimal_token_baseline{});
}
template <class F>
void for_each_whitening_estimator(F&& f) {
    for (const variance_kind kind : {variance_kind::bessel, variance_kind::biased}) {
        f("gae", gae{.variance = kind});
        f("reinforce_plus_plus", reinforce_plus_plus{.variance = kind});
        f("reinforce_plus_plus with group_baseline",
          reinforce_plus_plus{.group_baseline = true, .variance = kind, .group_size = 0});
    }
}
template <class F>
void for_each_estimator(F&& f) {
    for_each_group_estimator(f);
    f("reinforce", reinforce{});
    f("reinforce_plus_plus", reinforce_plus_plus{});
    f("gae", gae{});
    f("vtrace", vtrace{});
    f("remax", remax{});
}

/// Arrays that are the same for every row: a critic that knows nothing, no change of policy, equal score norms.
template <class Estimator>
table plainly(const Estimator& estimator, const advantage_case& c, double greedy = 0) {
    if constexpr (stateful<Estimator>) {
        return run(estimator, c).advantage;
    } else {
        const auto all = [&](double x) {
            return table_like(c.shape, [&](auto i, auto t) { return included(c.mask, i, t) ? x : not_a_number; });
        };
        return run_with(estimator, c,
                        {.value = all(0),
                         .log_prob = all(-1),
                         .behaviour_log_prob = all(-1),
                         .score_norm = all(1),
                         .greedy_reward = std::vector<double>(c.shape.size(), greedy)})
            .advantage;
    }
}
bool all_zero(const table& x) { return gap(x, zeros(x)) == 0; }
bool finite(const table& x) { return gap(x, zeros(x)) < 1e9; }

}  // namespace

TEST_CASE("trap: NaN in a masked slot must not reach a sum through 0 * NaN") {
    advantage_case c{.shape = {{0, 0, 0}, {0, 0}, {0}},
                     .outcome = {{1, 2, 4}},
                     .token = {{0.5, not_a_number, 1}, {not_a_number, 0.25}, {0.75}},
                     .mask = {{1, 0, 1}, {0, 1}, {1}},
                     .group = {0, 0, 0}};
    for_each_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, c);
        REQUIRE(finite(a));
        REQUIRE(a[0][1] == 0);
        REQUIRE(a[1][0] == 0);
    });
}

TEST_CASE("trap: a constant group must not become noise divided by noise") {
    const struct {
        double reward;
        std::size_t size;
    } groups[] = {{17.3, 8}, {0.1, 8}, {-5.7, 3}, {1e4 + 0.1, 7}};
    for (const auto& g : groups)
        for (const double r : {g.reward, static_cast<double>(static_cast<float>(g.reward))}) {
            // A second group varies, so that the step does.
            advantage_case c = one_token_rows(std::vector<double>(g.size, r));
            for (const double other : {1.0, 2.0})
                c.shape.push_back({0}), c.outcome[0].push_back(other), c.group.push_back(1);
            c.groups = 2;
            for_each_group_estimator([&](const char* name, const auto& estimator) {
                CAPTURE(name, r);
                const table a = plainly(estimator, c);
                for (std::size_t i = 0; i < g.size; ++i) REQUIRE(std::abs(a[i][0]) <= 1e-12 * std::abs(r));
                REQUIRE(a[g.size][0] < 0);
                REQUIRE(a[g.size + 1][0] > 0);
            });
        }
}

TEST_CASE("trap: a variance from sums of squares cancels where the mean is large") {
    const std::vector<double> reward = {1000.01, 1000.02, 1000.03};
    const advantage_case c = one_token_rows(reward);
    for_each_group_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, c);
        REQUIRE(gap(a[0][0], -a[2][0]) < 1e-9);
        REQUIRE(gap(a[1][0], 0) < 1e-9);
        REQUIRE(a[2][0] > 0.009);
    });
    for_each_whitening_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const double one = estimator.variance == variance_kind::bessel ? 1 : std::sqrt(1.5);
        REQUIRE(gap(plainly(estimator, c), table{{-one}, {0}, {one}}) < 1e-9);
    });
}

TEST_CASE("trap: a group of one must not get its raw reward") {
    advantage_case c = one_token_rows({5, 1, 3});
    c.group = {1, 0, 0};
    c.groups = 2;
    for_each_group_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, c);
        REQUIRE(a[0][0] == 0);
        REQUIRE(a[1][0] < 0);
        REQUIRE(all_zero(plainly(estimator, one_token_rows({5}))));
    });
    REQUIRE(plainly(optimal_token_baseline{.handle_zero_tail = true}, c)[0][0] == 0);
}

TEST_CASE("trap: rows without a token, where n - 1 and a division by n go wrong") {
    const table shape{{0, 0}, {}, {0}, {0, 0, 0}};
    const advantage_case some{
        .shape = shape, .outcome = {{1, 9, 9, 4}}, .mask = {{1, 1}, {}, {0}, {1, 0, 1}}, .group = {0, 0, 0, 0}};
    advantage_case none = some, constant = some;
    none.mask = zeros(shape);
    constant.outcome = {{9, 9, 9, 9}};
    for_each_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, some);
        REQUIRE(finite(a));
        REQUIRE(a[2][0] == 0);
        REQUIRE(a[3][1] == 0);
        REQUIRE(a[0][0] != 0);
        REQUIRE(finite(plainly(estimator, constant)));
        REQUIRE(all_zero(plainly(estimator, none)));
        REQUIRE(plainly(estimator, advantage_case{.outcome = {{}}}).empty());
    });
}

TEST_CASE("trap: the outcome of a row without a token is paid nowhere") {
    // verl writes it at index -1, the last slot of the padding; the guards of `run` would see that.
    const advantage_case c{.shape = {{}, {0, 0}, {0}},
                           .outcome = {{1e6, 1, 2}},
                           .mask = {{}, {0, 0}, {1}},
                           .group = {0, 1, 2},
                           .groups = 3};
    for_each_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, c);
        REQUIRE(gap(a[1], {0, 0}) == 0);
        REQUIRE(std::abs(a[2][0]) <= 2);
    });
}

TEST_CASE("trap: whitening fewer than two tokens") {
    for (const advantage_case& c : {one_token_rows({3}), one_token_rows({}), one_token_rows({3, not_a_number})})
        for_each_whitening_estimator([&](const char* name, const auto& estimator) {
            CAPTURE(name);
            REQUIRE(all_zero(plainly(estimator, c)));
        });
}

TEST_CASE("trap: whitening must not move masked slots away from 0") {
    advantage_case c{.shape = {{0, 0}, {0, 0}}, .outcome = {{5, 1}}, .mask = {{1, 0}, {1, 0}}, .group = {0, 0}};
    for_each_whitening_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, c);
        REQUIRE(a[0][1] == 0);
        REQUIRE(a[1][1] == 0);
        REQUIRE(gap(a[0][0] + a[1][0], 0) < 1e-15);  // nor do they count in the mean
    });
}

TEST_CASE("trap: whitening a constant must not multiply its rounding noise by 1e4") {
    for (const double r : {17.3, 0.1, -5.7, 1e4 + 0.1, static_cast<double>(17.3f)})
        for (const std::size_t rows : {2u, 3u, 7u, 64u})
            for_each_whitening_estimator([&](const char* name, const auto& estimator) {
                CAPTURE(name, r, rows);
                REQUIRE(all_zero(plainly(estimator, one_token_rows(std::vector<double>(rows, r)))));
            });
}

TEST_CASE("trap: groups that are interleaved, of different sizes, or partly filtered away") {
    const std::vector<double> first = {1, 4, 2, 8}, second = {-3, 0.5, 7};
    advantage_case both = one_token_rows({1, -3, 4, 0.5, 2, 7, 8}), other = one_token_rows(second);
    both.group = {4, 2, 4, 2, 4, 2, 4};  // 0, 1 and 3 have no rows any more
    both.groups = 5;
    const auto apart = [&](const auto& estimator) {
        const table a = plainly(estimator, one_token_rows(first)), b = plainly(estimator, other);
        return table{a[0], b[0], a[1], b[1], a[2], b[2], a[3]};
    };
    for_each_group_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, both), b = apart(estimator);
        // Estimators that also scale by the whole step keep the groups' signs and order.
        const std::string which = name;
        const bool scales_by_step = which == "gdpo" || which == "reinforce_plus_plus with group_baseline";
        for (std::size_t i = 0; i < a.size(); ++i)
            REQUIRE((scales_by_step ? a[i][0] * b[i][0] > 0 : gap(a[i][0], b[i][0]) < 1e-14));
    });
}

TEST_CASE("trap: the NaN of a failed scorer is out of mean, deviation and count") {
    for_each_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table with = plainly(estimator, one_token_rows({1, not_a_number, 4, 2})),
                    without = plainly(estimator, one_token_rows({1, 4, 2}));
        REQUIRE(gap(with, table{without[0], {0}, without[1], without[2]}) == 0);
        REQUIRE(all_zero(plainly(estimator, one_token_rows({not_a_number, not_a_number}))));
    });
}

TEST_CASE("trap: a truncated row without KL must not be the best one because its outcome does not apply") {
    const advantage_case without{
        .shape = {{0, 0}, {0, 0}}, .outcome = {{1, 2}}, .token = {{-1, 0}, {-3, 0}}, .group = {0, 0}};
    for (const double kl : {0.0, -5.0}) {
        const advantage_case with{.shape = {{0, 0}, {0, 0}, {0, 0}},
                                  .outcome = {{1, not_a_number, 2}},
                                  .token = {{-1, 0}, {kl, 0}, {-3, 0}},
                                  .group = {0, 0, 0}};
        for_each_estimator([&](const char* name, const auto& estimator) {
            CAPTURE(name, kl);
            const table a = plainly(estimator, with), b = plainly(estimator, without);
            REQUIRE(gap(a, table{b[0], {0, 0}, b[1]}) == 0);
        });
    }
}

TEST_CASE("trap: rewards far out leave no infinity behind") {
    for_each_estimator([&](const char* name, const auto& estimator) {
        CAPTURE(name);
        const table a = plainly(estimator, one_token_rows({1e100, -1e100, 0, 1}));
        for (const auto& row : a) REQUIRE(std::isfinite(row[0]));
    });
}

TEST_CASE("a step is constant when its rows earn the same in sum, wherever it is paid") {
    advantage_case c{.shape = {{0, 0}, {0, 0, 0}}, .outcome = {{3, 1}}, .token = {{1, 0}, {2, 0, 1}}, .group = {0, 0}};
    const auto share = [&](const auto& estimator) {
        return run_with(estimator, c, {.value = zeros(c.shape), .greedy_reward = {0, 0}}).stats.constant_groups;
    };
    const auto shares = [&] { return std::vector<double>{share(gae{}), share(remax{}), share(reinforce_plus_plus{})}; };
    REQUIRE(shares() == std::vector<double>{1, 1, 1});
    c.token[0][0] = 1.5;
    REQUIRE(shares() == std::vector<double>{0, 0, 0});
}

TEST_CASE("trap: a constant reward of 1e6 beside a real one must not make the group look constant") {
    // What the estimators give without it, they give with it: to the digits that a sum of that size leaves.
    const auto with_constant = [](advantage_case c, double constant) {
        c.outcome.push_back(std::vector<double>(c.shape.size(), constant));
        return c;
    };
    const auto check = [&](const auto& estimator, const advantage_case& c, double tolerance) {
        const table plain = plainly(estimator, c);
        REQUIRE(gap(plain, zeros(c.shape)) > 0.1);
        for (const double constant : {1e6, -1e6, 3e7}) {
            const advantage_case other = with_constant(c, constant);
            REQUIRE(gap(plainly(estimator, other), plain) < tolerance);
            REQUIRE(run(estimator, other).stats.constant_groups == run(estimator, c).stats.constant_groups);
        }
    };
    advantage_case c = one_token_rows({0, 1, 0.5, 0.25, 2, 2, 2, -1});
    c.group = {0, 1, 0, 1, 0, 2, 2, 1};
    c.groups = 3;
    for (const reward_scale scale : {reward_scale::group, reward_scale::batch, reward_scale::none})
        check(grpo{.scale = scale}, c, 1e-7);
    check(rloo{}, c, 1e-7);
    check(opo{}, c, 1e-7);
    check(gdpo{}, c, 1e-7);
    check(process_grpo{}, c, 1e-7);
    check(gpg{.scale = true}, c, 1e-7);
    check(max_second{.scale = true}, c, 1e-7);
    check(pkpo{.k = 2}, c, 1e-7);
    check(reinforce_plus_plus{.group_baseline = true, .group_size = 0}, c, 1e-7);
    check(reinforce_plus_plus{}, c, 1e-7);
    check(reinforce{}, c, 1e-7);
}

TEST_CASE("trap: rewards that cancel, and noise beside a constant, are still no signal") {
    // R and -R: what is left is rounding. One constant reward with the rounding of single precision: no signal either.
    const std::vector<double> r = {0.1, 0.7, -0.3, 1e3 + 1.0 / 3};
    advantage_case c = one_token_rows(r);
    c.outcome.push_back({-0.1, -0.7, 0.3, -1e3 - 1.0 / 3});
    c.outcome.push_back(std::vector<double>(4, 0.1));
    advantage_case noise = one_token_rows({1e6, 1e6 + 0.0625, 1e6, 1e6 - 0.0625});
    noise.outcome.push_back({3, 3, 3, 3});
    for (const advantage_case& silent : {c, noise})
        for_each_group_estimator([&](const char* name, const auto& estimator) {
            if (std::string(name) == "rloo" || std::string(name) == "opo" || std::string(name) == "gdpo" ||
                std::string(name) == "optimal_token_baseline")
                return;  // they do not divide by a spread, or judge each reward alone
            CAPTURE(name);
            REQUIRE(all_zero(plainly(estimator, silent)));
        });
}
