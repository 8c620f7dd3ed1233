// What each discriminator loss, regulariser, balance, reward and credit is worth: small runs of align_words in which one
// thing is switched on or exchanged, over several seeds. Finished runs are kept in a file and not done again.
#include "support/stabilisers.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/interval_chart.hpp"
#include "rlgaf/io/progress.hpp"
#include "rlgaf/io/table.hpp"
#include "support/results.hpp"

using namespace stabilisers;
using align_words::interval;
using json = nlohmann::ordered_json;

namespace {

// One finished run. Shares in per cent; halfway: rounds until the samples had made half of the whole gain.
struct record {
    std::string variant = {}, target = {}, form = {}, error = {};
    std::uint64_t seed = 0;
    double base_valid_new = 0, valid_new = 0, distinct = 0, memorised = 0, halfway = 0, seconds = 0;

    bool failed() const { return !error.empty() || !(valid_new > base_valid_new) || distinct < 80; }
    json as_json() const {
        return {{"variant", variant},   {"target", target},       {"seed", seed},
                {"form", form},         {"valid_new", valid_new}, {"base_valid_new", base_valid_new},
                {"distinct", distinct}, {"memorised", memorised}, {"halfway", halfway},
                {"seconds", seconds},   {"error", error}};
    }
    static record from(const json& j) {
        record r;
        j.at("variant").get_to(r.variant), j.at("target").get_to(r.target), j.at("seed").get_to(r.seed);
        j.at("form").get_to(r.form), j.at("valid_new").get_to(r.valid_new), j.at("distinct").get_to(r.distinct);
        j.at("base_valid_new").get_to(r.base_valid_new), j.at("memorised").get_to(r.memorised);
        j.at("halfway").get_to(r.halfway), j.at("seconds").get_to(r.seconds), j.at("error").get_to(r.error);
        return r;
    }
};

std::vector<record> read_records(const std::string& path) {
    std::vector<record> all;
    std::ifstream file(path);
    std::string line;
    for (std::size_t number = 1; std::getline(file, line); ++number) try {
            if (!line.empty()) all.push_back(record::from(json::parse(line)));
        } catch (const json::exception& e) {
            rlgaf::fail(rlgaf::error_kind::file, "stabilisers", fmt::format("{}, line {}", path, number),
                        "a finished run as JSON", e.what());
        }
    return all;
}

void write_records(const std::string& path, const std::vector<record>& all) {
    rlgaf::atomic_file file(path);
    for (const record& r : all) file.write(r.as_json().dump() + '\n');
    file.commit();
}

// The base model of one seed, and the words it is asked for.
struct world {
    rlgaf::char_tokenizer letters{"abcdefghijklmnopqrstuvwxyz"};
    align_words::word_data data;
    policy base;
    double base_valid_new = 0;

    static align_words::word_options words_of(const form& f, const std::string& target) {
        align_words::word_options options;
        options.target = target, options.words_per_language = f.words_per_language;
        return options;
    }
    world(const form& f, const std::string& target, std::uint64_t seed)
        : data(align_words::load_words(words_of(f, target), seed)),
          base({.vocabulary = letters.vocabulary_size(),
                .hidden = f.hidden,
                .end_token = letters.eos(),
                .max_length = 15,
                .seed = seed}) {
        const auto words = align_words::as_batch(data.base, letters);
        rlgaf::sft_options options{
            .epochs = f.base_epochs, .rows_per_step = 128, .step = {.learning_rate = 4e-3}, .seed = seed};
        options.learning_rate = {
            .shape = rlgaf::schedule_shape::linear, .to = 0.02, .steps = options.steps(rows(words))};
        rlgaf::fine_tune(base, words, options);
        base_valid_new = align_words::measure(base, data, letters, 1, {seed, 5000}).valid_new;
    }
};

record run(const variant& v, const form& f, const std::string& target, std::uint64_t seed, world& w) {
    record r{.variant = v.name, .target = target, .form = f.name(), .seed = seed, .base_valid_new = w.base_valid_new};
    const auto start = std::chrono::steady_clock::now();
    policy model = w.base.clone();
    setting s{model, w.base, w.data, w.letters, {.rounds = f.rounds, .rows = f.rows, .seed = seed}};
    s.options.policy.step.learning_rate = f.policy_rate;
    s.options.policy_rate = {.shape = rlgaf::schedule_shape::linear, .to = 0.1, .steps = f.rounds};
    s.options.discriminator.step.learning_rate = f.discriminator_rate;
    try {
        v.train(s);
        const align_words::quality q = align_words::measure(model, w.data, w.letters, 1, {seed, 6000});
        r.valid_new = q.valid_new, r.distinct = q.distinct, r.memorised = q.memorised;
    } catch (const rlgaf::numeric_error& e) {  // a run that ends in NaN has failed; anything else is a mistake of ours
        r.error = e.what();
    }
    r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double half = (r.base_valid_new + r.valid_new) / 2;
    constexpr std::size_t window = 10;  // rounds of which the mean is taken
    double sum = 0;
    r.halfway = static_cast<double>(f.rounds);
    for (std::size_t i = 0; i < s.valid_by_round.size(); ++i) {
        sum += s.valid_by_round[i] - (i >= window ? s.valid_by_round[i - window] : 0);
        if (i + 1 >= window && sum / window >= half) {
            r.halfway = static_cast<double>(i + 1);
            break;
        }
    }
    return r;
}

interval mean_of(const std::vector<double>& x) {
    if (x.empty()) return {};
    std::vector<interval> seeds;
    for (const double v : x) seeds.push_back({v, v, v});
    return align_words::over_seeds(seeds);
}

}  // namespace

std::string stabilisers::form::name() const {
    return fmt::format("hidden {}, {} rounds of {}, rates {} and {}, {} epochs of 5 x {} words", hidden, rounds, rows,
                       policy_rate, discriminator_rate, base_epochs, words_per_language);
}

int main(int argc, char** argv) {
    form f;
    std::size_t seeds = 5;
    std::uint64_t first_seed = 1;
    std::string target = "italian", results_path = RLGAF_BENCHMARKS_DIR "/results/stabilisers.jsonl", json_path,
                picture = "runs/stabilisers.svg";
    std::vector<std::string> only;
    bool fresh = false, list = false;
    CLI::App app("Small runs of align_words with one thing switched on or exchanged in each, over several seeds.");
    app.add_option("--seeds", seeds, "runs of each")->check(CLI::Range(1, 100));
    app.add_option("--seed", first_seed, "the first seed");
    app.add_option("--target", target, "english, french, german, italian or spanish");
    app.add_option("--only", only, "names of variants or families, several with commas")->delimiter(',');
    app.add_flag("--list", list, "name the variants and stop");
    app.add_flag("--fresh", fresh, "do these runs again that are in --results");
    app.add_option("--results", results_path, "finished runs: read, and added to, a JSON line each");
    app.add_option("--rounds", f.rounds, "adversarial rounds of a run")->check(CLI::Range(20, 100000));
    app.add_option("--policy-rate", f.policy_rate, "learning rate of the policy");
    app.add_option("--discriminator-rate", f.discriminator_rate, "learning rate of the discriminator");
    app.add_option("--hidden", f.hidden, "units of the LSTM")->check(CLI::Range(8, 4096));
    app.add_option("--json", json_path, "write the table here");
    app.add_option("--picture", picture, "draw what each gains over the default here (SVG)");
    CLI11_PARSE(app, argc, argv);

    std::vector<variant> all;
    all.push_back(
        {"default", "default", [](setting& s) { train(s, default_advantage(), default_loss(), default_reward()); }});
    add_losses(all), add_relativistic(all), add_regularizers(all), add_balance(all), add_rewards(all), add_credit(all);
    const auto wanted = [&](const variant& v) {
        return only.empty() || v.name == "default" || std::find(only.begin(), only.end(), v.name) != only.end() ||
               std::find(only.begin(), only.end(), v.family) != only.end();
    };
    std::erase_if(all, [&](const variant& v) { return !wanted(v); });
    if (list) {
        for (const variant& v : all) fmt::print("{:12} {}\n", v.family, v.name);
        return 0;
    }
    try {
        std::optional<rlgaf::atomic_file> json_file;
        if (!json_path.empty()) json_file.emplace(json_path);
        rlgaf::atomic_file picture_file(picture);
        std::vector<record> done = read_records(results_path);
        if (fresh)  // the others' runs stay
            std::erase_if(done, [&](const record& r) {
                return r.target == target && r.form == f.name() && r.seed >= first_seed &&
                       r.seed < first_seed + seeds &&
                       std::any_of(all.begin(), all.end(), [&](const variant& v) { return v.name == r.variant; });
            });
        const auto find = [&](const std::string& name, std::uint64_t seed) -> const record* {
            for (const record& r : done)
                if (r.variant == name && r.seed == seed && r.target == target && r.form == f.name()) return &r;
            return nullptr;
        };
        std::size_t missing = 0;
        for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed)
            for (const variant& v : all) missing += find(v.name, seed) == nullptr;
        fmt::print("{} variants, {} seeds, {}: {} runs to do ({})\n", all.size(), seeds, target, missing, f.name());

        if (missing > 0) {
            std::filesystem::create_directories(std::filesystem::absolute(results_path).parent_path());
            if (fresh) write_records(results_path, done);
            std::ofstream results(results_path, std::ios::app);
            rlgaf::progress bar("runs", missing, {});
            std::size_t finished = 0;
            for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
                std::optional<world> w;
                for (const variant& v : all) {
                    if (find(v.name, seed)) continue;
                    if (!w) w.emplace(f, target, seed);
                    done.push_back(run(v, f, target, seed, *w));
                    const record& r = done.back();
                    results << r.as_json().dump() << '\n' << std::flush;
                    if (!results)
                        rlgaf::fail(rlgaf::error_kind::file, "stabilisers", results_path, "a file to add to",
                                    "an error");
                    bar.update(++finished, fmt::format("{} seed {}: valid_new {:.2f}, {:.0f} s", v.name, seed,
                                                       r.valid_new, r.seconds));
                }
            }
            bar.finish();
        }

        rlgaf::table table({"family", "variant", "valid_new", "over the default", "distinct", "memorised", "half-way",
                            "seconds", "failed"});
        rlgaf::interval_chart chart{
            .title = "What each loss and stabiliser gains over the default",
            .caption = fmt::format("Dots: mean over {} seeds ({}), filled where its 95 % interval (lines) leaves out "
                                   "0. Arrows: beyond the axis. Runs: {}.",
                                   seeds, target, f.name()),
            .x_label = "share of valid new words, in percentage points over the default"};
        json rows = json::array();
        for (const variant& v : all) {
            std::vector<double> valid, gain, distinct, memorised, halfway, seconds;
            std::size_t failed = 0;
            for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
                const record& r = *find(v.name, seed);
                failed += r.failed();
                valid.push_back(r.valid_new), distinct.push_back(r.distinct), memorised.push_back(r.memorised);
                if (!r.failed()) halfway.push_back(r.halfway);
                seconds.push_back(r.seconds);
                gain.push_back(r.valid_new - find("default", seed)->valid_new);
            }
            const interval y = mean_of(valid), d = mean_of(gain), x = mean_of(distinct), m = mean_of(memorised),
                           h = mean_of(halfway), t = mean_of(seconds);
            table.row({v.family, v.name, fmt::format("{:.2f} [{:.2f}, {:.2f}]", y.mean, y.lo, y.hi),
                       v.name == "default" ? "" : fmt::format("{:+.2f} [{:+.2f}, {:+.2f}]", d.mean, d.lo, d.hi),
                       fmt::format("{:.1f}", x.mean), fmt::format("{:.3f}", m.mean),
                       halfway.empty() ? "-" : fmt::format("{:.0f}", h.mean), fmt::format("{:.1f}", t.mean),
                       std::to_string(failed)});
            rows.push_back({{"family", v.family}, {"variant", v.name}, {"valid_new", y.mean}, {"valid_new_lo", y.lo}});
            rows.back().update({{"valid_new_hi", y.hi}, {"gain", d.mean}, {"gain_lo", d.lo}, {"gain_hi", d.hi}});
            rows.back().update({{"distinct", x.mean},
                                {"memorised", m.mean},
                                {"halfway", halfway.empty() ? json() : json(h.mean)},
                                {"seconds", t.mean}});
            rows.back().update({{"failed", failed}, {"seeds", seeds}, {"target", target}});
            if (v.name == "default") continue;
            if (chart.groups.empty() || chart.groups.back().name != v.family)
                chart.groups.push_back({.name = v.family});
            chart.groups.back().rows.push_back({.name = v.name,
                                                .value = d.mean,
                                                .low = d.lo,
                                                .high = d.hi,
                                                .note = failed > 0      ? fmt::format("{} of {} failed", failed, seeds)
                                                        : x.mean < 98.5 ? fmt::format("{:.0f} % distinct", x.mean)
                                                                        : ""});
        }
        fmt::print("{}", table.text());
        fmt::print(
            "shares in per cent of {} samples at temperature 1, brackets: 95 % over seeds; over the default: the same "
            "seeds compared;\nhalf-way: rounds to half of the gain, of seeds that did not fail; failed: seeds that "
            "ended in NaN, no better than "
            "the base model, or with less than 80 % distinct words\n",
            align_words::samples);
        for (rlgaf::interval_group& g : chart.groups)
            std::stable_sort(g.rows.begin(), g.rows.end(),
                             [](const auto& a, const auto& b) { return a.value > b.value; });
        picture_file.write(rlgaf::render_svg(chart));
        picture_file.commit();
        if (json_file) {
            json_file->write(json{{"stabilisers", rows}}.dump(2) + "\n");
            json_file->commit();
        }
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
