// SPDX-License-Identifier: MIT
// Ways to run nops with barriers. A barrier is a nop that begins after all those before it, and before all those behind it.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <ringstep/loops/drain.hpp>
#include <string>
#include <vector>

#include "common/plain_ring.hpp"
#include "order.hpp"

namespace bench::drain {

inline bool is_barrier(std::uint64_t number, std::uint64_t length) { return length != 0 && number % length == length - 1; }

inline void prepare(io_uring_sqe& sqe, std::uint64_t number, std::uint64_t length) {
    io_uring_prep_nop(&sqe);
    if (is_barrier(number, length)) sqe.flags = IOSQE_IO_DRAIN;
    sqe.user_data = number;
}

/// Checks that no barrier completes before the nops pushed before it, and no nop before the barrier ahead of it. Nops complete
/// in order anyway.
class Checker {
public:
    explicit Checker(std::uint64_t length) : length_(length) {}
    void came(std::uint64_t number, int result) {
        if (result != 0 || (length_ != 0 && number / length_ != count_ / length_) ||
            (is_barrier(number, length_) && number != count_))
            failed_++;
        sum_ += number;
        count_++;
    }
    [[nodiscard]] bool good(std::uint64_t total) const {
        return failed_ == 0 && count_ == total && sum_ == total * (total - 1) / 2;
    }

private:
    std::uint64_t length_;
    std::uint64_t count_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t sum_ = 0;
};

/// Orders requests by IOSQE_IO_DRAIN. Each submission has a full SQ.
class KernelDrain final : public OrderWay {
public:
    std::string name() const override { return "native"; }
    std::string title() const override { return "IOSQE_IO_DRAIN, a full SQ in each enter"; }
    void run(std::uint64_t total, std::uint64_t length) override {
        Checker checker(length);
        for (std::uint64_t number = 0; number < total;) {
            const std::uint64_t end = number + order_sq_entries;
            for (; number < end; number++) {
                io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
                prepare(*sqe, number, length);
            }
            check(io_uring_submit_and_wait(ring_.get(), order_sq_entries), "io_uring_enter");
            take_all(ring_, [&](std::uint64_t data, std::int32_t result) { checker.came(data, result); });
        }
        expect(checker.good(total), "drained nops came back wrong");
    }

private:
    PlainRing ring_{order_sq_entries, order_cq_entries};
};

/// Uses the loop drain, with a fixed number of nops in each run.
class Loop final : public OrderLoopWay<ringstep::Drain> {
public:
    Loop(ringstep::Engine engine, std::uint64_t batch) : OrderLoopWay("drain", engine, batch) {}
    void run(std::uint64_t total, std::uint64_t length) override {
        Checker checker(length);
        std::vector<io_uring_sqe> requests(order_sq_entries);
        run_all(total, checker, [&](ringstep::Drain& drain, std::uint64_t number) {
            for (io_uring_sqe& request : requests) prepare(request, number++, length);
            drain.push(requests);
            return requests.size();
        });
    }
};

}  // namespace bench::drain
