// A LibTorch model through the same trainer: a GRU has learned the words of two invented tongues, and is brought to
// speak one of them by 300 examples that it never sees. Needs LibTorch; takes seconds on a CPU.
// clang-format off: the adapter comes before torch's own headers (clang 14 with torch 1.13)
#include "rlgaf/interop/torch.hpp"
// clang-format on
#include <fmt/format.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/rnn.h>

#include <numeric>
#include <set>

#include "rlgaf/data/tokenizer.hpp"
#include "rlgaf/reward_shaping/kl_penalty.hpp"
#include "rlgaf/reward_shaping/pipeline.hpp"
#include "rlgaf/training/adversarial_trainer.hpp"
#include "rlgaf/training/sft.hpp"

// The model: nothing in it knows of rlgaf. As a policy it gives a logit for every token, as a discriminator one score.
struct gru_net_impl : torch::nn::Cloneable<gru_net_impl> {
    gru_net_impl(std::int64_t tokens, std::int64_t outputs) : tokens_(tokens), outputs_(outputs) { reset(); }
    void reset() override {
        embedding = register_module("embedding", torch::nn::Embedding(tokens_, 16));
        gru = register_module("gru", torch::nn::GRU(torch::nn::GRUOptions(16, 48).batch_first(true)));
        head = register_module("head", torch::nn::Linear(48, outputs_));
    }
    torch::Tensor forward(torch::Tensor tokens) { return head(std::get<0>(gru(embedding(tokens)))); }
    std::int64_t tokens_, outputs_;
    torch::nn::Embedding embedding{nullptr};
    torch::nn::GRU gru{nullptr};
    torch::nn::Linear head{nullptr};
};
TORCH_MODULE_IMPL(gru_net, gru_net_impl);

const rlgaf::char_tokenizer letters("aeioubdgklmnprst");
constexpr std::string_view vowels = "aeiou", hard = "bdgkprst", soft = "lmn";

// Words of two or three syllables. First tongue: "kano", "pelita"; second: "strenlat", "probgud".
rlgaf::token_batch<float> invent(bool second, std::size_t count, std::uint64_t seed) {
    rlgaf::token_batch<float> words;
    for (std::size_t i = 0; i < count; ++i) {
        const rlgaf::random_stream random({seed, 0}, rlgaf::stream::user, i);
        std::uint32_t draw = 0;
        const auto one_of = [&](std::string_view of) { return of[random.below(of.size(), draw++)]; };
        std::string word;
        for (std::uint64_t n = 2 + random.below(2, draw++); n > 0; --n) {
            word += one_of(second || random.below(2, draw++) ? hard : soft);
            if (second && random.below(2, draw++)) word += 'r';
            word += one_of(vowels);
            if (second) word += one_of(random.below(2, draw++) ? hard : soft);
        }
        auto tokens = letters.encode(word);
        tokens.push_back(letters.eos());
        words.add(tokens, rlgaf::row_end::terminated);
    }
    return words;
}
// Prints some words, how many are of the first tongue (consonant and vowel take turns), and how many are different.
void show(const std::string& what, const rlgaf::token_batch<float>& words) {
    double first = 0;
    std::set<std::string> distinct;
    for (std::size_t row = 0; row < rows(words); ++row) {
        const std::string word = *distinct.insert(letters.decode(words.row(row))).first;
        bool ok = words.end[row] == rlgaf::row_end::terminated && word.size() % 2 == 0 && word.size() >= 4;
        for (std::size_t i = 0; i < word.size(); ++i) ok = ok && (vowels.find(word[i]) != vowels.npos) == (i % 2 == 1);
        first += ok;
    }
    const double percent = 100.0 / static_cast<double>(rows(words));
    fmt::print("{:<16} {:5.1f} % first tongue, {:4.1f} % distinct:", what, percent * first,
               percent * static_cast<double>(distinct.size()));
    for (std::size_t row = 0; row < 8; ++row) fmt::print(" {}", letters.decode(words.row(row)));
    fmt::print("\n");
}

int main() {
    torch::manual_seed(1);
    torch::set_num_threads(1);  // so small a model gains nothing from more
    const auto tokens = static_cast<std::int64_t>(letters.vocabulary_size());
    const std::int32_t eos = letters.eos();  // also in front of a word
    rlgaf::torch_policy policy{gru_net(tokens, tokens), {.start_token = eos, .end_token = eos, .max_length = 12}};
    rlgaf::torch_scorer discriminator{gru_net(tokens, 1), {.start_token = eos}};
    std::vector<std::uint64_t> id(2000);
    std::iota(id.begin(), id.end(), std::uint64_t{0});
    rlgaf::fine_tune(policy, concat(invent(false, 2000, 1), invent(true, 2000, 2)),
                     {.epochs = 4, .step = {.learning_rate = 5e-3}});
    show("base model", policy.rollout({}, id, {}, {4, 0}));
    rlgaf::demonstrations experts{invent(false, 300, 3)};
    rlgaf::adversarial_trainer trainer{policy, discriminator, experts,
                                       rlgaf::pipeline{rlgaf::logit_reward{}, rlgaf::kl_penalty{.beta = 0.1}}};
    while (trainer.rounds_done() < 60) {
        trainer.run({.rounds = 15,
                     .rows = 128,
                     .policy = {.step = {.learning_rate = 1e-3}},
                     .discriminator = {.step = {.learning_rate = 2e-3}}});
        show(fmt::format("after round {}", trainer.rounds_done()), policy.rollout({}, id, {}, {4, 0}));
    }
    show("what it imitates", invent(false, id.size(), 5));
}
