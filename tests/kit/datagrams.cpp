// SPDX-License-Identifier: MIT
// A loop whose messages, addresses and buffers lie in its state answers datagrams.
#include <ringstep/compiled/datagrams.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

namespace {

class Socket {
public:
    Socket() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(fd_ >= 0);
        const sockaddr_in any{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
        REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        REQUIRE(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] sockaddr_in address() const {
        sockaddr_in name{};
        socklen_t length = sizeof name;
        REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length) == 0);
        return name;
    }

private:
    int fd_;
};

}  // namespace

TEST_CASE("A loop answers datagrams to their senders, also when there are more of them than buffers") {
    const Socket server;
    const std::array<Socket, 2> clients;
    const sockaddr_in to = server.address();
    ringstep::Ring ring;
    ringstep::LoopProgram<ringstep::loops::datagrams> program{ring};
    program.state()->socket = server.fd();
    for (const unsigned count : {1U, 7U, 40U}) {
        const auto text = [&](unsigned i) { return std::string(i * 9, static_cast<char>('a' + i % 26)); };
        for (unsigned i = 0; i < count; i++) {
            const std::string bytes = text(i);
            REQUIRE(::sendto(clients[i % 2].fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                             sizeof to) == static_cast<ssize_t>(bytes.size()));
        }
        program.state()->left = count;
        const ringstep::LoopExit exit = program.run();
        CHECK(exit.code == 0);
        REQUIRE(exit.ok());
        for (unsigned i = 0; i < count; i++) {
            std::array<char, 512> buffer{};
            const ssize_t size = ::recv(clients[i % 2].fd(), buffer.data(), buffer.size(), 0);
            REQUIRE(size >= 0);
            CHECK(std::string(buffer.data(), static_cast<std::size_t>(size)) == text(i));
        }
    }
}
