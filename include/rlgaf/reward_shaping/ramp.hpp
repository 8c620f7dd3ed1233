#pragma once
#include "rlgaf/math/schedule.hpp"
#include "rlgaf/reward_shaping/stage.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// A stage whose rewards come in, or go out, over training: `ramp{logit_reward{}, schedule{.from = 1, .warmup = 100}}`.
/// Formula: what the stage adds, outcomes and token rewards, times schedule(step), step counted from 0 by its own
///          calls.
/// Units:   those of the stage. Survival bias: that of the stage.
/// Degenerate: NaN ("does not apply") stays, also at a factor of 0.
/// Errors:  those of the stage; option_error of the schedule.
/// Needs:   a stage that adds. What it changes in earlier outcomes, as normalisers do, is not scaled.
/// Source:  the adversarial weight that rises over a warm-up: Ganin and Lempitsky 2014, arXiv 1409.7495.
template <class Stage>
class ramp {
    static_assert(component_of<Stage, rlgaf::role::reward>, "rlgaf: ramp's first argument must be a reward stage");

public:
    using role = role::reward;
    static constexpr bool needs_reference = rlgaf::needs_reference<Stage>();
    static constexpr bool needs_expert_score = rlgaf::needs_expert_score<Stage>();
    static constexpr bool needs_fixed_score = rlgaf::needs_fixed_score<Stage>();
    static constexpr bool needs_token_weight = rlgaf::needs_token_weight<Stage>();

    explicit ramp(Stage stage, schedule weight) : stage_(static_cast<Stage&&>(stage)), weight_(weight) {}

    struct state {
        std::uint64_t step = 0;
        state_of<Stage> stage;
        std::vector<double> before;  ///< scratch of one call: the token rewards as they were
        template <class Archive>
        void visit(Archive& a) {
            a("step", step);
            stage.visit(a);
        }
    };
    void check() const { stage_.check(), weight_.check(); }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out,
                    workspace& work) const {
        const double weight = weight_(s.step++);
        const std::size_t outcomes = out.outcomes();
        s.before.clear();
        const auto each_token = [&out](auto&& f) {
            if (out.view().token.empty()) return;
            const ragged_view<T> token = out.token();
            for (std::size_t b = 0; b < token.rows(); ++b)
                for (T& v : token.row(b)) f(v);
        };
        each_token([&](T& v) { s.before.push_back(static_cast<double>(v)); });
        call(stage_, s.stage, terms, batch, out, work);
        for (std::size_t k = outcomes; k < out.outcomes(); ++k)
            for (double& r : out.outcome(k)) r *= weight;
        std::size_t i = 0;
        each_token([&](T& v) {
            const double old = i < s.before.size() ? s.before[i++] : 0;
            v = static_cast<T>(old + weight * (static_cast<double>(v) - old));
        });
    }

private:
    Stage stage_;
    schedule weight_;
};

}  // namespace rlgaf::inline RLGAF_ABI
