// SPDX-License-Identifier: MIT
// Many small files into memory, and how many system calls that takes.
#include <ringstep/chain/chains_large.hpp>

#include <catch2/catch_test_macros.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "common/system_calls.hpp"
#include "loops/files.hpp"

using ringstep::chain::ChainReason;
using ringstep::chain::ChainResult;
using ringstep::chain::LargeChains;

namespace {

enum class Kind {
    ordinary,
    missing,
    folder,
    loop
};

Kind kind_of(std::size_t number) {
    if (number % 100 == 17) return Kind::missing;
    if (number % 500 == 23) return Kind::folder;
    if (number % 500 == 29) return Kind::loop;
    return Kind::ordinary;
}

Bytes content_of(std::size_t number) { return random_bytes(number * 37 % 3001, number); }

struct Seen {
    unsigned times = 0;
    ChainReason reason = ChainReason::completed;
    int error = 0;
    std::uint32_t node = 0;
    const std::byte* bytes = nullptr;
    std::int64_t size = 0;
};

/// Nothing where they cannot be counted: without root, without tracefs, without tracepoints.
std::optional<bench::SystemCalls> counted(const std::function<void()>& work) {
    std::optional<bench::SystemCallCounter> counter;
    try {
        counter.emplace();
    } catch (const std::system_error&) {
        work();
        return std::nullopt;
    }
    return counter->count(work);
}

}  // namespace

TEST_CASE("10,000 small files are read into memory by a handful of system calls") {
    constexpr std::size_t count = 10'000;
    const Folder folder;
    std::vector<std::string> names;
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; i++) {
        names.push_back(folder / std::to_string(i));
        switch (kind_of(i)) {
            case Kind::ordinary: {
                const Bytes content = content_of(i);
                File(names.back()).write(content);
                total += content.size() + 64;
                break;
            }
            case Kind::folder: REQUIRE(::mkdir(names.back().c_str(), 0700) == 0); break;
            case Kind::loop: REQUIRE(::symlink(names.back().c_str(), names.back().c_str()) == 0); break;
            case Kind::missing: break;
        }
    }

    ringstep::chain::Graph graph;
    const auto path = graph.parameter<ringstep::chain::Address>();
    const auto open = graph.open(path, O_RDONLY | O_CLOEXEC);
    const auto stat = graph.statx(open);
    const auto memory = graph.allocate(stat.size());
    const auto read = graph.read(open, memory.result(), stat.size(), 0).all();
    const auto close = graph.close(open);
    open.then(stat).then(memory).then(read);
    open.finally(close);

    ringstep::Ring ring;
    LargeChains chains(ring);
    const ringstep::chain::GraphId id = chains.add(graph);
    std::vector<std::byte> arena(total + count * 64 + (std::size_t{1} << 22));
    chains.set_arena(arena);
    std::vector<Seen> seen(count);
    std::uint64_t enters = 0;
    unsigned unclosed = 0;
    bool good = true;
    const std::optional<bench::SystemCalls> calls = counted([&] {
        for (std::size_t next = 0; next < count || chains.outstanding() != 0;) {
            while (next < count && chains.try_start(id, {path(names[next].c_str())}, {.user_data = next})) next++;
            const ringstep::LoopExit exit = chains.run();
            good = exit.ok() || exit.resumable();
            if (!good) break;
            enters += exit.enters;
            for (const ChainResult& result : chains.results()) {
                Seen& file = seen.at(result.user_data());
                file.times++;
                file.reason = result.reason();
                file.error = result.error();
                file.node = result.failed_node();
                file.bytes = result.address(memory);
                file.size = result.result(read);
                if (result.ran(open) && result.result(open) >= 0 && (!result.ran(close) || result.result(close) != 0))
                    unclosed++;
            }
        }
    });
    REQUIRE(good);
    CHECK(unclosed == 0);
    unsigned wrong = 0;
    for (std::size_t i = 0; i < count; i++) {
        const Seen& file = seen[i];
        bool right = file.times == 1;
        switch (kind_of(i)) {
            case Kind::ordinary: {
                const Bytes content = content_of(i);
                right = right && file.reason == ChainReason::completed &&
                        file.size == static_cast<std::int64_t>(content.size()) &&
                        (content.empty() || std::memcmp(file.bytes, content.data(), content.size()) == 0);
                break;
            }
            case Kind::missing:
                right = right && file.reason == ChainReason::failed && file.error == ENOENT && file.node == open.number();
                break;
            case Kind::folder:
                right = right && file.reason == ChainReason::failed && file.error == EISDIR && file.node == read.number();
                break;
            case Kind::loop:
                right = right && file.reason == ChainReason::failed && file.error == ELOOP && file.node == open.number();
                break;
        }
        if (!right && wrong++ < 5)
            UNSCOPED_INFO(names[i] << ": " << to_string(file.reason) << ", errno " << file.error << " of node " << file.node
                                   << ", " << file.size << " bytes");
    }
    CHECK(wrong == 0);
    CHECK(ring.in_flight() == 0);
    if (chains.program().engine() == ringstep::Engine::kernel) {
        CHECK(enters == 3);
        // Small kernels lack the tracepoints.
        REQUIRE((calls || !std::filesystem::exists("/sys/kernel/tracing/events/syscalls")));
        if (calls) {
            CHECK(calls->enter == 3);
            CHECK(calls->all <= 10);
            WARN("system calls: " << calls->all << ", io_uring_enter: " << calls->enter);
        }
    }
}
