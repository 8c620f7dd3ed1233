#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/math/log_normalizer.hpp"
#include "rlgaf/preference/sqil.hpp"
#include "rlgaf/training/visit_logits.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

template <class T>
struct sqil_scratch {
    ragged_buffer<T> log_prob, log_normalizer, d_log_prob, d_log_normalizer;
    std::vector<std::uint8_t> expert, truncated;
    std::vector<std::size_t> pick;
};

/// The loss on a batch and its gradient, in two passes.
template <exposes_logits P>
sqil_stats accumulate_sqil(P& policy, const typename P::batch& batch, const sqil& loss, std::size_t micro_batch_rows,
                           bool check_logits, sqil_scratch<typename P::scalar>& s) {
    using T = typename P::scalar;
    for (auto* x : {&s.log_prob, &s.log_normalizer, &s.d_log_prob, &s.d_log_normalizer}) x->assign(lengths(batch));
    const mask_view mask = mask_of(batch);
    double largest = 0;
    visit_logits(
        policy, batch, s.log_prob.view(), micro_batch_rows, s.pick,
        [&](std::size_t b, std::size_t t, std::span<const T> logits, std::span<T>) {
            const double v = log_sum_exp(logits);
            largest = std::fmax(largest, std::abs(v));
            s.log_normalizer.view().row(b)[t] = static_cast<T>(v);
        },
        [](typename P::tape&&, std::size_t, std::size_t) {});
    check_finite(std::as_const(s.log_prob).view(), mask, "fit_sqil", "log_prob");
    check_finite(std::as_const(s.log_normalizer).view(), mask, "fit_sqil", "log(sum of exp(logit))");
    if (check_logits && !(largest > 1e-4)) [[unlikely]]
        fail(error_kind::option, "fit_sqil", "policy", "logits before the softmax",
             "log-probs, as log(sum of exp(logit)) is 0 everywhere");
    const sqil_stats stats = loss(sqil_terms<T>{.log_prob = std::as_const(s.log_prob).view(),
                                                .log_normalizer = std::as_const(s.log_normalizer).view(),
                                                .expert = span_of(s.expert),
                                                .truncated = span_of(s.truncated),
                                                .mask = mask},
                                  s.d_log_prob.view(), s.d_log_normalizer.view());
    visit_logits(
        policy, batch, s.log_prob.view(), micro_batch_rows, s.pick,
        [&](std::size_t b, std::size_t t, std::span<const T> logits, std::span<T> d_logits) {
            log_normalizer_backward(logits, log_sum_exp(logits),
                                    static_cast<double>(s.d_log_normalizer.view().row(b)[t]), d_logits);
        },
        [&](typename P::tape&& tape, std::size_t first, std::size_t count) {
            policy.backward(static_cast<typename P::tape&&>(tape),
                            {.d_log_prob = std::as_const(s.d_log_prob).view().slice(first, count)});
        });
    return stats;
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
