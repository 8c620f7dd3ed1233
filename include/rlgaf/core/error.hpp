#pragma once
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "rlgaf/core/config.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Two arrays that belong together do not fit.
struct shape_error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};
/// An option is out of its range, or does not go with the backend or with another option.
struct option_error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};
/// A number that the caller supplied is NaN or infinite, or contradicts another number.
struct numeric_error : std::domain_error {
    using std::domain_error::domain_error;
};
/// A file is missing, malformed or does not fit the model; nothing of it was taken over.
struct file_error : std::runtime_error {
    using std::runtime_error::runtime_error;
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
[[noreturn]] RLGAF_COLD inline void fail(error_kind kind, std::string_view function, std::string_view argument,
                                         std::string_view expected, std::string_view actual) {
    std::string message = "rlgaf::";
    message.append(function).append(": ").append(argument).append(": expected ").append(expected);
    message.append(", got ").append(actual);
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

RLGAF_COLD inline std::string text_of(double x) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.9g", x);
    return buffer;
}

/// `ok` is written so that NaN makes it false.
inline void check_option(bool ok, const char* component, const char* field, const char* range, double value) {
    if (!ok) [[unlikely]]
        fail(error_kind::option, component, std::string(".") + field, range, text_of(value));
}

inline void check_size(std::size_t actual, std::size_t expected, const char* function, const char* argument) {
    if (actual != expected) [[unlikely]]
        fail(error_kind::shape, function, argument, std::to_string(expected) + " elements", std::to_string(actual));
}

}  // namespace detail
}  // namespace rlgaf::inline RLGAF_ABI
