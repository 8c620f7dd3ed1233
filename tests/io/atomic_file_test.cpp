#include "rlgaf/io/atomic_file.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

#if !defined(_WIN32)
#include <sys/resource.h>

#include <csignal>
#endif

using namespace rlgaf;
using rlgaf_test::bytes_of;
using rlgaf_test::contains;
using rlgaf_test::message_of;
using rlgaf_test::nothing_thrown;

TEST_CASE("atomic_file: the target changes at commit and not before", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir.write("file", "old");
    {
        atomic_file file(path);
        file.write("new ");
        file.write("content");
        REQUIRE(bytes_of(path) == "old");
        file.commit();
        REQUIRE(bytes_of(path) == "new content");
        REQUIRE(contains(message_of<file_error>([&] { file.write("more"); }), "already closed"));
        REQUIRE(contains(message_of<file_error>([&] { file.commit(); }), "already closed"));
    }
    REQUIRE(bytes_of(path) == "new content");
    REQUIRE(dir.names() == std::vector<std::string>{"file"});
}

TEST_CASE("atomic_file: without commit nothing remains", "[io]") {
    const rlgaf_test::temp_dir dir;
    { atomic_file(dir / "a").write("x"); }
    try {
        atomic_file file(dir / "b");
        file.write("half");
        throw 1;
    } catch (int) {
    }
    REQUIRE(dir.names().empty());
}

TEST_CASE("atomic_file: two writers and leftovers do not disturb each other", "[io]") {
    const rlgaf_test::temp_dir dir;
    dir.write("file.tmp0", "left by a crash");
    atomic_file first(dir / "file"), second(dir / "file");
    first.write("first");
    second.write("second");
    second.commit();
    first.commit();
    REQUIRE(bytes_of(dir / "file") == "first");
    REQUIRE(bytes_of(dir / "file.tmp0") == "left by a crash");
    REQUIRE(dir.names().size() == 2);
}

TEST_CASE("write_file_atomically: creates directories, follows links, keeps permissions", "[io]") {
    const rlgaf_test::temp_dir dir;
    write_file_atomically(dir / "a/b/c.json", "{}");
    REQUIRE(bytes_of(dir / "a/b/c.json") == "{}");
    write_file_atomically(dir / "empty", "");
    REQUIRE(bytes_of(dir / "empty").empty());
#if !defined(_WIN32)
    namespace fs = std::filesystem;
    const auto target = dir.write("target", "old");
    fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write);
    fs::create_symlink(target, dir / "link");
    write_file_atomically(dir / "link", "new");
    REQUIRE(fs::is_symlink(dir / "link"));
    REQUIRE(bytes_of(target) == "new");
    REQUIRE(fs::status(target).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
#endif
}

TEST_CASE("write_file_atomically: what cannot be written is named", "[io]") {
    const rlgaf_test::temp_dir dir;
    REQUIRE(contains(message_of<file_error>([&] { write_file_atomically(dir.path(), "x"); }), "a directory"));
    REQUIRE(contains(message_of<file_error>([&] { write_file_atomically(dir / "new/", "x"); }), "no file name"));
    dir.write("file", "x");
    REQUIRE(contains(message_of<file_error>([&] { write_file_atomically(dir / "file/below", "x"); }), "below"));
    REQUIRE(dir.names() == std::vector<std::string>{"file"});
}

#if !defined(_WIN32)
TEST_CASE("write_file_atomically: a disk that fills up leaves the old file and no other", "[io]") {
    const rlgaf_test::temp_dir dir;
    const auto path = dir.write("file", "old");
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const auto limited = [&](std::size_t bytes) {
        rlimit limit = before;
        limit.rlim_cur = 1000;
        setrlimit(RLIMIT_FSIZE, &limit);
        std::string message = message_of<file_error>([&] { write_file_atomically(path, std::string(bytes, 'x')); });
        setrlimit(RLIMIT_FSIZE, &before);
        return message;
    };
    const std::string at_once = limited(100000), at_flush = limited(1500), fits = limited(900);
    std::signal(SIGXFSZ, handler);
    REQUIRE(contains(at_once, "file: expected room for byte"));
    REQUIRE(contains(at_flush, "file: expected a file on disk"));
    REQUIRE(fits == nothing_thrown);
    REQUIRE(bytes_of(path) == std::string(900, 'x'));
    REQUIRE(dir.names() == std::vector<std::string>{"file"});
}
#endif
