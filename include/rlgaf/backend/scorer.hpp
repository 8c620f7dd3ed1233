#pragma once
#include "rlgaf/backend/policy.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What the parts of a scorer must look like.
namespace scorer_has {
template <class S, class B>
concept evaluate = requires(S& s, const B& b, std::span<typename S::scalar> score) {
    { s.evaluate(b, score) } -> std::same_as<void>;
};
template <class S, class B>
concept forward = requires(S& s, const B& b, std::span<typename S::scalar> score) {
    { s.forward(b, score) } -> std::same_as<typename S::tape>;
};
template <class S>
concept backward = requires(S& s, typename S::tape t, std::span<const typename S::scalar> d_score) {
    s.backward(static_cast<typename S::tape&&>(t), d_score);
};
template <class S>
concept step = requires(S& s, const step_options& o) {
    { s.step(o) } -> std::same_as<step_report>;
};
template <class S>
concept discard = requires(S& s) {
    s.discard();
};
}  // namespace scorer_has

/// A discriminator or a reward model: one number a row. Experts are high. `evaluate` has dropout off.
template <class S, class B>
concept scorer_backend = has_scalar<S> && scorer_has::evaluate<S, B> && scorer_has::forward<S, B> &&
    scorer_has::backward<S> && scorer_has::step<S> && scorer_has::discard<S>;

/// Numbers a row that the scorer gives: `width()`, or 1. Scores are [rows, width], row after row.
template <class S>
std::size_t score_width(const S& s) {
    if constexpr (requires { s.width(); })
        return s.width();
    else
        return 1;
}

/// Demonstrations for a policy without prompts: `sample(n, key)` gives n rows, drawn as the source likes.
template <class E, class B>
concept expert_source = requires(E& e, std::size_t n, rng_key key) {
    { e.sample(n, key) } -> std::same_as<B>;
};

/// Demonstrations for prompts: row i of `answers(prompts, key)` answers prompt i.
template <class E, class P>
concept expert_answers = requires(E& e, const typename P::prompts& prompts, rng_key key) {
    { e.answers(prompts, key) } -> std::same_as<typename P::batch>;
};

}  // namespace rlgaf::inline RLGAF_ABI
