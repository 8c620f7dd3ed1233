#pragma once
#include "rlgaf/policy_gradient/normalize_advantage.hpp"
#include "rlgaf/training/policy_update_options.hpp"
#include "rlgaf/training/roles.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

/// The arrays of one optimiser step of the policy: some rows of the round, or all. Reused from step to step.
template <policy_backend P>
struct policy_minibatch {
    using T = typename P::scalar;

    typename P::batch subset;
    ragged_buffer<T> log_prob, entropy, d_log_prob, d_entropy, old_log_prob, advantage, reference, factor;
    ragged_buffer<std::uint8_t> paid;
    std::vector<std::uint32_t> count, group;
    std::vector<double> weight;  ///< [rows] by aggregation
    policy_terms<T> terms;
    policy_outputs<T> outputs;
    policy_cotangents<T> cotangents;

    /// Returns the rows themselves. `whole`: the picked rows are all rows, in their order.
    const typename P::batch& take(trajectories<P>& t, const ragged_view<const T>& advantages,
                                  std::span<const std::size_t> pick, bool whole, const policy_update_options& options,
                                  bool with_entropy) {
        if (!whole) subset = select(t.batch, pick);
        const typename P::batch& batch = whole ? t.batch : subset;
        const std::span<const std::uint32_t> length = lengths(batch);
        const auto part_of = [&](const ragged_view<const T>& from, ragged_buffer<T>& to) {
            if (whole || from.empty()) return from;
            gather(from, pick, length, to);
            return std::as_const(to).view();
        };
        log_prob.assign(length);
        d_log_prob.assign(length);
        terms = {.log_prob = std::as_const(log_prob).view(),
                 .old_log_prob = part_of(std::as_const(t.old_log_prob).view(), old_log_prob),
                 .advantage = part_of(advantages, advantage),
                 .mask = mask_of(batch),
                 .reference_log_prob = part_of(t.reference_view(), reference),
                 .token_factor = part_of(t.factor_view(), factor)};
        outputs = {.log_prob = log_prob.view()};
        cotangents = {.d_log_prob = std::as_const(d_log_prob).view()};
        if (with_entropy) {
            entropy.assign(length);
            d_entropy.assign(length);
            outputs.entropy = entropy.view();
            terms.entropy = std::as_const(entropy).view();
            cotangents.d_entropy = std::as_const(d_entropy).view();
        }
        if (options.normalize_minibatch) {
            if (whole) gather(advantages, pick, length, advantage);
            normalize_minibatch(advantage.view(), paid_tokens(t.reward.view(), pick, terms.mask, length, paid));
            terms.advantage = std::as_const(advantage).view();
        }

        count.resize(pick.size());
        count_tokens(terms.log_prob, terms.mask, span_of(count));
        group.resize(pick.size());
        for (std::size_t i = 0; i < pick.size(); ++i) group[i] = t.group_id[pick[i]];
        weight.resize(pick.size());
        options.aggregation(span_of(count), {span_of(group), t.group_count}, t.work, span_of(weight));
        return batch;
    }
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
