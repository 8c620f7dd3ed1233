#include "rlgaf/io/progress.hpp"

#include <limits>
#include <sstream>
#include <vector>

#include "rlgaf/io/progress_bar.hpp"
#include "rlgaf/io/read_file.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;

namespace {

/// What `f(stream)` printed.
template <class F>
std::string printed(F f) {
    const rlgaf_test::temp_dir dir;
    {
        const detail::file_handle stream(std::fopen((dir / "out").string().c_str(), "wb"));
        f(stream.get());
    }
    return rlgaf_test::bytes_of(dir / "out");
}

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, at);) parts.push_back(part);
    return parts;
}

std::string without_colour(std::string text) {
    for (const std::string_view code : {"\x1b[32m", "\x1b[0m"})
        for (std::size_t at; (at = text.find(code)) != std::string::npos;) text.erase(at, code.size());
    return text;
}

struct run_info {
    std::size_t rounds = 0;
};
struct report {
    std::size_t round = 0, rounds = 0;
    double seconds = 0;
    double reward_mean = 0;
    double accuracy = 0;
};

}  // namespace

TEST_CASE("progress: texts", "[io]") {
    using detail::duration_text, detail::rate_text;
    REQUIRE(duration_text(0) == "0s");
    REQUIRE(duration_text(59.4) == "59s");
    REQUIRE(duration_text(59.6) == "1m00s");
    REQUIRE(duration_text(185) == "3m05s");
    REQUIRE(duration_text(2 * 3600 + 7 * 60) == "2h07m");
    REQUIRE(duration_text(99 * 3600) == "4d03h");
    REQUIRE(duration_text(-1) == "?");
    REQUIRE(duration_text(std::numeric_limits<double>::quiet_NaN()) == "?");
    REQUIRE(duration_text(std::numeric_limits<double>::infinity()) == "?");
    REQUIRE(rate_text(12.34) == "12.3 it/s");
    REQUIRE(rate_text(1234.5) == "1234 it/s");
    REQUIRE(rate_text(0.25) == "4.00 s/it");
    REQUIRE(rate_text(0) == "? it/s");
}

TEST_CASE("progress: a pipe gets few whole lines", "[io]") {
    const auto run = [](double seconds) {
        return printed([&](std::FILE* stream) {
            progress p("fit", 4, {.stream = stream, .plain_seconds = seconds});
            for (std::size_t i = 1; i <= 4; ++i) p.update(i, "loss 0.5");
            p.finish();
            p.finish();
        });
    };
    const auto rare = split(run(1000), '\n');
    REQUIRE(rare.size() == 1);
    REQUIRE(rare[0].starts_with("fit  100%  4/4  "));
    REQUIRE(rare[0].ends_with("s  loss 0.5"));
    const std::string all = run(0);
    REQUIRE(split(all, '\n').size() == 4);
    REQUIRE(split(all, '\n')[0].starts_with("fit  25%  1/4  "));
    REQUIRE(contains(all, "ETA"));
    REQUIRE_FALSE(contains(all, "\r"));
    REQUIRE_FALSE(contains(all, "\x1b"));
}

TEST_CASE("progress: a bar stays on one line of the terminal", "[io]") {
    for (const std::size_t width : {40u, 80u, 120u}) {
        const std::string out = printed([&](std::FILE* stream) {
            progress p("étape\n1", 10,
                       {.stream = stream, .style = progress_style::bar, .redraw_seconds = 0, .width = width});
            for (std::size_t i = 0; i <= 10; ++i) p.update(i, std::string(3 * i * i, 'x'));
            p.finish();
        });
        REQUIRE(out.back() == '\n');
        REQUIRE(out.find('\n') == out.size() - 1);
        const auto drawn = split(without_colour(out.substr(1, out.size() - 2)), '\r');
        REQUIRE(drawn.size() == 11);
        for (const std::string& line : drawn) REQUIRE(display_width(line) == width - 1);
        REQUIRE(contains(drawn[0], "étape 1   0% [>"));
        REQUIRE(contains(drawn[10], "100% [=="));
        REQUIRE_FALSE(contains(drawn[10], ">"));
    }
}

TEST_CASE("progress: drawing is throttled, but the end is shown", "[io]") {
    const std::string out = printed([](std::FILE* stream) {
        progress p("", 1000, {.stream = stream, .style = progress_style::bar, .redraw_seconds = 1000});
        for (std::size_t i = 1; i <= 1000; ++i) p.update(i);
        p.finish();
    });
    REQUIRE(split(out, '\r').size() == 3);  // nothing before the first, the first, the last
    REQUIRE(contains(out, "1000/1000"));
}

TEST_CASE("progress: unknown total, silence, and a bar that is left behind", "[io]") {
    REQUIRE(contains(printed([](std::FILE* stream) {
                         progress p("", 0, {.stream = stream});
                         p.update(7);
                         p.finish();
                     }),
                     "7  "));
    REQUIRE(printed([](std::FILE* stream) {
                progress p("", 3, {.stream = stream, .style = progress_style::silent});
                p.update(3);
                p.finish();
            }).empty());
    const std::string left = printed([](std::FILE* stream) {
        progress p("", 3, {.stream = stream, .style = progress_style::bar});
        p.update(1);
    });
    REQUIRE(left.back() == '\n');
    REQUIRE(left.find('\n') == left.size() - 1);
    REQUIRE(printed([](std::FILE* stream) { progress("", 3, {.stream = stream}).finish(); }).empty());
}

TEST_CASE("progress: options are checked", "[io]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    REQUIRE_THROWS_AS(progress("", 1, {.redraw_seconds = -1}), option_error);
    REQUIRE_THROWS_AS(progress("", 1, {.plain_seconds = nan}), option_error);
    REQUIRE_THROWS_AS(progress("", 1, {.width = 10}), option_error);
    REQUIRE_THROWS_AS(progress_bar({.plain_seconds = nan}), option_error);
}

TEST_CASE("progress_bar: shows what the trainer reports", "[io]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const std::string out = printed([&](std::FILE* stream) {
        progress_bar bar({.stream = stream, .plain_seconds = 0}, "rlgaf");
        bar.on_begin(run_info{3});
        bar.on_round(report{1, 3, 0.1, 0.123456, 0.75});
        bar.on_round(report{2, 3, 0.1, nan, 0.5});
        bar.on_round(report{3, 3, 0.1, nan, nan});
        bar.on_end(run_info{3});
    });
    const auto lines = split(out, '\n');
    REQUIRE(lines.size() == 3);
    REQUIRE(lines[0].starts_with("rlgaf  33%  1/3"));
    REQUIRE(lines[0].ends_with("  reward 0.1235  acc 0.75"));
    REQUIRE(lines[1].ends_with("  acc 0.5"));
    REQUIRE_FALSE(contains(lines[2], "acc"));
    REQUIRE_FALSE(contains(out, "nan"));
}
