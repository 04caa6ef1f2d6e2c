// SPDX-License-Identifier: MIT
// Ways to run nops that depend on each other. Each is submitted after those ahead of it have completed and were checked.
#pragma once

#include <fmt/format.h>
#include <liburing.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <ringstep/format.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <system_error>

#include "baseline/nops.h"
#include "common/plain_ring.hpp"

namespace bench {

// All rings have this size.
inline constexpr unsigned nop_sq_entries = 64;
inline constexpr unsigned nop_cq_entries = 256;

class NopWay {
public:
    virtual ~NopWay() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Returns a title of a few words, for people.
    [[nodiscard]] virtual std::string title() const = 0;
    [[nodiscard]] virtual bool can(std::uint64_t depth) const { return depth >= 1; }
    /// Runs `total` nops, `depth` at a time. Throws unless each has completed, in order and without an error.
    virtual void run(std::uint64_t total, std::uint64_t depth) = 0;
    /// Returns the calls of io_uring_enter(2) in the last run that the way has counted.
    [[nodiscard]] virtual std::uint64_t enters() const { return 0; }
    /// Returns the BPF program's name, if there is one.
    [[nodiscard]] virtual std::string program() const { return {}; }

protected:
    static void expect(bool good, const std::string& what) {
        if (!good) throw std::runtime_error(what);
    }
};

/// Calls io_uring_enter(2) once for each nop, or once for every `depth` independent nops.
class EnterWay final : public NopWay {
public:
    std::string name() const override { return "enter"; }
    std::string title() const override { return "liburing, one enter for each nop"; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        std::uint64_t submitted = 0;
        std::uint64_t completed = 0;
        std::uint64_t failed = 0;
        enters_ = 0;
        while (completed < total) {
            while (submitted < total && submitted - completed < depth) {
                io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
                io_uring_prep_nop(sqe);
                io_uring_sqe_set_data64(sqe, submitted++);
            }
            check(io_uring_submit_and_wait(ring_.get(), 1), "io_uring_enter");
            enters_++;
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe) {
                if (cqe->res != 0 || cqe->user_data != completed) failed++;
                completed++;
                seen++;
            }
            io_uring_cq_advance(ring_.get(), seen);
        }
        expect(failed == 0 && submitted == total, "nops came back wrong");
    }
    std::uint64_t enters() const override { return enters_; }

private:
    PlainRing ring_{nop_sq_entries, nop_cq_entries};
    std::uint64_t enters_ = 0;
};

/// Calls io_uring_enter(2) once for each linked pair, or once for every `depth` independent pairs.
class LinkWay final : public NopWay {
public:
    std::string name() const override { return "link"; }
    std::string title() const override { return "liburing, one enter for each linked pair"; }
    bool can(std::uint64_t depth) const override { return depth >= 1 && depth * 2 <= nop_sq_entries; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        std::uint64_t failed = 0;
        for (std::uint64_t completed = 0; completed < total;) {
            const std::uint64_t pairs = std::min(depth, (total - completed + 1) / 2);
            for (std::uint64_t i = 0; i < pairs; i++) {
                io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
                io_uring_prep_nop(sqe);
                sqe->flags = IOSQE_IO_LINK;
                io_uring_sqe_set_data64(sqe, 2 * i);
                sqe = io_uring_get_sqe(ring_.get());
                io_uring_prep_nop(sqe);
                io_uring_sqe_set_data64(sqe, 2 * i + 1);
            }
            check(io_uring_submit_and_wait(ring_.get(), static_cast<unsigned>(2 * pairs)), "io_uring_enter");
            // Pairs may overtake each other, but the first nop of a pair must complete first.
            std::uint64_t came = 0;
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe) {
                const std::uint64_t bit = 1ULL << (cqe->user_data & 63U);
                const bool second = (cqe->user_data & 1U) != 0;
                if (cqe->res != 0 || (came & bit) != 0 || (second && (came & bit >> 1) == 0)) failed++;
                came |= bit;
                seen++;
            }
            io_uring_cq_advance(ring_.get(), seen);
            if (seen != 2 * pairs) failed++;
            completed += 2 * pairs;
        }
        expect(failed == 0, "linked nops came back wrong");
    }

private:
    PlainRing ring_{nop_sq_entries, nop_cq_entries};
};

/// Runs ringstep's loop nop_chain.
class LoopWay final : public NopWay {
public:
    explicit LoopWay(ringstep::Engine engine = ringstep::Engine::kernel) : loop_(ring_, {.engine = engine}) {}
    std::string name() const override { return loop_.engine() == ringstep::Engine::kernel ? "ringstep" : "user"; }
    std::string title() const override {
        return loop_.engine() == ringstep::Engine::kernel ? "ringstep, a loop in the kernel"
                                                          : "ringstep, the same loop in user space";
    }
    std::uint64_t enters() const override { return enters_; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        *loop_.state() = {};
        loop_.state()->total = total;
        loop_.state()->depth = depth;
        const ringstep::LoopExit exit = loop_.run();
        expect(exit.ok() && loop_.state()->completed == total && exit.completions == total, fmt::format("nop_chain {}", exit));
        turns_ = exit.turns;
        enters_ = exit.enters;
    }
    std::string program() const override { return "nop_chain_loop_step"; }
    [[nodiscard]] std::uint64_t turns() const { return turns_; }
    [[nodiscard]] const ringstep::Geometry& geometry() const { return ring_.geometry(); }

private:
    ringstep::Ring ring_{{.sq_entries = nop_sq_entries, .cq_entries = nop_cq_entries}};
    ringstep::LoopProgram<ringstep::loops::nop_chain> loop_;
    std::uint64_t turns_ = 0;
    std::uint64_t enters_ = 0;
};

/// Runs the nops with a hand-written BPF program, without ringstep.
class HandWay final : public NopWay {
public:
    explicit HandWay(nops_variant variant)
        : variant_(variant), loop_(nops_loop_open(variant, nop_sq_entries, nop_cq_entries), &nops_loop_close) {
        if (loop_ == nullptr) throw std::system_error(errno, std::generic_category(), "loading of a hand-written loop");
    }
    std::string name() const override { return names_of(variant_).name; }
    std::string title() const override { return names_of(variant_).title; }
    bool can(std::uint64_t depth) const override { return depth == 1 || variant_ != NOPS_NAIVE; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        const nops_state* state = nops_loop_reset(loop_.get(), total, depth);
        check(nops_loop_run(loop_.get()), "io_uring_enter");
        expect(state->completed == total && state->submitted == total && state->failed == 0 && state->error == 0,
               "nops of the hand-written loop came back wrong");
    }
    std::string program() const override { return names_of(variant_).program; }

private:
    struct Names {
        const char* name;
        const char* title;
        const char* program;
    };
    static Names names_of(nops_variant variant) {
        if (variant == NOPS_LEAN) return {"hand", "hand-written loop, lean", "nops_step"};
        if (variant == NOPS_FULL) return {"full", "hand-written loop, as capable as ringstep's", "full_step"};
        return {"naive", "hand-written loop, as simple as a selftest", "naive_step"};
    }

    nops_variant variant_;
    std::unique_ptr<nops_loop, void (*)(nops_loop*)> loop_;
};

}  // namespace bench
