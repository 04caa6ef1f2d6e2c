// SPDX-License-Identifier: MIT
// liburing, and constants that are newer than the headers that this file may be compiled against.
#pragma once

#include <liburing.h>

namespace ringstep::inline v0::detail {

inline constexpr unsigned setup_sq_rewind = 1U << 20;   // IORING_SETUP_SQ_REWIND, Linux 7.0
inline constexpr unsigned setup_cqe_mixed = 1U << 18;   // IORING_SETUP_CQE_MIXED, Linux 6.18
inline constexpr unsigned setup_sqe_mixed = 1U << 19;   // IORING_SETUP_SQE_MIXED, Linux 7.0
inline constexpr unsigned register_mem_region = 34;     // IORING_REGISTER_MEM_REGION, Linux 6.13
inline constexpr unsigned timeout_multishot = 1U << 6;  // IORING_TIMEOUT_MULTISHOT, Linux 6.4
inline constexpr unsigned cmd_multishot = 1U << 1;      // IORING_URING_CMD_MULTISHOT, Linux 6.18
inline constexpr unsigned op_readv_fixed = 60;          // IORING_OP_READV_FIXED, Linux 6.15
inline constexpr unsigned op_writev_fixed = 61;         // IORING_OP_WRITEV_FIXED, Linux 6.15
inline constexpr unsigned mem_region_type_user = 1;     // IORING_MEM_REGION_TYPE_USER

// struct io_uring_region_desc and struct io_uring_mem_region_reg
struct region_descriptor {
    __u64 user_address;
    __u64 size;
    __u32 flags;
    __u32 id;
    __u64 mmap_offset;
    __u64 reserved[4];
};

struct region_registration {
    __u64 descriptor;  // address of a region_descriptor
    __u64 flags;
    __u64 reserved[2];
};

}  // namespace ringstep::inline v0::detail
