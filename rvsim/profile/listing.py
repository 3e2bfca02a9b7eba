"""A program as text, line by line as GNU objdump prints it; with source lines and execution counts on request."""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import NamedTuple

from rvsim.isa.disassemble import find, operand_text
from rvsim.isa.ir import Instruction, Isa, wrap
from rvsim.machine.elf import MAX_SYMBOLS, Program, Symbol

MAX_SOURCE = 4 << 20  # bytes of a source file that is shown
_TARGET = re.compile(r"\{(\w+):t\}")


class Range(NamedTuple):
    """Bytes to list: those of an executable section, or of a segment where the file has no sections."""

    name: str
    address: int
    data: bytes


class Listing:
    """Lines for the instructions of a program.

    Parameters
    ----------
    program : Program
    isas : sequence of Isa
        Where instructions are looked up, in this order.
    counts : mapping of int to (int, int), optional
        Executions and cycles by address, `Machine.instruction_counts`; two columns in front show them.
    source : bool
        Print the source line where it changes.
    lost : mapping of int to mapping of str to int, optional
        Cycles lost by cause, by address, `Machine.lost_cycles`; behind each instruction.
    """

    def __init__(
        self,
        program: Program,
        isas: Sequence[Isa],
        counts: Mapping[int, tuple[int, int]] | None = None,
        source: bool = False,
        lost: Mapping[int, Mapping[str, int]] | None = None,
    ) -> None:
        self.program, self.isas, self.counts, self.source = program, isas, counts, source
        self.lost = lost or {}
        self.ranges = executable_ranges(program)
        self._data = data_ranges(program)
        self._found: dict[int, Instruction | None] = {}
        # Of several names of one address, that of a function or object comes first.
        best: dict[tuple[str, int], Symbol] = {}
        for symbol in (*program.functions, *program.objects, *program.labels):
            best.setdefault((symbol.section, symbol.address), symbol)
        self._symbols: dict[str, list[Symbol]] = {}
        for (section, _), symbol in sorted(best.items()):
            self._symbols.setdefault(section, []).append(symbol)
        self._files: dict[str, list[str]] = {}

    def lines(self, start: int = 0, stop: int = 1 << 32) -> Iterator[str]:
        """All lines for the addresses from `start` to before `stop`."""
        for part in self.ranges:
            first, last = max(start, part.address), min(stop, part.address + len(part.data))
            if first < last:
                yield ""
                yield f"Disassembly of section {part.name}:"
                yield from self._lines(part, first, last)

    def _lines(self, part: Range, start: int, stop: int) -> Iterator[str]:
        symbols = self._symbols.get(part.name, [])
        following = bisect_right(symbols, start, key=lambda s: s.address)
        heading = symbols[following - 1] if following else None
        margin = " " * 28 if self.counts is not None else ""
        if self.counts is not None:
            yield f"{'executions':>12}  {'cycles':>12}"
        place: tuple[str, int] | None = None
        at = start
        while at < stop:
            if at == start or (heading is not None and heading.address == at):
                yield ""
                yield f"{margin}{at:08x} {self._name(part.name, at) or '<' + part.name + '>'}:"
                place = None
            edge = min(symbols[following].address if following < len(symbols) else stop, stop)
            data_end = self._data_until(at, edge)
            if data_end > at:
                yield f"{margin}{at:8x}:\t... {data_end - at} bytes of data"
                at = data_end
            else:
                if self.source and (here := self.program.line(at)) not in (None, place) and here[1]:
                    place = here
                    yield f"{margin}; {here[0]}:{here[1]}{self._source_line(*here)}"
                offset = at - part.address
                size = 4 if part.data[offset] & 3 == 3 and offset + 4 <= len(part.data) else 2
                raw = part.data[offset : offset + size]
                yield self._instruction(part.name, at, int.from_bytes(raw, "little"), len(raw))
                at += size
            while following < len(symbols) and symbols[following].address <= at:
                heading = symbols[following]
                following += 1

    def _instruction(self, section: str, address: int, word: int, size: int) -> str:
        count = ""
        if self.counts is not None:
            executions, cycles = self.counts.get(address, (0, 0))
            count = f"{executions or '':>12}  {cycles or '':>12}  "
        # objdump leaves two columns more behind a short one.
        digits = f"{word:08x}          " if size == 4 else f"{word:04x}                "
        return f"{count}{address:8x}:\t{digits}\t{self.text(section, address, word, size)}{self._lost(address)}"

    def _lost(self, address: int) -> str:
        causes = sorted(self.lost.get(address, {}).items(), key=lambda each: -each[1])
        return "\t# " + ", ".join(f"{name.replace('_', '-')} {n}" for name, n in causes) if causes else ""

    def text(self, section: str, address: int, word: int, size: int) -> str:
        """Mnemonic, tab and operands of one instruction; a target with the symbol before it."""
        instruction = self._find(word) if size == (4 if word & 3 == 3 else 2) else None
        if instruction is None:
            return f".{size}byte\t{word:#x}"
        operands = operand_text(instruction, word, address)
        if target := _TARGET.search(instruction.operands):
            field = next(f for f in instruction.fields if f.name == target[1])
            to = (address + wrap(field.extract(word), field.width, True)) & 0xFFFF_FFFF
            operands = operands.replace(hex(to), f"{to:x} {self._name(section, to)}".rstrip())
        return f"{instruction.mnemonic}\t{operands}".rstrip()

    def _find(self, word: int) -> Instruction | None:
        if word not in self._found:
            candidates = (find(isa, word) for isa in self.isas)
            self._found[word] = next((i for i in candidates if i is not None), None)
        return self._found[word]

    def _name(self, section: str, address: int) -> str:
        """``<symbol+0x12>`` by the symbol at or before an address, of this section where there is one."""
        symbols = self._symbols.get(section, [])
        index = bisect_right(symbols, address, key=lambda s: s.address)
        if not index:
            return ""
        offset = address - symbols[index - 1].address
        return f"<{symbols[index - 1].name}{f'+{offset:#x}' if offset else ''}>"

    def _data_until(self, address: int, edge: int) -> int:
        """End of the data that lies at an address; the address itself where there is code."""
        index = bisect_right(self._data, (address, 1 << 32)) - 1
        return max(address, min(self._data[index][1], edge)) if index >= 0 else address

    def _source_line(self, file: str, line: int) -> str:
        if file not in self._files:
            self._files[file] = _read_source(file, os.path.dirname(self.program.path))
        lines = self._files[file]
        return f"  {lines[line - 1].strip()}" if 0 < line <= len(lines) else ""


def executable_ranges(program: Program) -> list[Range]:
    """The executable sections, sorted by address; without any, the executable segments."""
    sections = sorted((s for s in program.sections if s.alloc and s.executable and s.size), key=lambda s: s.address)
    found = [Range(s.name, s.address, _content(program, s.address, s.size)) for s in sections]
    if not any(part.data for part in found):
        found = [Range("(none)", s.address, s.data) for s in program.segments if s.executable]
    return [part for part in found if part.data]


def _content(program: Program, address: int, size: int) -> bytes:
    """What a section has in the file of its segment."""
    segment = next((s for s in program.segments if s.address <= address < s.end), None)
    return segment.data[address - segment.address :][:size] if segment is not None else b""


def data_ranges(program: Program) -> list[tuple[int, int]]:
    """Address ranges (start, end) of data between code, sorted.

    Mapping symbols tell them (RISC-V ELF psABI, "Mapping Symbol"): ``$d`` begins data, ``$x`` instructions.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    marks: dict[int, list[tuple[int, bool]]] = {}
    try:
        elf = ELFFile(BytesIO(program.image))
        table = next((s for s in elf.iter_sections() if isinstance(s, SymbolTableSection)), None)
        for symbol in islice(table.iter_symbols(), MAX_SYMBOLS) if table is not None else ():
            index = symbol["st_shndx"]
            if symbol.name.startswith(("$d", "$x")) and isinstance(index, int):
                marks.setdefault(index, []).append((symbol["st_value"], symbol.name.startswith("$d")))
        ranges = []
        for index, each in marks.items():
            section = elf.get_section(index)
            if not section["sh_flags"] & 4:  # SHF_EXECINSTR
                continue
            each.sort()
            ends = [*(address for address, _ in each[1:]), section["sh_addr"] + section["sh_size"]]
            ranges += [(a, end) for (a, data), end in zip(each, ends, strict=True) if data and a < end]
        return sorted(ranges)
    except Exception:  # a damaged symbol table costs the marks, never the listing
        return []


def _read_source(file: str, folder: str) -> list[str]:
    """Lines of a source file below the current folder or beside the program; none where there is no such file."""
    for path in (file, os.path.join(folder, file)):
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SOURCE:
                with open(path, encoding="utf-8", errors="replace") as text:
                    return ["".join(c if c.isprintable() else " " for c in line) for line in text.read().splitlines()]
        except (OSError, ValueError):
            continue
    return []
