#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

/// A row as the layer reads it: `depth` inputs from `first`, the start token first. Something is wanted at the states
/// `out_first` .. `out_first + out_count - 1`. Rows with different keys share no state.
struct sequence {
    std::size_t first = 0;
    std::uint32_t row = 0, depth = 0, out_first = 0, out_count = 0;
    double key = 0;
};

/// That something: token `t` of row `row`, whose action is the input after this state (if there is one).
struct wanted {
    std::uint32_t row = 0, t = 0;
    std::int32_t action = 0;
};

/// The tree of prefixes of some sequences. Nodes with children come first, level by level, then the others likewise;
/// within a level the children of one node are in order.
class prefix_tree {
public:
    std::vector<std::uint32_t> parent, slot;       ///< [nodes]: parent node, index into `used`
    std::vector<std::uint32_t> inner_at, leaf_at;  ///< [levels + 1]: where nodes with and without children begin
    std::vector<std::int32_t> used;                ///< input tokens that occur
    std::vector<std::uint32_t> out_node, out_at;  ///< nodes at which something is wanted; [levels + 1] where they begin
    std::vector<std::uint32_t> wanted_at;         ///< [out_node + 1]
    std::vector<wanted> wants;

    std::size_t nodes() const { return parent.size(); }
    std::size_t levels() const { return inner_at.size() - 1; }
    std::uint32_t inner() const { return inner_at.back(); }
    std::uint32_t width(std::size_t level) const {
        return inner_at[level + 1] - inner_at[level] + leaf_at[level + 1] - leaf_at[level];
    }
    std::uint32_t widest() const {
        std::uint32_t n = 0;
        for (std::size_t d = 0; d < levels(); ++d) n = std::max(n, width(d));
        return n;
    }

    /// Of a node in its level's gradients: inner nodes first.
    std::size_t place(std::size_t level, std::uint32_t node) const {
        return node < inner() ? node - inner_at[level] : inner_at[level + 1] - inner_at[level] + node - leaf_at[level];
    }
    /// f(node, wants) for the nodes of a level at which something is wanted.
    template <class F>
    void for_each_wanted(std::size_t level, F&& f) const {
        for (std::uint32_t i = out_at[level]; i < out_at[level + 1]; ++i) f(out_node[i], wants_of(i));
    }
    std::span<const wanted> wants_of(std::size_t i) const {
        return std::span(wants).subspan(wanted_at[i], wanted_at[i + 1] - wanted_at[i]);
    }

    /// `sorted`: by key, then by inputs. `shared[i]`: inputs that sequence i has in common with the one before it.
    void assign(std::span<const sequence> sorted, std::span<const std::uint32_t> shared,
                std::span<const std::int32_t> input, std::size_t vocabulary) {
        std::uint32_t levels = 0;
        for (const auto& s : sorted) levels = std::max(levels, s.depth);
        draft_.clear();
        path_.assign(levels, 0);
        visits_.clear();
        for (std::size_t i = 0; i < sorted.size(); ++i) {
            const auto& s = sorted[i];
            for (std::uint32_t d = i == 0 ? 0 : shared[i]; d < s.depth; ++d) {
                if (d > 0) draft_[path_[d - 1]].leaf = false;
                path_[d] = static_cast<std::uint32_t>(draft_.size());
                draft_.push_back({d, d > 0 ? path_[d - 1] : 0, input[s.first + d], true});
            }
            for (std::uint32_t t = 0; t < s.out_count; ++t) visits_.push_back(path_[s.out_first + t]);
        }
        inner_at.assign(levels + 1, 0);
        leaf_at.assign(levels + 1, 0);
        for (const auto& node : draft_) ++(node.leaf ? leaf_at : inner_at)[node.level + 1];
        for (std::uint32_t d = 0; d < levels; ++d) inner_at[d + 1] += inner_at[d];
        leaf_at[0] = inner_at[levels];
        for (std::uint32_t d = 0; d < levels; ++d) leaf_at[d + 1] += leaf_at[d];
        next_inner_ = inner_at;
        next_leaf_ = leaf_at;
        slot_of_.resize(vocabulary + 1, none);
        used.clear();
        parent.resize(draft_.size());
        slot.resize(draft_.size());
        number_.resize(draft_.size());
        for (std::size_t i = 0; i < draft_.size(); ++i) {
            const auto& node = draft_[i];
            const std::uint32_t n = (node.leaf ? next_leaf_ : next_inner_)[node.level]++;
            std::uint32_t& known = slot_of_[static_cast<std::size_t>(node.token)];
            if (known == none) {
                known = static_cast<std::uint32_t>(used.size());
                used.push_back(node.token);
            }
            number_[i] = n;
            parent[n] = number_[node.parent];
            slot[n] = known;
        }
        for (const std::int32_t token : used) slot_of_[static_cast<std::size_t>(token)] = none;
        place_wants(sorted, input);
    }

private:
    static constexpr std::uint32_t none = static_cast<std::uint32_t>(-1);
    struct draft {
        std::uint32_t level, parent;
        std::int32_t token;
        bool leaf;
    };

    void place_wants(std::span<const sequence> sorted, std::span<const std::int32_t> input) {
        count_.assign(nodes(), 0);
        for (const std::uint32_t n : visits_) ++count_[number_[n]];
        out_node.clear();
        out_at.assign(1, 0);
        wanted_at.assign(1, 0);
        const auto take = [&](std::uint32_t first, std::uint32_t last) {
            for (std::uint32_t n = first; n < last; ++n)
                if (count_[n] > 0) {
                    out_node.push_back(n);
                    wanted_at.push_back(wanted_at.back() + count_[n]);
                    count_[n] = wanted_at[wanted_at.size() - 2];  // from here on: where the next one goes
                }
        };
        for (std::size_t d = 0; d < levels(); ++d) {
            take(inner_at[d], inner_at[d + 1]);
            take(leaf_at[d], leaf_at[d + 1]);
            out_at.push_back(static_cast<std::uint32_t>(out_node.size()));
        }
        wants.resize(visits_.size());
        std::size_t i = 0;
        for (const auto& s : sorted)
            for (std::uint32_t t = 0; t < s.out_count; ++t, ++i) {
                const std::size_t next = s.first + s.out_first + t + 1;
                wants[count_[number_[visits_[i]]]++] = {s.row, t, next < input.size() ? input[next] : 0};
            }
    }

    std::vector<draft> draft_;
    std::vector<std::uint32_t> path_, visits_, number_, count_, next_inner_, next_leaf_, slot_of_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
