// SPDX-License-Identifier: MIT
// A progress bar on a terminal. Its thread reads the copy's live state, without any effect on the loop.
#pragma once

#include <ringstep/loops/copy_file.hpp>

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "../../examples/common/program.hpp"
#include "units.hpp"

class ProgressBar {
public:
    ProgressBar(const ringstep::FileCopy& copy, std::string name)
        : copy_(copy), name_(std::move(name)), thread_([this](const std::stop_token& token) { show(token); }) {}

    [[nodiscard]] static bool wanted() { return ::isatty(STDERR_FILENO) == 1; }

private:
    using clock = std::chrono::steady_clock;

    void show(const std::stop_token& token) {
        const auto begin = clock::now();
        std::mutex mutex;
        std::unique_lock lock(mutex);
        bool shown = false;
        while (!wakeup_.wait_for(lock, token, std::chrono::milliseconds(200), [&] { return token.stop_requested(); })) {
            draw(std::chrono::duration<double>(clock::now() - begin).count());
            shown = true;
        }
        if (shown) program::print_error("\r\033[K");
        std::fflush(stderr);
    }

    void draw(double seconds) const {
        const ringstep::CopyProgress progress = copy_.progress();
        const auto done = static_cast<double>(progress.bytes_written);
        const double rate = done / seconds;
        std::string text = fmt::format("{}/s", human_bytes(rate));
        if (progress.size != 0) {
            const double share = std::min(1.0, done / static_cast<double>(progress.size));
            const std::string left = rate > 0 ? human_time((1 - share) * static_cast<double>(progress.size) / rate) : "-:--";
            text = fmt::format("{:3.0f}% [{}] {} of {}, {}, {} left", 100 * share, bar(share),
                               human_bytes(progress.bytes_written), human_bytes(progress.size), text, left);
        } else {
            text = fmt::format("{}, {}", human_bytes(progress.bytes_written), text);
        }
        const std::size_t width = columns();
        std::string line = fmt::format("{}: {}", name_, text);
        if (line.size() >= width) line = std::move(text);
        if (line.size() >= width) line.resize(width - 1);
        program::print_error("\r\033[K{}", line);
        std::fflush(stderr);
    }

    static std::string bar(double share) {
        constexpr std::size_t cells = 20;
        const auto filled = static_cast<std::size_t>(share * cells);
        return std::string(filled, '#') + std::string(cells - filled, '.');
    }

    static std::size_t columns() {
        winsize size{};
        return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
    }

    const ringstep::FileCopy& copy_;
    std::string name_;
    std::condition_variable_any wakeup_;
    std::jthread thread_;  // the last member, so that it ends first
};
