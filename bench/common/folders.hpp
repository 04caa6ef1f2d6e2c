// SPDX-License-Identifier: MIT
// Many small files, in a folder of a file system of one's choice.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "files.hpp"

namespace bench {

/// A folder that goes away at the end, with a file system mounted on it if one is named.
class Folder {
public:
    /// Makes a folder in `parent`. With a disk, makes a new ext4 there and mounts it on the folder.
    explicit Folder(const std::string& parent, const std::string& disk = {}) : path_(parent + "/ringstep-files.XXXXXX") {
        if (::mkdtemp(path_.data()) == nullptr) fail_with_errno("making of a folder in " + parent);
        if (disk.empty()) return;
        const std::string command = "mkfs.ext4 -q -F " + disk;
        if (std::system(command.c_str()) != 0 ||  // NOLINT(cert-env33-c)
            ::mount(disk.c_str(), path_.c_str(), "ext4", 0, nullptr) != 0) {
            ::rmdir(path_.c_str());
            throw std::system_error(errno, std::generic_category(), command + ", and mounting it on " + path_);
        }
        mounted_ = true;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
        ::rmdir(path_.c_str());
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
    bool mounted_ = false;
};

/// A set of small files. Their sizes look random, and are the same in each run. Each file begins with its number, in eight
/// bytes. The folder is the working directory as long as this object exists, so that opening a file does not include a long
/// path.
class SmallFiles {
public:
    static constexpr std::uint64_t least = 512;
    static constexpr std::uint64_t most = 6656;  // 3.5 KiB on average

    SmallFiles(const std::string& folder, std::uint64_t count) {
        if (::chdir(folder.c_str()) != 0) fail_with_errno("changing to " + folder);
        std::vector<std::byte> bytes(most, std::byte{'x'});
        std::uint64_t state = 0x9e3779b97f4a7c15;
        for (std::uint64_t number = 0; number < count; number++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            const std::uint64_t size = least + (state >> 32) % (most - least + 1);
            names_.push_back(fmt::format("{:04}", number));
            std::memcpy(bytes.data(), &number, sizeof number);
            const File file(names_.back(), O_WRONLY | O_CREAT | O_EXCL);
            write_all(file.fd(), std::span(bytes).first(size));
            bytes_ += size;
        }
    }
    SmallFiles(const SmallFiles&) = delete;
    SmallFiles& operator=(const SmallFiles&) = delete;
    ~SmallFiles() {
        for (const std::string& name : names_) ::unlink(name.c_str());
        (void)!::chdir("/");
    }

    [[nodiscard]] std::uint64_t count() const { return names_.size(); }
    [[nodiscard]] const char* name(std::uint64_t number) const { return names_[number].c_str(); }
    /// How many bytes they have together.
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

private:
    std::vector<std::string> names_;
    std::uint64_t bytes_ = 0;
};

}  // namespace bench
