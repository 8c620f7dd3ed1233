#pragma once
#include "rlgaf/backend/conformance_rollout.hpp"
#include "rlgaf/backend/conformance_sampling.hpp"

/// The ability continues_prefixes.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// Nothing of some rows, about half of others, all of the rest; no cut within what a tool says.
template <class B>
std::vector<prefix> some_prefixes(const B& b) {
    const std::span<const std::uint32_t> length = lengths(b);
    const mask_view mask = mask_of(b);
    std::vector<prefix> from;
    for (std::size_t i = 0; i < rows(b); ++i) {
        std::uint32_t t = i % 4 == 0 ? 0 : i % 4 == 1 ? length[i] : length[i] / 2;
        while (!mask.empty() && t > 0 && t < length[i] && !mask.row(i)[t - 1] && !mask.row(i)[t]) --t;
        from.push_back({i, t});
    }
    return from;
}

/// "" if row i of `out` begins as its prefix does.
template <class T, class B>
std::string kept_difference(const B& out, std::size_t i, const B& b, const prefix& from) {
    if (std::span<const std::uint32_t>(lengths(out))[i] < from.length) return "length";
    const ragged_view<const T> now = behaviour_log_prob(out), before = behaviour_log_prob(b);
    const mask_view mask = mask_of(b);
    for (std::size_t t = 0; t < from.length; ++t) {
        if constexpr (shows_tokens<B>)
            if (ragged_view<const std::int32_t>(tokens(out)).row(i)[t] !=
                ragged_view<const std::int32_t>(tokens(b)).row(from.row)[t])
                return "its token at position " + std::to_string(t);
        if ((mask.empty() || mask.row(from.row)[t]) && now.row(i)[t] != before.row(from.row)[t])
            return "its log-prob at position " + std::to_string(t);
    }
    return {};
}

template <class P>
std::string check_prefixes(P& p, const typename P::batch& b, const rollout_options& o, rng_key key,
                           const limits<typename P::scalar>& limit) {
    using T = typename P::scalar;
    const std::vector<prefix> from = some_prefixes(b);
    std::vector<std::uint64_t> id(from.size()), others(from.size());
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = 3 * i, others[i] = 3 * i + 1;
    const std::span<const std::uint32_t> length = lengths(b);
    const std::span<const row_end> end = ends(b);
    const auto out = p.rollout_from(b, from, id, o, key);
    if (rows(out) != from.size())
        return "!" + std::to_string(from.size()) + " prefixes gave " + std::to_string(rows(out)) + " rows";
    for (std::size_t i = 0; i < from.size(); ++i) {
        if (const auto d = kept_difference<T>(out, i, b, from[i]); !d.empty())
            return "!row " + std::to_string(i) + " does not begin with its prefix of " +
                   std::to_string(from[i].length) + " actions: it differs in " + d +
                   "; what is kept stays as it is, log-probs included";
        if (from[i].length == length[i] && end[i] == row_end::terminated)
            if (const auto d = batch_row_difference<T>(out, i, b, i, 0); !d.empty())
                return "!row " + std::to_string(i) + " had ended and was kept whole, but differs in " + d +
                       "; a row that had ended stays as it is";
    }
    const auto differing = [&](const typename P::batch& other) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < from.size(); ++i) n += !batch_row_difference<T>(out, i, other, i, 0).empty();
        return n;
    };
    if (differing(p.rollout_from(b, from, id, o, key)) > 0)
        return "!the same prefixes, ids and key gave other rows; everything random follows from rng_key and sample id";
    if (differing(p.rollout_from(b, from, others, o, key)) == 0)
        return "!other ids continue every prefix in the same way; is sample_id used?";
    if (per_sample_streams<P>())
        for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{3}})
            if (const auto d = batch_row_difference<T>(
                    p.rollout_from(b, std::span(from).subspan(i, 1), std::span(id).subspan(i, 1), o, key), 0, out, i,
                    limit.tolerance);
                !d.empty())
                return "!prefix " + std::to_string(i) + " alone goes on differently than among others: " + d +
                       "; per_sample_streams promises the same";
    rollout_options shorter = o;
    shorter.max_length = 1;
    for (const prefix& f : from) shorter.max_length = std::max(shorter.max_length, f.length);
    const auto cut = p.rollout_from(b, from, id, shorter, key);
    for (const std::uint32_t n : std::span<const std::uint32_t>(lengths(cut)))
        if (n > shorter.max_length)
            return "!a row has " + std::to_string(n) +
                   " actions with .max_length = " + std::to_string(shorter.max_length) +
                   "; the limit counts what is kept";
    if (auto d = check_behaviour(p, out, limit); d[0] == '!') return "!continued rows: " + d.substr(1);
    return std::to_string(from.size()) + " prefixes are kept and continued";
}

/// Continuing nothing samples as a rollout does.
template <class P>
std::string check_continued_frequencies(P& p, const typename P::batch& b, std::size_t n, const rollout_options& o,
                                        rng_key key) {
    if constexpr (!shows_tokens<typename P::batch>) {
        return "skipped: actions cannot be counted (no tokens)";
    } else {
        std::vector<std::uint64_t> id(n);
        for (std::size_t i = 0; i < n; ++i) id[i] = i;
        return check_frequencies<typename P::scalar>(p.rollout_from(b, std::vector<prefix>(n), id, o, key));
    }
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
