#include <algorithm>
#include <utility>

#include "rlgaf/policy_gradient/loss/clip_cov.hpp"
#include "rlgaf/policy_gradient/loss/kl_cov.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::clip_cov;
using rlgaf::kl_cov;
using rlgaf::policy_loss_stats;

// Both losses look at all rows of the step: what check_policy_loss asks of a step cut in two cannot hold for them, and
// the checks below take its place.

namespace {
/// A loss with a fresh workspace, and a fresh state where it has one: called as the checks call losses.
template <class Loss>
struct on_its_own {
    Loss loss;
    void check() const { loss.check(); }
    template <class T>
    policy_loss_stats operator()(const rlgaf::policy_terms<T>& terms, std::span<const double> weight,
                                 const rlgaf::ragged_view<T>& d_log_prob) const {
        rlgaf::workspace work;
        rlgaf::state_of<Loss> memory;
        return rlgaf::call(loss, memory, terms, weight, d_log_prob, work);
    }
};
template <class Loss>
on_its_own(Loss) -> on_its_own<Loss>;

policy_loss_traits traits(const char* function) {
    return {.function = function, .needs = {"old_log_prob", "advantage"}};
}

struct place {
    std::size_t row, token;
    double covariance;
};
/// The unmasked tokens in their order.
std::vector<place> places(const policy_case& c) {
    std::vector<place> all;
    double a = 0, l = 0;
    for (std::size_t b = 0; b < c.log_prob.size(); ++b)
        for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
            if (included(c.mask, b, t)) {
                all.push_back({b, t, 0});
                a += c.advantage[b][t], l += c.log_prob[b][t];
            }
    const double n = static_cast<double>(all.size());
    for (place& p : all) p.covariance = (c.advantage[p.row][p.token] - a / n) * (c.log_prob[p.row][p.token] - l / n);
    return all;
}
std::size_t wanted(double fraction, std::size_t n) {
    if (fraction == 0 || n == 0) return 0;
    return std::max<std::size_t>(1, static_cast<std::size_t>(fraction * static_cast<double>(n)));
}
double factor_of(const policy_case& c, std::size_t b, std::size_t t) {
    return c.token_factor.empty() ? 1 : c.token_factor[b][t];
}
double apart(const policy_case& c, const place& p) {
    return c.log_prob[p.row][p.token] - c.old_log_prob[p.row][p.token];
}

kl_cov random_kl_cov(dice& d) {
    return {.fraction = d.chance(0.2) ? 0 : d.chance(0.3) ? 2e-4 : d.uniform(0, 1), .coefficient = d.uniform(0, 2)};
}
clip_cov random_clip_cov(dice& d) {
    const double low = d.uniform(-1, 0.5);
    return {.clip_low = d.uniform(0, 1),
            .clip_high = d.uniform(0, 1),
            .fraction = d.chance(0.2)   ? 0
                        : d.chance(0.3) ? 2e-4
                                        : d.uniform(0, 1),
            .lowest_covariance = low,
            .highest_covariance = d.chance(0.3) ? infinity : low + d.uniform(0.1, 2),
            .seed = d.below(1000)};
}

/// The covariance-sorted tokens that KL-Cov picks; the first of equal ones.
std::vector<place> kl_cov_choice(const kl_cov& o, const policy_case& c) {
    std::vector<place> all = places(c);
    std::stable_sort(all.begin(), all.end(), [](auto& x, auto& y) { return x.covariance > y.covariance; });
    all.resize(wanted(o.fraction, all.size()));
    return all;
}
/// Whether a small change of the inputs could change which tokens are picked.
bool kl_cov_undecided(const kl_cov& o, const policy_case& c) {
    std::vector<place> all = places(c);
    std::stable_sort(all.begin(), all.end(), [](auto& x, auto& y) { return x.covariance > y.covariance; });
    const std::size_t k = wanted(o.fraction, all.size());
    return k > 0 && k < all.size() && all[k - 1].covariance - all[k].covariance < 1e-2;
}
bool clip_cov_undecided(const clip_cov& o, const policy_case& c) {
    for (const place& p : places(c)) {
        for (const double bound : {o.lowest_covariance, o.highest_covariance})
            if (gap(p.covariance, bound) < 1e-2) return true;
        for (const double bound : {1 - o.clip_low, 1 + o.clip_high})
            if (bound > 0 && gap(apart(c, p), std::log(bound)) < 1e-3) return true;
    }
    return false;
}
bool at_the_limit(const policy_case& c, std::size_t b, std::size_t t) {
    return gap(std::abs(c.log_prob[b][t] - c.old_log_prob[b][t]), 20) < 1e-3;
}

policy_loss_stats stats_of(const auto& loss, const policy_case& c) {
    policy_arrays<double> arrays(c, layout::packed);
    ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
    return loss(arrays.terms(), std::span<const double>(arrays.weight), gradient.view());
}

/// What check_policy_loss asks, but for the split step and the order of rows.
template <class Make, class Undecided>
void check_whole_step_loss(const policy_loss_traits& traits, Make&& make, Undecided&& undecided) {
    dice d(22617);
    std::size_t compared = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const auto loss = make(d);
        const policy_case c = random_policy_case(d, traits);
        if (!undecided(loss, c))
            compared += check_slopes(on_its_own{loss}, c, false, [&](std::size_t b, std::size_t t) {
                return at_the_limit(c, b, t) || gap(c.log_prob[b][t], c.old_log_prob[b][t]) < 1e-4;
            });
        if (i % 10 == 0) check_storage(on_its_own{loss}, c, d);
    }
    REQUIRE(compared > 9000);
    const on_its_own loss{make(d)};
    check_nothing_to_learn(loss, traits);
    check_shape_errors(loss, traits);
}

/// Twelve tokens of one row, all candidates of clip_cov with the options below, with covariances that all differ.
policy_case twelve_candidates() {
    policy_case c{.weight = {1}};
    c.log_prob = c.old_log_prob = c.advantage = table(1);
    for (int i = 0; i < 12; ++i) {
        const double x = i < 6 ? -1 - 0.1 * i : 1 + 0.1 * i;
        c.log_prob[0].push_back(-3 + x), c.old_log_prob[0].push_back(-3 + x), c.advantage[0].push_back(x);
    }
    return c;
}
const clip_cov a_quarter{.fraction = 0.25, .lowest_covariance = 0.1, .highest_covariance = infinity};

std::vector<std::size_t> left_out(const clip_cov& loss, clip_cov::state& memory, const policy_case& c) {
    policy_arrays<double> arrays(c, layout::packed);
    ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
    rlgaf::workspace work;
    loss(memory, arrays.terms(), std::span<const double>(arrays.weight), gradient.view(), work);
    std::vector<std::size_t> out;
    for (std::size_t t = 0; t < c.log_prob[0].size(); ++t)
        if (gradient.rows()[0][t] == 0) out.push_back(t);
    return out;
}
}  // namespace

TEST_CASE("kl_cov keeps the promises of a policy loss that can be asked of one over the whole step") {
    check_whole_step_loss(traits("kl_cov"), random_kl_cov, kl_cov_undecided);
}

TEST_CASE("clip_cov keeps the promises of a policy loss that can be asked of one over the whole step") {
    check_whole_step_loss(traits("clip_cov"), random_clip_cov, clip_cov_undecided);
}

TEST_CASE("kl_cov agrees with its definition, written with a sort") {
    dice d(1);
    for (int i = 0; i < 3000; ++i) {
        const kl_cov o = random_kl_cov(d);
        const policy_case c = random_policy_case(d, traits("kl_cov"));
        double loss = 0, size = 1;
        table expected = zeros(c.log_prob);
        for (const place& p : places(c)) {
            const double x = std::fmax(apart(c, p), -20);
            const double g =
                -c.weight[p.row] * factor_of(c, p.row, p.token) * c.advantage[p.row][p.token] * std::exp(x);
            loss += g;
            size += std::abs(g);
            if (apart(c, p) >= -20) expected[p.row][p.token] = g;
        }
        for (const place& p : kl_cov_choice(o, c)) {  // token_factor does not weigh the KL term
            loss += o.coefficient * c.weight[p.row] * std::abs(apart(c, p));
            size += 40;
            expected[p.row][p.token] += o.coefficient * c.weight[p.row] * (apart(c, p) > 0 ? 1 : -1);
        }
        const policy_result r = run(on_its_own{o}, c);
        REQUIRE(gap(r.loss, loss) < 1e-12 * size);
        for (std::size_t b = 0; b < expected.size(); ++b) REQUIRE(gap(r.gradient[b], expected[b]) < 1e-12);
        const policy_loss_stats stats = stats_of(on_its_own{o}, c);
        REQUIRE(stats.tokens == static_cast<double>(places(c).size()));
        REQUIRE(stats.clipped_low + stats.clipped_high + stats.clipped_dual == 0);
    }
}

TEST_CASE("kl_cov does not depend on the order of rows where no covariances tie") {
    dice d(2);
    int compared = 0;
    for (int i = 0; i < 500; ++i) {
        const kl_cov o = random_kl_cov(d);
        policy_case c = random_policy_case(d, traits("kl_cov"));
        if (kl_cov_undecided(o, c)) continue;
        const policy_result plain = run(on_its_own{o}, c);
        const std::vector<std::size_t> order = d.permutation(c.log_prob.size());
        for (table* x : c.tables()) *x = permuted(*x, order);
        c.weight = permuted(c.weight, order);
        const policy_result other = run(on_its_own{o}, c);
        REQUIRE(gap(other.loss, plain.loss) < 1e-12 * (1 + std::abs(plain.loss)));
        REQUIRE(same_bits(other.gradient, permuted(plain.gradient, order)));
        ++compared;
    }
    REQUIRE(compared > 300);
}

TEST_CASE("trap 32: kl_cov and clip_cov look at the unmasked tokens of the whole step, not at a part of it") {
    STATIC_REQUIRE_FALSE(kl_cov::row_separable);
    STATIC_REQUIRE_FALSE(clip_cov::row_separable);
    // The largest covariance is in the second row; the first row on its own has another one.
    policy_case c{.log_prob = {{-1, -2, -3}, {-0.5, -5, -4}},
                  .old_log_prob = {{-1.5, -2.5, -3.5}, {-1, -5.5, -4.5}},
                  .advantage = {{1, 0, -1}, {3, -1, -2}},
                  .weight = {1, 1}};
    const kl_cov one{.fraction = 0.1};
    const table plain = run(on_its_own{kl_cov{.fraction = 0}}, c).gradient;
    const auto added = [&](const policy_case& x) {
        const table g = run(on_its_own{one}, x).gradient;
        return table_like(g, [&](auto b, auto t) { return g[b][t] - plain[b][t]; });
    };
    REQUIRE(gap(added(c)[0], std::vector<double>{0, 0, 0}) < 1e-15);
    REQUIRE(gap(added(c)[1], std::vector<double>{1, 0, 0}) < 1e-15);
    policy_case first = c;
    for (table* x : first.tables())
        if (!x->empty()) x->resize(1);
    first.weight = {1};
    REQUIRE(gap(added(first)[0], std::vector<double>{1, 0, 0}) < 1e-15);

    // Masked tokens move neither the means nor the count: the step is as if they were not there.
    dice d(3);
    for (int i = 0; i < 300; ++i) {
        const kl_cov o = random_kl_cov(d);
        policy_case full = random_policy_case(d, traits("kl_cov"));
        full.mask = table_like(full.log_prob, [&](auto, auto) { return d.chance(0.6) ? 1.0 : 0.0; });
        for (std::size_t b = 0; b < full.log_prob.size(); ++b)
            for (std::size_t t = 0; t < full.log_prob[b].size(); ++t)
                if (full.mask[b][t] == 0) full.advantage[b][t] = 1e6, full.log_prob[b][t] = 1e6;
        policy_case cut = full;
        for (table* x : cut.tables())
            for (std::size_t b = 0; b < x->size(); ++b) {
                std::vector<double> kept;
                for (std::size_t t = 0; t < (*x)[b].size(); ++t)
                    if (full.mask[b][t] != 0) kept.push_back((*x)[b][t]);
                (*x)[b] = kept;
            }
        cut.mask = {};
        const clip_cov p = random_clip_cov(d);
        const auto same = [&](const policy_result& whole, const policy_result& part) {
            REQUIRE(gap(whole.loss, part.loss) < 1e-12 * (1 + std::abs(part.loss)));
            for (std::size_t b = 0; b < full.log_prob.size(); ++b)
                for (std::size_t t = 0, k = 0; t < full.log_prob[b].size(); ++t)
                    REQUIRE(whole.gradient[b][t] == (full.mask[b][t] != 0 ? part.gradient[b][k++] : 0));
        };
        same(run(on_its_own{o}, full), run(on_its_own{o}, cut));
        same(run(on_its_own{p}, full), run(on_its_own{p}, cut));
    }
}

TEST_CASE("trap 32: of tokens with equal covariance kl_cov takes the first of the step, in both layouts") {
    // Covariances 4, 4, 1, 1, 4, 4: two of the four equal ones.
    const policy_case c{.log_prob = {{-6, -2}, {-3}, {-5, -6, -2}},
                        .old_log_prob = {{-7, -3}, {-4}, {-6, -7, -3}},
                        .advantage = {{-2, 2}, {1}, {-1, -2, 2}},
                        .weight = {1, 1, 1}};
    const table plain = run(on_its_own{kl_cov{.fraction = 0}}, c).gradient;
    for (const layout how : layouts)
        for (const auto& [fraction, expected] :
             {std::pair{0.17, table{{1, 0}, {0}, {0, 0, 0}}}, std::pair{0.34, table{{1, 1}, {0}, {0, 0, 0}}},
              std::pair{0.5, table{{1, 1}, {0}, {0, 1, 0}}}, std::pair{0.7, table{{1, 1}, {0}, {0, 1, 1}}},
              std::pair{0.84, table{{1, 1}, {1}, {0, 1, 1}}}}) {
            const table g = run(on_its_own{kl_cov{.fraction = fraction}}, c, how).gradient;
            const table added = table_like(g, [&](auto b, auto t) { return g[b][t] - plain[b][t]; });
            for (std::size_t b = 0; b < 3; ++b) REQUIRE(gap(added[b], expected[b]) < 1e-12);
        }
}

TEST_CASE("kl_cov does nothing to the policy's own samples: sign(0) = 0") {
    policy_case c = twelve_candidates();
    const policy_result r = run(on_its_own{kl_cov{.fraction = 1, .coefficient = 5}}, c);
    for (std::size_t t = 0; t < 12; ++t) REQUIRE(r.gradient[0][t] == -c.advantage[0][t]);
}

TEST_CASE("trap 1: kl_cov and clip_cov stay finite at log-ratios of 200; the KL term still pulls back there") {
    const double e20 = std::exp(20.0);
    for (const double far : {21.0, 200.0, 1e4}) {
        const on_its_own kl{kl_cov{}};
        REQUIRE(gap(run_token(kl, far, 0, -1).loss, e20 + far) < 1e-12 * e20);
        REQUIRE(run_token(kl, far, 0, -1).gradient[0][0] == 1);
        REQUIRE(gap(run_token(kl, -far, 0, 1).loss, far - 1 / e20) < 1e-11);
        REQUIRE(run_token(kl, -far, 0, 1).gradient[0][0] == -1);
        const on_its_own clip{clip_cov{}};
        REQUIRE(gap(run_token(clip, far, 0, -1).loss, e20) < 1e-12 * e20);
        REQUIRE(run_token(clip, far, 0, -1).gradient[0][0] == 0);
        REQUIRE(gap(run_token(clip, far, 0, 1).loss, -1.2) < 1e-12);
        REQUIRE(run_token(clip, -far, 0, 1).gradient[0][0] == 0);
    }
}

TEST_CASE("trap 31: kl_cov and clip_cov learn nothing from the surrogate where the advantage is 0") {
    for (const double d : {-200.0, -1.0, 0.0, 1.0, 200.0}) {
        REQUIRE(run_token(on_its_own{kl_cov{.fraction = 0}}, d, 0, 0).loss == 0);
        REQUIRE(run_token(on_its_own{kl_cov{.fraction = 0}}, d, 0, 0).gradient[0][0] == 0);
        REQUIRE(run_token(on_its_own{clip_cov{}}, d, 0, 0).loss == 0);
        REQUIRE(run_token(on_its_own{clip_cov{}}, d, 0, 0).gradient[0][0] == 0);
    }
}

TEST_CASE("kl_cov and clip_cov let NaN show in what is not masked, and pick no token by it") {
    policy_case c = twelve_candidates();
    c.log_prob[0][3] = not_a_number;
    const policy_result kl = run(on_its_own{kl_cov{.fraction = 1}}, c), clip = run(on_its_own{a_quarter}, c);
    for (const policy_result& r : {kl, clip}) {
        REQUIRE(std::isnan(r.loss));
        REQUIRE(std::isnan(r.gradient[0][3]));
        REQUIRE(r.gradient[0][4] == -c.advantage[0][4]);
    }
    REQUIRE(stats_of(on_its_own{a_quarter}, c).clipped_dual == 0);
}

TEST_CASE("clip_cov is PPO's clip but for the picked tokens, which are candidates and as many as asked for") {
    dice d(4);
    double picked = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        clip_cov o = random_clip_cov(d);
        policy_case c = random_policy_case(d, traits("clip_cov"));
        // No token without a gradient of its own.
        for (std::size_t b = 0; b < c.log_prob.size(); ++b) {
            c.weight[b] = d.uniform(0.5, 1);
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t) {
                if (c.advantage[b][t] == 0) c.advantage[b][t] = 0.5;
                c.old_log_prob[b][t] = c.log_prob[b][t] + 0.4 * d.normal();
                if (!c.token_factor.empty()) c.token_factor[b][t] = d.uniform(0.5, 1);
            }
        }
        double loss = 0, size = 1, low = 0, high = 0;
        std::size_t candidates = 0, chosen = 0;
        const policy_result r = run(on_its_own{o}, c);
        const std::vector<place> all = places(c);
        for (const place& p : all) {
            const double a = c.advantage[p.row][p.token], ratio = std::exp(apart(c, p));
            const double clipped = std::fmin(std::fmax(ratio, 1 - o.clip_low), 1 + o.clip_high);
            const double scale = c.weight[p.row] * factor_of(c, p.row, p.token);
            const double term = scale * std::fmax(-a * ratio, -a * clipped);
            const bool flat = -a * clipped > -a * ratio;
            low += flat && a < 0;
            high += flat && a > 0;
            const bool candidate = !flat && p.covariance > o.lowest_covariance && p.covariance < o.highest_covariance;
            candidates += candidate;
            const double g = r.gradient[p.row][p.token];
            if (candidate && g == 0) {
                ++chosen;
            } else {
                loss += term;
                REQUIRE(gap(g, flat ? 0 : -scale * a * ratio) < 1e-12);
            }
            size += std::abs(term);
        }
        REQUIRE(chosen == std::min(candidates, wanted(o.fraction, all.size())));
        REQUIRE(gap(r.loss, loss) < 1e-12 * size);
        const policy_loss_stats stats = stats_of(on_its_own{o}, c);
        REQUIRE(stats.clipped_low == low);
        REQUIRE(stats.clipped_high == high);
        REQUIRE(stats.clipped_dual == static_cast<double>(chosen));
        REQUIRE(stats.tokens == static_cast<double>(all.size()));
        picked += stats.clipped_dual;

        // With fraction 0 it is PPO.
        o.fraction = 0;
        const rlgaf::ppo_clip ppo{.clip_low = std::fmin(o.clip_low, 0.99), .clip_high = o.clip_high, .dual_clip = 0};
        o.clip_low = ppo.clip_low;
        const policy_result a = run(on_its_own{o}, c), b = run(ppo, c);
        REQUIRE(same_bits(a.loss, b.loss));
        REQUIRE(same_bits(a.gradient, b.gradient));
    }
    REQUIRE(picked > 1000);
}

TEST_CASE("clip_cov takes a covariance equal to a bound for no candidate") {
    // One row, covariances 4 and 4.
    const policy_case c{.log_prob = {{-6, -2}}, .old_log_prob = {{-6, -2}}, .advantage = {{-2, 2}}, .weight = {1}};
    const auto picked = [&](double low, double high) {
        return stats_of(on_its_own{clip_cov{.fraction = 1, .lowest_covariance = low, .highest_covariance = high}}, c)
            .clipped_dual;
    };
    REQUIRE(picked(4, 5) == 0);
    REQUIRE(picked(3, 4) == 0);
    REQUIRE(picked(3, 5) == 2);
}

TEST_CASE("clip_cov picks every candidate and every pair of them equally often") {
    const policy_case c = twelve_candidates();
    clip_cov::state memory;
    const int calls = 20000;
    std::vector<double> one(12), two(144);
    for (int i = 0; i < calls; ++i) {
        const std::vector<std::size_t> out = left_out(a_quarter, memory, c);
        REQUIRE(out.size() == 3);
        for (const std::size_t x : out) {
            one[x] += 1;
            for (const std::size_t y : out)
                if (x < y) two[12 * x + y] += 1;
        }
    }
    REQUIRE(memory.draws == calls);
    const auto within = [&](double count, double p) {
        REQUIRE(gap(count, calls * p) < 5 * std::sqrt(calls * p * (1 - p)));  // five standard deviations
    };
    for (std::size_t x = 0; x < 12; ++x) {
        within(one[x], 0.25);
        for (std::size_t y = x + 1; y < 12; ++y) within(two[12 * x + y], 3.0 * 2 / (12 * 11));
    }
}

TEST_CASE("clip_cov draws from its seed and the number of calls, and its state can be saved") {
    const policy_case c = twelve_candidates();
    clip_cov::state memory;
    std::vector<std::vector<std::size_t>> run_a, run_b;
    for (int i = 0; i < 20; ++i) run_a.push_back(left_out(a_quarter, memory, c));
    std::uint64_t saved = 0;
    auto rewind = [&](const char* name, std::uint64_t& x) {
        REQUIRE(std::string(name) == "draws");
        saved = x;
        x = 5;
    };
    memory.visit(rewind);
    REQUIRE(saved == 20);
    for (int i = 5; i < 20; ++i) run_b.push_back(left_out(a_quarter, memory, c));
    REQUIRE(std::equal(run_b.begin(), run_b.end(), run_a.begin() + 5));
    std::sort(run_a.begin(), run_a.end());
    REQUIRE(std::unique(run_a.begin(), run_a.end()) - run_a.begin() > 10);

    clip_cov other = a_quarter;
    other.seed = 1;
    clip_cov::state fresh, again;
    int differ = 0;
    for (int i = 0; i < 20; ++i) differ += left_out(other, fresh, c) != left_out(a_quarter, again, c);
    REQUIRE(differ > 10);
}

TEST_CASE("kl_cov and clip_cov do not allocate once their workspace has grown") {
    dice d(6);
    policy_case c = random_policy_case(d, traits("kl_cov"));
    while (places(c).size() < 10) c = random_policy_case(d, traits("kl_cov"));
    policy_arrays<float> arrays(c, layout::padded);
    ragged<float> gradient(zeros(c.log_prob), layout::padded, 77.0f);
    const auto terms = arrays.terms();
    const auto view = gradient.view();
    const std::span<const double> weight(arrays.weight);
    rlgaf::workspace work;
    clip_cov::state memory;
    const kl_cov kl{.fraction = 0.5};
    const clip_cov clip{.fraction = 0.5, .lowest_covariance = -infinity, .highest_covariance = infinity};
    const auto both = [&] {
        kl(terms, weight, view, work);
        clip(memory, terms, weight, view, work);
    };
    both();
    REQUIRE(allocations_of(both) == 0);
}

TEST_CASE("kl_cov and clip_cov refuse options out of range by name") {
    for (const double x : {-0.1, 1.1, not_a_number}) {
        REQUIRE(refuses(kl_cov{.fraction = x}, "kl_cov", "fraction"));
        REQUIRE(refuses(clip_cov{.fraction = x}, "clip_cov", "fraction"));
        REQUIRE(refuses(clip_cov{.clip_low = x}, "clip_cov", "clip_low"));
    }
    REQUIRE(refuses(kl_cov{.coefficient = infinity}, "kl_cov", "coefficient"));
    for (const double x : {-0.1, not_a_number}) {
        REQUIRE(refuses(kl_cov{.coefficient = x}, "kl_cov", "coefficient"));
        REQUIRE(refuses(clip_cov{.clip_high = x}, "clip_cov", "clip_high"));
    }
    REQUIRE(refuses(clip_cov{.lowest_covariance = not_a_number}, "clip_cov", "lowest_covariance"));
    for (const double x : {0.5, 1.0, not_a_number})
        REQUIRE(refuses(clip_cov{.highest_covariance = x}, "clip_cov", "highest_covariance"));
    REQUIRE_NOTHROW(kl_cov{}.check());
    REQUIRE_NOTHROW(clip_cov{}.check());
    REQUIRE_THROWS_AS(run_token(on_its_own{kl_cov{.fraction = 2}}, 0, 0, 1), rlgaf::option_error);
    REQUIRE_THROWS_AS(run_token(on_its_own{clip_cov{.fraction = 2}}, 0, 0, 1), rlgaf::option_error);
}
