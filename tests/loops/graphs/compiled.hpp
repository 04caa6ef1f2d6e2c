// SPDX-License-Identifier: MIT
// The graphs of the tests of compiled graphs. Each test builds them once more, for chains that read them from tables.
#pragma once

#include <ringstep/chain/graph.hpp>

#include <fcntl.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "loops/graphs/model.hpp"
#include "loops/graphs/sequence.hpp"

/// Opens a file, reads all of it into memory of the arena, and closes it, whatever happens.
struct compiled_file {
    compiled_file() {
        open.then(stat).then(known).then(one_more).then(enough).then(memory).then(read);
        read.on_short(whole);
        read.on_end(whole);
        read.then(full);
        open.finally(close);
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Address> path = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Parameter<ringstep::chain::Length> least = graph.parameter<ringstep::chain::Length>();
    ringstep::chain::Variable<ringstep::chain::Length> size = graph.variable<ringstep::chain::Length>();
    ringstep::chain::Variable<ringstep::chain::Length> room = graph.variable<ringstep::chain::Length>();
    ringstep::chain::Node<ringstep::chain::Fd> open = graph.open(path, O_RDONLY | O_CLOEXEC);
    ringstep::chain::StatxNode stat = graph.statx(open);
    ringstep::chain::Node<ringstep::chain::Length> known = graph.set(size, stat.size());
    ringstep::chain::Node<ringstep::chain::Length> one_more = graph.set(size, size + 1);
    ringstep::chain::Node<ringstep::chain::Length> enough = graph.set(room, max(size, least));
    ringstep::chain::Node<ringstep::chain::Address> memory = graph.allocate(room);
    ringstep::chain::TransferNode read = graph.read(open, memory.result(), room, ~0ULL).all();
    ringstep::chain::Node<ringstep::chain::Number> whole = graph.finish(0);
    ringstep::chain::Node<ringstep::chain::Number> full = graph.finish(1);
    ringstep::chain::Node<ringstep::chain::Number> close = graph.close(open);
};

/// Sends on exactly what comes, until the peer has no more.
struct compiled_relay {
    explicit compiled_relay(std::uint64_t most = 100) {
        receive.repeat(most);
        send.repeat(most);
        receive.then(send).then(receive);
        receive.on_end(over);
        graph.begin(receive);
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Fd> from = graph.parameter<ringstep::chain::Fd>();
    ringstep::chain::Parameter<ringstep::chain::Fd> to = graph.parameter<ringstep::chain::Fd>();
    ringstep::chain::Parameter<ringstep::chain::Address> buffer = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::TransferNode receive = graph.recv(from, buffer, 1000);
    ringstep::chain::TransferNode send = graph.send(to, buffer, receive.result());
    ringstep::chain::Node<ringstep::chain::Number> over = graph.finish(7);
};

/// Waits for two pipes at once, with a time limit for one of them, then goes on where both ways meet.
struct compiled_meeting {
    compiled_meeting() {
        first.then(slow).then(meet);
        first.then(fast).then(meet);
        slow.on_failure(late);
        meet.then(after);
        first.finally(last);
        fast.finally(more);
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Parameter<ringstep::chain::Fd> one = graph.parameter<ringstep::chain::Fd>();
    ringstep::chain::Parameter<ringstep::chain::Fd> other = graph.parameter<ringstep::chain::Fd>();
    ringstep::chain::Parameter<ringstep::chain::Address> buffer = graph.parameter<ringstep::chain::Address>();
    ringstep::chain::Node<ringstep::chain::Number> first = graph.nop();
    ringstep::chain::Node<ringstep::chain::Length> slow =
        graph.read(one, buffer, 1, ~0ULL).timeout(std::chrono::milliseconds(50));
    ringstep::chain::TransferNode fast = graph.read(other, buffer, 1, ~0ULL);
    ringstep::chain::Node<ringstep::chain::Number> meet = graph.nop().join(2);
    ringstep::chain::Node<ringstep::chain::Number> late = graph.finish(9);
    ringstep::chain::Node<ringstep::chain::Number> after = graph.pause(std::chrono::milliseconds(1));
    ringstep::chain::Node<ringstep::chain::Number> last = graph.nop();
    ringstep::chain::Node<ringstep::chain::Number> more = graph.nop();
};

/// A cycle, memory, variables, branches, a fork and clean-up, for memory that somebody garbles.
struct compiled_hostile {
    compiled_hostile() {
        first.then(add).then(enough).then(memory).then(second).then(third).then(first);
        enough.on_failure(over);
        memory.on_failure(third);
        second.on_failure(over);
        second.then(side);
        first.finally(graph.nop());
        graph.begin(first);
        first.repeat(100);
        second.repeat(100);
        third.repeat(100);
        side.repeat(100);
        third.retry(3);
        enough.repeat(100);
        add.repeat(100);
        memory.repeat(100).may_fail();
    }

    ringstep::chain::Graph graph;
    ringstep::chain::Variable<ringstep::chain::Length> sum = graph.variable<ringstep::chain::Length>();
    ringstep::chain::Node<ringstep::chain::Number> first = graph.nop();
    ringstep::chain::Node<ringstep::chain::Length> add = graph.set(sum, sum + 3);
    ringstep::chain::Node<ringstep::chain::Number> enough = graph.branch(sum < 250);
    ringstep::chain::Node<ringstep::chain::Address> memory = graph.allocate(sum);
    ringstep::chain::RawNode second = graph.request(graphs::nop_with_result()).length(sum);
    ringstep::chain::Node<ringstep::chain::Number> side = graph.nop();
    ringstep::chain::Node<ringstep::chain::Number> third = graph.nop();
    ringstep::chain::Node<ringstep::chain::Number> over = graph.finish(1);
};

/// A graph with as many nodes as a graph may have.
struct compiled_nops {
    compiled_nops() {
        for (unsigned i = 0; i < RINGSTEP_CHAIN_NODES; i++) {
            nodes.push_back(graph.nop());
            if (i > 0) nodes[i - 1].then(nodes[i]);
        }
    }

    ringstep::chain::Graph graph;
    std::vector<ringstep::chain::Node<ringstep::chain::Number>> nodes;
};

struct compiled_sequence_1 : graphs::RandomSequence {
    compiled_sequence_1() : RandomSequence(1) {}
};
struct compiled_sequence_2 : graphs::RandomSequence {
    compiled_sequence_2() : RandomSequence(2) {}
};
struct compiled_sequence_3 : graphs::RandomSequence {
    compiled_sequence_3() : RandomSequence(5, 25) {}
};
struct compiled_sequence_4 : graphs::RandomSequence {
    compiled_sequence_4() : RandomSequence(11, 12) {}
};

/// A graph that runs several nodes at once, whose order is not known.
template <unsigned Seed>
struct CompiledModel {
    std::minstd_rand random{Seed};
    graphs::RandomGraph model{random};
    const ringstep::chain::Graph& graph = model.graph();
};
struct compiled_model_1 : CompiledModel<1> {};
struct compiled_model_2 : CompiledModel<4> {};
