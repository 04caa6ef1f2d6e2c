// SPDX-License-Identifier: MIT
// What C++ makes of rings whose heads, tails and sizes are not what the kernel has written there.
#include <ringstep/ringstep.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>

using ringstep::Ring;

namespace {

std::atomic_ref<std::uint32_t> word(Ring& ring, std::uint32_t offset) {
    auto* const start = static_cast<std::byte*>(ring.native().cq.ring_ptr);
    return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(start + offset));
}

constexpr std::array<std::uint32_t, 5> wrong = {65, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff};

}  // namespace

TEST_CASE("A CQ whose head and tail do not fit together is empty, and a submit does not walk through it") {
    Ring ring{{.sq_entries = 16, .cq_entries = 64}};
    const auto tail = word(ring, ring.geometry().cq_tail_offset);
    const std::uint32_t before = tail;
    for (const std::uint32_t ahead : wrong) {
        tail = before + ahead;
        ringstep::Completion completion;
        CHECK_FALSE(ring.cq().pop(completion));
        CHECK(ring.cq().begin() == ring.cq().end());
    }
    tail = before + 64;
    int count = 0;
    for ([[maybe_unused]] const ringstep::Completion& completion : ring.cq()) count++;
    CHECK(count == 64);
}

TEST_CASE("A count of claimed SQEs that is larger than the SQ counts as none") {
    for (const bool rewind : {true, false}) {
        CAPTURE(rewind);
        Ring ring{{.sq_entries = 16, .sq_rewind = rewind}};
        ring.use_region(ringstep::RegionMemory::allocate(4096));
        if (ring.geometry().rewinds() && !rewind) continue;
        const auto set = [&](std::uint32_t count) {
            if (ring.geometry().rewinds()) {
                ring.region()->control().claimed = count;
            } else {
                word(ring, ring.geometry().sq_tail_offset) = word(ring, ring.geometry().sq_head_offset) + count;
            }
        };
        for (const std::uint32_t claimed : wrong) {
            set(claimed);
            CHECK(ring.sq().claimed() == 0);
            CHECK(ring.submit().count == 0);
        }
        set(0);
        CHECK(ring.sq().claim() != nullptr);
    }
}

TEST_CASE("Closing a ring unmaps what the ring has, and not what its memory says") {
    // The kernel maps downwards, so the rings are most likely below this, within the reach of a wrong size.
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t size = 64 * page;
    void* const before = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(before != MAP_FAILED);
    Ring ring{{.sq_entries = 16}};
    std::atomic_ref(*ring.native().sq.kring_entries) = 1U << 15;
    CHECK(ring.close());
    CHECK(::madvise(before, size, MADV_NORMAL) == 0);  // ENOMEM if a part of it is gone
    ::munmap(before, size);
}
