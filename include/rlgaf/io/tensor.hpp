#pragma once
/// Named n-dimensional arrays as they lie in files: row-major, little-endian.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

static_assert(std::endian::native == std::endian::little, "rlgaf: tensor files need a little-endian machine.");

enum class dtype { f32, f64, i32, i64, u8 };

/// Bytes of one element.
constexpr std::size_t size_of(dtype type) noexcept {
    return type == dtype::u8 ? 1 : type == dtype::f32 || type == dtype::i32 ? 4 : 8;
}
/// The name in a safetensors file.
constexpr std::string_view name_of(dtype type) noexcept {
    constexpr std::string_view names[] = {"F32", "F64", "I32", "I64", "U8"};
    return names[static_cast<std::size_t>(type)];
}
constexpr std::optional<dtype> dtype_from_name(std::string_view name) noexcept {
    for (const dtype type : {dtype::f32, dtype::f64, dtype::i32, dtype::i64, dtype::u8})
        if (name == name_of(type)) return type;
    return std::nullopt;
}

/// Fails to compile for element types that a file cannot hold.
template <class T>
constexpr dtype dtype_of() noexcept {
    using element = std::remove_cv_t<T>;
    if constexpr (std::is_same_v<element, float>)
        return dtype::f32;
    else if constexpr (std::is_same_v<element, double>)
        return dtype::f64;
    else if constexpr (std::is_same_v<element, std::int32_t>)
        return dtype::i32;
    else if constexpr (std::is_same_v<element, std::int64_t>)
        return dtype::i64;
    else {
        static_assert(std::is_same_v<element, std::uint8_t>,
                      "rlgaf: tensors in files hold float, double, std::int32_t, std::int64_t or std::uint8_t.");
        return dtype::u8;
    }
}

/// Refers to the caller's memory.
struct tensor_view {
    std::string_view name;
    dtype type = dtype::f32;
    std::span<const std::size_t> shape;  ///< empty for one number
    std::span<const std::byte> data;     ///< product of shape times size_of(type) bytes
};

struct tensor {
    std::string name;
    dtype type = dtype::f32;
    std::vector<std::size_t> shape;  ///< empty for one number
    std::vector<std::byte> data;     ///< product of shape times size_of(type) bytes

    operator tensor_view() const noexcept { return {name, type, shape, data}; }
};

namespace detail {

inline constexpr std::size_t max_rank = 8;

/// a * b, or nothing where that does not fit.
constexpr std::optional<std::size_t> checked_product(std::size_t a, std::size_t b) noexcept {
    if (a != 0 && b > std::numeric_limits<std::size_t>::max() / a) return std::nullopt;
    return a * b;
}

/// Bytes that `shape` needs, or nothing where that does not fit.
constexpr std::optional<std::size_t> byte_size(dtype type, std::span<const std::size_t> shape) noexcept {
    std::optional<std::size_t> bytes = size_of(type);
    for (const std::size_t extent : shape)
        if (bytes) bytes = checked_product(*bytes, extent);
    return bytes;
}

template <class Shape>
std::string text_of_shape(const Shape& shape) {
    std::string text = "[";
    for (const auto extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    return text + "]";
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
