// SPDX-License-Identifier: MIT
// Counts the BPF instructions of a nop loop for each of its submits. It takes the program from the kernel, as it is after
// verification, and runs it in this process on made-up regions. There, each nop completes when it is submitted, as in the
// kernel.
#pragma once

#include <linux/io_uring.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <ringstep/queues.hpp>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/bpf_interpreter.hpp"
#include "common/bpf_programs.hpp"
#include "common/statistics.hpp"

namespace bench {

/// The addresses of kernel functions, from /proc/kallsyms.
class KernelSymbols {
public:
    KernelSymbols() {
        std::ifstream file("/proc/kallsyms");
        for (std::string line; std::getline(file, line);) {
            std::istringstream fields(line);
            std::uint64_t address = 0;
            std::string type;
            std::string name;
            fields >> std::hex >> address >> type >> name;
            if (name == "__bpf_call_base") base_ = address;
            if (name == "bpf_io_uring_get_region") get_region_ = address;
            if (name == "bpf_io_uring_submit_sqes") submit_ = address;
            if (name == "bpf_get_current_task_btf") current_task_ = address;
        }
        if (base_ == 0 || get_region_ == 0 || submit_ == 0)
            throw std::runtime_error("no addresses in /proc/kallsyms: not root?");
    }
    [[nodiscard]] bool is_get_region(std::int32_t imm) const { return called(imm) == get_region_; }
    [[nodiscard]] bool is_submit(std::int32_t imm) const { return called(imm) == submit_; }
    /// Kernels before 7.3 call it; later ones have what it does in the program.
    [[nodiscard]] bool is_current_task(std::int32_t imm) const { return called(imm) == current_task_; }

private:
    [[nodiscard]] std::uint64_t called(std::int32_t imm) const { return base_ + static_cast<std::uint64_t>(std::int64_t{imm}); }

    std::uint64_t base_ = 0;
    std::uint64_t get_region_ = 0;
    std::uint64_t submit_ = 0;
    std::uint64_t current_task_ = 0;
};

/// Returns the median number of BPF instructions that lead to one submit, in the middle of a run. `memory` holds the contents
/// of the memory region at the start, with the depth of the nops.
[[nodiscard]] inline double bpf_instructions_a_submit(const std::string& program, const ringstep::Geometry& geometry,
                                                      std::vector<std::uint8_t> memory) {
    const KernelSymbols symbols;
    std::vector<std::uint8_t> cq(geometry.cqes_offset + std::size_t{geometry.cq_entries} * geometry.cqe_size);
    std::vector<std::uint8_t> sq(std::size_t{geometry.sq_entries} * geometry.sqe_size);

    std::uint64_t submits = 0;
    const auto submit = [&](std::uint64_t count) {
        submits++;
        std::uint32_t tail = 0;
        std::memcpy(&tail, &cq[geometry.cq_tail_offset], sizeof tail);
        for (std::size_t i = 0; i < count; i++, tail++) {
            io_uring_sqe sqe{};
            std::memcpy(&sqe, &sq.at(i * geometry.sqe_size), sizeof sqe);
            io_uring_cqe cqe{};
            cqe.user_data = sqe.user_data;
            std::memcpy(&cq.at(geometry.cqes_offset + std::size_t{tail & (geometry.cq_entries - 1)} * geometry.cqe_size), &cqe,
                        sizeof cqe);
        }
        std::memcpy(&cq[geometry.cq_tail_offset], &tail, sizeof tail);
        return count;
    };
    const std::vector<std::uint8_t> task(64 << 10);  // without deferred work
    const auto call = [&](std::int32_t imm, const std::uint64_t* arguments) -> std::uint64_t {
        if (symbols.is_submit(imm)) return submit(arguments[1]);
        if (symbols.is_current_task(imm)) return reinterpret_cast<std::uintptr_t>(task.data());
        if (!symbols.is_get_region(imm)) throw std::runtime_error("BPF program calls a function that is not one of io_uring's");
        std::vector<std::uint8_t>* const regions[] = {&memory, &cq, &sq};
        auto& region = *regions[arguments[1] % 3];
        return arguments[2] <= region.size() ? reinterpret_cast<std::uintptr_t>(region.data()) : 0;
    };

    BpfInterpreter interpreter(program_instructions(program_facts(program).id), call);
    std::uint32_t wait_index = 0;
    std::vector<std::uint8_t> ring(64 << 10);  // a struct io_ring_ctx, of which a program reads little
    std::uint64_t arguments[2] = {reinterpret_cast<std::uintptr_t>(ring.data()), reinterpret_cast<std::uintptr_t>(&wait_index)};
    std::vector<double> turns;
    for (std::uint64_t before = 0; turns.size() < 1000;) {
        submits = 0;
        const std::uint64_t result = interpreter.run(arguments);
        // A turn submits once or more, and a call may make several turns.
        if (submits != 0) turns.push_back(static_cast<double>(interpreter.executed() - before) / static_cast<double>(submits));
        before = interpreter.executed();
        if (static_cast<std::uint32_t>(result) != 0) break;
    }
    if (turns.size() < 5) throw std::runtime_error("too few turns of " + program + " to count");
    return summarize(turns).median;
}

}  // namespace bench
