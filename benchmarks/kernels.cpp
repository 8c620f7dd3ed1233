// What the algorithms cost beside the model: ns a token of each loss, estimator and reward stage, beside a memcpy of
// the same traffic.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/table.hpp"
#include "rlgaf/rlgaf.hpp"

namespace {

struct shape {
    std::size_t rows, tokens;
    std::size_t size() const { return rows * tokens; }
};

struct result {
    const char* name;
    const char* layout;  // packed, padded, or flat: an element is a row of its own, as are scores and row weights
    std::size_t bytes;   // that a token's arrays hold, once for reading and once for writing
    double ns;
};

constexpr auto nothing = [] {};  // to do, and the batch of stages that read none

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

/// Losses and estimators on rows of tokens.
template <class T>
void measure_tokens(shape s, bool padded, std::size_t repeats, std::vector<result>& out) {
    using namespace rlgaf;
    per_token<T> log_prob(s, padded, 1, -2, 0.5), old(s, padded, 2, -2, 0.1), reference(s, padded, 3, -2, 0.5);
    per_token<T> advantage(s, padded, 4, 0, 1), written(s, padded, 5, 0, 1);
    for (std::size_t i = 0; i < old.flat.size(); ++i) old.flat[i] += log_prob.flat[i] + T(2);
    const std::vector<std::uint32_t> prompt = numbered(s.rows, 4);
    const groups group{prompt, s.rows / 4};
    const std::vector<double> weight(s.rows, 1.0 / static_cast<double>(s.size()));
    const std::span<const double> w(weight);
    rewards<T> reward;
    reward.begin(log_prob.length);
    std::copy_n(advantage.flat.begin(), s.rows, reward.add_outcome("reward").begin());
    const advantage_terms<T> earned{.reward = reward.view(), .group = group};
    const ragged_view<const T> p = log_prob.view(), r = reference.view(), a = advantage.view();
    const policy_terms<T> terms{.log_prob = p, .advantage = a, .reference_log_prob = r, .entropy = r};
    policy_terms<T> with_old = terms;
    with_old.old_log_prob = old.view();
    const shaping_terms<T> shaped{.score = {}, .log_prob = p, .reference_log_prob = r, .group = group};
    workspace work;
    reinforce::state memory;
    const ragged_view<T> d = written.view();
    const auto row = [&](const char* name, std::size_t arrays, auto&& f) {
        out.push_back({name, padded ? "padded" : "packed", arrays * sizeof(T), time_of(s, repeats, nothing, f)});
    };
    row("policy_gradient_loss", 4, [&] { policy_gradient_loss{}(terms, w, d); });
    row("policy_gradient_loss, old", 5, [&] { policy_gradient_loss{}(with_old, w, d); });
    row("ppo_clip", 5, [&] { ppo_clip{}(with_old, w, d); });
    row("kl_loss k2", 4, [&] { kl_loss{}(terms, w, d); });
    row("kl_loss k3", 4, [&] { kl_loss{.estimator = kl_estimator::k3}(terms, w, d); });
    row("entropy_bonus", 3, [&] { entropy_bonus{}(terms, w, d); });
    row("sft", 3, [&] { sft{}(terms.log_prob, {}, w, d); });
    row("grpo", 1, [&] { grpo{}(earned, work, d); });
    row("rloo", 1, [&] { rloo{}(earned, work, d); });
    row("reinforce", 1, [&] { reinforce{}(memory, earned, work, d); });
    row("kl_penalty", 4, [&] { kl_penalty{}(shaped, nothing, reward, work); });
}

/// Discriminator losses, reward stages and row weights, on as many rows as the shape has tokens.
template <class T>
void measure_rows(shape s, std::size_t repeats, std::vector<result>& out) {
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
    const auto row = [&](const char* name, std::size_t bytes, auto&& before, auto&& f) {
        out.push_back({name, "flat", bytes, time_of(s, repeats, before, f)});
    };
    const discriminator_terms<T> scores{.real = real.flat, .fake = fake.flat, .pairs = {own}};
    row("bce", 6 * sizeof(T) + 4, nothing, [&] { bce{}(scores, d_real, d_fake); });
    row("bradley_terry", 6 * sizeof(T) + 4, nothing, [&] { bradley_terry{}(scores, d_real, d_fake); });
    row("aggregate", 12, nothing, [&] { aggregate{}(fake.length, group, work, weight); });
    const shaping_terms<T> terms{.score = fake.flat, .log_prob = fake.view(), .truncated = truncated, .group = group};
    const auto begin = [&] {
        reward.begin(fake.length);
        std::ranges::copy(fake.flat, reward.add_outcome("reward").begin());
    };
    const auto stage = [&](const char* name, std::size_t bytes, const auto& kernel) {
        state_of<std::remove_cvref_t<decltype(kernel)>> memory;
        row(name, bytes, begin, [&] { call(kernel, memory, terms, nothing, reward, work); });
    };
    stage("logit_reward", sizeof(T) + 8, logit_reward{});
    stage("log_d_reward", sizeof(T) + 8, log_d_reward{});
    stage("neg_log_one_minus_d_reward", sizeof(T) + 8, neg_log_one_minus_d_reward{});
    stage("missing_eos", 1 + 8, missing_eos{});
    stage("clip_reward", 8 + 8, clip_reward{.limit = 2});
    stage("group_normalize", 4 + 8 + 8, group_normalize{});
    stage("running_normalize", 8 + 8, running_normalize{});
}

}  // namespace

int main(int argc, char** argv) {
    std::string json, only = "both";
    std::size_t repeats = 101;
    CLI::App app(
        "ns a token of each kernel, one thread; memcpy moves the bytes that the kernel reads and writes. Kernels of "
        "layout `flat` take whole rows: as many as the shape has tokens");
    app.add_option("--json", json, "write results here");
    app.add_option("--layout", only, "of token arrays")->check(CLI::IsMember({"packed", "padded", "both"}));
    app.add_option("--repeats", repeats, "runs of which the median is taken")->check(CLI::Range(1, 100000));
    CLI11_PARSE(app, argc, argv);
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    rlgaf::table table({"kernel", "layout", "shape", "type", "ns/token", "memcpy", "ratio"});
    const auto run = [&]<class T>(T, shape s, const char* type) {
        const std::string shape_name = fmt::format("{}x{}", s.rows, s.tokens);
        std::vector<result> results;
        if (only != "padded") measure_tokens<T>(s, false, repeats, results);
        if (only != "packed") measure_tokens<T>(s, true, repeats, results);
        measure_rows<T>(s, repeats, results);
        for (const result& r : results) {
            const double copy = memcpy_ns(s, r.bytes, repeats);
            table.row({r.name, r.layout, shape_name, type, fmt::format("{:.2f}", r.ns), fmt::format("{:.2f}", copy),
                       fmt::format("{:.1f}", r.ns / copy)});
            rows.push_back({{"name", r.name}, {"shape", shape_name}, {"dtype", type}, {"layout", r.layout}});
            rows.back().update({{"ns_per_token", r.ns}, {"memcpy_ns_per_token", copy}});
        }
    };
    for (const shape s : {shape{64, 128}, shape{64, 1024}, shape{8, 32768}}) {
        run(float{}, s, "float");
        run(double{}, s, "double");
    }
    fmt::print("{}", table.text());
    try {
        if (!json.empty()) rlgaf::write_file_atomically(json, nlohmann::ordered_json{{"kernels", rows}}.dump(2) + "\n");
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
