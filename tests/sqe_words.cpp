// SPDX-License-Identifier: MIT
// SQEs in arrays of words, compiled with optimization: the compiler must see that a field is a part of a word.
#include <ringstep/detail/sqe_words.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstring>

using ringstep::detail::field;
using ringstep::detail::put_sqe;
using ringstep::detail::set_field;
using ringstep::detail::sqe_in;

namespace {

struct Slot {
    __u64 sqe[8];
    __u64 group;
};

[[gnu::noinline]] __u64 change(Slot& slot) {
    slot.sqe[3] = 7;  // len and rw_flags
    set_field(slot.sqe, &io_uring_sqe::len, 3);
    return slot.sqe[3];
}

[[gnu::noinline]] __u32 look(Slot& slot) {
    set_field(slot.sqe, &io_uring_sqe::len, 5);
    slot.sqe[3] = ~0ULL;
    return field(slot.sqe, &io_uring_sqe::len);
}

}  // namespace

TEST_CASE("A field and the word that it is a part of are the same memory") {
    Slot slot{};
    const __u64 word = change(slot);
    __u32 halves[2];
    std::memcpy(halves, &word, sizeof halves);
    CHECK(halves[0] == 3);
    CHECK(look(slot) == ~0U);
}

TEST_CASE("All kinds of fields, and whole SQEs") {
    Slot slot{};
    io_uring_sqe sqe{};
    io_uring_prep_read(&sqe, 5, nullptr, 4096, 12345);
    put_sqe(slot.sqe, sqe);
    set_field(slot.sqe, &io_uring_sqe::user_data, 0x1234567890);
    set_field(slot.sqe, &io_uring_sqe::flags, IOSQE_FIXED_FILE);
    set_field(slot.sqe, &io_uring_sqe::addr, 0x7f00);
    set_field(slot.sqe, &io_uring_sqe::buf_index, 11);
    CHECK(field(slot.sqe, &io_uring_sqe::opcode) == IORING_OP_READ);
    CHECK(field(slot.sqe, &io_uring_sqe::fd) == 5);
    const io_uring_sqe out = sqe_in(slot.sqe);
    CHECK(out.opcode == IORING_OP_READ);
    CHECK(out.fd == 5);
    CHECK(out.len == 4096);
    CHECK(out.off == 12345);
    CHECK(out.user_data == 0x1234567890);
    CHECK(out.flags == IOSQE_FIXED_FILE);
    CHECK(out.addr == 0x7f00);
    CHECK(out.buf_index == 11);
    CHECK(slot.group == 0);
}
