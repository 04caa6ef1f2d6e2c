// SPDX-License-Identifier: MIT
// Ways to run many requests with a limit on those in flight.
#pragma once

#include <fmt/format.h>
#include <liburing.h>

#include <cstdint>
#include <ringstep/format.hpp>
#include <ringstep/loops/gate_large.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/plain_ring.hpp"

namespace bench::gate {

inline constexpr unsigned sq_entries = 64;
inline constexpr unsigned cq_entries = 256;

/// The requests of the application. Every request must complete with the expected result.
class Work {
public:
    Work(std::string name, std::vector<io_uring_sqe> requests, int result)
        : name_(std::move(name)), requests_(std::move(requests)), result_(result) {}
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::vector<io_uring_sqe>& requests() const { return requests_; }
    void begin() {
        sum_ = 0;
        count_ = 0;
    }
    void completed(std::uint64_t number, int result) {
        if (result != result_) throw std::runtime_error(fmt::format("request {} of {}: result {}", number, name_, result));
        sum_ += number;
        count_++;
    }
    void end() const {
        const std::uint64_t all = requests_.size();
        if (count_ != all || sum_ != all * (all - 1) / 2) throw std::runtime_error("completions of " + name_ + " are missing");
    }

private:
    std::string name_;
    std::vector<io_uring_sqe> requests_;
    int result_;
    std::uint64_t sum_ = 0;
    std::uint64_t count_ = 0;
};

class Way {
public:
    virtual ~Way() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::string title() const = 0;
    virtual void run(Work& work, unsigned depth) = 0;
};

/// A typical hand-written loop: the queue is the application's vector. Each enter submits as many requests as have become free
/// and waits for one completion.
class HandWay final : public Way {
public:
    std::string name() const override { return "hand"; }
    std::string title() const override { return "liburing, hand-written"; }
    void run(Work& work, unsigned depth) override {
        const std::vector<io_uring_sqe>& queue = work.requests();
        std::size_t next = 0;
        unsigned in_flight = 0;
        while (next < queue.size() || in_flight != 0) {
            while (next < queue.size() && in_flight < depth) {
                io_uring_sqe* const sqe = io_uring_get_sqe(ring_.get());
                *sqe = queue[next++];
                in_flight++;
            }
            check(io_uring_submit_and_wait(ring_.get(), 1), "io_uring_enter");
            in_flight -= take_all(ring_, [&](std::uint64_t data, std::int32_t result) { work.completed(data, result); });
        }
    }

private:
    PlainRing ring_{sq_entries, cq_entries};
};

/// Uses the loop gate. Measures the pushes, the run and the taking of completions.
class GateWay final : public Way {
public:
    explicit GateWay(ringstep::Engine engine) : gate_(ring_, {.loop = {.engine = engine}}) {}
    std::string name() const override { return in_kernel() ? "ringstep" : "user"; }
    std::string title() const override { return in_kernel() ? "gate, in the kernel" : "gate, in user space"; }
    void run(Work& work, unsigned depth) override {
        gate_.state()->depth = depth;
        for (const io_uring_sqe& request : work.requests()) gate_.push(request);
        const ringstep::LoopExit exit = gate_.run();
        if (!exit.ok()) throw std::runtime_error(fmt::format("gate {}", exit));
        for (const auto& completion : gate_.completions()) work.completed(completion.user_data, completion.result);
    }

private:
    [[nodiscard]] bool in_kernel() const { return gate_.state().get() != nullptr && engine_ == ringstep::Engine::kernel; }

    ringstep::Ring ring_{{.sq_entries = sq_entries, .cq_entries = cq_entries}};
    ringstep::LargeGate gate_;
    ringstep::Engine engine_ = gate_.program().engine();
};

}  // namespace bench::gate
