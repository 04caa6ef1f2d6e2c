// SPDX-License-Identifier: MIT
// Copies files with the loop `copy`, and adds sparse files, O_DIRECT, truncation and special files to it.
#pragma once

#include <ringstep/detail/loop_identity.hpp>
#include <ringstep/detail/copy_side.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/copy.hpp>
#include <ringstep/loops/copy_result.hpp>
#include <ringstep/loops/loop_class.hpp>
#include <ringstep/region.hpp>
#include <ringstep/ring.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace ringstep::inline v0 {

/**
 * Copies files, one after the other, each with one io_uring_enter(2) if the kernel runs the loop. Owns the buffers and the
 * registrations that it makes.
 *
 * A ring can have one FileCopy at a time. Requests that are already in flight on the ring stay in flight, and their buffers
 * must stay valid. A copy passes over their completions, as every loop does. Use the object only on the ring's owning thread.
 * Only `progress()`, `request_stop()` and `wake()` may be called from any thread.
 *
 * A stop request, or a signal, ends the current run with a result that is `resumable()`. `resume()` then continues the copy,
 * and `cancel()` ends it. The class has no `completions()`, because the requests of a copy are its own: `progress()` and the
 * result tell what they have done. `state()` is for inspection.
 *
 * The source may change while it is copied. If it grows, the copy continues until a read returns no data. If it shrinks, the
 * copy ends where a read returned no data, or at the new size if that is less. Both descriptors keep their file positions, with
 * one exception: the source's position moves if holes are looked for, or if the source has no blocks.
 *
 * An existing destination is overwritten, and truncated at the end. If holes are kept, it is truncated at the start, once the
 * source can be read; see also CopyOptions::empty_first.
 *
 * Only bytes of the source are ever written. Behind the end of the copy, a block device keeps its content. A source that is
 * larger than the device is refused (ENOSPC) before anything is written.
 *
 * Some sources are read in order, one read at a time, until a read returns no data: pipes, sockets, terminals and other
 * character devices, regular files of size 0, and files without blocks that do not begin with a hole, as in /proc and /sys. The
 * kernel generates the content of these files during the reads, and would start again for each read out of order.
 *
 * Data from a pipe, socket or character device is written at once, without waiting for a whole block. Destinations that are
 * pipes, sockets or character devices are written in order, one write at a time.
 *
 * If a file lacks an optional feature, the copy continues without it. These are SEEK_DATA and truncating at the start (then
 * zeros are written for holes), O_DIRECT (CopyResult::buffered) and statx(2).
 *
 * System calls for a file: 1 io_uring_enter, 2 statx, 2 fcntl, 1 ftruncate. Further calls:
 * - O_DIRECT set by this class: 4 fcntl, and for a last part smaller than a sector 1 fcntl, 1 pwrite and 1 sync_file_range;
 * - registered files: 2 io_uring_register;
 * - each block device: 2 ioctl;
 * - sparse copies: 1 lseek at the start, 2 lseek for each extent of data, 1 io_uring_enter for each RINGSTEP_COPY_EXTENTS
 *   extents (at which the copy has nothing in flight for a moment), and 3 lseek at the end. A destination with data is
 *   truncated first, after 1 pread of the source.
 *
 * CopyResult::system_calls has the count.
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
class FileCopy : public LoopClass<loops::copy> {
public:
    /// Attaches the loop to `ring`, allocates buffers, and registers files and buffers as requested. If a registration fails
    /// (memory-lock limit, or the ring has other files or buffers registered), the copy works without it. Throws Error.
    explicit FileCopy(Ring& ring, const CopyOptions& options = {})
        : LoopClass(ring, {.engine = checked(options).engine}),
          options_(options),
          buffers_(RegionMemory::allocate(options.queue_depth * options.block_size, options.huge_pages)),
          kept_(std::make_shared<Kept>(buffers_)),
          identity_(detail::RingAccess::core(ring)),
          attached_(ring_core().attached()) {
        state()->identity = identity_.value();
        ring.keep_alive(kept_);
        if (options.registered_buffers) {
            const iovec all{.iov_base = buffers_->data(), .iov_len = buffers_->size()};
            registered_buffers_ = io_uring_register_buffers(&ring_core().native(), &all, 1) == 0;
        }
        if (options.registered_files) registered_files_ = io_uring_register_files_sparse(&ring_core().native(), 2) == 0;
    }

    FileCopy(const FileCopy&) = delete;
    FileCopy& operator=(const FileCopy&) = delete;

    /// Abandons an unfinished copy: cancels its requests and waits for them. Other completions stay in the CQ. The ring keeps
    /// the buffers alive if the destructor cannot wait. That is so on another thread, after a later loop was attached, if a
    /// request does not end, and if the CQ is full of other completions.
    ~FileCopy() {
        program().detach();
        if (quiet()) {
            kept_->buffers.reset();
            identity_.give_back();
        }
        if (under_way_) restore_files();
        if (!ring_core().open() || !ring_core().owned_by_this_thread()) return;
        if (registered_files_) (void)io_uring_unregister_files(&ring_core().native());
        if (registered_buffers_) (void)io_uring_unregister_buffers(&ring_core().native());
    }

    /// Copies all of one file to another. The descriptors must stay open until the copy is over. If the result is
    /// `resumable()`, call resume(). Errors are returned in the result. Must be called on the ring's owning thread. Never
    /// throws.
    CopyResult run(int input_fd, int output_fd, std::stop_token token = {}) noexcept {
        if (ring_core().inherited())
            return {.error = EBADF, .operation = CopyOperation::set_up};  // the ring belongs to the parent
        if (CopyResult refused; refuses(refused)) return refused;
        if (under_way_ || in_flight() != 0) return {.error = EBUSY, .operation = CopyOperation::set_up};
        result_ = {};
        files_ = {.input = {input_fd, result_.system_calls}, .output = {output_fd, result_.system_calls}};
        position_ = 0;
        reset_state();
        under_way_ = true;
        if (!prepare()) return over();
        return resume(std::move(token));
    }

    /// Continues a copy that a signal or a stop request interrupted. Returns an error (EINVAL) if there is none. Must be called
    /// on the ring's owning thread. Never throws.
    CopyResult resume(std::stop_token token = {}) noexcept {
        if (CopyResult refused; !ring_core().inherited() && refuses(refused)) return refused;
        if (!under_way_) return {.error = EINVAL, .operation = CopyOperation::set_up};
        for (;;) {
            const LoopExit exit = program().run(token);
            note(exit);
            if (exit.resumable()) return result_;
            if (exit.reason != ExitReason::stopped) {
                failed(CopyOperation::set_up, exit.error != 0 ? exit.error : EIO, 0);
                return over();
            }
            if (exit.code == RINGSTEP_COPY_EXTENTS_USED && files_.sparse) {
                find_extents();
                if (state()->extent_tail != 0) continue;
                return completed(position_);
            }
            if (exit.code == RINGSTEP_COPY_DONE || exit.code == RINGSTEP_COPY_EXTENTS_USED) return completed(state()->end);
            if (exit.code == RINGSTEP_COPY_FAILED) {
                failed(state()->error_operation == RINGSTEP_COPY_READ ? CopyOperation::read : CopyOperation::write,
                       static_cast<int>(state()->error), state()->error_offset);
            } else {
                failed(CopyOperation::set_up, EINVAL, 0);
            }
            return over();
        }
    }

    /// Cancels a copy that a signal or a stop request interrupted: cancels its requests and waits for their end. Returns the
    /// result of the copy, with the error ECANCELED. Afterwards, the caller may close the descriptors and call run() again.
    /// Returns an error (EINVAL) if there is no such copy. Must be called on the ring's owning thread. Never throws.
    CopyResult cancel() noexcept {
        if (ring_core().inherited()) return {.error = EBADF, .operation = CopyOperation::set_up};  // the parent's copy goes on
        if (CopyResult refused; refuses(refused)) return refused;
        if (!under_way_) return {.error = EINVAL, .operation = CopyOperation::set_up};
        state()->over |= RINGSTEP_COPY_ERRORED;  // the loop submits no new requests
        bool stop = false;
        while (in_flight() != 0) {
            cancel_requests();
            const LoopExit exit = program().run();
            note(exit);
            stop |= exit.reason == ExitReason::stop_requested;
            if (exit.reason != ExitReason::stopped && !exit.resumable()) break;
        }
        if (stop) request_stop();  // the stop was meant for a run of the application
        failed(CopyOperation::none, ECANCELED, 0);
        return over();
    }

    /// Returns the progress of the current copy, or of the last one. May be called from any thread.
    [[nodiscard]] CopyProgress progress() const noexcept {
        return {
            .bytes_read = state().load(&ringstep_copy::bytes_read),
            .bytes_written = state().load(&ringstep_copy::bytes_written),
            .size = size_.load(std::memory_order_relaxed),
            .turns = turns() - first_turn_.load(std::memory_order_relaxed),
        };
    }

    /// Returns the options given to the constructor.
    [[nodiscard]] const CopyOptions& options() const noexcept { return options_; }
    /// Returns whether files are registered.
    [[nodiscard]] bool registered_files() const noexcept { return registered_files_; }
    /// Returns whether buffers are registered.
    [[nodiscard]] bool registered_buffers() const noexcept { return registered_buffers_; }
    /// Returns whether the buffers come from the huge page pool.
    [[nodiscard]] bool huge_pages() const noexcept { return buffers_->huge_pages(); }

private:
    // Kept alive by the ring, which may see many copies. It is emptied when no request can use the buffers any more.
    struct Kept {
        explicit Kept(std::shared_ptr<RegionMemory> memory) noexcept : buffers(std::move(memory)) {}
        std::shared_ptr<RegionMemory> buffers;
    };

    struct Files {
        detail::CopySide input;
        detail::CopySide output;
        bool sparse = false;      // extents are looked for
        bool registered = false;  // both are in the ring's table
    };

    static const CopyOptions& checked(const CopyOptions& options) {
        constexpr std::size_t largest_block = std::size_t{1} << 30;
        if (options.queue_depth == 0 || options.queue_depth > RINGSTEP_COPY_SLOTS) {
            detail::raise(EINVAL, "set-up of a copy with a queue depth of " + std::to_string(options.queue_depth),
                          "It has to be between 1 and " + std::to_string(RINGSTEP_COPY_SLOTS) + ".");
        }
        if (options.block_size == 0 || options.block_size > largest_block) {
            detail::raise(EINVAL, "set-up of a copy with blocks of " + std::to_string(options.block_size) + " bytes",
                          "They have to be between 1 byte and 1 GiB.");
        }
        return options;
    }

    // --- One copy ---

    // Returns true, and fills in `result`, on a thread that must not run the loop. A copy on the right thread may be in
    // progress then, and can still continue there.
    [[nodiscard]] bool refuses(CopyResult& result) const noexcept {
        if (!detail::ProgramAccess::refused(program(), result.exit) || result.exit.reason != ExitReason::wrong_thread)
            return false;
        result.operation = CopyOperation::set_up;
        result.error = result.exit.error;
        return true;
    }

    void reset_state() noexcept {
        ringstep_copy& state = *this->state();
        state.flags = 0;
        state.depth = options_.queue_depth;
        state.block_size = static_cast<std::uint32_t>(options_.block_size);
        state.read_align_mask = 0;
        state.write_align_mask = 0;
        state.buffers = reinterpret_cast<std::uintptr_t>(buffers_->data());
        state.size_hint = RINGSTEP_COPY_ENDLESS;
        state.buffer_index = 0;
        state.extent_head = 0;
        state.extent_tail = 0;
        state.over = 0;
        state.end = 0;
        state.tail_size = 0;
        state.error = 0;
        state.error_operation = 0;
        state.error_offset = 0;
        state.opened = 0;
        state.idle = 0;
        // Other threads may read these.
        this->state().store(&ringstep_copy::reading, 0);
        this->state().store(&ringstep_copy::bytes_read, 0);
        this->state().store(&ringstep_copy::bytes_written, 0);
        size_.store(0, std::memory_order_relaxed);
        first_turn_.store(turns(), std::memory_order_relaxed);
    }

    // Checks as much as possible before it changes the destination, and fills in the state. Returns false after calling
    // failed() if a check failed.
    bool prepare() noexcept {
        detail::CopySide& input = files_.input;
        detail::CopySide& output = files_.output;
        if (!look_at_both()) return false;
        const bool generated = input.generated();
        result_.in_order = generated || !input.in_any_order();
        const bool in_order = result_.in_order || !output.in_any_order();
        if (!generated && output.block_device() && input.size() > output.size())
            return failed(CopyOperation::write, ENOSPC, output.size());
        size_.store(generated ? 0 : input.size(), std::memory_order_relaxed);
        files_.sparse = !generated && wants_holes() && offers_holes();
        if (!input.wait_for_data() || !output.wait_for_data()) return failed(CopyOperation::set_up, errno, 0);
        if (options_.direct && !go_direct(input, !result_.in_order)) result_.buffered = true;
        if (options_.direct && !go_direct(output, true)) result_.buffered = true;
        if (options_.block_size % alignment() != 0) return failed(CopyOperation::set_up, EINVAL, 0);
        const bool emptied =
            output.regular() && output.size() != 0 && (files_.sparse || (options_.empty_first && !result_.in_order));
        if (emptied && !can_read_data()) return false;

        ringstep_copy& state = *this->state();
        state.read_align_mask = input.alignment() - 1;
        state.write_align_mask = output.alignment() - 1;
        if (in_order) state.depth = 1;
        // If writes must be whole sectors, blocks are filled before they are written.
        if (!input.in_any_order() && !output.direct()) state.flags |= RINGSTEP_COPY_AT_ONCE;
        if (!input.has_offsets()) state.flags |= RINGSTEP_COPY_READ_NEXT;
        if (!output.has_offsets()) state.flags |= RINGSTEP_COPY_WRITE_NEXT;
        if (registered_buffers_) state.flags |= RINGSTEP_COPY_FIXED_BUFFERS;
        set_descriptors();

        // Skipped parts must be holes already. If the file cannot be truncated, zeros are written instead.
        if (emptied) {
            result_.changed = output.truncate(0);
            files_.sparse = files_.sparse && result_.changed;
        }
        if (files_.sparse) {
            find_extents();
        } else {
            add_the_rest(0);
        }
        return true;
    }

    bool look_at_both() noexcept {
        detail::CopySide& input = files_.input;
        detail::CopySide& output = files_.output;
        if (!input.look()) return failed(CopyOperation::read, errno, 0);
        if (!output.look()) return failed(CopyOperation::write, errno, 0);
        if (!input.readable()) return failed(CopyOperation::read, EBADF, 0);
        if (!output.writable()) return failed(CopyOperation::write, EBADF, 0);
        if (input.directory()) return failed(CopyOperation::read, EISDIR, 0);
        if (input.same_as(output)) return failed(CopyOperation::set_up, EINVAL, 0);
        // With O_APPEND, all writes would go to the end, in the order in which they happen to run.
        if (output.appends()) return failed(CopyOperation::set_up, EINVAL, 0);
        return true;
    }

    [[nodiscard]] bool wants_holes() const noexcept {
        if (!files_.input.regular() || !files_.output.regular() || options_.sparse == SparseCopy::never) return false;
        return options_.sparse == SparseCopy::always || files_.input.has_holes();
    }

    // Returns whether the source's file system reports where its data is.
    [[nodiscard]] bool offers_holes() noexcept { return first_data() >= 0 || errno == ENXIO; }

    [[nodiscard]] off_t first_data() const noexcept { return files_.input.seek(0, SEEK_DATA); }

    // A source that cannot be read must not cost the destination its content.
    bool can_read_data() noexcept {
        const off_t data = files_.sparse ? first_data() : 0;
        if (data < 0) return true;  // the source is one hole
        const std::uint64_t offset = static_cast<std::uint64_t>(data) & ~(std::uint64_t{alignment()} - 1);
        if (files_.input.can_read(buffers_->data(), alignment(), offset)) return true;
        return failed(CopyOperation::read, errno, offset);
    }

    // Returns false if O_DIRECT is refused. Pipes, sockets and character devices have no page cache to bypass.
    static bool go_direct(detail::CopySide& side, bool sensible) noexcept {
        if (!side.regular() && !side.block_device()) return true;
        return sensible && side.go_direct();
    }

    // Returns the alignment that both files need for O_DIRECT.
    [[nodiscard]] std::uint32_t alignment() const noexcept {
        return std::max(files_.input.alignment(), files_.output.alignment());
    }

    void set_descriptors() noexcept {
        ringstep_copy& state = *this->state();
        state.input_fd = files_.input.fd();
        state.output_fd = files_.output.fd();
        if (!registered_files_) return;
        files_.registered = update_registered_files(files_.input.fd(), files_.output.fd());
        if (!files_.registered) return;
        state.input_fd = 0;
        state.output_fd = 1;
        state.flags |= RINGSTEP_COPY_FIXED_FILES;
    }

    bool update_registered_files(int first, int second) noexcept {
        const int descriptors[] = {first, second};
        ++result_.system_calls;
        return io_uring_register_files_update(&ring_core().native(), 0, descriptors, 2) == 2;
    }

    // Adds an extent from `offset` to the end of the source, wherever that is.
    void add_the_rest(std::uint64_t offset) noexcept {
        ringstep_copy& state = *this->state();
        state.size_hint = files_.input.size();
        state.extents[state.extent_tail++] = {.offset = offset, .length = RINGSTEP_COPY_ENDLESS - offset};
    }

    // Fills the window with the next extents of data. If there are no more, it stays empty, and position_ is the source's size.
    // If the source no longer reports where its data is, the rest is one extent.
    void find_extents() noexcept {
        ringstep_copy& state = *this->state();
        const std::uint64_t mask = alignment() - 1;
        std::uint64_t confirmed_size = 0;
        state.extent_head = 0;
        state.extent_tail = 0;
        while (state.extent_tail < RINGSTEP_COPY_EXTENTS) {
            const off_t data = files_.input.seek(position_, SEEK_DATA);
            if (data < 0 && errno != ENXIO) return stop_looking(mask);
            if (data < 0 && state.extent_tail != 0) break;  // the source may still grow: check again when these are copied
            if (data < 0) {
                const off_t size = files_.input.seek(0, SEEK_END);
                if (size < 0) return stop_looking(mask);
                const auto end = static_cast<std::uint64_t>(size);
                if (end <= position_) break;
                // The part behind is a hole, unless it was written since. If there still is no data, it was not written.
                if (end != confirmed_size) {
                    confirmed_size = end;
                    continue;
                }
                skip_hole(end);
                break;
            }
            const off_t hole = files_.input.seek(static_cast<std::uint64_t>(data), SEEK_HOLE);
            if (hole < 0 && errno != ENXIO) return stop_looking(mask);
            if (hole < 0) continue;  // the source has shrunk in between
            skip_hole(static_cast<std::uint64_t>(data));
            // With O_DIRECT, extents are whole sectors. Parts covered by the previous extent's last sector are not copied
            // again.
            const std::uint64_t begin = std::max(position_ & ~mask, covered());
            position_ = static_cast<std::uint64_t>(hole);
            const std::uint64_t end = (position_ + mask) & ~mask;
            if (begin < end) state.extents[state.extent_tail++] = {.offset = begin, .length = end - begin};
        }
    }

    void stop_looking(std::uint64_t mask) noexcept {
        files_.sparse = false;
        add_the_rest(std::max(position_ & ~mask, covered()));
    }

    // Returns the offset up to which the extents in the window reach.
    [[nodiscard]] std::uint64_t covered() const noexcept {
        if (state()->extent_tail == 0) return 0;
        const ringstep_copy_extent& last = state()->extents[state()->extent_tail - 1];
        return last.offset + last.length;
    }

    void skip_hole(std::uint64_t to) noexcept {
        if (to <= position_) return;
        ++result_.holes;
        result_.hole_bytes += to - position_;
        position_ = to;
    }

    void note(const LoopExit& exit) noexcept {
        result_.system_calls += exit.enters;
        result_.enters += exit.enters;
        result_.exit.reason = exit.reason;
        result_.exit.error = exit.error;
        result_.exit.code = exit.code;
        result_.exit.turns += exit.turns;
        result_.exit.calls += exit.calls;
        result_.exit.submitted += exit.submitted;
        result_.exit.completions += exit.completions;
        result_.bytes = state()->bytes_written;
        if (state()->bytes_read != 0) result_.changed = true;
    }

    // Always false, so that a caller can return it.
    bool failed(CopyOperation operation, int error, std::uint64_t offset) noexcept {
        result_.operation = operation;
        result_.error = error;
        result_.offset = offset;
        return false;
    }

    // If the source has shrunk during the copy, its current size is the safe one. Data read behind its end just then may be
    // zeros, because the kernel clears the rest of a page that it cuts.
    [[nodiscard]] std::uint64_t size_at_the_end(std::uint64_t end) const noexcept {
        if (!files_.input.regular() || result_.in_order || end >= files_.input.size()) return end;
        return std::min(end, files_.input.size_now(end));
    }

    CopyResult completed(std::uint64_t end) noexcept {
        const std::uint64_t size = size_at_the_end(end);
        if (!write_tail(end, size)) return over();
        if (files_.output.regular() && !files_.output.truncate(size)) {
            failed(CopyOperation::truncate, errno, size);
            return over();
        }
        result_.complete = true;
        result_.size = size;
        return over();
    }

    // Writes the rest that O_DIRECT left before `end`, as far as it belongs to the first `size` bytes.
    bool write_tail(std::uint64_t end, std::uint64_t size) noexcept {
        const std::uint64_t begin = end - state()->tail_size;
        if (state()->tail_size == 0 || begin >= size) return true;
        const auto* bytes = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(state()->tail));
        if (!files_.output.write_tail(bytes, size - begin, begin)) return failed(CopyOperation::write, errno, begin);
        state().store(&ringstep_copy::bytes_written, state()->bytes_written + (size - begin));
        result_.bytes = state()->bytes_written;
        return true;
    }

    CopyResult over() noexcept {
        restore_files();
        under_way_ = false;
        return result_;
    }

    void restore_files() noexcept {
        if (ring_core().inherited()) return;  // a forked child shares the flags with its parent, whose copy goes on
        files_.input.restore_flags();
        files_.output.restore_flags();
        if (files_.registered && ring_core().open()) (void)update_registered_files(-1, -1);
        files_.registered = false;
    }

    // --- The end of it all ---

    [[nodiscard]] std::uint32_t in_flight() const noexcept { return state()->opened - state()->idle; }

    // Cancels the requests of this copy, each by its user_data. Other requests stay in flight.
    void cancel_requests() noexcept {
        const ringstep_copy& state = *this->state();
        for (std::uint32_t slot = 0; slot < std::min<std::uint32_t>(state.opened, RINGSTEP_COPY_SLOTS); slot++)
            if (state.slots[slot].identity != 0) (void)ring_core().cancel(state.slots[slot].identity);
    }

    // Waits until no request can use the buffers any more. The loop is already detached. If another loop was attached after
    // that, the state is no longer this copy's.
    [[nodiscard]] bool quiet() noexcept {
        using clock = std::chrono::steady_clock;
        if (ring_core().attached() != attached_) return false;
        if (in_flight() == 0) return true;
        if (!ring_core().open() || !ring_core().owned_by_this_thread()) return false;
        const auto deadline = clock::now() + std::chrono::seconds(5);
        // Waits for each request by its own completion. The ring's counts say nothing about this copy.
        std::uint32_t left = in_flight();
        do {
            cancel_requests();
            (void)ring_core().enter(0, 0, IORING_ENTER_GETEVENTS);
            ring_core().drop_completions([&](std::uint64_t user_data, std::uint32_t) noexcept {
                __u64& identity = state()->slots[user_data % RINGSTEP_COPY_SLOTS].identity;
                if (user_data == 0 || user_data != identity) return false;
                identity = 0;
                left--;
                ++ring_core().queues().finished;
                return true;
            });
            if (left == 0) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        } while (clock::now() < deadline);
        return false;
    }

    [[nodiscard]] std::uint64_t turns() const noexcept {
        return std::atomic_ref<__u64>(state().memory()->control().turns).load(std::memory_order_relaxed);
    }

    CopyOptions options_;
    std::shared_ptr<RegionMemory> buffers_;
    std::shared_ptr<Kept> kept_;
    detail::LoopIdentity identity_;
    std::uint64_t attached_;  // RingCore::attached() while the state is this copy's
    bool registered_files_ = false;
    bool registered_buffers_ = false;

    bool under_way_ = false;
    Files files_;
    CopyResult result_;
    std::uint64_t position_ = 0;  // sparse: the offset up to which the source was examined
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
