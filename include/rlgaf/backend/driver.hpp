#pragma once
#include <vector>

#include "rlgaf/backend/scorer.hpp"
#include "rlgaf/core/reduce.hpp"

/// One whole optimiser step over a model that may only fit a micro-batch at a time. Losses see the arrays of the whole
/// step: means, selections and statistics come out the same under any split.
namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// Calls f(first, count, rows first .. first + count - 1 of the batch) for each micro-batch; 0 rows a micro-batch = all
/// at once.
template <class Batch, class F>
void for_each_micro_batch(const Batch& batch, std::size_t micro_rows, std::vector<std::size_t>& pick, F&& f) {
    const std::size_t n = rows(batch);
    if (micro_rows == 0 || micro_rows >= n) {
        f(std::size_t{0}, n, batch);
        return;
    }
    for (std::size_t first = 0; first < n; first += micro_rows) {
        const std::size_t count = micro_rows < n - first ? micro_rows : n - first;
        pick.resize(count);
        count_up(span_of(pick), first);
        f(first, count, select(batch, pick));
    }
}

template <class View>
View slice_if_given(const View& view, std::size_t first, std::size_t count) {
    return view.empty() ? view : view.slice(first, count);
}
template <class T>
policy_outputs<T> slice(const policy_outputs<T>& out, std::size_t first, std::size_t count) {
    return {slice_if_given(out.log_prob, first, count), slice_if_given(out.entropy, first, count),
            slice_if_given(out.value, first, count)};
}
template <class T>
policy_cotangents<T> slice(const policy_cotangents<T>& c, std::size_t first, std::size_t count) {
    return {slice_if_given(c.d_log_prob, first, count), slice_if_given(c.d_entropy, first, count),
            slice_if_given(c.d_value, first, count)};
}

}  // namespace detail

/// Fills `out` [B, length] without gradient, `micro_rows` rows at a time (0: all at once).
template <policy_backend P>
void evaluate_in_parts(P& policy, const typename P::batch& batch, policy_outputs<typename P::scalar> out,
                       std::size_t micro_rows, std::vector<std::size_t>& pick) {
    detail::for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        policy.evaluate(part, detail::slice(out, first, count));
    });
}
/// Fills score [B, width].
template <class S, class Batch>
void evaluate_in_parts(S& scorer, const Batch& batch, std::span<typename S::scalar> score, std::size_t micro_rows,
                       std::vector<std::size_t>& pick) {
    const std::size_t width = score_width(scorer);
    detail::for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        scorer.evaluate(part, score.subspan(first * width, count * width));
    });
}

/// Accumulates the gradient of one loss of the whole step. `loss()` reads `out` and adds to the arrays that
/// `cotangents` views; it is called once. With several micro-batches the outputs that it reads are those of `evaluate`.
template <policy_backend P, class Loss>
void accumulate_gradient(P& policy, const typename P::batch& batch, policy_outputs<typename P::scalar> out,
                         policy_cotangents<typename P::scalar> cotangents, std::size_t micro_rows, bool separable,
                         std::vector<std::size_t>& pick, Loss&& loss) {
    if (micro_rows == 0 || micro_rows >= rows(batch)) {
        typename P::tape tape = policy.forward(batch, out);
        loss(std::size_t{0}, rows(batch));
        policy.backward(static_cast<typename P::tape&&>(tape), cotangents);
        return;
    }
    if (!separable) {
        evaluate_in_parts(policy, batch, out, micro_rows, pick);
        loss(std::size_t{0}, rows(batch));
    }
    detail::for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        typename P::tape tape = policy.forward(part, detail::slice(out, first, count));
        if (separable) loss(first, count);
        policy.backward(static_cast<typename P::tape&&>(tape), detail::slice(cotangents, first, count));
    });
}

namespace detail {
/// One loss of the whole step, whatever is scored: `evaluate(part, first, count)` fills numbers without a tape, `forward`
/// fills them and gives one, `backward(tape, first, count)` takes it back. `loss()` is called once, for all rows.
template <class Batch, class Evaluate, class Forward, class Backward, class Loss>
void accumulate_in_parts(const Batch& batch, std::size_t micro_rows, std::vector<std::size_t>& pick, Evaluate&& evaluate,
                         Forward&& forward, Backward&& backward, Loss&& loss) {
    if (micro_rows == 0 || micro_rows >= rows(batch)) {
        auto tape = forward(batch, std::size_t{0}, rows(batch));
        loss();
        backward(tape, std::size_t{0}, rows(batch));
        return;
    }
    for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        evaluate(part, first, count);
    });
    loss();
    for_each_micro_batch(batch, micro_rows, pick, [&](std::size_t first, std::size_t count, const auto& part) {
        auto tape = forward(part, first, count);
        backward(tape, first, count);
    });
}
}  // namespace detail

/// The same for a scorer: score, d_score [B, width]; `loss()` is called once, for all rows.
template <class S, class Batch, class Loss>
void accumulate_gradient(S& scorer, const Batch& batch, std::span<typename S::scalar> score,
                         std::span<typename S::scalar> d_score, std::size_t micro_rows, std::vector<std::size_t>& pick,
                         Loss&& loss) {
    using T = typename S::scalar;
    const std::size_t width = score_width(scorer);
    const auto part_of = [width](auto numbers, std::size_t first, std::size_t count) {
        return numbers.subspan(first * width, count * width);
    };
    detail::accumulate_in_parts(
        batch, micro_rows, pick,
        [&](const auto& part, std::size_t first, std::size_t n) { scorer.evaluate(part, part_of(score, first, n)); },
        [&](const auto& part, std::size_t first, std::size_t n) {
            return scorer.forward(part, part_of(score, first, n));
        },
        [&](typename S::tape& tape, std::size_t first, std::size_t n) {
            scorer.backward(static_cast<typename S::tape&&>(tape), std::span<const T>(part_of(d_score, first, n)));
        },
        loss);
}

}  // namespace rlgaf::inline RLGAF_ABI
