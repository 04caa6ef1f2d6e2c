// SPDX-License-Identifier: MIT
// Reads all given files in blocks, with many more requests than the ring has entries. The loop `gate` keeps a chosen number of
// blocks in flight, and only a few of each file, so that a slow file does not take all the places. The last block of each file,
// where many formats have their index, comes first, and the others follow in order. Files whose size is not known (pipes,
// devices, files that are generated while they are read) are read in order before that, without the loop.
#include <ringstep/format.hpp>
#include <ringstep/loops/gate.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../common/program.hpp"

namespace {

constexpr std::size_t block_size = 4096;
constexpr unsigned first_class = 0;
constexpr unsigned usual_class = 4;

struct File {
    explicit File(std::string path) : name(std::move(path)), fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC)) {
        struct stat status{};
        if (fd < 0 || ::fstat(fd, &status) != 0) {
            error = errno;
        } else if (S_ISREG(status.st_mode) && status.st_size != 0 && status.st_blocks != 0) {
            bytes.resize(static_cast<std::size_t>(status.st_size));
        } else {
            read_in_order();
        }
    }
    File(File&& other) noexcept
        : name(std::move(other.name)),
          fd(std::exchange(other.fd, -1)),
          bytes(std::move(other.bytes)),
          error(other.error),
          is_read(other.is_read) {}
    File& operator=(File&&) = delete;
    ~File() {
        if (fd >= 0) ::close(fd);
    }

    std::string name;
    int fd;
    std::vector<unsigned char> bytes;
    int error = 0;
    bool is_read = false;
    std::size_t missing = 0;  // bytes: the file was shorter than its size said

private:
    // Reads until a read returns nothing. A device may never end.
    void read_in_order() {
        constexpr std::size_t most = std::size_t{1} << 30;
        for (is_read = true; bytes.size() < most;) {
            const std::size_t before = bytes.size();
            bytes.resize(before + 16 * block_size);
            const ssize_t got = ::read(fd, &bytes[before], 16 * block_size);
            bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
            if (got == 0) return;
            if (got < 0 && errno != EINTR) {
                error = errno;
                return;
            }
        }
        error = EFBIG;
    }
};

// Takes the blocks that have been read so far.
std::size_t collect(ringstep::Gate& gate, std::vector<File>& files) {
    std::size_t count = 0;
    for (const auto& completion : gate.completions()) {
        File& file = files[completion.user_data >> 32];
        const std::size_t offset = (completion.user_data & 0xffffffff) * block_size;
        const std::size_t wanted = std::min(block_size, file.bytes.size() - offset);
        if (!completion.ok()) {
            file.error = completion.error();
        } else {
            file.missing += wanted - static_cast<std::size_t>(completion.result);
        }
        count++;
    }
    return count;
}

int run(int argc, char** argv) {
    std::vector<File> files;
    for (int i = 1; i < argc; i++) files.emplace_back(argv[i]);

    ringstep::Ring ring{{.sq_entries = 64}};
    ringstep::Gate gate{ring, {.depth = 32, .file_limit = 4}};
    std::size_t reads = 0;
    for (std::size_t number = 0; number < files.size(); number++) {
        File& file = files[number];
        const std::size_t blocks = file.is_read ? 0 : (file.bytes.size() + block_size - 1) / block_size;
        for (std::size_t i = 0; i < blocks; i++) {
            io_uring_sqe sqe{};
            io_uring_prep_read(&sqe, file.fd, &file.bytes[i * block_size],
                               static_cast<unsigned>(std::min(block_size, file.bytes.size() - i * block_size)), i * block_size);
            sqe.user_data = number << 32 | i;
            while (!gate.try_push(sqe, i + 1 == blocks ? first_class : usual_class)) {
                // All slots are taken, so run the loop until half of them are free.
                gate.set_batch(ringstep::Gate::capacity / 2);
                gate.run();
                reads += collect(gate, files);
                gate.set_batch(0);
            }
        }
    }
    ringstep::LoopExit exit;
    do {
        exit = gate.run();
    } while (exit.reason == ringstep::ExitReason::interrupted);  // by a debugger, for example
    reads += collect(gate, files);

    bool good = exit.ok();
    for (const File& file : files) {
        std::uint64_t sum = 0;
        for (const unsigned char byte : file.bytes) sum += byte;
        if (file.error != 0) {
            fmt::print("{}: {}\n", file.name, std::strerror(file.error));
        } else {
            fmt::print("{}: {} bytes, sum {}{}\n", file.name, file.bytes.size(), sum,
                       file.missing != 0 ? ", but it has become shorter" : "");
        }
        good = good && file.error == 0;
    }
    fmt::print("{} reads. The loop {}.\n", reads, exit);
    return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("read-all", [&] { return run(argc, argv); });
}
