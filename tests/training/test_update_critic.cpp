#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/training/update_critic.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

using namespace rlgaf;
using namespace rlgaf_test;

namespace {

using batch = token_batch<double>;
using table_model = ngram_policy<double>;

double twos(const batch& b, std::size_t i) {
    return static_cast<double>(std::count(b.row(i).begin(), b.row(i).end(), 2));
}

/// A rolled-out, rewarded round.
trajectories<table_model> a_round(std::size_t n = 64, std::uint64_t seed = 3) {
    table_model policy(small_policy());
    trajectories<table_model> t;
    roll_out(policy, no_prompts{}, {.rows = n, .group_size = 1}, {seed, 0}, t);
    part reward{as_reward("twos", twos)};
    shape(reward, t);
    return t;
}
/// A critic that sees all that came before.
table_model table_critic(double spread = 0) {
    return table_model(
        {.shape = {.vocabulary = 4, .order = 5}, .max_length = 5, .initial_spread = spread, .optimizer = sgd{}});
}
const gae monte_carlo{.lambda = 1};

/// Counts what it is asked.
struct counted_critic : table_model {
    using table_model::table_model;
    std::size_t widest = 0, steps = 0;
    std::vector<std::vector<double>> temperatures;  ///< which tests use as row numbers
    tape forward(const batch& b, policy_outputs<double> out) {
        REQUIRE((out.log_prob.empty() && out.entropy.empty() && !out.value.empty()));
        widest = std::max(widest, rows(b));
        temperatures.push_back(b.temperature);
        return table_model::forward(b, out);
    }
    step_report step(const step_options& o) {
        ++steps;
        return table_model::step(o);
    }
};

}  // namespace

TEST_CASE("update_critic: a table becomes the mean of the returns after each prefix", "[training]") {
    auto t = a_round();
    table_model critic = table_critic(0.5);
    part advantage{monte_carlo};
    evaluate_values(critic, t);
    estimate_returns(t, advantage);
    const critic_update_report first = update_critic(
        critic, t, {.step = {.learning_rate = 5, .max_norm = 0}, .epochs = 4000, .loss = {.rule = value_rule::squared}},
        {1, 0});
    REQUIRE((first.steps == 4000 && first.discarded == 0));
    REQUIRE(first.explained_variance < 0.2);  // before the first step
    evaluate_values(critic, t);
    for (std::size_t i = 0; i < rows(t.batch); ++i)
        for (std::size_t k = 0; k < t.batch.length[i]; ++k) {
            double mean = 0, same = 0;
            for (std::size_t j = 0; j < rows(t.batch); ++j) {
                if (t.batch.length[j] <= k ||
                    !std::equal(t.batch.row(i).begin(), t.batch.row(i).begin() + static_cast<std::ptrdiff_t>(k),
                                t.batch.row(j).begin()))
                    continue;
                mean += twos(t.batch, j);
                same += 1;
            }
            REQUIRE(t.value.view().row(i)[k] == Approx(mean / same).margin(1e-9));
        }
    estimate_returns(t, advantage);
    const critic_update_report last = update_critic(critic, t, {.loss = {.rule = value_rule::squared}}, {1, 0});
    REQUIRE(last.explained_variance > 0.4);
    REQUIRE(last.grad_norm < 1e-9);
}

TEST_CASE("update_critic: the clipped rule holds values near those of the rollout", "[training]") {
    auto t = a_round();
    table_model critic = table_critic(), free = table_critic();
    part advantage{monte_carlo};
    evaluate_values(critic, t);
    estimate_returns(t, advantage);
    critic_update_options options{.step = {.learning_rate = 0.2, .max_norm = 0}, .epochs = 3000};
    options.loss.clip = 0.1;
    const critic_update_report held = update_critic(critic, t, options, {1, 0});
    REQUIRE(held.loss.clipped > 0);
    options.loss.rule = value_rule::squared;
    REQUIRE(update_critic(free, t, options, {1, 0}).loss.clipped == 0);
    const double root = critic.parameters()[1].values[critic.contexts().start()];
    REQUIRE(root > 0.1);
    REQUIRE(root < 0.2);  // one step beyond the clip at most
    REQUIRE(free.parameters()[1].values[free.contexts().start()] > 0.5);
}

TEST_CASE("update_critic: estimate_returns gives the targets that update_policy gives", "[training]") {
    auto t = a_round();
    table_model critic = table_critic(0.5), policy(small_policy());
    evaluate_values(critic, t);
    part advantage{gae{.lambda = 0.7}};
    part loss{ppo_clip{}};
    update_policy(policy, t, {}, {1, 0}, advantage, loss);
    const std::vector<double> expected(t.returns.flat().begin(), t.returns.flat().end());
    std::fill(t.returns.flat().begin(), t.returns.flat().end(), not_a_number);
    const advantage_stats stats = estimate_returns(t, advantage);
    REQUIRE(same_bits(expected, std::vector<double>(t.returns.flat().begin(), t.returns.flat().end())));
    REQUIRE(stats.deviation == Approx(1));
}

TEST_CASE("update_critic: micro-batches give the steps of the whole", "[training]") {
    const auto trained = [](std::size_t micro_rows, value_rule rule) {
        auto t = a_round(17);
        counted_critic critic(ngram_policy_options{
            .shape = {.vocabulary = 4, .order = 3}, .max_length = 5, .initial_spread = 0.5, .optimizer = sgd{}});
        evaluate_values(critic, t, micro_rows);
        part advantage{gae{}};
        estimate_returns(t, advantage);
        const critic_update_report r = update_critic(critic, t,
                                                     {.step = {.learning_rate = 1, .max_norm = 0},
                                                      .epochs = 2,
                                                      .minibatches = 3,
                                                      .loss = {.rule = rule},
                                                      .aggregation = {.mode = aggregation::sequence_mean},
                                                      .micro_batch_rows = micro_rows},
                                                     {1, 0});
        REQUIRE((critic.steps == 6 && r.steps == 6));
        if (micro_rows > 0) REQUIRE(critic.widest == micro_rows);
        std::vector<double> all = parameters_of(critic);
        all.push_back(r.loss.loss);
        all.push_back(r.grad_norm);
        return all;
    };
    for (const value_rule rule : {value_rule::squared, value_rule::clipped, value_rule::huber})
        for (const std::size_t rows : {1u, 2u, 4u})
            REQUIRE(relative_gap(trained(0, rule), trained(rows, rule)) < 1e-12);
    REQUIRE(relative_gap(trained(0, value_rule::squared), trained(0, value_rule::huber)) > 1e-6);
}

TEST_CASE("update_critic: minibatches of an epoch are a partition of the rows", "[training]") {
    auto t = a_round(11);
    for (std::size_t i = 0; i < 11; ++i) t.batch.temperature[i] = static_cast<double>(i + 1);
    const auto order = [&](std::uint64_t seed) {
        counted_critic critic(small_policy());
        evaluate_values(static_cast<table_model&>(critic), t);
        part advantage{gae{}};
        estimate_returns(t, advantage);
        update_critic(critic, t, {.epochs = 2, .minibatches = 4}, {seed, 0});
        REQUIRE(critic.temperatures.size() == 8);
        std::vector<double> flat;
        for (const auto& part_rows : critic.temperatures) {
            REQUIRE((part_rows.size() == 2 || part_rows.size() == 3));
            flat.insert(flat.end(), part_rows.begin(), part_rows.end());
        }
        for (const std::ptrdiff_t epoch : {0, 11}) {
            std::vector<double> once(flat.begin() + epoch, flat.begin() + epoch + 11);
            std::sort(once.begin(), once.end());
            for (std::size_t i = 0; i < 11; ++i) REQUIRE(once[i] == static_cast<double>(i + 1));
        }
        return flat;
    };
    REQUIRE(order(1) == order(1));
    REQUIRE(order(1) != order(2));
    counted_critic critic(small_policy());
    REQUIRE(update_critic(critic, t, {.minibatches = 99}, {1, 0}).steps == 11);  // one row a step at least
}

TEST_CASE("update_critic: masked tokens are not learned and not read", "[training]") {
    const auto trained = [](double hidden, std::int32_t token) {
        batch b;
        const std::int32_t row[] = {1, token, 0};
        const std::uint8_t mask[] = {1, 0, 1};
        const double log_prob[] = {-1, -1, -1};
        b.add(row, row_end::terminated, log_prob, 1, mask);
        trajectories<table_model> t;
        t.batch = b;
        t.group_id = {0};
        t.group_count = 1;
        t.old_log_prob.assign(lengths(b));
        t.reward.begin(lengths(b));
        t.reward.add_outcome("one")[0] = 1;
        table_model critic({.shape = {.vocabulary = 4, .order = 1}, .max_length = 5});
        evaluate_values(critic, t);
        t.value.view().row(0)[1] = hidden;
        part advantage{gae{}};
        estimate_returns(t, advantage);
        update_critic(critic, t, {.loss = {.rule = value_rule::squared}}, {1, 0});
        return parameters_of(critic);
    };
    REQUIRE(same_bits(trained(not_a_number, 2), trained(7, 3)));
    REQUIRE(trained(0, 2).back() != 0);
}

TEST_CASE("update_critic: what is missing or not finite is refused before anything moves", "[training]") {
    auto t = a_round();
    table_model critic = table_critic();
    part advantage{gae{}};
    const auto update = [&](const critic_update_options& options = {}) {
        return [&, options] { update_critic(critic, t, options, {1, 0}); };
    };
    REQUIRE(contains(message_of<option_error>(update()), "call evaluate_values first"));
    evaluate_values(critic, t);
    REQUIRE(contains(message_of<shape_error>(update()), "update_critic: returns"));
    estimate_returns(t, advantage);
    REQUIRE(contains(message_of<option_error>(update({.epochs = 0})), ".epochs"));
    REQUIRE(contains(message_of<option_error>(update({.minibatches = 0})), ".minibatches"));
    REQUIRE(contains(message_of<option_error>(update({.step = {.learning_rate = not_a_number}})), ".learning_rate"));
    REQUIRE(contains(message_of<option_error>(update({.loss = {.clip = 0}})), ".clip"));
    t.returns.view().row(3)[0] = infinity;
    REQUIRE(contains(message_of<numeric_error>(update()), "returns row 3 token 0"));
    for (const double x : parameters_of(critic)) REQUIRE(x == 0);
    critic.parameters()[1].values[critic.contexts().start()] = not_a_number;
    REQUIRE(contains(message_of<numeric_error>([&] { evaluate_values(critic, t); }), "value row 0 token 0"));
}

TEST_CASE("update_critic: a gradient that is not finite is dropped and counted", "[training]") {
    struct unlucky_critic : table_model {
        using table_model::table_model;
        int calls = 0;
        void backward(tape&& taped, policy_cotangents<double> c) {
            table_model::backward(std::move(taped), c);
            if (++calls == 2) parameters()[1].gradients[0] = infinity;
        }
    } critic(small_policy());
    auto t = a_round();
    part advantage{gae{}};
    evaluate_values(critic, t);
    estimate_returns(t, advantage);
    const critic_update_report r = update_critic(critic, t, {.epochs = 3}, {1, 0});
    REQUIRE((r.steps == 2 && r.discarded == 1));
    REQUIRE(finite(parameters_of(critic)));
}

namespace {
/// A table whose values can be rescaled.
struct scaled_critic : table_model {
    using table_model::table_model;
    void rescale(double scale, double shift) {
        const auto blocks = parameters();
        for (double& v : blocks[1].values) v = scale * v + shift;
    }
};
static_assert(rescales_values<scaled_critic> && !rescales_values<table_model>);
}  // namespace

TEST_CASE("update_critic: Pop-Art moves the scale, not the values", "[training]") {
    auto t = a_round();
    for (double& r : t.reward.outcome(0)) r = 1000 + 50 * r;
    scaled_critic critic(table_critic(0.5).options());
    part advantage{monte_carlo};
    popart::state state;
    critic_update_options options{.step = {.learning_rate = 0, .max_norm = 0},
                                  .loss = {.rule = value_rule::squared},
                                  .normalize_returns = true,
                                  .normalization = {.decay = 0}};
    evaluate_values(critic, t, 0, state.scale);
    const std::vector<double> before(t.value.flat().begin(), t.value.flat().end());
    estimate_returns(t, advantage);
    update_critic(critic, t, options, {1, 0}, &state);
    REQUIRE((state.scale.mean > 1000 && state.scale.deviation > 10));
    evaluate_values(critic, t, 0, state.scale);
    REQUIRE(relative_gap(before, {t.value.flat().begin(), t.value.flat().end()}) < 1e-9);

    // It learns returns of that size as fast as returns of size one: the loss is in deviations.
    options.step.learning_rate = 5;
    options.epochs = 2000;
    estimate_returns(t, advantage);
    const critic_update_report r = update_critic(critic, t, options, {1, 0}, &state);
    REQUIRE(r.discarded == 0);
    evaluate_values(critic, t, 0, state.scale);
    estimate_returns(t, advantage);
    const critic_update_report last = update_critic(critic, t, options, {1, 0}, &state);
    REQUIRE(last.explained_variance > 0.3);
    for (const double v : t.value.flat()) REQUIRE((v > 900 && v < 1400));
    REQUIRE(last.loss.loss / 2000 < 0.5);

    // The clip is in deviations too: old values are normalised like the targets.
    options.loss = {.rule = value_rule::clipped, .clip = 0.1};
    options.step.learning_rate = 0;
    options.epochs = 1;
    evaluate_values(critic, t, 0, state.scale);
    const popart_scale scale = state.scale;
    double expected = 0;
    for (std::size_t i = 0; i < t.value.flat().size(); ++i) {
        const double value = scale.normalize(t.value.flat()[i]), target = scale.normalize(t.returns.flat()[i]);
        const double near = value - target, far = value + 0.4 - target;  // old_value - clip
        expected += std::fmax(near * near, far * far) / 2 / static_cast<double>(t.value.flat().size());
    }
    for (double& v : t.value.flat()) v += 0.5 * scale.deviation;
    REQUIRE(update_critic(critic, t, options, {1, 0}, &state).loss.loss == Approx(expected));

    // Switched off again, the critic's outputs are its values, and they are the same.
    evaluate_values(critic, t, 0, state.scale);
    const std::vector<double> scaled(t.value.flat().begin(), t.value.flat().end());
    options.normalize_returns = false;
    update_critic(critic, t, options, {1, 0}, &state);
    REQUIRE((state.scale.mean == 0 && state.scale.deviation == 1));
    evaluate_values(critic, t, 0, state.scale);
    REQUIRE(relative_gap(scaled, {t.value.flat().begin(), t.value.flat().end()}) < 1e-12);
}

TEST_CASE("update_critic: Pop-Art wants its memory and a critic that can be rescaled", "[training]") {
    auto t = a_round();
    scaled_critic critic(table_critic().options());
    table_model rigid = table_critic();
    part advantage{monte_carlo};
    evaluate_values(critic, t);
    estimate_returns(t, advantage);
    popart::state state;
    const critic_update_options options{.normalize_returns = true};
    REQUIRE(message_of<option_error>([&] {
                update_critic(critic, t, options, {1, 0});
            }) == "rlgaf::update_critic: normalizer: expected a popart::state with .normalize_returns, got none");
    REQUIRE(
        message_of<option_error>([&] {
            update_critic(rigid, t, options, {1, 0}, &state);
        }) ==
        "rlgaf::update_critic: normalize_returns: expected false, or a critic with `void rescale(double scale, double "
        "shift)`, got true");
    REQUIRE(contains(message_of<option_error>([&] {
                         update_critic(critic, t, {.normalization = {.decay = 1}}, {1, 0});
                     }),
                     "popart: .decay"));
    for (const double x : parameters_of(rigid)) REQUIRE(x == 0);
}
