"""An assembled program as an ELF32 executable.

ELF specification (System V ABI, chapters 4 and 5); RISC-V ELF psABI for `e_flags`, `.riscv.attributes` and mapping
symbols.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from rvsim._version import __version__
from rvsim.asm.dwarf_line import LineSequence, Row, debug_aranges, debug_info, debug_line
from rvsim.asm.errors import Problem
from rvsim.asm.expressions import Label
from rvsim.asm.layout import Section, leb128
from rvsim.asm.linking import PAGE
from rvsim.asm.state import State

EM_RISCV, ET_EXEC = 243, 2
EF_RISCV_RVC = 1
PT_LOAD, PT_RISCV_ATTRIBUTES = 1, 0x7000_0003
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS, SHT_ATTRIBUTES = 1, 2, 3, 8, 0x7000_0003
SHF = {"w": 1, "a": 2, "x": 4, "M": 16, "S": 32}
SHN_ABS = 0xFFF1
TAG_FILE, TAG_STACK_ALIGN, TAG_ARCH, TAG_UNALIGNED = 1, 4, 5, 6
KINDS = {"notype": 0, "object": 1, "function": 2, "section": 3, "file": 4}


@dataclass
class _Out:
    """A section of the file: header fields and contents."""

    name: str
    kind: int
    flags: int
    address: int
    data: bytes
    size: int
    alignment: int
    link: int = 0
    info: int = 0
    entry: int = 0
    offset: int = 0


class Names:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self.known: dict[str, int] = {"": 0}

    def add(self, name: str) -> int:
        at = self.known.get(name)
        if at is None:
            at = self.known[name] = len(self.data)
            self.data += name.encode("utf-8", "surrogateescape") + b"\0"
        return at


def write_elf(a: State, name: str, folder: str, text: int) -> bytes:
    """The ELF image of a finished assembly.

    Parameters
    ----------
    name, folder : str
        The source's name and the folder it was assembled in, for debuggers.
    text : int
        Address of the first section: the entry where there is no `_start`.
    """
    sections = [s for s in a.sections.values() if s.size or s.name == ".text"]
    sections.sort(key=lambda s: (not s.allocated, s.base if s.allocated else 0, s.bits is False))
    outs = [_Out("", 0, 0, 0, b"", 0, 0)]
    for section in sections:
        section.index = len(outs)
        outs.append(
            _Out(
                section.name,
                SHT_PROGBITS if section.bits else SHT_NOBITS,
                sum(SHF.get(flag, 0) for flag in section.flags),
                section.base if section.allocated else 0,
                a.images[section.name],
                section.size,
                section.alignment,
                entry=section.entry_size,
            )
        )
    attributes = _attributes(a)
    outs.append(_Out(".riscv.attributes", SHT_ATTRIBUTES, 0, 0, attributes, len(attributes), 1))
    for debug_name, data in _debug(a, name, folder, sections):
        outs.append(_Out(debug_name, SHT_PROGBITS, 0, 0, data, len(data), 1))
    strings = Names()
    symbols, locals_ = _symbols(a, name, sections, strings)
    outs.append(_Out(".symtab", SHT_SYMTAB, 0, 0, symbols, len(symbols), 4, link=len(outs) + 1, info=locals_, entry=16))
    outs.append(_Out(".strtab", SHT_STRTAB, 0, 0, bytes(strings.data), len(strings.data), 1))
    headers = Names()
    for out in outs:
        headers.add(out.name)
    headers.add(".shstrtab")
    outs.append(_Out(".shstrtab", SHT_STRTAB, 0, 0, bytes(headers.data), len(headers.data), 1))

    loads = _loads(outs[1 : 1 + len(sections)])
    image = bytearray(52 + 32 * (len(loads) + 1))
    for out in outs[1:]:
        if out.flags & SHF["a"]:
            # The same offset in a page of the file as in memory: the file can be mapped.
            out.offset = len(image) + (out.address - len(image)) % PAGE if out.kind != SHT_NOBITS else len(image)
        else:
            out.offset = len(image) + -len(image) % max(1, out.alignment)
        if out.kind != SHT_NOBITS:
            image += bytes(out.offset - len(image)) + out.data
    image += bytes(-len(image) % 4)
    start = len(image)
    for out in outs:
        image += struct.pack(
            "<10I",
            headers.add(out.name),
            out.kind,
            out.flags,
            out.address,
            out.offset,
            out.size,
            out.link,
            out.info,
            out.alignment,
            out.entry,
        )
    entry = _entry(a, text)
    flags = EF_RISCV_RVC if a.used_compressed else 0
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    image[:52] = ident + struct.pack(
        "<HHIIIIIHHHHHH",
        ET_EXEC,
        EM_RISCV,
        1,
        entry,
        52,
        start,
        flags,
        52,
        32,
        len(loads) + 1,
        40,
        len(outs),
        len(outs) - 1,
    )
    program = b""
    for group in loads:
        first, last = group[0], group[-1]
        filled = [each for each in group if each.kind != SHT_NOBITS]
        in_file = filled[-1].address + filled[-1].size - first.address if filled else 0
        # R is 4, W 2, X 1.
        permission = 4 | (2 if first.flags & SHF["w"] else 0) | (1 if first.flags & SHF["x"] else 0)
        size = last.address + last.size - first.address
        program += struct.pack(
            "<8I", PT_LOAD, first.offset, first.address, first.address, in_file, size, permission, PAGE
        )
    out = next(each for each in outs if each.name == ".riscv.attributes")
    program += struct.pack("<8I", PT_RISCV_ATTRIBUTES, out.offset, 0, 0, out.size, 0, 4, 1)
    image[52 : 52 + len(program)] = program
    return bytes(image)


def _loads(outs: list[_Out]) -> list[list[_Out]]:
    """Allocated sections that follow one another with the same permissions: one segment each.

    Within a segment the file must hold what memory does, gaps included; sections lie closer than a page.
    """
    groups: list[list[_Out]] = []
    for out in outs:
        if not out.flags & SHF["a"] or not out.size:
            continue
        if groups:
            before = groups[-1][-1]
            same = (before.flags ^ out.flags) & (SHF["w"] | SHF["x"]) == 0
            near = out.address - before.address - before.size < PAGE
            if same and near and not (before.kind == SHT_NOBITS and out.kind != SHT_NOBITS):
                groups[-1].append(out)
                continue
        groups.append([out])
    return groups


def _entry(a: State, text: int) -> int:
    start = a.symbols.get("_start")
    if start is not None and start.value is not None:
        return a.value(start.value)[1] & 0xFFFF_FFFF
    return a.sections[".text"].base


def _attributes(a: State) -> bytes:
    """The section .riscv.attributes (psABI, "Attributes")."""
    tags = leb128(TAG_STACK_ALIGN, False) + leb128(int(a.attributes.get("stack_align", 16)), False)
    arch = str(a.attributes.get("arch", a.isa.attribute))
    tags += leb128(TAG_ARCH, False) + arch.encode() + b"\0"
    if "unaligned_access" in a.attributes:
        tags += leb128(TAG_UNALIGNED, False) + leb128(int(a.attributes["unaligned_access"]), False)
    file = bytes([TAG_FILE]) + struct.pack("<I", 5 + len(tags)) + tags
    vendor = b"riscv\0"
    return b"A" + struct.pack("<I", 4 + len(vendor) + len(file)) + vendor + file


def _debug(a: State, name: str, folder: str, sections: list[Section]) -> list[tuple[str, bytes]]:
    sequences = []
    for section in sections:
        if not (section.lines and section.allocated and section.size):
            continue
        rows: list[Row] = []
        for label, file, line, column in section.lines:
            row = Row(label.address, file, line, column)
            if rows and rows[-1].address == row.address:
                rows[-1] = row  # nothing was written for the line before
            elif not rows or (rows[-1].file, rows[-1].line) != (file, line) or a.own_lines:
                rows.append(row)
        rows = [row for row in rows if row.address < section.base + section.size]
        if rows:
            sequences.append(LineSequence(rows, section.base + section.size))
    if not sequences or any(s.name in (".debug_line",) for s in sections):
        return []
    out = [(".debug_line", debug_line(a.files, sequences))]
    if not any(s.name == ".debug_info" for s in sections):
        low, high = min(s.rows[0].address for s in sequences), max(s.end for s in sequences)
        info, abbreviations = debug_info(name, folder, f"rvsim {__version__}", low, high)
        out += [(".debug_info", info), (".debug_abbrev", abbreviations), (".debug_aranges", debug_aranges(low, high))]
    return out


def _symbols(a: State, name: str, sections: list[Section], strings: Names) -> tuple[bytes, int]:
    """The symbol table and the number of its local symbols, which come first."""
    local = [struct.pack("<IIIBBH", 0, 0, 0, 0, 0, 0)]
    others: list[bytes] = []

    def record(text: str, value: int, size: int, binding: int, kind: int, index: int) -> bytes:
        at = strings.add(text)
        return struct.pack("<IIIBBH", at, value & 0xFFFF_FFFF, size & 0xFFFF_FFFF, binding << 4 | kind, 0, index)

    local.append(record(name, 0, 0, 0, KINDS["file"], SHN_ABS))
    for section in sections:
        local.append(record("", section.base, 0, 0, KINDS["section"], section.index))
    for section in sections:
        for label, kind in section.marks:
            local.append(record(f"${kind}", label.address, 0, 0, 0, section.index))
    for symbol, entry in a.symbols.items():
        if entry.value is None or "\x01" in symbol or symbol.startswith(".L"):
            continue
        try:
            section_of, value = a.value(entry.value)
            if isinstance(entry.value, Label):
                section_of = entry.value.section
            size = a.value(entry.size)[1]
        except Problem as problem:
            if entry.place is not None:
                a.report.error(entry.place, 1, problem.message)
            continue
        index = SHN_ABS if section_of is None else section_of.index or SHN_ABS
        binding = {"local": 0, "global": 1, "weak": 2}[entry.binding]
        (others if binding else local).append(record(symbol, value, size, binding, KINDS[entry.kind], index))
    a.report.check()
    return b"".join(local + others), len(local)
