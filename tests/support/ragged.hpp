#pragma once
/// Per-token arrays in both layouts, with guards around what belongs to the rows.
#include <cstdint>
#include <vector>

#include "rlgaf/core/ragged_view.hpp"
#include "support/numbers.hpp"

namespace rlgaf_test {

using table = std::vector<std::vector<double>>;
enum class layout { padded, packed };
inline constexpr layout layouts[] = {layout::padded, layout::packed};

/// Owns the values of a table in a layout of the library. What lies between and around the rows is a guard.
template <class T>
class ragged {
public:
    ragged(const table& rows, layout how, T guard) : how_(how), guard_(guard) {
        for (const auto& row : rows) {
            lengths_.push_back(static_cast<std::uint32_t>(row.size()));
            stride_ = row.size() + 2 > stride_ ? row.size() + 2 : stride_;
        }
        std::size_t size = how == layout::packed ? 3 : 0;
        offsets_.push_back(size);
        for (const auto& row : rows) offsets_.push_back(size += row.size());
        data_.assign(how == layout::packed ? size + 2 : rows.size() * stride_, guard);
        for (std::size_t b = 0; b < rows.size(); ++b)
            for (std::size_t t = 0; t < rows[b].size(); ++t) view().row(b)[t] = static_cast<T>(rows[b][t]);
    }

    rlgaf::ragged_view<T> view() {
        if (lengths_.empty()) return {};
        return how_ == layout::packed ? rlgaf::ragged_view<T>::packed(data_.data(), offsets_)
                                      : rlgaf::ragged_view<T>::padded(data_.data(), stride_, lengths_);
    }
    table rows() {
        table out(lengths_.size());
        for (std::size_t b = 0; b < out.size(); ++b)
            for (const T v : view().row(b)) out[b].push_back(static_cast<double>(v));
        return out;
    }
    bool guards_intact() {
        std::vector<T> copy = data_;
        const T* first = data_.data();
        for (std::size_t b = 0; b < lengths_.size(); ++b)
            for (T& v : view().row(b)) copy[static_cast<std::size_t>(&v - first)] = guard_;
        for (const T v : copy)
            if (!same_bits(static_cast<double>(v), static_cast<double>(guard_))) return false;
        return true;
    }

private:
    layout how_;
    T guard_;
    std::size_t stride_ = 0;
    std::vector<std::uint32_t> lengths_;
    std::vector<std::size_t> offsets_;
    std::vector<T> data_;
};

/// A table of the same shape; every element is f(row, token).
template <class F>
table table_like(const table& shape, F&& f) {
    table out(shape.size());
    for (std::size_t b = 0; b < shape.size(); ++b)
        for (std::size_t t = 0; t < shape[b].size(); ++t) out[b].push_back(f(b, t));
    return out;
}
inline table zeros(const table& shape) {
    return table_like(shape, [](auto, auto) { return 0.0; });
}
template <class Rows>
Rows permuted(const Rows& rows, const std::vector<std::size_t>& order) {
    Rows out;
    if (!rows.empty())
        for (const std::size_t b : order) out.push_back(rows[b]);
    return out;
}
/// Rounds every element to float.
inline table as_float(table x) {
    for (auto& row : x)
        for (double& v : row) v = static_cast<double>(static_cast<float>(v));
    return x;
}
/// Random rows of 0 to `longest` tokens; now and then no tokens, no rows at all, or a row longer than two blocks of the
/// library's loops.
inline table random_shape(dice& d, std::size_t most_rows, std::size_t longest) {
    table shape(d.below(most_rows + 1));
    for (auto& row : shape)
        row.resize(d.chance(0.15) ? 0 : d.chance(0.003) ? 100 + d.below(200) : d.below(longest + 1));
    return shape;
}
/// 0 or 1 for every token; empty (not given) now and then.
inline table random_mask(dice& d, const table& shape) {
    if (d.chance(0.3)) return {};
    const double share = d.chance(0.1) ? 0 : d.uniform(0.3, 1);
    return table_like(shape, [&](auto, auto) { return d.chance(share) ? 1.0 : 0.0; });
}
inline bool included(const table& mask, std::size_t b, std::size_t t) { return mask.empty() || mask[b][t] != 0; }

}  // namespace rlgaf_test
