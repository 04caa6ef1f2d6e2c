// SPDX-License-Identifier: MIT
// Runs each loop and each of its baselines on its own, for a profile. The QEMU plugin tools/profile/count.c counts the
// instructions of what this program marks. `./dev bench profile` and `./dev bench guard` run it.
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <ringstep/format.hpp>
#include <ringstep/graphs/file_compiled.hpp>
#include <ringstep/loops/enter.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../examples/common/program.hpp"
#include "chain_ways.hpp"
#include "common/clock.hpp"
#include "common/facts.hpp"
#include "common/files.hpp"
#include "common/json.hpp"
#include "common/line_info.hpp"
#include "common/marks.hpp"
#include "common/settle.hpp"
#include "copy_ways.hpp"
#include "drain_ways.hpp"
#include "file_ways.hpp"
#include "gate_ways.hpp"
#include "graphs/file_compiled.hpp"
#include "link_ways.hpp"
#include "nop_ways.hpp"
#include "pace_way.hpp"
#include "read_ways.hpp"
#include "wait_ways.hpp"

namespace {

using namespace std::chrono_literals;
using ringstep::Engine;

/// Something that can be run again and again.
struct Way {
    std::function<void(std::uint64_t operations)> run;
    std::uint64_t unit = 1;  // operations come in multiples of this
};

/// What a way is, and how to make it. Its number is a depth, a length or a batch.
struct Recipe {
    std::string name;
    std::string title;
    std::uint64_t number = 1;   // unless another one is given
    std::uint64_t most = 32;    // of that number
    std::uint64_t usually = 0;  // operations in a run
    std::function<Way(std::uint64_t number)> make;
};

// --- Ways --------------------------------------------------------------------------------------------------------------------

template <class NopWay, class... Arguments>
Way nops(std::uint64_t depth, std::uint64_t unit, Arguments&&... arguments) {
    auto way = std::make_shared<NopWay>(std::forward<Arguments>(arguments)...);
    if (!way->can(depth)) throw std::runtime_error(fmt::format("{}: cannot run {} at a time", way->name(), depth));
    return {.run = [way, depth](std::uint64_t operations) { way->run(operations, depth); }, .unit = unit * depth};
}

constexpr unsigned chain_steps = 30;
constexpr std::uint64_t order_batch = 2048;  // nops in a run of the loop

template <class OrderWay, class... Arguments>
Way order(std::uint64_t length, Arguments&&... arguments) {
    auto way = std::make_shared<OrderWay>(std::forward<Arguments>(arguments)...);
    return {.run = [way, length](std::uint64_t operations) { way->run(operations, length); }, .unit = order_batch};
}

io_uring_sqe nop(std::uint64_t user_data) {
    io_uring_sqe sqe{};
    io_uring_prep_nop(&sqe);
    sqe.user_data = user_data;
    return sqe;
}

template <class GateWay, class... Arguments>
Way gate(std::uint64_t depth, Arguments&&... arguments) {
    auto way = std::make_shared<GateWay>(std::forward<Arguments>(arguments)...);
    auto work = std::make_shared<bench::gate::Work>("nop", std::vector<io_uring_sqe>{}, 0);
    return {.run = [way, work, depth](std::uint64_t operations) {
        if (work->requests().size() != operations) {
            std::vector<io_uring_sqe> requests;
            for (std::uint64_t i = 0; i < operations; i++) requests.push_back(nop(i));
            *work = bench::gate::Work("nop", std::move(requests), 0);
        }
        work->begin();
        way->run(*work, static_cast<unsigned>(depth));
        work->end();
    }};
}

/// Pairs of sockets. A receive from one of them waits for the send behind it.
class Pairs {
public:
    Pairs() {
        for (std::array<int, 2>& ends : ends_) {
            if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
        }
    }
    Pairs(const Pairs&) = delete;
    Pairs& operator=(const Pairs&) = delete;
    ~Pairs() {
        for (const std::array<int, 2>& ends : ends_) {
            for (const int end : ends) ::close(end);
        }
    }
    /// Returns requests that send so many bytes, one after the other, and receive each.
    [[nodiscard]] std::vector<io_uring_sqe> messages(std::uint64_t count) {
        std::vector<io_uring_sqe> requests;
        for (std::uint64_t i = 0; i < count; i++) {
            const std::array<int, 2>& ends = ends_[i % ends_.size()];
            io_uring_prep_recv(&requests.emplace_back(), ends[0], &byte_, 1, 0);
            requests.back().user_data = 2 * i;
            io_uring_prep_send(&requests.emplace_back(), ends[1], &byte_, 1, 0);
            requests.back().user_data = 2 * i + 1;
        }
        return requests;
    }

private:
    std::array<std::array<int, 2>, 64> ends_{};
    char byte_ = 'a';
};

template <class GateWay, class... Arguments>
Way messages(std::uint64_t depth, Arguments&&... arguments) {
    auto pairs = std::make_shared<Pairs>();
    auto way = std::make_shared<GateWay>(std::forward<Arguments>(arguments)...);
    auto work = std::make_shared<bench::gate::Work>("message", std::vector<io_uring_sqe>{}, 1);
    return {.run =
                [pairs, way, work, depth](std::uint64_t operations) {
                    if (work->requests().size() != 2 * operations)
                        *work = bench::gate::Work("message", pairs->messages(operations), 1);
                    work->begin();
                    way->run(*work, static_cast<unsigned>(2 * depth));
                    work->end();
                },
            .unit = depth};
}

Way pace(Engine engine) {
    auto way = std::make_shared<bench::PaceWay>(engine);
    return {.run = [way](std::uint64_t operations) { way->run(operations); }};
}

/// Nops, a batch of them submitted and waited for at a time.
template <class Wait, class... Arguments>
Way waiting(std::uint64_t batch, Arguments&&... arguments) {
    auto way = std::make_shared<Wait>(std::forward<Arguments>(arguments)...);
    return {.run =
                [way, batch](std::uint64_t operations) {
                    std::uint64_t came = 0;
                    const std::function<void(std::uint64_t, int)> take = [&came](std::uint64_t, int result) {
                        if (result != 0) throw std::runtime_error("a nop came back wrong");
                        came++;
                    };
                    for (std::uint64_t sent = 0; sent < operations; sent += batch) {
                        for (std::uint64_t i = 0; i < batch; i++) io_uring_prep_nop(way->sqe());
                        way->wait(take);
                    }
                    if (came != operations) throw std::runtime_error("nops are missing");
                },
            .unit = batch};
}

Way enter(std::uint64_t batch, Engine engine) {
    const auto wait = [batch](ringstep::Enter& face) { return face.submit_and_wait(static_cast<unsigned>(batch)); };
    return waiting<bench::LoopWait<ringstep::Enter>>(batch, "enter", "loop enter", wait,
                                                     ringstep::LoopOptions{.engine = engine});
}

Way plain_enter(std::uint64_t batch) {
    const auto wait = [batch](io_uring* ring) { return io_uring_submit_and_wait(ring, static_cast<unsigned>(batch)); };
    return waiting<bench::PlainWait>(batch, "enter", "io_uring_enter", wait);
}

Way stages(std::uint64_t batch, Engine engine) {
    static const std::vector<ringstep::Stage> steps{{32, 2ms}, {1}};
    const auto wait = [](ringstep::Stages& face) { return face.submit_and_wait(); };
    return waiting<bench::LoopWait<ringstep::Stages>>(
        batch, "stages", "loop stages", wait, std::span<const ringstep::Stage>(steps), ringstep::LoopOptions{.engine = engine});
}

/// Copies of small blocks from /dev/zero to /dev/null, where both ends complete at once.
template <class CopyWay, class... Arguments>
Way copy(std::uint64_t depth, Arguments&&... arguments) {
    constexpr std::size_t block = 64;
    struct Ends {
        bench::File from{"/dev/zero", O_RDONLY};
        bench::File to{"/dev/null", O_WRONLY};
    };
    auto ends = std::make_shared<Ends>();
    auto way = std::make_shared<CopyWay>(static_cast<unsigned>(depth), block, std::forward<Arguments>(arguments)...);
    return {.run = [ends, way](std::uint64_t operations) { way->run(ends->from.fd(), ends->to.fd(), operations * block); }};
}

/// Small files on an ext4 of the machine's empty disk, which all ways share.
struct FilePlace {
    static constexpr std::uint64_t count = 512;
    bench::Folder folder{"/dev/shm", "/dev/nvme0n1"};
    bench::Job job{folder.path(), count};
};

FilePlace& file_place() {
    static FilePlace place;
    return place;
}

/// Reads pages of a cached file on that ext4, in `depth` sequences at a time.
template <class ReadWay, class... Arguments>
Way reads(std::uint64_t depth, Arguments... arguments) {
    static const bench::CachedFile file(file_place().folder.path());
    return nops<ReadWay>(depth, bench::CachedFile::pages, file, arguments...);
}

/// Returns the way of reading small files as a whole that has this name. It reads `depth` files at a time.
template <class FileWay, class... Arguments>
Way files(std::uint64_t depth, Arguments&&... arguments) {
    auto way = std::make_shared<FileWay>(std::forward<Arguments>(arguments)...);
    return {.run =
                [way, depth, &job = file_place().job](std::uint64_t operations) {
                    for (std::uint64_t read = 0; read < operations; read += FilePlace::count) {
                        job.begin();
                        way->run(job, depth);
                        job.end();
                    }
                },
            .unit = FilePlace::count};
}

/// Chains that open /dev/zero, allocate memory, read some of it, and close it. Each request completes at once.
template <class Chains>
class OpenWay {
public:
    explicit OpenWay(Engine engine) : chains_(ring_, {.engine = engine}), id_(chains_.add(plan_.graph)) {}
    void run(std::uint64_t operations, std::uint64_t depth) {
        chains_.set_depth(static_cast<std::uint32_t>(depth));
        chains_.set_arena(memory_);
        std::uint64_t taken = 0;
        for (std::uint64_t started = 0; taken < operations;) {
            while (started < operations && chains_.try_start(id_, {plan_.path("/dev/zero")})) started++;
            const ringstep::LoopExit exit = chains_.run();
            if (!exit.ok()) throw std::runtime_error(fmt::format("chains: the loop {}", exit));
            for (const ringstep::chain::ChainResult& result : chains_.results()) {
                if (!result.ok() || result.result(plan_.read) != file_compiled::room)
                    throw std::runtime_error("a file came back wrong");
                taken++;
            }
            chains_.set_arena(memory_);
        }
    }

private:
    ringstep::Ring ring_{{.sq_entries = 64, .cq_entries = 256}};
    Chains chains_;
    file_compiled plan_;
    ringstep::chain::GraphId id_;
    std::vector<std::byte> memory_ = std::vector<std::byte>(512 * (file_compiled::room + 64));
};

template <class Chains>
Way open_file(std::uint64_t depth, Engine engine) {
    auto way = std::make_shared<OpenWay<Chains>>(engine);
    return {.run = [way, depth](std::uint64_t operations) { way->run(operations, depth); }, .unit = depth};
}

std::vector<Recipe> recipes() {
    using namespace bench;
    std::vector<Recipe> all;
    // A nop that waits for the one before it.
    all.push_back({"liburing-enter", "nops, so many at a time, one enter for each batch", 1, 64, 4096,
                   [](auto n) { return nops<EnterWay>(n, 1); }});
    all.push_back(
        {"liburing-pairs", "nops in linked pairs, so many at a time", 1, 32, 4096, [](auto n) { return nops<LinkWay>(n, 2); }});
    all.push_back(
        {"hand-lean", "nops, hand-written loop, lean", 1, 64, 4096, [](auto n) { return nops<HandWay>(n, 1, NOPS_LEAN); }});
    all.push_back({"hand-full", "nops, hand-written loop, as capable as ringstep's", 1, 64, 4096,
                   [](auto n) { return nops<HandWay>(n, 1, NOPS_FULL); }});
    all.push_back({"hand-naive", "nops, hand-written loop, as simple as a selftest", 1, 1, 4096,
                   [](auto n) { return nops<HandWay>(n, 1, NOPS_NAIVE); }});
    // The number of a loop is given; its engine is part of its name.
    const auto add = [&all](const std::string& name, const std::string& title, std::uint64_t number, std::uint64_t most,
                            std::uint64_t usually, const std::function<Way(std::uint64_t, Engine)>& make) {
        for (const Engine engine : {Engine::kernel, Engine::user}) {
            all.push_back({name + (engine == Engine::kernel ? "" : "-user"),
                           title + (engine == Engine::kernel ? "" : ", in user space"), number, most, usually,
                           [make, engine](std::uint64_t n) { return make(n, engine); }});
        }
    };
    add("nop_chain", "nops, so many at a time", 1, 64, 4096, [](auto n, Engine e) { return nops<LoopWay>(n, 1, e); });
    // Sequences of 30 nops.
    all.push_back({"liburing-links", "sequences of 30 nops by IOSQE_IO_LINK, so many at a time", 1, 32, 3840,
                   [](auto n) { return nops<LinkedWay>(n, chain_steps, chain_steps); }});
    add("chain", "steps of sequences of 30 nops, so many sequences at a time", 1, 64, 3840,
        [](auto n, Engine e) { return nops<ChainWay>(n, chain_steps, chain_steps, e); });
    // Sequences of 30 reads of a cached page.
    all.push_back({"pread", "reads of a cached page by pread", 1, 1, 3840, [](auto n) { return reads<PreadWay>(n); }});
    all.push_back({"liburing-reads", "the same in sequences, so many at a time, one enter for the next read of each", 1, 32,
                   3840, [](auto n) { return reads<EnterReadWay>(n); }});
    add("reads", "the same in sequences by chain, so many at a time", 1, 32, 3840,
        [](auto n, Engine e) { return reads<ChainReadWay>(n, e); });
    // Ways to read whole small files from ext4.
    all.push_back({"liburing-files", "whole small files, so many at a time", 1, 64, 512,
                   [](auto n) { return ::files<HandFileWay>(n, with_read_only); }});
    add("files", "whole small files by chain, so many at a time", 1, 64, 512,
        [](auto n, Engine e) { return ::files<StepsWay>(n, e, with_read_only); });
    add("compiled-files", "the same, by a compiled graph", 1, 64, 512,
        [](auto n, Engine e) { return ::files<CompiledFileWay>(n, e); });
    add("compiled-chain", "the same, by a compiled graph", 1, 64, 3840,
        [](auto n, Engine e) { return nops<CompiledChainWay>(n, chain_steps, chain_steps, e); });
    // Files.
    add("chain-file", "chains that open, allocate, read and close, so many at a time", 1, 64, 1024,
        [](auto n, Engine e) { return open_file<ringstep::chain::Chains>(n, e); });
    add("compiled-file", "the same, by a compiled graph", 1, 64, 1024,
        [](auto n, Engine e) { return open_file<ringstep::chain::CompiledChains<ringstep::loops::file_compiled>>(n, e); });
    // Order.
    all.push_back({"liburing-drain", "nops with IOSQE_IO_DRAIN, a barrier every so many", 8, 64, 4096,
                   [](auto n) { return order<drain::KernelDrain>(n); }});
    add("drain", "nops with a barrier every so many", 8, 64, 4096,
        [](auto n, Engine e) { return order<drain::Loop>(n, e, order_batch); });
    all.push_back({"liburing-link", "nops with IOSQE_IO_LINK, in chains of so many", 8, 64, 4096,
                   [](auto n) { return order<link::KernelLinks>(n); }});
    all.push_back({"liburing-steps", "nops in chains of so many, one enter for each step of all chains", 8, 64, 4096,
                   [](auto n) { return order<link::Steps>(n); }});
    add("link", "nops in chains of so many", 8, 32, 4096,
        [](auto n, Engine e) { return order<link::Loop>(n, e, order_batch); });
    // Queues.
    all.push_back(
        {"liburing-queue", "queued nops, so many in flight", 8, 64, 4096, [](auto n) { return gate<gate::HandWay>(n); }});
    add("gate", "queued nops, so many in flight", 8, 64, 4096, [](auto n, Engine e) { return ::gate<gate::GateWay>(n, e); });
    all.push_back({"liburing-messages", "bytes through pairs of sockets, so many at a time", 1, 16, 2048,
                   [](auto n) { return messages<gate::HandWay>(n); }});
    add("messages", "bytes through pairs of sockets by gate, so many at a time", 1, 16, 2048,
        [](auto n, Engine e) { return messages<gate::GateWay>(n, e); });
    add("pace", "queued nops at a rate so high that none waits", 1, 1, 4096, [](auto, Engine e) { return pace(e); });
    // Waiting.
    all.push_back({"io_uring_enter", "nops, so many in an enter, by the same code as enter", 1, 32, 4096, plain_enter});
    add("enter", "nops, so many in a submit_and_wait()", 1, 32, 4096, enter);
    add("stages", "nops, so many in a wait for 32, or for 1 after 2 ms", 32, 32, 4096, stages);
    // Copies.
    all.push_back({"liburing-copy", "blocks of 64 bytes from /dev/zero to /dev/null, so many at a time", 8, 64, 4096,
                   [](auto n) { return copy<UringCopy>(n); }});
    add("copy", "blocks of 64 bytes from /dev/zero to /dev/null, so many at a time", 8, 64, 4096,
        [](auto n, Engine e) { return copy<BareCopy>(n, e); });
    return all;
}

// --- Running them ------------------------------------------------------------------------------------------------------------

struct Options {
    std::vector<std::string> names;
    std::string folder;
    std::uint64_t operations = 0;
    std::size_t runs = 3;
    bool list = false;
    bool check = false;
    bool lines = false;
};

/// One way with one number.
struct Case {
    std::string name;
    std::string title;
    Way way;
    std::uint64_t operations = 0;
};

/// Finds what NAME or NAME:NUMBER means. Throws if there is no such way.
std::pair<const Recipe*, std::uint64_t> find(const std::vector<Recipe>& all, const std::string& text) {
    const std::size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    for (const Recipe& recipe : all) {
        if (recipe.name != name) continue;
        if (colon == std::string::npos) return {&recipe, recipe.number};
        std::uint64_t number = 0;
        const std::string_view digits = std::string_view(text).substr(colon + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error != std::errc{} || end != digits.data() + digits.size() || number < 1 || number > recipe.most)
            throw std::runtime_error(fmt::format("{}: the number of {} must be 1 to {}", text, name, recipe.most));
        return {&recipe, number};
    }
    throw std::runtime_error(fmt::format("there is no way {}. --list names all ways", name));
}

Case make_case(const std::vector<Recipe>& all, const std::string& text, std::uint64_t operations) {
    const auto [recipe, number] = find(all, text);
    Case made{.name = fmt::format("{}:{}", recipe->name, number), .title = recipe->title, .way = recipe->make(number)};
    made.operations = operations != 0 ? operations : recipe->usually;
    made.operations = (made.operations + made.way.unit - 1) / made.way.unit * made.way.unit;
    return made;
}

void print_list(const std::vector<Recipe>& all) {
    for (const Recipe& recipe : all)
        fmt::print("{:<16} {} (1 to {}; {})\n", recipe.name, recipe.title, recipe.most, recipe.number);
}

/// A copy, because the file says how large it is only when it is read.
void copy_file(const std::string& from, const std::string& to) {
    std::ifstream source(from, std::ios::binary);
    std::ofstream copy(to, std::ios::binary);
    copy << source.rdbuf();
    if (!source || !copy) throw std::runtime_error("copying " + from + " to " + to);
}

void run(const Options& options) {
    const std::vector<Recipe> all = recipes();
    if (options.list) {
        print_list(all);
        return;
    }
    if (options.check) {
        for (const std::string& name : options.names) (void)find(all, name);
        return;
    }
    // Makes the kernel list the BPF programs that it has compiled in /proc/kallsyms.
    std::ofstream("/proc/sys/net/core/bpf_jit_kallsyms") << "1\n";
    // All ways are set up before the first one runs. So one list of symbols has the programs of all, and no address is used
    // twice.
    std::vector<Case> cases;
    for (const std::string& name : options.names) cases.push_back(make_case(all, name, options.operations));
    copy_file("/proc/kallsyms", options.folder + "/kallsyms");
    if (options.lines) bench::write_lines(options.folder + "/lines");
    bench::settle();
    std::vector<std::string> records;
    for (const Case& test : cases) {
        test.way.run(test.operations);
        for (std::size_t i = 0; i < options.runs; i++) {
            bench::mark_begin();
            test.way.run(test.operations);
            bench::mark_end();
            records.push_back(fmt::format(R"({{"way": {}, "title": {}, "operations": {}}})", bench::json_string(test.name),
                                          bench::json_string(test.title), test.operations));
        }
    }
    // This comes last, because a way may load libraries while it runs.
    copy_file("/proc/self/maps", options.folder + "/maps");
    bench::write_json(options.folder + "/ways.json", "ways", bench::facts_json(), records);
}

int run_all(int argc, char** argv) {
    Options options;
    CLI::App app{"Each loop and each of its baselines on its own, for `./dev bench profile`."};
    app.add_option("ways", options.names, "ways to run: NAME or NAME:NUMBER");
    app.add_flag("--list", options.list,
                 "list all ways, with the meaning of their number, its range and what it is unless said otherwise");
    app.add_flag("--check", options.check, "run nothing, but fail if one of the ways does not exist");
    app.add_option("--folder", options.folder, "write results to files in this folder");
    app.add_option("--operations", options.operations, "operations in each run (default: what suits the way)");
    app.add_option("--runs", options.runs, "runs of each way")->capture_default_str();
    app.add_flag("--lines", options.lines, "write the source lines of BPF programs, too");
    app.footer(std::string(program::status_help));
    CLI11_PARSE(app, argc, argv);
    if (!options.list && !options.check && (options.names.empty() || options.folder.empty()))
        throw std::runtime_error("name ways to run, and --folder for the results");
    run(options);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("bench-ways", [&] { return run_all(argc, argv); });
}
