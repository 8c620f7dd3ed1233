#pragma once
/// A language of four tokens, models that can learn it, and what the tests of training ask of them.
#include <algorithm>
#include <string>
#include <vector>

#include "models/enumeration.hpp"
#include "rlgaf/rlgaf.hpp"
#include "support/errors.hpp"
#include "support/numbers.hpp"

namespace rlgaf_test {

template <class T>
rlgaf::token_batch<T> rows_of(const std::vector<std::vector<std::int32_t>>& texts) {
    rlgaf::token_batch<T> b;
    for (const auto& text : texts)
        b.add(text, text.back() == 0 ? rlgaf::row_end::terminated : rlgaf::row_end::truncated);
    return b;
}

/// Every parameter of a model, one after the other.
template <class Model>
std::vector<double> parameters_of(Model& model) {
    std::vector<double> all;
    for (const auto& block : model.parameters()) all.insert(all.end(), block.values.begin(), block.values.end());
    return all;
}

/// Every gradient of a model, likewise.
template <class Model>
std::vector<double> gradients_of(Model& model) {
    std::vector<double> all;
    for (const auto& block : model.parameters()) all.insert(all.end(), block.gradients.begin(), block.gradients.end());
    return all;
}

/// Largest difference, in units of the largest element of `expected`.
inline double relative_gap(const std::vector<double>& expected, const std::vector<double>& actual) {
    double largest = 0;
    for (const double x : expected) largest = std::fmax(largest, std::abs(x));
    return gap(expected, actual) / largest;
}

inline rlgaf::ngram_policy_options small_policy(rlgaf::optimizer_choice optimizer = rlgaf::sgd{}) {
    return {.shape = {.vocabulary = 4, .order = 2}, .max_length = 5, .initial_spread = 0.5, .optimizer = optimizer};
}
inline rlgaf::ngram_scorer_options small_scorer(rlgaf::optimizer_choice optimizer = rlgaf::sgd{}) {
    return {.shape = {.vocabulary = 4, .order = 2}, .initial_spread = 0.5, .optimizer = optimizer};
}

/// Mean log-probability of rows.
template <class T>
double log_likelihood(rlgaf::ngram_policy<T>& policy, const rlgaf::token_batch<T>& b) {
    rlgaf::ragged_buffer<T> lp;
    lp.assign(lengths(b));
    policy.evaluate(b, {.log_prob = lp.view()});
    double total = 0;
    for (std::size_t i = 0; i < rows(b); ++i) total += rlgaf::masked_row_sum(std::as_const(lp).view(), mask_of(b), i);
    return total / static_cast<double>(rows(b));
}

inline rlgaf::ngram_policy_options tiny_policy(std::uint64_t seed, double spread) {
    return {.shape = {.vocabulary = 3, .order = 2}, .max_length = 4, .initial_spread = spread, .seed = seed};
}
/// Exact KL(data || policy), nats a row.
inline double kl_of(rlgaf::ngram_policy<double>& data, rlgaf::ngram_policy<double>& policy) {
    const auto all = enumerate(data);
    rlgaf::ragged_buffer<double> log_prob;
    log_prob.assign(lengths(all.rows));
    policy.evaluate(all.rows, {.log_prob = log_prob.view()});
    double kl = 0;
    for (std::size_t i = 0; i < all.probability.size(); ++i)
        kl += all.probability[i] *
              (std::log(all.probability[i]) - rlgaf::sum(std::span<const double>(log_prob.view().row(i))));
    return kl;
}
/// The logits of a table.
inline std::vector<double> logits_of(rlgaf::ngram_policy<double>& p) {
    const auto v = p.parameters()[0].values;
    return {v.begin(), v.end()};
}

/// Who takes part in adversarial training; all of them begin alike in every test.
template <class T, class Policy = rlgaf::ngram_policy<T>, class Scorer = rlgaf::ngram_scorer<T>>
struct players {
    Policy policy;
    Scorer discriminator;
    rlgaf::demonstrations<rlgaf::token_batch<T>> experts{
        rows_of<T>({{1, 2, 3, 0}, {1, 2, 0}, {2, 3, 0}, {1, 2, 3, 3, 0}, {3, 0}, {2, 2, 3, 0}})};

    explicit players(rlgaf::optimizer_choice optimizer = rlgaf::sgd{})
        : policy(small_policy(optimizer)), discriminator(small_scorer(optimizer)) {}

    std::vector<double> parameters() {
        std::vector<double> all = parameters_of(policy), more = parameters_of(discriminator);
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
};

/// A short run in which both sides learn from the first round on.
inline rlgaf::adversarial_options short_run(std::size_t rounds, double learning_rate = 0.1) {
    rlgaf::adversarial_options o;
    o.rounds = rounds;
    o.rows = 16;
    o.discriminator_warmup = 0;
    o.policy.step.learning_rate = o.discriminator.step.learning_rate = learning_rate;
    return o;
}

/// Keeps every round's samples.
struct keep_samples {
    std::vector<rlgaf::token_batch<double>> samples;
    void on_rollout(const rlgaf::round_report&, const rlgaf::token_batch<double>& b) { samples.push_back(b); }
};

/// Keeps every report.
struct keep_reports {
    std::vector<rlgaf::round_report> reports;
    void on_round(const rlgaf::round_report& r) { reports.push_back(r); }
};

inline bool finite(const std::vector<double>& x) { return rlgaf::first_nonfinite(std::span(x)) == x.size(); }

}  // namespace rlgaf_test
