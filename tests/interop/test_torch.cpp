// clang-format off: the adapter comes before torch's own headers (clang 14 with torch 1.13)
#include "rlgaf/interop/torch.hpp"
// clang-format on

#include <torch/cuda.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/rnn.h>
#include <torch/optim/sgd.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#undef CHECK  // torch's logging and Catch2 both have one
#include "rlgaf/backend/conformance.hpp"
#include "rlgaf/backend/input_penalty.hpp"
#include "rlgaf/backend/visit.hpp"
#include "rlgaf/io/state_archive.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using ids = std::vector<std::int32_t>;

namespace {

constexpr std::int64_t vocabulary = 5;

/// Logits of the next token from a recurrent net, or a score a position where `outputs` is 1.
struct gru_net_impl : torch::nn::Cloneable<gru_net_impl> {
    explicit gru_net_impl(std::int64_t output_size = vocabulary, double dropout_rate = 0)
        : outputs(output_size), rate(dropout_rate) {
        reset();
    }
    void reset() override {
        embedding = register_module("embedding", torch::nn::Embedding(vocabulary, 3));
        gru = register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(3, 4).batch_first(true)));
        dropout = register_module("dropout", torch::nn::Dropout(rate));
        head = register_module("head", torch::nn::Linear(4, outputs));
    }
    torch::Tensor forward(torch::Tensor tokens) { return head(dropout(std::get<0>(gru(embedding(tokens))))); }

    std::int64_t outputs;
    double rate;
    torch::nn::Embedding embedding{nullptr};
    torch::nn::GRU gru{nullptr};
    torch::nn::Dropout dropout{nullptr};
    torch::nn::Linear head{nullptr};
};
TORCH_MODULE_IMPL(gru_net, gru_net_impl);

/// Logits of the next token are a row of a table. Not clonable, and not in a holder.
struct table_net : torch::nn::Module {
    explicit table_net(std::vector<float> values)
        : table(register_parameter("table", torch::tensor(values).reshape({-1, vocabulary}))) {}
    torch::Tensor forward(torch::Tensor tokens) {
        last_shape = tokens.sizes().vec();
        return table.index_select(0, tokens.flatten()).reshape({tokens.size(0), tokens.size(1), vocabulary});
    }
    torch::Tensor table;
    std::vector<std::int64_t> last_shape;
};

/// Returns whatever it was told to.
struct stub_net : torch::nn::Module {
    explicit stub_net(std::function<torch::Tensor(torch::Tensor)> function) : f(std::move(function)) {}
    torch::Tensor forward(torch::Tensor tokens) { return f(tokens); }
    std::function<torch::Tensor(torch::Tensor)> f;
};

/// One matrix as embedding and as head.
struct tied_net : torch::nn::Module {
    tied_net() : embedding(register_module("embedding", torch::nn::Embedding(vocabulary, 3))) {
        head = register_parameter("head", embedding->weight);
    }
    torch::Tensor forward(torch::Tensor tokens) { return embedding(tokens).matmul(head.t()); }
    torch::nn::Embedding embedding;
    torch::Tensor head;
};

/// Mean embedding of a row: one number a row, which needs to know where the row ends.
struct pooled_net : torch::nn::Module {
    pooled_net() : embedding(register_module("embedding", torch::nn::Embedding(vocabulary, 1))) {}
    torch::Tensor forward(torch::Tensor tokens, torch::Tensor lengths) {
        const torch::Tensor inside = torch::arange(tokens.size(1)).unsqueeze(0) < lengths.unsqueeze(1);
        return (embedding(tokens).squeeze(-1) * inside).sum(1) / lengths;
    }
    torch::nn::Embedding embedding;
};

/// Shows its embeddings. A bend after the recurrent net makes every second derivative count.
struct judge_net_impl : torch::nn::Cloneable<judge_net_impl> {
    explicit judge_net_impl(std::int64_t output_size = 1, double dropout_rate = 0)
        : outputs(output_size), rate(dropout_rate) {
        reset();
    }
    void reset() override {
        embedding = register_module("embedding", torch::nn::Embedding(vocabulary, 3));
        gru = register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(3, 4).batch_first(true)));
        dropout = register_module("dropout", torch::nn::Dropout(rate));
        head = register_module("head", torch::nn::Linear(4, outputs));
    }
    torch::Tensor embed(torch::Tensor tokens) { return embedding(tokens); }
    torch::Tensor forward_embedded(torch::Tensor x) { return head(dropout(torch::tanh(2 * std::get<0>(gru(x))))); }
    torch::Tensor forward(torch::Tensor tokens) { return forward_embedded(embed(tokens)); }

    std::int64_t outputs;
    double rate;
    torch::nn::Embedding embedding{nullptr};
    torch::nn::GRU gru{nullptr};
    torch::nn::Dropout dropout{nullptr};
    torch::nn::Linear head{nullptr};
};
TORCH_MODULE_IMPL(judge_net, judge_net_impl);

/// A number a row from embeddings and lengths: the square of their mean's only element.
struct pooled_judge : torch::nn::Module {
    pooled_judge() : embedding(register_module("embedding", torch::nn::Embedding(vocabulary, 1))) {}
    torch::Tensor embed(torch::Tensor tokens) { return embedding(tokens); }
    torch::Tensor forward_embedded(torch::Tensor x, torch::Tensor lengths) {
        const torch::Tensor inside = torch::arange(x.size(1)).unsqueeze(0) < lengths.unsqueeze(1);
        return ((x.squeeze(-1) * inside).sum(1) / lengths).square();
    }
    torch::Tensor forward(torch::Tensor tokens, torch::Tensor lengths) {
        return forward_embedded(embed(tokens), lengths);
    }
    torch::nn::Embedding embedding;
};

using gru_policy = torch_policy<gru_net>;
using gru_scorer = torch_scorer<gru_net>;
static_assert(check_policy<gru_policy>());
static_assert(check_policy<torch_policy<table_net>>());
static_assert(check_scorer<gru_scorer, token_batch<float>>());
static_assert(check_scorer<torch_scorer<pooled_net>, token_batch<float>>());
static_assert(check_scorer<torch_scorer<torch::nn::Sequential>, token_batch<float>>());
static_assert(clonable<gru_policy> && clonable<gru_scorer> && !clonable<torch_policy<table_net>>);
static_assert(flat_parameters<gru_policy> && flat_parameters<gru_scorer> && continues_prefixes<gru_policy>);
static_assert(gives_entropy<gru_policy>() && !gives_value<gru_policy>() && per_sample_streams<gru_policy>());
using judge = torch_scorer<judge_net>;
using batch = token_batch<float>;
static_assert(exposes_logits<gru_policy> && scores_tokens<gru_scorer, batch>);
static_assert(perturbs_inputs<judge, batch> && perturbs_inputs<torch_scorer<pooled_judge>, batch>);
static_assert(attributes_tokens<judge, batch> && attributes_tokens<torch_scorer<pooled_judge>, batch>);
static_assert(!perturbs_inputs<gru_scorer, batch> && !attributes_tokens<gru_scorer, batch>);
static_assert(!std::copy_constructible<gru_policy>);  // it has the optimiser's memory

/// Rows of different lengths, one of them empty, and a masked token.
token_batch<float> some_rows() {
    token_batch<float> b;
    const std::array<std::uint8_t, 4> one_masked = {1, 0, 1, 1}, none_masked = {1, 1, 1, 1};
    const std::span mask(none_masked);
    b.add(ids{1, 2, 3, 4}, row_end::terminated, {}, 1, one_masked);
    b.add(ids{4}, row_end::truncated, {}, 0.5, mask.first(1));
    b.add(ids{}, row_end::truncated);
    b.add(ids{0, 0, 3}, row_end::terminated, {}, 2, mask.first(3));
    return b;
}

struct arrays {
    ragged_buffer<float> log_prob, entropy;
    explicit arrays(const token_batch<float>& b) {
        log_prob.assign(lengths(b));
        entropy.assign(lengths(b));
    }
    policy_outputs<float> out() { return {log_prob.view(), entropy.view(), {}}; }
    policy_cotangents<float> cotangents() const { return {log_prob.view(), entropy.view(), {}}; }
};

std::vector<std::uint64_t> sample_ids(std::size_t n, std::uint64_t first = 0) {
    std::vector<std::uint64_t> id(n);
    std::iota(id.begin(), id.end(), first);
    return id;
}

std::vector<float> gradients(std::span<const parameter_block<float>> blocks) {
    std::vector<float> all;
    for (const auto& block : blocks) all.insert(all.end(), block.gradients.begin(), block.gradients.end());
    return all;
}

/// Compares the gradient that was accumulated with central differences of `value()` for every parameter.
template <class Value>
void require_gradient(std::span<const parameter_block<float>> blocks, Value&& value) {
    for (const auto& block : blocks)
        for (std::size_t i = 0; i < block.values.size(); ++i) {
            const float x = block.values[i], step = 1e-2f;
            block.values[i] = x + step;
            const double above = value();
            block.values[i] = x - step;
            const double below = value();
            block.values[i] = x;
            INFO(block.name.c_str() << "[" << i << "]");
            REQUIRE(static_cast<double>(block.gradients[i]) ==
                    Approx((above - below) / (2 * static_cast<double>(step))).epsilon(3e-3).margin(1e-3));
        }
}

double dot(std::span<const float> a, std::span<const float> b) {
    double total = 0;
    for (std::size_t i = 0; i < a.size(); ++i) total += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return total;
}

/// Rows of embeddings as a penalty sees them, and the reverse of a few operations.
template <class S>
std::vector<float> norms(const S& s, const typename S::perturbation& p, std::size_t n = 4) {
    std::vector<float> x(n, 77.0f);
    s.row_norms(p, x);
    return x;
}
template <class S>
typename S::perturbation sum_of(const S& s, typename S::perturbation p, const typename S::perturbation& q, double d) {
    auto scaled = q;
    s.scale(scaled, std::vector<float>(4, static_cast<float>(d)));
    s.add(p, scaled);
    return p;
}

std::vector<double> softmax(std::span<const float> logit, double temperature) {
    std::vector<double> p;
    for (const float z : logit) p.push_back(std::exp(static_cast<double>(z) / temperature));
    const double total = sum(std::span<const double>(p));
    for (double& x : p) x /= total;
    return p;
}

const std::vector<float> table = {0, 1, -1, 2, 0.5f, 1, 1, 0, 0, -2, 0, -1, 3, 1, 0, 2, -2, 0.5f, 0, 1, 0, 0, 0, 0, 1};

}  // namespace

TEST_CASE("torch_policy: log-probs and entropies are those of the softmax", "[torch]") {
    torch_policy policy{std::make_shared<table_net>(table), {.start_token = 2, .pad_token = 4}};
    const auto b = some_rows();
    arrays a(b), again(b);
    a.log_prob.flat()[1] = 77;  // masked: is left alone
    policy.evaluate(b, a.out());
    for (std::size_t i = 0; i < rows(b); ++i)
        for (std::size_t t = 0; t < b.length[i]; ++t) {
            const auto before = static_cast<std::size_t>(t == 0 ? 2 : b.row(i)[t - 1]);
            const auto p = softmax(std::span(table).subspan(before * 5, 5), b.temperature[i]);
            double entropy = 0;
            for (const double x : p) entropy -= x * std::log(x);
            if (i == 0 && t == 1) continue;
            REQUIRE(a.log_prob.view().row(i)[t] ==
                    Approx(std::log(p[static_cast<std::size_t>(b.row(i)[t])])).margin(1e-6));
            REQUIRE(a.entropy.view().row(i)[t] == Approx(entropy).margin(1e-6));
        }
    REQUIRE(a.log_prob.view().row(0)[1] == 77);
    REQUIRE(policy.module().last_shape == std::vector<std::int64_t>{4, 4});  // the last action is no input
    policy.forward(b, again.out());
    again.log_prob.flat()[1] = 77;
    REQUIRE(std::equal(a.log_prob.flat().begin(), a.log_prob.flat().end(), again.log_prob.flat().begin()));

    arrays none(token_batch<float>{});
    policy.evaluate({}, none.out());
    policy.backward(policy.forward({}, none.out()), none.cotangents());
    token_batch<float> empty_row;
    empty_row.add(ids{}, row_end::truncated);
    policy.backward(policy.forward(empty_row, {}), {});
}

TEST_CASE("torch_policy: padding changes nothing, rows can be picked, prompts come first", "[torch]") {
    torch::manual_seed(1);
    gru_net net;
    torch_policy policy{net};
    const auto b = some_rows();
    arrays a(b);
    policy.evaluate(b, a.out());
    for (const std::size_t i : std::array<std::size_t, 3>{0, 1, 3}) {
        const auto one = select(b, std::array{i});
        arrays alone(one);
        policy.evaluate(one, alone.out());
        for (std::size_t t = 0; t < b.length[i]; ++t)
            REQUIRE(a.log_prob.view().row(i)[t] == Approx(alone.log_prob.flat()[t]).margin(1e-6));
    }

    // A prompt of p and the completion c is the end of the completion p c.
    token_batch<float> whole, asked;
    whole.add(ids{3, 1, 4, 2}, row_end::terminated);
    whole.add(ids{2, 2}, row_end::terminated);
    asked.add(ids{4, 2}, row_end::terminated);
    asked.add(ids{2, 2}, row_end::terminated);
    asked.prompt.add(ids{3, 1});
    asked.prompt.add(ids{});
    arrays w(whole), p(asked);
    policy.evaluate(whole, w.out());
    policy.evaluate(asked, p.out());
    for (std::size_t t = 0; t < 2; ++t) {
        REQUIRE(p.log_prob.view().row(0)[t] == Approx(w.log_prob.view().row(0)[t + 2]).margin(1e-6));
        REQUIRE(p.entropy.view().row(1)[t] == Approx(w.entropy.view().row(1)[t]).margin(1e-6));
    }

    torch_policy bare{net, {.start_token = -1}};
    REQUIRE(message_of<shape_error>([&] { bare.evaluate(asked, p.out()); }) ==
            "rlgaf::torch_policy: row 1: expected a prompt, or .start_token, before the first action, got nothing");
    token_prompts ask;
    ask.add(ids{3, 1});
    ask.add(ids{4});
    const auto rolled = bare.rollout(ask, sample_ids(2), {.max_length = 3}, {});
    arrays r(rolled);
    bare.evaluate(rolled, r.out());
    for (std::size_t k = 0; k < 6; ++k) REQUIRE(r.log_prob.flat()[k] == Approx(rolled.log_prob[k]).margin(1e-5));
    REQUIRE(rows(rolled.prompt) == 2);
    REQUIRE_THROWS_AS(bare.rollout({}, sample_ids(2), {}, {}), shape_error);
    REQUIRE(message_of<shape_error>([&] { policy.rollout(ask, sample_ids(3), {}, {}); }) ==
            "rlgaf::torch_policy::rollout: prompts: expected 3 elements, got 2");
}

TEST_CASE("torch_policy: backward is the gradient of the weighted outputs", "[torch]") {
    torch::manual_seed(2);
    torch_policy policy{gru_net(vocabulary)};
    const auto b = some_rows();
    arrays c(b), a(b);
    const random_stream random({7, 0}, stream::user);
    for (std::size_t k = 0; k < c.log_prob.flat().size(); ++k) {
        c.log_prob.flat()[k] = static_cast<float>(random.normal(static_cast<std::uint32_t>(k)));
        c.entropy.flat()[k] = static_cast<float>(random.normal(static_cast<std::uint32_t>(k), 1));
    }
    c.log_prob.flat()[1] = c.entropy.flat()[1] = std::numeric_limits<float>::quiet_NaN();  // masked: never read
    const auto value = [&] {
        policy.evaluate(b, a.out());
        double total = 0;
        for_each_token(a.log_prob.view(), mask(b), [&](std::size_t i, std::size_t t) {
            const auto product = [&](auto& x, auto& y) {
                return static_cast<double>(x.view().row(i)[t]) * static_cast<double>(y.view().row(i)[t]);
            };
            total += product(a.log_prob, c.log_prob) + product(a.entropy, c.entropy);
        });
        return total;
    };
    const auto blocks = policy.parameters();
    REQUIRE(blocks.size() == 7);
    REQUIRE(blocks[0].name == "embedding.weight");
    REQUIRE(blocks[0].shape == std::vector<std::size_t>{5, 3});

    // The entropy may get a gradient without having been asked for.
    policy.backward(policy.forward(b, {.log_prob = a.log_prob.view()}), c.cotangents());
    require_gradient(blocks, value);
    const auto once = gradients(blocks);

    // It accumulates, also when two tapes are alive, and the parts add up.
    policy.discard();
    REQUIRE(gradients(blocks) == std::vector<float>(once.size()));
    auto first = policy.forward(b, {}), second = policy.forward(b, {});
    policy.backward(std::move(second), {.d_entropy = c.entropy.view()});
    policy.backward(std::move(first), {.d_log_prob = c.log_prob.view()});
    policy.backward(policy.forward(b, {}), {});
    const auto both = gradients(policy.parameters());
    for (std::size_t k = 0; k < once.size(); ++k) REQUIRE(both[k] == Approx(once[k]).margin(1e-5));

    arrays wrong(select(b, std::array<std::size_t, 1>{0}));
    REQUIRE(message_of<shape_error>([&] { policy.backward(policy.forward(b, {}), wrong.cotangents()); }) ==
            "rlgaf::torch_policy::backward: d_log_prob: expected 4 elements, got 1");
    REQUIRE_THROWS_AS(policy.evaluate(b, wrong.out()), shape_error);
    REQUIRE_THROWS_AS(policy.evaluate(b, {.value = a.log_prob.view()}), option_error);
}

TEST_CASE("torch_policy: samples follow exp(log_prob)", "[torch]") {
    torch_policy policy{std::make_shared<table_net>(table), {.start_token = 3, .max_length = 2}};
    const std::size_t n = 20000;
    const double temperature = 0.8;
    const auto id = sample_ids(n);
    const auto b = policy.rollout({}, id, {.temperature = temperature}, {11, 3});
    const auto p = softmax(std::span(table).subspan(15, 5), temperature);
    std::array<std::size_t, 5> seen{};
    for (std::size_t i = 0; i < n; ++i) {
        const auto token = static_cast<std::size_t>(b.row(i)[0]);
        ++seen[token];
        REQUIRE(b.log_prob[2 * i] == Approx(std::log(p[token])).margin(1e-6));
        REQUIRE(b.temperature[i] == temperature);
    }
    for (std::size_t v = 0; v < 5; ++v) {
        const double mean = static_cast<double>(n) * p[v];
        REQUIRE(std::abs(static_cast<double>(seen[v]) - mean) < 4 * std::sqrt(mean * (1 - p[v])));
    }

    // A sample is its own: not the batch's, and another key gives another one.
    const auto few = policy.rollout({}, sample_ids(3, 500), {.temperature = temperature}, {11, 3});
    REQUIRE(std::equal(few.token.begin(), few.token.end(), b.token.begin() + 1000));
    const auto other = policy.rollout({}, id, {.temperature = temperature}, {11, 4});
    REQUIRE(other.token != b.token);
}

TEST_CASE("torch_policy: truncated sampling stores what it drew from", "[torch]") {
    torch_policy policy{std::make_shared<table_net>(table), {.start_token = 0, .max_length = 1}};
    const auto p = softmax(std::span(table).first(5), 1);  // order: 3, 1, 4, 0, 2
    const auto require_kept = [&](const rollout_options& o, const ids& kept) {
        double mass = 0;
        for (const std::int32_t v : kept) mass += p[static_cast<std::size_t>(v)];
        const auto b = policy.rollout({}, sample_ids(2000), o, {5, 0});
        std::array<bool, 5> seen{};
        for (std::size_t i = 0; i < 2000; ++i) {
            const auto v = static_cast<std::size_t>(b.token[i]);
            seen[v] = true;
            REQUIRE(b.log_prob[i] == Approx(std::log(p[v] / mass)).margin(1e-6));
        }
        for (std::int32_t v = 0; v < 5; ++v)
            REQUIRE(seen[static_cast<std::size_t>(v)] == (std::find(kept.begin(), kept.end(), v) != kept.end()));
    };
    require_kept({.top_k = 1}, {3});
    require_kept({.top_k = 3}, {3, 1, 4});
    require_kept({.top_k = 9}, {0, 1, 2, 3, 4});
    require_kept({.top_p = 1e-9}, {3});
    require_kept({.top_p = p[3] + 0.01}, {3, 1});
    require_kept({.top_p = 1 - p[2] / 2}, {0, 1, 2, 3, 4});
    require_kept({.top_k = 2, .top_p = 0.99}, {3, 1});
    require_kept({.top_k = 2, .top_p = 0.5}, {3});
    REQUIRE_THROWS_AS(policy.rollout({}, sample_ids(1), {.top_p = 0}, {}), option_error);
}

TEST_CASE("Trap 12: rows of torch_policy end by their end token, which is an action of theirs, or by their length",
          "[torch]") {
    torch::manual_seed(3);
    torch_policy policy{gru_net(vocabulary), {.end_token = 4, .max_length = 6, .rollout_rows = 7}};
    const auto b = policy.rollout({}, sample_ids(40), {}, {1, 0});
    bool seen[2] = {false, false};
    for (std::size_t i = 0; i < 40; ++i) {
        const auto row = b.row(i);
        const auto stop = std::find(row.begin(), row.end(), 4);
        REQUIRE(row.size() <= 6);
        REQUIRE((b.end[i] == row_end::terminated) == (stop != row.end()));
        REQUIRE((stop == row.end() ? row.size() == 6 : stop + 1 == row.end()));
        seen[b.end[i] == row_end::terminated] = true;
    }
    REQUIRE((seen[0] && seen[1]));
    arrays a(b);
    policy.evaluate(b, a.out());
    for (std::size_t k = 0; k < b.token.size(); ++k)
        REQUIRE(a.log_prob.flat()[k] == Approx(b.log_prob[k]).margin(1e-5));
    REQUIRE(policy.rollout({}, sample_ids(5), {.max_length = 2}, {}).length[0] <= 2);
    REQUIRE(rows(policy.rollout({}, {}, {}, {})) == 0);
}

TEST_CASE("torch_policy: without an end token rows are whole at their full length", "[torch]") {
    torch_policy policy{gru_net(vocabulary), {.max_length = 3}};
    const auto whole = policy.rollout({}, sample_ids(2), {}, {}),
               cut = policy.rollout({}, sample_ids(2), {.max_length = 2}, {});
    REQUIRE(whole.token.size() == 6);
    REQUIRE(whole.end[1] == row_end::terminated);
    REQUIRE(cut.token.size() == 4);
    REQUIRE(cut.end[1] == row_end::truncated);
}

TEST_CASE("torch_policy: prefixes are continued", "[torch]") {
    torch::manual_seed(4);
    torch_policy policy{gru_net(vocabulary), {.end_token = 4, .max_length = 5}};
    token_batch<float> b;
    b.add(ids{1, 2, 3}, row_end::truncated);
    b.add(ids{2, 4}, row_end::terminated);
    const std::array<prefix, 4> from = {prefix{1, 2}, prefix{0, 2}, prefix{0, 2}, prefix{1, 0}};
    const auto more = policy.rollout_from(b, from, sample_ids(4), {}, {});
    REQUIRE(rows(more) == 4);
    REQUIRE(more.length[0] == 2);
    REQUIRE(more.end[0] == row_end::terminated);
    for (std::size_t i = 1; i < 3; ++i) {
        REQUIRE(more.length[i] > 2);
        REQUIRE(std::equal(b.token.begin(), b.token.begin() + 2, more.row(i).begin()));
    }
    arrays a(more);
    policy.evaluate(more, a.out());
    for (std::size_t k = 0; k < more.token.size(); ++k)
        REQUIRE(a.log_prob.flat()[k] == Approx(more.log_prob[k]).margin(1e-5));
    const std::array<prefix, 1> missing = {prefix{0, 4}};
    REQUIRE(message_of<shape_error>([&] { policy.rollout_from(b, missing, sample_ids(1), {}, {}); }) ==
            "rlgaf::torch_policy::rollout_from: from[0]: expected a prefix of one of 2 rows, got 4 actions of row 0");
}

TEST_CASE("torch adapters: a module that breaks the contract is named", "[torch]") {
    const auto b = some_rows();
    arrays a(b);
    std::vector<float> score(4);
    const auto of_policy = [&](auto f) {
        torch_policy policy{std::make_shared<stub_net>(f)};
        return message_of<shape_error>([&] { policy.evaluate(b, a.out()); });
    };
    const auto of_scorer = [&](auto f) {
        torch_scorer scorer{std::make_shared<stub_net>(f)};
        return message_of<shape_error>([&] { scorer.evaluate(b, score); });
    };
    REQUIRE(of_policy([](torch::Tensor t) {
                return torch::zeros({t.size(0), 5});
            }) ==
            "rlgaf::torch_policy: module.forward: expected floating-point logits [B, T, V] = [4, 4, V] of tokens "
            "[4, 4], got [4, 5]");
    REQUIRE(contains(of_policy([](torch::Tensor t) {
                         return torch::zeros({t.size(1), t.size(0) + 1, 5});
                     }),
                     "got [4, 5, 5]"));
    REQUIRE(contains(of_policy([](torch::Tensor) { return torch::Tensor(); }), "got no tensor"));
    REQUIRE(of_scorer([](torch::Tensor t) {
                return torch::zeros({t.size(0), 2});
            }) == "rlgaf::torch_scorer: module.forward: expected [B] = [4] or [B, T] = [4, 5], got [4, 2]");
    REQUIRE(contains(of_scorer([](torch::Tensor) { return torch::zeros({}); }), "got []"));

    // Torch's own errors keep their words.
    const std::string inside = of_policy([](torch::Tensor t) { return torch::zeros({2, 3}).matmul(t); });
    REQUIRE(contains(inside, "rlgaf::torch_policy: module.forward: expected to accept int64 tokens [4, 4] between 0"));
    torch_policy small{gru_net(3)};
    REQUIRE(message_of<numeric_error>([&] { small.evaluate(b, a.out()); }) ==
            "rlgaf::torch_policy: tokens: expected actions from 0 to V - 1 = 2, got 3");
    torch_policy far{gru_net(vocabulary), {.start_token = 9}};
    REQUIRE(contains(message_of<shape_error>([&] { far.rollout({}, sample_ids(1), {}, {}); }), "got torch's error"));

    REQUIRE_THROWS_AS(gru_policy(gru_net{nullptr}), option_error);
    REQUIRE_THROWS_AS(gru_policy(gru_net(), {.max_length = 0}), option_error);
    REQUIRE_THROWS_AS(gru_scorer(gru_net(), {.weight_decay = std::nan("")}), option_error);
    torch_policy blind{std::make_shared<table_net>(std::vector<float>(25, std::nanf("")))};
    REQUIRE_THROWS_AS(blind.rollout({}, sample_ids(1), {}, {}), numeric_error);
}

TEST_CASE("torch_scorer: reads positions or rows", "[torch]") {
    torch::manual_seed(5);
    gru_net net(1);
    const auto b = some_rows();
    const auto positions = net->forward(torch::tensor({0, 1, 2, 3, 4}, torch::kLong).unsqueeze(0)).flatten();
    const auto at = [&](std::int64_t t) { return positions[t].item<double>(); };
    std::vector<float> last(4), mean(4), alone(1);
    torch_scorer scorer{net, {.pad_token = 3}};
    scorer.evaluate(b, last);
    REQUIRE(last[0] == Approx(at(4)).margin(1e-6));
    REQUIRE(last[2] == Approx(at(0)).margin(1e-6));  // of an empty row: the start token
    scorer.evaluate(select(b, std::array<std::size_t, 1>{3}), alone);
    REQUIRE(last[3] == Approx(alone[0]).margin(1e-6));
    torch_scorer averaging{net, {.reading = torch_reading::mean_of_row}};
    averaging.evaluate(b, mean);
    REQUIRE(mean[0] == Approx((at(1) + at(3) + at(4)) / 3).margin(1e-6));  // token 2 is masked
    REQUIRE(mean[2] == 0);

    token_batch<float> asked;
    asked.add(ids{3, 4}, row_end::terminated);
    asked.prompt.add(ids{1, 2});
    scorer.evaluate(asked, alone);
    REQUIRE(alone[0] == Approx(at(4)).margin(1e-6));
    averaging.evaluate(asked, alone);
    REQUIRE(alone[0] == Approx((at(3) + at(4)) / 2).margin(1e-6));

    torch_scorer bare{net, {.start_token = -1}};
    bare.evaluate(b, last);
    REQUIRE(last[2] == 0);
    bare.evaluate({}, {});
    bare.backward(bare.forward({}, {}), {});
    torch_scorer sequence{torch::nn::Sequential(torch::nn::Embedding(vocabulary, 2), torch::nn::Linear(2, 1))};
    sequence.evaluate(b, last);
    REQUIRE_THROWS_AS(sequence.evaluate(b, alone), shape_error);
}

TEST_CASE("torch_scorer: backward is the gradient of the weighted scores", "[torch]") {
    torch::manual_seed(6);
    const auto b = some_rows();
    const std::vector<float> c = {1, -2, 0.5f, 3};
    const auto require_right = [&](auto scorer) {
        std::vector<float> score(4);
        const auto blocks = scorer.parameters();
        scorer.backward(scorer.forward(b, score), c);
        require_gradient(blocks, [&] {
            scorer.evaluate(b, score);
            double total = 0;
            for (std::size_t i = 0; i < 4; ++i) total += static_cast<double>(score[i]) * static_cast<double>(c[i]);
            return total;
        });
        REQUIRE_THROWS_AS(scorer.backward(scorer.forward(b, score), std::span(c).first(3)), shape_error);
    };
    require_right(torch_scorer{gru_net(1)});
    require_right(torch_scorer{gru_net(1), {.reading = torch_reading::mean_of_row}});
    require_right(torch_scorer{std::make_shared<pooled_net>()});
}

TEST_CASE("torch adapters: a step clips, clears, and refuses a gradient that is not finite", "[torch]") {
    const auto net = std::make_shared<table_net>(table);
    const auto plain_descent = [](std::vector<torch::Tensor> p) -> std::unique_ptr<torch::optim::Optimizer> {
        return std::make_unique<torch::optim::SGD>(std::move(p), torch::optim::SGDOptions(77));
    };
    torch_policy policy{net, {.start_token = 4, .optimizer = plain_descent}};
    token_batch<float> b;
    b.add(ids{1}, row_end::terminated);
    const auto accumulate = [&](float c) {
        policy.backward(policy.forward(b, {}), {.d_log_prob = ragged_view<const float>::packed(&c, b.offset)});
    };
    const auto p = softmax(std::span(table).subspan(20), 1);
    double squares = 0;
    for (std::size_t v = 0; v < 5; ++v) squares += std::pow((v == 1 ? 1.0 : 0.0) - p[v], 2);
    const double norm = 10 * std::sqrt(squares);

    accumulate(10);
    auto report = policy.step({.learning_rate = 0.1, .max_norm = 2});
    REQUIRE(report.applied);
    REQUIRE(report.grad_norm == Approx(norm));
    const double moved = -0.1 * 2 / norm * 10 * (1 - p[1]);
    REQUIRE(net->table[4][1].item<double>() == Approx(static_cast<double>(table[21]) + moved));
    REQUIRE(net->table[0][1].item<float>() == table[1]);
    REQUIRE(policy.step({}).grad_norm == 0);

    const torch::Tensor before = net->table.detach().clone();
    accumulate(std::numeric_limits<float>::quiet_NaN());
    report = policy.step({});
    REQUIRE_FALSE(report.applied);
    REQUIRE(std::isnan(report.grad_norm));
    REQUIRE(torch::equal(before, net->table));
    report = policy.step({.max_norm = 0});
    REQUIRE((report.applied && report.grad_norm == 0));
    REQUIRE_THROWS_AS(policy.step({.learning_rate = -1}), option_error);

    accumulate(1);
    policy.discard();
    REQUIRE(policy.step({}).grad_norm == 0);

    // A module without anything to train is a reference: it accumulates nothing.
    for (torch::Tensor& x : net->parameters()) x.set_requires_grad(false);
    accumulate(1);
    REQUIRE(policy.step({}).grad_norm == 0);
    REQUIRE(policy.parameters().empty());
}

TEST_CASE("torch adapters: a checkpoint holds module, buffers and optimiser", "[torch]") {
    const auto b = some_rows();
    // In memory: some builds of libtorch_cpu export std::filesystem functions of an older compiler.
    const auto save = [](auto& policy) {
        state_writer w;
        policy.visit(w);
        return w.entries;
    };
    const auto load = [](const std::vector<tensor>& entries, auto& policy) {
        const std::string from = "memory";
        state_reader r(entries, from);
        policy.visit(r);
        r.finish();
    };
    const auto train = [&](auto& policy, int steps) {
        arrays c(b);
        c.log_prob.assign(lengths(b), 0.3f);
        for (int i = 0; i < steps; ++i) {
            policy.backward(policy.forward(b, {}), {.d_log_prob = std::as_const(c).log_prob.view()});
            policy.step({.learning_rate = 0.05});
        }
    };
    const auto values = [](auto& policy) {
        std::vector<float> all;
        for (const auto& block : policy.parameters()) all.insert(all.end(), block.values.begin(), block.values.end());
        return all;
    };
    torch::manual_seed(5);
    static_assert(visited<torch_policy<gru_net>> && visited<torch_scorer<gru_net>>);
    torch_policy whole{gru_net()};
    auto first = whole.clone();
    torch_policy second{gru_net()};  // other parameters, and no optimiser yet
    REQUIRE(values(second) != values(first));
    train(whole, 5);
    train(first, 3);
    load(save(first), second);
    REQUIRE(values(second) == values(first));
    train(second, 2);
    REQUIRE(values(second) == values(whole));  // Adam's memory too

    torch_policy fresh{gru_net()};
    load(save(fresh), second);  // an optimiser without memory
    train(fresh, 2);
    train(second, 2);
    REQUIRE(values(second) == values(fresh));

    torch_policy other{std::make_shared<table_net>(table)};
    REQUIRE(contains(message_of<file_error>([&] { load(save(fresh), other); }),
                     "torch_policy: checkpoint: expected the state of this module"));
}

TEST_CASE("torch adapters: tied parameters count once", "[torch]") {
    torch::manual_seed(11);
    torch_policy policy{std::make_shared<tied_net>()};
    REQUIRE(policy.parameters().size() == 1);
    const auto b = some_rows();
    arrays one(b);
    one.log_prob.assign(lengths(b), 1);
    policy.backward(policy.forward(b, {}), {.d_log_prob = std::as_const(one).log_prob.view()});
    double squares = 0;
    for (const float g : gradients(policy.parameters())) squares += static_cast<double>(g) * static_cast<double>(g);
    REQUIRE(policy.step({}).grad_norm == Approx(std::sqrt(squares)));
}

TEST_CASE("torch adapters: clones share nothing, modes and precisions are the module's", "[torch]") {
    torch::manual_seed(7);
    gru_net net(vocabulary, 0.5);
    net->embedding->weight.set_requires_grad(false);
    torch_policy policy{net};
    auto copy = policy.clone();
    REQUIRE(copy.parameters().size() == 6);
    const auto b = some_rows();
    arrays a(b), c(b), d(b);
    policy.evaluate(b, a.out());
    copy.evaluate(b, c.out());
    REQUIRE(std::equal(a.log_prob.flat().begin(), a.log_prob.flat().end(), c.log_prob.flat().begin()));
    copy.parameters()[5].values[0] += 1;
    policy.evaluate(b, c.out());
    REQUIRE(std::equal(a.log_prob.flat().begin(), a.log_prob.flat().end(), c.log_prob.flat().begin()));
    torch_scorer scorer{gru_net(1)};
    auto second = scorer.clone();
    REQUIRE(&second.module() != &scorer.module());

    policy.forward(b, d.out());  // dropout
    REQUIRE_FALSE(std::equal(a.log_prob.flat().begin(), a.log_prob.flat().end(), d.log_prob.flat().begin()));
    torch_policy still{net, {.train_mode = false}};
    still.forward(b, d.out());
    REQUIRE(std::equal(a.log_prob.flat().begin(), a.log_prob.flat().end(), d.log_prob.flat().begin()));

    net->to(torch::kDouble);
    policy.evaluate(b, d.out());
    for (std::size_t k = 0; k < 8; ++k) REQUIRE(d.log_prob.flat()[k] == Approx(a.log_prob.flat()[k]).margin(1e-6));
    REQUIRE(message_of<option_error>([&] { policy.parameters(); }) ==
            "rlgaf::torch_policy: parameters(), gru.weight_ih_l0: expected contiguous float in host memory, got Double "
            "on cpu");
}

TEST_CASE("torch_policy: a logit of -infinity is probability 0, without NaN in the gradient", "[torch]") {
    auto cut = table;
    cut[2] = -std::numeric_limits<float>::infinity();
    torch_policy policy{std::make_shared<table_net>(cut), {.start_token = 0, .max_length = 1}};
    const auto b = policy.rollout({}, sample_ids(300), {}, {});
    REQUIRE(std::find(b.token.begin(), b.token.end(), 2) == b.token.end());
    arrays a(b), one(b);
    one.log_prob.assign(lengths(b), 1);
    one.entropy.assign(lengths(b), 1);
    policy.backward(policy.forward(b, a.out()), one.cotangents());
    const auto g = gradients(policy.parameters());
    REQUIRE(first_nonfinite(std::span<const float>(g)) == g.size());
    REQUIRE(first_nonfinite(std::span<const float>(a.entropy.flat())) == b.token.size());
}

TEST_CASE("torch_policy: policy gradient raises a known reward", "[torch]") {
    torch::manual_seed(8);
    torch_policy policy{gru_net(vocabulary), {.max_length = 6}};
    const auto share_of_threes = [](const token_batch<float>& b) {
        return static_cast<double>(std::count(b.token.begin(), b.token.end(), 3)) / static_cast<double>(b.token.size());
    };
    double first = 0, last = 0;
    for (std::uint32_t round = 0; round < 40; ++round) {
        const auto b = policy.rollout({}, sample_ids(64), {}, {9, round});
        last = share_of_threes(b);
        if (round == 0) first = last;
        arrays a(b);
        for (std::size_t k = 0; k < b.token.size(); ++k)
            a.log_prob.flat()[k] = static_cast<float>(-((b.token[k] == 3 ? 1.0 : 0.0) - last));
        policy.backward(policy.forward(b, {}), {.d_log_prob = std::as_const(a).log_prob.view()});
        REQUIRE(policy.step({.learning_rate = 0.05}).applied);
    }
    INFO("share of threes " << first << " -> " << last);
    REQUIRE(first < 0.5);
    REQUIRE(last > 0.9);
}

TEST_CASE("torch adapters: conformance", "[torch]") {
    torch::manual_seed(10);
    const auto require_ok = [](const conformance_report& report) {
        INFO(to_string(report));
        REQUIRE(report.ok());
    };
    gru_policy policy{gru_net(), {.end_token = 4, .max_length = 6}};
    const auto b = policy.rollout({}, sample_ids(12), {}, {3, 0});
    require_ok(check_conformance(policy, {}));

    token_prompts ask;
    ask.add(ids{1, 2});
    ask.add(ids{});
    ask.add(ids{3});
    gru_policy asked{gru_net(), {.end_token = 0, .max_length = 4}};
    require_ok(check_conformance(asked, ask, {.frequency_rows = 4000, .rollout = {.temperature = 1.3}}));

    torch_policy unclonable{std::make_shared<table_net>(table), {.start_token = 1, .max_length = 3}};
    require_ok(check_conformance(unclonable, {}, {.frequency_rows = 4000}));

    const auto rows_of_both = concat(some_rows(), b);
    torch_scorer last{gru_net(1)};
    require_ok(check_conformance_scorer(last, rows_of_both));
    torch_scorer mean{gru_net(1), {.reading = torch_reading::mean_of_row}};
    require_ok(check_conformance_scorer(mean, rows_of_both));
    torch_scorer pooled{std::make_shared<pooled_net>()};
    require_ok(check_conformance_scorer(pooled, rows_of_both));
    judge embedded{judge_net(1), {.start_token = 2}};
    const conformance_report report = check_conformance_scorer(embedded, rows_of_both);
    require_ok(report);
    for (const char* const check : {"token scores", "gradient of token scores", "perturbed inputs", "input gradient",
                                    "input gradient of moved rows", "gradient of moved rows", "token weights"})
        REQUIRE(!report.find(check)->skipped());
}

TEST_CASE("torch_policy: logits are shown token by token, and what is added to d_logits is a gradient", "[torch]") {
    torch::manual_seed(21);
    torch_policy policy{gru_net(vocabulary), {.train_mode = false}};
    const auto b = some_rows();
    arrays a(b), c(b);
    std::vector<float> weight;
    const random_stream random({8, 0}, stream::user);
    for (std::uint32_t k = 0; k < 7 * 5; ++k) weight.push_back(static_cast<float>(random.normal(k)));
    std::vector<double> log_prob;
    std::vector<std::int32_t> action;
    for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) { action.push_back(b.row(i)[t]); });
    double total = 0;
    // A bent function of the logits: sum of weight * z^2 / 2.
    const auto visitor = [&](std::size_t token, std::span<const float> z, std::span<float> d_z) {
        REQUIRE((z.size() == 5 && d_z.size() == 5 && token == log_prob.size()));
        log_prob.push_back(std::log(softmax(z, 1)[static_cast<std::size_t>(action[token])]));
        for (std::size_t v = 0; v < 5; ++v) {
            REQUIRE(d_z[v] == 0);
            d_z[v] = weight[5 * token + v] * z[v];
            total += static_cast<double>(d_z[v]) * static_cast<double>(z[v]) / 2;
        }
    };
    const auto value = [&] {
        total = 0;
        log_prob.clear();
        policy.forward(b, a.out(), visitor);
        return total;
    };
    const auto blocks = policy.parameters();
    value();
    REQUIRE(gradients(blocks) == std::vector<float>(gradients(blocks).size()));  // without backward nothing is added
    REQUIRE(log_prob.size() == 7);
    std::size_t k = 0;
    for_each_token(a.log_prob.view(), mask(b), [&](std::size_t i, std::size_t t) {
        REQUIRE(a.log_prob.view().row(i)[t] == Approx(log_prob[k++]).margin(1e-5));  // rows have temperatures
    });
    log_prob.clear();
    policy.backward(policy.forward(b, {}, visitor), {});
    require_gradient(blocks, value);

    // Beside other cotangents.
    const auto alone = gradients(blocks);
    policy.discard();
    c.log_prob.assign(lengths(b), 1);
    policy.backward(policy.forward(b, {}), c.cotangents());
    const auto others = gradients(blocks);
    policy.discard();
    log_prob.clear();
    policy.backward(policy.forward(b, {}, visitor), c.cotangents());
    const auto both = gradients(blocks);
    for (std::size_t i = 0; i < both.size(); ++i) REQUIRE(both[i] == Approx(alone[i] + others[i]).margin(1e-4));

    arrays none(token_batch<float>{});
    policy.backward(policy.forward({}, none.out(), visitor), {});
}

TEST_CASE("torch_scorer: a token's score is that of the row up to and with it", "[torch]") {
    torch::manual_seed(22);
    torch_scorer scorer{gru_net(1), {.train_mode = false}};
    auto b = some_rows();
    for (std::size_t i = 0; i < rows(b); ++i) b.prompt.add(i % 2 == 0 ? ids{} : ids{2, 1});
    ragged_buffer<float> score, c;
    score.assign(lengths(b), 77);
    c.assign(lengths(b));
    scorer.evaluate_tokens(b, score.view());
    for (std::size_t i = 0; i < rows(b); ++i)
        for (std::size_t t = 0; t < b.length[i]; ++t) {
            token_batch<float> start;
            start.add(b.row(i).first(t + 1), row_end::truncated);
            start.prompt.add(b.prompt.row(i));
            std::vector<float> whole(1);
            scorer.evaluate(start, whole);
            const bool masked = b.mask[b.offset[i] + t] == 0;
            REQUIRE(score.view().row(i)[t] == (masked ? Approx(77) : Approx(whole[0]).margin(1e-6)));
        }

    const random_stream random({9, 0}, stream::user);
    for (std::uint32_t k = 0; k < 8; ++k) c.flat()[k] = static_cast<float>(random.normal(k));
    c.flat()[1] = std::numeric_limits<float>::quiet_NaN();  // masked: never read
    const auto blocks = scorer.parameters();
    scorer.backward_tokens(scorer.forward_tokens(b, score.view()), std::as_const(c).view());
    require_gradient(blocks, [&] {
        scorer.evaluate_tokens(b, score.view());
        double total = 0;
        for_each_token(tokens(b), mask(b), [&](std::size_t i, std::size_t t) {
            total += static_cast<double>(score.view().row(i)[t]) * static_cast<double>(c.view().row(i)[t]);
        });
        return total;
    });
    scorer.discard();
    scorer.forward_tokens(b, score.view());
    REQUIRE(scorer.step({}).grad_norm == 0);

    ragged_buffer<float> none;
    scorer.backward_tokens(scorer.forward_tokens({}, none.view()), std::as_const(none).view());
    REQUIRE_THROWS_AS(scorer.evaluate_tokens(b, none.view()), shape_error);
    REQUIRE_THROWS_AS(scorer.backward_tokens(scorer.forward_tokens(b, score.view()), std::as_const(none).view()),
                      shape_error);
    torch_scorer of_rows{std::make_shared<pooled_net>()};
    REQUIRE(message_of<shape_error>([&] { of_rows.evaluate_tokens(b, score.view()); }) ==
            "rlgaf::torch_scorer: module.forward: expected [B, T] = [4, 6] for scores of tokens, got [4]");
    torch_scorer wide{gru_net(3), {.width = 3}};
    REQUIRE_THROWS_AS(wide.evaluate_tokens(b, score.view()), option_error);
}

TEST_CASE("torch_scorer: more than one number a row", "[torch]") {
    torch::manual_seed(23);
    const auto b = some_rows();
    judge_net net(3);
    judge wide{net, {.width = 3}};
    REQUIRE(score_width(wide) == 3);
    REQUIRE(score_width(gru_scorer{gru_net(1)}) == 1);
    const auto one_of = [&](std::int64_t w) {
        return torch_scorer{
            std::make_shared<stub_net>([&net, w](torch::Tensor t) { return net->forward(t).select(2, w); })};
    };
    std::vector<float> score(12), one(4);
    const std::vector<float> c = {1, -2, 0.5f, 3, 1, 2, -1, 0.25f, 1, 2, -2, 0.5f};
    wide.evaluate(b, score);
    for (std::size_t w = 0; w < 3; ++w) {
        auto scorer = one_of(static_cast<std::int64_t>(w));
        scorer.evaluate(b, one);
        for (std::size_t i = 0; i < 4; ++i) REQUIRE(score[3 * i + w] == Approx(one[i]).margin(1e-6));
    }
    wide.backward(wide.forward(b, score), c);
    require_gradient(wide.parameters(), [&] {
        wide.evaluate(b, score);
        return dot(score, c);
    });
    torch_scorer of_rows{
        std::make_shared<stub_net>([&](torch::Tensor t) { return net->forward(t).select(1, 0).contiguous(); }),
        {.width = 3}};
    of_rows.evaluate(b, score);
    REQUIRE(score[2] == Approx(score[5]).margin(1e-6));
    REQUIRE(score[2] != score[1]);

    REQUIRE(message_of<shape_error>([&] {
                torch_scorer{gru_net(2), {.width = 3}}.evaluate(b, score);
            }) ==
            "rlgaf::torch_scorer: module.forward: expected [B, W] = [4, 3] or [B, T, W] = [4, 5, 3], got [4, 5, 2]");
    REQUIRE_THROWS_AS(wide.evaluate(b, one), shape_error);
    REQUIRE_THROWS_AS(judge(net, {.width = 0}), option_error);
}

TEST_CASE("torch_scorer: perturbations move embeddings", "[torch]") {
    torch::manual_seed(24);
    judge_net net(1, 0.5);
    judge scorer{net, {.start_token = 1, .pad_token = 3}};
    const auto b = some_rows();
    std::vector<float> still(4), moved(4);
    scorer.evaluate(b, still);
    scorer.forward(b, judge::perturbation{}, moved);  // dropout is off
    REQUIRE(still == moved);
    REQUIRE(norms(scorer, {}) == std::vector<float>(4));

    // Noise: number t * E + e of sample i, nothing at the padding.
    const rng_key key{12, 3};
    const auto p = scorer.noise(b, 0.5, key);
    const auto n = norms(scorer, p);
    for (std::size_t i = 0; i < 4; ++i) {
        const random_stream random(key, stream::noise, i);
        double squares = 0;
        for (std::uint32_t k = 0; k < 3 * (1 + b.length[i]); ++k) squares += std::pow(0.5 * random.normal(k), 2);
        REQUIRE(n[i] == Approx(std::sqrt(squares)));
    }
    scorer.forward(b, p, moved);
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(std::abs(moved[i] - still[i]) > 1e-4f);
    REQUIRE(norms(scorer, scorer.noise(b, 0, key)) == std::vector<float>(4));
    scorer.forward(b, scorer.noise(b, 0, key), moved);
    REQUIRE(still == moved);

    // Perturbations are values: a scaled copy leaves the first alone.
    auto copy = p;
    scorer.scale(copy, std::vector<float>{2, 0, -1, 3});
    for (std::size_t i = 0; i < 4; ++i)
        REQUIRE(norms(scorer, copy)[i] == Approx(n[i] * std::array<float, 4>{2, 0, 1, 3}[i]));
    REQUIRE(norms(scorer, p) == n);
    judge::perturbation grown;
    scorer.add(grown, {});
    scorer.add(grown, p);
    scorer.add(grown, {});
    scorer.add(grown, p);
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(norms(scorer, grown)[i] == Approx(2 * n[i]));
    REQUIRE(norms(scorer, p) == n);

    // All the way to other rows is those rows, where the lengths agree.
    token_batch<float> other;
    for (const auto& row : {ids{4, 2, 0, 1}, ids{0}, ids{2}, ids{3, 3}}) other.add(row, row_end::terminated);
    std::vector<float> there(4);
    scorer.evaluate(other, there);
    scorer.forward(b, scorer.towards(b, other, std::vector<float>(4, 1)), moved);
    for (std::size_t i = 0; i < 2; ++i) REQUIRE(moved[i] == Approx(there[i]).margin(1e-6));
    REQUIRE(moved[2] == still[2]);  // of an empty row only the start token is there
    const auto gap = norms(scorer, scorer.towards(b, other, std::vector<float>(4, 0.5f)));
    const torch::Tensor table_of = net->embedding->weight.detach();
    const auto square = [&](std::int64_t x, std::int64_t y) {
        return (table_of[x] - table_of[y]).square().sum().item<double>() / 4;
    };
    REQUIRE(gap[2] == 0);
    REQUIRE(gap[3] == Approx(std::sqrt(2 * square(0, 3))));  // the third token has no partner
    const auto back = norms(scorer, scorer.towards(other, b, std::vector<float>(4, 0.5f)));
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(back[i] == Approx(gap[i]));

    // Refusals.
    const auto part = select(b, std::array<std::size_t, 2>{1, 2});
    REQUIRE(message_of<shape_error>([&] { scorer.forward(part, p, std::span(moved).first(2)); }) ==
            "rlgaf::torch_scorer: perturbation: expected one of the same rows, [2, 2, 3], got [4, 5, 3]");
    REQUIRE_THROWS_AS(scorer.towards(b, part, still), shape_error);
    REQUIRE_THROWS_AS(scorer.towards(b, other, std::span(still).first(2)), shape_error);
    REQUIRE_THROWS_AS(scorer.input_gradient(b, {}, std::span(still).first(2)), shape_error);
    REQUIRE_THROWS_AS(scorer.row_norms(p, std::span(moved).first(2)), shape_error);
    REQUIRE_THROWS_AS(scorer.scale(copy, std::span(moved).first(2)), shape_error);
    REQUIRE_THROWS_AS(scorer.add(copy, scorer.noise(part, 1, key)), shape_error);
    REQUIRE_THROWS_AS(scorer.noise(b, -1, key), option_error);

    // No rows, and rows without a position.
    auto nothing = scorer.noise({}, 1, key);
    scorer.add(nothing, scorer.towards({}, {}, {}));
    scorer.add(nothing, scorer.input_gradient({}, {}, {}));
    scorer.backward(scorer.forward({}, nothing, {}), {});
    judge bare{net, {.start_token = -1}};
    REQUIRE(norms(bare, bare.noise(b, 1, key))[2] == 0);
    REQUIRE(norms(bare, bare.input_gradient(b, {}, still))[2] == 0);
}

TEST_CASE("torch_scorer: input_gradient is the slope of the scores by the inputs", "[torch]") {
    torch::manual_seed(25);
    const auto b = some_rows();
    const auto require_slope = [&](auto scorer) {
        const std::vector<float> d = {1, -2, 0.5f, 3};
        std::vector<float> up(4), down(4);
        const auto at = scorer.noise(b, 0.3, {1, 0}), direction = scorer.noise(b, 1, {2, 0});
        const auto g = scorer.input_gradient(b, at, d);
        for (const auto& block : scorer.parameters())
            for (const float x : block.gradients) REQUIRE(x == 0);
        // <g, direction> from norms: |g + v|^2 - |g - v|^2 = 4 <g, v>.
        const auto plus = norms(scorer, sum_of(scorer, g, direction, 1)),
                   minus = norms(scorer, sum_of(scorer, g, direction, -1));
        const double h = 1e-2;
        scorer.forward(b, sum_of(scorer, at, direction, h), up);
        scorer.forward(b, sum_of(scorer, at, direction, -h), down);
        for (std::size_t i = 0; i < 4; ++i) {
            const auto of = [&](const std::vector<float>& x) { return static_cast<double>(x[i]); };
            REQUIRE(std::abs(of(plus) * of(plus) - of(minus) * of(minus)) > 1e-3);
            REQUIRE((of(plus) * of(plus) - of(minus) * of(minus)) / 4 ==
                    Approx(static_cast<double>(d[i]) * (of(up) - of(down)) / (2 * h)).epsilon(3e-3).margin(1e-3));
        }
        // And the slope by the parameters at the moved inputs.
        const auto blocks = scorer.parameters();
        scorer.backward(scorer.forward(b, at, up), d);
        require_gradient(blocks, [&] {
            scorer.forward(b, at, up);
            return dot(up, d);
        });
    };
    require_slope(judge{judge_net(1), {.start_token = 2}});
    require_slope(judge{judge_net(1, 0.5), {.start_token = 2}});
    require_slope(torch_scorer{std::make_shared<pooled_judge>(), {.start_token = 2}});
}

TEST_CASE("torch_scorer: attribute is e_t . d score / d e_t", "[torch]") {
    torch::manual_seed(26);
    token_batch<float> b = some_rows();
    const auto check = [&](auto scorer, torch::nn::Embedding embedding) {
        {
            const torch::NoGradGuard no_grad;
            embedding->weight[0].zero_();  // so that going some way to token 0 takes that part of e_t away
        }
        const std::size_t width = scorer.width();
        std::vector<float> weight(b.token.size()), up(4 * width), down(4 * width), way(4), back(4);
        scorer.attribute(b, ragged_view<float>::packed(weight.data(), b.offset));
        for (const auto& block : scorer.parameters())
            for (const float x : block.gradients) REQUIRE(x == 0);
        const double h = 1e-2;
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t t = 0; t < b.length[i]; ++t) {
                const std::size_t k = b.offset[i] + t;
                auto other = b;
                other.token[k] = 0;
                std::fill(way.begin(), way.end(), static_cast<float>(h));
                std::fill(back.begin(), back.end(), static_cast<float>(-h));
                scorer.forward(b, scorer.towards(b, other, back), up);
                scorer.forward(b, scorer.towards(b, other, way), down);
                double slope = 0;
                for (std::size_t c = i * width; c < (i + 1) * width; ++c)
                    slope += (static_cast<double>(up[c]) - static_cast<double>(down[c])) /
                             (2 * h * static_cast<double>(width));
                REQUIRE(static_cast<double>(weight[k]) == Approx(slope).epsilon(3e-3).margin(1e-4));
                REQUIRE((b.token[k] == 0) == (weight[k] == 0));
            }
    };
    const auto last = [&](std::int64_t outputs, double dropout, torch_scorer_options o) {
        judge_net net(outputs, dropout);
        check(judge{net, std::move(o)}, net->embedding);
    };
    last(1, 0, {.start_token = 2});
    last(1, 0.5, {.start_token = 2});
    last(3, 0, {.start_token = 2, .width = 3});
    const auto pooled = std::make_shared<pooled_judge>();
    check(torch_scorer{pooled, {.start_token = 2}}, pooled->embedding);
    for (std::size_t i = 0; i < 4; ++i) b.prompt.add(ids{3, 1});
    last(1, 0, {.start_token = 2});
    REQUIRE(message_of<shape_error>([&] {
                judge{judge_net(1), {.start_token = 2}}.attribute(b, ragged_view<float>{});
            }) == "rlgaf::torch_scorer::attribute: weight: expected 4 elements, got 0");
}

namespace {

/// phi of R1 (gamma / 2 n^2) or of a gradient penalty (lambda (n - 1)^2).
struct penalty {
    bool r1;
    torch::Tensor of(const torch::Tensor& n) const { return r1 ? 0.5 * n.square() : 10 * (n - 1).square(); }
    double slope(double n) const { return r1 ? n : 20 * (n - 1); }
};

/// Central differences against torch's own second derivatives, of the same numbers. Returns the distance relative to
/// the exact gradient's length.
double penalty_error(torch::ScalarType precision, torch_reading reading, const penalty& phi, bool between) {
    torch::manual_seed(26);
    judge_net net;
    for (const torch::Tensor& x : net->parameters()) x.data().normal_(0, 0.8);
    net->to(precision);
    judge scorer{net, {.start_token = 1, .reading = reading}};
    token_batch<float> real, fake;
    for (const auto& row : {ids{1, 2, 3, 4}, ids{4}, ids{}, ids{0, 0, 3}}) real.add(row, row_end::terminated);
    for (const auto& row : {ids{2, 2}, ids{1, 0, 3}, ids{2}, ids{4, 3, 1}}) fake.add(row, row_end::terminated);
    const std::vector<float> c = {1, 0.5f, 2, 1.5f}, share = {0.25f, 0.5f, 0.75f, 0.9f};
    const std::size_t n = 4;

    // Torch: the score as the adapter reads it, by hand.
    const torch::Tensor tokens =
        torch::tensor({1, 1, 2, 3, 4, 1, 4, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 3, 0}).view({4, 5});
    const torch::Tensor partner =
        torch::tensor({1, 2, 2, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 3, 1, 0}).view({4, 5});
    const torch::Tensor has_both = torch::tensor({1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0});
    torch::Tensor picks = torch::zeros({4, 5}, precision);
    for (std::int64_t i = 0; i < 4; ++i) {
        const auto length = static_cast<std::int64_t>(real.length[static_cast<std::size_t>(i)]);
        if (reading == torch_reading::last_token)
            picks[i][length] = 1;
        else
            for (std::int64_t t = 1; t <= length; ++t) picks[i][t] = 1.0 / static_cast<double>(length);
    }
    torch::Tensor x = net->embed(tokens);
    if (between)
        x = x + ((net->embed(partner) - x) * has_both.view({4, 5, 1}) * torch::tensor(share).view({4, 1, 1})).detach();
    const torch::Tensor score = (net->forward_embedded(x).squeeze(-1) * picks).sum();
    const torch::Tensor g = torch::autograd::grad({score}, {x}, {}, true, true)[0];
    // An empty row has no score to average, and a norm of 0 no derivative.
    const torch::Tensor squares = g.square().sum({1, 2}), some = squares > 0;
    const torch::Tensor norm = torch::where(some, squares, torch::ones_like(squares)).sqrt();
    (phi.of(norm) * some * torch::tensor(c)).sum().backward();
    std::vector<torch::Tensor> exact;
    for (const torch::Tensor& p : net->parameters())
        exact.push_back(p.grad().defined() ? p.grad().to(torch::kDouble).clone()
                                           : torch::zeros_like(p, torch::kDouble));
    scorer.discard();

    judge::perturbation at;
    if (between) at = scorer.towards(real, fake, share);
    penalty_scratch<float> scratch;
    rlgaf::detail::penalize_slopes(
        scorer, real, at,
        [&](std::span<const double> length, std::span<double> slope) {
            for (std::size_t i = 0; i < n; ++i) {
                const auto row = static_cast<std::int64_t>(i);
                REQUIRE(length[i] == Approx(some[row].item<bool>() ? norm[row].item<double>() : 0.0));
                slope[i] = static_cast<double>(c[i]) * phi.slope(length[i]);
            }
            return penalty_stats{};
        },
        scratch);

    double error = 0, whole = 0;
    std::size_t k = 0;
    for (const torch::Tensor& p : net->parameters()) {
        error += (p.grad().to(torch::kDouble) - exact[k]).square().sum().item<double>();
        whole += exact[k++].square().sum().item<double>();
    }
    REQUIRE(whole > 1e-2);
    return std::sqrt(error / whole);
}

}  // namespace

TEST_CASE("torch_scorer: penalties by differences are those of torch's second derivatives", "[torch]") {
    for (const torch_reading reading : {torch_reading::last_token, torch_reading::mean_of_row})
        for (const bool r1 : {true, false})
            for (const bool between : {false, true}) {
                const double fine = penalty_error(torch::kDouble, reading, {r1}, between);
                const double coarse = penalty_error(torch::kFloat, reading, {r1}, between);
                INFO("mean " << (reading == torch_reading::mean_of_row) << ", R1 " << r1 << ", between " << between
                             << ": " << fine << " in double, " << coarse << " in float");
                REQUIRE(fine < 1e-4);
                REQUIRE(coarse < 2e-2);
            }
}

TEST_CASE("torch adapters: a GPU says what the CPU says", "[torch]") {
    if (!torch::cuda::is_available()) return;
    at::globalContext().setAllowTF32CuDNN(false);  // ten bits are too few to compare
    torch::manual_seed(27);
    judge_net net(1, 0.5), twin(1, 0.5);
    gru_net model(vocabulary), model_twin(vocabulary);
    const auto copy = [](auto& from, auto& to) {
        const torch::NoGradGuard no_grad;
        for (std::size_t i = 0; i < from->parameters().size(); ++i) to->parameters()[i].copy_(from->parameters()[i]);
    };
    copy(net, twin);
    copy(model, model_twin);
    judge here{net}, there{twin, {.device = torch::Device(torch::kCUDA)}};
    gru_policy policy_here{model, {.train_mode = false}},
        policy_there{model_twin, {.train_mode = false, .device = torch::Device(torch::kCUDA)}};
    const auto b = some_rows();
    const auto same = [](auto& x, auto& y) {
        for (std::size_t i = 0; i < x->parameters().size(); ++i) {
            const torch::Tensor a = x->parameters()[i].grad(), c = y->parameters()[i].grad().cpu();
            REQUIRE(torch::allclose(a, c, 1e-3, 1e-4));
        }
    };
    const std::vector<float> d = {1, -2, 0.5f, 3};
    const auto penalize = [&](judge& scorer) {
        const auto at = scorer.noise(b, 0.3, {1, 0});
        const auto g = scorer.input_gradient(b, at, d);
        std::vector<float> score(4);
        scorer.backward(scorer.forward(b, sum_of(scorer, at, g, 0.1), score), d);  // in eval(), without cuDNN
        for (const float x : norms(scorer, g)) score.push_back(x);
        for (const float x : norms(scorer, scorer.towards(b, select(b, std::array<std::size_t, 4>{1, 0, 3, 2}), d)))
            score.push_back(x);
        ragged_buffer<float> each;
        each.assign(lengths(b));
        scorer.evaluate_tokens(b, each.view());
        for (const float x : each.flat()) score.push_back(x);
        return score;
    };
    const auto x = penalize(here), y = penalize(there);
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(x[i] == Approx(y[i]).epsilon(1e-3).margin(1e-4));
    same(net, twin);

    const auto shown = [&](gru_policy& policy) {
        std::vector<float> all;
        const auto visitor = [&](std::size_t, std::span<const float> z, std::span<float> d_z) {
            for (std::size_t v = 0; v < z.size(); ++v) d_z[v] = z[v];
            all.insert(all.end(), z.begin(), z.end());
        };
        policy.backward(policy.forward(b, {}, visitor), {});
        return all;
    };
    const auto z = shown(policy_here), w = shown(policy_there);
    for (std::size_t i = 0; i < z.size(); ++i) REQUIRE(z[i] == Approx(w[i]).epsilon(1e-3).margin(1e-4));
    same(model, model_twin);
    REQUIRE(at::globalContext().userEnabledCuDNN());

    // Samples are a function of key and id; only the last bits of logits may differ.
    const auto r = policy_here.rollout({}, sample_ids(16), {.max_length = 8}, {3, 0}),
               s = policy_there.rollout({}, sample_ids(16), {.max_length = 8}, {3, 0});
    REQUIRE(r.token == s.token);
}
