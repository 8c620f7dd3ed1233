#pragma once
#include "rlgaf/backend/scorer.hpp"

/// What only some scorers can do; see backend/abilities.hpp.
namespace rlgaf::inline RLGAF_ABI {

/// One score a token: that of the row up to and with the token, so that it can be credit for it. `evaluate_tokens` has
/// dropout off.
template <class S, class B>
concept scores_tokens = has_scalar<S> &&
    requires(S& s, const B& b, ragged_view<typename S::scalar> score, ragged_view<const typename S::scalar> d_score,
             typename S::token_tape tape, const step_options& o) {
    s.evaluate_tokens(b, score);
    { s.forward_tokens(b, score) } -> std::same_as<typename S::token_tape>;
    s.backward_tokens(static_cast<typename S::token_tape&&>(tape), d_score);
    { s.step(o) } -> std::same_as<step_report>;
    s.discard();
};

/// Compares row i of a (demonstrations) with row i of b (samples), three numbers a pair: a is better, b is better,
/// neither. `evaluate_pairs` has dropout off.
template <class S, class B>
concept scores_pairs = has_scalar<S> &&
    requires(S& s, const B& a, const B& b, std::span<typename S::scalar> score,
             std::span<const typename S::scalar> d_score, typename S::pair_tape tape, const step_options& o) {
    s.evaluate_pairs(a, b, score);
    { s.forward_pairs(a, b, score) } -> std::same_as<typename S::pair_tape>;
    s.backward_pairs(static_cast<typename S::pair_tape&&>(tape), d_score);
    { s.step(o) } -> std::same_as<step_report>;
    s.discard();
};

/// A scorer whose inputs (embeddings) can be moved: serves gradient penalties without double backward, and noise. A
/// default-constructed perturbation moves nothing. `forward` with a perturbation has dropout off.
template <class S, class B>
concept perturbs_inputs = scorer_backend<S, B> &&
    requires(S& s, const B& b, double sigma, rng_key key, std::span<typename S::scalar> x,
             std::span<const typename S::scalar> d, const typename S::perturbation& p, typename S::perturbation& q) {
    // Normal numbers of deviation sigma. With a fourth argument, the number of the first row in the step, they are the
    // same for any micro-batches.
    { s.noise(b, sigma, key) } -> std::same_as<typename S::perturbation>;
    // Row i moves by d[i] of the way to row i of the other batch, at the positions that both have.
    { s.towards(b, b, d) } -> std::same_as<typename S::perturbation>;
    // Of sum(d * score) by the inputs, where they are moved by p. Adds nothing to the parameters' gradients.
    { s.input_gradient(b, p, d) } -> std::same_as<typename S::perturbation>;
    s.row_norms(p, x);  // Euclidean, over all inputs of a row
    s.scale(q, d);      // row i times d[i]
    s.add(q, p);        // q += p
    { s.forward(b, p, x) } -> std::same_as<typename S::tape>;
};

/// How much each token has to do with its row's score, with dropout off: e_t . d score / d e_t, e_t the token's embedding;
/// attention weights; any numbers of which the size counts. Adds nothing to the parameters' gradients. Masked slots may
/// hold anything. Serves gradient_redistribution.
template <class S, class B>
concept attributes_tokens = has_scalar<S> && requires(S& s, const B& b, ragged_view<typename S::scalar> weight) {
    { s.attribute(b, weight) } -> std::same_as<void>;
};

/// The types that abilities bring with them, for scorers that stand before another: what that one has.
namespace detail {
template <class S>
struct token_types_of {};
template <class S>
    requires requires { typename S::token_tape; }
struct token_types_of<S> {
    using token_tape = typename S::token_tape;
};
template <class S>
struct input_types_of {};
template <class S>
    requires requires { typename S::perturbation; }
struct input_types_of<S> {
    using perturbation = typename S::perturbation;
};
}  // namespace detail

}  // namespace rlgaf::inline RLGAF_ABI
