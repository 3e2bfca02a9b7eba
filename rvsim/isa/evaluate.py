"""The plain evaluator: runs an instruction's micro-ops on Python integers. It defines what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rvsim.isa.build import apply
from rvsim.isa.ir import Instruction, Op

# Loops of real behaviours run some hundred rounds; a custom one that never ends must not hang the simulator.
MAX_STEPS = 1_000_000


class BehaviourError(Exception):
    """A behaviour that does not end within `MAX_STEPS` operations."""


class Trap(Exception):
    """An instruction raised a trap.

    Attributes
    ----------
    irq, cause : int
    """

    def __init__(self, irq: int, cause: int) -> None:
        super().__init__(irq, cause)
        self.irq, self.cause = irq, cause


class Context(Protocol):
    """What a behaviour acts on. `load`, `store` and `call` may raise `Trap`."""

    def get(self, file: str, index: int | None) -> int: ...
    def put(self, file: str, index: int | None, value: int) -> None: ...
    def load(self, space: str, address: int, size: int, big_endian: bool) -> int: ...
    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None: ...
    def call(self, name: str, arguments: Sequence[int]) -> int | None: ...


class _Leave(Exception):
    def __init__(self, label: int) -> None:
        self.label = label


class _Run:
    def __init__(self, instruction: Instruction, context: Context, word: int, pc: int) -> None:
        self.values: dict[int, int] = {}
        self.variables = [0] * len(instruction.variables)
        self.context, self.word, self.pc = context, word, pc
        self.next_pc: int | None = None
        self.fields = {f.name: f for f in instruction.fields}
        self.steps = 0

    def block(self, ops: list[Op]) -> None:
        values, context = self.values, self.context
        for op in ops:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise BehaviourError(f"the behaviour ran {MAX_STEPS} operations without an end")
            x = [values[a] for a in op.args]
            match op.code:
                case "field":
                    values[op.result] = self.fields[op.attr].extract(self.word)
                case "pc":
                    values[op.result] = self.pc
                case "get":
                    values[op.result] = context.get(op.attr, x[0] if x else None)
                case "put":
                    context.put(op.attr, x[0] if len(x) > 1 else None, x[-1])
                case "getvar":
                    values[op.result] = self.variables[op.attr]
                case "setvar":
                    self.variables[op.attr] = x[0]
                case "load":
                    values[op.result] = context.load(op.attr[0], x[0], op.attr[1], op.attr[2])
                case "store":
                    context.store(op.attr[0], x[0], x[1], op.attr[1], op.attr[2])
                case "setpc":
                    self.next_pc = x[0]
                case "call":
                    result = context.call(op.attr, x)
                    if op.result >= 0:
                        values[op.result] = result or 0
                case "raise":
                    raise Trap(x[0], x[1])
                case "if":
                    self.block(op.bodies[0] if x[0] else op.bodies[1])
                case "loop" | "scope":
                    try:
                        self.block(op.bodies[0])
                        while op.code == "loop":
                            self.block(op.bodies[0])
                    except _Leave as leave:
                        if leave.label != op.attr:
                            raise
                case "leave":
                    raise _Leave(op.attr)
                case _:
                    values[op.result] = apply(op.code, op.attr, x)


def execute(instruction: Instruction, word: int, pc: int, context: Context) -> int | None:
    """Execute one instruction.

    Parameters
    ----------
    instruction : Instruction
    word : int
        The instruction word, of which the fields are taken.
    pc : int
        Its address.
    context : Context

    Returns
    -------
    int or None
        The address the behaviour assigned to the PC; None when it goes on behind the instruction.

    Raises
    ------
    Trap
        From `raise` in the behaviour, or from the context.
    BehaviourError
        When a loop does not end.
    """
    run = _Run(instruction, context, word, pc)
    run.block(instruction.static)
    run.block(instruction.body)
    return run.next_pc
