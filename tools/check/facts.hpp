// SPDX-License-Identifier: MIT
// What was seen of a kernel and a process. Plain data: support/collect.hpp fills it in, support/judge.hpp judges it.
#pragma once

#include <ringstep/version.hpp>

#include <array>
#include <cerrno>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringstep::inline v0::support {

/// Version of upstream Linux, as in 7.1.13.
struct KernelVersion {
    unsigned major = 0;  ///< the 7
    unsigned minor = 0;  ///< the 1
    unsigned patch = 0;  ///< the 13
    /// Compares versions by age.
    friend constexpr auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

/// What a system call answered when it was called with arguments that it can only refuse.
struct Answer {
    bool tried = false;  ///< whether the call was made
    int error = 0;       ///< errno, positive
    int signal = 0;      ///< the signal that ended the child process which tried it: seccomp filters may do that

    /// Returns whether the call reached the check of its arguments.
    [[nodiscard]] constexpr bool lets_through() const noexcept {
        return tried && signal == 0 && error != 0 && error != EPERM && error != EACCES && error != ENOSYS;
    }
    /// Returns whether the call was refused before that, for example by a filter.
    [[nodiscard]] constexpr bool refuses() const noexcept { return tried && !lets_through(); }
};

/// The options of the kernel's configuration that loops depend on.
inline constexpr std::array<std::string_view, 5> config_options = {
    "CONFIG_IO_URING", "CONFIG_DEBUG_INFO_BTF", "CONFIG_IO_URING_BPF_OPS", "CONFIG_BPF_SYSCALL", "CONFIG_BPF_JIT",
};
/// The place of each in config_options.
enum class ConfigOption : std::uint8_t {
    io_uring,
    debug_info_btf,
    io_uring_bpf_ops,
    bpf_syscall,
    bpf_jit
};

/// A configuration file, as far as it matters here.
struct KernelConfig {
    std::string path;                                       ///< of the file; empty: none could be read
    bool compressed_only = false;                           ///< there is a /proc/config.gz, which the library does not unpack
    std::array<std::string, config_options.size()> values;  ///< "y", "m", …; empty: not set

    /// A file could be read.
    [[nodiscard]] bool readable() const noexcept { return !path.empty(); }
    /// What is set for it.
    [[nodiscard]] const std::string& operator[](ConfigOption option) const noexcept {
        return values[static_cast<std::size_t>(option)];
    }
};

/// What the kernel's type information (BTF) has of the interface of loops. An id of 0: there is no such thing.
struct KernelTypes {
    int error = 0;                             ///< errno of reading it; 0: it was read
    std::uint32_t ops_id = 0;                  ///< struct io_uring_bpf_ops
    std::optional<std::uint32_t> loop_step{};  ///< index of its member loop_step
    std::uint32_t submit_sqes_id = 0;          ///< function bpf_io_uring_submit_sqes
    std::uint32_t get_region_id = 0;           ///< function bpf_io_uring_get_region
    std::vector<std::string> params_fields{};  ///< of struct iou_loop_params; later kernels may have more than cq_wait_idx

    /// A loop's struct_ops map can be made.
    [[nodiscard]] bool has_ops() const noexcept { return ops_id != 0 && loop_step.has_value(); }
    /// The functions that loops call are there.
    [[nodiscard]] bool has_kfuncs() const noexcept { return submit_sqes_id != 0 && get_region_id != 0; }
};

/// What came of a step that is only tried when those before it went well.
struct Trial {
    bool tried = false;  ///< it got that far
    int error = 0;       ///< errno, positive; 0: it went well
    /// It went well.
    [[nodiscard]] constexpr bool ok() const noexcept { return tried && error == 0; }
    /// It was tried, and did not.
    [[nodiscard]] constexpr bool failed() const noexcept { return tried && error != 0; }
};

/// Numbers, as in linux/capability.h.
enum class Capability : unsigned {
    ipc_lock = 14,
    sys_admin = 21,
    perfmon = 38,
    bpf = 39
};

/// Capabilities of the calling thread.
struct Capabilities {
    std::uint64_t effective = 0;  ///< in force
    std::uint64_t permitted = 0;  ///< may be made effective

    /// It is in force.
    [[nodiscard]] constexpr bool has(Capability capability) const noexcept { return contains(effective, capability); }

    /// Enough for loading a loop, in the initial user namespace or together with a BPF token.
    [[nodiscard]] constexpr bool may_load() const noexcept { return enough(effective); }
    /// Would be enough, if the thread raised them from permitted to effective.
    [[nodiscard]] constexpr bool could_load() const noexcept { return enough(permitted); }

private:
    [[nodiscard]] static constexpr bool enough(std::uint64_t set) noexcept {
        return contains(set, Capability::sys_admin) || (contains(set, Capability::bpf) && contains(set, Capability::perfmon));
    }
    [[nodiscard]] static constexpr bool contains(std::uint64_t set, Capability capability) noexcept {
        return ((set >> static_cast<unsigned>(capability)) & 1U) != 0;
    }
};

/// What may be unknown is optional: absent where the kernel does not tell, or does not tell this process.
struct Facts {
    std::string release;                  ///< as uname(2) has it
    KernelVersion version;                ///< of the upstream kernel; 0.0.0 if the release could not be read as one
    KernelConfig config;                  ///< of this kernel
    KernelTypes types;                    ///< of this kernel
    std::optional<std::string> lockdown;  ///< none, integrity or confidentiality

    std::optional<long> io_uring_disabled;          ///< sysctl kernel.io_uring_disabled, since Linux 6.6
    std::optional<long> io_uring_group;             ///< sysctl kernel.io_uring_group, -1: none
    bool in_io_uring_group = false;                 ///< this process is
    std::optional<long> unprivileged_bpf_disabled;  ///< sysctl kernel.unprivileged_bpf_disabled
    std::optional<long> bpf_jit_enable;             ///< sysctl net.core.bpf_jit_enable; not visible in other network namespaces

    std::optional<Capabilities> capabilities;    ///< of this thread
    std::optional<bool> initial_user_namespace;  ///< elsewhere, capabilities alone are not worth what loading a loop needs
    std::optional<long> seccomp;                 ///< of this thread: 0 none, 1 strict, 2 filter
    std::optional<std::uint64_t> memlock;        ///< soft limit of locked memory, bytes; absent: unlimited

    Answer io_uring_setup;     ///< of the system call of that name
    Answer io_uring_register;  ///< of the system call of that name
    Answer io_uring_enter;     ///< of the system call of that name
    Answer bpf;                ///< of the system call of that name
    Trial ring;                ///< opening a ring as ringstep::Ring does
    bool no_sqarray = false;   ///< it could be had with IORING_SETUP_NO_SQARRAY
    bool sq_rewind = false;    ///< and with IORING_SETUP_SQ_REWIND
    Trial region;              ///< registering a page as that ring's memory region
    std::string token_path;    ///< the BPF file system that libbpf takes a token from; empty: it was told to take none
    Trial token;               ///< taking one; tried outside the initial user namespace only
    std::string token_lacks;   ///< what libbpf needs for a loop and the token does not allow: "delegate_maps=array, …"
    Trial program;             ///< loading the smallest loop there is; it is never attached
    std::string program_log;   ///< what the verifier said about it
};

}  // namespace ringstep::inline v0::support
