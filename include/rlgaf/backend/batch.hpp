#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "rlgaf/core/ragged_view.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// How a row stopped: by itself (end of sequence, terminal state), or because its length ran out.
enum class row_end : std::uint8_t { terminated, truncated };

/// Prompts of a policy that needs none.
struct no_prompts {
    friend std::size_t rows(const no_prompts&) { return 0; }
    friend no_prompts select(const no_prompts&, std::span<const std::size_t>) { return {}; }
};

struct rollout_options {
    double temperature = 1;        ///< > 0; log-probs are those of the tempered policy, everywhere
    std::uint32_t max_length = 0;  ///< actions a row at most; 0: the backend's own limit
    std::uint32_t top_k = 0;       ///< sample among the k likeliest actions; 0: all
    double top_p = 1;              ///< in (0, 1]: sample from the smallest set with this mass

    bool truncates() const { return top_k != 0 || top_p < 1; }
    void check() const {
        detail::check_option(temperature > 0 && temperature < std::numeric_limits<double>::infinity(),
                             "rollout_options", "temperature", "a positive number", temperature);
        detail::check_option(top_p > 0 && top_p <= 1, "rollout_options", "top_p", "in (0, 1]", top_p);
    }
};

/// Prompts are picked by row and repeated; rlgaf never looks inside. `rows` is 0 where there is nothing to ask.
template <class P>
concept prompt_list = std::copyable<P> && requires(const P& p, std::span<const std::size_t> pick) {
    { rows(p) } -> std::convertible_to<std::size_t>;
    { select(p, pick) } -> std::same_as<P>;
};

namespace batch_has {
template <class B>
concept value_semantics = std::copyable<B> && std::default_initializable<B>;
template <class B>
concept rows = requires(const B& b) {
    { rows(b) } -> std::convertible_to<std::size_t>;
};
template <class B>
concept lengths = requires(const B& b) {
    { lengths(b) } -> std::convertible_to<std::span<const std::uint32_t>>;
};
template <class B>
concept ends = requires(const B& b) {
    { ends(b) } -> std::convertible_to<std::span<const row_end>>;
};
template <class B, class T>
concept behaviour_log_prob = requires(const B& b) {
    { behaviour_log_prob(b) } -> std::convertible_to<ragged_view<const T>>;
};
template <class B>
concept select = requires(const B& b, std::span<const std::size_t> pick) {
    { select(b, pick) } -> std::same_as<B>;
};
template <class B>
concept concat = requires(const B& b) {
    { concat(b, b) } -> std::same_as<B>;
};
template <class B>
concept mask = requires(const B& b) {
    { mask(b) } -> std::convertible_to<mask_view>;
};
}  // namespace batch_has

/// What a policy rolls out and a scorer reads: a value type of the backend's own, with these free functions beside it.
///   rows(b), lengths(b) [B], ends(b) [B], behaviour_log_prob(b) [B, length] (empty for demonstrations),
///   mask(b) [B, length] (optional), select(b, rows) (rows may repeat), concat(a, b).
template <class B, class T>
concept batch_of = batch_has::value_semantics<B> && batch_has::rows<B> && batch_has::lengths<B> && batch_has::ends<B> &&
    batch_has::behaviour_log_prob<B, T> && batch_has::select<B> && batch_has::concat<B>;

/// The batch's mask, or none if its type has none.
template <class B>
mask_view mask_of(const B& b) {
    if constexpr (batch_has::mask<B>)
        return mask(b);
    else
        return {};
}

}  // namespace rlgaf::inline RLGAF_ABI
