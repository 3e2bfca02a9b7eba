"""Sizes, addresses and bytes of all sections: what a linker would do."""

from __future__ import annotations

from rvsim.asm.coding import add_coded
from rvsim.asm.errors import Place, Problem
from rvsim.asm.expressions import Label, Node, Operation, Symbol
from rvsim.asm.layout import ADDRESS_SPACE, Align, Branch, Data, Fill, Fixup, Fragment, Leb, Org, Section, relax
from rvsim.asm.operands import relocated
from rvsim.asm.state import State

PAGE = 4096
"""Where permissions change, the next section begins on a page: the ELF also runs under an operating system."""


class Linker:
    """Finishes the sections of a state."""

    def __init__(self, state: State) -> None:
        self.state = state

    def _fixed(self, node: Node) -> bool:
        """Whether a branch's target is in its place for sure: it names no weak symbol."""
        if isinstance(node, Symbol):
            return self.state.entry(node.name).binding != "weak"
        if isinstance(node, Operation):
            return all(self._fixed(each) for each in node.arguments)
        if isinstance(node, Label):
            return node not in self._weak_labels
        return True

    def finish(self, text: int) -> None:
        """Choose sizes and addresses, and make every section's bytes.

        Parameters
        ----------
        text : int
            Address of the first section.
        """
        self._allocate_commons()
        self.state.report.check()
        weak = [e.value for e in self.state.symbols.values() if e.binding == "weak"]
        self._weak_labels = {value for value in weak if isinstance(value, Label)}

        def fail(place: Place, at: int, message: str) -> None:
            self.state.report.error(place, at + 1, message)

        relax(list(self.state.sections.values()), self.state.value, self._fixed, fail)
        self.state.report.check()
        self._place_sections(text)
        self.state.final = True
        self._encode()
        self.state.report.check()

    def _allocate_commons(self) -> None:
        for entry in self.state.symbols.values():
            if entry.common is not None and entry.value is None:
                self.state.reserve(entry, *entry.common)

    def _place_sections(self, text: int) -> None:
        def order(section: Section) -> int:
            return 0 if "x" in section.flags else 3 if not section.bits else 2 if "w" in section.flags else 1

        allocated = [s for s in self.state.sections.values() if s.allocated and (s.size or s.name == ".text")]
        address = text
        permissions = "ax"
        for section in sorted(allocated, key=order):
            flags = "".join(f for f in "awx" if f in section.flags)
            if flags != permissions and address != text:
                address = -(-address // PAGE) * PAGE
            permissions = flags
            section.base = address = -(-address // section.alignment) * section.alignment
            address += section.size
            if address > ADDRESS_SPACE:
                message = (
                    f"expected addresses below 2^32, found {section.name} ending at {address:#x}; choose another --text"
                )
                self.state.report.error(self.state.place, 1, message)
                self.state.report.check()

    def _encode(self) -> None:
        self._high: dict[int, int] = {}
        pieces: list[tuple[Section, list[tuple[bytearray, Fragment]]]] = []
        waiting: list[tuple[bytearray, int, Fixup]] = []
        for section in self.state.sections.values():
            parts: list[tuple[bytearray, Fragment]] = []
            for fragment in section.fragments:
                data = self._fragment_bytes(fragment) if section.bits else bytearray()
                fixups = fragment.fixups if isinstance(fragment, Data) else []
                if isinstance(fragment, Branch):
                    data, fixups = self._branch_bytes(fragment)
                for fixup in fixups:
                    waiting.append((data, section.base + fragment.address + fixup.offset, fixup))
                parts.append((data, fragment))
            pieces.append((section, parts))
        for _, address, fixup in waiting:
            if fixup.kind == "pcrel_hi":
                try:
                    self._high[address] = self.state.value(fixup.node)[1]
                except Problem:
                    pass  # reported below
        for data, address, fixup in waiting:
            try:
                self._apply(data, address, fixup)
            except Problem as problem:
                self.state.report.error(fixup.place, fixup.column + 1, problem.message)
            except RecursionError:
                self.state.report.error(
                    fixup.place, fixup.column + 1, "expected a simpler expression, found too deep a one"
                )
        for section, parts in pieces:
            self.state.images[section.name] = b"".join(data for data, _ in parts) if section.bits else b""

    def _fragment_bytes(self, fragment: Fragment) -> bytearray:
        if isinstance(fragment, Data):
            return fragment.data
        if isinstance(fragment, Fill):
            return bytearray(fragment.pattern * fragment.count)
        if isinstance(fragment, Org):
            return bytearray((fragment.pattern * fragment.size)[: fragment.size])
        if isinstance(fragment, Leb):
            try:
                value = self.state.value(fragment.node)[1]
                if value < 0 and not fragment.signed:
                    raise Problem(f"expected a number that is not negative, found {value}")
                fragment.value = value
                if len(fragment.bytes()) > fragment.size:
                    raise Problem("expected a number that does not depend on its own size, found one that does")
            except Problem as problem:
                self.state.report.error(fragment.place_of, fragment.column + 1, problem.message)
            return bytearray(fragment.bytes()[: fragment.size])
        if isinstance(fragment, Align):
            return bytearray(fragment.bytes())
        return bytearray(fragment.size)

    def _branch_bytes(self, branch: Branch) -> tuple[bytearray, list[Fixup]]:
        data = Data()
        for coded in branch.forms[branch.chosen]:
            add_coded(data, coded, branch.place_of, branch.start)
        return data.data, data.fixups

    def _apply(self, data: bytearray, address: int, fixup: Fixup) -> None:
        if fixup.kind == "pcrel_lo":
            _, label = self.state.value(fixup.node)
            if label not in self._high:
                raise Problem("expected %pcrel_lo of a label at an instruction with %pcrel_hi, found another place")
            value = relocated("pcrel_lo", self._high[label], label)
        else:
            value = self.state.value(fixup.node)[1]
        if fixup.element is None:
            self._apply_data(data, fixup, value)
            return
        if fixup.kind != "pcrel_lo":
            value = relocated(fixup.kind, value, address - 4 if fixup.kind == "_prev_lo" else address)
        element = fixup.element
        if not element.fits(value):
            raise Problem(element.out_of_range(value))
        at, size = fixup.offset, fixup.size
        word = int.from_bytes(data[at : at + size], "little") | element.insert(value)
        data[at : at + size] = word.to_bytes(size, "little")

    def _apply_data(self, data: bytearray, fixup: Fixup, value: int) -> None:
        bits = 8 * fixup.size
        if not -(1 << (bits - 1)) <= value < 1 << bits and bits < 64:
            message = f"{value:#x} does not fit {fixup.size} bytes and is cut off"
            self.state.report.warning(fixup.place, fixup.column + 1, message)
        data[fixup.offset : fixup.offset + fixup.size] = (value & ((1 << bits) - 1)).to_bytes(fixup.size, "little")
