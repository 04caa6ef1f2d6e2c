// SPDX-License-Identifier: MIT
// What every program in this folder has around what it does:
//
//   int main() {
//       return program::run("hello", [] {
//           fmt::print("Hello\n");
//           return 0;
//       });
//   }
//
// - An exception becomes a message on stderr and an exit status.
// - Output that could not be written becomes one, too: exit status 4, whatever the program itself wanted to end with.
// - A program that is started with stdin, stdout or stderr closed does not mistake a file or a ring for it.
#pragma once

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace program {

enum ExitStatus : int {
    exit_failed = 1,
    exit_usage = 2,
    exit_output = 4,  // the output could not be written
};

/// What --help says of them, for programs that have no others. (CLI11 has many for wrong options.)
constexpr std::string_view status_help =
    "Exit status:\n"
    "  0       all is well\n"
    "  1       something failed\n"
    "  4       the output could not be written\n"
    "  others  wrong options";

/// A file that is a program's output could not be written.
class OutputError : public std::system_error {
public:
    OutputError(const std::string& path, int error) : std::system_error(error, std::generic_category(), "writing " + path) {}
};

namespace detail {

/// errno of the first write to stdout that failed.
inline int output_error = 0;

}  // namespace detail

/// Occupies the numbers 0 to 2 where they are closed. Otherwise the next file, socket or ring that is opened gets such a
/// number, and whoever prints writes into it.
inline void occupy_standard_descriptors() {
    int fd = -1;
    do {
        // A file that can be neither read nor written, also not by the name /dev/stdout. The next program does not inherit it.
        fd = ::open("/proc/self", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) fd = ::open("/dev/null", O_PATH | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) ::close(fd);
}

/// Prints to stdout, and goes on if that fails: run() will notice. fmt::print() would throw, in the middle of the work.
template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && detail::output_error == 0)
        detail::output_error = errno;
}

/// Prints to stderr. If that fails there is nobody left to be told, and the work goes on.
template <typename... Args>
void print_error(fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

/// Sees to it that all that was printed has arrived. Returns `status`, or exit_output after a message if something is lost. A
/// status that means a signal stays as it is.
inline int finish(std::string_view name, int status) {
    errno = 0;
    bool good = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (detail::output_error == 0) detail::output_error = errno;
    // Some file systems tell at the end that they could not keep what was written.
    const int last = good ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (last >= 0 && ::close(last) != 0 && errno != EINTR) {
        good = false;
        detail::output_error = errno;
    }
    if (good) return status;
    const int error = detail::output_error;
    print_error("{}: the output could not be written{}\n", name,
                error != 0 ? ": " + std::generic_category().message(error) : std::string());
    return status >= 128 ? status : exit_output;
}

/// Runs what a program does, and returns the status that it has to end with: what `body` returns, `failed` if it threw,
/// exit_output if output was lost.
template <typename Body>
int run(std::string_view name, Body&& body, int failed = exit_failed) {
    occupy_standard_descriptors();
    int status = failed;
    try {
        try {
            status = std::forward<Body>(body)();
        } catch (const OutputError& error) {
            print_error("{}: {}\n", name, error.what());
            status = exit_output;
        } catch (const std::system_error& error) {
            if (std::ferror(stdout) != 0) {  // fmt::print() threw it
                detail::output_error = error.code().value();
            } else {
                print_error("{}: {}\n", name, error.what());
            }
        } catch (const std::exception& error) {
            print_error("{}: {}\n", name, error.what());  // a ringstep::Error says what to do, too
        }
        return finish(name, status);
    } catch (const std::exception&) {
        return failed;  // there is not even memory for the message
    }
}

}  // namespace program
