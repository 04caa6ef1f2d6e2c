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

/// Opens a file of any kind into a slot of the ring's registered files, reads it into memory, and closes it.
class ReadFile {
public:
    enum class From {
        cache,  // Takes what the page cache has, and reads if that fails.
        file,   // Reads until a read returns nothing. Only that shows the end of every file.
    };

    explicit ReadFile(From from) {
        open_.then(memory_);
        if (from == From::file) {
            memory_.then(read_);
        } else {
            // Fails for files that are not cached, and for those that have no cache: pipes, most devices, what is in /proc.
            cached_ = graph.read(open_, memory_.result(), room, 0, RWF_NOWAIT);
            memory_.then(*cached_).on_failure(read_);
        }
        open_.finally(graph.close(open_));  // closes the file after every outcome, once it is open
    }

    struct Contents {
        std::span<const std::byte> bytes;
        bool from_cache;
        bool complete;  // otherwise there may be more
    };
    /// Returns what a chain has read that has completed.
    [[nodiscard]] Contents contents(const ringstep::chain::ChainResult& file) const {
        constexpr std::int64_t page = 4096;
        const bool from_cache = !file.ran(read_);
        const std::int64_t size = file.result(from_cache ? *cached_ : read_);
        // If only the beginning of a file is in the cache, then whole pages of it are.
        const bool partial = from_cache && size != 0 && size % page == 0;
        return {.bytes = {file.address(memory_), static_cast<std::size_t>(size)},
                .from_cache = from_cache,
                .complete = size < file.value(room) && !partial};
    }

    ringstep::chain::Graph graph;
    const ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    const ringstep::chain::Parameter<ringstep::chain::Length> room = graph.parameter<ringstep::chain::Length>();

private:
    // The slot and the memory pass from node to node.
    const ringstep::chain::Node<ringstep::chain::Slot> open_ = graph.open_direct(AT_FDCWD, path, O_RDONLY);
    const ringstep::chain::Node<ringstep::chain::Address> memory_ = graph.allocate(room);
    std::optional<ringstep::chain::TransferNode> cached_;
    // Without an offset, because pipes have none.
    const ringstep::chain::TransferNode read_ = graph.read(open_, memory_.result(), room, ~0ULL).all();
};
