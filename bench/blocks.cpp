// SPDX-License-Identifier: MIT
// Measures what the kit's functions on bytes and of the timer wheel cost: clock units for each call, which are instructions in
// `./dev vm --icount`.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <ringstep/compiled/bytes_work.hpp>
#include <ringstep/compiled/wheel_work.hpp>
#include <ringstep/program.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "../examples/common/program.hpp"
#include "common/clock.hpp"
#include "common/settle.hpp"
#include "common/table.hpp"

namespace {

using Program = ringstep::LoopProgram<ringstep::loops::bytes_work>;

struct Kind {
    std::string_view name;
    bytes_work_kind kind;
    std::vector<std::uint64_t> lengths;
    std::string_view text{};  // what is in the first array, instead of letters
};

/// The cost of one call, in clock units.
double measure(Program& program, bytes_work_kind kind) {
    constexpr std::uint32_t times = 2000;
    double least = 0;
    for (int run = 0; run < 3; run++) {
        program.state()->kind = kind;
        program.state()->times = times;
        program.state()->sum = 0;
        const std::uint64_t start = bench::now();
        const bool ok = program.run().ok();
        const auto took = static_cast<double>(bench::now() - start) / times;
        if (!ok) throw std::runtime_error("the loop failed");
        if (run == 0 || took < least) least = took;
    }
    return least;
}

void measure_bytes() {
    const std::vector<Kind> kinds{
        {"find a byte", BYTES_WORK_FIND, {8, 32, 64, 512, 2048}},
        {"find a byte, byte by byte", BYTES_WORK_FIND_BY_BYTE, {8, 32, 64, 512, 2048}},
        {"find CR LF", BYTES_WORK_FIND_CRLF, {8, 32, 64, 512, 2048}},
        {"compare", BYTES_WORK_COMPARE, {8, 32, 64, 512, 2048}},
        {"compare without case", BYTES_WORK_COMPARE_NOCASE, {8, 32, 64, 512, 2048}},
        {"copy", BYTES_WORK_COPY, {8, 32, 64, 512, 2048}},
        {"copy, byte by byte", BYTES_WORK_COPY_BY_BYTE, {8, 32, 64, 512, 2048}},
        {"hash", BYTES_WORK_HASH, {8, 32, 64, 512, 2048}},
        {"parse a number", BYTES_WORK_PARSE, {1, 4, 8, 20}, "12345678901234567890"},
        {"print a number", BYTES_WORK_PRINT, {1, 4, 8, 20}},
        {"are \"PING\"", BYTES_WORK_ARE, {4}, "PING"},
        {"write \"+PONG\\r\\n\"", BYTES_WORK_WRITE, {7}},
    };
    for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user}) {
        ringstep::Ring ring;
        Program program(ring, {.engine = engine});
        bench::settle();
        const double nothing = measure(program, BYTES_WORK_NOTHING);
        bench::Table table(
            {fmt::format("{} engine, {}", ringstep::to_string(engine), bench::clock_unit()), "bytes", "a call", "a byte"});
        for (const Kind& kind : kinds) {
            for (const std::uint64_t length : kind.lengths) {
                bytes_work& state = *program.state();
                std::ranges::fill(state.a, 'x');
                std::ranges::fill(state.b, 'x');
                state.at = 3;
                state.end = state.at + length;
                state.other = 5;
                if (!kind.text.empty()) std::memcpy(state.a + state.at, kind.text.data(), kind.text.size());
                state.number = 0;
                for (std::uint64_t i = 0; i < std::min<std::uint64_t>(length, 20); i++)
                    state.number = state.number * 10 + (i < 19 ? 1 : 0);
                const double cost = measure(program, kind.kind) - nothing;
                table.add({std::string(kind.name), std::to_string(length), fmt::format("{:.0f}", cost),
                           fmt::format("{:.1f}", cost / static_cast<double>(length))});
            }
        }
        table.print();
        fmt::print("\n");
    }
}

/// Sets, moves, cancels and expires timers with limits of up to a minute.
void measure_wheel() {
    constexpr std::uint64_t second = 1'000'000'000;
    constexpr std::uint64_t start = 100'000 * second;
    for (const ringstep::Engine engine : {ringstep::Engine::kernel, ringstep::Engine::user}) {
        ringstep::Ring ring;
        ringstep::LoopProgram<ringstep::loops::wheel_work> program(ring, {.engine = engine});
        wheel_work& state = *program.state();
        const auto run = [&](wheel_work_kind kind, std::uint32_t times) {
            state.kind = kind;
            state.times = times;
            const std::uint64_t begin = bench::now();
            const bool ok = program.run().ok();
            const auto took = static_cast<double>(bench::now() - begin) / times;
            if (!ok) throw std::runtime_error("the loop failed");
            return took;
        };
        const auto fill = [&](std::uint64_t base, std::uint64_t spread) {
            std::uint64_t random = 1;
            for (__u64& deadline : state.deadlines) {
                random = random * 6364136223846793005 + 1442695040888963407;
                deadline = base + (random >> 33) % spread;
            }
        };
        bench::settle();
        run(WHEEL_WORK_NOTHING, 1000);
        const double nothing = run(WHEEL_WORK_NOTHING, WHEEL_WORK_TIMERS);
        bench::Table table({fmt::format("{} engine, {}", ringstep::to_string(engine), bench::clock_unit()), "a call"});
        const auto add = [&](std::string_view what, double cost) {
            table.add({std::string(what), fmt::format("{:.0f}", cost - nothing)});
        };
        state.now = start;
        run(WHEEL_WORK_EXPIRE, 1);
        fill(start, 60 * second);
        add("set a timer", run(WHEEL_WORK_SET, WHEEL_WORK_TIMERS));
        fill(start + 60 * second, 60 * second);
        add("move it to a later time", run(WHEEL_WORK_SET, WHEEL_WORK_TIMERS));
        fill(start, second);
        add("move it to an earlier time", run(WHEEL_WORK_SET, WHEEL_WORK_TIMERS));
        add("cancel it", run(WHEEL_WORK_CANCEL, WHEEL_WORK_TIMERS));
        fill(start, 60 * second);
        run(WHEEL_WORK_SET, WHEEL_WORK_TIMERS);
        add("the deadline of the wait", run(WHEEL_WORK_DEADLINE, WHEEL_WORK_TIMERS));
        state.now = start + 61 * second;
        state.sum = 0;
        const double expire = run(WHEEL_WORK_EXPIRE, WHEEL_WORK_TIMERS);
        if (state.sum != WHEEL_WORK_TIMERS) throw std::runtime_error("timers are missing");
        add("let a timer expire", expire);
        run(WHEEL_WORK_EXPIRE, 1);
        add("look for expired ones, with none", run(WHEEL_WORK_EXPIRE, WHEEL_WORK_TIMERS));
        table.print();
        fmt::print("\n");
    }
}

int run_all() {
    measure_bytes();
    measure_wheel();
    return 0;
}

}  // namespace

int main() {
    return program::run("bench-blocks", [] { return run_all(); });
}
