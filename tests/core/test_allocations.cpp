// Replaces the global operator new and delete of the test program by counting ones.
#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"

namespace {
std::atomic<std::size_t> count{0};

void* counted(std::size_t size, std::size_t alignment) noexcept {
    count.fetch_add(1, std::memory_order_relaxed);
    if (alignment <= alignof(std::max_align_t)) return std::malloc(size ? size : 1);
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
void* counted_or_throw(std::size_t size, std::size_t alignment) {
    if (void* p = counted(size, alignment)) return p;
    throw std::bad_alloc();
}
std::size_t of(std::align_val_t alignment) { return static_cast<std::size_t>(alignment); }
}  // namespace

std::size_t rlgaf_test::allocations() noexcept { return count.load(std::memory_order_relaxed); }

void* operator new(std::size_t n) { return counted_or_throw(n, 1); }
void* operator new[](std::size_t n) { return counted_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) { return counted_or_throw(n, of(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return counted_or_throw(n, of(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return counted(n, 1); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return counted(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counted(n, of(a)); }
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counted(n, of(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

TEST_CASE("The allocation counter sees what a vector allocates and nothing else") {
    std::vector<double> x;
    REQUIRE(rlgaf_test::allocations_of([&] { x.resize(100); }) == 1);
    REQUIRE(rlgaf_test::allocations_of([&] { x.resize(50); }) == 0);
    struct alignas(64) wide {
        double value[8];
    };
    std::vector<wide> y;
    REQUIRE(rlgaf_test::allocations_of([&] { y.resize(3); }) == 1);
}
