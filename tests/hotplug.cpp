// SPDX-License-Identifier: MIT
// Parts of the machine go away under a loop: the processor that it runs on, and the network device that it receives from.
#include <ringstep/program.hpp>

#include "child.hpp"
#include "descriptors.hpp"
#include "ensure.hpp"
#include "eventually.hpp"
#include "loops/scripted.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// Sets whether the machine's second processor is online. The destructor sets it online again.
class SecondProcessor {
public:
    SecondProcessor() {
        // Not on a machine that others use.
        if (std::getenv("RINGSTEP_VM_KERNEL") == nullptr) SKIP("only in a virtual machine");  // NOLINT(concurrency-mt-unsafe)
        if (!set(true)) SKIP("there is no second processor that can be taken away");
    }
    SecondProcessor(const SecondProcessor&) = delete;
    SecondProcessor& operator=(const SecondProcessor&) = delete;
    ~SecondProcessor() { (void)set(true); }

    // NOLINTNEXTLINE(readability-convert-member-functions-to-static): only who has an object may
    [[nodiscard]] bool set(bool online) const {
        std::ofstream file("/sys/devices/system/cpu/cpu1/online");
        file << (online ? '1' : '0') << std::flush;
        return file.good();
    }
};

void run_on(std::initializer_list<int> processors) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int processor : processors) CPU_SET(static_cast<unsigned>(processor), &set);
    ensure(::sched_setaffinity(0, sizeof set, &set) == 0);
}

}  // namespace

TEST_CASE("The processor that runs a step goes away, and the loop goes on at another one") {
    const bool spins = GENERATE(true, false);
    const SecondProcessor processor;
    constexpr unsigned timeouts = 200;
    const descriptors::Sockets sockets;
    char byte = 0;
    std::array<__kernel_timespec, timeouts> times{};
    Ring ring;
    for (std::uint64_t round = rounds(1, 20); round > 0; round--) {
        Scripted program(ring);
        for (unsigned i = 0; i < timeouts; i++) {
            times[i].tv_nsec = 1'000'000 * (i % 50);
            io_uring_prep_timeout(add_request(program.state()), &times[i], 0, 0);
        }
        // This one ends when the processor has gone.
        io_uring_prep_recv(add_request(program.state()), sockets.ends[0], &byte, 1, 0);
        program.state()->sqes_per_turn = 16;
        program.state()->wait = 1;
        program.state()->spin = spins;
        REQUIRE(processor.set(true));
        run_on({1});
        std::atomic<bool> gone{false};
        std::atomic<bool> over{false};
        std::thread other([&] {
            run_on({0});
            wait_for_a_turn(program.state());
            std::thread remover([&] {
                ensure(processor.set(false));
                gone = true;
            });
            // In released kernels, a loop that never sleeps may keep its processor from going until its run ends: the scheduler
            // moves a task when it schedules, unless the task is in a step at that moment.
            for (unsigned i = 0; spins && i < 100 && !gone; i++) std::this_thread::sleep_for(1ms);
            if (spins && !gone) program.request_stop();
            remover.join();
            ensure(program.state().load(&scripted::recorded) <= timeouts);
            ensure(::send(sockets.ends[1], "x", 1, 0) == 1);
            ensure(eventually([&] { return program.state().load(&scripted::recorded) == timeouts + 1; }));
            over = true;
            program.request_stop();
        });
        LoopExit exit;
        do {
            exit = program.run();
            while (!gone) std::this_thread::sleep_for(1ms);
        } while (exit.reason == ExitReason::interrupted || (exit.reason == ExitReason::stop_requested && !over));
        other.join();
        CHECK(exit.reason == ExitReason::stop_requested);
        CHECK(::sched_getcpu() == 0);
        std::array<unsigned, timeouts + 1> seen{};
        for (const scripted_record& record : records(program.state())) {
            ensure(record.user_data <= timeouts && record.result == (record.user_data < timeouts ? -ETIME : 1));
            seen[static_cast<std::size_t>(record.user_data)]++;
        }
        CHECK(std::ranges::all_of(seen, [](unsigned count) { return count == 1; }));
    }
    CHECK(ring.close());
    REQUIRE(processor.set(true));
    run_on({0, 1});
}

namespace {

/// A socket that receives and sends whole frames of a device.
int frames_of(const char* device) {
    const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_LOOPBACK));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_LOOPBACK);
    address.sll_ifindex = static_cast<int>(::if_nametoindex(device));
    ensure(fd >= 0 && address.sll_ifindex != 0);
    ensure(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
}

struct Frame {
    std::array<unsigned char, 12> addresses{};
    std::uint16_t type = htons(ETH_P_LOOPBACK);
    std::uint32_t number = 0;
    std::array<unsigned char, 42> rest{};
};

bool shell(const std::string& command) { return std::system(command.c_str()) == 0; }  // NOLINT(concurrency-mt-unsafe)

/// Receives frames by a loop while their device is removed. Returns what is wrong, "" if nothing, or why it was not tried.
std::string receive_from_a_device_that_goes(bool spins) {
    constexpr unsigned frames = 100;
    constexpr unsigned receives = frames + 20;
    if (::unshare(CLONE_NEWNET) != 0) return "skip: no network namespace";
    if (!shell("ip link add v0 type veth peer name v1 2>/dev/null && ip link set v0 up && ip link set v1 up"))
        return "skip: no veth devices";
    const int any = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (any < 0 && errno == EAFNOSUPPORT) return "skip: no sockets for packets";
    ::close(any);
    const int in = frames_of("v0");
    const int out = frames_of("v1");
    std::vector<Frame> received(receives);
    Ring ring;
    Scripted program(ring);
    for (Frame& frame : received) io_uring_prep_recv(add_request(program.state()), in, &frame, sizeof frame, 0);
    // This one is still in flight when the device has gone.
    std::array<int, 2> others{};
    ensure(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others.data()) == 0);
    char byte = 0;
    io_uring_prep_recv(add_request(program.state()), others[0], &byte, 1, 0);
    program.state()->sqes_per_turn = 32;
    program.state()->wait = 1;
    program.state()->spin = spins;
    program.state()->stop_at = receives + 1;
    std::thread other([&] {
        const auto recorded = [&] { return program.state().load(&scripted::recorded); };
        wait_for_a_turn(program.state());
        for (std::uint32_t i = 0; i < frames; i++) {
            Frame frame;
            frame.number = i + 1;
            ensure(::send(out, &frame, sizeof frame, 0) == sizeof frame);
        }
        // One receive ends with the error of the socket. The others wait for a device that may come again.
        ensure(eventually([&] { return recorded() >= frames; }));
        ensure(shell("ip link delete v0"));
        ensure(eventually([&] { return recorded() > frames; }));
        ensure(::shutdown(in, SHUT_RD) == 0 || errno == EOPNOTSUPP || errno == ENOTCONN);
        ensure(::write(others[1], "x", 1) == 1);
        ensure(eventually([&] { return recorded() > frames + 1; }));
        program.request_stop();
    });
    LoopExit exit;
    do exit = program.run();
    while (exit.reason == ExitReason::interrupted);
    other.join();
    if (exit.reason != ExitReason::stop_requested && !exit.ok()) return std::string(to_string(exit.reason));
    std::vector<unsigned> seen(frames + 1);
    unsigned down = 0;
    bool other_received = false;
    for (const scripted_record& record : records(program.state())) {
        if (record.result == -ENETDOWN) {
            down++;
        } else if (record.user_data < receives && record.result == sizeof(Frame)) {
            const std::uint32_t number = received[static_cast<std::size_t>(record.user_data)].number;
            if (number == 0 || number > frames || seen[number]++ != 0) return "frame " + std::to_string(number);
        } else if (record.result == 1) {
            other_received = byte == 'x';
        } else {
            return "a result of " + std::to_string(record.result);
        }
    }
    if (std::ranges::count(seen, 1U) != frames) return "frames were lost";
    if (down == 0) return "no receive failed";
    if (!other_received) return "the other request was lost";
    for (const int fd : {in, out, others[0], others[1]}) ::close(fd);
    return ring.close() ? "" : "the ring was not quiet";
}

}  // namespace

TEST_CASE("A network device goes away under a loop that receives from it, and each frame has come once") {
    const bool spins = GENERATE(from_range(some_of({0}, {1}))) != 0;
    const Outcome outcome = in_child([&] {
        ::alarm(60);
        return receive_from_a_device_that_goes(spins);
    });
    if (outcome.out.starts_with("skip: ")) SKIP(outcome.out);
    CHECK(outcome.err.empty());
    CHECK(outcome.out.empty());
    CHECK(outcome.status == 0);
}
