// SPDX-License-Identifier: MIT
// Opens source and destination, and copies attributes.
#pragma once

#include <ringstep/loops/copy_result.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// The error of one file that cannot be copied. Other files may still be copied.
class CopyFailure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail_with_errno(const std::string& what, int error = errno) {
    throw CopyFailure(fmt::format("{}: {}", what, std::generic_category().message(error)));
}

class Descriptor {
public:
    explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    // Closes the file. Returns false, with errno set, if that failed. The descriptor is gone in either case.
    [[nodiscard]] bool close() noexcept { return ::close(std::exchange(fd_, -1)) == 0; }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

inline struct stat status_of(const Descriptor& file, const std::string& path) {
    struct stat status{};
    if (::fstat(file.get(), &status) < 0) fail_with_errno(fmt::format("cannot look at '{}'", path));
    return status;
}

inline bool same_file(const struct stat& a, const struct stat& b) { return a.st_dev == b.st_dev && a.st_ino == b.st_ino; }

inline Descriptor open_source(const std::string& path) {
    Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) fail_with_errno(fmt::format("cannot open '{}'", path));
    if (S_ISDIR(status_of(file, path).st_mode))
        throw CopyFailure(fmt::format("'{}' is a directory, and directories are not copied", path));
    return file;
}

// A destination file. If this copy has created the file and close() does not succeed, the destructor removes it.
class Destination {
public:
    // Opens or creates the file. The content of an existing file is not changed yet.
    Destination(std::string path, const std::string& source_path, const struct stat& source, bool force)
        : path_(std::move(path)) {
        const mode_t mode = source.st_mode & 0777;
        constexpr int create = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
        file_ = Descriptor{::open(path_.c_str(), create, mode)};
        created_ = static_cast<bool>(file_);
        if (!file_ && errno == EEXIST) {
            struct stat existing{};
            const bool found = ::stat(path_.c_str(), &existing) == 0;
            if (!found && errno == ENOENT) throw CopyFailure(fmt::format("'{}' is a symbolic link that leads nowhere", path_));
            if (found && same_file(existing, source))
                throw CopyFailure(fmt::format("'{}' and '{}' are the same file", source_path, path_));
            if (found && S_ISDIR(existing.st_mode)) throw CopyFailure(fmt::format("'{}' is a directory", path_));
            file_ = Descriptor{::open(path_.c_str(), O_WRONLY | O_CLOEXEC)};
            if (!file_ && force && ::unlink(path_.c_str()) == 0) {
                file_ = Descriptor{::open(path_.c_str(), create, mode)};
                created_ = static_cast<bool>(file_);
            }
        }
        if (!file_ && errno == EISDIR && path_.ends_with('/')) throw CopyFailure(fmt::format("'{}' is not a directory", path_));
        if (!file_) fail_with_errno(fmt::format("cannot open '{}' for writing", path_));
    }

    Destination(const Destination&) = delete;
    Destination& operator=(const Destination&) = delete;
    ~Destination() {
        if (created_ && !kept_) remove();
    }

    [[nodiscard]] const Descriptor& file() const noexcept { return file_; }
    [[nodiscard]] bool created() const noexcept { return created_; }

    // Closes the finished copy. Some file systems, for example NFS, report only here that data could not be stored. That is
    // also an error if a signal has interrupted the wait for the data (EINTR).
    void close() {
        if (created_ && ::fstat(file_.get(), &mine_) < 0) fail_with_errno(fmt::format("cannot look at '{}'", path_));
        if (file_.close()) {
            kept_ = true;
            return;
        }
        throw CopyFailure(fmt::format("closing '{}' failed, so data may be lost: {}. The destination is {}", path_,
                                      std::generic_category().message(errno), created_ ? "removed" : "incomplete"));
    }

    // Cuts the file after a copy that failed half-way, so that no old content follows the data copied in order. (A copy in any
    // order empties an old file first.)
    void cut(const ringstep::CopyResult& result) const noexcept {
        if (result.in_order && ::ftruncate(file_.get(), static_cast<off_t>(result.bytes)) < 0) return;
    }

    // Waits until the file and its name are on the disk.
    void sync() const {
        if (::fsync(file_.get()) < 0) fail_with_errno(fmt::format("cannot sync '{}'", path_));
        if (!created_) return;
        const std::size_t slash = path_.rfind('/');
        const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
        const Descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (!directory || ::fsync(directory.get()) < 0) fail_with_errno(fmt::format("cannot sync '{}'", folder));
    }

private:
    // Removes the file, but only if the name still refers to the file that was created.
    void remove() noexcept {
        if (file_ && ::fstat(file_.get(), &mine_) < 0) return;
        struct stat there{};
        if (::lstat(path_.c_str(), &there) == 0 && same_file(mine_, there)) ::unlink(path_.c_str());
    }

    std::string path_;
    Descriptor file_;
    struct stat mine_{};  // of the created file, while it is open and when it was closed
    bool created_ = false;
    bool kept_ = false;
};

// Copies the mode, the owner if permitted, extended attributes if the destination supports them, and the times.
inline void copy_attributes(const Descriptor& from, const struct stat& source, const Descriptor& to, const std::string& path) {
    mode_t mode = source.st_mode & 07777;
    if (::fchown(to.get(), source.st_uid, source.st_gid) < 0) {
        if (errno != EPERM) fail_with_errno(fmt::format("cannot set the owner of '{}'", path));
        mode &= 0777;  // set-id bits mean "run as the owner", and the owner has changed
    }

    std::vector<char> names(static_cast<std::size_t>(std::max<ssize_t>(0, ::flistxattr(from.get(), nullptr, 0))));
    const ssize_t length = names.empty() ? 0 : ::flistxattr(from.get(), names.data(), names.size());
    std::string_view rest(names.data(), static_cast<std::size_t>(std::max<ssize_t>(0, length)));
    std::vector<char> value;
    while (!rest.empty()) {
        const std::string name(rest.substr(0, rest.find('\0')));
        rest.remove_prefix(std::min(rest.size(), name.size() + 1));
        const ssize_t size = ::fgetxattr(from.get(), name.c_str(), nullptr, 0);
        if (size < 0) continue;
        value.resize(static_cast<std::size_t>(size));
        if (::fgetxattr(from.get(), name.c_str(), value.data(), value.size()) != size) continue;
        if (::fsetxattr(to.get(), name.c_str(), value.data(), value.size(), 0) < 0 && errno != ENOTSUP && errno != EPERM) {
            fail_with_errno(fmt::format("cannot set the attribute {} of '{}'", name, path));
        }
    }

    if (::fchmod(to.get(), mode) < 0) fail_with_errno(fmt::format("cannot set the mode of '{}'", path));
    const std::array times = {source.st_atim, source.st_mtim};
    if (::futimens(to.get(), times.data()) < 0) fail_with_errno(fmt::format("cannot set the times of '{}'", path));
}
