// SPDX-License-Identifier: MIT
// An io_uring without a loop, opened as a competent liburing program opens it.
#pragma once

#include <liburing.h>

#include <system_error>

namespace bench {

/// Throws for a negative result of liburing's.
inline int check(int result, const char* what) {
    if (result < 0) throw std::system_error(-result, std::generic_category(), what);
    return result;
}

/// The same sizes and flags as a ring that loops run on, and the ring's descriptor registered as there.
class PlainRing {
public:
    explicit PlainRing(unsigned sq_entries, unsigned cq_entries) {
        io_uring_params params{};
        params.cq_entries = cq_entries;
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE |
                       IORING_SETUP_SUBMIT_ALL;
        check(io_uring_queue_init_params(sq_entries, &ring_, &params), "opening of a ring");
        check(io_uring_register_ring_fd(&ring_), "registration of the ring's descriptor");
    }
    PlainRing(const PlainRing&) = delete;
    PlainRing& operator=(const PlainRing&) = delete;
    ~PlainRing() { io_uring_queue_exit(&ring_); }

    [[nodiscard]] io_uring* get() { return &ring_; }

private:
    io_uring ring_{};
};

/// Hands the data and the result of each completion to `each`, and takes it off the CQ. How many there were.
template <class Each>
unsigned take_all(PlainRing& ring, const Each& each) {
    unsigned head = 0;
    unsigned taken = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(ring.get(), head, cqe) {
        each(cqe->user_data, cqe->res);
        taken++;
    }
    io_uring_cq_advance(ring.get(), taken);
    return taken;
}

}  // namespace bench
