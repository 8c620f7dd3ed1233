#pragma once
/// Writes safetensors: header length (unsigned 64 bit, little-endian), JSON header, tensor bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rlgaf/data/utf8.hpp"
#include "rlgaf/io/atomic_file.hpp"
#include "rlgaf/io/tensor.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// The `__metadata__` of a file: text to text.
using file_metadata = std::map<std::string, std::string>;

namespace detail {

/// The first 8 bytes and the header, padded with spaces to a multiple of 8. `tensors` are sorted by name.
inline std::string safetensors_header(std::span<const tensor_view> tensors, const file_metadata& metadata) {
    constexpr const char* function = "write_safetensors";
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    for (const auto& [key, value] : metadata) {
        if (!is_utf8(key) || !is_utf8(value)) fail(error_kind::option, function, "metadata", "UTF-8", "other bytes");
        header["__metadata__"][key] = value;
    }
    std::size_t begin = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const tensor_view& t = tensors[i];
        const std::string argument = "tensor '" + std::string(t.name) + "'";
        if (!is_utf8(t.name) || t.name.empty() || t.name == "__metadata__")
            fail(error_kind::option, function, argument, "a name in UTF-8, not empty and not '__metadata__'",
                 "another");
        if (i > 0 && t.name == tensors[i - 1].name)
            fail(error_kind::option, function, argument, "every name once", "the same name twice");
        if (t.shape.size() > max_rank)
            fail(error_kind::shape, function, argument, "at most " + std::to_string(max_rank) + " dimensions",
                 std::to_string(t.shape.size()));
        const auto bytes = byte_size(t.type, t.shape);
        if (!bytes || *bytes != t.data.size())
            fail(error_kind::shape, function, argument,
                 bytes ? std::to_string(*bytes) + " bytes for shape " + text_of_shape(t.shape) : "a smaller shape",
                 std::to_string(t.data.size()));
        auto& entry = header[std::string(t.name)];
        entry["dtype"] = name_of(t.type);
        entry["shape"] = std::vector<std::size_t>(t.shape.begin(), t.shape.end());
        entry["data_offsets"] = {begin, begin + t.data.size()};
        begin += t.data.size();
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    std::string prefix;
    for (unsigned i = 0; i < 8; ++i)
        prefix.push_back(static_cast<char>(static_cast<unsigned char>(std::uint64_t{text.size()} >> (8 * i) & 0xff)));
    return prefix + text;
}

}  // namespace detail

/// Replaces the file at `path` as a whole, or leaves it as it was; tensors lie sorted by name, so equal content gives
/// equal bytes. At most 8 dimensions.
///
/// Errors: option_error for a name that is repeated, empty, not UTF-8 or `__metadata__`; shape_error where shape and
/// bytes differ; file_error.
inline void write_safetensors(const std::filesystem::path& path, std::span<const tensor_view> tensors,
                              const file_metadata& metadata = {}) {
    std::vector<tensor_view> sorted(tensors.begin(), tensors.end());
    std::sort(sorted.begin(), sorted.end(), [](const tensor_view& a, const tensor_view& b) { return a.name < b.name; });
    const std::string header = detail::safetensors_header(sorted, metadata);
    atomic_file file(path, "write_safetensors");
    file.write(header);
    for (const tensor_view& t : sorted) file.write(t.data);
    file.commit();
}

inline void write_safetensors(const std::filesystem::path& path, std::span<const tensor> tensors,
                              const file_metadata& metadata = {}) {
    write_safetensors(path, std::span<const tensor_view>(std::vector<tensor_view>(tensors.begin(), tensors.end())),
                      metadata);
}

}  // namespace rlgaf::inline RLGAF_ABI
