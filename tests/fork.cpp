// SPDX-License-Identifier: MIT
// What a forked child does with its parent's rings and loops: nothing that the parent notices.
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "eventually.hpp"
#include "loops/scripted.hpp"
#include "child.hpp"
#include "thorough.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using descriptors::Pipe;
using ringstep::ExitReason;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::Ring;
using Nops = LoopProgram<ringstep::loops::nop_chain>;
using Scripted = LoopProgram<scripted_loop>;

namespace {

/// What a child found wrong: the line. It ends with that, without a word to Catch2, which is the parent's.
class Wrong : public std::exception {
public:
    explicit Wrong(int line) : text_("line " + std::to_string(line)) {}
    [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

private:
    std::string text_;
};
#define CHILD_CHECK(condition)                   \
    do {                                         \
        if (!(condition)) throw Wrong(__LINE__); \
    } while (false)

/// Forks a child that does this. One that hangs is ended by a signal.
template <class F>
pid_t fork_child(const F& action) {
    return fork_and_run([&] {
        ::alarm(60);
        action();
        return 0;
    });
}

/// Returns the exit status, or 1000 and the signal that ended it.
int exit_of(pid_t child) {
    const int status = status_of(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void run_nops(std::uint64_t total = 50) {
    Ring ring;
    Nops program(ring);
    program.state()->total = total;
    program.state()->depth = 3;
    const LoopExit exit = program.run();
    CHILD_CHECK(exit.ok());
    CHILD_CHECK(program.state()->completed == total);
}

// Static, so that exit() in a child destroys them.
std::optional<Ring>& the_ring() {
    static std::optional<Ring> ring;
    return ring;
}
std::optional<Scripted>& the_program() {
    static std::optional<Scripted> program;
    return program;
}

/// A loop that sleeps in run(), on a thread of its own, until it is told to end; nothing is in flight but a read of a pipe.
class Sleeper {
public:
    Sleeper() {
        std::atomic<bool> ready{false};
        thread_ = std::thread([this, &ready] {
            the_ring().emplace();
            the_program().emplace(*the_ring());
            io_uring_prep_read(add_request(the_program()->state()), pipe_.fds[0], &byte_, 1, 0);
            the_program()->state()->wait = 3;  // more than will come
            ready = true;
            LoopExit exit;
            do exit = the_program()->run();
            while (exit.reason == ExitReason::interrupted || again_.exchange(false));
            reason_ = exit.reason;
            ended_ = true;
            while (!may_close_) std::this_thread::sleep_for(1ms);
            the_program().reset();
            quiet_ = the_ring()->close();
            the_ring().reset();
        });
        while (!ready || turns() == 0) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(20ms);
    }
    ~Sleeper() {
        if (thread_.joinable()) stop_and_close();
    }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;

    [[nodiscard]] std::uint64_t turns() const { return the_program()->state().load(&scripted::turns); }

    /// Whether a wake-up leads to a turn.
    [[nodiscard]] bool wakes_up() const {
        const std::uint64_t before = turns();
        the_program()->wake();
        return eventually([&] { return turns() != before; });
    }
    /// Whether it ends when it is asked to.
    [[nodiscard]] bool stops() {
        the_program()->request_stop();
        return eventually([&] { return ended_.load(); }) && reason_ == ExitReason::stop_requested;
    }
    /// What close() says.
    bool stop_and_close() {
        if (!ended_) (void)stops();
        may_close_ = true;
        thread_.join();
        return quiet_;
    }
    [[nodiscard]] bool ended() const { return ended_; }
    /// Keeps the thread at it when the run ends once.
    void run_again() { again_ = true; }

private:
    Pipe pipe_;
    char byte_ = 0;
    std::thread thread_;
    std::atomic<bool> again_{false};
    std::atomic<bool> ended_{false};
    std::atomic<bool> may_close_{false};
    std::atomic<ExitReason> reason_{};
    std::atomic<bool> quiet_{false};
};

void call_everything() {
    Ring& ring = *the_ring();
    Scripted& program = *the_program();
    CHILD_CHECK(!program.attached());
    CHILD_CHECK(!ring.has_loop());
    CHILD_CHECK(!ring.is_open());
    program.wake();
    program.request_stop();
    const LoopExit exit = program.run();
    CHILD_CHECK(exit.reason == ExitReason::detached);
    CHILD_CHECK(exit.error == EFAULT);
    program.detach();
    for (const auto& call : std::vector<std::function<void()>>{
             [&] { (void)ring.submit(); },
             [&] { (void)ring.submit_and_wait(1); },
             [&] { (void)ring.sq(); },
             [&] { (void)ring.cq(); },
             [&] { (void)ring.release(); },
             [&] { ring.keep_alive(std::make_shared<int>(1)); },
             [&] { ring.register_files_sparse(4); },
             [&] { const Scripted another(ring); },
         }) {
        int error = 0;
        try {
            call();
        } catch (const ringstep::Error& refused) {
            error = refused.error_number();
        }
        if (error != EBADF) (void)std::fprintf(stderr, "in a child: error %d\n", error);
        CHILD_CHECK(error == EBADF);
    }
    CHILD_CHECK(!ring.close());
    CHILD_CHECK(!ring.close());
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

TEST_CASE("A child that exits, destroys, calls, runs a loop of its own or executes leaves its parent's loop alone", "[main]") {
    Sleeper sleeper;
    pid_t child = 0;
    SECTION("exits") {
        child = fork_child([] { std::exit(0); });  // NOLINT(concurrency-mt-unsafe)
    }
    SECTION("destroys the loop first") {
        child = fork_child([] {
            the_program().reset();
            the_ring().reset();
        });
    }
    SECTION("destroys the ring first") {
        child = fork_child([] {
            the_ring().reset();
            the_program().reset();
        });
    }
    SECTION("calls everything") { child = fork_child(call_everything); }
    SECTION("looks into queues that it has had since before") {
        auto cq = the_ring()->cq();
        auto sq = the_ring()->sq();
        child = fork_child([&] {
            ringstep::Completion completion;
            CHILD_CHECK(!cq.pop(completion));
            CHILD_CHECK(sq.claim() != nullptr);
        });
    }
    SECTION("runs a loop of its own, and so does its child") {
        child = fork_child([] {
            run_nops();
            const pid_t grandchild = fork_child([] {
                run_nops();
                the_program().reset();
            });
            CHILD_CHECK(exit_of(grandchild) == 0);
            run_nops();
            the_program().reset();
            the_ring().reset();
            run_nops();
        });
    }
    SECTION("stops and wakes a loop of its own") {
        child = fork_child([] {
            const Pipe pipe;
            char byte = 0;
            Ring ring;
            Scripted program(ring);
            io_uring_prep_read(add_request(program.state()), pipe.fds[0], &byte, 1, 0);
            program.state()->wait = 2;
            std::thread other([&] {
                wait_for_a_turn(program.state());
                const std::uint64_t before = program.state().load(&scripted::turns);
                program.wake();
                while (program.state().load(&scripted::turns) == before) std::this_thread::sleep_for(1ms);
                program.request_stop();
            });
            CHILD_CHECK(program.run().reason == ExitReason::stop_requested);
            other.join();
            CHILD_CHECK(ring.close());
        });
    }
    SECTION("executes") {
        child = fork_child([] {
            ::execlp("true", "true", nullptr);
            throw Wrong{__LINE__};
        });
    }
    SECTION("is not forked but spawned") {
        std::string name = "true";
        std::array<char*, 2> arguments{name.data(), nullptr};
        REQUIRE(::posix_spawnp(&child, "true", nullptr, nullptr, arguments.data(), environ) == 0);
    }
    CHECK(exit_of(child) == 0);
    CHECK_FALSE(sleeper.ended());
    CHECK(sleeper.wakes_up());
    CHECK(sleeper.stops());
    CHECK(sleeper.stop_and_close());
}

TEST_CASE("A child that lives on does not keep its parent from taking the loop off the ring, nor from closing it", "[main]") {
    const Pipe pipe;
    const Pipe life;
    const Pipe begun;
    char byte = 0;
    Ring ring;
    Scripted program(ring);
    program.request_stop();
    REQUIRE(program.run().reason == ExitReason::stop_requested);
    const std::string number = std::to_string(ring.fd());
    const bool told = GENERATE(true, false);
    pid_t child = 0;
    if (told) {
        child = fork_child([&] {
            CHILD_CHECK(!exists("/proc/self/fd/" + number));
            CHILD_CHECK(::write(begun.fds[1], "x", 1) == 1);
            char end = 0;
            ::close(life.fds[1]);
            (void)::read(life.fds[0], &end, 1);
        });
    } else {
        // Without a word to the library: that one keeps the ring, but not the loop on it.
        child = ::_Fork();
        if (child == 0) {
            ::alarm(60);
            (void)!::write(begun.fds[1], "x", 1);
            ::close(life.fds[1]);
            (void)::read(life.fds[0], &byte, 1);
            ::_exit(0);
        }
    }
    REQUIRE(::read(begun.fds[0], &byte, 1) == 1);
    program.detach();
    io_uring_prep_read(ring.sq().claim(), pipe.fds[0], &byte, 1, 0);
    REQUIRE(::write(pipe.fds[1], "x", 1) == 1);
    REQUIRE(ring.submit_and_wait(1).count == 1);
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.result == 1);
    if (told) CHECK(ring.close());
    REQUIRE(::write(life.fds[1], "x", 1) == 1);
    CHECK(exit_of(child) == 0);
}

TEST_CASE("Children of a process whose threads wake, stop, open and close all the time") {
    const char* const wanted = std::getenv("RINGSTEP_FORKS");  // NOLINT(concurrency-mt-unsafe)
    bool in_kernel = false;
    {
        Ring ring;
        const Scripted program(ring);
        in_kernel = program.engine() == ringstep::Engine::kernel;
    }
    const int forks = wanted != nullptr ? std::stoi(wanted) : static_cast<int>(in_kernel ? rounds(6, 40) : rounds(100, 300));
    constexpr std::size_t most = 8;  // at a time
    std::atomic<bool> over{false};
    std::atomic<bool> looping{true};
    std::optional<Ring> ring;
    std::optional<Scripted> program;
    std::atomic<bool> ready{false};
    std::thread runner([&] {
        ring.emplace();
        program.emplace(*ring);
        program->state()->wait = 2;
        ready = true;
        while (looping) ensure(program->run().resumable());
        program.reset();
        ring.reset();
    });
    while (!ready) std::this_thread::sleep_for(1ms);
    std::vector<std::thread> others;
    for (int i = 0; i < 2; i++) {
        others.emplace_back([&] {
            while (!over) program->wake();
        });
    }
    others.emplace_back([&] {
        while (!over) program->request_stop();
    });
    others.emplace_back([&] {
        while (!over) {
            Ring own;
            const Scripted idle(own);
        }
    });
    std::vector<pid_t> children;
    int bad = 0;
    for (int i = 0; i < forks; i++) {
        if (children.size() == most) {
            if (exit_of(children.front()) != 0) bad++;
            children.erase(children.begin());
        }
        children.push_back(fork_child([&] {
            if (i % 3 == 0) program.reset();
            Ring own;
            Nops nops(own);
            nops.state()->total = 20;
            nops.state()->depth = 3;
            nops.wake();
            CHILD_CHECK(nops.run().ok());
            nops.request_stop();
            CHILD_CHECK(nops.run().reason == ExitReason::stop_requested);
            if (i % 3 == 1) ring.reset();
        }));
    }
    for (const pid_t child : children) {
        if (exit_of(child) != 0) bad++;
    }
    CHECK(bad == 0);
    over = true;
    for (std::thread& other : others) other.join();
    looping = false;
    program->request_stop();
    runner.join();
}

TEST_CASE("A child neither cancels its parent's requests nor takes their completions") {
    const Pipe pipe;
    char byte = 0;
    Ring ring;
    ringstep::Enter enter{ring};
    io_uring_sqe* const sqe = ring.sq().claim();
    io_uring_prep_read(sqe, pipe.fds[0], &byte, 1, 0);
    sqe->user_data = 5;
    REQUIRE(enter.submit().submitted == 1);
    const pid_t child = fork_child([&] {
        CHILD_CHECK(!enter.cancel(5));
        int error = 0;
        try {
            (void)enter.completions();
        } catch (const ringstep::Error& refused) {
            error = refused.error_number();
        }
        CHILD_CHECK(error == EBADF);
        CHILD_CHECK(enter.run().end == ringstep::EnterEnd::failed);
    });
    CHECK(exit_of(child) == 0);
    pipe.feed();
    ringstep::Entered entered = enter.submit_and_wait(1);
    while (entered.end == ringstep::EnterEnd::interrupted) entered = enter.run();
    REQUIRE(entered.completions == 1);
    for (const ringstep::Completion& completion : enter.completions()) CHECK(completion.result == 1);
}

TEST_CASE("Children of a process whose threads are always waking something have a waker of their own", "[main]") {
    std::atomic<bool> over{false};
    std::vector<std::thread> wakers;
    for (int i = 0; i < 2; i++) {
        wakers.emplace_back([&] {
            const Ring own;
            while (!over) ringstep::detail::Waker::instance().wake(own.fd());
        });
    }
    int hung = 0;
    int bad = 0;
    for (int i = 0; i < 30 && hung == 0; i++) {
        const pid_t child = fork_child([] {
            const Ring own;
            ringstep::detail::Waker& waker = ringstep::detail::Waker::instance();
            waker.wake(own.fd());
            CHILD_CHECK(waker.post(own.fd(), 1, 3) == 3);
        });
        // A child that waits for a lock has its signals blocked, so only this ends it.
        const auto until = std::chrono::steady_clock::now() + 20s;
        int status = 0;
        while (::waitpid(child, &status, WNOHANG) == 0 && hung == 0) {
            std::this_thread::sleep_for(1ms);
            if (std::chrono::steady_clock::now() < until) continue;
            hung++;
            ::kill(child, SIGKILL);
            status = status_of(child);
        }
        if (status != 0) bad++;
    }
    over = true;
    for (std::thread& waker : wakers) waker.join();
    CHECK(hung == 0);
    CHECK(bad == 0);
}

TEST_CASE("A child that destroys a copy in progress changes nothing of its parent's descriptors") {
    const Pipe input(O_NONBLOCK);
    const Pipe output;
    std::optional<Ring> ring(std::in_place);
    std::optional<ringstep::FileCopy> copy(std::in_place, *ring, ringstep::CopyOptions{.queue_depth = 2, .block_size = 4096});
    std::stop_source stop;
    std::thread stopper([&] {
        std::this_thread::sleep_for(100ms);
        stop.request_stop();
    });
    REQUIRE(copy->run(input.fds[0], output.fds[1], stop.get_token()).resumable());
    stopper.join();
    REQUIRE((::fcntl(input.fds[0], F_GETFL) & O_NONBLOCK) == 0);  // for the time of the copy
    const pid_t child = fork_child([&] {
        CHILD_CHECK(copy->cancel().error == EBADF);
        const ringstep::CopyResult result = copy->resume();
        CHILD_CHECK(!result.ok());
        CHILD_CHECK(copy->run(input.fds[0], output.fds[1]).error == EBADF);
        copy.reset();
        ring.reset();
    });
    CHECK(exit_of(child) == 0);
    CHECK((::fcntl(input.fds[0], F_GETFL) & O_NONBLOCK) == 0);
    REQUIRE(::write(input.fds[1], "abc", 3) == 3);
    ::close(input.fds[1]);
    CHECK(copy->resume().ok());
    std::array<char, 8> buffer{};
    CHECK(::read(output.fds[0], buffer.data(), buffer.size()) == 3);
    CHECK(ring->close());
}
