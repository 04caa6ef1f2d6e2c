// SPDX-License-Identifier: MIT
// Ways to read whole small files into memory, one behind the other in an arena.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ringstep/chain/chains.hpp>
#include <ringstep/format.hpp>
#include <ringstep/graphs/file_compiled.hpp>
#include <ringstep/ringstep.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../examples/read-files/plan.hpp"
#include "common/folders.hpp"
#include "common/plain_ring.hpp"
#include "graphs/file_compiled.hpp"

namespace bench {

/// Memory for all files. A file whose size is not asked for gets `room`.
class Arena {
public:
    static constexpr std::size_t room = 16 << 10;

    explicit Arena(std::uint64_t files) : bytes_(files * (room + 64)) {}
    void clear() { used_ = 0; }
    [[nodiscard]] std::byte* take(std::size_t size) {
        std::byte* const taken = bytes_.data() + used_;
        used_ += (size + 63) & ~std::size_t{63};
        return taken;
    }
    [[nodiscard]] std::span<std::byte> all() { return bytes_; }

private:
    std::vector<std::byte> bytes_;
    std::size_t used_ = 0;
};

/// Files, and memory to read them into.
class Job {
public:
    Job(const std::string& folder, std::uint64_t count) : files(folder, count), arena(count) {}

    void begin() {
        arena.clear();
        read_ = 0;
        bytes_ = 0;
        wrong_ = 0;
    }
    /// Counts a file that was read, and checks that its contents are those of file `number`.
    void take(std::uint64_t number, const std::byte* where, std::int64_t size) {
        std::uint64_t found = 0;
        std::memcpy(&found, where, sizeof found);
        if (found != number) wrong_++;
        read_++;
        bytes_ += static_cast<std::uint64_t>(size);
    }
    void end() const {
        if (wrong_ != 0 || read_ != files.count() || bytes_ != files.bytes())
            throw std::runtime_error(fmt::format("of {} files {} were read, {} wrongly, and {} of {} bytes", files.count(),
                                                 read_, wrong_, bytes_, files.bytes()));
    }

    SmallFiles files;
    Arena arena;

private:
    std::uint64_t read_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t wrong_ = 0;
};

class FileWay {
public:
    virtual ~FileWay() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Returns a title of a few words, for people.
    [[nodiscard]] virtual std::string title() const = 0;
    [[nodiscard]] virtual bool can(std::uint64_t depth) const { return depth >= 1; }
    /// Reads all files, `depth` at a time. Throws unless each was read.
    virtual void run(Job& job, std::uint64_t depth) = 0;
};

/// open(2), fstat(2), read(2), close(2).
class PlainWay final : public FileWay {
public:
    std::string name() const override { return "plain"; }
    std::string title() const override { return "open, fstat, read, close"; }
    bool can(std::uint64_t depth) const override { return depth == 1; }
    void run(Job& job, std::uint64_t /*depth*/) override {
        for (std::uint64_t i = 0; i < job.files.count(); i++) {
            struct stat status{};
            const int fd = check(::open(job.files.name(i), O_RDONLY | O_CLOEXEC), "open");
            check(::fstat(fd, &status), "fstat");
            const auto size = static_cast<std::size_t>(status.st_size);
            std::byte* const where = job.arena.take(size);
            const ssize_t bytes = ::read(fd, where, size);
            check(::close(fd), "close");
            job.take(i, where, bytes);
        }
    }

private:
    static int check(int result, const char* what) {
        if (result < 0) fail_with_errno(what);
        return result;
    }
};

/// How a way opens a file and finds its size.
struct FileSteps {
    bool statx = false;   // asks for the size, instead of reading up to Arena::room bytes
    bool direct = false;  // opens into a registered slot, instead of a descriptor
    const char* name = "";
    const char* title = "";
};
inline constexpr FileSteps with_read_only{.statx = false, .direct = false, .name = "open", .title = "open, read, close"};
inline constexpr FileSteps with_slot{
    .statx = false, .direct = true, .name = "slot", .title = "open into a registered slot, read, close"};
inline constexpr FileSteps with_statx{.statx = true, .direct = false, .name = "statx", .title = "open, statx, read, close"};

/// A program for liburing, written for this job. One enter for the next request of each file at hand.
class HandFileWay final : public FileWay {
public:
    explicit HandFileWay(const FileSteps& steps) : steps_(steps) {
        if (steps_.direct) check(io_uring_register_files_sparse(ring_.get(), slots), "registration of files");
    }
    std::string name() const override { return std::string("hand-") + steps_.name; }
    std::string title() const override { return std::string("liburing: ") + steps_.title; }
    bool can(std::uint64_t depth) const override { return depth >= 1 && depth <= slots; }
    void run(Job& job, std::uint64_t depth) override {
        std::vector<At> files(depth);
        std::uint64_t started = 0;
        std::uint64_t ended = 0;
        while (started < depth && started < job.files.count()) {
            start(job, files[started], started, started);
            started++;
        }
        while (ended < job.files.count()) {
            check(io_uring_submit_and_wait(ring_.get(), 1), "io_uring_enter");
            take_all(ring_, [&](std::uint64_t index, int result) {
                At& at = files[index];
                check(result, "a request");
                switch (at.phase) {
                    case Phase::open:
                        at.file = result;
                        if (steps_.statx)
                            stat(at, index);
                        else
                            read(job, at, index, Arena::room);
                        return;
                    case Phase::stat: read(job, at, index, at.status.stx_size); return;
                    case Phase::read:
                        at.bytes = result;
                        close(at, index);
                        return;
                    case Phase::close: break;
                }
                job.take(at.number, at.where, at.bytes);
                ended++;
                if (started < job.files.count()) start(job, at, index, started++);
            });
        }
    }

private:
    enum class Phase {
        open,
        stat,
        read,
        close
    };
    struct At {
        Phase phase = Phase::open;
        int file = -1;
        std::uint64_t number = 0;
        std::byte* where = nullptr;
        std::int64_t bytes = 0;
        struct statx status;
    };
    static constexpr unsigned slots = 64;

    void start(Job& job, At& at, std::uint64_t index, std::uint64_t number) {
        io_uring_sqe* const sqe = next(at, Phase::open);
        at.number = number;
        if (steps_.direct)
            io_uring_prep_openat_direct(sqe, AT_FDCWD, job.files.name(number), O_RDONLY, 0, IORING_FILE_INDEX_ALLOC);
        else
            io_uring_prep_openat(sqe, AT_FDCWD, job.files.name(number), O_RDONLY | O_CLOEXEC, 0);
        io_uring_sqe_set_data64(sqe, index);
    }
    void stat(At& at, std::uint64_t index) {
        io_uring_sqe* const sqe = next(at, Phase::stat);
        io_uring_prep_statx(sqe, at.file, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &at.status);
        io_uring_sqe_set_data64(sqe, index);
    }
    void read(Job& job, At& at, std::uint64_t index, std::uint64_t size) {
        io_uring_sqe* const sqe = next(at, Phase::read);
        at.where = job.arena.take(size);
        io_uring_prep_read(sqe, at.file, at.where, static_cast<unsigned>(size), 0);
        if (steps_.direct) sqe->flags |= IOSQE_FIXED_FILE;
        io_uring_sqe_set_data64(sqe, index);
    }
    void close(At& at, std::uint64_t index) {
        io_uring_sqe* const sqe = next(at, Phase::close);
        if (steps_.direct)
            io_uring_prep_close_direct(sqe, static_cast<unsigned>(at.file));
        else
            io_uring_prep_close(sqe, at.file);
        io_uring_sqe_set_data64(sqe, index);
    }
    io_uring_sqe* next(At& at, Phase phase) {
        at.phase = phase;
        return io_uring_get_sqe(ring_.get());
    }

    FileSteps steps_;
    PlainRing ring_{64, 256};
};

/// Chains of one of this program's graphs, or of the one of the example read-files.
template <class Chains>
class ChainFileWayOf : public FileWay {
public:
    std::string name() const override { return engine_name() + "-" + short_name_; }
    std::string title() const override { return "chain, " + engine_name() + " engine: " + title_; }
    void run(Job& job, std::uint64_t depth) override {
        chains_.set_depth(static_cast<std::uint32_t>(depth));
        chains_.set_arena(job.arena.all());
        std::uint64_t started = 0;
        for (std::uint64_t ended = 0; ended < job.files.count();) {
            while (started < job.files.count() && start(job, started)) started++;
            const ringstep::LoopExit exit = chains_.run();
            if (!exit.ok()) throw std::runtime_error(fmt::format("the loop {}", exit));
            for (const ringstep::chain::ChainResult& result : chains_.results()) {
                if (!result.ok()) throw std::system_error(result.error(), std::generic_category(), "a chain");
                take(job, result);
                ended++;
            }
        }
    }

protected:
    ChainFileWayOf(ringstep::Engine engine, std::string short_name, std::string title)
        : chains_(ring_, {.engine = engine}), short_name_(std::move(short_name)), title_(std::move(title)) {}

    ringstep::Ring ring_{{.sq_entries = 64, .cq_entries = 256}};
    Chains chains_;

private:
    /// Starts the chain of a file. Returns false if there is no room for one more.
    virtual bool start(Job& job, std::uint64_t number) = 0;
    virtual void take(Job& job, const ringstep::chain::ChainResult& result) = 0;

    std::string engine_name() const { return chains_.engine() == ringstep::Engine::kernel ? "kernel" : "user"; }
    std::string short_name_;
    std::string title_;
};

using ChainFileWay = ChainFileWayOf<ringstep::chain::Chains>;

/// Chains with the same requests as HandFileWay, with a descriptor, of a graph that was compiled.
class CompiledFileWay final : public ChainFileWayOf<ringstep::chain::CompiledChains<ringstep::loops::file_compiled>> {
public:
    explicit CompiledFileWay(ringstep::Engine engine)
        : ChainFileWayOf(engine, "compiled", "open, read, close, a compiled graph") {
        id_ = chains_.add(plan_.graph);
    }

private:
    bool start(Job& job, std::uint64_t number) override {
        return chains_.try_start(id_, {plan_.path(job.files.name(number))}, {.user_data = number}).has_value();
    }
    void take(Job& job, const ringstep::chain::ChainResult& result) override {
        job.take(result.user_data(), result.address(plan_.memory), result.result(plan_.read));
    }

    file_compiled plan_;
    ringstep::chain::GraphId id_;
};

/// Chains with the same requests as HandFileWay: in a slot if the steps say so, otherwise with a descriptor.
class StepsWay final : public ChainFileWay {
public:
    StepsWay(ringstep::Engine engine, const FileSteps& steps) : ChainFileWay(engine, steps.name, steps.title) {
        if (steps.direct) {
            ring_.register_files_sparse(64);
            build(graph_.open_direct(AT_FDCWD, path_, O_RDONLY), steps);
        } else {
            build(graph_.open(path_, O_RDONLY | O_CLOEXEC), steps);
        }
        id_ = chains_.add(graph_);
    }

private:
    template <class T>
    void build(const ringstep::chain::Node<T>& open, const FileSteps& steps) {
        if constexpr (std::same_as<T, ringstep::chain::Fd>) {
            if (steps.statx) {
                const auto stat = graph_.statx(open);
                const auto size = graph_.variable<ringstep::chain::Length>();
                const auto known = graph_.set(size, stat.size());
                connect(open.then(stat).then(known), open, graph_.allocate(size), size);
                return;
            }
        }
        connect(open, open, graph_.allocate(Arena::room), ringstep::chain::Length{Arena::room});
    }
    template <class T>
    void connect(const ringstep::chain::AnyNode& before, const ringstep::chain::Node<T>& open,
                 const ringstep::chain::Node<ringstep::chain::Address>& memory,
                 const ringstep::chain::Expression<ringstep::chain::Length>& size) {
        const auto read = graph_.read(open, memory.result(), size, 0);
        before.then(memory).then(read);
        open.finally(graph_.close(open));
        memory_.emplace(memory);
        read_.emplace(read);
    }
    bool start(Job& job, std::uint64_t number) override {
        return chains_.try_start(id_, {path_(job.files.name(number))}, {.user_data = number}).has_value();
    }
    void take(Job& job, const ringstep::chain::ChainResult& result) override {
        job.take(result.user_data(), result.address(*memory_), result.result(*read_));
    }

    ringstep::chain::Graph graph_;
    const ringstep::chain::Parameter<ringstep::chain::Address> path_ = graph_.parameter<ringstep::chain::Address>();
    std::optional<ringstep::chain::Node<ringstep::chain::Address>> memory_;
    std::optional<ringstep::chain::TransferNode> read_;
    ringstep::chain::GraphId id_;
};

/// The graph of the example read-files.
class ExampleWay final : public ChainFileWay {
public:
    explicit ExampleWay(ringstep::Engine engine) : ChainFileWay(engine, "example", "the example read-files") {
        ring_.register_files_sparse(ring_.geometry().cq_entries);
        id_ = chains_.add(plan_.graph);
    }

private:
    bool start(Job& job, std::uint64_t number) override {
        std::byte* const buffer = &job.arena.all()[number * ReadFile::small];
        return chains_
            .try_start(id_, {plan_.path(job.files.name(number)), plan_.buffer(buffer), plan_.room(ReadFile::small)},
                       {.user_data = number})
            .has_value();
    }
    void take(Job& job, const ringstep::chain::ChainResult& result) override {
        const ReadFile::Contents contents = plan_.contents(result);
        // The example reads files of whole pages once more.
        if (!contents.complete && contents.bytes.size() % 4096 != 0) throw std::runtime_error("a file is longer than expected");
        job.take(result.user_data(), contents.bytes.data(), static_cast<std::int64_t>(contents.bytes.size()));
    }

    ReadFile plan_{ReadFile::From::cache};
    ringstep::chain::GraphId id_;
};

}  // namespace bench
