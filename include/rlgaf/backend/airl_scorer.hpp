#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/policy.hpp"
#include "rlgaf/backend/visit.hpp"
#include "rlgaf/discriminator/airl.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// AIRL's discriminator: a scorer f whose scores are compared with the policy's own log-probs. With on_tokens{bce{}} and
/// token_score_reward{.map = score_map::logit} it is AIRL on texts.
/// Formula: tokens: h_it = f_it - log pi(y_it | what is before it); rows: h_i = f_i - sum of log pi over unmasked tokens.
/// Shapes:  those of f; rows of width 1.
/// Adds:    backward hands d_score to f as it is, since dh / df = 1; the policy has no gradient from here.
/// Units:   nats. At the optimum h = log(expert / policy) and f = log expert.
/// Errors:  shape_error; those of scorer and policy.
/// Needs:   policy and scorer of one batch and scalar type, both outliving this; `step` moves the scorer. log pi is the
///          policy's of the moment, without dropout. Rows of many tokens differ by many nats: judge texts by token.
///          No penalties, input noise or attribution pass through it.
/// Source:  Fu, Luo, Levine 2017, arXiv 1710.11248.
template <class S, policy_backend P>
class airl_scorer : public detail::token_types_of<S> {
public:
    using scalar = typename P::scalar;
    using batch = typename P::batch;
    using tape = typename S::tape;

    airl_scorer(S& scorer, P& policy) : scorer_(scorer), policy_(policy) {}

    void evaluate(const batch& b, std::span<scalar> score) requires scorer_backend<S, batch> {
        check_width();
        scorer_.evaluate(b, score);
        subtract(b, score);
    }
    tape forward(const batch& b, std::span<scalar> score) requires scorer_backend<S, batch> {
        check_width();
        tape t = scorer_.forward(b, score);
        subtract(b, score);
        return t;
    }
    void backward(tape&& t, std::span<const scalar> d_score) { scorer_.backward(static_cast<tape&&>(t), d_score); }

    void evaluate_tokens(const batch& b, ragged_view<scalar> score) requires scores_tokens<S, batch> {
        scorer_.evaluate_tokens(b, score);
        subtract(b, score);
    }
    auto forward_tokens(const batch& b, ragged_view<scalar> score) requires scores_tokens<S, batch> {
        auto t = scorer_.forward_tokens(b, score);
        subtract(b, score);
        return t;
    }
    template <class Tape>
    void backward_tokens(Tape&& t, ragged_view<const scalar> d_score) requires scores_tokens<S, batch> {
        scorer_.backward_tokens(static_cast<Tape&&>(t), d_score);
    }

    step_report step(const step_options& o) { return scorer_.step(o); }
    void discard() { scorer_.discard(); }
    auto parameters() requires flat_parameters<S> { return scorer_.parameters(); }
    /// Calls f() while the scorer holds its average.
    template <class F>
    void with_average(F&& f) requires requires(S& s) {
        s.with_average(f);
    }
    { scorer_.with_average(static_cast<F&&>(f)); }
    /// The scorer; the policy is somebody else's.
    template <class Archive>
    void visit(Archive& a) {
        visit_model(a, scorer_);
    }

private:
    void check_width() const {
        detail::check_size(score_width(scorer_), 1, "airl_scorer", "numbers a row of the scorer");
    }
    ragged_view<const scalar> log_probs_of(const batch& b) {
        log_prob_.assign(lengths(b));
        policy_.evaluate(b, {.log_prob = log_prob_.view()});
        return std::as_const(log_prob_).view();
    }
    void subtract(const batch& b, std::span<scalar> score) {
        const ragged_view<const scalar> log_prob = log_probs_of(b);
        row_log_prob_.resize(score.size());
        for (std::size_t i = 0; i < score.size(); ++i)
            row_log_prob_[i] = static_cast<scalar>(masked_row_sum(log_prob, mask_of(b), i));
        airl_logits<scalar>(score, row_log_prob_, score);
    }
    void subtract(const batch& b, const ragged_view<scalar>& score) {
        airl_logits<scalar>(score, log_probs_of(b), mask_of(b), score);
    }

    S& scorer_;
    P& policy_;
    ragged_buffer<scalar> log_prob_;
    std::vector<scalar> row_log_prob_;
};

}  // namespace rlgaf::inline RLGAF_ABI
