// SPDX-License-Identifier: MIT
// What a program and its ring, region and state are to each other.
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "error_of.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

using ringstep::Engine;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::RegionMemory;
using ringstep::RegionView;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

namespace {

void run_nops(Nops& program, std::uint64_t count, std::uint64_t depth = 1) {
    program.state()->total += count;
    program.state()->depth = depth;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == count);
    CHECK(exit.completions == count);
    CHECK(program.state()->completed == program.state()->total);
}

struct WrongState {
    struct state {
        std::uint64_t other;
    };
    static constexpr std::string_view name = "nop_chain";
    static std::span<const std::byte> object() { return ringstep::loops::nop_chain::object(); }
    static const ringstep_user_loop& user() { return ringstep::loops::nop_chain::user(); }
};
struct WrongName {
    using state = ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chan";
    static std::span<const std::byte> object() { return ringstep::loops::nop_chain::object(); }
    static const ringstep_user_loop& user() { return ringstep::loops::nop_chain::user(); }
};
struct Damaged {
    using state = ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chain";
    static std::span<const std::byte> object() { return ringstep::loops::nop_chain::object().first(300); }
};
struct OldKit {
    using state = ringstep_nop_chain;
    static constexpr std::string_view name = "nop_chain";
    static std::span<const std::byte> object() { return ringstep::loops::nop_chain::object(); }
    static const ringstep_user_loop& user() {
        static const ringstep_user_loop old = [] {
            ringstep_user_loop loop = ringstep::loops::nop_chain::user();
            loop.abi += 1000;
            return loop;
        }();
        return old;
    }
};

}  // namespace

TEST_CASE("A loop runs on every kind of ring") {
    const bool rewind = GENERATE(false, true);
    const bool cqe32 = GENERATE(false, true);
    const bool sqe128 = GENERATE(false, true);
    Ring ring{{.sq_entries = 8, .cq_entries = 16, .cqe32 = cqe32, .sqe128 = sqe128, .sq_rewind = rewind}};
    Nops program(ring);
    run_nops(program, 100, 1);
    run_nops(program, 100, 5);
    run_nops(program, 100, 64);  // more than the SQ holds
}

TEST_CASE("Large rings verify") {
    Ring ring{{.sq_entries = 4096, .cq_entries = 65536}};
    Nops program(ring);
    run_nops(program, 10000, 4096);
}

TEST_CASE("A loop's counts are those of the run") {
    Ring ring;
    Nops program(ring);
    run_nops(program, 10);
    program.state()->total += 5;
    const LoopExit exit = program.run();
    CHECK(exit.submitted == 5);
    CHECK(exit.completions == 5);
    CHECK(exit.turns >= 2);
    CHECK(exit.turns <= 6);  // in the kernel, a turn goes on with what completes at once
}

TEST_CASE("One region serves one program after the other, and each starts with its state zeroed") {
    Ring ring;
    {
        Scripted first(ring, {.extra_bytes = 1000});
        CHECK(first.state().extra().size() >= 1000);
        add_nops(first.state(), 3);
        first.state()->stop_at = 3;
        CHECK(first.run().ok());
    }
    CHECK_FALSE(ring.has_loop());
    Nops second(ring);
    CHECK(second.state()->total == 0);
    CHECK(second.state()->completed == 0);
    run_nops(second, 10);
}

TEST_CASE("The region is the application's own, if it likes") {
    auto memory = RegionMemory::allocate(4096, GENERATE(false, true));
    Ring ring;
    ring.use_region(memory);
    CHECK(ring.region() == memory);
    Nops program(ring);
    CHECK(program.state().memory() == memory);
    CHECK(reinterpret_cast<std::byte*>(program.state().get()) == memory->data() + sizeof(ringstep_control));
    run_nops(program, 10);
    CHECK(error_of([&] { ring.use_region(RegionMemory::allocate(4096)); }).error_number() == EBUSY);
}

TEST_CASE("A region that is too small is refused, with both sizes") {
    Ring ring;
    ring.use_region(RegionMemory::allocate(4096));
    const auto error = error_of([&] { Scripted program(ring); });
    CHECK(error.error_number() == ENOSPC);
    CHECK(error.tried().find("4096 bytes") != std::string_view::npos);
    CHECK(error.advice().find(std::to_string(sizeof(ringstep_control) + sizeof(scripted))) != std::string_view::npos);
    CHECK_FALSE(ring.has_loop());
    Nops fits(ring);
    run_nops(fits, 1);
}

TEST_CASE("The state outlives the program and the ring") {
    auto ring = std::make_unique<Ring>();
    auto program = std::make_unique<Nops>(*ring);
    const RegionView<ringstep_nop_chain> state = program->state();
    run_nops(*program, 77);
    program.reset();
    CHECK(state->completed == 77);
    ring.reset();
    CHECK(state->completed == 77);
    state->completed = 0;
}

TEST_CASE("The ring may go first") {
    auto ring = std::make_unique<Ring>();
    Nops program(*ring);
    ring.reset();
    run_nops(program, 5);  // the program holds on to what it needs
}

TEST_CASE("Rings and programs move while a loop is attached") {
    STATIC_CHECK(std::is_nothrow_move_constructible_v<Nops>);
    STATIC_CHECK_FALSE(std::is_copy_constructible_v<Nops>);
    Ring first;
    Nops program(first);
    Ring second = std::move(first);
    CHECK(second.has_loop());
    run_nops(program, 5);
    Nops moved = std::move(program);
    run_nops(moved, 5);
}

TEST_CASE("A ring with a loop takes no plain submit, and takes it again when the loop is gone") {
    Ring ring;
    {
        Nops program(ring);
        CHECK(ring.has_loop());
        const auto error = error_of([&] { (void)ring.submit(); });
        CHECK(error.error_number() == EBUSY);
        CHECK(error.advice().find("run()") != std::string_view::npos);
        CHECK_THROWS_AS(ring.submit_and_wait(1), ringstep::Error);
        program.detach();
        CHECK_FALSE(program.attached());
        CHECK_FALSE(ring.has_loop());
    }
    io_uring_prep_nop(ring.sq().claim());
    CHECK(ring.submit().count == 1);
}

TEST_CASE("SQEs that the application claimed are submitted by the loop") {
    const bool rewind = GENERATE(false, true);
    Ring ring{{.sq_rewind = rewind}};
    // Some before the region holds the count of claimed SQEs, some after.
    const auto claim = [&](std::uint64_t user_data) {
        io_uring_sqe* sqe = ring.sq().claim();
        io_uring_prep_nop(sqe);
        sqe->user_data = user_data;
    };
    claim(100);
    Scripted program(ring);
    claim(101);
    add_nops(program.state(), 1);
    program.state()->stop_at = 3;
    program.state()->wait = 3;
    const LoopExit exit = program.run();
    CHECK(exit.ok());
    CHECK(exit.submitted == 3);
    const auto seen = records(program.state());
    REQUIRE(seen.size() == 3);
    CHECK(seen[0].user_data == 100);
    CHECK(seen[1].user_data == 101);
    CHECK(seen[2].user_data == 0);
}

TEST_CASE("Completions that a loop left are the application's, and the other way round") {
    Ring ring;
    Scripted program(ring);
    add_nops(program.state(), 10);
    program.state()->take_at_most = 4;
    program.state()->stop_at = 4;
    CHECK(program.run().completions == 4);
    CHECK(ring.cq().ready() == 6);
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.user_data == 4);
    // The next run finds those that are still there.
    program.state()->stop_at = 5;
    program.state()->take_at_most = 1;
    CHECK(program.run().completions == 1);
    CHECK(records(program.state())[4].user_data == 5);
    program.detach();
    std::uint64_t next = 6;
    for (const auto& left : ring.cq()) CHECK(left.user_data == next++);
    CHECK(next == 10);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Two rings run the same loop at once, on two threads") {
    const auto work = [](std::uint64_t count, std::uint64_t& completed) {
        Ring ring;
        Nops program(ring);
        program.state()->total = count;
        program.state()->depth = 4;
        (void)program.run();
        completed = program.state()->completed;
    };
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    std::thread one(work, 20000, std::ref(first));
    std::thread two(work, 30000, std::ref(second));
    one.join();
    two.join();
    CHECK(first == 20000);
    CHECK(second == 30000);
}

TEST_CASE("A ring without the registered descriptor runs loops, as its very first enter, too") {
    const bool rewind = GENERATE(false, true);
    Ring ring{{.register_ring_fd = false, .sq_rewind = rewind}};
    Nops program(ring);
    run_nops(program, 10);
    CHECK(ring.cq().ready() == 0);
    CHECK(ring.in_flight() == 0);
}

TEST_CASE("Objects that do not fit their C++ side are refused with the reason") {
    Ring ring;
    const Engine engine = GENERATE(Engine::kernel, Engine::user);
    const auto wrong_state = error_of([&] { LoopProgram<WrongState> program(ring, {.engine = engine}); });
    CHECK(wrong_state.error_number() == EPROTO);
    CHECK(wrong_state.advice().find("and 8 in C++") != std::string_view::npos);
    CHECK(wrong_state.advice().find(std::to_string(sizeof(ringstep_nop_chain)) + " bytes in the ") != std::string::npos);
    const auto wrong_name = error_of([&] { LoopProgram<WrongName> program(ring, {.engine = engine}); });
    CHECK(wrong_name.error_number() == ENOENT);
    CHECK(wrong_name.tried().find("nop_chan") != std::string_view::npos);
    CHECK_FALSE(ring.has_loop());
    Nops program(ring);
    run_nops(program, 3);
}

TEST_CASE("A damaged object is refused by the kernel engine, and so is another kit's by the user engine") {
    Ring ring;
    const auto damaged = error_of([&] { LoopProgram<Damaged> program(ring, {.engine = Engine::kernel}); });
    CHECK(damaged.tried().find("opening") != std::string_view::npos);
    const auto old = error_of([&] { LoopProgram<OldKit> program(ring, {.engine = Engine::user}); });
    CHECK(old.error_number() == EPROTO);
    CHECK(old.advice().find("another version of the kit") != std::string_view::npos);
    CHECK_FALSE(ring.has_loop());
}

TEST_CASE("A loop without a user engine says so") {
    Ring ring;
    const auto error = error_of([&] { LoopProgram<Damaged> program(ring, {.engine = Engine::user}); });
    CHECK(error.error_number() == EOPNOTSUPP);
    CHECK(error.advice().find("KERNEL_ONLY") != std::string_view::npos);
}

TEST_CASE("Automatic takes the user engine where the kernel's fails, and says why") {
    Ring ring;
    // Whatever this kernel can: an object that it cannot even be asked about.
    struct DamagedForTheKernel : Damaged {
        static const ringstep_user_loop& user() { return ringstep::loops::nop_chain::user(); }
    };
    const char* const forced = std::getenv("RINGSTEP_ENGINE");
    const std::string before = forced != nullptr ? forced : "";
    ::unsetenv("RINGSTEP_ENGINE");
    {
        LoopProgram<DamagedForTheKernel> program(ring);
        CHECK(program.engine() == Engine::user);
        CHECK(program.engine_reason().find("opening of the compiled loop 'nop_chain'") != std::string::npos);
        program.state()->total = program.state()->depth = 3;
        CHECK(program.run().ok());
    }
    ::setenv("RINGSTEP_ENGINE", "kernel", 1);
    CHECK_THROWS_AS(LoopProgram<DamagedForTheKernel>(ring), ringstep::Error);
    ::setenv("RINGSTEP_ENGINE", "user", 1);
    {
        LoopProgram<ringstep::loops::nop_chain> program(ring);
        CHECK(program.engine() == Engine::user);
        CHECK(program.engine_reason().empty());
    }
    ::unsetenv("RINGSTEP_ENGINE");
    if (forced != nullptr) ::setenv("RINGSTEP_ENGINE", before.c_str(), 1);
}

TEST_CASE("One ring takes loops by either engine in turn") {
    Ring ring;
    const std::size_t before = ring.in_flight();
    for (int round = 0; round < 3; round++) {
        Nops automatic(ring);
        run_nops(automatic, 10, 3);
        automatic.detach();
        Nops user(ring, {.engine = Engine::user});
        CHECK(user.engine() == Engine::user);
        run_nops(user, 10, 3);
    }
    CHECK(ring.in_flight() == before);
}

TEST_CASE("Rings that poll take no loop") {
    for (const unsigned flags : {unsigned{IORING_SETUP_SQPOLL}, unsigned{IORING_SETUP_IOPOLL}}) {
        Ring ring = descriptors::foreign_ring(flags);
        const auto error = error_of([&] { Nops program(ring, {.engine = Engine::user}); });
        CHECK(error.error_number() == EOPNOTSUPP);
        CHECK(error.advice().find("polls") != std::string_view::npos);
    }
}

TEST_CASE("The user engine runs on rings that the kernel's refuses") {
    Ring ring = descriptors::foreign_ring();
    Nops program(ring, {.engine = Engine::user});
    run_nops(program, 100, 20);
}

TEST_CASE("A region that programs cannot know the size of is refused") {
    Ring ring;
    for (const std::size_t extra :
         {std::size_t{1} << 32, (std::size_t{1} << 32) - 4096, std::size_t{5} << 30, ~std::size_t{0}}) {
        const ringstep::Error error = error_of([&] { const Scripted program(ring, {.extra_bytes = extra}); });
        CHECK(error.error_number() == EFBIG);
        CHECK(error.advice().find("smaller than 4 GiB") != std::string::npos);
    }
    const Scripted program(ring, {.extra_bytes = 4096});  // the ring is as it was
}

TEST_CASE("A ring that was opened disabled and enabled by liburing runs loops once it is adopted") {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED;
    io_uring native{};
    REQUIRE(io_uring_queue_init_params(8, &native, &params) == 0);
    REQUIRE(io_uring_enable_rings(&native) == 0);
    Ring ring = Ring::adopt(native, params);
    LoopProgram<ringstep::loops::nop_chain> program(ring);
    program.state()->total = 3;
    program.state()->depth = 1;
    CHECK(program.run().ok());
}

TEST_CASE("A program that was moved from has no loop, and each of its functions says so") {
    Ring ring;
    Nops program(ring);
    const Nops moved = std::move(program);
    // NOLINTBEGIN(bugprone-use-after-move): what this is about
    CHECK(program.engine() == Engine::automatic);
    CHECK(program.engine_reason().empty());
    CHECK(program.state().get() == moved.state().get());
    CHECK_FALSE(program.attached());
    for (int round = 0; round < 2; round++) {
        std::stop_source source;
        for (const LoopExit& exit : {program.run(), program.run(source.get_token())}) {
            CHECK(exit.reason == ExitReason::detached);
            CHECK(exit.error == EFAULT);
            CHECK(exit.turns == 0);
        }
        program.request_stop();
        program.wake();
        program.detach();
    }
    CHECK(moved.attached());  // all of that was nothing to the other one
    CHECK(ring.has_loop());
    Nops again = std::move(program);
    CHECK_FALSE(again.attached());
    again = Nops(std::move(program));
    CHECK_FALSE(again.attached());
    // NOLINTEND(bugprone-use-after-move)
}

TEST_CASE("The state of a program that was moved from outlives the other program and the ring") {
    auto ring = std::make_unique<Ring>();
    Nops program(*ring);
    auto moved = std::make_unique<Nops>(std::move(program));
    run_nops(*moved, 7);
    moved.reset();
    ring.reset();
    CHECK(program.state()->completed == 7);  // NOLINT(bugprone-use-after-move): what this is about
}

TEST_CASE("A ring that was moved from takes no loop") {
    Ring ring;
    const Ring other = std::move(ring);
    const auto error = error_of([&] { const Nops program(ring); });  // NOLINT(bugprone-use-after-move): what this is about
    CHECK(error.error_number() == EBADF);
    CHECK(other.is_open());
}
