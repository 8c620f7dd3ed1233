#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/backend/scorer.hpp"

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

/// Continues prefixes of a batch: row i of the result starts with prefix i. Serves Monte-Carlo values.
template <class P>
concept continues_prefixes = policy_backend<P> &&
    requires(P& p, const typename P::batch& b, std::span<const prefix> from, std::span<const std::uint64_t> id,
             const rollout_options& o, rng_key key) {
    { p.rollout_from(b, from, id, o, key) } -> std::same_as<typename P::batch>;
};

/// A copy with parameters of its own: a frozen reference, an old policy.
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
    std::string name;
    std::vector<std::size_t> shape;
    std::span<T> values;
    std::span<T> gradients;  ///< of the same size
};

/// Parameters that optimisers, checkpoints and hashes can reach. The blocks keep their order and their memory.
template <class M>
concept flat_parameters = requires(M& m) {
    { m.parameters() } -> std::convertible_to<std::span<const parameter_block<typename M::scalar>>>;
};

}  // namespace rlgaf::inline RLGAF_ABI
