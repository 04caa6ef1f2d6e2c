// SPDX-License-Identifier: MIT
// Which requests the kernel hands to worker threads without trying them first: the table against the kernel.
#include <ringstep/chain/graph.hpp>
#include <ringstep/detail/opcodes.hpp>
#include <ringstep/detail/owned_fd.hpp>

#include <catch2/catch_test_macros.hpp>

#include <liburing.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// A ring with one worker thread, which can be kept busy. A worker that is free may be done with a request before the submit
/// returns, so that its completion is there at once, like that of a request that no worker has had.
class Ring {
public:
    Ring() {
        REQUIRE(::mkfifo(fifo_.c_str(), 0600) == 0);
        REQUIRE(io_uring_queue_init(4, &ring_, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) == 0);
        std::array<unsigned, 2> most{1, 1};
        REQUIRE(io_uring_register_iowq_max_workers(&ring_, most.data()) == 0);
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() {
        io_uring_queue_exit(&ring_);
        std::filesystem::remove(fifo_);
    }

    /// Submits a request while the worker is busy, lets the worker go on, and waits for the request's end. Returns whether it
    /// had ended when the submit returned, which means that the kernel has not handed it to the worker.
    bool ends_at_once(const io_uring_sqe& request, int& result) {
        // Opening a FIFO for reading lasts until somebody opens it for writing.
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        io_uring_prep_openat(sqe, AT_FDCWD, fifo_.c_str(), O_RDONLY | O_CLOEXEC, 0);
        sqe->flags |= IOSQE_ASYNC;
        sqe->user_data = busy;
        sqe = io_uring_get_sqe(&ring_);
        *sqe = request;
        sqe->user_data = 0;
        REQUIRE(io_uring_submit(&ring_) == 2);
        const bool at_once = io_uring_cq_ready(&ring_) != 0;
        const ringstep::detail::OwnedFd writer{::open(fifo_.c_str(), O_RDWR | O_CLOEXEC)};
        REQUIRE(writer);
        for (int count = 0; count < 2; count++) {
            io_uring_cqe* cqe = nullptr;
            REQUIRE(io_uring_wait_cqe(&ring_, &cqe) == 0);
            if (cqe->user_data == busy) {
                REQUIRE(cqe->res >= 0);
                ::close(cqe->res);
            } else {
                result = cqe->res;
            }
            io_uring_cqe_seen(&ring_, cqe);
        }
        return at_once;
    }
    [[nodiscard]] bool knows(unsigned opcode) {
        io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
        REQUIRE(probe != nullptr);
        const bool known = io_uring_opcode_supported(probe, static_cast<int>(opcode)) != 0;
        io_uring_free_probe(probe);
        return known;
    }

private:
    static constexpr std::uint64_t busy = 1000;

    std::string fifo_ = std::filesystem::temp_directory_path() / ("ringstep-workers-" + std::to_string(::getpid()));
    io_uring ring_{};
};

struct Case {
    std::string_view name;
    std::function<void(io_uring_sqe*)> prepare;
};

/// A file in memory, the same one each time.
int file() {
    static const int fd = ::memfd_create("workers", MFD_CLOEXEC);
    return fd;
}

constexpr int none = 9999;                        // a descriptor that is not open
constexpr const char* nowhere = "/nowhere/file";  // a path that leads to no file
std::array<char, 64> buffer{};
struct statx status{};
open_how reads{};
open_how creates{};

/// Requests that would end at once if the kernel tried them.
std::vector<Case> cases() {
    creates.flags = O_CREAT;
    return {
        {"nop", [](auto* sqe) { io_uring_prep_nop(sqe); }},
        {"nop, IOSQE_ASYNC",
         [](auto* sqe) {
             io_uring_prep_nop(sqe);
             sqe->flags = IOSQE_ASYNC;
         }},
        {"read", [](auto* sqe) { io_uring_prep_read(sqe, none, buffer.data(), 1, 0); }},
        {"write", [](auto* sqe) { io_uring_prep_write(sqe, none, buffer.data(), 1, 0); }},
        {"openat", [](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0); }},
        {"openat, O_CREAT", [](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, nowhere, O_WRONLY | O_CREAT, 0600); }},
        {"openat, O_TRUNC", [](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, nowhere, O_WRONLY | O_TRUNC, 0); }},
        {"openat, O_TMPFILE", [](auto* sqe) { io_uring_prep_openat(sqe, AT_FDCWD, nowhere, O_WRONLY | O_TMPFILE, 0600); }},
        {"openat2", [](auto* sqe) { io_uring_prep_openat2(sqe, AT_FDCWD, "/", &reads); }},
        {"openat2, O_CREAT", [](auto* sqe) { io_uring_prep_openat2(sqe, AT_FDCWD, nowhere, &creates); }},
        {"close", [](auto* sqe) { io_uring_prep_close(sqe, none); }},
        {"statx", [](auto* sqe) { io_uring_prep_statx(sqe, AT_FDCWD, "/", 0, STATX_BASIC_STATS, &status); }},
        {"fsync", [](auto* sqe) { io_uring_prep_fsync(sqe, file(), 0); }},
        {"sync_file_range", [](auto* sqe) { io_uring_prep_sync_file_range(sqe, file(), 1, 0, 0); }},
        {"fallocate", [](auto* sqe) { io_uring_prep_fallocate(sqe, file(), 0, 0, 1); }},
        {"ftruncate", [](auto* sqe) { io_uring_prep_ftruncate(sqe, file(), 0); }},
        {"fadvise, normal", [](auto* sqe) { io_uring_prep_fadvise(sqe, file(), 0, 1, POSIX_FADV_NORMAL); }},
        {"fadvise, random", [](auto* sqe) { io_uring_prep_fadvise(sqe, file(), 0, 1, POSIX_FADV_RANDOM); }},
        {"fadvise, sequential", [](auto* sqe) { io_uring_prep_fadvise(sqe, file(), 0, 1, POSIX_FADV_SEQUENTIAL); }},
        {"fadvise, willneed", [](auto* sqe) { io_uring_prep_fadvise(sqe, file(), 0, 1, POSIX_FADV_WILLNEED); }},
        {"madvise", [](auto* sqe) { io_uring_prep_madvise(sqe, nullptr, 0, MADV_NORMAL); }},
        {"splice", [](auto* sqe) { io_uring_prep_splice(sqe, file(), -1, file(), -1, 1, 0); }},
        {"tee", [](auto* sqe) { io_uring_prep_tee(sqe, file(), file(), 1, 0); }},
        {"shutdown", [](auto* sqe) { io_uring_prep_shutdown(sqe, file(), SHUT_RDWR); }},
        {"renameat", [](auto* sqe) { io_uring_prep_rename(sqe, nowhere, nowhere); }},
        {"unlinkat", [](auto* sqe) { io_uring_prep_unlink(sqe, nowhere, 0); }},
        {"mkdirat", [](auto* sqe) { io_uring_prep_mkdir(sqe, nowhere, 0700); }},
        {"symlinkat", [](auto* sqe) { io_uring_prep_symlink(sqe, nowhere, nowhere); }},
        {"linkat", [](auto* sqe) { io_uring_prep_link(sqe, nowhere, nowhere, 0); }},
        {"fgetxattr", [](auto* sqe) { io_uring_prep_fgetxattr(sqe, file(), "user.x", buffer.data(), 1); }},
        {"getxattr", [](auto* sqe) { io_uring_prep_getxattr(sqe, "user.x", buffer.data(), nowhere, 1); }},
        {"fsetxattr", [](auto* sqe) { io_uring_prep_fsetxattr(sqe, file(), "user.x", buffer.data(), 0, 1); }},
        {"setxattr", [](auto* sqe) { io_uring_prep_setxattr(sqe, "user.x", buffer.data(), nowhere, 0, 1); }},
        {"send", [](auto* sqe) { io_uring_prep_send(sqe, none, buffer.data(), 1, 0); }},
        {"recv", [](auto* sqe) { io_uring_prep_recv(sqe, none, buffer.data(), 1, 0); }},
        {"accept", [](auto* sqe) { io_uring_prep_accept(sqe, none, nullptr, nullptr, 0); }},
        {"socket", [](auto* sqe) { io_uring_prep_socket(sqe, -1, 0, 0, 0); }},
        {"cancel", [](auto* sqe) { io_uring_prep_cancel64(sqe, 1, 0); }},
        {"timeout_remove", [](auto* sqe) { io_uring_prep_timeout_remove(sqe, 1, 0); }},
        {"poll_remove", [](auto* sqe) { io_uring_prep_poll_remove(sqe, 1); }},
    };
}

}  // namespace

TEST_CASE("The kernel hands to a worker, without trying them, those requests of which the table says so", "[main]") {
    Ring ring;
    std::set<unsigned> seen;
    for (const Case& request : cases()) {
        CAPTURE(request.name);
        io_uring_sqe sqe{};
        request.prepare(&sqe);
        seen.insert(sqe.opcode);
        if (!ring.knows(sqe.opcode)) continue;
        int result = 0;
        const bool at_once = ring.ends_at_once(sqe, result);
        if (result >= 0 && (sqe.opcode == IORING_OP_OPENAT || sqe.opcode == IORING_OP_OPENAT2)) ::close(result);
        CAPTURE(result);
        CHECK(ringstep::detail::always_on_worker(sqe) == !at_once);
    }
    // None is left out of those that the table calls special.
    for (const ringstep::detail::Opcode& opcode : ringstep::detail::opcodes) {
        CAPTURE(opcode.name);
        if (opcode.worker != ringstep::detail::Opcode::Worker::if_it_blocks) CHECK(seen.contains(opcode.number));
    }
}

TEST_CASE("A node says whether its request always goes to a worker", "[main]") {
    ringstep::chain::Graph graph;
    CHECK(graph.statx_at(AT_FDCWD, "/").always_on_worker());
    CHECK(graph.fsync(1).always_on_worker());
    CHECK(graph.open("/file", O_WRONLY | O_CREAT, 0600).always_on_worker());
    CHECK_FALSE(graph.open("/file", O_RDONLY).always_on_worker());
    CHECK_FALSE(graph.read(1, nullptr, 1, 0).always_on_worker());
    CHECK_FALSE(graph.close(1).always_on_worker());
    CHECK_FALSE(graph.allocate(1).always_on_worker());
}
