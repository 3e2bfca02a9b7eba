"""The state of an assembly: sections, symbols, options, and what expressions are worth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lark import Token

from rvsim.asm.errors import Diagnostic, Place, Problem, Report, suggestion
from rvsim.asm.expressions import Label, Node, Symbol, Value, evaluate, resolve
from rvsim.asm.instructions import InstructionSet
from rvsim.asm.layout import Align, Fill, Section
from rvsim.asm.macros import Macro, Reader, expand
from rvsim.asm.operands import REGISTER_NUMBERS
from rvsim.asm.source import Raw, split_source
from rvsim.asm.tokens import column, parse_expression
from rvsim.isa.ir import Isa


@dataclass
class SymbolEntry:
    """What is known about a name.

    Attributes
    ----------
    value : node or None
        None while it is not defined.
    variable : bool
        Defined by `.set`, so it may be defined again.
    binding : str
        ``local``, ``global`` or ``weak``.
    kind : str
        ``notype``, ``function`` or ``object``.
    """

    value: Node | None = None
    variable: bool = False
    binding: str = "local"
    kind: str = "notype"
    size: Node = 0
    place: Place | None = None
    common: tuple[int, int] | None = None


@dataclass
class Options:
    """What `.option` changes, and `push` keeps."""

    isa: InstructionSet
    rvc: bool
    relax: bool = True


@dataclass
class State:
    """One assembly, as far as it has come.

    Attributes
    ----------
    sections : dict of str to Section
        In the order in which they were named.
    symbols : dict of str to SymbolEntry
    images : dict of str to bytes
        Contents of each section after `finish`.
    """

    isa: InstructionSet
    added: Sequence[Isa] = ()
    folder: str | None = None
    shrink_calls: bool = False
    report: Report = field(default_factory=Report)
    sections: dict[str, Section] = field(default_factory=dict)
    symbols: dict[str, SymbolEntry] = field(default_factory=dict)
    macros: dict[str, Macro] = field(default_factory=dict)
    reader: Reader = field(default_factory=Reader)
    conditions: list[tuple[bool, bool, bool, Place]] = field(default_factory=list)
    locals: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    attributes: dict[str, str | int] = field(default_factory=dict)
    listing: list[tuple[Section, Label, Place]] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)
    own_lines: bool = False
    ended: bool = False
    expansions: int = 0

    def __post_init__(self) -> None:
        self.options = Options(self.isa, self.isa.compressed)
        self.option_stack: list[Options] = []
        self.section_stack: list[tuple[Section, Section]] = []
        self.place = Place("", 0, "")
        self.column = 0
        self.statement_start: Label | None = None
        self.used_compressed = False
        for name, flags, bits in ((".text", "ax", True), (".data", "aw", True), (".bss", "aw", False)):
            self.sections[name] = Section(name, flags, bits)
        # GNU as aligns .text to the shortest instruction.
        self.sections[".text"].alignment = 2 if self.isa.compressed else 4
        self.section = self.previous = self.sections[".text"]
        self._evaluating: set[str] = set()
        self._values: dict[str, Value] = {}
        self.looked_up = False  # whether a symbol was, since this was last cleared
        self.final = False  # addresses are the last ones

    def include(self, source: str, name: str) -> None:
        """Read statements from a text before all others."""
        raws, errors = split_source(source, name)
        for place, at, message in errors:
            self.report.error(place, at, message)
        self.reader.push(iter(raws), len(self.conditions))

    def error(self, place: Place, offset: int, problem: Problem) -> None:
        at = offset if problem.column is None else self.column + problem.column
        self.report.error(place, at + 1, problem.message)

    def warn(self, message: str, at: int = 0) -> None:
        """Warn about the statement being assembled."""
        self.report.warning(self.place, self.column + at + 1, message)

    @property
    def skipping(self) -> bool:
        return bool(self.conditions) and not self.conditions[-1][0]

    def repeat(
        self, body: list[Raw], rounds: Iterator[dict[str, str]], number: int | None = None, macro: bool = False
    ) -> None:
        """Read a body next, once for each round."""

        def fail(raw: Raw, problem: Problem) -> None:
            self.error(raw.place, raw.column, problem)

        expanded = expand(body, rounds, self.place, self.expansions if number is None else number, fail)
        self.reader.push(expanded, len(self.conditions), macro)

    def entry(self, name: str) -> SymbolEntry:
        """The symbol of a name, made if there is none."""
        found = self.symbols.get(name)
        if found is None:
            found = self.symbols[name] = SymbolEntry()
        return found

    def define_label(self, name: str, at: int) -> None:
        """Define a label here; digits may be defined again and again."""
        if name[0].isdigit():
            count = self.locals[name] = self.locals.get(name, 0) + 1
            name = f"{int(name)}\x01{count}"
        self.define(name, self.section.here(), at)

    def define(self, name: str, value: Node, at: int, variable: bool = False, once: bool = False) -> None:
        """Define a symbol.

        Raises
        ------
        Problem
            It is defined, and not as a variable.
        """
        if name in REGISTER_NUMBERS:
            raise Problem(f"expected a symbol, found {name}, which is a register; choose another name", at)
        entry = self.entry(name)
        if entry.value is not None and (once or not (variable and entry.variable)):
            where = f" at {entry.place.file}:{entry.place.line}" if entry.place else ""
            raise Problem(f"expected a new symbol, found {name}, which is defined{where}", at)
        entry.value, entry.variable, entry.place = value, variable, self.place

    def _lookup(self, symbol: Symbol) -> Node:
        name = symbol.name
        self.looked_up = True
        entry = self.symbols.get(name)
        if entry is not None and entry.value is not None:
            return entry.value
        if name == ".":
            return self.section.here()
        if name[0].isdigit():
            number = name[:-1].lstrip("0") or "0"
            count = self.locals.get(name[:-1], 0)
            if name[-1] == "f":
                return Symbol(f"{number}\x01{count + 1}", symbol.column)
            if not count:
                raise Problem(f"expected a label {number}: before this, found none", symbol.column)
            found = self.symbols[f"{number}\x01{count}"].value
            assert found is not None
            return found
        return symbol

    def resolve(self, node: Node) -> Node:
        """Put in what is known about symbols now."""
        return node if isinstance(node, int) else resolve(node, self._lookup)

    def expression(self, tokens: list[Token], end: int) -> Node:
        """Operand tokens as an expression, resolved."""
        return self.resolve(parse_expression(tokens, end))

    def absolute(self, tokens: list[Token], end: int) -> int:
        """Operand tokens as a number that is known now.

        Raises
        ------
        Problem
            It depends on what comes later.
        """
        node = self.expression(tokens, end)
        if isinstance(node, int):
            return node
        at = column(tokens[0])
        name = f", found {node.name}, which is not defined before" if isinstance(node, Symbol) else ""
        raise Problem(f"expected a number that is known here{name or ', found one that depends on addresses'}", at)

    def label_value(self, label: Label) -> Value:
        return label.section, label.address

    def symbol_value(self, symbol: Symbol) -> Value:
        """The value of a symbol that was not known when it was used."""
        entry = self.symbols.get(symbol.name)
        if entry is None or entry.value is None:
            if entry is not None and entry.binding == "weak":
                return None, 0
            if "\x01" in symbol.name:
                number = symbol.name.partition("\x01")[0]
                raise Problem(f"expected a label {number}: behind this, found none", symbol.column)
            known = [name for name, each in self.symbols.items() if each.value is not None and "\x01" not in name]
            hint = suggestion(symbol.name, [*known, *REGISTER_NUMBERS])
            raise Problem(f"expected a symbol that is defined, found {symbol.name}{hint}", symbol.column)
        if symbol.name in self._evaluating:
            raise Problem(f"expected a value, found {symbol.name}, which is defined by itself", symbol.column)
        if isinstance(entry.value, int | Label):
            return self.value(entry.value)
        known_value = self._values.get(symbol.name)
        if known_value is None:
            self._evaluating.add(symbol.name)
            try:
                known_value = evaluate(entry.value, self.symbol_value, self.label_value)
            finally:
                self._evaluating.discard(symbol.name)
            if self.final:
                self._values[symbol.name] = known_value
        return known_value

    def value(self, node: Node) -> Value:
        """The value of a node by the addresses of now."""
        try:
            return evaluate(node, self.symbol_value, self.label_value)
        except RecursionError:
            raise Problem("expected a simpler expression, found one nested too deeply") from None

    def reserve(self, entry: SymbolEntry, size: int, alignment: int) -> None:
        """Define a symbol as `size` bytes of .bss."""
        bss = self.sections[".bss"]
        bss.alignment = max(bss.alignment, alignment)
        bss.add(Align(alignment, b"\0", 0, False, False))
        entry.value, entry.place = bss.here(), self.place
        entry.size = entry.size or size
        bss.add(Fill(size, b"\0"))

    @property
    def warnings(self) -> list[Diagnostic]:
        return [each for each in self.report.diagnostics if each.warning]

    def find_file(self, name: str, what: str) -> str:
        """The path of a file that a source names: below the source's folder only.

        Raises
        ------
        Problem
            It is outside, or there is no folder.
        """
        if self.folder is None:
            raise Problem(f"expected no {what} in a source without a folder, found one of {name}")
        base = os.path.realpath(self.folder)
        path = os.path.realpath(os.path.join(base, name))
        if os.path.commonpath([base, path]) != base:
            raise Problem(f"expected a file below the source's folder, found {name}; put it there")
        return path
