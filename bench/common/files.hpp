// SPDX-License-Identifier: MIT
// Files to copy, in memory so that no disk has a say, and whether copies are good.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace bench {

[[noreturn]] inline void fail_with_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// An open file that is closed at the end.
class File {
public:
    File(const std::string& path, int flags, mode_t mode = 0644) : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
        if (fd_ < 0) fail_with_errno("opening of " + path);
    }
    File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::uint64_t size() const {
        struct stat status{};
        if (::fstat(fd_, &status) != 0) fail_with_errno("fstat");
        return static_cast<std::uint64_t>(status.st_size);
    }

private:
    int fd_;
};

/// A folder in memory that goes away with all that is in it, as far as it was made by this class.
class MemoryFolder {
public:
    MemoryFolder() {
        std::string path = std::string(base()) + "/ringstep-bench.XXXXXX";
        if (::mkdtemp(path.data()) == nullptr) fail_with_errno("making of a folder in " + std::string(base()));
        path_ = path;
    }
    MemoryFolder(const MemoryFolder&) = delete;
    MemoryFolder& operator=(const MemoryFolder&) = delete;
    ~MemoryFolder() {
        for (const std::string& name : names_) ::unlink((path_ + "/" + name).c_str());
        ::rmdir(path_.c_str());
    }

    /// A new, empty file, in place of one that was there under that name.
    [[nodiscard]] File create(const std::string& name) {
        remove(name);
        names_.push_back(name);
        return File(path_ + "/" + name, O_RDWR | O_CREAT | O_EXCL);
    }
    void remove(const std::string& name) {
        ::unlink((path_ + "/" + name).c_str());
        std::erase(names_, name);
    }
    [[nodiscard]] std::uint64_t free_bytes() const {
        struct statfs status{};
        if (::statfs(path_.c_str(), &status) != 0) fail_with_errno("statfs");
        return static_cast<std::uint64_t>(status.f_bavail) * static_cast<std::uint64_t>(status.f_bsize);
    }

private:
    // tmpfs on most systems, and in the machines of ./dev vm.
    [[nodiscard]] static const char* base() { return "/dev/shm"; }

    std::string path_;
    std::vector<std::string> names_;
};

inline void write_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0) fail_with_errno("write");
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

/// Copies the start of a file by plain reads and writes; returns how many bytes there were.
inline std::uint64_t stage(int from, int to, std::uint64_t most) {
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    std::uint64_t total = 0;
    while (total < most) {
        const ssize_t count = ::read(from, buffer.data(), std::min<std::uint64_t>(buffer.size(), most - total));
        if (count < 0) fail_with_errno("read");
        if (count == 0) break;
        write_all(to, std::span(buffer).first(static_cast<std::size_t>(count)));
        total += static_cast<std::uint64_t>(count);
    }
    return total;
}

/// Numbers without a pattern, the same each time.
inline void fill(int fd, std::uint64_t bytes) {
    std::vector<std::uint64_t> buffer(std::size_t{1} << 17);
    std::uint64_t state = 0x9e3779b97f4a7c15;
    for (std::uint64_t done = 0; done < bytes;) {
        for (std::uint64_t& word : buffer) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word = state;
        }
        const auto part = std::as_bytes(std::span(buffer)).first(std::min<std::uint64_t>(buffer.size() * 8, bytes - done));
        write_all(fd, part);
        done += part.size();
    }
}

/// A whole file, as memory.
class Contents {
public:
    explicit Contents(const File& file) : size_(file.size()) {
        if (size_ == 0) return;
        bytes_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.fd(), 0);
        if (bytes_ == MAP_FAILED) fail_with_errno("mmap");
    }
    Contents(const Contents&) = delete;
    Contents& operator=(const Contents&) = delete;
    ~Contents() {
        if (size_ != 0) ::munmap(bytes_, size_);
    }

    [[nodiscard]] bool operator==(const Contents& other) const {
        return size_ == other.size_ && (size_ == 0 || std::memcmp(bytes_, other.bytes_, size_) == 0);
    }
    /// CRC-32, as `crc32` and `cksum -a crc32b` print it.
    [[nodiscard]] std::uint32_t checksum() const {
        return static_cast<std::uint32_t>(::crc32_z(0, static_cast<const Bytef*>(bytes_), size_));
    }

private:
    void* bytes_ = nullptr;
    std::size_t size_;
};

}  // namespace bench
