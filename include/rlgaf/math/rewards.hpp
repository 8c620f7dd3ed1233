#pragma once
#include <vector>

#include "rlgaf/core/finite.hpp"
#include "rlgaf/core/reduce.hpp"
#include "rlgaf/math/groups.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// One reward of whole rows. NaN = "does not apply to this row".
struct outcome_reward {
    chars name;
    std::span<const double> value;  ///< [B]
};

/// What a step's rows earned. The row's reward is the sum of its outcomes and of its unmasked token rewards. A row that
/// none of the outcomes applies to has no reward: its token rewards, if any, do not count either.
template <class T>
struct reward_view {
    std::span<const outcome_reward> outcome;  ///< K rewards of [B]
    ragged_view<const T> token{};             ///< optional: paid at single tokens
    std::span<const double> bootstrap{};      ///< optional [B]: value after a truncated row, 0 for the others
};

namespace detail {
/// Sum of the outcomes that apply to row i; NaN where none does.
template <class T>
double outcome_of(const reward_view<T>& reward, std::size_t i) {
    double total = 0;
    bool applies = false;
    for (const outcome_reward& r : reward.outcome)
        if (!is_nan(&r.value[i])) {
            total += r.value[i];
            applies = true;
        }
    return applies ? total : std::numeric_limits<double>::quiet_NaN();
}
}  // namespace detail

/// Whether row i has a reward.
template <class T>
bool has_reward(const reward_view<T>& reward, std::size_t i) {
    const double outcome = detail::outcome_of(reward, i);
    return reward.outcome.empty() || !is_nan(&outcome);
}

/// Owns the rewards of one step; memory is kept from step to step.
template <class T>
class rewards {
public:
    /// Empties it and takes on the rows of a new step.
    void begin(std::span<const std::uint32_t> lengths) {
        lengths_.resize(lengths.size());
        for (std::size_t b = 0; b < lengths.size(); ++b) lengths_[b] = lengths[b];
        used_ = 0;
        has_token_ = has_bootstrap_ = false;
    }
    std::size_t rows() const { return lengths_.size(); }

    /// A further outcome, [B], all 0. The name must outlive this object. Valid until the next `begin`.
    std::span<double> add_outcome(chars name) {
        if (used_ == slot_.size()) slot_.emplace_back();
        slot& s = slot_[used_++];
        s.name = name;
        s.value.assign(rows(), 0.0);
        return detail::span_of(s.value);
    }
    std::size_t outcomes() const { return used_; }
    std::span<double> outcome(std::size_t k) { return detail::span_of(slot_[k].value); }
    chars name(std::size_t k) const { return slot_[k].name; }

    /// Token rewards, all 0 when first asked for.
    ragged_view<T> token() {
        if (!has_token_) token_.assign(detail::span_of(lengths_));
        has_token_ = true;
        return token_.view();
    }

    /// Values after truncated rows, [B], all 0 when first asked for. Valid until the next `begin`.
    std::span<double> bootstrap() {
        if (!has_bootstrap_) bootstrap_.assign(rows(), 0.0);
        has_bootstrap_ = true;
        return detail::span_of(bootstrap_);
    }

    reward_view<T> view() {
        view_.clear();
        for (std::size_t k = 0; k < used_; ++k) view_.push_back({slot_[k].name, detail::span_of(slot_[k].value)});
        return {detail::span_of(view_), has_token_ ? ragged_view<const T>(token_.view()) : ragged_view<const T>{},
                has_bootstrap_ ? std::span<const double>(detail::span_of(bootstrap_)) : std::span<const double>{}};
    }

private:
    struct slot {
        chars name;
        std::vector<double> value;
    };
    std::vector<std::uint32_t> lengths_;
    std::vector<slot> slot_;
    std::vector<outcome_reward> view_;
    std::size_t used_ = 0;
    ragged_buffer<T> token_;
    std::vector<double> bootstrap_;
    bool has_token_ = false, has_bootstrap_ = false;
};

}  // namespace rlgaf::inline RLGAF_ABI
