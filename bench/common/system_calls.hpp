// SPDX-License-Identifier: MIT
// Counts the system calls of a thread, with the kernel's own tracepoints. Counting slows each call down, so what is counted
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
 * Two perf counters of a thread. Both count raw_syscalls:sys_enter, and one of them has a filter for io_uring_enter(2).
 * Every kernel with tracing has this tracepoint. The tracepoints of single system calls need CONFIG_FTRACE_SYSCALLS. The class
 * needs root (or CAP_PERFMON) and tracefs at /sys/kernel/tracing, and throws if it cannot have them.
 *
 * The counters exist only while count() runs: as long as one is open, even if it does not count, the kernel takes a longer way
 * into each system call, which would be in all figures.
 */
class SystemCallCounter {
public:
    /// Counts those of this thread, or of the thread with this number. Measures what counting itself adds: the calls that end
    /// it.
    explicit SystemCallCounter(pid_t thread = 0) : thread_(thread) {
        if (thread == 0) own_ = count([] {});
    }

    /// The system calls that the thread makes while this one does `work`.
    [[nodiscard]] SystemCalls count(const std::function<void()>& work) const {
        const Counter all("", thread_);
        const Counter enter("id == " + std::to_string(SYS_io_uring_enter), thread_);
        enter.control(PERF_EVENT_IOC_RESET);
        all.control(PERF_EVENT_IOC_RESET);
        enter.control(PERF_EVENT_IOC_ENABLE);
        all.control(PERF_EVENT_IOC_ENABLE);
        work();
        all.control(PERF_EVENT_IOC_DISABLE);
        enter.control(PERF_EVENT_IOC_DISABLE);
        return {.all = all.value() - own_.all, .enter = enter.value() - own_.enter};
    }

private:
    [[noreturn]] static void fail(const std::string& what) {
        throw std::system_error(errno, std::generic_category(), "counting of system calls: " + what);
    }

    /// A counter of the system calls that `filter` holds for, all if it is empty. It does not count at first.
    class Counter {
    public:
        Counter(const std::string& filter, pid_t thread) {
            const std::string path = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id";
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
            const long fd = syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
            if (fd < 0) fail("perf_event_open of raw_syscalls:sys_enter");
            fd_ = static_cast<int>(fd);
            if (!filter.empty() && ioctl(fd_, PERF_EVENT_IOC_SET_FILTER, filter.c_str()) != 0) {
                const int error = errno;
                close(fd_);
                errno = error;
                fail("the filter " + filter);
            }
        }
        Counter(const Counter&) = delete;
        Counter& operator=(const Counter&) = delete;
        ~Counter() { close(fd_); }

        void control(unsigned long request) const {
            if (ioctl(fd_, request, 0) != 0) fail("ioctl");
        }
        [[nodiscard]] std::uint64_t value() const {
            std::uint64_t count = 0;
            if (read(fd_, &count, sizeof count) != sizeof count) fail("read");
            return count;
        }

    private:
        int fd_ = -1;
    };

    pid_t thread_;
    SystemCalls own_;
};

}  // namespace bench
