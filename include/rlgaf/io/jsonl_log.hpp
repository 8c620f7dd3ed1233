#pragma once
/// Observer that writes the metrics of every round as one line of JSON.
#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>

#include "rlgaf/io/read_file.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// `{"round":3,"reward_mean":0.25}` and a newline; NaN and infinities, which JSON does not have, are null. Numbers are
/// the shortest text that reads back as the same double.
class json_line {
public:
    void add(std::string_view name, double value) {
        using nlohmann::json;
        text_ += text_.empty() ? "{" : ",";
        text_ += json(std::string(name)).dump(-1, ' ', false, json::error_handler_t::replace) + ":";
        text_ += std::isfinite(value) ? fmt::format("{}", value) : "null";
    }
    std::string finish() const { return (text_.empty() ? "{" : text_) + "}\n"; }

private:
    std::string text_;
};

}  // namespace detail

struct jsonl_log_options {
    bool append = false;  ///< go on with an existing file, after a resume; else it is replaced
};

/// `trainer.run(options, jsonl_log{"run/metrics.jsonl"})`. Creates missing directories, and brings every line out at
/// once, so that a run that dies leaves all its finished rounds.
///
/// Needs: a function `for_each_metric(report, f)` beside the report's type, which calls `f(std::string_view, double)`.
/// A line begins with the report's `round`.
/// Errors: file_error if the file cannot be opened, or a line cannot be written.
class jsonl_log {
public:
    explicit jsonl_log(const std::filesystem::path& path, jsonl_log_options options = {}) : path_(path.string()) {
        std::error_code error;
        if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
        if (error) fail(error_kind::file, "jsonl_log", path_, "a directory to write to", error.message());
        if (options.append && std::filesystem::exists(path, error)) drop_unfinished_line();
        errno = 0;
        file_.reset(std::fopen(path_.c_str(), options.append ? "ab" : "wb"));
        if (!file_) fail(error_kind::file, "jsonl_log", path_, "a file to write to", detail::system_message(errno));
    }

    template <class Run>
    void on_begin(const Run&) {}

    template <class Report>
    void on_round(const Report& report) {
        detail::json_line line;
        line.add("round", static_cast<double>(report.round));
        for_each_metric(report, [&](std::string_view name, double value) {
            if (name != "round") line.add(name, value);
        });
        const std::string text = line.finish();
        errno = 0;
        if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() || std::fflush(file_.get()) != 0)
            fail(error_kind::file, "jsonl_log", path_, "room for a line", detail::system_message(errno));
    }

    template <class End>
    void on_end(const End&) {}

private:
    /// A run that was killed while it wrote leaves half a line, which would spoil the next one.
    void drop_unfinished_line() const {
        const std::string bytes = read_file(path_, std::size_t{1} << 32, "jsonl_log");
        std::error_code error;
        if (!bytes.empty() && bytes.back() != '\n') std::filesystem::resize_file(path_, bytes.rfind('\n') + 1, error);
        if (error) fail(error_kind::file, "jsonl_log", path_, "a file to write to", error.message());
    }

    std::string path_;
    detail::file_handle file_;
};

}  // namespace rlgaf::inline RLGAF_ABI
