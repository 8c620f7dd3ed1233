#pragma once
#include <algorithm>
#include <cstddef>
#include <exception>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

inline std::size_t threads() {
#ifdef _OPENMP
    return omp_in_parallel() ? 1 : static_cast<std::size_t>(omp_get_max_threads());
#else
    return 1;
#endif
}

/// f(0) .. f(n - 1), one a thread. If parts throw, all are run and the exception of the first one goes on.
template <class F>
void for_each_part(std::size_t n, F&& f) {
#ifdef _OPENMP
    if (n > 1) {
        const int count = static_cast<int>(n);
#if RLGAF_EXCEPTIONS
        // An exception must not leave the region.
        std::exception_ptr thrown;
        int thrown_by = count;
#pragma omp parallel for num_threads(count) schedule(static, 1)
        for (int i = 0; i < count; ++i) {
            try {
                f(static_cast<std::size_t>(i));
            } catch (...) {
#pragma omp critical(rlgaf_lstm_part)
                if (i < thrown_by) {
                    thrown = std::current_exception();
                    thrown_by = i;
                }
            }
        }
        if (thrown) std::rethrow_exception(thrown);
#else
#pragma omp parallel for num_threads(count) schedule(static, 1)
        for (int i = 0; i < count; ++i) f(static_cast<std::size_t>(i));
#endif
        return;
    }
#endif
    for (std::size_t i = 0; i < n; ++i) f(i);
}

/// f(i) for n rows, some to each thread.
template <class F>
void for_each_row(std::size_t n, F&& f) {
    const std::size_t parts = std::clamp<std::size_t>(n / 32, 1, threads());
    for_each_part(parts, [&](std::size_t part) {
        for (std::size_t i = n * part / parts; i < n * (part + 1) / parts; ++i) f(i);
    });
}

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
