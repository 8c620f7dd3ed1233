#pragma once
/// Counts the calls of the global operator new. core/test_allocations.cpp replaces it for the whole test program.
#include <cstddef>

namespace rlgaf_test {

std::size_t allocations() noexcept;

/// How many allocations f() makes.
template <class F>
std::size_t allocations_of(F&& f) {
    const std::size_t before = allocations();
    f();
    return allocations() - before;
}

}  // namespace rlgaf_test
