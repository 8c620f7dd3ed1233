#include "rlgaf/policy_gradient/rejection.hpp"
#include "support/factor_checks.hpp"

using namespace rlgaf_test;
using rlgaf::kl_estimator;
using rlgaf::rejection;
using rlgaf::rejection_level;

namespace {
const std::vector<std::string> needs = {"old_log_prob", "behaviour_log_prob"};
constexpr rejection_level levels[] = {rejection_level::token, rejection_level::sequence_sum,
                                      rejection_level::sequence_mean, rejection_level::sequence_max};

rejection random_options(dice& d) {
    constexpr kl_estimator statistics[] = {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3};
    rejection o{.level = levels[d.below(4)], .statistic = statistics[d.below(3)]};
    o.low = d.chance(0.3) ? 0 : d.uniform(0.2, 1);
    o.high = o.statistic == kl_estimator::k1 ? d.uniform(1, 3) : d.uniform(0.001, 1);
    if (d.chance(0.1)) o.high = infinity;
    return o;
}
/// Whether one number is in bounds: a log-ratio policy / sampler for k1, nats otherwise.
bool inside(const rejection& o, double x) {
    return o.statistic == kl_estimator::k1 ? std::exp(x) >= o.low && std::exp(x) <= o.high : x <= o.high;
}
double statistic(const rejection& o, double d) {
    if (o.statistic == kl_estimator::k1) return d;
    if (o.statistic == kl_estimator::k2) return d * d / 2;
    const double held = std::fmin(d, 20);
    return std::exp(held) - 1 - held;
}
table kept(const rejection& o, const factor_case& c) {
    return table_like(c.factor, [&](auto b, auto t) {
        const auto x = [&](std::size_t s) { return statistic(o, c.old_log_prob[b][s] - c.behaviour_log_prob[b][s]); };
        if (o.level == rejection_level::token) return inside(o, x(t)) ? 1.0 : 0.0;
        double sum = 0, tokens = 0;
        bool every = true;
        for (std::size_t s = 0; s < c.factor[b].size(); ++s)
            if (included(c.mask, b, s)) sum += x(s), tokens += 1, every = every && inside(o, x(s));
        if (o.level == rejection_level::sequence_max) return every ? 1.0 : 0.0;
        return inside(o, o.level == rejection_level::sequence_sum ? sum : sum / tokens) ? 1.0 : 0.0;
    });
}
}  // namespace

TEST_CASE("rejection agrees with its definition on random cases, and with the rules of every component") {
    check_factor("rejection", needs, random_options, kept);
}

TEST_CASE("rejection counts what it drops, and parts of a step add up") {
    dice d(31);
    for (int i = 0; i < 1000; ++i) {
        const rejection o = random_options(d);
        const factor_case c = random_factor_case(d, needs);
        const table k = kept(o, c);
        double tokens = 0, dropped = 0, rows = 0, dropped_rows = 0;
        for (std::size_t b = 0; b < k.size(); ++b) {
            double in_row = 0, lost = 0;
            for (std::size_t t = 0; t < k[b].size(); ++t)
                if (included(c.mask, b, t)) in_row += 1, lost += k[b][t] == 0;
            tokens += in_row, dropped += lost, rows += in_row > 0, dropped_rows += lost > 0;
        }
        const rlgaf::selection_stats s = stats_of(o, c);
        REQUIRE(s.tokens == tokens);
        REQUIRE(s.dropped_tokens == dropped);
        REQUIRE(s.rows == rows);
        REQUIRE(s.dropped_rows == dropped_rows);
        REQUIRE(s.dropped_share() == (tokens > 0 ? dropped / tokens : 0));

        rlgaf::selection_stats sum;
        table joined;
        const std::size_t cut = d.below(c.factor.size() + 1);
        for (const bool first : {true, false}) {
            factor_case part = c;
            for (table* x : part.tables())
                if (!x->empty()) {
                    const auto at = x->begin() + static_cast<std::ptrdiff_t>(cut);
                    *x = first ? table(x->begin(), at) : table(at, x->end());
                }
            sum.merge(stats_of(o, part));
            for (const auto& row : run(o, part)) joined.push_back(row);
        }
        REQUIRE(sum.tokens == tokens);
        REQUIRE(sum.dropped_tokens == dropped);
        REQUIRE(sum.rows == rows);
        REQUIRE(sum.dropped_rows == dropped_rows);
        REQUIRE(same_bits(joined, run(o, c)));
    }
}

TEST_CASE("Trap: k1's bounds are on the ratio policy / sampler, not on its reciprocal as in verl") {
    // The policy gives four times what the sampler gave, and a quarter of it.
    const double l4 = std::log(4.0);
    const factor_case c = one_row({-1, -1}, {-1 - l4, -1 + l4});
    const rejection up{.level = rejection_level::token, .low = 0.5, .high = 5};
    REQUIRE(run(up, c)[0] == std::vector<double>{1, 0});
    const rejection down{.level = rejection_level::token, .low = 0.2, .high = 2};
    REQUIRE(run(down, c)[0] == std::vector<double>{0, 1});
    // Bounds that are each other's reciprocals hide the difference.
    const rejection symmetric{.level = rejection_level::token, .low = 0.2, .high = 5};
    REQUIRE(run(symmetric, c)[0] == std::vector<double>{1, 1});
}

TEST_CASE("rejection by hand at each level") {
    const factor_case c = one_row({-1, -1, -1}, {-1.5, -1, -0.9});  // d = 0.5, 0, -0.1
    const auto weights = [&](rejection o) { return run(o, c)[0]; };
    const std::vector<double> all = {1, 1, 1}, none = {0, 0, 0};
    const double sum = std::exp(0.4), mean = std::exp(0.4 / 3), worst = std::exp(0.5);
    for (const auto& [level, edge] :
         {std::pair{rejection_level::sequence_sum, sum}, std::pair{rejection_level::sequence_mean, mean},
          std::pair{rejection_level::sequence_max, worst}}) {
        REQUIRE(weights({.level = level, .low = 0, .high = edge + 1e-9}) == all);
        REQUIRE(weights({.level = level, .low = 0, .high = edge - 1e-9}) == none);
    }
    REQUIRE(weights({.level = rejection_level::sequence_max, .low = 0.95, .high = infinity}) == none);  // verl's veto
    REQUIRE(weights({.level = rejection_level::sequence_max, .low = 0.90, .high = infinity}) == all);
    const double k2 = (0.125 + 0.005) / 3;
    REQUIRE(weights({.statistic = kl_estimator::k2, .high = k2 + 1e-9}) == all);
    REQUIRE(weights({.statistic = kl_estimator::k2, .high = k2 - 1e-9}) == none);
    const double k3 = (std::exp(0.5) - 1.5 + std::exp(-0.1) - 0.9) / 3;
    REQUIRE(weights({.statistic = kl_estimator::k3, .high = k3 + 1e-9}) == all);
    REQUIRE(weights({.statistic = kl_estimator::k3, .high = k3 - 1e-9}) == none);
}

TEST_CASE("rejection at a kink: a statistic equal to its bound is kept") {
    const double high = std::exp(0.5), low = std::exp(-0.5);
    const rejection k1{.level = rejection_level::token, .low = low, .high = high};
    REQUIRE(run(k1, one_row({-1, -1}, {-1.5, -0.5}))[0] == std::vector<double>{1, 1});
    const rejection k2{.level = rejection_level::token, .statistic = kl_estimator::k2, .high = 0.125};
    REQUIRE(run(k2, one_row({-1, -1}, {-1.5, -0.5}))[0] == std::vector<double>{1, 1});
    REQUIRE(run(k2, one_row({-1, -1}, {-1.5 - 1e-9, -0.5}))[0] == std::vector<double>{0, 1});
}

TEST_CASE("rejection of log-ratios of 200, of infinity and of NaN") {
    for (const double far : {200.0, 1e4, infinity})
        for (const rejection_level level : levels)
            for (const kl_estimator k : {kl_estimator::k1, kl_estimator::k2, kl_estimator::k3}) {
                const rejection o{.level = level, .statistic = k};
                REQUIRE(run(o, one_row({0}, {-far}))[0][0] == 0);
                REQUIRE(run(o, one_row({-far}, {0}))[0][0] == 0);
                REQUIRE(run(o, one_row({not_a_number}, {0}))[0][0] == 0);
                REQUIRE(run(o, one_row({-3}, {-3}))[0][0] == 1);
            }
    factor_case c = one_row({0}, {-200});
    c.factor = {{not_a_number}};
    REQUIRE(run(rejection{}, c)[0][0] == 0);  // set, not multiplied
}

TEST_CASE("rejection refuses options out of range by name") {
    for (const kl_estimator k : {kl_estimator::abs, kl_estimator::k1_plus, kl_estimator::k3_plus})
        REQUIRE(refuses(rejection{.statistic = k}, "rejection", "statistic"));
    for (const double x : {-0.1, not_a_number}) REQUIRE(refuses(rejection{.low = x}, "rejection", "low"));
    for (const double x : {-0.1, 0.0, 0.9, not_a_number}) REQUIRE(refuses(rejection{.high = x}, "rejection", "high"));
    REQUIRE_NOTHROW(rejection{.statistic = kl_estimator::k3, .high = 0.01}.check());
    REQUIRE_NOTHROW(rejection{.low = 0, .high = infinity}.check());
    REQUIRE_THROWS_AS(run(rejection{.high = -1}, one_row({0}, {0})), rlgaf::option_error);
}
