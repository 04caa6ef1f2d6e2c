// SPDX-License-Identifier: MIT
// Says which line of a BPF program's source the processor's instructions come from.
#pragma once

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "bpf_programs.hpp"

namespace bench {

/// Writes where the lines of a BPF program begin in the compiled code: address, file, line and text, with tabs between them.
/// Writes nothing if the kernel does not say, as for programs without type information.
inline void write_lines_of(std::ofstream& file, int program) {
    const bpf_prog_info sizes = program_info(program);
    std::vector<bpf_line_info> lines(sizes.nr_line_info);
    std::vector<std::uint64_t> addresses(sizes.nr_jited_line_info);
    bpf_prog_info info{};
    info.line_info = reinterpret_cast<std::uintptr_t>(lines.data());
    info.nr_line_info = sizes.nr_line_info;
    info.line_info_rec_size = sizeof(bpf_line_info);
    info.jited_line_info = reinterpret_cast<std::uintptr_t>(addresses.data());
    info.nr_jited_line_info = sizes.nr_jited_line_info;
    info.jited_line_info_rec_size = sizeof(std::uint64_t);
    __u32 size = sizeof info;
    if (bpf_prog_get_info_by_fd(program, &info, &size) != 0 || info.btf_id == 0 || lines.size() != addresses.size()) return;
    btf* const types = btf__load_from_kernel_by_id(info.btf_id);
    if (types == nullptr) return;
    for (std::size_t i = 0; i < lines.size(); i++) {
        const char* name = btf__name_by_offset(types, lines[i].file_name_off);
        const char* text = btf__name_by_offset(types, lines[i].line_off);
        file << std::hex << addresses[i] << std::dec << '\t' << (name != nullptr ? name : "") << '\t'
             << BPF_LINE_INFO_LINE_NUM(lines[i].line_col) << '\t' << (text != nullptr ? text : "") << '\n';
    }
    btf__free(types);
}

/// Writes the lines of all BPF programs that the kernel holds. Needs root.
inline void write_lines(const std::string& path) {
    std::ofstream file(path);
    for (__u32 id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
        const int fd = bpf_prog_get_fd_by_id(id);
        if (fd < 0) continue;
        const Descriptor program(fd, "program");
        write_lines_of(file, program.get());
    }
}

}  // namespace bench
