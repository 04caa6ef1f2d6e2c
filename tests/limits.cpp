// SPDX-License-Identifier: MIT
// What others allow a process: system calls, before its loop starts and while it runs; and memory of kinds that the kernel
// cannot pin, or that a fork copies.
#include <ringstep/program.hpp>

#include "busy.hpp"
#include "child.hpp"
#include "control_group.hpp"
#include "descriptors.hpp"
#include "ensure.hpp"
#include "exiting.hpp"
#include "loops/scripted.hpp"
#include "run_nops.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using busy::Scripted;
using descriptors::Pipe;
using descriptors::Sockets;
using ringstep::Engine;
using ringstep::Error;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::RegionMemory;
using ringstep::Ring;

namespace {

Engine engine_of_this_test() { return loading_is_cheap() ? Engine::user : Engine::kernel; }

std::string run_without(int call, const char* engine) {
    return in_child([&]() -> std::string {
               ::alarm(60);
               return forbid(call, SECCOMP_RET_ERRNO | EPERM) ? run_nops_with(engine) : "no filter";
           })
        .out;
}

}  // namespace

TEST_CASE("A system call that is forbidden before the start is named by the error, or by the reason for the user engine") {
    busy::load_once();
    if (run_without(SYS_quotactl, "user") != "user, stopped 0. ") SKIP("no system call filters here");
    const bool user = engine_of_this_test() == Engine::user;
    for (const char* const engine : user ? std::vector{"user"} : std::vector{"kernel", ""}) {
        INFO("wanted: " << engine);
        const std::string bpf = run_without(SYS_bpf, engine);
        INFO(bpf);
        if (user) {
            CHECK(bpf == "user, stopped 0. ");
        } else {
            CHECK(bpf.starts_with(*engine == '\0' ? "user, stopped 0. " : "threw 1: "));
            CHECK(says(bpf, "loading of loop 'scripted' into the kernel"));
            CHECK(says(bpf, "seccomp"));
        }
        if (*engine == '\0') continue;
        const std::string setup = run_without(SYS_io_uring_setup, engine);
        INFO(setup);
        CHECK(setup.starts_with("threw 1: opening of a ring"));
        CHECK(says(setup, "seccomp"));
        const std::string enter = run_without(SYS_io_uring_enter, engine);
        INFO(enter);
        CHECK(enter == (user ? "user, failed 1. " : "kernel, failed 1. "));
        const std::string enroll = run_without(SYS_io_uring_register, engine);
        INFO(enroll);
        CHECK(enroll.starts_with("threw 1: "));
        CHECK(says(enroll, "seccomp"));
    }
}

TEST_CASE("A system call that is forbidden to all threads while the loop runs ends runs with its errno, and nothing is lost") {
    busy::load_once();
    const Outcome outcome = in_child([]() -> std::string {
        ::alarm(60);
        const Sockets sockets;
        std::array<char, 4> bytes{};
        Ring ring;
        ring.use_region(RegionMemory::allocate(busy::region_bytes));
        Scripted program(ring);
        for (char& byte : bytes) io_uring_prep_recv(add_request(program.state()), sockets.ends[0], &byte, 1, 0);
        program.state()->wait = 1;
        program.state()->stop_at = 4;
        long slept = 0;
        const bool in_kernel = program.engine() == Engine::kernel;
        const auto recorded = [&] { return program.state().load(&scripted::recorded); };
        std::atomic<bool> filtered{true};
        std::thread other([&] {
            exiting::wait_until_waiting(program.state());
            for (const int call : {SYS_bpf, SYS_io_uring_enter}) {
                if (filter(call, SECCOMP_RET_ERRNO | EPERM, SECCOMP_FILTER_FLAG_TSYNC) != 0) filtered = false;
            }
            // A loop in the kernel is there already, and goes on.
            if (in_kernel) {
                ensure(::send(sockets.ends[1], "a", 1, 0) == 1);
                ensure(eventually([&] { return recorded() == 1; }));
            }
            // The loop cannot be woken up, but sees the request at its next turn. Nobody waits long for what will not be.
            rusage before{};
            rusage after{};
            ::getrusage(RUSAGE_THREAD, &before);
            program.request_stop();
            ::getrusage(RUSAGE_THREAD, &after);
            slept = after.ru_nvcsw - before.ru_nvcsw;
            ensure(::send(sockets.ends[1], "b", 1, 0) == 1);
        });
        const LoopExit first = program.run();
        other.join();
        if (!filtered) return "not tried";
        const LoopExit second = program.run();
        std::string text = text_of(first) + ", " + text_of(second);
        // What has completed is with the loop or in the CQ.
        const std::uint64_t seen = recorded() + ring.cq().ready();
        if (in_kernel ? seen != 1 && seen != 2 : seen != 1) text += ", lost";
        // request_stop() sleeps some twenty times before it gives up, and a thousand times for what it believes to happen.
        if (slept > 300) text += ", waited";
        if (second.turns == 0 && second.completions != 0) text += ", completions without a turn";
        Ring another;
        another.use_region(RegionMemory::allocate(busy::region_bytes));
        try {
            const Scripted refused(another, {.engine = Engine::kernel});
            text += ", loaded";
        } catch (const Error& error) {
            text += ", " + std::to_string(error.error_number());
        }
        program.detach();
        text += ring.has_loop() ? ", attached" : "";
        text += ring.close() ? "" : ", not quiet";
        return text;
    });
    if (outcome.out == "not tried") SKIP("no system call filters for all threads here");
    CHECK(outcome.err.empty());
    CHECK(outcome.out == "stop requested 0, failed 1, 1");
}

TEST_CASE("A supervisor of system calls that refuses some of them loses no completion") {
    busy::load_once();
    const Outcome outcome = in_child([]() -> std::string {
        ::alarm(60);
        const Sockets sockets;
        busy::Requests requests;
        Ring ring;
        ring.use_region(RegionMemory::allocate(busy::region_bytes));
        Scripted program(ring);
        requests.add(program.state(), sockets.ends[0]);
        std::atomic<int> listener{-2};
        std::atomic<bool> over{false};
        std::atomic<unsigned> refused{0};
        std::atomic<unsigned> runs{0};
        std::thread supervisor([&] {
            listener = filter(SYS_io_uring_enter, SECCOMP_RET_USER_NOTIF,
                              SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
            std::uint32_t random = 1;
            while (listener >= 0 && !over) {
                pollfd asked{.fd = listener, .events = POLLIN, .revents = 0};
                if (::poll(&asked, 1, 5) != 1) continue;
                seccomp_notif call{};
                if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
                seccomp_notif_resp answer{};
                answer.id = call.id;
                random = random * 1664525 + 1013904223;
                const bool refuses = random >> 30 == 0;
                answer.error = refuses ? -EPERM : 0;
                answer.flags = refuses ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
                refused += refuses;
                (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
            }
        });
        while (listener == -2) std::this_thread::yield();
        if (listener < 0) {
            supervisor.join();
            return "not tried";
        }
        std::thread other([&] {
            wait_for_a_turn(program.state());
            for (unsigned i = 0; i < busy::bytes_to_receive; i++) {
                const auto byte = static_cast<unsigned char>(i);
                ensure(::send(sockets.ends[1], &byte, 1, 0) == 1);
                if (i % 4 != 0) continue;
                // Wake-ups are such calls, too.
                const unsigned before = runs;
                program.request_stop();
                ensure(eventually([&] { return runs > before; }));
            }
        });
        LoopExit exit;
        unsigned failed = 0;
        std::string text;
        do {
            exit = program.run();
            runs++;
            if (exit.reason == ExitReason::failed && exit.error == EPERM) {
                failed++;
            } else if (!exit.ok() && !exit.resumable()) {
                text = text_of(exit);
            }
        } while (!exit.ok() && text.empty());
        other.join();
        text += requests.wrong(program.state());
        if (!ring.close()) text += " not quiet";
        over = true;
        supervisor.join();
        return text + (failed > 0 && refused > 0 ? "as it should be" : "nothing was refused");
    });
    if (outcome.out == "not tried") SKIP("no supervisor of system calls here");
    CHECK(outcome.err.empty());
    CHECK(outcome.out == "as it should be");
}

namespace {

/// A mapping of the size of a region.
class Mapping {
public:
    explicit Mapping(int flags, int file = -1) {
        // Where huge pages may begin.
        constexpr std::size_t huge = std::size_t{2} << 20;
        reserved_ = ::mmap(nullptr, busy::region_bytes + huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ensure(reserved_ != MAP_FAILED);
        const auto begin = (reinterpret_cast<std::uintptr_t>(reserved_) + huge - 1) / huge * huge;
        base_ = ::mmap(reinterpret_cast<void*>(begin), busy::region_bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0);
        if (file >= 0) ::close(file);
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() { ::munmap(reserved_, busy::region_bytes + (std::size_t{2} << 20)); }
    [[nodiscard]] bool is_there() const { return base_ != MAP_FAILED; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(base_), busy::region_bytes}; }
    [[nodiscard]] void* half() const { return bytes().subspan(busy::region_bytes / 2).data(); }

private:
    void* reserved_;
    void* base_;
};

/// Reserves huge pages, as an administrator does, and restores the number at the end.
class HugePages {
public:
    explicit HugePages(long count) {
        if (std::getenv("RINGSTEP_VM_KERNEL") == nullptr) return;  // NOLINT(concurrency-mt-unsafe): not on a machine of others
        std::ifstream(path) >> before_;
        if (before_ >= 0) set(count);
        long now = 0;
        std::ifstream(path) >> now;
        there_ = now == count;
    }
    HugePages(const HugePages&) = delete;
    HugePages& operator=(const HugePages&) = delete;
    ~HugePages() {
        if (before_ >= 0) set(before_);
    }
    [[nodiscard]] bool there() const { return there_; }

private:
    static constexpr const char* path = "/proc/sys/vm/nr_hugepages";
    static void set(long count) { std::ofstream(path) << count; }
    long before_ = -1;
    bool there_ = false;
};

int new_file(unsigned flags) {
    const int file = ::memfd_create("region", MFD_CLOEXEC | flags);
    if (file >= 0) ensure(::ftruncate(file, static_cast<off_t>(busy::region_bytes)) == 0);
    return file;
}

int secret_file() {
    constexpr long memfd_secret = 447;
    const int file = static_cast<int>(::syscall(memfd_secret, 0));
    if (file >= 0) ensure(::ftruncate(file, static_cast<off_t>(busy::region_bytes)) == 0);
    return file;
}

enum class Kind {
    ordinary,
    transparent,
    shared,
    huge,
    huge_file,
    secret,
    half_read_only,
    half_missing
};

/// Returns memory of this kind, or null if there is none here.
std::unique_ptr<Mapping> memory_of(Kind kind) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    int file = -1;
    switch (kind) {
        case Kind::shared: flags = MAP_SHARED | MAP_ANONYMOUS; break;
        case Kind::huge: flags |= MAP_HUGETLB; break;
        case Kind::huge_file:
        case Kind::secret:
            flags = MAP_SHARED;
            file = kind == Kind::secret ? secret_file() : new_file(MFD_HUGETLB);
            if (file < 0) return nullptr;
            break;
        default: break;
    }
    auto memory = std::make_unique<Mapping>(flags, file);
    if (!memory->is_there()) return nullptr;
    constexpr std::size_t half = busy::region_bytes / 2;
    if (kind == Kind::transparent) {
        // Kernels with PREEMPT_RT have none.
        if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) return nullptr;
        ensure(::madvise(memory->bytes().data(), busy::region_bytes, MADV_HUGEPAGE) == 0);
    }
    if (kind == Kind::half_read_only) ensure(::mprotect(memory->half(), half, PROT_READ) == 0);
    if (kind == Kind::half_missing) ensure(::munmap(memory->half(), half) == 0);
    return memory;
}

bool can_be_pinned(Kind kind) { return kind < Kind::secret; }

/// Runs some nops, and a receive into the region, on a ring that has a region of this kind.
std::string run_with_region(Kind kind, Engine engine) {
    const Sockets sockets;
    const std::unique_ptr<Mapping> memory = memory_of(kind);
    if (!memory) return "none";
    try {
        Ring ring;
        ring.use_region(RegionMemory::borrow(memory->bytes()));
        Scripted program(ring, {.engine = engine});
        add_nops(program.state(), 50);
        std::byte* const target = program.state().extra().data() + 4096;
        io_uring_prep_recv(add_request(program.state()), sockets.ends[0], target, 1, 0);
        program.state()->wait = 1;
        program.state()->stop_at = 51;
        ensure(::send(sockets.ends[1], "x", 1, 0) == 1);
        const LoopExit exit = program.run();
        std::string text = std::string(to_string(program.engine())) + ", " + text_of(exit);
        if (*target != std::byte{'x'} || program.state()->recorded != 51) text += ", lost";
        if (!ring.close()) text += ", not quiet";
        return text + ". " + program.engine_reason();
    } catch (const Error& error) {
        return "threw " + std::to_string(error.error_number()) + ": " + error.what();
    }
}

}  // namespace

TEST_CASE("Regions of any kind of memory run loops, and what the kernel cannot pin is named") {
    const Engine engine = engine_of_this_test();
    const HugePages pages(3);
    busy::load_once();
    unsigned tried = 0;
    for (const Kind kind : {Kind::ordinary, Kind::transparent, Kind::shared, Kind::huge, Kind::huge_file, Kind::secret,
                            Kind::half_read_only, Kind::half_missing}) {
        INFO("kind " << static_cast<int>(kind));
        const std::string text = run_with_region(kind, engine);
        INFO(text);
        if (text == "none") continue;
        tried++;
        if (engine == Engine::user || can_be_pinned(kind)) {
            CHECK(text == std::string(to_string(engine)) + ", stopped 0. ");
            continue;
        }
        CHECK(
            text.starts_with("threw 14: registration of a memory region of " + std::to_string(busy::region_bytes) + " bytes"));
        CHECK(says(text, "pin"));
        // An application that leaves the choice to the library gets the other engine, and the same reason.
        const std::string automatic = in_child([&] {
                                          want_engine("");
                                          return run_with_region(kind, Engine::automatic);
                                      }).out;
        INFO(automatic);
        CHECK(automatic.starts_with("user, stopped 0. registration of a memory region"));
        CHECK(says(automatic, "pin"));
    }
    CHECK(tried >= (pages.there() ? 6U : 4U));
    if (pages.there()) CHECK(RegionMemory::allocate(busy::region_bytes, true)->huge_pages());
}

TEST_CASE("A forked child has a copy of its parent's pinned memory, and the parent keeps the memory that its loop writes to") {
    const HugePages pages(4);
    busy::load_once();
    for (const Kind kind : {Kind::ordinary, Kind::transparent, Kind::huge, Kind::shared}) {
        INFO("kind " << static_cast<int>(kind));
        const std::unique_ptr<Mapping> memory = memory_of(kind);
        if (!memory) continue;
        std::optional<ringstep::RegionView<scripted>> view;
        std::atomic<Scripted*> running{nullptr};
        std::thread runner([&] {
            Ring ring;
            ring.use_region(RegionMemory::borrow(memory->bytes()));
            Scripted program(ring);
            program.state()->spin = 1;  // it writes to its state all the time
            view.emplace(program.state());
            running = &program;
            LoopExit exit;
            do exit = program.run();
            while (exit.reason == ExitReason::interrupted);
            ensure(exit.reason == ExitReason::stop_requested && ring.close());
        });
        while (running == nullptr) std::this_thread::yield();
        const auto turns = [&] { return view->load(&scripted::turns); };
        const auto goes_on = [&] {
            const std::uint64_t before = turns();
            return eventually([&] { return turns() > before; });
        };
        volatile std::byte* const extra = view->extra().data();
        for (unsigned i = 0; i < 2; i++) {
            CHECK(goes_on());
            extra[0] = std::byte{0};
            extra[1] = std::byte{0};
            const Pipe told;
            const Pipe go;
            const pid_t child = fork_and_run([&] {
                ::alarm(60);
                char byte = 0;
                const std::uint64_t before = turns();
                extra[0] = std::byte{1};
                ensure(::write(told.in(), "r", 1) == 1 && ::read(go.out(), &byte, 1) == 1);
                const bool copy = turns() == before && extra[1] == std::byte{0};
                const bool same = turns() != before && extra[1] == std::byte{1};
                return same ? 1 : copy ? 2 : 3;
            });
            REQUIRE(child > 0);
            char byte = 0;
            REQUIRE(readable(told.out()));
            REQUIRE(::read(told.out(), &byte, 1) == 1);
            CHECK(goes_on());
            extra[1] = std::byte{1};
            REQUIRE(::write(go.in(), "g", 1) == 1);
            const int status = status_of(child);
            CHECK(WIFEXITED(status));
            CHECK(WEXITSTATUS(status) == (kind == Kind::shared ? 1 : 2));
            CHECK(extra[0] == std::byte{kind == Kind::shared});
        }
        CHECK(goes_on());
        running.load()->request_stop();
        runner.join();
    }
}
