#include "rlgaf/io/jsonl_log.hpp"

#include <limits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

namespace elsewhere {
struct report {
    std::size_t round = 0;
    std::vector<std::pair<std::string, double>> metrics;
};
template <class F>
void for_each_metric(const report& r, F f) {
    f("round", static_cast<double>(r.round));
    for (const auto& [name, value] : r.metrics) f(std::string_view(name), value);
}
}  // namespace elsewhere

using namespace rlgaf;
using rlgaf_test::bytes_of;
using rlgaf_test::contains;
using rlgaf_test::message_of;

TEST_CASE("jsonl_log: one line a round, there at once", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir / "run/1/metrics.jsonl";
    const double inf = std::numeric_limits<double>::infinity();
    jsonl_log log{path};
    log.on_begin(0);
    log.on_round(elsewhere::report{1, {{"reward_mean", 0.1}, {"steps", 3}, {"tiny", 5e-324}}});
    REQUIRE(bytes_of(path) == "{\"round\":1,\"reward_mean\":0.1,\"steps\":3,\"tiny\":5e-324}\n");
    log.on_round(elsewhere::report{2, {{"a", inf}, {"b", -inf}, {"c", std::numeric_limits<double>::quiet_NaN()}}});
    log.on_round(elsewhere::report{3, {{"quote\"\n", 1}, {"bad\xff", -0.0}}});
    log.on_end(0);
    const std::string all = bytes_of(path);
    REQUIRE(contains(all, "{\"round\":2,\"a\":null,\"b\":null,\"c\":null}\n"));
    REQUIRE(contains(all, "\"quote\\\"\\n\":1,"));
    std::size_t lines = 0;
    for (std::size_t at = 0; at < all.size(); ++lines) {
        const std::size_t end = all.find('\n', at);
        REQUIRE(nlohmann::json::accept(all.substr(at, end - at)));
        at = end + 1;
    }
    REQUIRE(lines == 3);
}

TEST_CASE("jsonl_log: numbers read back as the same double", "[io]") {
    for (const double value : {0.1, 1.0 / 3, 1e300, -2.5e-7, 123456789012345680.0, 4e15}) {
        detail::json_line line;
        line.add("x", value);
        REQUIRE(nlohmann::json::parse(line.finish()).at("x").get<double>() == value);
    }
    REQUIRE(detail::json_line().finish() == "{}\n");
}

TEST_CASE("jsonl_log: starts anew, or goes on behind the last whole line", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir.write("log", "{\"round\":1}\n{\"rou");
    jsonl_log{path, {.append = true}}.on_round(elsewhere::report{2, {}});
    REQUIRE(bytes_of(path) == "{\"round\":1}\n{\"round\":2}\n");
    jsonl_log{path}.on_round(elsewhere::report{7, {}});
    REQUIRE(bytes_of(path) == "{\"round\":7}\n");
    dir.write("half", "{");
    jsonl_log{dir / "half", {.append = true}}.on_round(elsewhere::report{1, {}});
    REQUIRE(bytes_of(dir / "half") == "{\"round\":1}\n");
    jsonl_log{dir / "new", {.append = true}}.on_round(elsewhere::report{1, {}});
    REQUIRE(bytes_of(dir / "new") == "{\"round\":1}\n");
}

TEST_CASE("jsonl_log: a file that cannot be written is named", "[io]") {
    const rlgaf_test::temp_dir dir;
    dir.write("file", "");
    REQUIRE(contains(message_of<file_error>([&] { jsonl_log{dir.path()}; }), dir.path().string()));
    REQUIRE(contains(message_of<file_error>([&] { jsonl_log{dir / "file/below/log"}; }), "below"));
#if defined(__linux__)
    if (std::filesystem::exists("/dev/full"))
        REQUIRE(contains(message_of<file_error>([&] {
                             jsonl_log{"/dev/full"}.on_round(elsewhere::report{1, {}});
                         }),
                         "/dev/full: expected room for a line"));
#endif
}
