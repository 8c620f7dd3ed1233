#include "rlgaf/models/cnn_scorer.hpp"
#include "rlgaf/models/lstm.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"

using namespace rlgaf;
using rlgaf_test::message_of;

namespace {

constexpr std::size_t vocabulary = 6;

/// Rows with prompts, or without; one has no tokens.
template <class T>
token_batch<T> some_rows(bool with_prompts) {
    token_batch<T> b;
    for (const std::vector<std::int32_t>& row :
         std::vector<std::vector<std::int32_t>>{{1, 2, 3, 2}, {4}, {}, {5, 5, 0}}) {
        b.add(row, row_end::terminated);
        if (with_prompts) b.prompt.add(std::vector<std::int32_t>(b.length.size() - 1, 3));
    }
    return b;
}
template <class S, class T>
std::vector<T> weights_of(S& s, const token_batch<T>& b) {
    std::vector<T> weight(b.token.size());
    s.attribute(b, ragged_view<T>::packed(weight.data(), b.offset));
    return weight;
}

/// e_t . d score / d e_t is the slope of the score as the token's embedding grows: (1 + h) e_t is what a share of 1 + h
/// gives.
template <class S>
void check_attribute(S& s, bool with_prompts) {
    const token_batch<double> b = some_rows<double>(with_prompts);
    const std::vector<double> weight = weights_of(s, b);
    const std::size_t width = score_width(s);
    for (std::size_t k = 0; k < b.token.size(); ++k) {
        const auto score_at = [&](double h) {
            relaxed_rows<double> x = one_hot(b, vocabulary);
            x.share[k * vocabulary + static_cast<std::size_t>(b.token[k])] = 1 + h;
            std::vector<double> score(rows(b) * width);
            (void)s.forward(x, score);
            double sum = 0;
            for (const double v : score) sum += v / static_cast<double>(width);
            return sum;
        };
        const double h = 1e-4, near = (score_at(h) - score_at(-h)) / (2 * h),
                     far = (score_at(2 * h) - score_at(-2 * h)) / (4 * h);
        CAPTURE(k);
        REQUIRE(weight[k] == Approx((4 * near - far) / 3).epsilon(1e-6).margin(1e-9));
    }
    REQUIRE(std::any_of(weight.begin(), weight.end(), [](double w) { return std::abs(w) > 1e-3; }));
    for (const auto& block : s.parameters())
        REQUIRE(std::all_of(block.gradients.begin(), block.gradients.end(), [](double g) { return g == 0; }));
}

}  // namespace

static_assert(attributes_tokens<lstm_scorer<float>, token_batch<float>>);
static_assert(attributes_tokens<cnn_scorer<float>, token_batch<float>>);

TEST_CASE("attribute: e_t . d score / d e_t, by differences", "[lstm]") {
    for (const bool with_prompts : {false, true}) {
        for (const pooling pool : {pooling::last, pooling::mean})
            for (const std::size_t outputs : {std::size_t{1}, std::size_t{3}}) {
                lstm_scorer<double> s({.vocabulary = vocabulary,
                                       .embedding = 3,
                                       .hidden = 7,
                                       .pool = pool,
                                       .seed = 2,
                                       .outputs = outputs});
                check_attribute(s, with_prompts);
            }
        // No filter of one token: two tokens alike would tie for its best window, which is a kink.
        cnn_scorer<double> s({.vocabulary = vocabulary, .embedding = 3, .filters = 4, .widths = {2, 3}, .seed = 5});
        check_attribute(s, with_prompts);
    }
}

TEST_CASE("attribute: dropout is off, float says what double says", "[lstm]") {
    lstm_scorer_options o{.vocabulary = vocabulary, .embedding = 3, .hidden = 7, .pool = pooling::mean, .seed = 2};
    lstm_scorer<double> plain(o);
    lstm_scorer<float> narrow(o);
    o.dropout = 0.5;
    lstm_scorer<double> drops(o);
    const auto wide = weights_of(plain, some_rows<double>(true)), other = weights_of(drops, some_rows<double>(true));
    const auto single = weights_of(narrow, some_rows<float>(true));
    REQUIRE(wide == other);
    for (std::size_t k = 0; k < wide.size(); ++k)
        REQUIRE(static_cast<double>(single[k]) == Approx(wide[k]).epsilon(1e-4).margin(1e-6));
}

TEST_CASE("attribute: a head of zeros gives weights of 0, wrong shapes are named", "[lstm]") {
    const lstm_policy<double> policy({.vocabulary = vocabulary, .embedding = 3, .hidden = 7});
    lstm_scorer<double> s(policy, {});
    const auto b = some_rows<double>(false);
    for (const double w : weights_of(s, b)) REQUIRE(w == 0);
    cnn_scorer<double> cnn({.vocabulary = vocabulary, .embedding = 3, .filters = 4});
    const ragged_view<double> none{};
    REQUIRE(message_of<shape_error>([&] { s.attribute(b, none); }) ==
            "rlgaf::lstm_scorer::attribute: weight: expected 4 elements, got 0");
    REQUIRE(message_of<shape_error>([&] { cnn.attribute(b, none); }) ==
            "rlgaf::cnn_scorer::attribute: weight: expected 4 elements, got 0");
    const token_batch<double> empty;
    s.attribute(empty, none);
    cnn.attribute(empty, none);
}
