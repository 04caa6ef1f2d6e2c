// SPDX-License-Identifier: MIT
// What the kernel says about the BPF programs that it holds.
#pragma once

#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace bench {

struct ProgramFacts {
    std::uint32_t id = 0;
    std::uint32_t xlated_bytes = 0;           ///< after verification, 8 bytes an instruction
    std::uint32_t jited_bytes = 0;            ///< in the processor's own code
    std::uint32_t verified_instructions = 0;  ///< followed by the verifier, along all paths
    std::uint64_t runs = 0;                   ///< while statistics were on
    std::uint64_t run_time = 0;               ///< how long it ran, in clock units, kfuncs included
};

/// A file descriptor of the kernel's, closed at the end.
class Descriptor {
public:
    explicit Descriptor(int fd, const char* what) : fd_(fd) {
        if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { close(fd_); }
    [[nodiscard]] int get() const { return fd_; }

private:
    int fd_;
};

[[nodiscard]] inline bpf_prog_info program_info(int fd) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    if (bpf_prog_get_info_by_fd(fd, &info, &size) != 0)
        throw std::system_error(errno, std::generic_category(), "bpf_prog_info");
    return info;
}

/// The youngest program with that name; the kernel keeps 15 characters of it. Needs CAP_SYS_ADMIN.
[[nodiscard]] inline ProgramFacts program_facts(std::string_view name) {
    ProgramFacts facts;
    for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
        const int fd = bpf_prog_get_fd_by_id(id);
        if (fd < 0) continue;  // gone in the meantime
        const Descriptor program(fd, "program");
        const bpf_prog_info info = program_info(program.get());
        if (name.substr(0, sizeof info.name - 1) != info.name) continue;
        facts = {.id = id,
                 .xlated_bytes = info.xlated_prog_len,
                 .jited_bytes = info.jited_prog_len,
                 .verified_instructions = info.verified_insns,
                 .runs = info.run_cnt,
                 .run_time = info.run_time_ns};
    }
    if (facts.id == 0) throw std::system_error(ENOENT, std::generic_category(), "search for BPF program " + std::string(name));
    return facts;
}

/// The program's instructions as the kernel runs (or compiles) them: after verification, without what can never be reached.
[[nodiscard]] inline std::vector<bpf_insn> program_instructions(std::uint32_t id) {
    const Descriptor program(bpf_prog_get_fd_by_id(id), "program");
    std::vector<bpf_insn> instructions(program_info(program.get()).xlated_prog_len / sizeof(bpf_insn));
    bpf_prog_info info{};
    info.xlated_prog_insns = reinterpret_cast<std::uintptr_t>(instructions.data());
    info.xlated_prog_len = static_cast<__u32>(instructions.size() * sizeof(bpf_insn));
    __u32 size = sizeof info;
    if (bpf_prog_get_info_by_fd(program.get(), &info, &size) != 0 || info.xlated_prog_insns == 0) {
        throw std::system_error(errno != 0 ? errno : EPERM, std::generic_category(), "dump of a BPF program");
    }
    return instructions;
}

/// The only value of an array map: a program's global variables.
[[nodiscard]] inline std::vector<std::uint8_t> map_value(std::uint32_t id) {
    const Descriptor map(bpf_map_get_fd_by_id(id), "map");
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_map_get_info_by_fd(map.get(), &info, &size) != 0)
        throw std::system_error(errno, std::generic_category(), "bpf_map_info");
    std::vector<std::uint8_t> value(info.value_size);
    const __u32 key = 0;
    if (bpf_map_lookup_elem(map.get(), &key, value.data()) != 0) {
        throw std::system_error(errno, std::generic_category(), "reading of a program's variables");
    }
    return value;
}

}  // namespace bench
