// SPDX-License-Identifier: MIT
// A control group of a test's own.
#pragma once

#include "ensure.hpp"
#include "eventually.hpp"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

/// A group of cgroup v2 below the root. The destructor removes it, when no process is in it any more.
class ControlGroup {
public:
    /// Skips the test if there can be no such group. With `memory`, the group counts and limits memory.
    explicit ControlGroup(std::string_view name, bool memory = false) : memory_(memory) {
        if (::access((root + "/cgroup.controllers").c_str(), F_OK) != 0) SKIP("no control groups of version 2 at " << root);
        if (memory_ && !write_to(root + "/cgroup.subtree_control", "+memory")) SKIP("no control groups that limit memory");
        path_ = root + "/ringstep-" + std::string(name) + "-" + std::to_string(::getpid());
        const int made = ::mkdir(path_.c_str(), 0700);
        if (made != 0) {
            give_up_memory();
            SKIP("no control group of our own: " << std::strerror(errno));
        }
    }
    ControlGroup(const ControlGroup&) = delete;
    ControlGroup& operator=(const ControlGroup&) = delete;
    ~ControlGroup() {
        ensure(eventually([&] { return ::rmdir(path_.c_str()) == 0; }));
        give_up_memory();
    }

    void write(std::string_view file, const std::string& text) const {
        ensure(write_to(path_ + "/" + std::string(file), text));
    }
    void add(pid_t process) const { write("cgroup.procs", std::to_string(process)); }

    /// Returns the number behind a word in a file, or the one that the file consists of if there is no word. -1: there is none.
    [[nodiscard]] long number(std::string_view file, std::string_view word = {}) const {
        std::ifstream lines(path_ + "/" + std::string(file));
        std::string first;
        long number = -1;
        if (word.empty()) lines >> number;
        while (!word.empty() && lines >> first >> number) {
            if (first == word) return number;
        }
        return word.empty() ? number : -1;
    }

    /// Keeps the group's processes from running until thaw(). Returns when none of them runs any more.
    void freeze() const {
        write("cgroup.freeze", "1");
        ensure(eventually([&] { return number("cgroup.events", "frozen") == 1; }));
    }
    void thaw() const {
        write("cgroup.freeze", "0");
        ensure(eventually([&] { return number("cgroup.events", "frozen") == 0; }));
    }

private:
    static bool write_to(const std::string& path, std::string_view text) {
        const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
        if (file < 0) return false;
        const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::close(file);
        return written;
    }
    void give_up_memory() const {
        if (memory_) (void)write_to(root + "/cgroup.subtree_control", "-memory");
    }

    inline static const std::string root = "/sys/fs/cgroup";
    std::string path_;
    bool memory_;
};
