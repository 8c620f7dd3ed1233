#pragma once
/// Eigen matrices, arrays and maps as rlgaf views, without a copy.
#include <Eigen/Core>

#include "rlgaf/core/ragged_view.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

template <class M>
concept eigen_expression = std::is_base_of_v<Eigen::EigenBase<std::remove_cvref_t<M>>, std::remove_cvref_t<M>>;

template <class M>
concept eigen_in_memory = requires(M& m) {
    m.data();
    m.innerStride();
};

template <class M>
void check_eigen_stride(const M& m, const char* function) {
    if (m.size() > 1 && m.innerStride() != 1) [[unlikely]]
        fail(error_kind::shape, function, "matrix", "an inner stride of 1 (copy it to a matrix of its own)",
             std::to_string(m.innerStride()));
}

}  // namespace detail

/// Rows of a row-major matrix or array [B, at least max(lengths)]: row b has lengths[b] elements.
/// The view refers to `m` and to `lengths`; both must outlive it. Temporaries are refused.
/// Errors: shape_error for an inner stride other than 1 and for a length beyond the row.
template <detail::eigen_expression M>
auto padded_view(M& m, std::span<const std::uint32_t> lengths) {
    static_assert(detail::eigen_in_memory<M>,
                  "rlgaf: this Eigen expression has no memory to refer to; evaluate it into a named matrix first");
    static_assert(!detail::eigen_in_memory<M> || bool(std::remove_cv_t<M>::IsRowMajor),
                  "rlgaf: column-major Eigen matrices would be read transposed; declare it row-major: "
                  "`Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>`");
    if constexpr (detail::eigen_in_memory<M>) {
        detail::check_eigen_stride(m, "padded_view");
        const std::size_t rows = static_cast<std::size_t>(m.rows()), columns = static_cast<std::size_t>(m.cols());
        detail::check_size(lengths.size(), rows, "padded_view", "lengths");
        const Eigen::Index stride = m.outerStride();
        if (rows > 1 && stride < m.cols()) [[unlikely]]
            fail(error_kind::shape, "padded_view", "matrix",
                 "rows one after the other, " + std::to_string(columns) + " apart",
                 "outer stride " + std::to_string(stride));
        using view = ragged_view<std::remove_pointer_t<decltype(m.data())>>;
        view::padded(m.data(), columns, lengths);  // no length beyond the row
        return view::padded(m.data(), rows > 1 ? static_cast<std::size_t>(stride) : columns, lengths);
    }
}
template <detail::eigen_expression M>
void padded_view(const M&&, std::span<const std::uint32_t>) = delete;

/// The elements of a vector. Temporaries are refused.
/// Errors: shape_error for an inner stride other than 1.
template <detail::eigen_expression M>
auto as_span(M& m) {
    static_assert(bool(std::remove_cv_t<M>::IsVectorAtCompileTime),
                  "rlgaf: as_span takes Eigen vectors; rows of a matrix are a `padded_view`");
    static_assert(detail::eigen_in_memory<M>,
                  "rlgaf: this Eigen expression has no memory to refer to; evaluate it into a named vector first");
    if constexpr (detail::eigen_in_memory<M>) {
        detail::check_eigen_stride(m, "as_span");
        return std::span<std::remove_pointer_t<decltype(m.data())>>(m.data(), static_cast<std::size_t>(m.size()));
    }
}
template <detail::eigen_expression M>
void as_span(const M&&) = delete;

}  // namespace rlgaf::inline RLGAF_ABI
