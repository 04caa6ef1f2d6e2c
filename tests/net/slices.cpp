// SPDX-License-Identifier: MIT
// Rings of provided buffers in the state of a loop.
#include <ringstep/compiled/slices.hpp>
#include <ringstep/net/buffer_ring.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <liburing.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "error_of.hpp"

using ringstep::BufferRing;
using ringstep::BufferRingOptions;
using Program = ringstep::LoopProgram<ringstep::loops::slices>;

TEST_CASE("Bytes come in slices of buffers, all of them in their order, also when buffers run out", "[main]") {
    const bool incremental = GENERATE(false, true);
    const bool bundles = GENERATE(false, true);
    const unsigned hold = GENERATE(0U, 5U, 14U);
    ringstep::Ring ring;
    Program program{ring};
    const BufferRing buffers{ring, program.state(), program.state()->buffers, {.incremental = incremental, .bundles = bundles}};
    CHECK((incremental || !buffers.incremental()));
    program.state()->hold = hold;
    program.state()->bundles = bundles ? 1 : 0;
    // Not AF_UNIX: Linux 7.3 may lose the end of such a stream, see docs/network.md.
    std::array<std::optional<descriptors::Sockets>, SLICES_SOCKETS> sockets;
    for (auto& pair : sockets) pair.emplace(descriptors::tcp_pair());
    std::array<std::string, SLICES_SOCKETS> sent;
    for (unsigned i = 0; i < SLICES_SOCKETS; i++) {
        program.state()->sockets[i].fd = static_cast<unsigned>(sockets[i]->ends[0]);
        program.state()->sockets[i].next = i + 2 <= SLICES_SOCKETS ? i + 2 : 0;  // all of them begin as starving ones
        program.state()->sockets[i].previous = i;
    }
    program.state()->starving = {.first = 1, .last = SLICES_SOCKETS, .count = SLICES_SOCKETS};
    std::thread writer([&] {
        std::mt19937 random{hold + (incremental ? 100U : 0U) + (bundles ? 1000U : 0U)};
        std::vector<std::size_t> left(SLICES_SOCKETS, 50'000);
        while (left != std::vector<std::size_t>(SLICES_SOCKETS, 0)) {
            const std::size_t i = random() % SLICES_SOCKETS;
            const std::size_t size = std::min<std::size_t>(left[i], 1 + random() % (random() % 4 == 0 ? 5000 : 100));
            if (size == 0) continue;
            std::string bytes(size, '\0');
            for (char& byte : bytes) byte = static_cast<char>(random());
            ensure(::send(sockets[i]->ends[1], bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
            sent[i] += bytes;
            left[i] -= size;
            if (random() % 64 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        for (const auto& pair : sockets) ::shutdown(pair->ends[1], SHUT_WR);
    });
    const ringstep::LoopExit exit = program.run();
    writer.join();
    REQUIRE(exit.ok());
    for (unsigned i = 0; i < SLICES_SOCKETS; i++) {
        const slices_socket& socket = program.state()->sockets[i];
        CHECK(socket.error == 0);
        const bool right = std::string(reinterpret_cast<const char*>(socket.bytes), socket.length) == sent[i];
        CHECK(right);
    }
    CHECK(program.state()->buffers.ring.foreign == 0);
    if (!bundles) CHECK(program.state()->most_slices == 1);
    if (bundles && (program.state()->buffers.ring.features & RINGSTEP_BUFFER_RING_BUNDLES) != 0)
        CHECK(program.state()->most_slices >= 1);  // how many depends on how fast the bytes come
    if (!buffers.incremental()) CHECK(program.state()->shared == 0);
    if (buffers.incremental()) CHECK(program.state()->shared > 0);
    // Buffers that nobody holds are with the kernel.
    std::size_t held = 0;
    for (const ringstep_buffer_use& use : program.state()->buffers.uses) held += use.full != 0 ? 1 : 0;
    CHECK(program.state()->buffers.ring.available + held == 16);
}

TEST_CASE("A ring has several rings of buffers, and their groups are used again") {
    ringstep::Ring ring;
    Program program{ring};
    std::optional<BufferRing> first;
    first.emplace(ring, program.state(), program.state()->buffers);
    CHECK(first->group() == 0);
    CHECK(program.state()->buffers.ring.available == 16);
    {
        const BufferRing second{ring, program.state(), program.state()->buffers, {.buffers = 3}};
        CHECK(second.group() == 1);
        CHECK(program.state()->buffers.ring.group == 1);
        CHECK(program.state()->buffers.ring.available == 3);
    }
    first.reset();
    const BufferRing again{ring, program.state(), program.state()->buffers};
    CHECK(again.group() == 0);
}

TEST_CASE("A ring of buffers that cannot be is refused") {
    ringstep::Ring ring;
    Program program{ring};
    const ringstep::Error error =
        error_of([&] { BufferRing buffers(ring, program.state(), program.state()->buffers, {.buffers = 17}); });
    CHECK(error.code().value() == EINVAL);
    std::thread other([&] {
        try {
            const BufferRing buffers(ring, program.state(), program.state()->buffers);
            ensure(false);
        } catch (const ringstep::Error& refusal) {
            ensure(refusal.code().value() == EEXIST || refusal.code().value() == EBADFD || refusal.code().value() == EINVAL);
        }
    });
    other.join();
    ring.close();
    CHECK(error_of([&] { BufferRing buffers(ring, program.state(), program.state()->buffers); }).code().value() == EBADF);
}
