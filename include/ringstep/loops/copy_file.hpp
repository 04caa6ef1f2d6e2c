// SPDX-License-Identifier: MIT
// Copying files by the loop copy: all that a storage engineer wants around the bare loop.
#pragma once

#include <ringstep/error.hpp>
#include <ringstep/loops/copy.hpp>
#include <ringstep/program.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace ringstep::inline v0 {

/// Whether holes of the source become holes of the destination.
enum class SparseCopy : std::uint8_t {
    automatic,  ///< look for holes if the source has fewer blocks than its size needs
    always,     ///< look for holes
    never,      ///< read holes, and write their zeros
};

/// How to copy.
struct CopyOptions {
    unsigned queue_depth = 32;                  ///< blocks under way at once, 1 to RINGSTEP_COPY_SLOTS
    std::size_t block_size = 128 << 10;         ///< bytes, up to 1 GiB
    bool direct = false;                        ///< go past the page cache: sets O_DIRECT on both descriptors while it copies
    SparseCopy sparse = SparseCopy::automatic;  ///< what to do with holes
    bool registered_files = false;              ///< two system calls more for each file, a little less work for each block
    bool registered_buffers = false;            ///< pages are pinned once, instead of for each block: of use with `direct`
    Engine engine = Engine::automatic;          ///< what runs the loop: see LoopOptions
    bool huge_pages = false;                    ///< ask for huge pages for the buffers: see RegionMemory
};

/// What a copy was doing when it failed.
enum class CopyOperation : std::uint8_t {
    none,
    set_up,     ///< looking at the files, preparing, running at all
    find_data,  ///< looking for data between holes (SEEK_DATA, SEEK_HOLE)
    read,
    write,
    truncate,  ///< giving the destination its size
};

/// A word for it, as in "finding data".
[[nodiscard]] constexpr std::string_view to_string(CopyOperation operation) noexcept {
    switch (operation) {
        case CopyOperation::none: return "nothing";
        case CopyOperation::set_up: return "setting up";
        case CopyOperation::find_data: return "finding data";
        case CopyOperation::read: return "reading";
        case CopyOperation::write: return "writing";
        case CopyOperation::truncate: return "truncating";
    }
    return "unknown";
}

/// How a copy went so far.
struct CopyResult {
    bool complete = false;                          ///< the destination is what the source was
    int error = 0;                                  ///< errno of what failed, or 0
    CopyOperation operation = CopyOperation::none;  ///< what failed
    /// Where, in the file: the lowest offset at which something failed. Blocks before it may be missing, too, and later ones
    /// may be there.
    std::uint64_t offset = 0;

    std::uint64_t bytes = 0;       ///< written to the destination
    std::uint64_t size = 0;        ///< of the destination, if complete: where the source ended
    std::uint64_t holes = 0;       ///< holes skipped
    std::uint64_t hole_bytes = 0;  ///< bytes in them

    LoopExit exit{};                 ///< how the last run of the loop ended; its counts are sums over all runs
    std::uint64_t enters = 0;        ///< calls of io_uring_enter(2): one for each run, or in user space one for each turn
    std::uint64_t system_calls = 0;  ///< those and all others of this copy

    /// The destination is what the source was.
    [[nodiscard]] bool ok() const noexcept { return complete; }
    /// Stopped on request, or by a signal, with nothing lost: FileCopy::resume() goes on.
    [[nodiscard]] bool resumable() const noexcept { return !complete && error == 0 && exit.resumable(); }
};

/// A copy as it is just now.
struct CopyProgress {
    std::uint64_t bytes_read = 0;     ///< from the source
    std::uint64_t bytes_written = 0;  ///< to the destination
    std::uint64_t size = 0;   ///< of the source, as it was at the start; 0 for one that does not say (a pipe, a file in /proc)
    std::uint64_t turns = 0;  ///< of the loop
};

/**
 * Copies files, one after the other, each in one io_uring_enter(2). Owns the buffers, and what it registers.
 *
 * One at a time on a ring, which must have nothing in flight. Belongs to the ring's thread, like the ring; `progress()` and
 * `request_stop()` are for any thread.
 *
 * The source may change while it is copied. If it grows, copying goes on until a read finds nothing more; if it shrinks, the
 * copy ends where a read found nothing, or at its new size if that is less. Both descriptors keep their file positions unless
 * holes are looked for, which moves the source's. An existing destination is overwritten, and truncated at the end (if holes
 * are kept: at the start).
 *
 * Sources and destinations that have no offsets (pipes, sockets, terminals) are copied one block at a time.
 *
 * System calls for a file: 1 io_uring_enter, 2 statx, 2 fcntl, 1 ftruncate. To these come, with O_DIRECT set by this class, 4
 * fcntl; with registered files, 2 io_uring_register. Kept sparse: 2 lseek for each extent of data, 1 io_uring_enter for each
 * RINGSTEP_COPY_EXTENTS of them (at which the copy runs dry for a moment), and 3 lseek at the end. A destination that has
 * data already is truncated first. CopyResult::system_calls has the count.
 *
 * **Example**:
 *
 *     ringstep::Ring ring;
 *     ringstep::FileCopy copy{ring, {.queue_depth = 64, .block_size = 256 << 10}};
 *     for (auto [in, out] : files) {
 *         ringstep::CopyResult result = copy.run(in, out);
 *         while (result.exit.reason == ringstep::ExitReason::interrupted) result = copy.resume();
 *         if (!result.ok()) report(result.error, result.operation, result.offset);
 *     }
 */
class FileCopy {
public:
    /// Loads the loop onto `ring`, allocates buffers, registers what is asked for. What cannot be registered (memory-lock
    /// limit, the ring has other files or buffers registered) is used without. Throws Error.
    explicit FileCopy(Ring& ring, const CopyOptions& options = {})
        : options_(checked(ring, options)),
          ring_(ring.core()),
          program_(ring, {.engine = options.engine}),
          state_(program_.state()),
          buffers_(RegionMemory::allocate(options.queue_depth * options.block_size, options.huge_pages)),
          kept_(std::make_shared<Kept>(buffers_)),
          epoch_(ring_->epochs().take()) {
        state_->tag = std::uint64_t{RINGSTEP_TAG_COPY} << 48 | std::uint64_t{epoch_} << 32;
        ring.keep_alive(kept_);
        if (options.registered_buffers) {
            const iovec all{.iov_base = buffers_->data(), .iov_len = buffers_->size()};
            registered_buffers_ = io_uring_register_buffers(&ring_->native(), &all, 1) == 0;
        }
        if (options.registered_files) registered_files_ = io_uring_register_files_sparse(&ring_->native(), 2) == 0;
    }

    FileCopy(const FileCopy&) = delete;
    FileCopy& operator=(const FileCopy&) = delete;

    /// A copy that is not over is given up: what is in flight is cancelled and waited for. If that is not possible (another
    /// thread, a request that does not end), the buffers stay with the ring.
    ~FileCopy() {
        program_.detach();
        if (quiet()) {
            kept_->buffers.reset();
            ring_->epochs().give_back(epoch_);
        }
        if (under_way_) restore_files();
        if (!ring_->open() || !ring_->owned_by_this_thread()) return;
        if (registered_files_) (void)io_uring_unregister_files(&ring_->native());
        if (registered_buffers_) (void)io_uring_unregister_buffers(&ring_->native());
    }

    /// Copies all of one file to another. The descriptors have to stay open until the copy is over. Never throws: the result
    /// says what happened. After a result that is `resumable()`, call resume().
    CopyResult run(int input_fd, int output_fd, std::stop_token token = {}) noexcept {
        if (ring_->inherited()) return {.error = EBADF, .operation = CopyOperation::set_up};  // it is the parent's
        if (under_way_ || in_flight() != 0) return {.error = EBUSY, .operation = CopyOperation::set_up};
        result_ = {};
        files_ = {};
        files_.input.fd = input_fd;
        files_.output.fd = output_fd;
        position_ = 0;
        reset_state();
        under_way_ = true;
        if (!prepare()) return over();
        return resume(std::move(token));
    }

    /// Goes on with a copy that a signal or a stop request interrupted.
    CopyResult resume(std::stop_token token = {}) noexcept {
        if (!under_way_) return {.error = EINVAL, .operation = CopyOperation::set_up};
        for (;;) {
            const LoopExit exit = program_.run(token);
            note(exit);
            if (exit.resumable()) return result_;
            if (exit.reason != ExitReason::stopped) {
                failed(CopyOperation::set_up, exit.error != 0 ? exit.error : EIO, 0);
                // On the right thread, a copy that has begun can still go on.
                if (exit.reason == ExitReason::wrong_thread && in_flight() != 0)
                    return std::exchange(result_, without_failure(result_));
                return over();
            }
            if (exit.code == RINGSTEP_COPY_EXTENTS_USED && files_.sparse) {
                if (!find_extents()) return over();
                if (state_->extent_tail != 0) continue;
                return completed(position_);
            }
            if (exit.code == RINGSTEP_COPY_DONE || exit.code == RINGSTEP_COPY_EXTENTS_USED) return completed(state_->end);
            if (exit.code == RINGSTEP_COPY_FAILED) {
                failed(state_->error_operation == RINGSTEP_COPY_READ ? CopyOperation::read : CopyOperation::write,
                       static_cast<int>(state_->error), state_->error_offset);
            } else {
                failed(CopyOperation::set_up, EINVAL, 0);
            }
            return over();
        }
    }

    /// Gives up a copy that a signal or a stop request interrupted: cancels what is in flight and waits for it. The descriptors
    /// are the caller's again, and the next run() can come.
    void abandon() noexcept {
        if (!under_way_) return;
        state_->over |= RINGSTEP_COPY_ERRORED;  // nothing new is begun
        bool stop = false;
        while (in_flight() != 0) {
            cancel();
            const LoopExit exit = program_.run();
            stop |= exit.reason == ExitReason::stop_requested;
            if (exit.reason != ExitReason::stopped && !exit.resumable()) break;
        }
        if (stop) program_.request_stop();  // it was meant for a run of the application's
        (void)over();
    }

    /// The copy under way, or the last one. Any thread.
    [[nodiscard]] CopyProgress progress() const noexcept {
        return {
            .bytes_read = state_.load(&ringstep_copy::bytes_read),
            .bytes_written = state_.load(&ringstep_copy::bytes_written),
            .size = size_.load(std::memory_order_relaxed),
            .turns = turns() - first_turn_.load(std::memory_order_relaxed),
        };
    }

    /// Ends the run under way, with a result that is `resumable()`; if none is, the next one. Any thread.
    void request_stop() noexcept { program_.request_stop(); }

    /// What runs the loop: see LoopProgram.
    [[nodiscard]] Engine engine() const noexcept { return program_.engine(); }
    /// Why it is not the kernel: see LoopProgram.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return program_.engine_reason(); }

    /// How it copies, as asked for.
    [[nodiscard]] const CopyOptions& options() const noexcept { return options_; }
    /// Whether files really are registered.
    [[nodiscard]] bool registered_files() const noexcept { return registered_files_; }
    /// Whether buffers really are.
    [[nodiscard]] bool registered_buffers() const noexcept { return registered_buffers_; }
    /// Whether the buffers come from the huge page pool.
    [[nodiscard]] bool huge_pages() const noexcept { return buffers_->huge_pages(); }
    /// The loop's state, for those who want to look closer.
    [[nodiscard]] const RegionView<ringstep_copy>& state() const noexcept { return state_; }

private:
    // What the ring holds on to. Emptied when no request can use the buffers any more: a ring may see many copies come and go.
    struct Kept {
        explicit Kept(std::shared_ptr<RegionMemory> memory) noexcept : buffers(std::move(memory)) {}
        std::shared_ptr<RegionMemory> buffers;
    };

    struct File {
        int fd = -1;
        int flags = 0;          // status flags for the time of the copy
        int changed_from = -1;  // what they were before, if they had to be changed
        mode_t mode = 0;
        std::uint64_t size = 0;
        std::uint64_t blocks = 0;  // of 512 bytes
        dev_t device = 0;
        ino_t inode = 0;
        std::uint32_t alignment = 1;  // what O_DIRECT asks for

        [[nodiscard]] bool regular() const noexcept { return S_ISREG(mode); }
        [[nodiscard]] bool direct() const noexcept { return (flags & O_DIRECT) != 0; }
    };

    struct Files {
        File input;
        File output;
        bool sparse = false;      // extents are looked for
        bool registered = false;  // both are in the ring's table
    };

    static const CopyOptions& checked(Ring& ring, const CopyOptions& options) {
        constexpr std::size_t largest_block = std::size_t{1} << 30;
        if (options.queue_depth == 0 || options.queue_depth > RINGSTEP_COPY_SLOTS) {
            detail::raise(EINVAL, "set-up of a copy with a queue depth of " + std::to_string(options.queue_depth),
                          "It has to be between 1 and " + std::to_string(RINGSTEP_COPY_SLOTS) + ".");
        }
        if (options.block_size == 0 || options.block_size > largest_block) {
            detail::raise(EINVAL, "set-up of a copy with blocks of " + std::to_string(options.block_size) + " bytes",
                          "They have to be between 1 byte and 1 GiB.");
        }
        if (ring.is_open() && ring.in_flight() != 0) {
            detail::raise(EBUSY, "set-up of a copy on a ring with " + std::to_string(ring.in_flight()) + " requests in flight",
                          "The loop would take their completions for its own. Wait for them first, or use another ring.");
        }
        return options;
    }

    // --- One copy ---

    void reset_state() noexcept {
        ringstep_copy& state = *state_;
        state.flags = 0;
        state.depth = options_.queue_depth;
        state.block_size = static_cast<std::uint32_t>(options_.block_size);
        state.align_mask = 0;
        state.buffers = reinterpret_cast<std::uintptr_t>(buffers_->data());
        state.size_hint = RINGSTEP_COPY_ENDLESS;
        state.buffer_index = 0;
        state.extent_head = 0;
        state.extent_tail = 0;
        state.over = 0;
        state.end = 0;
        state.error = 0;
        state.error_operation = 0;
        state.error_offset = 0;
        state.opened = 0;
        state.idle = 0;
        state.reading = 0;
        // Others may be watching these.
        state_.store(&ringstep_copy::bytes_read, 0);
        state_.store(&ringstep_copy::bytes_written, 0);
        size_.store(0, std::memory_order_relaxed);
        first_turn_.store(turns(), std::memory_order_relaxed);
    }

    // Looks at both files and fills in the state. False: failed() has been told why.
    bool prepare() noexcept {
        File& input = files_.input;
        File& output = files_.output;
        if (!look_at(input)) return failed(CopyOperation::read, errno, 0);
        if (!look_at(output)) return failed(CopyOperation::write, errno, 0);
        if (input.regular() && input.device == output.device && input.inode == output.inode)
            return failed(CopyOperation::set_up, EINVAL, 0);
        // All writes would go to the end, in the order in which they happen to run.
        if ((output.flags & O_APPEND) != 0) return failed(CopyOperation::set_up, EINVAL, 0);
        const bool stream = !has_offsets(input) || !has_offsets(output);
        if (!adjust_flags(input) || !adjust_flags(output)) return failed(CopyOperation::set_up, errno, 0);
        size_.store(input.size, std::memory_order_relaxed);

        ringstep_copy& state = *state_;
        const std::uint32_t alignment = std::max(input.direct() ? input.alignment : 1, output.direct() ? output.alignment : 1);
        if (options_.block_size % alignment != 0) return failed(CopyOperation::set_up, EINVAL, 0);
        state.align_mask = alignment - 1;
        if (stream) state.depth = 1;
        if (registered_buffers_) state.flags |= RINGSTEP_COPY_FIXED_BUFFERS;
        set_descriptors();

        files_.sparse = input.regular() && output.regular() &&
                        (options_.sparse == SparseCopy::always ||
                         (options_.sparse == SparseCopy::automatic && input.blocks * 512 < input.size));
        if (files_.sparse) {
            // What is skipped has to be a hole already.
            if (output.size != 0 && !truncate(0)) return false;
            return find_extents();
        }
        state.size_hint = input.size;
        state.extents[0] = {.offset = 0, .length = RINGSTEP_COPY_ENDLESS};
        state.extent_tail = 1;
        return true;
    }

    bool look_at(File& file) noexcept {
        struct statx status{};
        unsigned mask = STATX_BASIC_STATS;
#ifdef STATX_DIOALIGN
        mask |= STATX_DIOALIGN;
#endif
        result_.system_calls += 2;
        if (::statx(file.fd, "", AT_EMPTY_PATH, mask, &status) < 0) return false;
        file.flags = ::fcntl(file.fd, F_GETFL);
        if (file.flags < 0) return false;
        file.mode = status.stx_mode;
        file.size = status.stx_size;
        file.blocks = status.stx_blocks;
        file.device = (static_cast<dev_t>(status.stx_dev_major) << 32) | status.stx_dev_minor;
        file.inode = status.stx_ino;
        file.alignment = 4096;
#ifdef STATX_DIOALIGN
        if ((status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_offset_align != 0) {
            file.alignment = std::max(status.stx_dio_offset_align, status.stx_dio_mem_align);
        }
#endif
        return true;
    }

    [[nodiscard]] bool has_offsets(const File& file) noexcept {
        if (file.regular() || S_ISDIR(file.mode) || S_ISBLK(file.mode)) return true;
        if (S_ISFIFO(file.mode) || S_ISSOCK(file.mode)) return false;
        ++result_.system_calls;
        return ::lseek(file.fd, 0, SEEK_CUR) >= 0;
    }

    // O_DIRECT as asked for, and no O_NONBLOCK: a read that has nothing to give has to wait, not to fail.
    bool adjust_flags(File& file) noexcept {
        int wanted = file.flags & ~O_NONBLOCK;
        if (options_.direct && (file.regular() || S_ISBLK(file.mode))) wanted |= O_DIRECT;
        if (wanted == file.flags) return true;
        ++result_.system_calls;
        if (::fcntl(file.fd, F_SETFL, wanted) < 0) return false;
        file.changed_from = std::exchange(file.flags, wanted);
        return true;
    }

    void set_descriptors() noexcept {
        ringstep_copy& state = *state_;
        state.input_fd = files_.input.fd;
        state.output_fd = files_.output.fd;
        if (!registered_files_) return;
        files_.registered = update_registered_files(files_.input.fd, files_.output.fd);
        if (!files_.registered) return;
        state.input_fd = 0;
        state.output_fd = 1;
        state.flags |= RINGSTEP_COPY_FIXED_FILES;
    }

    bool update_registered_files(int first, int second) noexcept {
        const int descriptors[] = {first, second};
        ++result_.system_calls;
        return io_uring_register_files_update(&ring_->native(), 0, descriptors, 2) == 2;
    }

    // Fills the window with the next extents of data, none if there are no more: then position_ is the source's size.
    bool find_extents() noexcept {
        ringstep_copy& state = *state_;
        const std::uint64_t mask = state.align_mask;
        std::uint64_t confirmed_size = 0;
        state.extent_head = 0;
        state.extent_tail = 0;
        while (state.extent_tail < RINGSTEP_COPY_EXTENTS) {
            const off_t data = seek(position_, SEEK_DATA);
            if (data < 0 && errno != ENXIO) return failed(CopyOperation::find_data, errno, position_);
            if (data < 0 && state.extent_tail != 0) break;  // the source may still grow: look again when these are copied
            if (data < 0) {
                const off_t size = seek(0, SEEK_END);
                if (size < 0) return failed(CopyOperation::find_data, errno, position_);
                const auto end = static_cast<std::uint64_t>(size);
                if (end <= position_) break;
                // What lies behind is a hole, unless it was written since. It was not if there still is no data.
                if (end != confirmed_size) {
                    confirmed_size = end;
                    continue;
                }
                skip_hole(end);
                break;
            }
            const off_t hole = seek(static_cast<std::uint64_t>(data), SEEK_HOLE);
            if (hole < 0 && errno != ENXIO) return failed(CopyOperation::find_data, errno, static_cast<std::uint64_t>(data));
            if (hole < 0) continue;  // it has shrunk in between
            skip_hole(static_cast<std::uint64_t>(data));
            // With O_DIRECT, whole sectors; what the sector before has covered already need not be copied again.
            const std::uint64_t begin = std::max(position_ & ~mask, covered());
            position_ = static_cast<std::uint64_t>(hole);
            const std::uint64_t end = (position_ + mask) & ~mask;
            if (begin < end) state.extents[state.extent_tail++] = {.offset = begin, .length = end - begin};
        }
        return true;
    }

    // Up to where the extents in the window reach.
    [[nodiscard]] std::uint64_t covered() const noexcept {
        if (state_->extent_tail == 0) return 0;
        const ringstep_copy_extent& last = state_->extents[state_->extent_tail - 1];
        return last.offset + last.length;
    }

    void skip_hole(std::uint64_t to) noexcept {
        if (to <= position_) return;
        ++result_.holes;
        result_.hole_bytes += to - position_;
        position_ = to;
    }

    off_t seek(std::uint64_t offset, int whence) noexcept {
        ++result_.system_calls;
        return ::lseek(files_.input.fd, static_cast<off_t>(offset), whence);
    }

    bool truncate(std::uint64_t size) noexcept {
        ++result_.system_calls;
        if (::ftruncate(files_.output.fd, static_cast<off_t>(size)) == 0) return true;
        return failed(CopyOperation::truncate, errno, size);
    }

    void note(const LoopExit& exit) noexcept {
        result_.system_calls += exit.enters;
        result_.enters += exit.enters;
        result_.exit.reason = exit.reason;
        result_.exit.error = exit.error;
        result_.exit.code = exit.code;
        result_.exit.turns += exit.turns;
        result_.exit.submitted += exit.submitted;
        result_.exit.completions += exit.completions;
        result_.bytes = state_->bytes_written;
    }

    // Always false, so that a caller can return it.
    bool failed(CopyOperation operation, int error, std::uint64_t offset) noexcept {
        result_.operation = operation;
        result_.error = error;
        result_.offset = offset;
        return false;
    }

    static CopyResult without_failure(CopyResult result) noexcept {
        result.operation = CopyOperation::none;
        result.error = 0;
        return result;
    }

    // The source has shrunk while it was copied. What was read behind its end just then may be zeros, because the kernel clears
    // the rest of a page that it cuts: its size now is the safe one.
    [[nodiscard]] std::uint64_t shrunk_size(std::uint64_t otherwise) noexcept {
        struct stat status{};
        ++result_.system_calls;
        return ::fstat(files_.input.fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : otherwise;
    }

    CopyResult completed(std::uint64_t size) noexcept {
        if (files_.input.regular() && size < files_.input.size) size = std::min(size, shrunk_size(size));
        if (!files_.output.regular() || truncate(size)) {
            result_.complete = true;
            result_.size = size;
        }
        return over();
    }

    CopyResult over() noexcept {
        restore_files();
        under_way_ = false;
        return result_;
    }

    void restore_files() noexcept {
        if (ring_->inherited()) return;  // a forked child shares the flags with its parent, whose copy goes on
        for (File* file : {&files_.input, &files_.output}) {
            if (file->changed_from < 0) continue;
            ++result_.system_calls;
            (void)::fcntl(file->fd, F_SETFL, file->changed_from);
            file->changed_from = -1;
        }
        if (files_.registered) (void)update_registered_files(-1, -1);
        files_.registered = false;
    }

    // --- The end of it all ---

    [[nodiscard]] std::uint32_t in_flight() const noexcept { return state_->opened - state_->idle; }

    // Everything in flight on the ring is this copy's.
    void cancel() noexcept {
        io_uring_sync_cancel_reg all{};
        all.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
        all.timeout.tv_nsec = 10'000'000;
        (void)io_uring_register_sync_cancel(&ring_->native(), &all);
    }

    // Waits until no request can use the buffers any more. The loop is off the ring already.
    [[nodiscard]] bool quiet() noexcept {
        using clock = std::chrono::steady_clock;
        if (in_flight() == 0) return true;
        if (!ring_->open() || !ring_->owned_by_this_thread()) return false;
        const auto deadline = clock::now() + std::chrono::seconds(5);
        // Each by its own completion, whatever else comes: what the ring has counted says nothing about this copy.
        std::uint32_t left = in_flight();
        do {
            cancel();
            (void)ring_->enter(0, 0, IORING_ENTER_GETEVENTS);
            Completion completion;
            while (CompletionQueue(ring_->queues()).pop(completion)) {
                const bool own = (completion.user_data & ~std::uint64_t{RINGSTEP_COPY_USER_DATA_WRITE}) < RINGSTEP_COPY_SLOTS;
                if (own && !completion.more() && --left == 0) return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        } while (clock::now() < deadline);
        return false;
    }

    [[nodiscard]] std::uint64_t turns() const noexcept {
        return std::atomic_ref<__u64>(state_.memory()->control().turns).load(std::memory_order_relaxed);
    }

    CopyOptions options_;
    std::shared_ptr<detail::RingCore> ring_;
    LoopProgram<loops::copy> program_;
    RegionView<ringstep_copy> state_;
    std::shared_ptr<RegionMemory> buffers_;
    std::shared_ptr<Kept> kept_;
    std::uint32_t epoch_;
    bool registered_files_ = false;
    bool registered_buffers_ = false;

    bool under_way_ = false;
    Files files_;
    CopyResult result_;
    std::uint64_t position_ = 0;  // sparse: up to where the source has been looked at
    std::atomic<std::uint64_t> size_{0};
    std::atomic<std::uint64_t> first_turn_{0};
};

/**
 * Copies one file. Goes on after signals; ends early only if a stop is requested, with everything it had in flight cancelled.
 * Sets everything up for that one file: for many, make one FileCopy. Throws Error if it cannot set up.
 *
 * **Example**:
 *
 *     ringstep::CopyResult result = ringstep::copy_file(ring, in, out, {.queue_depth = 64});
 *     if (!result.ok()) fmt::print(stderr, "{}\n", result);       // with ringstep/loops/copy_format.hpp
 */
inline CopyResult copy_file(Ring& ring, int input_fd, int output_fd, const CopyOptions& options = {},
                            const std::stop_token& token = {}) {
    FileCopy copy{ring, options};
    CopyResult result = copy.run(input_fd, output_fd, token);
    while (result.exit.reason == ExitReason::interrupted && result.resumable() && !token.stop_requested())
        result = copy.resume(token);
    return result;
}

}  // namespace ringstep::inline v0
