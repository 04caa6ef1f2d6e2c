// SPDX-License-Identifier: MIT
// Waits in stages and for groups, at random, against a model.
#include <ringstep/loops/stages.hpp>

#include "loops/enter_help.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

using namespace std::chrono_literals;
using ringstep::Completion;
using ringstep::Entered;
using ringstep::EnterEnd;
using ringstep::RequestGroup;
using ringstep::Ring;
using ringstep::Stage;
using ringstep::Stages;

namespace {

/// Nops and reads of a pipe in eight groups, waited for in stages and by groups.
class RandomWaits {
public:
    RandomWaits(unsigned seed, const ringstep::RingOptions& options) : random_(seed), ring_(options), stages_(ring_) {
        for (std::uint64_t i = 0; i < RINGSTEP_STAGES_GROUPS; i++) groups_.push_back(stages_.group(0xff00000000, i << 32));
    }

    void run(std::uint64_t requests) {
        while (next_ < requests || reads_open_ != 0) {
            if (next_ < requests) claim_some();
            if (reads_open_ != 0 && (random_() % 2 == 0 || next_ >= requests)) feed();
            wait();
            if (random_() % 4 != 0 || ring_.cq().ready() > 20) take();
        }
        while (done_ != next_) {
            REQUIRE(stages_.submit().end == EnterEnd::complete);
            take();
        }
        for (std::size_t i = 0; i < groups_.size(); i++) {
            REQUIRE(groups_[i].in_flight() == 0);
            REQUIRE(groups_[i].completed() == in_group_[i]);
        }
        REQUIRE(ring_.in_flight() == 0);
    }

private:
    void claim_some() {
        for (auto count = random_() % 17; count > 0 && ring_.sq().space_left() > 0; count--) {
            const std::uint64_t number = next_++;
            const std::uint64_t group = random_() % RINGSTEP_STAGES_GROUPS;
            in_group_[group]++;
            if (group == 0 && reads_open_ < 16) {
                claim_read(ring_, pipe_, &bytes_[number % bytes_.size()], number | read_bit);
                reads_open_++;
            } else {
                claim_nop(ring_, number | group << 32);
            }
        }
    }

    void feed() {
        if (ring_.sq().claimed() != 0) REQUIRE(stages_.submit().end != EnterEnd::failed);
        pipe_.feed(1);
        reads_open_--;
    }

    void wait() {
        const std::uint64_t open = next_ - done_ - reads_open_;  // bound to come, or there
        Entered entered;
        switch (random_() % 4) {
            case 0: {
                const auto few = static_cast<std::uint32_t>(std::min<std::uint64_t>(random_() % 8, open));
                const std::array waits{Stage{few + 20, std::chrono::microseconds(random_() % 100)},
                                       Stage{few + 4, std::chrono::microseconds(random_() % 100)},
                                       Stage{few, ringstep::for_ever}};
                stages_.set(waits);
                entered = stages_.submit_and_wait();
                REQUIRE(entered.end == EnterEnd::complete);
                REQUIRE(entered.completions >= waits[stages_.stage()].completions);
                break;
            }
            case 1: {
                const auto group = 1 + random_() % (RINGSTEP_STAGES_GROUPS - 1);
                until([&] { return stages_.submit_and_wait_for_all({groups_[group].all()}); });
                REQUIRE(groups_[group].completed() == in_group_[group]);
                break;
            }
            case 2: {
                const auto first = 1 + random_() % (RINGSTEP_STAGES_GROUPS - 1);
                until([&] {
                    return stages_.submit_and_wait_for_any(
                        {groups_[first].at_least(in_group_[first]), groups_[0].at_least(in_group_[0] + 1)});
                });
                REQUIRE(groups_[first].completed() == in_group_[first]);
                break;
            }
            default: {
                entered = stages_.submit_and_wait_for_all({groups_[0].all()}, std::chrono::microseconds(random_() % 200));
                if (entered.end == EnterEnd::complete) REQUIRE(groups_[0].in_flight() == 0);
                REQUIRE(entered.end != EnterEnd::failed);
            }
        }
    }

    template <class Wait>
    void until(Wait&& wait) {
        Entered entered = wait();
        while (entered.end == EnterEnd::cq_full) {
            take();
            entered = wait();
        }
        REQUIRE(entered.end == EnterEnd::complete);
    }

    void take() {
        seen_.resize(next_);
        for (const Completion& completion : ring_.cq()) {
            const std::uint64_t number = completion.user_data & 0xffffffff;
            const bool read = (completion.user_data & read_bit) != 0;
            REQUIRE(number < next_);
            REQUIRE_FALSE(seen_[number]);
            seen_[number] = true;
            done_++;
            REQUIRE(completion.result == (read ? 1 : 0));
            if (!read) {
                REQUIRE((number > last_ || last_ == 0));
                last_ = number;
            }
        }
    }

    static constexpr std::uint64_t read_bit = std::uint64_t{1} << 63;

    std::mt19937 random_;
    TestPipe pipe_;
    std::array<char, 4096> bytes_{};
    Ring ring_;
    Stages stages_;
    std::vector<RequestGroup> groups_;
    std::array<std::uint64_t, RINGSTEP_STAGES_GROUPS> in_group_{};
    std::vector<bool> seen_;
    std::uint64_t next_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t reads_open_ = 0;
    std::uint64_t last_ = 0;
};

}  // namespace

TEST_CASE("Random requests are waited for as they should be") {
    RandomWaits(1, {.sq_entries = 16, .cq_entries = 32}).run(rounds(10'000, 50'000));
    RandomWaits(2, {.sq_entries = 16, .cq_entries = 64, .cqe32 = true, .sqe128 = true}).run(rounds(10'000, 50'000));
}
