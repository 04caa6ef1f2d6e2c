// SPDX-License-Identifier: MIT
// FileCopy, with files that keep still.
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/copy_format.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "error_of.hpp"
#include "loops/files.hpp"

using ringstep::CopyOperation;
using ringstep::CopyOptions;
using ringstep::CopyResult;
using ringstep::FileCopy;
using ringstep::Ring;
using ringstep::SparseCopy;

namespace {

void check_failed(const CopyResult& result, int error, CopyOperation operation, std::uint64_t offset) {
    CHECK_FALSE(result.ok());
    CHECK_FALSE(result.resumable());
    CHECK(result.error == error);
    CHECK(result.operation == operation);
    CHECK(result.offset == offset);
}

/// Takes a limit and gives it back.
class Limit {
public:
    Limit(__rlimit_resource resource, rlim_t value) : resource_(resource) {
        REQUIRE(::getrlimit(resource_, &before_) == 0);
        const rlimit limit{.rlim_cur = value, .rlim_max = before_.rlim_max};
        REQUIRE(::setrlimit(resource_, &limit) == 0);
    }
    Limit(const Limit&) = delete;
    Limit& operator=(const Limit&) = delete;
    ~Limit() { ::setrlimit(resource_, &before_); }

private:
    __rlimit_resource resource_;
    rlimit before_{};
};

/// Goes without a capability for a while.
class Without {
public:
    explicit Without(unsigned capability) {
        REQUIRE(::syscall(SYS_capget, &header_, before_) == 0);
        __user_cap_data_struct now[2] = {before_[0], before_[1]};
        now[capability / 32].effective &= ~(1U << (capability % 32));
        REQUIRE(::syscall(SYS_capset, &header_, now) == 0);
    }
    Without(const Without&) = delete;
    Without& operator=(const Without&) = delete;
    ~Without() { ::syscall(SYS_capset, &header_, before_); }

private:
    __user_cap_header_struct header_{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct before_[2] = {};
};

/// There, a run is one io_uring_enter(2).
bool by_kernel(const FileCopy& copy) { return copy.engine() == ringstep::Engine::kernel; }

}  // namespace

TEST_CASE("A copy equals its source, whatever the sizes") {
    struct Set {
        unsigned depth;
        std::size_t block;
        bool registered;
    };
    const auto set = GENERATE(Set{1, 512, false}, Set{3, 4096, true}, Set{32, 1000, false}, Set{64, 64 << 10, true},
                              Set{256, 512, true}, Set{128, 1 << 20, false});
    const std::string file_system = GENERATE("tmpfs", "ext4");
    CAPTURE(set.depth, set.block, set.registered, file_system);
    const Folder folder(place(file_system));
    Ring ring;
    FileCopy copy(ring, {.queue_depth = set.depth,
                         .block_size = set.block,
                         .registered_files = set.registered,
                         .registered_buffers = set.registered});
    CHECK(copy.registered_files() == set.registered);
    CHECK(copy.registered_buffers() == set.registered);

    std::vector<std::size_t> sizes = {0,    1,    511,           512,       513,           4095,
                                      4096, 4097, set.block - 1, set.block, set.block + 1, 3 * set.block};
    std::mt19937 generator(static_cast<unsigned>(set.block));
    for (int i = 0; i < 5; i++)
        sizes.push_back(
            std::uniform_int_distribution<std::size_t>(0, std::min<std::size_t>(600 * set.block, 3 << 20))(generator));
    for (const std::size_t size : sizes) {
        CAPTURE(size);
        const Bytes bytes = random_bytes(size, size);
        const File input(folder / "in");
        const File output(folder / "out");
        input.write(bytes);
        output.write(random_bytes(size / 2 + 5000));  // what was there before has to go, also beyond the end
        const CopyResult result = copy.run(input.fd(), output.fd());
        CHECK(result.ok());
        CHECK(result.error == 0);
        CHECK(result.bytes == size);
        CHECK(result.size == size);
        if (by_kernel(copy)) CHECK(result.enters == 1);
        CHECK(copy.progress().bytes_written == size);
        CHECK(copy.progress().size == size);
        CHECK(copy.progress().turns == result.exit.turns);
        REQUIRE((output.read() == bytes));
    }
}

TEST_CASE("Past the page cache") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const bool registered = GENERATE(false, true);
    const SparseCopy sparse = GENERATE(SparseCopy::never, SparseCopy::always);
    CAPTURE(file_system, registered);
    const Folder folder(place(file_system));
    if (!has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 16,
                         .block_size = 16384,
                         .direct = true,
                         .sparse = sparse,
                         .registered_files = registered,
                         .registered_buffers = registered});
    for (const std::size_t size :
         std::vector<std::size_t>{0, 1, 511, 512, 4095, 4096, 4097, 16383, 16384, 16385, 500000, 16384 * 40}) {
        CAPTURE(size);
        const Bytes bytes = random_bytes(size, size);
        const File input(folder / "in");
        const File output(folder / "out");
        input.write(bytes);
        const CopyResult result = copy.run(input.fd(), output.fd());
        INFO(fmt::format("{}", result));
        REQUIRE(result.ok());
        CHECK(result.bytes >= size);
        CHECK(result.size == size);
        CHECK(output.size() == size);
        CHECK((::fcntl(input.fd(), F_GETFL) & O_DIRECT) == 0);  // as it was before
        CHECK((::fcntl(output.fd(), F_GETFL) & O_DIRECT) == 0);
        REQUIRE((output.read() == bytes));
    }
    CHECK((copy.state()->write_align_mask & 511) == 511);
}

TEST_CASE("Descriptors that have O_DIRECT already need not be told") {
    const Folder folder(Ext4::path());
    const Bytes bytes = random_bytes(100001);
    const File input(folder / "in");
    input.write(bytes);
    const File direct_input(folder / "in", O_RDONLY | O_DIRECT);
    const File output(folder / "out", O_RDWR | O_CREAT | O_DIRECT);
    Ring ring;
    CHECK(ringstep::copy_file(ring, direct_input.fd(), output.fd(), {.block_size = 8192}).ok());
    CHECK((::fcntl(output.fd(), F_GETFL) & O_DIRECT) != 0);
    CHECK((File(folder / "out", O_RDONLY).read() == bytes));
}

TEST_CASE("Blocks that O_DIRECT cannot have are refused") {
    const Folder folder(Ext4::path());
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(10000));
    Ring ring;
    check_failed(ringstep::copy_file(ring, input.fd(), output.fd(), {.block_size = 1000, .direct = true}), EINVAL,
                 CopyOperation::set_up, 0);
    CHECK((::fcntl(input.fd(), F_GETFL) & O_DIRECT) == 0);
    CHECK(output.size() == 0);
}

TEST_CASE("A file without holes costs one io_uring_enter and five other system calls") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(5 << 20));
    Ring ring;
    FileCopy copy(ring);
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK(result.ok());
    if (by_kernel(copy)) CHECK(result.enters == 1);
    CHECK(result.system_calls == 5 + result.enters);
    CHECK((output.read() == input.read()));
}

TEST_CASE("Holes stay holes") {
    const std::string file_system = GENERATE("tmpfs", "ext4");
    const bool direct = GENERATE(false, true);
    CAPTURE(file_system, direct);
    const Folder folder(place(file_system));
    if (direct && !has_direct(folder.path())) SKIP("no O_DIRECT on this file system");
    const File input(folder / "in");
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8, .block_size = 8192, .direct = direct});
    output.write(random_bytes(300000));  // what was there must not show through the holes

    struct Shape {
        const char* what;
        std::vector<std::pair<std::uint64_t, std::size_t>> data;
        std::uint64_t size;
    };
    std::vector<Shape> shapes = {
        {"nothing but a hole", {}, 10 << 20},
        {"a hole, then data", {{1 << 20, 5000}}, (1 << 20) + 5000},
        {"data, then a hole", {{0, 5000}}, 1 << 20},
        {"data in the middle", {{1 << 20, 100000}}, 3 << 20},
        {"very far out", {{std::uint64_t{1} << 40, 10000}}, (std::uint64_t{1} << 40) + 10000},
    };
    Shape many{"more extents than fit into the window", {}, 0};
    for (std::uint64_t i = 0; i < 3 * RINGSTEP_COPY_EXTENTS + 5; i++) many.data.emplace_back(i * 16384, 4096);
    many.size = many.data.back().first + 4096;
    shapes.push_back(many);
    if (file_system == "tmpfs")
        shapes.push_back(
            {"at the very end of what offsets can say", {{(std::uint64_t{1} << 62) + 4096, 777}}, INT64_MAX - 4096});
    for (const Shape& shape : shapes) {
        CAPTURE(shape.what);
        input.truncate(0);
        input.truncate(shape.size);
        for (const auto& [offset, size] : shape.data) input.write(random_bytes(size, offset + 1), offset);
        ::fsync(input.fd());
        const CopyResult result = copy.run(input.fd(), output.fd());
        INFO(fmt::format("{}", result));
        REQUIRE(result.ok());
        ::fsync(output.fd());
        CHECK(result.size == shape.size);
        CHECK(output.size() == shape.size);
        if (by_kernel(copy)) {
            CHECK(result.enters >= 1 + (shape.data.size() + 1) / RINGSTEP_COPY_EXTENTS);
            CHECK(result.enters <= 2 + shape.data.size() / RINGSTEP_COPY_EXTENTS);
        }
        CHECK(result.system_calls <= 2 * shape.data.size() + result.enters + 20);
        CHECK(result.hole_bytes + result.bytes >= shape.size);
        CHECK(result.holes >= 1);
        CHECK(output.data_bytes() <= input.data_bytes());
        CHECK(output.allocated() >= shape.data.size() * 4096);
        for (const auto& [offset, size] : shape.data) REQUIRE((output.read(offset, size) == random_bytes(size, offset + 1)));
        if (shape.size < (20 << 20)) REQUIRE((output.read() == input.read()));
    }
}

TEST_CASE("Whether to look for holes") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.truncate(1 << 20);
    input.write(random_bytes(4096), 512 << 10);
    Ring ring;
    SECTION("never") {
        FileCopy copy(ring, {.sparse = SparseCopy::never});
        const CopyResult result = copy.run(input.fd(), output.fd());
        CHECK(result.ok());
        CHECK(result.holes == 0);
        if (by_kernel(copy)) CHECK(result.enters == 1);
        CHECK(output.allocated() == 1 << 20);
    }
    SECTION("automatic: if there are fewer blocks than the size needs") {
        CHECK(ringstep::copy_file(ring, input.fd(), output.fd()).holes == 2);
        CHECK(output.allocated() == 4096);
        input.write(random_bytes(1 << 20));
        const CopyResult full = ringstep::copy_file(ring, input.fd(), output.fd());
        CHECK(full.system_calls == 5 + full.enters);
    }
    SECTION("always") {
        input.write(random_bytes(1 << 20));
        const CopyResult full = ringstep::copy_file(ring, input.fd(), output.fd(), {.sparse = SparseCopy::always});
        CHECK(full.ok());
        CHECK(full.system_calls > 6);
    }
    CHECK((output.read() == input.read()));
}

TEST_CASE("A full disk: which offset") {
    const unsigned depth = GENERATE(as<unsigned>{}, 1, 16);
    constexpr std::uint64_t room = 1 << 20;
    const Folder folder;
    const SmallTmpfs small(room);
    const File input(folder / "in");
    const File output(small / "out");
    const Bytes bytes = random_bytes(2 * room);
    input.write(bytes);
    Ring ring;
    constexpr std::uint64_t block = 10000;
    FileCopy copy(ring, {.queue_depth = depth, .block_size = block});
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK_FALSE(result.ok());
    CHECK(result.error == ENOSPC);
    CHECK(result.operation == CopyOperation::write);
    if (depth == 1) {
        CHECK(result.offset == room);  // in the middle of a block: the short write before was continued
        CHECK(result.bytes == room);
        CHECK((output.read() == Bytes(bytes.begin(), bytes.begin() + room)));
    } else {
        CHECK(result.offset <= room + depth * block);  // a block before it may have been written in part only
        CHECK(result.bytes <= room);
        CHECK(result.bytes >= room - depth * (block + 4096));
        // That block really is not there.
        const Bytes there = output.read(result.offset / 4096 * 4096, 4096);
        CHECK(there != input.read(result.offset / 4096 * 4096, 4096));
    }
    CHECK(ring.in_flight() == 0);
    CHECK(fmt::format("{}", result) ==
          fmt::format("writing at offset {} failed: No space left on device (errno 28)", result.offset));

    // The same object goes on to the next file.
    const File elsewhere(folder / "out");
    CHECK(copy.run(input.fd(), elsewhere.fd()).ok());
    CHECK((elsewhere.read() == bytes));
}

TEST_CASE("A file size limit: a short write, then an error where it ended") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(300000));
    ::signal(SIGXFSZ, SIG_IGN);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 1, .block_size = 65536});
    CopyResult result;
    {
        const Limit limit(RLIMIT_FSIZE, 100000);
        result = copy.run(input.fd(), output.fd());
    }
    check_failed(result, EFBIG, CopyOperation::write, 100000);
    CHECK(result.bytes == 100000);
    CHECK((output.read() == input.read(0, 100000)));
}

TEST_CASE("Wrong descriptors") {
    const Folder folder;
    const File input(folder / "in");
    input.write(random_bytes(10000));
    const File output(folder / "out");
    const File read_only(folder / "out", O_RDONLY);
    const File write_only(folder / "in", O_WRONLY);
    const File appending(folder / "out", O_WRONLY | O_APPEND);
    const File directory(folder.path(), O_RDONLY | O_DIRECTORY);
    const File same(folder / "in", O_WRONLY);
    Ring ring;
    FileCopy copy(ring);
    check_failed(copy.run(write_only.fd(), output.fd()), EBADF, CopyOperation::read, 0);
    check_failed(copy.run(input.fd(), read_only.fd()), EBADF, CopyOperation::write, 0);
    check_failed(copy.run(-1, output.fd()), EBADF, CopyOperation::read, 0);
    check_failed(copy.run(input.fd(), -1), EBADF, CopyOperation::write, 0);
    check_failed(copy.run(directory.fd(), output.fd()), EISDIR, CopyOperation::read, 0);
    check_failed(copy.run(input.fd(), appending.fd()), EINVAL, CopyOperation::set_up, 0);
    check_failed(copy.run(input.fd(), same.fd()), EINVAL, CopyOperation::set_up, 0);
    CHECK(input.size() == 10000);
    check_failed(copy.resume(), EINVAL, CopyOperation::set_up, 0);
    CHECK(copy.run(input.fd(), output.fd()).ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("Files that do not say how large they are") {
    // Short reads, at odd places, and several of them at once.
    const std::string path = GENERATE("/proc/filesystems", "/proc/cpuinfo", "/proc/iomem", "/sys/kernel/notes");
    const std::size_t block = GENERATE(as<std::size_t>{}, 64, 4096);
    CAPTURE(path, block);
    const Folder folder;
    const File input(path, O_RDONLY);
    const File output(folder / "out");
    Ring ring;
    CHECK(ringstep::copy_file(ring, input.fd(), output.fd(), {.queue_depth = 8, .block_size = block}).ok());
    CHECK(output.size() > 0);
    const Bytes expected = input.read(0, 1 << 20);
    CHECK((output.read() == expected));
}

TEST_CASE("A pipe as the source") {
    const std::size_t chunk = GENERATE(as<std::size_t>{}, 1, 1000, 100000);
    const Folder folder;
    const File output(folder / "out");
    Pipe pipe(GENERATE(0, O_NONBLOCK));
    const int flags = ::fcntl(pipe.out(), F_GETFL);
    const Bytes bytes = random_bytes(chunk == 1 ? 3000 : 1000000);
    std::thread writer([&] {
        for (std::size_t done = 0; done < bytes.size();) {
            const ssize_t result = ::write(pipe.in(), bytes.data() + done, std::min(chunk, bytes.size() - done));
            if (result < 0 && errno != EAGAIN) break;
            if (result > 0) done += static_cast<std::size_t>(result);
        }
        pipe.close_in();
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, pipe.out(), output.fd(), {.queue_depth = 32, .block_size = 65536});
    writer.join();
    CHECK(result.ok());
    CHECK(result.size == bytes.size());
    CHECK(::fcntl(pipe.out(), F_GETFL) == flags);
    CHECK((output.read() == bytes));
}

TEST_CASE("A pipe as the destination: short writes, and the order kept") {
    const Folder folder;
    const File input(folder / "in");
    const Bytes bytes = random_bytes(1000001);
    input.write(bytes);
    Pipe pipe;
    REQUIRE(::fcntl(pipe.in(), F_SETPIPE_SZ, 8192) == 8192);
    Bytes received;
    std::thread reader([&] {
        Bytes buffer(5000);
        for (;;) {
            const ssize_t size = ::read(pipe.out(), buffer.data(), buffer.size());
            if (size <= 0) break;
            received.insert(received.end(), buffer.begin(), buffer.begin() + size);
        }
    });
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, input.fd(), pipe.in(), {.queue_depth = 32, .block_size = 65536});
    pipe.close_in();
    reader.join();
    CHECK(result.ok());
    CHECK(result.exit.submitted >= 2 * (bytes.size() / 65536));  // some kernels write blocks in pieces
    CHECK((received == bytes));
}

TEST_CASE("What cannot be registered is used without") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(1 << 20));
    const CopyOptions options{.queue_depth = 32, .block_size = 32768, .registered_files = true, .registered_buffers = true};
    Ring ring;
    SECTION("the ring has others") {
        static char buffer[4096];
        const iovec mine{.iov_base = buffer, .iov_len = sizeof buffer};
        const int file = input.fd();
        ring.register_files({&file, 1});
        ring.register_buffers({&mine, 1});
        FileCopy copy(ring, options);
        CHECK_FALSE(copy.registered_files());
        CHECK_FALSE(copy.registered_buffers());
        CHECK(copy.run(input.fd(), output.fd()).ok());
    }
    SECTION("too little memory may be locked") {
        const Limit limit(RLIMIT_MEMLOCK, 128 << 10);
        const Without privilege(CAP_IPC_LOCK);
        Ring limited;  // whose limit counts is decided when it is opened
        FileCopy copy(limited, options);
        CHECK_FALSE(copy.registered_buffers());
        CHECK(copy.registered_files());
        CHECK(copy.run(input.fd(), output.fd()).ok());
    }
    SECTION("it can, and afterwards it is as before") {
        {
            FileCopy copy(ring, options);
            CHECK(copy.registered_files());
            CHECK(copy.registered_buffers());
            const CopyResult result = copy.run(input.fd(), output.fd());
            CHECK(result.system_calls == 7 + result.enters);
        }
        const int file = input.fd();
        ring.register_files({&file, 1});  // would be EBUSY
    }
    CHECK((output.read() == input.read()));
}

TEST_CASE("Huge pages, if there are any") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(9 << 20));
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8, .block_size = 1 << 20, .huge_pages = true});
    CHECK(copy.run(input.fd(), output.fd()).ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("Options that make no sense, and a ring that is in use") {
    Ring ring;
    CHECK(error_of([&] { FileCopy(ring, {.queue_depth = 0}); }).error_number() == EINVAL);
    CHECK(error_of([&] { FileCopy(ring, {.queue_depth = RINGSTEP_COPY_SLOTS + 1}); }).error_number() == EINVAL);
    CHECK(error_of([&] { FileCopy(ring, {.block_size = 0}); }).error_number() == EINVAL);
    CHECK(error_of([&] { FileCopy(ring, {.block_size = (std::size_t{1} << 30) + 1}); }).error_number() == EINVAL);
    const FileCopy copy(ring);
    CHECK(error_of([&] { FileCopy{ring}; }).error_number() == EBUSY);
}

TEST_CASE("A copy does not depend on how many requests a ring counts as in flight") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(100000));
    Ring ring;
    io_uring_sqe* const sqe = ring.sq().claim();
    io_uring_prep_nop(sqe);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    REQUIRE(ring.submit());
    CHECK(ring.in_flight() == 1);  // it is over, but has no completion
    CHECK(ringstep::copy_file(ring, input.fd(), output.fd()).ok());
    CHECK((output.read() == input.read()));
}

TEST_CASE("Many copies on one ring keep no buffers") {
    const Folder folder;
    const File input(folder / "in");
    const File output(folder / "out");
    input.write(random_bytes(100000));
    Ring ring;
    std::vector<unsigned long> mapped;
    for (int i = 0; i < 12; i++) {
        CHECK(ringstep::copy_file(ring, input.fd(), output.fd(), {.queue_depth = 64, .block_size = 1 << 20}).ok());
        unsigned long pages = 0;
        std::FILE* file = std::fopen("/proc/self/statm", "re");
        REQUIRE(std::fscanf(file, "%lu", &pages) == 1);  // NOLINT(cert-err34-c)
        std::fclose(file);
        mapped.push_back(pages);
    }
    CHECK(mapped.back() < mapped[1] + (32 << 20) / 4096);  // each has 64 MiB
}
