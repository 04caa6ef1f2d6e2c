// SPDX-License-Identifier: MIT
// A process with requests in flight is stopped, traced, frozen, replaced, dumped or killed from outside of its loop.
#include <ringstep/program.hpp>

#include "busy.hpp"
#include "child.hpp"
#include "control_group.hpp"
#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <elf.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;
using busy::Child;
using busy::Scripted;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Ring;

namespace {

/// Stops the child again and again until it has received all that it waits for. Bytes are sent before a stop and during it.
template <class Stop, class Go>
void stop_again_and_again(Child& child, const Stop& stop, const Go& go) {
    const auto stops = static_cast<unsigned>(rounds(6, 60));
    const unsigned bytes = busy::bytes_to_receive / (2 * stops);
    unsigned stood_still = 0;
    for (unsigned i = 0; i < stops; i++) {
        child.feed(bytes);
        stop();
        const std::uint64_t turns = child.turns();
        const unsigned recorded = child.recorded();
        child.feed(i + 1 == stops ? busy::bytes_to_receive : bytes);
        std::this_thread::sleep_for(3ms);
        stood_still += child.turns() == turns && child.recorded() == recorded;
        go();
        REQUIRE(eventually([&] { return child.recorded() > recorded; }));
    }
    CHECK(stood_still == stops);
    CHECK(child.all_fed());
}

void check_that_nothing_is_lost(Child& child) {
    const bool in_kernel = child.in_kernel();
    CHECK(child.wait() == 0);
    // The user engine's run ends only if the stop comes while the loop sleeps.
    if (in_kernel) CHECK(child.interrupted() > 0);
}

/// Waits until a traced or stopped thread has stopped, and returns whether it has.
bool has_stopped(pid_t thread) {
    int status = 0;
    return ::waitpid(thread, &status, __WALL | WUNTRACED) == thread && WIFSTOPPED(status);
}

/// Another process than those before runs loops as if nothing had been.
bool others_run() {
    Ring ring;
    ring.use_region(ringstep::RegionMemory::allocate(busy::region_bytes));
    Scripted program(ring);
    add_nops(program.state(), 100);
    program.state()->wait = 1;
    program.state()->stop_at = 100;
    return program.run().ok() && ring.close();
}

/// Waits until the loop is in the middle of its work.
void wait_for_work(const ringstep::RegionView<scripted>& state) {
    ensure(eventually([&] { return state.load(&scripted::recorded) > 20; }));
}

}  // namespace

TEST_CASE("SIGSTOP and SIGCONT in the middle of requests lose no completion") {
    const bool spins = GENERATE(false, true);
    Child child(spins);
    stop_again_and_again(
        child,
        [&] {
            ensure(::kill(child.process(), SIGSTOP) == 0);
            ensure(has_stopped(child.process()));
        },
        [&] { ensure(::kill(child.process(), SIGCONT) == 0); });
    check_that_nothing_is_lost(child);
}

TEST_CASE("A debugger that comes, looks and goes in the middle of requests loses no completion") {
    const bool spins = GENERATE(false, true);
    Child child(spins);
    if (::ptrace(PTRACE_SEIZE, child.thread(), nullptr, nullptr) != 0) SKIP("no ptrace(2) here");
    ensure(::ptrace(PTRACE_INTERRUPT, child.thread(), nullptr, nullptr) == 0 && has_stopped(child.thread()));
    ensure(::ptrace(PTRACE_DETACH, child.thread(), nullptr, nullptr) == 0);
    unsigned stops = 0;
    stop_again_and_again(
        child,
        [&] {
            const bool seize = stops++ % 2 == 0;
            ensure(::ptrace(seize ? PTRACE_SEIZE : PTRACE_ATTACH, child.thread(), nullptr, nullptr) == 0);
            if (seize) ensure(::ptrace(PTRACE_INTERRUPT, child.thread(), nullptr, nullptr) == 0);
            ensure(has_stopped(child.thread()));
            user_regs_struct registers{};
            iovec where{.iov_base = &registers, .iov_len = sizeof registers};
            ensure(::ptrace(PTRACE_GETREGSET, child.thread(), NT_PRSTATUS, &where) == 0);
        },
        [&] { ensure(::ptrace(PTRACE_DETACH, child.thread(), nullptr, nullptr) == 0); });
    check_that_nothing_is_lost(child);
}

TEST_CASE("A process that is frozen and thawed in the middle of requests loses no completion", "[main]") {
    const bool spins = GENERATE(false, true);
    const ControlGroup group("frozen");
    Child child(spins);
    group.add(child.process());
    stop_again_and_again(child, [&] { group.freeze(); }, [&] { group.thaw(); });
    check_that_nothing_is_lost(child);
}

namespace {

/// Waits for ever, in a way that signals do not end: for memory that nobody provides.
[[noreturn]] void wait_for_memory() {
    const auto fault_descriptor = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
    ensure(fault_descriptor >= 0);
    uffdio_api api{};
    api.api = UFFD_API;
    ensure(::ioctl(fault_descriptor, UFFDIO_API, &api) == 0);
    void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ensure(page != MAP_FAILED);
    uffdio_register range{};
    range.range.start = reinterpret_cast<std::uintptr_t>(page);
    range.range.len = 4096;
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    ensure(::ioctl(fault_descriptor, UFFDIO_REGISTER, &range) == 0);
    io_uring ring{};
    ensure(::io_uring_queue_init(1, &ring, 0) == 0);
    const iovec buffer{.iov_base = page, .iov_len = 4096};
    (void)::io_uring_register_buffers(&ring, &buffer, 1);
    std::abort();
}

/// A machine that tries to go to sleep, for which it freezes all processes, and cannot: one of them does not let itself be
/// frozen. So it thaws them again. No device is asked to sleep, because not every one of a virtual machine can.
class SleeplessMachine {
public:
    SleeplessMachine() {
        // Not on a machine that others use.
        if (std::getenv("RINGSTEP_VM_KERNEL") == nullptr) SKIP("only in a virtual machine");  // NOLINT(concurrency-mt-unsafe)
        if (::access(state, W_OK) != 0 || ::access(milliseconds, W_OK) != 0 ||
            ::access("/proc/sys/vm/unprivileged_userfaultfd", F_OK) != 0)
            SKIP("this kernel cannot put the machine to sleep, or has no userfaultfd");
        usual_ = text_of(milliseconds);
        ensure(write(milliseconds, "200") == 0);
        awake_ = fork_and_run([]() -> int { wait_for_memory(); });
        ensure(awake_ > 0);
        const std::string status = "/proc/" + std::to_string(awake_) + "/stat";
        ensure(eventually([&] { return text_of(status).find(") D ") != std::string::npos; }));
    }
    SleeplessMachine(const SleeplessMachine&) = delete;
    SleeplessMachine& operator=(const SleeplessMachine&) = delete;
    ~SleeplessMachine() {
        ::kill(awake_, SIGKILL);
        (void)status_of(awake_);
        ensure(write(milliseconds, usual_) == 0);
    }

    /// Freezes and thaws all processes but this one.
    void try_to_sleep() const {
        const int before = std::stoi(text_of(failures));
        ensure(write(state, "freeze") == EBUSY);
        ensure(std::stoi(text_of(failures)) == before + 1);
    }

private:
    static std::string text_of(const std::string& path) {
        std::ifstream file(path);
        std::string line;
        std::getline(file, line);
        return line;
    }
    /// Returns 0 or an errno.
    static int write(const char* path, std::string_view text) {
        const int file = ::open(path, O_WRONLY | O_CLOEXEC);
        ensure(file >= 0);
        const int error = ::write(file, text.data(), text.size()) < 0 ? errno : 0;
        ::close(file);
        return error;
    }

    static constexpr const char* state = "/sys/power/state";
    static constexpr const char* milliseconds = "/sys/power/pm_freeze_timeout";
    static constexpr const char* failures = "/sys/power/suspend_stats/failed_freeze";
    std::string usual_;
    pid_t awake_ = 0;
};

}  // namespace

TEST_CASE("All processes are frozen for the machine to sleep and thawed in the middle of requests, and no completion is lost") {
    const bool spins = GENERATE(false, true);
    const SleeplessMachine machine;
    Child child(spins);
    const auto times = static_cast<unsigned>(rounds(3, 30));
    for (unsigned i = 0; i < times; i++) {
        const unsigned recorded = child.recorded();
        child.feed(busy::bytes_to_receive / (2 * times));
        machine.try_to_sleep();
        child.feed(i + 1 == times ? busy::bytes_to_receive : 1);
        REQUIRE(eventually([&] { return child.recorded() > recorded; }));
    }
    CHECK(child.all_fed());
    check_that_nothing_is_lost(child);
}

TEST_CASE("A process that is killed while it is stopped or frozen leaves no ring behind") {
    const bool frozen = GENERATE(false, true);
    Child child(false);
    child.feed(10);
    const auto kill_it = [&] {
        ensure(::kill(child.process(), SIGKILL) == 0);
        const int status = child.wait();
        CHECK(WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGKILL);
        CHECK(child.ring_is_gone());
    };
    if (frozen) {
        const ControlGroup group("killed");
        group.add(child.process());
        group.freeze();
        kill_it();
    } else {
        ensure(::kill(child.process(), SIGSTOP) == 0);
        ensure(has_stopped(child.process()));
        kill_it();
    }
    CHECK(others_run());
}

TEST_CASE("A process is replaced by exec in another thread while its loop runs", "[main]") {
    const bool spins = GENERATE(false, true);
    // The thread that executes becomes the first one of the process, whichever it was.
    const bool on_main = rounds(0, 1) != 0 ? GENERATE(false, true) : spins;
    Child child(spins, on_main, [](const auto& state) {
        wait_for_work(state);
        ::execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
    });
    const int status = child.wait();
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(child.ring_is_gone());
    CHECK(others_run());
}

TEST_CASE("A process dumps core in another thread while its loop runs") {
    const bool spins = GENERATE(false, true);
    std::string pattern;
    std::ifstream("/proc/sys/kernel/core_pattern") >> pattern;
    const bool to_a_file = !pattern.starts_with('|') && pattern.find('/') == std::string::npos;
    std::string folder = "/tmp/ringstep-core-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    Child child(spins, false, [&](const auto& state) {
        const rlimit enough{std::size_t{1} << 30, std::size_t{1} << 30};
        ensure(::chdir(folder.c_str()) == 0);
        if (to_a_file) ensure(::setrlimit(RLIMIT_CORE, &enough) == 0);
        ensure(::signal(SIGABRT, SIG_DFL) != SIG_ERR);
        wait_for_work(state);
        std::abort();
    });
    const int status = child.wait();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGABRT);
    CHECK(child.ring_is_gone());
    if (to_a_file) {
        CHECK(WCOREDUMP(status));
        unsigned cores = 0;
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            std::ifstream file(entry.path(), std::ios::binary);
            std::array<char, SELFMAG> head{};
            file.read(head.data(), head.size());
            // The memory region is in it.
            CHECK(std::filesystem::file_size(entry.path()) > busy::region_bytes);
            cores += std::string_view(head.data(), head.size()) == ELFMAG;
        }
        CHECK(cores == 1);
    }
    std::filesystem::remove_all(folder);
    CHECK(others_run());
}

TEST_CASE("A process that runs out of its group's memory is killed with its loop, and all of the memory comes back") {
    const bool in_the_step = GENERATE(false, true);
    constexpr std::size_t limit = std::size_t{24} << 20;
    constexpr std::size_t piece = std::size_t{1} << 20;
    constexpr unsigned pieces = 48;
    busy::load_once();
    const ControlGroup group("small", true);
    group.write("memory.max", std::to_string(limit));
    descriptors::Sockets sockets;
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(100);
        ::close(sockets.ends[0]);
        group.add(::getpid());
        void* const memory = ::mmap(nullptr, pieces * piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ensure(memory != MAP_FAILED);
        auto* const bytes = static_cast<std::byte*>(memory);
        std::thread([&] {
            const int zeroes = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
            char byte = 0;
            Ring ring;
            ring.use_region(ringstep::RegionMemory::allocate(busy::region_bytes));
            Scripted program(ring);
            io_uring_prep_recv(add_request(program.state()), sockets.ends[1], &byte, 1, 0);
            for (unsigned i = 0; in_the_step && i < pieces; i++)
                io_uring_prep_read(add_request(program.state()), zeroes, bytes + i * piece, piece, 0);
            program.state()->sqes_per_turn = 4;
            program.state()->wait = 1;
            if (!in_the_step) {
                std::thread([&] {
                    wait_for_a_turn(program.state());
                    for (std::size_t i = 0; i < pieces * piece; i += 4096) bytes[i] = std::byte{1};
                }).detach();
            }
            (void)program.run();
        }).join();
        ::_exit(0);
    }
    ::close(sockets.ends[1]);
    sockets.ends[1] = -1;
    const int status = status_of(child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGKILL);
    CHECK(group.number("memory.events", "oom_kill") == 1);
    CHECK(busy::peer_is_gone(sockets.ends[0]));
    // It does not become zero: each processor keeps up to 64 pages of the group in reserve, and cached files count, too.
    CHECK(eventually([&] { return group.number("memory.current") < static_cast<long>(busy::region_bytes / 2); }));
    CHECK(others_run());
}
