#pragma once
/// The JSON header of a safetensors file, read as a stream of events: nothing that is not expected gets into memory.
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rlgaf/data/utf8.hpp"
#include "rlgaf/io/tensor.hpp"

namespace rlgaf::inline RLGAF_ABI::detail {

struct header_entry {
    std::string name;
    dtype type = dtype::f32;
    std::vector<std::size_t> shape;
    std::size_t begin = 0, end = 0;
};

/// Checks syntax, names, types and ranks; whether the offsets fit is `check_layout`'s.
class safetensors_header_parser : public nlohmann::json_sax<nlohmann::json> {
public:
    std::vector<header_entry> entries;
    std::map<std::string, std::string> metadata;

    /// Errors: file_error with the byte in the file, or the tensor.
    void parse(const std::string& text, const std::string& path) {
        constexpr const char* function = "read_safetensors";
        if (!text.starts_with('{')) fail(error_kind::file, function, path, "'{' at byte 8", "another byte");
        const std::size_t last = text.find_last_not_of(' ');
        if (text[last] != '}')
            fail(error_kind::file, function, path,
                 "'}' and spaces at the end of the header, byte " + std::to_string(8 + last), "another byte");
        if (const std::size_t nul = text.find('\0'); nul != std::string::npos)  // would end the text for the parser
            fail(error_kind::file, function, path, "JSON", "a NUL at byte " + std::to_string(8 + nul));
        if (!nlohmann::json::sax_parse(text, this))
            fail(error_kind::file, function, tensor_.empty() ? path : path + ": tensor '" + tensor_ + "'", expected_,
                 got_);
    }

    bool null() override { return refuse_value("null"); }
    bool boolean(bool) override { return refuse_value("true or false"); }
    bool number_integer(number_integer_t) override { return refuse_value("a negative number"); }
    bool number_float(number_float_t, const string_t&) override {
        return refuse_value("a number with a fraction, an exponent or more than 64 bits");
    }
    bool binary(binary_t&) override { return refuse_value("bytes"); }

    bool number_unsigned(number_unsigned_t value) override {
        if (place_ != place::list) return refuse_value("a number");
        if (!std::in_range<std::size_t>(value)) return refuse_value("a number that this machine cannot hold");
        if (numbers_.size() == (key_ == "shape" ? max_rank : 2)) return refuse_value("more numbers");
        numbers_.push_back(static_cast<std::size_t>(value));
        return true;
    }
    bool string(string_t& value) override {
        if (place_ == place::metadata) {
            metadata[key_] = value;
            return true;
        }
        if (place_ != place::tensor || key_ != "dtype") return refuse_value("a string");
        const auto type = dtype_from_name(value);
        if (!type) return refuse("a dtype out of F32, F64, I32, I64, U8", in_quotes(value));
        entries.back().type = *type;
        return true;
    }
    bool start_object(std::size_t) override {
        if (place_ == place::outside) {
            place_ = place::top;
        } else if (place_ == place::top) {
            place_ = key_ == "__metadata__" ? place::metadata : place::tensor;
            keys_.clear();
            if (place_ == place::tensor) entries.emplace_back().name = tensor_ = key_;
        } else {
            return refuse_value("an object");
        }
        return true;
    }
    bool key(string_t& name) override {
        if (!(place_ == place::top ? names_ : keys_).insert(name).second)
            return refuse("every key once", in_quotes(name) + " twice");
        key_ = name;
        if (place_ == place::tensor && name != "dtype" && name != "shape" && name != "data_offsets")
            return refuse("dtype, shape and data_offsets", in_quotes(name));
        return true;
    }
    bool end_object() override {
        if (place_ == place::tensor && keys_.size() != 3) return refuse("dtype, shape and data_offsets", "fewer");
        place_ = place_ == place::top ? place::outside : place::top;
        tensor_.clear();
        return true;
    }
    bool start_array(std::size_t) override {
        if (place_ != place::tensor || key_ == "dtype") return refuse_value("an array");
        place_ = place::list;
        numbers_.clear();
        return true;
    }
    bool end_array() override {
        place_ = place::tensor;
        if (key_ == "shape") {
            entries.back().shape = numbers_;
            return true;
        }
        if (numbers_.size() != 2) return refuse("two data_offsets", std::to_string(numbers_.size()));
        entries.back().begin = numbers_[0];
        entries.back().end = numbers_[1];
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
        tensor_.clear();
        return refuse("JSON", "a syntax error at byte " + std::to_string(8 + (position == 0 ? 0 : position - 1)));
    }

private:
    enum class place { outside, top, metadata, tensor, list };

    bool refuse(std::string expected, std::string got) {
        expected_ = std::move(expected);
        got_ = std::move(got);
        return false;
    }
    bool refuse_value(const char* got) {
        switch (place_) {
            case place::outside:
                return refuse("a header that is an object", got);
            case place::top:
                return refuse("an object for '" + key_ + "'", got);
            case place::metadata:
                return refuse("a string for '" + key_ + "' of __metadata__", got);
            case place::tensor:
                return refuse(key_ == "dtype" ? "a string for 'dtype'" : "an array for '" + key_ + "'", got);
            case place::list:
                break;
        }
        return refuse(key_ == "shape" ? "at most " + std::to_string(max_rank) + " numbers >= 0 for 'shape'"
                                      : "two numbers >= 0 for 'data_offsets'",
                      got);
    }

    place place_ = place::outside;
    std::string tensor_, key_, expected_, got_;
    std::set<std::string> names_, keys_;
    std::vector<std::size_t> numbers_;
};

}  // namespace rlgaf::inline RLGAF_ABI::detail
