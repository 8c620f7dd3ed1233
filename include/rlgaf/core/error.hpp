#pragma once
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>

#include "rlgaf/core/text.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// What every error of the library is.
class error : public std::exception {
public:
    explicit error(const chars& message) : message_(message) {}
    const char* what() const noexcept override { return message_.c_str(); }

private:
    basic_text<2000> message_;
};

/// Two arrays that belong together do not fit.
struct shape_error : error {
    using error::error;
};
/// An option is out of its range, or does not go with the backend or with another option.
struct option_error : error {
    using error::error;
};
/// A number that the caller supplied is NaN or infinite, or contradicts another number.
struct numeric_error : error {
    using error::error;
};
/// A file is missing, malformed or does not fit the model; nothing of it was taken over.
struct file_error : error {
    using error::error;
};

enum class error_kind { shape, option, numeric, file };

/// Called with the finished message when exceptions are off; the program aborts when it returns.
using error_handler = void (*)(error_kind, const char* message);

namespace detail {
inline error_handler& current_error_handler() {
    static error_handler handler = [](error_kind, const char* message) { std::fprintf(stderr, "%s\n", message); };
    return handler;
}
}  // namespace detail

/// Replaces the handler used under -fno-exceptions; returns the previous one.
inline error_handler set_error_handler(error_handler handler) {
    error_handler previous = detail::current_error_handler();
    detail::current_error_handler() = handler;
    return previous;
}

/// The library's only way to report an error: "rlgaf::FUNCTION: ARGUMENT: expected EXPECTED, got ACTUAL".
[[noreturn]] RLGAF_COLD inline void fail(error_kind kind, const chars& function, const chars& argument,
                                         const chars& expected, const chars& actual) {
    const basic_text<2000> message("rlgaf::", function, ": ", argument, ": expected ", expected, ", got ", actual);
#if RLGAF_EXCEPTIONS
    switch (kind) {
        case error_kind::shape:
            throw shape_error(message);
        case error_kind::option:
            throw option_error(message);
        case error_kind::numeric:
            throw numeric_error(message);
        case error_kind::file:
            break;
    }
    throw file_error(message);
#else
    detail::current_error_handler()(kind, message.c_str());
    std::abort();
#endif
}

namespace detail {

/// `ok` is written so that NaN makes it false.
inline void check_option(bool ok, const char* component, const char* field, const char* range, double value) {
    if (!ok) [[unlikely]]
        fail(error_kind::option, component, short_text(".", field), range, short_text(value));
}

inline void check_positive(double x, const char* component, const char* field) {
    check_option(x > 0 && x < std::numeric_limits<double>::infinity(), component, field, "positive and finite", x);
}
inline void check_not_negative(double x, const char* component, const char* field) {
    check_option(x >= 0 && x < std::numeric_limits<double>::infinity(), component, field, "finite, 0 or positive", x);
}

inline void check_size(std::size_t actual, std::size_t expected, const char* function, const char* argument) {
    if (actual != expected) [[unlikely]]
        fail(error_kind::shape, function, argument, short_text(expected, " elements"), short_text(actual));
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
