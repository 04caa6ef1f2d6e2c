// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/c/blocks/buffers.h>
#include <ringstep/detail/libbpf.hpp>
#include <ringstep/error.hpp>
#include <ringstep/options.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>
#include <ringstep/version.hpp>

#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace ringstep::inline v0 {

/// Returns whether loops in this kernel can read and write any registered buffer (`bpf_io_uring_read_buffer`). No released
/// kernel up to Linux 7.3 can, see kernel/next. In these kernels, loops can access only buffers in the memory region. May be
/// called from any thread. Throws std::bad_alloc.
[[nodiscard]] inline bool kernel_shows_buffers() {
    // A function-local static would make a forked child wait for a thread that was initializing it at the time of the fork.
    static std::atomic<int> shows{-1};
    int result = shows.load(std::memory_order_relaxed);
    if (result < 0) {
        const detail::LibbpfDiagnostics quiet;
        btf* const types = btf__load_vmlinux_btf();
        result = types != nullptr && btf__find_by_name_kind(types, "bpf_io_uring_read_buffer", BTF_KIND_FUNC) > 0 ? 1 : 0;
        btf__free(types);
        shows.store(result, std::memory_order_relaxed);
    }
    return result != 0;
}

/**
 * Registers buffers with the ring and writes the table of these buffers into the loop's state. The step can then access them
 * with `ringstep_buffer_read()` and `ringstep_buffer_write()` of buffers.bpf.h.
 *
 * The buffers must outlive their use by requests and by the loop. If the kernel runs the loop and kernel_shows_buffers()
 * returns false, the buffers must be in the memory region, behind the state. `LoopOptions::extra_bytes` makes room there.
 * Buffers in the region work on every kernel and with both engines.
 *
 * Must be called on the ring's owning thread, while the loop does not run. Throws Error: E2BIG for more than `RINGSTEP_BUFFERS`
 * buffers, EOPNOTSUPP for a buffer that the loop cannot access, and the errors of Ring::register_buffers(). After an error,
 * nothing is registered.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<headers> program{ring, {.extra_bytes = 64 << 10}};
 *     std::byte* room = program.state().memory()->data() + program.state().memory()->size() - (64 << 10);
 *     const iovec buffer{room, 64 << 10};
 *     ringstep::register_buffers(ring, program, program.state()->buffers, std::span(&buffer, 1));
 */
template <class Program>
void register_buffers(Ring& ring, const Program& program, ringstep_buffers& table, std::span<const iovec> buffers) {
    const std::string what = "registration of " + std::to_string(buffers.size()) + " buffers for a loop";
    if (buffers.size() > RINGSTEP_BUFFERS) {
        detail::raise(E2BIG, what, "A loop's table has room for " + std::to_string(RINGSTEP_BUFFERS) + ".");
    }
    if (program.engine() == Engine::kernel && !kernel_shows_buffers()) {
        const std::shared_ptr<RegionMemory> memory = program.state().memory();
        const auto begin = reinterpret_cast<std::uintptr_t>(memory->data());
        for (const iovec& buffer : buffers) {
            const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(buffer.iov_base) - begin;
            if (buffer.iov_len == 0) continue;
            if (offset >= memory->size() || buffer.iov_len > memory->size() - offset) {
                detail::raise(
                    EOPNOTSUPP, what,
                    "Loops in this kernel see no registered buffers but those in their memory region: put the buffers "
                    "there (LoopOptions::extra_bytes), or use the user engine.");
            }
        }
    }
    ring.register_buffers(buffers);
    table = {};
    for (std::size_t i = 0; i < buffers.size(); i++) {
        table.at[i].address = reinterpret_cast<std::uintptr_t>(buffers[i].iov_base);
        table.at[i].length = buffers[i].iov_len;
    }
}

}  // namespace ringstep::inline v0
