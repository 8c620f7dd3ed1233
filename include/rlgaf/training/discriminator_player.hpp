#pragma once
#include "rlgaf/discriminator/balance.hpp"
#include "rlgaf/discriminator/loss/bradley_terry.hpp"
#include "rlgaf/discriminator/shortcut_probe.hpp"
#include "rlgaf/training/accuracy.hpp"
#include "rlgaf/training/check_trainer.hpp"
#include "rlgaf/training/discriminator_feed.hpp"
#include "rlgaf/training/rollout_values.hpp"
#include "rlgaf/training/update_discriminator.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// The discriminator's side of a trainer: it scores a round and learns to tell it from demonstrations. A true_reward, or
/// a scorer with no_experts, only scores.
template <class P, class S, class E, class... C>
class discriminator_player {
public:
    using T = typename P::scalar;
    using batch = typename P::batch;
    using parts = std::tuple<part<C>...>;
    static constexpr bool frozen = only_scores<S, E>;
    static constexpr judged kind = judged_in_trainer<C...>();

    discriminator_player(S& discriminator, E& experts) : discriminator_(discriminator), experts_(experts) {}

    /// One demonstration a sample, or one a prompt that its samples share.
    /// Errors: option_error where the loss would compare scores of different prompts.
    void draw_experts([[maybe_unused]] parts& all, [[maybe_unused]] const typename P::prompts& prompts,
                      std::size_t samples, rng_key key) {
        feed_.matched.resize(samples);
        std::size_t per_prompt = 1;
        if constexpr (has_role<role::prompt_source, C...>) {
            check_prompts(loss_of(all).component, rows(prompts));
            feed_.real = experts_.answers(prompts, key);
            per_prompt = samples / rows(prompts);
            check_size(rows(feed_.real), rows(prompts), "adversarial_trainer", "rows of the experts' answers");
        } else {
            feed_.real = experts_.sample(samples, key);
            check_size(rows(feed_.real), samples, "adversarial_trainer", "rows of the experts' sample");
        }
        for (std::size_t i = 0; i < feed_.matched.size(); ++i)
            feed_.matched[i] = static_cast<std::uint32_t>(i / per_prompt);
    }

    /// Role 2, for whatever the discriminator judges.
    void judge([[maybe_unused]] parts& all, P& policy, trajectories<P>& round, const adversarial_options& options,
               [[maybe_unused]] rng_key key) {
        detail::check_option(kind == judged::rows || options.score_passes == 0, "adversarial_options", "score_passes",
                             "0 with a discriminator loss of tokens or pairs",
                             static_cast<double>(options.score_passes));
        if constexpr (kind == judged::tokens) {
            score_tokens(discriminator_, round, options.micro_batch_rows);
        } else if constexpr (kind == judged::pairs) {
            score_pairs(discriminator_, round, feed_.real_of_samples(), options.micro_batch_rows);
        } else {
            score(discriminator_, round, options.micro_batch_rows, options.score_passes);
            if constexpr ((needs_expert_score<C>() || ... || false))
                score_experts(discriminator_, round, feed_.real, feed_.matched, options.micro_batch_rows,
                              options.score_passes);
            if constexpr (has_role<role::score_reference, C...>)
                score_fixed(discriminator_, round, only<role::score_reference>(all).batch, options.micro_batch_rows);
            if constexpr (has_role<role::credit, C...>) {
                const auto& credit = only<role::credit>(all);
                credit.check();
                roll_out_values(policy, discriminator_, round, credit.options(options.sampling), key,
                                [&](double s) { return map_score(credit.map, s); });
            }
        }
        attribute(round, options);
    }
    /// Of other rows, such as the likeliest answers, as those of the round were judged.
    void judge_as(const trajectories<P>& round, trajectories<P>& other, const adversarial_options& options) {
        score(discriminator_, other, options.micro_batch_rows, options.score_passes);
        other.fixed_score = round.fixed_score;
        attribute(other, options);
    }

    /// Whose turn it is, by the gate if there is one, and what a poor discriminator and a forgetful one would say.
    turn decide([[maybe_unused]] parts& all, [[maybe_unused]] trajectories<P>& round, std::size_t number,
                [[maybe_unused]] const adversarial_options& options, [[maybe_unused]] round_report& report) {
        const bool warm = warm_ || number >= options.discriminator_warmup || options.discriminator_updates == 0;
        turn who{.policy = warm || frozen};
        if constexpr (!frozen) {
            report.accuracy =
                accuracy_.of_round(discriminator_, feed_.real, feed_.matched, round, options.micro_batch_rows);
            if constexpr (has_role<role::gate, C...>) {
                no_component none;
                const turn gate = find_part<role::gate>(all, none)(report.accuracy);
                who.policy = who.policy && gate.policy;
                who.discriminator = gate.discriminator || !warm;
            }
            if constexpr (has_role<role::probe, C...>) probe(all, round, report);
            if constexpr (has_role<role::held_out, C...>)
                if (number == 0 || (number + 1) % options.held_out_every == 0)
                    report.accuracy_held_out = accuracy_.held_out(discriminator_, only<role::held_out>(all).batch,
                                                                  round, options.micro_batch_rows);
        }
        return who;
    }

    /// Role 5.
    void learn(parts& all, trajectories<P>& round, const adversarial_options& options, rng_key key,
               round_report& report) {
        auto& loss = loss_of(all);
        for (std::size_t k = 0; k < options.discriminator_updates; ++k) {
            const auto& step = feed_.next(round.batch, options, key, k);
            const rng_key own{key.seed ^ ((k + 1) << 40), key.step};
            const discriminator_update_report done = std::apply(
                [&](auto&... extra) {
                    return update_discriminator(discriminator_, step.real, step.fake, {step.pairs},
                                                options.discriminator, loss, scratch_, own, extra...);
                },
                std::tuple_cat(parts_of_role<role::discriminator_regularizer>(all),
                               parts_of_role<role::input_penalty>(all), parts_of_role<role::weight_constraint>(all),
                               parts_of_role<role::input_noise>(all)));
            describe(done, report);
        }
        if (report.accuracy > options.warmup_accuracy) warm_ = true;
    }
    /// At the end of a round, whoever learnt in it.
    void remember(const batch& samples, const adversarial_options& options) {
        if (options.discriminator_updates > 0) feed_.remember(samples, options);
    }

    template <class Archive>
    void visit(Archive& a) {
        feed_.visit(a);
        a("steps", scratch_.steps), a("warm", warm_);
        if constexpr (!has_role<role::discriminator_loss, C...>) default_loss_.memory.visit(a);
    }

private:
    template <class Role>
    static auto& only(parts& all) {
        no_component none;
        return find_part<Role>(all, none).component;
    }

    template <class Loss>
    static void check_prompts([[maybe_unused]] const Loss& loss, [[maybe_unused]] std::size_t prompts) {
        if constexpr (requires { loss.compares_prompts(); })
            if (prompts > 1 && loss.compares_prompts()) [[unlikely]]
                fail(error_kind::option, "adversarial_trainer", "discriminator loss",
                     "one that compares scores within a prompt (bradley_terry{}, ragan{.per_prompt = true})",
                     short_text("one that compares them across ", prompts, " prompts"));
    }

    auto& loss_of([[maybe_unused]] parts& all) {
        if constexpr (has_role<role::discriminator_loss, C...>) {
            no_component none;
            return find_part<role::discriminator_loss>(all, none);
        } else {
            return default_loss_;
        }
    }

    void attribute([[maybe_unused]] trajectories<P>& t, [[maybe_unused]] const adversarial_options& options) {
        if constexpr ((needs_token_weight<C>() || ... || false))
            attribute_tokens(discriminator_, t, options.micro_batch_rows);
    }

    static void describe(const discriminator_update_report& done, round_report& report) {
        report.discriminator_loss = done.loss.loss;
        report.discriminator_grad_norm = done.grad_norm;
        report.discriminator_steps += done.applied;
        report.discarded_steps += !done.applied;
        report.score_expert = done.loss.real_mean;
        if constexpr (has_role<role::discriminator_regularizer, C...> || has_role<role::input_penalty, C...>)
            report.discriminator_regularizer = done.regularizer;
        if constexpr (has_role<role::input_penalty, C...>) report.input_gradient = done.input_gradient;
        if constexpr (has_role<role::input_noise, C...>) report.discriminator_noise = done.noise;
    }

    void probe(parts& all, trajectories<P>& round, round_report& report) {
        std::vector<std::uint8_t> real_truncated(rows(feed_.real));
        const std::span<const row_end> end = ends(feed_.real);
        for (std::size_t i = 0; i < end.size(); ++i) real_truncated[i] = end[i] == row_end::truncated;
        no_component none;
        report.shortcut_accuracy = find_part<role::probe>(all, none)(
            shortcut_probe::side{lengths(feed_.real), real_truncated},
            shortcut_probe::side{lengths(round.batch), round.truncated}, feed_.matched);
    }

    S& discriminator_;
    E& experts_;
    default_part<role::discriminator_loss, bradley_terry, C...> default_loss_;
    discriminator_feed<batch> feed_;
    accuracy_meter<P, S, kind> accuracy_;
    discriminator_scratch<T> scratch_;
    bool warm_ = false;  // the discriminator was accurate enough
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
