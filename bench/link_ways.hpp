// SPDX-License-Identifier: MIT
// Ways to run chains of nops.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <ringstep/loops/link.hpp>
#include <string>
#include <vector>

#include "common/plain_ring.hpp"
#include "order.hpp"

namespace bench::link {

inline void prepare(io_uring_sqe& sqe, std::uint64_t number, std::uint64_t length) {
    io_uring_prep_nop(&sqe);
    if ((number + 1) % length != 0) sqe.flags = IOSQE_IO_LINK;
    sqe.user_data = number;
}

/// Checks that the nops of each chain complete in order.
class Checker {
public:
    Checker(std::uint64_t total, std::uint64_t length) : length_(length), next_(total / length) {}
    void came(std::uint64_t number, int result) {
        if (result != 0 || next_[number / length_]++ != number % length_) failed_++;
        count_++;
    }
    [[nodiscard]] bool good(std::uint64_t total) const { return failed_ == 0 && count_ == total; }

private:
    std::uint64_t length_;
    std::uint64_t count_ = 0;
    std::uint64_t failed_ = 0;
    std::vector<std::uint32_t> next_;
};

/// Uses IOSQE_IO_LINK, with as many chains in one submission as the SQ holds.
class KernelLinks final : public OrderWay {
public:
    std::string name() const override { return "native"; }
    std::string title() const override { return "IOSQE_IO_LINK, a full SQ in each enter"; }
    void run(std::uint64_t total, std::uint64_t length) override {
        Checker checker(total, length);
        for (std::uint64_t number = 0; number < total;) {
            const std::uint64_t end = number + order_sq_entries;
            for (; number < end; number++) prepare(*io_uring_get_sqe(ring_.get()), number, length);
            check(io_uring_submit_and_wait(ring_.get(), order_sq_entries), "io_uring_enter");
            take_all(ring_, [&](std::uint64_t data, std::int32_t result) { checker.came(data, result); });
        }
        expect(checker.good(total), "linked nops came back wrong");
    }

private:
    PlainRing ring_{order_sq_entries, order_cq_entries};
};

/// Runs the chains without links, with one enter for a step of all chains. There are as many chains as the SQ would hold whole.
class Steps final : public OrderWay {
public:
    std::string name() const override { return "steps"; }
    std::string title() const override { return "one enter for each step of as many chains"; }
    void run(std::uint64_t total, std::uint64_t length) override {
        Checker checker(total, length);
        const std::uint64_t chains = order_sq_entries / length;
        for (std::uint64_t first = 0; first < total; first += chains * length) {
            for (std::uint64_t step = 0; step < length; step++) {
                for (std::uint64_t chain = 0; chain < chains; chain++) {
                    io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
                    io_uring_prep_nop(sqe);
                    io_uring_sqe_set_data64(sqe, first + chain * length + step);
                }
                check(io_uring_submit_and_wait(ring_.get(), static_cast<unsigned>(chains)), "io_uring_enter");
                take_all(ring_, [&](std::uint64_t data, std::int32_t result) { checker.came(data, result); });
            }
        }
        expect(checker.good(total), "nops came back wrong");
    }

private:
    PlainRing ring_{order_sq_entries, order_cq_entries};
};

/// Uses the loop link, with a fixed number of nops in each run.
class Loop final : public OrderLoopWay<ringstep::Link> {
public:
    Loop(ringstep::Engine engine, std::uint64_t batch) : OrderLoopWay("link", engine, batch) {}
    void run(std::uint64_t total, std::uint64_t length) override {
        Checker checker(total, length);
        std::vector<io_uring_sqe> chain(length);
        run_all(total, checker, [&](ringstep::Link& link, std::uint64_t number) {
            for (std::uint64_t i = 0; i < length; i++) prepare(chain[i], number + i, length);
            link.push(chain);
            return length;
        });
    }
};

}  // namespace bench::link
