// SPDX-License-Identifier: MIT
// Two loops on one ring, one after the other, with requests of the first still in flight when the second begins.
#include <ringstep/chain/chains.hpp>
#include <ringstep/loops/copy.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/drain.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/loops/link.hpp>
#include <ringstep/loops/pace.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <liburing.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "descriptors.hpp"
#include "ensure.hpp"
#include "error_of.hpp"
#include "thorough.hpp"

using namespace std::chrono_literals;
using ringstep::LoopExit;
using ringstep::Ring;

namespace {

struct Sockets : descriptors::Sockets {
    [[nodiscard]] int in() const { return ends[0]; }
    void send(std::string_view text) const {
        ensure(::send(ends[1], text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    }
    /// What was sent has been received. The thread that runs the ring does that.
    void wait_until_received() const {
        for (int tries = 0; tries < 20'000; tries++) {
            int left = 1;
            ensure(::ioctl(in(), FIONREAD, &left) == 0);
            if (left == 0) return;
            std::this_thread::sleep_for(1ms);
        }
        ensure(false);
    }
};

/// A loop, whatever it is, with one receive to do.
class AnyLoop {
public:
    AnyLoop() = default;
    AnyLoop(const AnyLoop&) = delete;
    AnyLoop& operator=(const AnyLoop&) = delete;
    virtual ~AnyLoop() = default;
    virtual void receive(int fd, void* buffer, unsigned size) = 0;
    /// Submits the receive, and comes back with it in flight.
    virtual void leave_in_flight() = 0;
    /// Runs until the receive is complete: its result.
    virtual int complete() = 0;
    /// Takes the loop off the ring.
    virtual void detach() = 0;
    /// Whether what it leaves in flight is still in flight when it has been destroyed.
    [[nodiscard]] virtual bool leaves_requests() const { return true; }
};

io_uring_sqe recv_of(int fd, void* buffer, unsigned size) {
    io_uring_sqe sqe{};
    io_uring_prep_recv(&sqe, fd, buffer, size, 0);
    sqe.user_data = 77;
    return sqe;
}

/// Runs a loop until another thread finds that a request is in flight.
template <class Face, class InFlight>
void run_until_in_flight(Face& face, const InFlight& in_flight) {
    std::jthread stopper([&] {
        while (!in_flight()) std::this_thread::yield();
        face.request_stop();
    });
    LoopExit exit = face.run();
    while (exit.reason == ringstep::ExitReason::interrupted) exit = face.run();
    CHECK(exit.reason == ringstep::ExitReason::stop_requested);
}

template <class Face>
class RequestsLoop : public AnyLoop {
public:
    explicit RequestsLoop(Ring& ring) : face_(ring) {}
    void receive(int fd, void* buffer, unsigned size) override { face_.push(recv_of(fd, buffer, size)); }
    void leave_in_flight() override {
        run_until_in_flight(face_.program(), [&] { return face_.in_flight() == 1; });
        CHECK(face_.ready() == 0);
    }
    int complete() override {
        LoopExit exit = face_.run();
        while (exit.reason == ringstep::ExitReason::interrupted) exit = face_.run();
        CHECK(exit.ok());
        ringstep::RequestCompletion completion;
        REQUIRE(face_.pop(completion));
        CHECK(completion.user_data == 77);
        CHECK(face_.in_flight() == 0);
        CHECK(face_.outstanding() == 0);
        return completion.result;
    }
    void detach() override { face_.program().detach(); }

private:
    Face face_;
};

class ChainLoop : public AnyLoop {
public:
    explicit ChainLoop(Ring& ring) : chains_(ring) {}
    void receive(int fd, void* buffer, unsigned size) override {
        (void)graph_.recv(fd, buffer, size).timeout(1h);  // and a timeout: a request of the loop's own
        chains_.start(chains_.add(graph_));
    }
    void leave_in_flight() override {
        run_until_in_flight(chains_.program(), [&] { return chains_.in_flight() == 1; });
        CHECK(chains_.ready() == 0);
    }
    int complete() override {
        LoopExit exit = chains_.run();
        while (exit.reason == ringstep::ExitReason::interrupted) exit = chains_.run();
        CHECK(exit.ok());
        const std::optional<ringstep::chain::ChainResult> result = chains_.pop();
        REQUIRE(result);
        CHECK(result->ok());
        CHECK(chains_.in_flight() == 0);
        return static_cast<int>(chains_.state()->instances[result->ticket().slot].values[RINGSTEP_CHAIN_VALUE_RESULT]);
    }

    void detach() override { chains_.program().detach(); }
    [[nodiscard]] bool leaves_requests() const override { return false; }

private:
    ringstep::chain::Chains chains_;
    ringstep::chain::Graph graph_;
};

/// The application's own requests, by Ring::sq() and cq(). Their user_data is the application's, which tells them apart itself.
std::uint64_t last_user_data = 1000;  // of either kind: what one leaves in flight is not the other one's

template <class Face>
class EnterLoop : public AnyLoop {
public:
    explicit EnterLoop(Ring& ring) : ring_(ring), face_(ring) {}
    void receive(int fd, void* buffer, unsigned size) override {
        io_uring_sqe* const sqe = ring_.sq().claim();
        *sqe = recv_of(fd, buffer, size);
        sqe->user_data = user_data_ = ++last_user_data;
    }
    void leave_in_flight() override {
        CHECK(face_.submit().submitted == 1);
        // Others may have completed, which an earlier loop has left in flight.
        for (const ringstep::Completion& completion : ring_.cq()) CHECK(completion.user_data != user_data_);
    }
    int complete() override {
        for (;;) {
            const ringstep::Entered entered = wait(face_);
            CHECK((entered || entered.end == ringstep::EnterEnd::interrupted));
            for (const ringstep::Completion& completion : ring_.cq())
                if (completion.user_data == user_data_) return completion.result;
        }
    }

    void detach() override { face_.program().detach(); }

private:
    static ringstep::Entered wait(ringstep::Enter& enter) { return enter.submit_and_wait(1); }
    static ringstep::Entered wait(ringstep::Stages& stages) { return stages.submit_and_wait(); }
    Ring& ring_;
    Face face_;
    std::uint64_t user_data_ = 0;
};

/// The bare loop, without FileCopy.
class CopyLoop : public AnyLoop {
public:
    explicit CopyLoop(Ring& ring) : program_(ring), output_(::memfd_create("copy", MFD_CLOEXEC)) {
        REQUIRE(output_ >= 0);
        program_.state()->identity = ringstep_identity_of_loop(ringstep::detail::RingAccess::core(ring)->epochs().take());
    }
    CopyLoop(const CopyLoop&) = delete;
    CopyLoop& operator=(const CopyLoop&) = delete;
    ~CopyLoop() override { ::close(output_); }
    void receive(int fd, void* buffer, unsigned size) override {
        ringstep_copy& state = *program_.state();
        state.input_fd = fd;
        state.output_fd = output_;
        state.depth = 1;
        state.block_size = size;
        state.buffers = reinterpret_cast<std::uintptr_t>(buffer);
        state.size_hint = RINGSTEP_COPY_ENDLESS;
        state.extents[0] = {.offset = 0, .length = size};
        state.extent_tail = 1;
    }
    void leave_in_flight() override {
        run_until_in_flight(program_, [&] { return program_.state().load(&ringstep_copy::reading) == 1; });
    }
    int complete() override {
        LoopExit exit = program_.run();
        while (exit.reason == ringstep::ExitReason::interrupted) exit = program_.run();
        CHECK(exit.reason == ringstep::ExitReason::stopped);
        CHECK(exit.code == RINGSTEP_COPY_EXTENTS_USED);
        return static_cast<int>(program_.state()->bytes_read);
    }
    void detach() override { program_.detach(); }

private:
    ringstep::LoopProgram<ringstep::loops::copy> program_;
    int output_;
};

struct Kind {
    const char* name;
    std::unique_ptr<AnyLoop> (*make)(Ring&);
};

template <class Loop>
std::unique_ptr<AnyLoop> make(Ring& ring) {
    return std::make_unique<Loop>(ring);
}

constexpr Kind kinds[] = {
    {"gate", make<RequestsLoop<ringstep::Gate>>},
    {"pace", make<RequestsLoop<ringstep::Pace>>},
    {"drain", make<RequestsLoop<ringstep::Drain>>},
    {"link", make<RequestsLoop<ringstep::Link>>},
    {"chain", make<ChainLoop>},
    {"stages", make<EnterLoop<ringstep::Stages>>},
    {"enter", make<EnterLoop<ringstep::Enter>>},
    {"copy", make<CopyLoop>},
};

constexpr std::string_view late = "thirteen more";
constexpr std::string_view own = "its own";

/// What the second loop does, while data comes for what the first one has left in flight, if it has.
void check_second(AnyLoop& second, const Sockets& first_sockets, bool left = true) {
    const Sockets sockets;
    std::array<char, 64> buffer{};
    second.receive(sockets.in(), buffer.data(), own.size());
    std::atomic<bool> sent{false};
    std::jthread peer([&] {
        first_sockets.send(late);
        if (left) first_sockets.wait_until_received();
        std::this_thread::sleep_for(10ms);
        sent = true;
        sockets.send(own);
    });
    const int result = second.complete();
    CHECK(sent);
    CHECK(result == static_cast<int>(own.size()));
    CHECK(std::string_view(buffer.data()) == own);
}

}  // namespace

TEST_CASE("A loop does not take a completion of the loop before it for its own") {
    // All of them where that is quick. In a kernel, each after itself and after another one.
    const bool all = loading_is_cheap() || rounds(0, 1) != 0;
    for (std::size_t i = 0; i < std::size(kinds); i++) {
        for (std::size_t distance = 0; distance < (all ? std::size(kinds) : 2); distance++) {
            const Kind& first = kinds[i];
            const Kind& second = kinds[(i + distance) % std::size(kinds)];
            INFO(first.name << ", then " << second.name);
            const Sockets sockets;
            std::array<char, 64> buffer{};
            Ring ring;
            ring.use_region(ringstep::RegionMemory::allocate(16 << 20));  // enough for the largest of them
            std::unique_ptr<AnyLoop> loop = first.make(ring);
            loop->receive(sockets.in(), buffer.data(), late.size());
            loop->leave_in_flight();
            const bool left = loop->leaves_requests();
            loop.reset();
            CHECK((ring.in_flight() != 0) == left);
            loop = second.make(ring);
            check_second(*loop, sockets, left);
            CHECK(std::string_view(buffer.data()) == (left ? late : ""));
        }
    }
}

TEST_CASE("Loops at random on one ring, with what earlier ones left in flight: each gets what is its own") {
    // A receive that a loop has left in flight. It completes at any time later, while another loop runs or none.
    struct Left {
        Sockets sockets;
        std::array<char, 64> buffer{};
        bool sent = false;
    };
    const auto seed = Catch::getSeed();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto one_in = [&](unsigned n) { return random() % n == 0; };
    Ring ring;
    ring.use_region(ringstep::RegionMemory::allocate(16 << 20));
    std::vector<std::unique_ptr<Left>> all;
    const std::uint64_t count = rounds(loading_is_cheap() ? 60 : 8, 1000);
    for (std::uint64_t i = 0; i < count; i++) {
        const Kind& kind = kinds[random() % std::size(kinds)];
        INFO(i << ": " << kind.name);
        std::unique_ptr<AnyLoop> loop = kind.make(ring);
        for (const std::unique_ptr<Left>& left : all) {
            if (left->sent || !one_in(4)) continue;
            left->sent = true;
            left->sockets.send(late);
        }
        if (one_in(2)) {
            const Sockets sockets;
            std::array<char, 64> buffer{};
            loop->receive(sockets.in(), buffer.data(), own.size());
            std::jthread peer([&] {
                if (i % 2 == 0) std::this_thread::sleep_for(1ms);
                sockets.send(own);
            });
            CHECK(loop->complete() == static_cast<int>(own.size()));
            CHECK(std::string_view(buffer.data()) == own);
            if (one_in(2)) loop->detach();
            continue;
        }
        auto left = std::make_unique<Left>();
        loop->receive(left->sockets.in(), left->buffer.data(), late.size());
        loop->leave_in_flight();
        if (one_in(2)) loop->detach();
        if (loop->leaves_requests()) all.push_back(std::move(left));
        loop.reset();
    }
    // Those that never completed are cancelled now, and nothing is written any more.
    CHECK(ring.close());
    for (const std::unique_ptr<Left>& left : all) {
        const std::string_view got(left->buffer.data());
        // What was sent when the ring had no more to do may still lie in the socket.
        CHECK((got.empty() || (left->sent && got == late)));
    }
}

TEST_CASE("A copy leaves the requests of the loop before it in flight, also when it is abandoned") {
    const Sockets sockets;
    const Sockets source;
    std::array<char, 64> buffer{};
    Ring ring;
    ring.use_region(ringstep::RegionMemory::allocate(16 << 20));
    {
        RequestsLoop<ringstep::Gate> gate(ring);
        gate.receive(sockets.in(), buffer.data(), late.size());
        gate.leave_in_flight();
    }
    const int output = ::memfd_create("copy", MFD_CLOEXEC);
    REQUIRE(output >= 0);
    for (const bool destroyed : {false, true}) {
        CAPTURE(destroyed);
        ringstep::FileCopy copy(ring);
        std::jthread stopper([&] {
            while (copy.state().load(&ringstep_copy::reading) == 0) std::this_thread::yield();
            copy.request_stop();
        });
        ringstep::CopyResult result = copy.run(source.in(), output);
        while (result.exit.reason == ringstep::ExitReason::interrupted) result = copy.resume();
        REQUIRE(result.exit.reason == ringstep::ExitReason::stop_requested);
        if (destroyed) continue;
        copy.cancel();
        CHECK(copy.state()->opened == copy.state()->idle);
    }
    source.send(own);
    ::shutdown(source.ends[1], SHUT_WR);
    CHECK(ringstep::copy_file(ring, source.in(), output).bytes == own.size());
    ::close(output);

    CHECK(ring.cq().ready() == 0);
    sockets.send(late);
    ringstep::Submitted submitted = ring.submit_and_wait(1);
    while (submitted.error == EINTR) submitted = ring.submit_and_wait(1);
    ringstep::Completion completion;
    REQUIRE(ring.cq().pop(completion));
    CHECK(completion.result == static_cast<int>(late.size()));
    CHECK(std::string_view(buffer.data()) == late);
    CHECK(ring.close());
}

TEST_CASE("A loop's epoch is taken again only after nothing was in flight at its end") {
    const Sockets sockets;
    std::array<char, 64> buffer{};
    Ring ring;
    ring.use_region(ringstep::RegionMemory::allocate(16 << 20));
    ringstep::detail::LoopEpochs& epochs = ringstep::detail::RingAccess::core(ring)->epochs();
    const std::uint32_t before = epochs.take();
    epochs.give_back(before);
    std::optional<RequestsLoop<ringstep::Gate>> gate(std::in_place, ring);
    const std::uint32_t first = (before + 1) % 65'536;  // the gate's
    gate->receive(sockets.in(), buffer.data(), late.size());
    gate->leave_in_flight();

    SECTION("in flight when it is destroyed") {
        gate.reset();
        for (std::uint32_t i = 1; i < 65'536; i++) {
            const std::uint32_t epoch = epochs.take();
            if (epoch != (first + i) % 65'536) FAIL(epoch << " instead of the one " << i << " behind " << first);
            epochs.give_back(epoch);
        }
        RequestsLoop<ringstep::Pace> pace(ring);  // the 65,537th
        check_second(pace, sockets);
        CHECK(std::string_view(buffer.data()) == late);
    }
    SECTION("complete") {
        sockets.send(late);
        CHECK(gate->complete() == static_cast<int>(late.size()));
        gate.reset();
        for (std::uint32_t i = 1; i < 65'536; i++) (void)epochs.take();
        CHECK(epochs.take() == first);
        const ringstep::Error error = error_of([&] { const ringstep::Pace pace(ring); });
        CHECK(error.error_number() == ENOSPC);
        CHECK_THAT(error.what(), Catch::Matchers::ContainsSubstring("open another ring"));
        CHECK_FALSE(ring.has_loop());
        epochs.give_back(4711);
        const ringstep::Pace pace(ring);
        CHECK(pace.state()->requests.identity == ringstep_identity_of_loop(4711));
    }
}

TEST_CASE("A loop that was taken off the ring does not look into the state of the next to find its epoch free") {
    const Sockets sockets;
    std::array<char, 64> buffer{};
    Ring ring;
    std::optional<ringstep::Gate> gate(std::in_place, ring);
    const std::uint64_t first = gate->state()->requests.identity;
    gate->push(recv_of(sockets.in(), buffer.data(), late.size()));
    run_until_in_flight(gate->program(), [&] { return gate->in_flight() == 1; });
    gate->program().detach();
    {
        RequestsLoop<ringstep::Pace> pace(ring);
        gate.reset();
    }
    ringstep::detail::LoopEpochs& epochs = ringstep::detail::RingAccess::core(ring)->epochs();
    for (std::uint32_t i = 0; i < 65'535; i++)
        if (ringstep_identity_of_loop(epochs.take()) == first) FAIL("taken twice");
}

TEST_CASE("A ring that is released and adopted again still knows the requests of the loops before") {
    const Sockets sockets;
    const Sockets others;
    std::array<char, 64> buffer{};
    std::array<char, 64> other{};
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    io_uring native{};
    REQUIRE(io_uring_queue_init_params(16, &native, &params) == 0);
    // By the user engine: a ring shows its region to the kernel once, and an adopted one has another.
    Ring first = Ring::adopt(native, params);
    {
        ringstep::Gate gate{first, {.loop = {.engine = ringstep::Engine::user}}};
        gate.push(recv_of(sockets.in(), buffer.data(), late.size()));
        run_until_in_flight(gate.program(), [&] { return gate.in_flight() == 1; });
    }
    Ring second = Ring::adopt(first.release(), params, 1);
    ringstep::Pace pace{second, {.engine = ringstep::Engine::user}};
    pace.push(recv_of(others.in(), other.data(), 5));
    run_until_in_flight(pace.program(), [&] { return pace.in_flight() == 1; });
    sockets.send(late);
    others.send("pace!");
    REQUIRE(pace.run().ok());
    ringstep::RequestCompletion completion;
    REQUIRE(pace.pop(completion));
    CHECK(completion.result == 5);
    CHECK(std::string_view(other.data(), 5) == "pace!");
    CHECK_FALSE(pace.pop(completion));
}
