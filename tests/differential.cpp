// SPDX-License-Identifier: MIT
// Both engines run the same random programs, on two rings that were opened alike: the same SQEs, the same state and the same
// exit come out. RINGSTEP_DIFFERENTIAL_SEED and RINGSTEP_DIFFERENTIAL_PROGRAMS (for each ring) make it another or a longer run.
#include <ringstep/format.hpp>
#include <ringstep/c/identity.h>
#include <ringstep/loops/copy.hpp>
#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/program.hpp>

#include "loops/files.hpp"
#include "loops/scripted.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using ringstep::Engine;
using ringstep::LoopExit;
using ringstep::LoopProgram;
using ringstep::RegionMemory;
using ringstep::RegionView;
using ringstep::Ring;
using ringstep::RingOptions;

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
    const char* const value = std::getenv(name);
    return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

std::uint64_t first_seed() { return from_environment("RINGSTEP_DIFFERENTIAL_SEED", 1); }
std::uint64_t programs_for_a_ring() { return from_environment("RINGSTEP_DIFFERENTIAL_PROGRAMS", 25); }

class Random {
public:
    explicit Random(std::uint64_t seed) : generator_(seed) {}
    /// From 0 to most.
    std::uint32_t up_to(std::uint32_t most) { return static_cast<std::uint32_t>(generator_() % (std::uint64_t{most} + 1)); }
    std::uint32_t between(std::uint32_t least, std::uint32_t most) { return least + up_to(most - least); }
    bool one_in(std::uint32_t n) { return up_to(n - 1) == 0; }

private:
    std::mt19937_64 generator_;
};

/// A loop on two rings, by either engine.
template <class Loop>
struct Both {
    explicit Both(const RingOptions& options)
        : rings{Ring(options), Ring(options)},
          programs{LoopProgram<Loop>(rings[0], {.engine = Engine::kernel}),
                   LoopProgram<Loop>(rings[1], {.engine = Engine::user})} {}

    using State = typename Loop::state;
    [[nodiscard]] State& state(std::size_t engine) { return *programs[engine].state(); }

    /// State and SQEs, for the next program.
    void reset() {
        for (std::size_t i = 0; i < 2; i++) {
            const auto& geometry = rings[i].geometry();
            std::memset(static_cast<void*>(&state(i)), 0, sizeof(State));
            std::memset(ringstep::detail::RingAccess::core(rings[i])->queues().sqes, 0,
                        std::size_t{geometry.sq_entries} * geometry.sqe_size);
            begin[i] = geometry.rewinds()
                           ? 0
                           : ringstep::detail::RingAccess::core(rings[i])->queues().word(geometry.sq_tail_offset).load();
        }
    }

    /// The SQ's memory, from where it was at the reset. Where nothing is rewound and nothing wraps, these are all SQEs since
    /// then.
    [[nodiscard]] std::vector<io_uring_sqe> sqes(std::size_t engine) {
        const auto& geometry = rings[engine].geometry();
        const auto* first =
            reinterpret_cast<const io_uring_sqe*>(ringstep::detail::RingAccess::core(rings[engine])->queues().sqes);
        const std::size_t halves = geometry.sqe_size / sizeof(io_uring_sqe);
        std::vector<io_uring_sqe> sqes(first, first + geometry.sq_entries * halves);
        std::ranges::rotate(sqes,
                            sqes.begin() + static_cast<std::ptrdiff_t>((begin[engine] & (geometry.sq_entries - 1)) * halves));
        return sqes;
    }

    std::array<Ring, 2> rings;
    std::array<LoopProgram<Loop>, 2> programs;
    std::array<std::uint32_t, 2> begin{};
};

void check_same_exit(const LoopExit& kernel, const LoopExit& user, bool turns_count) {
    CHECK(kernel.reason == user.reason);
    CHECK(kernel.error == user.error);
    CHECK(kernel.code == user.code);
    CHECK(kernel.submitted == user.submitted);
    CHECK(kernel.completions == user.completions);
    if (turns_count) CHECK(kernel.turns == user.turns);
}

/// The offset of the first difference, or -1.
template <class T>
std::ptrdiff_t first_difference(const T& one, const T& other) {
    const auto* a = reinterpret_cast<const unsigned char*>(&one);
    const auto* b = reinterpret_cast<const unsigned char*>(&other);
    const auto* const found = std::mismatch(a, a + sizeof(T), b).first;
    return found == a + sizeof(T) ? -1 : found - a;
}

void check_same_sqes(const std::vector<io_uring_sqe>& kernel, const std::vector<io_uring_sqe>& user) {
    REQUIRE(kernel.size() == user.size());
    for (std::size_t i = 0; i < kernel.size(); i++) {
        if (first_difference(kernel[i], user[i]) < 0) continue;
        CAPTURE(i, first_difference(kernel[i], user[i]));
        FAIL_CHECK("an SQE differs: " << ringstep::detail::describe(kernel[i]) << " in the kernel, "
                                      << ringstep::detail::describe(user[i]) << " in user space");
        return;
    }
}

/// Rings of all kinds; the first holds all SQEs of a run at once.
std::vector<RingOptions> kinds_of_rings(Random& random) {
    std::vector<RingOptions> kinds;
    kinds.push_back({.sq_entries = 4096, .cq_entries = 8192, .sq_rewind = false});
    kinds.push_back({.sq_entries = 64, .cq_entries = 256});
    for (int i = 0; i < 6; i++) {
        RingOptions options;
        options.sq_entries = 1U << random.up_to(6);
        options.cq_entries = options.sq_entries << random.up_to(2);
        options.cqe32 = random.one_in(3);
        options.sqe128 = random.one_in(3);
        options.submit_all = !random.one_in(3);
        options.sq_rewind = random.one_in(2);
        kinds.push_back(options);
    }
    return kinds;
}

/// How often a loop is called, and with how much of what has come, is the engine's affair where completions take their time.
void without_turns(scripted& state) { state.turns = state.idle_turns = state.most_in_a_turn = state.submit_result = 0; }

/// Random requests that complete in an order that follows from that of their submission. Returns whether each completes at
/// once, or some (those behind a link, too) by task work, for which the ring has to be waited for.
bool add_requests(const RegionView<scripted>& state, std::uint64_t seed, const RingOptions& options) {
    constexpr std::uint32_t inject_result = 1U << 0;  // IORING_NOP_INJECT_RESULT (6.10)
    constexpr std::uint32_t by_task_work = 1U << 4;   // IORING_NOP_TW (6.16)
    constexpr std::uint32_t with_cqe32 = 1U << 5;     // IORING_NOP_CQE32 (6.18)
    Random random(seed);
    const std::uint32_t count = random.between(1, random.one_in(4) ? 400 : 60);
    const std::uint32_t failing = random.between(2, 12);
    const bool task_work = random.one_in(3);
    const bool links = random.one_in(2);
    for (std::uint32_t i = 0; i < count; i++) {
        io_uring_sqe* sqe = add_request(state);
        io_uring_prep_nop(sqe);
        sqe->rw_flags = inject_result;
        sqe->len = random.one_in(failing) ? 0U - random.between(1, 133) : random.up_to(100000);
        if (task_work && random.one_in(2)) sqe->rw_flags |= static_cast<int>(by_task_work);
        if (options.cqe32 && random.one_in(2)) {
            sqe->rw_flags |= static_cast<int>(with_cqe32);
            sqe->off = random.up_to(~0U);
            sqe->addr = random.up_to(~0U);
        }
        if (links && random.one_in(6)) io_uring_sqe_set_flags(sqe, random.one_in(4) ? IOSQE_IO_HARDLINK : IOSQE_IO_LINK);
        if (random.one_in(30)) sqe->opcode = static_cast<__u8>(random.between(200, 255));
        if (random.one_in(40)) io_uring_prep_read(sqe, -1, nullptr, 1, 0);
        if (random.one_in(40)) sqe->ioprio = 7;  // refused
        sqe->user_data = random.one_in(10) ? random.up_to(~0U) : i;
    }
    state->stop_at = count;
    state->code = static_cast<std::int64_t>(random.up_to(3)) - 1;
    state->sqes_per_turn = random.between(1, random.one_in(2) ? 8 : 200);
    // No more than are sure to come: without submit_all, the kernel may take one only.
    state->wait = random.up_to(options.submit_all ? std::min(state->sqes_per_turn, options.sq_entries) : 1);
    if (random.one_in(4)) state->ignore_turns = random.up_to(5);
    if (random.one_in(4)) {
        state->take_at_most = random.between(1, 5);
        state->wait = std::min(state->wait, 1U);
    }
    // A link that a submission cuts off goes to a worker thread, which needs the ring's lock to go on with it. Until 7.3, a
    // loop that never waits does not give it that.
    if (links) state->wait = std::max(state->wait, 1U);
    return !task_work && !links;
}

}  // namespace

TEST_CASE("Scripts of requests come out the same") {
    const std::uint64_t seed = first_seed();
    Random random(seed);
    for (const RingOptions& options : kinds_of_rings(random)) {
        CAPTURE(options.sq_entries, options.cq_entries, options.cqe32, options.sqe128, options.submit_all, options.sq_rewind);
        Both<scripted_loop> both(options);
        for (std::uint64_t number = 0; number < programs_for_a_ring(); number++) {
            const std::uint64_t script = seed * 1000003 + number;
            CAPTURE(seed, number);
            std::array<LoopExit, 2> exits;
            bool at_once = true;
            both.reset();
            for (std::size_t i = 0; i < 2; i++) {
                at_once = add_requests(both.programs[i].state(), script, options);
                exits[i] = both.programs[i].run();
            }
            CAPTURE(at_once, both.state(0).turns, both.state(1).turns, both.state(0).recorded, both.state(1).recorded);
            CAPTURE(both.state(0).wait, both.state(0).ignore_turns, both.state(0).sqes_per_turn, both.state(0).take_at_most);
            // A kernel that makes one turn in each call flushes a CQ that has overflowed between any two turns. The user engine
            // does not where it leaves out an enter, and may need more turns to see the same completions.
            const bool may_overflow = both.state(0).recorded > both.rings[0].geometry().cq_entries;
            const bool flushes_more = may_overflow && exits[0].calls == exits[0].turns;
            const bool turns_count = at_once && !flushes_more;
            check_same_exit(exits[0], exits[1], turns_count);
            for (std::size_t i = 0; i < 2 && !turns_count; i++) {
                scripted& state = both.state(i);
                without_turns(state);
                if (at_once) continue;
                std::ranges::sort(std::span(state.records, state.recorded), {}, [](const scripted_record& record) {
                    return std::tuple(record.user_data, record.result, record.flags, record.extra[0], record.extra[1]);
                });
            }
            CHECK(first_difference(both.state(0), both.state(1)) == -1);
            check_same_sqes(both.sqes(0), both.sqes(1));
            CHECK(both.rings[0].in_flight() == both.rings[1].in_flight());
            REQUIRE(both.rings[0].cq().ready() == both.rings[1].cq().ready());
        }
    }
}

TEST_CASE("Reads of pipes that are fed in a random order come out the same") {
    const std::uint64_t seed = first_seed();
    Both<scripted_loop> both({.sq_entries = 32, .cq_entries = 128});
    for (std::uint64_t number = 0; number < programs_for_a_ring(); number++) {
        CAPTURE(seed, number);
        std::array<LoopExit, 2> exits;
        both.reset();
        for (std::size_t i = 0; i < 2; i++) {
            Random random(seed * 1000003 + number);
            const auto state = both.programs[i].state();
            const std::uint32_t count = random.between(1, 12);
            std::vector<std::array<int, 2>> pipes(count);
            std::vector<std::array<char, 64>> buffers(count);
            std::vector<std::uint32_t> order(count);
            for (std::uint32_t k = 0; k < count; k++) {
                REQUIRE(::pipe(pipes[k].data()) == 0);
                io_uring_sqe* sqe = add_request(state);
                io_uring_prep_read(sqe, pipes[k][0], buffers[k].data(), random.between(1, 64), 0);
                sqe->user_data = k;
                order[k] = k;
            }
            for (std::uint32_t k = count - 1; k > 0; k--) std::swap(order[k], order[random.up_to(k)]);
            state->stop_at = count;
            state->wait = 1;
            state->sqes_per_turn = random.between(1, count);
            std::vector<std::size_t> sizes;
            for (std::uint32_t k = 0; k < count; k++) sizes.push_back(random.up_to(80));
            // The next one when the loop has seen the last one, and has asked for all. A size of 0 is the end of the pipe.
            const bool all_at_once = state->sqes_per_turn == count;
            std::thread feeder([&] {
                const std::array<char, 80> bytes{};
                while (all_at_once && state.load(&scripted::turns) == 0) std::this_thread::yield();
                for (std::uint32_t k = 0; k < count; k++) {
                    const std::uint32_t which = all_at_once ? order[k] : k;
                    while (state.load(&scripted::recorded) != k) std::this_thread::yield();
                    if (sizes[k] != 0) {
                        (void)!::write(pipes[which][1], bytes.data(), sizes[k]);
                    } else {
                        ::close(std::exchange(pipes[which][1], -1));
                    }
                }
            });
            exits[i] = both.programs[i].run();
            feeder.join();
            for (const auto& pipe : pipes) {
                ::close(pipe[0]);
                if (pipe[1] >= 0) ::close(pipe[1]);
            }
            // Descriptors and addresses are not the same in both.
            std::memset(state->templates, 0, sizeof state->templates);
        }
        check_same_exit(exits[0], exits[1], false);
        for (std::size_t i = 0; i < 2; i++) without_turns(both.state(i));
        CHECK(first_difference(both.state(0), both.state(1)) == -1);
        REQUIRE(both.rings[0].in_flight() == both.rings[1].in_flight());
    }
}

TEST_CASE("Chains of nops come out the same") {
    const std::uint64_t seed = first_seed();
    Random random(seed);
    for (const RingOptions& options : kinds_of_rings(random)) {
        CAPTURE(options.sq_entries, options.cq_entries, options.cqe32, options.sqe128, options.submit_all, options.sq_rewind);
        Both<ringstep::loops::nop_chain> both(options);
        for (std::uint64_t number = 0; number < programs_for_a_ring(); number++) {
            CAPTURE(seed, number);
            const std::uint32_t total = random.up_to(200);
            const std::uint32_t foreign =
                random.one_in(3) ? random.up_to(std::min({3U, options.sq_entries, options.cq_entries - 1})) : 0;
            // With completions left over, none of them in an overflowing CQ: they would be the next program's.
            const std::uint32_t depth = random.between(1, foreign != 0 ? std::max(1U, options.cq_entries - foreign) : 80);
            std::array<LoopExit, 2> exits;
            both.reset();
            for (std::size_t i = 0; i < 2; i++) {
                both.state(i).total = total;
                both.state(i).depth = depth;
                // Requests of the application's, which look like those of another loop: this one submits them, and leaves them
                // alone.
                for (std::uint32_t k = 0; k < foreign; k++) {
                    io_uring_sqe* sqe = both.rings[i].sq().claim();
                    REQUIRE(sqe != nullptr);
                    io_uring_prep_nop(sqe);
                    sqe->user_data = ringstep_identity_of_loop(1) | k;
                }
                exits[i] = both.programs[i].run();
                // What was left over does not concern the next one.
                both.state(i).total = ~std::uint64_t{0};
                for (const auto& left : both.rings[i].cq()) (void)left;
                both.state(i).total = total;
            }
            // In the kernel, a walk goes on with what completes at once. So turns and places in the SQ differ.
            check_same_exit(exits[0], exits[1], false);
            CHECK(first_difference(both.state(0), both.state(1)) == -1);
            REQUIRE(both.rings[0].in_flight() == both.rings[1].in_flight());
        }
    }
}

namespace {

/// What a copy is made of: the same for both engines.
struct Job {
    enum class Source : std::uint8_t {
        file,
        packets,
        directory,
        write_only
    };
    Source source = Source::file;
    bool full = false;        // the destination is /dev/full
    std::uint64_t limit = 0;  // of the destination's size: writes are short there and fail behind it
    std::uint32_t depth = 1;
    std::uint32_t block_size = 512;
    std::uint64_t size_hint = 0;
    Bytes bytes;
    std::vector<std::size_t> packets;
    std::vector<ringstep_copy_extent> extents;
};

Job make_job(std::uint64_t seed) {
    Random random(seed);
    Job job;
    const std::uint32_t kind = random.up_to(9);
    if (kind == 0) job.source = Job::Source::directory;
    if (kind == 1) job.source = Job::Source::write_only;
    if (kind >= 7) job.source = Job::Source::packets;
    job.full = random.one_in(10);
    job.depth = random.one_in(2) || job.source == Job::Source::packets ? 1 : random.between(1, 40);
    job.block_size = random.one_in(2) ? 512U << random.up_to(4) : random.between(1, 5000);
    job.size_hint = random.one_in(2) ? RINGSTEP_COPY_ENDLESS : random.up_to(60000);
    if (job.source == Job::Source::packets) {
        std::size_t all = 0;
        for (std::uint32_t i = random.between(0, 14); i > 0; i--) {
            job.packets.push_back(random.between(1, 4000));
            all += job.packets.back();
        }
        job.bytes = random_bytes(all, seed + 1);
    } else {
        job.bytes = random_bytes(random.up_to(40000), seed + 1);
    }
    // Of several extents, those behind an end are begun or not, as it comes.
    if (random.one_in(2) || job.source == Job::Source::packets || job.depth > 1) {
        job.extents.push_back({.offset = 0, .length = RINGSTEP_COPY_ENDLESS});
    } else {
        for (std::uint32_t i = random.between(1, 20); i > 0; i--)
            job.extents.push_back({.offset = random.up_to(50000), .length = random.between(1, 9000)});
    }
    if (random.one_in(6)) job.limit = random.between(1, 40000);
    return job;
}

/// Where a file may not grow beyond a size, for as long as this lives.
class SizeLimit {
public:
    explicit SizeLimit(std::uint64_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        if (bytes == 0) return;
        ::signal(SIGXFSZ, SIG_IGN);
        rlimit limit = before_;
        limit.rlim_cur = bytes;
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    SizeLimit(const SizeLimit&) = delete;
    SizeLimit& operator=(const SizeLimit&) = delete;
    ~SizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

private:
    rlimit before_{};
};

/// A pipe whose reads end where its writes did.
int pipe_of_packets(const Job& job) {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_DIRECT) == 0);
    std::size_t done = 0;
    for (const std::size_t size : job.packets) {
        REQUIRE(::write(fds[1], job.bytes.data() + done, size) == static_cast<ssize_t>(size));
        done += size;
    }
    ::close(fds[1]);
    return fds[0];
}

}  // namespace

TEST_CASE("Copies come out the same") {
    const std::uint64_t seed = first_seed();
    const Folder folder;
    const std::vector<RingOptions> kinds = {
        {.sq_entries = 4096, .cq_entries = 8192, .sq_rewind = false},
        {.sq_entries = 8, .cq_entries = 8},
    };
    for (const RingOptions& options : kinds) {
        CAPTURE(options.sq_entries);
        Both<ringstep::loops::copy> both(options);
        const auto buffers = std::array{RegionMemory::allocate(40 * 8192), RegionMemory::allocate(40 * 8192)};
        for (std::uint64_t number = 0; number < programs_for_a_ring(); number++) {
            CAPTURE(seed, number);
            const Job job = make_job(seed * 1000003 + number);
            std::array<LoopExit, 2> exits;
            std::array<Bytes, 2> copied;
            std::array<std::vector<io_uring_sqe>, 2> sqes;
            both.reset();
            for (std::size_t i = 0; i < 2; i++) {
                const File file(folder / "in");
                file.write(job.bytes);
                const File write_only(folder / "in", O_WRONLY);
                const File directory(folder.path(), O_RDONLY | O_DIRECTORY);
                const File output(folder / "out");
                const File full("/dev/full", O_RDWR);
                ringstep_copy& state = both.state(i);
                int packets = -1;
                switch (job.source) {
                    case Job::Source::file: state.input_fd = file.fd(); break;
                    case Job::Source::packets: state.input_fd = packets = pipe_of_packets(job); break;
                    case Job::Source::directory: state.input_fd = directory.fd(); break;
                    case Job::Source::write_only: state.input_fd = write_only.fd(); break;
                }
                state.output_fd = job.full ? full.fd() : output.fd();
                state.depth = job.depth;
                state.block_size = job.block_size;
                state.size_hint = job.size_hint;
                state.buffers = reinterpret_cast<std::uintptr_t>(buffers[i]->data());
                std::ranges::copy(job.extents, state.extents);
                state.extent_tail = static_cast<__u32>(job.extents.size());
                {
                    const SizeLimit limit(job.limit);
                    exits[i] = both.programs[i].run();
                }
                copied[i] = output.read();
                sqes[i] = both.sqes(i);
                // Addresses become offsets into the buffers, descriptors 1 and 2.
                for (io_uring_sqe& sqe : sqes[i]) {
                    if (sqe.addr != 0) sqe.addr -= state.buffers;
                    if (sqe.user_data != 0 || sqe.addr != 0 || sqe.len != 0) sqe.fd = sqe.opcode == IORING_OP_WRITE ? 2 : 1;
                }
                state.buffers = 0;
                state.input_fd = state.output_fd = 0;
                if (packets >= 0) ::close(packets);
            }
            // With several requests under way, their order is the kernel's, and so is what a failure leaves undone.
            const bool failed = exits[0].code == RINGSTEP_COPY_FAILED;
            const ringstep_copy& kernel = both.state(0);
            const ringstep_copy& user = both.state(1);
            if (job.depth == 1) {
                check_same_exit(exits[0], exits[1], false);
                CHECK(first_difference(kernel, user) == -1);
                check_same_sqes(sqes[0], sqes[1]);
                CHECK((copied[0] == copied[1]));
            } else {
                CHECK(exits[0].reason == exits[1].reason);
                CHECK(exits[0].code == exits[1].code);
                CHECK(kernel.error == user.error);
                CHECK(kernel.opened - kernel.idle == user.opened - user.idle);
                if (!failed) {
                    CHECK(kernel.end == user.end);
                    CHECK(kernel.bytes_written == user.bytes_written);
                    CHECK((copied[0] == copied[1]));
                }
            }
            REQUIRE(both.rings[0].in_flight() == 0);
            REQUIRE(both.rings[1].in_flight() == 0);
        }
    }
}
