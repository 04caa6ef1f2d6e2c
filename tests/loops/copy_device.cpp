// SPDX-License-Identifier: MIT
// FileCopy onto and from a block device, the virtual machine's empty disk. Nothing cuts off what is written behind the end
// there.
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/copy_format.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <fmt/format.h>

#include <linux/blkpg.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "loops/files.hpp"

using ringstep::CopyOperation;
using ringstep::CopyResult;
using ringstep::FileCopy;
using ringstep::Ring;
using ringstep::SparseCopy;

namespace {

/// A small partition of the disk, with sectors of a size. It has those of 512 bytes again afterwards, which others count on.
class Disk {
public:
    explicit Disk(unsigned sector) : sector_(sector) {
        if (std::getenv("RINGSTEP_VM_KERNEL") == nullptr || !std::filesystem::exists(whole))  // NOLINT(concurrency-mt-unsafe)
            SKIP("a block device that may be overwritten is there in ./dev vm --disk only");
        if (sector_ != 512) format(sector_);
        partition(BLKPG_ADD_PARTITION);
        while (::access(path, R_OK | W_OK) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        int found = 0;
        REQUIRE(::ioctl(File(path, O_RDONLY).fd(), BLKSSZGET, &found) == 0);
        REQUIRE(static_cast<unsigned>(found) == sector_);
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk() {
        partition(BLKPG_DEL_PARTITION);
        if (sector_ != 512) format(512);
    }

    static constexpr const char* path = "/dev/nvme0n1p1";
    static constexpr std::uint64_t size = 8 << 20;

private:
    static constexpr const char* whole = "/dev/nvme0n1";

    static void partition(int operation) {
        blkpg_partition partition{};
        partition.start = 1 << 20;
        partition.length = size;
        partition.pno = 1;
        blkpg_ioctl_arg argument{.op = operation, .flags = 0, .datalen = sizeof partition, .data = &partition};
        // A file that io_uring has used may be closed a little later.
        while (::ioctl(File(whole, O_RDONLY).fd(), BLKPG, &argument) != 0) {
            ensure(errno == EBUSY && operation == BLKPG_DEL_PARTITION);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }

    // QEMU's disks have sectors of 512 bytes as their format 0, of 4,096 as format 4.
    static void format(unsigned sector) {
        nvme_admin_cmd command{};
        command.opcode = 0x80;
        command.nsid = 1;
        command.cdw10 = sector == 512 ? 0 : 4;
        command.timeout_ms = 20000;
        ensure(::ioctl(File(whole, O_RDONLY).fd(), NVME_IOCTL_ADMIN_CMD, &command) == 0);
        // The kernel looks at the disk again by itself.
        for (int found = 0; found != static_cast<int>(sector); std::this_thread::sleep_for(std::chrono::milliseconds(5)))
            ensure(::ioctl(File(whole, O_RDONLY).fd(), BLKSSZGET, &found) == 0);
    }

    unsigned sector_;
};

constexpr unsigned char pattern = 0xa5;
constexpr std::size_t looked_at = 1 << 20;

/// What is on the disk itself, whatever the page cache has.
Bytes on_disk() {
    void* memory = nullptr;
    REQUIRE(::posix_memalign(&memory, 4096, looked_at) == 0);
    const File disk(Disk::path, O_RDONLY | O_DIRECT);
    REQUIRE(::pread(disk.fd(), memory, looked_at, 0) == static_cast<ssize_t>(looked_at));
    const auto* bytes = static_cast<const unsigned char*>(memory);
    Bytes result(bytes, bytes + looked_at);
    std::free(memory);
    return result;
}

void fill_with_pattern() {
    const File disk(Disk::path, O_RDWR);
    disk.write(Bytes(looked_at, pattern));
    REQUIRE(::fsync(disk.fd()) == 0);
}

}  // namespace

TEST_CASE("On a device, the bytes behind the end are what they were") {
    const unsigned sector = GENERATE(512U, 4096U);
    const bool direct = GENERATE(true, false);
    const bool registered = GENERATE(false, true);
    CAPTURE(sector, direct, registered);
    const Disk disk(sector);
    const Folder folder;
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 8,
                         .block_size = 16384,
                         .direct = direct,
                         .registered_files = registered,
                         .registered_buffers = registered});
    // Fills the buffers with something that must not get out.
    const File secret(folder / "secret");
    const File elsewhere(folder / "elsewhere");
    secret.write(Bytes(300000, 's'));
    REQUIRE(copy.run(secret.fd(), elsewhere.fd()).ok());

    for (const std::size_t size : std::vector<std::size_t>{0, 1, 511, 512, 513, 4095, 4096, 4097, 5000, 8191, 16383, 16384,
                                                           16385, 500001, 16384 * 40 + 512}) {
        CAPTURE(size);
        fill_with_pattern();
        const File input(folder / "in");
        const File output(Disk::path, O_RDWR);
        const Bytes bytes = random_bytes(size, size + 1);
        input.write(bytes);
        const CopyResult result = copy.run(input.fd(), output.fd());
        INFO(fmt::format("{}", result));
        REQUIRE(result.ok());
        CHECK(result.size == size);
        CHECK(result.bytes == size);
        CHECK(copy.progress().bytes_written == size);
        CHECK((::fcntl(output.fd(), F_GETFL) & O_DIRECT) == 0);
        Bytes expected(looked_at, pattern);
        std::ranges::copy(bytes, expected.begin());
        if (!direct) REQUIRE(::fsync(output.fd()) == 0);
        REQUIRE((on_disk() == expected));
    }
}

TEST_CASE("Onto a device from a pipe, with O_DIRECT") {
    const unsigned sector = GENERATE(512U, 4096U);
    CAPTURE(sector);
    const Disk disk(sector);
    fill_with_pattern();
    const Bytes bytes = random_bytes(70001);
    Pipe pipe;
    std::thread writer([&] {
        for (std::size_t done = 0; done < bytes.size();) {
            const std::size_t part = std::min<std::size_t>(777, bytes.size() - done);
            ensure(::write(pipe.in(), bytes.data() + done, part) == static_cast<ssize_t>(part));
            done += part;
        }
        pipe.close_in();
    });
    const File output(Disk::path, O_RDWR);
    Ring ring;
    const CopyResult result = ringstep::copy_file(ring, pipe.out(), output.fd(), {.block_size = 16384, .direct = true});
    writer.join();
    INFO(fmt::format("{}", result));
    CHECK(result.ok());
    CHECK(result.in_order);
    CHECK_FALSE(result.buffered);
    Bytes expected(looked_at, pattern);
    std::ranges::copy(bytes, expected.begin());
    CHECK((on_disk() == expected));
}

TEST_CASE("A source larger than the device is refused before anything is written") {
    const bool direct = GENERATE(true, false);
    const SparseCopy sparse = GENERATE(SparseCopy::automatic, SparseCopy::never);
    const Disk disk(512);
    const Folder folder;
    fill_with_pattern();
    const File input(folder / "in");
    input.write(random_bytes(100000));
    input.truncate(Disk::size + 1);
    const File output(Disk::path, O_RDWR);
    Ring ring;
    FileCopy copy(ring, {.direct = direct, .sparse = sparse});
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK(result.error == ENOSPC);
    CHECK(result.operation == CopyOperation::write);
    CHECK(result.offset == Disk::size);
    CHECK_FALSE(result.changed);
    CHECK(fmt::format("{}", result) ==
          fmt::format("writing at offset {} failed: No space left on device (errno 28)", Disk::size));
    CHECK((on_disk() == Bytes(looked_at, pattern)));
}

TEST_CASE("A source that does not say that it is larger fails where the device ends") {
    const Disk disk(512);
    const File input("/dev/zero", O_RDONLY);
    const File output(Disk::path, O_RDWR);
    Ring ring;
    FileCopy copy(ring, {.queue_depth = 1, .block_size = 1000000});
    const CopyResult result = copy.run(input.fd(), output.fd());
    CHECK(result.error == ENOSPC);
    CHECK(result.operation == CopyOperation::write);
    CHECK(result.offset == Disk::size);
    CHECK(result.bytes == Disk::size);
    CHECK(result.changed);
}

TEST_CASE("From a device to a file, and not onto itself") {
    const bool direct = GENERATE(true, false);
    CAPTURE(direct);
    const Disk disk(512);
    const File input(Disk::path, O_RDWR);
    const Bytes bytes = random_bytes(looked_at);
    input.write(bytes);
    input.write(random_bytes(4096, 7), Disk::size - 4096);
    REQUIRE(::fsync(input.fd()) == 0);
    const Folder folder;
    const File output(folder / "out");
    Ring ring;
    FileCopy copy(ring, {.direct = direct});
    const CopyResult result = copy.run(input.fd(), output.fd());
    INFO(fmt::format("{}", result));
    CHECK(result.ok());
    CHECK(copy.progress().size == Disk::size);
    CHECK(output.size() == Disk::size);
    CHECK((output.read(0, looked_at) == bytes));
    CHECK((output.read(Disk::size - 4096, 4096) == random_bytes(4096, 7)));

    const File again(Disk::path, O_WRONLY);
    CHECK(copy.run(input.fd(), again.fd()).error == EINVAL);
}
