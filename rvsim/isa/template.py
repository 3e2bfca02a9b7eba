"""Templates of compiled code from micro-ops: each handler as a short list of machine-neutral operations on 32 bits.

A template's operands are slots of the predecoded instruction (guest registers, constants), literals and two temporary
registers; `rvsim/machine/jit.h` turns each operation into bytes of the host. Values wider than 32 bits have no place:
a value is kept as its low 32 bits, and only operations whose result depends on nothing else are applied to one that
does not fit. A behaviour that needs more has no template: it is called as a C function, or left to the interpreter.
"""

from __future__ import annotations

from typing import NamedTuple

from rvsim.isa.build import Range
from rvsim.isa.ccode import GenerationError, Handler, container
from rvsim.isa.ir import Op, walk

_OPERATIONS = """
mov add sub and or xor mul shl shr sar sext8 sext16 zext8 zext16 seq sltu slt sleu sle select
mulhuu mulhss mulhsu load8u load8s load16u load16s load32 store8 store16 store32
beq bne bltu blt bleu ble bgtu bgt bgeu bge jump jumpr
"""
OPERATIONS = _OPERATIONS.split()
TEMPS = 2
_INVERSE = {"eq": "ne", "ltu": "geu", "lt": "ge", "leu": "gtu", "le": "gt"}
_LIMIT = 64  # numbers of a kind of operand


class Operand(NamedTuple):
    """Where a value is: ``t`` a temporary, ``g`` a guest register's slot, ``k`` a constant's slot, ``l`` a literal."""

    kind: str
    number: int


class Step(NamedTuple):
    """One operation; operands that it lacks are literals 0."""

    code: str
    to: Operand
    args: tuple[Operand, ...]


ZERO = Operand("l", 0)


class NoTemplate(Exception):
    """The behaviour is beyond these templates."""


class _Lowering:
    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.ranges: list[Range] = handler.e.ranges
        self.at: dict[int, Operand] = {}
        self.compared: dict[int, tuple[str, Operand, Operand]] = {}
        self.source: dict[int, tuple[Op, tuple[int, ...]]] = {}
        self.variables: dict[int, int | None] = {}
        self.steps: list[Step] = []
        self.temps = 0

    # ------------------------------------------------------------ operands
    def operand(self, value: int) -> Operand:
        low, high = self.ranges[value]
        if low == high:
            return Operand("l", low & 0xFFFFFFFF)
        if value in self.at:
            return self.at[value]
        if value in self.handler.static:
            if value not in self.handler.constants:
                raise NoTemplate
            return Operand("k", self.handler.constants.index(value))
        if value in self.compared:
            code, a, b = self.compared[value]
            return self.emit(value, "s" + code, a, b)
        raise NoTemplate

    def register(self, value: int, role: str) -> Operand:
        if self.ranges[value] == (0, 0):
            return ZERO
        return Operand("g", self.handler._roles.index((value, role)))

    def emit(self, value: int, code: str, *args: Operand) -> Operand:
        to = Operand("t", self.temps)
        self.temps += 1
        self.steps.append(Step(code, to, args))
        self.at[value] = to
        return to

    def sign(self, *values: int) -> str:
        """How values that fit 32 bits are read: ``u`` or ``s``."""
        kind = container(*(self.ranges[v] for v in values))
        if kind not in ("uint32_t", "int32_t"):
            raise NoTemplate
        return "u" if kind == "uint32_t" else "s"

    def within(self, value: int, low: int, high: int) -> bool:
        return low <= self.ranges[value][0] and self.ranges[value][1] <= high

    # ------------------------------------------------------------ operations
    def run(self, ops: list[Op]) -> None:
        for n, op in enumerate(ops):
            self.one(op, ops[n + 1 :])

    def one(self, op: Op, rest: list[Op]) -> None:
        r, a = op.result, op.args
        match op.code:
            case "get":
                if op.attr != "X" or not a:
                    raise NoTemplate
                self.at[r] = self.register(a[0], "read")
            case "put":
                if op.attr != "X" or len(a) != 2:
                    raise NoTemplate
                self.put(self.register(a[0], "write"), a[1], rest)
            case "setvar":
                self.variables[op.attr] = a[0]
            case "getvar":
                held = self.variables.get(op.attr)
                self.at[r] = ZERO if held is None else self.operand(held)
            case "scope":
                body = op.bodies[0]
                leaves = [o for o in walk(body) if o.code == "leave"]
                if len(leaves) != 1 or body[-1] is not leaves[0] or leaves[0].attr != op.attr:
                    raise NoTemplate
                self.run(body[:-1])
            case "add" | "sub" | "and" | "or" | "xor":
                self.source[r] = (op, tuple(a))
                self.emit(r, op.code, self.operand(a[0]), self.operand(a[1]))
            case "mul":
                if self.within(r, -(2**31), 2**32 - 1) or not self.high_half(r, rest):
                    self.emit(r, "mul", self.operand(a[0]), self.operand(a[1]))
                else:
                    self.source[r] = (op, tuple(a))
            case "neg":
                self.emit(r, "sub", ZERO, self.operand(a[0]))
            case "shl":
                if not self.within(a[1], 0, 31) or op.attr[0] != 32:
                    raise NoTemplate
                self.emit(r, "shl", self.operand(a[0]), self.amount(a[1]))
            case "shr":
                self.shift_right(op)
            case "wrap":
                self.wrap(op)
            case "eq" | "lt" | "le":
                suffix = "u" if op.code != "eq" and self.sign(*a) == "u" else ""
                self.sign(*a)
                self.compared[r] = (op.code + suffix, self.operand(a[0]), self.operand(a[1]))
            case "select":
                self.sign(a[0])
                self.emit(r, "select", self.operand(a[0]), self.operand(a[1]), self.operand(a[2]))
            case "load" | "store":
                self.access(op)
            case "if":
                self.branch(op, rest)
            case "setpc":
                if rest:
                    raise NoTemplate
                target = self.operand(a[0])
                self.steps.append(Step("jump" if target.kind in "kl" else "jumpr", ZERO, (target,)))
            case _:
                raise NoTemplate

    def high_half(self, value: int, rest: list[Op]) -> bool:
        """Whether all that is asked of a product is its upper half."""
        uses = [o for o in walk(rest) if value in o.args]
        return bool(uses) and all(o.code == "shr" and self.ranges[o.args[1]] == (32, 32) for o in uses)

    def shift_right(self, op: Op) -> None:
        value, amount = op.args
        if value in self.source and self.source[value][0].code == "mul":
            a, b = self.source[value][1]
            signs = self.sign(a) + self.sign(b)
            if signs == "us":
                a, b, signs = b, a, "su"
            self.emit(op.result, f"mulh{signs}", self.operand(a), self.operand(b))
            return
        if not self.within(amount, 0, 31):
            raise NoTemplate
        code = "shr" if self.sign(value) == "u" else "sar"
        self.emit(op.result, code, self.operand(value), self.amount(amount))

    def amount(self, value: int) -> Operand:
        """An amount below 32; the shift masks it itself."""
        if value in self.source and self.source[value][0].code == "wrap":
            op, (inner,) = self.source[value]
            if op.attr[0] == 5:
                return self.operand(inner)
        return self.operand(value)

    def wrap(self, op: Op) -> None:
        width, signed = op.attr
        (value,) = op.args
        if value in self.compared:
            self.compared[op.result] = self.compared[value]
            return
        held = self.operand(value)
        self.source[op.result] = (op, (value,))
        if width >= 32:
            self.at[op.result] = held
            if value in self.source and self.source[value][0].code == "add":
                self.source[op.result] = self.source[value]
        elif width in (8, 16):
            if self.steps and signed and self.steps[-1].to == held and self.steps[-1].code == f"load{width}u":
                self.steps[-1] = self.steps[-1]._replace(code=f"load{width}s")
                self.at[op.result] = held
            else:
                self.emit(op.result, f"{'s' if signed else 'z'}ext{width}", held)
        elif signed:
            shifted = Operand("l", 32 - width)
            self.emit(op.result, "sar", self.emit(op.result, "shl", held, shifted), shifted)
        else:
            self.emit(op.result, "and", held, Operand("l", (1 << width) - 1))

    def access(self, op: Op) -> None:
        space, size, big_endian = op.attr
        if space != "MEM" or not self.handler.window or size not in (1, 2, 4) or (big_endian and size > 1):
            raise NoTemplate
        address, offset = self.operand(op.args[0]), ZERO
        if op.args[0] in self.source and self.source[op.args[0]][0].code == "add":
            a, b = map(self.operand, self.source[op.args[0]][1])
            if b.kind in "kl":
                address, offset = a, b
        if op.code == "load":
            self.emit(op.result, f"load{8 * size}{'u' if size < 4 else ''}", address, offset)
            return
        value = op.args[1]
        if value in self.source and self.source[value][0].code == "wrap" and self.source[value][0].attr[0] >= 8 * size:
            value = self.source[value][1][0]  # the store itself takes the low bits
        self.steps.append(Step(f"store{8 * size}", ZERO, (address, offset, self.operand(value))))

    def branch(self, op: Op, rest: list[Op]) -> None:
        bodies = [len(body) for body in op.bodies]
        if rest or sorted(bodies) != [0, 1]:
            raise NoTemplate
        set_pc = op.bodies[bodies.index(1)][0]
        if set_pc.code != "setpc" or set_pc.args[0] not in self.handler.static:
            raise NoTemplate
        condition = op.args[0]
        code, a, b = self.compared.get(condition) or ("ne", self.operand(condition), ZERO)
        if bodies[0] == 0:
            code = {**_INVERSE, "ne": "eq"}[code]
        self.steps.append(Step("b" + code, ZERO, (a, b, self.operand(set_pc.args[0]))))

    def put(self, to: Operand, value: int, rest: list[Op]) -> None:
        if to.kind != "g":
            raise NoTemplate
        held = self.operand(value)
        # The register written may be one that was read: what is still needed of it moves away.
        for later in {v for o in walk(rest) for v in o.args}:
            kept = self.at.get(later)
            if kept is not None and kept.kind == "g":
                self.emit(later, "mov", kept)
        if any(o.kind == "g" for v, c in self.compared.items() for o in c[1:] if any(v in p.args for p in walk(rest))):
            raise NoTemplate
        last = self.steps[-1] if self.steps else None
        again = any(self.at.get(v) == held for o in walk(rest) for v in o.args)
        if last is not None and held.kind == "t" and last.to == held and not again:
            self.steps[-1] = last._replace(to=to)
        else:
            self.steps.append(Step("mov", to, (held,)))


def _live(steps: list[Step]) -> list[Step]:
    """Without the operations whose temporary nobody reads; loads stay."""
    while True:
        read = {a for s in steps for a in s.args}
        kept = [s for s in steps if s.to.kind != "t" or s.to in read or s.code.startswith("load")]
        if len(kept) == len(steps):
            return kept
        steps = kept


def _allocate(steps: list[Step]) -> list[Step]:
    """Temporaries as the two that there are. An access needs the first for itself."""
    last = {a: n for n, s in enumerate(steps) for a in s.args if a.kind == "t"}
    place: dict[Operand, Operand] = {}
    free = list(range(TEMPS))
    result = []
    for n, step in enumerate(steps):
        args = tuple(place.get(a, a) for a in step.args)
        for a in dict.fromkeys(step.args):
            if a.kind == "t" and last[a] == n:
                free.append(place[a].number)
        if step.code.startswith(("load", "store")):
            if len(free) < TEMPS or any(a == Operand("t", 0) for a in args[2:]):
                raise NoTemplate
        to = step.to
        if to.kind == "t":
            if not free:
                raise NoTemplate
            place[to] = Operand("t", min(free))
            free.remove(min(free))
            if to not in last:
                free.append(place[to].number)
            to = place[to]
        result.append(Step(step.code, to, args))
    return result


def template(handler: Handler) -> list[Step]:
    """The steps of a handler.

    Raises
    ------
    NoTemplate
        They do not suffice.
    """
    lowering = _Lowering(handler)
    try:
        if handler.lines and "DIVIDES" in handler.lines[0]:
            raise NoTemplate
        lowering.run(handler.variant.body)
    except GenerationError:
        raise NoTemplate from None
    if handler.ends and not handler.targets:
        raise NoTemplate
    return _allocate(_live(lowering.steps))


def callable_alone(handler: Handler) -> bool:
    """Whether a C function may do it: no way out of the straight line, no access, nothing of the interpreter's own."""
    beyond = {"load", "store", "setpc", "call", "raise"}
    return not handler.ends and not any(op.code in beyond for op in walk(handler.variant.body))


def header_lines(handlers: list[Handler]) -> list[str]:
    """C tables of all handlers' templates, by number of handler.

    ``TEMPLATE_OPS`` are rows {code, to, three operands}; operands have their kind in the upper two bits: temporary,
    guest register, constant slot, literal. ``TEMPLATE_STARTS`` says where each handler's begin; ``TEMPLATE_KINDS``
    is 0 without a template, 1 with one, 2 for a function.
    """
    literals: list[int] = [0]
    rows: list[str] = []
    starts, kinds, functions = [0], [], []

    def byte(operand: Operand) -> int:
        number = operand.number
        if operand.kind == "l":
            if number not in literals:
                literals.append(number)
            number = literals.index(number)
        if number >= _LIMIT:
            raise GenerationError("templates have too many literals")
        return "tgkl".index(operand.kind) << 6 | number

    for n, handler in enumerate(handlers):
        try:
            steps = template(handler)
            for step in steps:
                args = [*step.args, ZERO, ZERO, ZERO][:3]
                rows.append(
                    "{" + ", ".join(map(str, [OPERATIONS.index(step.code), byte(step.to), *map(byte, args)])) + "}"
                )
            kinds.append(1)
        except NoTemplate:
            kinds.append(2 if callable_alone(handler) else 0)
            if kinds[-1] == 2:
                functions.append(n)
        starts.append(len(rows))
    out = [
        "#define TEMPLATE_CODES " + ", ".join(f"T_{code.upper()}" for code in OPERATIONS),
        "#define TEMPLATE_NAMES " + ", ".join(f'"{code}"' for code in OPERATIONS),
        "#define TEMPLATE_OPS " + ", ".join(rows),
        "#define TEMPLATE_LITERALS " + ", ".join(f"{v:#x}u" for v in literals),
        "#define TEMPLATE_STARTS " + ", ".join(map(str, starts)),
        "#define TEMPLATE_KINDS " + ", ".join(map(str, kinds)),
        "#define TEMPLATE_FUNCTIONS " + ", ".join(f"[{n}] = function_{n}" for n in functions),
        "",
        "#ifdef FUNCTIONS",
    ]
    for n in functions:
        body = handlers[n].text().rsplit("NEXT;", 1)[0].rstrip()
        body = body.replace("LEAVE_LABEL(", f"LEAVE_LABEL({n}, ").replace("LEAVE(", f"LEAVE({n}, ")
        out.append(f"static void function_{n}(struct hart *h, struct insn *in)\n{{\n    uint32_t *const x = h->x;")
        out.append(f"    (void)x, (void)in;\n{body}\n}}")
    return [*out, "#endif", ""]
