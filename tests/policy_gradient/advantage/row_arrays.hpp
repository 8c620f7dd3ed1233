#pragma once
/// Critic values, log-probs, score norms and greedy rewards for estimators that read more than rewards. Every number
/// follows from what its row earns, so that it moves with the row, and has few enough digits for a float.
#include <array>
#include <string>

#include "rlgaf/math/moments.hpp"
#include "support/advantage_checks.hpp"

namespace rlgaf_test {

enum class row_array { value, log_prob, behaviour_log_prob, score_norm, greedy_reward };
inline constexpr std::size_t row_array_count = 5;

/// Goes on from `x`, so that rows with other rewards get other numbers.
inline double mix(double x, double next) { return 0.7 * x + (std::isnan(next) ? 0.3 : next); }

inline double made_number(row_array name, double row, std::size_t t) {
    const double x = std::sin(12.9898 * row + 78.233 * static_cast<double>(t) + 3.1 * static_cast<double>(name));
    const double y = name == row_array::score_norm ? (x < -0.5 ? 0 : x + 0.5) : 2 * x;
    return static_cast<double>(static_cast<float>(y));
}
inline double row_key(const advantage_case& c, std::size_t i) {
    double key = static_cast<double>(c.shape[i].size());
    for (const auto& outcome : c.outcome) key = mix(key, outcome[i]);
    return c.bootstrap.empty() ? key : mix(key, c.bootstrap[i]);
}
/// The same numbers for an implementation of one's own; NaN on masked tokens.
inline table array_of(const advantage_case& c, row_array name) {
    return table_like(c.shape, [&](std::size_t i, std::size_t t) {
        return included(c.mask, i, t) ? made_number(name, row_key(c, i), t) : not_a_number;
    });
}
inline std::vector<double> greedy_rewards(const advantage_case& c) {
    std::vector<double> out;
    for (std::size_t i = 0; i < c.shape.size(); ++i)
        out.push_back(made_number(row_array::greedy_reward, row_key(c, i), 0));
    return out;
}

/// An estimator that is given all of these arrays besides its rewards.
template <class Estimator>
struct with_row_arrays {
    using role = rlgaf::role::advantage;
    Estimator estimator;

    void check() const { estimator.check(); }

    template <class T>
    rlgaf::advantage_stats operator()(const rlgaf::advantage_terms<T>& given, rlgaf::workspace& work,
                                      const rlgaf::ragged_view<T>& advantage) const {
        static std::array<rlgaf::ragged_buffer<T>, row_array_count> made;
        static std::vector<std::uint32_t> lengths;
        static std::vector<double> greedy;
        lengths.clear(), greedy.clear();
        for (std::size_t i = 0; i < advantage.rows(); ++i)
            lengths.push_back(static_cast<std::uint32_t>(advantage.length(i)));
        for (auto& array : made) array.assign(lengths);
        for (std::size_t i = 0; i < advantage.rows(); ++i) {
            double key = lengths[i];
            for (const rlgaf::outcome_reward& r : given.reward.outcome)
                if (i < r.value.size()) key = mix(key, r.value[i]);
            if (i < given.reward.bootstrap.size()) key = mix(key, given.reward.bootstrap[i]);
            greedy.push_back(made_number(row_array::greedy_reward, key, 0));
            const bool masked = i < given.mask.rows() && given.mask.length(i) == lengths[i];
            for (std::size_t t = 0; t < lengths[i]; ++t)
                for (std::size_t a = 0; a < row_array_count; ++a)
                    made[a].view().row(i)[t] = static_cast<T>(masked && given.mask.row(i)[t] == 0
                                                                  ? not_a_number
                                                                  : made_number(static_cast<row_array>(a), key, t));
        }
        rlgaf::advantage_terms<T> terms = given;
        const auto view = [&](row_array name) {
            return advantage.empty() ? rlgaf::ragged_view<const T>{}
                                     : rlgaf::ragged_view<const T>(made[static_cast<std::size_t>(name)].view());
        };
        terms.value = view(row_array::value);
        terms.log_prob = view(row_array::log_prob);
        terms.behaviour_log_prob = view(row_array::behaviour_log_prob);
        terms.score_norm = view(row_array::score_norm);
        terms.greedy_reward = greedy;
        return estimator(terms, work, advantage);
    }
};

/// Arrays of one case that a test gives by hand. An empty one is not given.
struct extra_arrays {
    table value{}, log_prob{}, behaviour_log_prob{}, score_norm{};
    std::vector<double> greedy_reward{};
};
struct actor_critic_result {
    table advantage, returns;
    rlgaf::advantage_stats stats;
};

/// Runs an estimator on hand-made arrays, the critic's targets included where it has some.
template <class T = double, class Estimator>
actor_critic_result run_with(const Estimator& estimator, const advantage_case& c, const extra_arrays& x,
                             layout how = layout::packed) {
    advantage_arrays<T> arrays(c, how);
    constexpr T guard = std::numeric_limits<T>::quiet_NaN();
    ragged<T> value(x.value, how, guard), log_prob(x.log_prob, how, guard), behaviour(x.behaviour_log_prob, how, guard),
        norm(x.score_norm, how, guard), returns(table_like(c.shape, [](auto, auto) { return 55.0; }), how, T{98});
    rlgaf::advantage_terms<T> terms = arrays.terms();
    terms.value = value.view(), terms.log_prob = log_prob.view(), terms.behaviour_log_prob = behaviour.view();
    terms.score_norm = norm.view(), terms.greedy_reward = x.greedy_reward;
    rlgaf::workspace work;
    work.a = work.b = work.c = work.d = work.e = {1e12, 1e12, 1e12};
    rlgaf::advantage_stats stats;
    if constexpr (requires { estimator(terms, work, arrays.advantage.view(), returns.view()); })
        stats = estimator(terms, work, arrays.advantage.view(), returns.view());
    else
        stats = estimator(terms, work, arrays.advantage.view());
    REQUIRE(arrays.advantage.guards_intact());
    REQUIRE(returns.guards_intact());
    return {arrays.advantage.rows(), returns.rows(), stats};
}

/// The rewards of a row's unmasked tokens, first one first, the outcomes at the last; empty if no reward applies.
inline std::vector<double> paid(const advantage_case& c, std::size_t i) {
    double outcome = 0;
    for (const auto& reward : c.outcome) outcome += std::isnan(reward[i]) ? 0 : reward[i];
    std::vector<double> r;
    for (std::size_t t = 0; has_reward(c, i) && t < c.shape[i].size(); ++t)
        if (included(c.mask, i, t)) r.push_back(c.token.empty() ? 0 : c.token[i][t]);
    if (!r.empty()) r.back() += outcome;
    return r;
}
/// The numbers of a row's unmasked tokens.
inline std::vector<double> unmasked(const advantage_case& c, const table& x, std::size_t i) {
    std::vector<double> out;
    for (std::size_t t = 0; t < c.shape[i].size(); ++t)
        if (included(c.mask, i, t)) out.push_back(x[i][t]);
    return out;
}
inline double after(const advantage_case& c, std::size_t i) { return c.bootstrap.empty() ? 0 : c.bootstrap[i]; }

/// Token by token: G_k = sum of discount^(s - k) r_s, and the bootstrap after the last.
inline std::vector<double> returns_of(const advantage_case& c, std::size_t i, double discount) {
    const std::vector<double> r = paid(c, i);
    std::vector<double> g(r.size(), 0.0);
    for (std::size_t k = 0; k < g.size(); ++k) {
        for (std::size_t s = k; s < r.size(); ++s) g[k] += std::pow(discount, static_cast<double>(s - k)) * r[s];
        g[k] += std::pow(discount, static_cast<double>(r.size() - k)) * after(c, i);
    }
    return g;
}
/// x[row][k] at the k-th unmasked token of the row, 0 on masked tokens and where a row of x is empty.
inline table at_unmasked(const advantage_case& c, const table& x) {
    table out = zeros(c.shape);
    for (std::size_t i = 0; i < out.size(); ++i)
        for (std::size_t t = 0, k = 0; t < out[i].size() && !x[i].empty(); ++t)
            if (included(c.mask, i, t)) out[i][t] = x[i][k++];
    return out;
}

struct spread {
    double mean = 0, deviation = 0;

    /// The rule that is_constant in math/moments.hpp states.
    bool varies() const { return deviation > 1e-6 * std::fmax(1.0, std::abs(mean)); }
};
inline spread spread_of(const std::vector<double>& x, bool bessel = true) {
    const double n = static_cast<double>(x.size());
    spread s;
    for (const double v : x) s.mean += v / n;
    for (const double v : x) s.deviation += (v - s.mean) * (v - s.mean);
    s.deviation = n > 1 ? std::sqrt(s.deviation / (bessel ? n - 1 : n)) : 0;
    return s;
}
/// Rows of numbers to mean 0 and deviation 1 over all of them.
inline table whitened(table x, rlgaf::variance_kind kind) {
    std::vector<double> all;
    for (const auto& row : x) all.insert(all.end(), row.begin(), row.end());
    const spread s = spread_of(all, kind == rlgaf::variance_kind::bessel);
    for (auto& row : x)
        for (double& v : row) v = s.varies() ? (v - s.mean) / s.deviation : 0;
    return x;
}

}  // namespace rlgaf_test
