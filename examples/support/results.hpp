#pragma once
// Intervals over seeds, the final table, the JSON file and the picture.
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/chart.hpp"
#include "rlgaf/io/table.hpp"

namespace align_words {

struct interval {
    double mean = 0, lo = 0, hi = 0;
};

// 95 % interval of a share (per cent) of n draws. Wilson 1927.
inline interval binomial(double percent, double n) {
    const double p = percent / 100, z = 1.959964, scale = 1 + z * z / n;
    const double middle = (p + z * z / (2 * n)) / scale;
    const double half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale;
    return {percent, 100 * (middle - half), 100 * (middle + half)};
}

// 95 % interval of the mean of several seeds (Student); `single` is used where there is one.
inline interval over_seeds(const std::vector<interval>& seed) {
    static constexpr double student[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                         2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
    if (seed.size() == 1) return seed[0];
    const double n = static_cast<double>(seed.size());
    double mean = 0, squares = 0;
    for (const interval& s : seed) mean += s.mean / n;
    for (const interval& s : seed) squares += (s.mean - mean) * (s.mean - mean);
    const double t = seed.size() <= std::size(student) + 1 ? student[seed.size() - 2] : 1.96;
    const double half = t * std::sqrt(squares / (n - 1) / n);
    return {mean, mean - half, mean + half};
}

inline const std::vector<std::string> metrics = {"valid_new_at_98", "valid_new",   "memorised", "memorised_by_chance",
                                                 "distinct",        "heldout_nll", "seconds"};

struct method_result {
    std::map<std::string, std::vector<interval>> metric;            // one a seed
    std::vector<std::vector<std::array<double, 2>>> frontier = {};  // a seed: [distinct, valid_new] by temperature
    std::string note;                                               // chosen epoch and temperature, of the last seed

    std::vector<std::array<double, 2>> mean_frontier() const {
        std::vector<std::array<double, 2>> mean(frontier.front().size());
        for (const auto& seed : frontier)
            for (std::size_t i = 0; i < seed.size(); ++i)
                for (std::size_t k = 0; k < 2; ++k) mean[i][k] += seed[i][k] / static_cast<double>(frontier.size());
        return mean;
    }
};

class results {
public:
    method_result& operator[](const std::string& method) {
        for (auto& [name, result] : methods_)
            if (name == method) return result;
        return methods_.emplace_back(method, method_result{}).second;
    }

    std::string table() const {
        std::vector<std::string> head = {"method"};
        for (const std::string& m : metrics)
            head.push_back(m == "heldout_nll" ? "nats/char" : m == "memorised_by_chance" ? "by chance" : m);
        head.push_back("at");
        rlgaf::table table(head);
        for (const auto& [name, result] : methods_) {
            std::vector<std::string> row = {name};
            for (const std::string& m : metrics) {
                const interval i = over_seeds(result.metric.at(m));
                const int digits = m == "heldout_nll" ? 3 : m == "seconds" ? 1 : m.starts_with("memorised") ? 3 : 2;
                row.push_back(m == "valid_new_at_98" ? fmt::format("{:.2f} [{:.2f}, {:.2f}]", i.mean, i.lo, i.hi)
                                                     : fmt::format("{:.{}f}", i.mean, digits));
            }
            row.push_back(result.note);
            table.row(row);
        }
        return table.text();
    }

    nlohmann::ordered_json json(std::size_t seeds) const {
        nlohmann::ordered_json methods;
        for (const auto& [name, result] : methods_) {
            for (const auto& [metric, values] : result.metric) {
                const interval i = over_seeds(values);
                methods[name][metric] = {{"mean", i.mean}, {"lo", i.lo}, {"hi", i.hi}};
            }
            methods[name]["frontier"] = result.mean_frontier();
        }
        return {{"example", "align_words"}, {"seeds", seeds}, {"methods", methods}};
    }

    std::string picture(const std::string& title, const std::string& caption) const {
        rlgaf::chart chart{.title = title,
                           .caption = caption,
                           .x_label = "distinct words, % of 8,000 samples",
                           .y_label = "valid new words, %",
                           .vertical = {{.value = 98, .label = "98 %"}}};
        for (const auto& [name, result] : methods_) {
            if (name == "sft_last") continue;  // far to the left, where words repeat
            rlgaf::chart_series series{.name = name, .markers = true};
            for (const auto& [distinct, valid] : result.mean_frontier()) {
                series.x.push_back(distinct);
                series.y.push_back(valid);
            }
            chart.series.push_back(series);
        }
        return rlgaf::render_svg(chart);
    }

    interval at(const std::string& method, const std::string& metric) const {
        for (const auto& [name, result] : methods_)
            if (name == method) return over_seeds(result.metric.at(metric));
        return {};
    }

private:
    std::vector<std::pair<std::string, method_result>> methods_;  // in the order of the table
};

}  // namespace align_words
