#!/usr/bin/env python3
"""Inspects the instructions of compiled loops, and fails if a loop does what no loop needs.

The kernel's verifier keeps memory safe. It lets a privileged program do other things, which this program looks for in the object file of a
loop (<name>.bpf.o). docs/security.md says what the inspection sees and what it does not see.

  call      a helper or kfunc that is not on the list below, or a map
  leak      an address in the kernel, or kernel data, is stored where the application can read it
  uninit    stack memory that the program has not written is stored there
  index     a place in a region follows from a number in a region, and no mask keeps it inside: only a branch does

It follows every path through the program, including those that no run can take, with an abstract value for each register and each part of
the stack. It needs Python 3.9 and nothing else.
"""

import argparse
import sys

from ringstep_inspect_object import Broken, Object
from ringstep_inspect_values import (
    ALL, ANY, ARGS, ITERATOR, KERNEL, LEAK, MAP, MOST_BYTES, POINTERS, REGION, SCALAR, STACK, UNWRITTEN, Frame, State, Value, join,
    join_states, number, part_of, unknown, widen)

# The helpers that a loop may call: number, name and reason.
HELPERS = {
    5: ("bpf_ktime_get_ns", "reads CLOCK_MONOTONIC"),
    125: ("bpf_ktime_get_boot_ns", "reads CLOCK_BOOTTIME"),
    158: ("bpf_get_current_task_btf", "finds the work that the task has put off, before a wait"),
    208: ("bpf_ktime_get_tai_ns", "reads CLOCK_TAI"),
}
# Others by name, so that a message and --call can name them.
OTHER_HELPERS = {
    1: "bpf_map_lookup_elem", 2: "bpf_map_update_elem", 3: "bpf_map_delete_elem", 4: "bpf_probe_read", 6: "bpf_trace_printk",
    7: "bpf_get_prandom_u32", 8: "bpf_get_smp_processor_id", 14: "bpf_get_current_pid_tgid", 15: "bpf_get_current_uid_gid",
    16: "bpf_get_current_comm", 25: "bpf_perf_event_output", 35: "bpf_get_current_task", 36: "bpf_probe_write_user",
    45: "bpf_probe_read_str", 105: "bpf_probe_write_user", 109: "bpf_send_signal", 112: "bpf_probe_read_user",
    113: "bpf_probe_read_kernel", 114: "bpf_probe_read_user_str", 115: "bpf_probe_read_kernel_str", 130: "bpf_ringbuf_output",
    131: "bpf_ringbuf_reserve", 132: "bpf_ringbuf_submit", 148: "bpf_copy_from_user", 160: "bpf_ktime_get_coarse_ns",
    177: "bpf_trace_vprintk", 181: "bpf_loop", 191: "bpf_copy_from_user_task",
}
KFUNCS = {
    "bpf_io_uring_get_region": "gets the three regions",
    "bpf_io_uring_submit_sqes": "submits what lies in the SQ region",
    "bpf_io_uring_run_work": "lets the kernel complete requests during a call, in kernels that have it",
    "bpf_io_uring_read_buffer": "ringstep_buffer_read(), in kernels that have it",
    "bpf_io_uring_write_buffer": "ringstep_buffer_write(), in kernels that have it",
    "bpf_rdonly_cast": "looks whether the kernel has deferred work for the ring, before a run ends",
    "bpf_iter_num_new": "bpf_for(): begins to count",
    "bpf_iter_num_next": "bpf_for(): counts",
    "bpf_iter_num_destroy": "bpf_for(): ends",
}
REGIONS = ("the memory region", "the CQ region", "the SQ region")
CONTROL_SIZE = 320  # sizeof(struct ringstep_control), for loops whose type information leaves it out

def plain_name(name):
    return name.split("___")[0]


class Inspection:
    """One loop's object."""

    def __init__(self, path, calls):
        self.object = Object(path)
        self.calls = calls
        self.findings = {}
        self.summaries = {}
        self.stack_of_calls = []
        # Where the memory that has a fixed size ends: the memory region, behind the state, and sections.
        self.ends = {name: header[5] for name, header in self.object.sections}
        self.ends[0] = self.object.structs.get("ringstep_control", (CONTROL_SIZE,))[0] + self.state_size()

    def state_size(self):
        for name, _, section, value, _ in self.object.symbols:
            if name == "ringstep_geometry" and 0 < section < len(self.object.sections) and name in self.object.structs:
                header = self.object.sections[section][1]
                return self.object.unpack("I", header[4] + value + self.object.structs[name][1]["state_size"])[0]
        raise Broken("it has no ringstep_geometry: it was not built with ringstep's kit, or it has no type information")

    def complain(self, kind, place, what):
        line, function = self.object.place(*place)
        self.findings.setdefault((kind, line, what), f"{line}: in {function}(): {what}")

    def run(self):
        self.check_calls()
        entries = [(value // 8, section) for name, kind, section, value, size in self.object.symbols
                   if kind == 2 and section in self.object.code and self.object.sections[section][0].startswith("struct_ops")]
        if not entries:
            raise Broken("it has no struct_ops program: it is no loop")
        for index, section in entries:
            registers = [UNWRITTEN] * 11
            registers[1] = Value(ARGS, const=0)
            registers[10] = Value(STACK, const=0, where=0)
            self.function(section, index, State(registers, [Frame()]))
        return self.findings

    # Calls, in all code, reachable or not.
    def check_calls(self):
        for section, code in self.object.code.items():
            for index, at in enumerate(code):
                if at.code == 0x18 and at.relocation and self.section_name(at.relocation).startswith(".maps"):
                    name = at.relocation[0]
                    if name not in self.calls:
                        self.complain("call", (section, index), f"it uses the map {name}, which lives outside of the three regions")
                if at.code == 0x85:
                    self.check_call(section, index, at)

    def check_call(self, section, index, at):
        if at.src == 0 and at.relocation is None:
            name = HELPERS[at.imm][0] if at.imm in HELPERS else OTHER_HELPERS.get(at.imm, f"helper {at.imm}")
            if at.imm not in HELPERS and name not in self.calls and str(at.imm) not in self.calls:
                self.complain("call", (section, index), f"it calls {name}{'()' if '_' in name else ''}, which is not on the list of calls")
        elif self.is_extern(at):
            name = plain_name(at.relocation[0])
            if name not in KFUNCS and name not in self.calls:
                self.complain("call", (section, index), f"it calls the kfunc {name}(), which is not on the list of calls")

    def section_name(self, symbol):
        return self.object.sections[symbol[2]][0] if 0 < symbol[2] < len(self.object.sections) else ""

    @staticmethod
    def is_extern(at):
        return at.relocation is not None and at.relocation[2] == 0

    # The values.
    def function(self, section, entry, state):
        """Follows a function from its entry. Returns the state when it returns, or None if it does not."""
        depth = len(state.frames)
        if depth > 8:
            raise Broken("its functions call each other more than 8 deep")
        code = self.object.code[section]
        before, visits, work, result = {entry: state}, {}, [entry], None
        leaders = self.leaders(section)
        while work:
            work.sort()
            index = work.pop(0)
            now = before[index].copy()
            while True:
                at = code[index]
                targets = self.step(section, index, at, now)
                if targets is None:  # exit
                    result = now if result is None else join_states(result, now)
                    break
                if targets == [index + 1] and index + 1 not in leaders:
                    index += 1
                    continue
                for target in targets:
                    if not 0 <= target < len(code):
                        raise Broken("it jumps out of its section")
                    if target not in before:
                        before[target] = now.copy()
                    else:
                        joined = join_states(before[target], now)
                        if joined.same(before[target]):
                            continue
                        visits[target] = visits.get(target, 0) + 1
                        before[target] = widen(before[target], joined) if visits[target] > 3 else joined
                    if target not in work:
                        work.append(target)
                break
        return result

    def leaders(self, section):
        """Where jumps lead to."""
        if ("leaders", section) not in self.summaries:
            code, found = self.object.code[section], set()
            for index, at in enumerate(code):
                for target in self.jumps(index, at) or ():
                    found.add(target)
            self.summaries["leaders", section] = found
        return self.summaries["leaders", section]

    @staticmethod
    def jumps(index, at):
        """The next instructions if this is a jump; None if it is none."""
        kind, operation = at.code & 7, at.code & 0xF0
        if kind not in (5, 6) or operation in (0x80, 0x90):
            return None
        if operation == 0x00:
            return [index + 1 + (at.offset if kind == 5 else at.imm)]
        return [index + 1, index + 1 + at.offset]

    def step(self, section, index, at, state):
        kind, registers = at.code & 7, state.registers
        if at.code == 0x95:
            return None
        jumps = self.jumps(index, at)
        if jumps is not None:
            return jumps
        if at.code == 0x85:
            self.call(section, index, at, state)
        elif at.code == 0x18:
            registers[at.dst] = self.wide_immediate(at, self.object.code[section][index + 1])
            return [index + 2]
        elif kind in (4, 7):
            registers[at.dst] = self.arithmetic(at, registers[at.dst], registers[at.src] if at.code & 8 else number(at.imm))
        elif kind == 1:
            registers[at.dst] = self.load(section, index, at, state)
        elif kind in (2, 3):
            self.store(section, index, at, state)
        else:
            raise Broken(f"instruction {at.code:#x} is unknown: this version of the inspection is too old for it")
        return [index + 1]

    def wide_immediate(self, at, following):
        if at.relocation is None:
            return number((at.imm & 0xFFFFFFFF) | following.imm << 32)
        return Value(MAP, const=at.relocation[3] + at.imm, where=self.section_name(at.relocation) or at.relocation[0])

    def arithmetic(self, at, left, right):
        operation, narrow = at.code & 0xF0, at.code & 7 == 4
        uninit, user = left.uninit or right.uninit, left.user or right.user
        if operation == 0xB0:  # mov, and its sign-extending forms
            if at.offset or narrow and right.kind != SCALAR:
                return part_of(right)
            if narrow and (right.const is None or right.const > 0xFFFFFFFF):
                most = min(right.most, 0xFFFFFFFF)
                return right.but(most=most, const=None if right.const is None else right.const & 0xFFFFFFFF)
            return right
        if operation in (0x80, 0xD0):  # negation, byte order
            if left.kind != SCALAR:
                return part_of(left)
            return Value(SCALAR, left.uninit, left.user, ALL)
        if left.kind != SCALAR or right.kind != SCALAR:
            return self.pointer_arithmetic(operation, narrow, left, right, uninit, user)
        limit = 0xFFFFFFFF if narrow else ALL
        most, bounded, const = ALL, False, None
        a, b = min(left.most, limit), min(right.most, limit)
        both = (left.bounded or left.most < MOST_BYTES) and (right.bounded or right.most < MOST_BYTES)
        either = left.bounded or right.bounded
        if left.const is not None and right.const is not None:
            const = self.exact(operation, left.const & limit, right.const & limit, limit)
        if operation == 0xC0 and right.const == 63 and not narrow:
            # All bits alike: the mask that follows from a comparison, as in the kernel's array_index_nospec(). It is taken on trust.
            bounded = True
        elif operation == 0x50:  # and
            most = min(a, b)
            bounded = either or user and left.user != right.user and most >= MOST_BYTES
            # A mask of the loaded program, or a negative constant that clears low bits.
            if right.const is not None and right.const & limit > limit >> 1 and not left.bounded:
                bounded = False
        elif operation == 0x00:  # add
            most, bounded = a + b, both and either
        elif operation == 0x20:  # multiply
            most, bounded = a * b, both and either
        elif operation == 0x60:  # shift left
            if right.const is not None:
                most = a << (right.const & 63)
            bounded = left.bounded and not right.user
        elif operation in (0x70, 0xC0):  # shift right
            most = a >> (right.const & (31 if narrow else 63)) if right.const is not None and operation == 0x70 else a
            bounded = left.bounded
        elif operation in (0x40, 0xA0):  # or, xor
            most, bounded = (1 << max(a, b).bit_length()) - 1, both and either
            if operation == 0xA0 and right.const is not None and right.const & limit == limit:
                bounded = left.bounded  # the inverse of that mask
        elif operation == 0x30:  # divide
            most, bounded = a, left.bounded
        elif operation == 0x90:  # remainder
            most = min(a, b - 1) if right.const else a
            bounded = left.bounded or user and not right.user and right.const is None
        if most > limit:
            most = limit
        if const is not None:
            most = const
        return Value(SCALAR, uninit, user, most, bounded, const)

    @staticmethod
    def exact(operation, a, b, limit):
        if operation == 0x00:
            return (a + b) & limit
        if operation == 0x10:
            return (a - b) & limit
        if operation == 0x50:
            return a & b
        if operation == 0x40:
            return a | b
        if operation == 0x60:
            return (a << (b & 63)) & limit
        if operation == 0x70:
            return a >> (b & 63)
        return None

    def pointer_arithmetic(self, operation, narrow, left, right, uninit, user):
        leak = Value(LEAK, uninit, user, ALL)
        if narrow or operation not in (0x00, 0x10):
            return leak
        if operation == 0x10 and right.kind in POINTERS:
            # The distance between two places of one region, or of one stack frame, says nothing about the kernel.
            if left.kind == right.kind and left.kind in (REGION, STACK) and left.where is not None and left.where == right.where:
                return Value(SCALAR, uninit, user, ALL)
            return leak
        pointer, other = (left, right) if left.kind in POINTERS else (right, left)
        if pointer.kind not in POINTERS or other.kind != SCALAR:
            return leak
        if other.const is not None:
            change = other.const - (1 << 64) if other.const >> 63 else other.const
            const = None if pointer.const is None else pointer.const + (change if operation == 0x00 else -change)
            return pointer.but(uninit=uninit, const=const)
        if pointer.kind == STACK:
            if operation == 0x00 and pointer.const is not None and other.most < 512:
                return pointer.but(uninit=uninit, most=pointer.most + other.most)
            return pointer.but(uninit=uninit, const=None, most=0)
        if not other.user:
            return pointer.but(uninit=uninit, const=None)
        if operation == 0x10:
            return pointer.but(uninit=uninit, user=True, const=None, most=ALL, bounded=False)
        bounded = other.bounded and (not pointer.user or pointer.bounded or pointer.fits()) or pointer.bounded and other.fits()
        return pointer.but(uninit=uninit, user=True, most=min(ALL, pointer.most + other.most), bounded=bounded)

    def check_index(self, section, index, pointer, offset, size, what):
        if pointer.kind not in (REGION, MAP, ANY) or not pointer.user or pointer.bounded:
            return
        if pointer.most >= MOST_BYTES:
            self.complain("index", (section, index), f"it {what} a place that a number in a region decides, and no mask bounds it")
        elif pointer.const is not None and (pointer.kind == MAP or pointer.where == 0):
            end, name = self.ends.get(pointer.where, 0), "the state" if pointer.kind == REGION else pointer.where
            last = pointer.const + offset + pointer.most + size
            if last > end:
                self.complain("index", (section, index), f"it {what} a place that a number in a region decides, and the mask lets it "
                                                         f"be up to {last - end} bytes behind {name}")

    def load(self, section, index, at, state):
        pointer, size = state.registers[at.src], {0x10: 1, 0x08: 2, 0x00: 4, 0x18: 8}[at.code & 0x18]
        if at.code & 0xE0 not in (0x60, 0x80):
            raise Broken(f"instruction {at.code:#x} is no load that a loop can have")
        self.check_index(section, index, pointer, at.offset, size, "reads")
        most = (1 << 8 * size) - 1
        if pointer.kind == STACK:
            if pointer.const is None or pointer.most:
                return state.frames[pointer.where].read_somewhere(pointer, at.offset, size)
            value = state.frames[pointer.where].read(pointer.const + at.offset, size)
            if at.code & 0xE0 == 0x80 and value.kind == SCALAR:
                return value.but(most=ALL, const=None)
            return value
        if at.code & 0xE0 == 0x80:
            most = ALL
        if pointer.kind == REGION:
            return unknown(most, user=True)
        if pointer.kind == MAP:
            # Frozen constants: neither secret nor the application's while the loop runs.
            return unknown(most) if pointer.where.startswith(".rodata") else unknown(most, user=True)
        if pointer.kind == ITERATOR:
            return unknown(min(most, pointer.most), user=pointer.user)
        if pointer.kind == ARGS:
            return Value(KERNEL)
        return Value(LEAK, most=most)

    def store(self, section, index, at, state):
        pointer, size = state.registers[at.dst], {0x10: 1, 0x08: 2, 0x00: 4, 0x18: 8}[at.code & 0x18]
        value = number(at.imm) if at.code & 7 == 2 else state.registers[at.src]
        atomic = at.code & 0xE0 == 0xC0
        self.check_index(section, index, pointer, at.offset, size, "writes to")
        if size < 8 and value.kind != SCALAR:
            value = part_of(value)
        if pointer.kind == STACK:
            frame = state.frames[pointer.where]
            varies = pointer.const is None or pointer.most
            if atomic:
                value = join(value, frame.read_somewhere(pointer, at.offset, size) if varies
                             else frame.read(pointer.const + at.offset, size))
            if varies:
                frame.write_somewhere(pointer, at.offset, size, value)
            else:
                frame.write(pointer.const + at.offset, size, value)
        else:
            self.check_stored(section, index, pointer, value)
        if atomic:
            fetched = unknown((1 << 8 * size) - 1, user=True) if pointer.kind == REGION else part_of(value)
            if at.imm & 0xF1 == 0xF1:  # compare and exchange
                state.registers[0] = fetched
            elif at.imm & 1:
                state.registers[at.src] = fetched

    def check_stored(self, section, index, pointer, value):
        if pointer.kind == REGION:
            where = "a region" if pointer.where is None else REGIONS[pointer.where]
        elif pointer.kind == MAP:
            where = "a map"
        elif pointer.kind == ANY:
            where = "memory that may be a region"
        elif pointer.kind == SCALAR:
            where = "memory at an address that is a number"  # the verifier refuses it
        else:
            return
        if value.kind != SCALAR:
            what = {LEAK: "a number made of kernel addresses or kernel data", STACK: "an address of the stack",
                    REGION: "the kernel's address of a region", MAP: "the address of a map", KERNEL: "a kernel pointer",
                    ARGS: "a kernel pointer"}.get(value.kind, "a kernel pointer")
            self.complain("leak", (section, index), f"it stores {what} in {where}")
        elif value.uninit:
            self.complain("uninit", (section, index), f"it stores stack memory that it may not have written in {where}")

    def call(self, section, index, at, state):
        registers = state.registers
        result = unknown()
        if at.src == 0 and at.relocation is None:
            if at.imm in (6, 177):
                self.check_printed(section, index, at, state)
            if at.imm in (158, 35):
                result = Value(KERNEL)
            elif at.imm == 1:
                result = Value(MAP, const=0, where=".maps", user=False)
        elif self.is_extern(at):
            name = plain_name(at.relocation[0])
            if name == "bpf_io_uring_get_region":
                which = registers[2].const
                result = Value(REGION, const=0, where=which if which in (0, 1, 2) else None)
            elif name == "bpf_rdonly_cast":
                result = Value(KERNEL)
            elif name == "bpf_io_uring_submit_sqes":
                result = unknown(0xFFFFFFFF)
            elif name == "bpf_iter_num_new":
                user = registers[2].user or registers[3].user
                self.write_stack(state, registers[1], unknown(min(registers[3].most, 0xFFFFFFFF), user))
            elif name == "bpf_iter_num_next":
                iterator = registers[1]
                counts = unknown(user=True)
                if iterator.kind == STACK and iterator.const is not None:
                    counts = state.frames[iterator.where].read(iterator.const, 8)
                result = Value(ITERATOR, user=counts.user, most=counts.most)
        else:
            result = self.call_function(section, index, at, state)
        registers[0] = result
        for scratched in range(1, 6):
            registers[scratched] = UNWRITTEN

    @staticmethod
    def write_stack(state, pointer, value):
        if pointer.kind == STACK and pointer.const is not None:
            state.frames[pointer.where].write(pointer.const, 8, value)

    def check_printed(self, section, index, at, state):
        text = state.registers[1]
        if text.kind != MAP or text.const is None:
            return
        _, header = self.object.section(text.where)
        if header is None or text.const >= header[5]:
            return
        # As many as the format has. bpf_trace_vprintk() has them on the stack.
        count = self.object.text(header[4] + text.const).replace("%%", "").count("%")
        arguments = state.registers[3:3 + min(count, 3)]
        if at.imm == 177:
            data = state.registers[3]
            if data.kind != STACK or data.const is None:
                return
            arguments = [state.frames[data.where].read(data.const + 8 * i, 8) for i in range(count)]
        if any(argument.kind != SCALAR for argument in arguments):
            self.complain("leak", (section, index), "it prints a kernel pointer")

    def call_function(self, section, index, at, state):
        if at.relocation is not None:
            _, _, target_section, value, _ = at.relocation
            target = value // 8 + at.imm + 1
        else:
            target_section, target = section, index + at.imm + 1
        if target_section not in self.object.code or not 0 <= target < len(self.object.code[target_section]):
            raise Broken("it calls a function outside of its sections")
        arguments = tuple(state.registers[1:6])
        shares_stack = any(argument.kind in (STACK, ANY) for argument in arguments)
        key = (target_section, target, tuple(argument.key for argument in arguments))
        if not shares_stack and key in self.summaries:
            return self.summaries[key]
        if (target_section, target) in self.stack_of_calls:
            raise Broken("its functions call themselves")
        registers = [UNWRITTEN] * 11
        registers[1:6] = arguments
        registers[10] = Value(STACK, const=0, where=len(state.frames))
        self.stack_of_calls.append((target_section, target))
        after = self.function(target_section, target, State(registers, [frame.copy() for frame in state.frames] + [Frame()]))
        self.stack_of_calls.pop()
        result = UNWRITTEN if after is None else after.registers[0]
        if after is not None and shares_stack:
            state.frames = after.frames[:-1]
        if not shares_stack:
            self.summaries[key] = result
        return result


def main():
    parser = argparse.ArgumentParser(description="Inspects the instructions of compiled loops. Fails with status 1 if one of them does "
                                                 "what no loop needs: docs/security.md.")
    parser.add_argument("objects", nargs="*", metavar="OBJECT", help="a compiled loop, <name>.bpf.o")
    parser.add_argument("--call", action="append", default=[], metavar="NAME",
                        help="also allow this helper, kfunc or map; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the helpers and kfuncs that loops may call, and why")
    parser.add_argument("--quiet", action="store_true", help="print nothing about loops without a finding")
    arguments = parser.parse_args()
    if arguments.list:
        for name, reason in sorted(list(HELPERS.values()) + list(KFUNCS.items())):
            print(f"{name:28} {reason}")
        return 0
    if not arguments.objects:
        parser.error("name the object of a loop")
    status = 0
    for path in arguments.objects:
        try:
            findings = Inspection(path, set(arguments.call)).run()
        except Broken as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 1
            continue
        for (kind, _, _), text in sorted(findings.items()):
            print(f"{path}: {kind}: {text}", file=sys.stderr)
        if findings:
            status = 1
            print(f"{path}: docs/security.md says what each finding means and what to write instead", file=sys.stderr)
        elif not arguments.quiet:
            print(f"{path}: nothing found")
    return status


if __name__ == "__main__":
    sys.exit(main())
