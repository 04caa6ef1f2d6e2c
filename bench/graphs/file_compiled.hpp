// SPDX-License-Identifier: MIT
// Opens a small file, reads it into an arena, and closes it: a graph that is compiled.
#pragma once

#include <ringstep/chain/graph.hpp>

#include <fcntl.h>

#include <cstdint>

struct file_compiled {
    static constexpr std::uint64_t room = 16 << 10;

    file_compiled() {
        open.then(memory).then(read);
        open.finally(graph.close(open));
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Node<ringstep::chain::Fd> open = graph.open(path, O_RDONLY | O_CLOEXEC);
    ringstep::chain::Node<ringstep::chain::Address> memory = graph.allocate(room);
    ringstep::chain::TransferNode read = graph.read(open, memory.result(), room, 0);
};
