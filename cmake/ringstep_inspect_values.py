"""What ringstep_inspect.py knows of registers and stack: abstract values, and states of the program that are joined where paths meet."""

ALL = (1 << 64) - 1
MOST_BYTES = 1 << 29  # no state is larger

SCALAR, STACK, REGION, MAP, KERNEL, LEAK, ARGS, ITERATOR, ANY = (
    "number", "stack", "region", "map", "kernel", "leak", "args", "iterator", "any")
POINTERS = (STACK, REGION, MAP, KERNEL, ARGS, ITERATOR, ANY)


class Value:
    """What a register or a part of the stack holds.

    kind     a number, a kind of pointer, or LEAK: a number made of kernel pointers or read from kernel memory
    uninit   it may be stack memory that was never written
    user     the application decides it, or for a pointer its offset, by what it writes to a region
    most     a number: the largest value that arithmetic allows. A pointer to a region: the same of the part of its offset that is
             `user`. A pointer to the stack: the same of the part of its offset that varies
    bounded  masked by a constant of the loaded program whose value is not known here, like the mask of the CQ
    const    a number: its value, if it is always the same. A pointer: its offset, as far as it is constant; None if it is unknown
    where    STACK: the frame. REGION: the number of the region or None
    """

    __slots__ = ("kind", "uninit", "user", "most", "bounded", "const", "where", "key")

    def __init__(self, kind, uninit=False, user=False, most=0, bounded=False, const=None, where=None):
        self.kind, self.uninit, self.user, self.most = kind, uninit, user, most
        self.bounded, self.const, self.where = bounded, const, where
        self.key = (kind, uninit, user, most, bounded, const, where)

    def __eq__(self, other):
        return self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def but(self, **changes):
        fields = dict(zip(("kind", "uninit", "user", "most", "bounded", "const", "where"), self.key))
        fields.update(changes)
        return Value(**fields)

    def fits(self):
        """True if arithmetic alone bounds it."""
        return self.bounded or self.most < MOST_BYTES


def number(value):
    value &= ALL
    return Value(SCALAR, most=value, const=value)


def unknown(most=ALL, user=False):
    return Value(SCALAR, most=most, user=user)


UNWRITTEN = Value(SCALAR, uninit=True, most=ALL)


def join(a, b):
    if a is b or a.key == b.key:
        return a
    uninit, user = a.uninit or b.uninit, a.user or b.user
    # NULL, or a pointer; and garbage that a path leaves behind, or a pointer.
    for one, other in ((a, b), (b, a)):
        if one.kind in POINTERS and other.kind == SCALAR:
            return one.but(uninit=uninit)
    if a.kind != b.kind:
        if LEAK in (a.kind, b.kind) and SCALAR in (a.kind, b.kind):
            return Value(LEAK, uninit, user, ALL)
        return Value(ANY, uninit, user, max(a.most, b.most), a.bounded or b.bounded)
    if a.kind == STACK and a.where != b.where:
        return Value(ANY, uninit, user, ALL)
    if a.kind == STACK and a.const != b.const:
        return Value(STACK, uninit, where=a.where)
    return Value(a.kind, uninit, user, max(a.most, b.most), a.bounded or b.bounded, a.const if a.const == b.const else None,
                 a.where if a.where == b.where else None)


class Frame:
    """The stack of one function: values by offset, as they were written. Everything else is unwritten."""

    __slots__ = ("parts",)

    def __init__(self, parts=None):
        self.parts = parts if parts is not None else {}

    def copy(self):
        return Frame(dict(self.parts))

    def overlapping(self, offset, size):
        return [at for at in range(offset - 7, offset + size) if at in self.parts and at + self.parts[at][0] > offset]

    def split(self, at, sizes):
        size, value = self.parts.pop(at)
        piece = part_of(value)
        for length in sizes:
            self.parts[at] = (length, piece)
            at += length

    def write(self, offset, size, value):
        for at in self.overlapping(offset, size):
            length = self.parts[at][0]
            if at >= offset and at + length <= offset + size:
                del self.parts[at]
                continue
            self.split(at, [1] * length)
        for at in self.overlapping(offset, size):
            del self.parts[at]
        self.parts[offset] = (size, value)

    def read(self, offset, size):
        if offset in self.parts and self.parts[offset][0] == size:
            return self.parts[offset][1]
        result, covered = None, 0
        for at in self.overlapping(offset, size):
            length, value = self.parts[at]
            value = part_of(value)
            result = value if result is None else join(result, value)
            covered += min(at + length, offset + size) - max(at, offset)
        if covered < size:
            result = UNWRITTEN if result is None else result.but(uninit=True)
        return result if result.kind not in (SCALAR, LEAK) else result.but(most=min(result.most, (1 << 8 * size) - 1))

    def read_somewhere(self, pointer, offset, size):
        """Reads at a place that varies."""
        first, last = (-512, 0) if pointer.const is None else (pointer.const + offset, pointer.const + offset + pointer.most + size)
        result = self.read(first, 1) if last - first < 512 else UNWRITTEN
        for at in range(first, min(last, 0)):
            result = join(result, self.read(at, 1))
        return result

    def write_somewhere(self, pointer, offset, size, value):
        """
        Writes to a place that varies. Pointers there stay what they are: where the write may have hit one, the verifier no longer takes
        it for a pointer, and refuses its use.
        """
        first, last = (-512, 0) if pointer.const is None else (pointer.const + offset, pointer.const + offset + pointer.most + size)
        for at, (length, before) in list(self.parts.items()):
            if at < last and at + length > first:
                self.parts[at] = (length, join(before, part_of(value)))


def part_of(value):
    """A part of a value: of a pointer, it is a leak."""
    if value.kind == SCALAR:
        return Value(SCALAR, value.uninit, value.user, ALL)
    return Value(LEAK, value.uninit, value.user, ALL)


def join_frames(a, b):
    result = Frame()
    a, b = a.copy(), b.copy()
    for one, other in ((a, b), (b, a)):
        for at, (length, _) in list(one.parts.items()):
            if at in one.parts and at in other.parts and other.parts[at][0] == length:
                continue
            if at in one.parts and other.overlapping(at, length):
                one.split(at, [1] * length)
                for overlap in other.overlapping(at, length):
                    if other.parts[overlap][0] != 1:
                        other.split(overlap, [1] * other.parts[overlap][0])
    for at in set(a.parts) | set(b.parts):
        length, value = a.parts.get(at) or b.parts[at]
        if at in a.parts and at in b.parts:
            value = join(value, b.parts[at][1])
        else:
            value = value.but(uninit=True)
        result.parts[at] = (length, value)
    return result


class State:
    """The registers, and the frames of all functions on the stack."""

    __slots__ = ("registers", "frames")

    def __init__(self, registers, frames):
        self.registers, self.frames = registers, frames

    def copy(self):
        return State(list(self.registers), [frame.copy() for frame in self.frames])

    def same(self, other):
        return self.registers == other.registers and all(
            mine.parts == others.parts for mine, others in zip(self.frames, other.frames))


def join_states(a, b):
    return State([join(x, y) for x, y in zip(a.registers, b.registers)],
                 [join_frames(x, y) for x, y in zip(a.frames, b.frames)])


def widen(before, after):
    """Gives up numbers that still grow, so that loops end."""

    def wide(old, new):
        if old.key == new.key:
            return new
        const = new.const if new.const == old.const else None
        most = new.most if new.most == old.most else ALL if new.kind in (SCALAR, LEAK) else new.most
        if new.kind == STACK and new.most != old.most:
            return new.but(const=None, most=0)
        if new.kind in POINTERS and new.user and new.most != old.most:
            most = ALL
        return new.but(const=const, most=most)

    frames = []
    for old, new in zip(before.frames, after.frames):
        frames.append(Frame({at: (length, wide(old.parts[at][1], value) if at in old.parts and old.parts[at][0] == length else value)
                             for at, (length, value) in new.parts.items()}))
    return State([wide(x, y) for x, y in zip(before.registers, after.registers)], frames)
