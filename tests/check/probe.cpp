// SPDX-License-Identifier: MIT
// The real probe, against what in fact happens in this kernel.
#include "child.hpp"
#include "thorough.hpp"

#include <ringstep/loops/nop_chain.hpp>
#include <ringstep/ringstep.hpp>
#include <check/format.hpp>

#include <catch2/catch_test_macros.hpp>

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace ringstep;

namespace {

/// A virtual machine: things may be changed that are the whole system's.
const bool in_vm = std::getenv("RINGSTEP_VM_KERNEL") != nullptr;
const bool is_root = ::geteuid() == 0;

/// A probe loads programs, which takes an emulated processor a second. There, what the kernel has no part in is tried less
/// often.
const bool all = !in_vm || rounds(0, 1) != 0;
int times(int usual) { return all ? usual : 2; }

/// Found without the library's help.
bool kernel_has_loops() {
    static const bool found = [] {
        std::ifstream file("/sys/kernel/btf/vmlinux", std::ios::binary);
        std::string types(std::size_t{64} << 20, '\0');  // in one piece: byte by byte takes seconds under emulation
        file.read(types.data(), static_cast<std::streamsize>(types.size()));
        types.resize(static_cast<std::size_t>(file.gcount()));
        return types.find(std::string_view("\0io_uring_bpf_ops\0", 18)) != std::string::npos;
    }();
    return found;
}

std::string_view name_of(std::optional<Engine> engine) {
    return !engine ? "none" : *engine == Engine::kernel ? "kernel" : "user";
}

std::string verdict(const Support& support) {
    const Finding* reason = support.reason();
    return fmt::format("{} {}", name_of(support.engine()), reason == nullptr ? "-" : reason->id);
}

/// What in fact can be done: "kernel", "user" or "none".
std::string reality() {
    try {
        Ring ring;
        try {
            LoopProgram<loops::nop_chain> chain{ring};
            chain.state()->total = 3;
            chain.state()->depth = 1;
            if (!chain.run().ok()) return "a loop that does not run";
            return chain.engine() == ringstep::Engine::kernel ? "kernel" : "user";
        } catch (const Error&) {
            return "user";
        }
    } catch (const Error&) {
        return "none";
    }
}

/// In a child that `prepare` has changed: the verdict, and whether it is true.
template <class F>
std::string checked_verdict(F&& prepare) {
    const Outcome outcome = in_child([&]() -> std::string {
        if (!prepare()) return "could not be prepared";
        std::string said = verdict(probe());
        const std::string is = reality();
        return said.starts_with(is + ' ') ? said : said + ", but in fact " + is;
    });
    CHECK(outcome.err.empty());
    CHECK(outcome.status == 0);
    return outcome.out;
}

std::string text_of(const Support& support) {
    std::string text;
    for (const Finding& finding : support.findings()) text += fmt::format("{}: {}\n", finding.id, finding);
    return text;
}

std::size_t open_files() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// Writes a sysctl, and what was in it again at the end.
class Sysctl {
public:
    Sysctl(std::string path, std::string_view value) : path_("/proc/sys/" + std::move(path)) {
        std::getline(std::ifstream(path_), before_);
        std::ofstream(path_) << value << std::flush;
    }
    Sysctl(const Sysctl&) = delete;
    Sysctl& operator=(const Sysctl&) = delete;
    ~Sysctl() { std::ofstream(path_) << before_ << std::flush; }

private:
    std::string path_;
    std::string before_;
};

const std::string with_loops = kernel_has_loops() && is_root ? "kernel -"
                               : kernel_has_loops()          ? "user process.capabilities"
                                                             : "user btf.io_uring_bpf_ops";
const std::string without_capabilities = kernel_has_loops() ? "user process.capabilities" : "user btf.io_uring_bpf_ops";

bool kernel_has_regions() { return kernel_has_loops() || probe().facts().version >= support::KernelVersion{6, 13, 0}; }

}  // namespace

TEST_CASE("The verdict is that of this kernel, and it is true", "[user][main]") {
    const Support support = probe();
    INFO(text_of(support));
    CHECK(verdict(support) == with_loops);
    CHECK(checked_verdict([] { return true; }) == with_loops);
    if (support.kernel_engine()) {
        CHECK(support.find("program.load")->state == FindingState::ok);
        CHECK(support.find("btf.iou_loop_params")->value.starts_with("cq_wait_idx"));
    }
    // A kernel that is called one with loops has them: by its version, or because it is one of kernel/.
    const char* kernel = std::getenv("RINGSTEP_VM_KERNEL");
    const auto version = support::parse_version(kernel == nullptr ? "" : kernel);
    const bool patched = version && std::string_view(kernel).find("-ringstep") != std::string_view::npos;
    if (version) CHECK(kernel_has_loops() == (patched || *version >= support::KernelVersion{7, 1, 0}));
    if (version) {
        CHECK(support.facts().version.major == version->major);
        CHECK(support.facts().version.minor == version->minor);
        CHECK(support.facts().version >= *version);  // Debian 12's release has no point release in it
    }
    if (version)
        CHECK(support.find("fault.socket_commands")->state ==
              (kernel_has_loops() && !patched && *version < support::KernelVersion{7, 3, 0} ? FindingState::warning
                                                                                            : FindingState::ok));
}

TEST_CASE("The same answer every time, and from every thread") {
    for (int i = 0; i < times(5); i++) CHECK(verdict(probe()) == with_loops);
    std::vector<std::string> verdicts(static_cast<std::size_t>(times(4)));
    {
        std::vector<std::jthread> threads;
        for (std::string& one : verdicts) threads.emplace_back([&one] { one = verdict(probe()); });
    }
    for (const std::string& one : verdicts) CHECK(one == with_loops);
}

TEST_CASE("The trial ring is opened as a Ring is") {
    const Ring ring;
    const Support support = probe();
    CHECK(support.facts().sq_rewind == ring.geometry().rewinds());
    unsigned flags = support::detail::ring_flags;
    if (support.facts().no_sqarray) flags |= IORING_SETUP_NO_SQARRAY;
    if (support.facts().sq_rewind) flags |= ringstep::detail::setup_sq_rewind;
    CHECK(flags == ring.geometry().setup_flags);
}

TEST_CASE("Nothing stays open, nothing is printed, no child is left", "[main]") {
    const Outcome outcome = in_child([]() -> std::string {
        (void)probe();
        const std::size_t before = open_files();
        for (int i = 0; i < times(3); i++) (void)probe();
        const std::size_t after = open_files();
        if (!forbid(__NR_quotactl, SECCOMP_RET_ERRNO | EPERM)) return "no filter";
        for (int i = 0; i < times(3); i++) (void)probe();
        const bool child = ::waitpid(-1, nullptr, __WALL | WNOHANG) >= 0;
        return std::to_string(after - before) + ' ' + std::to_string(open_files() - before) + (child ? " children" : "");
    });
    CHECK(outcome.out == "0 0");
    CHECK(outcome.err.empty());
}

TEST_CASE("Capabilities: none is not enough, CAP_BPF with CAP_PERFMON is", "[main]") {
    if (!is_root) SKIP("not root");
    CHECK(checked_verdict([] { return keep_only({}); }) == without_capabilities);
    CHECK(checked_verdict([] { return keep_only({CAP_BPF}); }) == without_capabilities);
    CHECK(checked_verdict([] { return keep_only({CAP_PERFMON}); }) == without_capabilities);
    CHECK(checked_verdict([] { return keep_only({CAP_BPF, CAP_PERFMON}); }) == with_loops);
    CHECK(checked_verdict([] { return keep_only({CAP_SYS_ADMIN}); }) == with_loops);
}

TEST_CASE("Capabilities of one's own user namespace are worth nothing", "[user]") {
    const std::string found = checked_verdict([] { return ::unshare(CLONE_NEWUSER) == 0; });
    if (found == "could not be prepared") SKIP("no user namespaces here");
    CHECK(found == (kernel_has_loops() ? "user process.user_namespace" : "user btf.io_uring_bpf_ops"));
}

TEST_CASE("Loading takes capabilities; running, waiting and taking off do not", "[main]") {
    if (!is_root || !kernel_has_loops()) SKIP("needs root of a kernel with loops");
    const Outcome outcome = in_child([]() -> std::string {
        Ring ring;
        LoopProgram<loops::nop_chain> chain{ring};
        if (chain.engine() != ringstep::Engine::kernel) return "not in the kernel";
        if (!keep_only({})) return "could not be dropped";
        chain.state()->total = 1000;
        chain.state()->depth = 2;
        const LoopExit exit = chain.run();
        chain.detach();
        io_uring_prep_nop(ring.sq().claim());
        return fmt::format("{} {} {}", exit.ok(), exit.completions, ring.submit_and_wait(1).count);
    });
    CHECK(outcome.out == "true 1000 1");
    CHECK(outcome.status == 0);
}

#ifdef RINGSTEP_WITH_BPF_TOKEN_PROGRAM
TEST_CASE("(The verdict in the namespace that the next one makes)", "[.in-token]") {
    CHECK(checked_verdict([] { return true; }) == std::getenv("RINGSTEP_EXPECTED_VERDICT"));
}

TEST_CASE("A BPF token makes capabilities of one's own user namespace count") {
    if (!in_vm || !is_root || !kernel_has_loops()) SKIP("needs root of a kernel with loops");
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    const auto with_token = [&](const std::vector<std::string>& options, const std::string& expected) {
        std::vector<std::string> command = {RINGSTEP_WITH_BPF_TOKEN_PROGRAM};
        command.insert(command.end(), options.begin(), options.end());
        for (const std::string& word :
             {std::string("env"), "RINGSTEP_EXPECTED_VERDICT=" + expected, self, std::string("[.in-token]")})
            command.push_back(word);
        const Outcome outcome = run_program(command);
        INFO(outcome.out << outcome.err);
        CHECK(outcome.status == 0);
    };
    with_token({}, "kernel -");
    // Less than that is not enough, and the probe says so. What else can be too little, parse.cpp goes through.
    with_token({"delegate_cmds=any", "delegate_maps=struct_ops", "delegate_progs=any", "delegate_attachs=any"},
               "user process.bpf_token");
    with_token({"delegate_cmds=any", "delegate_maps=any", "delegate_progs=any"}, "user process.user_namespace");
    with_token({"env", "LIBBPF_BPF_TOKEN_PATH="}, "user process.user_namespace");
}
#endif

TEST_CASE("A seccomp filter that forbids a call is found, whatever it answers with") {
    for (const std::uint32_t action : {SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | ENOSYS}) {
        CHECK(checked_verdict([=] { return forbid(__NR_io_uring_setup, action); }) == "none syscall.io_uring");
    }
    CHECK(checked_verdict([] { return forbid(__NR_bpf, SECCOMP_RET_ERRNO | EPERM); }) ==
          (with_loops == "kernel -" ? "user syscall.bpf" : with_loops));
    CHECK(checked_verdict([] { return forbid(__NR_quotactl, SECCOMP_RET_ERRNO | EPERM); }) == with_loops);
}

TEST_CASE("A seccomp filter that kills, kills no one who probes") {
    const auto killed = [](int call, std::uint32_t action) {
        const Outcome outcome = in_child([=]() -> std::string {
            if (!forbid(call, action)) return "no filter";
            const Support support = probe();
            const Finding* seccomp = support.find("process.seccomp");
            const Finding* answered = support.find(call == __NR_bpf ? "syscall.bpf" : "syscall.io_uring");
            const bool right = seccomp->state == FindingState::warning && answered->state == FindingState::missing &&
                               !support.kernel_engine() && support.user_engine() == (call == __NR_bpf) &&
                               answered->value.ends_with("is answered with signal " + std::to_string(SIGSYS));
            return right ? "right" : text_of(support);
        });
        CHECK(outcome.out == "right");
        CHECK(outcome.status == 0);
    };
    killed(__NR_io_uring_enter, SECCOMP_RET_KILL_PROCESS);
    killed(__NR_bpf, SECCOMP_RET_KILL_PROCESS);
    killed(__NR_io_uring_setup, SECCOMP_RET_TRAP);
    if (!all) return;
    killed(__NR_io_uring_setup, SECCOMP_RET_KILL_PROCESS);
    killed(__NR_io_uring_register, SECCOMP_RET_KILL_PROCESS);
    killed(__NR_io_uring_setup, SECCOMP_RET_KILL_THREAD);
}

TEST_CASE("kernel.io_uring_disabled is found and explained", "[main]") {
    if (!in_vm || !is_root) SKIP("would change this machine");
    if (!std::filesystem::exists("/proc/sys/kernel/io_uring_disabled")) SKIP("needs Linux 6.6");
    const auto ordinary = [] { return keep_only({}); };
    {
        const Sysctl disabled("kernel/io_uring_disabled", "1");
        CHECK(checked_verdict([] { return true; }) == with_loops);
        CHECK(checked_verdict(ordinary) == "none sysctl.io_uring_disabled");
        const Sysctl group("kernel/io_uring_group", "4321");
        CHECK(checked_verdict(ordinary) == "none sysctl.io_uring_disabled");
        const auto member = [&] {
            const gid_t groups[] = {99, 4321};
            return ::setgroups(2, groups) == 0 && keep_only({});
        };
        CHECK(checked_verdict(member) == without_capabilities);
        CHECK(checked_verdict([&] { return ::setegid(4321) == 0 && keep_only({}); }) == without_capabilities);
    }
    {
        const Sysctl disabled("kernel/io_uring_disabled", "2");
        CHECK(checked_verdict([] { return true; }) == "none sysctl.io_uring_disabled");
    }
    CHECK(verdict(probe()) == with_loops);
}

TEST_CASE("A process that may lock too little memory is told so") {
    if (!is_root || !kernel_has_regions()) SKIP("needs root to begin with, and a kernel with memory regions");
    const auto with_pages = [](unsigned pages) {
        return in_child([pages]() -> std::string {
            const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
            const rlimit limit{bytes, bytes};
            if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || !keep_only({CAP_BPF, CAP_PERFMON})) return "could not be prepared";
            const Support support = probe();
            const Finding* short_of = support.find("ring.open")->state == FindingState::missing ? support.find("ring.open")
                                                                                                : support.find("ring.region");
            return fmt::format("{}, {}, {}", short_of->state, short_of->value, support.find("limit.memlock")->state);
        });
    };
    // Kernels differ in what counts: the region does, rings do in most.
    CHECK(with_pages(0).out == "missing, refused with ENOMEM, warning");
}

TEST_CASE("Not even a file descriptor to spare: a verdict all the same") {
    const Outcome outcome = in_child([]() -> std::string {
        const rlimit three{3, 3};
        if (::setrlimit(RLIMIT_NOFILE, &three) != 0) return "could not be prepared";
        const Support support = probe();
        return fmt::format("{}: {}", verdict(support), support.find("ring.open")->value);
    });
    CHECK(outcome.out == "none ring.open: refused with EMFILE");
}

TEST_CASE("The lockdown mode is read where security files are mounted") {
    if (!in_vm || !is_root) SKIP("would change this machine");
    if (::mount("securityfs", "/sys/kernel/security", "securityfs", 0, nullptr) != 0) SKIP("this kernel has no security files");
    const Support support = probe();
    const bool there = std::filesystem::exists("/sys/kernel/security/lockdown");
    ::umount("/sys/kernel/security");
    CHECK(support.find("kernel.lockdown")->value == (there ? "none" : "not readable"));
}
