// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/loops/nop_chain.h>
#include <ringstep/program.hpp>
#include <ringstep/skeletons/nop_chain.skel.h>

#include <cstddef>
#include <span>
#include <string_view>

namespace ringstep::inline v0::loops {

/**
 * Runs `total` nops, `depth` at a time, and checks that each comes back once and in order: the measure of what a loop's turn
 * costs. LoopExit::code is the number that did not.
 *
 * **Example**:
 *
 *     ringstep::LoopProgram<ringstep::loops::nop_chain> nops{ring};
 *     nops.state()->total = 1'000'000;
 *     nops.state()->depth = 1;
 *     ringstep::LoopExit exit = nops.run();    // one system call
 */
struct nop_chain {
    using state = ::ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chain";
    [[nodiscard]] static std::span<const std::byte> object() { return object_of<::nop_chain_bpf>(); }
};

}  // namespace ringstep::inline v0::loops
