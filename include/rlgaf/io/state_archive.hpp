#pragma once
/// The two archives of a checkpoint: what a state's visit(archive) is called with.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rlgaf/io/tensor.hpp"

namespace rlgaf::inline RLGAF_ABI {

namespace detail {

/// How an element lies in a file. Unsigned numbers are kept as signed ones of the same bits.
template <class V>
constexpr dtype stored_as() {
    if constexpr (std::is_same_v<V, float>)
        return dtype::f32;
    else if constexpr (std::is_same_v<V, double>)
        return dtype::f64;
    else {
        static_assert(std::is_integral_v<V> || std::is_enum_v<V>,
                      "rlgaf: an archive takes numbers, std::vector of numbers, and std::span of numbers");
        static_assert(sizeof(V) == 1 || sizeof(V) == 4 || sizeof(V) == 8, "rlgaf: an integer of 8, 32 or 64 bits");
        return sizeof(V) == 1 ? dtype::u8 : sizeof(V) == 4 ? dtype::i32 : dtype::i64;
    }
}

/// Names of one object's entries: its place, the entry's place, what the object calls it.
class entry_names {
public:
    void next_object() { ++object_, entry_ = 0; }
    std::string next(chars name) {
        char place[48];
        std::snprintf(place, sizeof place, "%03zu.%06zu.", object_, entry_++);
        return place + std::string(name.data, name.size);
    }

private:
    std::size_t object_ = 0, entry_ = 0;
};

}  // namespace detail

/// An archive that takes everything down.
class state_writer {
public:
    template <class V>
    void operator()(chars name, const V& value) {
        if constexpr (std::is_same_v<V, bool>) {
            (*this)(name, static_cast<std::uint8_t>(value));
        } else if constexpr (requires { value.data(); }) {
            using element = std::remove_cvref_t<decltype(*value.data())>;
            add(name, detail::stored_as<element>(), {value.size()}, value.data(), value.size() * sizeof(element));
        } else {
            add(name, detail::stored_as<V>(), {}, &value, sizeof value);
        }
    }
    void next_object() { names_.next_object(); }
    std::vector<tensor> entries;

private:
    void add(chars name, dtype type, std::vector<std::size_t> shape, const void* data, std::size_t bytes) {
        tensor t{names_.next(name), type, std::move(shape), std::vector<std::byte>(bytes)};
        if (bytes > 0) std::memcpy(t.data.data(), data, bytes);
        entries.push_back(std::move(t));
    }
    detail::entry_names names_;
};

/// An archive that puts everything back, in the order in which it was taken down.
/// Errors: file_error with the entry, for one that is missing, is of another type, or is of another size where the
/// object's cannot change.
class state_reader {
public:
    /// `entries` sorted by name, and `from` for messages; both outlive the reader.
    state_reader(std::span<const tensor> entries, const std::string& from) : entries_(entries), from_(from) {}

    template <class V>
    void operator()(chars name, V&& value) {
        using type = std::remove_cvref_t<V>;
        if constexpr (std::is_same_v<type, bool>) {
            std::uint8_t stored = 0;
            (*this)(name, stored);
            value = stored != 0;
        } else if constexpr (requires { value.data(); }) {
            using element = std::remove_cvref_t<decltype(*value.data())>;
            const tensor& t = find(name, detail::stored_as<element>(), 1);
            if constexpr (requires { value.resize(1); })
                value.resize(t.shape[0]);
            else if (t.shape[0] != value.size())
                refuse(t, std::to_string(value.size()) + " elements", std::to_string(t.shape[0]));
            if (!t.data.empty()) std::memcpy(value.data(), t.data.data(), t.data.size());
        } else {
            const tensor& t = find(name, detail::stored_as<type>(), 0);
            std::memcpy(&value, t.data.data(), sizeof(type));
        }
    }
    void next_object() { names_.next_object(); }
    /// Errors: file_error if the file has more than was asked for.
    void finish() const {
        if (used_ < entries_.size())
            fail(error_kind::file, "load_checkpoint", from_,
                 std::to_string(used_) + " entries, as these objects have (same components, same order?)",
                 std::to_string(entries_.size()));
    }

private:
    const tensor& find(chars name, dtype type, std::size_t rank) {
        const std::string full = names_.next(name);
        const auto at = std::lower_bound(entries_.begin(), entries_.end(), full,
                                         [](const tensor& t, const std::string& n) { return t.name < n; });
        if (at == entries_.end() || at->name != full)
            fail(error_kind::file, "load_checkpoint", from_,
                 "an entry '" + full + "', the next of these objects (same components, same order?)", "none");
        if (at->type != type || at->shape.size() != rank)
            refuse(*at, std::string(name_of(type)) + (rank == 0 ? ", one number" : ", a row of numbers"),
                   std::string(name_of(at->type)) + " " + detail::text_of_shape(at->shape));
        ++used_;
        return *at;
    }
    [[noreturn]] void refuse(const tensor& t, const std::string& expected, const std::string& actual) const {
        fail(error_kind::file, "load_checkpoint", from_ + ": entry '" + t.name + "'", expected, actual);
    }

    std::span<const tensor> entries_;
    const std::string& from_;
    detail::entry_names names_;
    std::size_t used_ = 0;
};

}  // namespace rlgaf::inline RLGAF_ABI
