// SPDX-License-Identifier: MIT
// Attached, run and detached over and over: nothing may be left behind.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>

#include <bpf/bpf.h>
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdint>
#include <string>
#include <thread>

#include "thorough.hpp"

using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;

namespace {

struct Held {
    unsigned descriptors = 0;
    unsigned programs = 0;
    unsigned maps = 0;
    unsigned links = 0;
    long resident_kib = 0;
    long mapped_kib = 0;
};

template <class Next>
unsigned count_ids(Next next) {
    unsigned count = 0;
    for (__u32 id = 0; next(id, &id) == 0;) count++;
    return count;
}

long status_line(const char* format) {
    std::FILE* file = std::fopen("/proc/self/status", "re");
    char line[256];
    long value = -1;
    while (std::fgets(line, sizeof line, file) != nullptr)
        if (std::sscanf(line, format, &value) == 1) break;  // NOLINT(cert-err34-c)
    std::fclose(file);
    return value;
}

Held held() {
    Held now;
    DIR* dir = ::opendir("/proc/self/fd");
    while (::readdir(dir) != nullptr) now.descriptors++;
    ::closedir(dir);
    now.programs = count_ids(bpf_prog_get_next_id);
    now.maps = count_ids(bpf_map_get_next_id);
    now.links = count_ids(bpf_link_get_next_id);
    now.resident_kib = status_line("RssAnon: %ld kB");
    now.mapped_kib = status_line("VmSize: %ld kB");
    return now;
}

/// The kernel frees programs and maps behind the scenes: gives it a moment to come down to `goal`.
Held settled(const Held& goal) {
    Held now = held();
    for (int i = 0; i < 600 && (now.programs > goal.programs || now.maps > goal.maps || now.links > goal.links); i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        now = held();
    }
    return now;
}

void cycle(Ring& ring) {
    Nops program(ring);
    program.state()->total = 5;
    program.state()->depth = 2;
    REQUIRE(program.run().ok());
}

/// After so many cycles.
void compare(const Held& before, const Held& after, std::uint64_t cycles) {
    CHECK(after.descriptors == before.descriptors);
    CHECK(after.programs == before.programs);
    CHECK(after.maps == before.maps);
    CHECK(after.links == before.links);
    // The C library keeps some. A leak of a single page for each of a hundred cycles would be more.
    const long most = std::max(320L, static_cast<long>(cycles * 3));
    CHECK(after.resident_kib < before.resident_kib + most);
    CHECK(after.mapped_kib < before.mapped_kib + most);
}

}  // namespace

TEST_CASE("Programs on one ring, one after the other, leave nothing behind") {
    // Loading is slow in an emulated machine.
    const std::uint64_t cycles = rounds(20, 1000);
    Ring ring;
    for (int i = 0; i < 20; i++) cycle(ring);
    const Held before = settled(Held{});
    for (std::uint64_t i = 0; i < cycles; i++) cycle(ring);
    compare(before, settled(before), cycles);
}

TEST_CASE("Rings, one after the other, leave nothing behind") {
    for (int i = 0; i < 5; i++) {
        Ring ring;
        cycle(ring);
    }
    const Held before = settled(Held{});
    const std::uint64_t cycles = rounds(8, 300);
    for (std::uint64_t i = 0; i < cycles; i++) {
        Ring ring;
        cycle(ring);
    }
    compare(before, settled(before), cycles);
}
