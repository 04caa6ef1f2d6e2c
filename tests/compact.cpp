// SPDX-License-Identifier: MIT
// Completions that are taken out of the middle of a CQ: by loops of both engines and by rings, with the same code.
#include <ringstep/c/compact.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "thorough.hpp"

namespace {

struct Cqe {
    __u64 words[4] = {};
    bool operator==(const Cqe&) const = default;
};

/// A CQ that is memory only.
struct Cq {
    std::uint32_t entries;
    std::uint32_t shift;
    std::vector<__u64> memory;

    Cq(std::uint32_t log_entries, std::uint32_t log_words)
        : entries(1U << log_entries), shift(log_words), memory(std::size_t{entries} << log_words) {}
    [[nodiscard]] __u64* at(std::uint32_t index) { return &memory[std::size_t{index & (entries - 1)} << shift]; }
    [[nodiscard]] Cqe get(std::uint32_t index) {
        Cqe cqe;
        std::memcpy(cqe.words, at(index), sizeof(__u64) << shift);
        return cqe;
    }
    void put(std::uint32_t index, const Cqe& cqe) { std::memcpy(at(index), cqe.words, sizeof(__u64) << shift); }
};

/// Says which completions to drop, and records which ones it was asked about.
struct Drops {
    std::uint64_t modulus = 0;
    std::vector<std::uint64_t> asked;

    static int call(void* context, const ringstep_cqe_word* cqe) {
        auto& drops = *static_cast<Drops*>(context);
        drops.asked.push_back(cqe[0]);
        return drops.modulus != 0 && cqe[0] % drops.modulus == 0 ? 1 : 0;
    }
};

}  // namespace

TEST_CASE("What is taken out of a CQ is gone, and the rest stays in its order") {
    const auto seed = Catch::getSeed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::uint64_t count = rounds(5000, 500'000);
    for (std::uint64_t i = 0; i < count; i++) {
        Cq cq(static_cast<std::uint32_t>(random() % 7), 1 + static_cast<std::uint32_t>(random() % 2));
        const std::uint32_t size = static_cast<std::uint32_t>(random() % (cq.entries + 1));
        // The indices of the CQ also wrap around.
        const std::uint32_t head = static_cast<std::uint32_t>(random() % 3 == 0 ? 0 - random() % 64 : random());
        const std::uint32_t end = head + size;
        Drops drops;
        drops.modulus = random() % 5;
        std::vector<Cqe> all;
        std::vector<Cqe> kept;
        for (std::uint32_t at = 0; at < cq.entries; at++) {
            Cqe cqe;
            for (std::uint32_t word = 0; word < 1U << cq.shift; word++) cqe.words[word] = random();
            cq.put(head + at, cqe);
            all.push_back(cqe);
            if (at < size && (drops.modulus == 0 || cqe.words[0] % drops.modulus != 0)) kept.push_back(cqe);
        }
        const std::uint32_t now =
            ringstep_cq_compact(cq.memory.data(), cq.entries - 1, cq.shift, head, end, Drops::call, &drops);
        CAPTURE(i, cq.entries, cq.shift, head, size, drops.modulus);
        REQUIRE(end - now == kept.size());
        for (std::uint32_t at = 0; at < kept.size(); at++) REQUIRE(cq.get(now + at) == kept[at]);
        // Entries behind the end belong to the kernel, and none of them has changed.
        for (std::uint32_t at = size; at < cq.entries; at++) REQUIRE(cq.get(head + at) == all[at]);
        // Each completion was looked at exactly once, from the last to the first.
        REQUIRE(drops.asked.size() == size);
        for (std::uint32_t at = 0; at < size; at++) REQUIRE(drops.asked[at] == all[size - 1 - at].words[0]);
    }
}

TEST_CASE("A CQ whose words do not fit together is left alone") {
    Cq cq(3, 1);
    for (std::uint32_t at = 0; at < 8; at++) cq.put(at, {{at + 1}});
    const std::vector<__u64> before = cq.memory;
    for (const std::uint32_t size : {9U, 10U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
        Drops drops;
        drops.modulus = 1;
        CHECK(ringstep_cq_compact(cq.memory.data(), 7, 1, 5, 5 + size, Drops::call, &drops) == 5);
        CHECK(drops.asked.empty());
        CHECK(cq.memory == before);
    }
}
