// SPDX-License-Identifier: MIT
// Instructions without effect that tell the QEMU plugin tools/profile/count.c where to begin and to end counting.
#pragma once

namespace bench {

/// Tells the plugin to begin. The instruction is nopl 0x52530001(%rax).
inline void mark_begin() { asm volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x00, 0x53, 0x52" : : : "memory"); }

/// Tells the plugin to end. The instruction is nopl 0x52530002(%rax).
inline void mark_end() { asm volatile(".byte 0x0f, 0x1f, 0x80, 0x02, 0x00, 0x53, 0x52" : : : "memory"); }

}  // namespace bench
