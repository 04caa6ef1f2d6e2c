// SPDX-License-Identifier: MIT
// Two waits of a storage engine that io_uring_enter() does not have. A record is safe when two of three copies are on the disk.
// A batch of many reads is handled when it is large or old.
#include <ringstep/format.hpp>
#include <ringstep/loops/stages.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

#include "../common/program.hpp"

using namespace std::chrono_literals;

namespace {

// user_data: the group of a request, in the bits above its number.
constexpr std::uint64_t kind_mask = std::uint64_t{0xff} << 56;
constexpr std::uint64_t copy_of_record = std::uint64_t{1} << 56;
constexpr std::uint64_t read_of_record = std::uint64_t{2} << 56;

constexpr std::string_view record = "a record, on three disks";

struct Files {
    std::array<std::FILE*, 3> files{};
    Files() {
        for (std::FILE*& file : files) {
            file = std::tmpfile();
            if (file == nullptr) throw std::system_error(errno, std::generic_category(), "making of a file");
        }
    }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    ~Files() {
        for (std::FILE* file : files) {
            if (file != nullptr) (void)std::fclose(file);
        }
    }
    [[nodiscard]] int fd(std::size_t index) const { return ::fileno(files[index]); }
};

// Waits, and waits again after an interruption, for example by a debugger.
template <class Wait>
void wait(const Wait& wait_once) {
    ringstep::Entered entered;
    do {
        entered = wait_once();
    } while (entered.end == ringstep::EnterEnd::interrupted);
    if (!entered) throw std::system_error(entered.error, std::generic_category(), std::string(to_string(entered.end)));
}

int run() {
    const Files files;
    ringstep::Ring ring;
    ringstep::Stages stages{ring, {{32, 50us}, {8, 500us}, {1}}};

    // Writes and syncs the copies. Only the sync carries the tag, so the completion of the write does not count.
    const ringstep::RequestGroup copies = stages.group(kind_mask, copy_of_record);
    for (std::uint64_t i = 0; i < 3; i++) {
        io_uring_sqe* write = ring.sq().claim();
        io_uring_prep_write(write, files.fd(i), record.data(), record.size(), 0);
        io_uring_sqe_set_flags(write, IOSQE_IO_LINK);
        write->user_data = i;
        io_uring_sqe* sync = ring.sq().claim();
        io_uring_prep_fsync(sync, files.fd(i), IORING_FSYNC_DATASYNC);
        sync->user_data = copy_of_record | i;
    }
    wait([&] { return stages.submit_and_wait_for_all({copies.at_least(2)}, 10s); });
    fmt::print("The record is safe: 2 of 3 copies are on disk.\n");
    wait([&] { return stages.submit_and_wait_for_all({copies.all()}, 10s); });
    fmt::print("All {} are.\n", copies.completed());
    for (const ringstep::Completion& completion : ring.cq()) {
        if (!completion.ok()) throw std::system_error(completion.error(), std::generic_category(), "writing");
    }

    // Takes reads as they complete: 32 at once, or 8 after 50 µs, or any number after 550 µs.
    std::array<std::array<char, record.size()>, 48> buffers{};
    for (std::uint64_t i = 0; i < buffers.size(); i++) {
        io_uring_sqe* read = ring.sq().claim();
        io_uring_prep_read(read, files.fd(i % 3), buffers[i].data(), record.size(), 0);
        read->user_data = read_of_record | i;
    }
    unsigned good = 0;
    unsigned batches = 0;
    for (unsigned taken = 0; taken < buffers.size(); batches++) {
        wait([&] { return stages.submit_and_wait(); });
        for (const ringstep::Completion& completion : ring.cq()) {
            const auto& buffer = buffers[completion.user_data & ~kind_mask];
            if (std::string_view(buffer.data(), buffer.size()) == record) good++;
            taken++;
        }
    }
    fmt::print("{} of {} reads found it, in {} batch{}.\n", good, buffers.size(), batches, batches == 1 ? "" : "es");
    return good == buffers.size() ? 0 : 1;
}

}  // namespace

int main() { return program::run("stages", run); }
