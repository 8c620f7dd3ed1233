#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

/// Whether a policy samples from the probabilities that it reports.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// n * KL(count / n || p): for a binomial count, the chance of a value above x is below 2 exp(-x) (Chernoff).
inline double surprise(double count, double n, double p) {
    const double f = count / n;
    double kl = 0;
    if (f > 0) kl += f * std::log(f / p);
    if (f < 1) kl += (1 - f) * std::log((1 - f) / (1 - p));
    return p >= 0 && p <= 1 ? n * kl : std::numeric_limits<double>::infinity();
}

/// Frequencies of actions against exp(behaviour_log_prob). Rows are grouped by everything before the action, so that
/// what a tool or an environment says (masked slots) is given and needs no probability of its own.
template <class T, class B>
struct frequency_table {
    ragged_view<const std::int32_t> token;
    ragged_view<const T> log_prob;
    mask_view mask;
    std::vector<std::size_t> order;
    double worst = 0, tests = 0, most_mass = 0;
    std::string where;

    explicit frequency_table(const B& b)
        : token(tokens(b)), log_prob(behaviour_log_prob(b)), mask(mask_of(b)), order(rows(b)) {
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
            const auto x = token.row(i), y = token.row(j);
            return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
        });
        visit(0, order.size(), 0);
    }

    /// Rows order[first] .. order[last - 1] share their first t tokens.
    void visit(std::size_t first, std::size_t last, std::size_t t) {
        while (first < last && token.length(order[first]) == t) ++first;
        const double n = static_cast<double>(last - first);
        if (n < 100) return;
        double mass = 0;
        for (std::size_t end = first; first < last; first = end) {
            const std::size_t row = order[first];
            while (end < last && token.row(order[end])[t] == token.row(row)[t]) ++end;
            if (mask.empty() || mask.row(row)[t]) {
                const double count = static_cast<double>(end - first);
                const double p = std::exp(std::fmin(static_cast<double>(log_prob.row(row)[t]), 0.0));
                mass += p;
                if (std::fmax(count, n * p) >= 10) test(count, n, p, row, t);
            }
            visit(first, end, t + 1);
        }
        most_mass = std::fmax(most_mass, mass);
    }
    void test(double count, double n, double p, std::size_t row, std::size_t t) {
        ++tests;
        const double x = surprise(count, n, p);
        if (x <= worst) return;
        worst = x;
        where = "action " + std::to_string(token.row(row)[t]) + " at position " + std::to_string(t) + " came " +
                text_of(count) + " times in " + text_of(n) + ", its log-prob says " + text_of(n * p);
    }
};

template <class T, class B>
std::string check_frequencies(const B& b) {
    const frequency_table<T, B> table(b);
    if (table.tests == 0) return "skipped: no action is frequent enough; fewer actions or more .frequency_rows";
    if (!(table.worst <= std::log(2 * table.tests / 1e-6)))
        return "!" + table.where +
               "; are behaviour log-probs those of the distribution that was sampled from (temperature, "
               "truncation, position), and does every sample have its own random numbers?";
    if (!(table.most_mass <= 1.001))
        return "!the probabilities of the actions seen at one place sum to " + text_of(table.most_mass) +
               "; are they normalised?";
    return text_of(table.tests) + " frequencies agree; furthest: " + table.where;
}

/// The mean of log_prob + entropy is 0 under the policy: works for densities too.
template <class S, class P>
std::string check_entropy(P& p, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    const auto out = evaluated<S>(p, b);
    double sum = 0, squares = 0, n = 0;
    for (std::size_t i = 0; i < out.used.size(); ++i)
        if (out.used[i]) {
            const double x = static_cast<double>(out.value[i]) + static_cast<double>(out.value[out.used.size() + i]);
            sum += x;
            squares += x * x;
            n += 1;
        }
    const double z = squares > 0 ? sum / std::sqrt(squares) : 0;
    const std::string said = "log-probs and entropies of " + text_of(n) + " sampled actions: mean of their sum " +
                             text_of(n > 0 ? sum / n : 0) + ", z = " + text_of(z);
    if (std::abs(z) <= 7 || std::abs(sum) <= 100 * limit.tolerance * n) return said;
    return "!" + said + "; the entropy is not that of the distribution sampled from (temperature? mask? nats?)";
}

/// The mean gradient of log-probs is 0 under the policy. Half of the rows give a direction, the other half is measured
/// along it. Works for densities too.
template <class S, class P>
std::string check_score(P& p, const typename S::batch& b) {
    constexpr std::size_t groups = 64;
    if (rows(b) < groups) return "skipped: fewer than 64 rows";
    std::vector<std::size_t> pick;
    const auto score = [&](std::size_t group) {
        pick.clear();
        for (std::size_t i = group; i < rows(b); i += groups) pick.push_back(i);
        const auto part = select(b, std::span<const std::size_t>(pick));
        auto out = S::blank(part), c = S::blank(part);
        for (std::size_t i = 0; i < c.value.size(); ++i) c.value[i] = i < c.used.size() && c.used[i] ? 1 : 0;
        p.discard();
        S::backward(p, S::forward(p, part, out), c);
        return take_gradient(p);
    };
    std::vector<double> direction = score(0), along;
    for (std::size_t group = 2; group < groups; group += 2) {
        const std::vector<double> g = score(group);
        for (std::size_t i = 0; i < g.size(); ++i) direction[i] += g[i];
    }
    double mean = 0, squares = 0;
    for (std::size_t group = 1; group < groups; group += 2) {
        const std::vector<double> g = score(group);
        double x = 0;
        for (std::size_t i = 0; i < g.size(); ++i) x += direction[i] * g[i];
        along.push_back(x);
        mean += x * 2 / groups;
    }
    for (const double x : along) squares += (x - mean) * (x - mean);
    const double error = std::sqrt(squares / (groups / 2 - 1) / (groups / 2.0));
    if (error == 0) return "skipped: the gradient of log-probs is constant";
    const double z = mean / error;
    const std::string said = "the mean gradient of log-probs is " + text_of(z) + " standard errors from 0";
    if (std::abs(z) <= 7) return said;
    return "!" + said +
           "; actions are sampled from another distribution than log_prob reports, or the gradient is wrong";
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
