// SPDX-License-Identifier: MIT
// One side of a copy: the properties of an open file, and its status flags during the copy. A file may lack shortcuts (statx,
// O_DIRECT, SEEK_DATA); the copy then works without them.
#pragma once

#include <linux/fs.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace ringstep::inline v0::detail {

class CopySide {
public:
    CopySide() = default;
    CopySide(int fd, std::uint64_t& system_calls) noexcept : fd_(fd), calls_(&system_calls) {}

    /// Reads the file's properties. Returns false, with errno, if that is impossible.
    bool look() noexcept {
        flags_ = call(::fcntl(fd_, F_GETFL));
        if (flags_ < 0) return false;
        if (!look_by_statx() && !look_by_fstat()) return false;
        if (S_ISBLK(mode_)) look_at_device();
        return true;
    }

    [[nodiscard]] int fd() const noexcept { return fd_; }
    /// Returns the size at the time of look(), also for a block device. The size is 0 for a file that does not tell it.
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] bool regular() const noexcept { return S_ISREG(mode_); }
    [[nodiscard]] bool block_device() const noexcept { return S_ISBLK(mode_); }
    [[nodiscard]] bool directory() const noexcept { return S_ISDIR(mode_); }
    [[nodiscard]] bool appends() const noexcept { return (flags_ & O_APPEND) != 0; }
    [[nodiscard]] bool direct() const noexcept { return (flags_ & O_DIRECT) != 0; }
    [[nodiscard]] bool readable() const noexcept { return (flags_ & O_PATH) == 0 && (flags_ & O_ACCMODE) != O_WRONLY; }
    [[nodiscard]] bool writable() const noexcept { return (flags_ & O_PATH) == 0 && (flags_ & O_ACCMODE) != O_RDONLY; }
    /// Returns the number of bytes that offsets and lengths must be multiples of: 1 without O_DIRECT.
    [[nodiscard]] std::uint32_t alignment() const noexcept { return direct() ? alignment_ : 1; }
    [[nodiscard]] bool has_holes() const noexcept { return blocks_ * 512 < size_; }

    /// Returns true if blocks can be read or written in any order. Pipes, sockets and terminals have one fixed order. Drivers
    /// of other character devices may ignore offsets, even if lseek(2) succeeds.
    [[nodiscard]] bool in_any_order() const noexcept { return regular() || block_device() || takes_anything(); }

    /// Returns true if requests may name an offset. Sockets fail with ESPIPE for every offset but 0.
    [[nodiscard]] bool has_offsets() const noexcept {
        return regular() || block_device() || (S_ISCHR(mode_) && seek(0, SEEK_CUR) >= 0);
    }

    [[nodiscard]] bool same_as(const CopySide& other) const noexcept {
        if (block_device() && other.block_device()) return special_ == other.special_;
        return regular() && device_ == other.device_ && inode_ == other.inode_;
    }

    /// Returns true if the file may generate its content while it is read (/proc, /sys and similar file systems). The size is
    /// then unreliable. A read at an offset that does not follow the previous read starts the content again, and may give
    /// different content. Files without blocks count as generated, unless they turn out to begin with a hole. May move the file
    /// position.
    [[nodiscard]] bool generated() const noexcept {
        if (!regular()) return false;
        if (size_ == 0) return true;
        if (blocks_ != 0) return false;
        const off_t data = seek(0, SEEK_DATA);
        return data == 0 || (data < 0 && errno != ENXIO);
    }

    [[nodiscard]] off_t seek(std::uint64_t offset, int whence) const noexcept {
        return call(::lseek(fd_, static_cast<off_t>(offset), whence));
    }

    /// Returns true if `size` bytes at `offset` can be read, even if the file has none there. Returns false, with errno, if
    /// not.
    [[nodiscard]] bool can_read(void* buffer, std::size_t size, std::uint64_t offset) const noexcept {
        for (;;) {
            if (call(::pread(fd_, buffer, size, static_cast<off_t>(offset))) >= 0) return true;
            if (errno != EINTR) return false;
        }
    }

    /// Truncates the file. Returns false, with errno, if the file does not have that size afterwards.
    [[nodiscard]] bool truncate(std::uint64_t size) const noexcept {
        if (call(::ftruncate(fd_, static_cast<off_t>(size))) == 0) return true;
        const int error = errno;
        const bool right = size_now(size + 1) == size;
        errno = error;
        return right;
    }

    /// Returns the current size, or `otherwise` if the size cannot be determined.
    [[nodiscard]] std::uint64_t size_now(std::uint64_t otherwise) const noexcept {
        struct stat status{};
        return call(::fstat(fd_, &status)) == 0 ? static_cast<std::uint64_t>(status.st_size) : otherwise;
    }

    /// Clears O_NONBLOCK, because a read without data must wait and not fail.
    bool wait_for_data() noexcept { return set_flags(flags_ & ~O_NONBLOCK); }
    /// Sets O_DIRECT. Returns false, and changes nothing, if the file does not allow it.
    bool go_direct() noexcept { return set_flags(flags_ | O_DIRECT); }

    /// Writes bytes that do not fill a sector, without O_DIRECT, and has them written out to the device, as direct writes are.
    /// No request may be in flight. Returns false, with errno, if that fails.
    bool write_tail(const void* bytes, std::size_t size, std::uint64_t offset) noexcept {
        if (!set_flags(flags_ & ~O_DIRECT)) return false;
        for (std::size_t done = 0; done < size;) {
            const ssize_t result =
                call(::pwrite(fd_, static_cast<const char*>(bytes) + done, size - done, static_cast<off_t>(offset + done)));
            if (result > 0) {
                done += static_cast<std::size_t>(result);
            } else if (result == 0 || errno != EINTR) {
                if (result == 0) errno = EIO;
                return false;
            }
        }
        constexpr unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        if (call(::sync_file_range(fd_, static_cast<off_t>(offset), static_cast<off_t>(size), all)) == 0) return true;
        const bool not_offered = errno == ENOSYS || errno == EINVAL || errno == EPERM || errno == ESPIPE;
        return not_offered && call(::fdatasync(fd_)) == 0;
    }

    /// Restores the descriptor's original flags.
    void restore_flags() noexcept {
        if (changed_from_ >= 0) (void)call(::fcntl(fd_, F_SETFL, std::exchange(changed_from_, -1)));
    }

private:
    template <class Result>
    [[nodiscard]] Result call(Result result) const noexcept {
        ++*calls_;
        return result;
    }

    bool look_by_statx() noexcept {
        struct statx status{};
        unsigned mask = STATX_BASIC_STATS;
#ifdef STATX_DIOALIGN
        mask |= STATX_DIOALIGN;
#endif
        if (call(::statx(fd_, "", AT_EMPTY_PATH, mask, &status)) < 0) return false;
        mode_ = status.stx_mode;
        size_ = status.stx_size;
        blocks_ = status.stx_blocks;
        device_ = makedev(status.stx_dev_major, status.stx_dev_minor);
        special_ = makedev(status.stx_rdev_major, status.stx_rdev_minor);
        inode_ = status.stx_ino;
#ifdef STATX_DIOALIGN
        if ((status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_offset_align != 0) {
            alignment_ = std::max(status.stx_dio_offset_align, status.stx_dio_mem_align);
        }
#endif
        return true;
    }

    bool look_by_fstat() noexcept {
        struct stat status{};
        if (call(::fstat(fd_, &status)) < 0) return false;
        mode_ = status.st_mode;
        size_ = static_cast<std::uint64_t>(status.st_size);
        blocks_ = static_cast<std::uint64_t>(status.st_blocks);
        device_ = status.st_dev;
        special_ = status.st_rdev;
        inode_ = status.st_ino;
        return true;
    }

    void look_at_device() noexcept {
        std::uint64_t size = 0;
        int sector = 0;
        if (call(::ioctl(fd_, BLKGETSIZE64, &size)) == 0) size_ = size;
        if (call(::ioctl(fd_, BLKSSZGET, &sector)) == 0 && sector > 0)
            alignment_ = std::max(alignment_, static_cast<std::uint32_t>(sector));
    }

    // Returns true for /dev/null, /dev/zero and /dev/full, which ignore offsets.
    [[nodiscard]] bool takes_anything() const noexcept {
        const unsigned number = minor(special_);
        return S_ISCHR(mode_) && major(special_) == 1 && (number == 3 || number == 5 || number == 7);
    }

    bool set_flags(int wanted) noexcept {
        if (wanted == flags_) return true;
        if (call(::fcntl(fd_, F_SETFL, wanted)) < 0) return false;
        if (changed_from_ < 0) changed_from_ = flags_;
        flags_ = wanted;
        return true;
    }

    int fd_ = -1;
    std::uint64_t* calls_ = nullptr;
    int flags_ = 0;          // current status flags
    int changed_from_ = -1;  // the original flags if they were changed, else -1
    mode_t mode_ = 0;
    std::uint64_t size_ = 0;
    std::uint64_t blocks_ = 0;  // number of 512-byte blocks
    dev_t device_ = 0;          // device that the file is on
    dev_t special_ = 0;         // device that the file represents
    ino_t inode_ = 0;
    std::uint32_t alignment_ = 4096;  // alignment that O_DIRECT needs, in bytes
};

}  // namespace ringstep::inline v0::detail
