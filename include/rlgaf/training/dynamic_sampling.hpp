#pragma once
#include "rlgaf/policy_gradient/informative_groups.hpp"
#include "rlgaf/training/roles.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct dynamic_sampling_report {
    std::size_t attempts = 0;  ///< rounds that were sampled
    std::size_t groups = 0;    ///< of all attempts
    std::size_t kept = 0;      ///< that teach something, before the last attempt's surplus is dropped
};

/// Dynamic sampling: rounds are sampled, at most `attempts`, until there are enough groups that teach something; the
/// others are dropped. Fewer are a smaller round. If no group teaches anything, the last attempt stays as it is.
/// `sample(own_key) -> prompts` rolls out a whole round into `t` and scores it. `stage` shapes it with a copy of its memory,
/// which is thus left alone. Afterwards t is a round that was rolled out and is not yet scored; returned are its prompts.
/// Shapes: t has a multiple of options.group_size rows, at most options.rows.
/// Errors: those of sample and shape; option_error for prompts that cannot be joined by `concat(prompts, prompts)`.
/// Source: Yu et al. 2025 (DAPO), arXiv 2503.14476, section 3.2.
template <policy_backend P, class Choice, class Stage, class Sample>
typename P::prompts sample_informative(P& policy, const Choice& choice, std::size_t attempts,
                                       const roll_out_options& options, rng_key key, const part<Stage>& stage,
                                       trajectories<P>& t, dynamic_sampling_report& report, Sample&& sample) {
    using prompts = typename P::prompts;
    detail::check_option(attempts > 0, "sample_informative", "attempts", "at least 1", 0);
    const std::size_t per_group = options.group_size == 0 ? options.rows : options.group_size;
    const std::size_t per_prompt = options.group_size == 0 ? 1 : options.group_size;
    std::vector<std::size_t> pick, asked_pick;
    typename P::batch kept;
    prompts kept_prompts{}, asked{};
    std::size_t rows_kept = 0;
    report = {};
    while (rows_kept < options.rows && report.attempts < attempts) {
        asked = sample(rng_key{key.seed ^ (std::uint64_t{report.attempts} << 48), key.step});
        part<Stage> same = stage;
        shape(same, t);
        choice(t.reward.view(), t.group(), mask_of(t.batch), t.work, pick);
        report.attempts += 1, report.groups += t.group_count, report.kept += pick.size() / per_group;
        if (pick.size() > options.rows - rows_kept) pick.resize(options.rows - rows_kept);
        if (pick.empty()) continue;
        typename P::batch more = select(t.batch, pick);
        kept = rows_kept == 0 ? static_cast<typename P::batch&&>(more) : concat(kept, more);
        if (rows(asked) > 0) {
            asked_pick.clear();
            for (std::size_t i = 0; i < pick.size(); i += per_prompt) asked_pick.push_back(pick[i] / per_prompt);
            prompts more_prompts = select(asked, asked_pick);
            if (rows_kept == 0)
                kept_prompts = static_cast<prompts&&>(more_prompts);
            else if constexpr (requires { concat(kept_prompts, more_prompts); })
                kept_prompts = concat(kept_prompts, more_prompts);
            else
                fail(error_kind::option, "sample_informative", "prompts",
                     "a type with `concat(prompts, prompts)` where dropped groups are sampled anew", "none");
        }
        rows_kept += pick.size();
    }
    if (rows_kept == 0) return asked;
    t.batch = static_cast<typename P::batch&&>(kept);
    detail::number_groups(rows_kept, options.group_size, t);
    detail::begin_round(policy, options, t);
    return kept_prompts;
}

}  // namespace rlgaf::inline RLGAF_ABI
