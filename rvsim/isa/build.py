"""Makes micro-ops: folds constants, follows value ranges, and hoists what depends on fields and the pc alone.

Ranges replace declared widths: a value that fits needs no `wrap`, a comparison decided by ranges is a constant, and
a 128-bit product
of two 32-bit operands is known to need 64 bits.
"""

from __future__ import annotations

from typing import Any

from rvsim.isa import ir
from rvsim.isa.ir import Op

# Behaviours of real instructions have some hundred operations; unrolled hostile ones must not exhaust memory.
MAX_OPS = 20_000


class TooLarge(Exception):
    """A behaviour makes more than `MAX_OPS` operations, or takes twice as many steps to lower."""


def _type(attr: Any) -> tuple[int, bool]:
    width, signed = attr
    return width, signed


def apply(code: str, attr: object, x: list[int]) -> int:
    """The one definition of each pure operation but `field` and `pc`, on Python integers."""
    match code:
        case "const":
            return attr  # type: ignore[return-value]
        case "add":
            return x[0] + x[1]
        case "sub":
            return x[0] - x[1]
        case "mul":
            return x[0] * x[1]
        case "div":
            return ir.divide(x[0], x[1])
        case "rem":
            return ir.remainder(x[0], x[1])
        case "neg":
            return -x[0]
        case "and":
            return x[0] & x[1]
        case "or":
            return x[0] | x[1]
        case "xor":
            return x[0] ^ x[1]
        case "shl":
            width, signed = _type(attr)
            return ir.wrap(x[0] << x[1], width, signed) if 0 <= x[1] < width else 0
        case "shr":
            # Python refuses negative amounts and would keep huge ones; both leave only the sign.
            return x[0] >> x[1] if x[1] >= 0 else (-1 if x[0] < 0 else 0)
        case "wrap":
            width, signed = _type(attr)
            return ir.wrap(x[0], width, signed)
        case "eq":
            return int(x[0] == x[1])
        case "lt":
            return int(x[0] < x[1])
        case "le":
            return int(x[0] <= x[1])
        case "select":
            return x[1] if x[0] else x[2]
    raise ValueError(code)


Range = tuple[int, int]


def _hull(*values: int) -> Range:
    return min(values), max(values)


def _bits(x: Range) -> int:
    """Bits of two's complement, sign included, that hold every value of the range."""
    return max((x[0] if x[0] >= 0 else ~x[0]).bit_length(), (x[1] if x[1] >= 0 else ~x[1]).bit_length()) + 1


def range_of(code: str, attr: object, x: list[Range]) -> Range:
    """A range that holds every result of the operation for arguments within the ranges `x`."""
    match code:
        case "add":
            return x[0][0] + x[1][0], x[0][1] + x[1][1]
        case "sub":
            return x[0][0] - x[1][1], x[0][1] - x[1][0]
        case "mul":
            return _hull(*(a * b for a in x[0] for b in x[1]))
        case "div":
            bound = max(abs(x[0][0]), abs(x[0][1]), 1)
            return (0 if x[0][0] >= 0 and x[1][0] > 0 else -bound), bound
        case "rem":
            bound = max(abs(x[0][0]), abs(x[0][1]))
            if x[1][0] > 0:  # a divisor of 0 gives the dividend
                bound = min(bound, x[1][1] - 1)
            return (-bound if x[0][0] < 0 else 0), (bound if x[0][1] > 0 else 0)
        case "neg":
            return -x[0][1], -x[0][0]
        case "and":
            tops = [r[1] for r in x if r[0] >= 0]
            if tops:
                return 0, min(tops)
            return ir.type_range(max(_bits(x[0]), _bits(x[1])), True)
        case "or" | "xor":
            if x[0][0] >= 0 and x[1][0] >= 0:
                return 0, (1 << max(x[0][1].bit_length(), x[1][1].bit_length())) - 1
            return ir.type_range(max(_bits(x[0]), _bits(x[1])), True)
        case "shl" | "wrap":
            width, signed = _type(attr)
            low, high = ir.type_range(width, signed)
            if code == "shl" and x[1][0] == x[1][1] and 0 <= x[1][0] < width:
                shifted = x[0][0] << x[1][0], x[0][1] << x[1][0]
                if low <= shifted[0] and shifted[1] <= high:
                    return shifted
            return low, high
        case "shr":
            least, most = max(x[1][0], 0), max(x[1][1], 0)
            if x[1][0] < 0:
                return min(x[0][0], -1 if x[0][0] < 0 else 0), max(x[0][1], 0)
            ends = [v >> n for v in x[0] for n in (least, min(most, _bits(x[0])))]
            return _hull(*ends)
        case "eq" | "lt" | "le":
            return 0, 1
        case "select":
            return min(x[1][0], x[2][0]), max(x[1][1], x[2][1])
    raise ValueError(code)


class Builder:
    """Collects the operations of one behaviour.

    Attributes
    ----------
    ranges : list of (int, int)
        Range of each value.
    static : list of Op
        Pure operations on fields and the pc, each once.
    block : list of Op
        The block under construction; nested ones are pushed by `nested`.
    """

    def __init__(self, field_masks: dict[str, int] | None = None) -> None:
        self.field_masks = field_masks or {}  # the bits of each field that the encoding holds
        self.ranges: list[Range] = []
        self.static: list[Op] = []
        self.block: list[Op] = []
        self.variables: list[Range] = []
        self._static_values: dict[object, int] = {}
        self._is_static: list[bool] = []
        self._definitions: list[Op | None] = []
        self._facts: list[tuple[int, bool]] = []
        self._labels = 0
        self._steps = 0

    # ------------------------------------------------------------ values
    def spend(self) -> None:
        """Count a step: inlined functions and cases that fall through can multiply without making operations."""
        self._steps += 1
        if self._steps > 2 * MAX_OPS:
            raise TooLarge

    def _new(self, low: int, high: int, static: bool) -> int:
        if len(self.ranges) >= MAX_OPS:
            raise TooLarge
        self.ranges.append((low, high))
        self._is_static.append(static)
        self._definitions.append(None)
        return len(self.ranges) - 1

    def _static(self, op: Op, low: int, high: int) -> int:
        key = (op.code, tuple(op.args), repr(op.attr))
        if key not in self._static_values:
            op.result = self._static_values[key] = self._new(low, high, True)
            self._definitions[op.result] = op
            self.static.append(op)
        return self._static_values[key]

    def const(self, value: int) -> int:
        return self._static(Op("const", attr=value), value, value)

    def field(self, name: str) -> int:
        return self._static(Op("field", attr=name), 0, self.field_masks[name])

    def pc(self, width: int) -> int:
        # Instructions start at even addresses.
        return self._static(Op("pc"), 0, (1 << width) - 2)

    def value(self, temp: int) -> int | None:
        """The value when it is the same in every execution."""
        low, high = self.ranges[temp]
        return low if low == high else None

    def is_static(self, temp: int) -> bool:
        return self._is_static[temp]

    def definition(self, temp: int) -> Op | None:
        return self._definitions[temp]

    def pure(self, code: str, *args: int, attr: object = None) -> int:
        """A pure operation; an existing value when it is known."""
        self.spend()
        ranges = [self.ranges[a] for a in args]
        if all(low == high for low, high in ranges):
            return self.const(apply(code, attr, [low for low, _ in ranges]))
        if code == "wrap":
            low, high = ir.type_range(*attr)  # type: ignore[misc]
            if low <= ranges[0][0] and ranges[0][1] <= high:
                return args[0]
        elif code == "eq" and (ranges[0][1] < ranges[1][0] or ranges[1][1] < ranges[0][0]):
            return self.const(0)
        elif code in ("lt", "le"):
            (a, b), (c, d) = ranges
            if b < c or (code == "le" and b <= c):
                return self.const(1)
            if a > d or (code == "lt" and a >= d):
                return self.const(0)
        elif code in ("add", "sub", "or", "xor", "shl", "shr") and self.value(args[1]) == 0 and code not in ("shl",):
            return args[0]
        elif code in ("add", "or", "xor") and self.value(args[0]) == 0:
            return args[1]
        elif code == "rem" and self.value(args[1]) and self._multiple(args[0], self.value(args[1]) or 1):
            return self.const(0)
        low, high = range_of(code, attr, ranges)
        if low == high:
            return self.const(low)
        op = Op(code, args=list(args), attr=list(attr) if isinstance(attr, tuple) else attr)
        if all(self._is_static[a] for a in args):
            return self._static(op, low, high)
        op.result = self._new(low, high, False)
        self._definitions[op.result] = op
        self.block.append(op)
        return op.result

    def _multiple(self, temp: int, of: int, depth: int = 8) -> bool:
        """Whether the value is known to be a multiple of `of` (2 for targets: fields without bit 0, the pc)."""
        op = self._definitions[temp]
        if op is None or not depth:
            return False
        if op.code == "const":
            return self.ranges[temp][0] % of == 0
        if op.code == "pc":
            return of == 2
        if op.code in ("add", "sub"):
            return all(self._multiple(a, of, depth - 1) for a in op.args)
        if op.code == "wrap":
            return (1 << op.attr[0]) % of == 0 and self._multiple(op.args[0], of, depth - 1)
        if op.code == "and":
            return any((v := self.value(a)) is not None and of & (of - 1) == 0 and v % of == 0 for a in op.args)
        return op.code == "field" and of & (of - 1) == 0 and self._field_low_bits(op.attr) >= of

    def _field_low_bits(self, name: str) -> int:
        mask = self.field_masks.get(name, 1)
        return mask & -mask

    # ------------------------------------------------------------ effects
    def effect(self, code: str, *args: int, attr: object = None, result: Range | None = None) -> int:
        """An operation with an effect; returns its result's number, -1 without one."""
        temp = self._new(*result, False) if result is not None else -1
        self.block.append(Op(code, temp, list(args), attr))
        return temp

    def variable(self, low: int, high: int) -> int:
        self.variables.append((low, high))
        return len(self.variables) - 1

    def label(self) -> int:
        self._labels += 1
        return self._labels

    def nested(self, fact: tuple[int, bool] | None = None) -> _Nested:
        """Context that collects operations into a new block; `fact` is a condition known inside it."""
        return _Nested(self, fact)

    def known(self, condition: int) -> bool | None:
        """Truth of a condition where it follows from its range or from an enclosing `if`."""
        value = self.value(condition)
        if value is not None:
            return bool(value)
        return next((truth for temp, truth in self._facts if temp == condition), None)

    def canonical(self, condition: int) -> tuple[int, bool]:
        """A condition without negation, and whether it must be true."""
        positive = True
        if self.ranges[condition] not in ((0, 1), (0, 0), (1, 1)):
            condition, positive = self.pure("eq", condition, self.const(0)), False
        while (
            (op := self._definitions[condition])
            and op.code == "eq"
            and self.value(op.args[1]) == 0
            and self.ranges[op.args[0]] == (0, 1)
        ):
            condition, positive = op.args[0], not positive
        return condition, positive


class _Nested:
    def __init__(self, builder: Builder, fact: tuple[int, bool] | None) -> None:
        self.builder, self.fact = builder, fact

    def __enter__(self) -> list[Op]:
        self.saved = self.builder.block
        self.builder.block = []
        self.facts = len(self.builder._facts)
        if self.fact:
            self._learn(*self.fact)
        return self.builder.block

    def _learn(self, condition: int, truth: bool) -> None:
        self.builder.spend()
        self.builder._facts.append((condition, truth))
        op = self.builder.definition(condition)
        # Both sides of a true conjunction hold, neither side of a false disjunction does.
        if op and op.code == ("and" if truth else "or"):
            for argument in op.args:
                inner, positive = self.builder.canonical(argument)
                self._learn(inner, truth == positive)

    def __exit__(self, *_: object) -> None:
        self.builder.block = self.saved
        del self.builder._facts[self.facts :]
