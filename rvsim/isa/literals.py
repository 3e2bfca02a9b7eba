"""Integer types and literals of CoreDSL 2."""

from __future__ import annotations

import re
from typing import NamedTuple

from rvsim.isa.ir import type_range, wrap

# Wider values serve no instruction; without a bound a hostile description could ask for any amount of memory.
MAX_WIDTH = 4096


class IntType(NamedTuple):
    """``signed<width>`` or ``unsigned<width>``."""

    width: int
    signed: bool

    def __str__(self) -> str:
        return f"{'signed' if self.signed else 'unsigned'}<{self.width}>"

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest value."""
        return type_range(self.width, self.signed)

    def holds(self, other: IntType) -> bool:
        """Whether every value of `other` is a value of this type: the rule of implicit conversion."""
        if self.signed == other.signed:
            return self.width >= other.width
        return self.signed and self.width > other.width


BOOL = IntType(1, False)
SHORTHANDS = {"char": 8, "short": 16, "int": 32, "long": 64}


def smallest_unsigned(value: int) -> IntType:
    """The least unsigned type that holds a non-negative value; at least one bit."""
    return IntType(max(1, value.bit_length()), False)


def common_type(x: IntType, y: IntType) -> IntType:
    """The smallest type that holds both; an unsigned beside a signed gains a bit."""
    if x.signed == y.signed:
        return IntType(max(x.width, y.width), x.signed)
    signed, unsigned = (x, y) if x.signed else (y, x)
    return IntType(max(signed.width, unsigned.width + 1), True)


_SIZED = re.compile(r"([0-9]+)'(s?)([bodh])([0-9a-fA-F_]+)\Z")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}


def parse_integer(text: str) -> tuple[int, IntType]:
    """Value and type of an integer literal.

    Raises
    ------
    ValueError
        When a literal is too wide, or a sized one has no width or a value that does not fit.
    """
    if sized := _SIZED.match(text):
        width, signed, base, digits = int(sized[1][-9:]), bool(sized[2]), _BASES[sized[3]], sized[4]
        if not 1 <= width <= MAX_WIDTH or len(text) > 2 * MAX_WIDTH or len(sized[1]) > 9:
            raise ValueError(f"expected a literal of 1 to {MAX_WIDTH} bits, found {text:.40}")
        value = int(digits, base)
        if value >> width:
            raise ValueError(f"{text:.40}: the value does not fit into {width} bits")
        return wrap(value, width, signed), IntType(width, signed)
    digits = text.rstrip("uUlL").replace("_", "")
    if len(digits) > MAX_WIDTH:
        raise ValueError(f"expected a literal of at most {MAX_WIDTH} bits, found {text:.40}...")
    if digits[:2].lower() in ("0x", "0b"):
        value = int(digits, 0)
    else:
        value = int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    if value >> MAX_WIDTH:
        raise ValueError(f"expected a literal of at most {MAX_WIDTH} bits, found {text:.40}...")
    return value, smallest_unsigned(value)


def result_type(operator: str, x: IntType, y: IntType) -> IntType:
    """Type of ``x operator y`` (docs/coredsl.md, result types)."""
    a, b = x.width, y.width
    if operator in ("+", "-"):
        if x.signed != y.signed:
            a, b = (a, b + 1) if x.signed else (a + 1, b)
        return IntType(max(a, b) + 1, operator == "-" or x.signed or y.signed)
    if operator == "*":
        return IntType(a + b, x.signed or y.signed)
    if operator == "/":
        return IntType(a + 1 if y.signed else a, x.signed or y.signed)
    if operator == "%":
        if x.signed != y.signed:
            b = b + 1 if x.signed else b - 1
        return IntType(max(1, min(a, b)), x.signed)
    if operator in ("&", "|", "^"):
        return IntType(max(a, b), x.signed or y.signed)
    if operator in ("<<", ">>"):
        return x
    return BOOL
