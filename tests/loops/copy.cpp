// SPDX-License-Identifier: MIT
// The bare loop.
#include <ringstep/loops/copy.hpp>
#include <ringstep/program.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "loops/files.hpp"

using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::RegionMemory;
using ringstep::Ring;
using Copy = ringstep::LoopProgram<ringstep::loops::copy>;

namespace {

/// A loop with buffers.
struct Bare {
    explicit Bare(Ring& ring, unsigned depth = 8, std::uint32_t block_size = 4096)
        : program(ring), buffers(RegionMemory::allocate(std::size_t{RINGSTEP_COPY_SLOTS} * (block_size | 1))) {
        ring.keep_alive(buffers);
        state().depth = depth;
        state().block_size = block_size;
        state().buffers = reinterpret_cast<std::uintptr_t>(buffers->data());
        state().size_hint = RINGSTEP_COPY_ENDLESS;
    }
    ringstep_copy& state() { return *program.state(); }
    void add(std::uint64_t offset, std::uint64_t length) {
        state().extents[state().extent_tail++ % RINGSTEP_COPY_EXTENTS] = {.offset = offset, .length = length};
    }
    LoopExit run(const File& input, const File& output) {
        state().input_fd = input.fd();
        state().output_fd = output.fd();
        return program.run();
    }
    [[nodiscard]] unsigned in_flight() { return state().opened - state().idle; }

    Copy program;
    std::shared_ptr<RegionMemory> buffers;
};

}  // namespace

TEST_CASE("The bare loop copies a file in one run", "[main]") {
    const std::size_t size = GENERATE(as<std::size_t>{}, 0, 1, 4095, 4096, 4097, 8 * 4096, 100 * 4096, 100 * 4096 + 77);
    CAPTURE(size);
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(size));
    Ring ring;
    Bare copy(ring);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    const LoopExit exit = copy.run(input, output);
    CHECK(exit.ok());
    CHECK(exit.code == RINGSTEP_COPY_DONE);
    CHECK(copy.state().end == size);
    CHECK(copy.state().bytes_read == size);
    CHECK(copy.state().bytes_written == size);
    CHECK(copy.in_flight() == 0);
    CHECK(ring.in_flight() == 0);
    CHECK(exit.submitted == exit.completions);
    CHECK((output.read() == input.read()));
}

TEST_CASE("A good size hint spares the reads beyond the end") {
    const std::size_t blocks = GENERATE(as<std::size_t>{}, 0, 1, 40);
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(blocks * 4096));
    Ring ring;
    Bare copy(ring, 64);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    copy.state().size_hint = blocks * 4096;
    const LoopExit exit = copy.run(input, output);
    CHECK(exit.ok());
    CHECK(exit.submitted == 2 * blocks + 1);
    CHECK((output.read() == input.read()));
}

TEST_CASE("A wrong size hint costs nothing but a moment") {
    const std::uint64_t hint = GENERATE(as<std::uint64_t>{}, 0, 4096, 10000, 400 * 4096);
    CAPTURE(hint);
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(200 * 4096 + 5));
    Ring ring;
    Bare copy(ring);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    copy.state().size_hint = hint;
    CHECK(copy.run(input, output).ok());
    CHECK(copy.state().opened == copy.state().depth);  // came up to full depth
    CHECK((output.read() == input.read()));
}

TEST_CASE("Only the extents asked for are copied, and more can follow") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    const Bytes bytes = random_bytes(1 << 20);
    input.write(bytes);
    Ring ring;
    Bare copy(ring);
    copy.add(100, 1);
    copy.add(8192, 40000);
    LoopExit exit = copy.run(input, output);
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
    CHECK(copy.state().bytes_written == 40001);
    Bytes expected(48192);
    expected[100] = bytes[100];
    std::memcpy(expected.data() + 8192, bytes.data() + 8192, 40000);
    CHECK((output.read() == expected));

    // Round the window more than once.
    for (int round = 0; round < 3; round++) {
        for (std::uint64_t i = 0; i < RINGSTEP_COPY_EXTENTS; i++) copy.add(i * 2048, 1024);
        exit = copy.run(input, output);
        CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
        CHECK(exit.submitted == 2 * RINGSTEP_COPY_EXTENTS);
    }
    CHECK((output.read(2048, 1024) == input.read(2048, 1024)));
    CHECK((output.read(127 * 2048, 1024) == input.read(127 * 2048, 1024)));
}

TEST_CASE("Depth and blocks of 0 are refused, a depth beyond the slots is cut") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(1000 * 64));
    Ring ring;
    Bare copy(ring, 8, 64);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    SECTION("depth 0") {
        copy.state().depth = 0;
        CHECK(copy.run(input, output).code == RINGSTEP_COPY_INVALID);
    }
    SECTION("blocks of 0") {
        copy.state().block_size = 0;
        CHECK(copy.run(input, output).code == RINGSTEP_COPY_INVALID);
    }
    SECTION("depth beyond") {
        copy.state().depth = 100000;
        CHECK(copy.run(input, output).ok());
        CHECK(copy.state().opened == RINGSTEP_COPY_SLOTS);
        CHECK((output.read() == input.read()));
    }
}

TEST_CASE("Whatever the ring looks like", "[main]") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(3000 * 512 + 9));
    ringstep::RingOptions options;
    SECTION("one SQE") { options = {.sq_entries = 1, .cq_entries = 512}; }
    SECTION("a CQ that overflows") { options = {.sq_entries = 2, .cq_entries = 2}; }
    SECTION("no rewinding") { options = {.sq_entries = 16, .sq_rewind = false}; }
    SECTION("long entries") { options = {.sq_entries = 16, .cqe32 = true, .sqe128 = true}; }
    SECTION("large") { options = {.sq_entries = 4096, .cq_entries = 8192}; }
    Ring ring(options);
    Bare copy(ring, 200, 512);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    CHECK(copy.run(input, output).ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("An error ends the copy when nothing is in flight any more, and says where", "[main]") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(100 * 4096));
    Ring ring;
    Bare copy(ring, 16);
    constexpr std::uint64_t impossible = std::uint64_t{1} << 63;

    SECTION("reading: the lowest offset counts") {
        copy.state().size_hint = ~std::uint64_t{0};
        copy.add(0, 10 * 4096);
        copy.add(impossible + 8192, 4096);
        copy.add(impossible + 4096, 4096);
        copy.add(20 * 4096, 80 * 4096);
        const LoopExit exit = copy.run(input, output);
        CHECK(exit.reason == ExitReason::stopped);
        CHECK(exit.code == RINGSTEP_COPY_FAILED);
        CHECK(copy.state().error == EINVAL);
        CHECK(copy.state().error_operation == RINGSTEP_COPY_READ);
        CHECK(copy.state().error_offset == impossible + 4096);
    }
    SECTION("writing") {
        const File full("/dev/full", O_RDWR);
        copy.add(8192, RINGSTEP_COPY_ENDLESS);
        const LoopExit exit = copy.run(input, full);
        CHECK(exit.code == RINGSTEP_COPY_FAILED);
        CHECK(copy.state().error == ENOSPC);
        CHECK(copy.state().error_operation == RINGSTEP_COPY_WRITE);
        // Reads end in any order, and each block is written as soon as it was read. After the first write has failed, no other
        // begins.
        CHECK(copy.state().error_offset >= 8192);
        CHECK(copy.state().error_offset < 8192 + 16 * 4096);
        CHECK(copy.state().error_offset % 4096 == 0);
        CHECK(copy.state().bytes_written == 0);
        CHECK(exit.submitted <= 16 + 16 + 16);  // nothing new was begun: at most a depth of each, and those on the way
    }
    SECTION("wrong descriptors") {
        const bool input_is_wrong = GENERATE(true, false);
        copy.add(0, RINGSTEP_COPY_ENDLESS);
        const File write_only(folder / "write-only", O_WRONLY | O_CREAT);
        const File read_only(folder / "in", O_RDONLY);
        const LoopExit exit = input_is_wrong ? copy.run(write_only, output) : copy.run(input, read_only);
        CHECK(exit.code == RINGSTEP_COPY_FAILED);
        CHECK(copy.state().error == EBADF);
        CHECK(copy.state().error_operation == (input_is_wrong ? RINGSTEP_COPY_READ : RINGSTEP_COPY_WRITE));
        CHECK(copy.state().error_offset == 0);
    }
    SECTION("a directory") {
        const File directory(folder.path(), O_RDONLY | O_DIRECTORY);
        copy.add(0, RINGSTEP_COPY_ENDLESS);
        CHECK(copy.run(directory, output).code == RINGSTEP_COPY_FAILED);
        CHECK(copy.state().error == EISDIR);
        CHECK(copy.state().error_operation == RINGSTEP_COPY_READ);
    }
    CHECK(copy.in_flight() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Registered files and buffers", "[main]") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(300 * 4096 + 1));
    Ring ring;
    Bare copy(ring, 16);
    const std::vector<int> files = {-1, input.fd(), output.fd()};
    const std::vector<iovec> buffers = {{copy.buffers->data() + (1 << 19), 4096}, {copy.buffers->data(), copy.buffers->size()}};
    ring.register_files(files);
    ring.register_buffers(buffers);
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    copy.state().flags = RINGSTEP_COPY_FIXED_FILES | RINGSTEP_COPY_FIXED_BUFFERS;
    copy.state().input_fd = 1;
    copy.state().output_fd = 2;
    copy.state().buffer_index = 1;
    CHECK(copy.program.run().ok());
    CHECK((output.read() == input.read()));

    // Were these flags ignored, the slot numbers would be descriptors and any buffer would do.
    copy.state().over = 0;
    copy.state().buffer_index = 0;
    CHECK(copy.program.run().code == RINGSTEP_COPY_FAILED);
    CHECK(copy.state().error == EFAULT);
}

// What files hardly ever do is made up here: a slot that seems to have a request in flight, and that request's completion.

namespace {

/// A completion for a ring, from another one.
void complete(const Ring& ring, std::uint64_t user_data, int result) {
    Ring sender;
    io_uring_prep_msg_ring(sender.sq().claim(), ring.fd(), static_cast<unsigned>(result), user_data, 0);
    REQUIRE(sender.submit().count == 1);
}

struct MadeUp : Bare {
    MadeUp(Ring& ring_, const Folder& folder) : Bare(ring_), ring(ring_), input(folder / "in"), output(folder / "out") {
        input.write(random_bytes(20 * 4096));
        state().input_fd = input.fd();
        state().output_fd = output.fd();
    }
    /// The slot with that number, its first `filled` bytes read already.
    ringstep_copy_slot& slot(unsigned index, std::uint64_t offset, std::uint32_t filled) {
        ringstep_copy_slot& slot = state().slots[index];
        slot = {.offset = offset, .identity = 0, .filled = filled, .written = 0, .size = 4096, .uses = 0};
        const Bytes bytes = input.read(offset, filled);
        if (!bytes.empty()) std::memcpy(buffers->data() + index * 4096, bytes.data(), bytes.size());
        return slot;
    }
    /// So many slots are busy with a read.
    void reading(unsigned slots) {
        state().opened = slots;
        state().reading = slots;
    }
    void writing(unsigned slots) { state().opened = slots; }
    void read_done(unsigned slot, int result) { done(slot, RINGSTEP_COPY_READ_PART, result); }
    void write_done(unsigned slot, int result) { done(slot, RINGSTEP_COPY_WRITE_PART, result); }
    void done(unsigned slot, unsigned part, int result) {
        const std::uint64_t identity = ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, part) | slot;
        state().slots[slot].identity = identity;
        complete(ring, identity, result);
    }

    Ring& ring;
    File input;
    File output;
};

}  // namespace

TEST_CASE("What was interrupted is tried again") {
    const int error = GENERATE(EINTR, EAGAIN);
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    SECTION("a read") {
        copy.slot(0, 4096, 100);
        copy.reading(1);
        copy.read_done(0, -error);
        const LoopExit exit = copy.program.run();
        CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
        CHECK(exit.submitted == 2);
        CHECK(copy.state().bytes_read == 4096 - 100);  // it went on where it was
    }
    SECTION("a write") {
        copy.slot(0, 4096, 4096).written = 100;
        copy.writing(1);
        copy.output.write(copy.input.read(4096, 100), 4096);
        copy.write_done(0, -error);
        const LoopExit exit = copy.program.run();
        CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
        CHECK(exit.submitted == 1);
        CHECK(copy.state().bytes_written == 4096 - 100);
    }
    CHECK(copy.state().error == 0);
    CHECK(copy.in_flight() == 0);
    CHECK(copy.output.read(4096, 4096) == copy.input.read(4096, 4096));
}

TEST_CASE("After an error nothing is tried again, continued or written") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    for (unsigned i = 0; i < 6; i++) copy.slot(i, i * 4096, i < 3 ? 0 : 4096);
    copy.reading(6);
    copy.state().reading = 3;
    copy.state().depth = 6;  // nothing can be begun before one of these is over
    copy.add(8 * 4096, RINGSTEP_COPY_ENDLESS);
    copy.write_done(5, -EIO);
    copy.read_done(0, -EAGAIN);
    copy.read_done(1, 100);
    copy.read_done(2, 4096);
    copy.write_done(3, -EINTR);
    copy.write_done(4, 100);
    const LoopExit exit = copy.program.run();
    CHECK(exit.code == RINGSTEP_COPY_FAILED);
    CHECK(exit.submitted == 0);
    CHECK(copy.state().error == EIO);
    CHECK(copy.state().error_offset == 5 * 4096);
    CHECK(copy.in_flight() == 0);
    CHECK(copy.state().reading == 0);
}

TEST_CASE("A short read is continued where it ended") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.slot(0, 4096, 1000).filled = 0;
    copy.reading(1);
    copy.read_done(0, 1000);
    const LoopExit exit = copy.program.run();
    CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
    CHECK(exit.submitted == 2);
    CHECK(copy.state().over == 0);
    CHECK(copy.state().bytes_written == 4096);
    CHECK((copy.output.read(4096, 4096) == copy.input.read(4096, 4096)));
}

TEST_CASE("A short write is continued where it ended") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.slot(0, 0, 4096);
    copy.writing(1);
    SECTION("at the byte") {
        copy.output.write(copy.input.read(0, 1000));
        copy.write_done(0, 1000);
        CHECK(copy.program.run().code == RINGSTEP_COPY_EXTENTS_USED);
    }
    SECTION("with O_DIRECT, at the sector") {
        copy.state().write_align_mask = 511;
        copy.output.write(copy.input.read(0, 512));  // the rest is written again
        copy.write_done(0, 1000);
        CHECK(copy.program.run().code == RINGSTEP_COPY_EXTENTS_USED);
    }
    CHECK(copy.state().bytes_written == 4096);
    CHECK(copy.output.read() == copy.input.read(0, 4096));
}

TEST_CASE("A write that gets nowhere is an error, not a loop for ever") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.slot(0, 8192, 4096).written = 512;
    copy.writing(1);
    SECTION("0 bytes") { copy.write_done(0, 0); }
    SECTION("with O_DIRECT, less than a sector") {
        copy.state().write_align_mask = 511;
        copy.write_done(0, 300);
    }
    CHECK(copy.program.run().code == RINGSTEP_COPY_FAILED);
    CHECK(copy.state().error == EIO);
    CHECK(copy.state().error_operation == RINGSTEP_COPY_WRITE);
    CHECK(copy.state().error_offset == 8192 + 512);
    CHECK(copy.in_flight() == 0);
}

TEST_CASE("With O_DIRECT, a read that ends inside a sector is the end, and only whole sectors are written") {
    const std::uint32_t size = GENERATE(as<std::uint32_t>{}, 1, 511, 513, 1000);
    CAPTURE(size);
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.state().read_align_mask = copy.state().write_align_mask = 511;
    copy.slot(0, 8192, 1000);
    copy.state().slots[0].filled = 0;
    copy.reading(1);
    copy.add(12288, RINGSTEP_COPY_ENDLESS);
    copy.state().size_hint = 0;  // so that nothing else is begun before
    copy.read_done(0, static_cast<std::int32_t>(size));
    const LoopExit exit = copy.program.run();
    const std::uint32_t whole = size & ~511U;
    CHECK(exit.code == RINGSTEP_COPY_DONE);
    CHECK(copy.state().end == 8192 + size);
    CHECK(copy.state().bytes_written == whole);
    CHECK(copy.output.size() == (whole != 0 ? 8192 + whole : 0));
    // The rest is left to the application.
    CHECK(copy.state().tail_size == size - whole);
    if (size != whole) CHECK(copy.state().tail == copy.state().buffers + whole);
}

TEST_CASE("With O_DIRECT, the tail is the one of the lowest end") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.state().read_align_mask = copy.state().write_align_mask = 511;
    for (unsigned i = 0; i < 3; i++) copy.slot(i, i * 4096, 4096).filled = 0;
    copy.reading(3);
    const bool at_a_sector = GENERATE(false, true);
    copy.read_done(2, 700);
    copy.read_done(1, at_a_sector ? 0 : 600);
    copy.read_done(0, 4096);
    CHECK(copy.program.run().code == RINGSTEP_COPY_DONE);
    CHECK(copy.state().end == (at_a_sector ? 4096 : 4096 + 600));
    CHECK(copy.state().tail_size == (at_a_sector ? 0 : 600 - 512));
    if (!at_a_sector) CHECK(copy.state().tail == copy.state().buffers + 4096 + 512);
}

TEST_CASE("Only the side that has O_DIRECT is aligned") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    copy.slot(0, 4096, 4096).filled = 0;
    copy.reading(1);
    SECTION("the output: a short read goes on at its byte") {
        copy.state().write_align_mask = 511;
        copy.read_done(0, 1000);
        CHECK(copy.program.run().code == RINGSTEP_COPY_EXTENTS_USED);
        CHECK((copy.output.read(4096, 4096) == copy.input.read(4096, 4096)));
    }
    SECTION("the input: the end is written as it is") {
        copy.state().read_align_mask = 511;
        copy.read_done(0, 1000);
        CHECK(copy.program.run().code == RINGSTEP_COPY_DONE);
        CHECK(copy.state().tail_size == 0);
        CHECK(copy.output.size() == 4096 + 1000);
    }
}

TEST_CASE("At once: what a read has brought is written before the next one") {
    const Folder folder;
    const File output(folder / "out");
    Pipe pipe;
    const Bytes bytes = random_bytes(9000);
    REQUIRE(::write(pipe.in(), bytes.data(), 5000) == 5000);
    Ring ring;
    Bare copy(ring, 1, 4096);
    copy.state().flags = RINGSTEP_COPY_AT_ONCE;
    SECTION("an endless extent") { copy.add(0, RINGSTEP_COPY_ENDLESS); }
    SECTION("several extents that follow each other") {
        for (std::uint64_t i = 0; i < 9; i++) copy.add(i * 1000, 1000);
    }
    // Waits until the first part is written, and then gives the second.
    std::thread writer([&] {
        while (output.size() != 5000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ensure(::write(pipe.in(), bytes.data() + 5000, 4000) == 4000);
        pipe.close_in();
    });
    copy.state().input_fd = pipe.out();
    copy.state().output_fd = output.fd();
    const LoopExit exit = copy.program.run();
    writer.join();
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(copy.state().bytes_written == 9000);
    CHECK((output.read() == bytes));
}

TEST_CASE("Of several ends the lowest counts, and what lies behind it is not written") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    for (unsigned i = 0; i < 6; i++) copy.slot(i, i * 4096, 0);
    copy.slot(1, 4096, 200);
    copy.slot(3, 3 * 4096, 4096).filled = 0;
    copy.reading(6);
    copy.add(6 * 4096, RINGSTEP_COPY_ENDLESS);
    copy.state().size_hint = 0;
    copy.read_done(5, 0);     // the end is at 5 blocks or before
    copy.read_done(2, 0);     // at 2 blocks or before
    copy.read_done(4, 0);     // which this does not raise
    copy.read_done(3, 4096);  // read before the source was cut
    copy.read_done(1, 0);     // at 4296
    copy.read_done(0, 0);     // at 0, after all
    const LoopExit exit = copy.program.run();
    CHECK(exit.code == RINGSTEP_COPY_DONE);
    CHECK(copy.state().end == 0);
    CHECK(copy.in_flight() == 0);
    // Slot 1 had 200 bytes, below what was the end at that time.
    CHECK(exit.submitted == 1);
    CHECK(copy.state().bytes_written == 200);
}

TEST_CASE("A completion of anything but the request that a slot has in flight does nothing") {
    const Folder folder;
    Ring ring;
    MadeUp copy(ring, folder);
    const std::uint64_t loop = ringstep_identity_of_loop(4711);
    const auto of = [&](std::uint32_t epoch, std::uint32_t generation, unsigned kind, unsigned part, std::uint32_t slot) {
        return ringstep_identity_of_loop(epoch) | ringstep_identity_of_part(kind, part) |
               ringstep_identity_of_slot(slot, generation);
    };
    constexpr unsigned request = RINGSTEP_IDENTITY_REQUEST;
    // In the last use that its generation can count, and in the first one after that.
    const std::uint32_t now = GENERATE(5U, 0xffffU, 0x10000U);
    const bool write = GENERATE(false, true);
    CAPTURE(now, write);
    const unsigned part = write ? RINGSTEP_COPY_WRITE_PART : RINGSTEP_COPY_READ_PART;
    copy.state().identity = loop;
    for (unsigned slot = 0; slot < 2; slot++) {
        copy.slot(slot, slot * 4096, write ? 4096 : 0).uses = now;
        copy.state().slots[slot].identity = of(4711, now, request, part, slot);
    }
    copy.state().opened = 2;
    copy.state().reading = write ? 0 : 2;
    // What was in flight before: other uses of the slot, another loop, another request of the slot.
    complete(ring, of(4711, now - 1, request, part, 0), 1);
    complete(ring, of(4711, now + 1, request, part, 0), 1);
    complete(ring, of(4710, now, request, part, 0), 1);
    complete(ring, of(4712, now, request, part, 0), 1);
    complete(ring, of(4711, now, request, part ^ RINGSTEP_COPY_READ_PART ^ RINGSTEP_COPY_WRITE_PART, 0), 1);
    complete(ring, of(4711, now, request, 0, 0), 1);
    complete(ring, of(4711, now, RINGSTEP_IDENTITY_HELPER, part, 0), 1);
    complete(ring, of(4711, now, request, part, 1 + RINGSTEP_COPY_SLOTS), 1);
    complete(ring, of(4711, now, request, part, 7), 1);  // of a slot that is not in use
    complete(ring, 0, 1);
    complete(ring, 7, 1);
    complete(ring, of(4711, now, request, part, 1), 0);  // this one is right,
    complete(ring, of(4711, now, request, part, 1), 1);  // and not a second time
    complete(ring, of(4711, now, request, part, 0), 0);
    const LoopExit exit = copy.program.run();
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(exit.submitted == 0);
    CHECK(copy.state().foreign == 12);
    CHECK(copy.state().opened == 2);
    CHECK(copy.in_flight() == 0);
    CHECK(copy.state().bytes_read == 0);
    CHECK(copy.state().bytes_written == 0);
    if (write) {
        CHECK(exit.code == RINGSTEP_COPY_FAILED);  // a write that gets nowhere
    } else {
        CHECK(exit.code == RINGSTEP_COPY_DONE);
        CHECK(copy.state().end == 0);
    }
    CHECK(copy.output.size() == 0);
}

TEST_CASE("Each use of a slot is a generation, and the last one is followed by the first", "[main]") {
    const Folder folder;
    const File output(folder / "out");
    Ring ring;
    const Pipe pipe;
    Bare copy(ring, 1, 4096);
    ringstep_copy& state = copy.state();
    state.identity = ringstep_identity_of_loop(0xffff);
    state.slots[0].uses = 0xfffffffd;
    state.flags = RINGSTEP_COPY_AT_ONCE | RINGSTEP_COPY_READ_NEXT;
    copy.add(0, RINGSTEP_COPY_ENDLESS);
    state.input_fd = pipe.out();
    state.output_fd = output.fd();
    const auto run_until_it_waits = [&] {
        std::thread stopper([&] {
            while (copy.program.state().load(&ringstep_copy::bytes_written) !=
                       copy.program.state().load(&ringstep_copy::bytes_read) ||
                   copy.program.state().load(&ringstep_copy::reading) == 0)
                std::this_thread::yield();
            copy.program.request_stop();
        });
        const LoopExit exit = copy.program.run();
        stopper.join();
        REQUIRE(exit.reason == ExitReason::stop_requested);
    };
    std::uint64_t before = 0;
    std::uint64_t written = 0;
    for (const std::uint32_t generation : {0xfffeU, 0xffffU, 0U, 1U}) {
        CAPTURE(generation);
        if (before != 0) REQUIRE(::write(pipe.in(), "more", 4) == 4);
        if (before != 0) written += 4;
        while (state.bytes_written != written || state.reading == 0) run_until_it_waits();
        const std::uint64_t identity = state.slots[0].identity;
        CHECK(identity == (ringstep_identity_of_loop(0xffff) | ringstep_identity_of_slot(0, generation) |
                           ringstep_identity_of_part(RINGSTEP_IDENTITY_REQUEST, RINGSTEP_COPY_READ_PART)));
        if (before != 0) {
            // A late completion of the use before: it would end a read that is in flight.
            const std::uint32_t foreign = state.foreign;
            complete(ring, before, 3);
            for (int tries = 0; tries < 1000 && state.foreign == foreign; tries++) run_until_it_waits();
            CHECK(state.foreign == foreign + 1);
            CHECK(state.bytes_read == written);
            CHECK(state.slots[0].identity == identity);
        }
        before = identity;
    }
    CHECK(ringstep::detail::RingAccess::core(ring)->cancel(before) == 0);
    CHECK(copy.program.run().code == RINGSTEP_COPY_FAILED);
    CHECK(state.error == ECANCELED);
    CHECK(copy.in_flight() == 0);
}
