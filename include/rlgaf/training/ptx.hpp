#pragma once
#include "rlgaf/preference/sft.hpp"
#include "rlgaf/training/roles.hpp"

namespace rlgaf::inline RLGAF_ABI {

struct ptx_options {
    double coefficient = 1;  ///< >= 0; InstructGPT: 27.8
    std::size_t rows = 64;   ///< drawn for every optimiser step, > 0
};

/// PPO-ptx: likelihood of other text, mixed into every optimiser step of the policy.
/// Formula: L += -coefficient / N sum of log_prob_it over the unmasked tokens of the rows that were drawn; N: their number.
/// Units:   nats a token.
/// Needs:   `source.sample(n, key) -> batch`: pre-training text keeps what the policy could do before. Demonstrations turn it
///          into imitation: then it is no longer true that the policy never trains on them.
/// Errors:  option_error.
/// Source:  Ouyang et al. 2022, arXiv 2203.02155, equation 2.
template <class Source>
struct ptx_component {
    using role = role::policy_regularizer;
    static constexpr bool has_rows_of_its_own = true;
    static constexpr bool row_separable = true;
    Source* source;
    ptx_options options;

    void check() const {
        detail::check_option(options.coefficient >= 0, "ptx", "coefficient", "0 or positive", options.coefficient);
        detail::check_option(options.rows > 0, "ptx", "rows", "at least 1", 0);
    }

    /// Adds the gradient to the policy's; returns the loss.
    template <policy_backend P>
    double accumulate(P& policy, rng_key key, std::size_t micro_batch_rows) const {
        using T = typename P::scalar;
        check();
        const typename P::batch batch = source->sample(options.rows, key);
        const mask_view mask = mask_of(batch);
        ragged_buffer<T> log_prob, d_log_prob;
        log_prob.assign(lengths(batch));
        d_log_prob.assign(lengths(batch));
        double tokens = 0;
        for_each_token(log_prob.view(), mask, [&](auto, auto) { tokens += 1; });
        if (tokens == 0) return 0;
        const std::vector<double> weight(rows(batch), options.coefficient / tokens);
        std::vector<std::size_t> pick;
        double loss = 0;
        accumulate_gradient(
            policy, batch, {.log_prob = log_prob.view()}, {.d_log_prob = std::as_const(d_log_prob).view()},
            micro_batch_rows, true, pick, [&](std::size_t first, std::size_t count) {
                loss += sft{}(std::as_const(log_prob).view().slice(first, count),
                              detail::slice_if_given(mask, first, count), detail::span_of(weight).subspan(first, count),
                              d_log_prob.view().slice(first, count))
                            .loss;
            });
        return loss;
    }
};

/// Component for a trainer: `ptx(text, {.coefficient = 0.1})`. The source is referred to, never copied.
template <class Source>
auto ptx(Source& source, ptx_options options = {}) {
    return ptx_component<Source>{&source, options};
}

}  // namespace rlgaf::inline RLGAF_ABI
