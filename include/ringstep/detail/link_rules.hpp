// SPDX-License-Identifier: MIT
// Which results make requests fail, as the kernel decides it.
#pragma once

#include <ringstep/c/loops/link.h>
#include <ringstep/detail/opcodes.hpp>
#include <ringstep/version.hpp>

#include <liburing.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>

namespace ringstep::inline v0::detail {

// When a request counts as failed, as one of the rules of ringstep/c/loops/link.h, and how many bytes it should transfer.
struct LinkRule {
    ringstep_link_rule rule = RINGSTEP_LINK_NEGATIVE;
    std::uint64_t bytes = 0;
    bool can_continue = false;
    bool moves_offset = false;
};

inline constexpr std::uint64_t most_bytes = 0x7ffff000;  // the kernel's limit for one transfer

// Follows the way in which the kernel marks requests as failed. Operations that only set a result (fsync, rename, …) are never
// marked.
[[nodiscard]] inline LinkRule link_rule(const io_uring_sqe& sqe) noexcept {
    using Failure = Opcode::Failure;
    const Opcode& opcode = opcode_of(sqe.opcode);
    const bool selects = (sqe.flags & IOSQE_BUFFER_SELECT) != 0;
    if (selects && (opcode.selected == Opcode::Selected::sets_length ||
                    (opcode.selected == Opcode::Selected::sets_length_0 && sqe.len == 0)))
        return {};
    LinkRule rule;
    switch (opcode.failure) {
        case Failure::any_error: return {};
        case Failure::no_file: return {.rule = RINGSTEP_LINK_FILE};
        case Failure::none: return {.rule = RINGSTEP_LINK_SILENT};
        case Failure::not_expired:
            if ((sqe.timeout_flags & IORING_TIMEOUT_ETIME_SUCCESS) == 0) return {};
            return {.rule = RINGSTEP_LINK_EXPIRES};
        case Failure::not_all: rule.rule = RINGSTEP_LINK_EXACTLY; break;
        case Failure::not_all_waited_for:
            if (opcode.bytes == Opcode::Bytes::message && ((sqe.msg_flags & MSG_WAITALL) == 0 || sqe.addr == 0)) return {};
            if ((sqe.msg_flags & MSG_WAITALL) != 0) rule.rule = RINGSTEP_LINK_AT_LEAST;
            break;
    }
    rule.bytes = bytes_of(sqe);
    if (opcode.bytes != Opcode::Bytes::spliced) rule.bytes = std::min(rule.bytes, most_bytes);
    rule.can_continue = opcode.continues && !selects;
    rule.moves_offset = opcode.at_offset && sqe.off != ~std::uint64_t{0};
    return rule;
}

// Opcodes for which a request of a chain needs more than the rule that every error is a failure.
inline constexpr auto has_link_rule = opcodes_with(
    [](const Opcode& opcode) { return opcode.belongs_to_previous || opcode.failure != Opcode::Failure::any_error; });

}  // namespace ringstep::inline v0::detail
