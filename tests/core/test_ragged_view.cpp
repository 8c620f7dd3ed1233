#include "rlgaf/core/ragged_view.hpp"
#include "rlgaf/core/reduce.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/ragged.hpp"

using namespace rlgaf_test;
using rlgaf::mask_view;
using rlgaf::ragged_buffer;
using rlgaf::ragged_view;

TEST_CASE("A padded and a packed view address their rows") {
    int data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    const std::uint32_t lengths[] = {2, 0, 3};
    const auto padded = ragged_view<int>::padded(data, 3, lengths);
    const std::size_t offsets[] = {1, 3, 3, 6};
    const auto packed = ragged_view<int>::packed(data, offsets);
    const int* first[2][3] = {{data, data + 3, data + 6}, {data + 1, data + 3, data + 3}};
    for (const auto& [view, starts] : {std::pair{padded, first[0]}, std::pair{packed, first[1]}}) {
        REQUIRE(view.rows() == 3);
        REQUIRE(!view.empty());
        for (std::size_t b = 0; b < 3; ++b) {
            REQUIRE(view.length(b) == lengths[b]);
            REQUIRE(view.row(b).size() == lengths[b]);
            REQUIRE(view.row(b).data() == starts[b]);
        }
        const auto tail = view.slice(1, 2);
        REQUIRE(tail.rows() == 2);
        REQUIRE(tail.row(1).data() == starts[2]);
        REQUIRE(tail.length(1) == 3);
        REQUIRE(view.slice(3, 0).rows() == 0);
        const ragged_view<const int> read = view;
        REQUIRE(read.row(2).data() == starts[2]);
        view.row(2)[0] = 42;
        REQUIRE(read.row(2)[0] == 42);
    }
}

TEST_CASE("A view that is not given has no rows") {
    REQUIRE(ragged_view<float>().rows() == 0);
    REQUIRE(ragged_view<float>().empty());
    REQUIRE(ragged_view<float>::packed(nullptr, std::vector<std::size_t>{0}).empty());
    REQUIRE(ragged_view<float>::padded(nullptr, 5, {}).empty());
}

TEST_CASE("Wrong lengths and offsets are refused by index, with expected and actual") {
    float data[4] = {};
    const std::uint32_t lengths[] = {2, 3};
    REQUIRE(message_of<rlgaf::shape_error>([&] { ragged_view<float>::padded(data, 2, lengths); }) ==
            "rlgaf::ragged_view::padded: lengths[1]: expected at most the stride 2, got 3");
    const std::size_t offsets[] = {0, 2, 1};
    REQUIRE(message_of<rlgaf::shape_error>([&] { ragged_view<float>::packed(data, offsets); }) ==
            "rlgaf::ragged_view::packed: offsets[2]: expected at least 2, got 1");
    REQUIRE(message_of<rlgaf::shape_error>([&] { ragged_view<float>::packed(data, {}); }) ==
            "rlgaf::ragged_view::packed: offsets: expected rows + 1 elements, got 0");
}

TEST_CASE("A ragged_buffer takes on a shape and keeps its memory") {
    ragged_buffer<double> buffer;
    REQUIRE(buffer.view().rows() == 0);
    const std::uint32_t lengths[] = {2, 0, 1};
    buffer.assign(lengths, 7);
    REQUIRE(buffer.view().rows() == 3);
    REQUIRE(buffer.flat().size() == 3);
    REQUIRE(buffer.view().length(1) == 0);
    REQUIRE(buffer.view().row(2)[0] == 7);
    buffer.view().row(2)[0] = 8;
    const auto& read = buffer;
    REQUIRE(read.view().row(2)[0] == 8);
    REQUIRE(read.flat()[2] == 8);
    REQUIRE(allocations_of([&] { buffer.assign(lengths); }) == 0);
    REQUIRE(buffer.view().row(2)[0] == 0);
    buffer.clear();
    REQUIRE(buffer.view().rows() == 0);
    REQUIRE(buffer.flat().empty());
}

TEST_CASE("for_each_token and masked_row_sum visit what the mask includes, and nothing else") {
    dice d(1);
    for (int i = 0; i < 500; ++i) {
        const table shape = random_shape(d, 5, 5), mask = random_mask(d, shape);
        const table value = table_like(shape, [&](auto b, auto t) {
            return included(mask, b, t) ? static_cast<double>(d.below(100)) : not_a_number;
        });
        for (const layout how : layouts) {
            ragged<double> x(value, how, not_a_number);
            ragged<std::uint8_t> m(mask, how, 1);
            table seen = zeros(shape);
            rlgaf::for_each_token(x.view(), mask_view(m.view()),
                                  [&](std::size_t b, std::size_t t) { seen[b][t] += 1; });
            for (std::size_t b = 0; b < shape.size(); ++b) {
                double sum = 0;
                for (std::size_t t = 0; t < shape[b].size(); ++t) {
                    REQUIRE(seen[b][t] == (included(mask, b, t) ? 1 : 0));
                    if (included(mask, b, t)) sum += value[b][t];
                }
                REQUIRE(rlgaf::masked_row_sum(x.view(), m.view(), b) == sum);
            }
        }
    }
}

TEST_CASE("sum adds floats in double") {
    const std::vector<float> x = {16777216.0f, 1.0f, 1.0f};  // in float the ones would be lost
    REQUIRE(rlgaf::sum(std::span<const float>(x)) == 16777218.0);
    REQUIRE(rlgaf::sum(std::span<const float>()) == 0);
}

TEST_CASE("check_same_shape names the argument or the first row that differs") {
    ragged<float> a({{1, 2}, {}, {3}}, layout::padded, 0), b({{1, 2}, {1}, {3}}, layout::packed, 0),
        c({{1}}, layout::packed, 0), same({{1, 2}, {}, {3}}, layout::packed, 0);
    const auto message = [&](auto& other) {
        return message_of<rlgaf::shape_error>(
            [&] { rlgaf::detail::check_same_shape(a.view(), other.view(), "f", "x"); });
    };
    REQUIRE(message(b) == "rlgaf::f: x row 1: expected 0 tokens, got 1");
    REQUIRE(message(c) == "rlgaf::f: x: expected 3 elements, got 1");
    REQUIRE(message(same) == "nothing thrown");
    REQUIRE_NOTHROW(rlgaf::detail::check_same_shape_if_given(a.view(), ragged_view<float>(), "f", "x"));
    REQUIRE_THROWS_AS(rlgaf::detail::check_same_shape_if_given(a.view(), b.view(), "f", "x"), rlgaf::shape_error);
}
