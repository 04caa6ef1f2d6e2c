// SPDX-License-Identifier: MIT
// Parts of the machine go away under a loop: the processor that it runs on, the network device that it receives from, and the
// disk that it reads from.
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
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <memory>
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

namespace {

/// The virtual machine's empty disk, which can be taken out of it. The destructor puts it in again.
class Disk {
public:
    Disk() {
        if (std::getenv("RINGSTEP_VM_KERNEL") == nullptr || ::access(path, W_OK) != 0)  // NOLINT(concurrency-mt-unsafe)
            SKIP("a disk that may be taken out is there in ./dev vm --disk only");
        device_ = std::filesystem::canonical(controller).string();
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk() {
        const auto is_back = [] { return ::access(path, W_OK) == 0 && ::access(controller, F_OK) == 0; };
        // While a file of the removed disk is still open, the disk comes back under another name. Other tests need the old
        // name, so the disk is removed again and put back until it has that.
        const auto comes_back = [&] {
            set("/sys/bus/pci/rescan");
            for (unsigned i = 0; i < 100 && !is_back(); i++) std::this_thread::sleep_for(20ms);
            if (!is_back()) take_out();
            return is_back();
        };
        ensure(eventually(comes_back));
    }
    void take_out() const { set(device_ + "/remove"); }

    static constexpr const char* path = "/dev/nvme0n1";

private:
    // Is there as soon as the kernel knows the disk.
    static constexpr const char* controller = "/sys/block/nvme0n1/device/device";

    static void set(const std::string& file) {
        std::ofstream stream(file);
        stream << '1' << std::flush;
        ensure(stream.good());
    }
    std::string device_;  // the PCI device
};

}  // namespace

TEST_CASE("A disk goes away under a loop that reads from it, each read completes once, and other requests go on") {
    constexpr unsigned reads = 200;
    constexpr unsigned late_reads = 8;
    constexpr std::size_t size = 65536;
    const bool spins = GENERATE(true, false);
    const bool registered = GENERATE(false, true);
    CAPTURE(spins, registered);
    const Disk disk;
    void* memory = nullptr;
    ensure(::posix_memalign(&memory, 4096, (reads + late_reads) * size) == 0);
    const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
    const auto buffer = [&](unsigned number) { return static_cast<unsigned char*>(memory) + number * size; };
    const int file = ::open(Disk::path, O_RDWR | O_DIRECT | O_CLOEXEC);
    REQUIRE(file >= 0);
    // Each block is filled with the number of the read that will fetch it.
    for (unsigned i = 0; i < reads; i++) {
        std::memset(buffer(i), static_cast<int>(i + 1), size);
        REQUIRE(::pwrite(file, buffer(i), size, static_cast<off_t>(i * size)) == static_cast<ssize_t>(size));
    }
    std::memset(memory, 0, (reads + late_reads) * size);

    const descriptors::Sockets sockets;
    std::array<char, late_reads + 1> bytes{};
    Ring ring;
    if (registered) ring.register_files(std::array{file});
    Scripted program(ring);
    const auto add_read = [&](unsigned number, off_t offset) {
        io_uring_sqe* const sqe = add_request(program.state());
        io_uring_prep_read(sqe, registered ? 0 : file, buffer(number), size, static_cast<std::uint64_t>(offset));
        if (registered) sqe->flags |= IOSQE_FIXED_FILE;
    };
    for (unsigned i = 0; i < reads; i++) add_read(i, static_cast<off_t>(i * size));
    // These are submitted to a disk that is there, and begin when it has gone: after the receive to which each is linked.
    for (unsigned i = 0; i < late_reads; i++) {
        io_uring_sqe* const receive = add_request(program.state());
        io_uring_prep_recv(receive, sockets.ends[0], &bytes[i], 1, 0);
        receive->flags |= IOSQE_IO_LINK;
        add_read(reads + i, 0);
    }
    program.state()->sqes_per_turn = 16;
    program.state()->wait = 1;
    program.state()->spin = spins;
    program.state()->stop_at = reads + 2 * late_reads;
    std::thread other([&] {
        ensure(eventually([&] { return program.state().load(&scripted::recorded) > 0; }));
        disk.take_out();
        ensure(::send(sockets.ends[1], "abcdefgh", late_reads, 0) == late_reads);
    });
    LoopExit exit;
    do exit = program.run();
    while (exit.reason == ExitReason::interrupted);
    other.join();
    CHECK(exit.ok());
    std::array<unsigned, reads + 2 * late_reads> seen{};
    unsigned read = 0;
    unsigned failed = 0;
    for (const scripted_record& record : records(program.state())) {
        ensure(record.user_data < seen.size());
        const auto number = static_cast<unsigned>(record.user_data);
        seen[number]++;
        if (number >= reads && (number - reads) % 2 == 0) {
            CHECK(record.result == 1);
        } else if (record.result <= 0) {
            // The kernel sets the size of a removed disk to 0, so a later read ends with 0.
            const int result = record.result;
            const bool gone = result == 0 || result == -EIO || result == -ENODEV || result == -ENXIO;
            CHECK(gone);
            failed++;
        } else {
            // What has been read is what was there. A read may end early where the disk went away.
            REQUIRE(number < reads);
            REQUIRE(record.result <= static_cast<int>(size));
            const auto* const first = buffer(number);
            CHECK(std::all_of(first, first + record.result,
                              [&](unsigned char byte) { return byte == static_cast<unsigned char>(number + 1); }));
            read++;
        }
    }
    CHECK(std::ranges::all_of(seen, [](unsigned count) { return count == 1; }));
    CHECK(read > 0);
    CHECK(failed >= late_reads);
    CHECK(ring.close());
    ::close(file);
}
