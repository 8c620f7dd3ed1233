#pragma once
#include "rlgaf/backend/parameter_average.hpp"
#include "rlgaf/backend/visit.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A model with the running average of its parameters beside it: for evaluation, or as rollout policy.
///   averaged smooth{policy};
///   trainer.run(options, smooth);                       // as observer: takes the parameters in once a round
///   smooth.with_average([&] { sample_and_measure(policy); });
/// Refers to the model, which must outlive it. Errors: those of parameter_average.
template <flat_parameters M>
class averaged {
public:
    explicit averaged(M& model, parameter_average average = {}) : model_(model), average_((average.check(), average)) {}

    /// Takes the parameters of the moment into the average.
    void update() { average_(state_, blocks()); }
    template <class Report>
    void on_round(const Report&) {
        update();
    }
    /// Calls f() while the model holds its average; the parameters come back even if f throws. Before the first update f
    /// sees the model as it is.
    template <class F>
    void with_average(F&& f) {
        struct swapped {
            averaged& a;
            explicit swapped(averaged& owner) : a(owner) { a.average_.swap_in(a.state_, a.blocks()); }
            ~swapped() { a.average_.swap_out(a.state_, a.blocks()); }
        };
        if (state_.weight == 0) return f();
        const swapped now(*this);
        f();
    }
    /// The average alone: the model is referred to.
    template <class Archive>
    void visit(Archive& a) {
        state_.visit(a);
    }

private:
    std::span<const parameter_block<typename M::scalar>> blocks() {
        auto own = model_.parameters();
        blocks_.assign(own.begin(), own.end());
        return blocks_;
    }
    M& model_;
    parameter_average average_;
    parameter_average::state state_;
    std::vector<parameter_block<typename M::scalar>> blocks_;
};

/// A scorer whose opinions are those of its averaged parameters, while its raw ones train: rewards that jump less from
/// round to round, 1 / (1 - decay) steps late.
/// Formula: evaluate with the average; forward, backward and step with the raw parameters; each applied step enters the
///          average.
/// Errors:  those of parameter_average and of the scorer.
/// Needs:   a scorer with flat_parameters, which outlives this; start values are worth as much as later ones at first.
/// Source:  averaging of the discriminator as of the generator in Yazici et al. 2019, arXiv 1806.04498.
template <flat_parameters S>
class averaged_scorer {
public:
    using scalar = typename S::scalar;
    using tape = typename S::tape;

    explicit averaged_scorer(S& scorer, parameter_average average = {.decay = 0.9})
        : scorer_(scorer), average_(scorer, average) {}

    template <class Batch>
    void evaluate(const Batch& b, std::span<scalar> score) {
        average_.with_average([&] { scorer_.evaluate(b, score); });
    }
    template <class Batch>
    tape forward(const Batch& b, std::span<scalar> score) {
        return scorer_.forward(b, score);
    }
    void backward(tape&& t, std::span<const scalar> d_score) { scorer_.backward(static_cast<tape&&>(t), d_score); }
    step_report step(const step_options& o) {
        const step_report report = scorer_.step(o);
        if (report.applied) average_.update();
        return report;
    }
    void discard() { scorer_.discard(); }
    std::size_t width() const { return score_width(scorer_); }
    auto parameters() { return scorer_.parameters(); }

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
