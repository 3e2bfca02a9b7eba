"""Routines of instructions added at run time: the micro-ops of one instruction word as steps on 64-bit values.

A word's fields are known when it is predecoded, so register numbers and immediates become part of the steps, static
conditions are decided and loops of known length unrolled. What remains is a straight line: assignments under a
condition become selections, and only accesses, jumps and traps under a condition are skipped over. A value is kept
as its low 64 bits; steps that depend on more are only made where its range fits. `rvsim/machine/routine.h` executes
the steps. A behaviour that they cannot express has no routine and is left to the evaluator.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from rvsim.isa.build import apply, range_of
from rvsim.isa.ir import Instruction, Op, RegisterFile, type_range, walk

_STEPS = """
end const get put getown putown getat putat add sub mul and or xor shl shr sar sext seq sltu slts sleu sles select
divs divu rems remu load1 load2 load4 store1 store2 store4 skip setpc tval raise putend
"""
STEPS = _STEPS.split()
"""Codes of the steps; their meaning is in `rvsim/machine/routine.h`."""
TEMPS = 64
MAX_STEPS = 2000
MAX_WORK = 20_000  # operations looked at for one routine
CONSTANT = -1  # in place of the second operand's number: it is the step's constant
_MASK = (1 << 64) - 1
_EFFECTS = {"end", "skip", "setpc", "tval", "raise", *(s for s in STEPS if s.startswith(("put", "load", "store")))}


class NoRoutine(Exception):
    """The behaviour is beyond these steps."""


class Step(NamedTuple):
    """One step: the number of the value it makes, of three operands, and a constant of 64 bits."""

    code: str
    to: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    k: int = 0


class Routine(NamedTuple):
    """Steps of one instruction word.

    Attributes
    ----------
    steps : list of Step
    jumps : bool
        Whether it may set the pc.
    accesses : int
        How many accesses to memory it makes at most.
    window : int
        Bytes of its access when each execution makes exactly one, and nothing traps behind it; else 0.
    stores : bool
        Whether it writes memory.
    computes : bool
        Whether it reads and writes registers, and does nothing else.
    loops : bool
        Whether it writes a register that a hardware loop ends by.
    """

    steps: list[Step]
    jumps: bool
    accesses: int
    window: int
    stores: bool
    computes: bool
    loops: bool

    def packed(self) -> bytes:
        """The steps as an array of ``struct step``."""
        return b"".join(
            struct.pack("=BBBBIQ", STEPS.index(s.code), s.to, s.a, s.b & 0xFF, s.c, s.k & _MASK) for s in self.steps
        )


class OwnRegisters:
    """Where registers of added sets lie in the hart's array of 64-bit ones; wider ones are not in it."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, int, int, bool]] = {}
        self.size = 0

    def add(self, file: RegisterFile) -> bool:
        """Give the registers of a file places, unless they are too wide."""
        if file.width > 64:
            return False
        self.files[file.name] = (self.size, max(1, file.count), file.width, file.signed)
        self.size += max(1, file.count)
        return True


class _Value(NamedTuple):
    """Number of a temporary, -1 for a constant, and the range of the mathematical integer."""

    temp: int
    low: int
    high: int


Condition = frozenset[tuple[int, bool]]
"""What must hold: temporaries of 0 or 1, and which of them each is."""
ALWAYS: Condition = frozenset()


class _Write(NamedTuple):
    """An assignment under a condition, and what stood there before."""

    condition: Condition
    value: _Value
    before: _Write | _Value


def _constant(value: int) -> _Value:
    return _Value(-1, value, value)


class _Lowering:
    def __init__(
        self,
        instruction: Instruction,
        word: int,
        pc: int,
        own: Mapping[str, tuple[int, int, int, bool]],
        ends: Collection[int],
    ) -> None:
        self.instruction, self.own, self.ends = instruction, own, ends
        self.steps: list[Step] = []
        self.values: dict[int, _Value] = {}
        self.temps = 0
        self.made: dict[Step, int] = {}  # pure steps are made once
        self.wrapped: dict[int, _Value] = {}  # temporary -> what it is the wrapped low part of
        self.held: dict[tuple[str, int], _Write | _Value] = {}
        self.widths: dict[int, int] = {}  # and its width
        self.left: dict[int, list[Condition]] = {}
        self.leaves = self.work = 0
        # None where control cannot come.
        self.active: Condition | None = ALWAYS
        fields = {f.name: f for f in instruction.fields}
        for op in instruction.static:
            x = [self.values[a].low for a in op.args]
            known = fields[op.attr].extract(word) if op.code == "field" else pc if op.code == "pc" else None
            self.values[op.result] = _constant(apply(op.code, op.attr, x) if known is None else known)

    def spend(self) -> None:
        self.work += 1
        if self.work > MAX_WORK:
            raise NoRoutine

    # ------------------------------------------------------------ steps
    def effect(self, step: Step) -> None:
        if len(self.steps) >= MAX_STEPS:
            raise NoRoutine
        self.steps.append(step)

    def make(self, code: str, low: int, high: int, *args: _Value, c: int = 0) -> _Value:
        """A step with a value; the last operand of two may be a constant."""
        numbers, k = [], 0
        for n, value in enumerate(args):
            if value.low == value.high and n == 1 and len(args) == 2:
                numbers.append(CONSTANT)
                k = value.low & _MASK
            else:
                numbers.append(self.temp(value))
        if len(numbers) == 3:
            c = numbers.pop()
        a, b = [*numbers, 0, 0][:2]
        return _Value(self.put_in_place(Step(code, 0, a, b, c, k)), low, high)

    def put_in_place(self, step: Step) -> int:
        if step not in self.made:
            self.made[step] = self.temps
            self.effect(step._replace(to=self.temps))
            self.temps += 1
        return self.made[step]

    def temp(self, value: _Value) -> int:
        if value.low == value.high:
            return self.put_in_place(Step("const", k=value.low & _MASK))
        return value.temp

    def signed(self, *values: _Value) -> bool:
        """How 64 bits hold these values."""
        if all(v.low >= -(2**63) and v.high < 2**63 for v in values):
            return True
        if all(v.low >= 0 and v.high < 2**64 for v in values):
            return False
        raise NoRoutine

    def boolean(self, value: _Value) -> _Value:
        """1 where the value is not 0."""
        if (value.low, value.high) == (0, 1) or value.low == value.high:
            return _constant(int(value.low != 0)) if value.low == value.high else value
        self.signed(value)
        return self.make("sltu", 0, 1, _constant(0), value)

    # ------------------------------------------------------------ conditions
    def holds(self, condition: Condition) -> _Value:
        """1 where all of it holds."""
        result = _constant(1)
        for temp, truth in sorted(condition):
            value = _Value(temp, 0, 1)
            if not truth:
                value = self.make("xor", 0, 1, value, _constant(1))
            result = value if result.low == 1 else self.make("and", 0, 1, result, value)
        return result

    def either(self, one: Condition | None, other: Condition | None) -> Condition | None:
        if one is None or other is None:
            return other if one is None else one
        common = one & other
        a, b = one - common, other - common
        if not a or not b or (len(a) == len(b) == 1 and {(t, not v) for t, v in a} == b):
            return common
        both = self.make("or", 0, 1, self.holds(a), self.holds(b))
        return common | {(both.temp, True)}

    def choose(self, temp: int, then: _Value, otherwise: _Value) -> _Value:
        """One value where a temporary is 1, another where it is 0."""
        if then == otherwise:
            return then
        condition = _Value(temp, 0, 1)
        if then == _constant(1) and otherwise == _constant(0):
            return condition
        low, high = min(then.low, otherwise.low), max(then.high, otherwise.high)
        return self.make("select", low, high, condition, then, otherwise)

    def read(self, held: _Write | _Value, where: Condition) -> _Value:
        """What a variable holds under a condition."""
        if isinstance(held, _Value):
            return held
        if held.condition <= where:
            return held.value
        if any((temp, not truth) in where for temp, truth in held.condition):
            return self.read(held.before, where)
        self.spend()
        temp = min(held.condition - where)[0]
        return self.choose(temp, *(self.read(held, where | {(temp, truth)}) for truth in (True, False)))

    def place(self, key: tuple[str, int]) -> _Write | _Value:
        if key not in self.held:
            kind, n = key
            low, high = 0, 0
            if kind == "x":
                high = 2**32 - 1 if n else 0
            elif kind == "own":
                _, _, width, signed = next(f for f in self.own.values() if f[0] <= n < f[0] + f[1])
                low, high = type_range(width, signed)
            code = "get" if kind == "x" else "getown"
            # The same step after a change would be another value: only the first is remembered.
            self.held[key] = _Value(self.put_in_place(Step(code, c=n)), low, high) if low != high else _constant(0)
        return self.held[key]

    def now(self, key: tuple[str, int]) -> _Value:
        assert self.active is not None
        return self.read(self.place(key), self.active)

    def assign(self, key: tuple[str, int], value: _Value) -> None:
        assert self.active is not None
        self.held[key] = _Write(self.active, value, self.place(key)) if self.active else value

    def guarded(self, step: Step) -> None:
        """An effect that takes place only where control comes."""
        assert self.active is not None
        if self.active:
            self.effect(Step("skip", a=self.temp(self.holds(self.active))))
        self.effect(step)

    # ------------------------------------------------------------ control
    def run(self, ops: list[Op]) -> Condition | None:
        """Lower operations; the condition under which control comes to their end."""
        for op in ops:
            if self.active is None:
                break
            self.spend()
            self.one(op)
        return self.active

    def one(self, op: Op) -> None:
        match op.code:
            case "if":
                self.branch(op)
            case "scope":
                self.left[op.attr] = []
                self.run(op.bodies[0])
                self.arrive(op.attr)
            case "loop":
                self.left[op.attr] = []
                while self.active is not None:
                    self.spend()
                    self.run(op.bodies[0])
                self.arrive(op.attr)
            case "leave":
                assert self.active is not None
                self.left[op.attr].append(self.active)
                self.leaves += 1
                self.active = None
            case "getvar":
                self.values[op.result] = self.now(("var", op.attr))
            case "setvar":
                self.assign(("var", op.attr), self.values[op.args[0]])
            case "get" | "put":
                self.register(op)
            case "load" | "store":
                self.access(op)
            case "setpc":
                target = self.values[op.args[0]]
                self.guarded(self.with_operand(Step("setpc"), target))
            case "call":
                if op.attr == "set_tval":
                    self.guarded(self.with_operand(Step("tval"), self.values[op.args[0]]))
                else:
                    raise NoRoutine
            case "raise":
                irq, cause = (self.values[a] for a in op.args)
                if irq.low != irq.high or cause.low != cause.high:
                    raise NoRoutine
                self.guarded(Step("raise", c=irq.low, k=cause.low))
                self.active = None
            case _:
                self.values[op.result] = self.pure(op.code, op.attr, [self.values[a] for a in op.args])

    def arrive(self, label: int) -> None:
        """Go on where those who left meet those who came to the end; the last to leave shares most with the end."""
        for condition in reversed(self.left.pop(label)):
            self.active = self.either(self.active, condition)

    def branch(self, op: Op) -> None:
        assert self.active is not None
        condition = self.boolean(self.values[op.args[0]])
        before = self.active
        known = condition.low == condition.high
        truth = bool(condition.low) if known else (condition.temp, True) in before
        if known or truth or (condition.temp, False) in before:
            self.run(op.bodies[0 if truth else 1])
            return
        ends: list[Condition | None] = []
        for truth in (True, False):
            leaves, start = self.leaves, before | {(condition.temp, truth)}
            self.active = start
            end = self.run(op.bodies[0 if truth else 1])
            # Behind a trap nothing depends on its condition.
            ends.append(start if end is None and self.leaves == leaves else end)
        self.active = self.either(*ends)

    # ------------------------------------------------------------ registers and memory
    def with_operand(self, step: Step, value: _Value) -> Step:
        """The step with a second operand."""
        if value.low == value.high:
            return step._replace(b=CONSTANT, k=value.low & _MASK)
        return step._replace(b=value.temp)

    def register(self, op: Op) -> None:
        index = self.values[op.args[0]] if len(op.args) > (op.code == "put") else _constant(0)
        known = index.low == index.high
        if op.attr == "X":
            if not known:
                raise NoRoutine
            key = ("x", index.low & 31)
        elif op.attr in self.own:
            first, count, width, signed = self.own[op.attr]
            if known and not 0 <= index.low < count:
                if op.code == "get":
                    self.values[op.result] = _constant(0)
                return
            key = ("own", first + index.low)
        else:
            raise NoRoutine
        if op.code == "get":
            if known:
                self.values[op.result] = self.now(key)
            else:
                self.signed(index)
                low, high = type_range(width, signed)
                # Not made once: a register may have changed since.
                to, self.temps = self.temps, self.temps + 1
                self.effect(Step("getat", to, self.temp(index), 0, first, count))
                self.values[op.result] = _Value(to, min(low, 0), high)
            return
        value = self.values[op.args[-1]]
        if op.attr == "X":
            if key[1] == 0:
                return
            value = self.stripped(value, 32)
            self.assign(key, self.pure("wrap", (32, False), [value]))
            if self.active:
                value = self.read(self.held[key], ALWAYS)
            self.effect(self.with_operand(Step("put", c=key[1]), value))
            return
        value = self.pure("wrap", (width, signed), [value])
        if known:
            self.assign(key, value)
            code = "putend" if key[1] in self.ends else "putown"
            self.effect(self.with_operand(Step(code, c=key[1]), self.read(self.held[key], ALWAYS)))
            return
        if any(first <= n < first + count for n in self.ends):
            raise NoRoutine
        self.signed(index)
        self.guarded(Step("putat", 0, self.temp(index), self.temp(value), first, count))
        for n in range(first, first + count):
            self.held.pop(("own", n), None)
            self.made.pop(Step("getown", c=n), None)

    def access(self, op: Op) -> None:
        space, size, big_endian = op.attr
        if space != "MEM" or (big_endian and size > 1) or size > 8:
            raise NoRoutine
        address, pieces = self.values[op.args[0]], access_pieces(size)
        total = _constant(0)
        for at, part in pieces:
            where = self.pure("add", None, [address, _constant(at)])
            if op.code == "load":
                to, self.temps = self.temps, self.temps + 1
                if self.active:
                    self.effect(Step("const", to))
                self.guarded(Step(f"load{part}", to, self.temp(where)))
                value = _Value(to, 0, (1 << 8 * part) - 1)
                shifted = self.pure("shl", (64, False), [value, _constant(8 * at)])
                total = self.pure("or", None, [total, shifted]) if at else value
            else:
                value = self.pure("shr", None, [self.values[op.args[1]], _constant(8 * at)])
                self.guarded(
                    self.with_operand(Step(f"store{part}", a=self.temp(where)), self.stripped(value, 8 * part))
                )
        if op.code == "load":
            self.values[op.result] = total

    # ------------------------------------------------------------ pure operations
    def stripped(self, value: _Value, bits: int) -> _Value:
        """A value with the same low bits that takes fewer steps."""
        while value.low != value.high and value.temp in self.wrapped:
            inner, width = self.wrapped[value.temp], self.widths[value.temp]
            if width < bits:
                break
            value = inner
        return value

    def pure(self, code: str, attr: object, x: list[_Value]) -> _Value:
        if all(v.low == v.high for v in x):
            return _constant(apply(code, attr, [v.low for v in x]))
        low, high = range_of(code, attr, [(v.low, v.high) for v in x])
        if low == high:
            return _constant(low)
        second = x[1].low if len(x) > 1 and x[1].low == x[1].high else None
        match code:
            case "wrap":
                return self.wrap(x[0], *attr)  # type: ignore[misc]
            case "add" | "sub" | "or" | "xor":
                if second == 0:
                    return x[0]
                if code != "sub" and x[0].low == x[0].high:
                    x.reverse()
                    if x[1].low == 0:
                        return x[0]
                return self.make(code, low, high, *x)
            case "mul" | "and":
                if x[0].low == x[0].high:
                    x.reverse()
                if x[1].low == x[1].high == (1 if code == "mul" else -1):
                    return x[0]
                return self.make(code, low, high, *x)
            case "neg":
                return self.make("sub", low, high, _constant(0), x[0])
            case "shl":
                return self.shift_left(x[0], x[1], *attr)  # type: ignore[misc]
            case "shr":
                return self.shift_right(x[0], x[1], low, high)
            case "eq":
                self.signed(*x)
                if x[0].low == x[0].high:
                    x.reverse()
                return self.make("seq", low, high, *x)
            case "lt" | "le":
                return self.make(f"s{code}{'s' if self.signed(*x) else 'u'}", low, high, *x)
            case "select":
                condition = self.boolean(x[0])
                if condition.low == condition.high:
                    return x[1 if condition.low else 2]
                return self.choose(condition.temp, x[1], x[2])
            case "div" | "rem":
                return self.make(f"{code}{'s' if self.signed(*x) else 'u'}", low, high, *x)
        raise NoRoutine

    def wrap(self, value: _Value, width: int, signed: bool) -> _Value:
        low, high = type_range(width, signed)
        if low <= value.low and value.high <= high:
            return value
        if width >= 64:
            return _Value(value.temp, low, high)
        value = self.stripped(value, width)
        if signed:
            result = self.make("sext", low, high, value, _constant(64 - width))
        else:
            result = self.make("and", low, high, value, _constant((1 << width) - 1))
        self.wrapped[result.temp], self.widths[result.temp] = value, width
        return result

    def shift_left(self, value: _Value, amount: _Value, width: int, signed: bool) -> _Value:
        low, high = type_range(width, signed)
        limit = min(width, 64)
        if amount.low == amount.high:
            n = amount.low
            if not 0 <= n < width:
                return _constant(0)
            if n >= 64:
                # The low 64 bits are 0, whatever the rest.
                return _Value(self.temp(_constant(0)), low, high)
            if n == 0:
                return self.wrap(value, width, signed)
            shifted = self.make("shl", value.low << n, value.high << n, value, amount)
        else:
            beyond = -(1 << width), 1 << width  # to be wrapped
            shifted = self.make("shl", *beyond, value, amount)
            if not (amount.low >= 0 and amount.high < limit):
                self.signed(amount)
                inside = self.make("sltu", 0, 1, amount, _constant(limit))
                shifted = self.make("select", *beyond, inside, shifted, _constant(0))
        return self.wrap(shifted, width, signed)

    def shift_right(self, value: _Value, amount: _Value, low: int, high: int) -> _Value:
        signed = self.signed(value)
        code = "sar" if signed else "shr"
        if amount.low == amount.high:
            n = amount.low if 0 <= amount.low < 64 else 64
            if n == 64 and not signed:
                return _constant(0)
            return value if n == 0 else self.make(code, low, high, value, _constant(min(n, 63)))
        if amount.low >= 0 and amount.high < 64:
            return self.make(code, low, high, value, amount)
        self.signed(amount)
        inside = self.make("sltu", 0, 1, amount, _constant(64))
        if signed:
            return self.make(code, low, high, value, self.make("select", 0, 63, inside, amount, _constant(63)))
        return self.make("select", low, high, inside, self.make(code, low, high, value, amount), _constant(0))


def access_pieces(size: int) -> list[tuple[int, int]]:
    """An access of 3 or 5 to 8 bytes as accesses the memory port makes: (offset, bytes)."""
    if size in (1, 2, 4):
        return [(0, size)]
    pieces, at = [], 0
    while at < size:
        step = 4 if size - at >= 4 else 2 if size - at >= 2 else 1
        pieces.append((at, step))
        at += step
    return pieces


def _operands(step: Step) -> list[str]:
    """Which of a step's parts are numbers of temporaries."""
    match step.code:
        case "end" | "const" | "get" | "getown" | "raise":
            return []
        case "put" | "putown" | "putend" | "setpc" | "tval":
            parts = ["b"]
        case "load1" | "load2" | "load4" | "skip" | "getat":
            return ["a"]
        case "select":
            parts = ["a", "b", "c"]
        case _:
            parts = ["a", "b"]
    return [p for p in parts if p != "b" or step.b != CONSTANT]


def _live(steps: list[Step]) -> list[Step]:
    """Without the steps whose value nobody reads; loads stay."""
    kept: list[Step] = []
    read: set[int] = set()
    for step in reversed(steps):
        if step.code in _EFFECTS or step.to in read:
            kept.append(step)
            read.update(getattr(step, p) for p in _operands(step))
    return kept[::-1]


def _allocate(steps: list[Step]) -> list[Step]:
    """Values in the temporaries that there are."""
    last: dict[int, int] = {getattr(s, p): n for n, s in enumerate(steps) for p in _operands(s)}
    place: dict[int, int] = {}
    free = list(range(TEMPS))[::-1]
    result = []
    for n, step in enumerate(steps):
        changed: dict[str, Any] = {p: place[getattr(step, p)] for p in _operands(step)}
        for value in {getattr(step, p) for p in _operands(step)}:
            if last[value] == n:
                free.append(place[value])
        if step.code not in _EFFECTS or step.code.startswith("load"):
            if step.to not in place:
                if not free:
                    raise NoRoutine
                place[step.to] = free.pop()
                if step.to not in last:
                    free.append(place[step.to])
            changed["to"] = place[step.to]
        result.append(step._replace(**changed))
    return result


def routine(
    instruction: Instruction,
    word: int,
    pc: int,
    own: Mapping[str, tuple[int, int, int, bool]],
    ends: Collection[int] = (),
) -> Routine:
    """The steps of an instruction word.

    Parameters
    ----------
    instruction : Instruction
    word, pc : int
        The word, and its address.
    own : mapping
        Registers of added sets: number of the first, how many, width in bits, sign (`OwnRegisters.files`).
    ends : collection of int
        Numbers of those that hold the end of a hardware loop.

    Raises
    ------
    NoRoutine
        They do not suffice.
    """
    lowering = _Lowering(instruction, word, pc, own, ends)
    traps = any((op.code, op.attr) == ("call", "set_tval") or op.code == "raise" for op in walk(instruction.body))
    if traps:
        lowering.effect(Step("tval", b=CONSTANT))
    lowering.run(instruction.body)
    if traps:
        lowering.effect(Step("tval", b=CONSTANT))
    steps = _allocate(_live([*lowering.steps, Step("end")]))
    codes = [s.code for s in steps]
    accesses = [n for n, code in enumerate(codes) if code.startswith(("load", "store"))]
    jumps = "setpc" in codes
    stores = any(code.startswith("store") for code in codes)
    if jumps and (stores or "putend" in codes):
        raise NoRoutine  # behind a store into code, or a new end, the block is left at the next instruction
    window = 0
    if len(accesses) == 1 and not jumps:
        (at,) = accesses
        if "skip" not in codes[:at][-1:] and "raise" not in codes[at:]:
            window = int(codes[at][-1])
    loops = "putend" in codes
    computes = not accesses and not {"setpc", "tval", "raise", "putend"} & set(codes)
    return Routine(steps, jumps, len(accesses), window, stores, computes, loops)


def uses_pc(instruction: Instruction) -> bool:
    """Whether the address of the instruction matters."""
    return any(op.code == "pc" for op in instruction.static)


def step_lines() -> list[str]:
    """The C enumeration of steps."""
    return ["#define STEP_CODES " + ", ".join(f"S_{code.upper()}" for code in STEPS), ""]
