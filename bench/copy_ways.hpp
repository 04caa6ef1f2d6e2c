// SPDX-License-Identifier: MIT
// Ways to copy a file. All use an equal number of blocks in flight and blocks of equal size.
#pragma once

#include <fmt/format.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ringstep/format.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "common/plain_ring.hpp"

namespace bench {

// All rings have this size, which is enough for every depth.
inline constexpr unsigned copy_sq_entries = 64;
inline constexpr unsigned copy_cq_entries = 256;

class CopyWay {
public:
    virtual ~CopyWay() = default;
    [[nodiscard]] virtual std::string name() const = 0;
    /// Returns a title of a few words, for people.
    [[nodiscard]] virtual std::string title() const = 0;
    /// Copies all of `input` to `output`, which must be empty. Throws if that fails. The caller must check the copy.
    virtual void run(int input, int output) = 0;
    /// Returns the calls of io_uring_enter(2) in the last run that the way has counted.
    [[nodiscard]] virtual std::uint64_t enters() const { return 0; }
};

/// Returns the size of a file. Throws if the kernel does not say.
inline std::uint64_t size_of(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) throw std::system_error(errno, std::generic_category(), "fstat");
    return static_cast<std::uint64_t>(status.st_size);
}

/// Page-aligned memory for blocks, with huge pages where the kernel has them.
class Blocks {
public:
    Blocks(std::size_t count, std::size_t size) : size_(size), total_(count * size) {
        base_ = ::mmap(nullptr, total_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        ::madvise(base_, total_, MADV_HUGEPAGE);
    }
    Blocks(const Blocks&) = delete;
    Blocks& operator=(const Blocks&) = delete;
    ~Blocks() { ::munmap(base_, total_); }
    [[nodiscard]] std::byte* at(std::size_t index) const { return static_cast<std::byte*>(base_) + index * size_; }

private:
    void* base_ = nullptr;
    std::size_t size_;
    std::size_t total_;
};

/// Uses read(2) and write(2) in turn. It has only one block in progress, and is shown for comparison.
class PlainCopy final : public CopyWay {
public:
    explicit PlainCopy(std::size_t block_size) : block_size_(block_size), buffer_(1, block_size) {}
    std::string name() const override { return "plain"; }
    std::string title() const override { return "read and write, no io_uring"; }
    void run(int input, int output) override {
        for (std::uint64_t offset = 0;;) {
            const ssize_t count = ::pread(input, buffer_.at(0), block_size_, static_cast<off_t>(offset));
            if (count < 0) throw std::system_error(errno, std::generic_category(), "read");
            if (count == 0) return;
            for (ssize_t done = 0; done < count;) {
                const ssize_t part = ::pwrite(output, buffer_.at(0) + done, static_cast<std::size_t>(count - done),
                                              static_cast<off_t>(offset) + done);
                if (part < 0) throw std::system_error(errno, std::generic_category(), "write");
                done += part;
            }
            offset += static_cast<std::uint64_t>(count);
        }
    }

private:
    std::size_t block_size_;
    Blocks buffer_;
};

/// Copies with liburing. Each block is read in full and then written in full. One enter submits all requests that are ready.
class UringCopy final : public CopyWay {
public:
    UringCopy(unsigned depth, std::size_t block_size)
        : depth_(depth), block_size_(static_cast<std::uint32_t>(block_size)), buffers_(depth, block_size), blocks_(depth) {}
    std::string name() const override { return "liburing"; }
    std::string title() const override { return "liburing, one enter for each batch"; }
    void run(int input, int output) override { run(input, output, size_of(input)); }
    /// Copies the first `bytes` bytes of `input`.
    void run(int input, int output, std::uint64_t bytes) {
        input_ = input;
        output_ = output;
        end_ = bytes;
        next_ = 0;
        enters_ = 0;
        unsigned in_flight = 0;
        for (unsigned i = 0; i < depth_ && begin_block(i); i++) in_flight++;
        while (in_flight > 0) {
            const int result = io_uring_submit_and_wait(ring_.get(), 1);
            if (result < 0 && result != -EINTR) check(result, "io_uring_enter");
            enters_++;
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe) {
                if (!go_on(*cqe)) in_flight--;
                seen++;
            }
            io_uring_cq_advance(ring_.get(), seen);
        }
    }
    std::uint64_t enters() const override { return enters_; }

private:
    struct Block {
        std::uint64_t offset;
        std::uint32_t size;
        std::uint32_t filled;
        std::uint32_t written;
    };

    bool begin_block(unsigned index) {
        if (next_ >= end_) return false;
        Block& block = blocks_[index];
        block = {.offset = next_,
                 .size = static_cast<std::uint32_t>(std::min<std::uint64_t>(block_size_, end_ - next_)),
                 .filled = 0,
                 .written = 0};
        next_ += block.size;
        read_on(index);
        return true;
    }

    void read_on(unsigned index) {
        const Block& block = blocks_[index];
        io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
        io_uring_prep_read(sqe, input_, buffers_.at(index) + block.filled, block.size - block.filled,
                           block.offset + block.filled);
        io_uring_sqe_set_data64(sqe, index);
    }

    void write_on(unsigned index) {
        const Block& block = blocks_[index];
        io_uring_sqe* sqe = io_uring_get_sqe(ring_.get());
        io_uring_prep_write(sqe, output_, buffers_.at(index) + block.written, block.filled - block.written,
                            block.offset + block.written);
        io_uring_sqe_set_data64(sqe, index | writing);
    }

    /// Starts the next request after a completion. Returns false if there is none for its slot.
    bool go_on(const io_uring_cqe& cqe) {
        const auto index = static_cast<unsigned>(cqe.user_data & ~writing);
        Block& block = blocks_[index];
        if (cqe.res < 0 && cqe.res != -EINTR && cqe.res != -EAGAIN) {
            throw std::system_error(-cqe.res, std::generic_category(), "copying by liburing");
        }
        const std::uint32_t count = cqe.res > 0 ? static_cast<std::uint32_t>(cqe.res) : 0;
        if ((cqe.user_data & writing) == 0) {
            block.filled += count;
            if (cqe.res == 0) block.size = block.filled;  // the source has shrunk
            if (block.filled < block.size) {
                read_on(index);
                return true;
            }
            if (block.filled == 0) return begin_block(index);
        } else {
            block.written += count;
            if (block.written == block.filled) return begin_block(index);
        }
        write_on(index);
        return true;
    }

    static constexpr std::uint64_t writing = 1ULL << 32;

    PlainRing ring_{copy_sq_entries, copy_cq_entries};
    unsigned depth_;
    std::uint32_t block_size_;
    Blocks buffers_;
    std::vector<Block> blocks_;
    int input_ = -1;
    int output_ = -1;
    std::uint64_t next_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t enters_ = 0;
};

/// Uses ringstep's loop copy, with all the work that FileCopy does around it.
class LoopCopy final : public CopyWay {
public:
    LoopCopy(unsigned depth, std::size_t block_size, ringstep::Engine engine = ringstep::Engine::kernel)
        : copy_(ring_, {.queue_depth = depth, .block_size = block_size, .engine = engine}) {}
    std::string name() const override { return copy_.engine() == ringstep::Engine::kernel ? "ringstep" : "user"; }
    std::string title() const override {
        return copy_.engine() == ringstep::Engine::kernel ? "ringstep, a loop in the kernel"
                                                          : "ringstep, the same loop in user space";
    }
    std::uint64_t enters() const override { return enters_; }
    void run(int input, int output) override {
        const ringstep::CopyResult result = copy_.run(input, output);
        if (!result.ok()) {
            throw std::system_error(result.error, std::generic_category(),
                                    fmt::format("copying by ringstep ({})", result.exit));
        }
        turns_ = result.exit.turns;
        enters_ = result.enters;
    }
    [[nodiscard]] std::uint64_t turns() const { return turns_; }

private:
    ringstep::Ring ring_{{.sq_entries = copy_sq_entries, .cq_entries = copy_cq_entries}};
    ringstep::FileCopy copy_;
    std::uint64_t turns_ = 0;
    std::uint64_t enters_ = 0;
};

/// Runs ringstep's loop copy without FileCopy, on a file of known size, for a fair comparison with the hand-written loop.
class BareCopy final : public CopyWay {
public:
    BareCopy(unsigned depth, std::size_t block_size, ringstep::Engine engine = ringstep::Engine::user)
        : loop_(ring_, {.engine = engine}), depth_(depth), block_size_(block_size), buffers_(depth, block_size) {}
    std::string name() const override { return loop_.engine() == ringstep::Engine::kernel ? "kernel" : "user"; }
    std::string title() const override { return "ringstep's loop copy without FileCopy"; }
    void run(int input, int output) override { run(input, output, size_of(input)); }
    /// Copies the first `bytes` bytes of `input`.
    void run(int input, int output, std::uint64_t bytes) {
        ringstep_copy& state = *loop_.state();
        state.over = 0;
        state.idle = state.opened = 0;
        state.input_fd = input;
        state.output_fd = output;
        state.depth = depth_;
        state.block_size = static_cast<std::uint32_t>(block_size_);
        state.buffers = reinterpret_cast<std::uintptr_t>(buffers_.at(0));
        state.size_hint = bytes;
        state.extents[0] = {.offset = 0, .length = bytes};
        state.extent_head = 0;
        state.extent_tail = 1;
        const ringstep::LoopExit exit = loop_.run();
        if (exit.reason != ringstep::ExitReason::stopped || exit.code != RINGSTEP_COPY_EXTENTS_USED)
            throw std::runtime_error(fmt::format("copying by ringstep: {}", exit));
        enters_ = exit.enters;
    }
    std::uint64_t enters() const override { return enters_; }

private:
    ringstep::Ring ring_{{.sq_entries = copy_sq_entries, .cq_entries = copy_cq_entries}};
    ringstep::LoopProgram<ringstep::loops::copy> loop_;
    unsigned depth_;
    std::size_t block_size_;
    Blocks buffers_;
    std::uint64_t enters_ = 0;
};

}  // namespace bench
