#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/backend/abilities.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct conformance_options {
    std::size_t rows = 24;              ///< rows of the batch that everything is compared on; >= 4
    std::size_t frequency_rows = 8000;  ///< rows for each sampling check; 0: none of them
    std::size_t directions = 2;         ///< random directions in each parameter block
    std::size_t coordinates = 3;        ///< single parameters of each block; the one with the largest gradient first
    double tolerance = 0;               ///< relative, of numbers that must agree; 0: 1e-9 (double), 1e-4 (float)
    double gradient_tolerance = 0;      ///< relative, against differences; 0: 1e-5 (double), 2e-2 (float)
    double difference_step = 0;         ///< change of a parameter, times its size if above 1; 0: 1e-4, 1e-2 (float)
    double learning_rate = 1e-3;        ///< of the steps that must lower a loss; > 0
    rollout_options rollout{};          ///< of the rollouts; top-k and top-p are left out
    std::uint64_t seed = 1;

    void check() const {
        detail::check_option(rows >= 4, "conformance_options", "rows", "4 or more", static_cast<double>(rows));
        detail::check_option(learning_rate > 0, "conformance_options", "learning_rate", "positive", learning_rate);
        rollout.check();
    }
};

struct finding {
    std::string check;    ///< what was looked at
    bool passed = true;   ///< also where it was skipped
    std::string message;  ///< numbers and, after a failure, the likely mistake; "skipped: why"

    bool skipped() const { return message.compare(0, 8, "skipped:") == 0; }
};

struct conformance_report {
    std::vector<finding> findings;
    bool parameters_changed = false;  ///< true: steps were taken that could not be undone

    bool ok() const {
        return std::all_of(findings.begin(), findings.end(), [](const finding& f) { return f.passed; });
    }
    /// The finding of that name, or null.
    const finding* find(std::string_view check) const {
        for (const finding& f : findings)
            if (f.check == check) return &f;
        return nullptr;
    }
};

/// One line a finding, failures first.
inline std::string to_string(const conformance_report& report) {
    std::string text;
    for (const bool passed : {false, true})
        for (const finding& f : report.findings)
            if (f.passed == passed)
                text += (!f.passed     ? "FAIL  "
                         : f.skipped() ? "skip  "
                                       : "ok    ") +
                        f.check + ": " + (f.skipped() ? f.message.substr(9) : f.message) + "\n";
    return text;
}

namespace detail::conformance {

inline std::string text_of(double x) { return short_text(x).c_str(); }

template <class T>
struct limits {
    double tolerance, gradient, step, rounding;

    explicit limits(const conformance_options& o)
        : tolerance(o.tolerance > 0 ? o.tolerance
                    : is_float      ? 1e-4
                                    : 1e-9),
          gradient(o.gradient_tolerance > 0 ? o.gradient_tolerance
                   : is_float               ? 2e-2
                                            : 1e-5),
          step(o.difference_step > 0 ? o.difference_step
               : is_float            ? 1e-2
                                     : 1e-4),
          rounding(static_cast<double>(std::numeric_limits<T>::epsilon())) {}
    static constexpr bool is_float = std::is_same_v<T, float>;
};

/// Runs one check, which returns its message: "" or numbers if all is well, "!..." for a failure. What it throws is a
/// failure too.
template <class F>
void run(conformance_report& report, const char* name, F&& check) {
    std::string message;
#if RLGAF_EXCEPTIONS
    try {
        message = check();
    } catch (const std::exception& error) {
        message = std::string("!threw: ") + error.what();
    }
#else
    message = check();
#endif
    const bool failed = !message.empty() && message[0] == '!';
    report.findings.push_back({name, !failed, failed ? message.substr(1) : message});
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
