// SPDX-License-Identifier: MIT
// The options of ringstep-cp.
#pragma once

#include <ringstep/loops/copy_file.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../examples/common/program.hpp"

enum ExitStatus : int {
    exit_ok = 0,
    exit_failed = 1,
    exit_usage = 2,
    exit_unavailable = 3,
    exit_output = program::exit_output,
    exit_signal = 128,  // plus the signal's number
};

struct Options {
    std::vector<std::string> sources;
    std::string destination;
    bool force = false;
    bool no_clobber = false;
    bool preserve = false;
    bool fsync = false;
    bool stats = false;
    bool verbose = false;
    bool quiet = false;
    ringstep::CopyOptions copy;
};

// Returns the options, or nothing after --help or after a reported mistake; `status` is then the status to exit with.
inline std::optional<Options> parse_options(int argc, char** argv, int& status) {
    Options options;
    std::vector<std::string> paths;
    bool registered = false;
    std::string engine;

    CLI::App app{
        "Copies files by an io_uring loop that runs in the kernel, where one system call reads and writes a whole file, or "
        "else here.",
        "ringstep-cp"};
    app.usage("Usage: ringstep-cp [OPTIONS] SOURCE DEST\n       ringstep-cp [OPTIONS] SOURCE... DIRECTORY");
    app.footer(
        "Sizes take the suffixes K, M and G (powers of 1024).\n"
        "\n"
        "An existing DEST is overwritten, once SOURCE could be read. If a copy fails, a DEST that was created by it is removed "
        "again.\n"
        "\n"
        "Exit status:\n"
        "  0        all is copied\n"
        "  1        something was not\n"
        "  2        wrong usage\n"
        "  3        the engine is not available here: the kernel's needs Linux 7.1 and the right to load BPF programs\n"
        "  4        the output could not be written; messages tell if something was not copied, too\n"
        "  128 + n  ended by signal n (130: Ctrl-C)");

    app.add_option("PATH", paths, "Files to copy, and where to")->option_text("SOURCE... DEST");
    auto* force =
        app.add_flag("-f,--force", options.force, "If DEST cannot be opened for writing, remove it and make a new one");
    app.add_flag("-n,--no-clobber", options.no_clobber, "Leave an existing DEST alone")->excludes(force)->option_text(" ");
    app.add_flag("-p,--preserve", options.preserve,
                 "Keep mode, times, extended attributes and, where permitted, owner and group");
    app.add_option("--queue-depth", options.copy.queue_depth,
                   fmt::format("Blocks under way at once, 1 to {} (32)", RINGSTEP_COPY_SLOTS))
        ->check(CLI::Range(1, RINGSTEP_COPY_SLOTS))
        ->option_text("N");
    app.add_option("--block-size", options.copy.block_size, "Bytes in one read or write (128K)")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30))
        ->option_text("SIZE");
    app.add_flag("--direct", options.copy.direct, "Go past the page cache (O_DIRECT), where files allow it");
    app.add_option(
           "--sparse", options.copy.sparse,
           "Holes stay holes: auto (where SOURCE takes up less than its size), always (look for holes in any case), never")
        ->transform(CLI::CheckedTransformer(
            std::vector<std::pair<std::string, ringstep::SparseCopy>>{{"auto", ringstep::SparseCopy::automatic},
                                                                      {"always", ringstep::SparseCopy::always},
                                                                      {"never", ringstep::SparseCopy::never}}))
        ->option_text("WHEN");
    app.add_flag("--registered", registered, "Register files and buffers with the ring");
    app.add_flag("--fsync", options.fsync, "Wait until DEST is on the disk");
    app.add_option("--engine", engine, "What runs the loop: auto (the kernel where it can), kernel, user")
        ->check(CLI::IsMember({"auto", "kernel", "user"}))
        ->option_text("ENGINE");
    app.add_flag("--stats", options.stats, "Print counts afterwards: bytes, rate, turns of the loop, system calls");
    auto* verbose = app.add_flag("-v,--verbose", options.verbose, "Say what is copied");
    app.add_flag("-q,--quiet", options.quiet, "No progress bar, which is otherwise shown on a terminal")
        ->excludes(verbose)
        ->option_text(" ");
    force->option_text(" ");
    verbose->option_text(" ");

    // If an option is given twice, the last one counts.
    for (CLI::Option* option : app.get_options()) {
        if (!option->get_lnames().empty() && option->get_items_expected() == 1) option->take_last();
    }

    try {
        app.parse(argc, argv);
        if (paths.empty()) throw CLI::RequiredError("SOURCE and DEST are missing", CLI::ExitCodes::RequiredError);
        if (paths.size() == 1)
            throw CLI::RequiredError(fmt::format("DEST is missing after '{}'", paths[0]), CLI::ExitCodes::RequiredError);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            (void)app.exit(error);
            status = exit_ok;
        } else {
            program::print_error("ringstep-cp: {}\nTry 'ringstep-cp --help'.\n", error.what());
            status = exit_usage;
        }
        return std::nullopt;
    }
    if (engine == "kernel") options.copy.engine = ringstep::Engine::kernel;
    if (engine == "user") options.copy.engine = ringstep::Engine::user;
    options.copy.registered_files = registered;
    options.copy.registered_buffers = registered;
    options.copy.empty_first = true;
    options.destination = paths.back();
    paths.pop_back();
    options.sources = std::move(paths);
    return options;
}
