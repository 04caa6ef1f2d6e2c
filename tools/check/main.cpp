// SPDX-License-Identifier: MIT
// Shows which engine runs this user's loops on this machine: the kernel or user space. If it is not the kernel, shows what to
// do.
//
// --json prints JSON with schema 1. Later versions may add keys, but do not change these:
//   schema       1
//   ringstep     version of this program
//   kernel       release of the kernel
//   engine       "kernel" | "user" | null: the engine that Engine::automatic takes; null if io_uring cannot be used
//   loops        true: loops can run in the kernel
//   user_engine  true: loops can run in user space, because io_uring can be used
//   status       the exit status: 0, 1 or 2
//   reason       id of the problem to fix first so that loops run in the kernel, or null
//   kernel_engine_lacks  ids of all findings that keep loops from running in the kernel, in the order in which to fix them
//   summary      the verdict, as a text for people
//   findings     list of {id, title, state: ok | missing | warning | unknown, needed_for: nothing | loops (the kernel engine) |
//                ring (both engines), value, explanation, advice}
#include <check/format.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "../../examples/common/program.hpp"
#include "compressed_config.hpp"

namespace {

constexpr std::string_view exit_statuses = R"(Exit status:
  0  loops run in the kernel
  1  loops run in user space
  2  neither: io_uring cannot be used
  3  it could not be found out: an error of ringstep-check's own
  4  the output could not be written
  64 wrong options)";

constexpr int not_found_out = 3;
constexpr int wrong_options = 64;

std::string version() {
    return fmt::format("{}.{}.{}", RINGSTEP_VERSION_MAJOR, RINGSTEP_VERSION_MINOR, RINGSTEP_VERSION_PATCH);
}

int status_of(const ringstep::Support& support) {
    if (!support.engine()) return 2;
    return *support.engine() == ringstep::Engine::kernel ? 0 : 1;
}

/// Returns a text as a JSON string. The kernel's texts are ASCII; other characters must not make the JSON invalid.
std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (const char character : text) {
        const auto byte = static_cast<unsigned char>(character);
        switch (character) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\t': out += "\\t"; break;
            default:
                if (byte < 0x20 || byte == 0x7f) {
                    out += fmt::format("\\u{:04x}", byte);
                } else if (byte > 0x7f) {
                    out += "\\ufffd";
                } else {
                    out += character;
                }
        }
    }
    return out + '"';
}

void print_json(const ringstep::Support& support) {
    const ringstep::Finding* reason = support.reason();
    const std::array<std::string_view, 3> engines = {"\"kernel\"", "\"user\"", "null"};  // by status
    std::string findings;
    std::string lacks;
    for (const ringstep::Finding& finding : support.findings()) {
        findings += fmt::format(
            "{}\n    {{\"id\": {}, \"title\": {}, \"state\": {}, \"needed_for\": {}, \"value\": {}, \"explanation\": {}, "
            "\"advice\": {}}}",
            findings.empty() ? "" : ",", json_string(finding.id), json_string(finding.title),
            json_string(to_string(finding.state)), json_string(to_string(finding.needed_for)), json_string(finding.value),
            json_string(finding.explanation), json_string(finding.advice));
        if (finding.prevents_loops()) lacks += (lacks.empty() ? "" : ", ") + json_string(finding.id);
    }
    const int status = status_of(support);
    fmt::print(
        "{{\n  \"schema\": 1,\n  \"ringstep\": {},\n  \"kernel\": {},\n  \"engine\": {},\n  \"loops\": {},\n"
        "  \"user_engine\": {},\n  \"status\": {},\n  \"reason\": {},\n  \"kernel_engine_lacks\": [{}],\n"
        "  \"summary\": {},\n  \"findings\": [{}\n  ]\n}}\n",
        json_string(version()), json_string(support.facts().release), engines[static_cast<std::size_t>(status)],
        support.kernel_engine(), support.user_engine(), status, reason != nullptr ? json_string(reason->id) : "null", lacks,
        json_string(support.summary()), findings);
}

/// Settings for output for people.
struct Style {
    bool colour = false;
    std::size_t width = 100;

    static Style of_stdout() {
        Style style;
        const bool terminal = ::isatty(STDOUT_FILENO) == 1;
        const char* no_colour = std::getenv("NO_COLOR");
        style.colour = terminal && (no_colour == nullptr || *no_colour == '\0');
        winsize size{};
        if (terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
            style.width = std::clamp<std::size_t>(size.ws_col, 60, 120);
        }
        return style;
    }

    [[nodiscard]] std::string paint(ringstep::FindingState state, std::string_view text) const {
        using enum ringstep::FindingState;
        if (!colour) return std::string(text);
        const std::string_view code = state == ok ? "32" : state == missing ? "1;31" : state == warning ? "33" : "2";
        return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
    }

    /// Returns a text in lines of at most `width` columns. All lines but the first start with `indent` spaces.
    [[nodiscard]] std::string wrap(std::string_view text, std::size_t indent, std::size_t column) const {
        std::string out;
        bool line_is_empty = true;
        while (!text.empty()) {
            const std::string_view word = text.substr(0, text.find_first_of(" \n"));
            text.remove_prefix(std::min(word.size() + 1, text.size()));
            if (!line_is_empty && column + 1 + word.size() > width) {
                out += '\n' + std::string(indent, ' ');
                column = indent;
                line_is_empty = true;
            }
            if (!line_is_empty) {
                out += ' ';
                column++;
            }
            out += word;
            column += word.size();
            line_is_empty = false;
        }
        return out;
    }
};

std::string_view engines_that_need(const ringstep::Finding& finding) {
    switch (finding.needed_for) {
        case ringstep::NeededFor::nothing: return "Decides nothing by itself.";
        case ringstep::NeededFor::loops: return "Needed by the kernel engine.";
        case ringstep::NeededFor::ring: return "Needed by both engines.";
    }
    return {};
}

// Prints whether each engine works, and which one is taken.
void print_engines(const ringstep::Support& support, const Style& style, std::size_t indent) {
    using enum ringstep::FindingState;
    std::string lacks;
    for (const ringstep::Finding& finding : support.findings()) {
        if (!finding.prevents_loops()) continue;
        lacks += fmt::format("{}{}", lacks.empty() ? "" : ", ", finding.title);
    }
    const auto line = [&](bool works, std::string_view engine, std::string_view text) {
        fmt::print("  {}{:<8}{}\n", style.paint(works ? ok : missing, works ? "works    " : "cannot   "), engine,
                   style.wrap(text, indent + 8, indent + 8));
    };
    fmt::print("Engines (Engine::automatic takes the first that works):\n");
    line(support.kernel_engine(), "kernel",
         support.kernel_engine() ? "loops run inside io_uring_enter" : "to be mended, in this order: " + lacks);
    line(support.user_engine(), "user",
         support.user_engine() ? "loops run in this process, around io_uring_enter; no privileges needed"
                               : "rings cannot be opened");
    fmt::print("\n");
}

void print_text(const ringstep::Support& support, bool explain) {
    using enum ringstep::FindingState;
    constexpr std::size_t indent = 11;  // of the lines below a title
    const Style style = Style::of_stdout();
    std::size_t title_width = 0;
    for (const ringstep::Finding& finding : support.findings()) title_width = std::max(title_width, finding.title.size());

    fmt::print("ringstep-check {} on Linux {}\n\n", version(), support.facts().release);
    for (const ringstep::Finding& finding : support.findings()) {
        // The text is padded before it is colored, because escape sequences have no width.
        const std::string state = style.paint(finding.state, fmt::format("{:<9}", to_string(finding.state)));
        const std::size_t value_column = indent + title_width + 2;
        fmt::print("  {}{:<{}}  {}\n", state, finding.title, title_width,
                   style.wrap(finding.value, value_column, value_column));
        if (explain) {
            fmt::print("{:{}}{}\n", "", indent,
                       style.wrap(fmt::format("[{}] {} {}", finding.id, finding.explanation, engines_that_need(finding)),
                                  indent, indent));
        }
        if (!finding.advice.empty() && (explain || finding.state != unknown)) {
            fmt::print("{:{}}{}\n", "", indent, style.wrap("-> " + finding.advice, indent + 3, indent));
        }
        if (explain) fmt::print("\n");
    }
    if (!explain) fmt::print("\n");
    print_engines(support, style, indent);
    const ringstep::FindingState verdict = support.kernel_engine() ? ok : support.user_engine() ? warning : missing;
    fmt::print("{}\n", style.paint(verdict, style.wrap(support.summary(), 0, 0)));
}

int run(int argc, char** argv) {
    bool json = false;
    bool explain = false;
    CLI::App app{
        "Tells whether ringstep's loops run in the kernel or in user space here, for this user, and what it takes for "
        "them to run in the kernel.",
        "ringstep-check"};
    app.set_version_flag("--version", "ringstep-check " + version());
    auto* const json_flag = app.add_flag("--json", json, "Print JSON, for a script");
    app.add_flag("--explain", explain, "Say of each finding what it is about")->excludes(json_flag);
    app.footer(std::string(exit_statuses));
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : wrong_options;
    }

    ringstep::support::Facts facts = ringstep::support::collect();
    add_compressed_config(facts);
    const ringstep::Support support(std::move(facts));
    if (json) {
        print_json(support);
    } else {
        print_text(support, explain);
    }
    return status_of(support);
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("ringstep-check", [&] { return run(argc, argv); }, not_found_out);
}
