#pragma once
#include <ctime>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Seconds since some fixed moment; for differences only. (<chrono> costs a third of what the whole library costs to
/// compile.)
inline double clock_seconds() noexcept {
    timespec now{};
#ifdef CLOCK_MONOTONIC
    clock_gettime(CLOCK_MONOTONIC, &now);
#else
    timespec_get(&now, TIME_UTC);
#endif
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace rlgaf::inline RLGAF_ABI
