// SPDX-License-Identifier: MIT
// A thread that writes random and crafted values all over the three regions of a ring.
#pragma once

#include <ringstep/ringstep.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

/// The work of that thread. Ring and memory must outlive it. Counts what it writes in `writes`.
class Writer {
public:
    Writer(std::span<std::byte> memory, ringstep::Ring& ring, std::uint64_t seed, std::atomic<std::uint64_t>& writes)
        : writes_(writes),
          memory_(words(memory.data(), memory.size())),
          cq_(words(ring.native().cq.ring_ptr, ring.native().cq.ring_sz)),
          sq_(words(ring.native().sq.sqes, std::size_t{ring.geometry().sq_entries} * ring.geometry().sqe_size)),
          heads_{ring.geometry().sq_head_offset / 4, ring.geometry().sq_tail_offset / 4, ring.geometry().cq_head_offset / 4,
                 ring.geometry().cq_tail_offset / 4},
          fresh_(memory_.begin(), memory_.end()),
          random_(seed) {}

    /// Writes until told to end.
    void run(const std::stop_token& token) {
        for (unsigned batch = 0; !token.stop_requested(); batch++) {
            if (batch % 8 == 7) begin_again();
            if (batch % 4 == 0) look_for_live_words();
            store(memory_[0], 0);  // .stop, or no run would begin any more
            for (int i = 0; i < 400 && !token.stop_requested(); i++) {
                write();
                // Often enough that something can come of what was written.
                if (i % 8 == 7) std::this_thread::yield();
                if (i % 100 == 99) std::this_thread::sleep_for(std::chrono::microseconds(random_() % 200));
            }
        }
    }

private:
    using Words = std::span<std::uint32_t>;
    static Words words(void* start, std::size_t size) { return {static_cast<std::uint32_t*>(start), size / 4}; }

    static std::uint32_t load(std::uint32_t& word) { return std::atomic_ref(word).load(std::memory_order_relaxed); }
    void store(std::uint32_t& word, std::uint32_t value) {
        std::atomic_ref(word).store(value, std::memory_order_relaxed);
        writes_.fetch_add(1, std::memory_order_relaxed);
    }

    /// The state is large and most of it unused. What the loop works with is not zero.
    void look_for_live_words() {
        live_.clear();
        static constexpr std::array<std::uint32_t, 1024> zeroes{};
        for (std::size_t i = 0; i < memory_.size(); i++) {
            // Whole pages at once: an emulated machine would do nothing else.
            if (i % zeroes.size() == 0 && std::memcmp(&memory_[i], zeroes.data(), sizeof zeroes) == 0) {
                i += zeroes.size() - 1;
                continue;
            }
            if (load(memory_[i]) == 0) continue;
            if (live_.size() < 50'000) {
                live_.push_back(static_cast<std::uint32_t>(i));
            } else if (random_() % 4 == 0) {
                live_[random_() % live_.size()] = static_cast<std::uint32_t>(i);
            }
        }
        if (live_.empty()) live_.push_back(0);
    }

    /// Garbled long enough, a loop does nothing any more. With the memory as it was in the beginning, it has work to do.
    void begin_again() {
        for (std::size_t i = 0; i < memory_.size(); i++) {
            if (i % 1024 == 0 && std::memcmp(&memory_[i], &fresh_[i], 4096) == 0) {
                i += 1023;
                continue;
            }
            if (load(memory_[i]) != fresh_[i]) store(memory_[i], fresh_[i]);
        }
    }

    std::uint32_t live() { return live_[random_() % live_.size()]; }

    std::uint32_t& place() {
        const std::uint64_t what = random_() % 100;
        if (what < 45) return memory_[live()];
        if (what < 60) return memory_[(live() + random_() % 64) % memory_.size()];
        if (what < 70) return memory_[80 + random_() % std::min<std::size_t>(256, memory_.size() - 80)];  // the state's front
        if (what < 78) return memory_[4 + random_() % 76];  // the control block, but for .stop and .address
        if (what < 79) return memory_[0];                   // .stop
        if (what < 88) return cq_[heads_[random_() % heads_.size()]];
        if (what < 92) return cq_[random_() % cq_.size()];
        if (what < 97) return sq_[random_() % sq_.size()];
        return memory_[random_() % memory_.size()];
    }

    std::uint32_t value(std::uint32_t before) {
        static constexpr std::uint32_t edges[] = {
            0,          1,          31,         32,         33,         63,         64,          65,      255,
            256,        257,        4095,       4096,       16383,      16384,      16385,       0xffff,  0x10000,
            0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0xfffffff0, 0xffff'ff00, 1 << 20, 1 << 23};
        switch (random_() % 8) {
            case 0: return static_cast<std::uint32_t>(random_() % 4);
            case 1:
            case 2: return static_cast<std::uint32_t>(random_() % 256);  // a slot that is in use, perhaps: links become cycles
            case 3: return edges[random_() % std::size(edges)];
            case 4: return load(memory_[live()]);
            case 5: return before + static_cast<std::uint32_t>(random_() % 5) - 2;
            case 6: return before ^ 1U << random_() % 32;
            default: return static_cast<std::uint32_t>(random_());
        }
    }

    void write() {
        std::uint32_t& word = place();
        const std::uint32_t wanted = value(load(word));
        store(word, wanted);
        // At times many words alike, so that whole tables point at one place.
        if (random_() % 50 != 0 || &word < memory_.data() || &word >= memory_.data() + memory_.size()) return;
        std::size_t at = static_cast<std::size_t>(&word - memory_.data());
        const std::size_t stride = 1 + random_() % 40;
        for (int i = 0; i < 100 && at < memory_.size(); i++, at += stride)
            if (at >= 4) store(memory_[at], wanted);
    }

    std::atomic<std::uint64_t>& writes_;
    Words memory_, cq_, sq_;
    std::array<std::uint32_t, 4> heads_;
    std::vector<std::uint32_t> fresh_;
    std::vector<std::uint32_t> live_;
    std::mt19937_64 random_;
};
