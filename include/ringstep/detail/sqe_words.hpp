// SPDX-License-Identifier: MIT
// SQEs that a loop's state holds as arrays of words.
#pragma once

#include <ringstep/version.hpp>

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ringstep::inline v0::detail {

// A state declares an SQE as an array of words, because its header does not include io_uring's. Accessing that array by a
// pointer to io_uring_sqe breaks the rules of aliasing: the compiler may take a write to a field for one that does not change
// the array. These functions copy bytes instead, and the compiler turns each of them into one access.

template <class Member>
[[nodiscard]] std::size_t offset_of(Member io_uring_sqe::* member) noexcept {
    const io_uring_sqe model{};
    return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&(model.*member)) -
                                    reinterpret_cast<const std::byte*>(&model));
}

/// Returns a field of the SQE in `words`, for example `field(slot.sqe, &io_uring_sqe::len)`.
template <std::size_t count, class Member>
[[nodiscard]] Member field(const __u64 (&words)[count], Member io_uring_sqe::* member) noexcept {
    static_assert(count >= sizeof(io_uring_sqe) / sizeof(__u64));
    Member value;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(words) + offset_of(member), sizeof value);
    return value;
}

/// Sets a field of the SQE in `words`, for example `set_field(slot.sqe, &io_uring_sqe::user_data, tag)`.
template <std::size_t count, class Member>
void set_field(__u64 (&words)[count], Member io_uring_sqe::* member, std::type_identity_t<Member> value) noexcept {
    static_assert(count >= sizeof(io_uring_sqe) / sizeof(__u64));
    std::memcpy(reinterpret_cast<std::byte*>(words) + offset_of(member), &value, sizeof value);
}

/// Returns a copy of the SQE in `words`.
template <std::size_t count>
[[nodiscard]] io_uring_sqe sqe_in(const __u64 (&words)[count]) noexcept {
    static_assert(count >= sizeof(io_uring_sqe) / sizeof(__u64));
    io_uring_sqe sqe;
    std::memcpy(static_cast<void*>(&sqe), words, sizeof sqe);
    return sqe;
}

/// Copies an SQE of 64 bytes into `words`.
template <std::size_t count>
void put_sqe(__u64 (&words)[count], const io_uring_sqe& sqe) noexcept {
    static_assert(count >= sizeof sqe / sizeof(__u64));
    std::memcpy(words, &sqe, sizeof sqe);
}

}  // namespace ringstep::inline v0::detail
