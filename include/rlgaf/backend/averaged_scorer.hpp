#pragma once
#include "rlgaf/backend/abilities.hpp"
#include "rlgaf/backend/averaged.hpp"
#include "rlgaf/backend/scorer.hpp"
#include "rlgaf/backend/visit.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A scorer whose opinions are those of its averaged parameters, while its raw ones train: rewards that jump less from
/// round to round, 1 / (1 - decay) steps late. It can do what its scorer can: judge tokens, move inputs, say what
/// tokens have to do with a score. A critic of pairs is pair_critic of an averaged_scorer.
/// Formula: evaluate and attribute with the average, and passes with dropout too where they make rewards; forward,
///          backward, penalties and step with the raw parameters; each applied step enters the average.
/// Errors:  those of parameter_average and of the scorer.
/// Needs:   a scorer with flat_parameters, which outlives this; start values are worth as much as later ones at first.
///          Its evaluate and forward differ on purpose: the conformance kit is for its scorer.
/// Source:  averaging of the discriminator as of the generator in Yazici et al. 2019, arXiv 1806.04498.
template <flat_parameters S>
class averaged_scorer : public detail::token_types_of<S>, public detail::input_types_of<S> {
public:
    using scalar = typename S::scalar;
    using tape = typename S::tape;
    using numbers = std::span<const scalar>;

    explicit averaged_scorer(S& scorer, parameter_average average = {.decay = 0.9})
        : scorer_(scorer), average_(scorer, average) {}

    template <class B>
    void evaluate(const B& b, std::span<scalar> score) {
        with_average([&] { scorer_.evaluate(b, score); });
    }
    template <class B>
    tape forward(const B& b, std::span<scalar> score) {
        return scorer_.forward(b, score);
    }
    void backward(tape&& t, numbers d_score) { scorer_.backward(static_cast<tape&&>(t), d_score); }

    template <class B>
    void evaluate_tokens(const B& b, ragged_view<scalar> score) requires scores_tokens<S, B> {
        with_average([&] { scorer_.evaluate_tokens(b, score); });
    }
    template <class B>
    auto forward_tokens(const B& b, ragged_view<scalar> score) requires scores_tokens<S, B> {
        return scorer_.forward_tokens(b, score);
    }
    template <class Tape>
    void backward_tokens(Tape&& t, ragged_view<const scalar> d_score) {
        scorer_.backward_tokens(static_cast<Tape&&>(t), d_score);
    }

    template <class B, class... First>
    auto noise(const B& b, double sigma, rng_key key, First... first) requires perturbs_inputs<S, B> && requires(S& s) {
        s.noise(b, sigma, key, first...);
    }
    { return scorer_.noise(b, sigma, key, first...); }
    template <class B>
    auto towards(const B& b, const B& other, numbers d) requires perturbs_inputs<S, B> {
        return scorer_.towards(b, other, d);
    }
    template <class B, class P>
    auto input_gradient(const B& b, const P& p, numbers d) requires perturbs_inputs<S, B> {
        return scorer_.input_gradient(b, p, d);
    }
    template <class B, class P>
    tape forward(const B& b, const P& p, std::span<scalar> score) requires perturbs_inputs<S, B> {
        return scorer_.forward(b, p, score);
    }
    template <class P>
    void row_norms(const P& p, std::span<scalar> norm) {
        scorer_.row_norms(p, norm);
    }
    template <class P>
    void scale(P& p, numbers by) {
        scorer_.scale(p, by);
    }
    template <class P>
    void add(P& to, const P& p) {
        scorer_.add(to, p);
    }
    double difference_step() requires requires(S& s) { s.difference_step(); }
    { return scorer_.difference_step(); }

    template <class B>
    void attribute(const B& b, ragged_view<scalar> weight) requires attributes_tokens<S, B> {
        with_average([&] { scorer_.attribute(b, weight); });
    }

    step_report step(const step_options& o) {
        const step_report report = scorer_.step(o);
        if (report.applied) average_.update();
        return report;
    }
    void discard() { scorer_.discard(); }
    std::size_t width() const { return score_width(scorer_); }
    auto parameters() { return scorer_.parameters(); }
    /// Calls f() while the scorer holds its average.
    template <class F>
    void with_average(F&& f) {
        average_.with_average(static_cast<F&&>(f));
    }

    /// Its scorer too.
    template <class Archive>
    void visit(Archive& a) {
        visit_model(a, scorer_);
        average_.visit(a);
    }

private:
    S& scorer_;
    averaged<S> average_;
};

}  // namespace rlgaf::inline RLGAF_ABI
