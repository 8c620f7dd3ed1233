// What the algorithms cost beside the model: ns a token of each loss, estimator and reward stage, beside a memcpy of
// the same traffic and LibTorch doing the same. Where a kernel returns them, LibTorch computes statistics as well,
// without a gradient: of a ratio the mean of ratio - 1 - log ratio, the largest one and the clipped share; of advantages
// mean and deviation.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/table.hpp"
#include "rlgaf/rlgaf.hpp"
#include "support/torch_formulas.hpp"

namespace {

struct shape {
    std::size_t rows, tokens;
    std::size_t size() const { return rows * tokens; }
};

struct result {
    const char* name;
    const char* layout;  // packed, padded, or flat: an element is a row of its own, as are scores and row weights
    const char* kind;    // elementwise, exponential (or logarithm), sorting, other
    std::size_t bytes;   // that a token's arrays hold, once for reading and once for writing
    double ns;
};

constexpr auto nothing = [] {};  // to do, and the batch of stages that read none

/// What a kernel returns is wanted: without this, compilers leave out the work for it.
template <class Stats>
void keep(const Stats& stats) {
    asm volatile("" : : "r"(&stats) : "memory");
}

/// What is measured, and how often.
struct selection {
    std::string only;  // part of a kernel's name
    std::size_t repeats;
    bool wants(std::string_view name) const { return name.find(only) != std::string_view::npos; }
};

/// Median of `repeats` runs in ns a token; before() is not measured.
template <class Before, class F>
double time_of(shape s, std::size_t repeats, Before&& before, F&& f) {
    std::vector<double> ns;
    for (std::size_t i = 0; i <= repeats; ++i) {
        before();
        const auto start = std::chrono::steady_clock::now();
        f();
        const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
        if (i > 0) ns.push_back(taken.count());  // the first one warms up
    }
    std::nth_element(ns.begin(), ns.begin() + static_cast<std::ptrdiff_t>(ns.size() / 2), ns.end());
    return ns[ns.size() / 2] / static_cast<double>(s.size());
}

/// Median as above, of few runs where one takes long; 0 where LibTorch has no counterpart.
double torch_time(const std::string& kernel, shape s, bool wide, std::size_t repeats) {
    const torch_kernel k = make_torch_kernel(kernel, s.rows, s.tokens, wide, 4);
    if (!k.run) return 0;
    const double once = time_of(s, 1, nothing, k.run) * 1e-9 * static_cast<double>(s.size());
    return time_of(s, std::clamp<std::size_t>(static_cast<std::size_t>(0.3 / once), 1, repeats), nothing, k.run);
}

double memcpy_ns(shape s, std::size_t bytes, std::size_t repeats) {
    const std::string from(s.size() * bytes / 2, 'x');
    std::string to = from;
    return time_of(s, repeats, nothing, [&] {
        std::memcpy(to.data(), from.data(), to.size());
        asm volatile("" : : "r"(to.data()) : "memory");
    });
}

/// Numbers of one step, in rows of equal length; padded rows have unused elements behind them.
template <class T>
struct per_token {
    std::vector<T> flat;
    std::vector<std::uint32_t> length;
    std::vector<std::size_t> offset;

    per_token(shape s, bool padded, std::uint64_t id, double mean, double spread) {
        const std::size_t stride = s.tokens + (padded ? 16 : 0);
        length.assign(s.rows, static_cast<std::uint32_t>(s.tokens));
        for (std::size_t b = 0; b <= s.rows; ++b) offset.push_back(b * stride);
        const rlgaf::random_stream random({id, 0}, rlgaf::stream::user);
        for (std::uint32_t i = 0; i < s.rows * stride; ++i)
            flat.push_back(static_cast<T>(mean + spread * random.normal(i)));
    }
    rlgaf::ragged_view<T> view() {
        return offset[1] > length[0] ? rlgaf::ragged_view<T>::padded(flat.data(), offset[1], length)
                                     : rlgaf::ragged_view<T>::packed(flat.data(), offset);
    }
};

/// `each` times 0, then 1 and so on.
std::vector<std::uint32_t> numbered(std::size_t rows, std::size_t each) {
    std::vector<std::uint32_t> id;
    for (std::size_t i = 0; i < rows; ++i) id.push_back(static_cast<std::uint32_t>(i / each));
    return id;
}

/// Losses and estimators on rows of tokens. Four rows answer a prompt.
template <class T>
void measure_tokens(shape s, bool padded, const selection& chosen, std::vector<result>& out) {
    using namespace rlgaf;
    per_token<T> log_prob(s, padded, 1, -2, 0.5), old(s, padded, 2, -2, 0.1), reference(s, padded, 3, -2, 0.5);
    per_token<T> advantage(s, padded, 4, 0, 1), written(s, padded, 5, 0, 1), target(s, padded, 8, 0, 1);
    per_token<T> factor(s, padded, 9, 1, 0);
    for (std::size_t i = 0; i < old.flat.size(); ++i) old.flat[i] += log_prob.flat[i] + T(2);
    const std::vector<std::uint32_t> prompt = numbered(s.rows, 4);
    const groups group{prompt, s.rows / 4};
    const std::vector<double> weight(s.rows, 1.0 / static_cast<double>(s.size()));
    const std::span<const double> w(weight);
    rewards<T> whole, stepwise;  // one outcome a row; one reward a token
    whole.begin(log_prob.length);
    stepwise.begin(log_prob.length);
    std::copy_n(advantage.flat.begin(), s.rows, whole.add_outcome("reward").begin());
    for (std::size_t b = 0; b < s.rows; ++b)
        std::ranges::copy(advantage.view().row(b), stepwise.token().row(b).begin());
    const std::vector<double> greedy(s.rows, 0.1);
    const ragged_view<const T> p = log_prob.view(), o = old.view(), r = reference.view(), a = advantage.view();
    const advantage_terms<T> earned{.reward = whole.view(),
                                    .group = group,
                                    .value = r,
                                    .log_prob = p,
                                    .behaviour_log_prob = o,
                                    .score_norm = r,
                                    .greedy_reward = greedy};
    advantage_terms<T> by_step = earned;
    by_step.reward = stepwise.view();
    const policy_terms<T> terms{.log_prob = p, .advantage = a, .reference_log_prob = r, .entropy = r};
    policy_terms<T> with_old = terms;
    with_old.old_log_prob = o;
    const shaping_terms<T> shaped{.score = {}, .log_prob = p, .reference_log_prob = r, .group = group};
    const value_terms<T> values{.value = p, .old_value = o, .returns = a};
    const factor_terms<T> sampling{
        .log_prob = p, .old_log_prob = p, .behaviour_log_prob = o, .advantage = a, .entropy = r};
    std::vector<preference_pair> pairs;
    for (std::uint32_t i = 0; i + 1 < s.rows; i += 2) pairs.push_back({.chosen = i, .rejected = i + 1});
    const preference_terms<T> preferred{.log_prob = p, .reference_log_prob = r, .pairs = pairs};
    workspace work;
    const ragged_view<T> d = written.view();
    const auto row = [&](const char* name, const char* kind, std::size_t arrays, auto&& f) {
        if (chosen.wants(name))
            out.push_back(
                {name, padded ? "padded" : "packed", kind, arrays * sizeof(T), time_of(s, chosen.repeats, nothing, f)});
    };
    // A loss reads its arrays, and reads and writes the gradient; an estimator writes the advantages.
    const auto loss = [&](const char* name, const char* kind, std::size_t arrays, const auto& kernel,
                          const policy_terms<T>& x) {
        state_of<std::remove_cvref_t<decltype(kernel)>> memory{};
        row(name, kind, arrays, [&] {
            if constexpr (
                requires { kernel(x, w, d); } || requires { kernel(memory, x, w, d); })
                keep(call(kernel, memory, x, w, d));
            else
                keep(call(kernel, memory, x, w, d, work));
        });
    };
    const auto estimator = [&](const char* name, const char* kind, std::size_t arrays, const auto& kernel,
                               const advantage_terms<T>& x) {
        state_of<std::remove_cvref_t<decltype(kernel)>> memory{};
        row(name, kind, arrays, [&] { keep(call(kernel, memory, x, work, d)); });
    };
    loss("policy_gradient_loss", "elementwise", 4, policy_gradient_loss{}, terms);
    loss("is_reinforce", "exponential", 5, is_reinforce{}, with_old);
    loss("ppo_clip", "exponential", 5, ppo_clip{}, with_old);
    loss("two_sided_clip", "exponential", 5, two_sided_clip{}, with_old);
    loss("cispo", "exponential", 5, cispo{}, with_old);
    loss("sapo", "exponential", 5, sapo{}, with_old);
    loss("gspo", "exponential", 5, gspo{}, with_old);
    loss("gspo_token", "exponential", 5, gspo_token{}, with_old);
    loss("gmpo", "exponential", 5, gmpo{}, with_old);
    loss("luspo", "exponential", 5, luspo{}, with_old);
    loss("vespo", "exponential", 5, vespo{}, with_old);
    loss("topr", "exponential", 5, topr{}, with_old);
    loss("sequence_clip", "exponential", 5, sequence_clip{}, with_old);
    loss("astar_po", "elementwise", 5, astar_po{}, terms);
    loss("vmpo", "sorting", 4, vmpo{}, with_old);
    loss("kl_cov", "sorting", 5, kl_cov{}, with_old);
    loss("clip_cov", "sorting", 5, clip_cov{}, with_old);
    loss("kl_loss k1", "elementwise", 4, kl_loss{.estimator = kl_estimator::k1}, terms);
    loss("kl_loss abs", "elementwise", 4, kl_loss{.estimator = kl_estimator::abs}, terms);
    loss("kl_loss k2", "elementwise", 4, kl_loss{}, terms);
    loss("kl_loss k3", "exponential", 4, kl_loss{.estimator = kl_estimator::k3}, terms);
    loss("entropy_bonus", "elementwise", 3, entropy_bonus{}, terms);
    row("value_loss", "elementwise", 4, [&] { keep(value_loss{.rule = value_rule::squared}(values, w, d)); });
    row("value_loss clipped", "elementwise", 5, [&] { keep(value_loss{}(values, w, d)); });
    row("value_loss huber", "elementwise", 4, [&] { keep(value_loss{.rule = value_rule::huber}(values, w, d)); });
    row("sft", "elementwise", 3, [&] { keep(sft{}(p, {}, w, d)); });
    row("sft dft", "exponential", 3, [&] { keep(sft{.kind = sft_kind::dft}(p, {}, w, d)); });
    row("aot", "sorting", 4, [&] { keep(aot{}(preferred, work, d)); });
    row("dpo", "exponential", 4, [&] { keep(dpo{}(preferred, work, d)); });
    per_token<T> written_too(s, padded, 10, 0, 1);
    std::vector<std::uint8_t> expert(s.rows);
    for (std::size_t b = 0; b < s.rows; ++b) expert[b] = b % 2 == 0;
    const sqil_terms<T> mixed{.log_prob = p, .log_normalizer = r, .expert = expert};
    row("sqil", "other", 6, [&] { keep(sqil{}(mixed, d, written_too.view())); });
    estimator("reinforce", "other", 1, reinforce{}, earned);
    estimator("rloo", "other", 1, rloo{}, earned);
    estimator("grpo", "other", 1, grpo{}, earned);
    estimator("process_grpo", "other", 2, process_grpo{.group_size = 4}, by_step);
    estimator("gdpo", "other", 1, gdpo{}, earned);
    estimator("reinforce_plus_plus", "other", 2, reinforce_plus_plus{}, by_step);
    estimator("remax", "other", 1, remax{}, earned);
    estimator("opo", "other", 1, opo{}, earned);
    estimator("gpg", "other", 1, gpg{}, earned);
    estimator("bnpo", "other", 1, bnpo{.low = -10, .high = 10}, earned);
    estimator("maligan", "other", 1, maligan{}, earned);
    estimator("pass_at_k", "other", 1, pass_at_k{.group_size = 4, .k = 2}, earned);
    estimator("max_second", "sorting", 1, max_second{}, earned);
    estimator("pkpo", "sorting", 1, pkpo{.group_size = 4, .k = 2}, earned);
    estimator("rank_rescale", "sorting", 2, rank_rescale{}, by_step);
    estimator("gae", "other", 3, gae{}, by_step);
    estimator("vtrace", "other", 5, vtrace{}, by_step);
    estimator("n_step", "other", 3, n_step{}, by_step);
    estimator("off_policy", "other", 5, off_policy{}, by_step);
    estimator("optimal_token_baseline", "other", 3, optimal_token_baseline{}, by_step);
    row("importance_weights", "exponential", 4, [&] { keep(importance_weights{}(sampling, work, factor.view())); });
    row("rejection", "other", 4, [&] { keep(rejection{}(sampling, work, factor.view())); });
    row("off_policy_mask", "other", 4, [&] { keep(off_policy_mask{}(sampling, work, factor.view())); });
    row("high_entropy_mask", "sorting", 2, [&] { keep(high_entropy_mask{}(sampling, work, factor.view())); });
    row("kl_penalty", "elementwise", 4, [&] { kl_penalty{}(shaped, nothing, whole, work); });
}

/// Discriminator losses, reward stages and row weights, on as many rows as the shape has tokens.
template <class T>
void measure_rows(shape s, const selection& chosen, std::vector<result>& out) {
    using namespace rlgaf;
    per_token<T> real({s.size(), 1}, false, 6, 1, 2), fake({s.size(), 1}, false, 7, -1, 2);
    std::vector<T> written(2 * s.size());
    const std::span<T> d_real(written.data(), s.size()), d_fake(written.data() + s.size(), s.size());
    const std::vector<std::uint32_t> prompt = numbered(s.size(), 4), own = numbered(s.size(), 1);
    const groups group{prompt, s.size() / 4};
    const std::vector<std::uint8_t> truncated(s.size(), 1);
    std::vector<double> weight(s.size());
    rewards<T> reward;
    workspace work;
    const auto row = [&](const char* name, const char* kind, std::size_t bytes, auto&& before, auto&& f) {
        if (chosen.wants(name)) out.push_back({name, "flat", kind, bytes, time_of(s, chosen.repeats, before, f)});
    };
    const discriminator_terms<T> scores{.real = real.flat, .fake = fake.flat, .pairs = {own}};
    const auto adversary = [&](const char* name, const char* kind, const auto& kernel) {
        state_of<std::remove_cvref_t<decltype(kernel)>> memory;
        row(name, kind, 6 * sizeof(T) + 4, nothing, [&] {
            if constexpr (rlgaf::detail::takes<std::remove_cvref_t<decltype(kernel)>, decltype((scores)), std::span<T>,
                                               std::span<T>, workspace&>())
                keep(call(kernel, memory, scores, d_real, d_fake, work));
            else
                keep(call(kernel, memory, scores, d_real, d_fake));
        });
    };
    adversary("bce", "exponential", bce{});
    adversary("gail", "exponential", gail{});
    adversary("lsgan", "elementwise", lsgan{});
    adversary("wgan", "elementwise", wgan{});
    adversary("hinge", "elementwise", hinge{});
    adversary("total_variation", "exponential", total_variation{});
    adversary("f_gan kl", "exponential", f_gan{.kind = divergence::kl});
    adversary("f_gan pearson", "elementwise", f_gan{.kind = divergence::pearson});
    adversary("f_gan alpha", "exponential", f_gan{.kind = divergence::alpha});
    adversary("bradley_terry", "exponential", bradley_terry{});
    adversary("rp_ls", "elementwise", rp_ls{});
    adversary("rp_hinge", "elementwise", rp_hinge{});
    adversary("ragan", "exponential", ragan{});
    adversary("ra_ls", "elementwise", ra_ls{});
    adversary("ra_hinge", "elementwise", ra_hinge{});
    adversary("rao_kupper", "exponential", rao_kupper{});
    adversary("davidson", "exponential", davidson{});
    adversary("score_l2", "elementwise", score_l2{.coefficient = 1});
    adversary("per_column bce", "exponential", per_column{bce{}});
    std::vector<preference_pair> pairs;  // of both sides' scores
    std::vector<T> both(real.flat);
    both.insert(both.end(), fake.flat.begin(), fake.flat.end());
    for (std::uint32_t i = 0; i < s.size(); ++i)
        pairs.push_back({.chosen = i, .rejected = i + static_cast<std::uint32_t>(s.size())});
    row("reward_model", "exponential", 6 * sizeof(T) + 16, nothing,
        [&] { keep(reward_model{}(reward_model_terms<T>{.score = both, .pairs = pairs}, std::span<T>(written))); });
    row("aggregate", "other", 12, nothing, [&] { aggregate{}(fake.length, group, work, weight); });
    const shaping_terms<T> terms{.score = fake.flat, .log_prob = fake.view(), .truncated = truncated, .group = group};
    const auto begin = [&] {
        reward.begin(fake.length);
        std::ranges::copy(fake.flat, reward.add_outcome("reward").begin());
    };
    const auto stage = [&](const char* name, const char* kind, std::size_t bytes, const auto& kernel) {
        state_of<std::remove_cvref_t<decltype(kernel)>> memory;
        row(name, kind, bytes, begin, [&] { call(kernel, memory, terms, nothing, reward, work); });
    };
    stage("logit_reward", "elementwise", sizeof(T) + 8, logit_reward{});
    stage("log_d_reward", "exponential", sizeof(T) + 8, log_d_reward{});
    stage("neg_log_one_minus_d_reward", "exponential", sizeof(T) + 8, neg_log_one_minus_d_reward{});
    stage("d_reward", "exponential", sizeof(T) + 8, d_reward{});
    stage("two_d_minus_one_reward", "exponential", sizeof(T) + 8, two_d_minus_one_reward{});
    stage("fairl_reward", "exponential", sizeof(T) + 8, fairl_reward{});
    stage("tanh_reward", "exponential", sizeof(T) + 8, tanh_reward{});
    stage("least_squares_reward", "elementwise", sizeof(T) + 8, least_squares_reward{});
    stage("density_ratio_reward", "exponential", sizeof(T) + 8, density_ratio_reward{});
    stage("missing_eos", "elementwise", 1 + 8, missing_eos{});
    stage("overlong_filter", "elementwise", 1 + 8, overlong_filter{});
    stage("batch_normalize", "other", 8 + 8, batch_normalize{});
    stage("ema_normalize", "other", 8 + 8, ema_normalize{});
    stage("clip_reward", "elementwise", 8 + 8, clip_reward{.limit = 2});
    stage("group_normalize", "other", 4 + 8 + 8, group_normalize{});
    stage("running_normalize", "other", 8 + 8, running_normalize{});
}

}  // namespace

/// The slowest kernel of a kind, in units of memcpy, and the one that gains least on LibTorch.
struct summary {
    double copies = 0, gain = 1e9;
    std::string slowest = "-", least = "-";

    std::string text() const {
        return fmt::format("at most {:.1f}x memcpy ({}){}", copies, slowest,
                           least == "-" ? "" : fmt::format(", at least {:.1f}x less than LibTorch ({})", gain, least));
    }
};

int main(int argc, char** argv) {
    std::string json, layout = "both", type = "both", rows_x_tokens;
    selection chosen{.only = {}, .repeats = 101};
    CLI::App app(
        "ns a token of each kernel, one thread. memcpy: one that moves the bytes that the kernel reads and writes. "
        "LibTorch: forward and backward of the same formula, one thread, with the kernel's statistics of ratios "
        "(mean of ratio - 1 - log ratio, largest, clipped share) and of advantages (mean, deviation). Kernels of "
        "layout `flat` take whole rows: as "
        "many as the shape has tokens");
    app.add_option("--json", json, "write results here");
    app.add_option("--layout", layout, "of token arrays")->check(CLI::IsMember({"packed", "padded", "both"}));
    app.add_option("--type", type, "of arrays")->check(CLI::IsMember({"float", "double", "both"}));
    app.add_option("--only", chosen.only, "kernels with this in their name");
    app.add_option("--shape", rows_x_tokens, "rows x tokens (default: all three)")
        ->check(CLI::IsMember({"64x128", "64x1024", "8x32768"}));
    app.add_option("--repeats", chosen.repeats, "runs of which the median is taken")->check(CLI::Range(1, 100000));
    CLI11_PARSE(app, argc, argv);
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    rlgaf::table table(
        {"kernel", "kind", "layout", "shape", "type", "ns/token", "memcpy", "ratio", "LibTorch", "gain"});
    std::map<std::string, summary> worst;  // of 64x1024 in float
    std::optional<rlgaf::atomic_file> file;
    const auto measure = [&]<class T>(T, shape s, const char* type_name) {
        const std::string shape_name = fmt::format("{}x{}", s.rows, s.tokens);
        if ((!rows_x_tokens.empty() && rows_x_tokens != shape_name) || (type != "both" && type != type_name)) return;
        fmt::print(stderr, "{} {}\n", shape_name, type_name);
        std::vector<result> results;
        if (layout != "padded") measure_tokens<T>(s, false, chosen, results);
        if (layout != "packed") measure_tokens<T>(s, true, chosen, results);
        measure_rows<T>(s, chosen, results);
        std::map<std::string, double> torch_ns;
        for (const result& r : results) {
            const double copy = memcpy_ns(s, r.bytes, chosen.repeats);
            if (!torch_ns.contains(r.name)) torch_ns[r.name] = torch_time(r.name, s, sizeof(T) == 8, chosen.repeats);
            const double torch = torch_ns[r.name];
            const bool compared = torch > 0;
            table.row({r.name, r.kind, r.layout, shape_name, type_name, fmt::format("{:.2f}", r.ns),
                       fmt::format("{:.2f}", copy), fmt::format("{:.1f}", r.ns / copy),
                       compared ? fmt::format("{:.2f}", torch) : "-",
                       compared ? fmt::format("{:.1f}", torch / r.ns) : "-"});
            rows.push_back({{"name", r.name}, {"shape", shape_name}, {"dtype", type_name}, {"layout", r.layout}});
            rows.back().update({{"kind", r.kind}, {"ns_per_token", r.ns}, {"memcpy_ns_per_token", copy}});
            rows.back()["torch_ns_per_token"] = compared ? nlohmann::ordered_json(torch) : nlohmann::ordered_json();
            if (shape_name != "64x1024" || sizeof(T) != 4) continue;
            summary& w = worst[r.kind];
            if (r.ns / copy > w.copies) w.copies = r.ns / copy, w.slowest = r.name;
            if (compared && torch / r.ns < w.gain) w.gain = torch / r.ns, w.least = r.name;
        }
    };
    try {
        if (!json.empty()) file.emplace(json);
        for (const shape s : {shape{64, 128}, shape{64, 1024}, shape{8, 32768}}) {
            measure(float{}, s, "float");
            measure(double{}, s, "double");
        }
        fmt::print("{}", table.text());
        for (const auto& [kind, w] : worst) fmt::print("64x1024 float, {}: {}\n", kind, w.text());
        if (file) {
            file->write(nlohmann::ordered_json{{"kernels", rows}}.dump(2) + "\n");
            file->commit();
        }
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
