"""Sections as fragments, and the sizes and addresses they come to: branch relaxation.

A section is a list of fragments. Most hold bytes; some have a size that depends on addresses: branches, alignments,
`.org` and LEB128 numbers. `relax` starts with every branch as small as it goes and lets them only grow, so it comes to
an end, and always to the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rvsim.asm.errors import Place, Problem
from rvsim.asm.expressions import Label, Node, Value
from rvsim.asm.operands import Coded, Immediate

MAX_SECTION = 64 << 20
"""Most bytes of a section that has contents."""

ADDRESS_SPACE = 1 << 32
PATIENCE = 40
"""Passes in which single branches grow; what still grows then goes to its largest form at once."""

NOP = b"\x13\0\0\0"  # addi x0,x0,0
C_NOP = b"\x01\0"


@dataclass
class Fixup:
    """Bytes that wait for addresses.

    Attributes
    ----------
    offset, size : int
        Where in the fragment.
    kind : str
        ``data``, or as in `Coded.symbolic`.
    element : Immediate or None
        The operand of an instruction.
    """

    offset: int
    size: int
    kind: str
    node: Node
    place: Place
    column: int
    element: Immediate | None = None


class Fragment:
    """Part of a section.

    Attributes
    ----------
    address : int
        Offset in the section, as of the last pass.
    size : int
    """

    __slots__ = ("address", "size")

    def __init__(self) -> None:
        self.address = self.size = 0


class Data(Fragment):
    """Bytes whose number is known."""

    __slots__ = ("data", "fixups")

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.fixups: list[Fixup] = []


class Fill(Fragment):
    """A pattern repeated; not stored, since it may be large."""

    __slots__ = ("count", "pattern")

    def __init__(self, count: int, pattern: bytes) -> None:
        super().__init__()
        self.count, self.pattern = count, pattern
        self.size = count * len(pattern)


class Align(Fragment):
    """Up to the next multiple: a fill pattern, or no-operations when it is None."""

    __slots__ = ("alignment", "limit", "pattern", "relaxed", "rvc")

    def __init__(self, alignment: int, pattern: bytes | None, limit: int, rvc: bool, relaxed: bool) -> None:
        super().__init__()
        self.alignment, self.pattern, self.limit = alignment, pattern, limit
        self.rvc, self.relaxed = rvc, relaxed

    def place(self, address: int) -> None:
        skip = -address % self.alignment
        self.size = skip if not self.limit or skip <= self.limit else 0

    def bytes(self) -> bytes:
        if self.pattern is not None:
            count = self.size // max(1, len(self.pattern))
            # What does not fill a whole pattern is 0, in front (GNU as).
            return bytes(self.size - count * len(self.pattern)) + self.pattern * count
        # GNU as puts the short no-operation first; where GNU ld takes some of the longest padding away, it is last.
        odd, rest = self.size & 1, self.size & ~1
        short = C_NOP if rest & 2 and self.rvc else bytes(rest & 2)
        nops = NOP * (rest // 4)
        return bytes(odd) + (
            nops + short if self.relaxed and not odd and self.size != self.alignment - 2 else short + nops
        )


class Org(Fragment):
    """Up to an offset in the section."""

    __slots__ = ("column", "node", "pattern", "place_of")

    def __init__(self, node: Node, pattern: bytes, place: Place, column: int) -> None:
        super().__init__()
        self.node, self.pattern, self.place_of, self.column = node, pattern, place, column


class Leb(Fragment):
    """A LEB128 number that depends on labels."""

    __slots__ = ("column", "node", "place_of", "signed", "value")

    def __init__(self, node: Node, signed: bool, place: Place, column: int) -> None:
        super().__init__()
        self.node, self.signed, self.place_of, self.column = node, signed, place, column
        self.value, self.size = 0, 1

    def bytes(self) -> bytes:
        return leb128(self.value, self.signed, self.size)


class Branch(Fragment):
    """A jump or branch, in the forms it may take, from the shortest to the longest.

    Attributes
    ----------
    forms : list of list of Coded
        Each a sequence of instructions, one of which has the target.
    last : int
        The longest form it grows to.
    outside : int
        The form for a target in another section, or one that is weak or absolute: GNU as chooses it before addresses
        are known.
    """

    __slots__ = ("chosen", "forms", "last", "outside", "place_of", "start")

    def __init__(self, forms: list[list[Coded]], last: int, outside: int, place: Place, start: int) -> None:
        super().__init__()
        self.start = start
        self.forms, self.last, self.outside, self.place_of = forms, last, outside, place
        self.chosen = 0
        self.size = self.size_of(0)

    def size_of(self, form: int) -> int:
        return sum(coded.size for coded in self.forms[form])

    @property
    def target(self) -> Node:
        return self.symbolic(0)[1].symbolic[0][2]

    def symbolic(self, form: int) -> tuple[int, Coded]:
        """Offset and instruction of the form that has the target."""
        at = 0
        for coded in self.forms[form]:
            if coded.symbolic:
                return at, coded
            at += coded.size
        raise AssertionError("a branch has a target")

    def choose(self, form: int) -> None:
        self.chosen, self.size = form, self.size_of(form)


@dataclass
class Section:
    """A section of the output.

    Attributes
    ----------
    flags : str
        As in `.section`: a allocated, w writable, x executable, M merge, S strings.
    bits : bool
        Whether it has contents (``@progbits``).
    alignment : int
    lines : list of (Label, int, int, int)
        Where instructions of a source line begin: place, file, line, column.
    marks : list of (Label, str)
        Where instructions (``$x``) and data (``$d``) begin (psABI, "Mapping Symbol").
    entry_size : int
        Of merged sections.
    """

    name: str
    flags: str
    bits: bool
    alignment: int = 1
    base: int = 0
    size: int = 0
    entry_size: int = 0
    kind: int = 1
    fragments: list[Fragment] = field(default_factory=list)
    lines: list[tuple[Label, int, int, int]] = field(default_factory=list)
    marks: list[tuple[Label, str]] = field(default_factory=list)
    held: int = 0
    index: int = 0

    @property
    def allocated(self) -> bool:
        return "a" in self.flags

    def data(self) -> Data:
        """The fragment that bytes may be appended to."""
        if self.fragments:
            last = self.fragments[-1]
            if type(last) is Data:
                return last
        fragment = Data()
        self.fragments.append(fragment)
        return fragment

    def here(self) -> Label:
        """The place where the next byte will be."""
        fragment = self.data()
        return Label(self, fragment, len(fragment.data))

    def add(self, fragment: Fragment) -> None:
        """Append a fragment."""
        self.hold(fragment.size)
        self.fragments.append(fragment)

    def hold(self, size: int) -> None:
        """Count bytes against the limit."""
        self.held += size
        if self.held > (MAX_SECTION if self.bits else ADDRESS_SPACE):
            limit = f"{MAX_SECTION >> 20} MiB" if self.bits else "4 GiB"
            raise Problem(f"expected at most {limit} in section {self.name}, found more")

    def mark(self, kind: str) -> None:
        """Say that instructions or data follow."""
        if "x" in self.flags and (not self.marks or self.marks[-1][1] != kind):
            self.marks.append((self.here(), kind))


def leb128(value: int, signed: bool, minimum: int = 1) -> bytes:
    """A number in LEB128 (DWARF 5, 7.6), padded to at least `minimum` bytes."""
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        last = value in (0, -1) and (not signed or (value == -1) == bool(byte & 0x40)) and (signed or value == 0)
        if last and len(out) + 1 >= minimum:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def place_fragments(section: Section, evaluate: Callable[[Node], Value], fail: Callable[..., None]) -> None:
    """Offsets of all fragments, one behind the other."""
    address = 0
    for fragment in section.fragments:
        fragment.address = address
        kind = type(fragment)
        if kind is Data:
            fragment.size = len(fragment.data)  # type: ignore[attr-defined]
        elif kind is Align:
            fragment.place(address)  # type: ignore[attr-defined]
        elif kind is Org:
            assert isinstance(fragment, Org)
            try:
                owner, target = evaluate(fragment.node)
                target -= owner.base if owner else 0
                if target < address:
                    raise Problem(f"expected .org to move forwards from {address:#x}, found {target:#x}")
                if target - address > MAX_SECTION and section.bits:
                    raise Problem(f"expected .org to move at most {MAX_SECTION >> 20} MiB, found {target - address}")
                fragment.size = target - address
            except Problem as problem:
                fail(fragment.place_of, fragment.column, problem.message)
                fragment.size = 0
        address += fragment.size
    section.size = address


def relax(
    sections: list[Section],
    evaluate: Callable[[Node], Value],
    fixed: Callable[[Node], bool],
    fail: Callable[..., None],
) -> None:
    """Choose a form for every branch.

    Parameters
    ----------
    fixed : callable
        Whether a target's place may be relied on: it is not weak.
    evaluate : callable
        The value of a node by the addresses of the last pass.
    fail : callable
        Takes place, column and message of an error.
    """

    def quiet(*_: object) -> None: ...

    branches = [(s, f) for s in sections for f in s.fragments if isinstance(f, Branch)]
    lebs = [f for s in sections for f in s.fragments if isinstance(f, Leb)]
    for section in sections:
        place_fragments(section, evaluate, quiet)
    for section, branch in branches:
        try:
            owner, _ = evaluate(branch.target)
        except Problem:
            continue  # reported when it is encoded
        if owner is not section or not fixed(branch.target):
            branch.choose(branch.outside)
    branches = [(s, b) for s, b in branches if b.chosen < b.last]
    passes = 0
    changed = True
    while changed:
        changed = False
        passes += 1
        for section in sections:
            place_fragments(section, evaluate, quiet)
        waiting = []
        for section, branch in branches:
            form = branch.chosen
            try:
                owner, target = evaluate(branch.target)
            except Problem:
                continue
            while form < branch.last:
                at, coded = branch.symbolic(form)
                if coded.symbolic[0][0].fits(target - section.base - branch.address - at):
                    break
                form += 1
            if form != branch.chosen:
                branch.choose(form if passes < PATIENCE else branch.last)
                changed = True
            if branch.chosen < branch.last:
                waiting.append((section, branch))
        branches = waiting
        for leb in lebs:
            try:
                _, leb.value = evaluate(leb.node)
                size = len(leb128(leb.value, leb.signed)) if leb.signed or leb.value >= 0 else 1
            except Problem:
                continue
            if size > leb.size:
                leb.size, changed = size, True
        if passes > 4 * PATIENCE:  # only numbers that depend on their own size come here
            break
    for section in sections:
        place_fragments(section, evaluate, fail)
