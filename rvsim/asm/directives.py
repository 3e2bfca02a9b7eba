"""Directives: sections, data, symbols, macros and conditions of GNU as (its manual, "Assembler Directives")."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Iterator

from lark import Token

from rvsim.asm.errors import Problem
from rvsim.asm.expressions import Label, Node
from rvsim.asm.instructions import change
from rvsim.asm.layout import Align, Fill, Fixup, Leb, Org, Section, leb128
from rvsim.asm.macros import Macro, parse_parameters, split_arguments, unquote
from rvsim.asm.operands import cut
from rvsim.asm.source import Statement
from rvsim.asm.state import State
from rvsim.asm.tokens import column, string

MAX_FILE = 16 << 20
"""Most bytes of an included file."""

SMALL = 1 << 16
"""Fillings up to this size are bytes like others, so that distances over them are known at once."""

INTEGERS = {
    ".byte": 1,
    ".half": 2,
    ".short": 2,
    ".hword": 2,
    ".2byte": 2,
    ".word": 4,
    ".long": 4,
    ".int": 4,
    ".4byte": 4,
    ".dword": 8,
    ".quad": 8,
    ".8byte": 8,
}
FLOATS = {".float": "f", ".single": "f", ".double": "d"}
REPEATS = (".rept", ".irp", ".irpc")
NUMBER_CONDITIONS: dict[str, Callable[[int], bool]] = {
    ".if": lambda v: v != 0,
    ".ifne": lambda v: v != 0,
    ".ifeq": lambda v: v == 0,
    ".ifge": lambda v: v >= 0,
    ".ifgt": lambda v: v > 0,
    ".ifle": lambda v: v <= 0,
    ".iflt": lambda v: v < 0,
}
SECTION_FLAGS = {
    ".text": ("ax", True),
    ".init": ("ax", True),
    ".fini": ("ax", True),
    ".data": ("aw", True),
    ".sdata": ("aw", True),
    ".bss": ("aw", False),
    ".sbss": ("aw", False),
    ".rodata": ("a", True),
    ".srodata": ("a", True),
}
SYMBOL_KINDS = {"function": "function", "object": "object", "notype": "notype", "gnu_indirect_function": "function"}
SYMBOL_KINDS |= {f"stt_{name[:4] if name == 'function' else name}": kind for name, kind in SYMBOL_KINDS.items()}

CFI = (
    *("sections", "startproc", "endproc", "personality", "lsda", "escape", "signal_frame", "window_save"),
    *("def_cfa", "def_cfa_offset", "def_cfa_register", "adjust_cfa_offset", "offset", "rel_offset", "register"),
    *("restore", "undefined", "same_value", "remember_state", "restore_state", "return_column"),
)

_FLOAT = re.compile(
    r"(?:0[fFdDeE])?([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf(?:inity)?|nan))\Z", re.I
)
_NAME = re.compile(r"[A-Za-z_.$][\w.$]*\Z")


class Directives:
    """Runs directives on a state.

    Each method takes the statement; `DIRECTIVES` says which directive is whose.
    """

    def __init__(self, state: State) -> None:
        self.a = state

    def run(self, statement: Statement) -> None:
        """Run one directive."""
        DIRECTIVES[statement.name.lower()](self, statement)

    # ---------------------------------------------------- operands
    def _cut(self, s: Statement) -> list[list[Token]]:
        return cut(s.operands, s.column)

    def _end(self, s: Statement) -> int:
        return s.column + len(s.operands.rstrip())

    def _parts(self, s: Statement, text: str | None = None) -> list[tuple[str, int]]:
        """Operand text at commas outside quotes, blanks removed, and columns."""
        parts: list[tuple[str, int]] = []
        for found in re.finditer(r'((?:"(?:\\.|[^"\\])*"|[^",])*)(,|\Z)', s.operands if text is None else text):
            part = found[1]
            at = s.column + found.start() + len(part) - len(part.lstrip())
            parts.append((part.strip(), at))
            if not found[2]:
                break
        return [] if len(parts) == 1 and not parts[0][0] else parts

    def _numbers(self, s: Statement, least: int, most: int) -> list[int | None]:
        """Between `least` and `most` numbers that are known; None where one is left out."""
        written = self._cut(s)
        if not least <= len(written) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise Problem(f"expected {wanted} operands for {s.name}, found {len(written)}", self._end(s))
        return [self.a.absolute(tokens, self._end(s)) if tokens else None for tokens in written] + [None] * (
            most - len(written)
        )

    def _name(self, s: Statement, part: str, at: int) -> str:
        part = unquote(part)
        if not _NAME.match(part):
            raise Problem(f"expected a symbol's name, found {part!r}", at)
        return part

    def _contents(self, any_: bool) -> None:
        if any_ and not self.a.section.bits:
            raise Problem(f"expected no contents in {self.a.section.name}, found some; use .zero")

    def _bytes(self, data: bytes) -> None:
        section = self.a.section
        self._contents(any(data))
        section.mark("d")
        section.hold(len(data))
        section.data().data += data

    # ---------------------------------------------------- sections
    def _switch(self, section: Section) -> None:
        if section is not self.a.section:
            self.a.previous, self.a.section = self.a.section, section

    def _named(self, name: str, flags: str | None = None, bits: bool | None = None, entry: int = 0) -> Section:
        section = self.a.sections.get(name)
        if section is None:
            known = next((v for k, v in SECTION_FLAGS.items() if name == k or name.startswith(f"{k}.")), ("", True))
            section = Section(name, known[0] if flags is None else flags, known[1] if bits is None else bits)
            section.entry_size = entry
            if "x" in section.flags:
                section.alignment = 2 if self.a.isa.compressed else 4
            if len(self.a.sections) >= 1000:
                raise Problem("expected at most 1000 sections, found more")
            self.a.sections[name] = section
        return section

    def plain_section(self, s: Statement) -> None:
        if s.operands.strip() not in ("", "0"):
            raise Problem(f"expected nothing behind {s.name}, found {s.operands.strip()!r}", s.column + 1)
        self._switch(self._named(s.name.lower()))

    def section(self, s: Statement) -> None:
        self._switch(self._section(s, self._parts(s)))

    def _section(self, s: Statement, parts: list[tuple[str, int]]) -> Section:
        if not parts:
            raise Problem("expected a section's name, found nothing", self._end(s))
        name = unquote(parts[0][0])
        flags: str | None = None
        bits: bool | None = None
        entry = 0
        for part, at in parts[1:]:
            if part.startswith('"'):
                flags = unquote(part)
                if unknown := set(flags) - set("awxMSGTo?R"):
                    raise Problem(f"expected flags of a, w, x, M and S, found {''.join(sorted(unknown))}", at)
            elif part.startswith(("@", "%")):
                kinds = {"progbits": True, "nobits": False, "note": True, "init_array": True, "fini_array": True}
                if part[1:] not in kinds:
                    raise Problem(f"expected @progbits or @nobits, found {part}", at)
                bits = kinds[part[1:]]
            elif part.isdigit():
                entry = int(part)
            elif part:
                raise Problem(f'expected "flags" or @type, found {part!r}', at)
        if flags is not None and bits is None and name.startswith((".bss", ".sbss")):
            bits = False
        return self._named(name, flags, True if bits is None and flags is not None else bits, entry)

    def pushsection(self, s: Statement) -> None:
        if len(self.a.section_stack) >= 1000:
            raise Problem("expected at most 1000 .pushsection open, found more")
        here = (self.a.section, self.a.previous)
        self.section(s)
        self.a.section_stack.append(here)

    def popsection(self, s: Statement) -> None:
        if not self.a.section_stack:
            raise Problem("expected .pushsection before .popsection, found none")
        self.a.section, self.a.previous = self.a.section_stack.pop()

    def previous(self, s: Statement) -> None:
        self.a.section, self.a.previous = self.a.previous, self.a.section

    # ---------------------------------------------------- symbols
    def binding(self, s: Statement) -> None:
        kind = {".weak": "weak", ".local": "local"}.get(s.name.lower(), "global")
        for part, at in self._parts(s):
            self.a.entry(self._name(s, part, at)).binding = kind

    def type(self, s: Statement) -> None:
        parts = self._parts(s)
        if len(parts) == 1 and len(parts[0][0].split()) == 2:
            name, _, kind = parts[0][0].partition(" ")
            parts = [(name, parts[0][1]), (kind.strip(), parts[0][1] + len(name) + 1)]
        if len(parts) != 2:
            raise Problem("expected a symbol and a type, such as main, @function", self._end(s))
        kind = SYMBOL_KINDS.get(unquote(parts[1][0]).lstrip("@%#").lower(), "")
        if not kind:
            raise Problem(f"expected @function or @object, found {parts[1][0]}", parts[1][1])
        self.a.entry(self._name(s, *parts[0])).kind = kind

    def size(self, s: Statement) -> None:
        written = self._cut(s)
        if len(written) != 2 or len(written[0]) != 1:
            raise Problem("expected a symbol and a size, such as main, .-main", self._end(s))
        self.a.entry(str(written[0][0])).size = self.a.expression(written[1], self._end(s))

    def set(self, s: Statement) -> None:
        written = self._cut(s)
        if len(written) != 2 or len(written[0]) != 1:
            raise Problem(f"expected a symbol and a value for {s.name}", self._end(s))
        token = written[0][0]
        name = self._name(s, str(token), column(token))
        value = self.a.expression(written[1], self._end(s))
        if name == ".":
            self._org(value, b"\0", column(token))
            return
        self.a.define(name, value, column(token), variable=True, once=s.name.lower() == ".equiv")

    def comm(self, s: Statement) -> None:
        parts = self._parts(s)
        if len(parts) not in (2, 3):
            raise Problem(f"expected a symbol, a size and an alignment for {s.name}", self._end(s))
        name = self._name(s, *parts[0])
        numbers = [self.a.absolute(tokens, self._end(s)) for tokens in self._cut(s)[1:]]
        if not 0 <= numbers[0] < 1 << 32:
            raise Problem(f"expected a size below 2^32, found {numbers[0]}", parts[1][1])
        alignment = numbers[1] if len(numbers) > 1 else min(16, 1 << max(0, numbers[0].bit_length() - 1))
        self._check_alignment(alignment)
        entry = self.a.entry(name)
        if entry.value is not None:
            raise Problem(f"expected a new symbol, found {name}, which is defined", parts[0][1])
        entry.kind = "object"
        if s.name.lower() == ".lcomm":
            self.a.reserve(entry, numbers[0], alignment if len(numbers) > 1 else min(8, alignment))
            return
        entry.binding = "global" if entry.binding == "local" else entry.binding
        size, before = entry.common or (0, 1)
        entry.common = max(size, numbers[0]), max(before, alignment)

    # ---------------------------------------------------- data
    def integers(self, s: Statement) -> None:
        size = INTEGERS[s.name.lower()]
        self._integers(self._cut(s), size, s)

    def _integers(self, written: list[list[Token]], size: int, s: Statement) -> None:
        section = self.a.section
        section.mark("d")
        section.hold(size * len(written))
        bits = 8 * size
        limit = (1 << bits) - 1
        for tokens in written:
            node = self.a.expression(tokens, self._end(s))
            self._contents(node != 0)
            data = section.data()
            if isinstance(node, int):
                if bits < 64 and not -(1 << (bits - 1)) <= node <= limit:
                    self.a.warn(f"{node:#x} does not fit {size} bytes and is cut off", column(tokens[0]))
                data.data += (node & limit).to_bytes(size, "little")
                continue
            at = self.a.column + column(tokens[0])
            data.fixups.append(Fixup(len(data.data), size, "data", node, self.a.place, at))
            data.data += bytes(size)

    def floats(self, s: Statement) -> None:
        out = b""
        form = FLOATS[s.name.lower()]
        for part, at in self._parts(s):
            found = _FLOAT.match(part.replace(" ", ""))
            if not found:
                raise Problem(f"expected a number such as -1.5e3, found {part!r}", at)
            value = float(found[1])
            try:
                out += struct.pack(f"<{form}", value)
            except OverflowError:
                out += struct.pack(f"<{form}", math.copysign(math.inf, value))
        self._bytes(out)

    def strings(self, s: Statement) -> None:
        end = b"" if s.name.lower() == ".ascii" else b"\0"
        for tokens in self._cut(s):
            out = b""
            for token in tokens:
                if token.type != "STRING":
                    raise Problem(f'expected a "string", found {str(token)!r}', column(token))
                out += string(token)
            if not tokens:
                raise Problem('expected a "string", found nothing', self._end(s))
            self._bytes(out + end)

    def leb(self, s: Statement) -> None:
        signed = s.name.lower() == ".sleb128"
        for tokens in self._cut(s):
            node = self.a.expression(tokens, self._end(s))
            if isinstance(node, int):
                if node < 0 and not signed:
                    raise Problem(f"expected a number that is not negative, found {node}", column(tokens[0]))
                self._bytes(leb128(node, signed))
            else:
                self._contents(True)
                self.a.section.mark("d")
                self.a.section.add(Leb(node, signed, self.a.place, self.a.column + column(tokens[0])))

    def space(self, s: Statement) -> None:
        count, value = self._numbers(s, 1, 2)
        self._fill(count or 0, bytes([(value or 0) & 0xFF]), s)

    def fill(self, s: Statement) -> None:
        count, size, value = self._numbers(s, 1, 3)
        size = 1 if size is None else size
        if not size >= 0:
            raise Problem(f"expected a size from 0 to 8, found {size}", s.column + 1)
        # The manual: the value is a number of four bytes, whatever lies above it is 0.
        pattern = ((value or 0) & 0xFFFF_FFFF).to_bytes(8, "little")[:size]
        self._fill(count or 0, pattern, s)

    def _fill(self, count: int, pattern: bytes, s: Statement) -> None:
        if not 0 <= count < 1 << 32:
            raise Problem(f"expected a count from 0 to 2^32 - 1, found {count}", s.column + 1)
        section = self.a.section
        if section.bits:
            section.mark("d")
        if count * len(pattern) <= SMALL and section.bits:
            self._bytes(pattern * count)
        else:
            self._contents(any(pattern))
            section.add(Fill(count, pattern))

    def _check_alignment(self, alignment: int) -> None:
        if alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 24:
            raise Problem(f"expected an alignment that is a power of two up to 2^24, found {alignment}")

    def align(self, s: Statement) -> None:
        name = s.name.lower()
        written = self._numbers(s, 0 if name != ".balign" else 1, 3)
        number = 2 if written[0] is None else written[0]
        if name in (".align", ".p2align"):
            if not 0 <= number <= 24:
                raise Problem(
                    f"expected a power of two from 0 to 24, found {number}; .balign takes bytes", s.column + 1
                )
            alignment = 1 << number
        else:
            alignment = max(1, number)
        self._check_alignment(alignment)
        section = self.a.section
        section.alignment = max(section.alignment, alignment)
        if alignment == 1:
            return
        pattern: bytes | None = b"\0"
        if written[1] is not None:
            pattern = bytes([written[1] & 0xFF])
        elif "x" in section.flags:
            pattern = None
        limit = written[2] or 0
        if section.bits:
            section.mark("x" if pattern is None else "d")
        section.add(Align(alignment, pattern, limit, self.a.options.rvc, self.a.options.relax))

    def org(self, s: Statement) -> None:
        written = self._cut(s)
        if len(written) not in (1, 2):
            raise Problem("expected an offset and a filling for .org", self._end(s))
        node = self.a.expression(written[0], self._end(s))
        value = self.a.absolute(written[1], self._end(s)) if len(written) > 1 else 0
        self._org(node, bytes([value & 0xFF]), column(written[0][0]))

    def _org(self, node: Node, pattern: bytes, at: int) -> None:
        self.a.section.add(Org(node, pattern, self.a.place, self.a.column + at))

    # ---------------------------------------------------- files
    def _file(self, s: Statement, part: str, at: int) -> bytes:
        if not (len(part) >= 2 and part[0] == part[-1] == '"'):
            raise Problem(f'expected a "file", found {part!r}', at)
        path = self.a.find_file(unquote(part), s.name)
        try:
            if os.path.getsize(path) > MAX_FILE or not os.path.isfile(path):
                raise Problem(f"expected a file of at most {MAX_FILE >> 20} MiB, found {part}", at)
            with open(path, "rb") as file:
                return file.read(MAX_FILE)
        except OSError as error:
            raise Problem(f"cannot read {part}: {error.strerror}", at) from None

    def include(self, s: Statement) -> None:
        parts = self._parts(s)
        if len(parts) != 1:
            raise Problem('expected a "file" for .include', self._end(s))
        data = self._file(s, *parts[0])
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise Problem(f"expected text in UTF-8, found another byte at {error.start}", parts[0][1]) from None
        self.a.include(text, unquote(parts[0][0]))

    def incbin(self, s: Statement) -> None:
        parts = self._parts(s)
        if not 1 <= len(parts) <= 3:
            raise Problem('expected a "file", how much to skip and how much to take, for .incbin', self._end(s))
        data = self._file(s, *parts[0])
        numbers = [self.a.absolute(tokens, self._end(s)) if tokens else 0 for tokens in self._cut(s)[1:]]
        skip = numbers[0] if numbers else 0
        count = numbers[1] if len(numbers) > 1 else len(data)
        if not 0 <= skip <= len(data) or count < 0:
            raise Problem(f"expected to skip at most {len(data)} bytes, found {skip}", parts[0][1])
        self._bytes(data[skip : skip + count])

    # ---------------------------------------------------- macros and conditions
    def macro(self, s: Statement) -> None:
        found = re.match(r"\s*([A-Za-z_.$][\w.$]*)", s.operands)
        body = self.a.reader.body((".macro",), (".endm", ".endmacro"))
        if not found:
            raise Problem("expected a macro's name, found nothing", self._end(s))
        try:
            parameters = parse_parameters(s.operands[found.end() :])
        except Problem as problem:
            raise Problem(problem.message, s.column + found.end() + (problem.column or 0)) from None
        name = found[1].lower()
        if name in self.a.macros:
            raise Problem(f"expected a new macro, found {found[1]}, which is defined; see .purgem", s.column + 1)
        self.a.macros[name] = Macro(found[1], parameters, body)

    def purgem(self, s: Statement) -> None:
        for part, at in self._parts(s):
            if self.a.macros.pop(part.lower(), None) is None:
                raise Problem(f"expected a macro, found {part}, which is none", at)

    def exitm(self, s: Statement) -> None:
        del self.a.conditions[self.a.reader.leave_macro() :]

    def rept(self, s: Statement) -> None:
        body = self.a.reader.body(REPEATS, (".endr",))
        count = self._numbers(s, 1, 1)[0] or 0
        rounds: Iterator[dict[str, str]] = ({} for _ in range(max(0, count)))
        if body:
            self.a.repeat(body, rounds)

    def irp(self, s: Statement) -> None:
        body = self.a.reader.body(REPEATS, (".endr",))
        name, _, rest = s.operands.strip().partition(",")
        name = name.strip()
        if not _NAME.match(name):
            raise Problem(f"expected a symbol and values for {s.name}", s.column + 1)
        if s.name.lower() == ".irpc":
            values = list(unquote(rest.strip()))
        else:
            values = [unquote(value) for value, _ in split_arguments(rest)]
        self.a.repeat(body, ({name: value} for value in values or [""]))

    def stray_end(self, s: Statement) -> None:
        begin = ".rept" if s.name.lower() == ".endr" else ".macro"
        raise Problem(f"expected {begin} before {s.name}, found none")

    def condition(self, s: Statement) -> None:
        truth = False
        try:
            truth = self._truth(s, s.name.lower())
        finally:
            # An error must not leave .endif without its .if.
            if len(self.a.conditions) >= 1000:
                raise Problem("expected at most 1000 .if open, found more")
            self.a.conditions.append((truth, truth, False, self.a.place))

    def _truth(self, s: Statement, name: str) -> bool:
        if name in NUMBER_CONDITIONS:
            value = self._numbers(s, 1, 1)[0]
            return NUMBER_CONDITIONS[name](value or 0)
        text = s.operands.strip()
        if name in (".ifdef", ".ifndef", ".ifnotdef"):
            entry = self.a.symbols.get(self._name(s, text, s.column + 1))
            return (entry is not None and entry.value is not None) == (name == ".ifdef")
        if name in (".ifb", ".ifnb"):
            return (not text) == (name == ".ifb")
        parts = self._parts(s)
        if len(parts) != 2:
            raise Problem(f"expected two texts for {name}", self._end(s))
        a, b = (part for part, _ in parts)
        if name in (".ifeqs", ".ifnes"):
            return (unquote(a) == unquote(b)) == (name == ".ifeqs")
        return (a == b) == (name == ".ifc")

    def otherwise(self, s: Statement) -> None:
        if not self.a.conditions:
            raise Problem(f"expected .if before {s.name}, found none")
        _, taken, ended, place = self.a.conditions.pop()
        outer = not self.a.conditions or self.a.conditions[-1][0]
        elseif = s.name.lower() == ".elseif"
        if ended:
            self.a.conditions.append((False, True, True, place))
            raise Problem(f"expected .endif behind .else, found {s.name}")
        truth = False
        try:
            truth = not taken and outer and (not elseif or self._truth(s, ".if"))
        finally:
            self.a.conditions.append((truth, taken or truth or not outer, not elseif, place))

    def endif(self, s: Statement) -> None:
        if not self.a.conditions:
            raise Problem("expected .if before .endif, found none")
        self.a.conditions.pop()

    def complain(self, s: Statement) -> None:
        name, text = s.name.lower(), unquote(s.operands.strip())
        if name == ".warning":
            self.a.warn(text or ".warning")
        elif name == ".print":
            return
        else:
            raise Problem(text or f"{name} was reached")

    def end(self, s: Statement) -> None:
        self.a.ended = True

    # ---------------------------------------------------- options
    def option(self, s: Statement) -> None:
        from dataclasses import replace

        parts = [part for part, _ in self._parts(s)]
        word = parts[0] if parts else ""
        a = self.a
        if word == "push":
            if len(a.option_stack) >= 1000:
                raise Problem("expected at most 1000 .option push, found more")
            a.option_stack.append(replace(a.options))
        elif word == "pop":
            if not a.option_stack:
                raise Problem("expected .option push before .option pop, found none")
            a.options = a.option_stack.pop()
        elif word == "rvc" and not a.options.isa.compressed:
            a.options.isa = change(a.options.isa, ["+c"], a.added, s.column + 1)
            a.options.rvc = True
        elif word in ("rvc", "norvc"):
            a.options.rvc = word == "rvc"
        elif word in ("relax", "norelax"):
            a.options.relax = word == "relax"
        elif word == "arch":
            a.options.isa = change(a.options.isa, parts[1:], a.added, s.column + 1)
            a.options.rvc = a.options.isa.compressed
        elif word in ("nopic", "csr-check", "no-csr-check"):
            return
        elif word == "pic":
            raise Problem("expected no .option pic: there is no dynamic linker", s.column + 1)
        else:
            wanted = "rvc, norvc, relax, norelax, push, pop or arch"
            raise Problem(f"expected {wanted}, found {word!r}", s.column + 1)

    def attribute(self, s: Statement) -> None:
        parts = self._parts(s)
        if len(parts) != 2:
            raise Problem("expected an attribute and its value", self._end(s))
        name, text = parts[0][0].lower().removeprefix("tag_riscv_"), parts[1][0]
        if name == "arch":
            self.a.options.isa = change(self.a.options.isa, [unquote(text)], self.a.added, parts[1][1])
            self.a.options.rvc = self.a.options.isa.compressed
            self.a.attributes["arch"] = self.a.options.isa.attribute
        elif name in ("stack_align", "unaligned_access"):
            self.a.attributes[name] = self.a.absolute(self._cut(s)[1], self._end(s))
        elif not name.startswith("priv_spec"):
            raise Problem(f"expected arch, stack_align or unaligned_access, found {parts[0][0]}", parts[0][1])

    # ---------------------------------------------------- line information
    def file(self, s: Statement) -> None:
        found = re.match(r'\s*(\d+)\s+(?:"((?:\\.|[^"\\])*)"\s+)?"((?:\\.|[^"\\])*)"', s.operands)
        if found is None:
            return  # the name of the source that this was compiled from
        number = int(found[1])
        if number > 10_000:
            raise Problem(f"expected a file's number up to 10000, found {number}", s.column + 1)
        if not self.a.own_lines:
            self.a.own_lines = True
            self.a.files.clear()
            for section in self.a.sections.values():
                section.lines.clear()
        while len(self.a.files) < number:
            self.a.files.append("")
        if number:
            self.a.files[number - 1] = os.path.join(found[2] or "", found[3])

    def loc(self, s: Statement) -> None:
        found = re.match(r"\s*(\d+)\s+(\d+)(?:\s+(\d+))?", s.operands)
        if not found:
            raise Problem("expected a file's number and a line for .loc", s.column + 1)
        number, line, at = int(found[1]), int(found[2]), int(found[3] or 0)
        if not 1 <= number <= len(self.a.files) or not self.a.own_lines:
            raise Problem(f"expected a file that .file names, found {number}", s.column + 1)
        if line >= 1 << 31 or at >= 1 << 31:
            raise Problem("expected a line below 2^31, found a larger one", s.column + 1)
        if "x" in self.a.section.flags:
            here: Label = self.a.section.here()
            self.a.section.lines.append((here, number, line, at))

    def ignore(self, s: Statement) -> None:
        """Accept what has no meaning here: there is no unwinder, and no other object file."""


DIRECTIVES: dict[str, Callable[[Directives, Statement], None]] = {
    **dict.fromkeys((".text", ".data", ".bss", ".rodata", ".sdata", ".sbss"), Directives.plain_section),
    ".section": Directives.section,
    ".pushsection": Directives.pushsection,
    ".popsection": Directives.popsection,
    ".previous": Directives.previous,
    **dict.fromkeys((".globl", ".global", ".weak", ".local"), Directives.binding),
    ".type": Directives.type,
    ".size": Directives.size,
    **dict.fromkeys((".set", ".equ", ".equiv"), Directives.set),
    **dict.fromkeys((".comm", ".common", ".lcomm"), Directives.comm),
    **dict.fromkeys(INTEGERS, Directives.integers),
    **dict.fromkeys(FLOATS, Directives.floats),
    **dict.fromkeys((".ascii", ".asciz", ".string"), Directives.strings),
    **dict.fromkeys((".uleb128", ".sleb128"), Directives.leb),
    **dict.fromkeys((".zero", ".space", ".skip"), Directives.space),
    ".fill": Directives.fill,
    **dict.fromkeys((".align", ".p2align", ".balign"), Directives.align),
    ".org": Directives.org,
    ".include": Directives.include,
    ".incbin": Directives.incbin,
    ".macro": Directives.macro,
    ".purgem": Directives.purgem,
    ".exitm": Directives.exitm,
    ".rept": Directives.rept,
    **dict.fromkeys((".irp", ".irpc"), Directives.irp),
    **dict.fromkeys((".endm", ".endmacro", ".endr"), Directives.stray_end),
    **dict.fromkeys(NUMBER_CONDITIONS, Directives.condition),
    **dict.fromkeys(
        (".ifdef", ".ifndef", ".ifnotdef", ".ifb", ".ifnb", ".ifc", ".ifnc", ".ifeqs", ".ifnes"), Directives.condition
    ),
    **dict.fromkeys((".else", ".elseif"), Directives.otherwise),
    ".endif": Directives.endif,
    **dict.fromkeys((".error", ".err", ".warning", ".print"), Directives.complain),
    ".end": Directives.end,
    ".option": Directives.option,
    ".attribute": Directives.attribute,
    ".file": Directives.file,
    ".loc": Directives.loc,
    **dict.fromkeys(
        (".ident", ".hidden", ".protected", ".internal", ".addrsig", ".addrsig_sym"),
        Directives.ignore,
    ),
    **dict.fromkeys((f".cfi_{name}" for name in CFI), Directives.ignore),
}
