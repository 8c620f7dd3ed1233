#pragma once
/// What an error says.
#include <string>
#include <string_view>

#include "rlgaf/core/error.hpp"

namespace rlgaf_test {

/// What message_of says where there was no error.
inline const std::string nothing_thrown = "nothing thrown";

/// The message of the Error that f() throws; nothing_thrown otherwise. Errors of another type pass.
template <class Error, class F>
std::string message_of(F&& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return nothing_thrown;
}

/// Whether `check` of the component refuses its options, with a message that names the component and the field.
template <class Component>
bool refuses(const Component& component, const std::string& name, const std::string& field) {
    const std::string message = message_of<rlgaf::option_error>([&] { component.check(); });
    return message.starts_with("rlgaf::" + name + ": ." + field + ": expected ") &&
           message.find(", got ") != std::string::npos;
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace rlgaf_test
