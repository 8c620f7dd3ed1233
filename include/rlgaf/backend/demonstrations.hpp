#pragma once
#include <vector>

#include "rlgaf/core/random.hpp"
#include "rlgaf/core/span_of.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Demonstrations without prompts, drawn in shuffled passes: within a pass no row comes twice.
/// `sample` starts a new pass when the old one runs out; rows depend on the key's seed and on how many were drawn
/// before.
template <class Batch>
class demonstrations {
public:
    explicit demonstrations(Batch all) : all_(static_cast<Batch&&>(all)), order_(rows(all_)) {
        if (order_.empty()) fail(error_kind::option, "demonstrations", "all", "at least one demonstration", "none");
        for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
        next_ = order_.size();
    }
    Batch sample(std::size_t n, rng_key key) {
        pick_.clear();
        while (pick_.size() < n) {
            if (next_ == order_.size()) {
                shuffle(detail::span_of(order_), {key.seed, 0}, ++pass_, stream::experts);
                next_ = 0;
            }
            pick_.push_back(order_[next_++]);
        }
        return select(all_, pick_);
    }
    const Batch& all() const { return all_; }

    /// Where it is in its passes, without the demonstrations. Errors: option_error for another number of them.
    template <class Archive>
    void visit(Archive& a) {
        a("order", order_), a("next", next_), a("pass", pass_);
        if (order_.size() != rows(all_)) [[unlikely]]
            fail(error_kind::option, "demonstrations", "rows", short_text(order_.size(), ", as when it was saved"),
                 short_text(rows(all_)));
    }

private:
    Batch all_;
    std::vector<std::size_t> order_, pick_;
    std::size_t next_ = 0;
    std::uint64_t pass_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI
