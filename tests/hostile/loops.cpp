// SPDX-License-Identifier: MIT
// Loops on memory that another thread garbles. docs/security.md states what holds then.
//
// Each loop runs real requests in a child process, while a thread of that process writes random and crafted values all over the
// three regions. The ring's restrictions leave only requests that harm nobody, whatever is written into an SQE. Every run has
// to end soon after a stop was asked for, by request_stop() or by a signal.
//
// Where the loops are compiled with tests/hostile/count.h, the iterations of each step are counted, and compared with the bound
// that the comment at the top of the loop states. So is the number of requests of each submit.
#include <ringstep/chain/chains.hpp>
#include <ringstep/graphs/compiled_hostile.hpp>
#include <ringstep/loops/copy.hpp>
#include <ringstep/loops/drain.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/loops/link.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ensure.hpp"
#include "hostile/bounds.hpp"
#include "hostile/net_states.hpp"
#include "hostile/writer.hpp"
#include "loops/graphs/compiled.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;
using ringstep::Ring;

namespace {

constexpr unsigned sq_entries = 64;
constexpr unsigned cq_entries = 256;
constexpr std::size_t buffer_size = 64 << 10;

/// What a child has seen, in memory that parent and child share.
struct Report {
    std::atomic<std::uint64_t> runs;             ///< that ended
    std::atomic<std::uint64_t> rounds;           ///< rings and loops made, run and destroyed
    std::atomic<std::uint64_t> writes;           ///< of the hostile thread
    std::atomic<std::uint64_t> steps;            ///< counted ones
    std::atomic<std::uint64_t> most_iterations;  ///< in one of them
    std::atomic<std::uint64_t> most_submits;     ///< in one step and the engine's submit behind it
    std::atomic<std::uint64_t> most_requests;    ///< in one submit
    std::atomic<std::uint64_t> longest_stop_us;  ///< from the first request to stop to the end of the run
    std::atomic<const char*> phase;              ///< what it is doing
    std::atomic<std::uint64_t> seed;
    std::array<char, 512> error;  ///< what it has thrown
};

Report* report = nullptr;

void raise_to(std::atomic<std::uint64_t>& most, std::uint64_t value) {
    if (value > most.load(std::memory_order_relaxed)) most.store(value, std::memory_order_relaxed);
}

std::uint64_t iterations = 0;  // of this step
std::uint64_t submits = 0;     // of this step

void count_submit(unsigned to_submit) {
    raise_to(report->most_requests, to_submit);
    if (to_submit != 0) raise_to(report->most_submits, ++submits);
}

}  // namespace

extern "C" {
void hostile_step_begins();
void hostile_iteration();
int hostile_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags);
int hostile_enter_for(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, unsigned long long nanoseconds);
}

void hostile_step_begins() {
    iterations = submits = 0;
    report->steps.fetch_add(1, std::memory_order_relaxed);
}

void hostile_iteration() { raise_to(report->most_iterations, ++iterations); }

int hostile_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags) {
    count_submit(to_submit);
    const long result = ::syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, nullptr, 0);
    return result < 0 ? -errno : static_cast<int>(result);
}

int hostile_enter_for(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags, unsigned long long nanoseconds) {
    count_submit(to_submit);
    __kernel_timespec time{.tv_sec = static_cast<long long>(nanoseconds / 1'000'000'000),
                           .tv_nsec = static_cast<long long>(nanoseconds % 1'000'000'000)};
    io_uring_getevents_arg argument{};
    argument.ts = reinterpret_cast<std::uintptr_t>(&time);
    const long result =
        ::syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags | IORING_ENTER_EXT_ARG, &argument, sizeof argument);
    return result < 0 ? -errno : static_cast<int>(result);
}

namespace {

// --- The requests ----------------------------------------------------------------------------------------------------------

__kernel_timespec an_hour{.tv_sec = 3600, .tv_nsec = 0};
__kernel_timespec a_moment{.tv_sec = 0, .tv_nsec = 100'000};
std::byte* buffer = nullptr;  // registered as buffer 0, and all that a request may write to

/// Requests that harm nobody: nothing they could read or write is anything but the registered buffer.
io_uring_sqe harmless(std::uint32_t number) {
    io_uring_sqe sqe{};
    switch (number % 8) {
        case 0: io_uring_prep_timeout(&sqe, &an_hour, 0, 0); break;
        case 1: io_uring_prep_timeout(&sqe, &a_moment, 0, 0); break;
        case 2:
            io_uring_prep_read_fixed(&sqe, 0, buffer, 4096, 0, 0);
            sqe.flags |= IOSQE_FIXED_FILE;
            break;
        default: io_uring_prep_nop(&sqe);
    }
    sqe.user_data = number;
    return sqe;
}

void check(int result, const char* what) {
    if (result >= 0) return;
    throw ringstep::Error(-result, what, "");
}

/// A ring that takes no other requests.
Ring restricted_ring() {
    Ring ring{{.sq_entries = sq_entries, .cq_entries = cq_entries, .start_disabled = true, .close_wait_ms = 200}};
    const int files[2] = {::open("/dev/zero", O_RDONLY | O_CLOEXEC), ::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    check(io_uring_register_files(&ring.native(), files, 2), "registering files");
    for (const int file : files) ::close(file);
    const iovec all{.iov_base = buffer, .iov_len = buffer_size};
    check(io_uring_register_buffers(&ring.native(), &all, 1), "registering a buffer");
    std::vector<io_uring_restriction> allowed;
    for (const unsigned operation : {IORING_OP_NOP, IORING_OP_TIMEOUT, IORING_OP_TIMEOUT_REMOVE, IORING_OP_LINK_TIMEOUT,
                                     IORING_OP_ASYNC_CANCEL, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED}) {
        io_uring_restriction one{};
        one.opcode = IORING_RESTRICTION_SQE_OP;
        one.sqe_op = static_cast<__u8>(operation);
        allowed.push_back(one);
    }
    // Without IOSQE_ASYNC: a worker thread that a step starts cannot leave its processor, and kernels up to 7.3 complain when
    // they try to move it (the patch of kernel/next for fork repairs that).
    io_uring_restriction flags{};
    flags.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    flags.sqe_flags = static_cast<__u8>(IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_IO_DRAIN);
    allowed.push_back(flags);
    constexpr unsigned mem_region = 34;  // IORING_REGISTER_MEM_REGION
    for (const unsigned operation : {unsigned{IORING_REGISTER_ENABLE_RINGS}, unsigned{IORING_REGISTER_RING_FDS},
                                     unsigned{IORING_UNREGISTER_RING_FDS}, unsigned{IORING_REGISTER_SYNC_CANCEL}, mem_region}) {
        io_uring_restriction one{};
        one.opcode = IORING_RESTRICTION_REGISTER_OP;
        one.register_op = static_cast<__u8>(operation);
        allowed.push_back(one);
    }
    const auto restrict_to = [&](std::size_t count) {
        return io_uring_register_restrictions(&ring.native(), allowed.data(), static_cast<unsigned>(count));
    };
    // Kernels before 6.13 do not know the last one.
    int result = restrict_to(allowed.size());
    if (result == -EINVAL) result = restrict_to(allowed.size() - 1);
    check(result, "restricting the ring");
    ring.enable();
    return ring;
}

// --- The loops -------------------------------------------------------------------------------------------------------------

class AnyLoop {
public:
    AnyLoop() = default;
    AnyLoop(const AnyLoop&) = delete;
    AnyLoop& operator=(const AnyLoop&) = delete;
    virtual ~AnyLoop() = default;
    virtual void run() = 0;
    virtual void request_stop() noexcept = 0;
    [[nodiscard]] virtual std::span<std::byte> memory() = 0;
    [[nodiscard]] virtual ringstep::Engine engine() = 0;

protected:
    static void note(const ringstep::LoopExit&) { report->runs.fetch_add(1, std::memory_order_relaxed); }
};

template <class Program>
class OfProgram : public AnyLoop {
public:
    void request_stop() noexcept override { program().request_stop(); }
    std::span<std::byte> memory() override {
        const auto& region = program().state().memory();
        return {region->data(), region->size()};
    }
    ringstep::Engine engine() override { return program().engine(); }

protected:
    [[nodiscard]] virtual Program& program() noexcept = 0;
};

template <class Face, class Loop>
class Requests : public OfProgram<ringstep::LoopProgram<Loop>> {
public:
    template <class... Arguments>
    explicit Requests(Ring& ring, const auto& push, Arguments&&... arguments) : face_(ring, arguments...) {
        for (std::uint32_t number = 0; number < 200; number++) push(face_, harmless(number), number);
        face_.set_stay(true);
    }
    void run() override { this->note(face_.run()); }

private:
    ringstep::LoopProgram<Loop>& program() noexcept override { return face_.program(); }
    Face face_;
};

class Chain : public OfProgram<ringstep::LoopProgram<ringstep::loops::chain>> {
public:
    explicit Chain(Ring& ring) : chains_(ring) {
        auto root = graph_.nop();
        auto first = graph_.nop();
        auto second = graph_.request(harmless(2));
        auto third = graph_.pause(50us);
        root.then(first);
        first.then(second);
        second.then(third);
        third.then(first);
        first.repeat(100);
        second.repeat(100).retry(3);
        third.repeat(100);
        const auto graph = chains_.add(graph_);
        for (int i = 0; i < 40; i++) chains_.start(graph);
        chains_.set_stay(true);
    }
    void run() override { note(chains_.run()); }

private:
    ringstep::LoopProgram<ringstep::loops::chain>& program() noexcept override { return chains_.program(); }
    ringstep::chain::Chains chains_;
    ringstep::chain::Graph graph_;
};

/// A loop that was compiled from a graph.
class CompiledGraph : public OfProgram<ringstep::LoopProgram<ringstep::loops::compiled_hostile>> {
public:
    explicit CompiledGraph(Ring& ring) : chains_(ring) {
        const auto graph = chains_.add(plan_.graph);
        for (int i = 0; i < 40; i++) chains_.start(graph);
        chains_.set_stay(true);
    }
    void run() override { note(chains_.run()); }

private:
    ringstep::LoopProgram<ringstep::loops::compiled_hostile>& program() noexcept override { return chains_.program(); }
    ringstep::chain::CompiledChains<ringstep::loops::compiled_hostile> chains_;
    compiled_hostile plan_;
};

/// A loop that works like io_uring_enter(2).
template <class Face, class Loop>
class Entering : public OfProgram<ringstep::LoopProgram<Loop>> {
public:
    template <class... Arguments>
    explicit Entering(Ring& ring, Arguments&&... arguments) : ring_(ring), face_(ring, arguments...) {}
    void run() override {
        for (int i = 0; i < 20; i++) {
            io_uring_sqe* const sqe = ring_.sq().claim();
            if (sqe == nullptr) break;
            *sqe = harmless(number_++);
        }
        wait(face_);
    }

private:
    void wait(ringstep::Enter& enter) { this->note(enter.submit_and_wait(15, 5ms).exit); }
    void wait(ringstep::Stages& stages) { this->note(stages.submit_and_wait().exit); }
    ringstep::LoopProgram<Loop>& program() noexcept override { return face_.program(); }
    Ring& ring_;
    Face face_;
    std::uint32_t number_ = 0;
};

template <class Loop>
class Bare : public OfProgram<ringstep::LoopProgram<Loop>> {
public:
    explicit Bare(Ring& ring, void (*fill_in)(typename Loop::state&)) : program_(ring), fill_in_(fill_in) {}
    void run() override {
        fill_in_(*program_.state());
        this->note(program_.run());
    }

private:
    ringstep::LoopProgram<Loop>& program() noexcept override { return program_; }
    ringstep::LoopProgram<Loop> program_;
    void (*fill_in_)(typename Loop::state&);
};

void fill_in_copy(ringstep_copy& copy) {
    copy.input_fd = 0;
    copy.output_fd = 1;
    copy.flags = RINGSTEP_COPY_FIXED_FILES | RINGSTEP_COPY_FIXED_BUFFERS;
    copy.depth = 16;
    copy.block_size = 4096;
    copy.buffers = reinterpret_cast<std::uintptr_t>(buffer);
    copy.size_hint = RINGSTEP_COPY_ENDLESS;
    copy.extents[copy.extent_tail++ % RINGSTEP_COPY_EXTENTS] = {.offset = 0, .length = std::uint64_t{1} << 40};
}

void fill_in_nops(ringstep_nop_chain& nops) {
    nops.total = ~std::uint64_t{0} >> 1;
    nops.depth = 20;
}

struct Kind {
    const char* name;
    std::unique_ptr<AnyLoop> (*make)(Ring& ring);
};

constexpr Kind kinds[] = {
    {"gate",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Requests<ringstep::Gate, ringstep::loops::gate>>(
             ring, [](ringstep::Gate& gate, const io_uring_sqe& sqe, std::uint32_t i) { gate.push(sqe, i % 8, i % 5); },
             ringstep::GateOptions{.depth = 20, .file_limit = 3, .patience = 4});
     }},
    {"pace",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Requests<ringstep::Pace, ringstep::loops::pace>>(
             ring, [](ringstep::Pace& pace, const io_uring_sqe& sqe, std::uint32_t i) {
                 if (i == 0) pace.set_rate(1, {.operations = 10'000, .operations_burst = 5});
                 pace.push(sqe, i % 4);
             });
     }},
    {"drain",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Requests<ringstep::Drain, ringstep::loops::drain>>(
             ring, [](ringstep::Drain& drain, const io_uring_sqe& sqe, std::uint32_t i) {
                 if (i % 10 == 9) {
                     drain.barrier(sqe, i % 7);
                 } else if (i % 50 == 48) {
                     drain.barrier_of_all(sqe);
                 } else {
                     drain.push(sqe, i % 7);
                 }
             });
     }},
    {"link",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Requests<ringstep::Link, ringstep::loops::link>>(
             ring, [](ringstep::Link& link, const io_uring_sqe& sqe, std::uint32_t i) {
                 std::array<io_uring_sqe, 3> chain = {sqe, harmless(i + 1), harmless(i + 4)};
                 for (io_uring_sqe& one : chain)  // no timeouts in a chain
                     if (one.opcode == IORING_OP_TIMEOUT) one = harmless(4);
                 chain[0].flags |= IOSQE_IO_LINK;
                 chain[1].flags |= IOSQE_IO_HARDLINK;
                 link.push(chain);
             });
     }},
    {"chain", [](Ring& ring) -> std::unique_ptr<AnyLoop> { return std::make_unique<Chain>(ring); }},
    {"compiled_hostile", [](Ring& ring) -> std::unique_ptr<AnyLoop> { return std::make_unique<CompiledGraph>(ring); }},
    {"stages",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Entering<ringstep::Stages, ringstep::loops::stages>>(
             ring,
             std::initializer_list<ringstep::Stage>{{.completions = 15, .time = 1ms}, {.completions = 4, .time = 1ms}, {}});
     }},
    {"enter",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Entering<ringstep::Enter, ringstep::loops::enter>>(ring);
     }},
    {"copy",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> { return std::make_unique<Bare<ringstep::loops::copy>>(ring, fill_in_copy); }},
    {"frames",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Bare<ringstep::loops::frames>>(ring, fill_in_frames);
     }},
    {"proxy",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Bare<ringstep::loops::proxy>>(ring, fill_in_proxy);
     }},
    {"http",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> { return std::make_unique<Bare<ringstep::loops::http>>(ring, fill_in_http); }},
    {"nop_chain",
     [](Ring& ring) -> std::unique_ptr<AnyLoop> {
         return std::make_unique<Bare<ringstep::loops::nop_chain>>(ring, fill_in_nops);
     }},
};

// --- A round ---------------------------------------------------------------------------------------------------------------

std::atomic<AnyLoop*> on_signal{nullptr};

void stop_on_signal(int) {
    if (AnyLoop* const loop = on_signal.load()) loop->request_stop();
}

enum class StopBy : std::uint8_t {
    call,
    handler,
    signal
};

std::uint64_t since(std::chrono::steady_clock::time_point start) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count());
}

/// Runs a loop on garbled memory for a while, and stops it.
void round(const Kind& kind, std::chrono::milliseconds length, std::uint64_t seed, StopBy by) {
    report->phase = "making ring and loop";
    report->seed = seed;
    Ring ring = restricted_ring();
    std::unique_ptr<AnyLoop> loop = kind.make(ring);
    const bool in_kernel = loop->engine() == ringstep::Engine::kernel;
    if (by == StopBy::signal && !in_kernel) by = StopBy::handler;  // only a loop that sleeps sees a signal there
    if (by == StopBy::handler || !in_kernel) on_signal = loop.get();
    Writer writer(loop->memory(), ring, seed, report->writes);
    std::atomic<bool> asked{false};
    std::atomic<bool> ended{false};
    std::chrono::steady_clock::time_point since_asked;
    {
        const std::jthread hostile([&](const std::stop_token& token) { writer.run(token); });
        const pthread_t runner = ::pthread_self();
        const std::jthread stopper([&] {
            std::this_thread::sleep_for(length);
            since_asked = std::chrono::steady_clock::now();
            asked = true;
            // Again and again, because what is garbled may be the request to stop.
            for (unsigned tries = 0; !ended; tries++) {
                // With other numbers in the CQ's head and tail, the kernel does not wake up a loop of the user engine for the
                // completion that request_stop() sends it. A signal does.
                if (by == StopBy::call && (in_kernel || tries < 200)) {
                    loop->request_stop();
                } else {
                    ensure(::pthread_kill(runner, SIGUSR1) == 0);
                }
                std::this_thread::sleep_for(1ms);
            }
        });
        report->phase = "running";
        do {
            loop->run();
        } while (!asked);
        ended = true;
        raise_to(report->longest_stop_us, since(since_asked));
        report->phase = "ending the threads";
    }
    on_signal = nullptr;
    report->phase = "destroying the loop";
    loop.reset();
    report->phase = "closing the ring";
    (void)ring.close();
    report->rounds.fetch_add(1, std::memory_order_relaxed);
}

[[noreturn]] void child(const Kind& kind, unsigned rounds, std::chrono::milliseconds length, std::uint64_t seed, int error_fd) {
    try {
        // 0 and 1 are numbers that garbage is likely to name. 2 is for sanitizers.
        const int null = ::open("/dev/null", O_RDWR);
        for (const int fd : {0, 1}) ::dup2(null, fd);
        ::dup2(error_fd, 2);
        ::close_range(3, ~0U, 0);
        struct sigaction action{};
        action.sa_handler = stop_on_signal;
        ::sigaction(SIGUSR1, &action, nullptr);
        // On its own, with nothing near it.
        void* const memory =
            ::mmap(nullptr, buffer_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        ensure(memory != MAP_FAILED);
        buffer = static_cast<std::byte*>(memory);
        for (unsigned i = 0; i < rounds; i++) round(kind, length, seed + i, static_cast<StopBy>(i % 3));
    } catch (const std::exception& error) {
        std::snprintf(report->error.data(), report->error.size(), "%s", error.what());
        ::_exit(99);
    }
    ::_exit(0);
}

/// Runs a child and waits for it, but not for ever. Returns its status, or -1 if it had to be killed. What it wrote to stderr
/// is in `said`.
int run_child(const Kind& kind, unsigned rounds, std::chrono::milliseconds length, std::uint64_t seed,
              std::chrono::seconds limit, std::string& said) {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    (void)std::fflush(nullptr);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) child(kind, rounds, length, seed, pipe[1]);
    ::close(pipe[1]);
    const auto deadline = std::chrono::steady_clock::now() + limit;
    int status = -1;
    bool killed = false;
    for (;;) {
        pollfd polled{.fd = pipe[0], .events = POLLIN, .revents = 0};
        ::poll(&polled, 1, 50);
        std::array<char, 4096> block{};
        if (polled.revents != 0) {
            const ssize_t count = ::read(pipe[0], block.data(), block.size());
            // No more than a person reads: garbage can make a request write here.
            if (count > 0 && said.size() < 16'384) said.append(block.data(), static_cast<std::size_t>(count));
            if (count <= 0) {
                while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
                }
                break;
            }
        }
        if (!killed && std::chrono::steady_clock::now() > deadline) {
            killed = true;
            ::kill(pid, SIGKILL);
        }
    }
    ::close(pipe[0]);
    return killed ? -1 : status;
}

void garble(const Kind& kind) {
    static Report* const shared = [] {
        void* const memory = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        return static_cast<Report*>(memory);
    }();
    report = new (shared) Report{};
    // Three rounds have each kind of stop once. In a kernel, most of the time goes into loading.
    const auto count = static_cast<unsigned>(rounds(3, loading_is_cheap() ? 200 : 60));
    const auto length = std::chrono::milliseconds(100);
    // Another seed each time in the long form. HOSTILE_SEED repeats one.
    const char* const wanted = std::getenv("HOSTILE_SEED");
    const std::uint64_t seed = wanted != nullptr   ? std::strtoull(wanted, nullptr, 10)
                               : rounds(1, 0) != 0 ? 1
                                                   : std::random_device{}();
    std::string said;
    // Kernels that look for their own mistakes take up to a minute to load a loop.
    const int status = run_child(kind, count, length, seed, std::chrono::seconds(120 + count), said);
    INFO(kind.name << ", seed " << report->seed.load() << ", while "
                   << (report->phase.load() != nullptr ? report->phase.load() : "beginning"));
    INFO("runs " << report->runs << ", rounds " << report->rounds << ", writes " << report->writes << ", longest stop "
                 << report->longest_stop_us << " us, steps " << report->steps << ", most iterations " << report->most_iterations
                 << ", submits " << report->most_submits << ", requests " << report->most_requests);
    INFO(said);
    INFO(report->error.data());
    CHECK(status == 0);
    CHECK(report->rounds == count);
    CHECK(report->runs != 0);
    CHECK(report->writes != 0);
    CHECK(report->longest_stop_us < 10'000'000);  // not how fast it is, but whether it is seen at all
    CHECK(report->most_requests <= sq_entries);
    const StatedBound bound = stated_bound(kind.name);
    CHECK(bound.stated);
    CHECK(report->most_iterations <= bound.iterations);
    if (bound.submits != 0) CHECK(report->most_submits <= bound.submits);
    if (std::getenv("HOSTILE_VERBOSE") != nullptr) {
        std::printf(
            "%-9s rounds %lu, runs %lu, writes %lu, longest stop %lu us, steps %lu: iterations %lu of %lu, submits %lu of "
            "%lu\n",
            kind.name, report->rounds.load(), report->runs.load(), report->writes.load(), report->longest_stop_us.load(),
            report->steps.load(), report->most_iterations.load(), bound.iterations, report->most_submits.load(), bound.submits);
    }
}

const Kind& kind_of(std::string_view name) {
    return *std::ranges::find_if(kinds, [name](const Kind& kind) { return name == kind.name; });
}

}  // namespace

TEST_CASE("A gate on garbled memory stops, and its steps stay within their bound", "[main]") { garble(kind_of("gate")); }
TEST_CASE("A pace on garbled memory stops, and its steps stay within their bound") { garble(kind_of("pace")); }
TEST_CASE("A drain on garbled memory stops, and its steps stay within their bound", "[main]") { garble(kind_of("drain")); }
TEST_CASE("A link on garbled memory stops, and its steps stay within their bound") { garble(kind_of("link")); }
TEST_CASE("A chain on garbled memory stops, and its steps stay within their bound", "[main]") { garble(kind_of("chain")); }
TEST_CASE("A compiled graph on garbled memory stops, and its steps stay within their bound", "[main]") {
    garble(kind_of("compiled_hostile"));
}
TEST_CASE("A loop of stages on garbled memory stops, and its steps stay within their bound") { garble(kind_of("stages")); }
TEST_CASE("An enter on garbled memory stops, and its steps stay within their bound") { garble(kind_of("enter")); }
TEST_CASE("A server on garbled memory stops, and its steps stay within their bound") { garble(kind_of("frames")); }
TEST_CASE("A proxy on garbled memory stops, and its steps stay within their bound") { garble(kind_of("proxy")); }
TEST_CASE("An HTTP server on garbled memory stops, and its steps stay within their bound") { garble(kind_of("http")); }
TEST_CASE("A copy on garbled memory stops, and its steps stay within their bound") { garble(kind_of("copy")); }
TEST_CASE("A chain of nops on garbled memory stops, and its steps stay within their bound") { garble(kind_of("nop_chain")); }
