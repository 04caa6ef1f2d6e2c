// SPDX-License-Identifier: MIT
// What a process has open and has used: descriptors, sockets in the registered slots of its rings, processor time.
#pragma once

#include "ensure.hpp"

#include <cstddef>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

/// Returns the number of open descriptors of this process.
inline std::size_t descriptors_open() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// Returns the number of sockets in the registered slots of all rings of this process, as the kernel lists them. It does not
/// list them while a ring is at work.
inline std::size_t sockets_in_slots() {
    std::size_t sockets = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
        std::ifstream info(entry.path());
        bool here = false;
        for (std::string line; std::getline(info, line);) {
            // "UserFiles:", and below it a line such as "    7: socket:[4711]" for each file, up to "UserBufs:".
            if (line.starts_with("UserFiles:"))
                here = true;
            else if (line.starts_with("UserBufs:"))
                here = false;
            else if (here && line.find(": socket:") != std::string::npos)
                sockets++;
        }
    }
    return sockets;
}

/// Returns the processor time of this process, in seconds.
inline double processor_time() {
    timespec time{};
    ensure(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
