// SPDX-License-Identifier: MIT
// Reads the kernel's configuration from a compressed file like /proc/config.gz. The library does not do this, because it never
// starts other programs. A tool may.
#pragma once

#include <check/facts.hpp>
#include <check/parse.hpp>

#include <sys/types.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>

/// Returns a file's content as unpacked by `gzip -dc`, or nothing if there is no gzip or if it fails.
[[nodiscard]] inline std::optional<std::string> decompressed(const std::string& path) {
    constexpr std::size_t most = std::size_t{16} << 20;  // a configuration has a third of a megabyte
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    std::array<char*, 5> arguments = {const_cast<char*>("gzip"), const_cast<char*>("-dc"), const_cast<char*>("--"),
                                      const_cast<char*>(path.c_str()), nullptr};
    int error = ::posix_spawn_file_actions_init(&actions);
    if (error == 0) {
        error = ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (error == 0) error = ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        if (error == 0) error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
    }
    ::close(ends[1]);
    std::string text;
    std::array<char, 16384> block;
    while (error == 0 && text.size() < most) {
        const ssize_t count = ::read(ends[0], block.data(), block.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        text.append(block.data(), static_cast<std::size_t>(count));
    }
    ::close(ends[0]);
    if (error != 0) return std::nullopt;
    int status = -1;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || text.empty()) return std::nullopt;
    return text;
}

/// Adds the configuration in /proc/config.gz to facts that lack one. Without gzip, it leaves them unchanged.
inline void add_compressed_config(ringstep::support::Facts& facts, const std::string& path = "/proc/config.gz") {
    if (facts.config.readable() || !facts.config.compressed_only) return;
    if (const auto text = decompressed(path)) facts.config = ringstep::support::parse_config(*text, path);
}
