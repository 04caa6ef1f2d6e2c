"""What ringstep_inspect.py reads of a BPF object file: instructions, relocations, functions and source lines."""

import struct


class Broken(Exception):
    """The object cannot be inspected."""


class Instruction:
    __slots__ = ("code", "dst", "src", "offset", "imm", "relocation")

    def __init__(self, code, dst, src, offset, imm):
        self.code, self.dst, self.src, self.offset, self.imm = code, dst, src, offset, imm
        self.relocation = None


class Object:
    """The parts of a BPF object file: instructions by section, relocations, functions, source lines."""

    def __init__(self, path):
        try:
            with open(path, "rb") as stream:
                self.data = stream.read()
        except OSError as error:
            raise Broken(f"cannot read it: {error.strerror}") from error
        data = self.data
        if len(data) < 64 or data[:5] != b"\x7fELF\x02" or data[5] not in (1, 2):
            raise Broken("it is no 64-bit ELF file")
        self.order = "<" if data[5] == 1 else ">"
        if self.unpack("H", 18) != (247,):
            raise Broken("it is not compiled for BPF")
        table, = self.unpack("Q", 40)
        entry_size, count, names = self.unpack("HHH", 58)
        headers = [self.unpack("IIQQQQIIQQ", table + i * entry_size) for i in range(count)]
        if not headers:
            raise Broken("it has no sections")
        names = headers[names]
        self.sections = [(self.text(names[4] + header[0]), header) for header in headers]
        self.symbols = []
        for name, header in self.sections:
            if header[1] == 2:  # SHT_SYMTAB
                strings = self.sections[header[6]][1][4]
                for at in range(header[4], header[4] + header[5], 24):
                    symbol, info, _, section, value, size = self.unpack("IBBHQQ", at)
                    self.symbols.append((self.text(strings + symbol), info & 15, section, value, size))
        self.code = {i: self.instructions(header) for i, (name, header) in enumerate(self.sections)
                     if header[1] == 1 and header[2] & 4 and header[5]}
        for name, header in self.sections:
            if header[1] == 9 and header[7] in self.code:  # SHT_REL
                for at in range(header[4], header[4] + header[5], 16):
                    place, info = self.unpack("QQ", at)
                    self.code[header[7]][place // 8].relocation = self.symbols[info >> 32]
        self.structs = self.read_structs()
        self.lines = self.source_lines()

    def unpack(self, form, at):
        try:
            return struct.unpack_from(self.order + form, self.data, at)
        except struct.error as error:
            raise Broken("it is cut off") from error

    def text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode(errors="replace")

    def instructions(self, header):
        result = []
        for at in range(header[4], header[4] + header[5], 8):
            code, registers, offset, imm = self.unpack("BBhi", at)
            low, high = registers & 15, registers >> 4
            result.append(Instruction(code, *((low, high) if self.order == "<" else (high, low)), offset, imm))
        return result

    def section(self, name):
        for i, (other, header) in enumerate(self.sections):
            if other == name:
                return i, header
        return None, None

    def read_structs(self):
        """The structs in the type information: {name: (size, {member: offset in bytes})}."""
        _, types = self.section(".BTF")
        if types is None:
            return {}
        _, _, _, header_size, offset, size, strings, _ = self.unpack("HBBIIIII", types[4])
        at, strings = types[4] + header_size + offset, strings + types[4] + header_size
        end, structs = at + size, {}
        while at < end:
            name, info, size = self.unpack("III", at)
            kind, count = info >> 24 & 31, info & 0xFFFF
            at += 12
            if kind == 4:
                members = [self.unpack("III", at + 12 * i) for i in range(count)]
                structs[self.text(strings + name)] = (size, {self.text(strings + m[0]): (m[2] & 0xFFFFFF) // 8 for m in members})
            # The sizes of what follows: integers, arrays, members, enumerators, parameters, variables, tags.
            at += {1: 4, 3: 12, 4: 12 * count, 5: 12 * count, 6: 8 * count, 13: 8 * count, 14: 4, 15: 12 * count, 17: 4,
                   19: 12 * count}.get(kind, 0)
        return structs

    def source_lines(self):
        """Where each instruction comes from: {(section, instruction): (file, line)}."""
        _, types = self.section(".BTF")
        _, more = self.section(".BTF.ext")
        if types is None or more is None:
            return {}
        _, _, _, header_size, _, _, strings, _ = self.unpack("HBBIIIII", types[4])
        strings += types[4] + header_size
        _, _, _, header_size, _, _, offset, size = self.unpack("HBBIIIII", more[4])
        at = more[4] + header_size + offset
        end = at + size
        record, = self.unpack("I", at)
        at += 4
        lines = {}
        while at < end:
            name, count = self.unpack("II", at)
            section, _ = self.section(self.text(strings + name))
            at += 8
            for _ in range(count):
                place, file, _, line = self.unpack("IIII", at)
                lines[section, place // 8] = (self.text(strings + file), line >> 10)
                at += record
        return lines

    def function_at(self, section, index):
        best = None
        for name, kind, where, value, _ in self.symbols:
            if kind == 2 and where == section and value // 8 <= index and (best is None or value > best[1]):
                best = (name, value)
        return best[0] if best else self.sections[section][0]

    def place(self, section, index):
        """Names an instruction for a person."""
        at = index
        while at >= 0 and (section, at) not in self.lines:
            at -= 1
        file, line = self.lines.get((section, at), ("", 0))
        return f"{file}:{line}" if file else self.sections[section][0], self.function_at(section, index)
