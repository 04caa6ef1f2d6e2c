// SPDX-License-Identifier: MIT
// A file descriptor that is closed with its owner.
#pragma once

#include <ringstep/version.hpp>

#include <unistd.h>

#include <utility>

namespace ringstep::inline v0::detail {

/// Owns a file descriptor, or none, and closes it.
class OwnedFd {
public:
    OwnedFd() = default;
    explicit OwnedFd(int fd) noexcept : fd_(fd) {}
    OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    OwnedFd& operator=(OwnedFd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~OwnedFd() { close(); }

    /// Returns the descriptor, or a negative number if there is none.
    [[nodiscard]] int get() const noexcept { return fd_; }
    /// Returns true if there is a descriptor.
    explicit operator bool() const noexcept { return fd_ >= 0; }
    /// Returns the descriptor and gives up ownership.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    void close() noexcept {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }

private:
    int fd_ = -1;
};

}  // namespace ringstep::inline v0::detail
