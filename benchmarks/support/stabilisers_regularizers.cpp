// Regularisers of the discriminator, on top of the default; and who trains when.
#include "support/stabilisers.hpp"

namespace stabilisers {

namespace {
template <class... C>
variant with(const char* family, const char* name, C... components) {
    return {family, name,
            [=](setting& s) { train(s, default_advantage(), default_loss(), default_reward(), components...); }};
}
variant with_options(const char* family, const char* name, std::function<void(rlgaf::adversarial_options&)> change) {
    return {family, name, [change](setting& s) {
                change(s.options);
                train(s, default_advantage(), default_loss(), default_reward());
            }};
}
}  // namespace

void add_regularizers(std::vector<variant>& all) {
    using namespace rlgaf;
    const auto add = [&](const char* name, auto... components) {
        all.push_back(with("regularizer", name, components...));
    };
    add("r1 .1", r1{.gamma = 0.1});
    add("r1 1", r1{.gamma = 1});
    add("r1 1 + r2 1", r1{.gamma = 1}, r2{.gamma = 1});
    add("approximate_r1", approximate_r1{});
    add("gradient_penalty", gradient_penalty{.lambda = 1});
    add("dragan", dragan{.lambda = 1});
    add("spectral_norm 4", spectral_norm{.norm = 4});
    add("weight_clip .5", weight_clip{.limit = 0.5});
    add("score_l2 .01", score_l2{.coefficient = 0.01});
    add("instance_noise", instance_noise{});
    add("token_noise .1", token_noise{.vocabulary = 26, .probability = {.from = 0.1}});
    all.push_back({"regularizer", "hinge + r1 1",
                   [](setting& s) { train(s, default_advantage(), hinge{}, default_reward(), r1{.gamma = 1}); }});
    all.push_back({"regularizer", "wgan + gradient_penalty", [](setting& s) {
                       train(s, default_advantage(), wgan{}, default_reward(), gradient_penalty{.lambda = 10});
                   }});
    all.push_back({"regularizer", "wgan + wgan_div",
                   [](setting& s) { train(s, default_advantage(), wgan{}, default_reward(), wgan_div{}); }});
    all.push_back({"regularizer", "wgan + spectral_norm 4", [](setting& s) {
                       train(s, default_advantage(), wgan{}, default_reward(), spectral_norm{.norm = 4});
                   }});
    all.push_back({"regularizer", "bradley_terry + r1 1 + r2 1", [](setting& s) {
                       train(s, default_advantage(), bradley_terry{}, default_reward(), r1{.gamma = 1}, r2{.gamma = 1});
                   }});
    for (const std::size_t passes : {0u, 1u})
        all.push_back({"regularizer", passes == 0 ? "dropout .2" : "dropout .2 + in rewards", [passes](setting& s) {
                           lstm_scorer_options o = s.judge_options();
                           o.dropout = 0.2;
                           s.options.score_passes = passes;
                           judge discriminator(s.base, o);
                           train_against(s, discriminator, default_advantage(), default_loss(), default_reward());
                       }});
}

void add_balance(std::vector<variant>& all) {
    using namespace rlgaf;
    const auto options = [&](const char* name, auto change) { all.push_back(with_options("balance", name, change)); };
    options("no replay", [](adversarial_options& o) { o.replay_fraction = 0; });
    options("replay of 10 rounds", [](adversarial_options& o) { o.replay_age = 10; });
    options("2 updates", [](adversarial_options& o) { o.discriminator_updates = 2; });
    options("4 updates", [](adversarial_options& o) { o.discriminator_updates = 4; });
    options("discriminator rate x 4", [](adversarial_options& o) { o.discriminator.step.learning_rate *= 4; });
    options("discriminator rate / 4", [](adversarial_options& o) { o.discriminator.step.learning_rate /= 4; });
    options("no warm-up", [](adversarial_options& o) { o.discriminator_warmup = 0; });
    options("warm-up to accuracy .7", [](adversarial_options& o) {
        o.discriminator_warmup = 30;
        o.warmup_accuracy = 0.7;
    });
    options("beginnings 1", [](adversarial_options& o) { o.beginnings = 1; });
    all.push_back(with("balance", "accuracy_gate .75", accuracy_gate{.high = 0.75}));
    all.push_back({"balance", "averaged_scorer .9", [](setting& s) {
                       judge raw(s.base, s.judge_options());
                       averaged_scorer discriminator(raw);
                       train_against(s, discriminator, default_advantage(), default_loss(), default_reward());
                   }});
}

}  // namespace stabilisers
