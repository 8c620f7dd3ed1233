// expect: rlgaf: column-major xtensor arrays would be read transposed; declare it row-major: `xt::xtensor<T, 2,
// xt::layout_type::row_major>`
#include <array>

#include "rlgaf/interop/xtensor.hpp"

int main() {
    xt::xtensor<float, 2, xt::layout_type::column_major> m({2, 3});
    const std::array<std::uint32_t, 2> lengths = {3, 2};
    return static_cast<int>(rlgaf::padded_view(m, lengths).rows());
}
