#include "rlgaf/io/chart.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
    return n;
}

detail::axis loose(double low, double high, double n) {
    return detail::axis::fit(low, high, n, false, nullptr, nullptr);
}

/// Every element is closed, and no attribute holds a bare < or &. Enough to notice text that was not escaped.
void check_well_formed(const std::string& svg) {
    std::vector<std::string> open;
    for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
        const std::size_t end = svg.find('>', at);
        REQUIRE(end != std::string::npos);
        const std::string tag = svg.substr(at + 1, end - at - 1);
        REQUIRE(count(tag, "<") == 0);
        if (tag.ends_with('/')) continue;
        if (tag.starts_with('/')) {
            REQUIRE_FALSE(open.empty());
            REQUIRE(open.back() == tag.substr(1));
            open.pop_back();
        } else {
            open.push_back(tag.substr(0, tag.find(' ')));
        }
    }
    REQUIRE(open.empty());
    REQUIRE(is_utf8(svg));
    REQUIRE_FALSE(contains(svg, "nan"));
    REQUIRE_FALSE(contains(svg, "inf\""));
}

}  // namespace

TEST_CASE("chart: ticks are round numbers", "[io]") {
    REQUIRE(loose(0.13, 0.87, 5).ticks == std::vector<double>{0, 0.2, 0.4, 0.2 * 3, 0.8, 1});
    REQUIRE(loose(0, 500, 5).ticks == std::vector<double>{0, 100, 200, 300, 400, 500});
    REQUIRE(loose(-3, 7, 4).step == 5);
    REQUIRE(loose(1, 1, 4).low < 1);
    REQUIRE(loose(0, 0, 4).high > 0);
    REQUIRE(loose(infinity, -infinity, 4).ticks.size() > 1);
    for (const double scale : {1e-300, 1e-12, 1.0, 1e9, 1e300})
        for (const double high : {1.0, 1.3, 4.7, 9.9999}) {
            const detail::axis a = loose(0, high * scale, 6);
            REQUIRE(a.ticks.size() >= 3);
            REQUIRE(a.ticks.size() <= 14);
            REQUIRE(a.low <= 0);
            REQUIRE(a.high >= high * scale * (1 - 1e-5));
        }
}

TEST_CASE("chart: tick labels", "[io]") {
    REQUIRE(loose(0, 1, 5).label(0.2) == "0.2");
    REQUIRE(loose(-1, 1, 4).label(-0.5) == "−0.5");
    REQUIRE(loose(0, 500, 5).label(100) == "100");
    REQUIRE(loose(0, 50000, 5).label(20000) == "20k");
    REQUIRE(loose(0, 2e6, 4).label(500000) == "0.5M");
    REQUIRE(loose(0, 2e6, 4).label(0) == "0");
    REQUIRE(loose(0, 1e-6, 5).label(2e-7) == "2e-07");
}

TEST_CASE("chart: labels are moved apart, in order, and no further than they must", "[io]") {
    const auto spread = [](const std::vector<double>& wanted) { return detail::spread(wanted, 10, 0, 100); };
    REQUIRE(spread({50, 20}) == std::vector<double>{50, 20});
    REQUIRE(spread({50, 50}) == std::vector<double>{45, 55});
    REQUIRE(spread({0, 0, 100, 100}) == std::vector<double>{0, 10, 90, 100});
    REQUIRE(spread({}).empty());
    const std::vector<double> many = spread({50, 51, 52, 49, 50, 10, 95, 99, 44});
    for (std::size_t i = 0; i < many.size(); ++i) {
        REQUIRE(many[i] >= 0);
        REQUIRE(many[i] <= 100);
        for (std::size_t j = 0; j < i; ++j) REQUIRE(std::abs(many[i] - many[j]) > 9.999);
    }
}

TEST_CASE("chart: everything that was asked for is drawn", "[io]") {
    chart c{
        .title = "Title <&>",
        .caption =
            "a \"caption\" that is long enough for more than one line of the chart, as it goes on and on and "
            "on, until there is no room left",
        .x_label = "round",
        .y_label = "reward",
        .series = {{.name = "first", .x = {0, 1, 2}, .y = {1, 2, 3}, .low = {0, 1, 2}, .high = {2, 3, 4}},
                   {.name = "second & last", .x = {0, 1, 2}, .y = {3, nan_value, 1}, .line = false, .markers = true}},
        .horizontal = {{2.5, "baseline"}},
        .vertical = {{1, "change"}, {1.01, "another"}}};
    const std::string svg = render_svg(c);
    check_well_formed(svg);
    for (const std::string_view part : {"Title &lt;&amp;&gt;", ">round<", ">reward<", ">first<", ">second &amp; last<",
                                        ">baseline<", ">change<", ">another<", "&quot;caption&quot;"})
        REQUIRE(contains(svg, part));
    REQUIRE(count(svg, "<path") == 1);
    REQUIRE(count(svg, "fill-opacity=\"0.16\"") == 1);
    REQUIRE(count(svg, "fill-opacity=\"0.85\"") == 2);  // the point with a NaN is not there
    REQUIRE_FALSE(contains(svg, "<script"));
    REQUIRE_FALSE(contains(svg, "href"));
    REQUIRE(render_svg(c) == svg);
    const rlgaf_test::temp_dir dir;
    write_svg(dir / "plots/a.svg", c);
    REQUIRE(rlgaf_test::bytes_of(dir / "plots/a.svg") == svg);
}

TEST_CASE("chart: a NaN breaks a line and a band", "[io]") {
    const std::string svg = render_svg({.series = {{.x = {0, 1, 2, 3, 4},
                                                    .y = {0, 1, nan_value, 3, infinity},
                                                    .low = {0, 1, nan_value, 1, 1},
                                                    .high = {1, 2, 3, 3, 3}}}});
    check_well_formed(svg);
    const std::size_t at = svg.find("<path d=\"");
    const std::string path = svg.substr(at, svg.find('"', at + 10) - at);
    REQUIRE(count(path, "M") == 2);
    REQUIRE(count(path, "L") == 1);
    REQUIRE(count(svg, "fill-opacity=\"0.16\"") == 2);
}

TEST_CASE("chart: little, strange and much data", "[io]") {
    check_well_formed(render_svg({}));
    check_well_formed(render_svg({.series = {{.name = "nothing"}}}));
    check_well_formed(render_svg({.series = {{.name = "point", .x = {5}, .y = {5}}}}));
    check_well_formed(render_svg({.series = {{.name = "lost", .x = {nan_value}, .y = {infinity}}}}));
    check_well_formed(render_svg({.title = "\xff\x01 bytes", .series = {{.x = {1e300, -1e300}, .y = {1e-300, 0}}}}));
    chart many{.title = std::string(300, 'W') + " " + std::string(300, 'x'), .width = 320, .height = 240};
    for (int k = 0; k < 40; ++k)
        many.series.push_back({.name = "a rather long name of series " + std::to_string(k), .x = {0, 1}, .y = {0, 0}});
    const std::string svg = render_svg(many);
    check_well_formed(svg);
    REQUIRE(contains(svg, "…"));
    REQUIRE_FALSE(contains(svg, "height=\"240\""));  // room for 40 names
}

TEST_CASE("chart: ranges that are given hold", "[io]") {
    const chart c{.series = {{.x = {0, 10}, .y = {0, 10}}}, .x_min = 2, .x_max = 4, .y_min = 0, .y_max = 1};
    check_well_formed(render_svg(c));
    REQUIRE_FALSE(contains(render_svg(c), ">10<"));
}

TEST_CASE("chart: what does not fit is refused", "[io]") {
    REQUIRE(contains(message_of<shape_error>([] { render_svg({.series = {{.name = "s", .x = {1}}}}); }), "'s'.y"));
    REQUIRE_THROWS_AS(render_svg({.series = {{.x = {1}, .y = {1}, .low = {1}}}}), shape_error);
    REQUIRE_THROWS_AS(render_svg({.width = 10}), option_error);
    REQUIRE_THROWS_AS(render_svg({.height = nan_value}), option_error);
    REQUIRE_THROWS_AS(render_svg({.x_min = 1, .x_max = 1}), option_error);
    REQUIRE_THROWS_AS(render_svg({.y_max = infinity}), option_error);
    const rlgaf_test::temp_dir dir;
    REQUIRE_THROWS_AS(write_svg(dir.path(), {}), file_error);
}
