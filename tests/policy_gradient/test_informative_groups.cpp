#include "rlgaf/policy_gradient/informative_groups.hpp"
#include "support/advantage_checks.hpp"

using namespace rlgaf_test;
using rlgaf::informative_groups;

namespace {
struct choice {
    std::vector<std::size_t> pick;
    rlgaf::group_selection result;
};
template <class T = double>
choice run_on(const informative_groups& o, const advantage_case& c, layout how = layout::packed) {
    advantage_arrays<T> arrays(c, how);
    const auto terms = arrays.terms();
    rlgaf::workspace work;
    work.a = work.b = work.c = work.d = work.e = {1e12, 1e12};
    choice x{{9, 9, 9}, {}};
    x.result = o(terms.reward, terms.group, terms.mask, work, x.pick);
    return x;
}
std::vector<std::size_t> picked(const informative_groups& o, const std::vector<double>& reward,
                                const std::vector<std::uint32_t>& group) {
    advantage_case c = one_token_rows(reward);
    c.group = group;
    c.groups = 9;
    return run_on(o, c).pick;
}
using rows = std::vector<std::size_t>;
}  // namespace

TEST_CASE("informative_groups keeps groups whose rewards vary, whole and in the order of their rows") {
    const std::vector<std::uint32_t> group = {0, 1, 0, 1, 2, 2};
    REQUIRE(picked({}, {1, 0, 1, 1, 0.5, 0.5}, group) == rows{1, 3});
    REQUIRE(picked({}, {1, 0, 0, 1, 0.5, 0.25}, group) == rows{0, 1, 2, 3, 4, 5});
    REQUIRE(picked({.tolerance = 0.5}, {1, 0, 0, 1, 0.5, 0.25}, group) == rows{0, 1, 2, 3});
    // At the tolerance: dropped. The deviation of 0 and 2 is sqrt 2.
    REQUIRE(picked({.tolerance = std::sqrt(2.0)}, {0, 2}, {0, 0}).empty());
    // OpenRLHF: the mean strictly between 0 and 1.
    const informative_groups between{.lowest = 0, .highest = 1};
    REQUIRE(picked(between, {2, 0, 0, 1, -1, 1}, group) == rows{1, 3});
    // A row without a reward stays with its group, but makes none informative.
    REQUIRE(picked({}, {1, not_a_number, 0, 2, not_a_number, 7}, {0, 0, 0, 1, 1, 2}) == rows{0, 1, 2});
    REQUIRE(picked({}, {}, {}).empty());
}

TEST_CASE("informative_groups: equal rewards are told from rewards as in grpo, beside a constant of any size too") {
    REQUIRE(picked({}, std::vector<double>(8, 17.3), std::vector<std::uint32_t>(8, 0)).empty());
    REQUIRE(picked({}, {1e6, 1e6 + 0.5}, {0, 0}).empty());
    advantage_case c = one_token_rows({0, 1, 0.3, 0.3});
    c.group = {0, 0, 1, 1};
    c.groups = 2;
    c.outcome.push_back(std::vector<double>(4, 1e6));
    REQUIRE(run_on({}, c).pick == rows{0, 1});
}

TEST_CASE("informative_groups agrees with two loops on random rewards, in both layouts and float") {
    dice d(81);
    for (int i = 0; i < 2000; ++i) {
        CAPTURE(i);
        advantage_case c = random_advantage_case(d);
        c.token = as_float(c.token);
        const informative_groups o{.tolerance = d.chance(0.5) ? 0 : d.uniform(0, 2),
                                   .lowest = d.chance(0.5) ? -infinity : d.uniform(-2, 0),
                                   .highest = d.chance(0.5) ? infinity : d.uniform(0, 2)};
        const choice x = run_on(o, c);
        REQUIRE(run_on(o, c, layout::padded).pick == x.pick);
        REQUIRE(run_on<float>(o, c).pick == x.pick);
        // Each reward centred on the rows that it applies to.
        std::vector<double> apart(c.shape.size(), not_a_number), total = apart;
        for (const auto& reward : row_rewards(c))
            for (std::size_t r = 0; r < reward.size(); ++r) {
                if (std::isnan(reward[r])) continue;
                double sum = 0, n = 0;
                for (std::size_t j = 0; j < reward.size(); ++j)
                    if (c.group[j] == c.group[r] && !std::isnan(reward[j])) sum += reward[j], n += 1;
                apart[r] = (std::isnan(apart[r]) ? 0 : apart[r]) + reward[r] - sum / n;
                total[r] = (std::isnan(total[r]) ? 0 : total[r]) + reward[r];
            }
        rows expected;
        std::vector<bool> filled(c.groups), kept(c.groups);
        for (std::size_t r = 0; r < c.shape.size(); ++r) {
            double n = 0, squares = 0, sum = 0;
            for (std::size_t j = 0; j < c.shape.size(); ++j)
                if (c.group[j] == c.group[r] && !std::isnan(apart[j]))
                    n += 1, squares += apart[j] * apart[j], sum += total[j];
            if (n > 0) filled[c.group[r]] = true;
            const double deviation = n > 1 ? std::sqrt(squares / (n - 1)) : 0, mean = n > 0 ? sum / n : 0;
            if (!(deviation > o.tolerance && deviation > equal_rewards(c, r) && mean > o.lowest && mean < o.highest))
                continue;
            expected.push_back(r);
            kept[c.group[r]] = true;
        }
        REQUIRE(x.pick == expected);
        std::size_t groups = 0, keep = 0;
        for (std::size_t g = 0; g < c.groups; ++g) groups += filled[g], keep += kept[g];
        REQUIRE(x.result.groups == groups);
        REQUIRE(x.result.kept == keep);
        REQUIRE(gap(x.result.kept_share(), groups > 0 ? static_cast<double>(keep) / static_cast<double>(groups) : 0) <
                1e-15);
    }
}

TEST_CASE("informative_groups refuses shapes and options by name, and allocates nothing twice") {
    for (const double x : {-0.1, infinity, not_a_number})
        REQUIRE(refuses(informative_groups{.tolerance = x}, "informative_groups", "tolerance"));
    REQUIRE(refuses(informative_groups{.lowest = not_a_number}, "informative_groups", "lowest"));
    for (const double x : {1.0, 0.5, not_a_number})
        REQUIRE(refuses(informative_groups{.lowest = 1, .highest = x}, "informative_groups", "highest"));
    advantage_case c = one_token_rows({1, 2});
    c.group = {0, 1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run_on({}, c); }) ==
            "rlgaf::informative_groups: groups.id[1]: expected below 1, got 1");
    c.group = {0};
    REQUIRE(message_of<rlgaf::shape_error>([&] { run_on({}, c); }) ==
            "rlgaf::informative_groups: reward.outcome: expected 1 elements, got 2");
    c.group = {0, 0};
    advantage_arrays<float> arrays(c, layout::packed);
    const auto terms = arrays.terms();
    rlgaf::workspace work;
    rows pick;
    const auto call = [&] { informative_groups{}(terms.reward, terms.group, terms.mask, work, pick); };
    call();
    REQUIRE(allocations_of(call) == 0);
}
