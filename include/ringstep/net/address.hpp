// SPDX-License-Identifier: MIT
// Addresses of sockets.
#pragma once

#include <ringstep/c/sockets.h>
#include <ringstep/error.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

/**
 * The address of a TCP or Unix socket.
 *
 * **Example**:
 *
 *     proxy.add_upstream(ringstep::SocketAddress::ip("10.0.0.5", 8080));
 *     proxy.add_upstream(ringstep::SocketAddress::local("/run/app.sock"));
 */
class SocketAddress {
public:
    /// Returns the address of a port, for TCP or UDP. Throws Error (EINVAL) if `address` is not a numeric IPv4 or IPv6 address.
    [[nodiscard]] static SocketAddress ip(const std::string& address, std::uint16_t port) {
        SocketAddress result(address + ", port " + std::to_string(port));
        if (::inet_pton(AF_INET, address.c_str(), &result.value_.ipv4.address) == 1) {
            result.value_.family = AF_INET;
            result.length_ = sizeof result.value_.ipv4;
        } else {
            result.value_ = {};
            if (::inet_pton(AF_INET6, address.c_str(), result.value_.ipv6.address) != 1)
                detail::raise(EINVAL, "the use of the address \"" + address + "\"",
                              "An address has to be numeric, such as 127.0.0.1 or ::1.");
            result.value_.family = AF_INET6;
            result.length_ = sizeof result.value_.ipv6;
        }
        result.value_.ipv4.port = htons(port);  // which is at the same place in both
        return result;
    }

    /// Returns the address of a Unix socket. A path that begins with @ is abstract: there is no file. Throws Error (EINVAL) if
    /// the path is empty, has more than 107 bytes, or has a zero in it.
    [[nodiscard]] static SocketAddress local(const std::string& path) {
        SocketAddress result("Unix socket " + path);
        ringstep_unix_address& address = result.value_.local;
        if (path.empty() || path.size() >= sizeof address.path || path.find('\0') != std::string::npos)
            detail::raise(EINVAL, "the use of a path of " + std::to_string(path.size()) + " bytes for a Unix socket",
                          "It has to have 1 to 107 bytes, none of which is zero.");
        address.family = AF_UNIX;
        std::memcpy(address.path, path.data(), path.size());
        const bool abstract = path[0] == '@';
        if (abstract) address.path[0] = '\0';
        result.length_ = static_cast<std::uint32_t>(offsetof(ringstep_unix_address, path) + path.size() + (abstract ? 0 : 1));
        return result;
    }

    /// Returns the address as a loop has it in its state.
    [[nodiscard]] const ringstep_socket_address& value() const noexcept { return value_; }
    /// Returns the address for calls like bind(2), with length() bytes.
    [[nodiscard]] const sockaddr* native() const noexcept { return reinterpret_cast<const sockaddr*>(&value_); }
    /// Returns how many bytes the address has.
    [[nodiscard]] std::uint32_t length() const noexcept { return length_; }
    /// Returns the family: AF_INET, AF_INET6 or AF_UNIX.
    [[nodiscard]] int family() const noexcept { return value_.family; }
    /// Returns the address as text for a person.
    [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
    explicit SocketAddress(std::string text) : text_(std::move(text)) {}

    ringstep_socket_address value_{};
    std::uint32_t length_ = 0;
    std::string text_;
};

}  // namespace ringstep::inline v0
