// SPDX-License-Identifier: MIT
#pragma once

#include <ringstep/c/identity.h>
#include <ringstep/detail/ring_core.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace ringstep::inline v0::detail {

/// What the user_data of one loop's requests begins with (ringstep/c/identity.h), so that no completion is taken for another
/// loop's. The ring gives it out, and gives it out again only after give_back().
class LoopIdentity {
public:
    /// Takes an epoch of the ring. Must be called on the ring's owning thread. Throws Error (ENOSPC) if all are taken.
    explicit LoopIdentity(std::shared_ptr<RingCore> ring)
        : ring_(std::move(ring)), epoch_(ring_->epochs().take()), value_(ringstep_identity_of_loop(epoch_)) {}

    /// Returns the leading bits of the loop's user_data; all others are zero.
    [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

    /// Lets another loop have the epoch. All requests of this loop must have completed. May be called from any thread.
    void give_back() const noexcept { ring_->epochs().give_back(epoch_); }

    /// Returns the ring that the loop runs on.
    [[nodiscard]] RingCore& ring() const noexcept { return *ring_; }

private:
    std::shared_ptr<RingCore> ring_;
    std::uint32_t epoch_;
    std::uint64_t value_;
};

}  // namespace ringstep::inline v0::detail
