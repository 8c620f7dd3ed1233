#pragma once
/// A progress line on stderr: redrawn in place in a terminal, one plain line now and then in a log.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "rlgaf/core/error.hpp"
#include "rlgaf/io/detail/progress_text.hpp"
#include "rlgaf/io/text_width.hpp"

namespace rlgaf::inline RLGAF_ABI {

enum class progress_style {
    detect,  ///< `bar` if the stream is a terminal, else `plain`
    bar,     ///< one line, redrawn in place
    plain,   ///< whole lines, rarely
    silent   ///< nothing
};

struct progress_options {
    std::FILE* stream = nullptr;                    ///< where to; nullptr is stderr
    progress_style style = progress_style::detect;  ///< how
    double redraw_seconds = 0.1;                    ///< bar: least time between two drawings, >= 0
    double plain_seconds = 10;                      ///< plain: least time between two lines, >= 0
    std::size_t width = 80;                         ///< bar: columns of the terminal, 40..1000

    /// Errors: option_error.
    void check() const {
        detail::check_option(redraw_seconds >= 0, "progress_options", "redraw_seconds", ">= 0", redraw_seconds);
        detail::check_option(plain_seconds >= 0, "progress_options", "plain_seconds", ">= 0", plain_seconds);
        detail::check_option(width >= 40 && width <= 1000, "progress_options", "width", "40..1000",
                             static_cast<double>(width));
    }
};

/// Shows how far something of `total` steps has come; a total of 0 is unknown. Output that fails is ignored.
class progress {
public:
    explicit progress(std::string label, std::size_t total = 0, progress_options options = {})
        : label_(std::move(label)), total_(total), options_(options) {
        options_.check();
        one_line(label_);
        if (options_.stream == nullptr) options_.stream = stderr;
        if (options_.style == progress_style::detect)
            options_.style = detail::is_terminal(options_.stream) ? progress_style::bar : progress_style::plain;
        colours_ = options_.style == progress_style::bar && detail::colours_wanted();
    }
    progress(const progress&) = delete;
    progress& operator=(const progress&) = delete;
    /// Leaves the cursor on a line of its own.
    ~progress() { end_line(); }

    /// `done` steps were finished before this object came; they do not count for the rate.
    void resume_from(std::size_t done) noexcept { done_ = skipped_ = done; }

    /// `done` steps are finished, the skipped ones included; `text` is shown behind the times.
    void update(std::size_t done, std::string_view text = {}) {
        done_ = done;
        text_ = text;
        one_line(text_);
        pending_ = true;
        if (options_.style == progress_style::silent) return;
        const bool bar = options_.style == progress_style::bar;
        const bool at_end = bar && total_ > 0 && done_ >= total_;
        const bool first = bar && !line_open_;
        if (!first && !at_end && seconds_since(shown_) < (bar ? options_.redraw_seconds : options_.plain_seconds))
            return;
        show();
    }

    /// Shows the last state once more, if it is not on the screen yet, and ends the line.
    void finish() {
        if (pending_ && options_.style != progress_style::silent) show();
        end_line();
    }

private:
    using clock = std::chrono::steady_clock;
    static void one_line(std::string& text) {
        std::replace_if(
            text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    }
    static double seconds_since(clock::time_point start) {
        return std::chrono::duration<double>(clock::now() - start).count();
    }

    void show() {
        std::string line = options_.style == progress_style::bar ? "\r" + bar_line() : plain_line() + "\n";
        std::fwrite(line.data(), 1, line.size(), options_.stream);
        std::fflush(options_.stream);
        line_open_ = options_.style == progress_style::bar;
        pending_ = false;
        shown_ = clock::now();
    }
    void end_line() noexcept {
        if (!std::exchange(line_open_, false)) return;
        std::fputc('\n', options_.stream);
        std::fflush(options_.stream);
    }

    double fraction() const {
        return total_ == 0 ? 0 : std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
    }
    /// "210/500  3.2 it/s  ETA 1m31s  reward 0.21".
    std::string times() const {
        const double elapsed = seconds_since(start_);
        const double rate = done_ > skipped_ && elapsed > 0 ? static_cast<double>(done_ - skipped_) / elapsed : 0;
        std::string line = total_ > 0 ? fmt::format("{}/{}", done_, total_) : fmt::format("{}", done_);
        line += "  " + detail::rate_text(rate);
        if (total_ == 0 || done_ >= total_)
            line += "  " + detail::duration_text(elapsed);
        else
            line += "  ETA " + (rate > 0 ? detail::duration_text(static_cast<double>(total_ - done_) / rate) : "?");
        if (!text_.empty()) line += "  " + text_;
        return line;
    }
    std::string plain_line() const {
        std::string line = label_.empty() ? "" : label_ + "  ";
        if (total_ > 0) line += fmt::format("{:.0f}%  ", std::floor(100 * fraction()));
        return line + times();
    }
    /// Exactly as wide as the line may be, so that it covers what was drawn before.
    std::string bar_line() const {
        const std::size_t width = options_.width - 1;  // the last column makes some terminals wrap
        std::string left(truncate_to_width(label_, width / 3));
        if (!left.empty()) left += ' ';
        std::string right = " " + times();
        std::size_t cells = 0;
        if (total_ > 0) {
            left += fmt::format("{:3.0f}% ", std::floor(100 * fraction()));
            const std::size_t used = display_width(left) + display_width(right) + 2;
            cells = used + 8 <= width ? std::min<std::size_t>(width - used, 30) : 8;
            left += '[';
        }
        const auto full = static_cast<std::size_t>(std::floor(fraction() * static_cast<double>(cells)));
        const std::size_t room = width - display_width(left) - cells - (total_ > 0 ? 1 : 0);
        right = truncate_to_width(right, room);
        right.append(room - display_width(right), ' ');
        std::string bar(full, '=');
        if (full < cells) bar += '>';
        if (colours_ && cells > 0) bar = "\x1b[32m" + bar + "\x1b[0m";
        if (full < cells) bar.append(cells - full - 1, ' ');
        return left + bar + (total_ > 0 ? "]" : "") + right;
    }

    std::string label_, text_;
    std::size_t total_ = 0, done_ = 0, skipped_ = 0;
    progress_options options_;
    clock::time_point start_ = clock::now(), shown_ = start_;
    bool colours_ = false, pending_ = false, line_open_ = false;
};

}  // namespace rlgaf::inline RLGAF_ABI
