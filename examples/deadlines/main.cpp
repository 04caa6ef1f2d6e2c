// SPDX-License-Identifier: MIT
// A loop of one's own that schedules requests: the earliest deadline first. The class below is all that it takes on this side.
#include <ringstep/blocks/requests.hpp>
#include <ringstep/format.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <vector>

#include <ringstep/compiled/deadline.hpp>  // ringstep_add_loop() makes this from deadline.bpf.c and deadline.h

#include "../common/program.hpp"

namespace {

/// Submits the waiting request with the earliest deadline first. RequestLoop has the rest: run(), cancel(), completions() …
class Deadlines : public ringstep::RequestLoop<ringstep::loops::deadline> {
public:
    /// Attaches the loop to a ring, and keeps up to `depth` requests in flight. Throws Error.
    explicit Deadlines(ringstep::Ring& ring, std::uint32_t depth) : RequestLoop(ring) { state()->depth = depth; }

    /// Pushes a request, from any thread. Throws Error if the loop cannot schedule it, or if all slots are taken.
    ringstep::Ticket push(const io_uring_sqe& sqe, std::uint64_t deadline) {
        return RequestLoop::push(sqe, {.deadline = deadline, .order = 0, .place = 0, .__reserved = 0});
    }
};

constexpr std::uint64_t requests = 1000;

int run() {
    ringstep::Ring ring;
    Deadlines deadlines{ring, 4};

    // 701 and 1000 have no common divisor, so each number below 1000 is the deadline of one request.
    std::vector<ringstep::Ticket> tickets;
    for (std::uint64_t i = 0; i < requests; i++) {
        io_uring_sqe sqe{};
        io_uring_prep_nop(&sqe);
        sqe.user_data = i;
        tickets.push_back(deadlines.push(sqe, i * 701 % requests));
    }
    std::uint64_t cancelled = 0;
    for (std::uint64_t i = 0; i < requests; i += 10) cancelled += deadlines.cancel(tickets[i]) ? 1 : 0;

    ringstep::LoopExit exit = deadlines.run();
    while (exit.reason == ringstep::ExitReason::interrupted) exit = deadlines.run();  // by a debugger, for example
    if (!exit.ok()) {
        program::print_error("deadlines: {}\n", exit);
        return 1;
    }

    std::vector<std::optional<std::uint64_t>> submitted(requests);  // deadlines, in the order of submission
    for (const auto& completion : deadlines.completions()) {
        if (completion.result == -ECANCELED) {
            cancelled--;
            continue;
        }
        submitted.at(completion.own.order) = completion.own.deadline;
    }
    std::uint64_t in_order = 0;
    for (std::uint64_t i = 0; i < requests && submitted[i]; i++)
        in_order += i == 0 || *submitted[i - 1] < *submitted[i] ? 1 : 0;
    fmt::print("{} requests were submitted in the order of their deadlines, and {} were cancelled before.\n", in_order,
               requests - in_order);
    return in_order == 900 && cancelled == 0 ? 0 : 1;
}

}  // namespace

int main() { return program::run("deadlines", run); }
