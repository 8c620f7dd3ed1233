#pragma once
/// Observer that shows rounds, speed, remaining time, reward and accuracy on stderr.
#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "rlgaf/io/progress.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// `trainer.run(options, progress_bar{})`. In a terminal one line of 80 columns, redrawn at most ten times a second and
/// green unless NO_COLOR is set; else a plain line every 10 seconds and at the end.
///
/// Needs: `run.rounds` at the beginning; of a report `round` (1 after the first), `rounds`, `reward_mean`, `accuracy`;
/// of the last two a NaN is not shown. A run that goes on from a checkpoint begins at a later round.
class progress_bar {
public:
    /// Errors: option_error.
    explicit progress_bar(progress_options options = {}, std::string label = {})
        : options_(options), label_(std::move(label)) {
        options_.check();
    }

    template <class Run>
    void on_begin(const Run& run) {
        if constexpr (requires { run.per_sample_streams; })
            if (!run.per_sample_streams)
                fmt::print(options_.stream ? options_.stream : stderr,
                           "this policy takes only a seed: samples depend on the batch size\n");
        begin(static_cast<std::size_t>(run.rounds));
    }
    template <class Report>
    void on_round(const Report& report) {
        const auto round = static_cast<std::size_t>(report.round);
        if (!progress_) begin(static_cast<std::size_t>(report.rounds));
        if (std::exchange(first_, false) && round > 1) progress_->resume_from(round - 1);
        std::string text;
        append(text, "reward", static_cast<double>(report.reward_mean), 4);
        append(text, "acc", static_cast<double>(report.accuracy), 2);
        progress_->update(round, text);
    }
    template <class End>
    void on_end(const End&) {
        if (progress_) progress_->finish();
        progress_.reset();
    }

private:
    void begin(std::size_t rounds) {
        progress_ = std::make_unique<progress>(label_, rounds, options_);
        first_ = true;
    }
    static void append(std::string& text, std::string_view name, double value, int digits) {
        if (!std::isnan(value)) text += fmt::format("{}{} {:.{}g}", text.empty() ? "" : "  ", name, value, digits);
    }

    progress_options options_;
    std::string label_;
    std::unique_ptr<progress> progress_;
    bool first_ = true;
};

}  // namespace rlgaf::inline RLGAF_ABI
