// SPDX-License-Identifier: MIT
// ringstep-cp: copies files like cp. A loop does the reading and writing, in the kernel if possible.
#include <ringstep/format.hpp>
#include <ringstep/loops/copy_file.hpp>
#include <ringstep/loops/copy_format.hpp>
#include <ringstep/ringstep.hpp>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "../../examples/common/program.hpp"
#include "files.hpp"
#include "options.hpp"
#include "progress_bar.hpp"
#include "units.hpp"

namespace {

// Turns SIGINT, SIGTERM and SIGHUP into a stop token. All threads block the signals, and one thread waits for them. So no
// signal can get lost between a check and the entry into the kernel. A second signal ends the process at once. A signal that
// was ignored at the start stays ignored, as nohup and scripts want it.
class Signals {
public:
    Signals() {
        sigset_t set;
        sigemptyset(&set);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
            struct sigaction now{};
            if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&set, signal);
        }
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        std::thread([set, source = source_, received = received_, copier = pthread_self()]() mutable {
            int signal = 0;
            if (sigwait(&set, &signal) != 0) return;
            received->store(signal);
            source.request_stop();
            // The other thread may be waiting in open(2) for the other end of a FIFO, or be about to.
            struct sigaction nothing{};
            nothing.sa_handler = [](int) {};
            sigaction(SIGRTMIN, &nothing, nullptr);
            for (signal = -1; signal < 0; pthread_kill(copier, SIGRTMIN)) {
                const timespec pause{.tv_sec = 0, .tv_nsec = 100'000'000};
                signal = sigtimedwait(&set, nullptr, &pause);
            }
            std::_Exit(exit_signal + signal);
        }).detach();
    }

    [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
    [[nodiscard]] int received() const { return received_->load(); }

private:
    std::stop_source source_;
    std::shared_ptr<std::atomic<int>> received_ = std::make_shared<std::atomic<int>>(0);
};

struct Totals {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
    std::uint64_t holes = 0;
    std::uint64_t hole_bytes = 0;
    std::uint64_t buffered = 0;
    std::uint64_t turns = 0;
    std::uint64_t requests = 0;
    std::uint64_t enters = 0;
    std::uint64_t system_calls = 0;
    double seconds = 0;

    void add(const ringstep::CopyResult& result, double took) {
        ++files;
        bytes += result.bytes;
        holes += result.holes;
        hole_bytes += result.hole_bytes;
        buffered += result.buffered ? 1 : 0;
        turns += result.exit.turns;
        requests += result.exit.submitted;
        enters += result.enters;
        system_calls += result.system_calls;
        seconds += took;
    }

    void print(const ringstep::FileCopy& copy) const {
        program::print("files           {}\n", files);
        program::print("bytes           {}\n", bytes);
        program::print("holes           {} ({} bytes)\n", holes, hole_bytes);
        if (buffered != 0) program::print("not direct      {} (a file did not allow it)\n", buffered);
        program::print("seconds         {:.3f}\n", seconds);
        program::print("rate            {}/s\n", human_bytes(seconds > 0 ? static_cast<double>(bytes) / seconds : 0.0));
        program::print("engine          {}\n", to_string(copy.engine()));
        if (!copy.engine_reason().empty()) program::print("not the kernel  {}\n", copy.engine_reason());
        program::print("turns           {}\n", turns);
        program::print("requests        {}\n", requests);
        program::print("io_uring_enter  {}\n", enters);
        program::print("system calls    {}\n", system_calls);
    }
};

std::string explain(const ringstep::CopyResult& result, const Options& options) {
    if (result.operation == ringstep::CopyOperation::set_up && result.error == EINVAL && options.copy.direct) {
        return fmt::format(
            "no direct I/O: the block size, {} bytes, has to be a multiple of what the file systems align to (512 or 4096)",
            options.copy.block_size);
    }
    return fmt::format("{}", result);
}

class Copier {
public:
    Copier(const Options& options, const Signals& signals)
        : options_(options),
          signals_(signals),
          ring_({.sq_entries = options.copy.queue_depth, .cq_entries = 2 * options.copy.queue_depth}),
          copy_(ring_, options.copy) {}

    void copy(const std::string& from, const std::string& to) {
        const Descriptor source = open_source(from);
        const struct stat status = status_of(source, from);
        if (options_.no_clobber && ::faccessat(AT_FDCWD, to.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
            if (options_.verbose) program::print("'{}' is there already\n", to);
            return;
        }
        if (const auto before = copied_.find(to); before != copied_.end()) {
            if (before->second == from) return;
            throw CopyFailure(fmt::format("'{}' is the copy of '{}', and not overwritten with '{}'", to, before->second, from));
        }
        Destination destination{to, from, status, options_.force};

        const auto begin = std::chrono::steady_clock::now();
        const ringstep::CopyResult result = run(source, destination, from);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        if (!result.ok()) {
            if (!destination.created() && result.changed) destination.cut(result);
            throw CopyFailure(
                fmt::format("'{}' to '{}': {}. {}", from, to, explain(result, options_), fate(destination, result)));
        }
        if (options_.preserve) copy_attributes(source, status, destination.file(), to);
        if (options_.fsync) destination.sync();
        destination.close();
        copied_[to] = from;
        totals_.add(result, seconds);
        if (options_.verbose)
            program::print("'{}' -> '{}' ({}{})\n", from, to, human_bytes(result.size), result.buffered ? ", not direct" : "");
    }

    void print_totals() const { totals_.print(copy_); }

private:
    static const char* fate(const Destination& destination, const ringstep::CopyResult& result) {
        if (destination.created()) return "The destination is removed";
        return result.changed ? "The destination is incomplete" : "The destination is unchanged";
    }

    ringstep::CopyResult run(const Descriptor& source, const Destination& destination, const std::string& name) {
        std::optional<ProgressBar> bar;
        if (!options_.quiet && ProgressBar::wanted()) bar.emplace(copy_, std::filesystem::path(name).filename().string());
        ringstep::CopyResult result = copy_.run(source.get(), destination.file().get(), signals_.token());
        // Stopping and continuing the process (Ctrl-Z) also interrupts the loop.
        while (result.resumable() && !signals_.token().stop_requested()) result = copy_.resume(signals_.token());
        if (result.resumable()) {
            (void)copy_.cancel();
            // The signal that wakes this thread up may have arrived first.
            result.exit.reason = ringstep::ExitReason::stop_requested;
        }
        return result;
    }

    const Options& options_;
    const Signals& signals_;
    ringstep::Ring ring_;
    ringstep::FileCopy copy_;
    Totals totals_;
    std::map<std::string, std::string> copied_;  // the source of each destination
};

int report(const std::string& message) {
    program::print_error("ringstep-cp: {}\n", message);
    return exit_failed;
}

int run(const Options& options) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    const bool into_directory = fs::is_directory(options.destination, ignored);
    if (options.sources.size() > 1 && !into_directory) {
        report(fmt::format("there are {} sources, but '{}' is not a directory", options.sources.size(), options.destination));
        return exit_usage;
    }

    const Signals signals;
    std::optional<Copier> copier;
    try {
        copier.emplace(options, signals);
    } catch (const ringstep::Error& error) {
        if (signals.received() != 0) return exit_signal + signals.received();  // the signal has interrupted the loading
        report(fmt::format("the loop cannot run here: {}", error));
        return exit_unavailable;
    }

    int status = exit_ok;
    for (const std::string& source : options.sources) {
        if (signals.received() != 0) break;
        try {
            const std::string to =
                into_directory ? (fs::path(options.destination) / fs::path(source).filename()).string() : options.destination;
            copier->copy(source, to);
        } catch (const CopyFailure& failure) {
            status = report(failure.what());
        }
    }
    if (options.stats) copier->print_totals();
    return signals.received() != 0 ? exit_signal + signals.received() : status;
}

}  // namespace

int main(int argc, char** argv) {
    // A destination or a stdout without a reader is an ordinary error. SIGPIPE would end the remaining copies.
    (void)std::signal(SIGPIPE, SIG_IGN);
    return program::run("ringstep-cp", [&] {
        int status = exit_ok;
        const std::optional<Options> options = parse_options(argc, argv, status);
        return options ? run(*options) : status;
    });
}
