// SPDX-License-Identifier: MIT
// Chains of linked requests, and what becomes of them.
#pragma once

#include <ringstep/loops/link.hpp>

#include "loops/requests.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace links {

using Chain = std::vector<io_uring_sqe>;
using Results = std::vector<int>;

/// Links each to the next, softly unless it has a flag already.
inline Chain linked(Chain chain) {
    for (std::size_t i = 0; i + 1 < chain.size(); i++) {
        if ((chain[i].flags & IOSQE_IO_HARDLINK) == 0) chain[i].flags |= IOSQE_IO_LINK;
    }
    for (std::size_t i = 0; i < chain.size(); i++) chain[i].user_data = i;
    return chain;
}

inline io_uring_sqe hard(io_uring_sqe sqe) {
    sqe.flags |= IOSQE_IO_HARDLINK;
    return sqe;
}

inline Chain open_ended(Chain chain) {
    chain = linked(std::move(chain));
    chain.back().flags |= IOSQE_IO_LINK;
    return chain;
}

inline Results results_of(ringstep::Link& link, std::size_t size) {
    Results results(size, 1 << 30);
    for (const auto& completion : link.completions()) results.at(completion.user_data) = completion.result;
    return results;
}

/// One loop for all of them: loading it is what takes long.
inline Results emulated(ringstep::Ring& ring, ringstep::Link& link, const Chain& chain) {
    link.push(chain);
    CHECK(link.run().ok());
    const Results results = results_of(link, chain.size());
    CHECK(link.outstanding() == 0);
    CHECK(link.waiting() == 0);
    CHECK(ring.in_flight() == 0);
    return results;
}

inline void check_idle(ringstep::Link& link, ringstep::Ring& ring) {
    CHECK(link.outstanding() == 0);
    CHECK(link.waiting() == 0);
    CHECK(link.in_flight() == 0);
    CHECK(link.state()->requests.foreign == 0);
    CHECK(link.state()->ready.count == 0);
    CHECK(link.state()->severed.count == 0);
    CHECK(ring.in_flight() == 0);
}

io_uring_sqe prepared(const auto& prepare) {
    io_uring_sqe sqe{};
    prepare(&sqe);
    return sqe;
}

inline io_uring_sqe timeout_of(__kernel_timespec& time, unsigned flags = 0) {
    return prepared([&](io_uring_sqe* sqe) { io_uring_prep_timeout(sqe, &time, 0, flags); });
}
inline io_uring_sqe link_timeout_of(__kernel_timespec& time) {
    return prepared([&](io_uring_sqe* sqe) { io_uring_prep_link_timeout(sqe, &time, 0); });
}

}  // namespace links
