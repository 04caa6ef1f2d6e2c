// SPDX-License-Identifier: MIT
// Tells whether loops can run in this kernel, for this user, and if not what to do about it.
//
// The JSON that --json prints, schema 1. Keys may be added to it; those that are there stay as they are.
//   schema       1
//   ringstep     version of this program
//   kernel       release of the kernel
//   loops        true: loops can run in the kernel
//   user_engine  true: io_uring can be used
//   status       the exit status: 0, 1 or 2
//   reason       id of the finding to mend first, or null
//   summary      the verdict, for a person
//   findings     list of {id, title, state: ok | missing | warning | unknown, needed_for: nothing | loops | ring, value,
//   explanation, advice}
#include <ringstep/support/format.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view exit_statuses = R"(Exit status:
  0  loops can run in this kernel
  1  they cannot, but io_uring can be used
  2  io_uring cannot be used
  64 wrong options)";

constexpr int wrong_options = 64;

std::string version() {
    return fmt::format("{}.{}.{}", RINGSTEP_VERSION_MAJOR, RINGSTEP_VERSION_MINOR, RINGSTEP_VERSION_PATCH);
}

int status_of(const ringstep::Support& support) {
    if (support.loops()) return 0;
    return support.user_engine() ? 1 : 2;
}

/// A JSON string. The kernel's texts are ASCII; whatever else there may be must not make the JSON invalid.
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
    std::string findings;
    for (const ringstep::Finding& finding : support.findings()) {
        findings += fmt::format(
            "{}\n    {{\"id\": {}, \"title\": {}, \"state\": {}, \"needed_for\": {}, \"value\": {}, \"explanation\": {}, "
            "\"advice\": {}}}",
            findings.empty() ? "" : ",", json_string(finding.id), json_string(finding.title),
            json_string(to_string(finding.state)), json_string(to_string(finding.needed_for)), json_string(finding.value),
            json_string(finding.explanation), json_string(finding.advice));
    }
    fmt::print(
        "{{\n  \"schema\": 1,\n  \"ringstep\": {},\n  \"kernel\": {},\n  \"loops\": {},\n  \"user_engine\": {},\n  \"status\": "
        "{},\n"
        "  \"reason\": {},\n  \"summary\": {},\n  \"findings\": [{}\n  ]\n}}\n",
        json_string(version()), json_string(support.facts().release), support.loops(), support.user_engine(),
        status_of(support), reason != nullptr ? json_string(reason->id) : "null", json_string(support.summary()), findings);
}

/// How to print for a person.
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

    /// Text in lines of at most `width` columns. All lines but the first start with `indent` spaces.
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

void print_text(const ringstep::Support& support, bool explain) {
    using enum ringstep::FindingState;
    constexpr std::size_t indent = 11;  // of what stands below a title
    const Style style = Style::of_stdout();
    std::size_t title_width = 0;
    for (const ringstep::Finding& finding : support.findings()) title_width = std::max(title_width, finding.title.size());

    fmt::print("ringstep-check {} on Linux {}\n\n", version(), support.facts().release);
    for (const ringstep::Finding& finding : support.findings()) {
        // Padded before it is painted: escape sequences have no width.
        const std::string state = style.paint(finding.state, fmt::format("{:<9}", to_string(finding.state)));
        const std::size_t value_column = indent + title_width + 2;
        fmt::print("  {}{:<{}}  {}\n", state, finding.title, title_width,
                   style.wrap(finding.value, value_column, value_column));
        if (explain) {
            fmt::print("{:{}}{}\n", "", indent,
                       style.wrap(fmt::format("[{}] {}", finding.id, finding.explanation), indent, indent));
        }
        if (!finding.advice.empty() && (explain || finding.state != unknown)) {
            fmt::print("{:{}}{}\n", "", indent, style.wrap("-> " + finding.advice, indent + 3, indent));
        }
        if (explain) fmt::print("\n");
    }
    if (!explain) fmt::print("\n");
    fmt::print("{}\n", style.paint(support.loops() ? ok : missing, style.wrap(support.summary(), 0, 0)));
}

}  // namespace

int main(int argc, char** argv) {
    bool json = false;
    bool explain = false;
    CLI::App app{"Tells whether ringstep's loops can run in this kernel for this user, and if not what to do about it.",
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

    const ringstep::Support support = ringstep::probe();
    if (json) {
        print_json(support);
    } else {
        print_text(support, explain);
    }
    return status_of(support);
}
