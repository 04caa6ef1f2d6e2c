// SPDX-License-Identifier: MIT
// Rings of provided buffers in the memory region: the kernel picks a buffer for each receive, and a loop looks at the bytes.
#pragma once

#include <ringstep/c/net/buffer_ring.h>
#include <ringstep/detail/ring_core.hpp>
#include <ringstep/error.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

/// Options for a ring of buffers.
struct BufferRingOptions {
    /// The number of buffers that the kernel gets, from the first one on. 0: all.
    std::uint32_t buffers = 0;
    /// Lets the kernel fill a buffer bit by bit, so that several short receives share one (Linux 6.12). Without effect on older
    /// kernels.
    bool incremental = false;
    /// Lets a receive fill several buffers (Linux 6.10), if the step asks for that. Without effect on older kernels.
    bool bundles = true;
};

namespace detail {

// The flag IOU_PBUF_RING_INC. Older headers do not have it.
inline constexpr unsigned buffer_ring_incremental = 2;
// The bit IORING_FEAT_RECVSEND_BUNDLE of the ring's features.
inline constexpr unsigned feature_bundles = 1U << 14;

}  // namespace detail

/**
 * A registered ring of provided buffers, which lies in a loop's state with all of its buffers: the members of
 * RINGSTEP_BUFFER_RING(). The step takes buffers from completions and gives them back (ringstep/net/buffer_ring.bpf.h).
 *
 * Construct it on the ring's owning thread, before the loop runs. Its destructor unregisters the ring of buffers. Requests that
 * have got a buffer may still write to it then: the memory region is theirs until they have ended, as all of a loop's state.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<ringstep::loops::echo> program{ring};
 *     ringstep::BufferRing buffers{ring, program.state(), program.state()->buffers};
 */
class BufferRing {
public:
    /// Registers the ring of buffers `buffers`, which is a part of `state`, and fills it. Must be called on the ring's owning
    /// thread, while the loop does not run. Throws Error: EINVAL if the sizes do not fit together, EEXIST if all groups are
    /// taken, or the kernel's errno.
    template <class State, class Buffers>
    BufferRing(Ring& ring, const RegionView<State>& state, Buffers& buffers, const BufferRingOptions& options = {})
        : core_(detail::RingAccess::core(ring)), memory_(state.memory()) {
        constexpr std::uint32_t count = sizeof(Buffers::bytes) / sizeof(Buffers::bytes[0]);
        constexpr std::uint32_t size = sizeof(Buffers::bytes[0]);
        static_assert(std::has_single_bit(count) && count <= RINGSTEP_BUFFER_RING_MOST, "a power of two, 32768 at most");
        static_assert(
            sizeof(Buffers::entries) == (std::size_t{count} + RINGSTEP_BUFFER_RING_SPARE) * sizeof(ringstep_buffer_entry),
            "declare the members with RINGSTEP_BUFFER_RING()");
        const std::uint32_t used = options.buffers == 0 ? count : options.buffers;
        if (used > count) detail::raise(EINVAL, what(used), "The state has " + std::to_string(count) + " of them.");
        if (!core_ || !core_->open()) detail::raise(EBADF, what(used), "The ring is closed.");
        if (!core_->owned_by_this_thread()) detail::raise(EEXIST, what(used), "Only the ring's owning thread may do this.");
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        const auto begin = reinterpret_cast<std::uintptr_t>(&buffers.entries[0]);
        const std::uintptr_t aligned = (begin + page - 1) / page * page;
        buffers.ring = {};
        buffers.ring.address = reinterpret_cast<std::uintptr_t>(&buffers.bytes[0][0]);
        buffers.ring.first = static_cast<std::uint32_t>((aligned - begin) / sizeof(ringstep_buffer_entry));
        if (aligned % sizeof(ringstep_buffer_entry) != 0 || buffers.ring.first >= RINGSTEP_BUFFER_RING_SPARE)
            detail::raise(EINVAL, what(used), "Pages are larger than 64 KiB here.");
        std::memset(static_cast<void*>(buffers.uses), 0, sizeof buffers.uses);
        ringstep_buffer_entry* const entries = &buffers.entries[buffers.ring.first];
        std::memset(static_cast<void*>(entries), 0, count * sizeof *entries);
        register_ring(aligned, count, options.incremental ? detail::buffer_ring_incremental : 0, used);
        buffers.ring.group = static_cast<__u32>(group_);
        if (incremental_) buffers.ring.features |= RINGSTEP_BUFFER_RING_INCREMENTAL;
        if (options.bundles && (core_->native().features & detail::feature_bundles) != 0)
            buffers.ring.features |= RINGSTEP_BUFFER_RING_BUNDLES;
        for (std::uint32_t id = 0; id < used; id++) {
            entries[id].address = buffers.ring.address + std::uint64_t{id} * size;
            entries[id].length = size;
            entries[id].id = static_cast<std::uint16_t>(id);
            buffers.uses[id].place = id;
        }
        buffers.ring.tail = buffers.ring.available = used;
        std::atomic_ref(entries[0].tail).store(static_cast<std::uint16_t>(used), std::memory_order_release);
    }

    /// Takes over the registration. The moved-from object has none.
    BufferRing(BufferRing&& other) noexcept
        : core_(std::move(other.core_)),
          memory_(std::move(other.memory_)),
          group_(other.group_),
          incremental_(other.incremental_) {}
    BufferRing& operator=(BufferRing&&) = delete;
    BufferRing(const BufferRing&) = delete;
    BufferRing& operator=(const BufferRing&) = delete;
    /// Unregisters the ring of buffers. On another thread than the owning one, that is left to the closing of the ring.
    ~BufferRing() {
        if (core_ && core_->open() && core_->owned_by_this_thread())
            (void)io_uring_unregister_buf_ring(&core_->native(), group_);
    }

    /// Returns the number by which requests name the ring of buffers.
    [[nodiscard]] std::uint16_t group() const noexcept { return static_cast<std::uint16_t>(group_); }
    /// Returns true if the kernel fills buffers bit by bit.
    [[nodiscard]] bool incremental() const noexcept { return incremental_; }

private:
    [[nodiscard]] static std::string what(std::uint32_t count) {
        return "registration of a ring of " + std::to_string(count) + " buffers";
    }

    void register_ring(std::uintptr_t address, std::uint32_t count, unsigned flags, std::uint32_t used) {
        const auto attempt = [&](int group, unsigned with) {
            io_uring_buf_reg registration{};
            registration.ring_addr = address;
            registration.ring_entries = count;
            registration.bgid = static_cast<__u16>(group);
            return io_uring_register_buf_ring(&core_->native(), &registration, with);
        };
        int result = -EEXIST;
        for (int group = 0; group < 65536 && result == -EEXIST; group++) {
            result = attempt(group, flags);
            if (result == -EINVAL && flags != 0) {
                flags = 0;  // the kernel does not know the flag
                result = attempt(group, flags);
            }
            group_ = group;
        }
        incremental_ = flags != 0;
        if (result == 0) return;
        std::string advice = detail::pinning_advice(-result, count * sizeof(ringstep_buffer_entry));
        if (result == -EEXIST) advice = "All 65,536 groups are taken.";
        if (advice.empty()) advice = "It needs Linux 5.19, and the ring's owning thread.";
        detail::raise(result, what(used), std::move(advice));
    }

    std::shared_ptr<detail::RingCore> core_;
    std::shared_ptr<RegionMemory> memory_;  // the ring of buffers lies in it
    int group_ = 0;
    bool incremental_ = false;
};

}  // namespace ringstep::inline v0
