"""The micro-op IR: what an instruction does, in a few typed operations that three consumers run.

A value is a mathematical integer with a known range [lo, hi]; every operation is exact on integers, and only `wrap`,
`shl` and
storage make a value fit a width. So a consumer may pick any container that holds the range: the evaluator uses
Python integers,
the C generator the smallest of 32, 64 and 128 bits.

Operations (arguments are numbers of values)
    const            attr = the value
    field            attr = the field's name; unsigned, unlisted low bits are 0
    pc               address of this instruction
    add sub mul      exact
    div rem          towards zero; the remainder has the dividend's sign; a divisor of 0 gives -1 and the dividend
    neg and or xor   exact; bitwise operations see infinite two's complement
    shl              attr = (width, signed): left by the second argument, wrapped to the type; 0 when shifted out or
    negative
    shr              floor of x / 2**n; a negative amount shifts everything out
    wrap             attr = (width, signed): the low bits, read as that type
    eq lt le         1 or 0, by value
    select           second argument when the first is not 0, else the third
    get, put         attr = register file; (index) or (); put has the value last
    getvar setvar    attr = number of a local variable
    load store       attr = (space, bytes, big_endian); (address) or (address, value). One access, may trap
    setpc            the next instruction's address
    call             attr = name of an extern function
    raise            (irq, cause): trap; ends the behaviour
    if               (condition); bodies (then, else)
    loop scope       attr = label; loop repeats its body until it is left
    leave next       attr = label: leave that loop or scope, or start its next round
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import msgspec

PURE = frozenset(
    {
        "const",
        "field",
        "pc",
        "add",
        "sub",
        "mul",
        "div",
        "rem",
        "neg",
        "and",
        "or",
        "xor",
        "shl",
        "shr",
        "wrap",
        "eq",
        "lt",
        "le",
        "select",
    }
)


class Op(msgspec.Struct, array_like=True):
    """One micro-op.

    Attributes
    ----------
    code : str
        One of the operations above.
    result : int
        Number of the value it defines, -1 for none.
    args : list of int
        Numbers of the values it reads.
    attr : object
        What else it needs; see the list above.
    bodies : list of list of Op
        Nested blocks of `if`, `loop` and `scope`.
    """

    code: str
    result: int = -1
    args: list[int] = []
    attr: Any = None
    bodies: list[list[Op]] = []


class Field(msgspec.Struct, array_like=True):
    """An operand field: its name, its width in bits (highest index + 1), and where its bits are.

    Attributes
    ----------
    slices : list of (int, int, int)
        (position in the instruction word, position in the field, bits).
    """

    name: str
    width: int
    slices: list[tuple[int, int, int]]

    def extract(self, word: int) -> int:
        """The field's value in an instruction word."""
        return sum(((word >> position) & ((1 << bits) - 1)) << target for position, target, bits in self.slices)

    def insert(self, value: int) -> int:
        """The instruction word's bits that hold `value`."""
        return sum(((value >> target) & ((1 << bits) - 1)) << position for position, target, bits in self.slices)

    @property
    def encodable(self) -> int:
        """Mask of the bits of the field that the encoding holds."""
        return sum(((1 << bits) - 1) << target for _, target, bits in self.slices)


class Instruction(msgspec.Struct, array_like=True):
    """One instruction: encoding, assembly text and behaviour.

    Attributes
    ----------
    name : str
        Name in the description, such as ``C__ADDI4SPN``.
    set : str
        The instruction set that declares it.
    size : int
        Bytes: 2 or 4.
    mask, match : int
        A word is this instruction when ``word & mask == match``.
    static : list of Op
        Operations that depend on fields and the pc alone: computed once, when the instruction is predecoded.
    body : list of Op
        Operations of each execution.
    ranges : list of (int, int)
        Range [lo, hi] of each value.
    where : str
        file:line of the description.
    suffix : str
        What the assembly text appends to the mnemonic: a placeholder such as ``{aqrl:o}``, or nothing.
    """

    name: str
    set: str
    size: int
    mask: int
    match: int
    fields: list[Field]
    mnemonic: str
    operands: str
    static: list[Op]
    body: list[Op]
    ranges: list[tuple[int, int]]
    variables: list[tuple[int, int]]
    where: str
    notes: list[str] = []
    suffix: str = ""

    @property
    def fixed_bits(self) -> int:
        return bin(self.mask).count("1")


class RegisterFile(msgspec.Struct, array_like=True):
    """Architectural registers: name, number (0 for a single one), width in bits, sign, reset value, role."""

    name: str
    count: int
    width: int
    signed: bool
    reset: list[int]
    role: str = ""


class AddressSpace(msgspec.Struct, array_like=True):
    """An address space: name, element width in bits, number of elements, role (``main`` for the memory)."""

    name: str
    width: int
    size: int
    role: str = ""


class ExternFunction(msgspec.Struct, array_like=True):
    """A function the machine provides: name, range of its result (None for void), types of its parameters."""

    name: str
    result: tuple[int, bool] | None
    parameters: list[tuple[int, bool]]


class HardwareLoop(msgspec.Struct, array_like=True):
    """A zero-overhead loop, which an always block describes: three registers, each as (file, number).

    Behind an instruction `ahead` bytes before the address in `end` that goes on in line, a `count` other than 0 goes
    down by one, and unless that made it 0, execution goes on at the address in `start`.
    """

    start: tuple[str, int]
    end: tuple[str, int]
    count: tuple[str, int]
    ahead: int


class Isa(msgspec.Struct, dict=True):
    """An elaborated instruction set: everything the consumers need, and nothing of the source text.

    Attributes
    ----------
    name : str
        Name of the core, or of the sets joined by ``+``.
    instructions : list of Instruction
        In order of specificity: the first that matches a word is the instruction.
    loops : list of HardwareLoop
        In the order in which they are looked at: behind one that goes on at its start, none is.
    """

    name: str
    sets: list[str]
    parameters: dict[str, int]
    registers: list[RegisterFile]
    spaces: list[AddressSpace]
    externs: list[ExternFunction]
    instructions: list[Instruction]
    warnings: list[str] = []
    loops: list[HardwareLoop] = []

    @functools.cached_property
    def candidates(self) -> dict[int, list[Instruction]]:
        """Where `disassemble.find` keeps the instructions of an opcode once it has looked for them."""
        return {}

    def register_file(self, name: str) -> RegisterFile:
        return next(r for r in self.registers if r.name == name)

    @property
    def main_registers(self) -> RegisterFile:
        """The general-purpose registers."""
        return next((r for r in self.registers if r.role == "main"), self.registers[0])


def walk(ops: list[Op]) -> Iterator[Op]:
    """Every operation, nested ones included."""
    for op in ops:
        yield op
        for body in op.bodies:
            yield from walk(body)


def type_range(width: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest value of ``signed<width>`` or ``unsigned<width>``."""
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


def wrap(value: int, width: int, signed: bool) -> int:
    """The low `width` bits of `value`, read as signed or unsigned."""
    value &= (1 << width) - 1
    return value - (1 << width) if signed and value >> (width - 1) else value


def divide(dividend: int, divisor: int) -> int:
    """Quotient towards zero; -1 for a divisor of 0 (descriptions guard it)."""
    if divisor == 0:
        return -1
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def remainder(dividend: int, divisor: int) -> int:
    """Remainder with the dividend's sign; the dividend for a divisor of 0."""
    return dividend if divisor == 0 else dividend - divisor * divide(dividend, divisor)
