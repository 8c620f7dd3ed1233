#include "rlgaf/data/invented_words.hpp"

#include <cmath>
#include <map>
#include <set>

#include "rlgaf/data/word_list.hpp"
#include "support/catch.hpp"

using namespace rlgaf;

TEST_CASE("invented_words: 40000 different words a language that the word filter keeps", "[data]") {
    for (std::size_t language = 0; language < invented_languages; ++language) {
        const auto words = invented_words(language, 40000);
        REQUIRE(words.size() == 40000);
        REQUIRE(keep_words(words, {.on_reject = word_rejection::refuse}).words == words);
    }
}

TEST_CASE("invented_words: a function of language and key", "[data]") {
    const auto words = invented_words(1, 500, {.seed = 3});
    REQUIRE(invented_words(1, 500, {.seed = 3}) == words);
    REQUIRE(invented_words(1, 500, {.seed = 4}) != words);
    REQUIRE(invented_words(2, 500, {.seed = 3}) != words);
    const auto more = invented_words(1, 900, {.seed = 3});
    REQUIRE(std::vector<std::string>(more.begin(), more.begin() + 500) == words);
    REQUIRE(invented_words(0, 0).empty());
    REQUIRE_THROWS_AS(invented_words(5, 1), option_error);
}

TEST_CASE("invented_words: letter pairs tell the languages apart", "[data]") {
    // Naive Bayes on letter pairs, learned from 5000 words each, tested on 500 that were not among them.
    std::vector<std::map<std::string, double>> pairs(invented_languages);
    std::vector<std::vector<std::string>> tests;
    const auto pairs_of = [](const std::string& word) {
        std::vector<std::string> result;
        const std::string framed = "^" + word + "$";
        for (std::size_t i = 0; i + 1 < framed.size(); ++i) result.push_back(framed.substr(i, 2));
        return result;
    };
    for (std::size_t k = 0; k < invented_languages; ++k) {
        const auto words = invented_words(k, 5500);
        double total = 0;
        for (std::size_t i = 0; i < 5000; ++i)
            for (const auto& pair : pairs_of(words[i])) ++pairs[k][pair], ++total;
        for (auto& [pair, count] : pairs[k]) count = std::log((count + 0.5) / (total + 350));
        pairs[k][""] = std::log(0.5 / (total + 350));
        tests.emplace_back(words.begin() + 5000, words.end());
    }
    for (std::size_t truth = 0; truth < invented_languages; ++truth) {
        std::size_t right = 0;
        for (const std::string& word : tests[truth]) {
            std::size_t best = 0;
            double best_score = -1e300;
            for (std::size_t k = 0; k < invented_languages; ++k) {
                double score = 0;
                for (const auto& pair : pairs_of(word)) {
                    const auto found = pairs[k].find(pair);
                    score += found == pairs[k].end() ? pairs[k][""] : found->second;
                }
                if (score > best_score) best = k, best_score = score;
            }
            right += best == truth;
        }
        INFO("language " << truth);
        REQUIRE(right > 480);
    }
}
