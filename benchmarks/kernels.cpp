// What the algorithms cost beside the model: ns a token of each loss and estimator, beside a memcpy of the same
// traffic.
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
};

// Median of `repeats` runs, in ns a token.
template <class F>
double time_of(shape s, std::size_t repeats, F&& f) {
    std::vector<double> ns;
    f();
    for (std::size_t i = 0; i < repeats; ++i) {
        const auto start = std::chrono::steady_clock::now();
        f();
        ns.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(ns.begin(), ns.begin() + static_cast<std::ptrdiff_t>(ns.size() / 2), ns.end());
    return ns[ns.size() / 2] / static_cast<double>(s.rows * s.tokens);
}

struct row {
    const char* name;
    std::size_t arrays;  // that are read or written, a token
    double ns;
};

template <class T>
std::vector<row> measure(shape s, std::size_t repeats) {
    using namespace rlgaf;
    const std::vector<std::uint32_t> length(s.rows, static_cast<std::uint32_t>(s.tokens));
    const auto random = [&](std::uint64_t id, double mean, double spread) {
        ragged_buffer<T> x;
        x.assign(length);
        for (std::size_t i = 0; i < x.flat().size(); ++i)
            x.flat()[i] = static_cast<T>(mean + spread * random_stream({id, 0}, stream::user, i).normal(0));
        return x;
    };
    const ragged_buffer<T> log_prob = random(1, -2, 0.5), reference = random(2, -2, 0.5), drawn = random(3, 0, 1);
    ragged_buffer<T> old = log_prob, advantage = drawn, d = drawn;
    for (std::size_t i = 0; i < old.flat().size(); ++i) old.flat()[i] += T(0.2) * drawn.flat()[i];
    std::vector<std::uint32_t> group(s.rows);
    for (std::size_t i = 0; i < s.rows; ++i) group[i] = static_cast<std::uint32_t>(i / 4);
    const groups g{group, (s.rows + 3) / 4};
    std::vector<double> weight(s.rows, 1.0 / static_cast<double>(s.rows * s.tokens)), reward(s.rows);
    for (std::size_t i = 0; i < s.rows; ++i) reward[i] = static_cast<double>(drawn.view().row(i)[0]);
    const outcome_reward outcome[] = {{"reward", reward}};
    workspace work;

    const policy_terms<T> terms{.log_prob = log_prob.view(),
                                .old_log_prob = std::as_const(old).view(),
                                .advantage = drawn.view(),
                                .reference_log_prob = reference.view(),
                                .entropy = reference.view()};
    const advantage_terms<T> rewards{.reward = {.outcome = outcome}, .group = g};
    const std::span<const double> w(weight);
    reinforce::state memory;
    std::vector<row> out;
    const auto loss = [&](const char* name, std::size_t arrays, auto&& f) {
        out.push_back({name, arrays, time_of(s, repeats, f)});
    };
    loss("policy_gradient_loss", 4, [&] { policy_gradient_loss{}(terms, w, d.view()); });
    loss("ppo_clip", 5, [&] { ppo_clip{}(terms, w, d.view()); });
    loss("kl_loss k2", 4, [&] { kl_loss{}(terms, w, d.view()); });
    loss("kl_loss k3", 4, [&] { kl_loss{.estimator = kl_estimator::k3}(terms, w, d.view()); });
    loss("entropy_bonus", 3, [&] { entropy_bonus{}(terms, w, d.view()); });
    loss("sft", 3, [&] { sft{}(log_prob.view(), {}, w, d.view()); });
    loss("grpo", 1, [&] { grpo{}(rewards, work, advantage.view()); });
    loss("rloo", 1, [&] { rloo{}(rewards, work, advantage.view()); });
    loss("reinforce", 1, [&] { reinforce{}(memory, rewards, work, advantage.view()); });
    return out;
}

template <class T>
double memcpy_ns(shape s, std::size_t arrays, std::size_t repeats) {
    const std::size_t bytes = s.rows * s.tokens * sizeof(T) * arrays / 2;
    std::vector<char> from(bytes, 1), to(bytes);
    return time_of(s, repeats, [&] {
        std::memcpy(to.data(), from.data(), bytes);
        asm volatile("" : : "r"(to.data()) : "memory");
    });
}

}  // namespace

int main(int argc, char** argv) {
    std::string json;
    std::size_t repeats = 101;
    CLI::App app(
        "ns a token of losses and estimators, one thread; memcpy moves the bytes that the kernel reads and writes");
    app.add_option("--json", json, "write results here");
    app.add_option("--repeats", repeats, "runs of which the median is taken")->check(CLI::Range(1, 100000));
    CLI11_PARSE(app, argc, argv);
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    rlgaf::table table({"kernel", "shape", "type", "ns/token", "memcpy", "ratio"});
    const auto run = [&]<class T>(T, shape s, const char* type) {
        for (const row& r : measure<T>(s, repeats)) {
            const double copy = memcpy_ns<T>(s, r.arrays, repeats);
            const std::string shape_name = fmt::format("{}x{}", s.rows, s.tokens);
            table.row({r.name, shape_name, type, fmt::format("{:.2f}", r.ns), fmt::format("{:.2f}", copy),
                       fmt::format("{:.1f}", r.ns / copy)});
            rows.push_back({{"name", r.name},
                            {"shape", shape_name},
                            {"dtype", type},
                            {"layout", "packed"},
                            {"ns_per_token", r.ns},
                            {"memcpy_ns_per_token", copy}});
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
