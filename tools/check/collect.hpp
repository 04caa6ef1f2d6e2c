// SPDX-License-Identifier: MIT
// Looks at the kernel and at this process. Changes nothing, prints nothing, and leaves nothing open.
// Cold throughout: for a compiler, that is to make it small and to spend no time on it.
#pragma once

#include <ringstep/detail/libbpf.hpp>
#include <ringstep/detail/uapi.hpp>
#include <check/facts.hpp>
#include <check/parse.hpp>

#include <linux/bpf.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringstep::inline v0::support {

namespace detail {

using ringstep::detail::LibbpfDiagnostics;

// A file descriptor that closes itself.
class Descriptor {
public:
    explicit Descriptor(int fd) noexcept : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

// Files of /proc and /sys tell no size, so it is read until it ends.
[[nodiscard, gnu::cold]] inline std::optional<std::string> read_file(const std::string& path) {
    constexpr std::size_t most = std::size_t{4} << 20;
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (file.get() < 0) return std::nullopt;
    std::string text;
    std::array<char, 16384> block;
    while (text.size() < most) {
        const ssize_t count = ::read(file.get(), block.data(), block.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return std::nullopt;
        if (count == 0) break;
        text.append(block.data(), static_cast<std::size_t>(count));
    }
    return text;
}

[[nodiscard, gnu::cold]] inline std::optional<long> read_number(const std::string& path) {
    const auto text = read_file(path);
    return text ? parse_number(*text) : std::nullopt;
}

}  // namespace detail

/// The configuration of the kernel called `release`, from where distributions put it below `root`.
[[nodiscard, gnu::cold]] inline KernelConfig read_config(const std::string& root, const std::string& release) {
    for (const std::string& path : {"/boot/config-" + release, "/usr/lib/modules/" + release + "/config"}) {
        if (const auto text = detail::read_file(root + path); text && !text->empty()) return parse_config(*text, path);
    }
    KernelConfig none;
    none.compressed_only = ::access((root + "/proc/config.gz").c_str(), R_OK) == 0;
    return none;
}

/// What the BTF in a file has of loops.
[[nodiscard, gnu::cold]] inline KernelTypes read_types(const std::string& path) {
    struct Free {
        void operator()(btf* types) const noexcept { btf__free(types); }
    };
    const detail::LibbpfDiagnostics diagnostics;
    KernelTypes found;
    if (::access(path.c_str(), R_OK) != 0) {
        found.error = errno;
        return found;
    }
    const std::unique_ptr<btf, Free> types(btf__parse_raw(path.c_str()));
    if (!types) {
        found.error = errno != 0 ? errno : EINVAL;
        return found;
    }
    // A hundred thousand types: one pass for all names.
    const __u32 count = btf__type_cnt(types.get());
    for (__u32 id = 1; id < count; id++) {
        const btf_type* type = btf__type_by_id(types.get(), id);
        if (btf_is_func(type)) {
            const std::string_view name = btf__name_by_offset(types.get(), type->name_off);
            if (!name.starts_with("bpf_io_uring_")) continue;
            if (name == "bpf_io_uring_submit_sqes") found.submit_sqes_id = id;
            if (name == "bpf_io_uring_get_region") found.get_region_id = id;
        } else if (btf_is_struct(type)) {
            const std::string_view name = btf__name_by_offset(types.get(), type->name_off);
            const bool ops = name == "io_uring_bpf_ops";
            if (!ops && name != "iou_loop_params") continue;
            if (ops) found.ops_id = id;
            for (__u32 i = 0; i < btf_vlen(type); i++) {
                const std::string_view member = btf__name_by_offset(types.get(), btf_members(type)[i].name_off);
                if (!ops) found.params_fields.emplace_back(member);
                if (ops && member == "loop_step") found.loop_step = i;
            }
        }
    }
    return found;
}

/// All that is in files. `root` is put before every path, so that a test can lay out a system of its own.
[[gnu::cold]] inline void collect_files(Facts& facts, const std::string& root = {}) {
    utsname names{};
    (void)::uname(&names);
    const auto release = detail::read_file(root + "/proc/sys/kernel/osrelease");
    const auto build = detail::read_file(root + "/proc/sys/kernel/version");
    const auto signature = detail::read_file(root + "/proc/version_signature");
    facts.release = release ? detail::trim(*release) : names.release;
    facts.version = upstream_version(facts.release, build.value_or(names.version) + ' ' + signature.value_or(""));
    facts.config = read_config(root, facts.release);
    facts.types = read_types(root + "/sys/kernel/btf/vmlinux");
    if (const auto text = detail::read_file(root + "/sys/kernel/security/lockdown")) facts.lockdown = parse_lockdown(*text);

    const std::string sysctl = root + "/proc/sys/";
    facts.io_uring_disabled = detail::read_number(sysctl + "kernel/io_uring_disabled");
    facts.io_uring_group = detail::read_number(sysctl + "kernel/io_uring_group");
    facts.unprivileged_bpf_disabled = detail::read_number(sysctl + "kernel/unprivileged_bpf_disabled");
    facts.bpf_jit_enable = detail::read_number(sysctl + "net/core/bpf_jit_enable");

    const std::string thread = root + "/proc/thread-self/";
    if (const auto status = detail::read_file(thread + "status")) {
        facts.capabilities = parse_capabilities(*status);
        facts.seccomp = parse_number(status_field(*status, "Seccomp"));
    }
    struct stat space{};
    constexpr ino_t initial = 0xEFFFFFFD;  // of every kernel since 3.8
    if (::stat((thread + "ns/user").c_str(), &space) == 0) facts.initial_user_namespace = space.st_ino == initial;
}

/// What the process can ask the kernel about itself.
[[gnu::cold]] inline void collect_process(Facts& facts) {
    if (!facts.capabilities) {  // no /proc
        __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
        std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
        if (::syscall(SYS_capget, &header, data.data()) == 0) {
            facts.capabilities = Capabilities{.effective = std::uint64_t{data[1].effective} << 32 | data[0].effective,
                                              .permitted = std::uint64_t{data[1].permitted} << 32 | data[0].permitted};
        }
    }
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) facts.memlock = limit.rlim_cur;
    if (facts.io_uring_group && *facts.io_uring_group >= 0) {
        const auto group = static_cast<gid_t>(*facts.io_uring_group);
        std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
        const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
        groups.resize(static_cast<std::size_t>(std::max(count, 0)));
        groups.push_back(::getegid());
        facts.in_io_uring_group = std::find(groups.begin(), groups.end(), group) != groups.end();
    }
}

/**
 * Makes a system call that can only fail, and tells how. With `in_child`, a child process makes it: a seccomp filter may end
 * whoever makes a call that it forbids.
 */
[[nodiscard, gnu::cold]] inline Answer ask(bool in_child, long number, long a = 0, long b = 0, long c = 0, long d = 0) {
    Answer answer;
    if (!in_child) {
        answer.error = ::syscall(number, a, b, c, d, 0L, 0L) < 0 ? errno : 0;
        answer.tried = true;
        return answer;
    }
    // Straight to the kernel: no fork handlers run, and the application gets no SIGCHLD. The child shares no memory with its
    // parent and does nothing but system calls.
    const long child = ::syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L);
    if (child < 0) return answer;
    if (child == 0) {
        ::prctl(PR_SET_DUMPABLE, 0);  // no core file if the filter kills
        const int error = ::syscall(number, a, b, c, d, 0L, 0L) < 0 ? errno : 0;
        ::syscall(SYS_exit_group, error);
    }
    int status = 0;
    long waited = 0;
    do {
        waited = ::waitpid(static_cast<pid_t>(child), &status, __WALL);
    } while (waited < 0 && errno == EINTR);
    if (waited != child) return answer;
    answer.tried = true;
    if (WIFSIGNALED(status)) answer.signal = WTERMSIG(status);
    if (WIFEXITED(status)) answer.error = WEXITSTATUS(status);
    return answer;
}

namespace detail {

// The flags that ringstep::Ring cannot do without.
inline constexpr unsigned ring_flags =
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;

[[gnu::cold]] inline void try_ring(Facts& facts) {
    io_uring_params params{};
    const auto open_with = [&params](unsigned flags) {
        params = {};
        params.cq_entries = 4;
        params.flags = flags;
        return io_uring_setup(1, &params);
    };
    int result = open_with(ring_flags | IORING_SETUP_NO_SQARRAY | ringstep::detail::setup_sq_rewind);
    if (result == -EINVAL) result = open_with(ring_flags | IORING_SETUP_NO_SQARRAY);
    if (result == -EINVAL) result = open_with(ring_flags);
    facts.sq_rewind = result >= 0 && (params.flags & ringstep::detail::setup_sq_rewind) != 0;
    facts.no_sqarray = result >= 0 && (params.flags & IORING_SETUP_NO_SQARRAY) != 0;
    facts.ring = {.tried = true, .error = result < 0 ? -result : 0};
    if (result < 0) return;
    const Descriptor ring(result);

    const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    ringstep::detail::region_descriptor descriptor{};
    descriptor.user_address = reinterpret_cast<std::uintptr_t>(page);
    descriptor.size = size;
    descriptor.flags = ringstep::detail::mem_region_type_user;
    ringstep::detail::region_registration registration{};
    registration.descriptor = reinterpret_cast<std::uintptr_t>(&descriptor);
    const int registered =
        io_uring_register(static_cast<unsigned>(ring.get()), ringstep::detail::register_mem_region, &registration, 1);
    facts.region = {.tried = true, .error = registered < 0 ? -registered : 0};
    ::munmap(page, size);  // the ring keeps hold of the page itself
}

// A token, from where libbpf takes one: without it, programs cannot be loaded outside the initial user namespace.
[[nodiscard, gnu::cold]] inline Descriptor try_token(Facts& facts) {
    const char* told = std::getenv("LIBBPF_BPF_TOKEN_PATH");
    facts.token_path = told == nullptr ? "/sys/fs/bpf" : told;
    if (facts.token_path.empty() || facts.initial_user_namespace != false) return Descriptor(-1);
    const Descriptor file_system(::open(facts.token_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int result = file_system.get() < 0 ? -errno : 0;
    if (result == 0) result = bpf_token_create(file_system.get(), nullptr);
    facts.token = {.tried = true, .error = result < 0 ? -result : 0};
    if (result >= 0) {
        facts.token_lacks = missing_in_token(read_file("/proc/thread-self/fdinfo/" + std::to_string(result)).value_or(""));
    }
    return Descriptor(result);
}

// Loads the smallest loop that goes all the way: it is sleepable, and it calls into io_uring.
[[gnu::cold]] inline void try_program(Facts& facts) {
    const LibbpfDiagnostics diagnostics;
    const Descriptor token = try_token(facts);
    const auto instruction = [](unsigned code, unsigned destination, unsigned source, std::int32_t immediate) {
        bpf_insn made{};
        made.code = static_cast<__u8>(code);
        made.dst_reg = destination & 0xfU;
        made.src_reg = source & 0xfU;
        made.imm = immediate;
        return made;
    };
    const std::array instructions = {
        instruction(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_1, BPF_REG_1, 0),  // the first argument: the ring's context
        instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0),         // IOU_REGION_MEM
        instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 8),         // bytes
        instruction(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, static_cast<std::int32_t>(facts.types.get_region_id)),
        instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 1),  // IOU_LOOP_STOP
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0),
    };
    constexpr __u32 with_token = 1U << 16;  // BPF_F_TOKEN_FD, Linux 6.9
    std::vector<char> log(16384);           // libbpf tries again with it when the kernel says no
    bpf_prog_load_opts options{};
    options.sz = sizeof options;
    // The verifier gives up (EAGAIN) when the thread has work waiting for it, such as a signal, or the end of the ring tried
    // before.
    options.attempts = 16;
    options.attach_btf_id = facts.types.ops_id;
    options.expected_attach_type = static_cast<bpf_attach_type>(*facts.types.loop_step);
    options.prog_flags = BPF_F_SLEEPABLE;
    if (token.get() >= 0) {
        options.prog_flags |= with_token;
        options.token_fd = static_cast<__u32>(token.get());
    }
    options.log_buf = log.data();
    options.log_size = static_cast<__u32>(log.size());
    const int result =
        bpf_prog_load(BPF_PROG_TYPE_STRUCT_OPS, nullptr, "Dual MIT/GPL", instructions.data(), instructions.size(), &options);
    const Descriptor program(result);
    facts.program = {.tried = true, .error = result < 0 ? -result : 0};
    if (result < 0 && result != -EPERM) facts.program_log = trim(log.data());
}

}  // namespace detail

/// What only trying can tell.
[[gnu::cold]] inline void collect_trials(Facts& facts) {
    const bool filtered = facts.seccomp != 0L;
    facts.io_uring_setup = ask(filtered, __NR_io_uring_setup, 1, 0);  // no parameters: EFAULT
    facts.io_uring_register = ask(filtered, __NR_io_uring_register, -1, IORING_REGISTER_PROBE, 0, 0);
    facts.io_uring_enter = ask(filtered, __NR_io_uring_enter, -1, 0, 0, 0);
    facts.bpf = ask(filtered, SYS_bpf, 0x7fff, 0, 0);  // no such command: EINVAL
    if (facts.io_uring_setup.lets_through() && facts.io_uring_register.lets_through()) detail::try_ring(facts);
    // Without capabilities the answer is known, and a security module may log the attempt.
    const bool worth_it = !facts.capabilities || facts.capabilities->may_load();
    if (worth_it && facts.bpf.lets_through() && facts.types.has_ops() && facts.types.has_kfuncs()) detail::try_program(facts);
}

/// All facts about this kernel, process and thread.
[[nodiscard, gnu::cold]] inline Facts collect() {
    Facts facts;
    collect_files(facts);
    collect_process(facts);
    collect_trials(facts);
    return facts;
}

}  // namespace ringstep::inline v0::support
