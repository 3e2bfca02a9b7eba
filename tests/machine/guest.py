"""Guest programs made of instruction words: encoders, an ELF around them, and a machine that holds it.

The encoders follow the formats of the Unprivileged ISA Manual (20240411, section 2.2). Registers are numbers,
immediates signed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf

BASE = 0x8000_0000
"""Where code begins unless a test says otherwise; also the start of the default RAM."""

DATA = BASE + 0x1000
RAM_END = BASE + (16 << 20)

ZERO, RA, SP, T0, T1, T2, S0, S1 = 0, 1, 2, 5, 6, 7, 8, 9
A0, A1, A2, A3, A4, A5, A6, A7 = range(10, 18)
S2, S3, S4 = 18, 19, 20

MSTATUS, MISA, MIE, MTVEC, MSCRATCH, MEPC, MCAUSE, MTVAL, MIP = (
    0x300,
    0x301,
    0x304,
    0x305,
    0x340,
    0x341,
    0x342,
    0x343,
    0x344,
)
MCYCLE, MINSTRET, CAPABILITY = 0xB00, 0xB02, 0xFC0

ECALL, EBREAK, MRET, WFI, FENCE, FENCE_I = 0x73, 0x0010_0073, 0x3020_0073, 0x1050_0073, 0x0FF0_000F, 0x0000_100F
ILLEGAL = 0xFFFF_FFFF
C_NOP, C_EBREAK = 0x0001, 0x9002


def r_type(opcode: int, funct3: int, funct7: int, rd: int = 0, rs1: int = 0, rs2: int = 0) -> int:
    return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode


def i_type(opcode: int, funct3: int, rd: int, rs1: int, immediate: int) -> int:
    assert -2048 <= immediate < 2048
    return (immediate & 0xFFF) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode


def store(funct3: int, rs2: int, rs1: int, offset: int) -> int:
    assert -2048 <= offset < 2048
    return (offset >> 5 & 0x7F) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (offset & 31) << 7 | 0x23


def branch(funct3: int, rs1: int, rs2: int, offset: int) -> int:
    assert -4096 <= offset < 4096 and not offset & 1
    high = (offset >> 12 & 1) << 6 | offset >> 5 & 0x3F
    return high << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (offset & 0x1E | offset >> 11 & 1) << 7 | 0x63


def addi(rd: int, rs1: int, immediate: int) -> int:
    return i_type(0x13, 0, rd, rs1, immediate)


def lui(rd: int, upper: int) -> int:
    return (upper & 0xFFFFF) << 12 | rd << 7 | 0x37


def auipc(rd: int, upper: int) -> int:
    return (upper & 0xFFFFF) << 12 | rd << 7 | 0x17


def li(rd: int, value: int) -> list[int]:
    """Two instructions, lui and addi, whatever the value."""
    low = (value & 0xFFF) - (0x1000 if value & 0x800 else 0)
    return [lui(rd, (value - low) >> 12), addi(rd, rd, low)]


def add(rd: int, rs1: int, rs2: int) -> int:
    return r_type(0x33, 0, 0, rd, rs1, rs2)


def muldiv(funct3: int, rd: int, rs1: int, rs2: int) -> int:
    """0 mul, 1 mulh, 2 mulhsu, 3 mulhu, 4 div, 5 divu, 6 rem, 7 remu."""
    return r_type(0x33, funct3, 1, rd, rs1, rs2)


def lb(rd: int, rs1: int, offset: int = 0) -> int:
    return i_type(0x03, 0, rd, rs1, offset)


def lh(rd: int, rs1: int, offset: int = 0) -> int:
    return i_type(0x03, 1, rd, rs1, offset)


def lw(rd: int, rs1: int, offset: int = 0) -> int:
    return i_type(0x03, 2, rd, rs1, offset)


def sb(rs2: int, rs1: int, offset: int = 0) -> int:
    return store(0, rs2, rs1, offset)


def sh(rs2: int, rs1: int, offset: int = 0) -> int:
    return store(1, rs2, rs1, offset)


def sw(rs2: int, rs1: int, offset: int = 0) -> int:
    return store(2, rs2, rs1, offset)


def beq(rs1: int, rs2: int, offset: int) -> int:
    return branch(0, rs1, rs2, offset)


def bne(rs1: int, rs2: int, offset: int) -> int:
    return branch(1, rs1, rs2, offset)


def jal(rd: int, offset: int) -> int:
    assert -(1 << 20) <= offset < 1 << 20 and not offset & 1
    high = (offset >> 20 & 1) << 19 | (offset >> 1 & 0x3FF) << 9 | (offset >> 11 & 1) << 8 | offset >> 12 & 0xFF
    return high << 12 | rd << 7 | 0x6F


def jalr(rd: int, rs1: int, offset: int = 0) -> int:
    return i_type(0x67, 0, rd, rs1, offset)


def csrrw(rd: int, csr: int, rs1: int) -> int:
    return csr << 20 | rs1 << 15 | 1 << 12 | rd << 7 | 0x73


def csrrs(rd: int, csr: int, rs1: int = 0) -> int:
    return csr << 20 | rs1 << 15 | 2 << 12 | rd << 7 | 0x73


def csrrwi(rd: int, csr: int, value: int) -> int:
    return csr << 20 | value << 15 | 5 << 12 | rd << 7 | 0x73


def c_addi(rd: int, immediate: int) -> int:
    return (immediate >> 5 & 1) << 12 | rd << 7 | (immediate & 31) << 2 | 1


NOP = addi(0, 0, 0)
EXIT = [addi(A7, 0, 93), ECALL]
"""Leave with a0 as the exit code: 2 instructions."""

Words = Iterable["int | Sequence[int]"]


def flat(words: Words) -> list[int]:
    """Nested lists of words as one list."""
    result: list[int] = []
    for word in words:
        result.extend([word] if isinstance(word, int) else flat(word))
    return result


def code(*words: int | Sequence[int]) -> bytes:
    """Instruction words as bytes, 2 where the low bits say so."""
    return b"".join(struct.pack("<I" if word & 3 == 3 else "<H", word) for word in flat(words))


def elf(
    text: bytes,
    *,
    base: int = BASE,
    entry: int | None = None,
    data: bytes = b"",
    data_size: int | None = None,
    data_base: int = DATA,
    functions: dict[str, tuple[int, int]] | None = None,
    objects: dict[str, tuple[int, int]] | None = None,
    segments: Sequence[tuple[int, bytes, int, int]] = (),
    machine: int = 243,
) -> bytes:
    """An executable of a segment of code, perhaps one of data, and symbols.

    Parameters
    ----------
    text, data : bytes
        Sections .text and .data (readable, writable, executable: a test may store into either).
    functions, objects : dict of name to (address, size)
    segments : sequence of (address, bytes, size in memory, flags)
        Further segments, without sections.
    """
    loads = [(base, text, len(text), 7)]
    if data or data_size:
        loads.append((data_base, data, data_size or len(data), 6))
    sections = [(".text", 1, 6, base, text, len(text), 0)]
    if len(loads) > 1:
        sections.append((".data", 1 if data else 8, 3, data_base, data, loads[1][2], 0))
    loads += segments

    blobs, headers = b"", b""
    offset = 52 + 32 * len(loads)
    for address, content, size, flags in loads:
        headers += struct.pack("<8I", 1, offset + len(blobs), address, address, len(content), size, flags, 1)
        blobs += content
    strings, symbols = b"\0", bytes(16)
    for kind, table in ((2, functions or {}), (1, objects or {})):
        for name, (address, size) in table.items():
            section = 1 if base <= address < base + len(text) else 2
            symbols += struct.pack("<IIIBBH", len(strings), address, size, 1 << 4 | kind, 0, section)
            strings += name.encode() + b"\0"
    sections += [
        (".symtab", 2, 0, 0, symbols, len(symbols), len(sections) + 2),
        (".strtab", 3, 0, 0, strings, len(strings), 0),
    ]
    names = b"\0" + b"\0".join(each[0].encode() for each in sections) + b"\0.shstrtab\0"
    sections.append((".shstrtab", 3, 0, 0, names, len(names), 0))
    section_headers = bytes(40)
    for name, type_, flags, address, content, size, link in sections:
        entry_size, info = (16, 1) if type_ == 2 else (0, 0)
        at = offset + len(blobs)
        name_at = names.index(b"\0" + name.encode() + b"\0") + 1
        fields = (name_at, type_, flags, address, at, size, link, info, 1, entry_size)
        section_headers += struct.pack("<10I", *fields)
        blobs += content
    sizes = (52, 32, len(loads), 40, len(sections) + 1, len(sections))
    start = base if entry is None else entry
    header = struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, start, 52, offset + len(blobs), 1, *sizes)
    header = b"\x7fELF\x01\x01\x01" + bytes(9) + header
    return header + headers + blobs + section_headers


def machine(*words: int | Sequence[int], image: dict[str, Any] | None = None, **options: Any) -> Machine:
    """A machine of core ideal (unless told) that holds a program of instruction words; `image` goes to `elf`."""
    options.setdefault("core", "ideal")
    return Machine(parse_elf(elf(code(*words), **(image or {})), "guest.elf"), **options)
