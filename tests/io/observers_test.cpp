/// The observers of io/ on the reports of the real trainer.
#include "rlgaf/io/jsonl_log.hpp"
#include "rlgaf/io/progress_bar.hpp"
#include "rlgaf/training/observer.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;

TEST_CASE("observers: a trainer's report is logged under its names and shown", "[io]") {
    const rlgaf_test::temp_dir dir;
    round_report report;
    report.round = 2;
    report.rounds = 2;
    report.reward_mean = 0.5;
    jsonl_log log{dir / "log"};
    log.on_begin(run_info{2});
    log.on_round(report);
    log.on_end(report);
    const std::string text = rlgaf_test::bytes_of(dir / "log");
    const auto line = nlohmann::json::parse(text);
    REQUIRE(text.starts_with("{\"round\":2,"));
    REQUIRE(line.at("round") == 2);
    REQUIRE(line.at("reward_mean") == 0.5);
    REQUIRE(line.at("accuracy").is_null());
    {
        const detail::file_handle stream(std::fopen((dir / "out").string().c_str(), "wb"));
        progress_bar bar({.stream = stream.get()});
        bar.on_begin(run_info{2});
        bar.on_round(report);
        bar.on_end(report);
    }
    REQUIRE(contains(rlgaf_test::bytes_of(dir / "out"), "100%  2/2"));
    REQUIRE(contains(rlgaf_test::bytes_of(dir / "out"), "reward 0.5"));
}
