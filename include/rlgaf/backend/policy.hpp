#pragma once
#include "rlgaf/backend/batch.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Where a policy writes (overwrites) its outputs: rows and lengths are those of the batch. Empty = not asked for.
/// Units: nats, at the temperature that each row was sampled with. Masked slots may be left as they are.
template <class T>
struct policy_outputs {
    ragged_view<T> log_prob{};  ///< of the action that was taken
    ragged_view<T> entropy{};   ///< of the distribution that it was taken from; if P::gives_entropy
    ragged_view<T> value{};     ///< of the state before the action; if P::gives_value
};

/// Gradients of a scalar by those outputs. Empty = zero. Masked slots are zero.
template <class T>
struct policy_cotangents {
    ragged_view<const T> d_log_prob{};
    ragged_view<const T> d_entropy{};
    ragged_view<const T> d_value{};
};

struct step_options {
    double learning_rate = 1e-3;  ///< >= 0; 0 moves nothing (the end of a schedule)
    double max_norm = 1;          ///< global L2 norm that gradients are scaled down to; 0: no limit

    void check() const {
        detail::check_option(learning_rate >= 0 && learning_rate < std::numeric_limits<double>::infinity(),
                             "step_options", "learning_rate", "0 or a positive number", learning_rate);
        detail::check_option(max_norm >= 0, "step_options", "max_norm", "0 or positive", max_norm);
    }
};

struct step_report {
    double grad_norm = 0;  ///< before clipping
    bool applied = false;  ///< false: the norm was not finite, and the gradient was discarded
};

template <class P>
concept has_scalar = std::same_as<typename P::scalar, float> || std::same_as<typename P::scalar, double>;

/// What the parts of a policy must look like; each is reported by name and sentence when it is missing.
namespace policy_has {
template <class P>
concept batch = requires {
    typename P::batch;
};
template <class P>
concept prompts = prompt_list<typename P::prompts>;
template <class P>
concept rollout = requires(P& p, const typename P::prompts& prompts, std::span<const std::uint64_t> id,
                           const rollout_options& o, rng_key key) {
    { p.rollout(prompts, id, o, key) } -> std::same_as<typename P::batch>;
};
template <class P>
concept evaluate = requires(P& p, const typename P::batch& b, policy_outputs<typename P::scalar> out) {
    { p.evaluate(b, out) } -> std::same_as<void>;
};
template <class P>
concept forward = requires(P& p, const typename P::batch& b, policy_outputs<typename P::scalar> out) {
    { p.forward(b, out) } -> std::same_as<typename P::tape>;
};
template <class P>
concept backward = requires(P& p, typename P::tape t, policy_cotangents<typename P::scalar> c) {
    p.backward(static_cast<typename P::tape&&>(t), c);
};
template <class P>
concept step = requires(P& p, const step_options& o) {
    { p.step(o) } -> std::same_as<step_report>;
};
template <class P>
concept discard = requires(P& p) {
    p.discard();
};
}  // namespace policy_has

/// Anything that emits sequences of choices and can accumulate the gradient of sum(c * log_prob).
template <class P>
concept policy_backend = has_scalar<P> && policy_has::batch<P> && batch_of<typename P::batch, typename P::scalar> &&
    policy_has::prompts<P> && policy_has::rollout<P> && policy_has::evaluate<P> && policy_has::forward<P> &&
    policy_has::backward<P> && policy_has::step<P> && policy_has::discard<P>;

/// Policies that fill policy_outputs::entropy (value) say so with `static constexpr bool gives_entropy (gives_value) =
/// true`.
template <class P>
constexpr bool gives_entropy() {
    if constexpr (requires { P::gives_entropy; })
        return P::gives_entropy;
    else
        return false;
}
template <class P>
constexpr bool gives_value() {
    if constexpr (requires { P::gives_value; })
        return P::gives_value;
    else
        return false;
}

}  // namespace rlgaf::inline RLGAF_ABI
