// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/detail/ring_core.hpp>
#include <ringstep/error.hpp>

#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

namespace ringstep::inline v0::detail {

/// The registered file slots of a loop that accepts connections. If the ring has no registered files, it gets a table.
class FileSlots {
public:
    /// Takes `count` slots from `first` on. The kernel chooses slots for new connections among the first `chosen` of them.
    /// Throws Error.
    FileSlots(RingCore& ring, unsigned first, unsigned count, unsigned chosen) : ring_(&ring), first_(first), count_(count) {
        const std::string what = "reservation of " + std::to_string(count) + " file slots for connections";
        int result = io_uring_register_files_sparse(&ring.native(), first + count);
        owns_table_ = result == 0;
        if (result != 0 && result != -EBUSY) {
            raise(result, what,
                  result == -EMFILE ? "The limit on open files (RLIMIT_NOFILE, ulimit -n) is lower than that: raise it."
                                    : "It needs Linux 6.1, and the ring's owning thread.");
        }
        result = io_uring_register_file_alloc_range(&ring.native(), first, chosen);
        if (result == 0) return;
        if (owns_table_) (void)io_uring_unregister_files(&ring.native());
        raise(result, what,
              "The ring has registered files: make their table large enough, and name the first free slot by the option "
              "first_slot.");
    }
    FileSlots(const FileSlots&) = delete;
    FileSlots& operator=(const FileSlots&) = delete;

    /// Returns true if the kernel may close the file of an emptied slot late: when the requests with registered files that
    /// began before have ended, whatever their files are. Linux 6.12 and earlier do so. The feature came with Linux 6.14.
    [[nodiscard]] bool closes_late() const noexcept {
        constexpr unsigned has_attributes = 1U << 16;  // IORING_FEAT_RW_ATTR
        return (ring_->native().features & has_attributes) == 0;
    }

    /// Closes all files in the slots. Must be called on the ring's owning thread.
    void close() noexcept {
        if (owns_table_) {
            (void)io_uring_unregister_files(&ring_->native());
            return;
        }
        std::array<int, 64> none;
        none.fill(-1);
        for (unsigned slot = 0; slot < count_;) {
            const unsigned batch = std::min<unsigned>(none.size(), count_ - slot);
            (void)io_uring_register_files_update(&ring_->native(), first_ + slot, none.data(), batch);
            slot += batch;
        }
    }

private:
    RingCore* ring_;
    unsigned first_;
    unsigned count_;
    bool owns_table_ = false;
};

}  // namespace ringstep::inline v0::detail
