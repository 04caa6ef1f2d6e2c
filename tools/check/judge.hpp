// SPDX-License-Identifier: MIT
// From facts to findings. A pure function: what it says about a system can be tested without that system.
#pragma once

#include <check/facts.hpp>
#include <check/finding.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringstep::inline v0::support {

namespace detail {

/// "EPERM"; the number, for those that no call here gives.
[[nodiscard]] inline std::string error_name(int error) {
    switch (error) {
        case 0: return "no error";
        case EPERM: return "EPERM";
        case ENOENT: return "ENOENT";
        case E2BIG: return "E2BIG";
        case EBADF: return "EBADF";
        case EAGAIN: return "EAGAIN";
        case ENOMEM: return "ENOMEM";
        case EACCES: return "EACCES";
        case EFAULT: return "EFAULT";
        case EBUSY: return "EBUSY";
        case EINVAL: return "EINVAL";
        case ENFILE: return "ENFILE";
        case EMFILE: return "EMFILE";
        case ENOSYS: return "ENOSYS";
        case EOPNOTSUPP: return "EOPNOTSUPP";
        case ENOTDIR: return "ENOTDIR";
        case 524: return "ENOTSUPP";  // the kernel's own
        default: return "errno " + std::to_string(error);
    }
}

/// Makes the findings one by one, in order: what everything else stands on comes first (rings before loops), and of several
/// things that are missing the first is the one to mend first.
class Judge {
public:
    explicit Judge(const Facts& facts) : facts_(facts) { findings_.reserve(32); }

    [[nodiscard]] std::vector<Finding> run() && {
        version();
        io_uring_disabled();
        seccomp();
        io_uring_calls();
        config(ConfigOption::io_uring, "config.io_uring");
        ring();
        no_sqarray();
        sq_rewind();
        memlock();

        btf();
        config(ConfigOption::debug_info_btf, "config.debug_info_btf");
        ops();
        config(ConfigOption::io_uring_bpf_ops, "config.io_uring_bpf_ops");
        kfuncs();
        loop_params();
        region();

        user_namespace();
        bpf_token();
        capabilities();
        unprivileged_bpf();
        bpf_call();
        config(ConfigOption::bpf_syscall, "config.bpf_syscall");
        jit();
        config(ConfigOption::bpf_jit, "config.bpf_jit");
        lockdown();
        program();

        double_attach();
        socket_commands();
        return std::move(findings_);
    }

private:
    using enum FindingState;

    static constexpr KernelVersion first_with_rings{.major = 6, .minor = 1};  // that have DEFER_TASKRUN
    static constexpr KernelVersion first_with_loops{.major = 7, .minor = 1};
    static constexpr std::string_view boot_another =
        "Boot Linux 7.1 or later, built with CONFIG_IO_URING_BPF_OPS (Debian 13 has such kernels in trixie-backports).";

    // Out of line, and taking pieces of text instead of strings: there are a hundred calls, and every application compiles
    // them.
    [[gnu::noinline]] Finding& add(std::string_view id, std::string_view title, NeededFor needed_for,
                                   std::string_view explanation) {
        Finding& finding = findings_.emplace_back();
        finding.id = id;
        finding.title = title;
        finding.needed_for = needed_for;
        finding.explanation = explanation;
        return finding;
    }
    using Pieces = std::initializer_list<std::string_view>;
    [[gnu::noinline]] static void set(Finding& finding, FindingState state, Pieces value, Pieces advice = {}) {
        finding.state = state;
        for (const std::string_view piece : value) finding.value += piece;
        for (const std::string_view piece : advice) finding.advice += piece;
    }
    // Adds to a list with commas.
    [[gnu::noinline]] static void list(std::string& text, std::string_view item) {
        if (!text.empty()) text += ", ";
        text += item;
    }

    [[nodiscard]] bool anything_prevents(bool (Finding::*what)() const noexcept) const {
        for (const Finding& finding : findings_) {
            if ((finding.*what)()) return true;
        }
        return false;
    }

    [[gnu::noinline]] [[nodiscard]] static std::string text(const KernelVersion& version) {
        std::string text = std::to_string(version.major);
        for (const unsigned number : {version.minor, version.patch}) text.append(".").append(std::to_string(number));
        return text;
    }
    [[nodiscard]] bool version_known() const noexcept { return facts_.version != KernelVersion{}; }

    // Capabilities count for what happens here only where they are those of the whole system.
    [[nodiscard]] bool has(Capability capability) const noexcept {
        return facts_.capabilities && facts_.capabilities->has(capability) && facts_.initial_user_namespace != false;
    }
    [[nodiscard]] bool sysctl_forbids_io_uring() const noexcept {
        const long mode = facts_.io_uring_disabled.value_or(0);
        return mode > 1 || (mode == 1 && !has(Capability::sys_admin) && !facts_.in_io_uring_group);
    }

    void version() {
        Finding& finding =
            add("kernel.version", "Linux version", NeededFor::nothing,
                "The release of the running kernel. In user space, loops run in Linux 6.1 and later; in the kernel, in 7.1 and "
                "later. The version alone decides nothing, because features are carried over to older kernels: what the kernel "
                "does when it is asked, and its type information, do.");
        if (!version_known())
            return set(finding, unknown, {facts_.release.empty() ? "not told" : std::string_view(facts_.release)});
        const std::string upstream = text(facts_.version);
        const bool hidden = facts_.version.patch != 0 && !facts_.release.starts_with(upstream);
        const bool fine = facts_.version >= first_with_loops || facts_.types.has_ops();
        const bool too_old = facts_.version < first_with_rings && !facts_.ring.ok();
        set(finding, fine ? ok : warning,
            {facts_.release, hidden ? ", which is " : "", hidden ? std::string_view(upstream) : ""},
            {fine      ? ""
             : too_old ? "Loops need Linux 6.1 or later in user space, and 7.1 or later in the kernel."
                       : "Loops run in the kernel from Linux 7.1 on. In user space they run in this one, too."});
    }

    void io_uring_disabled() {
        Finding& finding =
            add("sysctl.io_uring_disabled", "sysctl kernel.io_uring_disabled", NeededFor::ring,
                "Switches io_uring off. 0: everybody may open rings. 1: only processes with CAP_SYS_ADMIN, and those in the "
                "group kernel.io_uring_group. 2: nobody. Since Linux 6.6.");
        if (!facts_.io_uring_disabled) return set(finding, unknown, {"not readable"});
        const std::string mode = std::to_string(*facts_.io_uring_disabled);
        const bool restricted = *facts_.io_uring_disabled == 1;
        const std::string group = std::to_string(facts_.io_uring_group.value_or(-1));
        if (!sysctl_forbids_io_uring()) {
            const bool member = facts_.in_io_uring_group;
            set(finding, ok,
                {mode, !restricted ? ""
                       : member    ? ", this process is in the group"
                                   : ", this process has CAP_SYS_ADMIN"});
        } else if (!restricted) {
            set(finding, missing, {mode, ", nobody may use io_uring"}, {"As root: sysctl kernel.io_uring_disabled=0"});
        } else if (group == "-1") {
            set(finding, missing, {mode, ", not for this process"},
                {"As root: sysctl kernel.io_uring_disabled=0, or sysctl kernel.io_uring_group=GID with a group of this user."});
        } else {
            set(finding, missing, {mode, ", not for this process"},
                {"Put the user into the group with number ", group,
                 " (kernel.io_uring_group), or as root: sysctl kernel.io_uring_disabled=0"});
        }
    }

    struct Call {
        const Answer& answer;
        std::string_view name;
    };
    [[nodiscard]] std::array<Call, 4> calls() const noexcept {
        return {{{facts_.io_uring_setup, "io_uring_setup"},
                 {facts_.io_uring_register, "io_uring_register"},
                 {facts_.io_uring_enter, "io_uring_enter"},
                 {facts_.bpf, "bpf"}}};
    }

    // Something else than a filter explains the refusal.
    [[nodiscard]] bool otherwise_refused(const Answer& answer) const noexcept {
        if (answer.signal != 0 || answer.error != EPERM) return false;
        if (&answer == &facts_.io_uring_setup) return sysctl_forbids_io_uring();
        // Before Linux 5.19, bpf() looked at capabilities before it looked at the command.
        constexpr KernelVersion command_first{.major = 5, .minor = 19};
        return &answer == &facts_.bpf && facts_.version < command_first && !has(Capability::bpf) && !has(Capability::sys_admin);
    }

    void seccomp() {
        Finding& finding = add(
            "process.seccomp", "seccomp filter", NeededFor::nothing,
            "A filter of system calls, as container runtimes and service managers set. Both engines need the three calls of "
            "io_uring, which Docker's default profile and containerd's do not allow; the kernel engine needs bpf() beside "
            "them. "
            "What the filter does to these calls is tried out: see the findings about system calls.");
        if (!facts_.seccomp) return set(finding, unknown, {"not told"});
        if (*facts_.seccomp == 0) return set(finding, ok, {"none"});
        if (*facts_.seccomp == 1) return set(finding, warning, {"strict mode"}, {"This thread may only read, write and exit."});
        std::string forbidden;
        for (const Call& call : calls()) {
            if (call.answer.refuses() && !otherwise_refused(call.answer)) list(forbidden, call.name);
        }
        if (forbidden.empty()) return set(finding, ok, {"there is one, and it forbids nothing that loops need"});
        set(finding, warning, {"there is one, and it forbids ", forbidden},
            {forbidden == "bpf" ? "Loops run in user space under it. To have them run in the kernel, allow bpf. "
                                : "Allow these calls; without bpf, loops still run in user space. ",
             "Docker and Podman: --security-opt seccomp=PROFILE.json, Kubernetes: securityContext.seccompProfile, with a "
             "profile "
             "that allows them. systemd: SystemCallFilter=io_uring_setup io_uring_register io_uring_enter bpf"});
    }

    // A call that does not get through.
    void refused(Finding& finding, const Call& call, std::string_view otherwise) {
        const Answer& answer = call.answer;
        std::string_view advice = "A security module (SELinux, AppArmor, BPF LSM) may forbid it: look at the audit log.";
        if (otherwise_refused(answer)) {
            advice = otherwise;
        } else if (facts_.seccomp == 2L) {
            advice = &answer == &facts_.bpf ? "A seccomp filter forbids it: see process.seccomp."
                                            : "A seccomp filter forbids it, as that of a container does by default: allow "
                                              "io_uring_setup, io_uring_enter and io_uring_register. See process.seccomp.";
        } else if (answer.error == ENOSYS && &answer == &facts_.bpf) {
            advice = "This kernel is built without CONFIG_BPF_SYSCALL: boot another.";
        } else if (answer.error == ENOSYS) {
            advice = "This kernel is built without CONFIG_IO_URING, or is not Linux (gVisor): use another.";
        }
        if (answer.signal != 0) {
            set(finding, missing, {call.name, " is answered with signal ", std::to_string(answer.signal)}, {advice});
        } else {
            set(finding, missing, {call.name, " is answered with ", error_name(answer.error)}, {advice});
        }
    }

    void io_uring_calls() {
        Finding& finding =
            add("syscall.io_uring", "io_uring system calls", NeededFor::ring,
                "Whether io_uring_setup, io_uring_register and io_uring_enter reach the kernel, tried with arguments that they "
                "can only refuse. Under a seccomp filter a child process tries, as the filter may kill it.");
        bool all = true;
        for (const Call& call : calls()) {
            if (&call.answer == &facts_.bpf) continue;
            if (call.answer.refuses()) return refused(finding, call, "It is switched off: see sysctl.io_uring_disabled.");
            all = all && call.answer.tried;
        }
        all ? set(finding, ok, {"let through"}) : set(finding, unknown, {"could not be tried"});
    }

    void config(ConfigOption option, std::string_view id) {
        const std::string_view name = config_options[static_cast<std::size_t>(option)];
        Finding& finding = add(
            id, name, NeededFor::nothing,
            option == ConfigOption::io_uring_bpf_ops
                ? "Option of the kernel's build. It has no switch of its own: BPF_SYSCALL, BPF_JIT and DEBUG_INFO_BTF turn it "
                  "on. (CONFIG_IO_URING_BPF is something else.)"
                : "Option of the kernel's build that loops depend on. Read from /boot/config-RELEASE or "
                  "/usr/lib/modules/RELEASE/config; where there is neither, ringstep-check reads /proc/config.gz.");
        if (!facts_.config.readable()) {
            if (!facts_.config.compressed_only) return set(finding, unknown, {"no configuration file to read"});
            return set(finding, unknown, {"only in /proc/config.gz"}, {"zgrep ", name, "= /proc/config.gz"});
        }
        const std::string& value = facts_.config[option];
        if (!value.empty() && value != "n") return set(finding, ok, {value});
        const bool disproved = facts_.types.has_ops() ||
                               (option == ConfigOption::io_uring && facts_.io_uring_setup.lets_through()) ||
                               (option == ConfigOption::debug_info_btf && facts_.types.error == 0) ||
                               (option == ConfigOption::bpf_syscall && facts_.bpf.lets_through());
        if (!disproved) return set(finding, missing, {"not set"});
        set(finding, warning, {"not set, in a file that does not belong to this kernel"},
            {"Do not trust ", facts_.config.path, "."});
    }

    static constexpr std::string_view no_memory = "Out of memory, or of locked memory: raise ulimit -l (RLIMIT_MEMLOCK).";
    static constexpr std::string_view who_knows = "A seccomp filter or a security module may forbid it: look at the audit log.";

    void ring() {
        Finding& finding = add(
            "ring.open", "opening of a ring", NeededFor::ring,
            "A real ring is opened and closed, as ringstep::Ring does: with SINGLE_ISSUER and DEFER_TASKRUN, which need Linux "
            "6.1, and with NO_SQARRAY and SQ_REWIND where the kernel has them.");
        if (facts_.ring.ok()) return set(finding, ok, {"works"});
        if (!facts_.ring.tried) {
            const bool known_why = anything_prevents(&Finding::prevents_rings);
            return set(finding, known_why ? unknown : missing, {"could not be tried"}, {known_why ? "" : who_knows});
        }
        std::string_view advice = who_knows;
        const int error = facts_.ring.error;
        if (error == EINVAL) advice = "Rings with DEFER_TASKRUN need Linux 6.1 or later.";
        if (error == ENOMEM) advice = no_memory;
        if (error == EMFILE || error == ENFILE) advice = "Out of file descriptors: raise ulimit -n (RLIMIT_NOFILE).";
        set(finding, missing, {"refused with ", error_name(error)}, {advice});
    }

    void no_sqarray() {
        Finding& finding = add("ring.no_sqarray", "IORING_SETUP_NO_SQARRAY", NeededFor::nothing,
                               "The submission queue has no second array of indices. The user engine works with one; every "
                               "kernel that runs loops by itself works without. Since Linux 6.6.");
        if (!facts_.ring.ok()) return set(finding, unknown, {"could not be tried"});
        if (facts_.no_sqarray) return set(finding, ok, {"works"});
        set(finding, warning, {"not in this kernel"}, {"Linux 6.6 and later have it; nothing fails without."});
    }

    void sq_rewind() {
        Finding& finding =
            add("ring.sq_rewind", "IORING_SETUP_SQ_REWIND", NeededFor::nothing,
                "Submissions always start at the first entry of the queue, which stays in the cache. Both engines work without "
                "it. Since Linux 7.0.");
        if (!facts_.ring.ok()) return set(finding, unknown, {"could not be tried"});
        if (facts_.sq_rewind) return set(finding, ok, {"works"});
        set(finding, warning, {"not in this kernel"}, {"Linux 7.0 and later have it; nothing fails without."});
    }

    void memlock() {
        Finding& finding = add("limit.memlock", "limit of locked memory", NeededFor::nothing,
                               "RLIMIT_MEMLOCK. Memory regions, registered buffers and, in newer kernels, rings count against "
                               "it, unless the process has CAP_IPC_LOCK.");
        constexpr std::uint64_t enough = std::uint64_t{1} << 20;
        if (!facts_.memlock) return set(finding, ok, {"unlimited"});
        const std::string value = std::to_string(*facts_.memlock / 1024);
        if (has(Capability::ipc_lock)) return set(finding, ok, {value, " KiB, of no account with CAP_IPC_LOCK"});
        if (*facts_.memlock >= enough) return set(finding, ok, {value, " KiB"});
        set(finding, warning, {value, " KiB"}, {"Raise ulimit -l: large states and registered buffers do not fit."});
    }

    void btf() {
        Finding& finding = add("btf.vmlinux", "type information of the kernel", NeededFor::loops,
                               "BTF in /sys/kernel/btf/vmlinux. libbpf fits a loop's program to the running kernel by it.");
        const int error = facts_.types.error;
        if (error == 0) return set(finding, ok, {"readable"});
        if (error == ENOENT) {
            return set(finding, missing, {"no /sys/kernel/btf/vmlinux"},
                       {"Mount sysfs on /sys, or boot a kernel built with CONFIG_DEBUG_INFO_BTF."});
        }
        set(finding, missing, {"not readable: ", error_name(error)},
            {error == EACCES ? "Let this process read /sys/kernel/btf/vmlinux."
                             : "/sys/kernel/btf/vmlinux is damaged, or newer than libbpf understands: update libbpf."});
    }

    void ops() {
        Finding& finding =
            add("btf.io_uring_bpf_ops", "struct io_uring_bpf_ops", NeededFor::loops,
                "The kernel type by which a loop is attached. A kernel that has it can run loops; one that has not, cannot.");
        if (facts_.types.error != 0) return set(finding, unknown, {no_types});
        if (facts_.types.has_ops()) return set(finding, ok, {"in this kernel"});
        const std::string_view value = facts_.types.ops_id != 0 ? "without member loop_step" : "not in this kernel";
        if (version_known() && facts_.version < first_with_loops) {
            set(finding, missing, {value}, {"Linux ", text(facts_.version), " is older than loops are. ", boot_another});
        } else if (facts_.config.readable() && facts_.config[ConfigOption::io_uring_bpf_ops].empty()) {
            set(finding, missing, {value}, {"This kernel is built without CONFIG_IO_URING_BPF_OPS. ", boot_another});
        } else {
            set(finding, missing, {value}, {boot_another});
        }
    }

    static constexpr std::string_view no_types = "no type information to look into";

    // A kernel without loops lacks all of their interface. One piece of advice is enough then.
    [[nodiscard]] std::string_view if_not_told() const noexcept {
        return facts_.types.has_ops() ? boot_another : std::string_view();
    }

    void kfuncs() {
        Finding& finding = add("btf.kfuncs", "functions for loops", NeededFor::loops,
                               "bpf_io_uring_submit_sqes and bpf_io_uring_get_region: what a loop calls in the kernel.");
        if (facts_.types.error != 0) return set(finding, unknown, {no_types});
        if (facts_.types.has_kfuncs()) return set(finding, ok, {"in this kernel"});
        std::string_view value = "not in this kernel";
        if (facts_.types.submit_sqes_id != 0) value = "no bpf_io_uring_get_region";
        if (facts_.types.get_region_id != 0) value = "no bpf_io_uring_submit_sqes";
        set(finding, missing, {value}, {if_not_told()});
    }

    void loop_params() {
        Finding& finding = add(
            "btf.iou_loop_params", "struct iou_loop_params", NeededFor::loops,
            "What a loop tells the kernel about its waiting. Every kernel with loops has cq_wait_idx; others may have more.");
        if (facts_.types.error != 0) return set(finding, unknown, {no_types});
        std::string fields;
        bool waits = false;
        for (const std::string& field : facts_.types.params_fields) {
            list(fields, field);
            waits = waits || field == "cq_wait_idx";
        }
        if (waits) return set(finding, ok, {fields});
        if (fields.empty()) return set(finding, missing, {"not in this kernel"}, {if_not_told()});
        set(finding, missing, {fields, ", without cq_wait_idx"}, {if_not_told()});
    }

    void region() {
        Finding& finding = add(
            "ring.region", "memory region of a ring", NeededFor::loops,
            "A page of this process is registered as a ring's memory region, where a loop that runs in the kernel finds its "
            "state. The user engine needs none. Since Linux 6.13.");
        if (facts_.region.ok()) return set(finding, ok, {"works"});
        if (!facts_.region.tried) return set(finding, unknown, {"could not be tried"});
        std::string_view advice = who_knows;
        if (facts_.region.error == EINVAL) advice = "Memory regions need Linux 6.13 or later; loops in the kernel, 7.1.";
        if (facts_.region.error == ENOMEM) advice = no_memory;
        set(finding, missing, {"refused with ", error_name(facts_.region.error)}, {advice});
    }

    void user_namespace() {
        Finding& finding =
            add("process.user_namespace", "user namespace", NeededFor::loops,
                "Capabilities count for loading a loop only in the initial user namespace. Being root in a "
                "rootless container, or in one with user namespaces, is not enough, unless there is a BPF token.");
        if (!facts_.initial_user_namespace) return set(finding, unknown, {"not told"});
        if (*facts_.initial_user_namespace) return set(finding, ok, {"the initial one"});
        if (facts_.program.ok()) return set(finding, ok, {"not the initial one, but loading works"});
        set(finding, missing, {"not the initial one"},
            {"Load the loop in a container that root started without user namespaces, or in none; or let this one have a BPF "
             "token: see process.bpf_token."});
    }

    void bpf_token() {
        Finding& finding = add("process.bpf_token", "BPF token", NeededFor::loops,
                               "What makes capabilities of another user namespace count. libbpf takes it from the BPF file "
                               "system in /sys/fs/bpf, or that in LIBBPF_BPF_TOKEN_PATH, where root of the whole system has "
                               "mounted one with delegate_* options for this namespace. Since Linux 6.9.");
        if (facts_.initial_user_namespace == true) return set(finding, ok, {"not needed in this user namespace"});
        if (!facts_.token.tried) return set(finding, unknown, {"not tried"});
        const std::string& path = facts_.token_path;
        if (facts_.token.failed()) {
            if (facts_.program.ok()) return set(finding, ok, {"none, and loading works"});
            return set(finding, missing, {"none from ", path, ": ", error_name(facts_.token.error)}, {delegate});
        }
        if (!facts_.token_lacks.empty())
            return set(finding, missing, {"from ", path, ", without ", facts_.token_lacks}, {delegate});
        set(finding, ok, {"from ", path});
    }

    static constexpr std::string_view delegate =
        "Have a BPF file system mounted with delegate_cmds=prog_load:map_create:btf_load, delegate_maps=array:struct_ops, "
        "delegate_progs=socket_filter:struct_ops, delegate_attachs=cgroup_inet_ingress. systemd, Incus and LXC can do it; "
        "examples/with-bpf-token shows how it is done.";

    void capabilities() {
        Finding& finding =
            add("process.capabilities", "capabilities", NeededFor::loops,
                "Effective ones of this thread. Loading a loop into the kernel needs CAP_BPF and CAP_PERFMON, or "
                "CAP_SYS_ADMIN. Running it needs none, so a program can drop them in between. The user engine "
                "needs none at all.");
        if (!facts_.capabilities) return set(finding, unknown, {"not told"});
        std::string held;
        if (facts_.capabilities->has(Capability::bpf)) list(held, "CAP_BPF");
        if (facts_.capabilities->has(Capability::perfmon)) list(held, "CAP_PERFMON");
        if (facts_.capabilities->has(Capability::sys_admin)) list(held, "CAP_SYS_ADMIN");
        if (facts_.capabilities->may_load()) return set(finding, ok, {held});
        const std::string_view prefix = held.empty() ? "neither CAP_BPF nor CAP_PERFMON" : "only ";
        if (facts_.capabilities->could_load()) {
            return set(finding, missing, {prefix, held, " in effect"},
                       {"The thread has them permitted: raise CAP_BPF and CAP_PERFMON to effective with capset(2)."});
        }
        set(finding, missing, {prefix, held},
            {"Run as root, or give the program CAP_BPF and CAP_PERFMON: setcap cap_bpf,cap_perfmon+ep FILE; systemd: "
             "AmbientCapabilities=CAP_BPF CAP_PERFMON; containers: --cap-add BPF --cap-add PERFMON. Running a loaded loop "
             "needs none."});
    }

    void unprivileged_bpf() {
        Finding& finding =
            add("sysctl.unprivileged_bpf_disabled", "sysctl kernel.unprivileged_bpf_disabled", NeededFor::nothing,
                "Whether processes without capabilities may load BPF programs of a few harmless types. Loops are not among "
                "them, so it "
                "makes no difference here.");
        if (!facts_.unprivileged_bpf_disabled) return set(finding, unknown, {"not readable"});
        set(finding, ok, {std::to_string(*facts_.unprivileged_bpf_disabled), ", makes no difference"});
    }

    void bpf_call() {
        Finding& finding = add("syscall.bpf", "bpf system call", NeededFor::loops,
                               "Whether bpf() reaches the kernel, tried with a command that does not exist.");
        if (facts_.bpf.lets_through()) return set(finding, ok, {"let through"});
        if (!facts_.bpf.tried) return set(finding, unknown, {"could not be tried"});
        refused(finding, {facts_.bpf, "bpf"}, "Capabilities are missing: see process.capabilities.");
    }

    void jit() {
        Finding& finding = add("sysctl.bpf_jit_enable", "sysctl net.core.bpf_jit_enable", NeededFor::loops,
                               "BPF programs that call functions of the kernel, as loops do, have to be compiled to machine "
                               "code. 1: they are. 2: so too, with a dump in the kernel's log. 0: they are interpreted.");
        if (!facts_.bpf_jit_enable) return set(finding, unknown, {"not readable"});
        const bool fine = *facts_.bpf_jit_enable != 0 || facts_.program.ok();
        set(finding, fine ? ok : missing, {std::to_string(*facts_.bpf_jit_enable)},
            {fine ? "" : "As root: sysctl net.core.bpf_jit_enable=1"});
    }

    void lockdown() {
        Finding& finding = add("kernel.lockdown", "kernel lockdown", NeededFor::nothing,
                               "Keeps even root from changing (integrity) or reading (confidentiality) the running kernel. "
                               "Loops run under both; in the second, the kernel engine refuses those that read kernel memory "
                               "with bpf_probe_read_kernel().");
        if (!facts_.lockdown) return set(finding, unknown, {"not readable"});
        if (*facts_.lockdown != "confidentiality") return set(finding, ok, {*facts_.lockdown});
        set(finding, warning, {*facts_.lockdown}, {"Boot with lockdown=integrity if a loop of yours reads kernel memory."});
    }

    void program() {
        Finding& finding = add("program.load", "loading of a loop", NeededFor::loops,
                               "The smallest loop there is, loaded into the kernel and thrown away without being attached. It "
                               "passes the verifier of this kernel, its security modules and its compiler.");
        if (facts_.program.ok()) return set(finding, ok, {"works"});
        if (!facts_.program.tried) {
            const bool known_why = anything_prevents(&Finding::prevents_loops);
            return set(finding, known_why ? unknown : missing, {"not tried"}, {known_why ? "" : report});
        }
        const bool permission = facts_.program.error == EPERM || facts_.program.error == EACCES;
        const bool log = !facts_.program_log.empty();
        set(finding, missing, {"refused with ", error_name(facts_.program.error)},
            {permission && !log ? "Capabilities are missing, or a security module (SELinux, AppArmor, BPF LSM) forbids it: "
                                  "look at the audit log."
                                : report,
             log ? " The verifier says: " : "", facts_.program_log});
    }

    static constexpr std::string_view report =
        "Please report this as a bug of ringstep, with all that ringstep-check --json prints.";

    // A fault that kernels have from the first with loops to before `fixed`.
    void fault(Finding& finding, const KernelVersion& fixed, std::string_view advice) {
        if (!facts_.types.has_ops()) return set(finding, ok, {"no loops, no fault"});
        if (!version_known()) return set(finding, unknown, {"the version is not known"});
        if (facts_.version < first_with_loops || facts_.version >= fixed) return set(finding, ok, {"not in this kernel"});
        set(finding, warning, {"in ", text(facts_.version), ", fixed in ", text(fixed)}, {advice});
    }

    void double_attach() {
        fault(add("fault.double_attach", "CVE-2026-72112 (double attach)", NeededFor::nothing,
                  "Attaching one loop twice leaves a dangling pointer in kernels before 7.1.5. ringstep never does; other "
                  "programs that may load loops could. The user engine has nothing to do with it."),
              {.major = 7, .minor = 1, .patch = 5}, "Update the kernel to 7.1.5 or later.");
    }

    void socket_commands() {
        fault(add("fault.socket_commands", "socket commands in loops", NeededFor::nothing,
                  "Before Linux 7.3, a socket command (setsockopt by IORING_OP_URING_CMD) that a loop submits in the kernel "
                  "skips the socket's lock and a capability check."),
              {.major = 7, .minor = 3},
              "Submit no IORING_OP_URING_CMD on sockets from a loop: do it from the application before the loop runs.");
    }

    const Facts& facts_;
    std::vector<Finding> findings_;
};

}  // namespace detail

/// Returns all findings, with one fixed list of ids in one order.
[[nodiscard]] inline std::vector<Finding> judge(const Facts& facts) { return detail::Judge(facts).run(); }

}  // namespace ringstep::inline v0::support
