// A model of your own: all that rlgaf has to know about it, and the loop that trains it.
#include <cstdio>

#include "rlgaf/data/tokenizer.hpp"
#include "rlgaf/models/ngram.hpp"
#include "rlgaf/rlgaf.hpp"
struct my_policy : rlgaf::trained_table<double> {  // p(letter) = softmax of the table's row of the letter before it
    using batch = rlgaf::token_batch<double>;
    using prompts = rlgaf::no_prompts;
    using tape = batch;                               // what backward has to remember
    static constexpr std::size_t end = 26, all = 27;  // a to z, and the end of a word
    std::vector<double> p = std::vector<double>(all);
    my_policy() : trained_table({all, all}) {}

    void predict(std::size_t before, double temperature) { rlgaf::log_softmax<double>(row(before), temperature, p); }
    batch rollout(const prompts&, std::span<const std::uint64_t> ids, const rlgaf::rollout_options& o,
                  rlgaf::rng_key k) {
        batch out;
        for (const std::uint64_t id : ids) {
            const rlgaf::random_stream random(k, rlgaf::stream::rollout, id);
            std::vector<std::int32_t> word;
            std::vector<double> log_prob;
            std::size_t at = end;
            do {
                predict(at, o.temperature);
                at = rlgaf::sample_log_prob<double>(p, random.uniform(std::uint32_t(word.size())));
                word.push_back(std::int32_t(at));
                log_prob.push_back(p[at]);
            } while (at != end && word.size() < 12);
            out.add(word, at == end ? rlgaf::row_end::terminated : rlgaf::row_end::truncated, log_prob, o.temperature);
        }
        return out;
    }
    void evaluate(const batch& b, rlgaf::policy_outputs<double> out) {
        b.for_each(end, [&](auto i, auto t, auto at, auto letter) {
            predict(at, b.temperature[i]);
            out.log_prob.row(i)[t] = p[letter];
        });
    }
    tape forward(const batch& b, rlgaf::policy_outputs<double> out) { return evaluate(b, out), b; }
    void backward(tape&& b, rlgaf::policy_cotangents<double> c) {  // adds the gradient of sum(d_log_prob * log_prob)
        b.for_each(end, [&](auto i, auto t, auto at, auto letter) {
            predict(at, b.temperature[i]);
            rlgaf::log_softmax_backward<double>(p, letter, b.temperature[i], c.d_log_prob.row(i)[t], gradient_row(at));
        });
    }
};
int main() {
    const rlgaf::char_tokenizer letters("abcdefghijklmnopqrstuvwxyz");
    rlgaf::token_batch<double> names;
    for (const char* name : {"anna", "hanna", "nina", "marina", "martina", "ramona", "mona", "simona"})
        names.add(letters.encode_row(name), rlgaf::row_end::terminated);
    my_policy policy;
    rlgaf::ngram_scorer<double> discriminator({.shape = {.vocabulary = 27, .order = 2}, .optimizer = rlgaf::adamw{}});
    rlgaf::demonstrations experts{names};
    rlgaf::adversarial_trainer trainer{policy, discriminator, experts, rlgaf::grpo{}, rlgaf::ppo_clip{}};
    const rlgaf::step_options step{.learning_rate = 0.02};
    trainer.run({.rounds = 600, .policy = {.step = step}, .discriminator = {.step = step}});
    for (std::size_t i = 0; i < 100; i += 10) std::puts(letters.decode(trainer.last_round().batch.row(i)).c_str());
}
