#pragma once
#include "rlgaf/backend/abilities.hpp"

/// What checkpoints see of models: `visit(archive)` where there is one, else parameters().
namespace rlgaf::inline RLGAF_ABI {

namespace detail {
/// An archive that can stand for any.
struct any_archive {
    template <class V>
    void operator()(chars, V&&) {}
};
}  // namespace detail

/// Archives its state with `template <class A> void visit(A& archive)`.
template <class M>
concept visited = requires(M& m, detail::any_archive& a) {
    m.visit(a);
};

/// The values of all parameters, block by block. Errors: those of the archive, for blocks of other sizes.
template <class Archive, class M>
void visit_parameters(Archive& a, M& model) {
    for (const auto& block : model.parameters()) a(block.name, block.values);
}

/// All that the model says of its state: its visit, or its parameters alone, without an optimiser's memory.
template <class Archive, class M>
void visit_model(Archive& a, M& model) {
    static_assert(
        visited<M> || flat_parameters<M>,
        "rlgaf: what a checkpoint holds needs `template <class Archive> void visit(Archive& archive)`, which calls "
        "archive(name, member) for every member that matters, or parameters()");
    if constexpr (visited<M>)
        model.visit(a);
    else if constexpr (flat_parameters<M>)
        visit_parameters(a, model);
}

}  // namespace rlgaf::inline RLGAF_ABI
