#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"
#include "rlgaf/backend/policy.hpp"

/// Rollouts: their shape, their log-probs, their random numbers.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

template <class P>
struct policy_subject {
    using scalar = typename P::scalar;
    using batch = typename P::batch;
    static constexpr bool entropy = gives_entropy<P>(), value = gives_value<P>();
    static constexpr std::size_t channels = 1 + std::size_t{entropy} + std::size_t{value};

    static const char* name(std::size_t k) { return k == 0 ? "log_prob" : k == 1 && entropy ? "entropy" : "value"; }
    static numbers<scalar> blank(const batch& b) {
        return numbers<scalar>(std::span<const std::uint32_t>(lengths(b)), mask_of(b), channels);
    }
    static policy_outputs<scalar> outputs(numbers<scalar>& x) {
        policy_outputs<scalar> out{.log_prob = x.channel(0)};
        if (entropy) out.entropy = x.channel(1);
        if (value) out.value = x.channel(channels - 1);
        return out;
    }
    static void evaluate(P& p, const batch& b, numbers<scalar>& x) { p.evaluate(b, outputs(x)); }
    static auto forward(P& p, const batch& b, numbers<scalar>& x) { return p.forward(b, outputs(x)); }
    static void backward(P& p, typename P::tape&& t, const numbers<scalar>& x) {
        policy_cotangents<scalar> c{.d_log_prob = x.channel(0)};
        if (entropy) c.d_entropy = x.channel(1);
        if (value) c.d_value = x.channel(channels - 1);
        p.backward(std::move(t), c);
    }
};

/// Rolls out samples first .. first + n - 1; prompts are taken in turn.
template <class P>
typename P::batch sample_rows(P& p, const typename P::prompts& prompts, std::size_t first, std::size_t n,
                              const rollout_options& o, rng_key key, bool one_prompt = false) {
    std::vector<std::uint64_t> id(n);
    std::vector<std::size_t> pick;
    for (std::size_t i = 0; i < n; ++i) id[i] = first + i;
    for (std::size_t i = 0; i < n && rows(prompts) > 0; ++i)
        pick.push_back(one_prompt ? 0 : (first + i) % rows(prompts));
    return p.rollout(rows(prompts) > 0 ? select(prompts, std::span<const std::size_t>(pick)) : prompts, id, o, key);
}

template <class P>
std::string check_shape(const typename P::batch& b, std::size_t n) {
    using T = typename P::scalar;
    const ragged_view<const T> log_prob = behaviour_log_prob(b);
    const mask_view mask = mask_of(b);
    if (rows(b) != n)
        return "!" + std::to_string(n) + " sample ids gave " + std::to_string(rows(b)) + " rows; one row for each id";
    const std::span<const std::uint32_t> length = lengths(b);
    if (length.size() != n || std::span<const row_end>(ends(b)).size() != n)
        return "!lengths and ends need one element a row";
    if (log_prob.rows() != n)
        return "!behaviour_log_prob has " + std::to_string(log_prob.rows()) + " rows for a batch of " +
               std::to_string(n);
    if (!mask.empty() && mask.rows() != n)
        return "!the mask has " + std::to_string(mask.rows()) + " rows for a batch of " + std::to_string(n);
    std::size_t actions = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (log_prob.length(i) != length[i] || (!mask.empty() && mask.length(i) != length[i]))
            return "!lengths, behaviour_log_prob and mask disagree about the length of row " + std::to_string(i);
        for (std::size_t t = 0; t < length[i]; ++t) {
            if (!mask.empty() && !mask.row(i)[t]) continue;
            ++actions;
            const double lp = static_cast<double>(log_prob.row(i)[t]);
            if (!(std::abs(lp) < std::numeric_limits<double>::infinity()) ||
                (shows_tokens<typename P::batch> && lp > 1e-6))
                return "!behaviour_log_prob of row " + std::to_string(i) + " position " + std::to_string(t) + " is " +
                       text_of(lp) + "; log-probs are finite natural logarithms of probabilities";
        }
    }
    return actions == 0 ? "!no row has an unmasked action"
                        : std::to_string(actions) + " actions in " + std::to_string(n) + " rows";
}

/// evaluate repeats the behaviour log-probs: at the batch's own temperature, prompt and position.
template <class P>
std::string check_behaviour(P& p, const typename P::batch& b, const limits<typename P::scalar>& limit) {
    const auto out = evaluated<policy_subject<P>>(p, b);
    const ragged_view<const typename P::scalar> sampled = behaviour_log_prob(b);
    for (std::size_t i = 0; i < out.rows(); ++i)
        for (std::size_t t = 0; t < sampled.length(i); ++t) {
            if (!out.used[out.offset[i] + t]) continue;
            const double x = static_cast<double>(sampled.row(i)[t]),
                         y = static_cast<double>(out.value[out.offset[i] + t]);
            if (!(std::abs(x - y) <= limit.tolerance * (1 + std::abs(x))))
                return "!row " + std::to_string(i) + " position " + std::to_string(t) + ": sampled with log-prob " +
                       text_of(x) + ", evaluate says " + text_of(y) +
                       "; is it another temperature, another position (off by one?), or dropout?";
        }
    return std::to_string(out.used.size()) + " slots agree";
}

/// Length limits hold, and only cut.
template <class P>
std::string check_limit(P& p, const typename P::prompts& prompts, const typename P::batch& whole,
                        const rollout_options& o, rng_key key) {
    const std::span<const std::uint32_t> length = lengths(whole);
    rollout_options shorter = o;
    shorter.max_length = std::max(1u, *std::max_element(length.begin(), length.end()) / 2);
    const auto cut = sample_rows(p, prompts, 0, rows(whole), shorter, key);
    for (std::size_t i = 0; i < rows(cut); ++i) {
        const std::uint32_t n = std::span<const std::uint32_t>(lengths(cut))[i];
        if (n > shorter.max_length)
            return "!row " + std::to_string(i) + " has " + std::to_string(n) +
                   " actions with .max_length = " + std::to_string(shorter.max_length);
        const row_end end = std::span<const row_end>(ends(cut))[i];
        if (per_sample_streams<P>() && n < length[i] && end != row_end::truncated)
            return "!row " + std::to_string(i) + " was cut at " + std::to_string(n) +
                   " and is not marked row_end::truncated";
    }
    return "at most " + std::to_string(shorter.max_length);
}

/// Samples follow from key and id.
template <class P>
std::string check_randomness(P& p, const typename P::prompts& prompts, const typename P::batch& b,
                             const rollout_options& o, rng_key key) {
    using T = typename P::scalar;
    const limits<T> limit{conformance_options{}};
    const std::size_t n = rows(b);
    const auto same_rows = [&](const typename P::batch& other) {
        std::size_t same = 0;
        for (std::size_t i = 0; i < n; ++i) same += batch_row_difference<T>(b, i, other, i, 0).empty();
        return same;
    };
    if (same_rows(sample_rows(p, prompts, 0, n, o, key)) != n)
        return "!the same key and ids gave other rows; everything random follows from rng_key and sample id, never "
               "from a "
               "generator that remembers";
    std::size_t same = 0;
    for (std::size_t i = 1; i < n; ++i) same += batch_row_difference<T>(b, 0, b, i, 0).empty();
    if (same == n - 1)
        return "!all rows are the same although their ids differ; is sample_id used? (Or the policy is deterministic: "
               "check it freshly initialised.)";
    if (same_rows(sample_rows(p, prompts, 0, n, o, {key.seed + 1, key.step})) == n)
        return "!another seed gives the same rows; is rng_key.seed used?";
    if (same_rows(sample_rows(p, prompts, 0, n, o, {key.seed, key.step + 1})) == n)
        return "!another step gives the same rows; is rng_key.step used?";
    if (!per_sample_streams<P>())
        return "same key, same rows; rows are not independent of each other (no per_sample_streams)";
    for (const std::size_t i : {std::size_t{0}, n / 2, n - 1})
        if (const auto d = batch_row_difference<T>(sample_rows(p, prompts, i, 1, o, key), 0, b, i, limit.tolerance);
            !d.empty())
            return "!sample " + std::to_string(i) + " alone differs from the same sample in a batch in " + d +
                   "; per_sample_streams promises the same";
    return "same key, same rows; a row alone is the row in its batch";
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
