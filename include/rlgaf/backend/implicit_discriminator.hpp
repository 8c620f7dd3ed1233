#pragma once
#include "rlgaf/backend/driver.hpp"
#include "rlgaf/core/reduce.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A scorer that is a policy: how much more likely it finds a row than its reference does. With bradley_terry it is
/// SPIN's discriminator.
/// Formula: score = scale * sum over unmasked tokens of (log_prob - reference_log_prob).
/// Shapes:  one number a row; a row without unmasked tokens scores 0.
/// Adds:    backward adds scale * d_score to the policy's log-prob of every unmasked token; the reference has no gradient.
/// Units:   scale times nats. Sums grow with length: compare rows that answer the same prompt.
/// Errors:  option_error for a scale that is not positive; those of policy and reference.
/// Needs:   policy and reference of one batch type, both outliving this; `step` moves the policy.
/// Source:  Chen et al. 2024, arXiv 2401.01335, equation 4.7.
template <policy_backend P, class Reference = P>
class implicit_discriminator {
public:
    using scalar = typename P::scalar;
    using batch = typename P::batch;

    class tape {
        friend class implicit_discriminator;
        typename P::tape inner_{};
        batch rows_{};
    };

    implicit_discriminator(P& policy, Reference& reference, double scale = 0.1)
        : policy_(policy), reference_(reference), scale_(scale) {
        detail::check_option(scale > 0, "implicit_discriminator", "scale", "positive", scale);
    }

    void evaluate(const batch& b, std::span<scalar> score) {
        begin(b, score);
        policy_.evaluate(b, {.log_prob = log_prob_.view()});
        fill(b, score);
    }
    tape forward(const batch& b, std::span<scalar> score) {
        begin(b, score);
        tape t;
        t.inner_ = policy_.forward(b, {.log_prob = log_prob_.view()});
        t.rows_ = b;
        fill(b, score);
        return t;
    }
    void backward(tape&& t, std::span<const scalar> d_score) {
        detail::check_size(d_score.size(), rows(t.rows_), "implicit_discriminator::backward", "d_score");
        log_prob_.assign(lengths(t.rows_));
        const ragged_view<scalar> d = log_prob_.view();
        for_each_token(d, mask_of(t.rows_), [&](std::size_t i, std::size_t k) {
            d.row(i)[k] = static_cast<scalar>(scale_ * static_cast<double>(d_score[i]));
        });
        policy_.backward(static_cast<typename P::tape&&>(t.inner_), {.d_log_prob = std::as_const(log_prob_).view()});
    }
    step_report step(const step_options& o) { return policy_.step(o); }
    void discard() { policy_.discard(); }

private:
    void begin(const batch& b, std::span<scalar> score) {
        detail::check_size(score.size(), rows(b), "implicit_discriminator", "score");
        log_prob_.assign(lengths(b));
        reference_log_prob_.assign(lengths(b));
        reference_.evaluate(b, {.log_prob = reference_log_prob_.view()});
    }
    void fill(const batch& b, std::span<scalar> score) {
        const auto own = log_prob_.view(), other = reference_log_prob_.view();
        const mask_view mask = mask_of(b);
        for (std::size_t i = 0; i < score.size(); ++i) {
            const included_tokens included(mask, i);
            double sum = 0;
            for (std::size_t k = 0; k < own.length(i); ++k)
                if (included[k]) sum += static_cast<double>(own.row(i)[k]) - static_cast<double>(other.row(i)[k]);
            score[i] = static_cast<scalar>(scale_ * sum);
        }
    }

    P& policy_;
    Reference& reference_;
    double scale_;
    ragged_buffer<scalar> log_prob_, reference_log_prob_;
};

}  // namespace rlgaf::inline RLGAF_ABI
