// SPDX-License-Identifier: MIT
// FileCopy with files that are generated as they are read, that have no offsets, and that do not offer what others do.
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/copy_format.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "loops/files.hpp"
#include "thorough.hpp"

using ringstep::CopyOperation;
using ringstep::CopyOptions;
using ringstep::CopyResult;
using ringstep::FileCopy;
using ringstep::Ring;
using ringstep::SparseCopy;

namespace {

/// Reads as cat does: in order, until the end.
Bytes read_in_order(const std::string& path) {
    const File file(path, O_RDONLY);
    Bytes all;
    Bytes part(65536);
    for (;;) {
        const ssize_t size = ::read(file.fd(), part.data(), part.size());
        ensure(size >= 0);
        if (size == 0) return all;
        all.insert(all.end(), part.begin(), part.begin() + size);
    }
}

/// A system call that fails, if one of its arguments is at least so large.
constexpr std::uint32_t any_command = ~0U;
struct Refusal {
    long number;
    std::uint32_t error;
    std::uint32_t argument = 0;
    std::uint32_t least = 0;
    std::uint32_t command =
        any_command;  // only if this is the second argument: of fcntl(2), whose third may be anything otherwise
};

/// Makes it fail for the calling thread, for good.
void refuse(const Refusal& refusal) {
    const auto argument = static_cast<__u32>(offsetof(seccomp_data, args) + sizeof(__u64) * refusal.argument);
    const auto second = static_cast<__u32>(offsetof(seccomp_data, args) + sizeof(__u64));
    const bool commands = refusal.command != any_command;
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<__u32>(refusal.number), 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, second),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusal.command, 0, static_cast<__u8>(commands ? 3 : 0)),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, refusal.least, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | refusal.error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = static_cast<unsigned short>(std::size(filter)), .filter = filter};
    ensure(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    ensure(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/// Copies on a thread of its own, for which that system call fails.
CopyResult copy_refused(const Refusal& refusal, const File& input, const File& output, const CopyOptions& options = {}) {
    CopyResult result;
    std::thread([&] {
        Ring ring;
        FileCopy copy(ring, options);
        refuse(refusal);
        result = copy.run(input.fd(), output.fd());
    }).join();
    return result;
}

/// 200,000 bytes with holes in them.
void make_sparse(const File& file) {
    file.truncate(200000);
    file.write(random_bytes(5000, 1), 16384);
    file.write(random_bytes(5000, 2), 131072);
}

}  // namespace

TEST_CASE("Files that are generated as they are read come out whole, whatever their size says", "[main]") {
    const std::string path = GENERATE("/proc/cmdline", "/proc/filesystems", "/proc/cpuinfo", "/proc/kallsyms", "/proc/devices",
                                      "/proc/self/limits", "/sys/kernel/notes", "/sys/power/state", "/sys/kernel/profiling",
                                      "/sys/kernel/mm/transparent_hugepage/enabled");
    using Way = std::pair<bool, SparseCopy>;
    const auto [direct, sparse] =
        GENERATE(from_range(some_of<Way>({{false, SparseCopy::automatic}, {true, SparseCopy::always}},
                                         {{false, SparseCopy::always}, {true, SparseCopy::automatic}})));
    CAPTURE(path, direct, sparse);
    if (::access(path.c_str(), R_OK) != 0) SKIP("not in this kernel");
    const Folder folder;
    const File input(path, O_RDONLY);
    const File output(folder / "out");
    output.write(random_bytes(100000));
    Ring ring;
    FileCopy copy(ring, {.direct = direct, .sparse = sparse, .empty_first = true});
    const CopyResult result = copy.run(input.fd(), output.fd());
    INFO(fmt::format("{}", result));
    REQUIRE(result.ok());
    CHECK(result.in_order);
    CHECK(result.buffered == direct);
    CHECK(result.holes == 0);
    CHECK((output.read() == read_in_order(path)));
}

TEST_CASE("A generated file costs as many requests as it has parts, at any depth") {
    const Folder folder;
    const File input("/proc/kallsyms", O_RDONLY);
    const File output(folder / "out");
    Ring ring;
    std::vector<std::uint64_t> requests;
    for (const unsigned depth : some_of({1U, 32U}, {2U})) {
        FileCopy copy(ring, {.queue_depth = depth});
        const CopyResult result = copy.run(input.fd(), output.fd());
        REQUIRE(result.ok());
        CHECK(result.size > 1000000);
        CHECK(result.bytes == result.size);
        requests.push_back(result.exit.submitted);
    }
    // Reads out of order begin anew each time: that took a thousand times as long.
    for (const std::uint64_t count : requests) CHECK(count == requests[0]);
}

TEST_CASE("Real files are not taken for generated ones") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const Folder folder(place(file_system));
    const File input(folder / "in");
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {});
    SECTION("nothing but a hole") {
        input.truncate(5 << 20);
        const CopyResult result = copy.run(input.fd(), output.fd());
        CHECK(result.ok());
        CHECK_FALSE(result.in_order);
        CHECK(result.holes == 1);
        CHECK(output.size() == 5 << 20);
        CHECK(output.allocated() == 0);
    }
    SECTION("a small one") {
        input.write(random_bytes(10));
        CHECK_FALSE(copy.run(input.fd(), output.fd()).in_order);
        CHECK((output.read() == input.read()));
    }
}

TEST_CASE("An empty file that grows while it is read is copied as far as it came") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    const Bytes bytes = random_bytes(3 << 20);
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (std::size_t done = 0; done < bytes.size() && !over; done += 4096)
            input.write(
                {bytes.begin() + static_cast<std::ptrdiff_t>(done), bytes.begin() + static_cast<std::ptrdiff_t>(done) + 4096},
                done);
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, input.fd(), output.fd());
    over = true;
    writer.join();
    CHECK(result.ok());
    CHECK(output.size() == result.size);
    CHECK(std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(result.size), output.read().begin()));
}

TEST_CASE("A source that cannot be read leaves the destination as it was") {
    const SparseCopy sparse = GENERATE(SparseCopy::automatic, SparseCopy::always);
    const Folder folder;
    const File output(folder / "out");
    const Bytes before = random_bytes(100000);
    output.write(before);
    const CopyOptions options{.sparse = sparse, .empty_first = true};
    CopyResult result;
    SECTION("generated: an address that is not mapped") {
        const File input("/proc/self/mem", O_RDONLY);
        Ring ring;
        result = ringstep::copy_file(ring, input.fd(), output.fd(), options);
        CHECK(result.error == EIO);
    }
    SECTION("a file on a broken disk") {
        const File input(folder / "in");
        input.write(random_bytes(50000));
        result = copy_refused({.number = SYS_pread64, .error = EIO}, input, output, options);
        CHECK(result.error == EIO);
    }
    SECTION("a file with holes on a broken disk") {
        const File input(folder / "in");
        make_sparse(input);
        result = copy_refused({.number = SYS_pread64, .error = EIO}, input, output, options);
        CHECK(result.error == EIO);
        CHECK(result.offset == 16384);
    }
    SECTION("not open for reading") {
        const File input(folder / "in");
        make_sparse(input);
        const File write_only(folder / "in", O_WRONLY);
        Ring ring;
        result = ringstep::copy_file(ring, write_only.fd(), output.fd(), options);
        CHECK(result.error == EBADF);
    }
    SECTION("a directory") {
        const File input(folder.path(), O_RDONLY | O_DIRECTORY);
        Ring ring;
        result = ringstep::copy_file(ring, input.fd(), output.fd(), options);
        CHECK(result.error == EISDIR);
    }
    CHECK_FALSE(result.ok());
    CHECK(result.operation == CopyOperation::read);
    CHECK_FALSE(result.changed);
    CHECK((output.read() == before));
}

TEST_CASE("Without what a system call offers, it is copied the plain way") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    make_sparse(input);
    output.write(random_bytes(100000));
    SECTION("statx, by an old sandbox") {
        const CopyResult result = copy_refused({.number = SYS_statx, .error = EPERM}, input, output);
        CHECK(result.ok());
        CHECK(result.holes == 3);
    }
    SECTION("lseek") {
        const auto error = GENERATE(as<std::uint32_t>{}, EINVAL, EOPNOTSUPP, ESPIPE, EPERM);
        const CopyResult result =
            copy_refused({.number = SYS_lseek, .error = error}, input, output, {.sparse = SparseCopy::always});
        CHECK(result.ok());
        CHECK(result.holes == 0);
        CHECK(result.bytes == 200000);
    }
    SECTION("lseek, from some offset on") {
        const CopyResult result =
            copy_refused({.number = SYS_lseek, .error = EINVAL, .argument = 1, .least = 20000}, input, output);
        CHECK(result.ok());
        CHECK(result.holes == 1);
        CHECK(result.bytes == 200000 - 16384);
    }
    SECTION("ftruncate, where the size is right in the end") {
        const CopyResult result = copy_refused({.number = SYS_ftruncate, .error = EPERM}, input, output);
        CHECK(result.ok());
        CHECK(result.holes == 0);
        CHECK(result.bytes == 200000);
    }
    SECTION("O_DIRECT") {
        const CopyResult result =
            copy_refused({.number = SYS_fcntl, .error = EINVAL, .argument = 2, .least = O_DIRECT, .command = F_SETFL}, input,
                         output, {.direct = true});
        CHECK(result.ok());
        CHECK(result.buffered);
    }
    SECTION("sync_file_range") {
        const CopyResult result =
            copy_refused({.number = SYS_sync_file_range, .error = ENOSYS}, input, output, {.direct = true});
        CHECK(result.ok());
        CHECK(result.buffered == !has_direct(folder.path()));
    }
    CHECK((output.read() == input.read()));
}

TEST_CASE("A destination that cannot get its size is an error, and a write error of the tail is one") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(5000));
    SECTION("longer before, and ftruncate refused") {
        output.write(random_bytes(100000));
        const CopyResult result = copy_refused({.number = SYS_ftruncate, .error = EPERM}, input, output);
        CHECK(result.error == EPERM);
        CHECK(result.operation == CopyOperation::truncate);
        CHECK(result.offset == 5000);
        CHECK(result.changed);
    }
    SECTION("the tail") {
        if (!has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
        const auto call = GENERATE(as<long>{}, SYS_pwrite64, SYS_sync_file_range);
        const CopyResult result =
            copy_refused({.number = call, .error = EIO}, input, output, {.block_size = 65536, .direct = true});
        CHECK(result.error == EIO);
        CHECK(result.operation == CopyOperation::write);
        CHECK(result.offset == 4096);
        CHECK((::fcntl(output.fd(), F_GETFL) & O_DIRECT) == 0);
    }
}

TEST_CASE("With O_DIRECT, not a byte is written behind the end of a regular file", "[main]") {
    const std::size_t size = GENERATE(as<std::size_t>{}, 1, 511, 513, 4095, 4097, 5000, 200001);
    CAPTURE(size);
    const Folder folder;
    if (!has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
    const File input(folder / "in");
    input.write(random_bytes(size));
    // A file that cannot grow: whoever writes behind its end gets an error.
    const int sealed = ::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(sealed >= 0);
    const File output(fmt::format("/proc/self/fd/{}", sealed), O_RDWR);
    ::close(sealed);
    output.truncate(size);
    REQUIRE(::fcntl(output.fd(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0);
    Ring ring;
    const CopyResult result =
        ringstep::copy_file(ring, input.fd(), output.fd(), {.queue_depth = 4, .block_size = 16384, .direct = true});
    INFO(fmt::format("{}", result));
    CHECK(result.ok());
    CHECK_FALSE(result.buffered);
    CHECK((output.read() == input.read()));
}

TEST_CASE("With O_DIRECT, what the block behind the end had is still there") {
    const std::size_t size = GENERATE(as<std::size_t>{}, 1, 5000, 16385);
    const Folder folder(Ext4::path());
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(size));
    // Blocks behind the size, which a crash before the end would leave as they are.
    REQUIRE(::fallocate(output.fd(), FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == 0);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 4, .block_size = 16384, .direct = true});
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK(result.ok());
    CHECK((output.read() == input.read()));
    output.truncate(1 << 20);
    Bytes rest = output.read(size, 1 << 20);
    CHECK(std::ranges::all_of(rest, [](unsigned char byte) { return byte == 0; }));
}

TEST_CASE("A pipe that comes in small parts, onto a file with O_DIRECT") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const Folder folder(place(file_system));
    if (!has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
    const File output(folder / "out");
    const Bytes bytes = random_bytes(70001);
    Pipe pipe;
    std::thread writer([&] {
        for (std::size_t done = 0; done < bytes.size();) {
            const std::size_t part = std::min<std::size_t>(777, bytes.size() - done);
            ensure(::write(pipe.in(), bytes.data() + done, part) == static_cast<ssize_t>(part));
            done += part;
            // At first, so slowly that reads come back short.
            for (int left = 1; left != 0 && done < 5000; std::this_thread::sleep_for(std::chrono::milliseconds(1)))
                ensure(::ioctl(pipe.out(), FIONREAD, &left) == 0);
        }
        pipe.close_in();
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, pipe.out(), output.fd(), {.block_size = 16384, .direct = true});
    writer.join();
    CHECK(result.ok());
    CHECK((output.read() == bytes));
}

TEST_CASE("What a pipe or socket gives is passed on at once") {
    const bool socket = GENERATE(false, true);
    const Folder folder;
    const File output(folder / "out");
    bool passed_on = true;
    int ends[2];
    REQUIRE((socket ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : ::pipe2(ends, O_CLOEXEC)) == 0);
    std::thread writer([&] {
        for (std::uint64_t i = 1; i <= 20; i++) {
            ensure(::write(ends[1], "0123456789", 10) == 10);
            for (int tries = 0; output.size() != i * 10 && tries < 30'000; tries++)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            passed_on = passed_on && output.size() == i * 10;
        }
        ::close(ends[1]);
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, ends[0], output.fd());
    writer.join();
    ::close(ends[0]);
    CHECK(result.ok());
    CHECK(passed_on);
    CHECK(result.in_order);
    CHECK(result.size == 200);
}

TEST_CASE("From a socket to a socket, in small parts", "[main]") {
    int from[2];
    int to[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, from) == 0);
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to) == 0);
    const Bytes bytes = random_bytes(500001);
    std::thread writer([&] {
        for (std::size_t done = 0; done < bytes.size();) {
            const std::size_t part = std::min<std::size_t>(7777, bytes.size() - done);
            const ssize_t written = ::write(from[1], bytes.data() + done, part);
            ensure(written > 0);
            done += static_cast<std::size_t>(written);
        }
        ::close(from[1]);
    });
    Bytes received;
    std::thread reader([&] {
        Bytes part(5000);
        while (received.size() < bytes.size()) {
            const ssize_t size = ::read(to[1], part.data(), part.size());
            ensure(size > 0);
            received.insert(received.end(), part.begin(), part.begin() + size);
        }
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, from[0], to[0]);
    INFO(fmt::format("{}", result));
    CHECK(result.ok());
    ::close(to[0]);
    writer.join();
    reader.join();
    ::close(from[0]);
    ::close(to[1]);
    CHECK((received == bytes));
}

TEST_CASE("A terminal is read line by line, until the end that is typed") {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) SKIP("no terminals here");
    char name[100];
    REQUIRE(::ptsname_r(master, name, sizeof name) == 0);
    const int terminal = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) SKIP("no terminals here");
    const std::string typed = "one\ntwo\n\x04";
    REQUIRE(::write(master, typed.data(), typed.size()) == static_cast<ssize_t>(typed.size()));
    const Folder folder;
    const File output(folder / "out");
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, terminal, output.fd());
    CHECK(result.ok());
    const Bytes bytes = output.read();
    CHECK(std::string(bytes.begin(), bytes.end()) == "one\ntwo\n");
    ::close(terminal);
    ::close(master);
}
