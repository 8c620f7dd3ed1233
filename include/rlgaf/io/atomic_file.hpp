#pragma once
/// Files that appear whole or not at all, whatever interrupts the writer.
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#if defined(_WIN32)
#include <io.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

#include "rlgaf/io/read_file.hpp"

namespace rlgaf::inline RLGAF_ABI {

/// Collects bytes in PATH.tmpN beside the target; `commit` brings them to disk and renames the file over the target.
///
/// Until then the target is untouched; without a commit the temporary file is removed. Missing parent directories are
/// created, a symbolic link is followed, and the permissions of a file that is replaced are kept.
/// Errors: file_error with path, cause and, for a failed write, the byte; nothing is left behind then.
class atomic_file {
public:
    explicit atomic_file(const std::filesystem::path& path, const char* function = "atomic_file")
        : target_(path), function_(function) {
        namespace fs = std::filesystem;
        std::error_code error;
        if (fs::is_symlink(target_, error)) {
            const fs::path real = fs::weakly_canonical(target_, error);
            if (!error) target_ = real;
        }
        const fs::file_status status = fs::status(target_, error);
        const bool replaces = fs::exists(status);
        if (target_.filename().empty() || (replaces && !fs::is_regular_file(status)))
            fail(error_kind::file, function_, path.string(), "the name of a regular file, new or old",
                 fs::is_directory(status) ? "a directory"
                 : replaces               ? "a special file"
                                          : "no file name");
        if (target_.has_parent_path()) {
            fs::create_directories(target_.parent_path(), error);
            if (error) fail(error_kind::file, function_, path.string(), "a directory to write to", error.message());
        }
        int code = EEXIST;
        for (int attempt = 0; attempt < 1000 && code == EEXIST; ++attempt) {
            temporary_ = target_;
            temporary_ += ".tmp" + std::to_string(attempt);
            errno = 0;
            file_.reset(std::fopen(temporary_.string().c_str(), "wbx"));
            code = file_ ? 0 : errno;
            if (!file_ && code == 0) code = EIO;
        }
        if (!file_)
            fail(error_kind::file, function_, target_.string(), "a place to write to", detail::system_message(code));
        if (replaces) fs::permissions(temporary_, status.permissions(), error);
    }
    atomic_file(const atomic_file&) = delete;
    atomic_file& operator=(const atomic_file&) = delete;
    ~atomic_file() { abandon(); }

    void write(std::string_view bytes) {
        if (bytes.empty()) return;
        errno = 0;
        const std::size_t done = file_ ? std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) : 0;
        if (done != bytes.size()) give_up("room for byte " + std::to_string(written_ + done), errno);
        written_ += done;
    }
    void write(std::span<const std::byte> bytes) {
        write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }

    /// After this the file is on disk under its name, and nothing more can be written.
    void commit() {
        errno = 0;
        if (!file_ || std::fflush(file_.get()) != 0 || !reaches_disk(file_.get())) give_up("a file on disk", errno);
        if (std::fclose(file_.release()) != 0) give_up("a closed file", errno);
        std::error_code error;
        std::filesystem::rename(temporary_, target_, error);
        if (error) give_up("a file that can be replaced", error.value());
        temporary_.clear();
        directory_reaches_disk();
    }

private:
    void abandon() noexcept {
        file_.reset();
        std::error_code ignored;
        if (!temporary_.empty()) std::filesystem::remove(temporary_, ignored);
        temporary_.clear();
    }
    [[noreturn]] void give_up(const std::string& expected, int code) {
        abandon();
        fail(error_kind::file, function_, target_.string(), expected,
             code == 0 ? "a file that is already closed" : detail::system_message(code));
    }
#if defined(_WIN32)
    static bool reaches_disk(std::FILE* file) { return _commit(_fileno(file)) == 0; }
    void directory_reaches_disk() const {}
#else
    static bool reaches_disk(std::FILE* file) { return fsync(fileno(file)) == 0; }
    /// The rename itself. The file is complete under either name, so a directory that cannot be synced is no error.
    void directory_reaches_disk() const {
        const std::string directory = target_.has_parent_path() ? target_.parent_path().string() : ".";
        const int descriptor = open(directory.c_str(), O_RDONLY);
        if (descriptor < 0) return;
        fsync(descriptor);
        close(descriptor);
    }
#endif

    std::filesystem::path target_, temporary_;
    const char* function_;
    detail::file_handle file_;
    std::size_t written_ = 0;
};

/// Replaces the file at `path` by `bytes`, or leaves it as it was. Errors: file_error.
inline void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
    atomic_file file(path, "write_file_atomically");
    file.write(bytes);
    file.commit();
}

}  // namespace rlgaf::inline RLGAF_ABI
