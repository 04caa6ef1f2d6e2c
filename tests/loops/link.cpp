// SPDX-License-Identifier: MIT
#include <ringstep/loops/link.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/requests.hpp"
#include "thorough.hpp"

using requests::nop;
using requests::Pipe;
using requests::read_of;
using requests::write_of;
using ringstep::ExitReason;
using ringstep::Link;
using ringstep::LinkOptions;
using ringstep::LoopExit;
using ringstep::RequestCompletion;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

using Chain = std::vector<io_uring_sqe>;
using Results = std::vector<int>;

// Links each to the next, softly unless it has a flag already.
Chain linked(Chain chain) {
    for (std::size_t i = 0; i + 1 < chain.size(); i++) {
        if ((chain[i].flags & IOSQE_IO_HARDLINK) == 0) chain[i].flags |= IOSQE_IO_LINK;
    }
    for (std::size_t i = 0; i < chain.size(); i++) chain[i].user_data = i;
    return chain;
}

io_uring_sqe hard(io_uring_sqe sqe) {
    sqe.flags |= IOSQE_IO_HARDLINK;
    return sqe;
}

Chain open_ended(Chain chain) {
    chain = linked(std::move(chain));
    chain.back().flags |= IOSQE_IO_LINK;
    return chain;
}

Results results_of(Link& link, std::size_t size) {
    Results results(size, 1 << 30);
    for (const RequestCompletion& completion : link.completions()) results.at(completion.user_data) = completion.result;
    return results;
}

// One loop for all of them: loading it is what takes long.
Results emulated(Ring& ring, Link& link, const Chain& chain) {
    link.push(chain);
    CHECK(link.run().ok());
    const Results results = results_of(link, chain.size());
    CHECK(link.outstanding() == 0);
    CHECK(link.waiting() == 0);
    CHECK(ring.in_flight() == 0);
    return results;
}

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

LoopExit run_beside(Link& link, const auto& work) {
    std::jthread other([&] {
        work();
        link.set_stay(false);
    });
    link.set_stay(true);
    return link.run();
}

void wait_until(const auto& condition) {
    while (!condition()) std::this_thread::yield();
}

void check_idle(Link& link, Ring& ring) {
    CHECK(link.outstanding() == 0);
    CHECK(link.waiting() == 0);
    CHECK(link.in_flight() == 0);
    CHECK(link.state()->requests.foreign == 0);
    CHECK(link.state()->ready.count == 0);
    CHECK(link.state()->severed.count == 0);
    CHECK(ring.in_flight() == 0);
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

class Sockets {
public:
    explicit Sockets(int type = SOCK_STREAM) { REQUIRE(::socketpair(AF_UNIX, type, 0, ends.data()) == 0); }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;
    ~Sockets() {
        for (const int end : ends) ::close(end);
    }
    std::array<int, 2> ends{};
};

io_uring_sqe prepared(const auto& prepare) {
    io_uring_sqe sqe{};
    prepare(&sqe);
    return sqe;
}

io_uring_sqe timeout_of(__kernel_timespec& time, unsigned flags = 0) {
    return prepared([&](io_uring_sqe* sqe) { io_uring_prep_timeout(sqe, &time, 0, flags); });
}
io_uring_sqe link_timeout_of(__kernel_timespec& time) {
    return prepared([&](io_uring_sqe* sqe) { io_uring_prep_link_timeout(sqe, &time, 0); });
}

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

TEST_CASE("A chain runs in its order, and chains beside each other", "[main]") {
    Ring ring{{.sq_entries = 8}};
    Link link(ring);
    for (std::uint64_t chain = 0; chain < 64; chain++) {
        Chain requests(Link::capacity / 64);
        for (std::size_t i = 0; i < requests.size(); i++) requests[i] = nop(0);
        requests = linked(std::move(requests));
        link.push(requests, {.group = chain});
    }
    CHECK_FALSE(link.try_push(linked({nop(0)})));
    CHECK_FALSE(link.try_push_open(open_ended({nop(0)})));
    CHECK(error_of([&] { link.push(nop(0)); }).error_number() == ENOSPC);
    CHECK(link.run().ok());
    std::map<std::uint64_t, std::uint64_t> next;
    for (const RequestCompletion& completion : link.completions()) {
        CHECK(completion.ok());
        CHECK(completion.user_data == next[completion.group]++);
    }
    for (const auto& [chain, count] : next) CHECK(count == Link::capacity / 64);
    check_idle(link, ring);
}

TEST_CASE("A chain longer than both queues, and as long as there are slots") {
    Ring ring{{.sq_entries = 4, .cq_entries = 8}};
    Link link(ring);
    for (unsigned round = 0; round < 2; round++) {
        Chain chain(Link::capacity, nop(0));
        if (round == 1) chain[1000] = nop(0, -5);
        chain = linked(std::move(chain));
        std::vector<Ticket> tickets(chain.size());
        CHECK(link.push(chain, {}, tickets) == tickets.front());
        CHECK(link.run().ok());
        const Results results = results_of(link, chain.size());
        for (std::size_t i = 0; i < results.size(); i++) {
            const int expected = round == 0 || i < 1000 ? 0 : i == 1000 ? -5 : -ECANCELED;
            REQUIRE(results[i] == expected);
        }
        check_idle(link, ring);
    }
}

TEST_CASE("Too few slots: a chain is taken whole or not at all") {
    Ring ring;
    Link link(ring);
    link.push(linked(Chain(Link::capacity - 3, nop(0))));
    CHECK_FALSE(link.try_push(linked(Chain(4, nop(0)))));
    CHECK_FALSE(link.try_push_open(open_ended(Chain(3, nop(0)))));
    CHECK(link.outstanding() == Link::capacity - 3);
    CHECK(link.try_push(linked(Chain(3, nop(0)))));
    CHECK(link.outstanding() == Link::capacity);
    CHECK(link.run().ok());
    CHECK(results_of(link, Link::capacity).front() == 0);
    check_idle(link, ring);
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

TEST_CASE("Requests of a chain can be cancelled, wherever they are", "[main]") {
    std::array<char, 8> bytes{};
    Ring ring;
    Link link(ring);
    Pipe pipe;
    std::array<Ticket, 5> tickets{};
    const Chain chain = linked({nop(0), read_of(pipe.out(), bytes.data(), 1, 0), nop(0), hard(nop(0)), nop(0)});
    link.push(chain, {}, tickets);
    Results expected;
    std::size_t which = 0;
    bool write = true;
    SECTION("in flight") {
        which = 1;
        write = false;
        expected = {0, -ECANCELED, -ECANCELED, -ECANCELED, -ECANCELED};
    }
    SECTION("not started") {
        which = 2;
        expected = {0, 1, -ECANCELED, -ECANCELED, -ECANCELED};
    }
    SECTION("not started, hard link") {
        which = 3;
        expected = {0, 1, 0, -ECANCELED, 0};
    }
    SECTION("the last one") {
        which = 4;
        expected = {0, 1, 0, 0, -ECANCELED};
    }
    const LoopExit exit = run_beside(link, [&] {
        wait_until([&] { return link.ready() == 1 && link.in_flight() == 1; });
        ensure(!link.cancel({.slot = tickets[which].slot, .generation = 77}));
        ensure(link.cancel(tickets[which]));
        ensure(!link.cancel(tickets[which]));
        if (write) {
            // The message has come when a later one has.
            link.push(nop(0), {.group = 1});
            wait_until([&] { return link.ready() == 2; });
            pipe.write();
        }
        wait_until([&] { return link.outstanding() == link.ready(); });
    });
    CHECK(exit.ok());
    Results results(5, 1 << 30);
    for (const RequestCompletion& completion : link.completions()) {
        if (completion.group == 0) results.at(completion.user_data) = completion.result;
    }
    CHECK(results == expected);
    check_idle(link, ring);
}

TEST_CASE("A chain goes on in later pushes") {
    std::array<char, 8> bytes{};
    Ring ring;
    Link link(ring);
    const auto numbered = [](Chain chain, std::uint64_t from) {
        for (io_uring_sqe& sqe : chain) sqe.user_data = from++;
        return chain;
    };
    SECTION("before it gets there, and after it has") {
        Pipe pipe;
        Ticket end = link.push_open(open_ended({nop(0), read_of(pipe.out(), bytes.data(), 1, 0)}));
        std::array<Ticket, 2> tickets{};
        end = link.extend_open(end, numbered(open_ended({nop(0), nop(0)}), 2), {}, tickets);
        pipe.write();
        CHECK(link.run().ok());
        CHECK(results_of(link, 4) == Results{0, 1, 0, 0});
        CHECK(link.run().ok());  // nothing to do: the open end is no request
        CHECK(link.outstanding() == 1);
        link.extend(end, linked({nop(0), nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{0, 0});
    }
    SECTION("what follows a failure is cancelled, whenever it comes") {
        Ticket end = link.push_open(open_ended({nop(0), nop(0, -5)}));
        end = link.extend_open(end, numbered(open_ended({nop(0)}), 2));
        CHECK(link.run().ok());
        CHECK(results_of(link, 3) == Results{0, -5, -ECANCELED});
        end = link.extend_open(end, open_ended({nop(0), nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 2) == Results{-ECANCELED, -ECANCELED});
        link.extend(end, linked({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-ECANCELED});
    }
    SECTION("a hard link into it holds") {
        Chain chain = open_ended({nop(0, -5)});
        chain[0].flags = IOSQE_IO_HARDLINK;
        const Ticket end = link.push_open(chain);
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-5});
        link.extend(end, linked({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{0});
    }
    SECTION("an open end is given up") {
        const Ticket reached = link.push_open(open_ended({nop(0)}));
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{0});
        CHECK(link.cancel(reached));
        CHECK(error_of([&] { link.extend(reached, linked({nop(0)})); }).error_number() == EINVAL);
        CHECK(link.run().ok());
        CHECK(results_of(link, 1) == Results{-ECANCELED});
        CHECK(error_of([&] { link.extend(reached, linked({nop(0)})); }).error_number() == EINVAL);
        const Ticket early = link.push_open(open_ended({nop(0, 3)}));
        CHECK(link.cancel(early));
        CHECK(link.run().ok());
        Results results;
        for (const RequestCompletion& completion : link.completions()) results.push_back(completion.result);
        CHECK(results == Results{3, -ECANCELED});
    }
    check_idle(link, ring);
}

TEST_CASE("An open end is extended once") {
    Ring ring;
    Link link(ring);
    const Ticket end = link.push_open(open_ended({nop(0)}));
    const auto again = [&] { return error_of([&] { link.extend(end, linked({nop(0), nop(0)})); }).error_number(); };
    link.extend(end, linked({nop(0)}));
    CHECK(again() == EINVAL);
    CHECK(link.outstanding() == 2);
    CHECK(link.run().ok());
    CHECK(again() == EINVAL);
    CHECK(results_of(link, 1) == Results{0});
    CHECK(again() == EINVAL);
    // A request that is no open end, too.
    const Ticket request = link.push(nop(0));
    CHECK(error_of([&] { link.extend(request, linked({nop(0)})); }).error_number() == EINVAL);
    CHECK(link.run().ok());
    CHECK(results_of(link, 1) == Results{0});
    check_idle(link, ring);
}

TEST_CASE("An open end that is extended and cancelled at once: one of them comes first") {
    constexpr std::uint64_t rounds = 300;
    Ring ring;
    Link link(ring);
    std::array<Ticket, 2> ends{};
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> cancelled{0};
    std::uint64_t extended = 0;
    link.set_stay(true);
    std::jthread canceller([&] {
        for (std::uint64_t round = 0; round < rounds; round++) {
            wait_until([&] { return begun > round; });
            if (round % 3 == 0) std::this_thread::yield();
            link.cancel(ends.at(round % 2));
            cancelled++;
        }
    });
    std::jthread extender([&] {
        std::map<std::uint64_t, unsigned> taken;
        std::uint64_t unexpected = 0;
        for (std::uint64_t round = 0; round < rounds; round++) {
            const Ticket end = link.push_open(open_ended({nop(0)}), {.group = round});
            ends.at(round % 2) = end;
            begun++;
            bool mine = true;
            try {
                link.extend(end, linked({nop(0), nop(0)}), {.group = round});
                extended++;
            } catch (const ringstep::Error& error) {
                if (error.error_number() != EINVAL) unexpected++;
                mine = false;
            }
            // The first of the chain, and then what it is extended by, or its end.
            const unsigned expected = mine ? 3 : 2;
            wait_until([&] { return cancelled > round; });
            wait_until([&] {
                RequestCompletion completion;
                while (link.pop(completion)) {
                    if (completion.group != round || (completion.result != 0 && completion.result != -ECANCELED)) unexpected++;
                    taken[round]++;
                }
                return taken[round] == expected;
            });
        }
        ensure(unexpected == 0);
        link.set_stay(false);
    });
    CHECK(link.run().ok());
    extender.join();
    canceller.join();
    CHECK(link.outstanding() == 0);
    INFO(extended << " of " << rounds << " were extended");
    check_idle(link, ring);
}

TEST_CASE("A stop under way loses nothing, and the chain goes on in the next run", "[main]") {
    Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Link link(ring);
    link.push(linked({nop(0), read_of(pipe.out(), bytes.data(), 1, 0), nop(0)}));
    {
        std::jthread other([&] {
            wait_until([&] { return link.in_flight() == 1 && link.waiting() == 1; });
            link.program().request_stop();
        });
        CHECK(link.run().reason == ExitReason::stop_requested);
    }
    CHECK(link.outstanding() == 3);
    pipe.write();
    CHECK(link.run().ok());
    CHECK(results_of(link, 3) == Results{0, 1, 0});
    check_idle(link, ring);
}

TEST_CASE("More completions than the CQ holds: no chain is lost") {
    Ring ring{{.sq_entries = 64, .cq_entries = 64}};
    Link link(ring);
    Pipe pipe;
    std::vector<char> bytes(600);
    for (std::uint64_t i = 0; i < bytes.size(); i++)
        link.push(linked({read_of(pipe.out(), &bytes[i], 1, 0), nop(0)}), {.group = i});
    const LoopExit exit = run_beside(link, [&] {
        wait_until([&] { return link.in_flight() == 600; });
        const std::string all(600, 'x');
        ensure(::write(pipe.in(), all.data(), all.size()) == 600);
        wait_until([&] { return link.ready() == 1200; });
    });
    CHECK(exit.ok());
    std::map<std::uint64_t, std::uint64_t> next;
    for (const RequestCompletion& completion : link.completions()) {
        CHECK(completion.result == (completion.user_data == 0 ? 1 : 0));
        REQUIRE(completion.user_data == next[completion.group]++);
    }
    CHECK(next.size() == 600);
    check_idle(link, ring);
}

TEST_CASE("What is no chain is refused") {
    Ring ring{{.sq_entries = 1}};
    Link link(ring);
    __kernel_timespec time{};
    const auto why = [&](const auto& push) {
        const ringstep::Error error = error_of(push);
        CHECK(error.error_number() == EINVAL);
        return std::string(error.advice());
    };
    using Catch::Matchers::ContainsSubstring;
    CHECK_THAT(why([&] { link.push(Chain{}); }), ContainsSubstring("empty"));
    CHECK_THAT(why([&] { link.push(Chain{nop(0), nop(1)}); }), ContainsSubstring("ends at its request 0"));
    CHECK_THAT(why([&] { link.push_open(Chain{nop(0)}); }), ContainsSubstring("ends at its request 0"));
    std::array<Ticket, 2> tickets{};
    CHECK_THAT(why([&] { link.push(Chain{nop(0)}, {}, tickets); }), ContainsSubstring("2 elements"));
    CHECK_THAT(why([&] { link.push(Chain{link_timeout_of(time)}); }), ContainsSubstring("in front of it"));
    CHECK_THAT(why([&] { link.push(linked({nop(0), link_timeout_of(time), link_timeout_of(time)})); }),
               ContainsSubstring("two SQ entries"));
    io_uring_sqe sqe = nop(0);
    sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
    CHECK_THAT(why([&] { link.push(sqe); }), ContainsSubstring("needs the completion"));
    sqe.flags = IOSQE_IO_DRAIN;
    CHECK_THAT(why([&] { link.push(sqe); }), ContainsSubstring("loop drain"));
    CHECK(link.outstanding() == 0);
    CHECK(link.run().ok());
}

namespace {

// What becomes of a chain of nops: the results in their order.
Results model_of(const Chain& chain) {
    Results results;
    bool severed = false;
    for (const io_uring_sqe& sqe : chain) {
        const int result = severed ? -ECANCELED : static_cast<int>(sqe.len);
        if (result < 0 && (sqe.flags & IOSQE_IO_HARDLINK) == 0) severed = true;
        results.push_back(result);
    }
    return results;
}

Chain random_chain(std::minstd_rand& random) {
    Chain chain(1 + random() % (random() % 50 == 0 ? 200 : 12));
    for (io_uring_sqe& sqe : chain) {
        sqe = nop(0, random() % 12 == 0 ? -static_cast<int>(1 + random() % 90) : static_cast<int>(random() % 3));
        sqe.nop_flags = 1;
        if (random() % 4 == 0) sqe.flags |= IOSQE_IO_HARDLINK;
        if (random() % 16 == 0) sqe.flags |= IOSQE_ASYNC;
    }
    return linked(std::move(chain));
}

}  // namespace

TEST_CASE("Requests in chains at random, against a simple model") {
    nops::need_results();
    const std::uint64_t total = rounds(20'000, 100'000);
    Ring ring{{.sq_entries = 32, .cq_entries = 128}};
    Link link(ring);
    std::minstd_rand random(5);
    struct Running {
        Results expected;
        std::size_t next = 0;
        std::optional<Ticket> end;
    };
    std::map<std::uint64_t, Running> running;
    std::uint64_t pushed = 0;
    std::uint64_t completed = 0;
    std::uint64_t number = 0;
    while (completed < total) {
        for (auto i = random() % 40; i > 0 && pushed < total; i--) {
            Chain chain = random_chain(random);
            Running one;
            one.expected = model_of(chain);
            if (random() % 8 == 0) {
                // Cut somewhere: the rest comes with a later round.
                const std::size_t cut = 1 + random() % chain.size();
                if ((chain[cut - 1].flags & IOSQE_IO_HARDLINK) == 0) chain[cut - 1].flags |= IOSQE_IO_LINK;
                if (cut == chain.size()) {
                    chain.push_back(nop(cut));
                    chain.back().nop_flags = 1;
                    one.expected = model_of(chain);
                }
                const Chain first(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(cut));
                const Chain rest(chain.begin() + static_cast<std::ptrdiff_t>(cut), chain.end());
                const std::optional<Ticket> end = link.try_push_open(first, {.group = number});
                if (!end) break;
                // The loop is anywhere by then.
                if (random() % 2 == 0) {
                    link.set_batch(1);
                    REQUIRE(link.run().reason == ExitReason::stopped);
                }
                link.extend(*end, rest, {.group = number});
            } else if (!link.try_push(chain, {.group = number})) {
                break;
            }
            pushed += one.expected.size();
            running.emplace(number++, std::move(one));
        }
        link.set_batch(random() % 3 == 0 ? 1 + static_cast<std::uint32_t>(random() % 40) : 0);
        REQUIRE(link.run().reason == ExitReason::stopped);
        for (const RequestCompletion& completion : link.completions()) {
            Running& one = running.at(completion.group);
            REQUIRE(completion.user_data == one.next);
            REQUIRE(completion.result == one.expected.at(one.next));
            if (++one.next == one.expected.size()) running.erase(completion.group);
            completed++;
        }
    }
    CHECK(completed == pushed);
    CHECK(running.empty());
    check_idle(link, ring);
}

TEST_CASE("Chains pushed by several threads while the loop runs") {
    nops::need_results();
    constexpr unsigned threads = 3;
    constexpr std::uint64_t each = 1500;
    Ring ring{{.sq_entries = 32}};
    Link link(ring);
    link.set_stay(true);
    std::vector<std::jthread> others;
    std::atomic<std::uint64_t> pushed{0};
    std::atomic<unsigned> ended{0};
    for (std::uint64_t thread = 0; thread < threads; thread++) {
        others.emplace_back([&, thread] {
            std::minstd_rand random(static_cast<unsigned>(thread) + 1);
            for (std::uint64_t i = 0; i < each; i++) {
                const Chain chain = random_chain(random);
                std::vector<Ticket> tickets(chain.size());
                const LinkOptions options{.group = thread << 32 | i};
                const bool open = random() % 4 == 0;
                if (open) {
                    const Chain opened = open_ended(chain);
                    std::optional<Ticket> end;
                    while (!(end = link.try_push_open(opened, options, tickets))) std::this_thread::yield();
                    Chain rest = linked({nop(0), nop(0)});
                    for (io_uring_sqe& sqe : rest) sqe.user_data += chain.size();
                    for (;;) {
                        try {
                            link.extend(*end, rest, options);
                            break;
                        } catch (const ringstep::Error& error) {
                            if (error.error_number() != ENOSPC) throw;
                            std::this_thread::yield();
                        }
                    }
                    pushed += chain.size() + 2;
                } else {
                    while (!link.try_push(chain, options, tickets)) std::this_thread::yield();
                    pushed += chain.size();
                }
                if (random() % 8 == 0) link.cancel(tickets[random() % tickets.size()]);
            }
            ended++;
        });
    }
    std::jthread taker([&] {
        std::map<std::uint64_t, std::uint64_t> next;
        std::uint64_t taken = 0;
        RequestCompletion completion;
        while (ended != threads || taken < pushed) {
            if (!link.pop(completion)) {
                std::this_thread::yield();
                continue;
            }
            taken++;
            ensure(completion.user_data == next[completion.group]++);
        }
        ensure(taken == pushed);
        link.set_stay(false);
    });
    CHECK(link.run().ok());
    taker.join();
    check_idle(link, ring);
}
