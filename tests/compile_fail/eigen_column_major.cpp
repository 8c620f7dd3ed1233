// expect: rlgaf: column-major Eigen matrices would be read transposed; declare it row-major: `Eigen::Matrix<T,
// Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>`
#include <Eigen/Core>
#include <array>

#include "rlgaf/interop/eigen.hpp"

int main() {
    Eigen::MatrixXf m(2, 3);
    const std::array<std::uint32_t, 2> lengths = {3, 2};
    return static_cast<int>(rlgaf::padded_view(m, lengths).rows());
}
