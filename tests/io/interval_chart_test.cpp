#include "rlgaf/io/interval_chart.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/errors.hpp"

using namespace rlgaf;
using rlgaf_test::message_of;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
    return n;
}
interval_row around(std::string name, double value, double half = 0.1) {
    return {.name = std::move(name), .value = value, .low = value - half, .high = value + half};
}
/// Nine rows near 0 and one far off.
interval_chart ten_rows(double far) {
    interval_chart c{.title = "Gains", .groups = {{.name = "near"}, {.name = "far"}}};
    for (int i = 0; i < 9; ++i) c.groups[0].rows.push_back(around("row " + std::to_string(i), 0.05 * i - 0.2));
    c.groups[1].rows.push_back(around("outlier", far));
    return c;
}

}  // namespace

TEST_CASE("interval chart: a dot and a line a row, headings, filled where the interval leaves the reference out",
          "[io]") {
    interval_chart c{
        .title = "Gains & losses",
        .caption = "some words",
        .x_label = "more",
        .groups = {{.name = "a <b>", .rows = {around("up", 1), around("even", 0.05)}}, {.rows = {around("down", -1)}}}};
    c.groups[0].rows[1].note = "a note";
    const std::string svg = render_svg(c);
    REQUIRE(svg == render_svg(c));
    REQUIRE((svg.starts_with("<svg") && svg.ends_with("</svg>\n")));
    for (const char* text : {">up<", ">even<", ">down<", ">a note<", ">a &lt;b&gt;<", ">some words<", ">more<"})
        REQUIRE(count(svg, text) == 1);
    REQUIRE(count(svg, "<circle") == 3);
    REQUIRE(count(svg, R"(fill="#ffffff" stroke="#0072b2")") == 1);  // even
    REQUIRE(count(svg, R"(fill="#0072b2" stroke="#0072b2")") == 1);
    REQUIRE(count(svg, R"(fill="#d55e00" stroke="#d55e00")") == 1);
    REQUIRE(count(svg, "<polygon") == 0);
    REQUIRE(count(svg, "stroke-dasharray") == 1);
    c.groups[0].rows.push_back(around("one more", 0));
    const auto height = [](const std::string& text) { return std::stoi(text.substr(text.find(" height=\"") + 9)); };
    REQUIRE(height(render_svg(c)) == height(svg) + 16);
}

TEST_CASE("interval chart: what lies far from most rows is drawn at the edge with its number", "[io]") {
    for (const double far : {7.25, -7.25}) {
        const std::string svg = render_svg(ten_rows(far));
        REQUIRE(count(svg, "<polygon") == 1);
        REQUIRE(count(svg, "<circle") == 9);
        REQUIRE(count(svg, far > 0 ? ">+7.25 [+7.15, +7.35]<" : ">−7.25 [−7.35, −7.15]<") == 1);
        const detail::interval_range range(ten_rows(far));
        REQUIRE((range.low > -1.5 && range.high < 1.5));
    }
    REQUIRE(count(render_svg(ten_rows(0.6)), "<polygon") == 0);
    interval_chart given = ten_rows(7.25);
    given.x_min = -1, given.x_max = 8;
    REQUIRE(count(render_svg(given), "<polygon") == 0);
    given.x_max = 0.12;
    REQUIRE(count(render_svg(given), "<polygon") == 5);  // 0.15, 0.2, 7.25; the intervals of 0.05 and 0.1
    REQUIRE(count(render_svg(given), "<circle") == 7);
    const detail::interval_range wide(interval_chart{.groups = {{.rows = {around("", 1, 0.5), around("", 2, 0.5)}}}});
    REQUIRE((wide.low == 0 && wide.high == 2.5));  // the reference too
}

TEST_CASE("interval chart: no rows, numbers that are none, names that are too long", "[io]") {
    for (const interval_chart& c :
         {interval_chart{}, interval_chart{.groups = {{.name = "empty"}}},
          interval_chart{.groups = {{.rows = {{.name = "nothing", .value = nan_value}}}}},
          interval_chart{.groups = {{.rows = {{.value = 1, .low = -infinity, .high = nan_value}}}}},
          interval_chart{.groups = {{.rows = {around(std::string(500, 'x'), 3, 0)}}}}}) {
        const std::string svg = render_svg(c);
        REQUIRE((count(svg, "nan") == 0 && count(svg, "inf") == 0));
        REQUIRE(count(svg, "<circle") ==
                (c.groups.empty() || c.groups[0].rows.empty() || !(std::abs(c.groups[0].rows[0].value) < infinity)
                     ? 0
                     : 1));
        REQUIRE(count(svg, std::string(100, 'x')) == 0);
    }
}

TEST_CASE("interval chart refuses sizes and ranges by name", "[io]") {
    const auto message = [](interval_chart c) { return message_of<option_error>([&] { render_svg(c); }); };
    REQUIRE(message({.width = 10}).starts_with("rlgaf::interval_chart: .width: expected 320..4000"));
    REQUIRE(message({.reference = nan_value}).starts_with("rlgaf::interval_chart: .reference"));
    REQUIRE(message({.x_min = infinity}).starts_with("rlgaf::interval_chart: .x_min"));
    REQUIRE(message({.x_max = nan_value}).starts_with("rlgaf::interval_chart: .x_max"));
    REQUIRE(message({.x_min = 1, .x_max = 1}).starts_with("rlgaf::interval_chart: .x_max: expected more than x_min"));
}
