// SPDX-License-Identifier: MIT
// Security modules of the kernel refuse what a process does: loading and attaching of loops, rings, and what a loop's requests
// ask for.
#include <ringstep/program.hpp>

#include "busy.hpp"
#include "child.hpp"
#include "ensure.hpp"
#include "loops/scripted.hpp"
#include "run_nops.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

using busy::Scripted;
using ringstep::Engine;
using ringstep::Error;
using ringstep::LoopExit;
using ringstep::RegionMemory;
using ringstep::Ring;

namespace {

/// A security module: a BPF program that refuses something to this process, for as long as this object exists. Its children are
/// other processes.
class Refusal {
public:
    /// `hook` is that of the kernel's security modules. If there is a `first`, the hook's first argument must be that.
    Refusal(const char* hook, std::optional<std::int32_t> first, int error) {
        const int target = libbpf_find_vmlinux_btf_id(hook, BPF_LSM_MAC);
        if (target < 0) return;
        const std::array instructions = {
            // r6 = the first argument
            bpf_insn{.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1, .off = 0, .imm = 0},
            bpf_insn{.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = BPF_FUNC_get_current_pid_tgid},
            bpf_insn{.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 32},
            // If this is another process, or the first argument is another one, go to the end, which allows the call.
            bpf_insn{.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 3, .imm = ::getpid()},
            first ? bpf_insn{.code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = BPF_REG_6, .src_reg = 0, .off = 2, .imm = *first}
                  : bpf_insn{.code = BPF_JMP | BPF_JA, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
            bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -error},
            bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
            bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
            bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
        };
        bpf_prog_load_opts options{};
        options.sz = sizeof options;
        options.expected_attach_type = BPF_LSM_MAC;
        options.attach_btf_id = static_cast<std::uint32_t>(target);
        program_ = ::bpf_prog_load(BPF_PROG_TYPE_LSM, "refusal", "GPL", instructions.data(), instructions.size(), &options);
        if (program_ >= 0) link_ = ::bpf_raw_tracepoint_open(nullptr, program_);
    }
    Refusal(const Refusal&) = delete;
    Refusal& operator=(const Refusal&) = delete;
    ~Refusal() {
        if (link_ >= 0) ::close(link_);
        if (program_ >= 0) ::close(program_);
    }
    [[nodiscard]] bool attached() const { return link_ >= 0; }

private:
    int program_ = -1;
    int link_ = -1;
};

/// Returns what becomes of a loop in a process to which something is refused, or an empty text if nothing can be refused here.
std::string run_refused(const char* hook, std::optional<std::int32_t> first, int error, const char* engine) {
    const Outcome outcome = in_child([&]() -> std::string {
        ::alarm(60);
        const Refusal refusal(hook, first, error);
        return refusal.attached() ? run_nops_with(engine) : "";
    });
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    return outcome.out;
}

}  // namespace

TEST_CASE("What a security module refuses before the start is named by the error, or by the reason for the user engine") {
    // Does this kernel have BPF programs among its security modules? They may exist without being asked.
    const Outcome asked = in_child([]() -> std::string {
        const Refusal refusal("bpf", BPF_BTF_GET_NEXT_ID, EACCES);
        std::uint32_t next = 0;
        return refusal.attached() && ::bpf_btf_get_next_id(0, &next) == -EACCES ? "yes" : "no";
    });
    if (asked.out != "yes") SKIP("BPF programs are no security module in this kernel");
    // In a child, because this process would keep what it has loaded, also for its children.
    if (in_child([] { return run_nops_with("kernel"); }).out != "kernel, stopped 0. ") SKIP("this kernel has no loops");
    const int error = GENERATE(EPERM, EACCES);
    const auto [command, tried] = GENERATE(std::pair<std::int32_t, const char*>{BPF_MAP_CREATE, "loading of loop"},
                                           std::pair<std::int32_t, const char*>{BPF_PROG_LOAD, "loading of loop"},
                                           std::pair<std::int32_t, const char*>{BPF_BTF_LOAD, "loading of loop"},
                                           std::pair<std::int32_t, const char*>{BPF_LINK_CREATE, "attaching of loop"});
    CAPTURE(error, command);
    const std::string wanted = run_refused("bpf", command, error, "kernel");
    INFO(wanted);
    CHECK(wanted.starts_with("threw " + std::to_string(error) + ": " + tried));
    CHECK(says(wanted, "security module"));
    const std::string any = run_refused("bpf", command, error, "");
    INFO(any);
    CHECK(any.starts_with("user, stopped 0. "));
    CHECK(says(any, tried));
    CHECK(says(any, "security module"));

    // Since Linux 6.15.
    const std::string ring = run_refused("uring_allowed", std::nullopt, error, "kernel");
    INFO(ring);
    if (!ring.empty()) {
        CHECK(ring.starts_with("threw " + std::to_string(error) + ": opening of a ring"));
        CHECK(says(ring, "security module"));
    }
}

namespace {

/// Lets this thread read files below one folder only, for the rest of its life.
bool restrict_to(const std::string& folder) {
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE;
    const auto rules = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
    if (rules < 0) return false;
    landlock_path_beneath_attr beneath{};
    beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
    beneath.parent_fd = ::open(folder.c_str(), O_PATH | O_CLOEXEC);
    ensure(beneath.parent_fd >= 0);
    ensure(::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0);
    ensure(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    ensure(::syscall(SYS_landlock_restrict_self, rules, 0) == 0);
    ::close(beneath.parent_fd);
    ::close(rules);
    return true;
}

}  // namespace

TEST_CASE("A file that Landlock forbids is refused to a loop's requests, and the others go on") {
    // The other test needs a process that has not loaded the loop yet, so only the child loads it.
    const Outcome outcome = in_child([]() -> std::string {
        ::alarm(60);
        std::string folder = "/tmp/ringstep-security-XXXXXX";
        ensure(::mkdtemp(folder.data()) != nullptr);
        for (const char* const part : {"/open", "/closed"}) {
            ensure(::mkdir((folder + part).c_str(), 0700) == 0);
            std::ofstream(folder + part + "/file") << "x";
        }
        const std::string open = folder + "/open/file";
        const std::string closed = folder + "/closed/file";
        Ring ring;
        ring.use_region(RegionMemory::allocate(busy::region_bytes));
        Scripted program(ring);
        for (unsigned i = 0; i < 4; i++) {
            io_uring_prep_openat(add_request(program.state()), AT_FDCWD, open.c_str(), O_RDONLY, 0);
            io_uring_prep_openat(add_request(program.state()), AT_FDCWD, closed.c_str(), O_RDONLY, 0);
        }
        add_nops(program.state(), 4);
        program.state()->wait = 1;
        program.state()->stop_at = 12;
        const bool restricted = restrict_to(folder + "/open");
        const LoopExit exit = program.run();
        std::string wrong;
        for (const scripted_record& record : records(program.state())) {
            const bool refused = record.user_data < 8 && record.user_data % 2 == 1;
            if (refused ? record.result != -EACCES : record.result < 0)
                wrong += " request " + std::to_string(record.user_data) + " has the result " + std::to_string(record.result);
            if (record.user_data < 8 && record.result >= 0) ::close(record.result);
        }
        std::filesystem::remove_all(folder);
        if (!restricted) return "not tried";
        return text_of(exit) + ", " + std::to_string(program.state()->recorded) + wrong + (ring.close() ? "" : ", not quiet");
    });
    if (outcome.out == "not tried") SKIP("this kernel has no Landlock");
    CHECK(outcome.err.empty());
    CHECK(outcome.out == "stopped 0, 12");
}
