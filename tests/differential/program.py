"""Assembled programs: encoding from the bundled description, and the small ELF that several of them share."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble, find
from rvsim.isa.ir import wrap

ISA = bundled("rv32imc")
BY_NAME = {i.name: i for i in ISA.instructions}

# The exit lies at TEXT; program n has its code and its data at addresses of its own.
TEXT, TEXT_STRIDE = 0x10000, 0x2000
DATA, DATA_STRIDE = 0x100000, 0x2100
A0, A7, EXIT = 10, 17, 93
PAGE = 0x1000
# ELF: segment flags, section types, symbol kinds.
READ, WRITABLE, EXECUTE = 4, 2, 1
PROGBITS, SYMTAB, STRTAB = 1, 2, 3
OBJECT, FUNCTION = 1, 2


def encode(name: str, /, **fields: int) -> int:
    """The word of an instruction; a signed value may be given for any field.

    Raises
    ------
    ValueError
        When a value does not fit, or the word means another instruction (``c.mv`` with rs2 = x0 is ``c.jr``).
    """
    instruction = BY_NAME[name]
    word = instruction.match
    for each in instruction.fields:
        value = fields.pop(each.name) if each.name in fields else 0
        bits = value & ((1 << each.width) - 1)
        if bits & ~each.encodable or value not in (bits, wrap(bits, each.width, True)):
            raise ValueError(f"{name}: {each.name} cannot hold {value:#x}")
        word |= each.insert(bits)
    if fields:
        raise ValueError(f"{name} has no field {', '.join(fields)}")
    if find(ISA, word) is not instruction:
        raise ValueError(f"{name}: {word:#x} is another instruction")
    return word


@dataclass(frozen=True)
class Code:
    """One assembled program.

    Attributes
    ----------
    words : tuple of (int, int, int)
        Address, word and size of each instruction.
    body : range
        Indices of `words` that may be replaced by nops to make the program smaller.
    """

    label: str
    number: int
    words: tuple[tuple[int, int, int], ...]
    body: range
    data: bytes = field(repr=False)
    objects: tuple[tuple[int, int], ...] = field(repr=False)
    last: int  # index in `words` of the jump that goes on to the next program

    @property
    def start(self) -> int:
        return TEXT + (self.number + 1) * TEXT_STRIDE

    @property
    def data_start(self) -> int:
        return DATA + self.number * DATA_STRIDE

    def without(self, indices: Sequence[int]) -> Code:
        """The program with nops in place of these instructions."""
        words = list(self.words)
        for i in indices:
            address, _, size = words[i]
            words[i] = (address, encode("ADDI") if size == 4 else encode("C_NOP"), size)
        return replace(self, words=tuple(words))

    def listing(self) -> str:
        """Disassembly, nops left out."""
        nops = encode("ADDI"), encode("C_NOP")
        lines = [
            f"{a:#x}: {w:0{2 * s}x}{'    ' if s == 2 else ''} {disassemble(ISA, w, a)}"
            for a, w, s in self.words
            if w not in nops
        ]
        return "\n".join(lines)


def link(programs: Sequence[Code], writable_text: bool = False) -> bytes:
    """An ELF that runs the programs one after the other and exits with 0; `programs` by ascending number."""
    top = max(p.number for p in programs)
    text = bytearray((top + 2) * TEXT_STRIDE)
    data = bytearray((top + 1) * DATA_STRIDE)
    leave = [encode("ADDI", rd=A0), encode("ADDI", rd=A7, imm=EXIT), encode("ECALL")]
    text[:12] = struct.pack("<3I", *leave)
    symbols: list[tuple[str, int, int, int, int]] = []
    for program, following in itertools.zip_longest(programs, programs[1:]):
        for n, (address, word, size) in enumerate(program.words):
            if n == program.last:
                word = encode("JAL", imm=(following.start if following else TEXT) - address)
            text[address - TEXT : address - TEXT + size] = word.to_bytes(size, "little")
        start = program.data_start - DATA
        data[start : start + DATA_STRIDE] = program.data
        symbols.append((f"program_{program.number}", program.start, TEXT_STRIDE, FUNCTION, 1))
        symbols += [(f"object_{a:x}", a, size, OBJECT, 2) for a, size in program.objects]
    flags = READ | EXECUTE | (WRITABLE if writable_text else 0)
    return _elf(programs[0].start, bytes(text), flags, bytes(data), symbols)


def _elf(entry: int, text: bytes, flags: int, data: bytes, symbols: Sequence[tuple[str, int, int, int, int]]) -> bytes:
    """Two segments, and a symbol table of (name, address, size, kind, section)."""
    names, table = b"\0", bytes(16)
    for name, address, size, kind, section in symbols:
        table += struct.pack("<IIIBBH", len(names), address, size, 1 << 4 | kind, 0, section)
        names += name.encode() + b"\0"
    labels = [b"", b".text", b".data", b".symtab", b".strtab", b".shstrtab"]
    contents = [b"", text, data, table, names, b"\0".join(labels) + b"\0"]
    # Type, flags, address, section linked to, entry size.
    kinds = [
        (0, 0, 0, 0, 0),
        (PROGBITS, 6, TEXT, 0, 0),
        (PROGBITS, 3, DATA, 0, 0),
        (SYMTAB, 0, 0, 4, 16),
        (STRTAB, 0, 0, 0, 0),
        (STRTAB, 0, 0, 0, 0),
    ]
    image, offsets, headers, label_at = bytes(PAGE), [], b"", 0
    for label, content, (kind, flag, address, linked, entry_size) in zip(labels, contents, kinds, strict=True):
        # A segment's offset equals its address modulo the page size, as loaders want it.
        image += bytes(-len(image) % PAGE)
        offsets.append(len(image))
        headers += struct.pack(
            "<10I", label_at, kind, flag, address, len(image), len(content), linked, kind == SYMTAB, 1, entry_size
        )
        label_at += len(label) + 1
        image += content
    identity = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head = struct.pack(
        "<16sHHIIIIIHHHHHH", identity, 2, 243, 1, entry, 52, len(image), 1, 52, 32, 2, 40, len(labels), 5
    )
    for address, content, offset, flag in ((TEXT, text, offsets[1], flags), (DATA, data, offsets[2], READ | WRITABLE)):
        head += struct.pack("<8I", 1, offset, address, address, len(content), len(content), flag, PAGE)
    return head + image[len(head) :] + headers
