#pragma once
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/component.hpp"
#include "rlgaf/core/finite.hpp"
#include "rlgaf/preference/terms.hpp"
#include "rlgaf/training/step_measures.hpp"

/// One optimiser step on some of a batch's pairs.
namespace rlgaf::inline RLGAF_ABI {

/// A loss of pairs of log-probs, like dpo and spin.
template <class L, class T>
concept preference_loss = std::is_invocable_r_v < preference_stats,
        const L&, const preference_terms<T>
&, workspace&, const ragged_view<T>& > ;

namespace detail {

/// The pairs of a step, and the rows of the batch that they need, each once.
class step_pairs {
public:
    /// Of a batch of so many rows.
    explicit step_pairs(std::size_t rows) : place_(rows, nowhere) {}

    /// `margin`: one a pair of `all`, or none.
    void take(std::span<const preference_pair> all, std::span<const double> margin, std::span<const std::size_t> pick) {
        for (const std::size_t row : rows_) place_[row] = nowhere;
        rows_.clear();
        pairs_.clear();
        margin_.clear();
        for (const std::size_t i : pick) {
            const std::uint32_t chosen = place_of(all[i].chosen);
            pairs_.push_back({chosen, place_of(all[i].rejected), all[i].weight});
            if (!margin.empty()) margin_.push_back(margin[i]);
        }
    }
    const std::vector<std::size_t>& rows() const { return rows_; }
    const std::vector<preference_pair>& pairs() const { return pairs_; }  ///< numbered as in rows()
    const std::vector<double>& margin() const { return margin_; }

private:
    static constexpr std::uint32_t nowhere = static_cast<std::uint32_t>(-1);
    std::uint32_t place_of(std::uint32_t row) {
        if (place_[row] == nowhere) {
            place_[row] = static_cast<std::uint32_t>(rows_.size());
            rows_.push_back(row);
        }
        return place_[row];
    }
    std::vector<std::uint32_t> place_;
    std::vector<std::size_t> rows_;
    std::vector<preference_pair> pairs_;
    std::vector<double> margin_;
};

template <class T>
struct pair_scratch {
    ragged_buffer<T> log_prob, d_log_prob, reference;
    std::vector<std::size_t> pick;
    workspace work;
};
struct pair_report {
    preference_stats loss;
    step_report step;
};

/// `reference` [B, length] is of the whole batch.
template <policy_backend P, class Loss>
pair_report step_on_pairs(P& policy, const typename P::batch& batch,
                          const ragged_view<const typename P::scalar>& reference, const step_pairs& taken,
                          const Loss& loss, const step_options& step, std::size_t micro_batch_rows,
                          pair_scratch<typename P::scalar>& s, const char* function) {
    const typename P::batch part = select(batch, span_of(taken.rows()));
    const mask_view mask = mask_of(part);
    s.log_prob.assign(lengths(part));
    s.d_log_prob.assign(lengths(part));
    gather(reference, span_of(taken.rows()), lengths(part), s.reference);
    pair_report report;
    policy.discard();  // what an error left behind
    accumulate_gradient(policy, part, {.log_prob = s.log_prob.view()},
                        {.d_log_prob = std::as_const(s.d_log_prob).view()}, micro_batch_rows, false, s.pick,
                        [&](std::size_t, std::size_t) {
                            check_finite(std::as_const(s.log_prob).view(), mask, function, "log_prob");
                            report.loss = loss({.log_prob = std::as_const(s.log_prob).view(),
                                                .reference_log_prob = std::as_const(s.reference).view(),
                                                .pairs = span_of(taken.pairs()),
                                                .mask = mask,
                                                .margin = span_of(taken.margin())},
                                               s.work, s.d_log_prob.view());
                        });
    report.step = policy.step(step);
    return report;
}

/// Log-probs of every row, which must be finite.
template <class Policy, class Batch, class T>
void read_log_probs(Policy& policy, const Batch& batch, std::size_t micro_batch_rows, ragged_buffer<T>& out,
                    const char* function) {
    std::vector<std::size_t> pick;
    out.assign(lengths(batch));
    evaluate_in_parts(policy, batch, policy_outputs<T>{.log_prob = out.view()}, micro_batch_rows, pick);
    check_finite(std::as_const(out).view(), mask_of(batch), function, "log_prob");
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
