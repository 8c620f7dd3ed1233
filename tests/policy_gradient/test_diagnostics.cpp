#include <map>
#include <string>

#include "rlgaf/math/schedule.hpp"
#include "rlgaf/policy_gradient/diagnostics.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::diagnostics;
using rlgaf::step_metrics;

namespace {
/// All that a step has; an empty table or vector is an array that is not given.
struct step_case {
    std::map<std::string, table> array{};  ///< log_prob, old_log_prob, ...
    table outcome{}, token{};              ///< K rewards of B rows; token rewards
    std::vector<std::uint32_t> group{};
    std::size_t groups = 1;
    std::vector<std::uint8_t> truncated{};
    double grad_norm = not_a_number;
};
const char* const names[] = {
    "log_prob",  "old_log_prob", "behaviour_log_prob", "reference_log_prob", "advantage", "entropy", "value",
    "old_value", "returns",      "score_norm"};

template <class T>
struct step_storage {
    step_case c;
    std::map<std::string, ragged<T>> array{};
    ragged<T> token;
    ragged<std::uint8_t> mask;
    std::vector<rlgaf::outcome_reward> outcome{};
    rlgaf::workspace work{};

    step_storage(const step_case& from, layout how)
        : c(from), token(c.token, how, static_cast<T>(not_a_number)), mask(c.array["mask"], how, 1) {
        for (const char* name : names) array.emplace(name, ragged<T>(c.array[name], how, static_cast<T>(not_a_number)));
        for (const auto& r : c.outcome) outcome.push_back({"reward", r});
    }
    rlgaf::step_arrays<T> arrays() {
        const auto view = [&](const char* name) { return rlgaf::ragged_view<const T>(array.at(name).view()); };
        return {.log_prob = view("log_prob"),
                .old_log_prob = view("old_log_prob"),
                .behaviour_log_prob = view("behaviour_log_prob"),
                .reference_log_prob = view("reference_log_prob"),
                .advantage = view("advantage"),
                .entropy = view("entropy"),
                .value = view("value"),
                .old_value = view("old_value"),
                .returns = view("returns"),
                .score_norm = view("score_norm"),
                .mask = mask.view(),
                .reward = {outcome, token.view(), {}},
                .group = {c.group, c.groups},
                .truncated = c.truncated,
                .grad_norm = c.grad_norm};
    }
};
using metric_map = std::map<std::string, double>;

template <class T = double>
metric_map run(const diagnostics& o, const step_case& c, layout how = layout::packed) {
    step_storage<T> storage(c, how);
    storage.work.a = storage.work.b = storage.work.c = storage.work.d = storage.work.e = {1e12, 1e12};
    metric_map out;
    o(storage.arrays(), storage.work).for_each_metric([&](const char* name, double value) { out[name] = value; });
    return out;
}

step_case random_step(dice& d, bool everything) {
    step_case c;
    const table shape = random_shape(d, 6, 5);
    const std::size_t rows = shape.size();
    const table base = table_like(shape, [&](auto, auto) { return d.uniform(-4, 0); });
    for (const char* name : names) {
        const bool probs = std::string(name).find("log_prob") != std::string::npos;
        if (!everything && std::string(name) != "log_prob" && d.chance(0.3)) continue;
        c.array[name] = table_like(shape, [&](auto b, auto t) {
            if (probs) return base[b][t] + (d.chance(0.02) ? d.uniform(-40, 15) : 0.3 * d.normal());
            return std::string(name) == "score_norm" || std::string(name) == "entropy" ? d.uniform(0, 2) : d.normal();
        });
    }
    c.array["mask"] = random_mask(d, shape);
    c.groups = 1 + d.below(3);
    for (std::size_t i = 0; i < rows; ++i) c.group.push_back(static_cast<std::uint32_t>(d.below(c.groups)));
    c.outcome.resize(d.below(3));
    for (auto& outcome : c.outcome)
        for (std::size_t i = 0; i < rows; ++i)
            outcome.push_back(d.chance(0.15) ? not_a_number : static_cast<double>(d.below(2)));
    if (d.chance(0.3)) c.token = table_like(shape, [&](auto, auto) { return d.normal(); });
    if (d.chance(0.7))
        for (std::size_t i = 0; i < rows; ++i) c.truncated.push_back(d.chance(0.4));
    if (d.chance(0.5)) c.grad_norm = d.uniform(0, 3);
    return c;
}

// What follows computes every metric from its definition in the formula sheet, section 4.2.

double mean(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<double>(x.size());  // NaN of nothing
}
double variance(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += (v - mean(x)) * (v - mean(x));
    return x.size() > 1 ? sum / static_cast<double>(x.size() - 1) : 0;
}
double least(const std::vector<double>& x) {
    double m = not_a_number;
    for (const double v : x) m = std::fmin(m, v);
    return m;
}
double most(const std::vector<double>& x) {
    double m = not_a_number;
    for (const double v : x) m = std::fmax(m, v);
    return m;
}
double held(double d) { return std::fmin(std::fmax(d, -20), 20); }

metric_map by_definition(const diagnostics& o, const step_case& given) {
    step_case c = given;
    metric_map m;
    step_metrics{}.for_each_metric([&](const char* name, double) { m[name] = not_a_number; });
    const table& shape = c.array["log_prob"];
    const table& mask = c.array["mask"];
    const auto has = [&](const char* name) { return !c.array[name].empty(); };
    std::vector<std::vector<std::pair<std::size_t, std::size_t>>> rows;
    for (std::size_t b = 0; b < shape.size(); ++b) {
        std::vector<std::pair<std::size_t, std::size_t>> row;
        for (std::size_t t = 0; t < shape[b].size(); ++t)
            if (included(mask, b, t)) row.push_back({b, t});
        if (!row.empty()) rows.push_back(row);
    }
    // of f over all unmasked tokens, and of sums of f over rows
    const auto tokens = [&](auto&& f) {
        std::vector<double> out;
        for (const auto& row : rows)
            for (const auto& [b, t] : row) out.push_back(f(b, t));
        return out;
    };
    const auto sums = [&](auto&& f) {
        std::vector<double> out;
        for (const auto& row : rows) {
            double sum = 0;
            for (const auto& [b, t] : row) sum += f(b, t);
            out.push_back(sum);
        }
        return out;
    };
    const auto at = [&](const char* name) {
        return [&x = c.array[name]](std::size_t b, std::size_t t) { return x[b][t]; };
    };
    m["rows"] = static_cast<double>(rows.size());
    m["tokens"] = static_cast<double>(tokens([](auto, auto) { return 1.0; }).size());
    m["grad_norm"] = c.grad_norm, m["signal"] = c.grad_norm * c.grad_norm;

    std::vector<double> length, terminated, cut;
    for (std::size_t b = 0; b < shape.size(); ++b) {
        length.push_back(static_cast<double>(shape[b].size()));
        if (!c.truncated.empty()) cut.push_back(c.truncated[b]);
        if (!c.truncated.empty() && !c.truncated[b]) terminated.push_back(length.back());
    }
    m["length_mean"] = mean(length), m["length_min"] = least(length), m["length_max"] = most(length);
    m["truncated_share"] = mean(cut);
    m["terminated_length_mean"] = mean(terminated);
    m["terminated_length_min"] = least(terminated), m["terminated_length_max"] = most(terminated);

    std::vector<double> reward, constant;
    std::vector<table> of_group(c.groups);  // one column a reward
    table all = c.outcome;
    if (!c.token.empty()) {
        all.emplace_back();
        for (std::size_t b = 0; b < shape.size(); ++b) {
            double sum = 0;
            for (std::size_t t = 0; t < shape[b].size(); ++t)
                if (included(mask, b, t)) sum += c.token[b][t];
            bool applies = c.outcome.empty();
            for (const auto& r : c.outcome) applies = applies || !std::isnan(r[b]);
            all.back().push_back(applies ? sum : not_a_number);
        }
    }
    for (std::size_t b = 0; b < shape.size(); ++b) {
        double sum = 0;
        bool applies = false;
        for (const auto& r : all)
            if (!std::isnan(r[b])) sum += r[b], applies = true;
        if (applies) reward.push_back(sum);
    }
    for (std::size_t b = 0; b < shape.size(); ++b) {
        std::vector<double> centred;  // of the rows of b's group, all rewards together
        bool mine = false;
        for (std::size_t i = 0; i < shape.size(); ++i) {
            if (c.group[i] != c.group[b]) continue;
            double sum = 0;
            bool applies = false;
            for (const auto& r : all) {
                if (std::isnan(r[i])) continue;
                std::vector<double> peers;
                for (std::size_t j = 0; j < shape.size(); ++j)
                    if (c.group[j] == c.group[b] && !std::isnan(r[j])) peers.push_back(r[j]);
                sum += r[i] - mean(peers), applies = true;
            }
            if (applies) centred.push_back(sum), mine = mine || i == b;
        }
        double squares = 0;
        for (const double x : centred) squares += x * x;
        if (mine)
            constant.push_back(centred.size() < 2 ||
                               std::sqrt(squares / static_cast<double>(centred.size() - 1)) < 1e-6);
    }
    m["reward_mean"] = mean(reward), m["constant_row_share"] = mean(constant);
    if (!reward.empty()) m["reward_deviation"] = std::sqrt(variance(reward));
    if (rows.empty()) return m;

    if (has("old_log_prob")) {
        const auto d = [&](auto b, auto t) { return at("log_prob")(b, t) - at("old_log_prob")(b, t); };
        const auto ratio = [&](auto b, auto t) { return std::exp(held(d(b, t))); };
        m["kl_old_k1"] = -mean(tokens(d));
        m["kl_old_k2"] = mean(tokens([&](auto b, auto t) { return 0.5 * d(b, t) * d(b, t); }));
        m["kl_old_k3"] = mean(tokens([&](auto b, auto t) {
            const double x = std::fmin(d(b, t), 20);
            return std::exp(x) - 1 - x;
        }));
        m["ratio_mean"] = mean(tokens(ratio)), m["ratio_variance"] = variance(tokens(ratio));
        m["ratio_max"] = most(tokens(ratio));
        m["clip_fraction_any_sign"] = mean(tokens(
            [&](auto b, auto t) { return ratio(b, t) < 1 - o.clip_low || ratio(b, t) > 1 + o.clip_high ? 1.0 : 0.0; }));
        m["entropy_sampled_per_row"] = -mean(sums(at("old_log_prob")));
        if (has("advantage")) {
            const auto a = at("advantage");
            const auto low = [&](auto b, auto t) { return a(b, t) < 0 && ratio(b, t) < 1 - o.clip_low ? 1.0 : 0.0; };
            const auto high = [&](auto b, auto t) { return a(b, t) > 0 && ratio(b, t) > 1 + o.clip_high ? 1.0 : 0.0; };
            m["clip_fraction_low"] = mean(tokens(low)), m["clip_fraction_high"] = mean(tokens(high));
            m["clip_fraction"] = mean(tokens([&](auto b, auto t) {  // the clipped loss is the larger one
                const double r = ratio(b, t), bounded = std::fmin(std::fmax(r, 1 - o.clip_low), 1 + o.clip_high);
                return -a(b, t) * bounded > -a(b, t) * r ? 1.0 : 0.0;
            }));
            m["clip_fraction_dual"] = mean(tokens([&](auto b, auto t) {
                return a(b, t) < 0 && o.dual_clip > 0 && ratio(b, t) > o.dual_clip ? 1.0 : 0.0;
            }));
            std::vector<double> lows = sums(low), highs = sums(high);
            for (std::size_t i = 0; i < rows.size(); ++i)
                lows[i] /= static_cast<double>(rows[i].size()), highs[i] /= static_cast<double>(rows[i].size());
            m["clip_fraction_low_row_min"] = least(lows), m["clip_fraction_high_row_max"] = most(highs);
        }
    }
    if (has("entropy")) m["entropy"] = mean(tokens(at("entropy")));
    if (has("reference_log_prob")) {
        const auto u = [&](auto b, auto t) { return at("reference_log_prob")(b, t) - at("log_prob")(b, t); };
        m["kl_reference_per_token"] = -mean(tokens(u)), m["kl_reference_per_row"] = -mean(sums(u));
        m["kl_reference_k3"] = mean(tokens([&](auto b, auto t) {
            const double x = std::fmin(u(b, t), 20);
            return std::exp(x) - 1 - x;
        }));
    }
    if (has("old_log_prob") && has("behaviour_log_prob")) {
        const auto d = [&](auto b, auto t) { return at("old_log_prob")(b, t) - at("behaviour_log_prob")(b, t); };
        const auto size = [&](auto b, auto t) { return std::abs(d(b, t)); };
        const auto q = [&](auto b, auto t) { return std::exp(held(d(b, t))); };
        const auto square = [&](auto b, auto t) { return q(b, t) * q(b, t); };
        m["sampler_difference_mean"] = mean(tokens(size)), m["sampler_difference_max"] = most(tokens(size));
        m["sampler_ratio_min"] = least(tokens(q)), m["sampler_ratio_mean"] = mean(tokens(q));
        m["sampler_ratio_max"] = most(tokens(q));
        m["sampler_ess_fraction"] = mean(tokens(q)) * mean(tokens(q)) / mean(tokens(square));
        m["sampler_chi2_token"] = mean(tokens(square)) - 1;
        m["sampler_kl_k1"] = -mean(tokens(d));
        m["sampler_kl_k3"] = mean(tokens([&](auto b, auto t) { return q(b, t) - 1 - held(d(b, t)); }));
        std::vector<double> chi2, perplexity, sampler, difference, ratio;
        const std::vector<double> sum = sums(d), old = sums(at("old_log_prob")), mu = sums(at("behaviour_log_prob"));
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const auto n = static_cast<double>(rows[i].size());
            chi2.push_back(std::exp(2 * held(sum[i])) - 1);
            perplexity.push_back(std::exp(-old[i] / n)), sampler.push_back(std::exp(-mu[i] / n));
            difference.push_back(-sum[i] / n), ratio.push_back(std::exp(held(-sum[i] / n)));
        }
        m["sampler_chi2_sequence"] = mean(chi2);
        m["perplexity"] = mean(perplexity), m["sampler_perplexity"] = mean(sampler);
        m["log_perplexity_difference"] = mean(difference), m["perplexity_ratio"] = mean(ratio);
    }
    if (has("advantage")) {
        const std::vector<double> a = tokens(at("advantage"));
        m["advantage_mean"] = mean(a), m["advantage_deviation"] = std::sqrt(variance(a));
        m["advantage_min"] = least(a), m["advantage_max"] = most(a);
    }
    const auto range = [&](const char* array, const std::string& name) {
        if (!has(array)) return;
        const std::vector<double> x = tokens(at(array));
        m[name + "_mean"] = mean(x), m[name + "_min"] = least(x), m[name + "_max"] = most(x);
    };
    range("returns", "return"), range("value", "value");
    if (has("returns") && has("value")) {
        const auto e = [&](auto b, auto t) { return at("returns")(b, t) - at("value")(b, t); };
        const double total = variance(tokens(at("returns")));
        if (total > 0) m["explained_variance"] = 1 - variance(tokens(e)) / total;
        if (has("old_value"))
            m["value_clip_fraction"] = mean(tokens([&](auto b, auto t) {
                const double v = at("value")(b, t), old = at("old_value")(b, t), r = at("returns")(b, t);
                const double bounded = std::fmin(std::fmax(v, old - o.value_clip), old + o.value_clip);
                return (bounded - r) * (bounded - r) > (v - r) * (v - r) ? 1.0 : 0.0;
            }));
    }
    if (has("advantage") && has("score_norm")) {
        std::vector<double> a = sums(at("advantage")), w = sums(at("score_norm"));
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const auto n = static_cast<double>(rows[i].size());
            a[i] = a[i] / n * a[i] / n * w[i];
        }
        m["variance_proxy"] = mean(a);
    }
    return m;
}

bool same(const metric_map& a, const metric_map& b, double close) {
    if (a.size() != b.size()) return false;
    for (const auto& [name, value] : a) {
        const double other = b.at(name);
        if (std::isnan(value) && std::isnan(other)) continue;
        if (!(gap(value, other) <= close * (1 + std::abs(other)))) {
            UNSCOPED_INFO(name << ": " << value << ", expected " << other);
            return false;
        }
    }
    return true;
}
/// A step of one row whose log-probs are these; the other arrays are added by name.
step_case one_row(const std::vector<double>& log_prob) {
    step_case c;
    c.array["log_prob"] = {log_prob};
    c.group = {0};
    return c;
}
}  // namespace

TEST_CASE("Every metric agrees with its definition on random steps, whatever arrays are given") {
    dice d(42);
    for (int i = 0; i < 1500; ++i) {
        CAPTURE(i);
        const diagnostics o{.clip_low = d.uniform(0, 0.9),
                            .clip_high = d.uniform(0, 1),
                            .dual_clip = d.chance(0.3) ? 0 : d.uniform(1.01, 3),
                            .value_clip = d.uniform(0.01, 1)};
        const step_case c = random_step(d, d.chance(0.5));
        REQUIRE(same(run(o, c), by_definition(o, c), 1e-9));
    }
}

TEST_CASE("Every metric is the same in both layouts, in float, with NaN under the mask, and for rows in any order") {
    dice d(43);
    for (int i = 0; i < 200; ++i) {
        CAPTURE(i);
        const step_case c = random_step(d, true);
        const metric_map plain = run({}, c);
        REQUIRE(same(run({}, c, layout::padded), plain, 0));

        step_case rounded = c;
        for (auto& [name, x] : rounded.array) x = as_float(x);
        rounded.token = as_float(c.token);
        const metric_map wide = run({}, rounded);
        for (const layout how : layouts) REQUIRE(same(run<float>({}, rounded, how), wide, 1e-3));

        step_case spoiled = c;
        const table mask = c.array.at("mask");
        if (!mask.empty()) {
            const auto spoil = [&](table& x) {
                x = table_like(x, [&](auto b, auto t) { return included(mask, b, t) ? x[b][t] : not_a_number; });
            };
            for (const char* name : names) spoil(spoiled.array[name]);
            spoil(spoiled.token);
        }
        REQUIRE(same(run({}, spoiled), plain, 0));

        step_case shuffled = c;
        const std::vector<std::size_t> order = d.permutation(c.group.size());
        for (auto& [name, x] : shuffled.array) x = permuted(x, order);
        for (auto& x : shuffled.outcome) x = permuted(x, order);
        shuffled.token = permuted(c.token, order), shuffled.group = permuted(c.group, order);
        shuffled.truncated = permuted(c.truncated, order);
        REQUIRE(same(run({}, shuffled), plain, 1e-9));
    }
}

TEST_CASE("Every field of step_metrics is visited once, in order, under its own name") {
    step_metrics m;
    double* const field = reinterpret_cast<double*>(&m);
    const std::size_t fields = sizeof m / sizeof(double);
    for (std::size_t i = 0; i < fields; ++i) field[i] = static_cast<double>(i);
    std::map<std::string, double> seen;
    double next = 0;
    m.for_each_metric([&](const char* name, double value) {
        REQUIRE(value == next++);
        REQUIRE(seen.emplace(name, value).second);
    });
    REQUIRE(seen.size() == fields);
    m.kl_old_k3 = 123, m.variance_proxy = 456;
    m.for_each_metric([&](const char* name, double value) {
        if (value == 123) REQUIRE(std::string(name) == "kl_old_k3");
        if (value == 456) REQUIRE(std::string(name) == "variance_proxy");
    });
}

TEST_CASE("Ratio metrics of the formula sheet's three tokens") {
    step_case c = one_row({-0.7, -2.4, -0.5});
    c.array["old_log_prob"] = {{-1, -2, -0.5}};
    c.array["reference_log_prob"] = {{-1.2, -1.9, -0.4}};
    c.array["advantage"] = {{1, -1, 0.5}};
    metric_map m = run({.clip_low = 0.2, .clip_high = 0.2}, c);
    REQUIRE(gap(m["ratio_mean"], (1.349859 + 0.670320 + 1) / 3) < 1e-6);
    REQUIRE(gap(m["ratio_max"], 1.349859) < 1e-6);
    REQUIRE(gap(m["kl_old_k1"], (-0.3 + 0.4) / 3) < 1e-15);
    REQUIRE(gap(m["clip_fraction"], 2.0 / 3) < 1e-15);
    REQUIRE(gap(m["clip_fraction_low"], 1.0 / 3) < 1e-15);
    REQUIRE(gap(m["clip_fraction_high"], 1.0 / 3) < 1e-15);
    REQUIRE(gap(m["kl_reference_per_token"], -0.1 / 3) < 1e-15);
    REQUIRE(gap(m["kl_reference_per_row"], -0.1) < 1e-15);
    REQUIRE(gap(m["kl_reference_k3"], (0.106531 + 0.148721 + 0.005171) / 3) < 1e-6);
    REQUIRE(gap(run({.clip_low = 0.2, .clip_high = 0.4}, c)["clip_fraction"], 1.0 / 3) < 1e-15);
}

TEST_CASE("The two clip fractions: by the side that the advantage clips, and whatever its sign (cleanrl)") {
    step_case c = one_row({1, 1, -1, -1});
    c.array["old_log_prob"] = {{0, 0, 0, 0}};
    c.array["advantage"] = {{1, -1, 1, -1}};
    metric_map m = run({.dual_clip = 2}, c);
    REQUIRE(m["clip_fraction"] == 0.5);
    REQUIRE(m["clip_fraction_any_sign"] == 1);
    REQUIRE(m["clip_fraction_dual"] == 0.25);
    // A ratio equal to its bound is not clipped, nor is a token without an advantage.
    c = one_row({0.5, -0.5});
    c.array["old_log_prob"] = {{0, 0}};
    c.array["advantage"] = {{1, -1}};
    const diagnostics edge{.clip_low = 1 - std::exp(-0.5), .clip_high = std::exp(0.5) - 1};
    REQUIRE(run(edge, c)["clip_fraction"] == 0);
    REQUIRE(run(edge, c)["clip_fraction_any_sign"] == 0);
    c.array["advantage"] = {{0, 0}};
    REQUIRE(run({}, c)["clip_fraction"] == 0);
    REQUIRE(run({}, c)["clip_fraction_any_sign"] == 1);
}

TEST_CASE("The clip fractions are those that ppo_clip counts") {
    dice d(44);
    for (int i = 0; i < 300; ++i) {
        step_case c = random_step(d, true);
        step_storage<double> storage(c, layout::packed);
        const auto x = storage.arrays();
        ragged<double> gradient(zeros(c.array["log_prob"]), layout::packed, 0.0);
        const std::vector<double> weight(c.group.size(), 1.0);
        const auto stats = rlgaf::ppo_clip{}(
            {.log_prob = x.log_prob, .old_log_prob = x.old_log_prob, .advantage = x.advantage, .mask = x.mask},
            std::span<const double>(weight), gradient.view());
        if (stats.tokens == 0) continue;
        metric_map m = run({}, c);
        REQUIRE(gap(m["clip_fraction_low"] * stats.tokens, stats.clipped_low) < 1e-9);
        REQUIRE(gap(m["clip_fraction_high"] * stats.tokens, stats.clipped_high) < 1e-9);
        REQUIRE(gap(m["clip_fraction_dual"] * stats.tokens, stats.clipped_dual) < 1e-9);
        REQUIRE(gap(m["ratio_max"], stats.ratio_max) < 1e-9 * stats.ratio_max);
    }
}

TEST_CASE("Trap: no mean is diluted by padding") {
    step_case narrow = one_row({-0.7, -2.4}), wide = one_row({-0.7, -2.4, 0, 0, 0, 0});
    narrow.array["old_log_prob"] = {{-1, -2}};
    wide.array["old_log_prob"] = {{-1, -2, 0, 0, 0, 0}};  // equal log-probs, as padding often gets
    wide.array["mask"] = {{1, 1, 0, 0, 0, 0}};
    for (const char* name : {"kl_old_k1", "kl_old_k2", "kl_old_k3", "ratio_mean", "entropy_sampled_per_row"})
        REQUIRE(run({}, wide)[name] == run({}, narrow)[name]);
    wide.array["mask"] = {};
    REQUIRE(run({}, wide)["kl_old_k2"] < 0.5 * run({}, narrow)["kl_old_k2"]);
}

TEST_CASE("Trap: explained variance of equal returns is NaN") {
    step_case c = one_row({-1, -1});
    c.array["returns"] = {{1, 1}};
    c.array["value"] = {{0.5, 1.5}};
    REQUIRE(std::isnan(run({}, c)["explained_variance"]));
    c.array["returns"] = {{1, 2}};
    REQUIRE(gap(run({}, c)["explained_variance"], 1) < 1e-15);
}

TEST_CASE("Trap: the KL to the reference has a name per unit, and the row's is what adaptive_kl wants") {
    step_case c;
    c.array["log_prob"] = table(4, std::vector<double>(200, -1.0));
    c.array["reference_log_prob"] = table(4, std::vector<double>(200, -1.03));
    c.group = {0, 0, 0, 0};
    metric_map m = run({}, c);
    REQUIRE(gap(m["kl_reference_per_token"], 0.03) < 1e-12);
    REQUIRE(gap(m["kl_reference_per_row"], 6) < 1e-10);
    rlgaf::adaptive_kl::state state;
    REQUIRE(gap(rlgaf::adaptive_kl{}(state, m["kl_reference_per_row"], 4), 0.2) < 1e-12);  // on target
}

TEST_CASE("Trap: constant groups are found by id, not by position, and not by exact equality of rounded sums") {
    step_case c;
    c.array["log_prob"] = table(6, {-1.0});
    c.group = {0, 1, 0, 1, 0, 2};
    c.groups = 3;
    c.outcome = {{0.1, 1, 0.1, 0, 0.1, 5}};
    REQUIRE(gap(run({}, c)["constant_row_share"], 4.0 / 6) < 1e-15);  // group 0, and the group of one
    c.outcome = {{0.1, 1, 0.1, 0, 0.1, not_a_number}};
    REQUIRE(gap(run({}, c)["constant_row_share"], 3.0 / 5) < 1e-15);
    REQUIRE(gap(run({}, c)["reward_mean"], 1.3 / 5) < 1e-15);
    c.outcome = {std::vector<double>(6, not_a_number)};
    REQUIRE(std::isnan(run({}, c)["reward_mean"]));
    REQUIRE(std::isnan(run({}, c)["constant_row_share"]));
}

TEST_CASE("Diagnostics of nothing: no rows, empty rows, all masked") {
    for (const table& shape : {table{}, table{{}, {}}, table{{1, 2}, {3}}}) {
        step_case c;
        for (const char* name : names) c.array[name] = shape;
        c.array["mask"] = zeros(shape);
        c.group.assign(shape.size(), 0);
        metric_map m = run({}, c);
        REQUIRE(m["rows"] == 0);
        REQUIRE(m["tokens"] == 0);
        for (const auto& [name, value] : m)
            if (name != "rows" && name != "tokens" && name.find("length") == std::string::npos)
                REQUIRE(std::isnan(value));
        REQUIRE(std::isnan(m["length_mean"]) == shape.empty());
    }
    step_case all_cut = one_row({-1});
    all_cut.truncated = {1};
    REQUIRE(run({}, all_cut)["truncated_share"] == 1);
    REQUIRE(std::isnan(run({}, all_cut)["terminated_length_mean"]));
}

TEST_CASE("Diagnostics at log-ratios of 200 and beyond stay finite") {
    for (const double far : {200.0, 1e4}) {
        step_case c = one_row({0, -far});
        for (const char* name : {"old_log_prob", "behaviour_log_prob", "reference_log_prob"})
            c.array[name] = {{-far, 0}};
        c.array["behaviour_log_prob"] = {{0, -far}};
        c.array["advantage"] = {{1, -1}};
        metric_map m = run({}, c);
        for (const char* name : {"ratio_mean", "ratio_variance", "kl_old_k3", "kl_reference_k3", "sampler_chi2_token",
                                 "sampler_chi2_sequence", "sampler_kl_k3", "perplexity_ratio"})
            REQUIRE(std::isfinite(m[name]));
        REQUIRE(gap(m["ratio_max"], std::exp(20.0)) < 1e-6);
    }
}

TEST_CASE("Diagnostics let NaN show, name arrays of another shape, and allocate nothing the second time") {
    step_case c = one_row({not_a_number});
    c.array["old_log_prob"] = {{-1}};
    REQUIRE(std::isnan(run({}, c)["ratio_mean"]));

    step_case good;
    for (const char* name : names) good.array[name] = {{1, 2}, {}, {3}};
    good.array["mask"] = {{1, 2}, {}, {3}};
    good.group = {0, 0, 0};
    good.outcome = {{1, 2, 3}};
    good.truncated = {0, 1, 0};
    const auto message = [](const step_case& bad) {
        return message_of<rlgaf::shape_error>([&] { run({}, bad, layout::padded); });
    };
    REQUIRE(message(good) == "nothing thrown");
    for (const char* name : {"old_log_prob", "behaviour_log_prob", "reference_log_prob", "advantage", "entropy",
                             "value", "old_value", "returns", "score_norm", "mask"}) {
        step_case bad = good;
        bad.array[name] = {{1, 2}, {}};
        REQUIRE(message(bad) == std::string("rlgaf::diagnostics: ") + name + ": expected 3 elements, got 2");
        bad.array[name] = {{1}, {}, {3}};
        REQUIRE(message(bad) == std::string("rlgaf::diagnostics: ") + name + " row 0: expected 2 tokens, got 1");
    }
    step_case bad = good;
    bad.truncated = {1};
    REQUIRE(message(bad) == "rlgaf::diagnostics: truncated: expected 3 elements, got 1");
    bad = good;
    bad.outcome = {{1}};
    REQUIRE(message(bad) == "rlgaf::diagnostics: terms.reward.outcome: expected 3 elements, got 1");
    bad = good;
    bad.group = {0, 7, 0};
    REQUIRE(message(bad) == "rlgaf::diagnostics: groups.id[1]: expected below 1, got 7");

    dice d(45);
    step_storage<float> storage(random_step(d, true), layout::padded);
    const auto x = storage.arrays();
    diagnostics{}(x, storage.work);
    REQUIRE(allocations_of([&] { diagnostics{}(x, storage.work); }) == 0);
}

TEST_CASE("diagnostics refuse options out of range by name") {
    for (const double x : {-0.1, 1.0, not_a_number})
        REQUIRE(refuses(diagnostics{.clip_low = x}, "diagnostics", "clip_low"));
    for (const double x : {-0.1, not_a_number})
        REQUIRE(refuses(diagnostics{.clip_high = x}, "diagnostics", "clip_high"));
    for (const double x : {1.0, -1.0, not_a_number})
        REQUIRE(refuses(diagnostics{.dual_clip = x}, "diagnostics", "dual_clip"));
    for (const double x : {0.0, -1.0, not_a_number})
        REQUIRE(refuses(diagnostics{.value_clip = x}, "diagnostics", "value_clip"));
    REQUIRE_THROWS_AS(run({.value_clip = 0}, one_row({-1})), rlgaf::option_error);
}
