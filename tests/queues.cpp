// SPDX-License-Identifier: MIT
#include <ringstep/ring.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <vector>

using ringstep::Completion;
using ringstep::Ring;

namespace {

void claim_nops(Ring& ring, std::uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        io_uring_sqe* sqe = ring.sq().claim();
        REQUIRE(sqe != nullptr);
        io_uring_prep_nop(sqe);
        sqe->user_data = first + i;
    }
}

std::vector<std::uint64_t> drain(Ring& ring) {
    std::vector<std::uint64_t> seen;
    for (const Completion& completion : ring.cq()) seen.push_back(completion.user_data);
    return seen;
}

}  // namespace

TEST_CASE("Nops come back once and in order, far around the ring") {
    const bool rewind = GENERATE(false, true);
    Ring ring{{.sq_entries = 8, .cq_entries = 16, .sq_rewind = rewind}};
    for (std::uint64_t next = 0; next < 1000; next += 8) {
        claim_nops(ring, next, 8);
        CHECK(ring.sq().space_left() == 0);
        CHECK(ring.sq().claim() == nullptr);
        CHECK(ring.submit().count == 8);
        CHECK(ring.sq().claimed() == 0);
        const auto seen = drain(ring);
        REQUIRE(seen.size() == 8);
        for (unsigned i = 0; i < 8; i++) CHECK(seen[i] == next + i);
    }
    CHECK(ring.in_flight() == 0);
    CHECK(ring.cq().dropped() == 0);
}

TEST_CASE("Leaving the walk loses nothing and repeats nothing") {
    Ring ring{{.sq_entries = 8}};
    claim_nops(ring, 0, 8);
    REQUIRE(ring.submit());
    for (const Completion& completion : ring.cq())
        if (completion.user_data == 2) break;
    CHECK(ring.cq().ready() == 5);
    Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.user_data == 3);
    CHECK(drain(ring) == std::vector<std::uint64_t>{4, 5, 6, 7});
    CHECK_FALSE(ring.cq().pop(completion));
}

TEST_CASE("A refused request does not hold up those behind it, or does, as asked") {
    const bool rewind = GENERATE(false, true);
    const bool submit_all = GENERATE(false, true);
    Ring ring{{.sq_entries = 8, .submit_all = submit_all, .sq_rewind = rewind}};
    claim_nops(ring, 0, 5);
    // An opcode that does not exist, in the middle.
    io_uring_sqe* bad = ring.sq().claim();
    bad->opcode = 255;
    bad->user_data = 5;
    claim_nops(ring, 6, 2);
    const auto first = ring.submit();
    CHECK(first.count == (submit_all ? 8U : 6U));
    CHECK(ring.sq().claimed() == (submit_all ? 0U : 2U));
    if (!submit_all) CHECK(ring.submit().count == 2);
    std::vector<Completion> seen;
    for (const Completion& completion : ring.cq()) seen.push_back(completion);
    REQUIRE(seen.size() == 8);
    for (unsigned i = 0; i < 8; i++) {
        CHECK(seen[i].user_data == i);
        CHECK(seen[i].error() == (i == 5 ? EINVAL : 0));
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Completions of 32 bytes bring their second half along") {
    Ring ring{{.sq_entries = 4, .cqe32 = true}};
    CHECK(ring.geometry().cqe_size == 32);
    claim_nops(ring, 7, 3);
    REQUIRE(ring.submit());
    unsigned count = 0;
    for (const Completion& completion : ring.cq()) {
        CHECK(completion.user_data == 7 + count++);
        CHECK(completion.extra[0] == 0);
        CHECK(completion.extra[1] == 0);
    }
    CHECK(count == 3);
}

TEST_CASE("SQEs of 128 bytes lie 128 bytes apart") {
    Ring ring{{.sq_entries = 4, .sqe128 = true}};
    auto* first = reinterpret_cast<std::byte*>(ring.sq().claim());
    auto* second = reinterpret_cast<std::byte*>(ring.sq().claim());
    CHECK(second - first == 128);
}

TEST_CASE("An overflowing CQ loses nothing") {
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    for (std::uint64_t i = 0; i < 5; i++) {
        claim_nops(ring, i * 8, 8);
        REQUIRE(ring.submit().count == 8);
    }
    std::vector<std::uint64_t> seen;
    while (seen.size() < 40) {
        const auto some = drain(ring);
        seen.insert(seen.end(), some.begin(), some.end());
        if (some.empty()) REQUIRE(ring.submit_and_wait(1));
    }
    for (std::uint64_t i = 0; i < 40; i++) CHECK(seen[i] == i);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Every negative result has a positive errno") {
    ringstep::Completion completion;
    CHECK(completion.error() == 0);
    completion.result = -EIO;
    CHECK(completion.error() == EIO);
    completion.result = std::numeric_limits<std::int32_t>::min();  // no kernel writes it
    CHECK(completion.error() == std::numeric_limits<std::int32_t>::max());
}
