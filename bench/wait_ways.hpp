// SPDX-License-Identifier: MIT
// Ways to wait for requests. All fill in SQEs, submit them and take the completions in the same manner.
#pragma once

#include <fmt/format.h>
#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/plain_ring.hpp"

namespace bench {

inline constexpr unsigned wait_sq_entries = 64;
inline constexpr unsigned wait_cq_entries = 256;

class WaitWay {
public:
    virtual ~WaitWay() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Returns a title of a few words, for people.
    [[nodiscard]] virtual std::string title() const = 0;
    [[nodiscard]] virtual io_uring_sqe* sqe() = 0;
    /// Submits, waits, and passes on the completions.
    virtual void wait(const std::function<void(std::uint64_t user_data, int result)>& take) = 0;
};

/// Uses liburing, with a given call to submit and wait.
class PlainWait final : public WaitWay {
public:
    using Call = std::function<int(io_uring*)>;
    PlainWait(std::string name, std::string title, Call call)
        : name_(std::move(name)), title_(std::move(title)), call_(std::move(call)) {}
    std::string name() const override { return name_; }
    std::string title() const override { return title_; }
    io_uring_sqe* sqe() override { return io_uring_get_sqe(ring_.get()); }
    void wait(const std::function<void(std::uint64_t, int)>& take) override {
        const int result = call_(ring_.get());
        if (result != -ETIME) check(result, "io_uring_enter");
        take_all(ring_, take);
    }

private:
    std::string name_;
    std::string title_;
    Call call_;
    PlainRing ring_{wait_sq_entries, wait_cq_entries};
};

/// Uses the loop stages or enter.
template <class Face>
class LoopWait final : public WaitWay {
public:
    using Call = std::function<ringstep::Entered(Face&)>;
    template <class... Arguments>
    LoopWait(std::string name, std::string title, Call call, Arguments&&... arguments)
        : name_(std::move(name)),
          title_(std::move(title)),
          call_(std::move(call)),
          face_(ring_, std::forward<Arguments>(arguments)...) {}
    std::string name() const override { return name_; }
    std::string title() const override { return title_; }
    io_uring_sqe* sqe() override { return ring_.sq().claim(); }
    void wait(const std::function<void(std::uint64_t, int)>& take) override {
        const ringstep::Entered entered = call_(face_);
        if (entered.error != 0) throw std::runtime_error(fmt::format("{}: {}", name_, to_string(entered.end)));
        for (const ringstep::Completion& completion : ring_.cq()) take(completion.user_data, completion.result);
    }

private:
    std::string name_;
    std::string title_;
    Call call_;
    ringstep::Ring ring_{{.sq_entries = wait_sq_entries, .cq_entries = wait_cq_entries}};
    Face face_;
};

}  // namespace bench
