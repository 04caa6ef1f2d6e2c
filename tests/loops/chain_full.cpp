// SPDX-License-Identifier: MIT
// Chains on a ring whose SQ is full, where the kernel takes no requests for a while.
#include <ringstep/chain/chains_class.hpp>
#include <ringstep/compiled/full_chain.hpp>
#include <ringstep/exit.hpp>
#include <ringstep/ring.hpp>

#include "loops/chaining.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <optional>

using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Ring;
using ringstep::chain::ChainResult;
using ringstep::chain::Graph;
using ringstep::chain::GraphId;

namespace {

constexpr unsigned never = std::numeric_limits<unsigned>::max();
unsigned taken_before = never;  // submits in the middle of a step that the kernel takes before it refuses one

}  // namespace

extern "C" int full_chain_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags);

int full_chain_enter(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags) {
    if ((flags & IORING_ENTER_GETEVENTS) == 0 && taken_before != never && taken_before-- == 0) return -EAGAIN;
    const long result = ::syscall(SYS_io_uring_enter, fd, to_submit, min_complete, flags, nullptr, 0);
    return result < 0 ? -errno : static_cast<int>(result);
}

namespace {

/// Two chains whose first requests are both in flight, on a ring with one SQE. In the second turn, the SQ is full when the step
/// comes to the second chain.
class TwoChains {
public:
    explicit TwoChains(bool second_goes_on) : chains_(ring_, {.engine = ringstep::Engine::user}) {
        const GraphId first = add_path(2);
        const GraphId second = add_path(second_goes_on ? 2 : 1);
        chains_.start(first, {}, {.user_data = 1});
        chains_.start(second, {}, {.user_data = 2});
    }
    /// Runs both. The kernel takes no request when the step makes room in the SQ for the second time.
    LoopExit run() {
        taken_before = 1;
        const LoopExit exit = chains_.run();
        taken_before = never;
        return exit;
    }
    [[nodiscard]] auto& chains() { return chains_; }
    [[nodiscard]] Ring& ring() { return ring_; }

private:
    GraphId add_path(unsigned nops) {
        Graph graph;
        auto last = graph.request(chaining::nop_of(0));
        for (unsigned i = 1; i < nops; i++) {
            const auto next = graph.request(chaining::nop_of(0));
            last.then(next);
            last = next;
        }
        return chains_.add(graph);
    }

    Ring ring_{{.sq_entries = 1, .cq_entries = 8, .close_wait_ms = 10}};
    ringstep::chain::ChainsClass<ringstep::loops::full_chain> chains_;
};

}  // namespace

TEST_CASE("A completion that needs no SQE does not end the run when the SQ is full") {
    TwoChains two(false);
    const LoopExit exit = two.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 3);
    int ended = 0;
    for (const ChainResult& chain : two.chains().results()) {
        CHECK(chain.ok());
        ended++;
    }
    CHECK(ended == 2);
    CHECK(two.chains().in_flight() == 0);
}

TEST_CASE("A completion that needs an SQE ends the run when the SQ is full, and no claimed SQE is lost") {
    TwoChains two(true);
    const LoopExit exit = two.run();
    CHECK(exit.reason == ExitReason::sq_full);
    CHECK(exit.error == EAGAIN);
    CHECK(exit.submitted == 2);
    CHECK(two.ring().in_flight() == 0);
    // The first chain's second request is still in the SQ, and is submitted by the next run.
    two.chains().set_batch(1);
    CHECK(two.chains().run().reason == ExitReason::stopped);
    const std::optional<ChainResult> first = two.chains().pop();
    REQUIRE(first);
    CHECK(first->user_data() == 1);
    CHECK(first->ok());
}
