"""Instructions added at run time: a coprocessor's and those of `--isa-ext` files.

Words whose behaviour the steps of `rvsim/isa/routine.py` can express become routines; the evaluator does the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rvsim.errors import InputFileError, UsageError
from rvsim.isa.ccode import instruction_class
from rvsim.isa.evaluate import BehaviourError, Trap, execute
from rvsim.isa.ir import Field, Instruction, Isa, walk, wrap
from rvsim.isa.routine import NoRoutine, OwnRegisters, access_pieces, routine, uses_pc
from rvsim.machine._hart import GuestTrap

if TYPE_CHECKING:
    from accel.protocol import Coprocessor
    from rvsim.machine._hart import Hart
    from rvsim.machine.csr import CsrFile

MASK = 0xFFFF_FFFF
# Distinct instruction words that may have routines: one that writes its own code must not fill the host's memory.
MAX_ROUTINES = 4096
MAX_LOOPS = 4  # hardware loops (HWLOOPS of hart.h)


def ends_block(instruction: Instruction) -> bool:
    """Whether the machine has to look behind the instruction: it may jump, write code or call the machine."""
    return any(op.code == "setpc" for op in walk(instruction.body)) or not only_computes(instruction)


def sets_end(instruction: Instruction, isa: Isa) -> bool:
    """Whether it writes a register file in which a hardware loop has its end."""
    files = {loop.end[0] for loop in isa.loops}
    return any(op.code == "put" and op.attr in files for op in walk(instruction.body))


def timing_class(instruction: Instruction) -> str:
    """What an added instruction costs: accesses and jumps what they cost the core, everything else ``custom``."""
    class_ = instruction_class(instruction)
    return class_ if class_ in ("load", "store", "branch", "jump", "coprocessor") else "custom"


def only_computes(instruction: Instruction) -> bool:
    """Whether it reads and writes nothing but registers, and at most reads memory, jumps or traps."""
    return not any(
        op.code == "store"
        or (op.code == "call" and op.attr != "set_tval")
        or (op.code == "load" and op.attr[0] != "MEM")
        for op in walk(instruction.body)
    )


def most_accesses(instruction: Instruction) -> int:
    """Accesses to memory of one execution, at most; loops are taken to run a while."""
    total = 0
    for op in walk(instruction.body):
        if op.code in ("load", "store"):
            total += len(access_pieces(op.attr[1]))
    return min(255, total * (32 if any(op.code == "loop" for op in walk(instruction.body)) else 1))


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
        isa = coprocessor.isa()
        warnings += isa.warnings
        added += [(i, isa, timing_class(i)) for i in isa.instructions]
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
            added.append((instruction, isa, timing_class(instruction)))
    return added, warnings


class PlainIssue(NamedTuple):
    """An instruction that does nothing but ``X[rd] = coprocessor_issue(function, X[rs1], X[rs2])``.

    Operands are fields, or constants where the behaviour has those; `rd` is None where nothing is written.
    """

    function: int
    operands: tuple[Field | int, Field | int]
    rd: Field | None


def plain_issue(instruction: Instruction) -> PlainIssue | None:
    """What such an instruction hands over; None for any other, which the evaluator has to execute."""
    fields = {field.name: field for field in instruction.fields}
    values: dict[int, Field | int] = {}
    tests: dict[int, list[int]] = {}
    for op in instruction.static:
        if op.code in ("const", "field"):
            values[op.result] = op.attr if op.code == "const" else fields[op.attr]
        elif op.code == "eq":
            tests[op.result] = op.args
        else:
            return None
    registers: dict[int, Field] = {}
    found: tuple[int, list[Field | int]] | None = None
    rd: Field | None = None
    for op in instruction.body:
        if op.code == "if" and found and rd is None and op.bodies[0] == [] and len(op.bodies[1]) == 1:
            condition = [values.get(each) for each in tests.get(op.args[0], [])]
            op = op.bodies[1][0]
            if 0 not in condition or values.get(op.args[0]) not in condition:
                return None
        if op.code == "get" and op.attr == "X" and not found and isinstance(of := values.get(op.args[0]), Field):
            registers[op.result] = of
        elif op.code == "call" and op.attr == "coprocessor_issue" and not found:
            operands = [registers.get(each, values.get(each)) for each in op.args]
            function, *others = operands
            if not isinstance(function, int) or any(
                each is None or (isinstance(each, Field) and n not in registers)
                for n, each in zip(op.args[1:], others, strict=True)
            ):
                return None
            found = op.result, operands  # type: ignore[assignment]
        elif op.code == "put" and op.attr == "X" and found and op.args[1] == found[0] and rd is None:
            of = values.get(op.args[0])
            if not isinstance(of, Field):
                return None
            rd = of
        else:
            return None
    if found is None:
        return None
    function, first, second = found[1]
    assert isinstance(function, int)
    return PlainIssue(function, (first, second), rd)


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
    alignment : int
        Bytes that instructions are aligned to, 2 or 4.
    """

    def __init__(
        self,
        hart: Hart,
        csrs: CsrFile,
        isas: Sequence[Isa],
        calls: dict[str, Callable[..., int | None]],
        alignment: int = 2,
    ) -> None:
        self.hart, self.csrs, self.calls = hart, csrs, calls
        self.pc = 0
        self.tval: int | None = None
        self.plain: dict[int, PlainIssue | None] = {}  # by identity of the instruction
        self.own = OwnRegisters()
        self.wide: dict[str, list[int]] = {}  # files of registers that have more than 64 bits
        self.types: dict[str, tuple[int, bool]] = {}
        reset: list[int] = []
        for isa in isas:
            for file in isa.registers:
                if file.role not in ("main", "pc") and file.name not in self.types:
                    values = (file.reset + [0] * max(1, file.count))[: max(1, file.count)]
                    self.types[file.name] = (file.width, file.signed)
                    if self.own.add(file):
                        reset += values
                    else:
                        self.wide[file.name] = values
            for extern in isa.externs:
                if extern.name not in calls and extern.name not in ("raise", "set_tval"):
                    known = ", ".join(sorted([*calls, "raise", "set_tval"]))
                    raise InputFileError(
                        f"{isa.name}: the extern function {extern.name} is not provided by this machine; it has {known}"
                    )

        hart.add_own_registers(reset)
        self.ends: set[int] = set()
        loops = []
        for loop in (loop for isa in {id(isa): isa for isa in isas}.values() for loop in isa.loops):
            start, end, count = (self.own.files[file][0] + n for file, n in (loop.start, loop.end, loop.count))
            loops.append((start, end, count, loop.ahead))
            self.ends.add(end)
        if len(loops) > MAX_LOOPS:
            raise InputFileError(f"{isas[0].name}: expected at most {MAX_LOOPS} hardware loops, found {len(loops)}")
        hart.add_hwloops(loops, alignment)

    def get(self, file: str, index: int | None) -> int:
        if file == "X":
            return self.hart.register(index or 0)
        index = index or 0
        if file not in self.wide:
            first, count, width, signed = self.own.files[file]
            return wrap(self.hart.own_register(first + index), width, signed) if 0 <= index < count else 0
        values = self.wide[file]
        return values[index] if 0 <= index < len(values) else 0

    def reader(self, file: str, index: int) -> Callable[[], int]:
        """Reads a register."""
        return lambda: self.get(file, index)

    def put(self, file: str, index: int | None, value: int) -> None:
        if file == "X":
            self.hart.set_register(index or 0, value & MASK)
            return
        index, value = index or 0, wrap(value, *self.types[file])
        if file not in self.wide:
            first, count, _, _ = self.own.files[file]
            if 0 <= index < count:
                self.hart.set_own_register(first + index, value)
        elif 0 <= index < len(self.wide[file]):
            self.wide[file][index] = value

    def registers(self) -> dict[str, list[int]]:
        """Values of all registers of the added sets, by file."""
        narrow = {name: [self.get(name, n) for n in range(count)] for name, (_, count, _, _) in self.own.files.items()}
        return {**narrow, **{name: list(values) for name, values in self.wide.items()}}

    def set_registers(self, values: dict[str, list[int]]) -> None:
        """Go back to what `registers` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            The values are not of these files.
        """
        for name, held in self.registers().items():
            saved = [int(v) for v in values[name]]
            if len(saved) != len(held):
                raise ValueError(f"register file {name} has {len(held)} registers, not {len(saved)}")
            for n, value in enumerate(saved):
                self.put(name, n, value)

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        if space == "MEM":
            parts = [self.hart.load((address + at) & MASK, n) for at, n in access_pieces(size)]
            value = sum(part << (8 * at) for part, (at, _) in zip(parts, access_pieces(size), strict=True))
            return int.from_bytes(value.to_bytes(size, "little"), "big") if big_endian else value
        if space == "CSR":
            return self.csrs.read(address & 0xFFF)
        return 0

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        if space == "MEM":
            data = (value & ((1 << 8 * size) - 1)).to_bytes(size, "big" if big_endian else "little")
            for at, n in access_pieces(size):
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
        key = id(instruction)
        if key not in self.plain:
            self.plain[key] = plain_issue(instruction)
        plain = self.plain[key]
        if plain is not None:
            read, (first, second) = self.hart.register, plain.operands
            answer = self.calls["coprocessor_issue"](
                plain.function,
                first if isinstance(first, int) else read(first.extract(word)),
                second if isinstance(second, int) else read(second.extract(word)),
            )
            if plain.rd is not None:
                self.hart.set_register(plain.rd.extract(word), answer or 0)
            return None
        try:
            target = execute(instruction, word, pc, self)
        except Trap as trap:
            raise GuestTrap(trap.irq, trap.cause, self.tval or 0) from None
        except BehaviourError as error:
            raise InputFileError(f"{instruction.where}: {instruction.name} at pc {pc:#010x}: {error}") from None
        if target is not None and target & 1:
            raise GuestTrap(0, 0, target & MASK)
        return None if target is None else target & MASK


class Routines:
    """Makes and keeps the routines of instruction words.

    Parameters
    ----------
    hart : Hart
        Takes them.
    instructions : sequence of Instruction
    own : OwnRegisters
    ends : collection of int
        Numbers of own registers that hold the end of a hardware loop.
    """

    def __init__(
        self, hart: Hart, instructions: Sequence[Instruction], own: OwnRegisters, ends: Collection[int] = ()
    ) -> None:
        self.hart, self.instructions, self.own, self.ends = hart, instructions, own, ends
        self.numbers: dict[tuple[int, int, int], int] = {}

    def number(self, index: int, word: int, pc: int) -> int:
        """The hart's number of a word's routine; -1 when the evaluator has to execute it."""
        instruction = self.instructions[index]
        key = (index, word, pc if uses_pc(instruction) else 0)
        if key not in self.numbers:
            if len(self.numbers) >= MAX_ROUTINES:
                return -1
            try:
                made = routine(instruction, word, pc, self.own.files, self.ends)
                self.numbers[key] = self.hart.add_routine(
                    index, made.packed(), made.jumps, made.accesses, made.window, made.stores, made.computes, made.loops
                )
            except NoRoutine:
                self.numbers[key] = -1
        return self.numbers[key]
