#include "policy_gradient/loss/row_reference.hpp"
#include "rlgaf/policy_gradient/loss/gspo.hpp"
#include "rlgaf/policy_gradient/loss/gspo_token.hpp"
#include "rlgaf/policy_gradient/loss/luspo.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/sequence_clip.hpp"

using namespace rlgaf_test;
using rlgaf::aggregation;
using rlgaf::gspo;
using rlgaf::luspo;
using rlgaf::sequence_clip;

namespace {
policy_loss_traits traits(const char* function) {
    return {.function = function, .needs = {"old_log_prob", "advantage"}};
}

template <class Loss>
Loss random_options(dice& d) {
    if (d.chance(0.2)) return {};
    return {.clip_low = d.uniform(0, 0.9), .clip_high = d.uniform(0, 1)};
}

/// max of the two branches, as in the papers, of a log-ratio that is the row's sum times `share`.
template <class Loss>
row_answer paper(const Loss& o, const row_tokens& row, double share, double gain) {
    const double x = share * row.sum(), s = std::exp(held_within(x, -20, 20)), a = row.advantage;
    const double plain = -a * s, clipped = -a * held_within(s, 1 - o.clip_low, 1 + o.clip_high);
    const bool cut = clipped > plain;
    const double slope = cut || std::abs(x) > 20 ? 0 : -a * s * share;
    return {.loss = gain * std::fmax(plain, clipped),
            .slope = std::vector<double>(row.log_ratio.size(), gain * slope),
            .ratio = s,
            .clipped_low = cut && a < 0 ? row.count() : 0,
            .clipped_high = cut && a > 0 ? row.count() : 0};
}

template <class Loss>
bool near_kink(const Loss& o, const policy_case& c, std::size_t b, bool by_mean) {
    const row_tokens row = tokens_of_row(c, b);
    if (row.log_ratio.empty()) return false;
    const double x = by_mean ? row.mean() : row.sum();
    return gap(x, std::log(1 - o.clip_low)) < 1e-4 || gap(x, std::log(1 + o.clip_high)) < 1e-4 ||
           gap(std::abs(x), 20) < 1e-4;
}

policy_case with_even_advantages(dice& d, const policy_loss_traits& t) {
    policy_case c = random_policy_case(d, t);
    for (auto& row : c.advantage) {
        const double a = d.chance(0.1) ? 0 : d.normal();
        for (double& x : row) x = a;
    }
    return c;
}
}  // namespace

TEST_CASE("gspo keeps the promises of a policy loss") {
    check_policy_loss(
        traits("gspo"), random_options<gspo>,
        [](const gspo& o, const policy_case& c, std::size_t b, auto) { return near_kink(o, c, b, true); });
    check_long_rows(traits("gspo"), random_options<gspo>);
}
TEST_CASE("luspo keeps the promises of a policy loss") {
    check_policy_loss(
        traits("luspo"), random_options<luspo>,
        [](const luspo& o, const policy_case& c, std::size_t b, auto) { return near_kink(o, c, b, true); });
    check_long_rows(traits("luspo"), random_options<luspo>);
}
TEST_CASE("sequence_clip keeps the promises of a policy loss") {
    check_policy_loss(
        traits("sequence_clip"), random_options<sequence_clip>,
        [](const sequence_clip& o, const policy_case& c, std::size_t b, auto) { return near_kink(o, c, b, false); });
}

TEST_CASE("gspo is the clipped geometric mean of a row's ratios") {
    check_row_definition(traits("gspo"), random_options<gspo>,
                         [](const gspo& o, const row_tokens& row) { return paper(o, row, 1 / row.count(), 1); });
}
TEST_CASE("luspo is gspo times the row's length") {
    check_row_definition(traits("luspo"), random_options<luspo>, [](const luspo& o, const row_tokens& row) {
        return paper(o, row, 1 / row.count(), row.count());
    });
}
TEST_CASE("sequence_clip is PPO's clip of the whole row's ratio") {
    check_row_definition(traits("sequence_clip"), random_options<sequence_clip>,
                         [](const sequence_clip& o, const row_tokens& row) { return paper(o, row, 1, 1); });
}

TEST_CASE("gspo on three tokens: the formula sheet's golden vectors") {
    const policy_result r = run(gspo{}, sheet_row(1));
    REQUIRE(gap(r.loss, -0.967216) < 1e-6);
    REQUIRE(gap(r.gradient, table{{-0.322405, -0.322405, -0.322405}}) < 1e-6);
    const policy_result clipped = run(gspo{}, sheet_row(-1));  // below 1 - 3e-4
    REQUIRE(gap(clipped.loss, 0.9997) < 1e-12);
    REQUIRE(gap(clipped.gradient, table{{0, 0, 0}}) == 0);
}

TEST_CASE("luspo and sequence_clip on three tokens") {
    const double mean = std::exp(-0.1 / 3), sum = std::exp(-0.1);
    policy_result r = run(luspo{}, sheet_row(1));
    REQUIRE(gap(r.loss, -3 * mean) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-mean, -mean, -mean}}) < 1e-12);
    r = run(sequence_clip{}, sheet_row(1));
    REQUIRE(gap(r.loss, -sum) < 1e-12);
    REQUIRE(gap(r.gradient, table{{-sum, -sum, -sum}}) < 1e-12);
    r = run(sequence_clip{.clip_low = 0.09}, sheet_row(-1));
    REQUIRE(gap(r.loss, 0.91) < 1e-12);
    REQUIRE(gap(r.gradient, table{{0, 0, 0}}) == 0);
}

TEST_CASE("gspo and gspo_token have the same gradient under sequence_mean when a row has one advantage") {
    dice d(2507);
    for (int i = 0; i < 500; ++i) {
        policy_case c = with_even_advantages(d, traits("gspo"));
        c.token_factor = {};
        aggregate_rows(c, aggregation::sequence_mean);
        const double low = d.uniform(0, 0.3), high = d.uniform(0, 0.3);
        REQUIRE(gap(run(gspo{.clip_low = low, .clip_high = high}, c).gradient,
                    run(rlgaf::gspo_token{.clip_low = low, .clip_high = high}, c).gradient) < 1e-13);
    }
}

TEST_CASE("luspo under sequence_mean is gspo under sequence_sum") {
    dice d(2602);
    for (int i = 0; i < 500; ++i) {
        policy_case c = random_policy_case(d, traits("luspo"));
        const double low = d.uniform(0, 0.3), high = d.uniform(0, 0.3);
        aggregate_rows(c, aggregation::sequence_mean);
        const policy_result l = run(luspo{.clip_low = low, .clip_high = high}, c);
        aggregate_rows(c, aggregation::sequence_sum);
        const policy_result g = run(gspo{.clip_low = low, .clip_high = high}, c);
        REQUIRE(gap(l.loss, g.loss) < 1e-12);
        REQUIRE(gap(l.gradient, g.gradient) < 1e-12);
    }
}

TEST_CASE("gspo, luspo and sequence_clip on the policy's own samples are policy gradients") {
    dice d(5);
    for (int i = 0; i < 200; ++i) {
        policy_case c = with_even_advantages(d, traits("gspo"));
        c.old_log_prob = c.log_prob;
        c.token_factor = {};
        aggregate_rows(c, aggregation::sequence_mean);
        REQUIRE(gap(run(gspo{}, c).gradient, run(rlgaf::policy_gradient_loss{}, c).gradient) < 1e-14);
        const policy_result clipped = run(sequence_clip{}, c), scaled = run(luspo{}, c);
        aggregate_rows(c, aggregation::sequence_sum);
        const policy_result plain = run(rlgaf::policy_gradient_loss{}, c);
        REQUIRE(gap(clipped.gradient, plain.gradient) < 1e-14);
        REQUIRE(gap(scaled.gradient, plain.gradient) < 1e-14);
    }
}

TEST_CASE("gspo, luspo and sequence_clip at a kink: a ratio equal to its bound is not clipped") {
    const double up = std::exp(0.5), down = std::exp(-0.5);
    const auto check = [&](auto loss) {
        loss.clip_low = 1 - down, loss.clip_high = up - 1;  // both subtractions are exact
        REQUIRE(run_token(loss, 0.5, 0, 1).gradient[0][0] == -up);
        REQUIRE(run_token(loss, -0.5, 0, -1).gradient[0][0] == down);
        REQUIRE(run_token(loss, 0.5 + 1e-12, 0, 1).gradient[0][0] == 0);
        REQUIRE(run_token(loss, -0.5 - 1e-12, 0, -1).gradient[0][0] == 0);
        loss.clip_low = loss.clip_high = 0;  // on the policy itself every row still learns
        REQUIRE(run_token(loss, -1, -1, 2).gradient[0][0] == -2);
        REQUIRE(run_token(loss, -1, -1, -2).gradient[0][0] == 2);
        loss.clip_high = 1e12;  // the limits themselves still have a gradient
        REQUIRE(run_token(loss, 20, 0, 1).gradient[0][0] == -std::exp(20.0));
        REQUIRE(run_token(loss, -20, 0, 1).gradient[0][0] == -std::exp(-20.0));
        REQUIRE(run_token(loss, 20 + 1e-12, 0, 1).gradient[0][0] == 0);
        REQUIRE(run_token(loss, -20 - 1e-12, 0, 1).gradient[0][0] == 0);
    };
    check(gspo{});
    check(luspo{});
    check(sequence_clip{});
}

TEST_CASE("trap 1: log-ratios of 200 overflow no ratio of a row, in float neither") {
    const double e20 = std::exp(20.0);
    const auto check = [&](const auto& loss) {
        for (const double far : {200.0, 1e4}) {
            policy_case c = even_row(1, far, -1);
            REQUIRE(gap(run(loss, c).loss, e20) < 1e-12 * e20);
            REQUIRE(run(loss, c).gradient[0][0] == 0);
            REQUIRE(gap(run<float>(loss, c).loss, e20) < 1e-12 * e20);
            REQUIRE(run<float>(loss, c).gradient[0][0] == 0);
            c = even_row(1, -far, 1);
            REQUIRE(gap(run(loss, c).loss, -1 / e20) < 1e-20);
            REQUIRE(run(loss, c).gradient[0][0] == 0);
            REQUIRE(run<float>(loss, even_row(1, far, 1)).loss == -(1 + loss.clip_high));
            REQUIRE(run<float>(loss, even_row(1, -far, -1)).loss == 1 - loss.clip_low);
        }
    };
    check(gspo{});
    check(luspo{});
    check(sequence_clip{});
    policy_arrays<double> arrays(even_row(2, 200, 1), layout::packed);
    ragged<double> gradient(table{{0, 0}}, layout::packed, 0.0);
    const auto stats = sequence_clip{}(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
    REQUIRE(gap(stats.ratio_max, e20) < 1e-12 * e20);
    REQUIRE(gap(stats.kl_old, 2 * (e20 - 21)) < 1e-12 * e20);
    // A token that the sampler could not say, or that the policy cannot: no NaN.
    policy_case c = even_row(3, 0.1, -1);
    c.old_log_prob[0][1] = -infinity;
    REQUIRE(gap(run(gspo{}, c).loss, 3 * e20) < 1e-11 * e20);
    REQUIRE(run(gspo{}, c).gradient == table{{0, 0, 0}});
    c = even_row(3, 0.1, -1);
    c.log_prob[0][1] = -infinity;
    REQUIRE(run(gspo{.clip_low = 0.5}, c).loss == 1.5);
    REQUIRE(run(gspo{.clip_low = 0.5}, c).gradient == table{{0, 0, 0}});
}

TEST_CASE("trap 2: the sum of many small log-ratios is held as a whole, their mean needs no holding") {
    const double e20 = std::exp(20.0);
    const policy_case c = even_row(1000, 0.1, -1, 1e-3);  // the sum is 100
    const policy_result whole = run(sequence_clip{}, c), mean = run(gspo{}, c);
    REQUIRE(gap(whole.loss, e20) < 1e-11 * e20);
    REQUIRE(whole.gradient[0][0] == 0);
    REQUIRE(gap(mean.loss, std::exp(0.1)) < 1e-12);
    REQUIRE(gap(mean.gradient[0][999], std::exp(0.1) / 1000) < 1e-12);
    // One token far out is held in the mean as little as in the paper.
    policy_case lost = even_row(1000, 0, 1, 1e-3);
    lost.log_prob[0][7] -= 300;
    REQUIRE(gap(run(gspo{}, lost).loss, -std::exp(-0.3)) < 1e-12);
    REQUIRE(gap(run(gspo{}, lost).gradient[0][7], -std::exp(-0.3) / 1000) < 1e-12);
    // The row that TRL's RLOO loss already clips: 500 tokens with a drift of 0.0004 nats.
    REQUIRE(run(sequence_clip{}, even_row(500, 0.0004, 1)).gradient[0][0] == 0);
    REQUIRE(run(sequence_clip{}, even_row(450, 0.0004, 1)).gradient[0][0] != 0);
}

TEST_CASE("trap 8 and 36: rows without unmasked tokens change nothing in gspo, luspo and sequence_clip") {
    check_empty_rows(gspo{.clip_low = 0.5, .clip_high = 0.5}, traits("gspo"));
    check_empty_rows(luspo{.clip_low = 0.5, .clip_high = 0.5}, traits("luspo"));
    check_empty_rows(sequence_clip{.clip_low = 0.5, .clip_high = 0.5}, traits("sequence_clip"));
}

TEST_CASE("trap 31: rows whose advantages cancel have no loss and no gradient, wherever the ratio is") {
    for (const double d : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        policy_case c = even_row(2, d, 1);
        c.advantage[0][1] = -1;
        const auto check = [&](const auto& loss) {
            REQUIRE(run(loss, c).loss == 0);
            REQUIRE(run(loss, c).gradient == table{{0, 0}});
        };
        check(gspo{});
        check(luspo{});
        check(sequence_clip{});
    }
}

TEST_CASE("rows whose factors are all 0 have no loss and no gradient in gspo, luspo and sequence_clip") {
    policy_case c = even_row(3, 0.0001, 1);
    c.token_factor = {{0, 0, 0}};
    const auto check = [&](const auto& loss) {
        REQUIRE(run(loss, c).loss == 0);
        REQUIRE(run(loss, c).gradient == table{{0, 0, 0}});
    };
    check(gspo{});
    check(luspo{});
    check(sequence_clip{});
}

TEST_CASE("gspo, luspo and sequence_clip let NaN show in what is not masked") {
    const auto check = [](const auto& loss) {
        for (const char* name : {"log_prob", "old_log_prob", "advantage"}) {
            policy_case c = even_row(200, 0.0001, 1);
            c[name][0][150] = not_a_number;
            const policy_result r = run(loss, c);
            REQUIRE(std::isnan(r.loss));
            REQUIRE(std::isnan(r.gradient[0][0]));
        }
    };
    check(gspo{});
    check(luspo{});
    check(sequence_clip{});
}

TEST_CASE("gspo, luspo and sequence_clip refuse options out of range by name") {
    const auto check = [](auto loss, const char* name) {
        const auto fresh = loss;
        REQUIRE_NOTHROW(loss.check());
        for (const double x : {-0.1, 1.0, 1.5, not_a_number}) {
            loss = fresh, loss.clip_low = x;
            REQUIRE(refuses(loss, name, "clip_low"));
            REQUIRE_THROWS_AS(run_token(loss, 0, 0, 1), rlgaf::option_error);
        }
        for (const double x : {-0.1, -infinity, not_a_number}) {
            loss = fresh, loss.clip_high = x;
            REQUIRE(refuses(loss, name, "clip_high"));
        }
        loss.clip_low = loss.clip_high = 0;
        REQUIRE_NOTHROW(loss.check());
    };
    check(gspo{}, "gspo");
    check(luspo{}, "luspo");
    check(sequence_clip{}, "sequence_clip");
}
