#pragma once
#include "rlgaf/backend/conformance_parameters.hpp"

/// Outputs of a model: the same whenever, in whatever order and company.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// Forward says what evaluate says, twice, and everything is written and finite.
template <class S, class M>
std::string check_outputs(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    const auto first = evaluated<S>(m, b), again = evaluated<S>(m, b);
    for (std::size_t i = 0; i < first.value.size(); ++i)
        if (!(std::abs(first.value[i]) < std::numeric_limits<typename S::scalar>::infinity()))
            return "!evaluate leaves " + text_of(static_cast<double>(first.value[i])) + " in " +
                   S::name(i / first.used.size()) +
                   " (the array was filled with NaN before): every unmasked slot is written";
    if (const auto d = difference(first, again, limit.tolerance); !d.empty())
        return "!evaluate says two things about one batch: " + d + "; is dropout on?";
    auto taped = S::blank(b);
    { [[maybe_unused]] auto tape = S::forward(m, b, taped); }
    m.discard();
    taped.clear_unused();
    if (const auto d = difference(first, taped, limit.tolerance); !d.empty())
        return "!evaluate and forward differ: " + d +
               "; switch dropout off for this check, and look for another "
               "temperature or mask in one of them";
    return std::to_string(first.used.size()) + " slots agree";
}

/// Rows keep their numbers in any order and company.
template <class S, class M>
std::string check_rearranged(M& m, const typename S::batch& b, const limits<typename S::scalar>& limit) {
    using T = typename S::scalar;
    const std::size_t n = rows(b);
    std::vector<std::size_t> pick = {n - 1, 0, 0, n / 2, 1};
    const auto whole = evaluated<S>(m, b);
    const auto compare = [&](const typename S::batch& part, const std::vector<std::size_t>& from,
                             const char* how) -> std::string {
        if (rows(part) != from.size())
            return std::string("!") + how + " gives " + std::to_string(rows(part)) + " rows instead of " +
                   std::to_string(from.size());
        for (std::size_t i = 0; i < from.size(); ++i)
            if (const auto d = batch_row_difference<T>(part, i, b, from[i], 0); !d.empty())
                return std::string("!") + how + ": row " + std::to_string(i) + " should be row " +
                       std::to_string(from[i]) + " of the batch and differs in " + d +
                       "; rows come in the order of the list, and may repeat";
        const auto out = evaluated<S>(m, part);
        for (std::size_t i = 0; i < from.size(); ++i)
            if (const auto d = row_difference(out, i, whole, from[i], limit.tolerance); !d.empty())
                return std::string("!") + how + ": evaluate gives a row other numbers than in the batch: " + d +
                       "; does padding or a neighbour leak into it, or did the row lose what is not shown (prompt, "
                       "temperature)?";
        return {};
    };
    std::string message = compare(select(b, std::span<const std::size_t>(pick)), pick, "select with repeated rows");
    if (!message.empty()) return message;
    auto joined = concat(select(b, std::span<const std::size_t>(pick)), b);
    for (std::size_t i = 0; i < n; ++i) pick.push_back(i);
    message = compare(joined, pick, "concat");
    for (std::size_t i = 0; i < std::min<std::size_t>(n, 4) && message.empty(); ++i) {
        const std::vector<std::size_t> alone = {i};
        message = compare(select(b, std::span<const std::size_t>(alone)), alone, "a row alone");
    }
    if (message.empty() && rows(select(b, std::span<const std::size_t>())) != 0) return "!select of no rows gives some";
    return message.empty() ? "rows keep their numbers in any order and company" : message;
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
