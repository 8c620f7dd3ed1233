#include "rlgaf/preference/aot.hpp"
#include "rlgaf/preference/spin.hpp"
#include "rlgaf/preference/wpo.hpp"
#include "rlgaf/training/fit_dpo.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

table_model other_policy(std::uint64_t seed = 9) {
    ngram_policy_options o = small_policy();
    o.seed = seed;
    o.initial_spread = 1;
    return table_model(o);
}
const std::vector<preference_pair> some_pairs = {{0, 1}, {2, 1, 3}, {3, 0}, {4, 5, 0.5}, {2, 5}};
batch six_rows() {
    return rows_of<double>({{1, 2, 3, 0}, {3, 3, 3, 3, 3}, {2, 3, 0}, {1, 2, 3, 3, 0}, {0}, {2, 2, 3, 0}});
}
/// The loss's gradient by the logits, without the recipe.
std::vector<double> gradient_of(table_model policy, table_model reference, const batch& b, const auto& loss,
                                const std::vector<preference_pair>& pairs = some_pairs) {
    ragged_buffer<double> log_prob, of_reference, d;
    for (auto* x : {&log_prob, &of_reference, &d}) x->assign(lengths(b));
    reference.evaluate(b, {.log_prob = of_reference.view()});
    auto tape = policy.forward(b, {.log_prob = log_prob.view()});
    workspace work;
    loss(preference_terms<double>{.log_prob = std::as_const(log_prob).view(),
                                  .reference_log_prob = std::as_const(of_reference).view(),
                                  .pairs = pairs,
                                  .mask = mask(b)},
         work, d.view());
    policy.backward(std::move(tape), {.d_log_prob = std::as_const(d).view()});
    const auto g = policy.parameters()[0].gradients;
    return {g.begin(), g.end()};
}

}  // namespace

TEST_CASE("fit_dpo: one step goes down the loss's own gradient, with or without masks and micro-batches",
          "[training]") {
    batch masked = six_rows();
    masked.mask.assign(masked.token.size(), 1);
    masked.mask[1] = masked.mask[5] = masked.mask[11] = 0;
    const auto compare = [&](const auto& loss) {
        for (const batch& b : {six_rows(), masked})
            for (const std::size_t micro : {0u, 1u, 4u}) {
                table_model policy(small_policy()), reference = other_policy();
                const std::vector<double> before = logits_of(policy), g = gradient_of(policy, reference, b, loss);
                fit_dpo(policy, reference, b, some_pairs,
                        {.step = {.learning_rate = 0.5, .max_norm = 0}, .micro_batch_rows = micro}, loss);
                std::vector<double> moved = logits_of(policy);
                for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = (before[i] - moved[i]) / 0.5;
                REQUIRE(relative_gap(g, moved) < 1e-12);
            }
    };
    compare(dpo{.beta = 0.5});
    compare(dpo{.variant = dpo_variant::ipo, .sft_coefficient = 0.3});
    compare(spin{});
}

TEST_CASE("fit_dpo: aot, paired and unpaired, and pairs weighed by wpo", "[training]") {
    const std::vector<preference_pair> equal = {{0, 1}, {2, 1}, {3, 0}, {4, 5}};
    batch masked = six_rows();
    masked.mask.assign(masked.token.size(), 1);
    masked.mask[1] = masked.mask[5] = masked.mask[11] = 0;
    const auto compare = [&](const dpo_options& more, const auto& loss, const auto& by_hand, bool moves = true) {
        for (const batch& b : {six_rows(), masked})
            for (const std::size_t micro : {0u, 1u, 4u}) {
                table_model policy(small_policy()), reference = other_policy();
                const std::vector<double> before = logits_of(policy),
                                          g = gradient_of(policy, reference, b, by_hand, equal);
                dpo_options options = more;
                options.step = {.learning_rate = 0.5, .max_norm = 0}, options.micro_batch_rows = micro;
                fit_dpo(policy, reference, b, equal, options, loss);
                std::vector<double> moved = logits_of(policy);
                for (std::size_t i = 0; i < moved.size(); ++i) moved[i] = (before[i] - moved[i]) / 0.5;
                REQUIRE(((relative_gap(g, moved) < 1e-12) == moves));
            }
    };
    for (const bool paired : {true, false}) {
        compare({}, aot{.paired = paired}, aot{.paired = paired});
        compare({}, aot{.paired = paired}, aot{.paired = !paired}, false);
    }
    // log(sum of p^2) of small_policy, from its table.
    const table_model shown(small_policy());
    const auto weighed = [&](bool relative, double cap) {
        return [&shown, relative, cap](const preference_terms<double>& terms, workspace& work,
                                       const ragged_view<double>& d) {
            ragged_buffer<double> collision;
            if (relative) {
                collision.assign(terms.log_prob, not_a_number);
                const batch b = six_rows();
                for (std::size_t i = 0; i < rows(b); ++i) {
                    std::size_t context = shown.contexts().start();
                    for (std::size_t t = 0; t < b.length[i]; ++t) {
                        double squares = 0;
                        for (const double l : exact_log_prob(shown, context, 1)) squares += std::exp(2 * l);
                        collision.view().row(i)[t] = std::log(squares);
                        context = shown.contexts().after(context, b.row(i)[t]);
                    }
                }
            }
            std::vector<double> factor;
            wpo{.cap = cap}(terms, std::as_const(collision).view(), work, factor);
            preference_terms<double> with_factor = terms;
            with_factor.factor = factor;
            return dpo{.beta = 0.5}(with_factor, work, d);
        };
    };
    const dpo loss{.beta = 0.5};
    compare({.weighting = pair_weighting::likelihood}, loss, weighed(false, 1));
    compare({.weighting = pair_weighting::likelihood, .weights = {.cap = 0.05}}, loss, weighed(false, 0.05));
    compare({.weighting = pair_weighting::relative_likelihood}, loss, weighed(true, 1));
    compare({.weighting = pair_weighting::relative_likelihood, .weights = {.cap = infinity}}, loss,
            weighed(true, infinity));
    compare({}, loss, weighed(false, 1), false);
    compare({.weighting = pair_weighting::relative_likelihood}, loss, weighed(false, 1), false);
}

TEST_CASE("fit_dpo: aot learns to order held-out pairs; it has no place for margins and weights", "[training]") {
    const auto rule = [](std::span<const std::int32_t> row) { return std::count(row.begin(), row.end(), 2); };
    table_model start(small_policy(adamw{}));
    std::vector<std::uint64_t> id(600);
    count_up(std::span(id));
    const batch said = start.rollout({}, id, {}, {1, 0});
    std::vector<preference_pair> pairs;
    for (std::uint32_t i = 0; i + 1 < 600; i += 2) {
        const auto a = rule(said.row(i)), b = rule(said.row(i + 1));
        if (a != b) pairs.push_back(a > b ? preference_pair{i, i + 1} : preference_pair{i + 1, i});
    }
    const std::span<const preference_pair> all(pairs), shown = all.first(all.size() / 2),
                                                       kept = all.subspan(all.size() / 2);
    for (const bool paired : {true, false}) {
        table_model policy = start, reference = start.clone();
        fit_dpo(policy, reference, said, shown, {.epochs = 20, .pairs_per_step = 32, .step = {.learning_rate = 0.05}},
                aot{.paired = paired, .beta = 0.3});
        REQUIRE(judge_pairs(policy, reference, said, kept).accuracy > 0.8);  // a guess: 0.5 +- 0.05
    }
    const std::vector<double> margin(pairs.size());
    const auto message = [&](const dpo_options& options) {
        return message_of<option_error>([&] { fit_dpo(start, start, said, pairs, options, aot{}); });
    };
    REQUIRE(contains(message({.margin = margin}), "aot: terms.margin: expected none"));
    REQUIRE(contains(message({.weighting = pair_weighting::likelihood}), "aot: terms.factor: expected none"));
}

TEST_CASE("fit_dpo: each pair's margin goes with it, whatever the order", "[training]") {
    table_model policy(small_policy()), reference = policy.clone();
    const std::vector<double> margin = {0, 1, 2, -1, 0.5};
    keep_reports kept;
    fit_dpo(policy, reference, six_rows(), some_pairs,
            {.epochs = 1, .pairs_per_step = 1, .step = {.learning_rate = 0}, .margin = margin}, dpo{}, kept);
    std::vector<double> loss, expected;
    for (const round_report& r : kept.reports) loss.push_back(r.policy_loss);
    for (const double m : margin) expected.push_back(std::log1p(std::exp(m)));  // softplus(-(0 - margin))
    std::sort(loss.begin(), loss.end());
    std::sort(expected.begin(), expected.end());
    REQUIRE(gap(loss, expected) < 1e-12);
    const std::vector<double> few = {1};
    REQUIRE(
        contains(message_of<shape_error>([&] { fit_dpo(policy, reference, six_rows(), some_pairs, {.margin = few}); }),
                 "fit_dpo: options.margin: expected 5 elements, got 1"));
}

TEST_CASE("fit_dpo: the margin becomes the log-odds of the preference", "[training]") {
    // Three judges of four prefer {1, 0} to {2, 0}: sigmoid(beta margin) = 3/4.
    const batch b = rows_of<double>({{1, 0}, {2, 0}});
    const std::vector<preference_pair> pairs = {{0, 1, 3}, {1, 0, 1}};
    table_model policy(small_policy()), reference = policy.clone();
    const round_report last = fit_dpo(policy, reference, b, pairs,
                                      {.epochs = 4000, .step = {.learning_rate = 2, .max_norm = 0}}, dpo{.beta = 0.5});
    std::vector<double> margin(2);
    const preference_stats stats = judge_pairs(policy, reference, b, pairs, dpo{.beta = 0.5}, std::span(margin));
    REQUIRE(margin[0] == Approx(std::log(3.0) / 0.5));
    REQUIRE(margin[1] == Approx(-margin[0]));
    REQUIRE(last.policy_loss == Approx(-0.75 * std::log(0.75) - 0.25 * std::log(0.25)));
    REQUIRE((stats.loss == Approx(last.policy_loss) && stats.accuracy == Approx(0.75)));
    REQUIRE(last.score_expert - last.score_policy == Approx(std::log(3.0) / 2));  // 3/4 of the gap - 1/4
}

TEST_CASE("fit_dpo: loss falls and held-out pairs are ordered better; the reference may be the policy", "[training]") {
    const auto rule = [](std::span<const std::int32_t> row) { return std::count(row.begin(), row.end(), 2); };
    table_model policy(small_policy(adamw{})), reference = policy.clone();
    std::vector<std::uint64_t> id(600);
    count_up(std::span(id));
    const batch said = policy.rollout({}, id, {}, {1, 0});
    std::vector<preference_pair> pairs;
    for (std::uint32_t i = 0; i + 1 < 600; i += 2) {
        const auto a = rule(said.row(i)), b = rule(said.row(i + 1));
        if (a != b) pairs.push_back(a > b ? preference_pair{i, i + 1} : preference_pair{i + 1, i});
    }
    const std::span<const preference_pair> all(pairs), shown = all.first(all.size() / 2),
                                                       kept = all.subspan(all.size() / 2);
    const preference_stats before = judge_pairs(policy, reference, said, kept);
    REQUIRE((before.loss == Approx(std::log(2.0)) && before.accuracy == Approx(0.5)));
    table_model same = policy;
    keep_reports reports;
    const dpo_options options{.epochs = 20, .pairs_per_step = 16, .step = {.learning_rate = 0.05}};
    fit_dpo(policy, reference, said, shown, options, dpo{.beta = 0.3}, reports);
    REQUIRE(reports.reports.size() == options.steps(shown.size()));
    REQUIRE(judge_pairs(policy, reference, said, kept).accuracy > 0.9);
    REQUIRE(judge_pairs(policy, reference, said, kept, dpo{.beta = 0.3}).loss < 0.5);
    REQUIRE(reports.reports.back().policy_loss < 0.5 * reports.reports.front().policy_loss);
    fit_dpo(same, same, said, shown, options, dpo{.beta = 0.3});
    REQUIRE(same_bits(logits_of(same), logits_of(policy)));
}

TEST_CASE("fit_dpo: an epoch takes every pair once, observers may stop, the seed orders", "[training]") {
    const auto trained = [](const dpo_options& options) {
        table_model policy(small_policy()), reference = other_policy();
        fit_dpo(policy, reference, six_rows(), some_pairs, options);
        return logits_of(policy);
    };
    REQUIRE(same_bits(trained({.epochs = 2, .pairs_per_step = 2}), trained({.epochs = 2, .pairs_per_step = 2})));
    REQUIRE(!same_bits(trained({.epochs = 2, .pairs_per_step = 2}),
                       trained({.epochs = 2, .pairs_per_step = 2, .seed = 2})));
    struct {
        std::size_t begins = 0, rounds = 0, ends = 0;
        bool on_round(const round_report& r) { return r.round == 3; }
        void on_begin(const run_info& i) { ++begins, rounds = i.rounds; }
        void on_end(const round_report&) { ++ends; }
    } watch;
    table_model policy(small_policy()), reference = other_policy();
    REQUIRE(fit_dpo(policy, reference, six_rows(), some_pairs, {.epochs = 2, .pairs_per_step = 2}, watch).round == 3);
    REQUIRE((watch.begins == 1 && watch.rounds == 6 && watch.ends == 1));

    // With a rate of 0 every pair's loss is seen once an epoch.
    keep_reports kept;
    fit_dpo(policy, reference, six_rows(), some_pairs, {.epochs = 3, .pairs_per_step = 1, .step = {.learning_rate = 0}},
            kept);
    double sums[3] = {};
    for (std::size_t i = 0; i < 15; ++i) sums[i / 5] += kept.reports[i].policy_loss;
    REQUIRE((sums[1] == Approx(sums[0]) && sums[2] == Approx(sums[0])));
}

TEST_CASE("fit_dpo: what cannot be is refused before anything moves", "[training]") {
    table_model policy(small_policy()), reference = other_policy();
    const std::vector<double> before = logits_of(policy);
    const auto fit = [&](std::vector<preference_pair> pairs, dpo_options options = {}, dpo loss = {}) {
        return [&, pairs, options, loss] { fit_dpo(policy, reference, six_rows(), pairs, options, loss); };
    };
    REQUIRE(contains(message_of<option_error>(fit({})), "fit_dpo: pairs: expected at least one"));
    REQUIRE(contains(message_of<option_error>(fit(some_pairs, {.epochs = 0})), "dpo_options: .epochs"));
    REQUIRE(contains(message_of<option_error>(fit(some_pairs, {.pairs_per_step = 0})), ".pairs_per_step"));
    REQUIRE(contains(message_of<option_error>(fit(some_pairs, {.weights = {.cap = 0}})), "wpo: .cap"));
    REQUIRE(contains(message_of<option_error>(fit(some_pairs, {.step = {.learning_rate = not_a_number}})),
                     ".learning_rate"));
    REQUIRE(contains(message_of<option_error>(fit(some_pairs, {}, {.beta = not_a_number})), "dpo: .beta"));
    REQUIRE(contains(message_of<shape_error>(fit({{0, 6}})), "pairs[0]"));
    REQUIRE(contains(message_of<numeric_error>(fit({{0, 1, -1}})), "weight"));
    std::vector<double> too_many(2);
    REQUIRE(contains(message_of<shape_error>(
                         [&] { judge_pairs(policy, reference, six_rows(), some_pairs, dpo{}, std::span(too_many)); }),
                     "margin"));
    struct spoilt : table_model {
        using table_model::table_model;
        void evaluate(const batch& b, policy_outputs<double> out) {
            table_model::evaluate(b, out);
            out.log_prob.row(3)[1] = -infinity;
        }
    } broken(small_policy());
    REQUIRE(contains(message_of<numeric_error>([&] { fit_dpo(policy, broken, six_rows(), some_pairs, {}); }),
                     "rlgaf::fit_dpo: log_prob row 3 token 1: expected a finite number"));
    REQUIRE(same_bits(before, logits_of(policy)));
}

TEST_CASE("fit_dpo: a gradient that is not finite is dropped and counted", "[training]") {
    struct unlucky : table_model {
        using table_model::table_model;
        int calls = 0;
        void backward(tape&& t, policy_cotangents<double> c) {
            table_model::backward(std::move(t), c);
            if (++calls == 2) parameters()[0].gradients[0] = infinity;
        }
    } policy(small_policy());
    table_model reference = other_policy();
    keep_reports kept;
    const round_report last = fit_dpo(policy, reference, six_rows(), some_pairs, {.epochs = 3}, kept);
    REQUIRE((last.discarded_steps == 1 && kept.reports[0].policy_steps == 1 && kept.reports[1].policy_steps == 0));
    REQUIRE(finite(parameters_of(policy)));
}
