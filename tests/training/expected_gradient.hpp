#pragma once
/// The gradient that the library takes, averaged over everything that a small policy can say, and oracles for it.
/// Policies of three tokens and two or three positions: all rows, and all groups of a few rows, can be enumerated.
#include <functional>

#include "support/catch.hpp"
#include "training/small_language.hpp"

namespace rlgaf_test {

using batch = rlgaf::token_batch<double>;
using gradient = std::vector<double>;               ///< by the logits
using by_token = std::vector<std::vector<double>>;  ///< a number for each token of each row
using token_row = std::span<const std::int32_t>;

/// A policy that takes no steps but keeps the gradient that it would step along, and may be told what it samples.
struct probe : rlgaf::ngram_policy<double> {
    using rlgaf::ngram_policy<double>::ngram_policy;
    gradient ascent;  ///< the loss's gradient with its sign turned
    batch scripted;

    batch rollout(const rlgaf::no_prompts& none, std::span<const std::uint64_t> id, const rlgaf::rollout_options& o,
                  rlgaf::rng_key key) {
        return rows(scripted) > 0 ? scripted : rlgaf::ngram_policy<double>::rollout(none, id, o, key);
    }
    rlgaf::step_report step(const rlgaf::step_options&) {
        const auto g = parameters()[0].gradients;
        ascent.assign(g.begin(), g.end());
        for (double& x : ascent) x = -x;
        discard();
        return {.grad_norm = 1, .applied = true};
    }
};

inline probe policy_of(std::uint32_t max_length, std::uint64_t seed = 5) {
    return probe(
        {.shape = {.vocabulary = 3, .order = 2}, .max_length = max_length, .initial_spread = 0.7, .seed = seed});
}

/// A reward without structure and of one sign, so that baselines matter: 1.3 at the end and something for each token.
inline double token_reward(token_row row, std::size_t t) {
    return std::sin((static_cast<double>(t) + 1) * (row[t] + 1.0));
}
inline double reward_of(token_row row) {
    double r = 1.3;
    for (std::size_t t = 0; t < row.size(); ++t) r += token_reward(row, t);
    return r;
}

inline double length_of(const gradient& g) {
    double squares = 0;
    for (const double x : g) squares += x * x;
    return std::sqrt(squares);
}
inline gradient scaled(gradient g, double factor) {
    for (double& x : g) x *= factor;
    return g;
}
inline double mean_of(const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v;
    return sum / static_cast<double>(x.size());
}
/// With Bessel.
inline double deviation_of(const std::vector<double>& x) {
    double squares = 0;
    for (const double v : x) squares += (v - mean_of(x)) * (v - mean_of(x));
    return std::sqrt(squares / static_cast<double>(x.size() - 1));
}

/// A mean that was sampled, with its standard error, an element for each logit.
struct sample_mean {
    gradient mean, error;
    double largest_error() const { return *std::max_element(error.begin(), error.end()); }
};
/// Largest distance in standard errors. An element that never varies must be exact.
inline double standard_errors(const sample_mean& m, const gradient& expected) {
    double worst = m.mean.size() == expected.size() ? 0 : infinity;
    for (std::size_t j = 0; j < expected.size(); ++j) {
        const double d = std::abs(m.mean[j] - expected[j]);
        worst = std::fmax(worst, d < 1e-12 ? 0 : d / m.error[j]);
    }
    return worst;
}
/// Twelve elements and a bound of 4: a right estimator fails once in a thousand seeds, and the seed is fixed. A wrong
/// one must show: the bound is a small part of the gradient.
inline void meets(const sample_mean& m, const gradient& expected) {
    INFO("gradient " << length_of(expected) << ", largest standard error " << m.largest_error());
    CHECK(standard_errors(m, expected) < 4);
    CHECK(m.largest_error() < 0.03 * length_of(expected));
}

// --- Everything that a policy can say -------------------------------------------------------------------------------

/// All rows with their probabilities, and the log-probs that the policy itself gives them, to the bit.
inline enumerated<double> all_rows(probe policy) {
    enumerated<double> all = enumerate<double>(policy);
    const auto log_prob = rlgaf::ragged_view<double>::packed(all.rows.log_prob.data(), all.rows.offset);
    policy.evaluate(batch(all.rows), {.log_prob = log_prob});
    return all;
}

/// All ordered groups of `size` rows that the policy can say; f(probability, rows).
template <class F>
void for_each_group(const probe& policy, std::size_t size, F&& f) {
    const enumerated<double> all = all_rows(policy);
    std::vector<std::size_t> pick(size, 0);
    const std::size_t n = all.probability.size();
    double total = 0;
    for (bool more = true; more;) {
        double p = 1;
        for (const std::size_t i : pick) p *= all.probability[i];
        f(p, select(all.rows, pick));
        total += p;
        std::size_t k = 0;
        while (k < size && ++pick[k] == n) pick[k++] = 0;
        more = k < size;
    }
    REQUIRE(total == Approx(1).epsilon(1e-12));
}

/// Everything that may have been said when the policy acts: f(tokens so far, their probability).
template <class F>
void for_each_history(const probe& policy, F&& f) {
    std::vector<std::int32_t> said;
    const auto extend = [&](const auto& self, std::size_t context, double probability) -> void {
        if ((!said.empty() && said.back() == policy.options().end_token) || said.size() == policy.options().max_length)
            return;
        f(token_row(said), probability);
        const std::vector<double> next = exact_log_prob<double>(policy, context, 1);
        for (std::size_t v = 0; v < next.size(); ++v) {
            said.push_back(static_cast<std::int32_t>(v));
            self(self, policy.contexts().after(context, said.back()), probability * std::exp(next[v]));
            said.pop_back();
        }
    };
    extend(extend, policy.contexts().start(), 1.0);
}
inline std::size_t context_after(const probe& policy, token_row said) {
    std::size_t context = policy.contexts().start();
    for (const std::int32_t token : said) context = policy.contexts().after(context, token);
    return context;
}

inline std::vector<double> token_log_probs(const probe& policy, token_row row) {
    std::vector<double> log_prob;
    std::size_t context = policy.contexts().start();
    for (const std::int32_t token : row) {
        log_prob.push_back(exact_log_prob<double>(policy, context, 1)[static_cast<std::size_t>(token)]);
        context = policy.contexts().after(context, token);
    }
    return log_prob;
}

/// What the policy earns on average after it has said that.
template <class Reward>
double value_after(const probe& policy, token_row said, Reward&& reward) {
    const enumerated<double> all = enumerate<double>(policy);
    double sum = 0, mass = 0;
    for (std::size_t i = 0; i < all.probability.size(); ++i) {
        const token_row row = all.rows.row(i);
        if (row.size() < said.size() || !std::equal(said.begin(), said.end(), row.begin())) continue;
        sum += all.probability[i] * reward(row);
        mass += all.probability[i];
    }
    return sum / mass;
}

/// Derivative of a number that depends on the policy, by finite differences: no formula for it is trusted.
template <class F>
gradient slope_by_logits(probe policy, F&& number_of) {
    gradient g(policy.logits().size());
    for (std::size_t j = 0; j < g.size(); ++j)
        g[j] = slope([&] { return number_of(std::as_const(policy)); }, policy.logits().data()[j]);
    return g;
}

/// Mean over all groups that `sampler` can say of the mean over rows of sum over tokens of
/// weights_of(group)[row][token] d log pi(token), pi the policy's.
template <class F>
gradient expected_gradient(const probe& policy, const probe& sampler, std::size_t size, F&& weights_of) {
    gradient sum(policy.logits().size(), 0.0);
    for_each_group(sampler, size, [&](double p, const batch& group) {
        const by_token weight = weights_of(group);
        const gradient g = log_likelihood_gradient<double>(
            policy, group, [&](std::size_t i, std::size_t t) { return weight[i][t] / static_cast<double>(size); });
        for (std::size_t j = 0; j < g.size(); ++j) sum[j] += p * g[j];
    });
    return sum;
}

// --- What the library makes of it -----------------------------------------------------------------------------------

using advantage_call = std::function<rlgaf::advantage_stats(const rlgaf::advantage_terms<double>&, rlgaf::workspace&,
                                                            const rlgaf::ragged_view<double>&)>;
using loss_call = std::function<rlgaf::policy_loss_stats(const rlgaf::policy_terms<double>&, std::span<const double>,
                                                         const rlgaf::ragged_view<double>&)>;

/// A component as a plain function, so that update_policy is compiled once for all of them.
template <class C>
advantage_call advantage_of(C estimator) {
    return [p = rlgaf::part<C>(estimator)](const auto& terms, rlgaf::workspace& work, const auto& out) mutable {
        return p(terms, work, out);
    };
}
template <class C>
loss_call loss_of(C loss) {
    return [p = rlgaf::part<C>(loss), work = rlgaf::workspace{}](const auto& terms, std::span<const double> weight,
                                                                 const auto& d) mutable {
        if constexpr (rlgaf::detail::takes<C, const rlgaf::policy_terms<double>&, std::span<const double>,
                                           const rlgaf::ragged_view<double>&, rlgaf::workspace&>())
            return p(terms, weight, d, work);
        else
            return p(terms, weight, d);
    };
}

/// One optimiser step of the library on rows that it is given: roll_out, evaluate_reference, update_policy.
struct library_step {
    probe policy;
    advantage_call advantage;
    loss_call loss = loss_of(rlgaf::policy_gradient_loss{});
    std::function<void(rlgaf::trajectories<probe>&)> earn;  ///< in the place of score and shape
    std::function<void(rlgaf::advantage_terms<double>&, const batch&)> complete = [](auto&, const batch&) {};
    std::size_t group_size = 0;
    rlgaf::aggregation aggregation = rlgaf::aggregation::sequence_sum;
    bool recompute_old = false;
    probe* reference = nullptr;
    rlgaf::trajectories<probe> t{};

    template <class... More>
    rlgaf::policy_update_report operator()(const batch& given, rlgaf::part<More>&... more) {
        policy.scripted = given;
        roll_out(policy, rlgaf::no_prompts{},
                 {.rows = rows(given), .group_size = group_size, .recompute_old = recompute_old}, {}, t);
        if (reference) evaluate_reference(*reference, t);
        earn(t);
        policy.ascent.assign(policy.logits().size(), 0.0);  // what stays if there is nothing to step along
        rlgaf::part estimator{rlgaf::as_advantage(
            [this](rlgaf::advantage_terms<double> terms, rlgaf::workspace& work, const rlgaf::ragged_view<double>& a) {
                complete(terms, t.batch);
                return advantage(terms, work, a);
            })};
        rlgaf::part objective{
            rlgaf::as_policy_loss([this](const rlgaf::policy_terms<double>& terms, std::span<const double> weight,
                                         const rlgaf::ragged_view<double>& d) { return loss(terms, weight, d); })};
        return update_policy(policy, t, {.aggregation = {.mode = aggregation}}, {}, estimator, objective, more...);
    }
};

/// The mean of a step over all groups of rows that `sampler` can say. The rows' log-probs are the sampler's.
struct expected_step {
    gradient ascent;
    double regularizer = 0;  ///< regularizer_stats::value
    double clipped = 0;      ///< tokens
};
template <class... More>
expected_step library_mean(library_step step, const probe& sampler, std::size_t size, rlgaf::part<More>... more) {
    expected_step mean{.ascent = gradient(step.policy.logits().size(), 0.0)};
    for_each_group(sampler, size, [&](double p, const batch& group) {
        const rlgaf::policy_update_report report = step(group, more...);
        for (std::size_t j = 0; j < mean.ascent.size(); ++j) mean.ascent[j] += p * step.policy.ascent[j];
        mean.regularizer += p * report.regularizer.value;
        mean.clipped += p * (report.loss.clipped_low + report.loss.clipped_high + report.loss.clipped_dual);
    });
    return mean;
}

}  // namespace rlgaf_test
