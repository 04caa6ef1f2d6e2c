// SPDX-License-Identifier: MIT
// Things that change a process for good are tried in a child of it: dropped capabilities, seccomp filters, limits.
#pragma once

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

/// What became of a child process.
struct Outcome {
    int status = -1;  ///< exit status; 128 and more: ended by a signal; 99: it threw
    std::string out;  ///< what it wrote to its stdout
    std::string err;
};

/// Waits for a child and returns its status, for WIFEXITED() and so on.
inline int status_of(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/// Forks a child that ends with the status that the function returns, or with 99 if it throws. What a child throws must not get
/// into its copy of the test session, which would go on with the next test.
template <class F>
pid_t fork_and_run(F&& function) {
    (void)std::fflush(nullptr);  // or the child would write it, too
    const pid_t child = ::fork();
    if (child != 0) return child;
    int status = 99;
    try {
        status = function();
    } catch (const std::exception& error) {
        (void)std::fprintf(stderr, "in a child: %s\n", error.what());
    } catch (...) {
        (void)std::fprintf(stderr, "in a child: a check failed\n");
    }
    (void)std::fflush(nullptr);
    ::_exit(status);
}

/// Waits at most a minute until there is something to read. A child that has died before it wrote leaves its parent without.
inline bool readable(int fd) {
    pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&polled, 1, 60'000) == 1;
}

namespace test_detail {

inline Outcome collect(pid_t child, std::array<int, 2> descriptors) {
    Outcome outcome;
    std::array<std::string*, 2> texts = {&outcome.out, &outcome.err};
    std::array<pollfd, 2> polled = {{{descriptors[0], POLLIN, 0}, {descriptors[1], POLLIN, 0}}};
    for (int open = 2; open > 0;) {
        ::poll(polled.data(), polled.size(), -1);
        for (std::size_t i = 0; i < 2; i++) {
            if (polled[i].fd < 0 || polled[i].revents == 0) continue;
            std::array<char, 4096> block;
            const ssize_t count = ::read(polled[i].fd, block.data(), block.size());
            if (count > 0) {
                texts[i]->append(block.data(), static_cast<std::size_t>(count));
            } else {
                ::close(polled[i].fd);
                polled[i].fd = -1;
                open--;
            }
        }
    }
    const int status = status_of(child);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

inline void write_all(std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
        if (count <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
}

}  // namespace test_detail

/// Runs a function that gives a text, in a child process. Its text arrives in `out`, with all else that is printed.
template <class F>
Outcome in_child(F&& function) {
    std::array<int, 2> out{};
    std::array<int, 2> err{};
    if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) return {};
    (void)std::fflush(nullptr);  // or the child would write it, too
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(out[1], STDOUT_FILENO);
        ::dup2(err[1], STDERR_FILENO);
        for (const int fd : {out[0], out[1], err[0], err[1]}) ::close(fd);
        int status = 0;
        try {
            test_detail::write_all(function());
        } catch (const std::exception& error) {
            test_detail::write_all(std::string("threw: ") + error.what());
            status = 99;
        }
        ::_exit(status);
    }
    ::close(out[1]);
    ::close(err[1]);
    return test_detail::collect(child, {out[0], err[0]});
}

/// Runs a program in a child process, after `prepare` has changed that process.
template <class F>
Outcome run_program(const std::vector<std::string>& arguments, F&& prepare) {
    return in_child([&]() -> std::string {
        prepare();
        std::vector<char*> argv;
        for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    });
}

inline Outcome run_program(const std::vector<std::string>& arguments) {
    return run_program(arguments, [] {});
}

/// Leaves this thread nothing but these capabilities. False if it does not have them.
inline bool keep_only(std::initializer_list<int> capabilities) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> data{};
    for (const int capability : capabilities) {
        auto& word = data[static_cast<std::size_t>(capability) / 32];
        word.effective |= 1U << (capability % 32);
        word.permitted |= 1U << (capability % 32);
    }
    return ::syscall(SYS_capset, &header, data.data()) == 0;
}

/// From now on a filter answers this system call with `action`, as SECCOMP_RET_ERRNO | EPERM. `flags` are those of seccomp(2):
/// SECCOMP_FILTER_FLAG_TSYNC for all threads, and not for this one and its children alone. Returns what seccomp(2) returns.
inline int filter(int call, std::uint32_t action, unsigned flags) {
    std::array<sock_filter, 4> code = {{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

/// From now on the filter answers this system call of this thread with `action`. False if it cannot be set.
inline bool forbid(int call, std::uint32_t action) { return filter(call, action, 0) == 0; }
