// SPDX-License-Identifier: MIT
// A listening TCP socket.
#pragma once

#include <ringstep/detail/owned_fd.hpp>
#include <ringstep/error.hpp>
#include <ringstep/net/address.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace ringstep::inline v0 {

/// Options for a listening socket.
struct ListenerOptions {
    int backlog = 1024;       ///< connections that wait to be accepted
    bool no_delay = true;     ///< TCP_NODELAY, for every connection that is accepted
    bool reuse_port = false;  ///< SO_REUSEPORT: several sockets share one port, for one ring in each thread
};

/**
 * A listening TCP socket, which is closed with this object.
 *
 * **Example**:
 *
 *     ringstep::Listener listener{"127.0.0.1", 6400};
 *     server.listen(listener.fd());
 */
class Listener {
public:
    /// Binds to a numeric IPv4 or IPv6 address and listens. Port 0 lets the kernel choose: see port(). Throws Error: EINVAL if
    /// the address is not numeric, EADDRINUSE if the port is taken, or the kernel's errno.
    explicit Listener(const std::string& address, std::uint16_t port, const ListenerOptions& options = {}) {
        const std::string what = "listening on " + address + ", port " + std::to_string(port);
        const SocketAddress name = SocketAddress::ip(address, port);
        fd_ = detail::OwnedFd(::socket(name.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!fd_) detail::raise(errno, what, "No socket could be made.");
        set(SOL_SOCKET, SO_REUSEADDR, true);
        set(SOL_SOCKET, SO_REUSEPORT, options.reuse_port);
        set(IPPROTO_TCP, TCP_NODELAY, options.no_delay);
        if (::bind(fd_.get(), name.native(), name.length()) != 0 || ::listen(fd_.get(), options.backlog) != 0)
            detail::raise(errno, what, errno == EADDRINUSE ? "Another socket has this port: choose another one." : "");
    }

    /// Returns the descriptor of the socket.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    /// Returns the port that the socket listens on.
    [[nodiscard]] std::uint16_t port() const noexcept {
        sockaddr_storage name{};
        socklen_t length = sizeof name;
        if (::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &length) != 0) return 0;
        in_port_t port = 0;
        const std::size_t offset =
            name.ss_family == AF_INET ? offsetof(sockaddr_in, sin_port) : offsetof(sockaddr_in6, sin6_port);
        std::memcpy(&port, reinterpret_cast<const char*>(&name) + offset, sizeof port);
        return ntohs(port);
    }

private:
    void set(int level, int option, bool value) noexcept {
        const int number = value ? 1 : 0;
        (void)::setsockopt(fd_.get(), level, option, &number, sizeof number);
    }

    detail::OwnedFd fd_;
};

}  // namespace ringstep::inline v0
