#include "rlgaf/training/token_weights.hpp"
#include "support/catch.hpp"
#include "training/small_language.hpp"

/// Components of role::token_factor in the trainer.
using namespace rlgaf;
using namespace rlgaf_test;

namespace {
/// Drops every token, once a round or before every step; counts how often it was asked.
struct drop_all {
    using role = role::token_factor;
    int* calls;
    void check() const {}
    template <class T>
    selection_stats operator()(const factor_terms<T>&, workspace&, const ragged_view<T>& factor) const {
        ++*calls;
        for (std::size_t b = 0; b < factor.rows(); ++b)
            for (T& f : factor.row(b)) f = 0;
        return {};
    }
};
struct drop_all_each_step : drop_all {
    static constexpr bool every_step = true;
};

adversarial_options two_epochs(std::size_t rounds) {
    adversarial_options o = short_run(rounds, 0.5);
    o.policy.epochs = 2;
    o.policy.minibatches = 2;
    return o;
}

template <class... Components>
std::vector<double> trained(const adversarial_options& options, Components... components) {
    players<double> p;
    adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}, ppo_clip{}, components...};
    trainer.run(options);
    return parameters_of(p.policy);
}
}  // namespace

TEST_CASE("A token factor acts once a round or before every step, as it asks for") {
    players<double> untouched;
    int once = 0, each = 0;
    REQUIRE(trained(two_epochs(3), drop_all{&once}) == parameters_of(untouched.policy));
    REQUIRE(trained(two_epochs(3), drop_all_each_step{{&each}}) == parameters_of(untouched.policy));
    REQUIRE(once == 3);
    REQUIRE(each == 3 * 2 * 2);
}

TEST_CASE("KL acts on tokens whose policy term is dropped") {
    players<double> untouched;
    auto other = small_policy();
    other.initial_spread = 1;
    ngram_policy<double> reference(other);
    int calls = 0;
    REQUIRE(trained(two_epochs(1), drop_all{&calls}, kl_loss{.beta = 1}, frozen_reference(reference)) !=
            parameters_of(untouched.policy));
    // Without another reference there is nothing to be pulled to.
    REQUIRE(trained(two_epochs(1), drop_all{&calls}, kl_loss{.beta = 1}) == parameters_of(untouched.policy));
}

TEST_CASE("Importance weights, masks and selections of the library run in the trainer") {
    adversarial_options o = two_epochs(2);
    o.recompute_old = true;
    const std::vector<double> plain = trained(o);
    // Sampler and trainer agree here, so that weights are 1 but for rounding and nothing is dropped.
    REQUIRE(relative_gap(plain, trained(o, importance_weights{})) < 1e-9);
    REQUIRE(relative_gap(plain, trained(o, rejection{})) < 1e-9);
    REQUIRE(relative_gap(plain, trained(o, off_policy_mask{.threshold = 100})) < 1e-9);
    o.sampling.top_k = 2;  // now they do not
    REQUIRE(relative_gap(trained(o), trained(o, importance_weights{.rule = importance_rule::mask, .low = 0.9})) > 1e-6);
}

TEST_CASE("What drops nothing keeps the weights that truncated sampling needs") {
    adversarial_options o = two_epochs(2);
    o.recompute_old = true;
    o.sampling.top_k = 2;
    const std::vector<double> plain = trained(o);
    REQUIRE(relative_gap(plain, trained(o, off_policy_mask{.threshold = 1e6})) < 1e-12);
    REQUIRE(relative_gap(plain, trained(o, rejection{.low = 0, .high = 1e30})) < 1e-12);
    REQUIRE(relative_gap(plain, trained(o, importance_weights{.high = o.importance_cap})) < 1e-12);
}

TEST_CASE("A comparison with the sampler wants old log-probs of the trainer's own") {
    const auto message = [](auto component) {
        return message_of<option_error>([&] { trained(two_epochs(1), component); });
    };
    const std::string expected =
        "rlgaf::update_policy: recompute_old: expected true with a component that compares the policy with its sampler "
        "(else both are the same numbers), got false";
    REQUIRE(message(importance_weights{}) == expected);
    REQUIRE(message(rejection{}) == expected);
    REQUIRE(message(off_policy_mask{}) == "nothing thrown");
}

TEST_CASE("An estimator that weighs by itself is not weighed again") {
    using policy_type = ngram_policy<double>;
    policy_type policy(small_policy());
    trajectories<policy_type> t;
    roll_out(policy, {}, {.rows = 8, .group_size = 1, .sampling = {.top_k = 2}, .recompute_old = true}, {1, 0}, t);
    REQUIRE(t.has_token_factor);
    t.reward.begin(lengths(t.batch));
    t.reward.add_outcome("one")[0] = 1;
    t.value.assign(lengths(t.batch));
    t.has_value = true;
    part advantage{vtrace{}};
    part loss{policy_gradient_loss{}};
    update_policy(policy, t, {}, {1, 0}, advantage, loss);
    REQUIRE_FALSE(t.has_token_factor);
    part other{grpo{.group_size = 0}};
    update_policy(policy, t, {}, {1, 0}, other, loss);
    REQUIRE(t.returns.flat().empty());  // it has none, and the critic must not learn zeros
}

TEST_CASE("Losses that select among the tokens of a step get the scratch that they need") {
    players<double> untouched;
    const auto with = [](auto loss) {
        players<double> p;
        adversarial_trainer trainer{p.policy, p.discriminator, p.experts, grpo{.group_size = 4}, loss};
        trainer.run(two_epochs(2));
        return parameters_of(p.policy);
    };
    for (const auto& moved : {with(kl_cov{}), with(clip_cov{}), with(gspo{}), with(vespo{}), with(cispo{})}) {
        REQUIRE(finite(moved));
        REQUIRE(moved != parameters_of(untouched.policy));
    }
}
