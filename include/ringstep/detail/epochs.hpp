// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/c/identity.h>
#include <ringstep/error.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>

namespace ringstep::inline v0::detail {

/// Numbers the loops of one ring. Each loop puts its number, the epoch, into the user_data of its requests. So it can tell them
/// from requests that an earlier loop has left in flight.
///
/// An epoch has 16 bits. It is taken again only after its loop has given it back. A loop gives its epoch back only if none of
/// its requests is in flight. All other epochs stay taken as long as the ring is open.
class LoopEpochs {
public:
    static constexpr std::uint32_t count = RINGSTEP_IDENTITY_EPOCHS;

    /// Takes an epoch that no other loop has, and returns it. Must be called on the ring's owning thread. Throws Error (ENOSPC)
    /// if all are taken.
    [[nodiscard]] std::uint32_t take() {
        if (!taken_) taken_ = std::make_unique<Words>();
        for (std::uint32_t tries = 0; tries < count; tries++) {
            const std::uint32_t epoch = next_.fetch_add(1, std::memory_order_relaxed) % count;
            if ((word(epoch).fetch_or(bit(epoch), std::memory_order_acquire) & bit(epoch)) == 0) return epoch;
        }
        raise(
            ENOSPC, "attaching another loop to a ring that has had 65536",
            "Each of them exists still, or left requests in flight when it was destroyed. Let loops finish before you destroy "
            "them, or open another ring.");
    }

    /// Gives back an epoch. All requests of its loop must have completed. May be called from any thread.
    void give_back(std::uint32_t epoch) noexcept { word(epoch).fetch_and(~bit(epoch), std::memory_order_release); }

private:
    using Words = std::array<std::atomic<std::uint64_t>, count / 64>;

    [[nodiscard]] std::atomic<std::uint64_t>& word(std::uint32_t epoch) noexcept {
        return (*taken_)[epoch / 64 % (count / 64)];
    }
    [[nodiscard]] static constexpr std::uint64_t bit(std::uint32_t epoch) noexcept { return std::uint64_t{1} << epoch % 64; }

    std::unique_ptr<Words> taken_;
    // One for the process: a ring that is released and adopted again has new words, and may still have requests in flight.
    inline static std::atomic<std::uint32_t> next_{0};
};

}  // namespace ringstep::inline v0::detail
