// SPDX-License-Identifier: MIT
// The frame that every program in this folder has around its work:
//
//   int main() {
//       return program::run("hello", [] {
//           fmt::print("Hello\n");
//           return 0;
//       });
//   }
//
// - An exception becomes a message on stderr and an exit status.
// - Output that could not be written also becomes a message. The exit status is then 4, whatever status the program has
// returned. After an exception, both messages are printed, and the exit status is that of the exception.
// - A program that is started with stdin, stdout or stderr closed does not use a file or a ring in its place.
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
#include <typeinfo>
#include <utility>

namespace program {

enum ExitStatus : int {
    exit_failed = 1,
    exit_usage = 2,
    exit_output = 4,  // the output could not be written
};

/// The text of --help about the exit statuses, for programs that have only these. (CLI11 has many for wrong options.)
constexpr std::string_view status_help =
    "Exit status:\n"
    "  0       all is well\n"
    "  1       something failed\n"
    "  4       the output could not be written\n"
    "  others  wrong options";

/// The error that a program's output file could not be written.
class OutputError : public std::system_error {
public:
    OutputError(const std::string& path, int error) : std::system_error(error, std::generic_category(), "writing " + path) {}
};

namespace detail {

/// The errno of the first failed write to stdout.
inline int output_error = 0;

}  // namespace detail

/// Occupies the file descriptors 0 to 2 if they are closed. Otherwise the next opened file, socket or ring gets one of these
/// numbers, and printed text is written into it.
inline void occupy_standard_descriptors() {
    int fd = -1;
    do {
        // This file can be neither read nor written, even by the name /dev/stdout. Child programs do not inherit it.
        fd = ::open("/proc/self", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) fd = ::open("/dev/null", O_PATH | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) ::close(fd);
}

/// Prints to stdout, and continues if that fails, because run() checks it at the end. fmt::print() would throw in the middle of
/// the work.
template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && detail::output_error == 0)
        detail::output_error = errno;
}

/// Prints to stderr. Ignores a failure, because there is no other place to report it.
template <typename... Args>
void print_error(fmt::format_string<Args...> format, Args&&... args) {
    const std::string text = fmt::format(format, std::forward<Args>(args)...);
    (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

/// Checks that all printed output was written. Returns `status`, or prints a message and returns exit_output if output was
/// lost. Never changes a status that means a signal.
inline int finish(std::string_view name, int status) {
    errno = 0;
    bool good = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (detail::output_error == 0) detail::output_error = errno;
    // Some file systems report only at the end that they could not store the data.
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

namespace detail {

// fmt::print() throws a plain std::system_error if it cannot write. Only its text tells it from others.
inline bool thrown_by_print(const std::system_error& error) {
    return std::ferror(stdout) != 0 && typeid(error) == typeid(std::system_error) &&
           std::string_view(error.what()).starts_with("cannot write to file");
}

}  // namespace detail

/// Runs a program's work and returns its exit status: `failed` if `body` threw an exception, exit_output if output was lost, or
/// else the status that `body` returns. The message of an exception is printed even if output was lost before.
template <typename Body>
int run(std::string_view name, Body&& body, int failed = exit_failed) {
    occupy_standard_descriptors();
    int status = failed;
    bool thrown = true;
    try {
        try {
            status = std::forward<Body>(body)();
            thrown = false;
        } catch (const OutputError& error) {
            print_error("{}: {}\n", name, error.what());
            status = exit_output;
        } catch (const std::system_error& error) {
            if (detail::thrown_by_print(error)) {
                detail::output_error = error.code().value();
                thrown = false;
            } else {
                print_error("{}: {}\n", name, error.what());  // a ringstep::Error also says what to do
            }
        } catch (const std::exception& error) {
            print_error("{}: {}\n", name, error.what());
        }
        const int finished = finish(name, status);
        return thrown ? status : finished;
    } catch (const std::exception&) {
        return failed;  // there is no memory for the message
    }
}

}  // namespace program
