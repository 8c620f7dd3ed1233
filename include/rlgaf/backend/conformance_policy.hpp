#pragma once
#include "rlgaf/backend/conformance_gradient.hpp"
#include "rlgaf/backend/conformance_logits.hpp"
#include "rlgaf/backend/conformance_prefixes.hpp"
#include "rlgaf/backend/conformance_rollout.hpp"
#include "rlgaf/backend/conformance_sampling.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Every check of a policy. `prompts` may be empty where the policy needs none; else they are used in turn.
/// Takes a second or so on a small model: about 30 000 rows and a few hundred evaluations of 24.
template <policy_backend P>
conformance_report check_conformance(P& policy, const typename P::prompts& prompts,
                                     const conformance_options& options = {}) {
    namespace kit = detail::conformance;
    using subject = kit::policy_subject<P>;
    using T = typename P::scalar;
    options.check();
    const kit::limits<T> limit(options);
    rollout_options o = options.rollout, cooler = o;
    o.top_k = cooler.top_k = 0;
    o.top_p = cooler.top_p = 1;
    cooler.temperature = 0.7 * o.temperature;
    const rng_key key{options.seed, 0};
    conformance_report report;
    kit::without_harm<subject>(policy, report, [&](P& p) {
        const auto b = kit::sample_rows(p, prompts, 0, options.rows, o, key);
        kit::run(report, "rollout", [&] { return kit::check_shape<P>(b, options.rows); });
        if (!report.ok()) return b;  // nothing else could be trusted
        kit::run(report, "length limit", [&] { return kit::check_limit(p, prompts, b, o, key); });
        kit::run(report, "random numbers", [&] { return kit::check_randomness(p, prompts, b, o, key); });
        kit::run(report, "evaluate repeats the rollout", [&] { return kit::check_behaviour(p, b, limit); });
        const auto cool = kit::sample_rows(p, prompts, 0, options.rows, cooler, key);
        kit::run(report, "temperature", [&] { return kit::check_behaviour(p, concat(cool, b), limit); });
        if (options.frequency_rows > 0) {
            const auto many = kit::sample_rows(p, prompts, 0, options.frequency_rows, o, {key.seed, 1}, true);
            const auto many_cool = kit::sample_rows(p, prompts, 0, options.frequency_rows, cooler, {key.seed, 2}, true);
            for (const auto* sampled : {&many, &many_cool}) {
                const bool first = sampled == &many;
                kit::run(report, first ? "sampling frequencies" : "sampling frequencies, cooler", [&]() -> std::string {
                    if constexpr (shows_tokens<typename P::batch>)
                        return kit::check_frequencies<T>(*sampled);
                    else
                        return "skipped: actions cannot be counted (no tokens)";
                });
                if constexpr (subject::entropy)
                    kit::run(report, first ? "entropy" : "entropy, cooler",
                             [&] { return kit::check_entropy<subject>(p, *sampled, limit); });
                if constexpr (flat_parameters<P>)
                    kit::run(report, first ? "mean score" : "mean score, cooler",
                             [&] { return kit::check_score<subject>(p, *sampled); });
            }
        }
        kit::check_model<subject>(p, concat(b, cool), options, report);
        if constexpr (exposes_logits<P>)
            kit::run(report, "logits", [&] { return kit::check_logits(p, concat(b, cool), options, limit); });
        if constexpr (continues_prefixes<P>) {
            kit::run(report, "continued prefixes", [&] { return kit::check_prefixes(p, b, o, key, limit); });
            if (options.frequency_rows > 0)
                kit::run(report, "continued frequencies", [&] {
                    return kit::check_continued_frequencies(p, b, options.frequency_rows, cooler, {key.seed, 3});
                });
        }
        return b;
    });
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
