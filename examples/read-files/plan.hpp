// SPDX-License-Identifier: MIT
// What read-files does with each file, as a graph of requests.
#pragma once

#include <ringstep/chain/graph.hpp>

/// Reads a whole file of any kind into memory. The chain's code is 0, or 1 if the file may be longer than the memory.
class ReadFile {
public:
    ReadFile() {
        // Only a read that returns nothing shows the end of a file. A file may grow, and in /proc its size is 0. So read one
        // byte more.
        const auto known = graph.set(size_, stat_.size());
        const auto one_more = graph.set(size_, size_ + 1);
        const auto enough = graph.set(room_, max(size_, least));
        const auto whole = graph.finish(0);
        const auto full = graph.finish(1);
        const auto close = graph.close(open_);
        open_.then(stat_).then(known).then(one_more).then(enough).then(memory).then(read);
        read.all().on_short(whole);
        read.on_end(whole);
        read.then(full);
        open_.finally(close);  // closes the file after every outcome, once it is open
    }

    ringstep::chain::Graph graph;
    // Values pass from node to node: the descriptor, the size, the memory.
    const ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    const ringstep::chain::Parameter<ringstep::chain::Length> least = graph.parameter<ringstep::chain::Length>();

private:
    const ringstep::chain::Variable<ringstep::chain::Length> size_ = graph.variable<ringstep::chain::Length>();
    const ringstep::chain::Variable<ringstep::chain::Length> room_ = graph.variable<ringstep::chain::Length>();
    const ringstep::chain::Node<ringstep::chain::Fd> open_ = graph.open(path, O_RDONLY | O_CLOEXEC);
    const ringstep::chain::StatxNode stat_ = graph.statx(open_);

public:
    const ringstep::chain::Node<ringstep::chain::Address> memory = graph.allocate(room_);
    // Without an offset, because pipes have none.
    const ringstep::chain::TransferNode read = graph.read(open_, memory.result(), room_, ~0ULL);
};
