#include "training/expected_gradient.hpp"

/// The gradient that the library estimates (sample, shape, advantage, loss, backward) against the exact gradient of a
/// policy whose every row can be enumerated. Unbiased estimators must meet the gradient of the expected reward, biased
/// ones what their own formula gives on average over all possible groups. The formulas are written here once more.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

double reward_of_row(const batch& b, std::size_t i) { return reward_of(b.row(i)); }

/// One estimate of the gradient: roll_out, evaluate_reference if there is one, score, shape, update_policy.
template <class Advantage, class Loss, class Shaping>
struct estimator {
    probe policy;
    part<Advantage> advantage;
    part<Loss> loss;
    part<Shaping> shaping;
    roll_out_options options;
    ngram_policy<double>* reference = nullptr;
    trajectories<probe> t{};
    true_reward<double (*)(const batch&, std::size_t)> judge{&reward_of_row};

    estimator(probe p, Advantage a, Loss l, Shaping s, roll_out_options o)
        : policy(std::move(p)), advantage(a), loss(l), shaping(s), options(o) {}

    const gradient& operator()(rng_key key) {
        roll_out(policy, no_prompts{}, options, key, t);
        if (reference) evaluate_reference(*reference, t);
        score(judge, t);
        shape(shaping, t);
        policy.ascent.assign(policy.logits().size(), 0.0);  // what stays if there is nothing to step along
        update_policy(policy, t, {.aggregation = {.mode = aggregation::sequence_sum}}, key, advantage, loss);
        return policy.ascent;
    }
};

/// Mean of many estimates.
template <class Estimator>
sample_mean average(Estimator& estimate, std::uint32_t rounds, std::uint64_t seed = 11) {
    sample_mean m;
    gradient squares;
    for (std::uint32_t k = 0; k < rounds; ++k) {
        const gradient& g = estimate({.seed = seed, .step = k});
        m.mean.resize(g.size());
        squares.resize(g.size());
        for (std::size_t j = 0; j < g.size(); ++j) m.mean[j] += g[j], squares[j] += g[j] * g[j];
    }
    const double n = rounds;
    m.error.resize(m.mean.size());
    for (std::size_t j = 0; j < m.mean.size(); ++j) {
        m.mean[j] /= n;
        m.error[j] = std::sqrt(std::fmax(squares[j] / n - m.mean[j] * m.mean[j], 0) / n);
    }
    return m;
}
/// Expected gradient of an estimator, from the advantage that `advantage_of(rows, rewards, row, token)` gives.
template <class F>
gradient expectation(const probe& policy, std::size_t size, F&& advantage_of) {
    return expected_gradient(policy, policy, size, [&](const batch& group) {
        std::vector<double> reward(size);
        for (std::size_t i = 0; i < size; ++i) reward[i] = reward_of(group.row(i));
        by_token advantage(size);
        for (std::size_t i = 0; i < size; ++i)
            for (std::size_t t = 0; t < group.length[i]; ++t)
                advantage[i].push_back(advantage_of(group, std::as_const(reward), i, t));
        return advantage;
    });
}
/// The same with the library's own path on each of these groups: no sampling error.
template <class Advantage>
gradient expectation_of_library(const probe& policy, std::size_t size, Advantage advantage) {
    estimator estimate{policy, advantage, policy_gradient_loss{}, logit_reward{},
                       roll_out_options{.rows = size, .group_size = 0}};
    gradient sum(policy.logits().size(), 0.0);
    for_each_group(policy, size, [&](double p, const batch& group) {
        estimate.policy.scripted = group;
        const gradient& g = estimate({});
        for (std::size_t j = 0; j < g.size(); ++j) sum[j] += p * g[j];
    });
    return sum;
}
/// And with its own sampling.
template <class Advantage>
sample_mean sampled_by_library(const probe& policy, std::size_t size, Advantage advantage, std::uint32_t rounds) {
    estimator estimate{policy, advantage, policy_gradient_loss{}, logit_reward{},
                       roll_out_options{.rows = size, .group_size = 0}};
    return average(estimate, rounds);
}

}  // namespace

TEST_CASE("estimators: the unbiased ones meet the exact gradient", "[training]") {
    const probe policy = policy_of(3);
    const gradient exact = exact_gradient<double>(policy, reward_of);
    REQUIRE(length_of(exact) > 0.1);
    const auto check = [&](const char* name, auto advantage, std::size_t group_size) {
        INFO(name);
        estimator estimate{policy, advantage, policy_gradient_loss{}, logit_reward{},
                           roll_out_options{.rows = 8, .group_size = group_size}};
        meets(average(estimate, 12000), exact);
    };
    check("reinforce, no baseline", reinforce{.baseline = reinforce_baseline::none}, 1);
    check("reinforce, ema", reinforce{.baseline = reinforce_baseline::ema, .ema_decay = 0.8}, 1);
    check("rloo, pairs", rloo{.group_size = 2}, 2);
    check("rloo, fours", rloo{.group_size = 4}, 4);
    check("rloo, the whole step", rloo{.group_size = 0}, 0);
}

TEST_CASE("estimators: ppo_clip at ratio 1 is the plain policy gradient", "[training]") {
    const probe policy = policy_of(3);
    const roll_out_options rows_of_eight{.rows = 8, .group_size = 4};
    estimator plain{policy, rloo{}, policy_gradient_loss{}, logit_reward{}, rows_of_eight};
    estimator clipped{policy, rloo{}, ppo_clip{}, logit_reward{}, rows_of_eight};
    int moved = 0;
    for (std::uint32_t k = 0; k < 50; ++k) {
        const gradient g = plain({.seed = 2, .step = k});
        moved += length_of(g) > 0;
        REQUIRE(gap(g, clipped({.seed = 2, .step = k})) < 1e-14);
    }
    REQUIRE(moved > 40);
    meets(average(clipped, 12000), exact_gradient<double>(policy, reward_of));
}

TEST_CASE("Trap 18: the gradient is that of the tempered policy", "[training]") {
    const probe policy = policy_of(3);
    estimator estimate{policy, rloo{}, policy_gradient_loss{}, logit_reward{},
                       roll_out_options{.rows = 8, .group_size = 4, .sampling = {.temperature = 0.7}}};
    const sample_mean m = average(estimate, 12000);
    meets(m, exact_gradient<double>(policy, reward_of, 0.7));
    CHECK(standard_errors(m, exact_gradient<double>(policy, reward_of, 1)) > 10);  // the test can tell them apart
}

TEST_CASE("estimators: batch_mean is the exact gradient times 1 - 1/B", "[training]") {
    for (const std::size_t size : {2u, 3u}) {
        INFO("rows " << size);
        const probe policy = policy_of(2);
        const gradient exact = exact_gradient<double>(policy, reward_of);
        const gradient shrunk = scaled(exact, 1 - 1 / static_cast<double>(size));
        const gradient own = expectation(
            policy, size,
            [](const batch&, const std::vector<double>& r, std::size_t i, std::size_t) { return r[i] - mean_of(r); });
        CHECK(gap(own, shrunk) < 1e-12);
        const reinforce batch_mean{.baseline = reinforce_baseline::batch_mean};
        CHECK(gap(expectation_of_library(policy, size, batch_mean), own) < 1e-12);
        const sample_mean m = sampled_by_library(policy, size, batch_mean, 20000);
        meets(m, own);
        CHECK(standard_errors(m, exact) > 5);  // its bias shows
    }
}

TEST_CASE("estimators: per_step meets its own expectation, which is not the gradient", "[training]") {
    for (const std::size_t size : {2u, 3u}) {
        INFO("rows " << size);
        const probe policy = policy_of(2);
        const gradient own = expectation(
            policy, size, [](const batch& group, const std::vector<double>& r, std::size_t i, std::size_t t) {
                double sum = 0, n = 0;  // the rows that get as far as token t
                for (std::size_t j = 0; j < r.size(); ++j)
                    if (group.length[j] > t) sum += r[j], n += 1;
                return r[i] - sum / n;
            });
        const reinforce per_step{.baseline = reinforce_baseline::per_step};
        CHECK(gap(expectation_of_library(policy, size, per_step), own) < 1e-12);
        const sample_mean m = sampled_by_library(policy, size, per_step, 20000);
        meets(m, own);
        const gradient exact = exact_gradient<double>(policy, reward_of);
        CHECK(standard_errors(m, exact) > 5);
        CHECK(standard_errors(m, scaled(exact, 1 - 1 / static_cast<double>(size))) > 5);
    }
}

TEST_CASE("estimators: grpo meets its own expectation, with and without scale", "[training]") {
    for (const std::size_t size : {2u, 3u}) {
        INFO("group of " << size);
        const probe policy = policy_of(2);
        const gradient exact = exact_gradient<double>(policy, reward_of);
        const auto check = [&](reward_scale scale, auto&& advantage_of) {
            const gradient own = expectation(policy, size, advantage_of);
            const grpo g{.group_size = 0, .scale = scale};
            CHECK(gap(expectation_of_library(policy, size, g), own) < 1e-12);
            meets(sampled_by_library(policy, size, g, 20000), own);
            return own;
        };
        const auto scaled_advantage = [](const batch&, const std::vector<double>& r, std::size_t i, std::size_t) {
            const double deviation = deviation_of(r);
            return deviation > 1e-9 ? (r[i] - mean_of(r)) / deviation : 0;
        };
        const gradient group = check(reward_scale::group, scaled_advantage);
        const gradient none = check(reward_scale::none, [](const batch&, const std::vector<double>& r, std::size_t i,
                                                           std::size_t) { return r[i] - mean_of(r); });
        CHECK(gap(none, scaled(exact, 1 - 1 / static_cast<double>(size))) < 1e-12);
        // Dividing by the deviation turns the gradient; it is no multiple of the exact one.
        double dot = 0;
        for (std::size_t j = 0; j < exact.size(); ++j) dot += group[j] * exact[j];
        CHECK(dot / (length_of(group) * length_of(exact)) < 0.999);
        CHECK(dot > 0);
    }
}

TEST_CASE("estimators: importance weights undo truncated sampling where its support allows", "[training]") {
    // One token: what top-k leaves out earns nothing, so that the estimate is of the whole gradient.
    const auto kept = [](const probe& p, std::size_t context) {
        const std::vector<double> lp = exact_log_prob<double>(p, context, 1);
        const auto lowest = std::min_element(lp.begin(), lp.end()) - lp.begin();
        return std::pair(lp, static_cast<std::int32_t>(lowest));
    };
    const auto options = [](bool weighted) {
        return roll_out_options{.rows = 8,
                                .group_size = 1,
                                .sampling = {.top_k = 2},
                                .recompute_old = true,
                                .importance_cap = weighted ? 2 : 1e-9};
    };
    SECTION("one token") {
        const probe policy = policy_of(1);
        const std::int32_t out = kept(policy, policy.contexts().start()).second;
        const auto reward = [&](std::span<const std::int32_t> row) { return row[0] == out ? 0.0 : reward_of(row); };
        estimator estimate{policy, reinforce{.baseline = reinforce_baseline::none}, policy_gradient_loss{},
                           logit_reward{}, options(true)};
        const sample_mean m = average(estimate, 12000);
        meets(m, exact_gradient<double>(policy, reward));
        // Without the weights it is the gradient over the kept mass.
        const std::vector<double> lp = kept(policy, policy.contexts().start()).first;
        const double mass = 1 - std::exp(lp[static_cast<std::size_t>(out)]);
        CHECK(standard_errors(m, scaled(exact_gradient<double>(policy, reward), 1 / mass)) > 5);
    }
    SECTION("three tokens: each token weighs pi / q of its own") {
        const probe policy = policy_of(3);
        const enumerated<double> all = enumerate<double>(policy);
        std::vector<double> sampled(all.probability.size(), 1.0);       // probability under truncated sampling
        std::vector<std::vector<double>> mass(all.probability.size());  // that top-k keeps, before each token
        for (std::size_t i = 0; i < sampled.size(); ++i) {
            std::size_t context = policy.contexts().start();
            for (const std::int32_t token : all.rows.row(i)) {
                const auto [lp, out] = kept(policy, context);
                mass[i].push_back(1 - std::exp(lp[static_cast<std::size_t>(out)]));
                sampled[i] *= token == out ? 0 : std::exp(lp[static_cast<std::size_t>(token)]) / mass[i].back();
                context = policy.contexts().after(context, token);
            }
        }
        const auto expected = [&](bool weighted) {
            return log_likelihood_gradient<double>(policy, all.rows, [&](std::size_t i, std::size_t t) {
                return sampled[i] * reward_of(all.rows.row(i)) * (weighted ? mass[i][t] : 1);
            });
        };
        estimator estimate{policy, reinforce{.baseline = reinforce_baseline::none}, policy_gradient_loss{},
                           logit_reward{}, options(true)};
        const sample_mean m = average(estimate, 12000);
        meets(m, expected(true));
        CHECK(standard_errors(m, expected(false)) > 5);
    }
    SECTION("the cap holds") {
        const probe policy = policy_of(3);
        estimator estimate{policy, reinforce{.baseline = reinforce_baseline::none}, policy_gradient_loss{},
                           logit_reward{}, options(false)};
        REQUIRE(length_of(estimate({.seed = 1, .step = 0})) < 1e-7);
    }
}

TEST_CASE("estimators: KL paid in the reward gives the gradient of reward minus beta KL of rows", "[training]") {
    const probe policy = policy_of(3);
    ngram_policy<double> reference(
        {.shape = {.vocabulary = 3, .order = 2}, .max_length = 3, .initial_spread = 1, .seed = 9});
    const double beta = 0.4;
    const auto log_probability = [](const ngram_policy<double>& p, std::span<const std::int32_t> row) {
        double sum = 0;
        std::size_t context = p.contexts().start();
        for (const std::int32_t token : row) {
            sum += exact_log_prob<double>(p, context, 1)[static_cast<std::size_t>(token)];
            context = p.contexts().after(context, token);
        }
        return sum;
    };
    const auto objective = [&](const ngram_policy<double>& p) {
        const enumerated<double> all = enumerate<double>(p);
        double sum = 0;
        for (std::size_t i = 0; i < all.probability.size(); ++i)
            sum += all.probability[i] *
                   (reward_of(all.rows.row(i)) -
                    beta * (std::log(all.probability[i]) - log_probability(reference, all.rows.row(i))));
        return sum;
    };
    // By finite differences of the objective itself: no formula for the gradient is trusted.
    ngram_policy<double> moved = policy;
    gradient exact(moved.logits().size());
    for (std::size_t j = 0; j < exact.size(); ++j)
        exact[j] = slope([&] { return objective(moved); }, moved.logits().data()[j]);
    const gradient without_kl = exact_gradient<double>(policy, reward_of);
    REQUIRE(gap(exact, without_kl) > 0.05);

    const auto check = [&](const char* name, auto advantage, std::size_t group_size) {
        INFO(name);
        estimator estimate{policy, advantage, policy_gradient_loss{},
                           pipeline{logit_reward{}, kl_penalty{.beta = beta}},
                           roll_out_options{.rows = 8, .group_size = group_size}};
        estimate.reference = &reference;
        const sample_mean m = average(estimate, 12000);
        meets(m, exact);
        CHECK(standard_errors(m, without_kl) > 10);
    };
    check("rloo: the row's KL on every token", rloo{.group_size = 4}, 4);
    check("reinforce: the KL to go", reinforce{.baseline = reinforce_baseline::none}, 1);
}
