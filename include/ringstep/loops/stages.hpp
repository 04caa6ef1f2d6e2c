// SPDX-License-Identifier: MIT
// Waiting in stages, and for groups of requests, by the loop stages.
#pragma once

#include <ringstep/compiled/stages.hpp>
#include <ringstep/duration.hpp>
#include <ringstep/error.hpp>
#include <ringstep/loops/enter_loop.hpp>
#include <ringstep/c/loops/stages.h>
#include <ringstep/region.hpp>

#include <algorithm>
#include <array>
#include <atomic>
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

/// The loop `enter` with waits in stages or for groups of requests. It is the loop behind the C++ class Stages.
struct stages;

}  // namespace loops

/// One stage of a wait. The wait ends as soon as `completions` are in the CQ. After `time` without that, the next stage begins.
struct Stage {
    std::uint32_t completions = 1;  ///< completions in the CQ, including earlier ones
    Duration time = for_ever;       ///< the length of this stage; for_ever only in the last one. See Duration
};

/**
 * A group of requests, recognized by their user_data: all for which `(user_data & mask) == value`. While this object lives, the
 * loop counts the group's completions as they arrive, even if they are still in the CQ.
 *
 * Stages::group() makes the group. It must be made before its first request is claimed: earlier requests in flight are not
 * counted, but their completions would be. Use the group only on the ring's owning thread. The group may outlive its Stages;
 * its counts then no longer change.
 */
class RequestGroup {
public:
    /// What to wait for: a number of completions of a group.
    struct Wanted {
        std::uint32_t index = 0;      ///< the group's index in the state
        std::uint64_t completed = 0;  ///< completions to wait for, or RINGSTEP_STAGES_ALL
    };

    /// Moves the group. Only assignment and destruction are allowed on the moved-from object.
    RequestGroup(RequestGroup&& other) noexcept
        // The moved-from object keeps its view, because a view always refers to a region.
        : state_(other.state_),  // NOLINT(cert-oop11-cpp,performance-move-constructor-init)
          remains_(std::move(other.remains_)),
          index_(std::exchange(other.index_, none)) {}
    /// Gives up this object's group, then moves the other one.
    RequestGroup& operator=(RequestGroup&& other) noexcept {
        if (this == &other) return *this;
        give_up();
        state_ = other.state_;
        remains_ = std::move(other.remains_);
        index_ = std::exchange(other.index_, none);
        return *this;
    }
    RequestGroup(const RequestGroup&) = delete;
    RequestGroup& operator=(const RequestGroup&) = delete;
    ~RequestGroup() { give_up(); }

    /// Returns how many requests of the group were submitted and have not ended.
    [[nodiscard]] std::uint64_t in_flight() const noexcept {
        const ringstep_stages_group& counts = group();
        return counts.submitted > counts.finished ? counts.submitted - counts.finished : 0;
    }
    /// Returns how many requests of the group were submitted.
    [[nodiscard]] std::uint64_t submitted() const noexcept { return group().submitted; }
    /// Returns how many completions of the group have arrived.
    [[nodiscard]] std::uint64_t completed() const noexcept { return group().completed; }

    /// Returns the condition that no request of the group is in flight. Use: Stages::submit_and_wait_for_all({writes.all()}).
    [[nodiscard]] Wanted all() const noexcept { return {.index = index_, .completed = RINGSTEP_STAGES_ALL}; }
    /// Returns the condition that `completions` completions have arrived in total since the group was made.
    [[nodiscard]] Wanted at_least(std::uint64_t completions) const noexcept {
        return {.index = index_, .completed = completions};
    }

private:
    friend class Stages;

    // What a Stages leaves to its groups: the loop that the ring has next uses the memory of the state for itself.
    struct Remains {
        std::atomic<bool> over{false};
        std::array<ringstep_stages_group, RINGSTEP_STAGES_GROUPS> groups{};
    };

    RequestGroup(const RegionView<ringstep_stages>& state, std::shared_ptr<const Remains> remains, std::uint32_t index) noexcept
        : state_(state), remains_(std::move(remains)), index_(index) {}

    static constexpr std::uint32_t none = ~std::uint32_t{0};

    [[nodiscard]] const ringstep_stages_group& group() const noexcept {
        const std::uint32_t index = index_ & (RINGSTEP_STAGES_GROUPS - 1);
        return remains_->over.load(std::memory_order_acquire) ? remains_->groups.at(index) : state_->groups[index];
    }
    void give_up() noexcept {
        if (index_ == none || remains_->over.load(std::memory_order_acquire)) return;
        state_->groups_used &= ~(1U << index_);
        if (state_->groups_used == 0) state_->enter.walks = 0;
    }

    RegionView<ringstep_stages> state_;
    std::shared_ptr<const Remains> remains_;
    std::uint32_t index_;
};

/**
 * A ring used like one without a loop, but with different waits: for fewer completions the longer a wait takes, or until
 * certain requests have completed. The remarks about EnterLoop apply here also. Requests are claimed from Ring::sq(), and
 * completions are taken from Ring::cq().
 *
 * The loop evaluates the stages. In the kernel, the thread sleeps until a stage has the completions it waits for, and is not
 * woken for fewer. Each stage begins when the previous one is over, and completions already in the CQ may end it at once. When
 * the last stage is over, the wait ends with EnterEnd::timed_out. The loop expects that a wait ends as the last one did, and
 * does not wake up at ends of stages before that. A wait that ends in another way has one more sleep.
 *
 * A wait for groups ends as soon as the groups have the wanted completions, regardless of other completions. If completions
 * that nobody takes fill the CQ, the wait ends with EnterEnd::cq_full. While groups exist, the loop inspects each request and
 * each completion.
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
class Stages : public EnterLoop<loops::stages> {
public:
    /// Attaches the loop to the ring. Throws Error, also for stages that set() refuses.
    explicit Stages(Ring& ring, std::span<const Stage> stages, const LoopOptions& options = {}) : EnterLoop(ring, options) {
        set(stages);
    }
    /// Attaches the loop to the ring, with stages from a list. Throws Error.
    explicit Stages(Ring& ring, std::initializer_list<Stage> stages = {Stage{}}, const LoopOptions& options = {})
        : Stages(ring, std::span(stages.begin(), stages.size()), options) {}

    Stages(const Stages&) = delete;
    Stages& operator=(const Stages&) = delete;
    /// Detaches the loop. Its groups keep the counts that they have now.
    ~Stages() {
        if (!program().attached()) return;
        std::ranges::copy(state()->groups, remains_->groups.begin());
        remains_->over.store(true, std::memory_order_release);
    }

    /// Sets the stages of further waits, 1 to RINGSTEP_STAGES_STAGES. Throws Error (EINVAL) if there are none or too many, or
    /// if a stage before the last is unlimited.
    void set(std::span<const Stage> stages) {
        const std::string tried = "set-up of a wait in " + std::to_string(stages.size()) + " stages";
        if (stages.empty() || stages.size() > RINGSTEP_STAGES_STAGES) {
            detail::raise(EINVAL, tried, "There can be 1 to " + std::to_string(RINGSTEP_STAGES_STAGES) + ".");
        }
        for (const Stage& stage : stages) {
            if (stage.time.unlimited() && &stage != &stages.back())
                detail::raise(EINVAL, tried, "Only the last may last for ever: none behind such a one would be reached.");
        }
        ringstep_stages& state = *this->state();
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
        state.aim = std::min(state.aim, state.stage_count - 1);
    }
    /// Sets the stages of further waits from a list.
    void set(std::initializer_list<Stage> stages) { set(std::span(stages.begin(), stages.size())); }

    /// Submits all claimed SQEs without waiting. Must be called on the ring's owning thread. Never throws.
    Entered submit() noexcept { return wait_for(RINGSTEP_STAGES_ALL_GROUPS, {}, for_ever, {}); }

    /// Submits all claimed SQEs and waits, stage by stage. Must be called on the ring's owning thread. Never throws.
    Entered submit_and_wait(std::stop_token token = {}) noexcept {
        Entered entered;
        if (refused(entered)) return entered;
        state()->wait = RINGSTEP_STAGES_STEPS;
        return run_allowed(std::move(token));
    }

    /// Waits again as the last wait did, after it was interrupted, for example. A wait for groups keeps its deadline; stages
    /// begin with the first one, as they do if there was no wait yet. Submits all claimed SQEs before. Must be called on the
    /// ring's owning thread. Never throws.
    Entered run(std::stop_token token = {}) noexcept {
        Entered entered;
        if (refused(entered)) return entered;
        std::array<RequestGroup::Wanted, RINGSTEP_STAGES_GROUPS> wanted;
        std::size_t count = 0;
        for (std::uint32_t i = 0; i < RINGSTEP_STAGES_GROUPS; i++) {
            const std::uint64_t completed = state()->groups[i].wanted;
            if (completed != 0) wanted.at(count++) = {.index = i, .completed = completed};
        }
        const std::uint32_t kind = state()->wait;
        return run_for(kind, std::span(wanted).first(kind == RINGSTEP_STAGES_STEPS ? 0 : count), std::move(token));
    }

    /// Returns the stage in which the last submit_and_wait() ended. The first stage is 0. During a wait, it is the stage in
    /// which the loop was last awake. May be called from any thread.
    [[nodiscard]] std::uint32_t stage() const noexcept { return state().load(&ringstep_stages::stage); }

    /// Makes a group of the requests with `(user_data & mask) == value`, which are counted from now on. A request may belong to
    /// several groups. Throws Error if RINGSTEP_STAGES_GROUPS are in use (ENOSPC), or if no user_data can match (EINVAL).
    [[nodiscard]] RequestGroup group(std::uint64_t mask, std::uint64_t value) {
        if ((value & ~mask) != 0)
            detail::raise(EINVAL, "making of a group of requests",
                          "The value has bits that the mask has not: none would belong to it.");
        ringstep_stages& state = *this->state();
        for (std::uint32_t i = 0; i < RINGSTEP_STAGES_GROUPS; i++) {
            if ((state.groups_used >> i & 1) != 0) continue;
            // Earlier completions belong to no group. Claimed SQEs have not been submitted yet, except those of an earlier
            // attempt.
            const detail::QueueMemory& queues = ring_core().queues();
            if (state.groups_used == 0)
                state.enter.seen = queues.word(queues.geometry.cq_tail_offset).load(std::memory_order_acquire);
            state.groups[i] = {.mask = mask, .value = value, .submitted = 0, .finished = 0, .completed = 0, .wanted = 0};
            state.groups_used |= 1U << i;
            return {this->state(), remains_, i};
        }
        detail::raise(ENOSPC, "making of a group of requests",
                      "There can be " + std::to_string(RINGSTEP_STAGES_GROUPS) + " at a time: let go of one first.");
    }

    /// Submits all claimed SQEs and waits until all of these groups have the wanted completions, or until `timeout` is over.
    /// Must be called on the ring's owning thread. Never throws.
    Entered submit_and_wait_for_all(std::span<const RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return wait_for(RINGSTEP_STAGES_ALL_GROUPS, wanted, timeout, std::move(token));
    }
    /// Waits like the other `submit_and_wait_for_all()`, with the groups from a list.
    Entered submit_and_wait_for_all(std::initializer_list<RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return submit_and_wait_for_all(std::span(wanted.begin(), wanted.size()), timeout, std::move(token));
    }

    /// Submits all claimed SQEs and waits until one of these groups has the wanted completions, or until `timeout` is over.
    /// Must be called on the ring's owning thread. Never throws.
    Entered submit_and_wait_for_any(std::span<const RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return wait_for(RINGSTEP_STAGES_ANY_GROUP, wanted, timeout, std::move(token));
    }
    /// Waits like the other `submit_and_wait_for_any()`, with the groups from a list.
    Entered submit_and_wait_for_any(std::initializer_list<RequestGroup::Wanted> wanted, Duration timeout = for_ever,
                                    std::stop_token token = {}) noexcept {
        return submit_and_wait_for_any(std::span(wanted.begin(), wanted.size()), timeout, std::move(token));
    }

    /// Returns whether a group has the wanted completions.
    [[nodiscard]] bool has(RequestGroup::Wanted wanted) const noexcept {
        const ringstep_stages_group& group = state()->groups[wanted.index & (RINGSTEP_STAGES_GROUPS - 1)];
        if (wanted.completed == RINGSTEP_STAGES_ALL) return group.finished >= group.submitted;
        return group.completed >= wanted.completed;
    }

private:
    Entered wait_for(std::uint32_t kind, std::span<const RequestGroup::Wanted> wanted, Duration timeout,
                     std::stop_token token) noexcept {
        Entered entered;
        if (refused(entered)) return entered;
        ringstep_stages& state = *this->state();
        for (ringstep_stages_group& group : state.groups) group.wanted = 0;
        bool nothing = wanted.empty();
        for (const RequestGroup::Wanted& want : wanted) {
            state.groups[want.index & (RINGSTEP_STAGES_GROUPS - 1)].wanted = want.completed;
            // The loop ignores a group with 0 wanted completions. The wait for a group that wants none is already over.
            if (want.completed == 0 && kind == RINGSTEP_STAGES_ANY_GROUP) nothing = true;
        }
        if (nothing) {
            for (ringstep_stages_group& group : state.groups) group.wanted = 0;
        }
        state.wait = nothing ? std::uint32_t{RINGSTEP_STAGES_ALL_GROUPS} : kind;
        state.enter.deadline = nothing ? ~std::uint64_t{0} : detail::deadline_after(timeout);
        state.enter.wake_at = ~std::uint64_t{0};
        return run_for(kind, wanted, std::move(token));
    }

    // Runs the loop, after refused() has returned false.
    Entered run_for(std::uint32_t kind, std::span<const RequestGroup::Wanted> wanted, std::stop_token token) noexcept {
        Entered entered = run_allowed(std::move(token));
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

    std::shared_ptr<RequestGroup::Remains> remains_ = std::make_shared<RequestGroup::Remains>();
};

}  // namespace ringstep::inline v0
