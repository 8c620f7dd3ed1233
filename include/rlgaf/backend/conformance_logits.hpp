#pragma once
#include "rlgaf/backend/conformance_rollout.hpp"

/// The ability exposes_logits.
namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// The logits' log-softmax at the token is its log-prob, and what is added to d_logits is back-propagated: the gradient
/// that a cotangent of the log-prob has by the logits, c (1[v = token] - p[v]), gives what the cotangent itself gives.
template <class P>
std::string check_logits(P& p, const typename P::batch& b, const conformance_options& o,
                         const limits<typename P::scalar>& limit) {
    using T = typename P::scalar;
    using S = policy_subject<P>;
    if constexpr (!shows_tokens<typename P::batch>) {
        return "skipped: actions cannot be looked up in logits (no tokens)";
    } else {
        auto c = S::blank(b), out = S::blank(b);
        c.fill_normal(o.seed, 28, 0);
        std::vector<std::size_t> slot;  // of the tokens that the mask includes, in their order
        std::vector<std::size_t> action;
        const ragged_view<const std::int32_t> token = tokens(b);
        for (std::size_t i = 0; i < token.rows(); ++i)
            for (std::size_t t = 0; t < token.length(i); ++t)
                if (out.used[out.offset[i] + t]) {
                    slot.push_back(out.offset[i] + t);
                    action.push_back(static_cast<std::size_t>(token.row(i)[t]));
                }
        std::string failure;
        std::size_t calls = 0;
        std::vector<double> log_prob(slot.size());
        auto visit = [&](std::size_t k, std::span<const T> logit, std::span<T> d_logit) {
            if (!failure.empty()) return;
            if (k != calls++ || k >= slot.size() || d_logit.size() != logit.size() || action[k] >= logit.size()) {
                failure = "!the visitor is called with token " + std::to_string(k) + ", " +
                          std::to_string(logit.size()) + " logits and " + std::to_string(d_logit.size()) +
                          " gradients where token " + std::to_string(calls - 1) + " of " + std::to_string(slot.size()) +
                          " is due; once for every unmasked token, row after row, with V numbers each";
                return;
            }
            double largest_logit = static_cast<double>(logit[0]), sum = 0;
            for (const T z : logit) largest_logit = std::fmax(largest_logit, static_cast<double>(z));
            for (const T z : logit) sum += std::exp(static_cast<double>(z) - largest_logit);
            log_prob[k] = static_cast<double>(logit[action[k]]) - largest_logit - std::log(sum);
            const double d = static_cast<double>(c.value[slot[k]]);
            for (std::size_t v = 0; v < logit.size(); ++v) {
                if (d_logit[v] != 0) failure = "!d_logits does not start at 0";
                const double share = std::exp(static_cast<double>(logit[v]) - largest_logit) / sum;
                d_logit[v] += static_cast<T>(d * ((v == action[k] ? 1 : 0) - share));
            }
        };
        p.discard();
        {
            auto tape = p.forward(b, S::outputs(out), logit_visitor<T>(visit));
            if (!failure.empty()) return failure;
            if (calls != slot.size())
                return "!the visitor is called for " + std::to_string(calls) + " tokens of " +
                       std::to_string(slot.size()) + "; once for every unmasked token";
            for (std::size_t k = 0; k < slot.size(); ++k) {
                const double said = static_cast<double>(out.value[slot[k]]);
                if (!(std::abs(said - log_prob[k]) <= limit.tolerance * (1 + std::abs(said))))
                    return "!token " + std::to_string(k) + ": log-softmax of its logits is " + text_of(log_prob[k]) +
                           ", its log-prob " + text_of(said) +
                           "; logits are shown divided by the row's temperature, at the token's own position";
            }
            p.backward(std::move(tape), {});
        }
        const std::vector<double> shown = take_gradient(p);
        S::backward(p, S::forward(p, b, out), c);
        const std::vector<double> direct = take_gradient(p);
        if (largest(shown) == 0 && largest(direct) > 0)
            return "!what is added to d_logits does not reach the parameters";
        if (const auto d = gradient_difference(shown, direct, limit.is_float ? 1e-3 : limit.tolerance); !d.empty())
            return "!d_logits = c (1[token] - p) and the cotangent c of log_prob give other gradients: " + d +
                   "; d_logits is by the tempered logits that were shown";
        return std::to_string(slot.size()) + " distributions agree with log_prob, and so do their gradients";
    }
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
