#pragma once
#include <utility>
#include <vector>

#include "rlgaf/backend/scorer_abilities.hpp"

/// What only some backends can do. An algorithm that needs an ability names its concept.
namespace rlgaf::inline RLGAF_ABI {

/// Tokens of a batch: for sample tables, repetition and n-gram statistics.
template <class B>
concept shows_tokens = requires(const B& b) {
    { tokens(b) } -> std::convertible_to<ragged_view<const std::int32_t>>;
};

struct prefix {
    std::size_t row = 0;
    std::uint32_t length = 0;  ///< actions of that row that are kept
};

/// Continues prefixes of a batch: row i of the result starts with prefix i. Kept tokens keep the batch's log-probs, or get
/// the policy's own; a row that had ended stays as it is; max_length counts what is kept. Serves Monte-Carlo values.
template <class P>
concept continues_prefixes = policy_backend<P> &&
    requires(P& p, const typename P::batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
             const rollout_options& o, rng_key key) {
    { p.rollout_from(b, from, id, o, key) } -> std::same_as<typename P::batch>;
};

/// A copy with parameters of its own, no gradients and a fresh optimiser: a frozen reference, an old policy.
template <class M>
concept clonable = requires(const M& m) {
    { m.clone() } -> std::same_as<M>;
};

/// Rows do not depend on the rows beside them: a sample is a function of key and sample id.
template <class P>
constexpr bool per_sample_streams() {
    if constexpr (requires { P::per_sample_streams; })
        return P::per_sample_streams;
    else
        return false;
}

/// One named array of parameters with its gradient, both in host memory.
template <class T>
struct parameter_block {
    short_text name;
    std::vector<std::size_t> shape;
    std::span<T> values;
    std::span<T> gradients;  ///< of the same size
};

/// Parameters that optimisers, checkpoints and hashes can reach. The blocks keep their order and their memory.
template <class M>
concept flat_parameters = requires(M& m) {
    { m.parameters() } -> std::convertible_to<std::span<const parameter_block<typename M::scalar>>>;
};

/// Prompts are laid out once for the group_size completions of each: rollout_groups(prompts, group_size, ...) in place
/// of rollout with every prompt repeated. Rows of prompt p are p * group_size .. p * group_size + group_size - 1.
template <class P>
concept shares_prompts = policy_backend<P> &&
    requires(P& p, const typename P::prompts& prompts, std::size_t group_size, std::span<const std::uint64_t> id,
             const rollout_options& o, rng_key key) {
    { p.rollout_groups(prompts, group_size, id, o, key) } -> std::same_as<typename P::batch>;
};

/// Refers to a callable `void(std::size_t token, std::span<const T> logits, std::span<T> d_logits)`, which has to outlive
/// it. It is called once for every token that the mask includes, row after row; `token` counts them, from 0.
/// Shapes: logits, d_logits [V].
/// Units:  logits are those that the batch was sampled from: divided by the row's temperature. d_logits is by these.
/// Adds:   d_logits starts at 0; what is added to it is part of the gradient that `backward` accumulates, as it is.
template <class T>
class logit_visitor {
public:
    template <class F>
        requires(std::is_object_v<F> && !std::same_as<std::remove_cv_t<F>, logit_visitor> &&
                 std::invocable<F&, std::size_t, std::span<const T>, std::span<T>>)
    logit_visitor(F& f)
        : callable_(&f), call_([](const void* callable, std::size_t token, std::span<const T> z, std::span<T> d) {
              (*static_cast<F*>(const_cast<void*>(callable)))(token, z, d);
          }) {}

    void operator()(std::size_t token, std::span<const T> logits, std::span<T> d_logits) const {
        call_(callable_, token, logits, d_logits);
    }

private:
    const void* callable_;
    void (*call_)(const void*, std::size_t, std::span<const T>, std::span<T>);
};

/// Full distributions, token by token. Serves exact KL and entropy, label smoothing, all-action gradients.
template <class P>
concept exposes_logits = policy_backend<P> &&
    requires(P& p, const typename P::batch& b, policy_outputs<typename P::scalar> out,
             logit_visitor<typename P::scalar> visitor) {
    { p.forward(b, out, visitor) } -> std::same_as<typename P::tape>;
};

/// Rows cut after a number of tokens, in their order; a cut row counts as truncated. Serves discriminators that are to
/// judge beginnings.
template <class B>
concept cuts_prefixes = requires(const B& b, std::span<const prefix> cut) {
    { prefixes(b, cut) } -> std::same_as<B>;
};

/// Tokens replaced by others, each with `probability`: serves token noise.
template <class B>
concept replaces_tokens = requires(const B& b, double probability, std::size_t vocabulary, rng_key key) {
    { replace_tokens(b, probability, vocabulary, key) } -> std::same_as<B>;
};

/// How actions are relaxed: share = softmax(inverse_temperature (logits + Gumbel noise)), the token drawn is the largest.
struct relaxation_options {
    double inverse_temperature = 1;  ///< positive, finite; small: soft and smooth, large: nearly one token
    bool straight_through = false;   ///< shares are 1 for the token drawn, their gradient is that of the soft ones
    bool soft_inputs = false;        ///< the policy goes on from the shares, and gradients flow there; false: from the token
    std::uint32_t max_length = 0;    ///< actions a row at most; 0: the policy's own limit

    void check() const {
        detail::check_option(
            inverse_temperature > 0 && inverse_temperature < std::numeric_limits<double>::infinity(),
            "relaxation_options", "inverse_temperature", "a positive, finite number", inverse_temperature);
    }
};

/// Policy and scorer share a differentiable stand-in for actions: serves Gumbel-softmax generators. `hard_rows` are the
/// tokens that were drawn; they say where rows end. `relaxed_rows` of backend/relaxed_rows.hpp is ready-made.
template <class P, class S>
concept relaxes = policy_backend<P> && std::same_as<typename P::relaxed, typename S::relaxed> &&
    requires(P& p, S& s, const typename P::prompts& prompts, std::span<const std::uint64_t> id,
             const relaxation_options& o, rng_key key, typename P::relaxed& x, const typename P::relaxed& fixed,
             typename P::relaxed_tape drawn, typename S::tape scored, std::span<typename S::scalar> score,
             std::span<const typename S::scalar> d_score) {
    { p.forward_relaxed(prompts, id, o, key, x) } -> std::same_as<typename P::relaxed_tape>;
    { hard_rows(fixed) } -> std::convertible_to<const typename P::batch&>;
    { s.forward(fixed, score) } -> std::same_as<typename S::tape>;
    // Adds the gradient of the sum of d_score times score to that of x, and nothing to the parameters' gradients.
    s.input_cotangent(static_cast<typename S::tape&&>(scored), d_score, x);
    // Takes the gradient that x has gathered back to the parameters.
    p.backward_relaxed(static_cast<typename P::relaxed_tape&&>(drawn), fixed);
};

/// What a demonstration shows when it has no actions: a picture, an outcome. Scorers then read observations.
template <class R, class B>
concept renders = requires(R& r, const B& b) {
    { r.render(b) } -> std::same_as<typename R::observation>;
};

}  // namespace rlgaf::inline RLGAF_ABI
