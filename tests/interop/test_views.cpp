#include "rlgaf/interop/eigen.hpp"
#include "rlgaf/interop/xtensor.hpp"
#include "support/catch.hpp"

using namespace rlgaf;

namespace {

template <class T>
using row_major = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using lengths_of = std::span<const std::uint32_t>;

template <class X>
concept can_be_padded = requires(X&& x, lengths_of n) {
    padded_view(std::forward<X>(x), n);
};
template <class X>
concept can_be_span = requires(X&& x) {
    as_span(std::forward<X>(x));
};

// Names bind, temporaries do not.
static_assert(can_be_padded<xt::xtensor<float, 2>&> && can_be_padded<const xt::xtensor<float, 2>&>);
static_assert(!can_be_padded<xt::xtensor<float, 2>> && !can_be_padded<const xt::xtensor<float, 2>>);
static_assert(can_be_padded<xt::xarray<double>&> && !can_be_padded<xt::xarray<double>>);
static_assert(can_be_span<xt::xtensor<float, 1>&> && !can_be_span<xt::xtensor<float, 1>>);
static_assert(can_be_padded<row_major<float>&> && can_be_padded<const row_major<float>&>);
static_assert(!can_be_padded<row_major<float>> && !can_be_padded<const row_major<float>>);
static_assert(!can_be_padded<Eigen::Map<row_major<float>>> && can_be_padded<Eigen::Map<row_major<float>>&>);
static_assert(can_be_span<Eigen::VectorXd&> && !can_be_span<Eigen::VectorXd> && !can_be_span<const Eigen::VectorXd>);
static_assert(!can_be_padded<std::vector<float>&>);

// A const array gives a view of const.
template <class X>
using element = std::remove_pointer_t<decltype(padded_view(std::declval<X&>(), lengths_of{}).row(0).data())>;
static_assert(std::is_same_v<element<xt::xtensor<float, 2>>, float>);
static_assert(std::is_same_v<element<const xt::xtensor<float, 2>>, const float>);
static_assert(std::is_same_v<element<row_major<double>>, double>);
static_assert(std::is_same_v<element<const row_major<double>>, const double>);
static_assert(std::is_same_v<element<Eigen::Map<const row_major<double>>>, const double>);

const std::vector<std::uint32_t> lengths = {3, 0, 2};

}  // namespace

TEMPLATE_TEST_CASE("interop: xtensor arrays are viewed in place", "[interop]", float, double) {
    using T = TestType;
    xt::xtensor<T, 2> x(std::array<std::size_t, 2>{3, 4}, T{1});
    const ragged_view<T> v = padded_view(x, lengths);
    REQUIRE(v.rows() == 3);
    for (std::size_t b = 0; b < 3; ++b) {
        REQUIRE(v.row(b).data() == &x(b, 0));
        REQUIRE(v.row(b).size() == lengths[b]);
    }
    v.row(2)[1] = 7;
    REQUIRE(x(2, 1) == 7);
    x(0, 2) = 9;
    REQUIRE(v.row(0)[2] == 9);
    const auto& constant = x;
    const ragged_view<const T> w = padded_view(constant, lengths);
    REQUIRE(w.row(2).data() == &x(2, 0));

    xt::xarray<T> any = xt::ones<T>({3, 4});
    REQUIRE(padded_view(any, lengths).row(1).data() == any.data() + 4);

    std::vector<T> memory(12);
    auto adapted = xt::adapt(memory, std::array<std::size_t, 2>{3, 4});
    REQUIRE(padded_view(adapted, lengths).row(2).data() == memory.data() + 8);
    auto pointed = xt::adapt(memory.data(), 12, xt::no_ownership(), std::array<std::size_t, 2>{3, 4});
    REQUIRE(padded_view(pointed, lengths).row(2).data() == memory.data() + 8);

    xt::xtensor<T, 1> line(std::array<std::size_t, 1>{5}, T{2});
    REQUIRE(as_span(line).data() == line.data());
    REQUIRE(as_span(line).size() == 5);
    as_span(line)[3] = 4;
    REQUIRE(line(3) == 4);
    auto piece = xt::adapt(memory.data() + 2, 3, xt::no_ownership(), std::array<std::size_t, 1>{3});
    REQUIRE(as_span(piece).data() == memory.data() + 2);
}

TEST_CASE("interop: xtensor dimensions of one element", "[interop]") {
    const std::vector<std::uint32_t> ones = {1, 1, 0}, four = {4}, one = {1};
    xt::xtensor<float, 2> column(std::array<std::size_t, 2>{3, 1}), row(std::array<std::size_t, 2>{1, 4}),
        single(std::array<std::size_t, 2>{1, 1});
    REQUIRE(padded_view(column, ones).row(1).data() == &column(1, 0));
    REQUIRE(padded_view(row, four).row(0).size() == 4);
    REQUIRE(padded_view(single, one).row(0).data() == single.data());
    xt::xtensor<float, 2> none(std::array<std::size_t, 2>{0, 4});
    REQUIRE(padded_view(none, {}).rows() == 0);
}

TEST_CASE("interop: xtensor arrays that do not fit are refused", "[interop]") {
    xt::xtensor<float, 2> x(std::array<std::size_t, 2>{3, 4});
    const std::vector<std::uint32_t> two = {1, 1}, long_ones = {5, 1, 1};
    REQUIRE_THROWS_AS(padded_view(x, two), shape_error);
    REQUIRE_THROWS_AS(padded_view(x, long_ones), shape_error);
    xt::xtensor<float, 3> cube(std::array<std::size_t, 3>{3, 4, 1});
    REQUIRE_THROWS_AS(padded_view(cube, lengths), shape_error);
    REQUIRE_THROWS_AS(as_span(x), shape_error);
    xt::xarray<float, xt::layout_type::dynamic> transposed({3, 4}, xt::layout_type::column_major);
    REQUIRE_THROWS_AS(padded_view(transposed, lengths), shape_error);
    xt::xarray<float, xt::layout_type::dynamic> straight({3, 4}, xt::layout_type::row_major);
    REQUIRE(padded_view(straight, lengths).row(2).data() == straight.data() + 8);
}

TEMPLATE_TEST_CASE("interop: Eigen matrices are viewed in place", "[interop]", float, double) {
    using T = TestType;
    row_major<T> m = row_major<T>::Ones(3, 4);
    const ragged_view<T> v = padded_view(m, lengths);
    for (std::size_t b = 0; b < 3; ++b) {
        REQUIRE(v.row(b).data() == m.data() + 4 * b);
        REQUIRE(v.row(b).size() == lengths[b]);
    }
    v.row(2)[1] = 7;
    REQUIRE(m(2, 1) == 7);
    m(0, 2) = 9;
    REQUIRE(v.row(0)[2] == 9);
    const auto& constant = m;
    REQUIRE(padded_view(constant, lengths).row(2).data() == m.data() + 8);

    Eigen::Array<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> a(3, 4);
    REQUIRE(padded_view(a, lengths).row(1).data() == a.data() + 4);
    Eigen::Matrix<T, 3, 4, Eigen::RowMajor> fixed;
    REQUIRE(padded_view(fixed, lengths).row(1).data() == fixed.data() + 4);
    std::vector<T> memory(30);
    Eigen::Map<row_major<T>> map(memory.data(), 3, 4);
    REQUIRE(padded_view(map, lengths).row(2).data() == memory.data() + 8);
    Eigen::Map<row_major<T>, 0, Eigen::OuterStride<>> wide(memory.data(), 3, 4, Eigen::OuterStride<>(10));
    REQUIRE(padded_view(wide, lengths).row(2).data() == memory.data() + 20);
    auto block = m.block(0, 1, 3, 3);
    REQUIRE(padded_view(block, lengths).row(2).data() == &m(2, 1));

    Eigen::Matrix<T, Eigen::Dynamic, 1> line(5);
    REQUIRE(as_span(line).data() == line.data());
    as_span(line)[3] = 4;
    REQUIRE(line[3] == 4);
    auto one_row = m.row(1);
    REQUIRE(as_span(one_row).data() == m.data() + 4);
    REQUIRE(as_span(one_row).size() == 4);
}

TEST_CASE("interop: Eigen matrices that do not fit are refused", "[interop]") {
    row_major<float> m(3, 4);
    const std::vector<std::uint32_t> two = {1, 1}, long_ones = {5, 1, 1};
    REQUIRE_THROWS_AS(padded_view(m, two), shape_error);
    REQUIRE_THROWS_AS(padded_view(m, long_ones), shape_error);
    auto column = m.col(1);
    REQUIRE_THROWS_AS(as_span(column), shape_error);
    std::vector<float> memory(30);
    Eigen::Map<row_major<float>, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>> spread(
        memory.data(), 3, 4, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(8, 2));
    REQUIRE_THROWS_AS(padded_view(spread, lengths), shape_error);
}
