// SPDX-License-Identifier: MIT
// Nops by the loop pace, none of which waits.
#pragma once

#include <fmt/format.h>
#include <liburing.h>

#include <cstdint>
#include <ringstep/format.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>

namespace bench {

/// The loop pace, with rates so high that no request waits.
class PaceWay {
public:
    explicit PaceWay(ringstep::Engine engine) : pace_(ring_, {.engine = engine}) {
        pace_.set_rate(0, {.operations = 1'000'000'000'000, .operations_burst = 1ULL << 32});
    }
    void run(std::uint64_t operations) {
        io_uring_sqe request{};
        io_uring_prep_nop(&request);
        std::uint64_t taken = 0;
        for (std::uint64_t pushed = 0; taken < operations;) {
            while (pushed < operations && pace_.try_push(request)) pushed++;
            const ringstep::LoopExit exit = pace_.run();
            if (!exit.ok()) throw std::runtime_error(fmt::format("pace {}", exit));
            for (const auto& completion : pace_.completions()) {
                if (completion.result != 0) throw std::runtime_error("nops came back wrong");
                taken++;
            }
        }
    }

private:
    ringstep::Ring ring_;
    ringstep::Pace pace_;
};

}  // namespace bench
