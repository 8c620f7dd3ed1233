#pragma once
/// Axes of a chart: round ticks, and labels that do not cover each other.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// 1, 2 or 5 times a power of ten, so that `span` has about `count` of them.
inline double round_step(double span, double count) {
    const double raw = span / count;
    const double power = std::pow(10.0, std::floor(std::log10(raw)));
    const double digit = raw / power;
    return (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10) * power;
}

struct axis {
    double low = 0, high = 1;  ///< what the axis covers
    double step = 1;
    std::vector<double> ticks;

    /// `tight` keeps the range of the data, else it grows to whole steps. Ends that are given stay as they are.
    static axis fit(double low, double high, double count, bool tight, const double* given_low,
                    const double* given_high) {
        if (!(low <= high)) low = 0, high = 1;  // no data
        if (given_low) low = *given_low;
        if (given_high) high = *given_high;
        if (!(high - low > 1e-9 * std::max(std::abs(low), std::abs(high)))) {
            const double room = low == 0 ? 1 : 0.1 * std::abs(low);
            if (!given_low) low -= room;
            if (!given_high || !(low < high)) high = std::max(low, high) + room;
        }
        axis a;
        a.step = round_step(high - low, count);
        constexpr double slack = 1e-6;
        a.low = tight || given_low ? low : std::floor(low / a.step + slack) * a.step;
        a.high = tight || given_high ? high : std::ceil(high / a.step - slack) * a.step;
        const double first = std::ceil(a.low / a.step - slack), last = std::floor(a.high / a.step + slack);
        for (double i = first; i <= last && a.ticks.size() < 100; ++i) a.ticks.push_back(i == 0 ? 0 : i * a.step);
        return a;
    }

    /// 0 at the low end, 1 at the high end.
    double position(double value) const { return (value - low) / (high - low); }

    /// As many decimals as the step needs; k and M for large numbers.
    std::string label(double value) const {
        const double most = std::max(std::abs(low), std::abs(high));
        if (most >= 1e10 || most < 1e-4) {
            std::string text = fmt::format("{:.6g}", value);
            if (text.starts_with('-')) text.replace(0, 1, "−");
            return text;
        }
        if (value == 0 && most >= 1e4) return "0";
        const char* unit = most >= 1e6 ? "M" : most >= 1e4 ? "k" : "";
        const double scale = most >= 1e6 ? 1e6 : most >= 1e4 ? 1e3 : 1;
        const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step / scale) + 1e-9)), 0, 9);
        std::string text = fmt::format("{:.{}f}", std::abs(value) / scale, decimals);
        text += unit;
        return value < 0 ? "−" + text : text;
    }
};

/// Moves `wanted` positions as little as it takes for neighbours to be `gap` apart within [low, high].
inline std::vector<double> spread(const std::vector<double>& wanted, double gap, double low, double high) {
    std::vector<std::size_t> order(wanted.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
    struct cluster {
        double centre;
        std::size_t first, count;
    };
    std::vector<cluster> clusters;
    const auto top = [&](const cluster& c) {
        const double height = gap * static_cast<double>(c.count - 1);
        return std::max(low, std::min(c.centre - height / 2, high - height));
    };
    for (std::size_t i = 0; i < order.size(); ++i) {
        clusters.push_back({wanted[order[i]], i, 1});
        while (clusters.size() > 1) {
            const cluster b = clusters.back();
            cluster& a = clusters[clusters.size() - 2];
            if (top(a) + gap * static_cast<double>(a.count) <= top(b)) break;
            const auto na = static_cast<double>(a.count), nb = static_cast<double>(b.count);
            a = {(a.centre * na + b.centre * nb) / (na + nb), a.first, a.count + b.count};
            clusters.pop_back();
        }
    }
    std::vector<double> placed(wanted.size());
    for (const cluster& c : clusters)
        for (std::size_t i = 0; i < c.count; ++i) placed[order[c.first + i]] = top(c) + gap * static_cast<double>(i);
    return placed;
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
