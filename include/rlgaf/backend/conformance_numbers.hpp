#pragma once
#include "rlgaf/backend/conformance_report.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::conformance {

/// What a model says about a batch, or the cotangents of that: `channels` ragged arrays of one shape, one after the
/// other. Masked slots are not used and stay 0.
template <class T>
struct numbers {
    std::vector<std::size_t> offset;
    std::vector<std::uint8_t> used;
    std::vector<T> value;

    /// All NaN, so that what is not written shows.
    template <class Lengths>
    numbers(const Lengths& lengths, mask_view mask, std::size_t channels) : offset(1, 0) {
        for (const auto n : lengths) offset.push_back(offset.back() + n);
        used.assign(offset.back(), 1);
        for (std::size_t i = 0; i < mask.rows(); ++i)
            for (std::size_t t = 0; t < mask.length(i); ++t) used[offset[i] + t] = mask.row(i)[t] != 0;
        value.assign(channels * used.size(), std::numeric_limits<T>::quiet_NaN());
    }
    std::size_t rows() const { return offset.size() - 1; }
    ragged_view<T> channel(std::size_t k) { return ragged_view<T>::packed(value.data() + k * used.size(), offset); }
    ragged_view<const T> channel(std::size_t k) const {
        return ragged_view<const T>::packed(value.data() + k * used.size(), offset);
    }
    void clear_unused() {
        for (std::size_t i = 0; i < value.size(); ++i)
            if (!used[i % used.size()]) value[i] = 0;
    }
    /// Standard normal numbers in the used slots of channel k (all: every channel), 0 elsewhere.
    void fill_normal(std::uint64_t seed, std::uint32_t which, std::size_t k, bool all = false) {
        for (std::size_t i = 0; i < value.size(); ++i)
            value[i] = used[i % used.size()] && (all || i / used.size() == k)
                           ? static_cast<T>(random_stream({seed, which}, stream::user, i).normal(0))
                           : T{0};
    }
};

/// Sum of c * x, with a bound of what rounding may do to it.
struct inner_product {
    double value = 0, noise = 0;
};
template <class T>
inner_product inner(const numbers<T>& c, const numbers<T>& x) {
    inner_product sum;
    for (std::size_t i = 0; i < c.value.size(); ++i) {
        const double a = static_cast<double>(c.value[i]), b = static_cast<double>(x.value[i]);
        if (a != 0) {
            sum.value += a * b;
            sum.noise += std::abs(a) * (1 + std::abs(b)) * static_cast<double>(std::numeric_limits<T>::epsilon());
        }
    }
    return sum;
}

/// "" if row i of a and row j of b agree, else the first difference.
template <class T>
std::string row_difference(const numbers<T>& a, std::size_t i, const numbers<T>& b, std::size_t j, double tolerance) {
    const std::size_t n = a.offset[i + 1] - a.offset[i], channels = a.used.empty() ? 0 : a.value.size() / a.used.size();
    if (n != b.offset[j + 1] - b.offset[j])
        return "lengths " + std::to_string(n) + " and " + std::to_string(b.offset[j + 1] - b.offset[j]);
    for (std::size_t k = 0; k < channels; ++k)
        for (std::size_t t = 0; t < n; ++t) {
            const double x = static_cast<double>(a.value[k * a.used.size() + a.offset[i] + t]);
            const double y = static_cast<double>(b.value[k * b.used.size() + b.offset[j] + t]);
            if (!(std::abs(x - y) <= tolerance * (1 + std::abs(x))))
                return text_of(x) + " and " + text_of(y) + " (row " + std::to_string(i) + ", position " +
                       std::to_string(t) + (k > 0 ? ", output " + std::to_string(k) : "") + ")";
        }
    return {};
}
template <class T>
std::string difference(const numbers<T>& a, const numbers<T>& b, double tolerance) {
    if (a.rows() != b.rows()) return std::to_string(a.rows()) + " and " + std::to_string(b.rows()) + " rows";
    std::string found;
    for (std::size_t i = 0; i < a.rows() && found.empty(); ++i) found = row_difference(a, i, b, i, tolerance);
    return found;
}

}  // namespace detail::conformance
}  // namespace rlgaf::inline RLGAF_ABI
