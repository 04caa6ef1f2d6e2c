// SPDX-License-Identifier: MIT
// What FileCopy is asked for, and what it answers.
#pragma once

#include <ringstep/exit.hpp>
#include <ringstep/options.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringstep::inline v0 {

/// Whether holes of the source become holes of the destination.
enum class SparseCopy : std::uint8_t {
    automatic,  ///< look for holes if the source has fewer blocks than its size needs
    always,     ///< look for holes
    never,      ///< read holes, and write their zeros
};

/// How to copy.
struct CopyOptions {
    unsigned queue_depth = 32;           ///< blocks under way at once, 1 to RINGSTEP_COPY_SLOTS
    std::size_t block_size = 128 << 10;  ///< bytes, up to 1 GiB
    /// Go past the page cache: sets O_DIRECT on both descriptors while it copies. A file that refuses O_DIRECT is copied
    /// through the page cache (CopyResult::buffered). A last part that is no whole sector is written through it, and written
    /// out at once.
    bool direct = false;
    SparseCopy sparse = SparseCopy::automatic;  ///< what to do with holes
    bool registered_files = false;              ///< two system calls more for each file, a little less work for each block
    bool registered_buffers = false;            ///< pages are pinned once, instead of for each block: of use with `direct`
    Engine engine = Engine::automatic;          ///< what runs the loop: see LoopOptions
    bool huge_pages = false;                    ///< ask for huge pages for the buffers: see RegionMemory
    /// Truncate a regular destination before the first write instead of at the end, so that a copy which fails half-way leaves
    /// none of the old content. Happens once one byte of the source could be read. Where that byte cannot be read twice (see
    /// FileCopy on sources that are read in order), the destination is still truncated at the end only.
    bool empty_first = false;
};

/// What a copy was doing when it failed.
enum class CopyOperation : std::uint8_t {
    none,
    set_up,  ///< looking at the files, preparing, running at all
    read,
    write,
    truncate,  ///< giving the destination its size
};

/// A word for it, as in "reading".
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
    bool changed = false;          ///< the destination may have been written to or truncated; false if the copy failed before
    bool in_order = false;         ///< the source was read in order, one read at a time: see FileCopy
    bool buffered = false;         ///< CopyOptions::direct was set, and a file refused it: that one's page cache was used

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

}  // namespace ringstep::inline v0
