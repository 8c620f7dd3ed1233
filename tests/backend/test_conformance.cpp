#include <memory>

#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/models/point_mass.hpp"
#include "rlgaf/models/two_turn.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using namespace rlgaf;
using rlgaf_test::ids;

namespace {

token_prompts some_prompts() {
    token_prompts prompts;
    for (const std::int32_t t : {2, 3, 1}) prompts.add(std::vector<std::int32_t>{t, 1});
    return prompts;
}
ngram_policy_options options_of() {
    return {.shape = {.vocabulary = 4, .order = 2}, .max_length = 6, .initial_spread = 1};
}

enum class fault {
    none,
    wrong_sign,
    overwrites,
    divides_by_rows,
    ignores_entropy,
    step_keeps,
    discard_keeps,
    applies_nan,
    ignores_rate,
    norm_after_clipping,
    other_probabilities,
    off_by_one,
    forgets_temperature,
    positive_log_probs,
    one_row_short,
    ignores_ids,
    remembers_draws,
    ignores_step,
    neighbours_leak,
    never_truncated,
    leaves_unwritten,
};

/// A good policy with one fault. Flat: shows its parameters; neither can be cloned.
template <bool Flat>
class faulty_policy {
public:
    using scalar = double;
    using batch = token_batch<double>;
    using prompts = no_prompts;
    using tape = ngram_policy<double>::tape;
    static constexpr bool gives_entropy = true;
    static constexpr bool per_sample_streams = true;

    explicit faulty_policy(fault f) : fault_(f) {}

    batch rollout(const no_prompts& n, std::span<const std::uint64_t> id, rollout_options o, rng_key key) {
        std::vector<std::uint64_t> used(id.begin(), id.end());
        if (fault_ == fault::ignores_ids) std::fill(used.begin(), used.end(), 0u);
        if (fault_ == fault::one_row_short && !used.empty()) used.pop_back();
        if (fault_ == fault::remembers_draws) key.seed += ++draws_;
        if (fault_ == fault::ignores_step) key.step = 0;
        const double told = o.temperature;
        if (fault_ == fault::other_probabilities) o.temperature *= 0.7;
        batch b = good_.rollout(n, used, o, key);
        if (fault_ == fault::other_probabilities) {
            for (double& t : b.temperature) t = told;
            good_.evaluate(b, {.log_prob = ragged_view<double>::packed(b.log_prob.data(), b.offset)});
        }
        if (fault_ == fault::positive_log_probs)
            for (double& x : b.log_prob) x = -x;
        if (fault_ == fault::never_truncated)
            for (row_end& e : b.end) e = row_end::terminated;
        return b;
    }
    void evaluate(const batch& given, policy_outputs<double> out) {
        batch b = given;
        if (fault_ == fault::forgets_temperature)
            for (double& t : b.temperature) t = 1;
        good_.evaluate(b, out);
        if (out.log_prob.empty()) return;
        for (std::size_t i = 0; i < rows(b); ++i) {
            const auto row = out.log_prob.row(i);
            if (fault_ == fault::off_by_one && row.size() > 1) std::rotate(row.begin(), row.begin() + 1, row.end());
            if (fault_ == fault::neighbours_leak) row[0] -= 0.01 * static_cast<double>(rows(b));
            if (fault_ == fault::leaves_unwritten) row.back() = std::nan("");
        }
    }
    tape forward(const batch& b, policy_outputs<double> out) {
        evaluate(b, out);
        return {b};
    }
    void backward(tape&& t, policy_cotangents<double> c) {
        if (fault_ == fault::overwrites) good_.discard();
        if (fault_ == fault::ignores_entropy) c.d_entropy = {};
        const double factor = fault_ == fault::wrong_sign        ? -1
                              : fault_ == fault::divides_by_rows ? 24.0 / static_cast<double>(rows(t.b))
                                                                 : 1;
        ragged_buffer<double> d[2];
        for (auto& x : d) x.assign(lengths(t.b));
        for (std::size_t i = 0; i < rows(t.b); ++i)
            for (std::size_t s = 0; s < t.b.length[i]; ++s) {
                if (!c.d_log_prob.empty()) d[0].view().row(i)[s] = factor * c.d_log_prob.row(i)[s];
                if (!c.d_entropy.empty()) d[1].view().row(i)[s] = factor * c.d_entropy.row(i)[s];
            }
        good_.backward(std::move(t),
                       {.d_log_prob = std::as_const(d[0]).view(), .d_entropy = std::as_const(d[1]).view()});
    }
    step_report step(const step_options& given) {
        step_options o = given;
        if (fault_ == fault::ignores_rate) o.learning_rate = o.learning_rate < 1e-20 ? o.learning_rate : 1e-4;
        std::vector<double> kept;
        for (const auto& block : good_.parameters())
            kept.insert(kept.end(), block.gradients.begin(), block.gradients.end());
        step_report r = good_.step(o);
        if (fault_ == fault::norm_after_clipping && o.max_norm > 0) r.grad_norm = std::fmin(r.grad_norm, o.max_norm);
        if (fault_ == fault::applies_nan && !r.applied) r.applied = true;
        if (fault_ == fault::step_keeps) put_gradient(kept);
        return r;
    }
    void discard() {
        if (fault_ != fault::discard_keeps) good_.discard();
    }
    auto parameters() requires Flat { return good_.parameters(); }
    ngram_policy<double>& good() { return good_; }

private:
    void put_gradient(const std::vector<double>& g) {
        auto next = g.begin();
        for (const auto& block : good_.parameters())
            for (double& x : block.gradients) x = *next++;
    }
    ngram_policy<double> good_{options_of()};
    fault fault_;
    std::uint64_t draws_ = 0;
};
static_assert(flat_parameters<faulty_policy<true>> && !flat_parameters<faulty_policy<false>> &&
              !clonable<faulty_policy<true>>);

template <bool Flat>
conformance_report report_of(fault f) {
    faulty_policy<Flat> p(f);
    return check_conformance(p, {}, {.frequency_rows = 4000});
}
template <bool Flat>
void require_caught(fault f, std::string_view check) {
    const conformance_report report = report_of<Flat>(f);
    INFO("fault " << static_cast<int>(f) << (Flat ? ", flat" : ", opaque") << "\n" << to_string(report));
    REQUIRE(!report.ok());
    REQUIRE(report.find(check) != nullptr);
    REQUIRE(!report.find(check)->passed);
}
void require_ok(const conformance_report& report) {
    INFO(to_string(report));
    REQUIRE(report.ok());
    REQUIRE(!report.parameters_changed);
}

/// A batch whose select sorts what it is asked for.
struct sorted_batch : token_batch<double> {
    sorted_batch() = default;
    explicit sorted_batch(token_batch<double> b) : token_batch<double>(std::move(b)) {}
    friend sorted_batch select(const sorted_batch& b, std::span<const std::size_t> pick) {
        std::vector<std::size_t> order(pick.begin(), pick.end());
        std::sort(order.begin(), order.end());
        return sorted_batch(select(static_cast<const token_batch<double>&>(b), order));
    }
    friend sorted_batch concat(const sorted_batch& a, const sorted_batch& b) {
        return sorted_batch(
            concat(static_cast<const token_batch<double>&>(a), static_cast<const token_batch<double>&>(b)));
    }
};
struct sorting_policy {
    using scalar = double;
    using batch = sorted_batch;
    using prompts = no_prompts;
    using tape = ngram_policy<double>::tape;
    ngram_policy<double> good{options_of()};

    batch rollout(const no_prompts& n, std::span<const std::uint64_t> id, const rollout_options& o, rng_key key) {
        return batch(good.rollout(n, id, o, key));
    }
    void evaluate(const batch& b, policy_outputs<double> out) { good.evaluate(b, out); }
    tape forward(const batch& b, policy_outputs<double> out) { return good.forward(b, out); }
    void backward(tape&& t, policy_cotangents<double> c) { good.backward(std::move(t), c); }
    step_report step(const step_options& o) { return good.step(o); }
    void discard() { good.discard(); }
    sorting_policy clone() const { return {good.clone()}; }
};

/// Copies share their parameters.
struct shared_scorer {
    using scalar = double;
    using tape = ngram_scorer<double>::tape;
    std::shared_ptr<ngram_scorer<double>> good =
        std::make_shared<ngram_scorer<double>>(ngram_scorer_options{.shape = {.vocabulary = 4}, .initial_spread = 1});
    double factor = 1;

    void evaluate(const token_batch<double>& b, std::span<double> s) { good->evaluate(b, s); }
    tape forward(const token_batch<double>& b, std::span<double> s) { return good->forward(b, s); }
    void backward(tape&& t, std::span<const double> d) {
        std::vector<double> scaled(d.begin(), d.end());
        for (double& x : scaled) x *= factor;
        good->backward(std::move(t), scaled);
    }
    step_report step(const step_options& o) { return good->step(o); }
    void discard() { good->discard(); }
    auto parameters() { return good->parameters(); }
    shared_scorer clone() const { return *this; }
};

/// Clones are copies, of what is remembered too.
struct copied_policy : ngram_policy<double> {
    bool keeps_gradients;
    copied_policy(optimizer_choice how, bool keep)
        : ngram_policy<double>({.shape = {.vocabulary = 4}, .max_length = 6, .initial_spread = 1, .optimizer = how}),
          keeps_gradients(keep) {}
    copied_policy clone() const {
        copied_policy copy = *this;
        if (!keeps_gradients) copy.discard();
        return copy;
    }
};

}  // namespace

TEMPLATE_TEST_CASE("conformance: the bundled tabular and point-mass backends pass", "[backend]", float, double) {
    using T = TestType;
    for (const optimizer_choice& how : {optimizer_choice{sgd{.momentum = 0.9}}, optimizer_choice{adamw{}}}) {
        ngram_policy<T> p({.shape = {.vocabulary = 4}, .max_length = 5, .initial_spread = 1, .optimizer = how});
        require_ok(check_conformance(p, {}));
        ngram_scorer<T> s({.shape = {.vocabulary = 4, .order = 3}, .initial_spread = 1, .optimizer = how});
        const auto b = p.rollout({}, ids(12), {}, {});
        require_ok(check_conformance_scorer(s, b));
    }
    ngram_policy<T, token_prompts> asked(
        {.shape = {.vocabulary = 4, .order = 3}, .max_length = 5, .initial_spread = 1});
    require_ok(check_conformance(asked, some_prompts(), {.rollout = {.temperature = 1.3, .max_length = 4}, .seed = 2}));
    ngram_policy<T> uniform({.shape = {.vocabulary = 4}});
    require_ok(check_conformance(uniform, {}));
    for (const double noise : {0.0, 0.4}) {
        two_turn_policy<T> p({.model = {.shape = {.vocabulary = 4, .order = 3}, .max_length = 6, .initial_spread = 1}},
                             {.noise = noise});
        require_ok(check_conformance(p, some_prompts()));
    }
    point_mass_policy<T> p({});
    require_ok(check_conformance(p, {}, {.frequency_rows = 2000}));
    const auto b = concat(p.rollout({}, ids(8), {}, {}), point_mass_expert<T>{}.sample(8, {}));
    for (const std::size_t hidden : {std::size_t{0}, std::size_t{6}}) {
        point_mass_scorer<T> s({.hidden = hidden});
        require_ok(check_conformance_scorer(s, b));
    }
}

TEST_CASE("conformance: parameters are restored, or the report says that they are not", "[backend]") {
    faulty_policy<true> flat(fault::none);
    const auto before = flat.good().logits();
    auto report = check_conformance(flat, {}, {.frequency_rows = 4000});
    require_ok(report);
    REQUIRE(std::equal(before.data(), before.data() + before.size(), flat.good().logits().data()));
    REQUIRE(report.find("clone")->skipped());

    faulty_policy<false> opaque(fault::none);
    report = check_conformance(opaque, {}, {.frequency_rows = 4000});
    INFO(to_string(report));
    REQUIRE(report.ok());
    REQUIRE(report.parameters_changed);
    REQUIRE(report.find("gradient of log_prob")->skipped());
    REQUIRE(!report.find("a step descends")->skipped());

    const ngram_policy<double> kept(options_of());
    ngram_policy<double> cloned = kept.clone();
    require_ok(check_conformance(cloned, {}));
    REQUIRE(std::equal(kept.logits().data(), kept.logits().data() + kept.logits().size(), cloned.logits().data()));
}

TEST_CASE("conformance: faults of the gradient are caught", "[backend]") {
    require_caught<true>(fault::wrong_sign, "gradient of log_prob");
    require_caught<true>(fault::wrong_sign, "a step descends");
    require_caught<false>(fault::wrong_sign, "a step descends");
    require_caught<true>(fault::overwrites, "gradients accumulate");
    require_caught<false>(fault::overwrites, "gradients accumulate");
    require_caught<true>(fault::divides_by_rows, "gradients accumulate");
    require_caught<false>(fault::divides_by_rows, "gradients accumulate");
    require_caught<true>(fault::ignores_entropy, "gradient of entropy");
    REQUIRE(report_of<true>(fault::ignores_entropy).find("gradient of log_prob")->passed);
    const auto report = report_of<true>(fault::wrong_sign);
    REQUIRE(report.find("gradient of log_prob")->message.find("the sign is wrong") != std::string::npos);
    REQUIRE(report.find("gradient of log_prob")->message.find("\"logits\"") != std::string::npos);
    REQUIRE(to_string(report).compare(0, 4, "FAIL") == 0);
}

TEST_CASE("conformance: faults of step and discard are caught", "[backend]") {
    require_caught<true>(fault::step_keeps, "step and discard clear");
    require_caught<false>(fault::step_keeps, "step and discard clear");
    require_caught<true>(fault::discard_keeps, "step and discard clear");
    require_caught<false>(fault::discard_keeps, "step and discard clear");
    require_caught<true>(fault::norm_after_clipping, "step and discard clear");
    require_caught<true>(fault::applies_nan, "a NaN gradient is discarded");
    require_caught<true>(fault::ignores_rate, "a step descends");
    require_caught<false>(fault::ignores_rate, "a step descends");
}

TEST_CASE("conformance: faults of the rollout are caught", "[backend]") {
    require_caught<true>(fault::other_probabilities, "sampling frequencies");
    require_caught<false>(fault::other_probabilities, "sampling frequencies");
    require_caught<true>(fault::other_probabilities, "mean score");
    require_caught<false>(fault::other_probabilities, "entropy");
    require_caught<false>(fault::off_by_one, "evaluate repeats the rollout");
    require_caught<false>(fault::forgets_temperature, "temperature");
    require_caught<false>(fault::positive_log_probs, "rollout");
    require_caught<false>(fault::one_row_short, "rollout");
    require_caught<false>(fault::ignores_ids, "random numbers");
    require_caught<false>(fault::remembers_draws, "random numbers");
    require_caught<false>(fault::ignores_step, "random numbers");
    require_caught<false>(fault::never_truncated, "length limit");
}

TEST_CASE("conformance: faults of the batch are caught", "[backend]") {
    require_caught<false>(fault::neighbours_leak, "select and concat");
    require_caught<false>(fault::leaves_unwritten, "evaluate and forward agree");
    sorting_policy p;
    const auto report = check_conformance(p, {}, {.frequency_rows = 0});
    INFO(to_string(report));
    REQUIRE(!report.find("select and concat")->passed);
    REQUIRE(report.find("sampling frequencies") == nullptr);
}

TEST_CASE("conformance: clones that remember are caught", "[backend]") {
    const auto message_of_clone = [](optimizer_choice how, bool keep) {
        copied_policy p(how, keep);
        const auto report = check_conformance(p, {}, {.frequency_rows = 0});
        INFO(to_string(report));
        for (const finding& f : report.findings) REQUIRE((f.passed || f.check == "clone"));
        return report.find("clone")->message;
    };
    for (const optimizer_choice& how : {optimizer_choice{sgd{.momentum = 0.9}}, optimizer_choice{adamw{}}})
        REQUIRE(message_of_clone(how, false).find("starts without memory") != std::string::npos);
    REQUIRE(message_of_clone(sgd{}, true).find("a clone has gradients") != std::string::npos);
    REQUIRE(message_of_clone(sgd{}, false).find("everything was checked") != std::string::npos);  // has no memory
}

TEST_CASE("conformance: faults of a scorer are caught", "[backend]") {
    ngram_policy<double> p(options_of());
    const auto b = p.rollout({}, ids(12), {}, {});
    shared_scorer s;
    auto report = check_conformance_scorer(s, b);
    INFO(to_string(report));
    REQUIRE(!report.find("clone")->passed);
    REQUIRE(report.find("gradient of score")->passed);
    s.factor = 0.5;
    report = check_conformance_scorer(s, b);
    REQUIRE(!report.find("gradient of score")->passed);
    REQUIRE(report.find("gradient of score")->message.find("a factor of about 0.5") != std::string::npos);
    s.factor = -1;
    REQUIRE(!check_conformance_scorer(s, b).find("gradient of score")->passed);
    const std::size_t three[] = {0, 1, 2};
    REQUIRE_THROWS_AS(check_conformance_scorer(s, select(b, three)), shape_error);
    REQUIRE_THROWS_AS(check_conformance_scorer(s, b, {.rows = 2}), option_error);
}
