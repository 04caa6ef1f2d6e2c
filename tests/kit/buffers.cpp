// SPDX-License-Identifier: MIT
// A loop that decides by the headers of records in a registered buffer, and gives up after a time: buffers.bpf.h, timer.bpf.h
// and napi.bpf.h, each by whatever the kernel has for it.
#include <ringstep/blocks/buffers.hpp>
#include <ringstep/compiled/sorter.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "loops/sorter.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "error_of.hpp"

using ringstep::Engine;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Sorter = LoopProgram<ringstep::loops::sorter>;

namespace {

constexpr std::size_t buffer_size = 64 << 10;
constexpr std::uint64_t soon = 20'000'000;
constexpr std::uint64_t late = 3'600'000'000'000;

/// A pair of sockets that keep records apart.
struct Sockets : descriptors::Sockets {
    Sockets() : descriptors::Sockets(SOCK_SEQPACKET) {}
};

struct Memory {
    std::byte* data;
    std::size_t size;
    explicit Memory(std::size_t bytes)
        : data(static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
          size(bytes) {
        REQUIRE(data != MAP_FAILED);
    }
    ~Memory() { ::munmap(data, size); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
};

/// Whether the loop can see what lies outside of its region.
bool sees_all(const Sorter& program) { return program.engine() == Engine::user || ringstep::kernel_shows_buffers(); }

struct Sorting {
    Ring ring{{.sq_entries = 8, .cq_entries = 32}};
    Memory elsewhere{buffer_size};
    Sorter program{ring, {.extra_bytes = buffer_size}};
    Sockets input, output;

    [[nodiscard]] std::byte* in_region() const {
        const auto& memory = program.state().memory();
        return memory->data() + memory->size() - buffer_size;
    }
    /// The third of three buffers is the one that is used.
    void start(std::byte* buffer, std::uint64_t offset, std::uint64_t idle) {
        const std::array<iovec, 3> buffers{iovec{in_region(), 100}, iovec{}, iovec{buffer, buffer_size}};
        *program.state() = {};
        ringstep::register_buffers(ring, program, program.state()->buffers, buffers);
        program.state()->slot = 2;
        program.state()->address = reinterpret_cast<std::uintptr_t>(buffer);
        program.state()->offset = offset;
        program.state()->size = static_cast<std::uint32_t>(buffer_size - offset);
        program.state()->input = input.ends[0];
        program.state()->output = output.ends[0];
        program.state()->idle = idle;
    }
    void send(const std::vector<std::byte>& record) const {
        REQUIRE(::write(input.ends[1], record.data(), record.size()) == static_cast<ssize_t>(record.size()));
    }
};

std::vector<std::byte> record(sorter_kind kind, std::size_t length, std::uint64_t number) {
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i < length; i++) bytes[i] = static_cast<std::byte>(number * 31 + i);
    const sorter_header header{.kind = kind, .length = static_cast<__u32>(length), .number = number, .stamp = 0};
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
}

}  // namespace

TEST_CASE("A loop decides by the header of what lies in a registered buffer") {
    Sorting sorting;
    std::byte* buffer = sorting.in_region();
    if (GENERATE(false, true)) {
        if (!sees_all(sorting.program)) SKIP("loops in this kernel see their region only");
        buffer = sorting.elsewhere.data;
    }
    // The header lies in one page, or in two.
    sorting.start(buffer, GENERATE(std::uint64_t{0}, std::uint64_t{4096 - 12}), late);

    std::mt19937 random(GENERATE(1U, 2U));
    std::vector<std::vector<std::byte>> expected;
    std::uint64_t dropped = 0;
    for (std::uint64_t number = 1; number <= 60; number++) {
        const auto kind = random() % 3 == 0 ? SORTER_DROP : SORTER_KEEP;
        const std::size_t length = sizeof(sorter_header) + random() % 1000;
        std::vector<std::byte> bytes = record(kind, length, number);
        sorting.send(bytes);
        if (kind == SORTER_DROP) {
            dropped++;
            continue;
        }
        const std::uint64_t stamp = expected.size() + 1;
        std::memcpy(bytes.data() + offsetof(sorter_header, stamp), &stamp, sizeof stamp);
        expected.push_back(std::move(bytes));
    }
    sorting.send(record(SORTER_END, sizeof(sorter_header), 99));

    const LoopExit exit = sorting.program.run();
    CHECK(exit.ok());
    CHECK(exit.code == 0);
    CHECK(sorting.program.state()->error == 0);
    CHECK(sorting.program.state()->kept == expected.size());
    CHECK(sorting.program.state()->dropped == dropped);
    CHECK(sorting.program.state()->last.number == 99);
    for (const auto& bytes : expected) {
        std::vector<std::byte> got(buffer_size);
        const ssize_t length = ::recv(sorting.output.ends[1], got.data(), got.size(), MSG_DONTWAIT);
        REQUIRE(length == static_cast<ssize_t>(bytes.size()));
        got.resize(bytes.size());
        CHECK(got == bytes);
    }
    std::byte more{};
    CHECK(::recv(sorting.output.ends[1], &more, 1, MSG_DONTWAIT) == -1);
}

TEST_CASE("It gives up when nothing comes in, with a request for that only where there is no other way") {
    Sorting sorting;
    sorting.start(sorting.in_region(), 0, soon);
    sorting.program.state()->poll_ns = GENERATE(0U, 100'000U);
    sorting.send(record(SORTER_DROP, sizeof(sorter_header), 1));
    LoopExit exit = sorting.program.run();
    CHECK(exit.code == SORTER_IDLE);
    CHECK(sorting.program.state()->dropped == 1);
    CHECK(exit.submitted == 2);
    CHECK(exit.completions == 1);

    // A wait that ends before its deadline leaves the request behind, if there is one.
    sorting.program.state()->idle = late;
    sorting.program.state()->deadline = ~std::uint64_t{0} / 2;
    sorting.send(record(SORTER_END, sizeof(sorter_header), 2));
    exit = sorting.program.run();
    CHECK(exit.code == 0);
    // The kernel that has the one has the other.
    const bool request = sorting.program.engine() == Engine::kernel && !ringstep::kernel_shows_buffers();
    CHECK((sorting.program.state().memory()->control().timer.deadline != 0) == request);
}

TEST_CASE("What is not there cannot be read or written") {
    Sorting sorting;
    sorting.start(sorting.in_region(), 0, late);
    sorting.send(record(SORTER_DROP, sizeof(sorter_header), 1));
    int expected = 0;
    std::uint32_t slot = 2;
    SECTION("no buffer in that slot") {
        expected = -ENOENT;
        slot = 1;
    }
    SECTION("no such slot") {
        expected = -ENOENT;
        slot = 77;
    }
    SECTION("the buffer ends before") {
        expected = -ERANGE;
        sorting.program.state()->offset = buffer_size - sizeof(sorter_header) + 1;
    }
    SECTION("far outside") {
        expected = -ERANGE;
        sorting.program.state()->offset = ~std::uint64_t{0} - 3;
    }
    // The read itself goes to where it may; only what the loop looks at is wrong.
    sorting.program.state()->slot = 2;
    io_uring_sqe* sqe = sorting.ring.sq().claim();
    REQUIRE(sqe != nullptr);
    io_uring_prep_nop(sqe);
    sqe->user_data = 0;  // what a read's completion says
    sorting.program.state()->started = 1;
    sorting.program.state()->slot = slot;
    sorting.program.state()->deadline = ~std::uint64_t{0};
    const LoopExit exit = sorting.program.run();
    CHECK(exit.code == SORTER_ERROR);
    CHECK(sorting.program.state()->error == expected);
}

TEST_CASE("Buffers that a loop could not see are refused, and so are too many") {
    Sorting sorting;
    const std::vector<iovec> many(RINGSTEP_BUFFERS + 1, iovec{sorting.in_region(), 4096});
    CHECK(error_of([&] { ringstep::register_buffers(sorting.ring, sorting.program, sorting.program.state()->buffers, many); })
              .code()
              .value() == E2BIG);
    const std::array<iovec, 2> outside{iovec{sorting.in_region(), 4096}, iovec{sorting.elsewhere.data, buffer_size}};
    const std::array<iovec, 1> across{iovec{sorting.in_region() + 4096, buffer_size}};
    if (sees_all(sorting.program)) {
        ringstep::register_buffers(sorting.ring, sorting.program, sorting.program.state()->buffers, outside);
        CHECK(sorting.program.state()->buffers.at[1].length == buffer_size);
        return;
    }
    for (const std::span<const iovec> buffers : {std::span<const iovec>(outside), std::span<const iovec>(across)}) {
        CHECK(error_of(
                  [&] { ringstep::register_buffers(sorting.ring, sorting.program, sorting.program.state()->buffers, buffers); })
                  .code()
                  .value() == EOPNOTSUPP);
    }
    CHECK(sorting.program.state()->buffers.at[0].length == 0);
}
