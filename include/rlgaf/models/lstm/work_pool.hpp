#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// Memory of calls: moves with the model, but a copy starts with fresh one.
template <class Memory>
struct transient : Memory {
    transient() = default;
    transient(const transient&) : Memory() {}
    transient& operator=(const transient&) { return *this; }
    transient(transient&&) noexcept = default;
    transient& operator=(transient&&) noexcept = default;
    ~transient() = default;
};

/// Memory of calls and tapes that have ended, for those to come.
template <class W>
class work_pool {
public:
    std::unique_ptr<W> take() {
        if (free_.empty()) return std::make_unique<W>();
        auto w = std::move(free_.back());
        free_.pop_back();
        w->clear();
        return w;
    }
    void give_back(std::unique_ptr<W> w) { free_.push_back(std::move(w)); }

private:
    std::vector<std::unique_ptr<W>> free_;
};

/// What a forward keeps for its backward; only its owner sees inside.
template <class W, class Owner>
class kept_work {
    friend Owner;
    std::unique_ptr<W> work_;

    /// Errors: shape_error.
    void check_unused(const char* function) const {
        if (!work_) [[unlikely]]
            fail(error_kind::shape, function, "tape", "a tape of forward", "one that was used");
    }
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
