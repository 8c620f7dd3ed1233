#pragma once
#include "rlgaf/backend/input_penalty.hpp"
#include "rlgaf/training/roles.hpp"

/// What update_discriminator is made of: gradients of losses of rows, tokens and pairs, and the hooks of weight constraints.
namespace rlgaf::inline RLGAF_ABI {

/// Memory of `update_discriminator`, and the scores that it saw before its step: demonstrations first, then samples.
template <class T>
struct discriminator_scratch {
    std::vector<T> score, d_score;
    ragged_buffer<T> token_score, d_token_score;
    std::vector<std::size_t> pick, real_of;
    penalty_scratch<T> penalty;
    workspace work;
    std::uint64_t steps = 0;  ///< so far, for penalty_every
};

namespace detail {

/// What a discriminator loss compares; it says so with `static constexpr bool token_level` or `pair_level`.
enum class judged : std::uint8_t { rows, tokens, pairs };
template <class Loss>
constexpr judged judged_by() {
    if constexpr (requires { Loss::token_level; })
        return judged::tokens;
    else if constexpr (requires { Loss::pair_level; })
        return judged::pairs;
    else
        return judged::rows;
}

/// Calls a discriminator loss with the workspace if it takes one.
template <class Loss, class Terms, class... D>
discriminator_loss_stats call_loss(part<Loss>& loss, const Terms& terms, workspace& work, D... d) {
    if constexpr (takes<Loss, const Terms&, D..., workspace&>())
        return loss(terms, d..., work);
    else
        return loss(terms, d...);
}

template <class C, class S>
void constrain_before_forward(S& scorer, part<C>& c) {
    if constexpr (component_of<C, role::weight_constraint>) {
        static_assert(flat_parameters<S>,
                      "rlgaf: a weight constraint needs a scorer with flat_parameters: `parameters()`, see "
                      "backend/abilities.hpp");
        c.component.check();
        if constexpr (stateful<C>) c.component.before_forward(c.memory, scorer.parameters());
    }
}
template <class C, class S>
void constrain_before_step(S& scorer, part<C>& c) {
    if constexpr (component_of<C, role::weight_constraint> && stateful<C>)
        c.component.before_step(c.memory, scorer.parameters());
}
template <class C, class S>
void constrain_after_step(S& scorer, part<C>& c) {
    if constexpr (component_of<C, role::weight_constraint>) {
        if constexpr (stateful<C>)
            c.component.after_step(c.memory, scorer.parameters());
        else
            c.component.after_step(scorer.parameters());
    }
}

template <class C>
constexpr bool moves_inputs() {
    if constexpr (requires { C::on_inputs; })
        return C::on_inputs;
    else
        return false;
}

/// Gradient of a loss of rows; with sigma > 0 the rows' inputs are moved by noise.
template <bool Noise, class S, class Batch, class Loss>
void accumulate_rows(S& scorer, const Batch& both, double sigma, rng_key key, std::size_t micro_rows,
                     discriminator_scratch<typename S::scalar>& x, Loss&& loss) {
    using T = typename S::scalar;
    if constexpr (Noise) {
        static_assert(
            perturbs_inputs<S, Batch>,
            "rlgaf: instance_noise needs a scorer that perturbs_inputs, see backend/abilities.hpp; token_noise "
            "does without");
        const std::size_t width = score_width(scorer);
        const auto forward = [&](const auto& part, std::size_t first, std::size_t n) {
            return scorer.forward(part, noise_from(scorer, part, sigma, key, first),
                                  std::span(x.score).subspan(first * width, n * width));
        };
        accumulate_in_parts(
            both, micro_rows, x.pick,
            [&](const auto& part, std::size_t f, std::size_t n) { (void)forward(part, f, n); }, forward,
            [&](typename S::tape& tape, std::size_t first, std::size_t n) {
                scorer.backward(static_cast<typename S::tape&&>(tape),
                                std::span<const T>(x.d_score).subspan(first * width, n * width));
            },
            loss);
    } else {
        accumulate_gradient(scorer, both, std::span(x.score), std::span(x.d_score), micro_rows, x.pick, loss);
    }
}

/// Gradient of a loss of token scores; `loss()` reads x.token_score.
template <class S, class Batch, class Loss>
void accumulate_tokens(S& scorer, const Batch& both, std::size_t micro_rows,
                       discriminator_scratch<typename S::scalar>& x, Loss&& loss) {
    using T = typename S::scalar;
    static_assert(scores_tokens<S, Batch>,
                  "rlgaf: a loss of tokens needs a scorer that scores_tokens: evaluate_tokens, forward_tokens and "
                  "backward_tokens, see backend/abilities.hpp");
    accumulate_in_parts(
        both, micro_rows, x.pick,
        [&](const auto& part, std::size_t first, std::size_t n) {
            scorer.evaluate_tokens(part, x.token_score.view().slice(first, n));
        },
        [&](const auto& part, std::size_t first, std::size_t n) {
            return scorer.forward_tokens(part, x.token_score.view().slice(first, n));
        },
        [&](typename S::token_tape& tape, std::size_t first, std::size_t n) {
            scorer.backward_tokens(static_cast<typename S::token_tape&&>(tape),
                                   ragged_view<const T>(x.d_token_score.view().slice(first, n)));
        },
        loss);
}

/// Gradient of a loss of pairs: row j of fake against its row of real; `loss()` reads x.score [n, 3].
template <class S, class Batch, class Loss>
void accumulate_pairs(S& scorer, const Batch& real_of_fake, const Batch& fake, std::size_t micro_rows,
                      discriminator_scratch<typename S::scalar>& x, Loss&& loss) {
    using T = typename S::scalar;
    static_assert(scores_pairs<S, Batch>,
                  "rlgaf: a loss of pairs needs a critic that scores_pairs: evaluate_pairs, forward_pairs and "
                  "backward_pairs, see backend/abilities.hpp; pair_critic makes one of a scorer of width 3");
    const auto real_part = [&](std::size_t first, std::size_t n) {
        x.real_of.resize(n);
        count_up(std::span(x.real_of), first);
        return select(real_of_fake, x.real_of);
    };
    accumulate_in_parts(
        fake, micro_rows, x.pick,
        [&](const auto& part, std::size_t first, std::size_t n) {
            scorer.evaluate_pairs(real_part(first, n), part, std::span(x.score).subspan(3 * first, 3 * n));
        },
        [&](const auto& part, std::size_t first, std::size_t n) {
            return scorer.forward_pairs(real_part(first, n), part, std::span(x.score).subspan(3 * first, 3 * n));
        },
        [&](typename S::pair_tape& tape, std::size_t first, std::size_t n) {
            scorer.backward_pairs(static_cast<typename S::pair_tape&&>(tape),
                                  std::span<const T>(x.d_score).subspan(3 * first, 3 * n));
        },
        loss);
}

}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
