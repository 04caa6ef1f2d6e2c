// SPDX-License-Identifier: MIT
// Files for tests: with contents that tell where they belong, on tmpfs and on ext4.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "descriptors.hpp"
#include "ensure.hpp"

using Bytes = std::vector<unsigned char>;

/// Bytes that no other place of the same file has: a block that is missing, doubled or misplaced shows.
inline Bytes random_bytes(std::size_t size, std::uint64_t seed = 1) {
    // splitmix64, which is quick also where nothing is optimized and the processor is emulated.
    std::uint64_t state = seed * 0x632B'E59B'D9B4'E019;
    Bytes bytes((size + 7) / 8 * 8);
    for (auto *at = bytes.data(), *const end = at + bytes.size(); at != end; at += 8) {
        std::uint64_t word = state += 0x9E37'79B9'7F4A'7C15;
        word = (word ^ (word >> 30)) * 0xBF58'476D'1CE4'E5B9;
        word = (word ^ (word >> 27)) * 0x94D0'49BB'1331'11EB;
        word ^= word >> 31;
        std::memcpy(at, &word, 8);
    }
    bytes.resize(size);
    return bytes;
}

/// An open file. Any thread may use it.
class File {
public:
    File(std::string path, int flags = O_RDWR | O_CREAT | O_TRUNC)
        : path_(std::move(path)), fd_(::open(path_.c_str(), flags | O_CLOEXEC, 0644)) {
        if (fd_ < 0) std::fprintf(stderr, "%s: ", path_.c_str());
        ensure(fd_ >= 0);
    }
    File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] struct stat status() const {
        struct stat status{};
        ensure(::fstat(fd_, &status) == 0);
        return status;
    }
    [[nodiscard]] std::uint64_t size() const { return static_cast<std::uint64_t>(status().st_size); }
    /// Bytes that it takes up.
    [[nodiscard]] std::uint64_t allocated() const { return static_cast<std::uint64_t>(status().st_blocks) * 512; }

    /// Bytes outside holes. Unlike allocated() it leaves out the metadata, whose size hangs on the order of the writes.
    [[nodiscard]] std::uint64_t data_bytes() const {
        std::uint64_t sum = 0;
        for (off_t end = 0;;) {
            const off_t begin = ::lseek(fd_, end, SEEK_DATA);
            if (begin < 0) {
                ensure(errno == ENXIO);
                return sum;
            }
            end = ::lseek(fd_, begin, SEEK_HOLE);
            ensure(end > begin);
            sum += static_cast<std::uint64_t>(end - begin);
        }
    }

    void write(const Bytes& bytes, std::uint64_t offset = 0) const {
        for (std::size_t done = 0; done < bytes.size();) {
            const ssize_t result = ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
            ensure(result > 0);
            done += static_cast<std::size_t>(result);
        }
    }
    void truncate(std::uint64_t size) const { ensure(::ftruncate(fd_, static_cast<off_t>(size)) == 0); }

    [[nodiscard]] Bytes read(std::uint64_t offset, std::size_t size) const {
        Bytes bytes(size);
        std::size_t done = 0;
        while (done < size) {
            const ssize_t result = ::pread(fd_, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
            ensure(result >= 0);
            if (result == 0) break;
            done += static_cast<std::size_t>(result);
        }
        bytes.resize(done);
        return bytes;
    }
    [[nodiscard]] Bytes read() const { return read(0, size()); }

    /// The file system under it.
    void drop_cache() const {
        ::fsync(fd_);
        ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    }

private:
    std::string path_;
    int fd_;
};

/// A folder that is gone afterwards.
class Folder {
public:
    explicit Folder(const std::string& where = "/tmp") : path_(where + "/ringstep-test.XXXXXX") {
        REQUIRE(::mkdtemp(path_.data()) != nullptr);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// A tmpfs of the given size.
class SmallTmpfs {
public:
    explicit SmallTmpfs(std::size_t size) {
        REQUIRE(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, ("size=" + std::to_string(size)).c_str()) == 0);
    }
    SmallTmpfs(const SmallTmpfs&) = delete;
    SmallTmpfs& operator=(const SmallTmpfs&) = delete;
    ~SmallTmpfs() { ::umount2(folder_.path().c_str(), MNT_DETACH); }
    [[nodiscard]] std::string operator/(const std::string& name) const { return folder_ / name; }

private:
    Folder folder_;
};

/// An ext4, the same one for all tests of a process: on the virtual machine's empty disk, elsewhere on a loop device.
class Ext4 {
public:
    [[nodiscard]] static const std::string& path() {
        static const Ext4 mounted;
        return mounted.folder_.path();
    }
    ~Ext4() { ::umount2(folder_.path().c_str(), MNT_DETACH); }
    Ext4(const Ext4&) = delete;
    Ext4& operator=(const Ext4&) = delete;

private:
    Ext4() {
        const bool in_vm = std::getenv("RINGSTEP_VM_KERNEL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
        const std::string& folder = folder_.path();
        const std::string disk = "/dev/nvme0n1";
        const std::string image = folder + ".image";
        const std::string on_disk = "mkfs.ext4 -q -F " + disk + " && mount " + disk + " " + folder;
        const std::string on_loop = "(modprobe loop || true) && truncate -s 512M " + image + " && mkfs.ext4 -q -F " + image +
                                    " && mount -o loop " + image + " " + folder + " && rm " + image;
        const std::string& command = in_vm && std::filesystem::exists(disk) ? on_disk : on_loop;
        const int status = std::system((command + (in_vm ? "" : " 2>/dev/null")).c_str());  // NOLINT(cert-env33-c)
        if (status != 0 && !in_vm)
            SKIP("an ext4 needs root, mkfs.ext4 and a loop device; in ./dev vm --disk there is always one");
        INFO(command);
        REQUIRE(status == 0);
    }
    Folder folder_;
};

/// Whether files in that folder can be opened with O_DIRECT: on tmpfs since Linux 6.6.
inline bool has_direct(const std::string& folder) {
    const std::string path = folder + "/ringstep-direct";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    ::unlink(path.c_str());
    if (fd >= 0) ::close(fd);
    return fd >= 0;
}

/// Where files are, by the name of the file system.
inline std::string place(const std::string& file_system) { return file_system == "ext4" ? Ext4::path() : "/tmp"; }

using descriptors::Pipe;
