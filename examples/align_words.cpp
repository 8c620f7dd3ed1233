// A small language model that knows five languages learns to speak one of them from 500 demonstrations that it never
// trains on: it only sees the reward of a discriminator that is trained beside it. Compared with supervised
// fine-tuning and, if asked for, with RLHF.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "rlgaf/io/jsonl_log.hpp"
#include "rlgaf/io/parameters_file.hpp"
#include "rlgaf/io/progress_bar.hpp"
#include "rlgaf/models/lstm.hpp"
#include "rlgaf/models/lstm_critic.hpp"
#include "rlgaf/rlgaf.hpp"
#include "support/frontier.hpp"
#include "support/pathwise.hpp"
#include "support/results.hpp"
#include "support/rlhf.hpp"
#include "support/words.hpp"

using namespace align_words;
using judge_model = rlgaf::lstm_scorer<float>;

struct settings {
    word_options words;
    std::size_t rounds = 200, seeds = 1, base_epochs = 2, sft_epochs = 40, hidden = 256;
    std::uint64_t seed = 1;
    double policy_rate = 5e-4, discriminator_rate = 5e-5, sft_rate = 5e-4, beta = 0.1;
    std::string json, picture = "runs/align_words.svg", log, save, load;
    std::vector<std::string> methods = {"rlgaf", "rlgaf_warm", "constant_reward"};
    rlhf_settings rlhf;

    bool runs(const std::string& method) const {
        return std::find(methods.begin(), methods.end(), method) != methods.end();
    }
};

// Prints a line of figures and samples every few rounds.
struct sample_rows {
    const rlgaf::char_tokenizer& letters;
    std::size_t every;
    double held_out = 0;

    void on_begin(const rlgaf::run_info&) { fmt::print("round  reward  acc  held-out   KL   samples\n"); }
    void on_rollout(const rlgaf::round_report& r, const rlgaf::token_batch<float>& batch) {
        if (r.accuracy_held_out == r.accuracy_held_out) held_out = r.accuracy_held_out;
        if (r.round != 1 && r.round % every != 0) return;
        if (isatty(2)) fmt::print(stderr, "\r\x1b[2K");
        fmt::print("{:5} {:7.2f} {:4.2f}  {:7.2f} {:6.3f}  ", r.round, r.reward_mean, r.accuracy, held_out,
                   r.kl_reference_per_token);
        for (std::size_t i = 0; i < 6; ++i) fmt::print(" {}", letters.decode(batch.row(i)));
        fmt::print("\n");
        std::fflush(stdout);
    }
};

struct log_if_asked {
    std::optional<rlgaf::jsonl_log>& log;
    void on_round(const rlgaf::round_report& r) {
        if (log) log->on_round(r);
    }
};

template <class... Score>
auto reward_of(const settings& s, Score... score) {
    return rlgaf::pipeline{score..., rlgaf::kl_penalty{.beta = s.beta}, rlgaf::missing_eos{.penalty = 1}};
}

rlgaf::adversarial_options options_of(const settings& s, std::uint64_t seed) {
    rlgaf::adversarial_options options{.rounds = s.rounds, .rows = 512, .seed = seed};
    options.policy.step.learning_rate = s.policy_rate;
    options.policy_rate = {.shape = rlgaf::schedule_shape::linear, .to = 0.1, .steps = s.rounds};
    options.discriminator.step.learning_rate = s.discriminator_rate;
    options.held_out_every = std::max<std::size_t>(s.rounds / 10, 1);
    return options;
}

// Trains `model` against a discriminator that starts from the base model's weights. The components are what a run is made
// of: which rows, tokens or beginnings are judged, and who is paid for what.
template <class... C>
void align(policy& model, const policy& base, const word_data& data, const rlgaf::char_tokenizer& letters,
           const settings& s, std::uint64_t seed, std::optional<rlgaf::jsonl_log>& log, C... components) {
    judge_model judge(base, {.seed = seed, .optimizer = {.beta1 = 0.5}});
    const auto demos = as_batch(data.demos, letters);
    rlgaf::demonstrations experts{demos};
    rlgaf::adversarial_trainer trainer{model, judge, experts, components...};
    const rlgaf::adversarial_options options = options_of(s, seed);
    sample_rows rows{letters, options.held_out_every};
    rlgaf::health_monitor health{{.patience = 50}};  // rounds: this discriminator is slow on purpose
    health.knows(demos);
    trainer.run(options, rlgaf::progress_bar{}, rows, health, log_if_asked{log});
}

void align_rows(policy& model, const policy& base, const word_data& data, const rlgaf::char_tokenizer& letters,
                const settings& s, std::uint64_t seed, std::optional<rlgaf::jsonl_log>& log) {
    align(model, base, data, letters, s, seed, log, rlgaf::grpo{.group_size = 0}, rlgaf::ppo_clip{},
          rlgaf::bce{.smooth_real = 0.2},  // or: rlgaf::hinge{}, rlgaf::r1{.gamma = 1},
          reward_of(s, rlgaf::logit_reward{.clip = 10}), rlgaf::held_out_experts(as_batch(data.held_out, letters)));
}

// Ways to say which letter of a word was right or wrong; align_rows pays the word as a whole.
void align_letters(const std::string& method, policy& model, const policy& base, const word_data& data,
                   const rlgaf::char_tokenizer& letters, const settings& s, std::uint64_t seed,
                   std::optional<rlgaf::jsonl_log>& log) {
    const rlgaf::rollout_values rollouts{.rollouts = 4, .map = rlgaf::score_map::logit};
    if (method ==
        "stepwise")  // the discriminator judges every beginning; a letter is paid how much it raised the score
        align(model, base, data, letters, s, seed, log,
              rlgaf::reinforce{.baseline = rlgaf::reinforce_baseline::per_step},
              rlgaf::on_tokens{rlgaf::bce{.smooth_real = 0.2}}, reward_of(s, rlgaf::score_difference{}));
    else if (method == "shares")  // a letter is paid the share of the word's score that the score's gradient gives it
        align(model, base, data, letters, s, seed, log,
              rlgaf::reinforce{.baseline = rlgaf::reinforce_baseline::per_step}, rlgaf::bce{.smooth_real = 0.2},
              reward_of(s, rlgaf::logit_reward{.clip = 10}, rlgaf::gradient_redistribution{}));
    else if (method == "ppo") {  // a critic says what a word is worth from each letter on
        rlgaf::lstm_critic<float> critic(base, {.seed = seed});
        align(model, base, data, letters, s, seed, log, rlgaf::gae{}, rlgaf::with_critic(critic),
              rlgaf::bce{.smooth_real = 0.2}, reward_of(s, rlgaf::logit_reward{.clip = 10}));
    } else if (method == "rollouts")  // SeqGAN: a letter is paid what words that begin so score on average
        align(model, base, data, letters, s, seed, log,
              rlgaf::reinforce{.baseline = rlgaf::reinforce_baseline::per_step, .discount = 0},
              rlgaf::bce{.smooth_real = 0.2}, reward_of(s, rlgaf::rollout_reward{}), rollouts);
    else  // VinePPO: how much it raised that average
        align(model, base, data, letters, s, seed, log,
              rlgaf::reinforce{.baseline = rlgaf::reinforce_baseline::none, .discount = 0, .group_size = 0},
              rlgaf::bce{.smooth_real = 0.2},
              reward_of(s, rlgaf::rollout_reward{.credit = rlgaf::rollout_credit::difference, .initial_is_mean = true}),
              rollouts);
}

// The same loop with a discriminator that says nothing. What it gains is no merit of the discriminator.
void align_to_constant(policy& model, const settings& s, std::uint64_t seed) {
    rlgaf::true_reward constant([](const rlgaf::token_batch<float>&, std::size_t) { return 0.0; });
    rlgaf::adversarial_trainer trainer{model, constant, rlgaf::no_experts, rlgaf::grpo{.group_size = 0},
                                       reward_of(s, rlgaf::logit_reward{})};
    trainer.run(options_of(s, seed), rlgaf::progress_bar{});
}

// One seed: every method, measured on samples that chose nothing.
void run_seed(const settings& s, std::uint64_t seed, results& out, std::optional<rlgaf::jsonl_log>& log) {
    const word_data data = load_words(s.words, seed);
    const rlgaf::char_tokenizer letters("abcdefghijklmnopqrstuvwxyz");
    const auto held_out = as_batch(data.held_out, letters);
    const auto demos = as_batch(data.demos, letters);
    fmt::print("seed {}: {}\n", seed, data.description);

    const auto now = [] { return std::chrono::steady_clock::now(); };
    auto start = now();
    const auto seconds = [&] { return std::chrono::duration<double>(now() - start).count(); };
    const auto record = [&](const std::string& method, policy& model, double spent, const std::string& note) {
        const frontier chosen = sweep(model, data, letters, {seed, 1000});
        const frontier fresh = sweep(model, data, letters, {seed, 2000});
        const quality plain = fresh.point[0];
        const std::array<double, 2> nll = held_out_nll(model, held_out);
        method_result& r = out[method];
        const auto share = [](double percent) { return binomial(percent, samples); };
        r.metric["valid_new_at_98"].push_back(share(chosen.best_valid < 0 ? 0 : fresh.point[chosen.best].valid_new));
        r.metric["valid_new"].push_back(share(plain.valid_new));
        r.metric["memorised"].push_back(share(plain.memorised));
        const double chance =
            plain.valid_new * static_cast<double>(data.demos.size()) / static_cast<double>(data.lexicon.size());
        r.metric["memorised_by_chance"].push_back({chance, chance, chance});
        r.metric["distinct"].push_back(share(plain.distinct));
        r.metric["heldout_nll"].push_back({nll[0], nll[0] - 1.96 * nll[1], nll[0] + 1.96 * nll[1]});
        r.metric["seconds"].push_back({spent, spent, spent});
        r.frontier.emplace_back();
        for (const quality& q : fresh.point) r.frontier.back().push_back({q.distinct, q.valid_new});
        r.note = fmt::format("{}T {:.2f}, distinct {:.1f}", note, temperatures[chosen.best],
                             fresh.point[chosen.best].distinct);
    };

    policy base({.vocabulary = letters.vocabulary_size(),
                 .hidden = s.hidden,
                 .end_token = letters.eos(),
                 .max_length = 15,
                 .seed = seed});
    const std::string file = fmt::format("base_{}.safetensors", seed);
    if (!s.load.empty()) {
        rlgaf::load_parameters(std::filesystem::path(s.load) / file, base.parameters());
        fmt::print("base model from {}/{}\n", s.load, file);
    } else {
        fmt::print("base model: an LSTM of {} units learns all five languages\n", s.hidden);
        const auto words = as_batch(data.base, letters);
        rlgaf::sft_options options{
            .epochs = s.base_epochs, .rows_per_step = 128, .step = {.learning_rate = 4e-3}, .seed = seed};
        const std::size_t steps = options.steps(rows(words));
        options.learning_rate = {.shape = rlgaf::schedule_shape::linear,
                                 .to = 0.02,
                                 .steps = steps,
                                 .warmup = std::min<std::size_t>(50, steps / 10)};
        rlgaf::fine_tune(base, words, options, rlgaf::progress_bar{});
    }
    if (!s.save.empty()) {
        std::filesystem::create_directories(s.save);
        rlgaf::save_parameters(std::filesystem::path(s.save) / file, base.parameters());
    }
    record("base", base, seconds(), "");
    fmt::print("base model: {:.3f} nats a character on held-out words, {:.0f} s\n\n",
               out["base"].metric["heldout_nll"].back().mean, seconds());

    fmt::print("sft: fine-tuning on the demonstrations\n");
    policy tuned = base.clone(), best = base.clone(), warm_start = base.clone();
    double trained = 0, best_valid = -2, lowest_nll = 1e9, best_seconds = 0, warm_seconds = 0;
    std::size_t best_epoch = 0, warm_epoch = 0;
    for (std::size_t epoch = 1; epoch <= s.sft_epochs; ++epoch) {
        start = now();
        rlgaf::fine_tune(tuned, demos, {.step = {.learning_rate = s.sft_rate}, .seed = seed + 100 * epoch});
        trained += seconds();
        if (epoch > 10 && epoch % 10 != 0 && epoch != s.sft_epochs) continue;
        const double nll = held_out_nll(tuned, held_out)[0];
        const frontier f = sweep(tuned, data, letters, {seed, 1000});
        fmt::print("epoch {:2}: held-out {:.3f} nats/char, valid_new_at_98 {:5.2f}, memorised {:5.2f}\n", epoch, nll,
                   f.best_valid < 0 ? 0 : f.best_valid, f.point[0].memorised);
        std::fflush(stdout);
        if (f.best_valid > best_valid)
            best_valid = f.best_valid, best_epoch = epoch, best = tuned.clone(), best_seconds = trained;
        if (nll < lowest_nll) lowest_nll = nll, warm_epoch = epoch, warm_start = tuned.clone(), warm_seconds = trained;
    }
    record("sft", best, best_seconds, fmt::format("epoch {}, ", best_epoch));
    record("sft_last", tuned, trained, fmt::format("epoch {}, ", s.sft_epochs));

    if (s.runs("rlgaf")) {
        fmt::print("\nrlgaf: the policy never sees a demonstration, the discriminator does\n");
        start = now();
        policy aligned = base.clone();
        align_rows(aligned, base, data, letters, s, seed, log);
        record("rlgaf", aligned, seconds(), "");
    }
    if (s.runs("rlgaf_warm")) {
        fmt::print("\nrlgaf_warm: the same, from the fine-tuned policy of epoch {} (least held-out nats)\n",
                   warm_epoch);
        start = now();
        policy warm = warm_start.clone();
        align_rows(warm, base, data, letters, s, seed + 1000, log);
        record("rlgaf_warm", warm, warm_seconds + seconds(), "");
    }
    record("warm_start", warm_start, warm_seconds, fmt::format("epoch {}, ", warm_epoch));

    for (const std::string method : {"ppo", "shares", "stepwise", "rollouts", "vine"}) {
        if (!s.runs(method)) continue;
        fmt::print("\n{}: rlgaf with credit for single letters\n", method);
        start = now();
        policy aligned = base.clone();
        align_letters(method, aligned, base, data, letters, s, seed, log);
        record(method, aligned, seconds(), "");
    }
    if (s.runs("gumbel")) {
        fmt::print(
            "\ngumbel: no policy gradient; the discriminator's gradient reaches the policy through relaxed letters\n");
        start = now();
        policy aligned = base.clone();
        pathwise(aligned, base, data, letters, {.rounds = s.rounds, .seed = seed}, log);
        record("gumbel", aligned, seconds(), "");
    }
    if (s.runs("constant_reward")) {
        fmt::print("\nconstant_reward: a control\n");
        start = now();
        policy control = base.clone();
        align_to_constant(control, s, seed);
        record("constant_reward", control, seconds(), "");
    }
    if (s.runs("rlhf")) {
        fmt::print("\nrlhf: the fine-tuned policy of epoch {}, then PPO against a reward model\n", warm_epoch);
        start = now();
        policy preferred = warm_start.clone();
        rlhf_settings settings_of_seed = s.rlhf;
        settings_of_seed.rounds = s.rounds;
        settings_of_seed.seed = seed;
        rlhf(preferred, base, data, letters, settings_of_seed, log);
        record("rlhf", preferred, warm_seconds + seconds(), "");
    }
}

int main(int argc, char** argv) {
    settings s;
    CLI::App app("A language model learns one of five languages from demonstrations, adversarially.");
    app.add_option("--base", s.words.base, "word files of the base model (default: five dictionaries)")
        ->check(CLI::ExistingFile);
    app.add_option("--demos", s.words.demos, "words that show what is wanted (default: 500 words of --target)");
    app.add_option("--lexicon", s.words.lexicon,
                   "words that count as valid (default: the words that demonstrations come from)");
    app.add_flag("--skip-long", s.words.skip_long,
                 "skip words of more than 14 letters in --base and --lexicon instead of refusing the file");
    app.add_option("--target", s.words.target, "english, french, german, italian or spanish");
    app.add_option("--rounds", s.rounds, "adversarial rounds of 512 samples")->check(CLI::Range(1, 1000000));
    app.add_option("--seeds", s.seeds, "repetitions, each with its own split and models")->check(CLI::Range(1, 100));
    app.add_option("--seed", s.seed, "the first seed");
    app.add_option("--words", s.words.words_per_language, "base words a language")->check(CLI::Range(200, 10000000));
    app.add_option("--hidden", s.hidden, "units of the LSTM")->check(CLI::Range(8, 4096));
    app.add_option("--base-epochs", s.base_epochs, "passes over the base words")->check(CLI::Range(1, 1000));
    app.add_option("--sft-epochs", s.sft_epochs,
                   "passes of supervised fine-tuning; measured are the first ten, every tenth and the last")
        ->check(CLI::Range(1, 1000));
    app.add_option("--policy-rate", s.policy_rate, "learning rate of the policy");
    app.add_option("--discriminator-rate", s.discriminator_rate, "learning rate of the discriminator");
    app.add_option("--sft-rate", s.sft_rate, "learning rate of fine-tuning");
    app.add_option("--beta", s.beta, "KL to the base model, in the reward");
    app.add_option("--method", s.methods,
                   "rlgaf, rlgaf_warm, ppo, shares, stepwise, rollouts, vine, gumbel, constant_reward, rlhf: several "
                   "with commas, or again")
        ->delimiter(',')
        ->check(CLI::IsMember({"rlgaf", "rlgaf_warm", "ppo", "shares", "stepwise", "rollouts", "vine", "gumbel",
                               "constant_reward", "rlhf"}))
        ->capture_default_str();
    app.add_option("--comparisons", s.rlhf.comparisons, "rlhf: how often the lexicon compares two samples")
        ->check(CLI::Range(1, 10000000));
    app.add_option("--rlhf-rate", s.rlhf.policy_rate, "rlhf: learning rate of the policy");
    app.add_option("--kl-target", s.rlhf.kl_target, "rlhf: KL to the fine-tuned policy, nats a word");
    app.add_option("--json", s.json, "write results here");
    app.add_option("--log", s.log, "write a JSON line a round here");
    app.add_option("--picture", s.picture, "write the curve of validity against variety here (SVG)");
    app.add_option("--save", s.save, "keep the base model in this folder");
    app.add_option("--load", s.load, "take the base model from this folder");
    CLI11_PARSE(app, argc, argv);
    try {
        const auto start = std::chrono::steady_clock::now();
        rlgaf::atomic_file picture(
            s.picture);  // opened first: a path that cannot be written is refused before training
        std::optional<rlgaf::atomic_file> json;
        if (!s.json.empty()) json.emplace(s.json);
        std::optional<rlgaf::jsonl_log> log;
        if (!s.log.empty()) log.emplace(s.log);

        results all;
        for (std::size_t i = 0; i < s.seeds; ++i) run_seed(s, s.seed + i, all, log);
        fmt::print("\n{}", all.table());
        fmt::print("shares in per cent of {} samples, brackets: 95 %\n", samples);
        fmt::print("valid_new_at_98: best share of new valid words at {} % or more distinct words; ", least_distinct);
        fmt::print("temperature and epoch were chosen on other samples\n");
        fmt::print("by chance: memorised, if demonstrations were as likely as any other valid word\n");
        if (s.runs("rlhf"))
            fmt::print("rlhf: sees the lexicon, as the judge of {} comparisons of its samples; no other method does\n",
                       s.rlhf.comparisons);
        picture.write(all.picture("Validity against variety",
                                  "Each curve sweeps the sampling temperature from 1.0 (right) to 0.7."));
        picture.commit();
        if (json) {
            json->write(all.json(s.seeds).dump(2) + "\n");
            json->commit();
        }
        fmt::print("picture: {}   total: {:.0f} s\n", s.picture,
                   std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
