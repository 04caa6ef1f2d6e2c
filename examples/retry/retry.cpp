// SPDX-License-Identifier: MIT
// Receives from a socket without waiting (MSG_DONTWAIT), which ends with EAGAIN while no data has arrived. With this loop, the
// application sees EAGAIN only if it happens too often.
#include <ringstep/format.hpp>
#include <ringstep/loops/enter_loop.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <ringstep/compiled/retry.hpp>  // ringstep_add_loop() makes this from retry.bpf.c and retry.h

#include "../common/program.hpp"

namespace {

int run() {
    std::array<int, 2> sockets{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0)
        throw std::system_error(errno, std::generic_category(), "making of a pair of sockets");

    ringstep::Ring ring;
    ringstep::EnterLoop<ringstep::loops::retry> enter{ring};
    enter.state()->limit = 100;

    // The receives run first and find nothing. Then data arrives for four of the eight.
    std::array<char, 8> bytes{};
    for (std::uint64_t i = 0; i < bytes.size(); i++) {
        io_uring_sqe* receive = ring.sq().claim();
        io_uring_prep_recv(receive, sockets[0], &bytes[i], 1, MSG_DONTWAIT);
        receive->user_data = i;
    }
    constexpr std::string_view text = "four";
    io_uring_sqe* send = ring.sq().claim();
    io_uring_prep_send(send, sockets[1], text.data(), text.size(), 0);
    send->user_data = bytes.size();

    ringstep::Entered entered;
    do {
        entered = enter.submit_and_wait(9);
    } while (entered.end == ringstep::EnterEnd::interrupted);  // by a debugger, for example
    if (!entered) {
        program::print_error("retry: {}\n", entered.exit);
        return 1;
    }
    unsigned received = 0;
    unsigned given_up = 0;
    for (const ringstep::Completion& completion : ring.cq()) {
        if (completion.user_data == bytes.size()) continue;
        if (completion.result == 1) received++;
        if (completion.error() == EAGAIN) given_up++;
    }
    fmt::print("{} requests received a byte, {} did not in {} tries. {} were made again.\n", received, given_up,
               enter.state()->limit + 1, enter.state()->retried);
    for (const int fd : sockets) ::close(fd);
    return received == 4 && given_up == 4 ? 0 : 1;
}

}  // namespace

int main() { return program::run("retry", run); }
