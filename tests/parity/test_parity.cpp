// The library against its peers' own code: reference.json, which make_reference.py wrote (versions are in the file).
// Where the two agree they agree to 1e-10; a larger tolerance stands in the entry with its reason. Where they are not
// meant to agree the entry says `differs`, and a test case below states what holds instead: see differences.md.
#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "rlgaf/math/aggregation.hpp"
#include "rlgaf/math/categorical.hpp"
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/policy_gradient/advantage/astar_value.hpp"
#include "rlgaf/policy_gradient/advantage/gae.hpp"
#include "rlgaf/policy_gradient/advantage/gdpo.hpp"
#include "rlgaf/policy_gradient/advantage/gpg.hpp"
#include "rlgaf/policy_gradient/advantage/grpo.hpp"
#include "rlgaf/policy_gradient/advantage/max_second.hpp"
#include "rlgaf/policy_gradient/advantage/opo.hpp"
#include "rlgaf/policy_gradient/advantage/optimal_token_baseline.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce.hpp"
#include "rlgaf/policy_gradient/advantage/reinforce_plus_plus.hpp"
#include "rlgaf/policy_gradient/advantage/remax.hpp"
#include "rlgaf/policy_gradient/advantage/rloo.hpp"
#include "rlgaf/policy_gradient/advantage/vtrace.hpp"
#include "rlgaf/policy_gradient/entropy.hpp"
#include "rlgaf/policy_gradient/importance.hpp"
#include "rlgaf/policy_gradient/kl.hpp"
#include "rlgaf/policy_gradient/loss/astar_po.hpp"
#include "rlgaf/policy_gradient/loss/cispo.hpp"
#include "rlgaf/policy_gradient/loss/clip_cov.hpp"
#include "rlgaf/policy_gradient/loss/gmpo.hpp"
#include "rlgaf/policy_gradient/loss/gspo.hpp"
#include "rlgaf/policy_gradient/loss/gspo_token.hpp"
#include "rlgaf/policy_gradient/loss/is_reinforce.hpp"
#include "rlgaf/policy_gradient/loss/kl_cov.hpp"
#include "rlgaf/policy_gradient/loss/luspo.hpp"
#include "rlgaf/policy_gradient/loss/policy_gradient_loss.hpp"
#include "rlgaf/policy_gradient/loss/ppo_clip.hpp"
#include "rlgaf/policy_gradient/loss/sapo.hpp"
#include "rlgaf/policy_gradient/loss/sequence_clip.hpp"
#include "rlgaf/policy_gradient/loss/two_sided_clip.hpp"
#include "rlgaf/policy_gradient/loss/vespo.hpp"
#include "rlgaf/policy_gradient/rejection.hpp"
#include "rlgaf/policy_gradient/token_selection.hpp"
#include "rlgaf/policy_gradient/value.hpp"
#include "rlgaf/preference/aot.hpp"
#include "rlgaf/preference/dpo.hpp"
#include "rlgaf/preference/reward_model.hpp"
#include "rlgaf/preference/sft.hpp"
#include "support/policy_loss_checks.hpp"

using namespace rlgaf_test;
using json = nlohmann::json;

namespace {

// --- Reading ---------------------------------------------------------------------------------------------------------

const json& reference() {
    static const json file = [] {
        std::ifstream in(RLGAF_SOURCE_DIR "/tests/parity/reference.json");
        REQUIRE(in);
        return json::parse(in);
    }();
    return file;
}
std::string text(const json& entry, const char* field) { return entry.value(field, std::string{}); }
const json& batch_of(const json& entry) { return reference()["cases"][text(entry, "case")]; }

std::vector<double> numbers(const json& list) {
    std::vector<double> out;
    for (const json& v : list) out.push_back(v.is_null() ? not_a_number : v.get<double>());
    return out;
}
table rows_of(const json& list) {
    table out;
    for (const json& row : list) out.push_back(numbers(row));
    return out;
}
/// An array of the entry's batch; empty where the batch has none.
table array(const json& entry, const std::string& name) {
    const json& batch = batch_of(entry);
    return batch.contains(name) ? rows_of(batch[name]) : table{};
}
std::vector<double> tokens_of_rows(const table& mask) {
    std::vector<double> n;
    for (const auto& row : mask) {
        n.push_back(0);
        for (const double m : row) n.back() += m;
    }
    return n;
}

/// |a - b| relative to b; to 1e-3 where b is smaller.
double apart(double a, double b) { return gap(a, b) / std::fmax(std::abs(b), 1e-3); }
template <class A>
double apart(const std::vector<A>& a, const std::vector<A>& b) {
    if (a.size() != b.size()) return infinity;
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::fmax(worst, apart(a[i], b[i]));
    return worst;
}
double tolerance(const json& entry) { return entry.value("tolerance", 1e-10); }

template <class Enum>
Enum choice(const json& options, const char* field, const std::map<std::string, Enum>& words) {
    return words.at(options.at(field).get<std::string>());
}

// --- What is called for an entry ---------------------------------------------------------------------------------------

std::vector<double> row_weights(const json& entry, const table& mask) {
    const json aggregate = entry["aggregate"];
    using enum rlgaf::aggregation;
    const rlgaf::aggregate weigh{.mode = choice<rlgaf::aggregation>(aggregate, "mode",
                                                                    {{"token_mean", token_mean},
                                                                     {"sequence_mean", sequence_mean},
                                                                     {"sequence_sum", sequence_sum},
                                                                     {"constant_length", constant_length},
                                                                     {"sum", rlgaf::aggregation::sum}}),
                                 .constant_length = aggregate.value("constant_length", 0.0)};
    std::vector<std::uint32_t> count;
    for (const double n : tokens_of_rows(mask)) count.push_back(static_cast<std::uint32_t>(n));
    std::vector<double> weight(count.size());
    rlgaf::workspace work;
    weigh(count, {}, work, weight);
    return weight;
}

policy_case policy_case_of(const json& entry) {
    policy_case c{.log_prob = array(entry, "log_prob"),
                  .old_log_prob = array(entry, "old_log_prob"),
                  .advantage = array(entry, text(entry, "advantage")),
                  .reference_log_prob = array(entry, "reference_log_prob"),
                  .entropy = array(entry, "entropy"),
                  .mask = array(entry, "mask")};
    if (entry.value("factor", false)) c.token_factor = array(entry, "token_factor");
    c.weight = row_weights(entry, c.mask);
    return c;
}

using policy_call = std::function<policy_result(const json& options, const policy_case&, layout)>;
/// make(options) -> a loss; losses that want memory or scratch get it.
template <class Make>
policy_call policy(Make make) {
    return [=](const json& options, const policy_case& c, layout how) {
        const auto loss = make(options);
        const auto call = [&](const auto& terms, std::span<const double> weight, const auto& gradient) {
            rlgaf::workspace work;
            rlgaf::state_of<decltype(make(options))> memory;
            if constexpr (requires { loss(terms, weight, gradient); })
                return loss(terms, weight, gradient);
            else if constexpr (requires { loss(terms, weight, gradient, work); })
                return loss(terms, weight, gradient, work);
            else
                return loss(memory, terms, weight, gradient, work);
        };
        return run<double>(call, c, how);
    };
}
/// sft with the call of a policy loss.
struct sft_call {
    rlgaf::sft kind;
    template <class T>
    auto operator()(const rlgaf::policy_terms<T>& terms, std::span<const double> weight,
                    const rlgaf::ragged_view<T>& gradient) const {
        return kind(terms.log_prob, terms.mask, weight, gradient);
    }
};

const std::map<std::string, policy_call>& policy_losses() {
    using namespace rlgaf;
    static const std::map<std::string, policy_call> all{
        {"ppo_clip", policy([](const json& o) {
             return ppo_clip{.clip_low = o["clip_low"], .clip_high = o["clip_high"], .dual_clip = o["dual_clip"]};
         })},
        {"two_sided_clip", policy([](const json& o) {
             return two_sided_clip{.clip_low = o["clip_low"], .clip_high = o["clip_high"], .delta = o["delta"]};
         })},
        {"policy_gradient_loss", policy([](const json&) { return policy_gradient_loss{}; })},
        {"is_reinforce", policy([](const json& o) { return is_reinforce{.cap = o["cap"]}; })},
        {"cispo", policy([](const json& o) { return cispo{.lowest = o["lowest"], .highest = o["highest"]}; })},
        {"sapo", policy([](const json& o) {
             return sapo{.tau_positive = o["tau_positive"], .tau_negative = o["tau_negative"]};
         })},
        {"gspo", policy([](const json& o) { return gspo{.clip_low = o["clip_low"], .clip_high = o["clip_high"]}; })},
        {"gspo_token",
         policy([](const json& o) { return gspo_token{.clip_low = o["clip_low"], .clip_high = o["clip_high"]}; })},
        {"luspo", policy([](const json& o) { return luspo{.clip_low = o["clip_low"], .clip_high = o["clip_high"]}; })},
        {"sequence_clip",
         policy([](const json& o) { return sequence_clip{.clip_low = o["clip_low"], .clip_high = o["clip_high"]}; })},
        {"gmpo", policy([](const json& o) { return gmpo{.clip_low = o["clip_low"], .clip_high = o["clip_high"]}; })},
        {"vespo", policy([](const json& o) {
             return vespo{.k_positive = o["k_positive"],
                          .lambda_positive = o["lambda_positive"],
                          .k_negative = o["k_negative"],
                          .lambda_negative = o["lambda_negative"]};
         })},
        {"astar_po", policy([](const json& o) { return astar_po{.beta = o["beta"]}; })},
        {"kl_cov",
         policy([](const json& o) { return kl_cov{.fraction = o["fraction"], .coefficient = o["coefficient"]}; })},
        {"clip_cov", policy([](const json& o) {
             return clip_cov{.clip_low = o["clip_low"],
                             .clip_high = o["clip_high"],
                             .fraction = o["fraction"],
                             .lowest_covariance = o["lowest"],
                             .highest_covariance = o["highest"]};
         })},
        {"kl_loss", policy([](const json& o) {
             return kl_loss{.beta = o["beta"],
                            .estimator = choice<kl_estimator>(o, "estimator",
                                                              {{"k1", kl_estimator::k1},
                                                               {"k2", kl_estimator::k2},
                                                               {"k3", kl_estimator::k3},
                                                               {"abs", kl_estimator::abs},
                                                               {"k1_plus", kl_estimator::k1_plus},
                                                               {"k3_plus", kl_estimator::k3_plus}}),
                            .importance_weighted = o.value("importance_weighted", false)};
         })},
        {"entropy_bonus", policy([](const json& o) { return entropy_bonus{.coefficient = o["coefficient"]}; })},
        {"sft", policy([](const json& o) {
             return sft_call{{.kind = choice<sft_kind>(o, "kind", {{"nll", sft_kind::nll}, {"dft", sft_kind::dft}})}};
         })},
    };
    return all;
}
policy_result policy_values(const json& entry, layout how = layout::packed) {
    return policy_losses().at(text(entry, "component"))(entry["options"], policy_case_of(entry), how);
}

struct advantage_values {
    table advantage, returns;
};
/// Calls an estimator on the entry's batch, in both layouts.
template <class Estimator>
advantage_values estimate(const Estimator& estimator, const json& entry) {
    const json& batch = batch_of(entry);
    const table mask = array(entry, "mask"), log_prob = array(entry, "log_prob"),
                squares = array(entry, "sum_pi_squared"), outcome = array(entry, "outcome");
    const table norm =
        table_like(squares, [&](auto b, auto t) { return 1 - 2 * std::exp(log_prob[b][t]) + squares[b][t]; });
    const std::vector<std::uint32_t> group = batch["group"];
    const std::vector<double> greedy = numbers(batch["greedy_reward"]);
    std::vector<double> bootstrap;
    if (entry.value("with_bootstrap", false)) bootstrap = numbers(batch["bootstrap"]);
    std::vector<rlgaf::outcome_reward> reward;
    for (const auto& r : outcome) reward.push_back({"reward", r});

    advantage_values first;
    for (const layout how : layouts) {
        ragged<double> token(entry.value("with_token_reward", false) ? array(entry, "token_reward") : table{}, how,
                             not_a_number),
            value(array(entry, "value"), how, not_a_number), now(log_prob, how, not_a_number),
            behaviour(array(entry, "behaviour_log_prob"), how, not_a_number), score_norm(norm, how, not_a_number),
            advantage(zeros(mask), how, 7), returns(zeros(mask), how, 7);
        ragged<std::uint8_t> inside(mask, how, 1);
        const rlgaf::advantage_terms<double> terms{
            .reward = {reward, token.view(), bootstrap},
            .group = {group, *std::max_element(group.begin(), group.end()) + std::size_t{1}},
            .mask = inside.view(),
            .value = value.view(),
            .log_prob = now.view(),
            .behaviour_log_prob = behaviour.view(),
            .score_norm = score_norm.view(),
            .greedy_reward = greedy};
        rlgaf::workspace work;
        rlgaf::state_of<Estimator> memory;
        if constexpr (requires { estimator(terms, work, advantage.view(), returns.view()); })
            estimator(terms, work, advantage.view(), returns.view());
        else
            rlgaf::call(estimator, memory, terms, work, advantage.view());
        const advantage_values now_values{advantage.rows(), returns.rows()};
        if (how == layouts[0]) first = now_values;
        REQUIRE(same_bits(now_values.advantage, first.advantage));
        REQUIRE(same_bits(now_values.returns, first.returns));
    }
    return first;
}

using advantage_call = std::function<advantage_values(const json& entry)>;
template <class Make>
advantage_call advantage(Make make) {
    return [=](const json& entry) { return estimate(make(entry["options"]), entry); };
}
rlgaf::variance_kind variance_of(const json& options) {
    return options.value("variance", std::string("bessel")) == "biased" ? rlgaf::variance_kind::biased
                                                                        : rlgaf::variance_kind::bessel;
}

const std::map<std::string, advantage_call>& estimators() {
    using namespace rlgaf;
    static const std::map<std::string, advantage_call> all{
        {"grpo", advantage([](const json& o) {
             return grpo{
                 .scale = choice<reward_scale>(
                     o, "scale",
                     {{"group", reward_scale::group}, {"batch", reward_scale::batch}, {"none", reward_scale::none}}),
                 .epsilon = o["epsilon"]};
         })},
        {"rloo", advantage([](const json&) { return rloo{}; })},
        {"reinforce", advantage([](const json&) { return reinforce{}; })},
        {"reinforce_plus_plus", advantage([](const json& o) {
             return reinforce_plus_plus{.group_baseline = o.value("group_baseline", false),
                                        .discount = o.value("discount", 1.0),
                                        .variance = variance_of(o),
                                        .group_size = 0};
         })},
        {"gdpo", advantage([](const json& o) {
             return gdpo{.epsilon = o["epsilon"], .weight = o.value("weights", std::vector<double>{})};
         })},
        {"gpg", advantage([](const json& o) {
             return gpg{.rescale = choice<gpg_rescale>(o, "rescale",
                                                       {{"nonzero_rewards", gpg_rescale::nonzero_rewards},
                                                        {"informative_rows", gpg_rescale::informative_rows}})};
         })},
        {"opo", advantage([](const json&) { return opo{}; })},
        {"remax", advantage([](const json&) { return remax{}; })},
        {"max_second",
         advantage([](const json& o) { return max_second{.scale = o["scale"], .epsilon = o["epsilon"]}; })},
        {"optimal_token_baseline",
         advantage([](const json& o) { return optimal_token_baseline{.handle_zero_tail = o["handle_zero_tail"]}; })},
        {"gae", advantage([](const json& o) {
             return gae{.discount = o["discount"], .lambda = o["lambda"], .whiten = o["whiten"]};
         })},
        {"vtrace", advantage([](const json& o) {
             return vtrace{
                 .discount = o["discount"], .lambda = o["lambda"], .rho_max = o["rho_max"], .alpha = o["alpha"]};
         })},
    };
    return all;
}

using factor_call = std::function<table(const json& entry)>;
/// Calls a component that multiplies into token_factor on factors of 1; masked tokens get 0 afterwards.
template <class Make>
factor_call factor(Make make) {
    return [=](const json& entry) {
        const table mask = array(entry, "mask");
        ragged<double> now(array(entry, "log_prob"), layout::packed, not_a_number),
            old(array(entry, "old_log_prob"), layout::packed, not_a_number),
            behaviour(array(entry, "behaviour_log_prob"), layout::packed, not_a_number),
            gain(array(entry, text(entry, "advantage")), layout::packed, not_a_number),
            entropy(array(entry, "entropy"), layout::packed, not_a_number),
            out(table_like(mask, [&](auto b, auto t) { return mask[b][t]; }), layout::packed, 7);
        ragged<std::uint8_t> inside(mask, layout::packed, 1);
        rlgaf::workspace work;
        make(entry["options"])(rlgaf::factor_terms<double>{.log_prob = now.view(),
                                                           .old_log_prob = old.view(),
                                                           .behaviour_log_prob = behaviour.view(),
                                                           .advantage = gain.view(),
                                                           .entropy = entropy.view(),
                                                           .mask = inside.view()},
                               work, out.view());
        return out.rows();
    };
}

const std::map<std::string, factor_call>& factors() {
    using namespace rlgaf;
    static const std::map<std::string, factor_call> all{
        {"importance_weights", factor([](const json& o) {
             return importance_weights{
                 .level = choice<importance_level>(
                     o, "level", {{"token", importance_level::token}, {"sequence", importance_level::sequence}}),
                 .rule = choice<importance_rule>(
                     o, "rule", {{"truncate", importance_rule::truncate}, {"mask", importance_rule::mask}}),
                 .low = o.value("low", 0.0),
                 .high = o["high"]};
         })},
        {"rejection", factor([](const json& o) {
             return rejection{
                 .level = choice<rejection_level>(o, "level",
                                                  {{"token", rejection_level::token},
                                                   {"sequence_sum", rejection_level::sequence_sum},
                                                   {"sequence_mean", rejection_level::sequence_mean},
                                                   {"sequence_max", rejection_level::sequence_max}}),
                 .statistic = choice<kl_estimator>(
                     o, "statistic", {{"k1", kl_estimator::k1}, {"k2", kl_estimator::k2}, {"k3", kl_estimator::k3}}),
                 .low = o["low"],
                 .high = o["high"]};
         })},
        {"off_policy_mask", factor([](const json& o) { return off_policy_mask{.threshold = o["threshold"]}; })},
        {"high_entropy_mask", factor([](const json& o) { return high_entropy_mask{.keep = o["keep"]}; })},
    };
    return all;
}

// --- Comparing ---------------------------------------------------------------------------------------------------------

using check = std::function<void(const json& entry)>;

void check_policy(const json& entry) {
    for (const layout how : layouts) {
        const policy_result here = policy_values(entry, how);
        CHECK(apart(here.loss, entry["loss"]) < tolerance(entry));
        CHECK(apart(here.gradient, rows_of(entry["gradient"])) < tolerance(entry));
    }
}
void check_estimator(const json& entry) {
    const advantage_values here = estimators().at(text(entry, "component"))(entry);
    CHECK(apart(here.advantage, rows_of(entry["advantage"])) < tolerance(entry));
    if (entry.contains("returns")) CHECK(apart(here.returns, rows_of(entry["returns"])) < tolerance(entry));
}
void check_factor(const json& entry) {
    CHECK(apart(factors().at(text(entry, "component"))(entry), rows_of(entry["weight"])) < tolerance(entry));
}

void check_value_loss(const json& entry) {
    const table mask = array(entry, "mask");
    const double clip = entry["options"]["clip"];
    for (const layout how : layouts) {
        ragged<double> value(array(entry, "new_value"), how, not_a_number),
            old(array(entry, "old_value"), how, not_a_number), returns(array(entry, "returns"), how, not_a_number),
            gradient(zeros(mask), how, 7);
        ragged<std::uint8_t> inside(mask, how, 1);
        const rlgaf::value_loss loss{.rule = clip > 0 ? rlgaf::value_rule::clipped : rlgaf::value_rule::squared,
                                     .clip = clip > 0 ? clip : 1};
        const std::vector<double> weight = row_weights(entry, mask);
        const rlgaf::value_terms<double> terms{value.view(), old.view(), returns.view(), inside.view()};
        CHECK(apart(loss(terms, weight, gradient.view()).loss, entry["loss"]) < tolerance(entry));
        CHECK(apart(gradient.rows(), rows_of(entry["gradient"])) < tolerance(entry));
    }
}

/// Pairs of the batch: its first half is preferred to its second.
std::vector<rlgaf::preference_pair> halves(std::size_t rows) {
    std::vector<rlgaf::preference_pair> pairs;
    for (std::uint32_t i = 0; i < rows / 2; ++i) pairs.push_back({i, i + static_cast<std::uint32_t>(rows / 2)});
    return pairs;
}

const std::map<std::string, rlgaf::dpo_variant>& dpo_variants() {
    using enum rlgaf::dpo_variant;
    static const std::map<std::string, rlgaf::dpo_variant> all{
        {"sigmoid", sigmoid},   {"sigmoid_norm", sigmoid}, {"hinge", hinge},       {"robust", robust},
        {"ipo", ipo},           {"ipo_sums", ipo},         {"exo_pair", exo_pair}, {"nca_pair", nca_pair},
        {"bco_pair", bco_pair}, {"sppo_hard", sppo_hard},  {"apo_zero", apo_zero}, {"apo_down", apo_down},
        {"discopop", discopop}};
    return all;
}
template <class Loss>
void check_pair_loss(const json& entry, const Loss& loss) {
    const table mask = array(entry, "mask");
    const auto pairs = halves(mask.size());
    for (const layout how : layouts) {
        ragged<double> log_prob(array(entry, "log_prob"), how, not_a_number),
            base(array(entry, "reference_log_prob"), how, not_a_number), gradient(zeros(mask), how, 7);
        ragged<std::uint8_t> inside(mask, how, 1);
        rlgaf::workspace work;
        const rlgaf::preference_terms<double> terms{log_prob.view(), base.view(), pairs, inside.view()};
        CHECK(apart(loss(terms, work, gradient.view()).loss, entry["loss"]) < tolerance(entry));
        CHECK(apart(gradient.rows(), rows_of(entry["gradient"])) < tolerance(entry));
    }
}

void check_dpo(const json& entry) {
    using enum rlgaf::reference_divergence;
    const json& o = entry["options"];
    const std::string kind = text(o, "kind");
    if (kind == "aot" || kind == "aot_unpaired") {
        check_pair_loss(
            entry, rlgaf::aot{.paired = kind == "aot", .beta = o["beta"], .label_smoothing = o["label_smoothing"]});
        return;
    }
    rlgaf::dpo loss{.variant = dpo_variants().at(kind),
                    .beta = o["beta"],
                    .label_smoothing = o["label_smoothing"],
                    .length_average = kind == "ipo" || kind == "sigmoid_norm"};
    if (o.contains("divergence"))
        loss.divergence =
            choice<rlgaf::reference_divergence>(o, "divergence", {{"forward_kl", forward_kl}, {"js_divergence", js}});
    check_pair_loss(entry, loss);
}

void check_reward_model(const json& entry) {
    const json &o = entry["options"], &batch = batch_of(entry);
    std::vector<double> score = numbers(batch["chosen"]);
    for (const double s : numbers(batch["rejected"])) score.push_back(s);
    const auto pairs = halves(score.size());
    std::vector<double> margin, gradient(score.size(), 0.0), expected = numbers(entry["d_chosen"]);
    if (o["margin"]) margin = numbers(batch["margin"]);
    for (const double d : numbers(entry["d_rejected"])) expected.push_back(d);
    const rlgaf::reward_model loss{.centering = o["centering"]};
    const rlgaf::reward_model_terms<double> terms{score, pairs, margin};
    CHECK(apart(loss(terms, std::span<double>(gradient)).loss, entry["loss"]) < tolerance(entry));
    CHECK(apart(gradient, expected) < tolerance(entry));
}

void check_adaptive_kl(const json& entry) {
    const json& o = entry["options"];
    const rlgaf::adaptive_kl rule{
        .initial = o["coefficient"], .target_per_sequence = o["target"], .horizon = o["horizon"]};
    rlgaf::adaptive_kl::state memory;
    std::vector<double> here;
    for (const double kl : numbers(batch_of(entry)["kl"])) here.push_back(rule(memory, kl, o["steps"]));
    CHECK(apart(here, numbers(entry["coefficient"])) < tolerance(entry));
}

void check_astar_value(const json& entry) {
    std::vector<double> here;
    for (const auto& row : array(entry, "reward"))
        here.push_back(rlgaf::astar_value(row, entry["options"]["temperature"]));
    CHECK(apart(here, numbers(entry["value"])) < tolerance(entry));
}

void check_entropy_of_logits(const json& entry) {
    std::vector<double> entropy;
    table gradient;
    for (const auto& logit : array(entry, "logits")) {
        std::vector<double> log_prob(logit.size()), d_logit(logit.size(), 0.0);
        entropy.push_back(rlgaf::log_softmax(std::span<const double>(logit), 1, std::span<double>(log_prob)));
        rlgaf::log_softmax_backward(std::span<const double>(log_prob), 0, entropy.back(), 1, 0, 1,
                                    std::span<double>(d_logit));
        gradient.push_back(d_logit);
    }
    CHECK(apart(entropy, numbers(entry["entropy"])) < tolerance(entry));
    CHECK(apart(gradient, rows_of(entry["gradient"])) < tolerance(entry));
}

const std::map<std::string, check>& others() {
    static const std::map<std::string, check> all{
        {"value_loss", check_value_loss},     {"dpo", check_dpo},
        {"reward_model", check_reward_model}, {"adaptive_kl", check_adaptive_kl},
        {"astar_value", check_astar_value},   {"entropy_of_logits", check_entropy_of_logits}};
    return all;
}

/// Calls f(entry) for what is meant to agree and has a component in the table. Returns how many there are.
template <class Table, class F>
int for_each_agreement(const Table& components, F&& f) {
    int seen = 0;
    for (const json& entry : reference()["entries"]) {
        if (components.count(text(entry, "component")) == 0 || entry.contains("differs")) continue;
        INFO(text(entry, "name"));
        f(entry);
        ++seen;
    }
    return seen;
}
/// Calls f(entry) for what is known to differ in the named way.
template <class F>
void for_each_difference(const std::string& name, F&& f) {
    int seen = 0;
    for (const json& entry : reference()["entries"])
        if (text(entry, "differs") == name) {
            INFO(text(entry, "name"));
            f(entry);
            ++seen;
        }
    CHECK(seen > 0);
}

}  // namespace

// --- What agrees --------------------------------------------------------------------------------------------------------

TEST_CASE("policy losses, KL and entropy terms and fine-tuning give the peers' values and gradients") {
    CHECK(for_each_agreement(policy_losses(), check_policy) > 100);
}

TEST_CASE("advantage estimators give the peers' advantages and critic targets") {
    CHECK(for_each_agreement(estimators(), check_estimator) > 75);
}

TEST_CASE("importance weights, rejection and masks give the peers' factors") {
    CHECK(for_each_agreement(factors(), check_factor) > 45);
}

TEST_CASE("critic, preference and reward-model losses give the peers' values and gradients") {
    CHECK(for_each_agreement(others(), [](const json& entry) { others().at(text(entry, "component"))(entry); }) > 40);
}

TEST_CASE("every reference value has a reader, and every reason for a tolerance is given") {
    for (const json& entry : reference()["entries"]) {
        const std::string component = text(entry, "component");
        INFO(text(entry, "name"));
        CHECK(policy_losses().count(component) + estimators().count(component) + factors().count(component) +
                  others().count(component) ==
              1);
        CHECK(entry.contains("tolerance") == entry.contains("because"));
        CHECK(tolerance(entry) <= 1e-5);
    }
}

// --- What differs, by the table above -----------------------------------------------------------------------------------

TEST_CASE("rows without tokens count in no mean over rows, as they do in TRL and in verl's GMPO") {
    for_each_difference("rows_without_tokens", [](const json& entry) {
        const std::vector<double> tokens = tokens_of_rows(array(entry, "mask"));
        const double rows = static_cast<double>(tokens.size());
        const double filled = rows - static_cast<double>(std::count(tokens.begin(), tokens.end(), 0.0));
        REQUIRE(filled < rows);
        // verl's constant length is the other way round: there they do not count, here and in TRL they do.
        const double here_by_peer =
            text(entry["aggregate"], "mode") == "constant_length" ? filled / rows : rows / filled;
        const table peer = rows_of(entry["gradient"]);
        const policy_result here = policy_values(entry);
        CHECK(apart(here.gradient, table_like(peer, [&](auto b, auto t) { return here_by_peer * peer[b][t]; })) <
              tolerance(entry));
        CHECK(apart(here.gradient, peer) > 0.1);
        if (!text(entry, "function").starts_with("RLOO") && !text(entry, "function").starts_with("GMPO"))
            CHECK(apart(here.loss, here_by_peer * entry["loss"].get<double>()) < tolerance(entry));
    });
}

TEST_CASE("log-ratios are held within +-20, where TRL lets them run") {
    for_each_difference("log_ratio_limit", [](const json& entry) {
        if (text(entry, "component") == "importance_weights") {
            const table here = factors().at("importance_weights")(entry), peer = rows_of(entry["weight"]);
            for (std::size_t b = 0; b < here.size(); ++b)
                for (std::size_t t = 0; t < here[b].size(); ++t)
                    CHECK(apart(here[b][t], peer[b][t] > 0 ? std::fmax(peer[b][t], std::exp(-20.0)) : 0) < 1e-10);
            return;
        }
        const policy_case c = policy_case_of(entry);
        const table here = policy_values(entry).gradient, peer = rows_of(entry["gradient"]);
        int held = 0;
        for (std::size_t b = 0; b < here.size(); ++b)
            for (std::size_t t = 0; t < here[b].size(); ++t) {
                const bool far = std::abs(c.log_prob[b][t] - c.old_log_prob[b][t]) > 20;
                if (far) CHECK(here[b][t] == 0);
                if (!far) CHECK(apart(here[b][t], peer[b][t]) < 1e-10);
                held += far && std::abs(peer[b][t]) > 1e6;
            }
        CHECK(held > 0);
    });
}

TEST_CASE("CISPO's bound is on the ratio and at least 1, where TRL's unset cap shrinks every gradient to a fifth") {
    for_each_difference("cispo_cap_is_raw", [](const json& entry) {
        const policy_case c = policy_case_of(entry);
        const table peer = rows_of(entry["gradient"]);
        const double cap = 0.2;
        CHECK(apart(peer, table_like(peer, [&](auto b, auto t) { return -c.weight[b] * cap * c.advantage[b][t]; })) <
              1e-10);
        REQUIRE_THROWS_AS((rlgaf::cispo{.highest = cap}.check()), rlgaf::option_error);
    });
}

TEST_CASE(
    "k3 keeps its gradient up to 20 nats, where verl's has none beyond a value of 10 and TRL's runs to infinity") {
    const auto check_tokens = [](const json& entry, auto&& peer_has_it) {
        const policy_case c = policy_case_of(entry);
        const table here = policy_values(entry).gradient, peer = rows_of(entry["gradient"]);
        int only_one = 0;
        for (std::size_t b = 0; b < here.size(); ++b)
            for (std::size_t t = 0; t < here[b].size(); ++t) {
                const double u = c.reference_log_prob[b][t] - c.log_prob[b][t];
                const double slope = -0.25 * c.weight[b] * std::expm1(u);
                CHECK(apart(here[b][t], u > 20 ? 0 : slope) < 1e-10);
                CHECK(apart(peer[b][t], peer_has_it(u) ? slope : 0) < 1e-10);
                only_one += peer_has_it(u) != (u <= 20);
            }
        CHECK(only_one > 0);
    };
    for_each_difference("verl_holds_k3_at_10", [&](const json& entry) {
        check_tokens(entry, [](double u) { return std::expm1(u) - u <= 10; });
    });
    for_each_difference("k3_limit", [&](const json& entry) { check_tokens(entry, [](double) { return true; }); });
}

TEST_CASE("a group of one has no advantage, where verl hands out the raw reward") {
    for_each_difference("singleton_group", [](const json& entry) {
        const table here = estimators().at(text(entry, "component"))(entry).advantage,
                    peer = rows_of(entry["advantage"]);
        CHECK(here[1] == std::vector<double>(here[1].size(), 0.0));
        CHECK(std::abs(peer[1][0]) > 0.1);
        if (text(entry, "component") != "reinforce_plus_plus")  // there the raw reward moves the others, too
            for (const std::size_t b : {0u, 2u}) CHECK(apart(here[b], peer[b]) < 1e-10);
    });
}

TEST_CASE("a group of equal rewards has no advantage, where verl divides rounding noise by rounding noise") {
    for_each_difference("constant_group", [](const json& entry) {
        const table here = estimators().at("grpo")(entry).advantage, peer = rows_of(entry["advantage"]);
        for (std::size_t b = 0; b < here.size(); ++b)
            if (b < 3) {
                CHECK(here[b] == std::vector<double>(here[b].size(), 0.0));
                CHECK(std::abs(peer[b][0]) > 0.1);
            } else {
                CHECK(apart(here[b], peer[b]) < 1e-5);  // single precision
            }
    });
}

TEST_CASE("a missing reward is left out of its own mean, where TRL centres the sum of what is there") {
    for_each_difference("missing_rewards", [](const json& entry) {
        const table here = estimators().at(text(entry, "component"))(entry).advantage,
                    peer = rows_of(entry["advantage"]);
        const table outcome = array(entry, "outcome");
        CHECK(apart(here, peer) > 0.1);
        for (std::size_t b = 0; b < here.size(); ++b)
            if (std::isnan(outcome[0][b]) && std::isnan(outcome[1][b])) {
                CHECK(here[b] == std::vector<double>(here[b].size(), 0.0));
                CHECK(peer[b] == here[b]);
            }
    });
}

TEST_CASE("GPG makes up for groups that teach nothing, where verl counts rewards that are not 0") {
    for_each_difference("gpg_counts_rewards", [](const json& entry) {
        // 6 rows, 3 of them in a constant group, 5 rewards that are not 0.
        const table here = estimators().at("gpg")(entry).advantage, peer = rows_of(entry["advantage"]);
        CHECK(apart(here, table_like(peer, [&](auto b, auto t) { return peer[b][t] * (6.0 / 3) / (6.0 / 5); })) <
              1e-10);
    });
}

TEST_CASE("GDPO divides by the deviation over rows, where verl whitens over tokens") {
    for_each_difference("gdpo_whitens_tokens", [](const json& entry) {
        const table here = estimators().at("gdpo")(entry).advantage, peer = rows_of(entry["advantage"]);
        const double scale = (peer[1][0] - peer[0][0]) / (here[1][0] - here[0][0]);
        for (std::size_t b = 2; b < here.size(); ++b)
            CHECK(apart(peer[b][0] - peer[0][0], scale * (here[b][0] - here[0][0])) < 1e-5);  // single precision
        CHECK(apart(here, peer) > 1e-2);
    });
}

TEST_CASE("GAE skips the holes of the mask, where OpenRLHF steps through them") {
    for_each_difference("gae_holes", [](const json& entry) {
        const table here = estimators().at("gae")(entry).advantage, peer = rows_of(entry["advantage"]);
        const table mask = array(entry, "mask");
        int whole = 0, with_holes = 0;
        for (std::size_t b = 0; b < here.size(); ++b) {
            // A hole behind the last token is none: nothing follows that could be carried over it.
            const auto first = std::find(mask[b].begin(), mask[b].end(), 1.0);
            const auto last = std::find(mask[b].rbegin(), mask[b].rend(), 1.0).base();
            if (first >= last || std::count(first, last, 0.0) == 0) {
                CHECK(apart(here[b], peer[b]) < 1e-10);
                whole += here[b].size() > 0;
            } else {
                with_holes += apart(here[b], peer[b]) > 1e-3;
            }
        }
        CHECK(whole > 0);
        CHECK(with_holes > 0);
    });
}

TEST_CASE("the optimal token baseline counts unmasked tokens, where verl's single-turn form counts through holes") {
    for_each_difference("optimal_baseline_positions", [](const json& entry) {
        CHECK(apart(estimators().at("optimal_token_baseline")(entry).advantage, rows_of(entry["advantage"])) > 1e-2);
    });
}

TEST_CASE("V-trace bounds its advantage by rho_max, where rlax has a bound of its own") {
    for_each_difference("vtrace_second_bound", [](const json& entry) {
        const advantage_values here = estimators().at("vtrace")(entry);
        CHECK(apart(here.returns, rows_of(entry["returns"])) < 1e-10);
        const table now = array(entry, "log_prob"), behaviour = array(entry, "behaviour_log_prob");
        CHECK(apart(table_like(now,
                               [&](auto b, auto t) {
                                   const double ratio = std::exp(now[b][t] - behaviour[b][t]);
                                   return here.advantage[b][t] * std::fmin(ratio, 1.3) / std::fmin(ratio, 1);
                               }),
                    rows_of(entry["advantage"])) < 1e-10);
    });
}
