#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "rlgaf/core/config.hpp"

/// Eigen's packets and memory for them. Compilers warn of attributes of vector types as template arguments, and GCC of its
/// own AVX-512 header: not between these two.
#if defined(__clang__)
#define RLGAF_QUIET_PACKETS _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wignored-attributes\"")
#define RLGAF_QUIET_PACKETS_END _Pragma("GCC diagnostic pop")
#elif defined(__GNUC__)
#define RLGAF_QUIET_PACKETS                                                                   \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wignored-attributes\"") \
        _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#define RLGAF_QUIET_PACKETS_END _Pragma("GCC diagnostic pop")
#else
#define RLGAF_QUIET_PACKETS
#define RLGAF_QUIET_PACKETS_END
#endif
RLGAF_QUIET_PACKETS
namespace rlgaf::inline RLGAF_ABI {
namespace detail::lstm {

template <class T>
using packet = typename Eigen::internal::packet_traits<T>::type;
template <class T>
inline constexpr std::size_t lanes = Eigen::internal::unpacket_traits<packet<T>>::size;

template <class T>
constexpr std::size_t padded(std::size_t n) {
    return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

template <class T>
EIGEN_ALWAYS_INLINE packet<T> load(const T* p) {
    return Eigen::internal::ploadu<packet<T>>(p);
}
template <class T>
EIGEN_ALWAYS_INLINE void store(T* p, const packet<T>& x) {
    Eigen::internal::pstoreu(p, x);
}
template <class T>
EIGEN_ALWAYS_INLINE packet<T> all(T x) {
    return Eigen::internal::pset1<packet<T>>(x);
}

/// Memory that only grows; what is in it is unspecified.
template <class T>
class scratch {
public:
    T* need(std::size_t n) {
        if (n > data_.size()) {
            data_.clear();  // nothing to copy
            data_.resize(n + n / 8);
        }
        return data_.data();
    }
    T* zeroed(std::size_t n) {
        T* p = need(n);
        std::fill_n(p, n, T{0});
        return p;
    }
    T* data() { return data_.data(); }
    const T* data() const { return data_.data(); }

private:
    std::vector<T, Eigen::aligned_allocator<T>> data_;
};

}  // namespace detail::lstm
}  // namespace rlgaf::inline RLGAF_ABI
RLGAF_QUIET_PACKETS_END
