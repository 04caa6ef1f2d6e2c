// SPDX-License-Identifier: MIT
// Two fields that a loop writes with one store, read by another thread. ThreadSanitizer runs this, too.
#include <ringstep/detail/pairs.hpp>

#include "ensure.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>

using ringstep::detail::load_pair;
using ringstep::detail::Pair;

namespace {

struct Counts {
    __u32 waiting __attribute__((aligned(8)));
    __u32 in_flight;
};

typedef __u64 Both __attribute__((may_alias));  // NOLINT: see detail/pairs.hpp

// As loops store.
void store_both(Counts& counts, std::uint32_t waiting, std::uint32_t in_flight) {
    const std::uint32_t halves[2] = {waiting, in_flight};
    std::uint64_t both = 0;
    std::memcpy(&both, halves, sizeof both);
    __atomic_store_n(reinterpret_cast<Both*>(&counts.waiting), both, __ATOMIC_RELEASE);
}

}  // namespace

TEST_CASE("A pair is read in the order of its fields") {
    Counts counts{.waiting = 7, .in_flight = 9};
    const Pair pair = load_pair(counts.waiting, counts.in_flight);
    CHECK(pair.first == 7);
    CHECK(pair.second == 9);
}

TEST_CASE("A pair is of one moment, and what was written before it can be read") {
    Counts counts{};
    std::uint32_t written = 0;  // no atomic: the pair makes it visible
    const auto last = static_cast<std::uint32_t>(rounds(20000, 2000000));
    std::thread writer([&] {
        for (std::uint32_t i = 1; i <= last; i++) store_both(counts, last - i, i);
        written = 42;
        store_both(counts, 1, last);
    });
    for (;;) {
        const Pair pair = load_pair(counts.waiting, counts.in_flight);
        if (pair.second != 0 && pair.first != 1) ensure(pair.first + pair.second == last);
        if (pair.first == 1 && pair.second == last) break;
    }
    CHECK(written == 42);
    writer.join();
}
