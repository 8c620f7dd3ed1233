#include "rlgaf/io/tensor.hpp"

#include "support/catch.hpp"

using namespace rlgaf;

TEST_CASE("tensor: element types", "[io]") {
    for (const dtype type : {dtype::f32, dtype::f64, dtype::i32, dtype::i64, dtype::u8})
        REQUIRE(dtype_from_name(name_of(type)) == type);
    REQUIRE_FALSE(dtype_from_name("BF16"));
    REQUIRE_FALSE(dtype_from_name(""));
    STATIC_REQUIRE(dtype_of<const float>() == dtype::f32);
    STATIC_REQUIRE(size_of(dtype_of<double>()) == sizeof(double));
    STATIC_REQUIRE(size_of(dtype_of<std::int32_t>()) == 4);
    STATIC_REQUIRE(size_of(dtype_of<std::int64_t>()) == 8);
    STATIC_REQUIRE(size_of(dtype_of<std::uint8_t>()) == 1);
}

TEST_CASE("tensor: sizes that do not fit are noticed", "[io]") {
    using shape = std::vector<std::size_t>;
    REQUIRE(detail::byte_size(dtype::f32, shape{}) == 4u);
    REQUIRE(detail::byte_size(dtype::f64, shape{2, 3}) == 48u);
    REQUIRE(detail::byte_size(dtype::u8, shape{0, 5}) == 0u);
    REQUIRE_FALSE(detail::byte_size(dtype::f32, shape{std::size_t{1} << 62}));
    REQUIRE_FALSE(detail::byte_size(dtype::u8, shape{std::size_t{1} << 32, std::size_t{1} << 32}));
    REQUIRE(detail::text_of_shape(shape{2, 3}) == "[2, 3]");
    REQUIRE(detail::text_of_shape(shape{}) == "[]");
}
