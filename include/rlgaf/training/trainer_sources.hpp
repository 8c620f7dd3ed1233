#pragma once
#include "rlgaf/backend/parameter_average.hpp"
#include "rlgaf/backend/visit.hpp"
#include "rlgaf/training/trainer_parts.hpp"

/// Where a trainer takes its prompts and its reference policy from.
namespace rlgaf::inline RLGAF_ABI::detail {

/// `n` prompts of the source among the parts, or none without one.
template <policy_backend P, class... C>
typename P::prompts draw_prompts([[maybe_unused]] std::tuple<part<C>...>& parts, [[maybe_unused]] std::size_t n,
                                 [[maybe_unused]] rng_key key, [[maybe_unused]] const char* trainer) {
    if constexpr (has_role<role::prompt_source, C...>) {
        no_component none;
        auto prompts = find_part<role::prompt_source>(parts, none).component.source->sample(n, key);
        check_size(rows(prompts), n, trainer, "prompts of the source");
        return prompts;
    } else {
        return typename P::prompts{};
    }
}

/// The policy of frozen_reference among the parts; without one a clone of the policy as it was when first asked for.
template <policy_backend P, bool Needed, class... C>
class reference_policy {
public:
    auto& get([[maybe_unused]] std::tuple<part<C>...>& parts, [[maybe_unused]] const P& policy) {
        if constexpr (has_role<role::reference, C...>) {
            no_component none;
            return *find_part<role::reference>(parts, none).component.policy;
        } else {
            if (clone_.empty()) clone_.push_back(policy.clone());
            return clone_.front();
        }
    }

    /// Errors: option_error where there is no clone to move, or no way to reach parameters.
    static void check_follows(const char* trainer) {
        if constexpr (!follows)
            fail(error_kind::option, trainer, "sync_reference",
                 "false, or a component that measures KL to the trainer's own clone of a policy with parameters()",
                 "true");
    }
    /// Lets the clone follow the policy, which has taken so many steps.
    void follow([[maybe_unused]] P& policy, [[maybe_unused]] const reference_sync& sync,
                [[maybe_unused]] std::size_t steps) {
        if constexpr (follows) {
            using block = parameter_block<typename P::scalar>;
            const auto from = policy.parameters(), to = clone_.front().parameters();
            for (; steps > 0; --steps) sync(sync_, std::span<const block>(from), std::span<const block>(to));
        }
    }

    /// The clone, if there is one by now.
    template <class Archive>
    void visit([[maybe_unused]] Archive& a, [[maybe_unused]] const P& policy) {
        if constexpr (Needed && !has_role<role::reference, C...>) {
            std::uint64_t clones = clone_.size();
            a("clones", clones);
            if (clones == 0) clone_.clear();
            if (clones > 0 && clone_.empty()) clone_.push_back(policy.clone());
            for (P& clone : clone_) visit_model(a, clone);
            sync_.visit(a);
        }
    }

private:
    static constexpr bool follows = Needed && !has_role<role::reference, C...> && flat_parameters<P>;
    std::vector<clone_type<P, Needed && !has_role<role::reference, C...>>> clone_;  // one at most
    reference_sync::state sync_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
