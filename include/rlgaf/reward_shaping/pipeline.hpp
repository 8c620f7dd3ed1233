#pragma once
#include <tuple>

#include "rlgaf/reward_shaping/terms.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Reward stages, one after the other: `pipeline{logit_reward{.clip = 10}, kl_penalty{}, missing_eos{}}`.
/// A pipeline is itself a stage.
template <class... Stages>
class pipeline {
public:
    using role = role::reward;
    static constexpr bool needs_reference = (rlgaf::needs_reference<Stages>() || ...);
    static constexpr bool needs_expert_score = (rlgaf::needs_expert_score<Stages>() || ...);
    static constexpr bool needs_fixed_score = (rlgaf::needs_fixed_score<Stages>() || ...);
    static constexpr bool needs_token_weight = (rlgaf::needs_token_weight<Stages>() || ...);
    static_assert((component_of<Stages, rlgaf::role::reward> && ...),
                  "rlgaf: every argument of pipeline must be a reward stage; wrap a callable of your own in "
                  "as_reward(\"name\", callable)");

    pipeline() requires(sizeof...(Stages) > 0) = default;
    explicit pipeline(Stages... stages) : stages_(static_cast<Stages&&>(stages)...) {}

    struct state {
        std::tuple<state_of<Stages>...> stage;
        template <class Archive>
        void visit(Archive& a) {
            std::apply([&](auto&... s) { (s.visit(a), ...); }, stage);
        }
    };

    void check() const {
        std::apply([](const auto&... s) { (s.check(), ...); }, stages_);
    }

    template <class T, class Batch>
    void operator()(state& s, const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out,
                    workspace& work) const {
        run(s, terms, batch, out, work, std::index_sequence_for<Stages...>{});
    }

private:
    template <class T, class Batch, std::size_t... I>
    void run(state& s, const shaping_terms<T>& terms, const Batch& batch, rewards<T>& out, workspace& work,
             std::index_sequence<I...>) const {
        (call(std::get<I>(stages_), std::get<I>(s.stage), terms, batch, out, work), ...);
    }
    std::tuple<Stages...> stages_;
};

}  // namespace rlgaf::inline RLGAF_ABI
