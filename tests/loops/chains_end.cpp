// SPDX-License-Identifier: MIT
// Chains that end with requests in flight, which write to memory that the ring's next loop uses.
#include <ringstep/chain/chains.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/program.hpp>

#include "ensure.hpp"
#include "error_of.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::chain::Chains;

namespace {

struct Sockets {
    Sockets() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0); }
    ~Sockets() {
        for (const int end : ends) ::close(end);
    }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;
    void send(std::string_view text) const {
        ensure(::send(ends[1], text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    }
    std::array<int, 2> ends{};
};

constexpr std::uint32_t size = 256;
const std::string data(size, 'x');

/// Chains that receive from these sockets, each into its scratch bytes, with a timeout for each request and each chain.
void start(Chains& chains, const Sockets& sockets, unsigned count) {
    ringstep::chain::Graph graph;
    const ringstep::chain::Scratch scratch = graph.scratch(size);
    (void)graph.recv(sockets.ends[0], scratch.address(), size).timeout(1h);
    const ringstep::chain::GraphId id = chains.add(graph);
    for (unsigned i = 0; i < count; i++) chains.start(id, {}, {.timeout = 1h});
}

/// Runs until that many requests, with a timeout for each and for each chain, are in flight, and the loop has seen so many
/// completions of others.
void leave_in_flight(Chains& chains, unsigned count, std::uint64_t foreign = 0) {
    ringstep_requests& requests = chains.state()->requests;
    std::jthread stopper([&] {
        while (chains.in_flight() != count || std::atomic_ref(requests.cancels).load() != 2 * count ||
               std::atomic_ref(requests.foreign).load() != foreign)
            std::this_thread::yield();
        chains.program().request_stop();
    });
    LoopExit exit = chains.run();
    while (exit.reason == ExitReason::interrupted) exit = chains.run();
    REQUIRE(exit.reason == ExitReason::stop_requested);
}

/// The bytes of the region behind the control block, which the application has filled.
std::span<std::byte> filled(const Ring& ring) {
    std::byte* const start = ring.region()->data() + sizeof(ringstep_control) + sizeof(scripted);
    const std::span<std::byte> bytes(start, ring.region()->data() + ring.region()->size());
    std::memset(bytes.data(), 0x5a, bytes.size());
    return bytes;
}

bool untouched(std::span<const std::byte> bytes) {
    return bytes.front() == std::byte{0x5a} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

/// The next loop on the ring, while data comes for the requests of the one before.
void check_next(Ring& ring, const Sockets& sockets) {
    LoopProgram<scripted_loop> next(ring);
    const std::span<std::byte> bytes = filled(ring);
    const Sockets own;
    std::array<char, 4> buffer{};
    io_uring_prep_recv(add_request(next.state()), own.ends[0], buffer.data(), buffer.size(), 0);
    next.state()->wait = 1;
    next.state()->stop_at = 1;
    std::jthread peer([&] {
        sockets.send(data);
        std::this_thread::sleep_for(20ms);
        own.send("next");
    });
    LoopExit exit = next.run();
    while (exit.reason == ExitReason::interrupted) exit = next.run();
    CHECK(exit.ok());
    CHECK(exit.completions == 1);
    CHECK(std::string_view(buffer.data(), 4) == "next");
    CHECK(untouched(bytes));
}

}  // namespace

TEST_CASE("Requests of destroyed chains do not write to the memory of the next loop") {
    const unsigned count = GENERATE(1U, 100U);
    const Sockets sockets;
    Ring ring;
    {
        Chains chains(ring);
        start(chains, sockets, count);
        leave_in_flight(chains, count);
    }
    CHECK(ring.in_flight() == 0);
    CHECK(ring.cq().ready() == 0);
    check_next(ring, sockets);
    CHECK(ring.close());
}

TEST_CASE("Requests of chains that another thread has taken off the ring end when their owner destroys the chains") {
    const Sockets sockets;
    Ring ring;
    {
        Chains chains(ring);
        start(chains, sockets, 3);
        leave_in_flight(chains, 3);
        std::jthread([&] { chains.program().detach(); }).join();
        CHECK_FALSE(chains.program().attached());
    }
    CHECK(ring.in_flight() == 0);
    CHECK(ring.cq().ready() == 0);
    check_next(ring, sockets);
    CHECK(ring.close());
}

TEST_CASE("Requests of chains that were taken off the ring have ended, and completions of the application's stay") {
    const Sockets sockets;
    Ring ring;
    Chains chains(ring);
    start(chains, sockets, 3);
    for (const std::uint64_t user_data : {1U, 2U}) {
        io_uring_sqe* const sqe = ring.sq().claim();
        io_uring_prep_nop(sqe);
        sqe->user_data = user_data;
    }
    leave_in_flight(chains, 3, 2);
    io_uring_sqe* const later = ring.sq().claim();
    io_uring_prep_nop(later);
    later->user_data = 3;
    chains.program().detach();
    CHECK(chains.in_flight() == 0);
    // The loop has taken the first two completions. The third request has not been submitted.
    CHECK(ring.in_flight() == 0);
    CHECK(ring.submit_and_wait(1).count == 1);
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.user_data == 3);
    CHECK_FALSE(ring.cq().pop(completion));
    check_next(ring, sockets);
}

TEST_CASE("A ring refuses a loop for as long as requests write to the memory of the one before") {
    const Sockets sockets;
    Ring ring;
    std::optional<Chains> chains(std::in_place, ring);
    start(*chains, sockets, 2);
    leave_in_flight(*chains, 2);
    std::thread other([&] { chains.reset(); });  // the ring is not that thread's
    other.join();
    std::thread([&] {
        const ringstep::Error error = error_of([&] { const ringstep::Gate gate(ring); });
        ensure(error.error_number() == EBUSY);
        ensure(std::string_view(error.what()).find("the ring's thread") != std::string_view::npos);
    }).join();
    CHECK_FALSE(ring.has_loop());
    SECTION("the next loop ends them") { check_next(ring, sockets); }
    SECTION("the next submit ends them") {
        io_uring_prep_nop(ring.sq().claim());
        CHECK(ring.submit_and_wait(1).count == 1);
        CHECK(ring.in_flight() == 1);
        ringstep::Completion completion;
        CHECK(ring.cq().pop(completion));
        CHECK_FALSE(ring.cq().pop(completion));
        check_next(ring, sockets);
    }
    SECTION("data ends them, and nobody sees their completions") {
        sockets.send(data);
        sockets.send(data);
        std::this_thread::sleep_for(20ms);
        ringstep::Completion completion;
        CHECK_FALSE(ring.cq().pop(completion));
        check_next(ring, sockets);
    }
}

TEST_CASE("Completions of destroyed chains need no room in a CQ that is full of others") {
    const Sockets sockets;
    Ring ring{{.sq_entries = 4, .cq_entries = 8}};
    ring.use_region(ringstep::RegionMemory::allocate(16 << 20));
    std::optional<Chains> chains(std::in_place, ring);
    start(*chains, sockets, 2);
    leave_in_flight(*chains, 2);
    std::thread other([&] { chains.reset(); });
    other.join();
    for (unsigned i = 0; i < 8; i++) {
        io_uring_prep_nop(ring.sq().claim());
        if (ring.sq().space_left() == 0) REQUIRE(ring.submit().count == 4);
    }
    CHECK(ring.cq().ready() == 8);
    unsigned taken = 0;
    ringstep::Completion completion;
    for (; ring.cq().pop(completion); taken++) CHECK(completion.user_data == 0);
    CHECK(taken == 8);
    check_next(ring, sockets);
}

TEST_CASE("A request of destroyed chains that was never submitted is not begun by the next submit") {
    const Sockets sockets;
    Ring ring;
    {
        Chains chains(ring);
        start(chains, sockets, 1);
        leave_in_flight(chains, 1);
        // As a run leaves them behind that ended because the kernel had no memory.
        io_uring_sqe* const sqe = ring.sq().claim();
        io_uring_prep_recv(sqe, sockets.ends[0], chains.state()->instances[7].scratch, size, 0);
        sqe->user_data = chains.state()->requests.identity | 7;
        chains.state()->requests.counts += RINGSTEP_REQUESTS_IN_FLIGHT;
        io_uring_sqe* const removal = ring.sq().claim();
        io_uring_prep_timeout_remove(removal, 12345, 0);
        removal->user_data = sqe->user_data | ringstep_identity_of_part(RINGSTEP_IDENTITY_HELPER, 0);
        chains.state()->requests.cancels++;
    }
    CHECK(ring.sq().claimed() == 2);
    check_next(ring, sockets);
}

TEST_CASE("Destroyed chains give their epoch back when their requests have ended") {
    const Sockets sockets;
    Ring ring;
    std::uint64_t identity = 0;
    {
        Chains chains(ring);
        identity = chains.state()->requests.identity;
        start(chains, sockets, 1);
        leave_in_flight(chains, 1);
    }
    ringstep::detail::LoopEpochs& epochs = ringstep::detail::RingAccess::core(ring)->epochs();
    bool free = false;
    for (std::uint32_t i = 0; i < 65'536 && !free; i++) free = ringstep_identity_of_loop(epochs.take()) == identity;
    CHECK(free);
}
