// SPDX-License-Identifier: MIT
#include <ringstep/loops/pace.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "error_of.hpp"
#include "loops/requests.hpp"
#include "thorough.hpp"

using requests::nop;
using requests::Pipe;
using requests::read_of;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::Pace;
using ringstep::PaceRate;
using ringstep::Ring;
using ringstep::Ticket;

namespace {

/// A bucket, in the plainest arithmetic: wide integers of 10^-9 tokens.
class Bucket {
public:
    Bucket(std::uint64_t rate, std::uint64_t burst) : rate_(rate), full_(static_cast<Wide>(burst) * token), level_(full_) {}

    /// Whether a request of so many tokens may go at this time; takes them.
    bool take(std::uint64_t time, std::uint64_t tokens) {
        if (rate_ == 0) return true;
        const bool may = could_take(time, tokens);
        level_ = level_at(time) - static_cast<Wide>(tokens) * token;
        time_ = time;
        return may;
    }

    /// The same question, without taking any. Not of a time before the last request.
    [[nodiscard]] bool could_take(std::uint64_t time, std::uint64_t tokens) const {
        return rate_ == 0 || level_at(time) >= needed(tokens);
    }

    /// The first nanosecond at which it could take so many, of those since the last request.
    [[nodiscard]] std::uint64_t due(std::uint64_t tokens) const {
        if (could_take(time_, tokens)) return time_;
        const Wide missing = needed(tokens) - level_;
        return time_ + static_cast<std::uint64_t>((missing - 1) / static_cast<Wide>(rate_) + 1);
    }

private:
    __extension__ using Wide = __int128;
    static constexpr Wide token = 1'000'000'000;

    [[nodiscard]] Wide needed(std::uint64_t tokens) const { return std::min(full_, static_cast<Wide>(tokens) * token); }
    [[nodiscard]] Wide level_at(std::uint64_t time) const {
        return std::min(full_, level_ + static_cast<Wide>(time - time_) * static_cast<Wide>(rate_));
    }

    std::uint64_t rate_;
    Wide full_;
    Wide level_;
    std::uint64_t time_ = 0;
};

struct Begun {
    std::uint64_t number = 0;
    std::uint64_t time = 0;
    std::uint64_t bytes = 0;
};

/// What a class is allowed, as the model counts it.
struct ClassModel {
    explicit ClassModel(const PaceRate& rate)
        : operations(rate.operations, rate.operations_burst), bytes(rate.bytes, rate.bytes_burst) {}
    bool take(const Begun& begun) {
        const bool may = operations.take(begun.time, 1);
        return bytes.take(begun.time, begun.bytes) && may;
    }
    [[nodiscard]] bool could_take(std::uint64_t time, std::uint64_t size) const {
        return operations.could_take(time, 1) && bytes.could_take(time, size);
    }
    [[nodiscard]] std::uint64_t due(std::uint64_t size) const { return std::max(operations.due(1), bytes.due(size)); }

    Bucket operations;
    Bucket bytes;
};

/// In order, at times that never run backwards, each when both buckets had what it took.
void check_class(const std::vector<Begun>& begun, const PaceRate& rate) {
    ClassModel model(rate);
    for (std::size_t i = 0; i < begun.size(); i++) {
        REQUIRE(begun[i].time != 0);
        if (i > 0) {
            REQUIRE(begun[i].number > begun[i - 1].number);
            REQUIRE(begun[i].time >= begun[i - 1].time);
        }
        REQUIRE(model.take(begun[i]));
    }
}

/// The turns of a run that submitted anything, by what the loop noted: when each was, and how many requests it submitted. All
/// requests had been pushed before the run.
class Turns {
public:
    void add(std::uint64_t time) { submitted_[time]++; }
    /// To be called when all have been added.
    void end() {
        for (const auto& [time, count] : submitted_) turns_.push_back({time, count});
    }
    /// The last turn before `end` that could have submitted the request with that number in the run, if it had its tokens: it
    /// had received the request, and submitted fewer than it may. Each turn receives 64, and submits 64 at most.
    [[nodiscard]] std::optional<std::uint64_t> last_chance(std::uint64_t number, std::uint64_t end) const {
        for (auto at = static_cast<std::size_t>(
                 std::ranges::lower_bound(turns_, end, {}, [](const Turn& turn) { return turn.time; }) - turns_.begin());
             at-- > 0 && number / 64 <= at;) {
            if (turns_[at].submitted < 64) return turns_[at].time;
        }
        return std::nullopt;
    }

private:
    struct Turn {
        std::uint64_t time;
        unsigned submitted;
    };
    std::map<std::uint64_t, unsigned> submitted_;
    std::vector<Turn> turns_;
};

void check_settled(const Pace& pace, const Ring& ring) {
    CHECK(pace.outstanding() == 0);
    CHECK(ring.in_flight() == 0);
    CHECK(pace.waiting() == 0);
    CHECK(pace.in_flight() == 0);
    CHECK(pace.state()->requests.foreign == 0);
}

}  // namespace

TEST_CASE("The model of a bucket refuses what is too early") {
    Bucket bucket(1000, 2);
    CHECK(bucket.take(5'000'000, 1));
    CHECK(bucket.take(5'000'000, 1));
    CHECK(bucket.take(6'000'000, 1));
    CHECK(bucket.due(1) == 7'000'000);
    CHECK_FALSE(bucket.could_take(6'999'999, 1));
    CHECK(bucket.could_take(7'000'000, 1));
    CHECK_FALSE(bucket.take(6'999'999, 1));
}

TEST_CASE("Without limits everything goes at once, in order, the whole capacity", "[main]") {
    Ring ring{{.sq_entries = 8}};
    Pace pace(ring);
    for (std::uint64_t i = 0; i < Pace::capacity; i++) pace.push(nop(i));
    CHECK_FALSE(pace.try_push(nop(0)));
    CHECK(error_of([&] { pace.push(nop(0)); }).error_number() == ENOSPC);
    CHECK(pace.run().ok());
    std::uint64_t next = 0;
    for (const auto& completion : pace.completions()) REQUIRE(completion.user_data == next++);
    CHECK(next == Pace::capacity);
    CHECK(pace.begun(0) == Pace::capacity);
    check_settled(pace, ring);
}

// The loop notes when it looked at its buckets, so "not too late" needs no other clock: of all the turns that are known of, a
// request went in the first that found its tokens.
TEST_CASE("Requests at random go in the turn in which their tokens are there, not before and not after") {
    Ring ring{{.sq_entries = 32, .cq_entries = 8192}};
    Pace pace(ring);
    std::minstd_rand random(7);
    std::vector<ClassModel> models;
    for (std::uint32_t i = 0; i < Pace::classes; i++) {
        const PaceRate rate{.operations = i % 3 == 0 ? 0 : 40'000 + random() % 200'000,
                            .operations_burst = 1 + random() % 50,
                            .bytes = i % 4 == 1 ? 0 : 500'000'000 + random() % 1'000'000'000,
                            .bytes_burst = 1 + random() % 200'000};
        pace.set_rate(i, rate);
        models.emplace_back(rate);
    }
    std::array<std::uint64_t, Pace::classes> counts{};
    unsigned chances = 0;
    const std::uint64_t total = rounds(20'000, 100'000);
    for (std::uint64_t first = 0; first < total; first += 2000) {
        for (std::uint64_t number = 0; number < 2000; number++)
            pace.push(nop(number), static_cast<std::uint32_t>(random() % Pace::classes), random() % 30'000);
        REQUIRE(pace.run().ok());
        std::array<std::vector<Begun>, Pace::classes> begun;
        std::vector<unsigned> times(2000);
        Turns turns;
        for (const auto& completion : pace.completions()) {
            times.at(completion.user_data)++;
            begun.at(completion.own.request_class)
                .push_back({completion.user_data, completion.own.begun, completion.own.bytes});
            turns.add(completion.own.begun);
        }
        turns.end();
        REQUIRE(std::ranges::all_of(times, [](unsigned count) { return count == 1; }));
        for (std::uint32_t i = 0; i < Pace::classes; i++) {
            std::uint64_t previous = 0;  // when the one before it began
            bool in_order = true;
            bool too_early = false;
            bool too_late = false;
            for (const Begun& request : begun.at(i)) {
                in_order = in_order && request.time >= previous && (previous == 0 || request.number > (&request - 1)->number);
                const std::optional<std::uint64_t> chance = turns.last_chance(request.number, request.time);
                if (chance && *chance >= previous) {
                    chances++;
                    too_late = too_late || models[i].could_take(*chance, request.bytes);
                }
                too_early = too_early || !models[i].take(request);
                previous = request.time;
            }
            INFO("requests " << first << " to " << first + 1999 << ", class " << i);
            REQUIRE(in_order);
            REQUIRE_FALSE(too_early);
            REQUIRE_FALSE(too_late);
            counts.at(i) += begun.at(i).size();
        }
    }
    for (std::uint32_t i = 0; i < Pace::classes; i++) CHECK(pace.begun(i) == counts.at(i));
    CHECK(chances > total / 100);
    check_settled(pace, ring);
}

TEST_CASE("The loop sleeps until the first of all classes has its tokens", "[main]") {
    struct Class {
        std::uint32_t number;
        PaceRate rate;
        std::uint64_t bytes;  // of each request
    };
    // Some go at once. The others would take from twenty seconds to years.
    constexpr std::array<Class, 4> classes{
        {{0, {.operations = 1, .operations_burst = 3}, 0},
         {5, {.bytes = 3, .bytes_burst = 100'000}, 40'000},
         {9, {.bytes = 7, .bytes_burst = 10}, 1'000'000'000},
         {15, {.operations = 1, .operations_burst = 2, .bytes = 2, .bytes_burst = 1'000'000}, 400'000}}};
    const unsigned chosen = GENERATE(1U, 2U, 4U, 8U, 12U, 14U, 15U);
    INFO("classes " << chosen);
    Ring ring;
    Pace pace(ring);
    std::map<std::uint32_t, ClassModel> models;
    std::map<std::uint32_t, unsigned> begun;
    std::vector<Ticket> tickets;
    for (std::size_t i = 0; i < classes.size(); i++) {
        if ((chosen & 1U << i) == 0) continue;
        const Class& each = classes.at(i);
        pace.set_rate(each.number, each.rate);
        models.emplace(each.number, each.rate);
        for (unsigned number = 0; number < 20; number++) tickets.push_back(pace.push(nop(number), each.number, each.bytes));
    }
    // Until all that has begun is complete: then it is known when each began.
    pace.set_batch(1);
    do {
        REQUIRE(pace.run().code == RINGSTEP_REQUESTS_BATCH);
        pace.set_batch(pace.ready() + pace.in_flight());
    } while (pace.in_flight() != 0);
    for (const auto& completion : pace.completions()) {
        CHECK(completion.user_data == begun[completion.own.request_class]++);
        CHECK(models.at(completion.own.request_class).take({completion.user_data, completion.own.begun, completion.own.bytes}));
    }
    std::uint64_t due = ~std::uint64_t{0};
    for (const Class& each : classes) {
        const auto found = models.find(each.number);
        if (found != models.end() && begun[each.number] < 20) due = std::min(due, found->second.due(each.bytes));
    }
    CHECK(pace.waiting() > 0);
    CHECK(pace.state()->deadline == due);
    pace.set_batch(0);
    for (const Ticket& ticket : tickets) pace.cancel(ticket);
    CHECK(pace.run().ok());
    for (const auto& completion : pace.completions()) CHECK(completion.result == -ECANCELED);
    check_settled(pace, ring);
}

TEST_CASE("The smallest burst and the largest rates keep the promise") {
    Ring ring;
    Pace pace(ring);
    const PaceRate single{.operations = 20'000, .operations_burst = 1};
    const PaceRate larger{.bytes = 1'000'000'000'000, .bytes_burst = std::uint64_t{1} << 32};
    const PaceRate owing{.bytes = 100'000'000, .bytes_burst = 10};
    pace.set_rate(1, single);
    pace.set_rate(2, larger);
    pace.set_rate(3, owing);
    for (std::uint64_t i = 0; i < 300; i++) {
        pace.push(nop(i), 1);
        pace.push(nop(i), 2, 0xffffffff);
        pace.push(nop(i), 3, 10'000);
    }
    CHECK(pace.run().ok());
    std::array<std::vector<Begun>, 4> begun;
    for (const auto& completion : pace.completions())
        begun.at(completion.own.request_class).push_back({completion.user_data, completion.own.begun, completion.own.bytes});
    check_class(begun[1], single);
    check_class(begun[2], larger);
    check_class(begun[3], owing);
    CHECK(begun[3].size() == 300);
    CHECK(pace.bytes_begun(3) == 3'000'000);
    check_settled(pace, ring);
}

TEST_CASE("A class that waits holds no other one up") {
    Ring ring;
    Pace pace(ring);
    pace.set_rate(0, {.bytes = 1, .bytes_burst = 1});  // the second one would wait for a day
    pace.push(nop(0), 0, 86'400);
    const Ticket waits = pace.push(nop(1), 0, 1);
    for (std::uint64_t i = 2; i < 1002; i++) pace.push(nop(i), 15);
    pace.set_batch(1001);
    CHECK(pace.run().code == RINGSTEP_REQUESTS_BATCH);
    CHECK(pace.waiting() == 1);
    ringstep::Pace::completion_type completion;
    while (pace.pop(completion)) CHECK(completion.user_data != 1);
    SECTION("until it is cancelled") {
        CHECK(pace.cancel(waits));
        CHECK(pace.run().ok());
        REQUIRE(pace.pop(completion));
        CHECK(completion.result == -ECANCELED);
        CHECK(completion.own.begun == 0);
    }
    SECTION("until it has another rate, while the loop sleeps") {
        std::thread other([&] {
            const std::atomic_ref asleep(pace.state()->mailbox.asleep);
            while (asleep.load() == 0) std::this_thread::yield();
            pace.set_rate(0, {});
        });
        CHECK(pace.run().ok());
        other.join();
        REQUIRE(pace.pop(completion));
        CHECK(completion.ok());
    }
    CHECK(completion.user_data == 1);
    check_settled(pace, ring);
}

TEST_CASE("What is out of range is refused") {
    Ring ring;
    Pace pace(ring);
    CHECK(error_of([&] { pace.push(nop(1), Pace::classes); }).error_number() == EINVAL);
    CHECK(error_of([&] { (void)pace.try_push(nop(1), 0, std::uint64_t{1} << 32); }).error_number() == EINVAL);
    CHECK(error_of([&] { pace.set_rate(Pace::classes, {}); }).error_number() == EINVAL);
    CHECK(error_of([&] { pace.set_rate(0, {.operations = 1, .operations_burst = 0}); }).error_number() == EINVAL);
    CHECK(error_of([&] { pace.set_rate(0, {.bytes = 1, .bytes_burst = (std::uint64_t{1} << 32) + 1}); }).error_number() ==
          EINVAL);
    CHECK(error_of([&] { pace.set_rate(0, {.bytes = 1'000'000'000'001}); }).error_number() == EINVAL);
    CHECK(error_of([&] { (void)pace.begun(99); }).error_number() == EINVAL);
    CHECK(pace.run().ok());
}

TEST_CASE("What requests count as") {
    std::array<char, 100> memory{};
    io_uring_sqe sqe{};
    io_uring_prep_read(&sqe, 0, memory.data(), 70, 0);
    CHECK(Pace::bytes_of(sqe) == 70);
    io_uring_prep_send(&sqe, 0, memory.data(), 30, 0);
    CHECK(Pace::bytes_of(sqe) == 30);
    const std::array<iovec, 2> vector{{{memory.data(), 10}, {memory.data() + 50, 25}}};
    io_uring_prep_writev(&sqe, 0, vector.data(), 2, 0);
    CHECK(Pace::bytes_of(sqe) == 35);
    for (const unsigned vectored : {60U, 61U}) {  // IORING_OP_READV_FIXED, IORING_OP_WRITEV_FIXED
        sqe.opcode = static_cast<__u8>(vectored);
        CHECK(Pace::bytes_of(sqe) == 35);
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(vector.data());
    message.msg_iovlen = 2;
    io_uring_prep_sendmsg(&sqe, 0, &message, 0);
    CHECK(Pace::bytes_of(sqe) == 35);
    // Lengths that no sum holds do not come out as a small one.
    const std::array<iovec, 2> much{{{memory.data(), std::size_t{1} << 63}, {memory.data(), (std::size_t{1} << 63) + 5}}};
    io_uring_prep_writev(&sqe, 0, much.data(), 2, 0);
    CHECK(Pace::bytes_of(sqe) == ~std::uint64_t{0});
    io_uring_prep_writev(&sqe, 0, nullptr, 2, 0);
    CHECK(Pace::bytes_of(sqe) == 0);
    io_uring_prep_splice(&sqe, 0, -1, 1, -1, 4096, 0);
    CHECK(Pace::bytes_of(sqe) == 4096);
    io_uring_prep_fsync(&sqe, 0, 0);
    CHECK(Pace::bytes_of(sqe) == 0);
    io_uring_prep_nop(&sqe);
    CHECK(Pace::bytes_of(sqe) == 0);
}

TEST_CASE("A request that fails says so, and the CQ may overflow") {
    Ring ring{{.sq_entries = 4, .cq_entries = 4}};
    Pace pace(ring);
    pace.set_rate(0, {.operations = 1'000'000, .operations_burst = 100});
    char byte = 0;
    for (std::uint64_t i = 0; i < 2000; i++)
        pace.push(i % 3 == 0 ? read_of(-1, &byte, 1, i) : nop(i), static_cast<std::uint32_t>(i % 2));
    CHECK(pace.run().ok());
    std::vector<unsigned> times(2000);
    for (const auto& completion : pace.completions()) {
        CHECK(completion.result == (completion.user_data % 3 == 0 ? -EBADF : 0));
        times.at(completion.user_data)++;
    }
    CHECK(std::ranges::all_of(times, [](unsigned count) { return count == 1; }));
    check_settled(pace, ring);
}

TEST_CASE("What is in flight can be cancelled, and a stop under way loses nothing", "[main]") {
    Pipe pipe;
    std::array<char, 4> bytes{};
    Ring ring;
    Pace pace(ring);
    pace.set_rate(0, {.operations = 1, .operations_burst = 2});
    std::vector<Ticket> tickets;
    for (unsigned i = 0; i < 4; i++) tickets.push_back(pace.push(read_of(pipe.out(), &bytes.at(i), 1, i)));
    std::jthread other([&] {
        while (pace.in_flight() < 2) std::this_thread::yield();
        pace.program().request_stop();
    });
    CHECK(pace.run().reason == ExitReason::stop_requested);
    CHECK(pace.outstanding() == 4);
    CHECK(pace.cancel(tickets[0]));
    CHECK(pace.cancel(tickets[3]));
    pace.set_rate(0, {});
    REQUIRE(::write(pipe.in(), "abcd", 4) == 4);
    CHECK(pace.run().ok());
    std::array<int, 4> results{};
    for (const auto& completion : pace.completions()) results.at(completion.user_data) = completion.result;
    CHECK((results[0] == -ECANCELED || results[0] == 1));  // it may have been too late
    CHECK(results[1] == 1);
    CHECK(results[2] == 1);
    CHECK((results[3] == -ECANCELED || results[3] == 1));
    check_settled(pace, ring);
}

TEST_CASE("Three threads push, cancel and change rates while the loop runs, a fourth takes") {
    constexpr std::uint64_t threads = 3;
    constexpr std::uint64_t each = 5000;
    Ring ring{{.sq_entries = 16}};
    Pace pace(ring);
    pace.set_stay(true);
    std::vector<std::thread> others;
    std::atomic<std::uint64_t> cancels{0};
    for (unsigned number = 0; number < threads; number++) {
        others.emplace_back([&, number] {
            std::minstd_rand random(number + 1);
            for (std::uint64_t i = 0; i < each; i++) {
                std::optional<Ticket> ticket;
                while (!(ticket =
                             pace.try_push(nop(number * each + i), static_cast<std::uint32_t>(random() % 4), random() % 1000)))
                    std::this_thread::yield();
                if (random() % 8 == 0 && pace.cancel(*ticket)) cancels++;
                if (random() % 64 == 0) {
                    pace.set_rate(static_cast<std::uint32_t>(random() % 4),
                                  {.operations = random() % 2 == 0 ? 0 : 100'000 + random() % 100'000,
                                   .operations_burst = 1 + random() % 300,
                                   .bytes = random() % 2 == 0 ? 0 : 100'000'000 + random() % 100'000'000,
                                   .bytes_burst = 1 + random() % 100'000});
                }
            }
        });
    }
    requests::run_among(pace, others, threads * each, cancels);
    check_settled(pace, ring);
}
