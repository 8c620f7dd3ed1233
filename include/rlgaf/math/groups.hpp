#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Which prompt each row answers. Rows of a group need not be contiguous, and groups may differ in size.
struct groups {
    std::span<const std::uint32_t> id;  ///< [B], each below count
    std::size_t count = 0;
};

/// Which demonstration each sample is compared with: sample j with demonstration real_of_fake[j].
/// K samples of a prompt may share one.
struct matching {
    std::span<const std::uint32_t> real_of_fake;  ///< [n_fake], each below n_real
};

namespace detail {

inline void check_groups(const groups& g, std::size_t rows, const char* function) {
    check_size(g.id.size(), rows, function, "groups.id");
    for (std::size_t i = 0; i < rows; ++i)
        if (g.id[i] >= g.count) [[unlikely]]
            fail(error_kind::shape, function, short_text("groups.id[", i, "]"), short_text("below ", g.count),
                 short_text(g.id[i]));
}
inline void check_matching(const matching& m, std::size_t n_real, std::size_t n_fake, const char* function) {
    check_size(m.real_of_fake.size(), n_fake, function, "matching.real_of_fake");
    for (std::size_t j = 0; j < n_fake; ++j)
        if (m.real_of_fake[j] >= n_real) [[unlikely]]
            fail(error_kind::shape, function, short_text("matching.real_of_fake[", j, "]"),
                 short_text("below ", n_real), short_text(m.real_of_fake[j]));
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
