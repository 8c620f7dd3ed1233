#pragma once
/// Everything that a small n-gram policy can say, with exact probabilities, and exact gradients of expected rewards.
/// Written from the definition, in double, without the library's softmax: an oracle for estimators.
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "rlgaf/models/ngram.hpp"

namespace rlgaf_test {

template <class T>
struct enumerated {
    rlgaf::token_batch<T> rows;       ///< every row that ends with the end token or at max_length, each once
    std::vector<double> probability;  ///< of each row; they sum to 1
};

/// Log-probabilities of the tokens after `context`.
template <class T>
std::vector<double> exact_log_prob(const rlgaf::ngram_policy<T>& policy, std::size_t context, double temperature) {
    const std::size_t vocabulary = policy.contexts().vocabulary();
    std::vector<double> log_prob(vocabulary);
    double sum = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) {
        log_prob[v] = static_cast<double>(policy.logits()(context, v)) / temperature;
        sum += std::exp(log_prob[v]);
    }
    for (double& x : log_prob) x -= std::log(sum);
    return log_prob;
}

template <class T>
enumerated<T> enumerate(const rlgaf::ngram_policy<T>& policy, double temperature = 1) {
    enumerated<T> all;
    std::vector<std::int32_t> token;
    std::vector<T> log_prob;
    const auto extend = [&](const auto& self, std::size_t context, double log_probability) -> void {
        const bool ended = !token.empty() && token.back() == policy.options().end_token;
        if (ended || token.size() == policy.options().max_length) {
            all.rows.add(token, ended ? rlgaf::row_end::terminated : rlgaf::row_end::truncated, log_prob, temperature);
            all.probability.push_back(std::exp(log_probability));
            return;
        }
        const std::vector<double> next = exact_log_prob(policy, context, temperature);
        for (std::size_t v = 0; v < next.size(); ++v) {
            token.push_back(static_cast<std::int32_t>(v));
            log_prob.push_back(static_cast<T>(next[v]));
            self(self, policy.contexts().after(context, token.back()), log_probability + next[v]);
            token.pop_back();
            log_prob.pop_back();
        }
    };
    extend(extend, policy.contexts().start(), 0.0);
    return all;
}

/// J = sum over rows of p(row) reward(row); reward takes the tokens of a row, a span<const int32_t>.
template <class T, class Reward>
double expected_reward(const rlgaf::ngram_policy<T>& policy, Reward&& reward, double temperature = 1) {
    const enumerated<T> all = enumerate(policy, temperature);
    double sum = 0;
    for (std::size_t i = 0; i < all.probability.size(); ++i) sum += all.probability[i] * reward(all.rows.row(i));
    return sum;
}

/// Gradient of sum over rows of weight[row] log p(row) by the logits, laid out like the policy's "logits" block.
/// With weight = p * reward this is the policy gradient; with the weights of an estimator, its expectation.
/// `token_weight(row, position)` multiplies each token's part.
template <class T, class Weight>
std::vector<double> log_likelihood_gradient(const rlgaf::ngram_policy<T>& policy, const rlgaf::token_batch<T>& batch,
                                            Weight&& token_weight) {
    const std::size_t vocabulary = policy.contexts().vocabulary();
    std::vector<double> gradient(policy.contexts().count() * vocabulary, 0.0);
    for (std::size_t i = 0; i < rows(batch); ++i) {
        std::size_t context = policy.contexts().start();
        const std::span<const std::int32_t> row = batch.row(i);
        for (std::size_t t = 0; t < row.size(); ++t) {
            const std::vector<double> log_prob = exact_log_prob(policy, context, batch.temperature[i]);
            const double w = token_weight(i, t) / batch.temperature[i];
            for (std::size_t v = 0; v < vocabulary; ++v)
                gradient[context * vocabulary + v] +=
                    w * ((v == static_cast<std::size_t>(row[t]) ? 1.0 : 0.0) - std::exp(log_prob[v]));
            context = policy.contexts().after(context, row[t]);
        }
    }
    return gradient;
}

/// dJ / dlogits [contexts * V].
template <class T, class Reward>
std::vector<double> exact_gradient(const rlgaf::ngram_policy<T>& policy, Reward&& reward, double temperature = 1) {
    const enumerated<T> all = enumerate(policy, temperature);
    return log_likelihood_gradient(
        policy, all.rows, [&](std::size_t i, std::size_t) { return all.probability[i] * reward(all.rows.row(i)); });
}

}  // namespace rlgaf_test
