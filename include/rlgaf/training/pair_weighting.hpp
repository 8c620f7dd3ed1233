#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/preference/wpo.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Whether pairs count by how likely the policy itself would give their answers (wpo), anew in each step. Not for aot.
enum class pair_weighting {
    none,
    likelihood,          ///< exp of the mean log-prob: the paper's plain form
    relative_likelihood  ///< against log(sum of p^2) at each token, for policies that expose their logits: TRL's
};

namespace detail {

/// log(sum of p^2) over the vocabulary at each unmasked token. Errors: option_error for a policy without logits.
template <policy_backend P>
void read_log_collision(P& policy, const typename P::batch& batch, std::size_t micro_batch_rows,
                        ragged_buffer<typename P::scalar>& out, const char* function) {
    using T = typename P::scalar;
    if constexpr (exposes_logits<P>) {
        std::vector<std::size_t> pick;
        std::vector<double> collision;  // of the unmasked tokens of a micro-batch, in order
        ragged_buffer<T> log_prob;
        log_prob.assign(lengths(batch));
        out.assign(lengths(batch));
        const auto look = [&](std::size_t, std::span<const T> logits, std::span<T>) {
            const double total = log_sum_exp(logits);
            double squares = 0;
            for (const T z : logits) squares += std::exp(2 * (static_cast<double>(z) - total));
            collision.push_back(std::log(squares));
        };
        for_each_micro_batch(batch, micro_batch_rows, pick, [&](std::size_t first, std::size_t n, const auto& part) {
            collision.clear();
            [[maybe_unused]] const typename P::tape dropped =
                policy.forward(part, {.log_prob = log_prob.view().slice(first, n)}, logit_visitor<T>(look));
            std::size_t next = 0;
            for_each_token(out.view().slice(first, n), mask_of(part), [&](std::size_t b, std::size_t t) {
                out.view().row(first + b)[t] = static_cast<T>(collision[next++]);
            });
        });
    } else {
        fail(error_kind::option, function, "options.weighting",
             "one that needs no logits, or a policy that exposes them", "relative_likelihood");
    }
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
