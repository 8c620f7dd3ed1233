#pragma once
#include "rlgaf/training/discriminator_parts.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct discriminator_update_options {
    step_options step{.learning_rate = 3e-4, .max_norm = 1};
    std::size_t micro_batch_rows = 0;  ///< rows a forward pass at most; 0: all
    std::size_t penalty_every = 1;     ///< > 0: input penalties act in every n-th step, n times as strongly

    void check() const {
        step.check();
        detail::check_option(penalty_every > 0, "discriminator_update_options", "penalty_every", "at least 1", 0);
    }
};

struct discriminator_update_report {
    discriminator_loss_stats loss;  ///< before the step
    double regularizer = 0;         ///< of score regularisers and input penalties, added up
    double input_gradient = 0;      ///< mean norm, of the last input penalty; 0 where none acted
    double noise = 0;               ///< deviation of instance noise, or probability of token noise
    double grad_norm = 0;
    bool applied = false;
};

/// Role 5: one optimiser step of the discriminator on demonstrations and samples, in one joint forward pass. After the
/// loss come any number of score regularisers, input penalties, weight constraints and at most one noise; `key` serves
/// those that draw numbers.
/// Shapes: pairs.real_of_fake [rows of fake], indices into the rows of real.
template <class S, class Batch, class Loss, class... Extra>
discriminator_update_report update_discriminator(S& scorer, const Batch& clean_real, const Batch& clean_fake,
                                                 const matching& pairs, const discriminator_update_options& options,
                                                 part<Loss>& loss, discriminator_scratch<typename S::scalar>& x,
                                                 rng_key key = {}, part<Extra>&... extra) {
    using T = typename S::scalar;
    constexpr detail::judged kind = detail::judged_by<Loss>();
    constexpr bool input_noise = (detail::moves_inputs<Extra>() || ... || false);
    static_assert((std::size_t{component_of<Extra, role::input_noise>} + ... + 0) <= 1,
                  "rlgaf: a discriminator takes one kind of noise");
    static_assert(kind == detail::judged::rows || !input_noise,
                  "rlgaf: instance_noise moves the inputs of row scores; with token or pair losses use token_noise");
    static_assert(
        kind == detail::judged::rows || !(component_of<Extra, role::discriminator_regularizer> || ... || false),
        "rlgaf: score regularisers go with a discriminator loss of rows, not of tokens or pairs");
    constexpr bool corrupted =
        ((component_of<Extra, role::input_noise> && !detail::moves_inputs<Extra>()) || ... || false);
    static_assert(
        !corrupted || replaces_tokens<Batch>,
        "rlgaf: token_noise needs a batch that replaces_tokens, see backend/abilities.hpp (rlgaf::token_batch "
        "does)");
    options.check();
    loss.component.check();
    (extra.component.check(), ...);
    const std::size_t n_real = rows(clean_real), n_fake = rows(clean_fake);
    discriminator_update_report report;

    [[maybe_unused]] const auto draw_noise = [&](auto& e) {
        if constexpr (component_of<decltype(e.component), role::input_noise>) report.noise = e();
    };
    (draw_noise(extra), ...);
    Batch noisy_real, noisy_fake;
    [[maybe_unused]] const auto corrupt = [&](auto& e) {
        using C = decltype(e.component);
        if constexpr (component_of<C, role::input_noise> && !detail::moves_inputs<C>()) {
            noisy_real = replace_tokens(clean_real, report.noise, e.component.vocabulary, key);
            noisy_fake = replace_tokens(clean_fake, report.noise, e.component.vocabulary,
                                        {key.seed ^ (std::uint64_t{1} << 63), key.step});
        }
    };
    (corrupt(extra), ...);
    const Batch& real = corrupted ? noisy_real : clean_real;
    const Batch& fake = corrupted ? noisy_fake : clean_fake;

    (detail::constrain_before_forward(scorer, extra), ...);
    scorer.discard();  // what an error left behind
    [[maybe_unused]] const auto regularize = [&](auto& e, const auto& terms, auto d_real, auto d_fake) {
        if constexpr (component_of<decltype(e.component), role::discriminator_regularizer>)
            report.regularizer += e(terms, d_real, d_fake).loss;
    };
    if constexpr (kind == detail::judged::rows) {
        const std::size_t width = score_width(scorer);
        x.score.assign((n_real + n_fake) * width, T{0});
        x.d_score.assign((n_real + n_fake) * width, T{0});
        detail::accumulate_rows<input_noise>(
            scorer, concat(real, fake), report.noise, key, options.micro_batch_rows, x, [&] {
                const std::span<T> score(x.score), d_score(x.d_score);
                detail::check_finite(std::span<const T>(score), "update_discriminator", "score");
                const discriminator_terms<T> terms{.real = score.first(n_real * width),
                                                   .fake = score.subspan(n_real * width),
                                                   .pairs = pairs,
                                                   .width = width};
                const std::span<T> d_real = d_score.first(n_real * width), d_fake = d_score.subspan(n_real * width);
                report.loss = detail::call_loss(loss, terms, x.work, d_real, d_fake);
                (regularize(extra, terms, d_real, d_fake), ...);
            });
    } else if constexpr (kind == detail::judged::tokens) {
        const Batch both = concat(real, fake);
        x.token_score.assign(lengths(both));
        x.d_token_score.assign(lengths(both));
        detail::accumulate_tokens(scorer, both, options.micro_batch_rows, x, [&] {
            const ragged_view<const T> score = std::as_const(x.token_score).view();
            const mask_view mask = mask_of(both);
            detail::check_finite(score, mask, "update_discriminator", "token score");
            const token_discriminator_terms<T> terms{score.slice(0, n_real), score.slice(n_real, n_fake),
                                                     detail::slice_if_given(mask, 0, n_real),
                                                     detail::slice_if_given(mask, n_real, n_fake)};
            report.loss = detail::call_loss(loss, terms, x.work, x.d_token_score.view().slice(0, n_real),
                                            x.d_token_score.view().slice(n_real, n_fake));
        });
    } else {
        detail::check_matching(pairs, n_real, n_fake, "update_discriminator");
        x.real_of.assign(pairs.real_of_fake.begin(), pairs.real_of_fake.end());
        x.score.assign(3 * n_fake, T{0});
        x.d_score.assign(3 * n_fake, T{0});
        const Batch matched = select(real, x.real_of);
        detail::accumulate_pairs(scorer, matched, fake, options.micro_batch_rows, x, [&] {
            detail::check_finite(std::span<const T>(x.score), "update_discriminator", "score of pairs");
            report.loss =
                detail::call_loss(loss, pair_terms<T>{std::span<const T>(x.score)}, x.work, std::span<T>(x.d_score));
        });
    }

    [[maybe_unused]] const auto penalize = [&](auto& e) {
        if constexpr (component_of<decltype(e.component), role::input_penalty>) {
            const penalty_stats stats =
                accumulate_penalty(scorer, real, fake, pairs, e.component, static_cast<double>(options.penalty_every),
                                   key, options.micro_batch_rows, x.penalty);
            report.regularizer += stats.loss;
            report.input_gradient = stats.norm;
        }
    };
    if (x.steps++ % options.penalty_every == 0) (penalize(extra), ...);

    (detail::constrain_before_step(scorer, extra), ...);
    const step_report step = scorer.step(options.step);
    (detail::constrain_after_step(scorer, extra), ...);
    report.grad_norm = step.grad_norm;
    report.applied = step.applied;
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
