// SPDX-License-Identifier: MIT
// The authoring kit: walking over completions, claiming SQEs, waiting.
#include <ringstep/compiled/together.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "eventually.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <bpf/btf.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>

using namespace std::chrono_literals;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Scripted = LoopProgram<scripted_loop>;

namespace {

constexpr std::uint32_t nop_by_task_work = 1U << 4;  // IORING_NOP_TW, which older headers lack

// Returns whether a call of a program may make several turns in the running kernel. Kernels before 7.0 have loops only by our
// patches, and their verifiers cannot follow such a call.
bool calls_make_several_turns() {
    utsname names{};
    ::uname(&names);
    return std::atoi(names.release) >= 7;
}

// Returns whether the running kernel can do the ring's deferred work during a call of a program (kernel/next).
bool kernel_works_in_calls() {
    btf* const types = btf__load_vmlinux_btf();
    const bool found = types != nullptr && btf__find_by_name_kind(types, "bpf_io_uring_run_work", BTF_KIND_FUNC) > 0;
    btf__free(types);
    return found;
}

}  // namespace

TEST_CASE("A call of the program makes several turns if requests complete at once", "[main]") {
    constexpr std::uint32_t nops = 200;
    Ring ring{{.sq_entries = 8}};
    Scripted program(ring);
    add_nops(program.state(), nops);
    program.state()->sqes_per_turn = 1;
    program.state()->wait = 1;
    program.state()->stop_at = nops;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.turns == nops + 1);
    CHECK(exit.submitted == nops);
    CHECK(exit.completions == nops);
    if (program.engine() == ringstep::Engine::user) {
        CHECK(exit.calls == 0);
        CHECK(exit.enters <= nops + 1 + nops / 64 + 1);  // one for each submit, and some between turns
    } else if (calls_make_several_turns()) {
        CHECK(exit.calls == nops / 64 + 1);
    } else {
        CHECK(exit.calls == exit.turns);
    }
}

TEST_CASE("Requests that complete at once hold up others for one call of the program only") {
    constexpr std::uint32_t nops = 200;
    constexpr std::uint32_t late = 5;
    Ring ring{{.sq_entries = 8}};
    Scripted program(ring);
    add_nops(program.state(), nops);
    // The kernel completes this one as part of its deferred work, which it does between two calls. (Kernels that do
    // not know the flag complete it at once.)
    reinterpret_cast<io_uring_sqe*>(program.state()->templates[late])->rw_flags = nop_by_task_work;
    program.state()->sqes_per_turn = 2;  // another one beside it completes at once, so the call does not end with it
    program.state()->wait = 1;
    program.state()->stop_at = nops;
    CHECK(program.run().ok());
    const auto seen = records(program.state());
    REQUIRE(seen.size() == nops);
    std::uint32_t at = 0;
    while (seen[at].user_data != late) at++;
    // A call of the kernel's program ends after 64 completions. The user engine enters the kernel after 64 turns, and each turn
    // takes two completions here.
    CHECK(at <= late + (program.engine() == ringstep::Engine::user ? 2U * 65 : 66));
}

TEST_CASE("Receives whose data has arrived need no further call where the kernel works in calls", "[main]") {
    constexpr std::uint32_t messages = 200;
    constexpr std::uint32_t in_a_turn = 2;  // a receive, and the send that makes it complete
    const std::array<int, 2> ends = descriptors::tcp_pair();
    const int yes = 1;
    REQUIRE(::setsockopt(ends[1], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    std::array<char, 1> sent{'a'};
    std::array<char, messages> received{};
    Ring ring{{.sq_entries = 8}};
    Scripted program(ring);
    for (char& byte : received) {
        io_uring_sqe* sqe = add_request(program.state());
        io_uring_prep_recv(sqe, ends[0], &byte, 1, 0);
        sqe = add_request(program.state());
        io_uring_prep_send(sqe, ends[1], sent.data(), sent.size(), 0);
    }
    program.state()->sqes_per_turn = in_a_turn;
    program.state()->wait = in_a_turn;
    program.state()->stop_at = in_a_turn * messages;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.completions == in_a_turn * messages);
    for (const auto& record : records(program.state())) CHECK(record.result == 1);
    for (const char byte : received) CHECK(byte == 'a');
    if (program.engine() == ringstep::Engine::kernel) {
        CHECK(exit.turns >= messages + 1);
        // Without that, each receive is completed between two calls. With it, a call ends after 64 completions, or because the
        // kernel has something else to do.
        if (kernel_works_in_calls())
            CHECK(exit.calls <= messages / 4);
        else
            CHECK(exit.calls >= messages);
    }
    for (const int end : ends) ::close(end);
}

TEST_CASE("Short runs of requests that complete at once let the kernel complete others") {
    // A receive completes as part of the ring's deferred work. (Before Linux 6.5, a read from a pipe is a worker's.)
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    char byte = 0;
    Ring ring{{.sq_entries = 8}};
    ringstep::Gate gate(ring, {.depth = 4});
    gate.set_batch(1);
    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, ends[0], &byte, 1, 0);
    sqe.user_data = 1;
    gate.push(sqe);
    unsigned runs = 0;
    bool done = false;
    for (; runs < 100 && !done; runs++) {
        if (runs == 50) REQUIRE(::write(ends[1], "a", 1) == 1);
        io_uring_prep_nop(&sqe);
        sqe.user_data = 0;
        gate.push(sqe);
        CHECK(gate.run().reason == ExitReason::stopped);
        for (const auto& completion : gate.completions()) done |= completion.user_data == 1;
    }
    CHECK(done);
    CHECK(runs > 50);
    CHECK(runs <= 53);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("A run may end in its first call, and the kernel does the work that it owes all the same", "[main]") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    char byte = 0;
    Ring ring{{.sq_entries = 8}};
    ringstep::Gate gate(ring, {.depth = 4});
    gate.set_batch(1);
    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, ends[0], &byte, 1, 0);
    sqe.user_data = 1;
    gate.push(sqe);
    const auto run_nop = [&] {
        io_uring_prep_nop(&sqe);
        sqe.user_data = 2;
        gate.push(sqe);
        const LoopExit exit = gate.run();
        CHECK(exit.reason == ExitReason::stopped);
        CHECK(exit.code == RINGSTEP_REQUESTS_BATCH);
        return exit;
    };
    const auto taken = [&] {
        std::uint64_t sum = 0;
        for (const auto& completion : gate.completions()) sum += completion.user_data;
        return sum;
    };
    const bool several = gate.program().engine() == ringstep::Engine::kernel && calls_make_several_turns();
    (void)run_nop();
    CHECK(taken() == 2);
    const LoopExit alone = run_nop();
    CHECK(alone.turns == 2);
    if (several) CHECK(alone.calls == 1);
    CHECK(taken() == 2);

    // The data makes the receive complete, as soon as the kernel does the ring's deferred work.
    REQUIRE(::write(ends[1], "a", 1) == 1);
    const LoopExit both = run_nop();
    if (several) {
        CHECK(both.turns == 2);
        CHECK(both.calls == 1);
        CHECK(both.completions == 1);
        CHECK(ring.cq().ready() == 1);  // the kernel has done its work after the step had ended the run
    }
    std::uint64_t sum = taken();
    while (sum < 3) {
        (void)run_nop();
        sum += taken();
    }
    CHECK(sum % 2 == 1);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("A signal that comes after the step has stopped does not change how the run ends") {
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) {};
    REQUIRE(::sigaction(SIGIO, &action, &before) == 0);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    char byte = 'a';
    Ring ring{{.sq_entries = 8}};
    ringstep::Gate gate(ring, {.depth = 4});
    gate.set_batch(1);
    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, ends[0], &byte, 1, 0);
    gate.push(sqe);
    io_uring_prep_nop(&sqe);
    gate.push(sqe);
    CHECK(gate.run().reason == ExitReason::stopped);
    for (const auto& completion : gate.completions()) CHECK(completion.result == 0);

    // The send completes at once, which ends the run. It raises a signal, and makes the kernel owe the receive's completion.
    const f_owner_ex owner{.type = F_OWNER_TID, .pid = ::gettid()};
    REQUIRE(::fcntl(ends[0], F_SETOWN_EX, &owner) == 0);
    REQUIRE(::fcntl(ends[0], F_SETFL, O_ASYNC) == 0);
    const char sent = 'b';
    io_uring_prep_send(&sqe, ends[1], &sent, 1, 0);
    gate.push(sqe);
    LoopExit exit = gate.run();
    // Where a call makes one turn, the signal is there before the turn that stops.
    if (gate.program().engine() == ringstep::Engine::kernel && !calls_make_several_turns()) {
        CHECK(exit.reason == ExitReason::interrupted);
        exit = gate.run();
    }
    CHECK(exit.reason == ExitReason::stopped);
    CHECK(exit.code == RINGSTEP_REQUESTS_BATCH);
    CHECK(exit.error == 0);
    std::uint32_t taken = 0;
    do {
        for (const auto& completion : gate.completions()) {
            CHECK(completion.result == 1);
            taken++;
        }
    } while (taken != 2 && gate.run().reason != ExitReason::failed);
    CHECK(byte == 'b');
    ::close(ends[0]);
    ::close(ends[1]);
    ::sigaction(SIGIO, &before, nullptr);
}

TEST_CASE("A turn is handed a batch at most, the rest in the next one") {
    Ring ring{{.sq_entries = 256, .cq_entries = 512}};
    Scripted program(ring);
    add_nops(program.state(), 200);
    program.state()->stop_at = 200;
    program.state()->wait = 200;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(program.state()->most_in_a_turn == RINGSTEP_CQE_BATCH);
    CHECK(exit.turns == 1 + (200 + RINGSTEP_CQE_BATCH - 1) / RINGSTEP_CQE_BATCH);
    for (std::uint64_t i = 0; i < 200; i++) CHECK(records(program.state())[i].user_data == i);
}

TEST_CASE("Claiming more than the SQ holds submits in between") {
    const bool rewind = GENERATE(false, true);
    Ring ring{{.sq_entries = 8, .cq_entries = 1024, .sq_rewind = rewind}};
    Scripted program(ring);
    add_nops(program.state(), 100);
    program.state()->stop_at = 100;
    program.state()->wait = 1;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 100);
    for (std::uint64_t i = 0; i < 100; i++) CHECK(records(program.state())[i].user_data == i);
}

TEST_CASE("What the kernel did not take is submitted later, and once") {
    const bool rewind = GENERATE(false, true);
    const bool sqe128 = GENERATE(false, true);
    // Without submit_all, the kernel stops behind each request that it refuses.
    Ring ring{{.sq_entries = 32, .sqe128 = sqe128, .submit_all = false, .sq_rewind = rewind}};
    Scripted program(ring);
    add_nops(program.state(), 20);
    for (const unsigned bad : {3U, 4U, 11U}) reinterpret_cast<io_uring_sqe*>(program.state()->templates[bad])->opcode = 255;
    program.state()->stop_at = 20;
    program.state()->wait = 0;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 20);
    const auto seen = records(program.state());
    REQUIRE(seen.size() == 20);
    std::array<unsigned, 20> times{};
    for (const scripted_record& record : seen) {
        const auto i = record.user_data;
        REQUIRE(i < 20);
        CHECK(++times[i] == 1);
        CHECK(record.result == (i == 3 || i == 4 || i == 11 ? -EINVAL : 0));
    }
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("A wait for requests that the kernel did not take is none") {
    // Without submit_all the kernel stops behind the request that it refuses: five of the eight are not in flight.
    Ring ring{{.sq_entries = 16, .submit_all = false, .sq_rewind = GENERATE(false, true)}};
    LoopProgram<ringstep::loops::together> program(ring);
    program.state()->total = 8;
    program.state()->refused = 2;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 8);
    CHECK(exit.completions == 8);
}

TEST_CASE("An overflowing CQ loses nothing") {
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    Scripted program(ring);
    add_nops(program.state(), 64);
    program.state()->sqes_per_turn = 8;
    program.state()->ignore_turns = 8;  // 64 completions for 8 places
    program.state()->stop_at = 64;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    for (std::uint64_t i = 0; i < 64; i++) CHECK(records(program.state())[i].user_data == i);
    CHECK(ring.cq().dropped() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Completions of 32 bytes reach the step whole") {
    Ring ring{{.sq_entries = 8, .cqe32 = true}};
    Scripted program(ring);
    // IORING_NOP_CQE32 would need SQEs of a later kernel: the sender's second half is what MSG_RING leaves, zeroes.
    add_nops(program.state(), 5);
    program.state()->stop_at = 5;
    program.state()->wait = 5;
    CHECK(program.run().ok());
    for (const auto& record : records(program.state())) {
        CHECK(record.extra[0] == 0);
        CHECK(record.extra[1] == 0);
    }
}

TEST_CASE("Waking a loop up without a reason is harmless") {
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    char buffer[2];
    Ring ring;
    Scripted program(ring);
    for (char& byte : buffer) io_uring_prep_read(add_request(program.state()), pipe_fds[0], &byte, 1, 0);
    program.state()->wait = 2;
    program.state()->stop_at = 2;
    std::thread other([&] {
        wait_for_a_turn(program.state());
        for (int i = 0; i < 20; i++) {
            const std::uint64_t before = program.state().load(&scripted::turns);
            program.wake();
            ensure(eventually([&] { return program.state().load(&scripted::turns) != before; }));
        }
        (void)!::write(pipe_fds[1], "a", 1);
        std::this_thread::sleep_for(10ms);
        (void)!::write(pipe_fds[1], "b", 1);
    });
    const LoopExit exit = program.run();
    other.join();
    CHECK(exit.ok());
    CHECK(exit.completions == 2);
    CHECK(records(program.state()).size() == 2);
    CHECK(program.state()->idle_turns > 2);
    CHECK(ring.in_flight() == 0);
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}

TEST_CASE("Waiting for more than the CQ holds is waiting for all that it holds") {
    Ring ring{{.sq_entries = 8, .cq_entries = 8}};
    Scripted program(ring);
    add_nops(program.state(), 8);
    program.state()->stop_at = 8;
    program.state()->wait = 1000000;
    CHECK(program.run().ok());
}

TEST_CASE("Requests that complete more than once count as one in flight") {
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    Ring ring;
    Scripted program(ring);
    io_uring_prep_poll_multishot(add_request(program.state()), pipe_fds[0], POLLIN);
    program.state()->wait = 1;
    program.state()->stop_at = 2;
    std::thread other([&] {
        for (int i = 0; i < 2; i++) {
            while (program.state().load(&scripted::turns) == 0 ||
                   program.state().load(&scripted::recorded) != static_cast<unsigned>(i)) {
                std::this_thread::sleep_for(1ms);
            }
            std::this_thread::sleep_for(5ms);
            (void)!::write(pipe_fds[1], "x", 1);
        }
    });
    const LoopExit exit = program.run();
    other.join();
    CHECK(exit.ok());
    CHECK(exit.submitted == 1);
    CHECK(exit.completions == 2);
    CHECK((records(program.state())[0].flags & IORING_CQE_F_MORE) != 0);
    CHECK(ring.in_flight() == 1);
    CHECK(ring.close());
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
}
