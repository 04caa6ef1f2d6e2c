// SPDX-License-Identifier: MIT
// Whether a loop is attached to its ring, for several threads at a time.
#pragma once

#include <ringstep/version.hpp>

#include <array>
#include <atomic>
#include <cstdint>

namespace ringstep::inline v0::detail {

/// The state of a loop's attachment to its ring. Any thread may detach the loop. Nobody finds it detached before that thread
/// has finished, nor while another thread still stops it or wakes it up.
class Tether {
public:
    /// Keeps the loop from being detached while a thread stops it or wakes it up. Signal handlers may use it, too.
    class Use {
    public:
        explicit Use(Tether& tether) noexcept : tether_(tether), users_(tether.users_[tether.counting_.load()]) {
            users_.fetch_add(1);
        }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        ~Use() {
            if (users_.fetch_sub(1) == 1) users_.notify_all();
        }
        /// Returns true if the loop is attached, and stays so for as long as this object lives.
        [[nodiscard]] explicit operator bool() const noexcept { return tether_.attached(); }

    private:
        Tether& tether_;
        std::atomic<std::uint32_t>& users_;
    };

    /// Returns true if the loop is attached and nobody is about to detach it.
    [[nodiscard]] bool attached() const noexcept { return state_.load() == State::attached; }

    /// Notes that the loop is attached.
    void attach() noexcept { state_.store(State::attached); }

    /// Returns true to the one thread that must detach the loop and then call end_detaching(). Waits for that thread on all
    /// others, and returns false. Returns false if the loop is not attached.
    [[nodiscard]] bool begin_detaching() noexcept {
        State was = State::attached;
        if (state_.compare_exchange_strong(was, State::detaching)) return true;
        wait_while_detaching();
        return false;
    }
    /// Waits for all threads that began to stop or wake up the loop before this call. It does not wait for threads that begin
    /// later, because they use the other one of two counters. So it returns even if some thread is always waking the loop. Only
    /// one thread may call it at a time.
    void wait_for_users() noexcept {
        // Twice, because a thread may have looked up where to count itself long before it did so.
        for (int i = 0; i < 2; i++) {
            if (users_[0].load() == 0 && users_[1].load() == 0) return;
            const std::uint32_t before = counting_.load();
            counting_.store(1 - before);
            const std::atomic<std::uint32_t>& users = users_[before];
            for (std::uint32_t others = users.load(); others != 0; others = users.load()) users.wait(others);
        }
    }
    /// Notes that the loop is detached. The calling thread must not use the loop or its ring afterwards.
    void end_detaching() noexcept {
        state_.store(State::detached);
        state_.notify_all();
    }
    /// Waits for a thread that is detaching the loop.
    void wait_while_detaching() const noexcept { state_.wait(State::detaching); }

private:
    enum class State : std::uint32_t {
        detached,
        attached,
        detaching,
    };

    std::atomic<State> state_{State::detached};
    std::array<std::atomic<std::uint32_t>, 2> users_{};
    std::atomic<std::uint32_t> counting_{0};  // the index of the counter in users_ that the next user takes
};

}  // namespace ringstep::inline v0::detail
