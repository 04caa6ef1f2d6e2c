// SPDX-License-Identifier: MIT
// The options and results of FileCopy.
#pragma once

#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// Sets whether holes of the source become holes of the destination.
enum class SparseCopy : std::uint8_t {
    automatic,  ///< look for holes if the source has fewer blocks than its size needs
    always,     ///< look for holes
    never,      ///< read holes, and write their zeros
};

/// The options of a copy.
struct CopyOptions {
    unsigned queue_depth = 32;           ///< blocks in progress at once, 1 to RINGSTEP_COPY_SLOTS
    std::size_t block_size = 128 << 10;  ///< bytes in a block, up to 1 GiB
    /// Bypass the page cache: sets O_DIRECT on both descriptors during the copy. A file that refuses O_DIRECT is copied through
    /// the page cache (CopyResult::buffered). A last part smaller than a sector is written through the page cache, and written
    /// out at once.
    bool direct = false;
    SparseCopy sparse = SparseCopy::automatic;  ///< what to do with holes
    bool registered_files = false;  ///< register files: two more system calls for each file, slightly less work for each block
    bool registered_buffers = false;    ///< register buffers: pins pages once instead of for each block; useful with `direct`
    Engine engine = Engine::automatic;  ///< the engine that runs the loop: see LoopOptions
    bool huge_pages = false;            ///< ask for huge pages for the buffers: see RegionMemory
    /// Truncate a regular destination before the first write instead of at the end. A copy that fails half-way then leaves none
    /// of the old content. The truncation happens once one byte of the source could be read. If that byte cannot be read twice
    /// (see FileCopy on sources that are read in order), the destination is truncated at the end only.
    bool empty_first = false;
};

/// The operation that failed in a copy.
enum class CopyOperation : std::uint8_t {
    none,    ///< also of a copy that was cancelled
    set_up,  ///< inspecting the files, preparing, or running the loop
    read,
    write,
    truncate,  ///< setting the destination's size
};

/// Returns a word for the operation, such as "reading".
[[nodiscard]] constexpr std::string_view to_string(CopyOperation operation) noexcept {
    switch (operation) {
        case CopyOperation::none: return "nothing";
        case CopyOperation::set_up: return "setting up";
        case CopyOperation::read: return "reading";
        case CopyOperation::write: return "writing";
        case CopyOperation::truncate: return "truncating";
    }
    return "unknown";
}

/// The result of a copy so far.
struct CopyResult {
    bool complete = false;                          ///< the whole source was copied
    int error = 0;                                  ///< errno of the failure, ECANCELED after FileCopy::cancel(), or 0
    CopyOperation operation = CopyOperation::none;  ///< the operation that failed
    /// The lowest offset in the file at which an operation failed. Blocks before it may also be missing, and later ones may be
    /// there.
    std::uint64_t offset = 0;

    std::uint64_t bytes = 0;       ///< bytes written to the destination
    std::uint64_t size = 0;        ///< the destination's size, if complete: the offset at which the source ended
    std::uint64_t holes = 0;       ///< holes skipped
    std::uint64_t hole_bytes = 0;  ///< bytes in the holes skipped
    bool changed = false;          ///< the destination may have been written to or truncated; false if the copy failed before
    bool in_order = false;         ///< the source was read in order, one read at a time: see FileCopy
    bool buffered = false;         ///< a file refused CopyOptions::direct and was copied through the page cache

    LoopExit exit{};                 ///< how the last run of the loop ended; its counts are sums over all runs
    std::uint64_t enters = 0;        ///< calls of io_uring_enter(2): one for each run (kernel engine) or turn (user engine)
    std::uint64_t system_calls = 0;  ///< all system calls of this copy, including `enters`

    /// Returns true if the whole source was copied.
    [[nodiscard]] bool ok() const noexcept { return complete; }
    /// Returns true after a stop request or a signal. FileCopy::resume() then continues the copy.
    [[nodiscard]] bool resumable() const noexcept { return !complete && error == 0 && exit.resumable(); }
};

/// The progress of a copy.
struct CopyProgress {
    std::uint64_t bytes_read = 0;     ///< bytes read from the source
    std::uint64_t bytes_written = 0;  ///< bytes written to the destination
    std::uint64_t size = 0;           ///< the source's size at the start; 0 if it is unknown (a pipe, a file in /proc)
    std::uint64_t turns = 0;          ///< the loop's turns
};

}  // namespace ringstep::inline v0
