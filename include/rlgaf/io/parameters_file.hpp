#pragma once
/// Parameter blocks to a safetensors file and back.
///
/// A block is anything with `.name` (a string), `.shape` (a range of sizes) and `.values` (a std::span of float,
/// double, std::int32_t, std::int64_t or std::uint8_t, row-major).
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rlgaf/io/safetensors_reader.hpp"
#include "rlgaf/io/safetensors_writer.hpp"

namespace rlgaf::inline RLGAF_ABI {

template <class B>
concept file_block = requires(const B& b) {
    chars(b.name);
    std::begin(b.shape);
    std::end(b.shape);
    std::span(b.values);
};

namespace detail {

template <file_block B>
using block_element = typename decltype(std::span(std::declval<const B&>().values))::element_type;

inline std::string_view view(const chars& c) { return {c.data, c.size}; }

template <class Blocks>
using block_of = std::remove_cvref_t<decltype(*std::begin(std::declval<Blocks&>()))>;

template <file_block B>
std::vector<std::size_t> shape_of(const B& block, const char* function) {
    std::vector<std::size_t> shape;
    for (const auto extent : block.shape) shape.push_back(static_cast<std::size_t>(extent));
    const std::span values(block.values);
    const auto bytes = byte_size(dtype_of<block_element<B>>(), shape);
    if (!bytes || *bytes != values.size_bytes())
        fail(error_kind::shape, function, "block '" + std::string(view(block.name)) + "'",
             "as many values as shape " + text_of_shape(shape) + " has", std::to_string(values.size()));
    return shape;
}

}  // namespace detail

/// Errors: shape_error where shape and values of a block differ; else as `write_safetensors`.
template <class Blocks>
    requires file_block<detail::block_of<const Blocks>>
void save_parameters(const std::filesystem::path& path, const Blocks& blocks, const file_metadata& metadata = {}) {
    static_assert(std::is_lvalue_reference_v<decltype(*std::begin(blocks))>,
                  "rlgaf::save_parameters: a range of blocks that exist, such as a vector or a span.");
    std::vector<std::vector<std::size_t>> shapes;
    for (const auto& block : blocks) shapes.push_back(detail::shape_of(block, "save_parameters"));
    std::vector<tensor_view> tensors;
    for (const auto& block : blocks)
        tensors.push_back({detail::view(block.name), dtype_of<detail::block_element<detail::block_of<const Blocks>>>(),
                           shapes[tensors.size()], std::as_bytes(std::span(block.values))});
    write_safetensors(path, std::span<const tensor_view>(tensors), metadata);
}

/// Fills all blocks from the file, which has exactly their names, types and shapes, and returns its metadata. Not one
/// value is written before everything fits.
///
/// Errors: file_error that names path and tensor; shape_error where shape and values of a block differ; option_error
/// for two blocks of one name.
template <class Blocks>
    requires file_block<detail::block_of<const Blocks>> file_metadata load_parameters(const std::filesystem::path& path,
                                                                                      const Blocks& blocks) {
        constexpr const char* function = "load_parameters";
        using element = detail::block_element<detail::block_of<const Blocks>>;
        static_assert(!std::is_const_v<element>,
                      "rlgaf::load_parameters: `values` is a span of elements that can be written");
        safetensors_file file = read_safetensors(path);
        std::vector<const tensor*> sources;
        std::set<std::string_view> names;
        for (const auto& block : blocks) {
            const std::string_view name = detail::view(block.name);
            const std::vector<std::size_t> shape = detail::shape_of(block, function);
            if (!names.insert(name).second)
                fail(error_kind::option, function, "block '" + std::string(name) + "'", "every name once", "it twice");
            const tensor* source = file.find(name);
            const std::string argument = path.string() + ": tensor '" + std::string(name) + "'";
            if (source == nullptr) fail(error_kind::file, function, argument, "it in the file", "none of that name");
            if (source->type != dtype_of<element>() || source->shape != shape)
                fail(error_kind::file, function, argument,
                     std::string(name_of(dtype_of<element>())) + " " + detail::text_of_shape(shape),
                     std::string(name_of(source->type)) + " " + detail::text_of_shape(source->shape));
            sources.push_back(source);
        }
        for (const tensor& t : file.tensors)
            if (!names.contains(t.name))
                fail(error_kind::file, function, path.string() + ": tensor '" + t.name + "'",
                     "only tensors of the model", "one that it does not have");
        std::size_t i = 0;
        for (const auto& block : blocks) {
            const std::vector<std::byte>& data = sources[i++]->data;
            if (!data.empty()) std::memcpy(std::span(block.values).data(), data.data(), data.size());
        }
        return std::move(file.metadata);
    }

}  // namespace rlgaf::inline RLGAF_ABI
