#pragma once
#include "rlgaf/backend/parameter_average.hpp"

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

}  // namespace rlgaf::inline RLGAF_ABI
