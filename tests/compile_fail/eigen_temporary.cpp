// expect: use of deleted function | call to deleted function
#include <Eigen/Core>
#include <array>

#include "rlgaf/interop/eigen.hpp"

int main() {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const std::array<std::uint32_t, 2> lengths = {3, 2};
    return static_cast<int>(rlgaf::padded_view(matrix(2, 3), lengths).rows());
}
