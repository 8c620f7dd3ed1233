#include <algorithm>

#include "rlgaf/policy_gradient/loss/vmpo.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using rlgaf::policy_loss_stats;
using rlgaf::vmpo;

namespace {
/// With a fresh workspace and state, as the checks call losses.
struct on_its_own {
    vmpo loss;
    template <class T>
    policy_loss_stats operator()(const rlgaf::policy_terms<T>& terms, std::span<const double> weight,
                                 const rlgaf::ragged_view<T>& d_log_prob) const {
        rlgaf::workspace work;
        work.a = work.b = {1e12, 1e12};
        vmpo::state memory;
        return loss(memory, terms, weight, d_log_prob, work);
    }
};
const policy_loss_traits traits{.function = "vmpo", .needs = {"advantage"}};

vmpo random_options(dice& d) {
    return {.fraction = d.chance(0.3) ? 1 : d.uniform(0.01, 1), .temperature = d.uniform(0.1, 3)};
}
struct step {
    policy_loss_stats stats;
    table gradient;
    vmpo::state memory;
};
step run_step(const vmpo& loss, const policy_case& c, vmpo::state memory = {}) {
    policy_arrays<double> arrays(c, layout::packed);
    ragged<double> gradient(zeros(c.log_prob), layout::packed, 0.0);
    rlgaf::workspace work;
    const auto stats = loss(memory, arrays.terms(), std::span<const double>(arrays.weight), gradient.view(), work);
    return {stats, gradient.rows(), memory};
}
double factor_of(const policy_case& c, std::size_t b, std::size_t t) {
    return c.token_factor.empty() ? 1 : c.token_factor[b][t];
}

/// Straight from the definition: the loss, and the dual as a function of eta.
struct definition {
    double loss = 0, whole = 0, even = 0, least = 0;
    std::vector<double> advantage, weight, log_prob;  // of S

    definition(const vmpo& o, const policy_case& c) {
        std::vector<double> all;
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
                if (included(c.mask, b, t)) all.push_back(c.advantage[b][t]), whole += c.weight[b];
        if (all.empty()) return;
        std::sort(all.rbegin(), all.rend());
        const double count = std::floor(o.fraction * static_cast<double>(all.size()));
        least = all[count < 1 ? 0 : static_cast<std::size_t>(count) - 1];
        for (std::size_t b = 0; b < c.log_prob.size(); ++b)
            for (std::size_t t = 0; t < c.log_prob[b].size(); ++t)
                if (included(c.mask, b, t) && c.advantage[b][t] >= least) {
                    advantage.push_back(c.advantage[b][t]);
                    weight.push_back(c.weight[b] * factor_of(c, b, t));
                    log_prob.push_back(c.log_prob[b][t]);
                    even += c.weight[b];
                }
        const double total = sum(o.temperature);
        for (std::size_t k = 0; k < advantage.size() && total > 0; ++k)
            loss -= whole * weight[k] * std::exp(advantage[k] / o.temperature) / total * log_prob[k];
    }
    double sum(double eta) const {
        double s = 0;
        for (std::size_t k = 0; k < advantage.size(); ++k) s += weight[k] * std::exp(advantage[k] / eta);
        return s;
    }
    double dual(double eta, double bound) const { return eta * (bound + std::log(sum(eta) / even)); }
};

/// rlax's example: six tokens, weights that make a mean.
policy_case six_tokens() {
    return {.log_prob = {{-0.5, -1, -2}, {-0.25, -3, -1.5}},
            .advantage = {{1, -0.5, 0.25}, {2, -1, 0.75}},
            .weight = {1.0 / 6, 1.0 / 6}};
}
}  // namespace

TEST_CASE("vmpo keeps the promises of a policy loss, and is its definition") {
    dice d(1912);
    std::size_t compared = 0;
    for (int i = 0; i < 3000; ++i) {
        CAPTURE(i);
        const vmpo loss = random_options(d);
        const policy_case c = random_policy_case(d, traits);
        compared += check_slopes(on_its_own{loss}, c, false, [](auto, auto) { return false; });
        const definition expected(loss, c);
        const step r = run_step(loss, c);
        REQUIRE(gap(r.stats.loss, expected.loss) < 1e-11 * (1 + std::abs(expected.loss)));
        if (expected.sum(loss.temperature) > 0) {
            double eta = loss.temperature;
            REQUIRE(gap(slope([&] { return expected.dual(eta, loss.bound); }, eta, 1e-6), r.memory.dual_slope) < 1e-5);
            double total = 0;
            for (const auto& row : r.gradient)
                for (const double g : row) total += g;
            REQUIRE(gap(total, -expected.whole) < 1e-12 * (1 + expected.whole));
        }
        if (i % 10 != 0) continue;
        check_storage(on_its_own{loss}, c, d);
        const std::vector<std::size_t> order = d.permutation(c.log_prob.size());
        policy_case shuffled = c;
        for (table* x : shuffled.tables()) *x = permuted(*x, order);
        shuffled.weight = permuted(c.weight, order);
        const step other = run_step(loss, shuffled);
        REQUIRE(gap(other.stats.loss, r.stats.loss) < 1e-12 * (1 + std::abs(r.stats.loss)));
        REQUIRE(gap(other.gradient, permuted(r.gradient, order)) < 1e-13);
    }
    REQUIRE(compared > 9000);
    check_nothing_to_learn(on_its_own{{}}, traits);
    check_shape_errors(on_its_own{{}}, traits);
    STATIC_REQUIRE(!vmpo::row_separable);
}

TEST_CASE("vmpo on six tokens: weights, loss and slope of the temperature as rlax's vmpo_loss gives them") {
    policy_case c = six_tokens();
    const vmpo half{.fraction = 0.5, .temperature = 0.8, .bound = 0.1},
        all{.fraction = 1, .temperature = 0.8, .bound = 0.1};
    step r = run_step(half, c);
    REQUIRE(gap(r.gradient, table{{-0.191499029, 0, 0}, {-0.668397288, 0, -0.140103683}}) < 1e-9);
    REQUIRE(gap(r.stats.loss, 0.47300436067210017) < 1e-9);
    REQUIRE(gap(r.memory.dual_slope, -0.1374539580653329) < 1e-9);
    REQUIRE(r.stats.tokens == 6);
    REQUIRE(r.stats.clipped_low == 3);
    r = run_step(all, c);
    REQUIRE(gap(r.gradient,
                table{{-0.170969274, -0.026218987, -0.06695253}, {-0.596741403, -0.014034013, -0.125083793}}) < 1e-9);
    REQUIRE(gap(r.stats.loss, 0.6245217625302939) < 1e-9);
    REQUIRE(gap(r.memory.dual_slope, -0.48531248642683833) < 1e-9);
    c.token_factor = {{1, 1, 1}, {0.5, 1, 2}};
    r = run_step(half, c);
    REQUIRE(gap(r.gradient, table{{-0.237619844, 0, 0}, {-0.414687374, 0, -0.347692783}}) < 1e-9);
    REQUIRE(gap(r.stats.loss, 0.7440209391115996) < 1e-9);
    REQUIRE(gap(r.memory.dual_slope, 0.028765667070834056) < 1e-9);
}

TEST_CASE("vmpo's temperature goes where the divergence of the weights meets the bound, and stays there") {
    const policy_case c = six_tokens();
    const vmpo loss{.fraction = 1, .temperature = 5, .bound = 0.3};
    for (const double start : {0.05, 5.0, 100.0}) {
        vmpo::state memory{.temperature = start};
        double before = 0, eta = start;
        for (int i = 0; i < 400; ++i) {
            before = eta;
            memory = run_step(loss, c, memory).memory;
            eta = memory.temperature;
            REQUIRE((memory.dual_slope > 0) == (eta < before));  // downhill
        }
        const definition at(loss, c);
        double divergence = 0;
        for (const double a : at.advantage) {
            const double psi = std::exp(a / eta) / 6 / at.sum(eta);
            divergence += psi * std::log(6 * psi);
        }
        REQUIRE(gap(divergence, 0.3) < 1e-3);
    }
    REQUIRE(run_step({.temperature = 2, .rate = 0}, c).memory.temperature == 2);
    const vmpo narrow{.fraction = 1, .temperature = 2, .lowest = 2, .highest = 2};
    REQUIRE(run_step(narrow, c).memory.temperature == 2);
}

TEST_CASE("vmpo at kinks: tokens that tie with the last one picked are picked; at least one is") {
    policy_case c = six_tokens();
    c.advantage = {{1, 1, 0}, {1, 0, 1}};
    const step r = run_step({.fraction = 0.5}, c);
    REQUIRE(gap(r.gradient, table{{-0.25, -0.25, 0}, {-0.25, 0, -0.25}}) < 1e-15);
    REQUIRE(r.stats.clipped_low == 2);
    REQUIRE(gap(run_step({.fraction = 1e-9}, six_tokens()).gradient, table{{0, 0, 0}, {-1, 0, 0}}) < 1e-15);
    c.advantage = table(2, std::vector<double>(3, 0.7));
    REQUIRE(gap(run_step({.fraction = 0.5}, c).gradient, table(2, std::vector<double>(3, -1.0 / 6))) < 1e-15);
}

TEST_CASE("vmpo: advantages of +-1e4 and weights of 0 stay finite and leave the temperature in its range") {
    policy_case c = six_tokens();
    c.advantage = {{1e4, -1e4, 0}, {1, 2, 3}};
    const step r = run_step({.fraction = 1}, c);
    REQUIRE(gap(r.gradient, table{{-1, 0, 0}, {0, 0, 0}}) < 1e-15);
    REQUIRE(std::abs(r.memory.dual_slope) < 10);
    REQUIRE(r.memory.temperature > 1);  // all on one token: farther than the bound
    c.weight = {0, 0};
    const step none = run_step({.fraction = 1}, c);
    REQUIRE(none.stats.loss == 0);
    REQUIRE(none.gradient == zeros(c.log_prob));
    REQUIRE(none.memory.temperature == 1);
    c.advantage[0][0] = not_a_number;
    REQUIRE(message_of<rlgaf::numeric_error>([&] { run_step({}, c); }) ==
            "rlgaf::vmpo: terms.advantage row 0 token 0: expected a finite number, got nan");
    c.mask = {{0, 1, 1}, {1, 1, 1}};
    REQUIRE_NOTHROW(run_step({}, c));
}

TEST_CASE("vmpo refuses options out of range by name, and allocates nothing twice") {
    for (const double x : {0.0, -0.1, 1.1, not_a_number}) REQUIRE(refuses(vmpo{.fraction = x}, "vmpo", "fraction"));
    for (const double x : {0.0, -1.0, 1e7, 1e-4, not_a_number})
        REQUIRE(refuses(vmpo{.temperature = x}, "vmpo", "temperature"));
    for (const double x : {0.0, -1.0, infinity, not_a_number}) REQUIRE(refuses(vmpo{.bound = x}, "vmpo", "bound"));
    for (const double x : {-1.0, infinity, not_a_number}) REQUIRE(refuses(vmpo{.rate = x}, "vmpo", "rate"));
    for (const double x : {0.0, -1.0, not_a_number}) REQUIRE(refuses(vmpo{.lowest = x}, "vmpo", "lowest"));
    for (const double x : {1e-4, infinity, not_a_number}) REQUIRE(refuses(vmpo{.highest = x}, "vmpo", "highest"));
    policy_arrays<float> arrays(six_tokens(), layout::padded);
    ragged<float> gradient(zeros(six_tokens().log_prob), layout::padded, 0.0f);
    rlgaf::workspace work;
    vmpo::state memory;
    const auto terms = arrays.terms();
    const auto view = gradient.view();
    const auto call = [&] { vmpo{}(memory, terms, std::span<const double>(arrays.weight), view, work); };
    call();
    REQUIRE(allocations_of(call) == 0);
}
