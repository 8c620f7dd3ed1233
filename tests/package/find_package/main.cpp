// A program of somebody who uses the library: the standard-library part and the Eigen part of one installation.
#include <Eigen/Core>
#include <cstdio>
#include <vector>

#include "rlgaf/rlgaf.hpp"

int main() {
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> numbers(2, 3);
    const rlgaf::random_stream random({.seed = 7, .step = 0}, rlgaf::stream::user);
    for (int i = 0; i < 6; ++i) numbers(i / 3, i % 3) = static_cast<float>(random.uniform(static_cast<unsigned>(i)));

    const std::vector<std::uint32_t> lengths = {3, 1};
    const auto view = rlgaf::ragged_view<float>::padded(numbers.data(), 3, lengths);
    const bool same = view.row(1).data() == &numbers(1, 0) && view.row(1).size() == 1;
    std::printf("%zu rows, %s\n", view.rows(), same ? "no copy" : "a copy");
    return same ? 0 : 1;
}
