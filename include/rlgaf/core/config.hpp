#pragma once
/// Every macro of the library.
///
/// For users:
///   RLGAF_ALLOW_FINITE_MATH   define to 1 to compile under -ffinite-math-only although NaN has a meaning here.
///   RLGAF_EXCEPTIONS          1 or 0; detected. 0 routes errors to `set_error_handler` and then aborts.
/// Internal:
///   RLGAF_ABI                 name of the inline namespace. It encodes what changes the meaning of inline functions,
///                             so that differently configured files of one program never share a definition.
///   RLGAF_COLD                keeps error paths out of the kernels.
///   RLGAF_INLINE              for what loops over many numbers call: a call would keep them from vector code.
#include "rlgaf/version.hpp"

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ && !defined(RLGAF_ALLOW_FINITE_MATH)
#error \
    "rlgaf: -ffinite-math-only (part of -ffast-math and -Ofast) removes NaN checks. Add -fno-finite-math-only after it, or define RLGAF_ALLOW_FINITE_MATH."
#endif

#ifndef RLGAF_EXCEPTIONS
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#define RLGAF_EXCEPTIONS 1
#else
#define RLGAF_EXCEPTIONS 0
#endif
#endif

#define RLGAF_DETAIL_JOIN_(version, exceptions, finite) v##version##_exceptions##exceptions##_finite##finite
#define RLGAF_DETAIL_JOIN(version, exceptions, finite) RLGAF_DETAIL_JOIN_(version, exceptions, finite)
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#define RLGAF_ABI RLGAF_DETAIL_JOIN(RLGAF_VERSION_MAJOR, RLGAF_EXCEPTIONS, 1)
#else
#define RLGAF_ABI RLGAF_DETAIL_JOIN(RLGAF_VERSION_MAJOR, RLGAF_EXCEPTIONS, 0)
#endif

#if defined(__GNUC__)
#define RLGAF_COLD [[gnu::cold, gnu::noinline]]
#define RLGAF_INLINE [[gnu::always_inline]] inline
#define RLGAF_FLATTEN [[gnu::flatten]]  // what it calls is inlined: for loops over a formula that is given
#else
#define RLGAF_COLD
#define RLGAF_INLINE inline
#define RLGAF_FLATTEN
#endif

namespace rlgaf {
inline namespace RLGAF_ABI {}
}  // namespace rlgaf
