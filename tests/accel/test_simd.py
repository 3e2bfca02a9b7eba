"""The SIMD unit: its instructions in plain Python beside the evaluator, the interpreter and compiled code."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import accel.simd
from accel import registry
from accel.simd.coprocessor import GROUPS, SimdCoprocessor
from rvsim.errors import UsageError
from rvsim.isa import model
from rvsim.machine import extension
from tests.accel import reference
from tests.accel.reference import wrap
from tests.machine.guest import A0, A1, A2, EXIT, NOP, S0, T0, ZERO, addi, bne, flat, li, machine, sb

DESCRIPTION = Path(accel.simd.__file__).with_name("simd.core_desc")
INSTRUCTIONS = {i.name: i for i in model.load_extension(DESCRIPTION).instructions}
LOADED = functools.cache(extension.load_extension)  # parsing takes longest
ENGINES = ("evaluator", "interp", "jit")
OPERANDS = (A0, A1, A2, ZERO)

EDGES = [0, 1, 2, 127, 128, 255, 256, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1, 0x80808080, 0x7F7F7F7F]
WORDS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from(EDGES), st.integers(-40, 40).map(lambda n: n % 2**32))


def word(name: str, **fields: int) -> int:
    instruction = INSTRUCTIONS[name]
    return instruction.match | sum(f.insert(fields.get(f.name, 0)) for f in instruction.fields)


def int8(value: int, lane: int) -> int:
    return (((value >> 8 * lane) + 128) & 255) - 128


def int9(value: int) -> int:
    return ((value + 256) & 511) - 256


def high(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul, as its source words it: a nudge of the sign, then truncation."""
    if a == b == -(2**31):
        return 2**31 - 1
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    return abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)


def rounded(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT: to the nearest, ties away from zero."""
    return (2 * abs(x) + 2**exponent) // 2 ** (exponent + 1) * (1 if x >= 0 else -1)


class Unit:
    """The unit's registers, and what each instruction returns for rd (None: it has no rd)."""

    def __init__(self) -> None:
        self.acc, self.input_offset, self.output_offset, self.low, self.high = [0] * 4, 0, 0, -128, 127

    def registers(self) -> dict[str, list[int]]:
        return {
            "SIMD_ACC": self.acc,
            "SIMD_INPUT_OFFSET": [self.input_offset],
            "SIMD_OUTPUT_OFFSET": [self.output_offset],
            "SIMD_MIN": [self.low],
            "SIMD_MAX": [self.high],
        }

    def dot(self, a: int, b: int, offset: int) -> int:
        return sum((int8(a, lane) + offset) * int8(b, lane) for lane in range(4))

    def clamp(self, x: int) -> int:
        x += self.output_offset
        return self.low if x < self.low else min(x, self.high)

    def execute(self, name: str, a: int, b: int, field: int) -> int | None:
        """Operands as unsigned words; `field` is `acc` or `pair`."""
        x, y = wrap(a), wrap(b)
        if name == "SIMD_DOT":
            return self.dot(a, b, 0)
        if name == "SIMD_DOTX":
            return self.dot(a, b, self.input_offset)
        if name == "SIMD_MAC":
            self.acc[field] = wrap(self.acc[field] + self.dot(a, b, self.input_offset))
            return self.acc[field]
        if name == "SIMD_LANES":
            for lane in range(4):
                product = (int8(a, lane) + self.input_offset) * int8(b, lane)
                self.acc[lane] = wrap(self.acc[lane] + product)
        elif name == "SIMD_SET":
            self.acc[2 * field : 2 * field + 2] = [x, y]
        elif name == "SIMD_GET":
            return self.acc[field]
        elif name == "SIMD_TAKE":
            taken, self.acc[field] = self.acc[field], 0
            return taken
        elif name == "SIMD_OFFSETS":
            self.input_offset, self.output_offset = int9(a), int9(b)
        elif name == "SIMD_RANGE":
            self.low, self.high = int8(a, 0), int8(b, 0)
        elif name == "SIMD_HIGH":
            return high(x, y)
        elif name == "SIMD_ROUND":
            return rounded(x, b & 31)
        elif name == "SIMD_CLAMP":
            return self.clamp(x)
        else:
            assert name == "SIMD_REQUANTISE"
            left, right = (y & 31, 0) if y > 0 else (0, -y & 31)
            return self.clamp(rounded(high(wrap(self.acc[field] << left), x), right))
        return None


TABLE = 0x8001_0000
"""Where programs leave the low bytes of their results."""


def run(
    words: list[int], limit: int, registers: dict[int, int], engine: str
) -> tuple[list[int], dict[str, Any], bytes]:
    """All registers after at most `limit` instructions, the hart's and the unit's, and the table of results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVSIM_JIT", "128,0")  # compile before a block is entered
        patch.setattr(extension, "load_extension", LOADED)
        if engine == "evaluator":
            patch.setattr(extension, "MAX_ROUTINES", 0)
        m = machine(*words, isa_ext=[str(DESCRIPTION)], engine="jit" if engine == "jit" else "interp")
        for number, value in registers.items():
            m.hart.set_register(number, value)
        m.run(limit)
        return list(m.registers), m.context.registers(), m.read_memory(TABLE, 2048)


@st.composite
def steps(draw: st.DrawFn, name: str | None = None) -> tuple[str, dict[str, int]]:
    name = name or draw(st.sampled_from(sorted(INSTRUCTIONS)))
    fields = {field.name: 0 for field in INSTRUCTIONS[name].fields}
    for field in fields:
        choices = {"acc": range(4), "pair": range(2)}.get(field, OPERANDS)
        fields[field] = draw(st.sampled_from(choices))
    return name, fields


def held_to_the_statement(program: list[tuple[str, dict[str, int]]], values: list[int], rounds: int) -> None:
    """Run `program` some times over on each engine, and the statement of it beside."""
    unit, x = Unit(), dict(zip(OPERANDS, [*values, 0], strict=True))
    for name, fields in program * rounds:
        answer = unit.execute(
            name, x[fields.get("rs1", ZERO)], x[fields.get("rs2", ZERO)], fields.get("acc", fields.get("pair", 0))
        )
        if answer is not None and fields["rd"] != ZERO:
            x[fields["rd"]] = answer % 2**32
    words = [word(name, **fields) for name, fields in program]
    loop = flat([*words, addi(T0, T0, -1), bne(T0, ZERO, -4 * (len(words) + 1)), EXIT])
    for engine in ENGINES:
        start = {T0: rounds, **dict(zip(OPERANDS[:3], values, strict=True))}
        registers, own, _ = run(loop, rounds * (len(words) + 2), start, engine)
        assert {n: registers[n] for n in OPERANDS} == x, engine
        assert own == unit.registers(), engine


def test_all_of_them_are_routines() -> None:
    """One that the evaluator executed would be a thousand times as slow."""
    m = machine(NOP, isa_ext=[str(DESCRIPTION)])
    assert [name for n, name in enumerate(INSTRUCTIONS) if m.routine(n, word(name, rd=1, rs1=2, rs2=3), 0) < 0] == []


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
@settings(max_examples=12, deadline=None)
@given(data=st.data(), values=st.lists(WORDS, min_size=3, max_size=3), offsets=st.lists(WORDS, min_size=2, max_size=2))
def test_each_instruction(name: str, data: st.DataObject, values: list[int], offsets: list[int]) -> None:
    """Twice, from registers that an instruction before has set."""
    before = data.draw(st.sampled_from(["SIMD_OFFSETS", "SIMD_RANGE", "SIMD_SET", "SIMD_MAC"])), {
        "rs1": A0, "rs2": A1, "rd": ZERO, "acc": data.draw(st.integers(0, 3)), "pair": 1,
    }  # fmt: skip
    first = before[0], {k: v for k, v in before[1].items() if k in {f.name for f in INSTRUCTIONS[before[0]].fields}}
    held_to_the_statement([first, data.draw(steps(name))], values, 2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps(), min_size=1, max_size=12), st.lists(WORDS, min_size=3, max_size=3))
def test_sequences(program: list[tuple[str, dict[str, int]]], values: list[int]) -> None:
    held_to_the_statement(program, values, 3)


@pytest.mark.parametrize("seed", range(4))
def test_random_words(seed: int) -> None:
    """400 instructions on operands that are drawn anew: what hypothesis' simple values would miss."""
    draw = random.Random(seed)
    unit, x, results = Unit(), dict.fromkeys(OPERANDS, 0), bytearray(2048)
    words = li(S0, TABLE)
    for step in range(400):
        for number in (A1, A2):
            # Operands of every magnitude: shifts and clamps act on small ones.
            value = wrap(draw.getrandbits(32)) >> draw.choice([0, 0, 8, 16, 24, 26]) & 0xFFFF_FFFF
            words += li(number, value)
            x[number] = value
        name = draw.choice(sorted(INSTRUCTIONS))
        choices = {"rd": [A0], "rs1": [A0, A1, A2], "rs2": [A1, A2], "acc": range(4), "pair": range(2)}
        fields = {field.name: draw.choice(choices[field.name]) for field in INSTRUCTIONS[name].fields}
        answer = unit.execute(
            name, x[fields.get("rs1", ZERO)], x[fields.get("rs2", ZERO)], fields.get("acc", fields.get("pair", 0))
        )
        if answer is not None:
            x[A0] = answer % 2**32
        results[step] = x[A0] & 255
        words += [word(name, **fields), sb(A0, S0, step)]
    for engine in ENGINES:
        registers, own, found = run(words, len(words), {}, engine)
        assert ({n: registers[n] for n in OPERANDS}, own, found) == (x, unit.registers(), results), engine


def test_requantise_is_tflites() -> None:
    """`simd.requantise` with its offset and clamp against MultiplyByQuantizedMultiplier of tests/accel/reference.py."""
    draw = random.Random(1)
    words, results = li(S0, TABLE), bytearray(2048)
    for case in range(300):
        shift = draw.randrange(-31, 31)
        # Accumulators whose outputs do not all saturate.
        acc = wrap(draw.getrandbits(32)) >> min(31, max(0, 24 + shift + draw.randrange(-2, 3)))
        multiplier, zero_point = draw.randrange(2**30, 2**31), draw.randrange(-128, 128)
        low, high_ = sorted(draw.randrange(-128, 128) for _ in range(2))
        words += [*li(A0, acc), *li(A1, zero_point), word("SIMD_SET", rs1=ZERO, rs2=A0, pair=1)]
        words += [word("SIMD_OFFSETS", rs1=ZERO, rs2=A1), *li(A1, low), *li(A2, high_)]
        words += [word("SIMD_RANGE", rs1=A1, rs2=A2), *li(A1, multiplier), *li(A2, shift)]
        words += [word("SIMD_REQUANTISE", rd=A0, rs1=A1, rs2=A2, acc=3), sb(A0, S0, case)]
        results[case] = min(max(reference.requantise(acc, multiplier, shift) + zero_point, low), high_) & 255
    assert len(set(results)) > 100
    for engine in ENGINES:
        assert run(words, len(words), {}, engine)[2] == results, engine


# Worked by hand: (instruction, rs1, rs2, input offset, rd).
EXAMPLES = [
    ("SIMD_DOT", 0x7F80_FF01, 0x7F80_0203, 0, 127 * 127 + 128 * 128 - 2 + 3),
    ("SIMD_DOTX", 0x7F80_FF01, 0x0100_0001, 128, 255 + 129),
    ("SIMD_MAC", 0x8080_8080, 0x7F7F_7F7F, 128, 0),
    ("SIMD_HIGH", 0x8000_0000, 0x8000_0000, 0, 0x7FFF_FFFF),
    ("SIMD_HIGH", 1, 1 << 30, 0, 1),  # 0.5: away from zero
    ("SIMD_HIGH", -1 % 2**32, 1 << 30, 0, 0),  # -0.5: gemmlowp's truncation
    ("SIMD_ROUND", 5, 1, 0, 3),
    ("SIMD_ROUND", -5 % 2**32, 1, 0, -3 % 2**32),
    ("SIMD_ROUND", -5 % 2**32, 32, 0, -5 % 2**32),  # five bits of the exponent
    ("SIMD_CLAMP", 200, 0, 0, 127),
]


@pytest.mark.parametrize(("name", "a", "b", "offset", "after"), EXAMPLES)
def test_examples(name: str, a: int, b: int, offset: int, after: int) -> None:
    program = [word("SIMD_OFFSETS", rs1=A0, rs2=ZERO), word(name, rd=A0, rs1=A1, rs2=A2)]
    for engine in ENGINES:
        assert run(program, 2, {A0: offset, A1: a, A2: b}, engine)[0][A0] == after, engine


# ---------------------------------------------------------------------------------------------------------- the preset


def test_the_preset() -> None:
    unit = registry.load("simd")
    assert isinstance(unit, SimdCoprocessor)
    assert unit.capability == 2 << 24 | 1 and unit.isa().name == "XSimd" and unit.major_opcode is None
    assert set(GROUPS) == set(INSTRUCTIONS)
    cycles = {name: unit.latency(name) + 1 for name in ("SIMD_DOT", "SIMD_MAC", "SIMD_HIGH", "SIMD_REQUANTISE")}
    assert cycles == {"SIMD_DOT": 1, "SIMD_MAC": 1, "SIMD_HIGH": 3, "SIMD_REQUANTISE": 4}


def test_every_number_of_the_preset_has_its_source() -> None:
    lines = DESCRIPTION.with_name("presets").joinpath("simd.toml").read_text().splitlines()
    assert all("# " in line for line in lines if "=" in line and not line.startswith("kind"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"dot_cycle": "3"},
            "--set accel.dot_cycle: expected a parameter of the SIMD unit, found the unknown key 'dot_cycle'; "
            "did you mean 'dot_cycles'?",
        ),
        (
            {"dot_cycles": "0"},
            "--set accel.dot_cycles: key 'dot_cycles': expected an integer from 1 to 1000 (cycles), found 0",
        ),
        ({"kind": "conv"}, "--set accel.kind: key 'kind': expected 'simd', found 'conv'"),
    ],
)
def test_messages(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.load("simd", overrides)
    assert str(caught.value) == message


def test_a_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('kind = "simd"\n')
    with pytest.raises(UsageError, match=r"mine\.toml: expected the key 'dot_cycles' \(cycles\), found none"):
        registry.load(str(path))


@pytest.mark.parametrize(("name", "cycles"), [("SIMD_MAC", 1), ("SIMD_HIGH", 3), ("SIMD_REQUANTISE", 4)])
def test_cycles_are_the_presets(name: str, cycles: int) -> None:
    words = [word(name, rd=A0, rs1=A1, rs2=A2)] * 8
    with_unit, without = (machine(*body, EXIT, accel="simd").run().cycles for body in (words, [NOP] * 8))
    assert with_unit - without == 8 * (cycles - 1)
