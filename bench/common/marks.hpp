// SPDX-License-Identifier: MIT
// Marks the beginning and the end of what the QEMU plugin tools/profile/count.c counts.
#pragma once

namespace bench {

/// Begins to count. The instruction has no effect: nopl 0x52530001(%rax).
inline void mark_begin() { asm volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x00, 0x53, 0x52" : : : "memory"); }

/// Ends that: nopl 0x52530002(%rax).
inline void mark_end() { asm volatile(".byte 0x0f, 0x1f, 0x80, 0x02, 0x00, 0x53, 0x52" : : : "memory"); }

}  // namespace bench
