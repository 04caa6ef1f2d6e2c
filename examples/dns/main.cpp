// SPDX-License-Identifier: MIT
// A small DNS server. Start it with `dns 5300 example.test=192.0.2.1`, and ask it with
// `dig @127.0.0.1 -p 5300 example.test`.
#include <ringstep/format.hpp>
#include <ringstep/net/address.hpp>
#include <ringstep/ringstep.hpp>
#include <ringstep/signals.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include "../common/program.hpp"
#include "responder.hpp"

namespace {

/// A UDP socket on 127.0.0.1. Answers go out from the address that it is bound to.
class Socket {
public:
    explicit Socket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        const ringstep::SocketAddress address = ringstep::SocketAddress::ip("127.0.0.1", port);
        if (fd_ < 0 || ::bind(fd_, address.native(), address.length()) != 0)
            throw std::system_error(errno, std::generic_category(), "binding to port " + std::to_string(port));
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::uint16_t port() const {
        sockaddr_in address{};
        socklen_t length = sizeof address;
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
        return ntohs(address.sin_port);
    }

private:
    int fd_;
};

}  // namespace

int main(int argc, char** argv) {
    return program::run("dns", [&] {
        const auto port = static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 5300);
        const Socket socket{port};
        ringstep::Ring ring{{.sq_entries = 256}};
        Responder responder{ring, socket.fd()};
        for (int i = 2; i < argc; i++) {
            const std::string text = argv[i];
            const std::size_t middle = text.find('=');
            if (middle != std::string::npos && responder.add(text.substr(0, middle), text.substr(middle + 1))) continue;
            program::print_error("dns: {} is not of the kind NAME=ADDRESS\n", text);
            return static_cast<int>(program::exit_usage);
        }
        program::print("listening on 127.0.0.1, port {}\n", socket.port());
        (void)std::fflush(stdout);

        const ringstep::StopOnSignals signals{responder};
        const ringstep::LoopExit exit = ringstep::serve(responder);
        const dns_counters& counters = responder.state()->counters;
        program::print("{} datagrams, {} addresses, {} malformed\n", counters.received, counters.answered, counters.malformed);
        if (exit.ok()) return 0;
        program::print_error("{}\n", exit);
        return 1;
    });
}
