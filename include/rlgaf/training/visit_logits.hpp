#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/driver.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// One forward pass over the batch, part by part: visit(row, token, logits, d_logits) for every unmasked token, then
/// use(tape, first row, rows). Fills log_prob [B, length].
template <exposes_logits P, class Visit, class Use>
void visit_logits(P& policy, const typename P::batch& batch, ragged_view<typename P::scalar> log_prob,
                  std::size_t micro_batch_rows, std::vector<std::size_t>& pick, Visit&& visit, Use&& use) {
    using T = typename P::scalar;
    std::vector<std::pair<std::size_t, std::size_t>> place;  // row and token of the part's unmasked tokens
    for_each_micro_batch(batch, micro_batch_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        const auto of_part = log_prob.slice(first, count);
        place.clear();
        for_each_token(of_part, mask_of(part), [&](std::size_t b, std::size_t t) { place.emplace_back(first + b, t); });
        const auto look = [&](std::size_t token, std::span<const T> logits, std::span<T> d_logits) {
            visit(place[token].first, place[token].second, logits, d_logits);
        };
        use(policy.forward(part, {.log_prob = of_part}, logit_visitor<T>(look)), first, count);
    });
}

}  // namespace rlgaf::inline RLGAF_ABI::detail
