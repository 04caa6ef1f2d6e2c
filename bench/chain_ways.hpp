// SPDX-License-Identifier: MIT
// Ways to run sequences of dependent nops.
#pragma once

#include <liburing.h>

#include <concepts>
#include <cstdint>
#include <ringstep/chain/chains.hpp>
#include <ringstep/graphs/nops_compiled.hpp>
#include <string>

#include "graphs/nops_compiled.hpp"
#include "nop_ways.hpp"

namespace bench {

/// Runs sequences with IOSQE_IO_LINK, which cannot pass on results.
class LinkedWay final : public NopWay {
public:
    explicit LinkedWay(unsigned steps) : steps_(steps) {}
    std::string name() const override { return "link"; }
    std::string title() const override { return "liburing, IOSQE_IO_LINK, one enter for each sequence"; }
    bool can(std::uint64_t depth) const override { return depth >= 1 && depth * steps_ <= entries; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        std::uint64_t failed = 0;
        for (std::uint64_t completed = 0; completed < total;) {
            for (std::uint64_t i = 0; i < depth * steps_; i++) {
                io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
                io_uring_prep_nop(sqe);
                if (i % steps_ != steps_ - 1) sqe->flags = IOSQE_IO_LINK;
            }
            check(io_uring_submit_and_wait(ring_.get(), static_cast<unsigned>(depth * steps_)), "io_uring_enter");
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe) {
                if (cqe->res != 0) failed++;
                seen++;
            }
            io_uring_cq_advance(ring_.get(), seen);
            completed += seen;
        }
        expect(failed == 0, "nops came back wrong");
    }

private:
    static constexpr unsigned entries = 1024;
    unsigned steps_;
    PlainRing ring_{entries, 2 * entries};
};

/// Runs sequences as chains: of a graph that the loop reads from a table, or of one that was compiled.
template <class Chains>
class ChainWayOf final : public NopWay {
public:
    static constexpr bool compiled = !std::same_as<Chains, ringstep::chain::Chains>;

    explicit ChainWayOf(unsigned steps, ringstep::Engine engine = ringstep::Engine::kernel)
        : chains_(ring_, {.engine = engine}), steps_(steps) {
        id_ = chains_.add(nops_compiled(steps).graph);
    }
    std::string name() const override { return compiled ? "compiled" : "ringstep"; }
    std::string title() const override { return compiled ? "ringstep, compiled graph" : "ringstep, loop chain"; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        chains_.set_depth(static_cast<std::uint32_t>(depth));
        std::uint64_t failed = 0;
        std::uint64_t ended = 0;
        for (std::uint64_t started = 0; ended < total / steps_;) {
            while (started < total / steps_ && chains_.try_start(id_)) started++;
            const ringstep::LoopExit exit = chains_.run();
            if (!exit.ok()) failed++;
            for (const ringstep::chain::ChainResult& result : chains_.results()) {
                if (!result.ok()) failed++;
                ended++;
            }
            if (failed != 0) break;
        }
        expect(failed == 0, "chains came back wrong");
    }
    std::string program() const override { return compiled ? "nops_compiled_loop_step" : "chain_loop_step"; }

private:
    ringstep::Ring ring_{{.sq_entries = nop_sq_entries, .cq_entries = nop_cq_entries}};
    Chains chains_;
    ringstep::chain::GraphId id_;
    unsigned steps_;
};
using ChainWay = ChainWayOf<ringstep::chain::Chains>;
using CompiledChainWay = ChainWayOf<ringstep::chain::CompiledChains<ringstep::loops::nops_compiled>>;

}  // namespace bench
