// SPDX-License-Identifier: MIT
// A process whose loop has requests of several kinds in flight, for tests that do something to that process from outside.
#pragma once

#include <ringstep/program.hpp>

#include "child.hpp"
#include "control_group.hpp"
#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <thread>

namespace busy {

using namespace std::chrono_literals;
using Scripted = ringstep::LoopProgram<scripted_loop>;

/// The size of every region here, so that one load of the loop is enough for a process and its children.
inline constexpr std::size_t region_bytes = std::size_t{2} << 20;
inline constexpr unsigned requests = 480;
inline constexpr unsigned bytes_to_receive = requests / 4;

/// Memory that a process shares with the children that it forks.
class Shared {
public:
    explicit Shared(std::size_t size) : size_(size) {
        base_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ensure(base_ != MAP_FAILED);
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(base_, size_); }
    [[nodiscard]] void* base() const { return base_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(base_), size_}; }

private:
    std::size_t size_;
    void* base_;
};

/// The requests: receives of one byte, each of which ends when somebody sends one; timeouts; nops; and nops by worker threads.
struct Requests {
    std::array<unsigned char, bytes_to_receive> received{};
    std::array<__kernel_timespec, bytes_to_receive> times{};

    void add(const ringstep::RegionView<scripted>& state, int socket) {
        for (unsigned i = 0; i < requests; i++) {
            io_uring_sqe* const sqe = add_request(state);
            switch (i % 4) {
                case 0: io_uring_prep_recv(sqe, socket, &received[i / 4], 1, 0); break;
                case 1:
                    times[i / 4].tv_nsec = 1'000'000 * (i % 7);
                    io_uring_prep_timeout(sqe, &times[i / 4], 0, 0);
                    break;
                default: io_uring_prep_nop(sqe);
            }
            if (i % 4 == 3) sqe->flags |= IOSQE_ASYNC;
        }
        state->sqes_per_turn = 8;
        state->wait = 1;
        state->stop_at = requests;
    }

    /// Returns an empty text if each request has completed once, with the right result. Returns what is wrong otherwise.
    [[nodiscard]] std::string wrong(const ringstep::RegionView<scripted>& state) const {
        std::array<unsigned, requests> seen{};
        for (const scripted_record& record : records(state)) {
            if (record.user_data >= requests) return "a completion of no request";
            const auto number = static_cast<unsigned>(record.user_data);
            const int expected = number % 4 == 0 ? 1 : number % 4 == 1 ? -ETIME : 0;
            if (seen[number]++ != 0) return "request " + std::to_string(number) + " completed twice";
            // While a signal is pending, the kernel may fail to start a worker thread, and then cancels the request.
            const bool cancelled = number % 4 == 3 && record.result == -ECANCELED;
            if (record.result != expected && !cancelled)
                return "request " + std::to_string(number) + " has the result " + std::to_string(record.result);
        }
        for (unsigned i = 0; i < requests; i++) {
            if (seen[i] == 0) return "request " + std::to_string(i) + " has not completed";
        }
        // One byte comes for each receive, and no two are the same.
        std::array<unsigned, bytes_to_receive> bytes{};
        for (const unsigned char byte : received) {
            if (byte >= bytes_to_receive || bytes[byte]++ != 0) return "byte " + std::to_string(byte) + " came twice";
        }
        return {};
    }
};

/// What a child tells its parent, beside the state of the loop.
struct Told {
    std::atomic<pid_t> thread{0};  ///< the thread that runs the loop
    std::atomic<unsigned> interrupted{0};
    std::atomic<bool> in_kernel{false};
};

/// Loads the loop, if the kernel runs it, so that children of this process need not.
inline void load_once() {
    ringstep::Ring ring;
    ring.use_region(ringstep::RegionMemory::allocate(region_bytes));
    const Scripted program(ring);
}

/// Waits up to 30 seconds until nothing holds the other end of a socket any more, and returns whether that is so.
inline bool peer_is_gone(int socket) {
    pollfd end{.fd = socket, .events = 0, .revents = 0};
    return ::poll(&end, 1, 30'000) == 1 && (end.revents & POLLHUP) != 0;
}

/// Runs the loop on the calling thread, with its state in memory that is shared with the parent. Returns what is wrong.
inline std::string run_all(const Shared& memory, Told& told, int socket, bool spins) {
    Requests requests_in_flight;
    ringstep::Ring ring;
    ring.use_region(ringstep::RegionMemory::borrow(memory.bytes()));
    Scripted program(ring);
    requests_in_flight.add(program.state(), socket);
    program.state()->spin = spins ? 1 : 0;
    told.in_kernel = program.engine() == ringstep::Engine::kernel;
    told.thread = ::gettid();
    ringstep::LoopExit exit;
    std::uint64_t completions = 0;
    do {
        exit = program.run();
        completions += exit.completions;
        told.interrupted += exit.reason == ringstep::ExitReason::interrupted;
    } while (exit.reason == ringstep::ExitReason::interrupted);
    if (!exit.ok()) return "the run ended: " + std::string(to_string(exit.reason));
    if (completions != requests) return "the runs saw " + std::to_string(completions) + " completions";
    if (!ring.close()) return "the ring was not quiet";
    return requests_in_flight.wrong(program.state());
}

/// A child process that runs the loop. Its parent sees the loop's state, and sends the bytes.
class Child {
public:
    /// What the child does beside its loop, on another thread. `spins`: the loop never waits. `on_main`: the child's first
    /// thread runs the loop, and not a second one.
    template <class Beside>
    Child(bool spins, bool on_main, const Beside& beside)
        : memory_(region_bytes),
          told_memory_(sizeof(Told)),
          told_(*new(told_memory_.base()) Told),
          state_(ringstep::RegionMemory::borrow(memory_.bytes()), sizeof(ringstep_control)) {
        load_once();
        (void)std::fflush(nullptr);
        process_ = ::fork();
        ensure(process_ >= 0);
        if (process_ == 0) {
            ::alarm(100);
            ::close(sockets_.ends[0]);
            std::string wrong;
            const auto loop = [&] { wrong = run_all(memory_, told_, sockets_.ends[1], spins); };
            std::thread other = on_main ? std::thread([&] { beside(state_); }) : std::thread(loop);
            if (on_main) {
                loop();
            } else {
                beside(state_);
            }
            other.join();
            if (!wrong.empty()) (void)std::fprintf(stderr, "in a child: %s\n", wrong.c_str());
            ::_exit(wrong.empty() ? 0 : 1);
        }
        ::close(sockets_.ends[1]);
        sockets_.ends[1] = -1;
        ensure(eventually([&] { return told_.thread != 0 && turns() > 0; }));
    }
    explicit Child(bool spins) : Child(spins, false, [](const auto&) {}) {}
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        (void)status_of(process_);
    }

    [[nodiscard]] pid_t process() const { return process_; }
    [[nodiscard]] pid_t thread() const { return told_.thread; }
    [[nodiscard]] bool in_kernel() const { return told_.in_kernel; }
    [[nodiscard]] unsigned interrupted() const { return told_.interrupted; }
    [[nodiscard]] std::uint64_t turns() const { return state_.load(&scripted::turns); }
    [[nodiscard]] unsigned recorded() const { return state_.load(&scripted::recorded); }

    /// Sends some more of the bytes that the child waits for.
    void feed(unsigned count) {
        for (; count > 0 && fed_ < bytes_to_receive; count--, fed_++) {
            const auto byte = static_cast<unsigned char>(fed_);
            ensure(::send(sockets_.ends[0], &byte, 1, MSG_NOSIGNAL) == 1);
        }
    }
    [[nodiscard]] bool all_fed() const { return fed_ == bytes_to_receive; }

    /// Waits until the child's end of the socket is closed. The process and the requests of its ring keep it open.
    [[nodiscard]] bool ring_is_gone() const { return peer_is_gone(sockets_.ends[0]); }

    /// Waits for the child, and returns its status for WIFEXITED() and the like.
    int wait() {
        const int status = status_of(process_);
        process_ = 0;
        return status;
    }

private:
    Shared memory_;
    Shared told_memory_;
    Told& told_;
    ringstep::RegionView<scripted> state_;
    descriptors::Sockets sockets_;
    pid_t process_ = 0;
    unsigned fed_ = 0;
};

}  // namespace busy
