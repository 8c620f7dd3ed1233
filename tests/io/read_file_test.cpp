#include "rlgaf/io/read_file.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

using namespace rlgaf;
using rlgaf_test::contains;
using rlgaf_test::message_of;

TEST_CASE("read_file: bytes as they are", "[io]") {
    const rlgaf_test::temp_dir dir;
    for (const std::size_t size : {0u, 1u, 16383u, 16384u, 16385u, 100000u}) {
        std::string bytes(size, '\0');
        for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7);
        const auto path = dir.write("file", bytes);
        REQUIRE(read_file(path) == bytes);
        REQUIRE(read_file(path, size) == bytes);
        if (size > 0) REQUIRE_THROWS_AS(read_file(path, size - 1), file_error);
    }
}

TEST_CASE("read_file: errors name the file", "[io]") {
    const rlgaf_test::temp_dir dir;
    REQUIRE(contains(message_of<file_error>([&] { read_file(dir / "none"); }), (dir / "none").string()));
    REQUIRE(contains(message_of<file_error>([&] { read_file(dir.path()); }), "a directory"));
}
