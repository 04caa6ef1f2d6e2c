// SPDX-License-Identifier: MIT
// Ways to run sequences of reads of 4 KiB, each of a page that is in the page cache.
#pragma once

#include <liburing.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ringstep/chain/chains.hpp>
#include <ringstep/ringstep.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/files.hpp"
#include "common/plain_ring.hpp"
#include "nop_ways.hpp"

namespace bench {

inline constexpr std::size_t read_size = 4096;

/// A file whose pages are in the page cache.
class CachedFile {
public:
    static constexpr std::size_t pages = 30;

    explicit CachedFile(const std::string& folder) : file_((folder + "/pages").c_str(), O_RDWR | O_CREAT) {
        const std::array<char, read_size> page{};
        for (std::size_t i = 0; i < pages; i++) {
            if (::pwrite(file_.fd(), page.data(), page.size(), offset_of(i)) != static_cast<ssize_t>(page.size()))
                throw std::runtime_error("cannot write " + folder + "/pages");
        }
    }
    [[nodiscard]] int fd() const { return file_.fd(); }
    [[nodiscard]] static off_t offset_of(std::uint64_t read) { return static_cast<off_t>(read % pages * read_size); }

private:
    File file_;
};

/// Calls pread(2) for each page.
class PreadWay final : public NopWay {
public:
    explicit PreadWay(const CachedFile& file) : file_(&file) {}
    std::string name() const override { return "pread"; }
    std::string title() const override { return "pread"; }
    void run(std::uint64_t total, std::uint64_t) override {
        for (std::uint64_t i = 0; i < total; i++) {
            if (::pread(file_->fd(), page_.data(), page_.size(), CachedFile::offset_of(i)) !=
                static_cast<ssize_t>(page_.size()))
                throw std::runtime_error("a read came back wrong");
        }
    }

private:
    const CachedFile* file_;
    std::array<std::byte, read_size> page_{};
};

/// Calls io_uring_enter(2) for the next read of `depth` sequences.
class EnterReadWay final : public NopWay {
public:
    explicit EnterReadWay(const CachedFile& file) : file_(&file) {}
    std::string name() const override { return "read-enter"; }
    std::string title() const override { return "liburing, one enter for the next read of all sequences"; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        std::uint64_t failed = 0;
        for (std::uint64_t completed = 0; completed < total;) {
            for (std::uint64_t i = 0; i < depth; i++) {
                io_uring_prep_read(io_uring_get_sqe(ring_.get()), file_->fd(), page_.data(), read_size,
                                   static_cast<std::uint64_t>(CachedFile::offset_of(completed + i)));
            }
            check(io_uring_submit_and_wait(ring_.get(), static_cast<unsigned>(depth)), "io_uring_enter");
            unsigned head = 0;
            unsigned seen = 0;
            io_uring_cqe* cqe = nullptr;
            io_uring_for_each_cqe(ring_.get(), head, cqe) {
                if (cqe->res != static_cast<int>(read_size)) failed++;
                seen++;
            }
            io_uring_cq_advance(ring_.get(), seen);
            completed += seen;
        }
        expect(failed == 0, "reads came back wrong");
    }

private:
    const CachedFile* file_;
    PlainRing ring_{nop_sq_entries, nop_cq_entries};
    std::array<std::byte, read_size> page_{};
};

/// Runs chains. Each of them reads all pages of the file, one after the other.
class ChainReadWay final : public NopWay {
public:
    ChainReadWay(const CachedFile& file, ringstep::Engine engine) : chains_(ring_, {.engine = engine}) {
        ringstep::chain::Graph graph;
        std::vector<ringstep::chain::TransferNode> nodes;
        for (std::size_t i = 0; i < CachedFile::pages; i++) {
            nodes.push_back(
                graph.read(file.fd(), page_.data(), read_size, static_cast<std::uint64_t>(CachedFile::offset_of(i))));
            if (i > 0) nodes[i - 1].then(nodes[i]);
        }
        id_ = chains_.add(graph);
    }
    std::string name() const override { return "read-chain"; }
    std::string title() const override { return "ringstep, loop chain"; }
    void run(std::uint64_t total, std::uint64_t depth) override {
        chains_.set_depth(static_cast<std::uint32_t>(depth));
        const std::uint64_t wanted = total / CachedFile::pages;
        std::uint64_t failed = 0;
        std::uint64_t ended = 0;
        for (std::uint64_t started = 0; ended < wanted && failed == 0;) {
            while (started < wanted && chains_.try_start(id_)) started++;
            if (!chains_.run().ok()) failed++;
            for (const ringstep::chain::ChainResult& result : chains_.results()) {
                if (!result.ok()) failed++;
                ended++;
            }
        }
        expect(failed == 0, "chains came back wrong");
    }
    std::string program() const override { return "chain_loop_step"; }

private:
    std::array<std::byte, read_size> page_{};
    ringstep::Ring ring_{{.sq_entries = nop_sq_entries, .cq_entries = nop_cq_entries}};
    ringstep::chain::Chains chains_;
    ringstep::chain::GraphId id_;
};

}  // namespace bench
