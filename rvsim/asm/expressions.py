"""Values of expressions: integers now, or nodes that are evaluated when the addresses are known.

A node is an int, or an object that stands for what is not known yet. Arithmetic is GNU as's: 64 bits, division
towards zero, comparisons give -1 for true (manual of the GNU assembler, "Infix Operators").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Union

from rvsim.asm.errors import Problem
from rvsim.isa.ir import divide, remainder

MAX_NODES = 10_000
MAX_DEPTH = 150


class Base(Protocol):
    """What a label needs of its section (`rvsim.asm.layout.Section`)."""

    base: int
    index: int


class Part(Protocol):
    """What a label needs of its fragment (`rvsim.asm.layout.Fragment`)."""

    address: int


class Label:
    """A place in a section, by the fragment it is in."""

    __slots__ = ("fragment", "offset", "section")
    size = depth = 1

    def __init__(self, section: Base, fragment: Part, offset: int) -> None:
        self.section, self.fragment, self.offset = section, fragment, offset

    @property
    def address(self) -> int:
        return self.section.base + self.fragment.address + self.offset


class Symbol:
    """A name, to be looked up."""

    __slots__ = ("column", "name")
    size = depth = 1

    def __init__(self, name: str, column: int) -> None:
        self.name, self.column = name, column


class Relocation:
    """``%hi(expression)`` and its like."""

    __slots__ = ("argument", "column", "depth", "name", "size")

    def __init__(self, name: str, argument: Node, column: int) -> None:
        self.name, self.argument, self.column = name, argument, column
        self.size, self.depth = _measure(argument)


class Operation:
    """An operator and its operands, at least one of them not known yet."""

    __slots__ = ("arguments", "depth", "name", "size")

    def __init__(self, name: str, arguments: tuple[Node, ...]) -> None:
        self.name, self.arguments = name, arguments
        sizes = [_measure(each) for each in arguments]
        self.size, self.depth = 1 + sum(s for s, _ in sizes), 1 + max(d for _, d in sizes)
        # A chain of .set doubles an expression each time: what is refused here could not be evaluated.
        if self.size > MAX_NODES or self.depth > MAX_DEPTH:
            raise Problem(f"expected an expression of at most {MAX_DEPTH} nested operators, found a larger one")


Node = Union[int, Symbol, Relocation, Operation, Label]  # noqa: UP007 (an alias, evaluated by Python 3.10)
Value = tuple[Union[Base, None], int]  # noqa: UP007
"""Section whose base the number counts from (None: absolute), and the number."""


def _measure(node: Node) -> tuple[int, int]:
    return (1, 1) if isinstance(node, int) else (node.size, node.depth)


def wrap64(value: int) -> int:
    """The low 64 bits, signed."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def _divide(a: int, b: int) -> int:
    if not b:
        raise Problem("division by zero in an expression")
    return divide(a, b)


def _remainder(a: int, b: int) -> int:
    if not b:
        raise Problem("division by zero in an expression")
    return remainder(a, b)


def _shift(a: int, by: int) -> int:
    """Left for a positive amount; GNU as shifts unsigned numbers of 64 bits."""
    if not -64 < by < 64:
        return 0
    return a << by if by >= 0 else (a & 0xFFFF_FFFF_FFFF_FFFF) >> -by


OPERATORS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": _divide,
    "remainder": _remainder,
    "shift_left": lambda a, b: _shift(a, b),
    "shift_right": lambda a, b: _shift(a, -b),
    "bit_or": lambda a, b: a | b,
    "bit_and": lambda a, b: a & b,
    "bit_xor": lambda a, b: a ^ b,
    "bit_or_not": lambda a, b: a | ~b,
    "equal": lambda a, b: -(a == b),
    "unequal": lambda a, b: -(a != b),
    "less": lambda a, b: -(a < b),
    "less_equal": lambda a, b: -(a <= b),
    "greater": lambda a, b: -(a > b),
    "greater_equal": lambda a, b: -(a >= b),
    "logical_and": lambda a, b: int(bool(a) and bool(b)),
    "logical_or": lambda a, b: int(bool(a) or bool(b)),
    "negate": lambda a: -a,
    "complement": lambda a: ~a,
    "logical_not": lambda a: int(not a),
}


def apply(name: str, *arguments: Node) -> Node:
    """An operator on nodes: a number where all of them are numbers."""
    if all(isinstance(each, int) for each in arguments):
        return wrap64(OPERATORS[name](*arguments))
    if name == "subtract":
        a, b = arguments
        # Nothing between two labels of one fragment can change its size: the distance is known at once.
        if isinstance(a, Label) and isinstance(b, Label) and a.fragment is b.fragment:
            return a.offset - b.offset
    return Operation(name, arguments)


def resolve(node: Node, lookup: Callable[[Symbol], Node]) -> Node:
    """Put in what `lookup` knows about each symbol, and fold."""
    if isinstance(node, int):
        return node
    if isinstance(node, Symbol):
        return lookup(node)
    if isinstance(node, Operation):
        return apply(node.name, *(resolve(each, lookup) for each in node.arguments))
    if isinstance(node, Relocation):
        return Relocation(node.name, resolve(node.argument, lookup), node.column)
    return node


def evaluate(node: Node, symbol: Callable[[Symbol], Value], label: Callable[[Label], Value]) -> Value:
    """The value of a node, given what symbols and labels are.

    Labels of one section may be subtracted; whatever else is done with addresses works on the addresses themselves.
    """
    if isinstance(node, int):
        return None, node
    if isinstance(node, Symbol):
        return symbol(node)
    if isinstance(node, Operation):
        values = [evaluate(each, symbol, label) for each in node.arguments]
        return combine(node.name, values)
    if isinstance(node, Relocation):
        raise Problem(f"%{node.name} stands for a whole operand, not for a part of an expression", node.column)
    return label(node)


def combine(name: str, values: list[Value]) -> Value:
    """An operator on values; the section is kept where the result is still an address in it."""
    number = wrap64(OPERATORS[name](*(value for _, value in values)))
    if len(values) == 2:
        (a, _), (b, _) = values
        if name == "add" and (a is None or b is None):
            return a or b, number
        if name == "subtract" and b is None:
            return a, number
    return None, number
