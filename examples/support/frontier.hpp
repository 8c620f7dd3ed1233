#pragma once
// How good a policy's words are, and how much variety it pays for that.
#include <array>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "rlgaf/models/lstm_policy.hpp"
#include "support/words.hpp"

namespace align_words {

using policy = rlgaf::lstm_policy<float>;

inline constexpr std::array temperatures = {1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7};
inline constexpr std::size_t samples = 8000;
inline constexpr double least_distinct = 98;  // per cent

// Shares of `samples` words, per cent. A word that did not end counts, and is never valid.
struct quality {
    double valid_new = 0, memorised = 0, distinct = 0;
};

inline quality measure(policy& model, const word_data& data, const rlgaf::char_tokenizer& letters, double temperature,
                       rlgaf::rng_key key) {
    std::vector<std::uint64_t> id(samples);
    for (std::size_t i = 0; i < samples; ++i) id[i] = i;
    const auto batch = model.rollout({}, id, {.temperature = temperature}, key);
    std::unordered_set<std::string> seen;
    quality q;
    for (std::size_t i = 0; i < samples; ++i) {
        std::string word = letters.decode(batch.row(i));
        if (batch.end[i] == rlgaf::row_end::terminated) {
            q.valid_new += data.lexicon.contains(word);
            q.memorised += data.demo_set.contains(word);
        } else {
            word += '-';
        }
        seen.insert(std::move(word));
    }
    q.distinct = static_cast<double>(seen.size());
    for (double* share : {&q.valid_new, &q.memorised, &q.distinct}) *share *= 100.0 / samples;
    return q;
}

struct frontier {
    std::vector<quality> point;  // one a temperature
    std::size_t best = 0;        // temperature of the best valid_new among those with enough distinct words
    double best_valid = -1;      // at that temperature; -1 if none has
};

inline frontier sweep(policy& model, const word_data& data, const rlgaf::char_tokenizer& letters, rlgaf::rng_key key) {
    frontier f;
    for (std::size_t i = 0; i < temperatures.size(); ++i) {
        f.point.push_back(
            measure(model, data, letters, temperatures[i], {key.seed, key.step + static_cast<std::uint32_t>(i)}));
        if (f.point[i].distinct >= least_distinct && f.point[i].valid_new > f.best_valid) {
            f.best = i;
            f.best_valid = f.point[i].valid_new;
        }
    }
    return f;
}

// Nats a character (the end counts as one) of words that nothing was trained on, with the deviation of the mean.
inline std::array<double, 2> held_out_nll(policy& model, const rlgaf::token_batch<float>& words) {
    rlgaf::ragged_buffer<float> log_prob;
    log_prob.assign(lengths(words));
    model.evaluate(words, {.log_prob = log_prob.view()});
    double nats = 0, characters = 0, squares = 0;
    for (std::size_t i = 0; i < rows(words); ++i) {
        nats -= rlgaf::sum(std::span<const float>(log_prob.view().row(i)));
        characters += words.length[i];
    }
    const double mean = nats / characters;
    for (std::size_t i = 0; i < rows(words); ++i) {
        const double d = -rlgaf::sum(std::span<const float>(log_prob.view().row(i))) - mean * words.length[i];
        squares += d * d;
    }
    return {mean, std::sqrt(squares) / characters};
}

}  // namespace align_words
