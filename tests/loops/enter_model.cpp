// SPDX-License-Identifier: MIT
// The loop enter at random, with hooks and without, against a model.
#include <ringstep/compiled/hooked.hpp>
#include <ringstep/loops/enter.hpp>

#include "loops/enter_help.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using ringstep::Completion;
using ringstep::Enter;
using ringstep::Entered;
using ringstep::EnterEnd;
using ringstep::Ring;
using Hooked = ringstep::EnterLoop<ringstep::loops::hooked>;

namespace {

/// Nops of all kinds and reads of a pipe, waited for in all ways, and what of them has to come back.
template <class Loop>
class RandomWork {
public:
    RandomWork(unsigned seed, const ringstep::RingOptions& options, bool hooks)
        : random_(seed), ring_(options), loop_(ring_), hooks_(hooks) {}

    void run(std::uint64_t requests) {
        while (next_ < requests || reads_open_ != 0 || outstanding_ != 0) {
            if (next_ < requests) claim_some();
            if (reads_open_ != 0 && (random_() % 2 == 0 || next_ >= requests)) feed();
            wait();
            if (random_() % 4 != 0 || outstanding_ > 40) take();
        }
        REQUIRE(loop_.submit());
        take();
        REQUIRE(outstanding_ == 0);
        REQUIRE(ring_.in_flight() == 0);
        REQUIRE(take_all(ring_).empty());
    }

private:
    void claim_some() {
        for (auto count = random_() % 17; count > 0 && ring_.sq().space_left() > 0; count--) {
            const std::uint64_t number = next_++;
            const auto kind = random_() % 16;
            if (kind == 0 && reads_open_ < 16) {
                claim_read(ring_, pipe_, &bytes_[number % bytes_.size()], number | read_bit);
                reads_open_++;
                outstanding_++;
                continue;
            }
            std::uint64_t user_data = number;
            if (hooks_ && kind < 4) user_data |= HOOKED_SWALLOW;
            if (hooks_ && kind >= 4 && kind < 8) user_data |= HOOKED_CHANGE;
            if (hooks_ && kind == 8) user_data |= (1 + random_() % 3) * HOOKED_AGAIN;
            claim_nop(ring_, user_data);
            if ((user_data & HOOKED_SWALLOW) == 0) outstanding_++;
        }
    }

    // Only what the kernel has taken can be fed: a byte for each read that waits.
    void feed() {
        if (ring_.sq().claimed() != 0) REQUIRE(loop_.submit().end != EnterEnd::failed);
        pipe_.feed(1);
        reads_open_--;
    }

    void wait() {
        const auto kind = random_() % 4;
        const auto count = static_cast<std::uint32_t>(random_() % 6);
        Entered entered;
        if (kind == 0) entered = loop_.submit();
        if (kind == 1) entered = loop_.submit_and_wait(count, std::chrono::microseconds(random_() % 300));
        if (kind >= 2) {
            // Only as many as are bound to come.
            const auto certain = outstanding_ - reads_open_;
            entered = loop_.submit_and_wait(static_cast<std::uint32_t>(std::min<std::uint64_t>(count, certain)),
                                            kind == 2 ? ringstep::for_ever : std::chrono::nanoseconds(100s));
            REQUIRE(entered.end == EnterEnd::complete);
        }
        REQUIRE((entered.end == EnterEnd::complete || entered.end == EnterEnd::timed_out));
    }

    void take() {
        for (const Completion& completion : ring_.cq()) {
            const std::uint64_t number = completion.user_data & 0xffffffff;
            REQUIRE(number < next_);
            REQUIRE((completion.user_data & HOOKED_SWALLOW) == 0);
            if (seen_.size() < next_) seen_.resize(next_);
            REQUIRE_FALSE(seen_[number]);
            seen_[number] = true;
            outstanding_--;
            if ((completion.user_data & read_bit) != 0) {
                REQUIRE(completion.result == 1);
            } else if ((completion.user_data & HOOKED_CHANGE) != 0) {
                REQUIRE(completion.result == 1000);
            } else {
                REQUIRE(completion.result == 0);
            }
            // Nops that are made once complete in the order of their submission. Of those made anew, the last round has no
            // mark.
            if ((completion.user_data & read_bit) == 0 && (!hooks_ || (completion.user_data & HOOKED_CHANGE) != 0)) {
                REQUIRE((number > last_ || last_ == 0));
                last_ = number;
            }
        }
    }

    static constexpr std::uint64_t read_bit = std::uint64_t{1} << 34;

    std::mt19937 random_;
    TestPipe pipe_;
    std::array<char, 4096> bytes_{};
    Ring ring_;
    Loop loop_;
    bool hooks_;
    std::uint64_t next_ = 0;
    std::uint64_t reads_open_ = 0;
    std::uint64_t outstanding_ = 0;
    std::uint64_t last_ = 0;
    std::vector<bool> seen_;
};

}  // namespace

TEST_CASE("Random requests come back as they should") {
    // The CQ is small, so that it overflows now and then.
    RandomWork<Enter>(1, {.sq_entries = 16, .cq_entries = 16}, false).run(rounds(10'000, 50'000));
    RandomWork<Enter>(2, {.sq_entries = 16, .cq_entries = 64, .sq_rewind = false}, false).run(rounds(10'000, 50'000));
}

TEST_CASE("Random requests come back as they should, with hooks") {
    RandomWork<Hooked>(3, {.sq_entries = 16, .cq_entries = 16}, true).run(rounds(10'000, 50'000));
    RandomWork<Hooked>(4, {.sq_entries = 16, .cq_entries = 128, .cqe32 = true, .sqe128 = true}, true)
        .run(rounds(10'000, 50'000));
}
