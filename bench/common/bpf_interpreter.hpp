// SPDX-License-Identifier: MIT
// Runs a BPF program's instructions one by one, to count them. The kernel compiles them to about as many of the processor's
// own.
#pragma once

#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bpf_programs.hpp"

namespace bench {

/**
 * Knows what clang and the verifier make of a loop: arithmetic, jumps, loads, stores, calls of kfuncs. Throws for anything
 * else. Memory is this process's own; the current task is one without deferred work. A call of the kernel counts as one
 * instruction, whatever the function called does.
 */
class BpfInterpreter {
public:
    /// Called with the call's imm (which function) and R1 to R5; returns R0.
    using Call = std::function<std::uint64_t(std::int32_t, const std::uint64_t*)>;

    BpfInterpreter(std::vector<bpf_insn> instructions, Call call)
        : instructions_(std::move(instructions)), call_(std::move(call)) {}

    /// Runs the program with that context; returns what it returned. Adds what it executed to executed().
    std::uint64_t run(void* context) {
        registers_.fill(0);
        registers_[1] = address(context);
        return execute(0);
    }

    [[nodiscard]] std::uint64_t executed() const { return executed_; }

private:
    // BPF_ADDR_PERCPU: the verifier's own, for the address of a variable that each processor has.
    static constexpr std::int16_t per_processor = -1;

    static std::uint64_t address(void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

    [[noreturn]] static void unknown(const bpf_insn& insn) {
        throw std::runtime_error("BPF instruction that the interpreter does not know: code " + std::to_string(insn.code));
    }

    // Runs a function from its first instruction on, with a stack of its own. Returns what it returns.
    std::uint64_t execute(std::size_t at) {
        std::array<std::uint64_t, 64> stack{};
        registers_[10] = address(stack.data() + stack.size());
        while (at < instructions_.size()) {
            executed_++;
            const bpf_insn& insn = instructions_[at++];
            if (insn.code == (BPF_JMP | BPF_EXIT)) return registers_[0];
            at = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(at) + step(insn, at));
        }
        throw std::runtime_error("BPF program runs past its end");
    }

    // Calls a function of the program, which keeps R6 to R10 for its caller.
    std::ptrdiff_t call_function(std::ptrdiff_t at) {
        const auto before = registers_;
        registers_[0] = execute(static_cast<std::size_t>(at));
        std::copy(before.begin() + 6, before.end(), registers_.begin() + 6);
        return 0;
    }

    // Does one instruction; returns by how far to jump.
    std::ptrdiff_t step(const bpf_insn& insn, std::size_t next) {
        std::uint64_t& target = registers_[insn.dst_reg];
        const std::uint64_t source = registers_[insn.src_reg];
        switch (BPF_CLASS(insn.code)) {
            case BPF_ALU:
            case BPF_ALU64: target = arithmetic(insn, target, operand(insn)); return 0;
            case BPF_JMP:
                // The kernel keeps in .off where the function is, and in .imm its number.
                if (insn.code == (BPF_JMP | BPF_CALL) && insn.src_reg == BPF_PSEUDO_CALL)
                    return call_function(static_cast<std::ptrdiff_t>(next) + insn.off);
                return jump(insn);
            case BPF_JMP32: return jump(insn);
            case BPF_LDX: target = load(insn, source + static_cast<std::uint64_t>(std::int64_t{insn.off})); return 0;
            case BPF_STX: store(insn, source); return 0;
            case BPF_ST: store(insn, static_cast<std::uint64_t>(std::int64_t{insn.imm})); return 0;
            case BPF_LD:
                if (insn.code != (BPF_LD | BPF_IMM | BPF_DW)) unknown(insn);
                target = wide_constant(insn, instructions_.at(next));
                return 1;
            default: unknown(insn);
        }
    }

    [[nodiscard]] std::uint64_t operand(const bpf_insn& insn) const {
        return BPF_SRC(insn.code) == BPF_X ? registers_[insn.src_reg] : static_cast<std::uint64_t>(std::int64_t{insn.imm});
    }

    // Changes the order of bytes: to little endian, which only cuts the number here, to big endian, or to the other order.
    static std::uint64_t byte_order(const bpf_insn& insn, std::uint64_t number) {
        const bool swaps = BPF_CLASS(insn.code) == BPF_ALU64 || BPF_SRC(insn.code) == BPF_TO_BE;
        switch (insn.imm) {
            case 16: return swaps ? __builtin_bswap16(static_cast<std::uint16_t>(number)) : static_cast<std::uint16_t>(number);
            case 32: return swaps ? __builtin_bswap32(static_cast<std::uint32_t>(number)) : static_cast<std::uint32_t>(number);
            case 64: return swaps ? __builtin_bswap64(number) : number;
            default: unknown(insn);
        }
    }

    std::uint64_t arithmetic(const bpf_insn& insn, std::uint64_t a, std::uint64_t b) {
        if (BPF_OP(insn.code) == BPF_END) return byte_order(insn, a);
        const bool wide = BPF_CLASS(insn.code) == BPF_ALU64;
        if (!wide) {
            a = static_cast<std::uint32_t>(a);
            b = static_cast<std::uint32_t>(b);
        }
        const std::uint64_t shift = b & (wide ? 63U : 31U);
        std::uint64_t result = 0;
        switch (BPF_OP(insn.code)) {
            case BPF_ADD: result = a + b; break;
            case BPF_SUB: result = a - b; break;
            case BPF_MUL: result = a * b; break;
            case BPF_OR: result = a | b; break;
            case BPF_AND: result = a & b; break;
            case BPF_XOR: result = a ^ b; break;
            case BPF_LSH: result = a << shift; break;
            case BPF_RSH: result = a >> shift; break;
            case BPF_NEG: result = 0 - a; break;
            case BPF_MOV:
                if (insn.off == per_processor && wide) {
                    result = address(&current_task_);  // the only such variable that loops read
                } else if (insn.off != 0) {
                    unknown(insn);
                } else {
                    result = b;
                }
                break;
            case BPF_ARSH:
                result = wide ? static_cast<std::uint64_t>(static_cast<std::int64_t>(a) >> shift)
                              : static_cast<std::uint64_t>(static_cast<std::int32_t>(a) >> shift);
                break;
            default: unknown(insn);
        }
        return wide ? result : static_cast<std::uint32_t>(result);
    }

    std::ptrdiff_t jump(const bpf_insn& insn) {
        if (BPF_OP(insn.code) == BPF_CALL) {
            registers_[0] = call_(insn.imm, &registers_[1]);
            return 0;
        }
        if (BPF_OP(insn.code) == BPF_JA) return BPF_CLASS(insn.code) == BPF_JMP ? insn.off : insn.imm;
        std::uint64_t a = registers_[insn.dst_reg];
        std::uint64_t b = operand(insn);
        auto signed_a = static_cast<std::int64_t>(a);
        auto signed_b = static_cast<std::int64_t>(b);
        if (BPF_CLASS(insn.code) == BPF_JMP32) {
            a = static_cast<std::uint32_t>(a);
            b = static_cast<std::uint32_t>(b);
            signed_a = static_cast<std::int32_t>(a);
            signed_b = static_cast<std::int32_t>(b);
        }
        bool taken = false;
        switch (BPF_OP(insn.code)) {
            case BPF_JEQ: taken = a == b; break;
            case BPF_JNE: taken = a != b; break;
            case BPF_JGT: taken = a > b; break;
            case BPF_JGE: taken = a >= b; break;
            case BPF_JLT: taken = a < b; break;
            case BPF_JLE: taken = a <= b; break;
            case BPF_JSET: taken = (a & b) != 0; break;
            case BPF_JSGT: taken = signed_a > signed_b; break;
            case BPF_JSGE: taken = signed_a >= signed_b; break;
            case BPF_JSLT: taken = signed_a < signed_b; break;
            case BPF_JSLE: taken = signed_a <= signed_b; break;
            default: unknown(insn);
        }
        return taken ? insn.off : 0;
    }

    static std::size_t width(const bpf_insn& insn) {
        if (BPF_MODE(insn.code) != BPF_MEM) unknown(insn);
        switch (BPF_SIZE(insn.code)) {
            case BPF_B: return 1;
            case BPF_H: return 2;
            case BPF_W: return 4;
            default: return 8;
        }
    }

    static std::uint64_t load(const bpf_insn& insn, std::uint64_t from) {
        std::uint64_t value = 0;
        std::memcpy(&value, reinterpret_cast<const void*>(from), width(insn));
        return value;
    }

    void store(const bpf_insn& insn, std::uint64_t value) {
        const std::uint64_t to = registers_[insn.dst_reg] + static_cast<std::uint64_t>(std::int64_t{insn.off});
        std::memcpy(reinterpret_cast<void*>(to), &value, width(insn));
    }

    // A number, or where a global variable lies: in a copy of the map that holds it.
    std::uint64_t wide_constant(const bpf_insn& low, const bpf_insn& high) {
        if (low.src_reg == 0) return static_cast<std::uint32_t>(low.imm) | static_cast<std::uint64_t>(high.imm) << 32;
        if (low.src_reg != BPF_PSEUDO_MAP_VALUE) unknown(low);
        auto& variables = variables_[low.imm];
        if (variables.empty()) variables = map_value(static_cast<std::uint32_t>(low.imm));
        return address(variables.data()) + static_cast<std::uint32_t>(high.imm);
    }

    std::vector<bpf_insn> instructions_;
    Call call_;
    std::array<std::uint64_t, 12> registers_{};  // R0 to R10, and the one that the verifier keeps to itself
    std::map<std::int32_t, std::vector<std::uint8_t>> variables_;
    std::array<std::uint64_t, 8192> task_{};  // a struct task_struct that has nothing to do
    std::uint64_t* current_task_ = task_.data();
    std::uint64_t executed_ = 0;
};

}  // namespace bench
