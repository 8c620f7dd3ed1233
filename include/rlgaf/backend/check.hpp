#pragma once
#include "rlgaf/backend/scorer.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Compile-time check of a policy: fails with one sentence for the first thing that is missing, or is true.
/// Write `static_assert(rlgaf::check_policy<my_policy>());` beside the policy.
template <class P>
consteval bool check_policy() {
    if constexpr (!has_scalar<P>)
        static_assert(has_scalar<P>, "rlgaf: the policy needs `using scalar = float;` or `double`");
    else if constexpr (!policy_has::batch<P>)
        static_assert(policy_has::batch<P>,
                      "rlgaf: the policy needs `using batch = ...;`, the type its rollout returns "
                      "(rlgaf::token_batch will do for tokens)");
    else if constexpr (!batch_has::value_semantics<typename P::batch>)
        static_assert(batch_has::value_semantics<typename P::batch>,
                      "rlgaf: the batch must be copyable and default constructible");
    else if constexpr (!batch_has::rows<typename P::batch>)
        static_assert(batch_has::rows<typename P::batch>,
                      "rlgaf: the batch needs a free function `size_t rows(const batch&)`");
    else if constexpr (!batch_has::lengths<typename P::batch>)
        static_assert(batch_has::lengths<typename P::batch>,
                      "rlgaf: the batch needs a free function `span<const uint32_t> lengths(const batch&)`, one a row");
    else if constexpr (!batch_has::ends<typename P::batch>)
        static_assert(batch_has::ends<typename P::batch>,
                      "rlgaf: the batch needs a free function "
                      "`span<const rlgaf::row_end> ends(const batch&)`, one a row");
    else if constexpr (!batch_has::behaviour_log_prob<typename P::batch, typename P::scalar>)
        static_assert(
            batch_has::behaviour_log_prob<typename P::batch, typename P::scalar>,
            "rlgaf: the batch needs a free function "
            "`rlgaf::ragged_view<const scalar> behaviour_log_prob(const batch&)` in the policy's scalar type");
    else if constexpr (!batch_has::select<typename P::batch>)
        static_assert(batch_has::select<typename P::batch>,
                      "rlgaf: the batch needs a free function "
                      "`batch select(const batch&, span<const size_t> rows)`");
    else if constexpr (!batch_has::concat<typename P::batch>)
        static_assert(batch_has::concat<typename P::batch>,
                      "rlgaf: the batch needs a free function `batch concat(const batch&, const batch&)`");
    else if constexpr (!policy_has::prompts<P>)
        static_assert(policy_has::prompts<P>,
                      "rlgaf: the policy needs `using prompts = rlgaf::no_prompts;`, or a type with free functions "
                      "`size_t rows(const prompts&)` and `prompts select(const prompts&, span<const size_t>)`");
    else if constexpr (!policy_has::rollout<P>)
        static_assert(
            policy_has::rollout<P>,
            "rlgaf: the policy needs `batch rollout(const prompts&, std::span<const std::uint64_t> sample_id, "
            "const rlgaf::rollout_options&, rlgaf::rng_key)`: one sampled row for each id");
    else if constexpr (!policy_has::evaluate<P>)
        static_assert(policy_has::evaluate<P>,
                      "rlgaf: the policy needs `void evaluate(const batch&, rlgaf::policy_outputs<scalar>)`: "
                      "log-probs of the batch's actions, without gradient, dropout off");
    else if constexpr (!policy_has::forward<P>)
        static_assert(policy_has::forward<P>,
                      "rlgaf: the policy needs `using tape = ...;` and `tape forward(const batch&, "
                      "rlgaf::policy_outputs<scalar>)`: as evaluate, and remembers what backward needs");
    else if constexpr (!policy_has::backward<P>)
        static_assert(policy_has::backward<P>,
                      "rlgaf: the policy needs `void backward(tape&&, rlgaf::policy_cotangents<scalar>)`: "
                      "accumulate the gradient of sum(d_log_prob * log_prob)");
    else if constexpr (!policy_has::step<P>)
        static_assert(policy_has::step<P>,
                      "rlgaf: the policy needs `rlgaf::step_report step(const rlgaf::step_options&)`: "
                      "descend along the accumulated gradient and clear it");
    else if constexpr (!policy_has::discard<P>)
        static_assert(policy_has::discard<P>,
                      "rlgaf: the policy needs `void discard()`: drop the accumulated gradient");
    return policy_backend<P>;
}

/// The same for a scorer of batches B.
template <class S, class B>
consteval bool check_scorer() {
    if constexpr (!has_scalar<S>)
        static_assert(has_scalar<S>, "rlgaf: the scorer needs `using scalar = float;` or `double`");
    else if constexpr (!scorer_has::evaluate<S, B>)
        static_assert(scorer_has::evaluate<S, B>,
                      "rlgaf: the scorer needs `void evaluate(const batch&, std::span<scalar> "
                      "score)`: one number a row, without gradient, dropout off");
    else if constexpr (!scorer_has::forward<S, B>)
        static_assert(scorer_has::forward<S, B>,
                      "rlgaf: the scorer needs `using tape = ...;` and `tape forward(const batch&, std::span<scalar> "
                      "score)`: as evaluate, and remembers what backward needs");
    else if constexpr (!scorer_has::backward<S>)
        static_assert(scorer_has::backward<S>,
                      "rlgaf: the scorer needs `void backward(tape&&, std::span<const scalar> d_score)`: "
                      "accumulate the gradient of sum(d_score * score)");
    else if constexpr (!scorer_has::step<S>)
        static_assert(scorer_has::step<S>,
                      "rlgaf: the scorer needs `rlgaf::step_report step(const rlgaf::step_options&)`: "
                      "descend along the accumulated gradient and clear it");
    else if constexpr (!scorer_has::discard<S>)
        static_assert(scorer_has::discard<S>,
                      "rlgaf: the scorer needs `void discard()`: drop the accumulated gradient");
    return scorer_backend<S, B>;
}

}  // namespace rlgaf::inline RLGAF_ABI
