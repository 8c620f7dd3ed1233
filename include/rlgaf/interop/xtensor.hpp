#pragma once
/// xtensor arrays as rlgaf views, without a copy. The only header that includes xtensor.
#if __has_include(<xtensor/containers/xtensor.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xtensor.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xtensor.hpp>
#endif

#include "rlgaf/core/ragged_view.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

template <class X>
concept xtensor_expression = xt::is_xexpression<std::remove_cvref_t<X>>::value;

/// Has its elements in memory: a container, an adaptor or a strided view of one.
template <class X>
concept xtensor_in_memory = requires(X& x) {
    x.data();
    x.strides();
    x.data_offset();
};

template <class X>
void check_xtensor_rank(const X& x, std::size_t rank, const char* function) {
    if (x.dimension() != rank) [[unlikely]]
        fail(error_kind::shape, function, "array", std::to_string(rank) + " dimensions", std::to_string(x.dimension()));
}

/// xtensor gives dimensions of one element the stride 0.
template <class X>
void check_xtensor_stride(const X& x, std::size_t dimension, const char* function) {
    const auto stride = static_cast<std::ptrdiff_t>(x.strides()[dimension]);
    if (x.shape()[dimension] > 1 && stride != 1) [[unlikely]]
        fail(error_kind::shape, function, "array",
             "neighbours in memory along dimension " + std::to_string(dimension) + " (copy it to a row-major array)",
             "stride " + std::to_string(stride));
}

}  // namespace detail

/// Rows of a two-dimensional row-major array [B, at least max(lengths)]: row b has lengths[b] elements.
/// The view refers to `x` and to `lengths`; both must outlive it. Temporaries are refused.
/// Errors: shape_error for another rank, for elements of a row that are not neighbours, for a length beyond the row.
template <detail::xtensor_expression X>
auto padded_view(X& x, std::span<const std::uint32_t> lengths) {
    static_assert(detail::xtensor_in_memory<X>,
                  "rlgaf: this xtensor expression has no memory to refer to; give it a name and a type first: "
                  "`xt::xtensor<T, 2> x = expression;`");
    static_assert(std::remove_cv_t<X>::static_layout != xt::layout_type::column_major,
                  "rlgaf: column-major xtensor arrays would be read transposed; declare it row-major: "
                  "`xt::xtensor<T, 2, xt::layout_type::row_major>`");
    if constexpr (detail::xtensor_in_memory<X>) {
        detail::check_xtensor_rank(x, 2, "padded_view");
        detail::check_xtensor_stride(x, 1, "padded_view");
        const std::size_t rows = x.shape()[0], columns = x.shape()[1];
        detail::check_size(lengths.size(), rows, "padded_view", "lengths");
        const auto stride = static_cast<std::ptrdiff_t>(x.strides()[0]);
        if (rows > 1 && stride < static_cast<std::ptrdiff_t>(columns)) [[unlikely]]
            fail(error_kind::shape, "padded_view", "array",
                 "rows one after the other, " + std::to_string(columns) + " apart", "stride " + std::to_string(stride));
        using view = ragged_view<std::remove_pointer_t<decltype(x.data())>>;
        auto* const data = x.data() + x.data_offset();
        view::padded(data, columns, lengths);  // no length beyond the row
        return view::padded(data, rows > 1 ? static_cast<std::size_t>(stride) : columns, lengths);
    }
}
template <detail::xtensor_expression X>
void padded_view(const X&&, std::span<const std::uint32_t>) = delete;

/// The elements of a one-dimensional array. Temporaries are refused.
/// Errors: shape_error for another rank or for elements that are not neighbours.
template <detail::xtensor_expression X>
auto as_span(X& x) {
    static_assert(detail::xtensor_in_memory<X>,
                  "rlgaf: this xtensor expression has no memory to refer to; give it a name and a type first: "
                  "`xt::xtensor<T, 1> x = expression;`");
    if constexpr (detail::xtensor_in_memory<X>) {
        detail::check_xtensor_rank(x, 1, "as_span");
        detail::check_xtensor_stride(x, 0, "as_span");
        return std::span<std::remove_pointer_t<decltype(x.data())>>(x.data() + x.data_offset(), x.shape()[0]);
    }
}
template <detail::xtensor_expression X>
void as_span(const X&&) = delete;

}  // namespace rlgaf::inline RLGAF_ABI
