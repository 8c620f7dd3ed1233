#pragma once
#include "rlgaf/core/scalar.hpp"
#include "rlgaf/reward_shaping/score_map.hpp"
#include "rlgaf/training/score.hpp"

/// Part of role 2: what the discriminator will say, on average, after each token.
namespace rlgaf::inline RLGAF_ABI {

struct rollout_value_options {
    std::size_t rollouts = 16;            ///< continuations a prefix; >= 1
    std::size_t every = 1;                ///< unmasked tokens that share a value, that of the last of them; >= 1
    std::size_t micro_batch_rows = 4096;  ///< continuations that are sampled and scored at a time; 0: all
    rollout_options sampling{};           ///< of the continuations: as the round's, for values of the policy as it is

    void check() const {
        sampling.check();
        detail::check_option(rollouts >= 1, "rollout_value_options", "rollouts", "at least 1", 0);
        detail::check_option(every >= 1, "rollout_value_options", "every", "at least 1", 0);
    }
};

namespace detail {
struct sigmoid_of_score {
    double operator()(double score) const noexcept { return sigmoid(score); }
};

/// One finite number a row of any batch: with several columns, their mean. `columns` is scratch.
template <class S, class Batch, class T>
void score_one(S& scorer, const Batch& batch, std::vector<T>& columns, std::vector<T>& score,
               std::vector<std::size_t>& pick, std::size_t micro_rows) {
    if constexpr (is_true_reward<std::remove_const_t<S>>) {
        score.resize(rows(batch));
        for (std::size_t i = 0; i < score.size(); ++i) score[i] = static_cast<T>(scorer.function(batch, i));
    } else {
        score_rows(scorer, batch, columns, micro_rows, 0, pick);
        mean_of_columns(std::span<const T>(columns), score_width(scorer), score);
    }
    check_finite(std::span<const T>(score), "roll_out_values", "score");
}
}  // namespace detail

/// Fills t.prefix_value by Monte-Carlo rollouts: the value Q(y_1:t-1, y_t) of each unmasked token.
/// Formula: Q_t = mean over k of map(score(y_1:t continued by `policy`, k)); at the row's last unmasked token
///          Q = map(score(y)), taken once. The value before token t is that after the token before: V(s_t) = Q_t-1.
///          Tokens of a block of `every` have the value after its last one: it is as right on average for the earlier
///          ones. (A value from before a token would be no credit for it.)
/// Shapes:  prefix_value [B, length]; masked slots are 0, and no rollout starts after them.
/// Random:  rollout k of the j-th token of the batch is sample j * rollouts + k of stream::rollout_from. Values depend
///          neither on micro_batch_rows nor on `every`, where rows do not depend on the rows beside them.
/// Cost:    rollouts * (tokens - rows) rows continued, so many and the rows themselves scored.
/// Errors:  option_error; numeric_error for a score or a value that is not finite; those of policy and scorer.
/// Needs:   `policy` continues_prefixes; it may be another than the one that is trained (an averaged copy). The scorer,
///          or true_reward, as in `score`. `map` is any double(double).
///          Blocks are for credit by Q itself: differences of Q pay only the first token of a block.
/// Source:  Yu et al. 2017, arXiv 1609.05473 (SeqGAN); blocks: Guo et al. 2017, arXiv 1709.08624 (LeakGAN).
template <class R, class S, policy_backend P, class Map = detail::sigmoid_of_score>
void roll_out_values(R& policy, S& scorer, trajectories<P>& t, const rollout_value_options& options, rng_key key,
                     Map map = {}) {
    using T = typename P::scalar;
    static_assert(
        continues_prefixes<R>,
        "roll_out_values needs a policy with the ability continues_prefixes: batch rollout_from(const batch&, "
        "std::span<const prefix>, std::span<const std::uint64_t>, const rollout_options&, rng_key)");
    static_assert(std::same_as<typename R::batch, typename P::batch>,
                  "roll_out_values needs policies that share one batch type");
    options.check();
    const std::span<const std::uint32_t> length = lengths(t.batch);
    const mask_view mask = mask_of(t.batch);
    t.has_prefix_value = false;
    t.prefix_value.assign(length);

    std::vector<prefix> asked, from;
    std::vector<std::uint64_t> place, id;  // place: which token of the batch a prefix ends with
    std::uint64_t first_token = 0;
    for (std::size_t b = 0; b < length.size(); first_token += length[b++]) {
        const included_tokens included(mask, b);
        std::uint32_t after_last = 0;
        for (std::uint32_t i = 0, seen = 0; i < length[b]; ++i) {
            if (!included[i]) continue;
            after_last = i + 1;
            if (++seen % options.every != 0) continue;
            asked.push_back({b, i + 1});
            place.push_back(first_token + i);
        }
        if (!asked.empty() && asked.back().row == b && asked.back().length == after_last) {
            asked.pop_back();
            place.pop_back();
        }
    }

    const std::size_t rollouts = options.rollouts, total = asked.size() * rollouts,
                      at_once = options.micro_batch_rows == 0 ? total : options.micro_batch_rows;
    std::vector<double> sum(asked.size(), 0.0);
    std::vector<T> columns, score;
    for (std::size_t first = 0; first < total; first += at_once) {
        const std::size_t n = at_once < total - first ? at_once : total - first;
        from.resize(n);
        id.resize(n);
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t p = (first + i) / rollouts;
            from[i] = asked[p];
            id[i] = place[p] * rollouts + (first + i) % rollouts;
        }
        const typename P::batch continued = policy.rollout_from(t.batch, from, id, options.sampling, key);
        detail::check_size(rows(continued), n, "roll_out_values", "rows of the policy's rollout_from");
        detail::score_one(scorer, continued, columns, score, t.pick, 0);
        for (std::size_t i = 0; i < n; ++i) sum[(first + i) / rollouts] += map(static_cast<double>(score[i]));
    }

    detail::score_one(scorer, t.batch, columns, score, t.pick, options.micro_batch_rows);
    for (std::size_t b = length.size(), p = asked.size(); b-- > 0;) {
        double value = map(static_cast<double>(score[b]));
        const included_tokens included(mask, b);
        for (std::size_t i = length[b]; i-- > 0;) {
            if (!included[i]) continue;
            if (p > 0 && asked[p - 1].row == b && asked[p - 1].length == i + 1)
                value = sum[--p] / static_cast<double>(rollouts);
            t.prefix_value.view().row(b)[i] = static_cast<T>(value);
        }
    }
    detail::check_finite(std::as_const(t.prefix_value).view(), mask, "roll_out_values", "value");
    t.has_prefix_value = true;
}

/// Component of adversarial_trainer: roll_out_values with the round's policy and discriminator before rewards are shaped.
/// Goes with rollout_reward{} in the pipeline, and for SeqGAN with reinforce{.baseline = per_step, .discount = 0}.
struct rollout_values {
    using role = role::credit;
    std::size_t rollouts = 16;            ///< continuations a prefix; >= 1
    std::size_t every = 1;                ///< unmasked tokens that share a value; >= 1
    score_map map = score_map::d;         ///< of each continuation's score, before the mean
    std::size_t micro_batch_rows = 4096;  ///< continuations at a time; 0: all

    rollout_value_options options(const rollout_options& sampling) const {
        return {.rollouts = rollouts, .every = every, .micro_batch_rows = micro_batch_rows, .sampling = sampling};
    }
    void check() const { options({}).check(); }
};

}  // namespace rlgaf::inline RLGAF_ABI
