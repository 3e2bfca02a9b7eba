"""Statements of a source, one after another: labels, macros, directives, instructions."""

from __future__ import annotations

from rvsim.asm.coding import Coder
from rvsim.asm.directives import DIRECTIVES, Directives
from rvsim.asm.errors import Problem, suggestion
from rvsim.asm.insn import assemble_insn
from rvsim.asm.macros import Macro, bind
from rvsim.asm.source import Raw, Statement, split_statement
from rvsim.asm.state import State


class Assembler:
    """Reads statements into a state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.coder = Coder(state)
        self.directives = Directives(state)

    # -------------------------------------------------------- reading
    def run(self, source: str, name: str) -> None:
        """Assemble a whole source."""
        self.state.include(source, name)
        while not self.state.ended:
            try:
                raw = self.state.reader.next()
            except Problem as problem:
                self.state.error(self.state.place, self.state.column, problem)
                self.state.report.check()
                return
            if raw is None:
                break
            self.process(raw)
        for _, _, _, place in self.state.conditions:
            self.state.report.error(place, 1, "expected .endif behind this, found the end of the file")

    def process(self, raw: Raw) -> None:
        """Assemble one statement; what is wrong with it is reported."""
        self.state.place, self.state.column = raw.place, raw.column
        if self.state.skipping:
            self._skip(raw)
            return
        start = raw.column + len(raw.text) - len(raw.text.lstrip())
        try:
            statement = split_statement(raw)
            start = raw.column + statement.name_column
            for name, at in statement.labels:
                self.state.define_label(name, at)
            if statement.name:
                self._statement(statement)
        except Problem as problem:
            self.state.error(raw.place, start, problem)
        except RecursionError:
            self.state.error(raw.place, start, Problem("expected a simpler expression, found one nested too deeply"))

    def _skip(self, raw: Raw) -> None:
        try:
            statement = split_statement(raw)
        except Problem:
            return
        name = statement.name.lower()
        if name.startswith(".if"):
            self.state.conditions.append((False, True, False, raw.place))
        elif name in (".else", ".elseif", ".endif"):
            try:
                self.directives.run(statement)
            except Problem as problem:
                self.state.error(raw.place, raw.column, problem)

    def _statement(self, statement: Statement) -> None:
        name = statement.name.lower()
        macro = self.state.macros.get(name)
        if macro is not None:
            self.expand_macro(macro, statement)
            return
        if name in DIRECTIVES:
            self.state.listing.append((self.state.section, self.state.section.here(), self.state.place))
            self.directives.run(statement)
            return
        self.state.listing.append((self.state.section, self.state.section.here(), self.state.place))
        if name == ".insn":
            self.coder.begin()
            self.coder.emit(assemble_insn(self.state, statement))
        elif name.startswith("."):
            known = suggestion(name, DIRECTIVES)
            raise Problem(f"expected a directive, found {statement.name}, which there is not{known}")
        else:
            if "%_prev" in statement.operands:
                raise Problem("expected %hi, %lo, %pcrel_hi or %pcrel_lo, found %_prev_lo")
            self.coder.instruction(name, statement)

    def expand_macro(self, macro: Macro, statement: Statement) -> None:
        """Read a macro's body next."""
        try:
            values = bind(macro, statement.operands)
        except Problem as problem:
            raise Problem(problem.message, (problem.column or 0) + statement.column) from None
        number, self.state.expansions = self.state.expansions, self.state.expansions + 1
        self.state.repeat(macro.body, iter([values]), number=number, macro=True)
