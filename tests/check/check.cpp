// SPDX-License-Identifier: MIT
// ringstep-check, as a command.
#include "child.hpp"

#include <check/format.hpp>

#include <catch2/catch_test_macros.hpp>

#include <pty.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

using namespace ringstep;

namespace {

const std::string program = RINGSTEP_CHECK_PROGRAM;

bool says(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

int expected_status(const Support& support) { return support.kernel_engine() ? 0 : support.user_engine() ? 1 : 2; }

/// What Python makes of a JSON text: the value of an expression about it, `d`.
std::string python(const std::string& json, const std::string& expression) {
    std::string path = "/tmp/ringstep-check.XXXXXX";
    const int fd = ::mkstemp(path.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::ofstream(path, std::ios::binary) << json;
    const std::string code =
        "import json, sys; d = json.load(open(sys.argv[1], encoding='utf-8')); f = {i['id']: i for i in d['findings']}; "
        "print(ascii(" +
        expression + "), end='')";
    const Outcome outcome = run_program({"python3", "-c", code, path});
    ::unlink(path.c_str());
    INFO(json);
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    return outcome.out;
}

/// What it prints to a terminal of so many columns.
std::string on_terminal(unsigned short columns, const char* no_colour) {
    int terminal = -1;
    winsize size{};
    size.ws_col = columns;
    size.ws_row = 24;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
    if (child == 0) {
        no_colour == nullptr ? ::unsetenv("NO_COLOR") : ::setenv("NO_COLOR", no_colour, 1);
        ::execl(program.c_str(), program.c_str(), nullptr);
        ::_exit(127);
    }
    if (child < 0) return {};
    std::string text;
    std::array<char, 4096> block;
    for (ssize_t count; (count = ::read(terminal, block.data(), block.size())) > 0;)
        text.append(block.data(), static_cast<std::size_t>(count));
    ::close(terminal);
    ::waitpid(child, nullptr, 0);
    return text;
}

}  // namespace

TEST_CASE("A configuration that is only in /proc/config.gz is read", "[user]") {
    const Support support = probe();
    if (support.facts().config.readable() || !support.facts().config.compressed_only) SKIP("it is elsewhere here, or nowhere");
    if (run_program({"gzip", "--version"}).status != 0) SKIP("there is no gzip");
    const std::string state = python(run_program({program, "--json"}).out, "f['config.io_uring']['state']");
    CHECK(state == "'ok'");
}

TEST_CASE("The exit status is the verdict, which is the last thing printed", "[user]") {
    const Outcome outcome = run_program({program});
    const Support support = probe();
    CHECK(outcome.status == expected_status(support));
    CHECK(outcome.err.empty());
    CHECK_FALSE(says(outcome.out, "\x1b"));
    for (const Finding& finding : support.findings()) CHECK(says(outcome.out, finding.title));
    const auto last = outcome.out.rfind("\n\n");
    REQUIRE(last != std::string::npos);
    CHECK(says(outcome.out.substr(last), support.kernel_engine() ? "Loops run in the kernel here."
                                                                 : "Loops run in user space here, not in the kernel: "));
    // Both engines, each on a line.
    CHECK(says(outcome.out, support.kernel_engine() ? "\n  works    kernel  " : "\n  cannot   kernel  "));
    CHECK(says(outcome.out, support.user_engine() ? "\n  works    user    " : "\n  cannot   user    "));
    if (!support.kernel_engine()) CHECK(says(outcome.out, "in this order: " + std::string(support.reason()->title)));
}

TEST_CASE("--json is JSON, with the keys that scripts rely on") {
    const Outcome outcome = run_program({program, "--json"});
    const Support support = probe();
    CHECK(outcome.status == expected_status(support));
    CHECK(outcome.err.empty());
    // One expression: Python takes its time to start in a virtual machine.
    const std::string found = python(
        outcome.out,
        "(list(d), set(map(lambda i: tuple(i), d['findings'])), len(d['findings']), d['schema'], d['engine'], d['loops'], "
        "d['user_engine'], d['status'], d['reason'], (d['kernel_engine_lacks'] or [None])[0], "
        "d['kernel_engine_lacks'] == [i['id'] for i in d['findings'] if i['state'] == 'missing' and "
        "i['needed_for'] != 'nothing'])");
    const std::string reason = support.reason() == nullptr ? "None" : fmt::format("'{}'", support.reason()->id);
    CHECK(found ==
          fmt::format(
              "(['schema', 'ringstep', 'kernel', 'engine', 'loops', 'user_engine', 'status', 'reason', "
              "'kernel_engine_lacks', 'summary', 'findings'], "
              "{{('id', 'title', 'state', 'needed_for', 'value', 'explanation', 'advice')}}, {}, 1, {}, {}, {}, {}, {}, {}, "
              "True)",
              support.findings().size(), support.kernel_engine() ? "'kernel'" : "'user'",
              support.kernel_engine() ? "True" : "False", support.user_engine() ? "True" : "False", expected_status(support),
              reason, reason));
}

TEST_CASE("Whatever the system's files hold, --json is JSON") {
    const Outcome outcome = run_program({program, "--json"}, [] {
        const std::string config = "/boot/config-" + support::collect().release;
        // In namespaces of its own, with a /boot of its own.
        if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("boot", "/boot", "tmpfs", 0, nullptr) != 0) {
            ::_exit(77);
        }
        std::ofstream(config) << "CONFIG_IO_URING=\"a\\b\tc\x01\x7f\xc3\xa9\"\n";
    });
    if (outcome.status == 77) SKIP("no mount namespaces here");
    CHECK(python(outcome.out, "f['config.io_uring']['value']") == R"('"a\\b\tc\x01\x7f\ufffd\ufffd"')");
}

TEST_CASE("Without capabilities, and with io_uring forbidden") {
    if (::geteuid() == 0) {
        const Outcome ordinary = run_program({program}, [] {
            if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(126);
        });
        CHECK(ordinary.status == 1);
        CHECK(says(ordinary.out, "neither CAP_BPF nor CAP_PERFMON"));
    }
    const Outcome forbidden = run_program({program, "--json"}, [] {
        if (!forbid(__NR_io_uring_setup, SECCOMP_RET_ERRNO | EPERM)) ::_exit(126);
    });
    CHECK(forbidden.status == 2);
    CHECK(
        python(forbidden.out,
               "(d['reason'], d['engine'], d['user_engine'], f['process.seccomp']['state'], f['syscall.io_uring']['value'])") ==
        "('syscall.io_uring', None, False, 'warning', 'io_uring_setup is answered with EPERM')");
}

TEST_CASE("--explain tells of every finding, by its id") {
    const Outcome outcome = run_program({program, "--explain"});
    const Support support = probe();
    CHECK(outcome.status == expected_status(support));
    for (const Finding& finding : support.findings()) CHECK(says(outcome.out, fmt::format("[{}]", finding.id)));
    std::size_t start = 0;
    while (start < outcome.out.size()) {
        const std::size_t end = outcome.out.find('\n', start);
        CHECK(end - start <= 100);
        start = end + 1;
    }
}

TEST_CASE("Help, version, and options that there are not") {
    const Outcome help = run_program({program, "--help"});
    CHECK(help.status == 0);
    CHECK(says(help.out, "Exit status:"));
    for (const char* option : {"--json", "--explain", "--version"}) CHECK(says(help.out, option));
    const Outcome version = run_program({program, "--version"});
    CHECK(version.status == 0);
    CHECK(version.out ==
          fmt::format("ringstep-check {}.{}.{}\n", RINGSTEP_VERSION_MAJOR, RINGSTEP_VERSION_MINOR, RINGSTEP_VERSION_PATCH));
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--jsn"}, {"file"}, {"--json", "--explain"}}) {
        std::vector<std::string> command = {program};
        command.insert(command.end(), wrong.begin(), wrong.end());
        const Outcome outcome = run_program(command);
        CHECK(outcome.status == 64);
        CHECK(outcome.out.empty());
        CHECK_FALSE(outcome.err.empty());
    }
}

TEST_CASE("Colours on a terminal only, and not against NO_COLOR") {
    const std::string coloured = on_terminal(80, nullptr);
    if (coloured.empty()) SKIP("no terminals here");
    CHECK(says(coloured, "\x1b[32mok"));
    CHECK(says(on_terminal(80, ""), "\x1b[32mok"));
    const std::string plain = on_terminal(80, "1");
    CHECK(says(plain, "ok"));
    CHECK_FALSE(says(plain, "\x1b"));
}
