#pragma once

#include <ringstep/chain/graph.hpp>

#include <fcntl.h>

// Opens a file, reads its beginning, and closes it.
struct read_file {
    read_file() {
        open.then(read);
        open.finally(graph.close(open));
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Parameter<ringstep::chain::Address> buffer = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Node<ringstep::chain::Fd> open = graph.open(path, O_RDONLY | O_CLOEXEC);
    ringstep::chain::TransferNode read = graph.read(open, buffer, 64, 0);
};
