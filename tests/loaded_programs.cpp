// SPDX-License-Identifier: MIT
// A process loads a program once for each geometry, and uses it for all rings that have it. Only the kernel engine loads.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "child.hpp"
#include "ensure.hpp"

#include <catch2/catch_test_macros.hpp>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

using ringstep::Engine;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;

namespace {

// The ids of all loops' programs in the kernel.
std::set<std::uint32_t> loaded() {
    std::set<std::uint32_t> ids;
    for (__u32 id = 0; ::bpf_prog_get_next_id(id, &id) == 0;) {
        const int fd = ::bpf_prog_get_fd_by_id(id);
        bpf_prog_info info{};
        __u32 size = sizeof info;
        if (fd >= 0 && ::bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == BPF_PROG_TYPE_STRUCT_OPS) ids.insert(id);
        if (fd >= 0) ::close(fd);
    }
    return ids;
}

// The kernel frees programs a little after their last user has gone.
bool none_is_left() {
    for (int tries = 0; tries < 1000; tries++) {
        if (loaded().empty()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

// Begins a test without the programs of the tests before it.
void start_without() {
    ringstep::forget_loaded_programs();
    REQUIRE(none_is_left());
}

std::ptrdiff_t descriptors() { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); }

void check_works(Nops& program) {
    program.state()->total = 100;
    program.state()->depth = 4;
    REQUIRE(program.run().ok());
    CHECK(program.state()->completed == 100);
    program.state()->submitted = program.state()->completed = 0;
}

}  // namespace

TEST_CASE("Rings with the same geometry share a program", "[main]") {
    start_without();
    Ring first;
    Ring second;
    Nops one(first, {.engine = Engine::kernel});
    const auto before = loaded();
    REQUIRE(before.size() == 1);
    Nops other(second, {.engine = Engine::kernel});
    CHECK(loaded() == before);
    check_works(one);
    check_works(other);
    check_works(one);
}

TEST_CASE("A program outlives its ring, and serves the next one") {
    start_without();
    std::optional<std::set<std::uint32_t>> before;
    for (int i = 0; i < 3; i++) {
        Ring ring;
        Nops program(ring, {.engine = Engine::kernel});
        check_works(program);
        if (!before) before = loaded();
        CHECK(loaded() == *before);
    }
}

TEST_CASE("Rings of other sizes have programs of their own") {
    start_without();
    Ring small{{.sq_entries = 8}};
    Ring large{{.sq_entries = 64}};
    Nops one(small, {.engine = Engine::kernel});
    Nops other(large, {.engine = Engine::kernel});
    CHECK(loaded().size() == 2);
    Ring with_room;
    Nops third(with_room, {.engine = Engine::kernel, .extra_bytes = 1 << 20});
    CHECK(loaded().size() == 3);
    check_works(one);
    check_works(other);
    check_works(third);
}

TEST_CASE("Only so many programs are kept, and none after they are forgotten") {
    ringstep::forget_loaded_programs();
    {
        Ring ring;
        Nops warm(ring, {.engine = Engine::kernel});  // opens what the process opens once
    }
    ringstep::forget_loaded_programs();
    const auto before = descriptors();
    for (unsigned entries = 0; entries < 18; entries++) {
        Ring ring{{.sq_entries = 1U << entries % 10, .cq_entries = 1024U << entries / 10}};
        Nops program(ring, {.engine = Engine::kernel});
        check_works(program);
    }
    CHECK(descriptors() == before + 32);
    ringstep::forget_loaded_programs();
    CHECK(none_is_left());
    CHECK(descriptors() == before);
}

TEST_CASE("A program that runs goes on after it was forgotten") {
    Ring ring;
    Nops program(ring, {.engine = Engine::kernel});
    ringstep::forget_loaded_programs();
    check_works(program);
    Ring another;
    Nops next(another, {.engine = Engine::kernel});
    check_works(next);
    check_works(program);
}

TEST_CASE("Descriptors that somebody closed, and that are other files now, are not used") {
    ringstep::forget_loaded_programs();
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const auto first = static_cast<int>(descriptors());
    {
        Ring ring;
        Nops program(ring, {.engine = Engine::kernel});
    }
    // All that the library may keep open beyond its rings.
    int replaced = 0;
    for (int fd = 3; fd < first + 16; fd++) {
        bpf_prog_info info{};
        __u32 size = sizeof info;
        if (::bpf_obj_get_info_by_fd(fd, &info, &size) != 0 || info.type != BPF_PROG_TYPE_STRUCT_OPS) continue;
        REQUIRE(::dup2(null, fd) == fd);
        replaced++;
    }
    CHECK(replaced == 1);
    Ring ring;
    Nops program(ring, {.engine = Engine::kernel});
    check_works(program);
    ringstep::forget_loaded_programs();
    ::close(null);
}

TEST_CASE("A forked child makes loops of its own from the program") {
    start_without();
    Ring ring;
    Nops program(ring, {.engine = Engine::kernel});
    const auto before = loaded();
    const pid_t child = fork_and_run([&] {
        Ring own;
        Nops nops(own, {.engine = Engine::kernel});
        nops.state()->total = 10;
        nops.state()->depth = 1;
        const bool good = nops.run().ok() && nops.state()->completed == 10 && loaded() == before;
        return good ? 0 : 1;
    });
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    check_works(program);
}

TEST_CASE("Threads make loops at the same time") {
    ringstep::forget_loaded_programs();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([i] {
            for (int k = 0; k < 4; k++) {
                Ring ring{{.sq_entries = 8U << (i + k) % 3}};
                Nops program(ring, {.engine = Engine::kernel});
                program.state()->total = 10;
                program.state()->depth = 1;
                ensure(program.run().ok());
                if (i == 0 && k == 2) ringstep::forget_loaded_programs();
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    ringstep::forget_loaded_programs();
    CHECK(none_is_left());
}
