#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/preference/spin.hpp"
#include "rlgaf/training/describe_samples.hpp"
#include "rlgaf/training/fit_dpo.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct spin_options {
    std::size_t iterations = 3;    ///< > 0; each with fresh samples and a fresh reference
    dpo_options fit{.epochs = 2};  ///< of an iteration; its schedule goes by step of the whole call
    spin loss{};
    rollout_options sampling{};

    void check() const {
        fit.check();
        loss.check();
        sampling.check();
        detail::check_option(fit.margin.empty(), "spin_options", "fit.margin", "empty",
                             static_cast<double>(fit.margin.size()));
        detail::check_option(iterations > 0, "spin_options", "iterations", "at least 1", 0);
    }
};

/// Self-play fine-tuning: the policy learns to prefer each demonstration to what it says itself, iteration by iteration.
/// Row i of the demonstrations answers prompt i; a policy that is not asked anything takes none: `fit_spin(policy, {},
/// demonstrations, {})`. In iteration k every demonstration meets one sample of the policy as it is then, and log-ratios
/// are taken to that policy.
/// Observers see a round_report a step, as from fit_dpo, with the iteration's length_mean, truncated_share and
/// entropy_sampled, and with its `tokens` in the first step. Returns the last one.
/// Errors: option_error if there are no demonstrations; shape_error; numeric_error.
/// Source: Chen et al. 2024, arXiv 2401.01335, algorithm 1.
template <policy_backend P, class... Observers>
round_report fit_spin(P& policy, const typename P::prompts& prompts, const typename P::batch& demonstrations,
                      const spin_options& options, Observers&&... observers) {
    using T = typename P::scalar;
    static_assert((detail::check_observer<std::remove_reference_t<Observers>, typename P::batch>() && ... && true));
    options.check();
    const std::size_t n = rows(demonstrations);
    if (n == 0) fail(error_kind::option, "fit_spin", "demonstrations", "at least one row", "none");
    if (rows(prompts) > 0) detail::check_size(rows(prompts), n, "fit_spin", "prompts");
    const double start = clock_seconds();
    round_report report{.rounds = options.iterations * options.fit.steps(n)};
    detail::notify_begin(run_info{.rounds = report.rounds, .per_sample_streams = per_sample_streams<P>()},
                         observers...);

    std::vector<std::uint64_t> id(n);
    std::vector<std::uint32_t> same(n);
    count_up(detail::span_of(id));
    count_up(detail::span_of(same));
    std::vector<preference_pair> pairs;
    spin_pairs(n, {detail::span_of(same)}, pairs);
    ragged_buffer<T> reference;
    for (std::size_t k = 0; k < options.iterations; ++k) {
        const rng_key key{options.fit.seed, static_cast<std::uint32_t>(k)};
        const typename P::batch samples = policy.rollout(prompts, id, options.sampling, key);
        detail::check_size(rows(samples), n, "fit_spin", "rows of the policy's rollout");
        detail::describe_samples(report, samples);

        const typename P::batch both = concat(demonstrations, samples);
        detail::read_log_probs(policy, both, options.fit.micro_batch_rows, reference, "fit_spin");
        if (detail::run_epochs(policy, both, std::as_const(reference).view(), pairs, options.fit, options.loss, key,
                               start, "fit_spin", report, observers...))
            break;
    }
    detail::notify_end(report, observers...);
    return report;
}

}  // namespace rlgaf::inline RLGAF_ABI
