// SPDX-License-Identifier: MIT
// Every finding and both verdicts, from made-up facts.
#include "made_up.hpp"

#include <check/format.hpp>

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <set>
#include <string>
#include <string_view>

using namespace ringstep;
using enum FindingState;
using support::Capability;
using support::ConfigOption;
using support::Facts;

namespace {

template <class F>
Support with(F&& change) {
    Facts facts = all_well();
    change(facts);
    return Support(facts);
}

const Finding& finding(const Support& support, std::string_view id) {
    const Finding* found = support.find(id);
    INFO(id);
    REQUIRE(found != nullptr);
    return *found;
}

bool says(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// Why loops cannot run in the kernel.
std::string_view reason(const Support& support) { return support.reason() == nullptr ? "" : support.reason()->id; }

/// Loops cannot run in the kernel because of this, and can in user space.
void check_prevents_loops(const Support& support, std::string_view id, std::string_view advice) {
    INFO(id);
    CHECK_FALSE(support.kernel_engine());
    CHECK(support.user_engine());
    CHECK(support.engine() == Engine::user);
    CHECK(reason(support) == id);
    CHECK(finding(support, id).state == missing);
    CHECK(says(finding(support, id).advice, advice));
    CHECK(support.summary().starts_with("Loops run in user space here, not in the kernel: "));
    CHECK(says(support.summary(), advice));
}

void check_prevents_rings(const Support& support, std::string_view id, std::string_view advice) {
    INFO(id);
    CHECK_FALSE(support.kernel_engine());
    CHECK_FALSE(support.user_engine());
    CHECK(support.engine() == std::nullopt);
    CHECK(reason(support) == id);
    CHECK(finding(support, id).state == missing);
    CHECK(says(finding(support, id).advice, advice));
    CHECK(support.summary().starts_with("io_uring cannot be used here: "));
}

/// Worth knowing, and no more.
void check_warns(const Support& support, std::string_view id, std::string_view advice) {
    INFO(id);
    CHECK(support.kernel_engine());
    CHECK(finding(support, id).state == warning);
    CHECK(says(finding(support, id).advice, advice));
}

}  // namespace

TEST_CASE("Where all is well, every finding says so") {
    const Support support = with([](Facts&) {});
    CHECK(support.kernel_engine());
    CHECK(support.user_engine());
    CHECK(support.engine() == Engine::kernel);
    CHECK(support.reason() == nullptr);
    CHECK(support.summary() == "Loops run in the kernel here.");
    for (const Finding& found : support.findings()) {
        INFO(found.id);
        CHECK(found.state == ok);
        CHECK_FALSE(found.value.empty());
        CHECK(found.advice.empty());
    }
}

TEST_CASE("The ids are stable, and there is one finding for each, whatever the facts") {
    const std::vector<std::string_view> ids = {"kernel.version",
                                               "sysctl.io_uring_disabled",
                                               "process.seccomp",
                                               "syscall.io_uring",
                                               "config.io_uring",
                                               "ring.open",
                                               "ring.no_sqarray",
                                               "ring.sq_rewind",
                                               "limit.memlock",
                                               "btf.vmlinux",
                                               "config.debug_info_btf",
                                               "btf.io_uring_bpf_ops",
                                               "config.io_uring_bpf_ops",
                                               "btf.kfuncs",
                                               "btf.iou_loop_params",
                                               "ring.region",
                                               "process.user_namespace",
                                               "process.bpf_token",
                                               "process.capabilities",
                                               "sysctl.unprivileged_bpf_disabled",
                                               "syscall.bpf",
                                               "config.bpf_syscall",
                                               "sysctl.bpf_jit_enable",
                                               "config.bpf_jit",
                                               "kernel.lockdown",
                                               "program.load",
                                               "fault.double_attach",
                                               "fault.socket_commands"};
    for (const Support& support : {with([](Facts&) {}), Support(Facts{})}) {
        std::vector<std::string_view> found;
        for (const Finding& one : support.findings()) {
            found.push_back(one.id);
            CHECK_FALSE(one.title.empty());
            CHECK_FALSE(one.explanation.empty());
        }
        CHECK(found == ids);
    }
    CHECK(Support(Facts{}).find("no.such.thing") == nullptr);
}

TEST_CASE("Where nothing could be seen, the verdict is no") {
    const Support support(Facts{});
    CHECK_FALSE(support.kernel_engine());
    CHECK_FALSE(support.user_engine());
    CHECK(reason(support) == "ring.open");
}

TEST_CASE("kernel.version: decides nothing by itself") {
    const auto old = [](Facts& facts) {
        facts.release = "6.12.9";
        facts.version = {6, 12, 9};
    };
    const Support backport = with(old);
    CHECK(backport.kernel_engine());
    CHECK(finding(backport, "kernel.version").state == ok);

    const Support without = with([&](Facts& facts) {
        old(facts);
        facts.types = {};
    });
    CHECK(finding(without, "kernel.version").state == warning);
    CHECK(says(finding(without, "kernel.version").advice, "7.1"));
    check_prevents_loops(without, "btf.io_uring_bpf_ops", "Linux 6.12.9 is older than loops are");
    CHECK(says(finding(without, "kernel.version").advice, "In user space they run in this one"));

    const Support too_old = with([](Facts& facts) {
        facts.release = "6.0.19";
        facts.version = {6, 0, 19};
        facts.types = {};
        facts.ring.error = EINVAL;
        facts.region = {};
    });
    CHECK(says(finding(too_old, "kernel.version").advice, "6.1"));
    check_prevents_rings(too_old, "ring.open", "6.1");

    const Support hidden = with([](Facts& facts) { facts.release = "7.3.0-1-amd64"; });
    CHECK(finding(hidden, "kernel.version").value == "7.3.0-1-amd64, which is 7.3.4");
    const Support odd = with([](Facts& facts) { facts.release = "odd", facts.version = {}; });
    CHECK(finding(odd, "kernel.version").state == unknown);
    CHECK(odd.kernel_engine());
}

TEST_CASE("Linux 6.1 has rings that loops run on in user space, and nothing of what the kernel engine needs") {
    const Support support = with([](Facts& facts) {
        facts.release = "6.1.0-56-cloud-amd64";
        facts.version = {6, 1, 192};
        facts.types = {};
        facts.io_uring_disabled.reset();
        facts.no_sqarray = facts.sq_rewind = false;
        facts.region.error = EINVAL;
        facts.program = {};
    });
    check_prevents_loops(support, "btf.io_uring_bpf_ops", "Linux 6.1.192 is older than loops are");
    CHECK(finding(support, "ring.open").state == ok);
    CHECK(finding(support, "ring.no_sqarray").state == warning);
    CHECK(finding(support, "ring.region").state == missing);
    CHECK_FALSE(finding(support, "ring.region").prevents_rings());
}

TEST_CASE("sysctl.io_uring_disabled: 1 forbids those without CAP_SYS_ADMIN and outside the group, 2 everybody") {
    const auto disabled = [](long mode, bool privileged, bool member, long group = -1) {
        return with([=](Facts& facts) {
            facts.io_uring_disabled = mode;
            facts.io_uring_group = group;
            facts.in_io_uring_group = member;
            if (!privileged) facts.capabilities->effective &= ~bit(Capability::sys_admin);
            const bool allowed = mode == 0 || (mode == 1 && (privileged || member));
            if (!allowed) facts.io_uring_setup.error = EPERM, facts.ring = {}, facts.region = {};
        });
    };
    CHECK(disabled(0, false, false).kernel_engine());
    CHECK(disabled(1, true, false).kernel_engine());
    CHECK(says(finding(disabled(1, true, false), "sysctl.io_uring_disabled").value, "CAP_SYS_ADMIN"));
    CHECK(disabled(1, false, true, 7).kernel_engine());
    CHECK(says(finding(disabled(1, false, true, 7), "sysctl.io_uring_disabled").value, "group"));
    check_prevents_rings(disabled(1, false, false, 7), "sysctl.io_uring_disabled", "group with number 7");
    check_prevents_rings(disabled(1, false, false), "sysctl.io_uring_disabled", "io_uring_group=GID");
    check_prevents_rings(disabled(2, true, true), "sysctl.io_uring_disabled", "sysctl kernel.io_uring_disabled=0");
    CHECK(says(finding(disabled(2, true, false), "syscall.io_uring").advice, "sysctl.io_uring_disabled"));

    // CAP_SYS_ADMIN of a user namespace is not meant.
    const Support nested = with([](Facts& facts) { facts.io_uring_disabled = 1, facts.initial_user_namespace = false; });
    CHECK(finding(nested, "sysctl.io_uring_disabled").state == missing);
    CHECK(finding(with([](Facts& facts) { facts.io_uring_disabled.reset(); }), "sysctl.io_uring_disabled").state == unknown);
}

TEST_CASE("process.seccomp: a filter is judged by what it does") {
    const Support harmless = with([](Facts& facts) { facts.seccomp = 2; });
    CHECK(harmless.kernel_engine());
    CHECK(finding(harmless, "process.seccomp").state == ok);

    const Support forbidding = with([](Facts& facts) {
        facts.seccomp = 2;
        facts.io_uring_enter.error = EPERM;
        facts.bpf.error = ENOSYS;
    });
    CHECK(finding(forbidding, "process.seccomp").state == warning);
    CHECK(says(finding(forbidding, "process.seccomp").value, "io_uring_enter, bpf"));
    CHECK(says(finding(forbidding, "process.seccomp").advice, "SystemCallFilter"));
    CHECK(says(finding(forbidding, "process.seccomp").advice, "Allow these calls"));

    // Without bpf() the user engine is left.
    const Support no_bpf = with([](Facts& facts) { facts.seccomp = 2, facts.bpf.error = EPERM, facts.program = {}; });
    check_prevents_loops(no_bpf, "syscall.bpf", "process.seccomp");
    CHECK(says(finding(no_bpf, "process.seccomp").advice, "Loops run in user space under it"));

    // What the sysctl explains is not the filter's fault.
    const Support switched_off =
        with([](Facts& facts) { facts.seccomp = 2, facts.io_uring_disabled = 2, facts.io_uring_setup.error = EPERM; });
    CHECK(finding(switched_off, "process.seccomp").state == ok);

    CHECK(finding(with([](Facts& facts) { facts.seccomp = 1; }), "process.seccomp").state == warning);
    CHECK(finding(with([](Facts& facts) { facts.seccomp.reset(); }), "process.seccomp").state == unknown);
}

TEST_CASE("syscall.io_uring: each of the three calls has to get through") {
    using support::Answer;
    const auto answer = [](Answer Facts::* call, Answer value, long seccomp) {
        return with([&](Facts& facts) { facts.*call = value, facts.seccomp = seccomp, facts.ring = {}, facts.region = {}; });
    };
    const Answer eperm{.tried = true, .error = EPERM};
    const Answer enosys{.tried = true, .error = ENOSYS};
    const Answer killed{.tried = true, .signal = SIGSYS};
    const Answer faked{.tried = true};  // a filter may answer with success
    for (const auto call : {&Facts::io_uring_setup, &Facts::io_uring_register, &Facts::io_uring_enter}) {
        for (const Answer& value : {eperm, enosys, killed, faked}) {
            check_prevents_rings(answer(call, value, 2), "syscall.io_uring", "seccomp filter forbids");
        }
    }
    check_prevents_rings(answer(&Facts::io_uring_setup, enosys, 0), "syscall.io_uring", "CONFIG_IO_URING");
    check_prevents_rings(answer(&Facts::io_uring_setup, eperm, 0), "syscall.io_uring", "security module");
    CHECK(finding(answer(&Facts::io_uring_setup, killed, 2), "syscall.io_uring").value ==
          "io_uring_setup is answered with signal " + std::to_string(SIGSYS));
    CHECK(finding(answer(&Facts::io_uring_enter, enosys, 2), "syscall.io_uring").value ==
          "io_uring_enter is answered with ENOSYS");
    CHECK(finding(answer(&Facts::io_uring_setup, Answer{}, 2), "syscall.io_uring").state == unknown);
}

TEST_CASE("config.*: explain, and are not believed against the evidence") {
    const std::vector<std::pair<ConfigOption, std::string_view>> options = {
        {ConfigOption::io_uring, "config.io_uring"},
        {ConfigOption::debug_info_btf, "config.debug_info_btf"},
        {ConfigOption::io_uring_bpf_ops, "config.io_uring_bpf_ops"},
        {ConfigOption::bpf_syscall, "config.bpf_syscall"},
        {ConfigOption::bpf_jit, "config.bpf_jit"}};
    for (const auto& [option, id] : options) {
        const auto unset = [option](Facts& facts) { facts.config.values[static_cast<std::size_t>(option)].clear(); };
        check_warns(with(unset), id, "Do not trust /boot/config-7.3.4-test");
        const Support consistent = with([&](Facts& facts) {
            unset(facts);
            facts.types = {.error = ENOENT};
            facts.io_uring_setup.error = ENOSYS;
            facts.bpf.error = ENOSYS;
        });
        CHECK(finding(consistent, id).state == missing);
        CHECK(finding(consistent, id).value == "not set");
        CHECK(reason(consistent) != id);  // what it causes is the reason
    }
    const Support without = with([](Facts& facts) {
        facts.types = {};
        facts.config.values[static_cast<std::size_t>(ConfigOption::io_uring_bpf_ops)].clear();
    });
    check_prevents_loops(without, "btf.io_uring_bpf_ops", "built without CONFIG_IO_URING_BPF_OPS");

    const Support no_file = with([](Facts& facts) { facts.config = {}; });
    CHECK(no_file.kernel_engine());
    CHECK(finding(no_file, "config.bpf_jit").state == unknown);
    const Support compressed = with([](Facts& facts) { facts.config = {}, facts.config.compressed_only = true; });
    CHECK(finding(compressed, "config.bpf_jit").advice == "zgrep CONFIG_BPF_JIT= /proc/config.gz");
}

TEST_CASE("ring.open: what the kernel refuses it with says what to do") {
    const auto refused = [](int error) {
        return with([error](Facts& facts) {
            facts.ring.error = error;
            facts.no_sqarray = facts.sq_rewind = false;
            facts.region = {};
        });
    };
    check_prevents_rings(refused(EINVAL), "ring.open", "6.1");
    check_prevents_rings(refused(ENOMEM), "ring.open", "ulimit -l");
    check_prevents_rings(refused(EMFILE), "ring.open", "ulimit -n");
    check_prevents_rings(refused(EACCES), "ring.open", "security module");
    CHECK(finding(refused(EMFILE), "ring.open").value == "refused with EMFILE");
    CHECK(finding(refused(EINVAL), "ring.no_sqarray").state == unknown);
    CHECK(finding(refused(EINVAL), "ring.sq_rewind").state == unknown);
    CHECK(finding(refused(EINVAL), "ring.region").state == unknown);
    // Not tried for a reason that is told already, and for none.
    const Support told = with([](Facts& facts) { facts.io_uring_setup.error = ENOSYS, facts.ring = {}; });
    CHECK(finding(told, "ring.open").state == unknown);
    check_prevents_rings(with([](Facts& facts) { facts.ring = {}; }), "ring.open", "seccomp");
}

TEST_CASE("ring.no_sqarray, ring.sq_rewind: nothing fails without them") {
    check_warns(with([](Facts& facts) { facts.no_sqarray = false; }), "ring.no_sqarray", "6.6");
    check_warns(with([](Facts& facts) { facts.sq_rewind = false; }), "ring.sq_rewind", "7.0");
}

TEST_CASE("limit.memlock: little of it is a warning, unless the process may lock what it likes") {
    const auto limit = [](std::uint64_t bytes, bool privileged) {
        return with([=](Facts& facts) {
            facts.memlock = bytes;
            if (!privileged) facts.capabilities->effective &= ~bit(Capability::ipc_lock);
        });
    };
    check_warns(limit(65536, false), "limit.memlock", "ulimit -l");
    CHECK(finding(limit(65536, false), "limit.memlock").value == "64 KiB");
    CHECK(finding(limit(65536, true), "limit.memlock").state == ok);
    CHECK(finding(limit(8 << 20, false), "limit.memlock").state == ok);
}

TEST_CASE("btf.vmlinux: has to be there and readable") {
    const auto failed = [](int error) { return with([error](Facts& facts) { facts.types = {.error = error}; }); };
    check_prevents_loops(failed(ENOENT), "btf.vmlinux", "Mount sysfs");
    check_prevents_loops(failed(EACCES), "btf.vmlinux", "Let this process read");
    check_prevents_loops(failed(EINVAL), "btf.vmlinux", "update libbpf");
    for (const char* id : {"btf.io_uring_bpf_ops", "btf.kfuncs", "btf.iou_loop_params"}) {
        CHECK(finding(failed(ENOENT), id).state == unknown);
    }
}

TEST_CASE("btf.io_uring_bpf_ops, btf.kfuncs, btf.iou_loop_params: the interface has to be whole") {
    check_prevents_loops(with([](Facts& facts) { facts.types = {}; }), "btf.io_uring_bpf_ops", "Boot Linux 7.1 or later");
    check_prevents_loops(with([](Facts& facts) { facts.types.loop_step.reset(); }), "btf.io_uring_bpf_ops", "Boot Linux 7.1");
    const Support no_submit = with([](Facts& facts) { facts.types.submit_sqes_id = 0; });
    check_prevents_loops(no_submit, "btf.kfuncs", "Boot Linux 7.1 or later");
    CHECK(finding(no_submit, "btf.kfuncs").value == "no bpf_io_uring_submit_sqes");
    const Support no_region = with([](Facts& facts) { facts.types.get_region_id = 0; });
    check_prevents_loops(no_region, "btf.kfuncs", "Boot Linux 7.1 or later");
    CHECK(finding(no_region, "btf.kfuncs").value == "no bpf_io_uring_get_region");
    check_prevents_loops(with([](Facts& facts) { facts.types.params_fields = {"wait"}; }), "btf.iou_loop_params", "Boot");
    check_prevents_loops(with([](Facts& facts) { facts.types.params_fields.clear(); }), "btf.iou_loop_params", "Boot");
    const Support more = with([](Facts& facts) { facts.types.params_fields = {"cq_wait_idx", "flags", "timeout_ns"}; });
    CHECK(more.kernel_engine());
    CHECK(finding(more, "btf.iou_loop_params").value == "cq_wait_idx, flags, timeout_ns");
    // One piece of advice for a kernel that has none of it.
    CHECK(finding(with([](Facts& facts) { facts.types = {}; }), "btf.kfuncs").advice.empty());
}

TEST_CASE("ring.region: what the kernel refuses it with says what to do") {
    const auto refused = [](int error) { return with([error](Facts& facts) { facts.region.error = error; }); };
    check_prevents_loops(refused(EINVAL), "ring.region", "6.13");
    check_prevents_loops(refused(ENOMEM), "ring.region", "ulimit -l");
    check_prevents_loops(refused(EPERM), "ring.region", "security module");
}

TEST_CASE("process.capabilities: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN") {
    const auto holding = [](std::uint64_t effective, std::uint64_t permitted) {
        return with([=](Facts& facts) {
            facts.capabilities = support::Capabilities{.effective = effective, .permitted = permitted};
            if (!facts.capabilities->may_load()) facts.program = {};
        });
    };
    constexpr std::uint64_t both = bit(Capability::bpf) | bit(Capability::perfmon);
    CHECK(holding(both, both).kernel_engine());
    CHECK(finding(holding(both, both), "process.capabilities").value == "CAP_BPF, CAP_PERFMON");
    CHECK(holding(bit(Capability::sys_admin), bit(Capability::sys_admin)).kernel_engine());
    check_prevents_loops(holding(0, 0), "process.capabilities", "setcap cap_bpf,cap_perfmon+ep");
    check_prevents_loops(holding(bit(Capability::bpf), both & bit(Capability::bpf)), "process.capabilities", "setcap");
    check_prevents_loops(holding(bit(Capability::perfmon), bit(Capability::perfmon)), "process.capabilities", "setcap");
    check_prevents_loops(holding(0, both), "process.capabilities", "capset");
    CHECK(finding(holding(bit(Capability::bpf), 0), "process.capabilities").value == "only CAP_BPF");
    // Unknown ones are left to the trial.
    const Support not_told = with([](Facts& facts) { facts.capabilities.reset(); });
    CHECK(finding(not_told, "process.capabilities").state == unknown);
    CHECK(not_told.kernel_engine());
}

TEST_CASE("process.user_namespace: only the initial one's capabilities count") {
    const Support nested = with([](Facts& facts) { facts.initial_user_namespace = false, facts.program.error = EPERM; });
    check_prevents_loops(nested, "process.user_namespace", "BPF token");
    CHECK(with([](Facts& facts) { facts.initial_user_namespace = false; }).kernel_engine());
    const Support not_told = with([](Facts& facts) { facts.initial_user_namespace.reset(); });
    CHECK(finding(not_told, "process.user_namespace").state == unknown);
    CHECK(not_told.kernel_engine());
}

TEST_CASE("process.bpf_token: makes up for another user namespace, if it allows what libbpf does") {
    const auto nested = [](support::Trial token, std::string_view lacks, int program) {
        return with([&](Facts& facts) {
            facts.initial_user_namespace = false;
            facts.token_path = "/token";
            facts.token = token;
            facts.token_lacks = lacks;
            facts.program.error = program;
        });
    };
    const Support whole = nested({.tried = true}, "", 0);
    CHECK(whole.kernel_engine());
    CHECK(finding(whole, "process.bpf_token").value == "from /token");
    CHECK(finding(whole, "process.user_namespace").state == ok);

    const Support partial = nested({.tried = true}, "delegate_maps=array", 0);
    check_prevents_loops(partial, "process.bpf_token", "delegate_maps=array:struct_ops");
    CHECK(finding(partial, "process.bpf_token").value == "from /token, without delegate_maps=array");

    const Support none = nested({.tried = true, .error = ENOENT}, "", EPERM);
    check_prevents_loops(none, "process.user_namespace", "process.bpf_token");
    CHECK(finding(none, "process.bpf_token").state == missing);
    CHECK(finding(none, "process.bpf_token").value == "none from /token: ENOENT");
    CHECK(nested({.tried = true, .error = ENOENT}, "", 0).kernel_engine());
    CHECK(finding(nested({}, "", EPERM), "process.bpf_token").state == unknown);
}

TEST_CASE("sysctl.unprivileged_bpf_disabled: makes no difference") {
    for (const long value : {0L, 1L, 2L}) {
        const Support support = with([value](Facts& facts) { facts.unprivileged_bpf_disabled = value; });
        CHECK(support.kernel_engine());
        CHECK(finding(support, "sysctl.unprivileged_bpf_disabled").value == std::to_string(value) + ", makes no difference");
    }
    const Support not_told = with([](Facts& facts) { facts.unprivileged_bpf_disabled.reset(); });
    CHECK(finding(not_told, "sysctl.unprivileged_bpf_disabled").state == unknown);
}

TEST_CASE("syscall.bpf: has to get through") {
    const auto answer = [](int error, long seccomp) {
        return with([=](Facts& facts) { facts.bpf.error = error, facts.seccomp = seccomp, facts.program = {}; });
    };
    check_prevents_loops(answer(EPERM, 2), "syscall.bpf", "seccomp filter forbids");
    check_prevents_loops(answer(ENOSYS, 0), "syscall.bpf", "CONFIG_BPF_SYSCALL");
    check_prevents_loops(answer(EPERM, 0), "syscall.bpf", "security module");
    CHECK(finding(with([](Facts& facts) { facts.bpf = {}; }), "syscall.bpf").state == unknown);
    // Kernels before 5.19 want capabilities before they look at the command.
    const Support early = with([](Facts& facts) {
        facts.version = {5, 15, 0};
        facts.capabilities = support::Capabilities{};
        facts.bpf.error = EPERM;
        facts.seccomp = 2;
    });
    CHECK(finding(early, "process.seccomp").state == ok);
    CHECK(says(finding(early, "syscall.bpf").advice, "process.capabilities"));
}

TEST_CASE("sysctl.bpf_jit_enable: 0 prevents loops") {
    const auto jit = [](long value) {
        return with([value](Facts& facts) {
            facts.bpf_jit_enable = value;
            if (value == 0) facts.program.error = 524;
        });
    };
    CHECK(jit(1).kernel_engine());
    CHECK(jit(2).kernel_engine());
    check_prevents_loops(jit(0), "sysctl.bpf_jit_enable", "sysctl net.core.bpf_jit_enable=1");
    CHECK(finding(jit(0), "program.load").value == "refused with ENOTSUPP");
    CHECK(finding(with([](Facts& facts) { facts.bpf_jit_enable.reset(); }), "sysctl.bpf_jit_enable").state == unknown);
}

TEST_CASE("kernel.lockdown: loops run under it") {
    CHECK(finding(with([](Facts& facts) { facts.lockdown = "integrity"; }), "kernel.lockdown").state == ok);
    check_warns(with([](Facts& facts) { facts.lockdown = "confidentiality"; }), "kernel.lockdown", "lockdown=integrity");
    CHECK(finding(with([](Facts& facts) { facts.lockdown.reset(); }), "kernel.lockdown").state == unknown);
}

TEST_CASE("program.load: has the last word") {
    const auto refused = [](int error, std::string log = {}) {
        return with([&](Facts& facts) { facts.program.error = error, facts.program_log = log; });
    };
    check_prevents_loops(refused(EPERM), "program.load", "security module");
    check_prevents_loops(refused(EACCES, "R1 invalid mem access"), "program.load", "The verifier says: R1 invalid mem access");
    check_prevents_loops(refused(EINVAL), "program.load", "bug of ringstep");
    check_prevents_loops(with([](Facts& facts) { facts.program = {}; }), "program.load", "bug of ringstep");
}

TEST_CASE("fault.*: warn in the kernels that have them") {
    const auto version = [](unsigned major, unsigned minor, unsigned patch) {
        return with([=](Facts& facts) { facts.version = {major, minor, patch}; });
    };
    check_warns(version(7, 1, 0), "fault.double_attach", "Update the kernel");
    check_warns(version(7, 1, 4), "fault.double_attach", "Update the kernel");
    for (const auto& sound : {version(7, 1, 5), version(7, 2, 0), version(6, 12, 0)}) {
        CHECK(finding(sound, "fault.double_attach").state == ok);
    }
    check_warns(version(7, 1, 13), "fault.socket_commands", "IORING_OP_URING_CMD");
    check_warns(version(7, 2, 12), "fault.socket_commands", "IORING_OP_URING_CMD");
    for (const auto& sound : {version(7, 3, 0), version(8, 0, 0)}) CHECK(finding(sound, "fault.socket_commands").state == ok);
    CHECK(finding(version(0, 0, 0), "fault.double_attach").state == unknown);
    // A kernel without loops has no faults of loops.
    const Support without = with([](Facts& facts) { facts.version = {7, 1, 0}, facts.types = {}; });
    CHECK(finding(without, "fault.double_attach").state == ok);
    CHECK(finding(without, "fault.socket_commands").state == ok);
}

TEST_CASE("Of several things that are missing, the one to mend first is the reason") {
    // No loops in the kernel, no capabilities, no io_uring: the last comes first.
    const auto nothing = [](Facts& facts) {
        facts.types = {};
        facts.capabilities = support::Capabilities{};
        facts.program = {};
    };
    CHECK(reason(with(nothing)) == "btf.io_uring_bpf_ops");
    const Support worse = with([&](Facts& facts) {
        nothing(facts);
        facts.ring.error = EACCES;
    });
    CHECK(reason(worse) == "ring.open");
    const Support unprivileged = with([](Facts& facts) {
        facts.capabilities = support::Capabilities{};
        facts.program = {};
        facts.bpf.error = EPERM;  // Docker's filter allows bpf() to those with the capability
        facts.seccomp = 2;
    });
    CHECK(reason(unprivileged) == "process.capabilities");
    CHECK(finding(unprivileged, "program.load").state == unknown);
}

TEST_CASE("Findings and verdicts can be formatted") {
    const Support support = with([](Facts& facts) { facts.sq_rewind = false; });
    CHECK(fmt::format("{}", finding(support, "ring.sq_rewind")) ==
          "warning: IORING_SETUP_SQ_REWIND: not in this kernel. Linux 7.0 and later have it; nothing fails without.");
    CHECK(fmt::format("{}", finding(support, "ring.open")) == "ok: opening of a ring: works");
    CHECK(fmt::format("{}", support) == support.summary());
    CHECK(fmt::format("{:>9}", missing) == "  missing");
    CHECK(to_string(NeededFor::ring) == "ring");
}
