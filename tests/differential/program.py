"""Assembled programs: encoding from the bundled description, and the small ELF that several of them share."""

from __future__ import annotations

import itertools
import random
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble
from rvsim.isa.ir import Instruction, wrap

ISA = bundled("rv32")
BY_NAME = {i.name: i for i in ISA.instructions}
CSR_WRITES = [BY_NAME[name] for name in ("CSRRW", "CSRRWI")]

# The exit lies at TEXT; program n has its code and its data at addresses of its own.
TEXT, TEXT_STRIDE = 0x10000, 0x2000
DATA, DATA_STRIDE = 0x100000, 0x2100
SAVED = 128  # bytes for x1 to x31 and the number of rounds to go, before the buffer
A0, A1, A2, A3, A7, EXIT = 10, 11, 12, 13, 17, 93
MEPC, MTVEC, MCAUSE = 0x341, 0x305, 0x342
# Programs that trap in machine mode and send signals in user mode: the handlers' places, and registers that are theirs
# (address, scratch: 0 outside; digest of what happened).
QEMU_START, MACHINE_HANDLER, QEMU_HANDLER = TEXT + 0x100, TEXT + 0x200, TEXT + 0x300
HANDLER_REGISTERS = 28, 29, 30
# Linux for RISC-V: asm-generic/unistd.h, asm-generic/signal.h, uapi/asm/ucontext.h.
SIGALTSTACK, SIGACTION, SIGNAL_STACK = 132, 134, 0x4000
SIGILL, SIGTRAP, SIGSEGV = 4, 5, 11
SA_FLAGS = 0x4 | 0x0800_0000 | 0x4000_0000  # SA_SIGINFO, SA_ONSTACK, SA_NODEFER
CONTEXT_PC = 160  # uc_mcontext holds the pc and x1 to x31
PAGE = 0x1000
# ELF: segment flags, section types, symbol kinds.
READ, WRITABLE, EXECUTE = 4, 2, 1
PROGBITS, SYMTAB, STRTAB = 1, 2, 3
OBJECT, FUNCTION = 1, 2


_BY_OPCODE: dict[int, list[Instruction]] = {
    low: [i for i in ISA.instructions if (low ^ i.match) & i.mask & 0x7F == 0 and (i.size == 4) == (low & 3 == 3)]
    for low in range(128)
}


def find(word: int) -> Instruction | None:
    """The instruction that a word encodes; `rvsim.isa.disassemble.find`, faster."""
    return next((i for i in _BY_OPCODE[word & 0x7F] if word & i.mask == i.match), None)


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
    if find(word) is not instruction:
        raise ValueError(f"{name}: {word:#x} is another instruction")
    return word


@dataclass(frozen=True)
class Code:
    """One assembled program.

    Attributes
    ----------
    label : str
        Seed; the data and its symbols follow from it.
    number : int
        Place in its ELF.
    words : tuple of (int, int, int)
        Address, word and size of each instruction.
    body : range
        Indices of `words` that may be replaced by nops to make the program smaller.
    last : int
        Index in `words` of the jump that goes on to the next program.
    rounds : int
        How often the body is executed; each round begins with what the one before left.
    """

    label: str
    number: int
    words: tuple[tuple[int, int, int], ...]
    body: range
    last: int
    rounds: int = 1

    @property
    def start(self) -> int:
        return TEXT + (self.number + 1) * TEXT_STRIDE

    @property
    def data_start(self) -> int:
        return DATA + self.number * DATA_STRIDE

    @cached_property
    def data(self) -> bytes:
        head = bytes(SAVED - 4) + self.rounds.to_bytes(4, "little")
        return head + random.Random(f"{self.label}/data").randbytes(DATA_STRIDE - SAVED)

    @property
    def output_size(self) -> int:
        """Bytes the program writes: its registers each round, its data at the end."""
        return self.rounds * SAVED + DATA_STRIDE

    def objects(self) -> list[tuple[int, int]]:
        """Symbols over the buffer: (address, size), with gaps, also at odd addresses."""
        draw, objects, at = random.Random(f"{self.label}/objects"), [], self.data_start + SAVED
        while (at := at + draw.choice((0, 0, 1, 4, 100))) < self.data_start + DATA_STRIDE - 1400:
            size = draw.choice((1, 3, 4, 64, 127, 500, 1300))
            objects.append((at, size))
            at += size
        return objects

    def without(self, indices: Sequence[int]) -> Code:
        """The program with nops in place of these instructions."""
        words = list(self.words)
        for i in indices:
            address, _, size = words[i]
            words[i] = (address, NOPS[size], size)
        return replace(self, words=tuple(words))

    def listing(self) -> str:
        """Disassembly, nops left out; `parse` reads it."""
        lines = [f"program {self.label}", f"number {self.number}", f"rounds {self.rounds}"]
        for n, (a, w, s) in enumerate(self.words):
            if w not in NOPS.values():
                mark = "-" if n in self.body else "L" if n == self.last else " "
                lines.append(f"{mark} {a:#x}: {w:0{2 * s}x}{'    ' if s == 2 else ''} {disassemble(ISA, w, a)}")
        return "\n".join(lines) + "\n"


NOPS = {2: 0x0001, 4: 0x0000_0013}
_LINE = re.compile(r"([-L ]) 0x([0-9a-f]+): ([0-9a-f]{8}|[0-9a-f]{4}) ")


def parse(listing: str) -> Code:
    """A program from its listing; c.nop fills the gaps, because a transfer may lead to any halfword of them."""
    head = dict(re.findall(r"^(program|number|rounds) (\S+)$", listing, re.MULTILINE))
    words: list[tuple[int, int, int]] = []
    marks = ""
    for mark, address, digits in _LINE.findall(listing):
        at = words[-1][0] + words[-1][2] if words else int(address, 16)
        for gap in range(at, int(address, 16), 2):
            words.append((gap, NOPS[2], 2))
            marks += " "
        words.append((int(address, 16), int(digits, 16), len(digits) // 2))
        marks += mark
    body = range(marks.find("-"), marks.rfind("-") + 1) if "-" in marks else range(0)
    return Code(head["program"], int(head["number"]), tuple(words), body, marks.index("L"), int(head["rounds"]))


def link(programs: Sequence[Code], writable_text: bool = False, signals: bool = False) -> bytes:
    """An ELF that runs the programs one after the other and exits with 0; `programs` by ascending number.

    With `signals` it is for qemu-riscv32: signals take the place of traps. The programs are the same, word by word, but
    for accesses to mtvec.
    """
    top = max(p.number for p in programs)
    text = bytearray((top + 2) * TEXT_STRIDE)
    data = bytearray((top + 1) * DATA_STRIDE)
    symbols: list[tuple[str, int, int, int, int]] = []

    def place(address: int, words: Sequence[int]) -> None:
        text[address - TEXT : address - TEXT + 4 * len(words)] = struct.pack(f"<{len(words)}I", *words)

    for program, following in itertools.zip_longest(programs, programs[1:]):
        for n, (address, word, size) in enumerate(program.words):
            if n == program.last:
                word = encode("JAL", imm=(following.start if following else TEXT) - address)
            elif signals and size == 4 and word >> 20 == MTVEC and find(word) in CSR_WRITES:
                word = NOPS[4]
            text[address - TEXT : address - TEXT + size] = word.to_bytes(size, "little")
        start = program.data_start - DATA
        data[start : start + DATA_STRIDE] = program.data
        symbols.append((f"program_{program.number}", program.start, TEXT_STRIDE, FUNCTION, 1))
        symbols += [(f"object_{a:x}", a, size, OBJECT, 2) for a, size in program.objects()]
    entry = programs[0].start
    place(TEXT, [encode("ADDI", rd=A0), *host_call(EXIT)])
    place(MACHINE_HANDLER, machine_handler())
    if signals:
        at = DATA + len(data)
        data += struct.pack("<3I", at + 32, 0, SIGNAL_STACK) + struct.pack("<3I", QEMU_HANDLER, SA_FLAGS, 0) + bytes(8)
        data += bytes(SIGNAL_STACK)
        place(QEMU_HANDLER, qemu_handler())
        start_up = [*load(A0, at), encode("ADDI", rd=A1), *host_call(SIGALTSTACK)]
        for number in (SIGILL, SIGTRAP, SIGSEGV):
            start_up += [*load(A1, at + 12), encode("ADDI", rd=A0, imm=number), encode("ADDI", rd=A2)]
            start_up += [encode("ADDI", rd=A3, imm=8), *host_call(SIGACTION)]
        place(QEMU_START, [*start_up, encode("JAL", imm=entry - QEMU_START - 4 * len(start_up))])
        entry = QEMU_START
    flags = READ | EXECUTE | (WRITABLE if writable_text else 0)
    return _elf(entry, bytes(text), flags, bytes(data), symbols)


def load(register: int, value: int) -> list[int]:
    """``li``"""
    high = encode("LUI", rd=register, imm=value + 0x800 & 0xFFFF_F000)
    return [high, encode("ADDI", rd=register, rs1=register, imm=wrap(value, 12, True))]


def host_call(number: int) -> list[int]:
    return [encode("ADDI", rd=A7, imm=number), encode("ECALL")]


def step_over(pc: int, scratch: int) -> list[int]:
    """Add the size of the instruction at `pc`."""
    return [
        encode("LHU", rd=scratch, rs1=pc),
        encode("ANDI", rd=scratch, rs1=scratch, imm=3),
        encode("ADDI", rd=scratch, rs1=scratch, imm=-3),
        encode("ADDI", rd=pc, rs1=pc, imm=2),
        encode("BNE", rs1=scratch, imm=8),
        encode("ADDI", rd=pc, rs1=pc, imm=2),
    ]


def add_to_digest(digest: int, value: int) -> list[int]:
    """Add the signal's number; what was added before moves up."""
    return [
        encode("ADD", rd=digest, rs1=digest, rs2=value),
        encode("SLLI", rd=value, rs1=digest, shamt=5),
        encode("ADD", rd=digest, rs1=digest, rs2=value),
    ]


def machine_handler() -> list[int]:
    """Hash the number of the signal that Linux would send for mcause, step over the instruction, return."""
    pc, scratch, digest = HANDLER_REGISTERS
    return [
        encode("CSRRS", rd=scratch, csr=MCAUSE),
        # 2 is SIGILL, 3 SIGTRAP; access faults are SIGSEGV.
        encode("ADDI", rd=pc, rs1=scratch, imm=-4),
        encode("BLT", rs1=pc, imm=8),
        encode("ADDI", rd=scratch, imm=SIGSEGV - 2),
        encode("ADDI", rd=scratch, rs1=scratch, imm=2),
        *add_to_digest(digest, scratch),
        encode("CSRRS", rd=pc, csr=MEPC),
        *step_over(pc, scratch),
        encode("CSRRW", csr=MEPC, rs1=pc),
        encode("ADDI", rd=pc),
        encode("ADDI", rd=scratch),
        encode("MRET"),
    ]


def qemu_handler() -> list[int]:
    """The same, on the registers that Linux saved: a0 is the signal, a2 the context (ucontext_t of riscv32)."""
    pc, scratch, digest = HANDLER_REGISTERS
    return [
        encode("LW", rd=pc, rs1=A2, imm=CONTEXT_PC),
        *step_over(pc, scratch),
        encode("SW", rs2=pc, rs1=A2, imm=CONTEXT_PC),
        encode("LW", rd=digest, rs1=A2, imm=CONTEXT_PC + 4 * digest),
        *add_to_digest(digest, A0),
        encode("SW", rs2=digest, rs1=A2, imm=CONTEXT_PC + 4 * digest),
        encode("JALR", rs1=1),
    ]


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
