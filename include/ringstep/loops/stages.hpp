// SPDX-License-Identifier: MIT
// Waiting in stages, and for groups of requests, by the loop stages.
#pragma once

#include <ringstep/compiled/stages.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/enter_loop.hpp>
#include <ringstep/loops/stages.h>
#include <ringstep/region.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

namespace ringstep::inline v0 {

namespace loops {

/// The loop enter, waiting in stages or for groups of requests. Stages is its face.
struct stages : compiled::stages {};

}  // namespace loops

/// A stage of a wait: so many completions in the CQ end it, for so long. Then comes the next.
struct Stage {
    std::uint32_t completions = 1;  ///< in the CQ, those there before included
    Duration time = for_ever;       ///< how long this stage lasts; for_ever in the last one only. See Duration
};

/**
 * Requests that belong together, told by their user_data: those for which `(user_data & mask) == value`. Their completions are
 * counted while this object lives, as exactly as they come, whether or not they have been taken out of the CQ.
 *
 * Made by Stages::group(), before the first of the requests is claimed: requests that are in flight by then do not count, but
 * their completions would. Belongs to the ring's thread. May outlive the Stages it came from, with counts that stand still
 * then.
 */
class RequestGroup {
public:
    /// What to wait for: so many completions of a group.
    struct Wanted {
        std::uint32_t index = 0;      ///< of the group in the state
        std::uint64_t completed = 0;  ///< or RINGSTEP_STAGES_ALL
    };

    /// For Stages::group().
    RequestGroup(RegionView<ringstep_stages> state, std::uint32_t index) noexcept : state_(std::move(state)), index_(index) {}
    /// Afterwards the other one is nothing: it may only be destroyed or assigned to.
    // The other one keeps its view, which has to be a view of something.
    // NOLINTNEXTLINE(performance-move-constructor-init, cert-oop11-cpp)
    RequestGroup(RequestGroup&& other) noexcept : state_(other.state_), index_(std::exchange(other.index_, none)) {}
    /// Gives this group up first.
    RequestGroup& operator=(RequestGroup&& other) noexcept {
        if (this == &other) return *this;
        give_up();
        state_ = other.state_;
        index_ = std::exchange(other.index_, none);
        return *this;
    }
    RequestGroup(const RequestGroup&) = delete;
    RequestGroup& operator=(const RequestGroup&) = delete;
    ~RequestGroup() { give_up(); }

    /// Requests that have been submitted and have not ended.
    [[nodiscard]] std::uint64_t in_flight() const noexcept {
        const ringstep_stages_group& counts = group();
        return counts.submitted > counts.finished ? counts.submitted - counts.finished : 0;
    }
    /// Requests that have been submitted.
    [[nodiscard]] std::uint64_t submitted() const noexcept { return group().submitted; }
    /// Completions that have come.
    [[nodiscard]] std::uint64_t completed() const noexcept { return group().completed; }

    /// Waits until none is in flight: Stages::submit_and_wait_for_all({writes.all()}).
    [[nodiscard]] Wanted all() const noexcept { return {.index = index_, .completed = RINGSTEP_STAGES_ALL}; }
    /// Waits until so many completions have come in all, counted from the making of the group.
    [[nodiscard]] Wanted at_least(std::uint64_t completions) const noexcept {
        return {.index = index_, .completed = completions};
    }

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    [[nodiscard]] const ringstep_stages_group& group() const noexcept {
        return state_->groups[index_ & (RINGSTEP_STAGES_GROUPS - 1)];
    }
    void give_up() noexcept {
        if (index_ == none) return;
        state_->groups_used &= ~(1U << index_);
        if (state_->groups_used == 0) state_->enter.walks = 0;
    }

    RegionView<ringstep_stages> state_;
    std::uint32_t index_;
};

/**
 * A ring used as without a loop, but for how it waits: for fewer completions the longer it takes, or until certain requests
 * have completed. Like EnterLoop, whose remarks hold here, too; requests go into Ring::sq() and completions come out of
 * Ring::cq().
 *
 * Stages are evaluated in the loop: in the kernel, the thread sleeps until a stage has what it wants, and is not woken up for
 * less. Each begins when the one before is over; what is in the CQ by then may end it at once. The last one's end is the wait's
 * (EnterEnd::timed_out).
 *
 * A wait for groups ends as soon as they have what is wanted, whatever else has completed. Completions that nobody takes out of
 * the CQ fill it up; then the wait ends with EnterEnd::cq_full. Groups cost a look at each request and each completion, while
 * there are any.
 *
 * Kernel engine: Linux 7.1. User engine: Linux 6.1.
 *
 * **Example**:
 *
 *     ringstep::Ring ring;
 *     ringstep::Stages stages{ring, {{32, 50us}, {8, 500us}, {1}}};    // 32, or what there is after 50 µs if that is 8, …
 *     ringstep::Entered entered = stages.submit_and_wait();
 *     for (const ringstep::Completion& completion : ring.cq()) ...
 *
 *     ringstep::RequestGroup writes = stages.group(0xff00'0000'0000'0000, file_tag);
 *     ...                                                              // requests with that tag in their user_data
 *     stages.submit_and_wait_for_all({writes.all()});
 */
class Stages {
public:
    /// Puts the loop on the ring. Throws Error, also for stages that set() does not take.
    explicit Stages(Ring& ring, std::span<const Stage> stages, const LoopOptions& options = {})
        : ring_(ring.core()), loop_(ring, options) {
        set(stages);
    }
    /// Likewise.
    explicit Stages(Ring& ring, std::initializer_list<Stage> stages = {Stage{}}, const LoopOptions& options = {})
        : Stages(ring, std::span(stages.begin(), stages.size()), options) {}

    /// Has further waits go by these stages, 1 to RINGSTEP_STAGES_STAGES. Throws Error: if there are none or too many, or if
    /// one that is not the last has no end.
    void set(std::span<const Stage> stages) {
        const std::string tried = "set-up of a wait in " + std::to_string(stages.size()) + " stages";
        if (stages.empty() || stages.size() > RINGSTEP_STAGES_STAGES) {
            detail::raise(EINVAL, tried, "There can be 1 to " + std::to_string(RINGSTEP_STAGES_STAGES) + ".");
        }
        for (const Stage& stage : stages) {
            if (stage.time.unlimited() && &stage != &stages.back())
                detail::raise(EINVAL, tried, "Only the last may last for ever: none behind such a one would be reached.");
        }
        ringstep_stages& state = *loop_.state();
        for (std::size_t i = 0; i < stages.size(); i++) {
            const Duration time = stages[i].time;
            state.stages[i] = {
                .nanoseconds = time.unlimited() ? RINGSTEP_STAGES_FOR_EVER
                               : time.over()    ? 0
                                                : static_cast<std::uint64_t>(time.count()),
                .completions = stages[i].completions,
                .__reserved = 0,
            };
        }
        state.stage_count = static_cast<std::uint32_t>(stages.size());
        state.stage = 0;
    }
    /// Likewise.
    void set(std::initializer_list<Stage> stages) { set(std::span(stages.begin(), stages.size())); }

    /// Submits what is in the SQ. Never throws.
    Entered submit() noexcept { return wait_for(RINGSTEP_STAGES_ALL_GROUPS, {}, for_ever, {}); }

    /// Submits what is in the SQ and waits, stage by stage. Never throws; on the ring's thread only.
    Entered submit_and_wait(std::stop_token token = {}) noexcept {
        loop_.state()->wait = RINGSTEP_STAGES_STEPS;
        return loop_.run(std::move(token));
    }

    /// The stage in which the last submit_and_wait() ended, or which it is in; the first is 0. Any thread.
    [[nodiscard]] std::uint32_t stage() const noexcept { return loop_.state().load(&ringstep_stages::stage); }

    /// Counts requests from now on: those with `(user_data & mask) == value`. One request may belong to several groups. Throws
    /// Error if RINGSTEP_STAGES_GROUPS are in use (ENOSPC), or if no user_data can match (EINVAL).
    [[nodiscard]] RequestGroup group(std::uint64_t mask, std::uint64_t value) {
        if ((value & ~mask) != 0)
            detail::raise(EINVAL, "making of a group of requests",
                          "The value has bits that the mask has not: none would belong to it.");
        ringstep_stages& state = *loop_.state();
        for (std::uint32_t i = 0; i < RINGSTEP_STAGES_GROUPS; i++) {
            if ((state.groups_used >> i & 1) != 0) continue;
            // What has completed so far is no group's. Of what is claimed, all has yet to be submitted, unless it was tried
            // before.
            const detail::QueueMemory& queues = ring_->queues();
            if (state.groups_used == 0)
                state.enter.seen = queues.word(queues.geometry.cq_tail_offset).load(std::memory_order_acquire);
            state.groups[i] = {.mask = mask, .value = value, .submitted = 0, .finished = 0, .completed = 0, .wanted = 0};
            state.groups_used |= 1U << i;
            return {loop_.state(), i};
        }
        detail::raise(ENOSPC, "making of a group of requests",
                      "There can be " + std::to_string(RINGSTEP_STAGES_GROUPS) + " at a time: let go of one first.");
    }

    /// Submits what is in the SQ and waits until all of these groups have what is wanted of them. Never throws.
    Entered submit_and_wait_for_all(std::span<const RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return wait_for(RINGSTEP_STAGES_ALL_GROUPS, wanted, timeout, std::move(token));
    }
    /// Likewise.
    Entered submit_and_wait_for_all(std::initializer_list<RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return submit_and_wait_for_all(std::span(wanted.begin(), wanted.size()), timeout, std::move(token));
    }

    /// The same, until one of them has.
    Entered submit_and_wait_for_any(std::span<const RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return wait_for(RINGSTEP_STAGES_ANY_GROUP, wanted, timeout, std::move(token));
    }
    /// Likewise.
    Entered submit_and_wait_for_any(std::initializer_list<RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return submit_and_wait_for_any(std::span(wanted.begin(), wanted.size()), timeout, std::move(token));
    }

    /// Whether a group has what is wanted of it.
    [[nodiscard]] bool has(RequestGroup::Wanted wanted) const noexcept {
        const ringstep_stages_group& group = loop_.state()->groups[wanted.index & (RINGSTEP_STAGES_GROUPS - 1)];
        if (wanted.completed == RINGSTEP_STAGES_ALL) return group.finished >= group.submitted;
        return group.completed >= wanted.completed;
    }

    /// Ends the wait under way with EnterEnd::stop_requested; if none is, the next one. Any thread, and signal handlers.
    void request_stop() noexcept { loop_.request_stop(); }
    /// The state that application and loop share.
    [[nodiscard]] const RegionView<ringstep_stages>& state() const noexcept { return loop_.state(); }
    /// What runs the loop: see LoopProgram.
    [[nodiscard]] Engine engine() const noexcept { return loop_.engine(); }
    /// Why it is not the kernel: see LoopProgram.
    [[nodiscard]] const std::string& engine_reason() const noexcept { return loop_.engine_reason(); }
    /// The loop on the ring.
    [[nodiscard]] LoopProgram<loops::stages>& program() noexcept { return loop_.program(); }

private:
    Entered wait_for(std::uint32_t kind, std::span<const RequestGroup::Wanted> wanted, Duration timeout,
                     std::stop_token token) noexcept {
        ringstep_stages& state = *loop_.state();
        for (ringstep_stages_group& group : state.groups) group.wanted = 0;
        bool nothing = wanted.empty();
        for (const RequestGroup::Wanted& want : wanted) {
            state.groups[want.index & (RINGSTEP_STAGES_GROUPS - 1)].wanted = want.completed;
            // To the loop, 0 is a group that is not waited for. One that wants nothing has it.
            if (want.completed == 0 && kind == RINGSTEP_STAGES_ANY_GROUP) nothing = true;
        }
        if (nothing) {
            for (ringstep_stages_group& group : state.groups) group.wanted = 0;
        }
        state.wait = nothing ? std::uint32_t{RINGSTEP_STAGES_ALL_GROUPS} : kind;
        state.enter.deadline = nothing ? ~std::uint64_t{0} : detail::deadline_after(timeout);
        state.enter.wake_at = ~std::uint64_t{0};
        Entered entered = loop_.run(std::move(token));
        if (entered.end == EnterEnd::complete && !satisfied(kind, wanted)) entered.end = EnterEnd::cq_full;
        return entered;
    }

    [[nodiscard]] bool satisfied(std::uint32_t kind, std::span<const RequestGroup::Wanted> wanted) const noexcept {
        if (wanted.empty()) return true;
        for (const RequestGroup::Wanted& want : wanted) {
            if (has(want) == (kind == RINGSTEP_STAGES_ANY_GROUP)) return kind == RINGSTEP_STAGES_ANY_GROUP;
        }
        return kind != RINGSTEP_STAGES_ANY_GROUP;
    }

    std::shared_ptr<detail::RingCore> ring_;
    EnterLoop<loops::stages> loop_;
};

}  // namespace ringstep::inline v0
