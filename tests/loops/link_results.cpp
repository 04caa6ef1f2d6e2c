// SPDX-License-Identifier: MIT
// What a chain of linked requests comes to: the same as with the kernel's links; short transfers.
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/links.hpp"
#include "loops/requests.hpp"

using descriptors::Sockets;
using links::Chain;
using links::check_idle;
using links::emulated;
using links::hard;
using links::link_timeout_of;
using links::linked;
using links::prepared;
using links::Results;
using links::results_of;
using links::timeout_of;
using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::run_beside;
using requests::wait_until;
using requests::write_of;
using ringstep::Link;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

Results native(const Chain& chain) {
    io_uring ring{};
    REQUIRE(io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) == 0);
    for (const io_uring_sqe& sqe : chain) *io_uring_get_sqe(&ring) = sqe;
    REQUIRE(io_uring_submit_and_wait(&ring, static_cast<unsigned>(chain.size())) == static_cast<int>(chain.size()));
    Results results(chain.size(), 1 << 30);
    for (std::size_t i = 0; i < chain.size(); i++) {
        io_uring_cqe* cqe = nullptr;
        REQUIRE(io_uring_wait_cqe(&ring, &cqe) == 0);
        results.at(cqe->user_data) = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
    }
    io_uring_queue_exit(&ring);
    return results;
}

// A file of so many bytes.
class File {
public:
    explicit File(std::size_t size = 0) : fd_(::memfd_create("link", 0)) {
        REQUIRE(fd_ >= 0);
        const std::string text(size, 'y');
        REQUIRE(::pwrite(fd_, text.data(), size, 0) == static_cast<ssize_t>(size));
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() { ::close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

}  // namespace

TEST_CASE("The same chains have the same results, by the kernel's links and by the loop", "[main]") {
    std::array<char, 256> bytes{};
    __kernel_timespec moment{.tv_sec = 0, .tv_nsec = 1000};
    __kernel_timespec long_time{.tv_sec = 1000, .tv_nsec = 0};
    struct Case {
        std::string name;
        std::function<Results(const std::function<Results(const Chain&)>&)> run;
    };
    using Runner = std::function<Results(const Chain&)>;
    const auto after = [](const io_uring_sqe& first) { return linked({first, nop(0), nop(0)}); };
    const auto fixed = [&](std::string name, Chain chain) {
        return Case{std::move(name), [chain = linked(std::move(chain))](const Runner& runner) { return runner(chain); }};
    };
    const auto of_file = [&](std::string name, std::size_t size, auto make) {
        return Case{std::move(name), [=](const Runner& runner) {
                        const File file(size);
                        return runner(after(make(file.fd())));
                    }};
    };
    const auto of_sockets = [&](std::string name, std::size_t sent, auto make) {
        return Case{std::move(name), [=](const Runner& runner) {
                        const Sockets sockets;
                        const std::string text(sent, 'x');
                        REQUIRE(::send(sockets.ends[1], text.data(), sent, 0) == static_cast<ssize_t>(sent));
                        REQUIRE(::shutdown(sockets.ends[1], SHUT_WR) == 0);
                        return runner(after(make(sockets.ends[0])));
                    }};
    };
    const auto of_path = [&](std::string name, auto make) { return fixed(std::move(name), {prepared(make), nop(0), nop(0)}); };
    std::array<iovec, 2> vectors{iovec{bytes.data(), 10}, iovec{bytes.data() + 10, 20}};
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = vectors.size();
    char* const data = bytes.data();
    constexpr const char* nowhere = "/nowhere/at/all";

    std::vector<Case> cases{
        fixed("one", {nop(0)}),
        fixed("all succeed", {nop(0), nop(0), nop(0), nop(0)}),
        fixed("positive results", {nop(0, 7), nop(0, 8)}),
        fixed("the first fails", {nop(0, -5), nop(0), nop(0)}),
        fixed("one in the middle fails", {nop(0), nop(0, -5), nop(0), nop(0)}),
        fixed("the last fails", {nop(0), nop(0, -5)}),
        fixed("a hard link holds", {hard(nop(0, -5)), nop(0), nop(0)}),
        fixed("hard, then soft", {hard(nop(0, -5)), nop(0, -6), nop(0)}),
        fixed("soft, then hard", {nop(0, -5), hard(nop(0)), nop(0)}),
        fixed("both flags", {hard(nop(0, -5)), hard(nop(0, -6)), nop(0, -7), hard(nop(0)), nop(0)}),
        fixed("no such descriptor", {read_of(-1, data, 1, 0), nop(0)}),
        fixed("timeout", {timeout_of(moment), nop(0)}),
        fixed("timeout that is a success", {timeout_of(moment, IORING_TIMEOUT_ETIME_SUCCESS), nop(0)}),
        fixed("cancel of nothing", {prepared([](io_uring_sqe* sqe) { io_uring_prep_cancel64(sqe, 99, 0); }), nop(0)}),
        of_file("a whole read", 100, [=](int fd) { return read_of(fd, data, 100, 0); }),
        of_file("a short read", 99, [=](int fd) { return read_of(fd, data, 100, 0); }),
        of_file("a read of nothing", 0, [=](int fd) { return read_of(fd, data, 100, 0); }),
        of_file("an empty read", 10, [=](int fd) { return read_of(fd, data, 0, 0); }),
        of_file("a hard short read", 99, [=](int fd) { return hard(read_of(fd, data, 100, 0)); }),
        of_file("a write", 0, [=](int fd) { return write_of(fd, data, 100, 0); }),
        of_file("readv", 30,
                [&](int fd) { return prepared([&](auto* sqe) { io_uring_prep_readv(sqe, fd, vectors.data(), 2, 0); }); }),
        of_file("a short readv", 29,
                [&](int fd) { return prepared([&](auto* sqe) { io_uring_prep_readv(sqe, fd, vectors.data(), 2, 0); }); }),
        of_file("writev", 0,
                [&](int fd) { return prepared([&](auto* sqe) { io_uring_prep_writev(sqe, fd, vectors.data(), 2, 0); }); }),
        of_file("fsync", 0, [](int fd) { return prepared([&](auto* sqe) { io_uring_prep_fsync(sqe, fd, 0); }); }),
        of_file("fallocate", 0, [](int fd) { return prepared([&](auto* sqe) { io_uring_prep_fallocate(sqe, fd, 0, 0, 9); }); }),
        of_file("a fallocate that fails", 0,
                [](int fd) { return prepared([&](auto* sqe) { io_uring_prep_fallocate(sqe, fd, 0, 0, 0); }); }),
        of_file("sync_file_range that fails", 0,
                [](int fd) { return prepared([&](auto* sqe) { io_uring_prep_sync_file_range(sqe, fd, 0, 0, 1 << 20); }); }),
        of_file("fadvise that fails", 0,
                [](int fd) { return prepared([&](auto* sqe) { io_uring_prep_fadvise(sqe, fd, 0, 0, 999); }); }),
        of_sockets("a receive of all", 50,
                   [=](int fd) { return prepared([=](auto* sqe) { io_uring_prep_recv(sqe, fd, data, 50, 0); }); }),
        of_sockets("a receive of less", 50,
                   [=](int fd) { return prepared([=](auto* sqe) { io_uring_prep_recv(sqe, fd, data, 100, 0); }); }),
        of_sockets("a receive of less than MSG_WAITALL wants", 50,
                   [=](int fd) { return prepared([=](auto* sqe) { io_uring_prep_recv(sqe, fd, data, 100, MSG_WAITALL); }); }),
        of_sockets("a receive of nothing", 0,
                   [=](int fd) { return prepared([=](auto* sqe) { io_uring_prep_recv(sqe, fd, data, 100, 0); }); }),
        of_sockets("recvmsg of all", 30,
                   [&](int fd) { return prepared([&](auto* sqe) { io_uring_prep_recvmsg(sqe, fd, &message, MSG_WAITALL); }); }),
        of_sockets("recvmsg of less", 29,
                   [&](int fd) { return prepared([&](auto* sqe) { io_uring_prep_recvmsg(sqe, fd, &message, MSG_WAITALL); }); }),
        of_sockets("a send", 0, [=](int fd) { return prepared([=](auto* sqe) { io_uring_prep_send(sqe, fd, data, 50, 0); }); }),
        of_path("openat", [=](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, nowhere, O_RDONLY, 0); }),
        of_path("close", [](auto* sqe) { io_uring_prep_close(sqe, 12345); }),
        of_path("statx", [=](auto* sqe) { io_uring_prep_statx(sqe, AT_FDCWD, nowhere, 0, 0, nullptr); }),
        of_path("rename", [=](auto* sqe) { io_uring_prep_renameat(sqe, AT_FDCWD, nowhere, AT_FDCWD, nowhere, 0); }),
        of_path("unlink", [=](auto* sqe) { io_uring_prep_unlinkat(sqe, AT_FDCWD, nowhere, 0); }),
        of_path("mkdir", [=](auto* sqe) { io_uring_prep_mkdirat(sqe, AT_FDCWD, nowhere, 0700); }),
        of_path("symlink", [=](auto* sqe) { io_uring_prep_symlinkat(sqe, nowhere, AT_FDCWD, nowhere); }),
        of_path("link", [=](auto* sqe) { io_uring_prep_linkat(sqe, AT_FDCWD, nowhere, AT_FDCWD, nowhere, 0); }),
        of_path("getxattr", [=](auto* sqe) { io_uring_prep_getxattr(sqe, "user.x", data, nowhere, 10); }),
        of_path("madvise", [=](auto* sqe) { io_uring_prep_madvise(sqe, nullptr, 4096, 999); }),
        of_path("fsync of no descriptor", [](auto* sqe) { io_uring_prep_fsync(sqe, -1, 0); }),
        of_path("shutdown of no descriptor", [](auto* sqe) { io_uring_prep_shutdown(sqe, -1, 0); }),
        of_path("socket", [](auto* sqe) { io_uring_prep_socket(sqe, 9999, 0, 0, 0); }),
        of_path("connect", [](auto* sqe) { io_uring_prep_connect(sqe, 0, nullptr, 0); }),
        {"shutdown that fails",
         [&](const Runner& runner) {
             const int unconnected = ::socket(AF_UNIX, SOCK_STREAM, 0);
             const Results results =
                 runner(after(prepared([&](auto* sqe) { io_uring_prep_shutdown(sqe, unconnected, SHUT_RD); })));
             ::close(unconnected);
             return results;
         }},
        {"a pipe that is synced",
         [&](const Runner& runner) {
             const Pipe pipe;
             return runner(after(prepared([&](auto* sqe) { io_uring_prep_fsync(sqe, pipe.out(), 0); })));
         }},
        {"a write that nobody reads",
         [&](const Runner& runner) {
             const Sockets sockets;
             ::shutdown(sockets.ends[0], SHUT_WR);
             return runner(
                 after(prepared([&](auto* sqe) { io_uring_prep_send(sqe, sockets.ends[0], data, 5, MSG_NOSIGNAL); })));
         }},
        {"splice",
         [&](const Runner& runner) {
             const File file(100);
             const Pipe pipe;
             return runner(after(prepared([&](auto* sqe) { io_uring_prep_splice(sqe, file.fd(), 0, pipe.in(), -1, 100, 0); })));
         }},
        {"a short splice",
         [&](const Runner& runner) {
             const File file(99);
             const Pipe pipe;
             return runner(after(prepared([&](auto* sqe) { io_uring_prep_splice(sqe, file.fd(), 0, pipe.in(), -1, 100, 0); })));
         }},
        {"a linked timeout that expires",
         [&](const Runner& runner) {
             const Pipe pipe;
             return runner(linked({read_of(pipe.out(), data, 1, 0), link_timeout_of(moment), nop(0)}));
         }},
        {"a linked timeout that expires, and a hard link",
         [&](const Runner& runner) {
             const Pipe pipe;
             return runner(linked({hard(read_of(pipe.out(), data, 1, 0)), link_timeout_of(moment), nop(0)}));
         }},
        {"a linked timeout that does not expire",
         [&](const Runner& runner) {
             const Pipe pipe;
             pipe.write();
             return runner(linked({nop(0), read_of(pipe.out(), data, 1, 0), link_timeout_of(long_time), nop(0, -5), nop(0)}));
         }},
        {"a linked timeout that the kernel refuses",
         [&](const Runner& runner) {
             const Pipe pipe;
             __kernel_timespec no_time{.tv_sec = 1, .tv_nsec = -5};
             return runner(linked({read_of(pipe.out(), data, 1, 0), link_timeout_of(no_time), nop(0)}));
         }},
        {"linked timeouts that are severed",
         [&](const Runner& runner) { return runner(linked({nop(0, -5), nop(0), link_timeout_of(long_time), nop(0)})); }},
    };
    Ring ring;
    Link link(ring);
    for (const Case& test : cases) {
        INFO(test.name);
        CHECK(test.run([&](const Chain& chain) { return emulated(ring, link, chain); }) == test.run(native));
    }
}

TEST_CASE("A linked timeout whose time is negative is over at once") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    Link link(ring);
    for (__kernel_timespec time :
         {__kernel_timespec{.tv_sec = -1, .tv_nsec = 0}, __kernel_timespec{.tv_sec = 0, .tv_nsec = -1},
          __kernel_timespec{.tv_sec = -1, .tv_nsec = 999'999'999}, __kernel_timespec{.tv_sec = INT64_MIN, .tv_nsec = 0},
          __kernel_timespec{.tv_sec = 0, .tv_nsec = 0}}) {
        const Chain chain = linked({read_of(pipe.out(), &byte, 1, 0), link_timeout_of(time), nop(0)});
        CHECK(emulated(ring, link, chain) == Results{-ECANCELED, -ETIME, -ECANCELED});
    }
    __kernel_timespec past{.tv_sec = -5, .tv_nsec = 0};
    io_uring_sqe absolute = link_timeout_of(past);
    absolute.timeout_flags = IORING_TIMEOUT_ABS;
    const Chain chain = linked({read_of(pipe.out(), &byte, 1, 0), absolute, nop(0)});
    CHECK(emulated(ring, link, chain) == Results{-ECANCELED, -ETIME, -ECANCELED});
}

TEST_CASE("Short transfers are continued where that is asked for") {
    std::array<char, 64> bytes{};
    Ring ring;
    Link link(ring);
    Pipe pipe;
    SECTION("from a pipe, a byte at a time") {
        link.push(linked({read_of(pipe.out(), bytes.data(), 10, 0, ~0ULL), nop(0)}), {.continue_short = true});
        const LoopExit exit = run_beside(link, [&] {
            for (unsigned i = 0; i < 10; i++) {
                wait_until([&] { return link.state().load(&ringstep_link::continued) == i && link.in_flight() == 1; });
                ensure(link.ready() == 0);
                pipe.write();
            }
            wait_until([&] { return link.ready() == 2; });
        });
        CHECK(exit.ok());
        CHECK(results_of(link, 2) == Results{10, 0});
        CHECK(std::string(bytes.data()) == "xxxxxxxxxx");
    }
    SECTION("up to the end of what there is") {
        pipe.write(4);
        pipe.close_in();
        link.push(linked({read_of(pipe.out(), bytes.data(), 10, 0, ~0ULL), nop(0)}), {.continue_short = true});
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{4, -ECANCELED});
    }
    SECTION("at an offset") {
        const File file(30);
        link.push(linked({read_of(file.fd(), bytes.data(), 40, 0, 5), nop(0)}), {.continue_short = true});
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{25, -ECANCELED});
        CHECK(link.state()->continued == 1);
        CHECK(std::string(bytes.data()) == std::string(25, 'y'));
    }
    SECTION("a receive without MSG_WAITALL") {
        const Sockets sockets;
        CHECK(::send(sockets.ends[1], "abc", 3, 0) == 3);
        link.push(linked({prepared([&](auto* sqe) { io_uring_prep_recv(sqe, sockets.ends[0], bytes.data(), 6, 0); }), nop(0)}),
                  {.continue_short = true});
        const LoopExit exit = run_beside(link, [&] {
            wait_until([&] { return link.state().load(&ringstep_link::continued) == 1; });
            ensure(::send(sockets.ends[1], "def", 3, 0) == 3);
            wait_until([&] { return link.ready() == 2; });
        });
        CHECK(exit.ok());
        CHECK(results_of(link, 2) == Results{6, 0});
        CHECK(std::string(bytes.data()) == "abcdef");
    }
    SECTION("not when it is cancelled") {
        std::array<Ticket, 2> tickets{};
        pipe.write();
        link.push(linked({read_of(pipe.out(), bytes.data(), 10, 0, ~0ULL), nop(0)}), {.continue_short = true}, tickets);
        const LoopExit exit = run_beside(link, [&] {
            wait_until([&] { return link.state().load(&ringstep_link::continued) == 1 && link.in_flight() == 1; });
            ensure(link.cancel(tickets[0]));
            wait_until([&] { return link.ready() == 2; });
        });
        CHECK(exit.ok());
        CHECK(results_of(link, 2) == Results{1, -ECANCELED});
    }
    check_idle(link, ring);
}
