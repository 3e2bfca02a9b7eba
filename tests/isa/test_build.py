"""Micro-ops do what the rules say: ranges hold, lowering keeps values, the C text computes what `apply` defines."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.isa import ir
from rvsim.isa.build import apply, range_of
from rvsim.isa.ccode import Expressions, GenerationError
from rvsim.isa.evaluate import execute
from tests.isa.coredsl_rules import description
from tests.isa.snippets import Recorder, load, word_of

ARITY = {"add": 2, "sub": 2, "mul": 2, "div": 2, "rem": 2, "neg": 1, "and": 2, "or": 2, "xor": 2, "shl": 2, "shr": 2,
         "wrap": 1, "eq": 2, "lt": 2, "le": 2, "select": 3}  # fmt: skip


# ------------------------------------------------------------ ranges
@st.composite
def bound(draw: st.DrawFn) -> int:
    """Small numbers, and numbers next to powers of two."""
    power = draw(st.sampled_from([0, 1, 2, 4, 7, 8, 31, 32, 33, 63, 64, 70]))
    return draw(st.sampled_from([-1, 1])) * ((1 << power) + draw(st.integers(-2, 2)))


@st.composite
def operation(draw: st.DrawFn) -> tuple[str, object, list[tuple[int, int]], list[int]]:
    """An operation, the ranges of its operands, and operands within them."""
    code = draw(st.sampled_from(sorted(ARITY)))
    ranges, values = [], []
    for _ in range(ARITY[code]):
        low, high = sorted((draw(bound()), draw(bound())))
        if code in ("shl", "shr") and ranges:
            low, high = sorted((draw(st.integers(-3, 80)), draw(st.integers(-3, 80))))
        ranges.append((low, high))
        values.append(draw(st.one_of(st.sampled_from([low, high]), st.integers(low, high))))
    attr = (draw(st.integers(1, 70)), draw(st.booleans())) if code in ("shl", "wrap") else None
    return code, attr, ranges, values


@settings(max_examples=3000)
@given(operation())
def test_a_range_holds_every_result(case: tuple[str, object, list[tuple[int, int]], list[int]]) -> None:
    code, attr, ranges, values = case
    low, high = range_of(code, attr, ranges)
    assert low <= apply(code, attr, values) <= high


@pytest.mark.parametrize("code", sorted(ARITY))
def test_a_range_holds_every_result_of_all_small_operands(code: str) -> None:
    """Every range within -3 to 3, every operand."""
    import itertools

    spans = [(a, b) for a in range(-3, 4) for b in range(a, 4)]
    if ARITY[code] == 3:
        spans = [(a, b) for a in range(-1, 2) for b in range(a, 2)]
    for attr in [(1, False), (2, True), (3, False), (3, True)] if code in ("shl", "wrap") else [None]:
        for ranges in itertools.product(spans, repeat=ARITY[code]):
            low, high = range_of(code, attr, list(ranges))
            for values in itertools.product(*(range(a, b + 1) for a, b in ranges)):
                assert low <= apply(code, attr, list(values)) <= high, (attr, ranges, values)


# ------------------------------------------------------------ a second reading of the rules: typed values, one by one
class Typed(NamedTuple):
    """A value of ``signed<width>`` or ``unsigned<width>``."""

    width: int
    signed: bool
    value: int


def typed(width: int, signed: bool, value: int) -> Typed:
    """The low bits of a number, read as the type says."""
    value %= 2**width
    return Typed(width, signed, value - 2**width if signed and value >= 2 ** (width - 1) else value)


def literal(value: int) -> Typed:
    return Typed(max(1, len(f"{value:b}")), False, value)


def truncated(x: int, y: int) -> int:
    return (abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1)


def binary(operator: str, x: Typed, y: Typed) -> Typed:
    """Widths, signs and values of the table in docs/coredsl.md."""
    a, b, either = x.width, y.width, x.signed or y.signed
    grown_a, grown_b = a + (y.signed and not x.signed), b + (x.signed and not y.signed)
    match operator:
        case "+":
            return Typed(max(grown_a, grown_b) + 1, either, x.value + y.value)
        case "-":
            return Typed(max(grown_a, grown_b) + 1, True, x.value - y.value)
        case "*":
            return Typed(a + b, either, x.value * y.value)
        case "/":  # by zero: -1, as far as the type holds it
            return typed(a + y.signed, either, truncated(x.value, y.value) if y.value else -1)
        case "%":
            width = min(a, b) if x.signed == y.signed else min(a, b + 1) if x.signed else max(1, min(a, b - 1))
            return typed(width, x.signed, x.value - y.value * truncated(x.value, y.value) if y.value else x.value)
        case "&":
            return typed(max(a, b), either, x.value & y.value)
        case "|":
            return typed(max(a, b), either, x.value | y.value)
        case "^":
            return typed(max(a, b), either, x.value ^ y.value)
        case "<<":
            return typed(a, x.signed, x.value << y.value if y.value < a else 0)
        case ">>":
            return typed(a, x.signed, x.value >> min(y.value, a))
        case "&&":
            return Typed(1, False, int(x.value != 0 and y.value != 0))
        case "||":
            return Typed(1, False, int(x.value != 0 or y.value != 0))
    compare = {"==": x.value == y.value, "!=": x.value != y.value, "<": x.value < y.value, "<=": x.value <= y.value,
               ">": x.value > y.value, ">=": x.value >= y.value}  # fmt: skip
    return Typed(1, False, int(compare[operator]))


def unary(operator: str, x: Typed) -> Typed:
    match operator:
        case "-":
            return Typed(x.width + 1, True, -x.value)
        case "~":
            return typed(x.width, x.signed, ~x.value)
        case "!":
            return Typed(1, False, int(x.value == 0))
    return x


def either(condition: Typed, x: Typed, y: Typed) -> Typed:
    if x.signed == y.signed:
        width = max(x.width, y.width)
    else:
        signed, unsigned = (x, y) if x.signed else (y, x)
        width = max(signed.width, unsigned.width + 1)
    return Typed(width, x.signed or y.signed, x.value if condition.value else y.value)


def concatenated(x: Typed, y: Typed) -> Typed:
    return Typed(x.width + y.width, False, (x.value % 2**x.width) * 2**y.width + y.value % 2**y.width)


OPERATORS = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||"]
LIMIT = 140  # widths at which the generator stops to grow
TYPES = ["unsigned<1>", "unsigned<5>", "unsigned<8>", "unsigned<32>", "unsigned<33>", "signed<1>", "signed<7>",
         "signed<8>", "signed<32>", "signed<40>", "bool", "char", "unsigned short", "int", "long"]  # fmt: skip
SHORT = {"bool": (1, False), "char": (8, True), "unsigned short": (16, False), "int": (32, True), "long": (64, True)}


def parse_type(name: str) -> tuple[int, bool]:
    return SHORT.get(name) or (int(name.split("<")[1][:-1]), name.startswith("signed"))


class Generator:
    """Random expressions and statements with their values: the text for the front end, the value by the rules above."""

    def __init__(self, rng: random.Random, state: dict[str, Typed]) -> None:
        self.rng, self.state = rng, state

    def expression(self, depth: int) -> tuple[str, Typed]:
        rng = self.rng
        if depth == 0 or rng.random() < 0.1:
            if rng.random() < 0.3:
                value = rng.choice([0, 1, 2, 3, 5, 31, 32, 127, 128, 255, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
                width = max(1, value.bit_length()) + rng.randrange(3)
                if rng.random() < 0.3:
                    return f"{width}'sd{value}", typed(width, True, value)
                return rng.choice([(str(value), literal(value)), (f"{width}'h{value:x}", Typed(width, False, value))])
            name = rng.choice(list(self.state))
            return name, self.state[name]
        text, x = self.expression(depth - 1)
        kind = rng.randrange(9)
        if kind <= 3:
            operator = rng.choice(OPERATORS)
            other, y = self.expression(depth - 1)
            if operator in ("<<", ">>"):  # negative amounts are no part of the language
                other, y = f"(unsigned)({other})", typed(y.width, False, y.value)
            result = binary(operator, x, y)
            if result.width <= LIMIT:
                return f"({text}) {operator} ({other})", result
        elif kind == 4:
            operator = rng.choice("-~!+")
            return f"{operator}({text})", unary(operator, x)
        elif kind == 5:
            name = rng.choice([*TYPES, "signed", "unsigned"])
            width, signed = (x.width, name == "signed") if name in ("signed", "unsigned") else parse_type(name)
            return f"({name})({text})", typed(width, signed, x.value)
        elif kind == 6:
            low = rng.randrange(x.width)
            high = rng.randrange(low, x.width)
            if low == high and rng.random() < 0.5:
                return f"({text})[{low}]", typed(1, False, x.value >> low)
            return f"({text})[{high}:{low}]", typed(high - low + 1, False, x.value >> low)
        else:
            other, y = self.expression(depth - 1)
            if kind == 7:
                condition, truth = self.expression(depth - 1)
                return f"({condition}) ? ({text}) : ({other})", either(truth, x, y)
            if x.width + y.width <= LIMIT:
                return f"({text}) :: ({other})", concatenated(x, y)
        return text, x

    def statements(self, count: int, depth: int, run: bool) -> str:
        """Statements on the locals; `run` says whether they are executed."""
        lines = []
        for _ in range(count):
            name = self.rng.choice([n for n in self.state if n.startswith("local")])
            width, signed, _ = old = self.state[name]
            kind = f"{'signed' if signed else 'unsigned'}<{width}>"
            choice = self.rng.randrange(4)
            if choice == 0 and depth:
                condition, truth = self.expression(2)
                yes = self.statements(2, depth - 1, run and truth.value != 0)
                no = self.statements(2, depth - 1, run and truth.value == 0)
                lines.append(f"if ({condition}) {{ {yes} }} else {{ {no} }}")
                continue
            text, x = self.expression(2)
            if choice == 1:
                operator = self.rng.choice("+-*&|^")
                lines.append(f"{name} {operator}= {text};")
                x = binary(operator, old, x)
            elif choice == 2:
                high = self.rng.randrange(width)
                low = self.rng.randrange(high + 1)
                lines.append(f"{name}[{high}:{low}] = (unsigned<{high - low + 1}>)({text});")
                hole = (2 ** (high - low + 1) - 1) << low
                x = Typed(width, signed, (old.value & ~hole) | (x.value << low & hole))
            else:
                lines.append(f"{name} = ({kind})({text});")
            if run:
                self.state[name] = typed(width, signed, x.value)
        return " ".join(lines)


OUTPUTS = 6


def initial_state(rng: random.Random, fields: dict[str, int], registers: dict[int, int]) -> dict[str, Typed]:
    state = {name: Typed(width, False, fields[name]) for name, width in (("imm", 12), ("rs1", 5), ("rd", 5))}
    state |= {"X[rs1]": Typed(32, False, registers[fields["rs1"]]), "X[9]": Typed(32, False, registers[9])}
    return state | {
        "PC": Typed(32, False, 0x8000_0104),
        "SEVEN": Typed(32, False, 7),
        "(signed)imm": typed(12, True, fields["imm"]),
    }


def check(
    rng: random.Random,
    folder: Path,
    behaviour: str,
    expected: list[Typed],
    fields: dict[str, int],
    registers: dict[int, int],
) -> None:
    state = "".join(f"register signed<{LIMIT + 10}> OUT{n};" for n in range(len(expected)))
    (instruction,) = load(folder, description(behaviour, state=state)).instructions
    context = Recorder(registers)
    execute(instruction, word_of(instruction, **fields), 0x8000_0104, context)
    assert [context.registers[f"OUT{n}", None] for n in range(len(expected))] == [e.value for e in expected], behaviour


def operands(rng: random.Random) -> tuple[dict[str, int], dict[int, int]]:
    fields = {
        "imm": rng.choice([0, 1, 0x7FF, 0x800, 0xFFF, rng.getrandbits(12)]),
        "rs1": rng.randrange(32),
        "rd": rng.randrange(32),
    }
    values = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32), rng.getrandbits(8)]
    return fields, {n: rng.choice(values) for n in range(32)}


@settings(max_examples=150)
@given(seed=st.integers(0, 2**64 - 1))
def test_expressions_keep_their_typed_values(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = random.Random(seed)
    fields, registers = operands(rng)
    generator = Generator(rng, initial_state(rng, fields, registers))
    pairs = [generator.expression(rng.randrange(1, 5)) for _ in range(OUTPUTS)]
    behaviour = "{ " + " ".join(f"OUT{n} = {text};" for n, (text, _) in enumerate(pairs)) + " }"
    check(rng, tmp_path_factory.getbasetemp(), behaviour, [value for _, value in pairs], fields, registers)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**64 - 1))
def test_statements_keep_their_typed_values(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng = random.Random(seed)
    fields, registers = operands(rng)
    state = initial_state(rng, fields, registers)
    generator = Generator(rng, state)
    lines = []
    for number in range(3):
        name, (text, value) = rng.choice([t for t in TYPES if "<" in t]), generator.expression(2)
        lines.append(f"{name} local{number} = ({name})({text});")
        state[f"local{number}"] = typed(*parse_type(name), value.value)
    lines.append(generator.statements(5, 3, True))
    lines += [f"OUT{n} = local{n};" for n in range(3)]
    check(
        rng,
        tmp_path_factory.getbasetemp(),
        "{ " + " ".join(lines) + " }",
        [state[f"local{n}"] for n in range(3)],
        fields,
        registers,
    )


# ------------------------------------------------------------ C
def random_operation(rng: random.Random) -> tuple[ir.Op, list[tuple[int, int]], list[list[int]]]:
    """An operation on values 0, 1, ..., their ranges (the result's last) and some operands."""

    def number() -> int:
        return rng.choice([-1, 1]) * (
            (1 << rng.choice([0, 1, 5, 8, 15, 16, 31, 32, 40, 63, 64, 90])) + rng.randrange(-2, 3)
        )

    code = rng.choice(sorted(ARITY))
    ranges = []
    for n in range(ARITY[code]):
        a, b = (rng.randrange(-2, 70), rng.randrange(-2, 70)) if code in ("shl", "shr") and n else (number(), number())
        ranges.append((min(a, b), max(a, b)))
    attr = (
        [rng.choice([1, 7, 8, 12, 16, 31, 32, 33, 40, 63, 64, 65, 70]), rng.random() < 0.5]
        if code in ("shl", "wrap")
        else None
    )
    operands = [[rng.choice([low, high, rng.randint(low, high)]) for low, high in ranges] for _ in range(6)]
    ranges.append(range_of(code, attr, ranges))
    return ir.Op(code, len(ranges) - 1, list(range(len(ranges) - 1)), attr), ranges, operands


def wide_literal(value: int) -> str:
    value %= 1 << 128
    return f"((__int128)((unsigned __int128){value >> 64:#x}ull << 64 | {value % (1 << 64):#x}ull))"


def test_the_c_text_computes_what_apply_defines(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine")
    rng = random.Random(20240411)
    functions, calls, expected, without = [], [], [], 0
    for number in range(4000):
        op, ranges, cases = random_operation(rng)
        expressions = Expressions(ranges)
        try:
            types = [expressions.type(n) for n in range(len(ranges))]
            expressions.names = {n: f"a{n}" for n in op.args}
            text = expressions.pure(op)
        except GenerationError:
            without += 1
            continue
        parameters = ", ".join(f"{types[n]} a{n}" for n in op.args)
        functions.append(f"static __int128 f{number}({parameters}) {{ return {text}; }} /* {op.code} {ranges} */")
        for case in cases:
            arguments = ", ".join(f"({types[n]}){wide_literal(value)}" for n, value in enumerate(case))
            calls.append(f"show(f{number}({arguments}));")
            expected.append((functions[-1], case, apply(op.code, op.attr, case)))
    assert without < 1000
    source, program = tmp_path / "ops.c", tmp_path / "ops"
    show = (
        "typedef unsigned long long u64;\n"
        'static void show(__int128 v) { printf("%016llx%016llx\\n", (u64)(v >> 64), (u64)v); }'
    )
    blocks = [calls[i : i + 500] for i in range(0, len(calls), 500)]
    source.write_text("\n".join([
        "#include <stdint.h>", "#include <stdio.h>", show, *functions,
        *(f"static void block{n}(void) {{ {' '.join(block)} }}" for n, block in enumerate(blocks)),
        f"int main(void) {{ {' '.join(f'block{n}();' for n in range(len(blocks)))} return 0; }}",
    ]))  # fmt: skip
    subprocess.run([compiler, "-O0", "-w", "-o", str(program), str(source)], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    found = [int(line, 16) - (1 << 128 if line[0] in "89abcdef" else 0) for line in lines]
    wrong = [(*e, f) for e, f in zip(expected, found, strict=True) if e[2] != f]
    assert wrong == []
