// SPDX-License-Identifier: MIT
// Messages that wake up a thread in its wait: asleep or not, with a loop and without.
#include <ringstep/detail/tether.hpp>
#include <ringstep/detail/waker.hpp>
#include <ringstep/program.hpp>

#include "child.hpp"
#include "descriptors.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using descriptors::Pipe;
using ringstep::Completion;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using ringstep::detail::Waker;
using Scripted = LoopProgram<scripted_loop>;

namespace {

constexpr std::uint64_t tag = 0x77616b65;

/// Destroyed at exit, after all that the process made later: the library must still work then.
struct Lingering {
    bool wanted = false;
    ~Lingering() {
        if (wanted) std::this_thread::sleep_for(50ms);
    }
} lingering;

void wait_for(Ring& ring, unsigned completions) {
    ringstep::Submitted submitted = ring.submit_and_wait(completions);
    while (submitted.error == EINTR) submitted = ring.submit_and_wait(completions);
    REQUIRE(submitted);
}

LoopExit run(Scripted& program) {
    LoopExit exit;
    do {
        exit = program.run();
    } while (exit.reason == ExitReason::interrupted);
    return exit;
}

/// A loop that waits for two reads of a pipe.
struct Sleeper {
    Sleeper() {
        for (char& byte : bytes) io_uring_prep_read(add_request(program.state()), pipe.out(), &byte, 1, 0);
        program.state()->wait = 2;
        program.state()->stop_at = 2;
    }
    [[nodiscard]] std::uint64_t turns() const { return program.state().load(&scripted::turns); }

    Pipe pipe;
    char bytes[2] = {};
    Ring ring;
    Scripted program{ring};
};

}  // namespace

TEST_CASE("Completions that are posted end the wait of a thread that sleeps", "[main]") {
    Ring ring;
    std::jthread poster([fd = ring.fd()] {
        std::this_thread::sleep_for(20ms);
        for (int i = 0; i < 3; i++) ensure(Waker::instance().post(fd, tag + static_cast<unsigned>(i), 1) == 1);
    });
    wait_for(ring, 3);
    std::uint64_t next = tag;
    for (const Completion& completion : ring.cq()) {
        CHECK(completion.user_data == next++);
        CHECK(completion.result == 0);
    }
    CHECK(next == tag + 3);
}

TEST_CASE("Completions that are posted while nobody waits are there for the next wait, however many") {
    Ring ring{{.cq_entries = 256}};
    for (const std::uint32_t count : {1U, 63U, 64U, 65U, 200U}) {
        CAPTURE(count);
        CHECK(Waker::instance().post(ring.fd(), tag, count) == count);
        wait_for(ring, count);
        std::uint32_t seen = 0;
        for (const Completion& completion : ring.cq()) seen += completion.user_data == tag ? 1 : 0;
        CHECK(seen == count);
    }
    CHECK(Waker::instance().post(ring.fd(), tag, 0) == 0);
}

TEST_CASE("An ordinary wait goes on when it is woken up, and sees nothing of it") {
    Ring ring;
    std::jthread waker([fd = ring.fd()] {
        for (int i = 0; i < 10; i++) {
            std::this_thread::sleep_for(2ms);
            Waker::instance().wake(fd);
        }
        ensure(Waker::instance().post(fd, tag, 1) == 1);
    });
    wait_for(ring, 1);
    CHECK(ring.cq().ready() == 1);
    Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.user_data == tag);
}

TEST_CASE("A loop that sleeps takes a turn when it is woken up, with no completion", "[main]") {
    Sleeper sleeper;
    std::jthread waker([&] {
        wait_for_a_turn(sleeper.program.state());
        for (int i = 0; i < 20; i++) {
            std::this_thread::sleep_for(1ms);
            const std::uint64_t before = sleeper.turns();
            sleeper.program.wake();
            const auto until = std::chrono::steady_clock::now() + 30s;
            while (sleeper.turns() == before) {
                ensure(std::chrono::steady_clock::now() < until);
                std::this_thread::yield();
            }
        }
        sleeper.pipe.write(2);
    });
    CHECK(run(sleeper.program).ok());
    waker.join();
    REQUIRE(records(sleeper.program.state()).size() == 2);
    for (const scripted_record& record : records(sleeper.program.state())) CHECK(record.result == 1);
}

TEST_CASE("Wakes that come while no loop runs disturb neither the next run nor a plain wait", "[main]") {
    Sleeper sleeper;
    for (int i = 0; i < 100; i++) sleeper.program.wake();
    std::jthread writer([&] {
        wait_for_a_turn(sleeper.program.state());
        sleeper.pipe.write(2);
    });
    CHECK(run(sleeper.program).ok());
    writer.join();
    CHECK(records(sleeper.program.state()).size() == 2);
    for (int i = 0; i < 100; i++) sleeper.program.wake();
    sleeper.program.detach();
    io_uring_prep_nop(sleeper.ring.sq().claim());
    wait_for(sleeper.ring, 1);
    CHECK(sleeper.ring.cq().ready() == 1);
}

TEST_CASE("Wakes at any moment, by several threads, lose no completion") {
    Sleeper sleeper;
    std::atomic<bool> over{false};
    std::vector<std::jthread> wakers;
    for (int i = 0; i < 3; i++) {
        wakers.emplace_back([&] {
            while (!over) sleeper.program.wake();
        });
    }
    std::jthread writer([&] {
        wait_for_a_turn(sleeper.program.state());
        for (int i = 0; i < 2; i++) {
            std::this_thread::sleep_for(30ms);
            sleeper.pipe.feed();
        }
    });
    CHECK(run(sleeper.program).ok());
    over = true;
    wakers.clear();
    writer.join();
    CHECK(records(sleeper.program.state()).size() == 2);
}

TEST_CASE("Waiting for those who use a loop ends although there is always one of them") {
    ringstep::detail::Tether tether;
    tether.attach();
    std::atomic<bool> over{false};
    std::atomic<bool> begun{false};
    std::jthread user([&] {
        // Each begins before the one ahead of it ends.
        auto last = std::make_unique<ringstep::detail::Tether::Use>(tether);
        while (!over) {
            auto next = std::make_unique<ringstep::detail::Tether::Use>(tether);
            last = std::move(next);
            begun = true;
        }
    });
    while (!begun) std::this_thread::yield();
    for (int i = 0; i < 1000; i++) tether.wait_for_users();
    over = true;
}

TEST_CASE("What is no ring cannot be woken up, and rings can be after that") {
    const Pipe pipe;
    Ring ring;
    Waker& waker = Waker::instance();
    waker.wake(-1);
    CHECK(waker.post(-1, tag, 5) == 5);  // a ring of the parent process: nobody waits there
    waker.wake(pipe.in());
    (void)waker.post(pipe.in(), tag, 100);
    CHECK(waker.post(ring.fd(), tag, 1) == 1);
    wait_for(ring, 1);
    CHECK(ring.cq().ready() == 1);
}

TEST_CASE("A message that could not be sent is not sent later, so that counts stay right") {
    Ring ring;
    Waker& waker = Waker::instance();
    bool filtered = false;
    std::uint32_t sent = 99;
    std::thread([&] {
        // For this thread alone.
        filtered = forbid(SYS_io_uring_enter, SECCOMP_RET_ERRNO | EAGAIN);
        if (filtered) sent = waker.post(ring.fd(), 1000, 70);
    }).join();
    if (!filtered) SKIP("no system call filters here");
    CHECK(sent == 0);
    CHECK(waker.post(ring.fd(), 2000, 3) == 3);
    waker.wake(ring.fd());
    CHECK(waker.post(ring.fd(), 3000, 70) == 70);           // more than the waker's SQ holds
    for (unsigned i = 0; i < 20; i++) (void)ring.submit();  // each posts some of them
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    std::uint32_t third = 0;
    for (const ringstep::Completion& completion : ring.cq()) {
        first += completion.user_data == 1000;
        second += completion.user_data == 2000;
        third += completion.user_data == 3000;
    }
    CHECK(first == 0);
    CHECK(second == 3);
    CHECK(third == 70);
}

TEST_CASE("A process may exit while its threads wake and stop loops") {
    for (int i = 0; i < 2; i++) {
        const Outcome outcome = in_child([]() -> std::string {
            ::alarm(60);
            std::atomic<int> going{0};
            for (int thread = 0; thread < 2; thread++) {
                std::thread([&going, thread] {
                    // Never destroyed, as long as this thread is there to use it.
                    auto* const ring = new Ring();
                    auto* const program = new Scripted(*ring, {.engine = ringstep::Engine::user});
                    program->state()->wait = 1;
                    for (;;) {
                        if (thread == 0) Waker::instance().wake(ring->fd());
                        program->wake();
                        program->request_stop();
                        ensure(program->run().reason == ExitReason::stop_requested);
                        going++;
                    }
                }).detach();
            }
            while (going < 100) std::this_thread::yield();
            lingering.wanted = true;
            std::exit(7);  // NOLINT(concurrency-mt-unsafe)
        });
        INFO(outcome.err);
        REQUIRE(outcome.status == 7);
    }
}
