// SPDX-License-Identifier: MIT
// What read-files does with each file, as a graph of requests.
#pragma once

#include <ringstep/chain/chains_class.hpp>

#include <fcntl.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

/// Opens a file of any kind into a slot of the ring's registered files, reads it into a buffer, and closes it.
class ReadFile {
public:
    enum class From {
        cache,  // Takes what the page cache has of a small file, and reads if that fails.
        file,   // Reads until a read returns nothing. Only that shows the end of every file.
    };
    static constexpr std::uint64_t small = 16 << 10;  // bytes of a buffer, for From::cache

    explicit ReadFile(From from) {
        if (from == From::file) {
            open_.then(read_);
        } else {
            // Fails for files that are not cached, and for those that have no cache: pipes, most devices, what is in /proc.
            cached_ = graph.read(open_, buffer, small, 0, RWF_NOWAIT);
            open_.then(*cached_).on_failure(read_);
        }
        open_.finally(graph.close(open_));  // closes the file after every outcome, once it is open
        graph.name(open_, "open");
    }

    struct Contents {
        std::span<const std::byte> bytes;
        bool complete;  // otherwise there may be more
    };
    /// Returns what a chain has read that has completed.
    [[nodiscard]] Contents contents(const ringstep::chain::ChainResult& file) const {
        constexpr std::int64_t page = 4096;
        const bool from_cache = !file.ran(read_);
        const std::int64_t size = file.result(from_cache ? *cached_ : read_);
        // If only the beginning of a file is in the cache, then whole pages of it are.
        const bool partial = from_cache && size != 0 && size % page == 0;
        const auto* const bytes = reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(file.value(buffer)));
        return {.bytes = {bytes, static_cast<std::size_t>(size)}, .complete = size < file.value(room) && !partial};
    }

    ringstep::chain::Graph graph;
    const ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    const ringstep::chain::Parameter<ringstep::chain::Address> buffer = graph.parameter<ringstep::chain::Address>();
    const ringstep::chain::Parameter<ringstep::chain::Length> room = graph.parameter<ringstep::chain::Length>();

private:
    // The slot passes from node to node.
    const ringstep::chain::Node<ringstep::chain::Slot> open_ = graph.open_direct(AT_FDCWD, path, O_RDONLY);
    std::optional<ringstep::chain::TransferNode> cached_;
    // Without an offset, because pipes have none.
    const ringstep::chain::TransferNode read_ = graph.read(open_, buffer, room, ~0ULL).all();
};
