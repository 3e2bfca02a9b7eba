"""Instructions added at run time: a coprocessor's and those of `--isa-ext` files, executed by the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rvsim.errors import InputFileError, UsageError
from rvsim.isa.bundle import bundled
from rvsim.isa.evaluate import BehaviourError, Trap, execute
from rvsim.isa.ir import Instruction, Isa, walk, wrap
from rvsim.machine._hart import GuestTrap

if TYPE_CHECKING:
    from accel.protocol import Coprocessor
    from rvsim.machine._hart import Hart
    from rvsim.machine.csr import CsrFile

MASK = 0xFFFF_FFFF


def ends_block(instruction: Instruction) -> bool:
    """Whether the machine has to look behind the instruction: it may jump, write code or call the machine."""
    return any(
        op.code in ("setpc", "store", "call") or (op.code == "load" and op.attr[0] != "MEM")
        for op in walk(instruction.body)
    )


def with_major_opcode(instruction: Instruction, opcode: int) -> Instruction:
    """The same instruction under another major opcode (bits 6:0)."""
    match = instruction.match & ~0x7F | opcode
    return Instruction(**{**{f: getattr(instruction, f) for f in instruction.__struct_fields__}, "match": match})


def load_extension(path: str) -> Isa:
    """Parse a file of `--isa-ext`; its warnings are in the result."""
    from rvsim.isa import model

    return model.load_extension(Path(path))


def added_instructions(
    coprocessor: Coprocessor | None, files: Sequence[str]
) -> tuple[list[tuple[Instruction, Isa, str]], list[str]]:
    """Instructions added to the bundled ones, each with its set and timing class; and warnings of their descriptions.

    Raises
    ------
    UsageError
        Two claim the same words.
    InputFileError
        A file of `--isa-ext` cannot be read.
    """
    added: list[tuple[Instruction, Isa, str]] = []
    warnings: list[str] = []
    if coprocessor is not None:
        isa = bundled(coprocessor.description.stem)
        added += [(with_major_opcode(i, coprocessor.major_opcode), isa, "coprocessor") for i in isa.instructions]
    for file in files:
        isa = load_extension(file)
        warnings += isa.warnings
        for instruction in isa.instructions:
            for other, owner, _ in added:
                if (
                    instruction.size == other.size
                    and (instruction.match ^ other.match) & instruction.mask & other.mask == 0
                ):
                    raise UsageError(
                        f"{file}: {instruction.name} and {other.name} of {owner.name} claim the same words; "
                        "move one to another opcode (--set accel.custom_opcode=custom-1)"
                    )
            added.append((instruction, isa, "custom"))
    return added, warnings


class Context:
    """What behaviours of added instructions act on: the hart, and registers of their own.

    Parameters
    ----------
    hart : Hart
    csrs : CsrFile
    isas : sequence of Isa
        The sets added; registers they declare beside X and PC are kept here.
    calls : dict
        Extern functions by name.
    """

    def __init__(
        self, hart: Hart, csrs: CsrFile, isas: Sequence[Isa], calls: dict[str, Callable[..., int | None]]
    ) -> None:
        self.hart, self.csrs, self.calls = hart, csrs, calls
        self.pc = 0
        self.tval: int | None = None
        self.files: dict[str, list[int]] = {}
        self.types: dict[str, tuple[int, bool]] = {}
        for isa in isas:
            for file in isa.registers:
                if file.role not in ("main", "pc"):
                    values = (file.reset + [0] * max(1, file.count))[: max(1, file.count)]
                    self.files.setdefault(file.name, values)
                    self.types[file.name] = (file.width, file.signed)
            for extern in isa.externs:
                if extern.name not in calls and extern.name not in ("raise", "set_tval"):
                    known = ", ".join(sorted([*calls, "raise", "set_tval"]))
                    raise InputFileError(
                        f"{isa.name}: the extern function {extern.name} is not provided by this machine; it has {known}"
                    )

    def get(self, file: str, index: int | None) -> int:
        if file == "X":
            return self.hart.register(index or 0)
        values = self.files[file]
        return values[index or 0] if 0 <= (index or 0) < len(values) else 0

    def put(self, file: str, index: int | None, value: int) -> None:
        if file == "X":
            self.hart.set_register(index or 0, value & MASK)
        elif 0 <= (index or 0) < len(self.files[file]):
            self.files[file][index or 0] = wrap(value, *self.types[file])

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        if space == "MEM":
            parts = [self.hart.load((address + at) & MASK, n) for at, n in _pieces(size)]
            value = sum(part << (8 * at) for part, (at, _) in zip(parts, _pieces(size), strict=True))
            return int.from_bytes(value.to_bytes(size, "little"), "big") if big_endian else value
        if space == "CSR":
            return self.csrs.read(address & 0xFFF)
        return 0

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        if space == "MEM":
            data = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big" if big_endian else "little")
            for at, n in _pieces(size):
                self.hart.store((address + at) & MASK, int.from_bytes(data[at : at + n], "little"), n)
        elif space == "CSR":
            self.csrs.write(address & 0xFFF, value & MASK)

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        if name == "set_tval":
            self.tval = arguments[0]
            return None
        return self.calls[name](*arguments)

    def execute(self, instruction: Instruction, word: int, pc: int) -> int | None:
        """Run one instruction; the address to go on at when it is not the next one.

        Raises
        ------
        GuestTrap
        InputFileError
            When the behaviour does not end.
        """
        self.pc, self.tval = pc, None
        try:
            target = execute(instruction, word, pc, self)
        except Trap as trap:
            raise GuestTrap(trap.irq, trap.cause, self.tval or 0) from None
        except BehaviourError as error:
            raise InputFileError(f"{instruction.where}: {instruction.name} at pc {pc:#010x}: {error}") from None
        if target is not None and target & 1:
            raise GuestTrap(0, 0, target & MASK)
        return target


def _pieces(size: int) -> list[tuple[int, int]]:
    """An access of 3 or 5 to 8 bytes as accesses the memory port makes: (offset, bytes)."""
    if size in (1, 2, 4):
        return [(0, size)]
    pieces, at = [], 0
    while at < size:
        step = 4 if size - at >= 4 else 2 if size - at >= 2 else 1
        pieces.append((at, step))
        at += step
    return pieces
