#pragma once
/// Reads safetensors, and refuses every file that is not exactly one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rlgaf/io/detail/safetensors_header.hpp"
#include "rlgaf/io/read_file.hpp"
#include "rlgaf/io/tensor.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Everything that was in the file.
struct safetensors_file {
    std::vector<tensor> tensors;                  ///< sorted by name
    std::map<std::string, std::string> metadata;  ///< `__metadata__`

    /// nullptr if there is none of that name.
    const tensor* find(std::string_view name) const noexcept {
        const auto at = std::lower_bound(tensors.begin(), tensors.end(), name,
                                         [](const tensor& t, std::string_view n) { return t.name < n; });
        return at != tensors.end() && at->name == name ? &*at : nullptr;
    }
};

namespace detail {

/// Shapes fill their ranges, and the ranges fill the bytes behind the header without gap or overlap.
inline void check_layout(const std::vector<header_entry>& entries, std::size_t data_bytes, std::size_t data_begin,
                         const std::string& path) {
    constexpr const char* function = "read_safetensors";
    std::vector<const header_entry*> order;
    for (const header_entry& e : entries) {
        const std::string argument = path + ": tensor '" + e.name + "'";
        if (e.begin > e.end || e.end > data_bytes)
            fail(error_kind::file, function, argument, "data_offsets within 0.." + std::to_string(data_bytes),
                 std::to_string(e.begin) + ".." + std::to_string(e.end));
        const auto bytes = byte_size(e.type, e.shape);
        if (!bytes || *bytes != e.end - e.begin)
            fail(error_kind::file, function, argument,
                 bytes ? std::to_string(*bytes) + " bytes for shape " + text_of_shape(e.shape)
                       : "a shape whose size is a number of 64 bits",
                 std::to_string(e.end - e.begin) + " bytes");
        order.push_back(&e);
    }
    std::sort(order.begin(), order.end(), [](const header_entry* a, const header_entry* b) {
        return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
    });
    std::size_t end = 0;
    for (const header_entry* e : order) {
        if (e->begin != end)
            fail(error_kind::file, function, path + ": tensor '" + e->name + "'",
                 "to begin at data offset " + std::to_string(end) + ", byte " + std::to_string(data_begin + end),
                 std::to_string(e->begin) + (e->begin < end ? " (overlap)" : " (gap)"));
        end = e->end;
    }
    if (end != data_bytes)
        fail(error_kind::file, function, path, "the end of the file at byte " + std::to_string(data_begin + end),
             std::to_string(data_bytes - end) + " more bytes");
}

inline std::string read_exactly(std::FILE* file, std::size_t bytes, std::size_t at, const std::string& path) {
    std::string result(bytes, '\0');
    const std::size_t got = bytes == 0 ? 0 : std::fread(result.data(), 1, bytes, file);
    if (got != bytes)
        fail(error_kind::file, "read_safetensors", path, std::to_string(bytes) + " bytes at byte " + std::to_string(at),
             "only " + std::to_string(got));
    return result;
}

}  // namespace detail

/// Loads a whole file. The header, at most 100 MB of it, is checked to the last byte before memory is taken for the
/// tensors. F32, F64, I32, I64 and U8; at most 8 dimensions.
///
/// Errors: file_error with path and byte or tensor.
inline safetensors_file read_safetensors(const std::filesystem::path& file_path) {
    constexpr const char* function = "read_safetensors";
    constexpr std::size_t max_header = 100'000'000;
    const std::string path = file_path.string();
    const detail::file_handle file = detail::open_for_reading(file_path, function);
    std::error_code error;
    const std::uintmax_t file_bytes = std::filesystem::file_size(file_path, error);
    if (error) fail(error_kind::file, function, path, "a file with a size", error.message());
    if (file_bytes < 8)
        fail(error_kind::file, function, path, "8 bytes of header length at byte 0", std::to_string(file_bytes));

    std::uint64_t header_bytes = 0;
    const std::string prefix = detail::read_exactly(file.get(), 8, 0, path);
    for (std::size_t i = 8; i-- > 0;) header_bytes = header_bytes << 8 | static_cast<unsigned char>(prefix[i]);
    const std::uint64_t limit = std::min<std::uint64_t>(max_header, file_bytes - 8);
    if (header_bytes > limit)
        fail(error_kind::file, function, path, "a header length of at most " + std::to_string(limit) + " at byte 0",
             std::to_string(header_bytes));

    const std::size_t data_begin = 8 + static_cast<std::size_t>(header_bytes);
    const std::size_t data_bytes = static_cast<std::size_t>(file_bytes) - data_begin;
    detail::safetensors_header_parser header;
    header.parse(detail::read_exactly(file.get(), data_begin - 8, 8, path), path);
    detail::check_layout(header.entries, data_bytes, data_begin, path);

    std::sort(header.entries.begin(), header.entries.end(),
              [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    safetensors_file result;
    result.metadata = std::move(header.metadata);
    for (detail::header_entry& e : header.entries) {
        std::vector<std::byte> data(e.end - e.begin);
        const std::size_t got = data.empty() ? 0 : std::fread(data.data(), 1, data.size(), file.get());
        if (got != data.size())
            fail(error_kind::file, function, path,
                 std::to_string(data.size()) + " bytes at byte " + std::to_string(data_begin + e.begin),
                 "only " + std::to_string(got));
        result.tensors.push_back({std::move(e.name), e.type, std::move(e.shape), std::move(data)});
    }
    std::sort(result.tensors.begin(), result.tensors.end(),
              [](const tensor& a, const tensor& b) { return a.name < b.name; });
    return result;
}

}  // namespace rlgaf::inline RLGAF_ABI
