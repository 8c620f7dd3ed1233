#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "rlgaf/core/error.hpp"
#include "rlgaf/core/span_of.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Per-token numbers of B rows with a length each; every row is contiguous. Refers to memory, owns nothing.
///
/// Both layouts in use are viewed without a copy:
///   padded: row b starts at data + b * stride and has lengths[b] elements (the rest of the row is never touched);
///   packed: row b is data[offsets[b]] .. data[offsets[b + 1] - 1].
/// A default-constructed view has no rows and stands for "not given".
template <class T>
class ragged_view {
public:
    constexpr ragged_view() = default;

    /// Errors: shape_error if a length is larger than the stride.
    static ragged_view padded(T* data, std::size_t stride, std::span<const std::uint32_t> lengths) {
        for (std::size_t b = 0; b < lengths.size(); ++b)
            if (lengths[b] > stride) [[unlikely]]
                fail(error_kind::shape, "ragged_view::padded", short_text("lengths[", b, "]"),
                     short_text("at most the stride ", stride), short_text(lengths[b]));
        return ragged_view(data, lengths.size(), stride, lengths.data(), nullptr);
    }

    /// `offsets` has B + 1 elements and does not decrease. Errors: shape_error otherwise.
    static ragged_view packed(T* data, std::span<const std::size_t> offsets) {
        if (offsets.empty()) [[unlikely]]
            fail(error_kind::shape, "ragged_view::packed", "offsets", "rows + 1 elements", "0");
        for (std::size_t b = 1; b < offsets.size(); ++b)
            if (offsets[b] < offsets[b - 1]) [[unlikely]]
                fail(error_kind::shape, "ragged_view::packed", short_text("offsets[", b, "]"),
                     short_text("at least ", offsets[b - 1]), short_text(offsets[b]));
        return ragged_view(data, offsets.size() - 1, 0, nullptr, offsets.data());
    }

    constexpr std::size_t rows() const noexcept { return rows_; }
    constexpr bool empty() const noexcept { return rows_ == 0; }

    constexpr std::size_t length(std::size_t b) const noexcept {
        return offsets_ ? offsets_[b + 1] - offsets_[b] : lengths_[b];
    }
    constexpr T* data(std::size_t b) const noexcept { return data_ + (offsets_ ? offsets_[b] : b * stride_); }
    std::span<T> row(std::size_t b) const noexcept { return {data(b), length(b)}; }

    /// Rows first .. first + count - 1 of the same memory.
    ragged_view slice(std::size_t first, std::size_t count) const noexcept {
        return offsets_ ? ragged_view(data_, count, 0, nullptr, offsets_ + first)
                        : ragged_view(data_ + first * stride_, count, stride_, lengths_ + first, nullptr);
    }

    constexpr operator ragged_view<const T>() const noexcept requires(!std::is_const_v<T>) {
        return ragged_view<const T>(data_, rows_, stride_, lengths_, offsets_);
    }

private:
    template <class>
    friend class ragged_view;

    constexpr ragged_view(T* data, std::size_t rows, std::size_t stride, const std::uint32_t* lengths,
                          const std::size_t* offsets) noexcept
        : data_(data), rows_(rows), stride_(stride), lengths_(lengths), offsets_(offsets) {}

    T* data_ = nullptr;
    std::size_t rows_ = 0;
    std::size_t stride_ = 0;
    const std::uint32_t* lengths_ = nullptr;
    const std::size_t* offsets_ = nullptr;
};

/// 1 (or any non-zero) = the token takes part. An empty mask includes everything.
using mask_view = ragged_view<const std::uint8_t>;

/// Packed storage for per-token numbers that keeps its memory from step to step.
template <class T>
class ragged_buffer {
public:
    /// Takes on the shape `lengths`, all elements `value`. Allocates only when it grows.
    void assign(std::span<const std::uint32_t> lengths, T value = T{}) {
        offsets_.assign(lengths.size() + 1, 0);
        for (std::size_t b = 0; b < lengths.size(); ++b) offsets_[b + 1] = offsets_[b] + lengths[b];
        data_.assign(offsets_.back(), value);
    }
    /// The same for the rows of a view.
    template <class U>
    void assign(const ragged_view<U>& shape, T value) {
        offsets_.assign(shape.rows() + 1, 0);
        for (std::size_t b = 0; b < shape.rows(); ++b) offsets_[b + 1] = offsets_[b] + shape.length(b);
        data_.assign(offsets_.back(), value);
    }
    void clear() {
        offsets_.assign(1, 0);
        data_.clear();
    }
    ragged_view<T> view() { return ragged_view<T>::packed(data_.data(), detail::span_of(offsets_)); }
    ragged_view<const T> view() const { return ragged_view<const T>::packed(data_.data(), detail::span_of(offsets_)); }
    std::span<T> flat() { return detail::span_of(data_); }
    std::span<const T> flat() const { return detail::span_of(data_); }

private:
    std::vector<T> data_;
    std::vector<std::size_t> offsets_ = std::vector<std::size_t>(1);
};

namespace detail {

/// Errors: shape_error that names the first row whose length differs. Skipped for views that are not given.
template <class A, class B>
void check_same_shape(const ragged_view<A>& expected, const ragged_view<B>& actual, const char* function,
                      const char* argument) {
    check_size(actual.rows(), expected.rows(), function, argument);
    for (std::size_t b = 0; b < expected.rows(); ++b)
        if (actual.length(b) != expected.length(b)) [[unlikely]]
            fail(error_kind::shape, function, short_text(argument, " row ", b),
                 short_text(expected.length(b), " tokens"), short_text(actual.length(b)));
}
template <class A, class B>
void check_same_shape_if_given(const ragged_view<A>& expected, const ragged_view<B>& actual, const char* function,
                               const char* argument) {
    if (!actual.empty()) check_same_shape(expected, actual, function, argument);
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
