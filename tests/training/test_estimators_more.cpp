#include "training/expected_gradient.hpp"

/// Every estimator and every loss of the policy gradient against an oracle, without sampling error: the library's step
/// is averaged over all groups of rows that a small policy can say. What is unbiased must have the gradient of the
/// expected reward; what is biased, the average of its definition, which is written here once more.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {

// --- Advantages -----------------------------------------------------------------------------------------------------

using trajectory = trajectories<probe>;
using row_number = double (*)(token_row);

/// The groups of a step: `count` of them, one after the other, `size` rows each.
struct step_shape {
    std::size_t count, size;
    std::size_t rows() const { return count * size; }
};

constexpr double end_reward = 1.3;  // reward_of is this and the token rewards

void pay_row(trajectory& t, row_number number) {
    const std::span<double> outcome = t.reward.add_outcome("row");
    for (std::size_t i = 0; i < outcome.size(); ++i) outcome[i] = number(t.batch.row(i));
}
template <class F>
void fill_tokens(trajectory& t, const ragged_view<double>& out, F&& number) {
    for_each_token(out, {}, [&](std::size_t i, std::size_t k) { out.row(i)[k] = number(t.batch.row(i), k); });
}
void pay_outcome(trajectory& t) { pay_row(t, reward_of); }
void pay_tokens(trajectory& t) {
    pay_row(t, [](token_row) { return end_reward; });
    fill_tokens(t, t.reward.token(), token_reward);
}

/// 0 or 1, and often equal within a group.
double success_of(token_row row) {
    int sum = 0;
    for (const std::int32_t token : row) sum += token;
    return sum % 2 == 0;
}
/// A critic that knows nothing.
double guess_after(token_row said) {
    double x = 3.0 * static_cast<double>(said.size());
    for (const std::int32_t token : said) x += token + 0.4;
    return 0.8 + std::cos(x);
}
double guess_before(token_row row, std::size_t t) { return guess_after(row.first(t)); }

template <class F>
by_token for_tokens(const batch& group, F&& number) {
    by_token x(rows(group));
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t t = 0; t < group.length[i]; ++t) x[i].push_back(number(i, t));
    return x;
}
std::vector<double> for_rows(const batch& group, row_number number) {
    std::vector<double> x;
    for (std::size_t i = 0; i < rows(group); ++i) x.push_back(number(group.row(i)));
    return x;
}
by_token spread_on_tokens(const batch& group, const std::vector<double>& row) {
    return for_tokens(group, [&](std::size_t i, std::size_t) { return row[i]; });
}
/// Rewards to go: the token's own, those of the later tokens, and what is paid at the end.
by_token to_go(const batch& group, double discount = 1) {
    return for_tokens(group, [&](std::size_t i, std::size_t t) {
        const token_row row = group.row(i);
        double sum = 0, weight = 1;
        for (std::size_t k = t; k < row.size(); ++k, weight *= discount)
            sum += weight * (token_reward(row, k) + (k + 1 == row.size() ? end_reward : 0));
        return sum;
    });
}
/// A number for each row from the rows of its group: one(numbers of the group, position among them).
template <class F>
std::vector<double> in_groups(const step_shape& shape, const std::vector<double>& x, F&& one) {
    std::vector<double> out;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const auto first = x.begin() + static_cast<std::ptrdiff_t>(i / shape.size * shape.size);
        out.push_back(one(std::vector<double>(first, first + static_cast<std::ptrdiff_t>(shape.size)), i % shape.size));
    }
    return out;
}
bool all_equal(const std::vector<double>& x) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    return *high - *low < 1e-9;
}
std::vector<double> joined(const by_token& x) {
    std::vector<double> all;
    for (const auto& row : x) all.insert(all.end(), row.begin(), row.end());
    return all;
}
by_token whitened(by_token x) {
    const std::vector<double> all = joined(x);
    const double mean = mean_of(all), deviation = all.size() > 1 ? deviation_of(all) : 0;
    for (auto& row : x)
        for (double& v : row) v = deviation > 1e-9 ? (v - mean) / deviation : 0;
    return x;
}

using earning = std::function<void(trajectory&)>;

/// A step of policy_gradient_loss under that estimator, for the policy that the oracles take.
template <class A>
library_step step_of(const A& estimator, earning earn = pay_outcome, std::uint32_t max_length = 2) {
    return {.policy = policy_of(max_length), .advantage = advantage_of(estimator), .earn = std::move(earn)};
}
gradient mean_of_library(library_step step, const step_shape& shape) {
    step.group_size = shape.size;
    const probe sampler = step.policy;
    return library_mean(std::move(step), sampler, shape.rows()).ascent;
}
/// A biased estimator: its advantages are those of `definition(rows of the step)`, and its bias shows.
template <class F>
void has_the_gradient_of(F&& definition, const step_shape& shape, const library_step& step,
                         row_number reward = reward_of) {
    INFO(shape.count << " groups of " << shape.size);
    const gradient own = expected_gradient(step.policy, step.policy, shape.rows(), definition);
    const gradient exact = exact_gradient<double>(step.policy, reward);
    CHECK(gap(mean_of_library(step, shape), own) < 1e-12);
    CHECK(length_of(own) > 0.005);
    CHECK(gap(own, exact) > 0.02 * length_of(exact));
}
void has_the_exact_gradient(const step_shape& shape, const library_step& step) {
    const gradient exact = exact_gradient<double>(step.policy, reward_of);
    CHECK(length_of(exact) > 0.1);
    CHECK(gap(mean_of_library(step, shape), exact) < 1e-12);
}

/// Rows that a critic has an opinion on.
template <class F>
earning with_values(earning earn, F value) {
    return [earn, value](trajectory& t) {
        earn(t);
        t.value.assign(lengths(t.batch));
        fill_tokens(t, t.value.view(), value);
        t.has_value = true;
    };
}

/// Gives vtrace the log-probs of a policy that did not sample the rows.
auto evaluated_by(const probe& policy) {
    return [learner = probe(policy), log_prob = ragged_buffer<double>{}](auto& terms, const batch& b) mutable {
        log_prob.assign(lengths(b));
        learner.evaluate(b, {.log_prob = log_prob.view()});
        terms.log_prob = std::as_const(log_prob).view();
    };
}

/// E[the best of k independent rows].
double best_of(const probe& policy, std::size_t k, row_number reward) {
    const enumerated<double> all = enumerate<double>(policy);
    std::vector<std::pair<double, double>> outcome;  // reward, probability
    for (std::size_t i = 0; i < all.probability.size(); ++i)
        outcome.emplace_back(reward(all.rows.row(i)), all.probability[i]);
    std::sort(outcome.begin(), outcome.end());
    double sum = 0, below = 0;
    for (const auto& [r, p] : outcome) {
        sum += r * (std::pow(below + p, k) - std::pow(below, k));
        below += p;
    }
    return sum;
}

/// Calls f(members) for every set of k of the numbers 0 .. n - 1.
template <class F>
void for_each_set(std::size_t n, std::size_t k, F&& f) {
    for (std::size_t bits = 0; bits < std::size_t{1} << n; ++bits) {
        std::vector<std::size_t> members;
        for (std::size_t i = 0; i < n; ++i)
            if (bits >> i & 1) members.push_back(i);
        if (members.size() == k) f(members);
    }
}

/// LeakGAN's: sigmoid of the rank among all, from 1, equal ones in the middle of their ranks.
double rank_value(const std::vector<double>& all, std::size_t self, double delta) {
    double rank = 0.5;
    for (const double v : all) rank += v < all[self] - 1e-9 ? 1 : v < all[self] + 1e-9 ? 0.5 : 0;
    return 1 / (1 + std::exp(-delta * (rank / static_cast<double>(all.size()) - 0.5)));
}
double centred_rank_value(const std::vector<double>& all, std::size_t self, double delta) {
    double mean = 0;
    for (std::size_t j = 0; j < all.size(); ++j) mean += rank_value(all, j, delta) / static_cast<double>(all.size());
    return rank_value(all, self, delta) - mean;
}

// --- Losses ---------------------------------------------------------------------------------------------------------

/// What the definition of a loss reads of a row. `frozen` is `now` where a definition holds something constant.
struct read_row {
    std::vector<double> now, frozen, old, advantage;

    std::size_t size() const { return now.size(); }
    double ratio(std::size_t t) const { return std::exp(now[t] - old[t]); }
    double frozen_ratio(std::size_t t) const { return std::exp(frozen[t] - old[t]); }
    double sum() const { return apart(now); }
    double frozen_sum() const { return apart(frozen); }
    double mean_advantage() const { return mean_of(advantage); }
    template <class F>
    double over_tokens(F&& f) const {
        double total = 0;
        for (std::size_t t = 0; t < size(); ++t) total += f(t);
        return total;
    }

private:
    double apart(const std::vector<double>& x) const {
        return over_tokens([&](std::size_t t) { return x[t] - old[t]; });
    }
};
using read_rows = std::vector<read_row>;

/// Derivative by the policy's logits, at the policy itself, of the mean over groups of the sampler of
/// gain_of(rows of the group), which the loss raises.
template <class Advantage, class F>
gradient slope_of(const probe& policy, const probe& sampler, std::size_t size, Advantage&& advantage_of, F&& gain_of) {
    struct weighed {
        double probability;
        batch group;
        read_rows read;
    };
    std::vector<weighed> all;
    for_each_group(sampler, size, [&](double p, const batch& group) {
        const by_token advantage = advantage_of(group);
        read_rows read;
        for (std::size_t i = 0; i < size; ++i) {
            const std::vector<double> now = token_log_probs(policy, group.row(i));
            read.push_back({now, now, token_log_probs(sampler, group.row(i)), advantage[i]});
        }
        all.push_back({p, group, read});
    });
    return slope_by_logits(policy, [&](const probe& moved) {
        double sum = 0;
        for (weighed& w : all) {
            for (std::size_t i = 0; i < size; ++i) w.read[i].now = token_log_probs(moved, w.group.row(i));
            sum += w.probability * gain_of(std::as_const(w.read));
        }
        return sum;
    });
}

double within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/// Of the losses' tests: advantages of both signs, and different ones where two rows of a step say the same.
double baseline(std::size_t row) { return 1.7 + 0.35 * static_cast<double>(row); }
by_token advantage_to_go(const batch& group) {
    by_token a = to_go(group);
    for (std::size_t i = 0; i < a.size(); ++i)
        for (double& v : a[i]) v -= baseline(i);
    return a;
}
by_token advantage_of_rows(const batch& group) {
    std::vector<double> r = for_rows(group, reward_of);
    for (std::size_t i = 0; i < r.size(); ++i) r[i] -= baseline(i);
    return spread_on_tokens(group, r);
}

/// A step of that loss, with advantage_to_go or, if pay_outcome is what is earned, advantage_of_rows.
template <class L>
library_step loss_step(const L& loss, aggregation mode, earning earn, std::uint32_t max_length = 3) {
    library_step step = step_of(remax{}, std::move(earn), max_length);
    step.loss = loss_of(loss);
    step.aggregation = mode;
    step.complete = [greedy = std::vector<double>()](auto& terms, const batch& b) mutable {
        greedy.resize(rows(b));
        for (std::size_t i = 0; i < greedy.size(); ++i) greedy[i] = baseline(i);
        terms.greedy_reward = greedy;
    };
    return step;
}

}  // namespace

TEST_CASE("estimators: gae with lambda 1 has the exact gradient, whatever the critic says", "[training]") {
    const gae estimator{.lambda = 1, .whiten = false};
    has_the_exact_gradient({1, 1}, step_of(estimator, with_values(pay_outcome, guess_before), 3));
    has_the_exact_gradient({1, 1}, step_of(estimator, with_values(pay_tokens, guess_before), 3));
    has_the_exact_gradient({2, 1}, step_of(estimator, with_values(pay_tokens, guess_before), 2));

    // Cut off rows go on with what the critic says after them: then that is a part of what is earned.
    const probe policy = policy_of(3);
    const gradient longer = exact_gradient<double>(
        policy, [](token_row row) { return reward_of(row) + (row.back() == 0 ? 0 : guess_after(row)); });
    REQUIRE(gap(longer, exact_gradient<double>(policy, reward_of)) > 0.02);
    const auto earn = [](trajectory& t) {
        with_values(pay_tokens, guess_before)(t);
        const std::span<double> after = t.reward.bootstrap();
        for (std::size_t i = 0; i < after.size(); ++i) after[i] = t.truncated[i] ? guess_after(t.batch.row(i)) : 0;
    };
    CHECK(gap(mean_of_library(step_of(estimator, earn, 3), {1, 1}), longer) < 1e-12);
}

TEST_CASE("estimators: gae with any lambda is exact if the critic is right, and meets its own expectation if not",
          "[training]") {
    const auto right = [](token_row row, std::size_t t) {
        double earned = 0;  // before token t: a critic speaks of what is still to come
        for (std::size_t k = 0; k < t; ++k) earned += token_reward(row, k);
        return value_after(policy_of(3), row.first(t), reward_of) - earned;
    };
    for (const double lambda : {0.0, 0.6})
        has_the_exact_gradient({1, 1},
                               step_of(gae{.lambda = lambda, .whiten = false}, with_values(pay_tokens, right), 3));

    const auto earn = with_values(pay_tokens, guess_before);
    for (const double discount : {1.0, 0.9})
        for (const double lambda : {0.0, 0.6}) {
            const auto sum_of_errors = [&](const batch& group) {
                return for_tokens(group, [&](std::size_t i, std::size_t t) {
                    const token_row row = group.row(i);
                    double sum = 0, weight = 1;
                    for (std::size_t k = t; k < row.size(); ++k, weight *= discount * lambda) {
                        const bool last = k + 1 == row.size();
                        const double next = last ? end_reward : discount * guess_before(row, k + 1);
                        sum += weight * (token_reward(row, k) + next - guess_before(row, k));
                    }
                    return sum;
                });
            };
            const auto white = [&](const batch& group) { return whitened(sum_of_errors(group)); };
            has_the_gradient_of(sum_of_errors, {1, 1},
                                step_of(gae{.discount = discount, .lambda = lambda, .whiten = false}, earn));
            has_the_gradient_of(white, {2, 1}, step_of(gae{.discount = discount, .lambda = lambda}, earn));
            has_the_gradient_of(white, {3, 1}, step_of(gae{.discount = discount, .lambda = lambda}, earn));
        }
}

TEST_CASE("estimators: vtrace on the policy's own rows is gae, exact with lambda 1", "[training]") {
    const auto earn = with_values(pay_tokens, guess_before);
    has_the_exact_gradient({1, 1}, step_of(vtrace{}, earn, 3));
    CHECK(gap(mean_of_library(step_of(vtrace{.discount = 0.9, .lambda = 0.5}, earn, 3), {1, 1}),
              mean_of_library(step_of(gae{.discount = 0.9, .lambda = 0.5, .whiten = false}, earn, 3), {1, 1})) < 1e-12);
}

TEST_CASE("estimators: vtrace on another policy's rows", "[training]") {
    const probe sampler = policy_of(3, 6);
    const auto mean = [&](const vtrace& estimator, std::uint32_t max_length = 3) {
        library_step step = step_of(estimator, with_values(pay_tokens, guess_before), max_length);
        step.complete = evaluated_by(step.policy);
        return library_mean(step, policy_of(max_length, 6), 1).ascent;
    };
    const vtrace untruncated{.rho_max = infinity, .c_max = infinity};

    // One token: importance sampling, and nothing else.
    CHECK(gap(mean(untruncated, 1), exact_gradient<double>(policy_of(1), reward_of)) < 1e-12);

    // Untruncated: what the policy's actions are worth if it goes on from there, in the states that the sampler visits.
    const probe policy = policy_of(3);
    gradient in_its_states(policy.logits().size(), 0.0);
    for_each_history(sampler, [&](token_row said, double visited) {
        const std::size_t context = context_after(policy, said);
        const std::vector<double> log_prob = exact_log_prob<double>(policy, context, 1);
        for (std::size_t a = 0; a < log_prob.size(); ++a) {
            std::vector<std::int32_t> next(said.begin(), said.end());
            next.push_back(static_cast<std::int32_t>(a));
            const double w = visited * std::exp(log_prob[a]) * value_after(policy, next, reward_of);
            for (std::size_t v = 0; v < log_prob.size(); ++v)
                in_its_states[context * log_prob.size() + v] += w * ((v == a) - std::exp(log_prob[v]));
        }
    });
    CHECK(gap(mean(untruncated), in_its_states) < 1e-12);
    CHECK(gap(in_its_states, exact_gradient<double>(policy, reward_of)) > 0.02);

    // Truncated: the paper's sum of products.
    for (const vtrace& o : {vtrace{}, vtrace{.discount = 0.9, .rho_max = 1.4, .c_max = 0.8}}) {
        const gradient own = expected_gradient(policy, sampler, 1, [&](const batch& group) {
            const token_row row = group.row(0);
            const std::vector<double> p = token_log_probs(policy, row), q = token_log_probs(sampler, row);
            const std::size_t n = row.size();
            const auto ratio = [&](std::size_t k, double most) { return std::fmin(most, std::exp(p[k] - q[k])); };
            const auto reward = [&](std::size_t k) { return token_reward(row, k) + (k + 1 == n ? end_reward : 0); };
            const auto guess = [&](std::size_t k) { return k < n ? guess_before(row, k) : 0; };
            const auto target = [&](std::size_t s) {
                double v = guess(s), weight = 1;
                for (std::size_t k = s; k < n; weight *= o.discount * ratio(k, o.c_max), ++k)
                    v += weight * ratio(k, o.rho_max) * (reward(k) + o.discount * guess(k + 1) - guess(k));
                return v;
            };
            return for_tokens(group, [&](std::size_t, std::size_t s) {
                return ratio(s, o.rho_max) * (reward(s) + o.discount * target(s + 1) - guess(s));
            });
        });
        CHECK(gap(mean(o), own) < 1e-12);
        CHECK(gap(own, in_its_states) > 0.02);  // the truncation shows
    }
}

TEST_CASE("Trap: vtrace in update_policy weighs another policy's rows once, not once more by roll_out's factors",
          "[training]") {
    probe policy = policy_of(1);
    part estimator{vtrace{.rho_max = infinity, .c_max = infinity}};
    part loss{policy_gradient_loss{}};
    gradient mean(policy.logits().size(), 0.0);
    trajectory t;
    for_each_group(policy_of(1, 6), 1, [&](double p, const batch& group) {
        policy.scripted = group;
        roll_out(policy, no_prompts{}, {.rows = 1, .group_size = 1, .recompute_old = true}, {}, t);
        with_values(pay_outcome, guess_before)(t);
        update_policy(policy, t, {.aggregation = {.mode = aggregation::sequence_sum}}, {}, estimator, loss);
        for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += p * policy.ascent[j];
    });
    CHECK(gap(mean, exact_gradient<double>(policy, reward_of)) < 1e-12);
}

TEST_CASE("estimators: remax has the exact gradient, whatever the greedy answer earns", "[training]") {
    for (const earning& earn : {earning(pay_outcome), earning(pay_tokens)}) {
        library_step step = step_of(remax{}, earn, 3);
        const std::vector<double> greedy = {0.7, 0.7};
        step.complete = [&](auto& terms, const batch& b) { terms.greedy_reward = std::span(greedy).first(rows(b)); };
        has_the_exact_gradient({1, 1}, step);
        has_the_exact_gradient({2, 1}, step);
    }
}

TEST_CASE("estimators: pkpo, both forms, and max_second have the gradient of E[max of k]", "[training]") {
    const auto check = [](const auto& estimator, std::size_t k, std::size_t n, std::uint32_t length,
                          row_number reward) {
        INFO("best of " << k << ", group of " << n);
        const library_step step = step_of(
            estimator, [=](trajectory& t) { pay_row(t, reward); }, length);
        const gradient own = slope_by_logits(step.policy, [&](const probe& p) { return best_of(p, k, reward); });
        CHECK(length_of(own) > 0.005);
        // The library's loss is a mean over rows, the papers' a sum over the group.
        CHECK(gap(scaled(mean_of_library(step, {1, n}), static_cast<double>(n)), own) < 1e-9);
    };
    CHECK(best_of(policy_of(2), 1, reward_of) == Approx(expected_reward<double>(policy_of(2), reward_of)));
    for (const row_number reward : {&reward_of, &success_of}) {
        for (const auto& [n, length] : {std::pair(2u, 3u), {3u, 2u}, {5u, 1u}}) {
            for (std::size_t k = 1; k <= n; ++k)
                check(pkpo{.group_size = n, .k = k, .form = pkpo_form::score}, k, n, length, reward);
            for (std::size_t k = 2; k <= n; ++k) check(pkpo{.group_size = n, .k = k}, k, n, length, reward);
            check(max_second{.group_size = n}, n, n, length, reward);
        }
    }
    const auto by_deviation = [](const batch& group) {
        const std::vector<double> r = for_rows(group, reward_of);
        return spread_on_tokens(group,
                                in_groups({1, r.size()}, r, [](const std::vector<double>& all, std::size_t self) {
                                    std::vector<double> sorted = all;
                                    std::sort(sorted.begin(), sorted.end());
                                    if (all[self] < sorted.back() || all_equal(all)) return 0.0;
                                    return (sorted.back() - sorted[sorted.size() - 2]) / deviation_of(all);
                                }));
    };
    has_the_gradient_of(by_deviation, {1, 3}, step_of(max_second{.scale = true}));
}

TEST_CASE("estimators: pass_at_k meets the expectation of its definition over all sets of k", "[training]") {
    const earning earn = [](trajectory& t) { pay_row(t, success_of); };
    for (const std::size_t k : {1u, 2u, 3u}) {
        const auto definition = [&](const batch& group) {
            const std::vector<double> success = for_rows(group, success_of);
            std::vector<double> set_reward;
            for_each_set(success.size(), k, [&](const std::vector<std::size_t>& set) {
                double best = 0;
                for (const std::size_t i : set) best = std::fmax(best, success[i]);
                set_reward.push_back(best);
            });
            const double mean = mean_of(set_reward), deviation = std::sqrt(mean * (1 - mean));
            std::vector<double> sum(success.size(), 0.0), sets(success.size(), 0.0);
            std::size_t next = 0;
            for_each_set(success.size(), k, [&](const std::vector<std::size_t>& set) {
                const double earned = set_reward[next++];
                for (const std::size_t i : set)
                    sum[i] += deviation > 1e-9 ? (earned - mean) / deviation : 0, sets[i] += 1;
            });
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] /= sets[i];
            return spread_on_tokens(group, sum);
        };
        if (k < 3) has_the_gradient_of(definition, {1, 3}, step_of(pass_at_k{.k = k}, earn), success_of);
        has_the_gradient_of(definition, {1, 4}, step_of(pass_at_k{.k = k}, earn, 1), success_of);
    }
}

TEST_CASE("estimators: gpg and grpo by the batch meet their own expectations over two groups", "[training]") {
    const step_shape shape{2, 2};
    const earning earn = [](trajectory& t) { pay_row(t, success_of); };
    const auto centred_in_group = [](const std::vector<double>& all, std::size_t self) {
        return all[self] - mean_of(all);
    };
    const auto by_deviation = [](const std::vector<double>& all, std::size_t self) {
        return all_equal(all) ? 0 : (all[self] - mean_of(all)) / deviation_of(all);
    };
    const auto constant = [](const std::vector<double>& all, std::size_t) { return all_equal(all) ? 1.0 : 0.0; };
    const auto check = [&](gpg_rescale rescale, bool scale, auto&& counts) {
        has_the_gradient_of(
            [&](const batch& rows_now) {
                const std::vector<double> r = for_rows(rows_now, success_of);
                std::vector<double> a =
                    scale ? in_groups(shape, r, by_deviation) : in_groups(shape, r, centred_in_group);
                const double counted = counts(r);
                for (double& v : a) v *= counted > 0 ? static_cast<double>(a.size()) / counted : 1;
                return spread_on_tokens(rows_now, a);
            },
            shape, step_of(gpg{.rescale = rescale, .scale = scale}, earn), success_of);
    };
    for (const bool scale : {false, true}) {
        check(gpg_rescale::informative_rows, scale, [&](const std::vector<double>& r) {
            const std::vector<double> same = in_groups(shape, r, constant);
            return static_cast<double>(std::count(same.begin(), same.end(), 0.0));
        });
        check(gpg_rescale::nonzero_rewards, scale, [](const std::vector<double>& r) {
            return static_cast<double>(r.size()) - static_cast<double>(std::count(r.begin(), r.end(), 0.0));
        });
        check(gpg_rescale::none, scale, [](const std::vector<double>& r) { return static_cast<double>(r.size()); });
    }
    // Unscaled and not rescaled it is the exact gradient times 1 - 1 / G.
    CHECK(gap(mean_of_library(step_of(gpg{.rescale = gpg_rescale::none}), {1, 3}),
              scaled(exact_gradient<double>(policy_of(2), reward_of), 2.0 / 3)) < 1e-12);

    has_the_gradient_of(
        [&](const batch& rows_now) {
            const std::vector<double> r = for_rows(rows_now, success_of);
            std::vector<double> a = in_groups(shape, r, centred_in_group);
            for (double& v : a) v /= all_equal(r) ? 1 : deviation_of(r);
            return spread_on_tokens(rows_now, a);
        },
        shape, step_of(grpo{.scale = reward_scale::batch}, earn), success_of);
}

TEST_CASE("estimators: opo meets its own expectation", "[training]") {
    const auto definition = [](const batch& group) {
        const std::vector<double> r = for_rows(group, reward_of);
        double sum = 0, tokens = 0;
        for (std::size_t i = 0; i < r.size(); ++i) sum += group.length[i] * r[i], tokens += group.length[i];
        return for_tokens(group, [&](std::size_t i, std::size_t) { return r[i] - sum / tokens; });
    };
    for (const std::size_t size : {2u, 3u}) has_the_gradient_of(definition, {1, size}, step_of(opo{}));
}

TEST_CASE("estimators: optimal_token_baseline meets its own expectation", "[training]") {
    const probe policy = policy_of(2);
    // The squared norm of a token's score function, from the gradient itself.
    const auto norm = [&](token_row row, std::size_t t) {
        const std::vector<double> log_prob = exact_log_prob<double>(policy, context_after(policy, row.first(t)), 1);
        double squares = 0;
        for (std::size_t v = 0; v < log_prob.size(); ++v) {
            const double d = (v == static_cast<std::size_t>(row[t])) - std::exp(log_prob[v]);
            squares += d * d;
        }
        return squares;
    };
    for (const bool tail : {false, true})
        for (const std::size_t size : {2u, 3u}) {
            const auto definition = [&](const batch& group) {
                const by_token g = to_go(group);
                return for_tokens(group, [&](std::size_t i, std::size_t t) {
                    double product = 0, weight = 0, count = 0;
                    for (std::size_t j = 0; j < g.size(); ++j) {
                        if (group.length[j] <= t) continue;
                        double built_up = 0;
                        for (std::size_t k = 0; k <= t; ++k) built_up += norm(group.row(j), k);
                        product += built_up * g[j][t], weight += built_up, count += 1;
                    }
                    return count > 1 ? g[i][t] - product / weight : tail ? g[i][t] : 0;
                });
            };
            library_step step = step_of(optimal_token_baseline{.handle_zero_tail = tail}, pay_tokens);
            step.complete = [&, buffer = ragged_buffer<double>{}](auto& terms, const batch& b) mutable {
                buffer.assign(lengths(b));
                for_each_token(buffer.view(), {}, [&](std::size_t i, std::size_t t) {  // as the header says
                    const token_row row = b.row(i);
                    const std::vector<double> log_prob =
                        exact_log_prob<double>(policy, context_after(policy, row.first(t)), 1);
                    double x = 1 - 2 * std::exp(log_prob[static_cast<std::size_t>(row[t])]);
                    for (const double l : log_prob) x += std::exp(2 * l);
                    buffer.view().row(i)[t] = x;
                });
                terms.score_norm = std::as_const(buffer).view();
            };
            has_the_gradient_of(definition, {1, size}, step);
        }
}

TEST_CASE("estimators: reinforce_plus_plus meets its own expectation, with and without groups", "[training]") {
    for (const double discount : {1.0, 0.8})
        for (const std::size_t size : {2u, 3u})
            has_the_gradient_of([&](const batch& rows_now) { return whitened(to_go(rows_now, discount)); }, {size, 1},
                                step_of(reinforce_plus_plus{.discount = discount}, pay_tokens));
    const auto in_two_groups = [](const batch& rows_now) {
        const std::vector<double> r = for_rows(rows_now, success_of);
        by_token taught = for_tokens(rows_now, [&](std::size_t i, std::size_t) {
            const std::size_t other = i ^ 1;
            return 0.5 * (r[i] - r[other]);
        });
        // Rows of a group that earn the same are in no mean and no deviation.
        by_token out(taught.size()), kept;
        for (std::size_t i = 0; i < taught.size(); ++i)
            if (taught[i][0] != 0) kept.push_back(taught[i]);
        kept = whitened(kept);
        for (std::size_t i = 0, next = 0; i < taught.size(); ++i)
            out[i] = taught[i][0] != 0 ? kept[next++] : std::vector<double>(taught[i].size(), 0.0);
        return out;
    };
    has_the_gradient_of(in_two_groups, {2, 2},
                        step_of(reinforce_plus_plus{.group_baseline = true, .group_size = 2},
                                [](trajectory& t) { pay_row(t, success_of); }),
                        success_of);
}

TEST_CASE("estimators: bnpo meets its own expectation over two groups", "[training]") {
    const step_shape shape{2, 2};
    for (const bool binary : {true, false}) {
        const bnpo estimator = binary ? bnpo{} : bnpo{.low = -0.5, .high = 3, .max_weight = 0.9};
        const row_number reward = binary ? success_of : reward_of;
        const auto definition = [&](const batch& rows_now) {
            std::vector<double> x = for_rows(rows_now, reward);
            for (double& v : x) v = std::clamp((v - estimator.low) / (estimator.high - estimator.low), 0.0, 1.0);
            const double p[] = {(x[0] + x[1]) / 2, (x[2] + x[3]) / 2};
            const double m = (p[0] + p[1]) / 2, variance = (p[0] - p[1]) * (p[0] - p[1]) / 2;
            std::vector<double> a;
            for (std::size_t i = 0; i < 4; ++i) {
                double weight = 1;
                const double q = p[i / 2];
                if (variance > 1e-12 && q > 0 && q < 1) {
                    const double both = m * (1 - m) / variance - 1;
                    const double alpha = std::fmax(1, 1 + both * m / 3), beta = std::fmax(1, 1 + both * (1 - m) / 3);
                    const double density = std::exp((alpha - 1) * std::log(q) + (beta - 1) * std::log(1 - q) +
                                                    std::lgamma(alpha + beta) - std::lgamma(alpha) - std::lgamma(beta));
                    weight = std::fmin(estimator.max_weight, 1 / density);
                }
                a.push_back((x[i] - q) * weight);
            }
            return spread_on_tokens(rows_now, a);
        };
        has_the_gradient_of(definition, shape, step_of(estimator, [&](trajectory& t) { pay_row(t, reward); }), reward);
    }
}

TEST_CASE("estimators: maligan meets its own expectation, and the experts' gradient as groups grow", "[training]") {
    const auto definition = [](double baseline) {
        return [baseline](const batch& group) {
            std::vector<double> odds = for_rows(group, [](token_row row) { return std::exp(reward_of(row)); });
            const double n = static_cast<double>(odds.size()), sum = n * mean_of(odds);
            for (double& v : odds) v = v / sum - baseline / n;
            return spread_on_tokens(group, odds);
        };
    };
    for (const double baseline : {0.0, 0.4, 1.0})
        for (const std::size_t size : {2u, 3u})
            has_the_gradient_of(definition(baseline), {1, size}, step_of(maligan{.baseline = baseline}));

    // The optimal discriminator's logit is the log-ratio of the experts to the policy. What the experts say on average:
    const probe policy = policy_of(2);
    const gradient experts = log_likelihood_gradient<double>(
        policy, all_rows(policy_of(2, 6)).rows,
        [p = all_rows(policy_of(2, 6)).probability](std::size_t i, std::size_t) { return p[i]; });
    const auto logit = [](token_row row) {
        double sum = 0;
        for (const double l : token_log_probs(policy_of(2, 6), row)) sum += l;
        for (const double l : token_log_probs(policy_of(2), row)) sum -= l;
        return sum;
    };
    std::vector<double> apart;
    for (const std::size_t size : {1u, 2u, 4u}) {
        const gradient mean =
            mean_of_library(step_of(maligan{.baseline = 0}, [&](trajectory& t) { pay_row(t, logit); }), {1, size});
        gradient difference = scaled(mean, static_cast<double>(size));
        for (std::size_t j = 0; j < difference.size(); ++j) difference[j] -= experts[j];
        apart.push_back(length_of(difference) / length_of(experts));
    }
    INFO(apart[0] << " " << apart[1] << " " << apart[2]);
    CHECK(apart[0] == Approx(1));  // one row always weighs 1: nothing on average
    CHECK(apart[1] < 0.85 * apart[0]);
    CHECK(apart[2] < 0.75 * apart[1]);
}

TEST_CASE("estimators: rank_rescale meets its own expectation, for rows and for positions", "[training]") {
    for (const bool centre : {true, false})
        for (const std::size_t size : {2u, 3u}) {
            const auto value = [&](const std::vector<double>& all, std::size_t self) {
                return centre ? centred_rank_value(all, self, 5) : rank_value(all, self, 5);
            };
            const rank_rescale rows_only{.delta = 5, .subtract_mean = centre};
            has_the_gradient_of(
                [&](const batch& group) {
                    return spread_on_tokens(group, in_groups({1, size}, for_rows(group, reward_of), value));
                },
                {1, size}, step_of(rows_only));
            for (const bool later : {true, false}) {
                const auto definition = [&](const batch& group) {
                    const by_token x = later ? to_go(group) : for_tokens(group, [&](std::size_t i, std::size_t t) {
                        return end_reward + token_reward(group.row(i), t);
                    });
                    return for_tokens(group, [&](std::size_t i, std::size_t t) {
                        std::vector<double> at;
                        std::size_t self = 0;
                        for (std::size_t j = 0; j < x.size(); ++j) {
                            if (j == i) self = at.size();
                            if (x[j].size() > t) at.push_back(x[j][t]);
                        }
                        return value(at, self);
                    });
                };
                rank_rescale positions = rows_only;
                positions.to_go = later;
                has_the_gradient_of(definition, {1, size}, step_of(positions, pay_tokens));
            }
        }
}

TEST_CASE("estimators: process_grpo meets its own expectation", "[training]") {
    // A step ends where something is paid: here not at the token 1.
    const auto paid = [](token_row row, std::size_t t) { return row[t] == 1 ? 0 : token_reward(row, t) + 0.4; };
    for (const bool outcome : {true, false})
        for (const auto& [size, length] : {std::pair(2u, 3u), {3u, 2u}}) {
            const auto reward = [&](token_row row, std::size_t t) {
                return paid(row, t) + (outcome && t + 1 == row.size() ? end_reward : 0);
            };
            const auto ends_step = [&](token_row row, std::size_t t) {
                return row[t] != 1 || (outcome && t + 1 == row.size());
            };
            const auto definition = [&](const batch& group) {
                std::vector<double> all;
                double members = 0;
                for (std::size_t i = 0; i < rows(group); ++i) {
                    const std::size_t before = all.size();
                    for (std::size_t t = 0; t < group.length[i]; ++t)
                        if (ends_step(group.row(i), t)) all.push_back(reward(group.row(i), t));
                    members += all.size() > before;
                }
                const bool teaches = members > 1 && !all_equal(all);
                return for_tokens(group, [&](std::size_t i, std::size_t t) {
                    double sum = 0;
                    for (std::size_t k = t; teaches && k < group.length[i]; ++k)
                        if (ends_step(group.row(i), k))
                            sum += (reward(group.row(i), k) - mean_of(all)) / deviation_of(all);
                    return sum;
                });
            };
            const earning earn = [&](trajectory& t) {
                if (outcome) pay_row(t, [](token_row) { return end_reward; });
                fill_tokens(t, t.reward.token(), paid);
            };
            has_the_gradient_of(definition, {1, size}, step_of(process_grpo{}, earn, length));
        }
}

TEST_CASE("estimators: gdpo meets its own expectation over two groups and two rewards", "[training]") {
    const step_shape shape{2, 2};
    const auto normal = [](const std::vector<double>& all, std::size_t self) {
        return all_equal(all) ? 0 : (all[self] - mean_of(all)) / deviation_of(all);
    };
    const auto definition = [&](const batch& rows_now) {
        std::vector<double> sum = in_groups(shape, for_rows(rows_now, reward_of), normal);
        const std::vector<double> second = in_groups(shape, for_rows(rows_now, success_of), normal);
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += 0.5 * second[i];
        const double deviation = deviation_of(sum);
        for (double& v : sum) v = deviation > 1e-9 ? v / deviation : 0;
        return spread_on_tokens(rows_now, sum);
    };
    const earning earn = [](trajectory& t) { pay_outcome(t), pay_row(t, success_of); };
    has_the_gradient_of(definition, shape, step_of(gdpo{.weight = {1, 0.5}}, earn));
}

TEST_CASE("estimators: on the policy's own rows every loss is the plain policy gradient", "[training]") {
    library_step plain = loss_step(policy_gradient_loss{}, aggregation::sequence_sum, pay_outcome);
    const gradient exact = exact_gradient<double>(plain.policy, reward_of);
    const auto check = [&](const char* name, const auto& loss, aggregation mode = aggregation::sequence_sum) {
        INFO(name);
        library_step step = loss_step(loss, mode, pay_outcome);
        CHECK(gap(library_mean(step, step.policy, 1).ascent, exact) < 1e-12);
        double worst = 0;
        for_each_group(plain.policy, 2, [&](double, const batch& group) {
            plain(group), step(group);
            worst = std::fmax(worst, gap(plain.policy.ascent, step.policy.ascent));
        });
        CHECK(worst < 1e-14);
    };
    check("policy_gradient_loss", policy_gradient_loss{});
    check("ppo_clip", ppo_clip{});
    check("two_sided_clip", two_sided_clip{});
    check("cispo", cispo{});
    check("is_reinforce", is_reinforce{});
    check("sapo", sapo{});
    check("gspo", gspo{});
    check("gspo_token", gspo_token{});
    check("gmpo", gmpo{});
    check("topr", topr{});
    check("vespo", vespo{});
    check("kl_cov", kl_cov{.fraction = 0.5});  // its second term is even at 0
    check("clip_cov without a choice", clip_cov{.fraction = 0});
    check("clip_cov without a candidate", clip_cov{.fraction = 1, .lowest_covariance = 50, .highest_covariance = 60});
    // The row as one action: n times the mean over its tokens.
    check("luspo", luspo{}, aggregation::sequence_mean);
    check("sequence_clip", sequence_clip{}, aggregation::sequence_mean);
}

TEST_CASE("estimators: clip_cov leaves out candidates, all or some at random", "[training]") {
    const double low = 0.02, high = 0.5;
    // Weight of each token if a share of the candidates is left out; on-policy nothing is clipped.
    const probe policy = policy_of(2);
    const auto kept = [&](const batch& group, double fraction) {
        by_token weight = advantage_of_rows(group), log_prob;
        for (std::size_t i = 0; i < rows(group); ++i) log_prob.push_back(token_log_probs(policy, group.row(i)));
        const double mean_advantage = mean_of(joined(weight)), mean_log_prob = mean_of(joined(log_prob));
        const double n = static_cast<double>(joined(weight).size());
        const by_token covariance = for_tokens(group, [&](std::size_t i, std::size_t t) {
            return (weight[i][t] - mean_advantage) * (log_prob[i][t] - mean_log_prob);
        });
        const auto candidate = [&](std::size_t i, std::size_t t) {
            return covariance[i][t] > low && covariance[i][t] < high;
        };
        double candidates = 0;
        for_tokens(group, [&](std::size_t i, std::size_t t) { return candidates += candidate(i, t); });
        const double dropped = std::fmin(candidates, std::fmax(1, std::floor(fraction * n)));
        return for_tokens(group, [&](std::size_t i, std::size_t t) {
            return weight[i][t] * (candidate(i, t) ? 1 - dropped / candidates : 1);
        });
    };
    const auto step_with = [&](double fraction) {
        return loss_step(clip_cov{.fraction = fraction, .lowest_covariance = low, .highest_covariance = high},
                         aggregation::sequence_sum, pay_outcome, 2);
    };
    const auto expected = [&](double fraction) {
        return expected_gradient(policy, policy, 2, [&](const batch& group) { return kept(group, fraction); });
    };
    CHECK(gap(library_mean(step_with(1), policy, 2).ascent, expected(1)) < 1e-12);
    CHECK(gap(expected(1), exact_gradient<double>(policy, reward_of)) > 0.02);

    // One token: the mean of many draws for each group.
    library_step step = step_with(0.1);
    const double draws = 300;
    sample_mean m{gradient(policy.logits().size(), 0.0), gradient(policy.logits().size(), 0.0)};
    for_each_group(policy, 2, [&](double p, const batch& group) {
        gradient mean(m.mean.size(), 0.0), squares = mean;
        for (int k = 0; k < draws; ++k) {
            step(group);
            for (std::size_t j = 0; j < mean.size(); ++j) {
                const double g = step.policy.ascent[j];
                mean[j] += g / draws, squares[j] += g * g / draws;
            }
        }
        for (std::size_t j = 0; j < mean.size(); ++j) {
            m.mean[j] += p * mean[j];
            m.error[j] += p * p * std::fmax(squares[j] - mean[j] * mean[j], 0) / draws;
        }
    });
    for (double& e : m.error) e = std::sqrt(e);
    meets(m, expected(0.1));
    CHECK(standard_errors(m, expected(1)) > 10);
    CHECK(standard_errors(m, exact_gradient<double>(policy, reward_of)) > 10);
}

TEST_CASE("estimators: on another policy's rows every loss meets the slope of its own definition", "[training]") {
    const probe policy = policy_of(3);
    const gradient exact = exact_gradient<double>(policy, reward_of);
    const auto compare = [&](const char* name, const auto& loss, aggregation mode, auto&& gain_of_row, bool clips) {
        double clipped = 0, differs = 0;
        for (const std::uint64_t seed : {6u, 7u, 9u, 10u, 11u, 12u}) {  // ratios from 0.1 to 8, either sign with each
            INFO(name << ", sampler " << seed);
            const probe sampler = policy_of(3, seed);
            const expected_step mean = library_mean(loss_step(loss, mode, pay_tokens), sampler, 1);
            const gradient own = slope_of(policy, sampler, 1, advantage_to_go, [&](const read_rows& rows_now) {
                const read_row& row = rows_now[0];
                return gain_of_row(row) / (mode == aggregation::sequence_mean ? static_cast<double>(row.size()) : 1.0);
            });
            CHECK(gap(mean.ascent, own) < 1e-8);
            CHECK(length_of(own) > 0.005);
            clipped += mean.clipped, differs = std::fmax(differs, gap(own, exact));
        }
        INFO(name);
        CHECK(differs > 0.02);
        CHECK((clipped > 0.2) == clips);
    };
    const auto by_tokens = [](auto&& one) {
        return [one](const read_row& row) { return row.over_tokens([&](std::size_t t) { return one(row, t); }); };
    };
    const auto both = {aggregation::sequence_sum, aggregation::sequence_mean};
    const auto ppo = [](double r, double a, double low, double high) {
        return std::fmin(r * a, within(r, 1 - low, 1 + high) * a);
    };
    for (const aggregation mode : both) {
        compare("policy_gradient_loss", policy_gradient_loss{}, mode,
                by_tokens([](const read_row& x, std::size_t t) { return x.advantage[t] * x.now[t]; }), false);
        compare("ppo_clip", ppo_clip{}, mode, by_tokens([&](const read_row& x, std::size_t t) {
                    const double l = ppo(x.ratio(t), x.advantage[t], 0.2, 0.28);
                    return x.advantage[t] < 0 ? std::fmax(l, 3 * x.advantage[t]) : l;
                }),
                true);
        compare("ppo_clip, dual clip", ppo_clip{.dual_clip = 1.5}, mode,
                by_tokens([&](const read_row& x, std::size_t t) {
                    const double l = ppo(x.ratio(t), x.advantage[t], 0.2, 0.28);
                    return x.advantage[t] < 0 ? std::fmax(l, 1.5 * x.advantage[t]) : l;
                }),
                true);
        for (const auto& [high, delta] : {std::pair(0.2, 1.1), {0.2, 1.5}, {0.2, 4.0}, {1.5, 1.05}})
            compare("two_sided_clip", two_sided_clip{.clip_high = high, .delta = delta}, mode,
                    by_tokens([high = high, delta = delta](const read_row& x, std::size_t t) {
                        const double r = x.ratio(t), a = x.advantage[t];
                        return std::fmin(std::fmin(r, delta) * a, within(r, 0.8, 1 + high) * a);
                    }),
                    true);
        compare("cispo", cispo{.lowest = 0.5, .highest = 1.3}, mode, by_tokens([](const read_row& x, std::size_t t) {
                    return within(x.frozen_ratio(t), 0.5, 1.3) * x.advantage[t] * x.now[t];
                }),
                true);
        compare("is_reinforce", is_reinforce{.cap = 1.2}, mode, by_tokens([](const read_row& x, std::size_t t) {
                    return std::fmin(x.frozen_ratio(t), 1.2) * x.advantage[t] * x.now[t];
                }),
                true);
        compare("is_reinforce, no cap", is_reinforce{.cap = infinity}, mode,
                by_tokens([](const read_row& x, std::size_t t) { return x.ratio(t) * x.advantage[t]; }), false);
        compare("sapo", sapo{}, mode, by_tokens([](const read_row& x, std::size_t t) {
                    const double tau = x.advantage[t] > 0 ? 1 : 1.05;
                    return x.advantage[t] * 4 / tau / (1 + std::exp(-tau * (x.ratio(t) - 1)));
                }),
                false);
        compare("gspo_token", gspo_token{.clip_low = 0.05, .clip_high = 0.1}, mode,
                by_tokens([&](const read_row& x, std::size_t t) {
                    const double s = std::exp(x.frozen_sum() / static_cast<double>(x.size()));
                    return ppo(s * std::exp(x.now[t] - x.frozen[t]), x.advantage[t], 0.05, 0.1);
                }),
                true);
        compare("topr", topr{}, mode, by_tokens([](const read_row& x, std::size_t t) {
                    const double phi = x.advantage[t] < 0 ? std::fmin(1, std::exp(x.frozen_sum())) : 1;
                    return phi * x.advantage[t] * x.now[t];
                }),
                false);
        compare("vespo", vespo{}, mode, by_tokens([](const read_row& x, std::size_t t) {
                    const double w = std::exp(x.frozen_sum());
                    const double phi = x.advantage[t] < 0 ? std::pow(w, 3) * std::exp(2 * (1 - w))
                                                          : std::pow(w, 2) * std::exp(3 * (1 - w));
                    return phi * x.advantage[t] * x.now[t];
                }),
                false);
        // One decision a row; a row counts as its n tokens.
        compare(
            "gspo", gspo{.clip_low = 0.05, .clip_high = 0.1}, mode,
            [&](const read_row& x) {
                const double n = static_cast<double>(x.size());
                return n * ppo(std::exp(x.sum() / n), x.mean_advantage(), 0.05, 0.1);
            },
            true);
        compare(
            "luspo", luspo{.clip_low = 0.05, .clip_high = 0.1}, mode,
            [&](const read_row& x) {
                const double n = static_cast<double>(x.size());
                return n * n * ppo(std::exp(x.sum() / n), x.mean_advantage(), 0.05, 0.1);
            },
            true);
        compare(
            "sequence_clip", sequence_clip{}, mode,
            [&](const read_row& x) {
                return static_cast<double>(x.size()) * ppo(std::exp(x.sum()), x.mean_advantage(), 0.2, 0.2);
            },
            true);
        compare(
            "gmpo", gmpo{.clip_low = 0.2, .clip_high = 0.3}, mode,
            [&](const read_row& x) {
                const double a = x.mean_advantage(), n = static_cast<double>(x.size());
                const double held = x.over_tokens([&](std::size_t t) {
                    const double d = x.now[t] - x.old[t];
                    return a > 0 ? std::fmin(d, 0.3) : std::fmax(d, -0.2);
                });
                return n * a * std::exp(held / n);
            },
            true);
    }
}

TEST_CASE("estimators: kl_cov and clip_cov on another policy's rows meet the slope of their own definitions",
          "[training]") {
    const probe policy = policy_of(2), sampler = policy_of(2, 6);
    const auto compare = [&](const char* name, const auto& loss, auto&& gain_of) {
        INFO(name);
        const gradient mean =
            library_mean(loss_step(loss, aggregation::sequence_sum, pay_tokens, 2), sampler, 2).ascent;
        const gradient own =
            slope_of(policy, sampler, 2, advantage_to_go, [&](const read_rows& x) { return gain_of(x) / 2; });
        CHECK(gap(mean, own) < 1e-8);
        CHECK(length_of(own) > 0.02);
    };
    struct token {
        double covariance;
        std::size_t row, at;
    };
    const auto covariances = [](const read_rows& x) {
        by_token advantage, log_prob;
        for (const read_row& row : x) advantage.push_back(row.advantage), log_prob.push_back(row.frozen);
        const double a = mean_of(joined(advantage)), l = mean_of(joined(log_prob));
        std::vector<token> all;
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t t = 0; t < x[i].size(); ++t)
                all.push_back({(advantage[i][t] - a) * (log_prob[i][t] - l), i, t});
        return all;
    };
    const auto gain = [](const read_row& x, std::size_t t) { return x.ratio(t) * x.advantage[t]; };

    compare("kl_cov", kl_cov{.fraction = 0.5, .coefficient = 0.3}, [&](const read_rows& x) {
        std::vector<token> all = covariances(x);
        std::stable_sort(all.begin(), all.end(),
                         [](const token& p, const token& q) { return p.covariance > q.covariance; });
        double sum = 0;
        for (std::size_t k = 0; k < all.size(); ++k) {
            const read_row& row = x[all[k].row];
            sum += gain(row, all[k].at);
            if (k < std::max<std::size_t>(1, all.size() / 2))
                sum -= 0.3 * std::abs(row.now[all[k].at] - row.old[all[k].at]);
        }
        return sum;
    });
    const auto clipped = [&](const read_rows& x, bool drops) {
        double sum = 0;
        for (const token& k : covariances(x)) {
            const read_row& row = x[k.row];
            const double a = row.advantage[k.at], r = row.frozen_ratio(k.at);
            const bool free = a > 0 ? r <= 1.3 : r >= 0.75;
            if (drops && free && k.covariance > 0.02 && k.covariance < 0.5) continue;
            sum += std::fmin(gain(row, k.at), within(row.ratio(k.at), 0.75, 1.3) * a);
        }
        return sum;
    };
    clip_cov loss{.clip_low = 0.25, .clip_high = 0.3, .fraction = 1};
    loss.lowest_covariance = 0.02, loss.highest_covariance = 0.5;
    compare("clip_cov", loss, [&](const read_rows& x) { return clipped(x, true); });
    loss.fraction = 0;
    compare("clip_cov, none left out", loss, [&](const read_rows& x) { return clipped(x, false); });
}

TEST_CASE("estimators: importance weights of rows have the exact gradient on another policy's rows", "[training]") {
    const probe policy = policy_of(3), sampler = policy_of(3, 6);
    const gradient exact = exact_gradient<double>(policy, reward_of);
    REQUIRE(gap(exact, exact_gradient<double>(sampler, reward_of)) > 0.05);
    const auto weighted = [](library_step step, std::size_t size, const importance_weights& weights) {
        step.recompute_old = true;
        const probe by = policy_of(step.policy.options().max_length, 6);
        return library_mean(std::move(step), by, size, part{weights}).ascent;
    };
    const importance_weights rows_only{.level = importance_level::sequence, .high = infinity};
    CHECK(gap(weighted(step_of(reinforce{.baseline = reinforce_baseline::none}, pay_outcome, 3), 1, rows_only), exact) <
          1e-12);
    CHECK(gap(weighted(step_of(rloo{.group_size = 2}, pay_outcome, 3), 2, rows_only), exact) < 1e-12);

    // Losses whose weight is the whole row's ratio, without what holds it.
    const auto off_policy = [&](const auto& loss, aggregation mode) {
        return library_mean(loss_step(loss, mode, pay_outcome), sampler, 1).ascent;
    };
    CHECK(gap(off_policy(sequence_clip{.clip_low = 1 - 1e-9, .clip_high = infinity}, aggregation::sequence_mean),
              exact) < 1e-12);
    const vespo no_kernel{.k_positive = 1, .lambda_positive = 1e-14, .k_negative = 1, .lambda_negative = 1e-14};
    CHECK(gap(off_policy(no_kernel, aggregation::sequence_sum), exact) < 1e-12);
}

TEST_CASE("estimators: importance weights of tokens are exact for rows of one token, and meet their own expectation",
          "[training]") {
    const auto step_for = [](std::uint32_t length) {
        return loss_step(policy_gradient_loss{}, aggregation::sequence_sum, pay_outcome, length);
    };
    const auto weighted = [](library_step step, std::size_t size, const importance_weights& weights) {
        step.recompute_old = true;
        const probe by = policy_of(step.policy.options().max_length, 6);
        return library_mean(std::move(step), by, size, part{weights}).ascent;
    };
    const importance_weights unbounded{.high = infinity};
    CHECK(gap(weighted(step_for(1), 1, unbounded), exact_gradient<double>(policy_of(1), reward_of)) < 1e-12);
    for (const double cap : {1e6, infinity}) {
        library_step step = step_for(1);
        step.loss = loss_of(is_reinforce{.cap = cap});
        CHECK(gap(library_mean(step, policy_of(1, 6), 1).ascent, exact_gradient<double>(policy_of(1), reward_of)) <
              1e-12);
    }

    const probe policy = policy_of(3), sampler = policy_of(3, 6);
    const auto compare = [&](const char* name, const importance_weights& weights, auto&& rule) {
        INFO(name);
        const gradient own = expected_gradient(policy, sampler, 2, [&](const batch& group) {
            by_token ratio;
            for (std::size_t i = 0; i < 2; ++i) {
                ratio.push_back(token_log_probs(policy, group.row(i)));
                const std::vector<double> q = token_log_probs(sampler, group.row(i));
                for (std::size_t t = 0; t < q.size(); ++t) ratio[i][t] = std::exp(ratio[i][t] - q[t]);
            }
            by_token weight = rule(std::as_const(ratio));
            const by_token advantage = advantage_of_rows(group);
            for (std::size_t i = 0; i < 2; ++i)
                for (std::size_t t = 0; t < weight[i].size(); ++t) weight[i][t] *= advantage[i][t];
            return weight;
        });
        CHECK(gap(weighted(step_for(3), 2, weights), own) < 1e-12);
        CHECK(gap(own, exact_gradient<double>(policy, reward_of)) > 0.02);
    };
    const auto each = [](auto&& f) {
        return [f](by_token ratio) {
            for (auto& row : ratio)
                for (double& r : row) r = f(r);
            return ratio;
        };
    };
    compare("token", unbounded, each([](double r) { return r; }));
    compare("token, truncated", {.low = 0.7, .high = 1.2}, each([](double r) { return within(r, 0.7, 1.2); }));
    compare("token, masked", {.rule = importance_rule::mask, .low = 0.7, .high = 1.4},
            each([](double r) { return r < 0.7 || r > 1.4 ? 0 : r; }));
    compare("token, normalized", {.high = 1.5, .batch_normalize = true}, [](by_token ratio) {
        for (auto& row : ratio)
            for (double& r : row) r = std::fmin(r, 1.5);
        const double mean = mean_of(joined(ratio));
        for (auto& row : ratio)
            for (double& r : row) r /= mean;
        return ratio;
    });
    const auto of_rows = [](by_token ratio, auto&& f) {
        for (auto& row : ratio) {
            double product = 1;
            for (const double r : row) product *= r;
            row.assign(row.size(), f(product, static_cast<double>(row.size())));
        }
        return ratio;
    };
    compare("sequence, masked", {.level = importance_level::sequence, .rule = importance_rule::mask, .high = 1.5},
            [&](const by_token& ratio) { return of_rows(ratio, [](double w, double) { return w > 1.5 ? 0 : w; }); });
    compare("geometric", {.level = importance_level::geometric, .high = 1.2}, [&](const by_token& ratio) {
        return of_rows(ratio, [](double w, double n) { return std::fmin(std::pow(w, 1 / n), 1.2); });
    });
}

TEST_CASE("estimators: gspo_token has gspo's gradient, row for row, clipped or not", "[training]") {
    const probe sampler = policy_of(3, 6);
    for (const aggregation mode : {aggregation::sequence_mean, aggregation::token_mean}) {
        library_step rows_only = loss_step(gspo{.clip_low = 0.1, .clip_high = 0.15}, mode, pay_outcome);
        library_step tokens = loss_step(gspo_token{.clip_low = 0.1, .clip_high = 0.15}, mode, pay_outcome);
        double worst = 0, clipped = 0, free = 0;
        for_each_group(sampler, 2, [&](double, const batch& group) {
            const policy_update_report report = rows_only(group), other = tokens(group);
            const double held = report.loss.clipped_low + report.loss.clipped_high;
            REQUIRE(held == other.loss.clipped_low + other.loss.clipped_high);
            worst = std::fmax(worst, gap(rows_only.policy.ascent, tokens.policy.ascent));
            clipped += held > 0, free += held < report.loss.tokens;
        });
        CHECK(worst < 1e-14);
        CHECK(clipped > 20);
        CHECK(free > 20);
    }
}

TEST_CASE("estimators: astar_po has the gradient of reward minus beta KL of rows, times 2 beta", "[training]") {
    const double beta = 0.4;
    probe reference = policy_of(3, 9);
    library_step step = loss_step(astar_po{.beta = beta}, aggregation::sequence_mean, pay_outcome);
    step.reference = &reference;
    const auto log_ratio = [&](const probe& p, token_row row) {
        double sum = 0;
        for (const double l : token_log_probs(p, row)) sum += l;
        for (const double l : token_log_probs(reference, row)) sum -= l;
        return sum;
    };
    const gradient own = slope_by_logits(step.policy, [&](const probe& p) {
        return expected_reward<double>(p, [&](token_row row) { return reward_of(row) - beta * log_ratio(p, row); });
    });
    CHECK(gap(library_mean(step, step.policy, 1).ascent, scaled(own, 2 * beta)) < 1e-9);
    CHECK(gap(own, exact_gradient<double>(step.policy, reward_of)) > 0.02);

    // On another policy's rows it is a regression on them.
    const probe sampler = policy_of(3, 6);
    const gradient fit = slope_by_logits(step.policy, [&](const probe& p) {
        return expected_reward<double>(sampler, [&](token_row row) {
            const double error = beta * log_ratio(p, row) - (reward_of(row) - baseline(0));
            return -error * error;
        });
    });
    CHECK(gap(library_mean(step, sampler, 1).ascent, fit) < 1e-9);
}

TEST_CASE("estimators: kl_loss has on average the value and the gradient that its estimators promise", "[training]") {
    const probe policy = policy_of(3), sampler = policy_of(3, 6);
    probe reference = policy_of(3, 9);
    const double beta = 0.7;
    const auto mean = [&](const probe& by, const kl_loss& loss) {
        library_step step = step_of(
            reinforce{}, [](trajectory& t) { t.reward.add_outcome("nothing"); }, 3);
        step.reference = &reference;
        return library_mean(step, by, 1, part{loss});
    };
    // Mean over the rows that `by` says of the sum over tokens of f(log-probs of the policy, of the reference).
    const auto sum_over_states = [&](const probe& by, const probe& p, auto&& f) {
        double sum = 0;
        for_each_history(by, [&](token_row said, double visited) {
            const std::size_t context = context_after(p, said);
            sum += visited * f(exact_log_prob<double>(p, context, 1), exact_log_prob<double>(reference, context, 1));
        });
        return sum;
    };
    using log_probs = std::vector<double>;
    const auto reverse = [](const log_probs& p, const log_probs& q) {
        double kl = 0;
        for (std::size_t a = 0; a < p.size(); ++a) kl += std::exp(p[a]) * (p[a] - q[a]);
        return kl;
    };
    const auto forward = [&](const log_probs& p, const log_probs& q) { return reverse(q, p); };
    // States are visited as often as before: the term does not see that the policy changes where it gets to.
    const auto slope_in_states_of = [&](const probe& by, auto&& f) {
        return slope_by_logits(policy, [&](const probe& p) { return sum_over_states(by, p, f); });
    };
    const gradient none(policy.logits().size(), 0.0), to_reference = slope_in_states_of(policy, reverse),
                                                      from_reference = slope_in_states_of(policy, forward);
    CHECK(gap(to_reference, from_reference) > 0.05);
    const gradient of_rows = slope_by_logits(policy, [&](const probe& p) { return sum_over_states(p, p, reverse); });
    CHECK(gap(to_reference, of_rows) > 0.02);  // of the rows' KL: for that it is paid in the reward
    const double kl = sum_over_states(policy, policy, reverse);

    const auto check = [&](kl_estimator estimator, double value, const gradient& slope) {
        INFO(static_cast<int>(estimator));
        const expected_step m = mean(policy, {.beta = beta, .estimator = estimator});
        CHECK(gap(m.regularizer, value) < 1e-12);
        CHECK(gap(m.ascent, scaled(slope, -beta)) < 1e-9);
    };
    const auto each_token = [](auto&& f) {
        return [f](const log_probs& p, const log_probs& q) {
            double sum = 0;
            for (std::size_t a = 0; a < p.size(); ++a) sum += std::exp(p[a]) * f(p[a] - q[a]);
            return sum;
        };
    };
    const double half_square = sum_over_states(policy, policy, each_token([](double d) { return d * d / 2; }));
    const double size = sum_over_states(policy, policy, each_token([](double d) { return std::abs(d); }));
    gradient sign(none);
    for_each_history(policy, [&](token_row said, double visited) {
        const std::size_t context = context_after(policy, said);
        const log_probs p = exact_log_prob<double>(policy, context, 1),
                        q = exact_log_prob<double>(reference, context, 1);
        for (std::size_t a = 0; a < p.size(); ++a)
            for (std::size_t v = 0; v < p.size(); ++v)
                sign[context * p.size() + v] +=
                    visited * std::exp(p[a]) * (p[a] > q[a] ? 1 : -1) * ((v == a) - std::exp(p[v]));
    });
    check(kl_estimator::k1, kl, none);
    check(kl_estimator::k2, half_square, to_reference);
    check(kl_estimator::k3, kl, from_reference);
    check(kl_estimator::abs, size, sign);
    check(kl_estimator::k1_plus, kl, to_reference);
    check(kl_estimator::k3_plus, kl, to_reference);
    // Of the values k2's is biased.
    CHECK(gap(half_square, kl) > 0.02);

    // On an older policy's rows: weighed k3 is unbiased in its states, value and gradient; k3 itself is neither.
    const kl_loss weighed{.beta = beta, .estimator = kl_estimator::k3, .importance_weighted = true};
    const double kl_there = sum_over_states(sampler, policy, reverse);
    const expected_step m = mean(sampler, weighed);
    CHECK(gap(m.regularizer, kl_there) < 1e-12);
    CHECK(gap(m.ascent, scaled(slope_in_states_of(sampler, reverse), -beta)) < 1e-9);
    const expected_step unweighed = mean(sampler, {.beta = beta, .estimator = kl_estimator::k3});
    CHECK(gap(unweighed.regularizer, kl_there) > 0.02);
    CHECK(gap(unweighed.ascent, m.ascent) > 0.02);
}
