"""Writes a counted loop as C: one guard at its entry, then a plain loop that a C compiler vectorises.

The hart describes a basic block that branches to itself as text, a line each:

    layout NAME=OFFSET ...            of the fields in struct hart, struct block and struct insn (hart.h)
    charge INSTRUCTIONS CYCLES        what an entry takes from the budget
    count 0|1                         whether iterations done here are counted apart, for tests
    INDEX OPERATION TO A B C          a step of instruction INDEX (rvsim/isa/template.py): xN, t0, t1 or a number

Registers at the beginning of an iteration are symbols, and every value is a sum of multiples of them modulo 2^32 as
far as that can be said. A register that an iteration changes by a constant is an induction variable; an access whose
address is made of those and of unchanged ones has a fixed step; a branch that compares them has a trip count in
closed form.
"""

from __future__ import annotations

from typing import NamedTuple

LEAST = 4  # iterations: fewer are not worth the call
USUAL = (8, 16, 32, 64)  # iterations for which there is code of its own, without a remainder,
SHORT = 16  # if the loop has at most so many steps
_BITS32 = 0xFFFFFFFF
_EXHAUSTED = 0x8000000080000000
_SIZES = {"load8u": 1, "load8s": 1, "load16u": 2, "load16s": 2, "load32": 4, "store8": 1, "store16": 2, "store32": 4}
_SIGNED = {"load8s": "int8_t", "load16s": "int16_t"}
_BRANCHES = {
    # operation: comparison, operands change sides, signed
    "bne": ("ne", False, False),
    "bltu": ("lt", False, False),
    "blt": ("lt", False, True),
    "bleu": ("le", False, False),
    "ble": ("le", False, True),
    "bgtu": ("lt", True, False),
    "bgt": ("lt", True, True),
    "bgeu": ("le", True, False),
    "bge": ("le", True, True),
}
_PURE = {
    "mov": "{0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "mul": "{0} * {1}",
    "shl": "{0} << ({1} & 31)",
    "shr": "{0} >> ({1} & 31)",
    "sar": "(uint32_t)((int32_t){0} >> ({1} & 31))",
    "sext8": "(uint32_t)(int32_t)(int8_t){0}",
    "sext16": "(uint32_t)(int32_t)(int16_t){0}",
    "zext8": "(uint32_t)(uint8_t){0}",
    "zext16": "(uint32_t)(uint16_t){0}",
    "seq": "(uint32_t)({0} == {1})",
    "sltu": "(uint32_t)({0} < {1})",
    "slt": "(uint32_t)((int32_t){0} < (int32_t){1})",
    "sleu": "(uint32_t)({0} <= {1})",
    "sle": "(uint32_t)((int32_t){0} <= (int32_t){1})",
    "select": "{0} ? {1} : {2}",
    "mulhuu": "(uint32_t)(((uint64_t){0} * {1}) >> 32)",
    "mulhss": "(uint32_t)(((int64_t)(int32_t){0} * (int32_t){1}) >> 32)",
    "mulhsu": "(uint32_t)(((int64_t)(int32_t){0} * (int64_t){1}) >> 32)",
}


class NotCounted(Exception):
    """The loop's trip count or an address is not known at its entry."""


class Form(NamedTuple):
    """A sum of multiples of the registers at the beginning of an iteration, and a constant, modulo 2^32."""

    terms: tuple[tuple[str, int], ...]
    constant: int

    def plus(self, other: Form, times: int = 1) -> Form:
        terms = dict(self.terms)
        for name, factor in other.terms:
            terms[name] = (terms.get(name, 0) + times * factor) & _BITS32
        kept = tuple(sorted((name, factor) for name, factor in terms.items() if factor))
        return Form(kept, (self.constant + times * other.constant) & _BITS32)

    def c(self) -> str:
        """The value at the first iteration."""
        parts = [f"{name}_0" if factor == 1 else f"{name}_0 * {factor:#x}u" for name, factor in self.terms]
        return " + ".join([*parts, f"{self.constant:#x}u"])


ZERO = Form((), 0)


class Access(NamedTuple):
    """A load or store: of instruction `insn`, at `address` in the first iteration, moving by `step` bytes each."""

    insn: int
    size: int
    address: Form
    step: int


class _Loop:
    def __init__(self, text: str) -> None:
        self.layout: dict[str, int] = {}
        self.steps: list[tuple[int, str, str, list[str]]] = []
        for line in text.splitlines():
            word, *rest = line.split()
            if word == "layout":
                self.layout = {name: int(offset) for name, offset in (item.split("=") for item in rest)}
            elif word == "charge":
                self.charge = int(rest[0]), int(rest[1])
            elif word == "count":
                self.counted = rest == ["1"]
            else:
                self.steps.append((int(word), rest[0], rest[1], rest[2:]))
        self.forms: dict[str, Form | None] = {}
        self.addresses: dict[int, Form | None] = {}
        self.read: set[str] = set()
        self.written: dict[str, None] = {}
        for n, step in enumerate(self.steps):
            self._follow(n, *step)
        # How much a register changes in an iteration; the others are not predicted.
        self.changes: dict[str, int] = {}
        for name in self.read | set(self.written):
            form = self.value(name)
            if form is not None and form.terms == ((name, 1),):
                self.changes[name] = form.constant

    def value(self, operand: str) -> Form | None:
        if operand[0] in "xt":
            return self.forms.get(operand, Form(((operand, 1),), 0))
        return Form((), int(operand) & _BITS32)

    def _follow(self, n: int, index: int, code: str, to: str, args: list[str]) -> None:
        self.read.update(a for a in args if a[0] == "x" and a not in self.forms)
        a, b = self.value(args[0]), self.value(args[1])
        result: Form | None = None
        if code in _SIZES:
            self.addresses[n] = None if a is None or b is None else a.plus(b)
        elif code == "mov":
            result = a
        elif a is not None and b is not None:
            if code in ("add", "sub"):
                result = a.plus(b, 1 if code == "add" else -1)
            elif code == "shl" and not b.terms:
                result = ZERO.plus(a, 1 << (b.constant & 31))
            elif code == "mul" and not (a.terms and b.terms):
                result = ZERO.plus(a, b.constant) if a.terms else ZERO.plus(b, a.constant)
        if code in _PURE or code.startswith("load"):
            self.forms[to] = result
            if to[0] == "x":
                self.written[to] = None

    def step_of(self, form: Form | None) -> int:
        """How much a value changes from one iteration to the next, signed."""
        if form is None or any(name not in self.changes for name, _ in form.terms):
            raise NotCounted
        step = sum(factor * self.changes[name] for name, factor in form.terms) & _BITS32
        return step - (1 << 32) if step >> 31 else step

    def accesses(self) -> dict[int, Access]:
        found = {}
        for n, form in self.addresses.items():
            index, code, _, _ = self.steps[n]
            step, size = self.step_of(form), _SIZES[code]
            assert form is not None
            if step % size:
                raise NotCounted
            found[n] = Access(index, size, form, step)
        return found

    def trips(self) -> list[str]:
        """C that sets `n` to the number of iterations, or returns."""
        _, code, _, args = self.steps[-1]
        if code not in _BRANCHES:
            raise NotCounted
        comparison, changed, signed = _BRANCHES[code]
        a, b = map(self.value, args[1::-1] if changed else args[:2])
        step_a, step_b = self.step_of(a), self.step_of(b)
        assert a is not None and b is not None
        if comparison == "ne":
            difference = a.plus(b, -1)
            step = self.step_of(difference)
            if not step:
                raise NotCounted
            ahead = ZERO.plus(difference, -1 if step > 0 else 1)
            size = abs(step)
            return [
                f"uint32_t ahead = {ahead.c()};",
                *([f"if (ahead % {size}u) return 0;"] if size > 1 else []),
                f"uint64_t n = (uint64_t)(ahead / {size}u) + 1;",
            ]
        # Continue while a < b, or a <= b; the one that moves must get there before it wraps around.
        if not ((step_a > 0 and not step_b) or (step_b < 0 and not step_a)):
            raise NotCounted
        size = step_a or -step_b
        bias = " ^ 0x80000000u" if signed else ""
        behind = f"(b - a) / {size} + 2" if comparison == "le" else f"(b - a - 1) / {size} + 2"
        inside = f"a + (n - 1) * {size} <= 0xffffffffu" if step_a else f"b >= (n - 1) * {size}"
        return [
            f"uint64_t a = (uint32_t)({a.c()}){bias}, b = (uint32_t)({b.c()}){bias};",
            f"if (a {'>' if comparison == 'le' else '>='} b) return 0;",
            f"uint64_t n = {behind};",
            f"if (!({inside})) return 0;",
        ]


def _name(operand: str) -> str:
    return operand if operand[0] in "xt" else f"{int(operand) & _BITS32:#x}u"


def _body(loop: _Loop, accesses: dict[int, Access], moving: dict[str, int]) -> list[str]:
    """One iteration, of number k."""
    out = [
        "uint32_t t0, t1; (void)t0, (void)t1;",
        *(
            f"uint32_t {name} = {name}_0" + (f" + (uint32_t)k * {step:#x}u;" if step else ";") + f" (void){name};"
            for name, step in moving.items()
        ),
    ]
    for n, (_, code, to, args) in enumerate(loop.steps[:-1]):
        if n in accesses:
            access = accesses[n]
            where = f"p{n} + k * {access.step}" if access.step else f"p{n}"
            kind = _SIGNED.get(code, f"uint{8 * access.size}_t")
            if code.startswith("store"):
                out.append(f"{{ {kind} v = ({kind}){_name(args[2])}; memcpy({where}, &v, {access.size}); }}")
            else:
                wide = "(uint32_t)(int32_t)v" if kind[0] == "i" else "v"
                out.append(f"{{ {kind} v; memcpy(&v, {where}, {access.size}); {to} = {wide}; }}")
        elif code in _PURE:
            out.append(f"{to} = {_PURE[code].format(*map(_name, args))};")
        else:
            raise NotCounted
    return out


def source(text: str) -> str:
    """C of the function that the hart calls for a loop.

    Parameters
    ----------
    text : str
        The hart's description of the block.

    Returns
    -------
    str
        Defines ``int rvsim_loop(char *hart, char *block)``. It is called instead of entering the block, which it
        charges and counts itself: 0, nothing was done; 1, the loop has ended; 2, it goes on with the next iteration.

    Raises
    ------
    NotCounted
        The trip count or an address is not known at the loop's entry.
    """
    loop = _Loop(text)
    accesses, at = loop.accesses(), loop.layout
    instructions, cycles = loop.charge
    charge = instructions << 32 | cycles
    registers = sorted(loop.read | set(loop.written), key=lambda name: int(name[1:]))
    moving = {name: loop.changes[name] for name in registers if name in loop.changes}
    out = [
        "#include <stdint.h>",
        "#include <string.h>",
        "#define U32(at) (*(uint32_t *)(at))",
        "#define U64(at) (*(uint64_t *)(at))",
        "int rvsim_loop(char *hart, char *block);",
        "int rvsim_loop(char *hart, char *block)",
        "{",
        f"uint32_t *const x = (uint32_t *)(hart + {at['x']});",
        f"char *const code = block + {at['code']};",
        "(void)code;",
        *(f"const uint32_t {name}_0 = x[{name[1:]}]; (void){name}_0;" for name in registers),
        *loop.trips(),
        "uint64_t m = n;",
    ]
    for n, access in accesses.items():
        scale = access.size.bit_length() - 1
        insn = f"code + {access.insn * at['insn']}"
        distance = f"d{n} >> {scale} | d{n} << {32 - scale}" if scale else f"d{n}"
        units = abs(access.step) >> scale
        out += [
            f"uint32_t d{n} = {access.address.c()} - U32({insn} + {at['window']});",
            f"uint32_t units{n} = U32({insn} + {at['units']});",
            f"if (({distance}) >= units{n}) return 0;",
        ]
        room = f"units{n} - 1 - (d{n} >> {scale})" if access.step > 0 else f"(d{n} >> {scale})"
        if units:
            out.append(f"uint64_t room{n} = (uint64_t)(({room}) / {units}u) + 1; if (m > room{n}) m = room{n};")
    most = 0x7FFFFFFF // max(instructions, cycles)
    out += [
        f"if (m > {most}u) m = {most}u;",
        f"if (m < {LEAST}) return 0;",
        f"uint64_t fuel = U64(hart + {at['fuel']}), left = fuel - m * {charge:#x}ull;",
        f"if (__builtin_expect((left & {_EXHAUSTED:#x}ull) != 0, 0)) {{",
        f"    uint64_t i = (fuel >> 32) / {instructions}u, c = (uint32_t)fuel / {cycles}u;",
        "    m = i < c ? i : c;",
        f"    if (m < {LEAST}) return 0;",
        f"    left = fuel - m * {charge:#x}ull;",
        "}",
    ]
    out += [
        f"char *const p{n} = *(char **)(code + {a.insn * at['insn'] + at['host']}) + d{n};" for n, a in accesses.items()
    ]
    carried = [name for name in loop.written if name not in moving]
    out += [f"uint32_t {name} = {name}_0;" for name in carried]
    body = _body(loop, accesses, moving)
    for trips in USUAL if len(loop.steps) <= SHORT else ():
        out += [f"if (m == {trips}) for (int64_t k = 0; k < {trips}; k++) {{", *body, "} else"]
    out += ["for (int64_t k = 0; k < (int64_t)m; k++) {", *body, "}"]
    out += [f"x[{name[1:]}] = {name};" for name in carried]
    out += [f"x[{name[1:]}] = {name}_0 + (uint32_t)m * {step:#x}u;" for name, step in moving.items() if step]
    if loop.counted:
        out.append(f"U64(block + {at['looped']}) += m;")
    out += [
        f"U64(hart + {at['fuel']}) = left;",
        f"U64(block + {at['count']}) += m;",
        f"U64(block + {at['taken']}) += m - (m == n);",
        "return m == n ? 1 : 2;",
        "}",
        "",
    ]
    return "\n".join(out)
