// expect: ok
#include <Eigen/Core>
#include <array>

#include "rlgaf/interop/eigen.hpp"

int main() {
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> m(2, 3);
    const std::array<std::uint32_t, 2> lengths = {3, 2};
    return static_cast<int>(rlgaf::padded_view(m, lengths).rows());
}
