"""DWARF 4: which source line each instruction comes from, and the compilation unit that says so.

DWARF 4 standard: 6.2 (line number information), 7.5 (abbreviations and units). Version 4 is what every reader of today
reads; version 5 would add nothing here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from rvsim.asm.layout import leb128

LINE_BASE, LINE_RANGE, OPCODE_BASE = -5, 14, 13
# Operands of the standard opcodes 1 to 12 (6.2.5.2).
OPERAND_COUNTS = bytes([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1])

COPY, ADVANCE_PC, ADVANCE_LINE, SET_FILE, SET_COLUMN = 1, 2, 3, 4, 5
END_SEQUENCE, SET_ADDRESS = 1, 2

LANG_ASSEMBLER = 0x8001  # DW_LANG_Mips_Assembler: what GNU as gives for any assembler source


@dataclass(frozen=True)
class Row:
    """An instruction begins a line at an address; files and lines count from 1."""

    address: int
    file: int
    line: int
    column: int


@dataclass(frozen=True)
class LineSequence:
    """Rows of one section, in order of address, and the address behind its last instruction."""

    rows: Sequence[Row]
    end: int


def debug_line(files: Sequence[str], sequences: Sequence[LineSequence]) -> bytes:
    """The section .debug_line.

    Parameters
    ----------
    files : sequence of str
        Paths as the user gave them; folders go to the table of directories.
    """
    directories: list[str] = []
    names = b""
    for path in files:
        folder, name = os.path.split(path)
        if folder and folder not in directories:
            directories.append(folder)
        number = directories.index(folder) + 1 if folder else 0
        names += _text(name or "?") + leb128(number, False) + b"\0\0"
    header = struct.pack("<BBBbBB", 1, 1, 1, LINE_BASE, LINE_RANGE, OPCODE_BASE) + OPERAND_COUNTS
    header += b"".join(map(_text, directories)) + b"\0" + names + b"\0"
    program = b"".join(map(_program, sequences))
    body = struct.pack("<HI", 4, len(header)) + header + program
    return struct.pack("<I", len(body)) + body


def _program(sequence: LineSequence) -> bytes:
    out = bytearray()
    address, file, line, column = sequence.rows[0].address, 1, 1, 0
    out += b"\0" + leb128(5, False) + bytes([SET_ADDRESS]) + struct.pack("<I", address)
    for row in sequence.rows:
        if row.file != file:
            out += bytes([SET_FILE]) + leb128(row.file, False)
        if row.column != column:
            out += bytes([SET_COLUMN]) + leb128(row.column, False)
        ahead, down = row.address - address, row.line - line
        if not LINE_BASE <= down < LINE_BASE + LINE_RANGE:
            out += bytes([ADVANCE_LINE]) + leb128(down, True)
            down = 0
        opcode = down - LINE_BASE + LINE_RANGE * ahead + OPCODE_BASE
        if opcode > 255:
            out += bytes([ADVANCE_PC]) + leb128(ahead, False)
            opcode = down - LINE_BASE + OPCODE_BASE
        out.append(opcode)
        address, file, line, column = row.address, row.file, row.line, row.column
    out += bytes([ADVANCE_PC]) + leb128(sequence.end - address, False)
    return bytes(out) + b"\0\1" + bytes([END_SEQUENCE])


def debug_info(name: str, folder: str, producer: str, low: int, high: int) -> tuple[bytes, bytes]:
    """The sections .debug_info and .debug_abbrev: one compilation unit over [low, high)."""
    # attribute, form: stmt_list sec_offset, low_pc addr, high_pc data4, name, comp_dir, producer string, language data2
    pairs = [(0x10, 0x17), (0x11, 0x01), (0x12, 0x06), (0x03, 0x08), (0x1B, 0x08), (0x25, 0x08), (0x13, 0x05)]
    abbreviation = leb128(1, False) + leb128(0x11, False) + b"\0"  # DW_TAG_compile_unit without children
    for attribute, form in [*pairs, (0, 0)]:
        abbreviation += leb128(attribute, False) + leb128(form, False)
    abbreviation += b"\0"
    entry = leb128(1, False) + struct.pack("<III", 0, low, high - low)
    entry += _text(name) + _text(folder) + _text(producer) + struct.pack("<H", LANG_ASSEMBLER)
    body = struct.pack("<HIB", 4, 0, 4) + entry
    return struct.pack("<I", len(body)) + body, abbreviation


def debug_aranges(low: int, high: int) -> bytes:
    """The section .debug_aranges (6.1.2): the unit's addresses, for quick lookup."""
    body = struct.pack("<HIBB", 2, 0, 4, 0) + bytes(4) + struct.pack("<IIII", low, high - low, 0, 0)
    return struct.pack("<I", len(body)) + body


def _text(text: str) -> bytes:
    return text.replace("\0", "?").encode("utf-8", "surrogateescape") + b"\0"
