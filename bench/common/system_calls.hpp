// SPDX-License-Identifier: MIT
// Counts the system calls of this thread, with the kernel's own tracepoints. Counting slows each call down, so what is counted
// is not timed in the same run.
#pragma once

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <system_error>

namespace bench {

struct SystemCalls {
    std::uint64_t all = 0;    ///< of any kind
    std::uint64_t enter = 0;  ///< of these, io_uring_enter(2)
};

/**
 * Two perf counters of this thread: raw_syscalls:sys_enter and syscalls:sys_enter_io_uring_enter. Needs root (or CAP_PERFMON)
 * and tracefs at /sys/kernel/tracing; throws where they cannot be had.
 */
class SystemCallCounter {
public:
    SystemCallCounter() {
        all_ = open_tracepoint("raw_syscalls/sys_enter");
        enter_ = open_tracepoint("syscalls/sys_enter_io_uring_enter");
        // What counting itself adds: the calls that end it.
        own_ = {};
        own_ = count([] {});
    }
    SystemCallCounter(const SystemCallCounter&) = delete;
    SystemCallCounter& operator=(const SystemCallCounter&) = delete;
    ~SystemCallCounter() {
        close(all_);
        close(enter_);
    }

    /// The system calls that this thread makes in `work`.
    [[nodiscard]] SystemCalls count(const std::function<void()>& work) {
        control(enter_, PERF_EVENT_IOC_RESET);
        control(all_, PERF_EVENT_IOC_RESET);
        control(enter_, PERF_EVENT_IOC_ENABLE);
        control(all_, PERF_EVENT_IOC_ENABLE);
        work();
        control(all_, PERF_EVENT_IOC_DISABLE);
        control(enter_, PERF_EVENT_IOC_DISABLE);
        return {.all = value(all_) - own_.all, .enter = value(enter_) - own_.enter};
    }

private:
    [[noreturn]] static void fail(const std::string& what) {
        throw std::system_error(errno, std::generic_category(), "counting of system calls: " + what);
    }

    [[nodiscard]] static int open_tracepoint(const std::string& name) {
        const std::string path = "/sys/kernel/tracing/events/" + name + "/id";
        std::uint64_t id = 0;
        if (!(std::ifstream(path) >> id)) {
            errno = ENOENT;
            fail(path + " (needs root, and tracefs mounted)");
        }
        perf_event_attr attributes{};
        attributes.type = PERF_TYPE_TRACEPOINT;
        attributes.size = sizeof attributes;
        attributes.config = id;
        attributes.disabled = 1;
        const long fd = syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
        if (fd < 0) fail("perf_event_open of " + name);
        return static_cast<int>(fd);
    }

    static void control(int fd, unsigned long request) {
        if (ioctl(fd, request, 0) != 0) fail("ioctl");
    }

    [[nodiscard]] static std::uint64_t value(int fd) {
        std::uint64_t count = 0;
        if (read(fd, &count, sizeof count) != sizeof count) fail("read");
        return count;
    }

    int all_ = -1;
    int enter_ = -1;
    SystemCalls own_;
};

}  // namespace bench
