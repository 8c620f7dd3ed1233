#pragma once
#include <vector>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/random.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Past samples that the discriminator goes on seeing, so that it does not forget old faults. The policy never trains
/// on them. Batch: any type with `rows`, `select` and `concat`. First in, first out; with an age limit, rows also go when
/// they were added too long ago.
/// Source: Shrivastava et al. 2017, arXiv 1612.07828, section 2.3.
template <class Batch>
class replay_buffer {
public:
    /// At most `capacity` rows; 0 keeps nothing. `max_age`: rows of so many calls of `add` at most; 0: no limit.
    explicit replay_buffer(std::size_t capacity, std::size_t max_age = 0) : capacity_(capacity), max_age_(max_age) {}

    std::size_t size() const { return size_; }
    std::size_t capacity() const { return capacity_; }
    std::size_t max_age() const { return max_age_; }

    /// Rows of `fresh` are kept; the oldest rows beyond the capacity go.
    void add(const Batch& fresh) {
        if (capacity_ == 0 || rows(fresh) == 0) return;
        kept_.push_back(fresh);
        size_ += rows(fresh);
        if (max_age_ > 0 && kept_.size() > max_age_) {
            size_ -= rows(kept_.front());
            kept_.erase(kept_.begin());
        }
        while (size_ > capacity_) {
            const std::size_t oldest = rows(kept_.front()), excess = size_ - capacity_;
            if (excess >= oldest) {
                kept_.erase(kept_.begin());
                size_ -= oldest;
            } else {
                pick_.resize(oldest - excess);
                for (std::size_t i = 0; i < pick_.size(); ++i) pick_[i] = excess + i;
                kept_.front() = select(kept_.front(), pick_);
                size_ = capacity_;
            }
        }
    }

    /// n rows drawn evenly from all that is kept, with repeats. Errors: option_error if nothing is kept.
    Batch sample(std::size_t n, rng_key key) {
        if (size_ == 0) fail(error_kind::option, "replay_buffer::sample", "n", "a buffer with rows", "an empty one");
        const random_stream random(key, stream::replay);
        row_.resize(n);
        for (std::size_t i = 0; i < n; ++i) row_[i] = random.below(size_, static_cast<std::uint32_t>(i));
        Batch out = select(kept_.front(), std::span<const std::size_t>{});
        std::size_t first = 0;
        bool any = false;
        for (const Batch& part : kept_) {
            pick_.clear();
            for (const std::size_t r : row_)
                if (r >= first && r < first + rows(part)) pick_.push_back(r - first);
            first += rows(part);
            if (pick_.empty()) continue;
            out = any ? concat(out, select(part, pick_)) : select(part, pick_);
            any = true;
        }
        return out;
    }

    /// Errors: option_error where there are rows whose batch has no visit(archive): they would be lost.
    template <class Archive>
    void visit([[maybe_unused]] Archive& a) {
        if constexpr (requires(Batch& b) { b.visit(a); }) {
            std::uint64_t parts = kept_.size();
            a("capacity", capacity_), a("max_age", max_age_), a("size", size_), a("parts", parts);
            kept_.resize(parts);
            for (Batch& b : kept_) b.visit(a);
        } else if (size_ > 0) [[unlikely]] {
            fail(error_kind::option, "replay_buffer::visit", "batch",
                 "`template <class Archive> void visit(Archive& archive)` (token_batch has it), or a replay_capacity of 0",
                 "a batch without it");
        }
    }

private:
    std::size_t capacity_, max_age_;
    std::vector<Batch> kept_;
    std::size_t size_ = 0;
    std::vector<std::size_t> pick_, row_;
};

}  // namespace rlgaf::inline RLGAF_ABI
