#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/backend/pair_critic.hpp"
#include "rlgaf/models/cnn_scorer.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/ngram.hpp"
#include "support/catch.hpp"

using namespace rlgaf;

namespace {

using batch = token_batch<double>;
constexpr std::size_t vocabulary = 5;

void require_ok(const conformance_report& report, std::initializer_list<const char*> ran) {
    INFO(to_string(report));
    REQUIRE(report.ok());
    for (const char* const check : ran) {
        INFO(check);
        REQUIRE(report.find(check) != nullptr);
        REQUIRE(!report.find(check)->skipped());
    }
}
/// That check fails and says so; all others of the list pass.
void require_caught(const conformance_report& report, const char* check, const char* sentence) {
    INFO(to_string(report));
    REQUIRE(report.find(check) != nullptr);
    REQUIRE(!report.find(check)->passed);
    CAPTURE(sentence);
    REQUIRE(report.find(check)->message.find(sentence) != std::string::npos);
}

batch some_rows(std::uint64_t seed = 1) {
    ngram_policy<double> p({.shape = {.vocabulary = vocabulary}, .max_length = 6, .initial_spread = 1, .seed = seed});
    std::vector<std::uint64_t> id(12);
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = i;
    return p.rollout({}, id, {}, {seed, 0});
}
lstm_scorer_options scorer_options() {
    return {.vocabulary = vocabulary, .embedding = 3, .hidden = 5, .pool = pooling::mean, .seed = 3};
}

// --- Policies: logits and prefixes ------------------------------------------------------------------------------------

enum class policy_fault {
    none,
    untempered_logits,
    logits_of_next_token,
    visits_backwards,
    visits_too_few,
    drops_d_logits,
    d_logits_by_plain,
    cuts_shorter,
    changes_log_probs,
    reopens_ended,
    forgets_id,
    counts_new_only,
    remembers_draws,
    samples_cooler,
};

struct faulty_policy : ngram_policy<double> {
    policy_fault fault;
    std::uint64_t draws = 0;

    explicit faulty_policy(policy_fault f)
        : ngram_policy<double>({.shape = {.vocabulary = vocabulary}, .max_length = 6, .initial_spread = 1}), fault(f) {}
    faulty_policy clone() const {
        faulty_policy copy = *this;
        static_cast<ngram_policy<double>&>(copy) = ngram_policy<double>::clone();
        return copy;
    }

    using ngram_policy<double>::forward;
    tape forward(const batch& b, policy_outputs<double> out, logit_visitor<double> visitor) {
        std::vector<std::vector<double>> shown;
        auto look = [&](std::size_t, std::span<const double> z, std::span<double>) {
            shown.emplace_back(z.begin(), z.end());
        };
        tape taped = ngram_policy<double>::forward(b, out, logit_visitor<double>(look));
        const std::size_t n = shown.size();
        std::vector<std::size_t> row;
        for (std::size_t i = 0; i < rows(b); ++i) row.insert(row.end(), b.length[i], i);
        for (std::size_t k = 0; k < n; ++k) {
            const std::size_t at = fault == policy_fault::visits_backwards ? n - 1 - k : k;
            if (fault == policy_fault::visits_too_few && k == n - 1) break;
            std::vector<double> z = shown[fault == policy_fault::logits_of_next_token ? (k + 1) % n : at], d(z.size());
            if (fault == policy_fault::untempered_logits)
                for (double& x : z) x *= b.temperature[row[k]];
            visitor(at, z, d);
            for (std::size_t v = 0; v < d.size(); ++v)
                taped.d_logits[at * d.size() + v] = fault == policy_fault::drops_d_logits ? 0
                                                    : fault == policy_fault::d_logits_by_plain
                                                        ? d[v] * b.temperature[row[k]]
                                                        : d[v];
        }
        return taped;
    }
    batch rollout_from(const batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
                       rollout_options o, rng_key key) {
        std::vector<prefix> kept(from.begin(), from.end());
        std::vector<std::uint64_t> used(id.begin(), id.end());
        batch source = b;
        if (fault == policy_fault::cuts_shorter)
            for (prefix& p : kept) p.length -= p.length > 0 ? 1 : 0;
        if (fault == policy_fault::changes_log_probs) source.log_prob.clear(), source.temperature.assign(rows(b), 2.0);
        if (fault == policy_fault::changes_log_probs) o.temperature = 2;
        if (fault == policy_fault::forgets_id) std::fill(used.begin(), used.end(), 7u);
        if (fault == policy_fault::remembers_draws) key.seed += ++draws;
        const double told = o.temperature;
        if (fault == policy_fault::samples_cooler) o.temperature *= 0.6;
        if (fault == policy_fault::counts_new_only && o.max_length > 0) o.max_length += 2;
        batch out = ngram_policy<double>::rollout_from(source, kept, used, o, key);
        if (fault == policy_fault::samples_cooler) {
            out.temperature.assign(rows(out), told);
            evaluate(out, {.log_prob = ragged_view<double>::packed(out.log_prob.data(), out.offset)});
        }
        if (fault == policy_fault::reopens_ended)
            for (row_end& e : out.end) e = row_end::truncated;
        return out;
    }
};
static_assert(exposes_logits<faulty_policy> && continues_prefixes<faulty_policy>);

conformance_report report_of(policy_fault f) {
    faulty_policy p(f);
    return check_conformance(p, {}, {.frequency_rows = 4000});
}

// --- Scorers: tokens and moved inputs ---------------------------------------------------------------------------------

enum class scorer_fault {
    none,
    sees_later_tokens,
    token_sign,
    token_rows_turned,
    leaves_tokens_unwritten,
    drops_perturbation_zero,
    noise_ignores_key,
    noise_ignores_sigma,
    scale_ignores_rows,
    add_overwrites,
    half_input_gradient,
    wrong_input_sign,
    input_gradient_in_parameters,
    input_gradient_of_unmoved,
    moved_backward_of_unmoved,
    weights_in_parameters,
    weights_forgotten,
    weights_of_neighbours,
    weights_with_dropout,
};

struct faulty_scorer : lstm_scorer<double> {
    using base = lstm_scorer<double>;
    scorer_fault fault;
    int calls = 0;

    explicit faulty_scorer(scorer_fault f) : base(scorer_options()), fault(f) {}
    faulty_scorer clone() const {
        faulty_scorer copy = *this;
        static_cast<base&>(copy) = base::clone();
        return copy;
    }

    void spoil(const batch& b, ragged_view<double> score) const {
        if (rows(b) == 0) return;
        if (fault == scorer_fault::sees_later_tokens)
            for (std::size_t i = 0; i < rows(b); ++i)
                for (double& x : score.row(i)) x += 0.01 * b.length[i];
        if (fault == scorer_fault::token_rows_turned && score.row(0).size() > 1)
            score.row(0)[0] += 0.001 * static_cast<double>(rows(b));
        if (fault == scorer_fault::leaves_tokens_unwritten && !score.row(0).empty()) score.row(0)[0] = std::nan("");
    }
    void evaluate_tokens(const batch& b, ragged_view<double> score) {
        base::evaluate_tokens(b, score);
        spoil(b, score);
    }
    token_tape forward_tokens(const batch& b, ragged_view<double> score) {
        token_tape t = base::forward_tokens(b, score);
        spoil(b, score);
        return t;
    }
    void backward_tokens(token_tape&& t, ragged_view<const double> d) {
        ragged_buffer<double> turned;
        std::vector<std::uint32_t> length;
        for (std::size_t i = 0; i < d.rows(); ++i) length.push_back(static_cast<std::uint32_t>(d.length(i)));
        turned.assign(std::span<const std::uint32_t>(length));
        for (std::size_t i = 0; i < d.rows(); ++i)
            for (std::size_t k = 0; k < d.length(i); ++k)
                turned.view().row(i)[k] = (fault == scorer_fault::token_sign ? -1 : 1) * d.row(i)[k];
        base::backward_tokens(std::move(t), std::as_const(turned).view());
    }

    perturbation noise(const batch& b, double sigma, rng_key key) const {
        if (fault == scorer_fault::noise_ignores_key) key = {};
        if (fault == scorer_fault::noise_ignores_sigma && sigma > 0) sigma = 0.1;
        return base::noise(b, sigma, key);
    }
    void scale(perturbation& p, std::span<const double> by) const {
        const std::vector<double> one(by.size(), 1.0);
        base::scale(p, fault == scorer_fault::scale_ignores_rows ? std::span<const double>(one) : by);
    }
    void add(perturbation& to, const perturbation& p) const {
        if (fault == scorer_fault::add_overwrites)
            to = p;
        else
            base::add(to, p);
    }
    perturbation input_gradient(const batch& b, const perturbation& p, std::span<const double> d) {
        std::vector<double> c(d.begin(), d.end());
        for (double& x : c)
            x *= fault == scorer_fault::half_input_gradient ? 0.5 : fault == scorer_fault::wrong_input_sign ? -1 : 1;
        if (fault == scorer_fault::input_gradient_in_parameters) {
            std::vector<double> score(d.size());
            backward(base::forward(b, p, score), d);
        }
        return base::input_gradient(b, fault == scorer_fault::input_gradient_of_unmoved ? perturbation{} : p, c);
    }
    void attribute(const batch& b, ragged_view<double> weight) {
        base::attribute(b, weight);
        if (rows(b) == 0) return;
        if (fault == scorer_fault::weights_in_parameters) {
            std::vector<double> score(rows(b)), d(rows(b), 1);
            backward(base::forward(b, score), d);
        }
        double& first = weight.row(0)[0];
        if (fault == scorer_fault::weights_forgotten) first = std::nan("");
        if (fault == scorer_fault::weights_of_neighbours) first += 0.01 * static_cast<double>(rows(b));
        if (fault == scorer_fault::weights_with_dropout) first += static_cast<double>(++calls);
    }
    using base::forward;
    tape forward(const batch& b, const perturbation& p, std::span<double> score) {
        if (fault == scorer_fault::moved_backward_of_unmoved) {
            (void)base::forward(b, p, score);
            std::vector<double> other(score.size());
            return base::forward(b, other);
        }
        tape t = base::forward(b, p, score);
        if (fault == scorer_fault::drops_perturbation_zero && p.empty())
            for (double& x : score) x += 0.1;
        return t;
    }
};
static_assert(scores_tokens<faulty_scorer, batch> && perturbs_inputs<faulty_scorer, batch>);

conformance_report report_of(scorer_fault f) {
    faulty_scorer s(f);
    return check_conformance_scorer(s, some_rows());
}

// --- Pairs ------------------------------------------------------------------------------------------------------------

enum class pair_fault { none, two_numbers, unequal_rows, wrong_sign, overwrites };

struct faulty_critic {
    using scalar = double;
    using pair_tape = pair_critic<lstm_scorer<double>>::pair_tape;
    pair_critic<lstm_scorer<double>>& good;
    pair_fault fault;

    void spoil(std::span<double> score) const {
        for (std::size_t i = 0; i < score.size(); ++i) {
            if (fault == pair_fault::two_numbers && i % 3 == 2) score[i] = std::nan("");
            if (fault == pair_fault::unequal_rows) score[i] += 0.01 * static_cast<double>(i / 3);
        }
    }
    void evaluate_pairs(const batch& a, const batch& b, std::span<double> score) {
        good.evaluate_pairs(a, b, score);
        spoil(score);
    }
    pair_tape forward_pairs(const batch& a, const batch& b, std::span<double> score) {
        pair_tape t = good.forward_pairs(a, b, score);
        spoil(score);
        return t;
    }
    void backward_pairs(pair_tape&& t, std::span<const double> d) {
        std::vector<double> c(d.begin(), d.end());
        if (fault == pair_fault::wrong_sign)
            for (double& x : c) x = -x;
        if (fault == pair_fault::overwrites) good.discard();
        good.backward_pairs(std::move(t), c);
    }
    step_report step(const step_options& o) { return good.step(o); }
    void discard() { good.discard(); }
    auto parameters() { return good.parameters(); }
};
static_assert(scores_pairs<faulty_critic, batch>);

// --- Relaxed actions --------------------------------------------------------------------------------------------------

enum class relaxed_fault { none, one_hot_differs, ignores_key, overwrites, in_parameters, half, policy_sign };

struct faulty_relaxed_scorer : lstm_scorer<double> {
    using base = lstm_scorer<double>;
    relaxed_fault fault;
    explicit faulty_relaxed_scorer(relaxed_fault f) : base(scorer_options()), fault(f) {}

    using base::forward;
    tape forward(const relaxed& x, std::span<double> score) {
        tape t = base::forward(x, score);
        if (fault == relaxed_fault::one_hot_differs) score[0] += 0.01;
        return t;
    }
    void input_cotangent(tape&& t, std::span<const double> d, relaxed& x) {
        std::vector<double> c(d.begin(), d.end());
        if (fault == relaxed_fault::half)
            for (double& v : c) v *= 0.5;
        if (fault == relaxed_fault::overwrites) x.d_share.clear();
        if (fault == relaxed_fault::in_parameters) {
            std::vector<double> score(d.size());
            backward(base::forward(x, score), d);
        }
        base::input_cotangent(std::move(t), c, x);
    }
};
struct faulty_relaxed_policy : lstm_policy<double> {
    using base = lstm_policy<double>;
    relaxed_fault fault;
    explicit faulty_relaxed_policy(relaxed_fault f)
        : base({.vocabulary = vocabulary, .embedding = 3, .hidden = 5, .max_length = 5, .seed = 4}), fault(f) {}

    relaxed_tape forward_relaxed(const prompts& p, std::span<const std::uint64_t> id, const relaxation_options& o,
                                 rng_key key, relaxed& x) {
        return base::forward_relaxed(p, id, o, fault == relaxed_fault::ignores_key ? rng_key{} : key, x);
    }
    void backward_relaxed(relaxed_tape&& t, const relaxed& x) {
        relaxed turned = x;
        if (fault == relaxed_fault::policy_sign)
            for (double& g : turned.d_share) g = -g;
        base::backward_relaxed(std::move(t), turned);
    }
};
static_assert(relaxes<faulty_relaxed_policy, faulty_relaxed_scorer>);

conformance_report report_of(relaxed_fault f) {
    faulty_relaxed_policy p(f);
    faulty_relaxed_scorer s(f);
    return check_conformance_relaxed(p, s, {});
}

}  // namespace

TEST_CASE("conformance of abilities: what is right passes", "[backend]") {
    require_ok(report_of(policy_fault::none), {"logits", "continued prefixes", "continued frequencies"});
    require_ok(report_of(scorer_fault::none),
               {"token scores", "token scores, select and concat", "token scores of beginnings",
                "gradient of token scores", "gradients of token scores accumulate", "perturbed inputs",
                "input gradient", "input gradient of moved rows", "gradient of moved rows"});
    require_ok(report_of(relaxed_fault::none), {"one-hot rows", "input cotangent", "gradient of relaxed rows",
                                                "gradient of relaxed rows, soft inputs"});
}

TEST_CASE("conformance of abilities: what is wrong with logits is said", "[backend]") {
    require_caught(report_of(policy_fault::untempered_logits), "logits", "divided by the row's temperature");
    require_caught(report_of(policy_fault::logits_of_next_token), "logits", "at the token's own position");
    require_caught(report_of(policy_fault::visits_backwards), "logits", "once for every unmasked token, row after row");
    require_caught(report_of(policy_fault::visits_too_few), "logits", "the visitor is called for");
    require_caught(report_of(policy_fault::drops_d_logits), "logits", "does not reach the parameters");
    require_caught(report_of(policy_fault::d_logits_by_plain), "logits", "d_logits is by the tempered logits");
}

TEST_CASE("conformance of abilities: what is wrong with prefixes is said", "[backend]") {
    const char* const check = "continued prefixes";
    require_caught(report_of(policy_fault::cuts_shorter), check, "does not begin with its prefix");
    require_caught(report_of(policy_fault::changes_log_probs), check,
                   "what is kept stays as it is, log-probs included");
    require_caught(report_of(policy_fault::reopens_ended), check, "a row that had ended stays as it is");
    require_caught(report_of(policy_fault::remembers_draws), check, "the same prefixes, ids and key gave other rows");
    require_caught(report_of(policy_fault::forgets_id), check, "is sample_id used?");
    require_caught(report_of(policy_fault::counts_new_only), check, "the limit counts what is kept");
    require_caught(report_of(policy_fault::samples_cooler), "continued frequencies", "behaviour log-probs");
}

TEST_CASE("conformance of abilities: what is wrong with token scores is said", "[backend]") {
    require_caught(report_of(scorer_fault::sees_later_tokens), "token scores of beginnings", "must be causal");
    require_caught(report_of(scorer_fault::token_sign), "gradient of token scores", "the sign is wrong");
    require_caught(report_of(scorer_fault::token_rows_turned), "token scores, select and concat",
                   "evaluate gives a row other numbers than in the batch");
    require_caught(report_of(scorer_fault::leaves_tokens_unwritten), "token scores", "every unmasked slot is written");
}

TEST_CASE("conformance of abilities: what is wrong with perturbations is said", "[backend]") {
    const char* const check = "perturbed inputs";
    require_caught(report_of(scorer_fault::drops_perturbation_zero), check, "a default-constructed perturbation");
    require_caught(report_of(scorer_fault::noise_ignores_key), check, "is rng_key used?");
    require_caught(report_of(scorer_fault::noise_ignores_sigma), check, "the same noise at twice the deviation");
    require_caught(report_of(scorer_fault::scale_ignores_rows), check, "noise that was scaled by 2");
    require_caught(report_of(scorer_fault::add_overwrites), check, "noise added to itself");
    require_caught(report_of(scorer_fault::half_input_gradient), "input gradient", "a factor of about 0.5");
    require_caught(report_of(scorer_fault::wrong_input_sign), "input gradient", "the sign is wrong");
    require_caught(report_of(scorer_fault::input_gradient_in_parameters), "input gradient", "it adds nothing there");
    require_caught(report_of(scorer_fault::input_gradient_of_unmoved), "input gradient of moved rows",
                   "differences of the score along noise");
    require_caught(report_of(scorer_fault::moved_backward_of_unmoved), "gradient of moved rows", "differences say");
}

TEST_CASE("conformance of abilities: what is wrong with token weights is said", "[backend]") {
    require_caught(report_of(scorer_fault::weights_in_parameters), "token weights", "it adds nothing there");
    require_caught(report_of(scorer_fault::weights_forgotten), "token weights", "every unmasked slot is written");
    require_caught(report_of(scorer_fault::weights_of_neighbours), "token weights", "a row other numbers");
    require_caught(report_of(scorer_fault::weights_with_dropout), "token weights", "is dropout on?");
}

TEST_CASE("conformance of abilities: pairs", "[backend]") {
    lstm_scorer<double> three(
        {.vocabulary = vocabulary + 1, .embedding = 3, .hidden = 5, .pool = pooling::mean, .seed = 3, .outputs = 3});
    pair_critic<lstm_scorer<double>> critic(three, {.separator = static_cast<std::int32_t>(vocabulary)});
    const batch a = some_rows(1), b = some_rows(2);
    require_ok(check_conformance_pairs(critic, a, b),
               {"evaluate and forward agree", "select and concat", "gradient of pair score", "gradients accumulate"});
    const auto caught = [&](pair_fault f, const char* check, const char* sentence) {
        faulty_critic wrong{critic, f};
        require_caught(check_conformance_pairs(wrong, a, b), check, sentence);
    };
    caught(pair_fault::two_numbers, "evaluate and forward agree", "every unmasked slot is written");
    caught(pair_fault::unequal_rows, "select and concat", "evaluate gives a row other numbers");
    caught(pair_fault::wrong_sign, "gradient of pair score", "the sign is wrong");
    caught(pair_fault::overwrites, "gradients accumulate", "backward must add to the gradient");
    const std::size_t three_rows[] = {0, 1, 2};
    REQUIRE_THROWS_AS(check_conformance_pairs(critic, select(a, three_rows), select(b, three_rows)), shape_error);
    REQUIRE_THROWS_AS(check_conformance_pairs(critic, a, select(b, three_rows)), shape_error);
}

TEMPLATE_TEST_CASE("conformance of abilities: bundled models with relaxed actions pass", "[backend]", float, double) {
    using T = TestType;
    token_prompts ask;
    for (const std::int32_t t : {2, 3}) ask.add(std::vector<std::int32_t>{t, 1});
    lstm_policy<T> p({.vocabulary = vocabulary, .embedding = 3, .hidden = 5, .max_length = 5, .seed = 4});
    lstm_scorer<T> lstm({.vocabulary = vocabulary, .embedding = 3, .hidden = 5, .seed = 3});
    cnn_scorer<T> cnn({.vocabulary = vocabulary, .embedding = 3, .filters = 4, .widths = {2, 3}, .seed = 5});
    // In single precision with steps that are small enough for no other token to be drawn within one.
    const conformance_options o{.difference_step = std::is_same_v<T, float> ? 1e-3 : 0};
    const auto all = {"one-hot rows", "input cotangent", "gradient of relaxed rows",
                      "gradient of relaxed rows, soft inputs"};
    for (const bool asks : {false, true}) {
        require_ok(check_conformance_relaxed(p, lstm, asks ? ask : token_prompts{}, o), all);
        // Its filters' best windows change within the steps that single precision needs.
        if (std::is_same_v<T, double>)
            require_ok(check_conformance_relaxed(p, cnn, asks ? ask : token_prompts{}, o), all);
    }
}

TEST_CASE("conformance of abilities: what is wrong with relaxed rows is said", "[backend]") {
    require_caught(report_of(relaxed_fault::one_hot_differs), "one-hot rows", "a one-hot row is the row");
    require_caught(report_of(relaxed_fault::ignores_key), "one-hot rows", "is rng_key used?");
    require_caught(report_of(relaxed_fault::overwrites), "input cotangent", "two calls do not add up");
    require_caught(report_of(relaxed_fault::in_parameters), "input cotangent", "it adds nothing there");
    require_caught(report_of(relaxed_fault::half), "input cotangent", "a factor of about 0.5");
    require_caught(report_of(relaxed_fault::policy_sign), "gradient of relaxed rows", "the sign is wrong");
}
