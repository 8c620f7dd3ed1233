#pragma once
/// Reading one whole file, with errors that name it.
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "rlgaf/core/error.hpp"

namespace rlgaf::inline RLGAF_ABI {
namespace detail {

struct close_file {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};
using file_handle = std::unique_ptr<std::FILE, close_file>;

inline std::string system_message(int code) { return std::generic_category().message(code); }

/// Errors: file_error "path: expected a readable file, got a directory" and the like.
inline file_handle open_for_reading(const std::filesystem::path& path, const char* function) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error))
        fail(error_kind::file, function, path.string(), "a readable file", "a directory");
    errno = 0;
    file_handle file(std::fopen(path.string().c_str(), "rb"));
    if (!file) fail(error_kind::file, function, path.string(), "a readable file", system_message(errno));
    return file;
}

}  // namespace detail

/// The bytes of the file at `path`; `function` is the name used in errors.
///
/// Errors: file_error if it is missing, a directory, unreadable, or longer than `max_bytes`.
inline std::string read_file(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{1} << 32,
                             const char* function = "read_file") {
    const detail::file_handle file = detail::open_for_reading(path, function);
    std::string bytes;
    char chunk[1 << 14];
    for (;;) {
        errno = 0;
        const std::size_t got = std::fread(chunk, 1, sizeof chunk, file.get());
        if (got > max_bytes - bytes.size())
            fail(error_kind::file, function, path.string(), "at most " + std::to_string(max_bytes) + " bytes", "more");
        bytes.append(chunk, got);
        if (got < sizeof chunk) break;
    }
    if (std::ferror(file.get()))
        fail(error_kind::file, function, path.string(), "a readable file",
             detail::system_message(errno) + " at byte " + std::to_string(bytes.size()));
    return bytes;
}

}  // namespace rlgaf::inline RLGAF_ABI
