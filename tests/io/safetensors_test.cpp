#include "rlgaf/io/safetensors.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::bytes_of;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using rlgaf_test::nothing_thrown;

namespace {

std::string with_length(std::string_view header, std::string_view data = {}) {
    std::string bytes(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    return bytes.append(header).append(data);
}

/// "" if the file is read, the message if it is refused as it should be.
std::string reading(const rlgaf_test::temp_dir& dir, std::string_view bytes) {
    const auto path = dir.write("model.safetensors", bytes);
    const std::string message = message_of<file_error>([&] { read_safetensors(path); });
    if (message != nothing_thrown && !contains(message, path.string())) return "no path in: " + message;
    return message;
}

template <class T>
tensor make(std::string name, std::vector<std::size_t> shape, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return {std::move(name), dtype_of<T>(), std::move(shape), {bytes.begin(), bytes.end()}};
}

std::vector<tensor> some_tensors() {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return {make<float>("w", {2, 3}, {1, -2, 3.5f, nan, -0.0f, 1e-40f}),
            make<double>("layer.0/b", {2}, {0.1, -std::numeric_limits<double>::infinity()}),
            make<std::uint8_t>("Bytes", {3}, {0, 128, 255}),
            make<std::int64_t>("step", {}, {-7}),
            make<std::int32_t>("empty", {0, 4}, {}),
            make<std::int32_t>("é\n\"", {1, 1, 1, 1, 1, 1, 1, 1}, {42})};
}

struct block {
    std::string name;
    std::vector<std::size_t> shape;
    std::span<float> values;
};

}  // namespace

TEST_CASE("safetensors: what was written is read, and writing it again gives the same bytes", "[io]") {
    const rlgaf_test::temp_dir dir;
    std::vector<tensor> tensors = some_tensors();
    const file_metadata metadata{{"format", "rlgaf"}, {"note", "é \"quoted\"\n"}};
    write_safetensors(dir / "a", tensors, metadata);
    const safetensors_file file = read_safetensors(dir / "a");
    REQUIRE(file.metadata == metadata);
    REQUIRE(file.tensors.size() == tensors.size());
    for (const tensor& t : tensors) {
        const tensor* found = file.find(t.name);
        REQUIRE(found != nullptr);
        REQUIRE(found->type == t.type);
        REQUIRE(found->shape == t.shape);
        REQUIRE(found->data == t.data);
    }
    REQUIRE(file.find("w2") == nullptr);
    REQUIRE(file.find("") == nullptr);
    write_safetensors(dir / "b", file.tensors, file.metadata);
    REQUIRE(bytes_of(dir / "a") == bytes_of(dir / "b"));
    std::swap(tensors[0], tensors[4]);  // the order they are given in does not show
    write_safetensors(dir / "c", tensors, metadata);
    REQUIRE(bytes_of(dir / "a") == bytes_of(dir / "c"));
    REQUIRE(dir.names().size() == 3);
}

TEST_CASE("safetensors: the bytes of a small file", "[io]") {
    const rlgaf_test::temp_dir dir;
    write_safetensors(dir / "a", std::vector<tensor>{make<std::uint8_t>("b", {2}, {7, 8}), make<float>("a", {1}, {1})},
                      {{"k", "v"}});
    std::string header = R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    REQUIRE(bytes_of(dir / "a") == with_length(header, std::string_view("\0\0\x80\x3f\7\10", 6)));
    write_safetensors(dir / "none", std::vector<tensor>{});
    REQUIRE(bytes_of(dir / "none") == with_length("{}      "));
    REQUIRE(read_safetensors(dir / "none").tensors.empty());
}

TEST_CASE("safetensors: files that other writers make", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path =
        dir.write("a", with_length(R"({ "z" : {"data_offsets":[0,4], "shape":[4], "dtype":"U8"},)"
                                   R"( "a":{"dtype":"U8","shape":[],"data_offsets":[4,5]}, "__metadata__":{} })",
                                   "wxyz!"));
    const safetensors_file file = read_safetensors(path);
    REQUIRE(file.tensors[0].name == "a");
    REQUIRE(file.find("a")->data[0] == std::byte{'!'});
    REQUIRE(file.find("z")->data[3] == std::byte{'z'});
    REQUIRE(file.find("a")->shape.empty());
}

TEST_CASE("safetensors: every class of defect is refused with its place", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto one = [](std::string_view fields) { return "{\"t\":{" + std::string(fields) + "}}"; };
    const std::string good = one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])");
    const std::string four = "1234";
    REQUIRE(reading(dir, with_length(good, four)) == nothing_thrown);
    REQUIRE(reading(dir, with_length(good + "   ", four)) == nothing_thrown);

    std::string huge(8, '\xff'), over_cap(8, '\0'), negative(8, '\0');
    over_cap[3] = '\x7f';
    negative[7] = '\x80';
    struct {
        const char* what;
        std::string bytes;
        const char* message;
    } const cases[] = {
        {"empty file", "", "8 bytes of header length"},
        {"seven bytes", std::string(7, '\0'), "got 7"},
        {"header length 2^64 - 1", huge + good + four, "18446744073709551615"},
        {"header length over the cap", over_cap + good + four, "header length"},
        {"header length with the top bit", negative + good + four, "header length"},
        {"header longer than the file", with_length(good + "    ").substr(0, 8 + good.size()), "header length"},
        {"no header", with_length("", four), "'{' at byte 8"},
        {"byte order mark", with_length("\xef\xbb\xbf" + good, four), "'{' at byte 8"},
        {"space before", with_length(" " + good, four), "'{' at byte 8"},
        {"header is an array", with_length("[]"), "'{' at byte 8"},
        {"header is null", with_length("null"), "'{' at byte 8"},
        {"padding with NUL", with_length(good + std::string(2, '\0'), four), "'}' and spaces"},
        {"padding with newline", with_length(good + "\n", four), "'}' and spaces"},
        {"hidden behind a NUL", with_length(good + std::string(1, '\0') + "}", four), "a NUL at byte"},
        {"second object", with_length(good + "{}", four), "syntax error at byte"},
        {"cut JSON", with_length("{\"t\":{}"), "dtype, shape and data_offsets"},
        {"cut JSON after a tensor", with_length(good.substr(0, good.size() - 1), four), "syntax error"},
        {"trailing comma", with_length(good.substr(0, good.size() - 1) + ",}", four), "syntax error"},
        {"comment", with_length("{/* */}"), "syntax error at byte 9"},
        {"not UTF-8", with_length("{\"\xff\":{}}"), "syntax error at byte 10"},
        {"lone surrogate", with_length(R"({"\ud800":{}})"), "syntax error"},
        {"tensor twice", with_length("{" + good.substr(1, good.size() - 2) + "," + good.substr(1), four), "'t' twice"},
        {"tensor twice, once escaped",
         with_length("{" + good.substr(1, good.size() - 2) + ",\"\\u0074\"" + good.substr(4), four), "'t' twice"},
        {"tensor is a number", with_length(R"({"t":1})"), "an object for 't', got a number"},
        {"tensor is null", with_length(R"({"t":null})"), "an object for 't', got null"},
        {"tensor is an array", with_length(R"({"t":[]})"), "an object for 't', got an array"},
        {"field twice", with_length(one(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), four),
         "'dtype' twice"},
        {"unknown field", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1)"), four), "got 'x'"},
        {"no dtype", with_length(one(R"("shape":[1],"data_offsets":[0,4])"), four),
         "tensor 't': expected dtype, shape"},
        {"no shape", with_length(one(R"("dtype":"F32","data_offsets":[0,4])"), four), "got fewer"},
        {"no offsets", with_length(one(R"("dtype":"F32","shape":[1])"), four), "got fewer"},
        {"unknown dtype", with_length(one(R"("dtype":"F16","shape":[2],"data_offsets":[0,4])"), four), "'F16'"},
        {"dtype in lower case", with_length(one(R"("dtype":"f32","shape":[1],"data_offsets":[0,4])"), four), "'f32'"},
        {"dtype is a number", with_length(one(R"("dtype":32,"shape":[1],"data_offsets":[0,4])"), four),
         "a string for 'dtype'"},
        {"dtype is an array", with_length(one(R"("dtype":[],"shape":[1],"data_offsets":[0,4])"), four),
         "a string for 'dtype'"},
        {"shape is a number", with_length(one(R"("dtype":"F32","shape":1,"data_offsets":[0,4])"), four),
         "an array for 'shape'"},
        {"shape is nested", with_length(one(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), four), "an array"},
        {"negative extent", with_length(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), four),
         "a negative number"},
        {"minus zero", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[-0,4])"), four),
         "a negative number"},
        {"fraction", with_length(one(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), four), "a fraction"},
        {"exponent", with_length(one(R"("dtype":"F32","shape":[1e0],"data_offsets":[0,4])"), four), "an exponent"},
        {"extent of 2^64",
         with_length(one(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4])"), four), "64 bits"},
        {"extent true", with_length(one(R"("dtype":"F32","shape":[true],"data_offsets":[0,4])"), four),
         "true or false"},
        {"extent is text", with_length(one(R"("dtype":"F32","shape":["1"],"data_offsets":[0,4])"), four), "a string"},
        {"nine dimensions", with_length(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"), four),
         "at most 8 numbers"},
        {"size overflows to the right one",
         with_length(one(R"("dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4])"), four), "64 bits"},
        {"product overflows to 0",
         with_length(one(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])")), "64 bits"},
        {"one offset", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[4])"), four),
         "two data_offsets, got 1"},
        {"no offset", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[])"), four),
         "two data_offsets, got 0"},
        {"three offsets", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"), four),
         "more numbers"},
        {"offsets the wrong way round", with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), four),
         "within 0..4"},
        {"offset behind the end", with_length(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), four),
         "got 0..8"},
        {"largest offset",
         with_length(one(R"("dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615])"),
                     four),
         "within 0..4"},
        {"shape larger than range", with_length(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), four),
         "8 bytes for shape [2], got 4"},
        {"shape smaller than range", with_length(one(R"("dtype":"U8","shape":[3],"data_offsets":[0,4])"), four),
         "3 bytes for shape [3], got 4"},
        {"gap at the start", with_length(one(R"("dtype":"U8","shape":[3],"data_offsets":[1,4])"), four), "(gap)"},
        {"gap between",
         with_length(
             R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
             four),
         "begin at data offset 1"},
        {"overlap",
         with_length(
             R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
             four),
         "(overlap)"},
        {"same range twice",
         with_length(
             R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
             four),
         "(overlap)"},
        {"empty tensor inside another",
         with_length(
             R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
             four),
         "(overlap)"},
        {"trailing bytes", with_length(good, four + "5"), "1 more bytes"},
        {"bytes without a tensor", with_length("{}", four), "4 more bytes"},
        {"metadata is a string", with_length(R"({"__metadata__":"x"})"), "an object for '__metadata__'"},
        {"metadata holds a number", with_length(R"({"__metadata__":{"a":1}})"), "a string for 'a' of __metadata__"},
        {"metadata holds an object", with_length(R"({"__metadata__":{"a":{}}})"), "a string for 'a'"},
        {"metadata key twice", with_length(R"({"__metadata__":{"a":"","a":""}})"), "'a' twice"},
        {"metadata twice", with_length(R"({"__metadata__":{},"__metadata__":{}})"), "'__metadata__' twice"},
        {"deep nesting", with_length("{\"t\":" + std::string(100000, '[') + "}"), "an object for 't'"},
    };
    for (const auto& c : cases) {
        INFO(c.what);
        const std::string message = reading(dir, c.bytes);
        CAPTURE(message);
        REQUIRE(contains(message, c.message));
        REQUIRE(contains(message, "model.safetensors"));
    }
    REQUIRE(contains(message_of<file_error>([&] { read_safetensors(dir / "none"); }), "none"));
    REQUIRE(contains(message_of<file_error>([&] { read_safetensors(dir.path()); }), "a directory"));
}

TEST_CASE("safetensors: no shorter and no longer file passes for the whole one", "[io]") {
    const rlgaf_test::temp_dir dir;
    write_safetensors(dir / "a", some_tensors(), {{"k", "v"}});
    const std::string bytes = bytes_of(dir / "a");
    REQUIRE(reading(dir, bytes) == nothing_thrown);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        INFO("first " << size << " bytes of " << bytes.size());
        REQUIRE(contains(reading(dir, std::string_view(bytes).substr(0, size)), "model.safetensors"));
    }
    REQUIRE(reading(dir, bytes + '\0') != nothing_thrown);
}

TEST_CASE("safetensors: a flipped bit in the header is refused or leaves a consistent file", "[io]") {
    const rlgaf_test::temp_dir dir;
    write_safetensors(dir / "a", std::vector<tensor>{make<float>("a", {2, 1}, {1, 2}), make<double>("b", {1}, {3})});
    const std::string bytes = bytes_of(dir / "a");
    const std::size_t data = 16;
    std::size_t refused = 0;
    for (std::size_t at = 0; at < bytes.size() - data; ++at)
        for (int bit = 0; bit < 8; ++bit) {
            std::string flipped = bytes;
            flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
            const auto path = dir.write("flipped", flipped);
            const std::string message = message_of<file_error>([&] {
                std::size_t total = 0;
                for (const tensor& t : read_safetensors(path).tensors) {
                    REQUIRE(detail::byte_size(t.type, t.shape) == t.data.size());
                    total += t.data.size();
                }
                REQUIRE(total == data);
            });
            REQUIRE_FALSE(contains(message, "other:"));
            refused += message != nothing_thrown;
            if (at < 8) REQUIRE(message != nothing_thrown);
        }
    REQUIRE(refused > (bytes.size() - data) * 8 * 8 / 10);
}

TEST_CASE("safetensors: the writer refuses what the reader would", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir.write("a", "old");
    const auto writing = [&](std::vector<tensor> tensors) {
        return [&path, tensors = std::move(tensors)] { write_safetensors(path, tensors); };
    };
    const tensor good = make<float>("t", {1}, {1});
    REQUIRE(contains(message_of<option_error>(writing({good, good})), "'t'"));
    REQUIRE_THROWS_AS(writing({make<float>("", {1}, {1})})(), option_error);
    REQUIRE_THROWS_AS(writing({make<float>("\xff", {1}, {1})})(), option_error);
    REQUIRE_THROWS_AS(writing({make<float>("__metadata__", {1}, {1})})(), option_error);
    REQUIRE(contains(message_of<shape_error>(writing({make<float>("t", {2}, {1})})), "8 bytes for shape [2], got 4"));
    REQUIRE_THROWS_AS(writing({make<float>("t", std::vector<std::size_t>(9, 1), {1})})(), shape_error);
    REQUIRE_THROWS_AS(writing({make<float>("t", {std::size_t{1} << 63, 2}, {1})})(), shape_error);
    REQUIRE_THROWS_AS(write_safetensors(path, std::vector<tensor>{}, {{"k", "\xff"}}), option_error);
    REQUIRE(bytes_of(path) == "old");
    REQUIRE(dir.names() == std::vector<std::string>{"a"});
}

TEST_CASE("parameters: saved and loaded", "[io]") {
    const rlgaf_test::temp_dir dir;
    std::vector<float> a{1, 2, 3, 4, 5, 6}, b{7};
    const std::vector<block> blocks{{"layer.weight", {2, 3}, a}, {"layer.bias", {1}, b}};
    save_parameters(dir / "m", blocks, {{"model", "test"}});
    std::vector<float> a2(6), b2(1);
    std::array<block, 2> others{block{"layer.bias", {1}, b2}, block{"layer.weight", {2, 3}, a2}};
    REQUIRE(load_parameters(dir / "m", std::span<const block>(others)).at("model") == "test");
    REQUIRE(a2 == a);
    REQUIRE(b2 == b);
    save_parameters(dir / "n", others, {{"model", "test"}});
    REQUIRE(bytes_of(dir / "m") == bytes_of(dir / "n"));
}

TEST_CASE("parameters: a file that does not fit changes nothing", "[io]") {
    const rlgaf_test::temp_dir dir;
    std::vector<float> a(6, 1.0f), b{2};
    save_parameters(dir / "m", std::vector<block>{{"a", {2, 3}, a}, {"b", {1}, b}});
    std::vector<float> x(6, -1.0f), y(6, -1.0f), z(1, -1.0f);
    const auto message = [&](const std::vector<block>& blocks) {
        return message_of<file_error>([&] { load_parameters(dir / "m", blocks); });
    };
    REQUIRE(contains(message({{"a", {2, 3}, x}, {"c", {1}, z}}), "'c': expected it in the file"));
    REQUIRE(contains(message({{"a", {2, 3}, x}}), "'b': expected only tensors of the model"));
    REQUIRE(contains(message({{"a", {2, 3}, x}, {"b", {1, 1}, z}}), "F32 [1, 1], got F32 [1]"));
    REQUIRE(contains(message({{"b", {1}, z}, {"a", {3, 2}, x}}), "F32 [3, 2], got F32 [2, 3]"));
    REQUIRE_THROWS_AS(load_parameters(dir / "m", std::vector<block>{{"a", {2, 3}, x}, {"a", {2, 3}, y}}), option_error);
    REQUIRE_THROWS_AS(load_parameters(dir / "m", std::vector<block>{{"a", {2, 2}, x}}), shape_error);
    struct wide {
        std::string name;
        std::array<int, 1> shape;
        std::span<double> values;
    };
    std::vector<double> doubles{-1};
    save_parameters(dir / "one", std::vector<block>{{"b", {1}, b}});
    REQUIRE(contains(message_of<file_error>([&] {
                         load_parameters(dir / "one", std::vector<wide>{{"b", {1}, doubles}});
                     }),
                     "F64 [1], got F32 [1]"));
    REQUIRE(doubles[0] == -1);
    REQUIRE(x == std::vector<float>(6, -1.0f));
    REQUIRE(y == std::vector<float>(6, -1.0f));
    REQUIRE(z[0] == -1);
}
