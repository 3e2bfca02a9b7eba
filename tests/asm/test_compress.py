"""Compression changes what an instruction looks like, never what it does: both sides of each rule are executed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm.compress import GROWS, INVERSE, compress, grow, reserved, rules
from rvsim.asm.instructions import instruction_set
from rvsim.asm.operands import Coded, Immediate, Register
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import find
from rvsim.isa.evaluate import Trap, execute

ISA = instruction_set("rv32imac_zba_zbb_zbs_zcb")
RULES = [rule for each in rules().values() for rule in each]
MASK = 0xFFFF_FFFF


class Hart:
    """Registers, and a memory whose content follows from the address; everything done is written down."""

    def __init__(self, registers: list[int]) -> None:
        self.x = [0, *registers[1:]]
        self.log: list[tuple] = []

    def get(self, file, index):
        return self.x[index]

    def put(self, file, index, value):
        if index:
            self.x[index] = value & MASK

    def load(self, space, address, size, big_endian):
        self.log.append(("load", address & MASK, size))
        return (address * 0x9E37_79B9 >> 3) & ((1 << 8 * size) - 1)

    def store(self, space, address, value, size, big_endian):
        self.log.append(("store", address & MASK, value & ((1 << 8 * size) - 1), size))

    def call(self, name, arguments):
        self.log.append((name, *arguments))
        return 0


def outcome(instruction, word: int, registers: list[int]):
    hart = Hart(registers)
    try:
        target = execute(instruction, word, 0x1000, hart)
    except Trap as trap:
        target = ("trap", trap.cause)
    # The one thing that differs: the address behind, which links and falls through.
    return hart.x, hart.log, target


def with_fields(template, values: dict[str, int]) -> Coded:
    coded = Coded(template.instruction, template.match, dict(values))
    for name, value in values.items():
        coded.word |= (
            template.fields[name].insert(value if template.by_field[name].form != "u" else value << 12)
            if isinstance(template.by_field[name], Immediate)
            else template.fields[name].insert(value)
        )
    return coded


@st.composite
def wide(draw, rule):
    """Fields of a 32-bit instruction that often meet the rule's conditions."""
    template = ISA.templates[rule.wide][0]
    values = {}
    for name, element in template.by_field.items():
        if isinstance(element, Register):
            values[name] = draw(st.sampled_from([0, 1, 2, 8, 9, 15]) | st.integers(0, 31))
        elif element.form == "u":
            values[name] = draw(st.sampled_from([1, 31, 32, 0xFFFFF, 0xFFFE0]) | st.integers(0, 0xFFFFF))
        elif element.form == "t":
            values[name] = 2 * draw(st.integers(-128, 127))
        else:
            small = st.sampled_from([0, 4, 8, 16, -16, 31, -1, 255, 252, 124, 1, 2, 3])
            values[name] = max(element.low, min(element.high, draw(small | st.integers(element.low, element.high))))
    for name, equal, other in rule.conditions:
        if equal:
            values[name] = int(other) if other.lstrip("-").isdigit() else values[other]
    return template, values


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.wide}-{r.narrow}")
@settings(max_examples=60)
@given(data=st.data(), registers=st.lists(st.integers(0, MASK) | st.sampled_from([0, 5]), min_size=32, max_size=32))
def test_both_forms_do_the_same(rule, data, registers):
    template, values = data.draw(wide(rule))
    coded = with_fields(template, values)
    if template.instruction.mnemonic in INVERSE:
        # A target is symbolic: compress the rest, then put the distance into both.
        element = next(e for e in template.by_field.values() if isinstance(e, Immediate))
        coded.values.pop(element.field.name)
        coded.symbolic.append((element, "target", 0, 0))
    small = compress(coded, template, ISA.narrow)
    if small is None:
        return
    word = small.word
    if small.symbolic:
        word |= small.symbolic[0][0].insert(values["imm"])
    assert find(bundled("rv32"), word).mnemonic in (small.instruction.mnemonic, "c.nop")
    assert not reserved(small.instruction, word)
    assert outcome(small.instruction, word, registers) == outcome(template.instruction, coded.word, registers)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.wide}-{r.narrow}")
def test_every_rule_is_used(rule):
    """Some operands reach it: no rule before it takes all of them, and its instruction is never a reserved one."""
    template = ISA.templates[rule.wide][0]
    found = set()
    for seed in range(3000):
        values = {}
        for n, (name, element) in enumerate(template.by_field.items()):
            if isinstance(element, Register):
                values[name] = (0, 2, 8, 9, 5)[seed // 5**n % 5]
            elif element.form != "t":
                values[name] = (0, 1, 16, -1, 255, 4, 31, 64)[seed % 8]
        if any(
            not isinstance(e, Register) and e.form != "t" and not e.fits(values[n])
            for n, e in template.by_field.items()
        ):
            continue
        for name, equal, other in rule.conditions:
            if equal:
                values[name] = int(other) if other.lstrip("-").isdigit() else values[other]
        coded = with_fields(template, values)
        for element in template.by_field.values():
            if isinstance(element, Immediate) and element.form == "t":
                coded.symbolic.append((element, "target", 0, 0))
        small = compress(coded, template, ISA.narrow)
        if small is not None:
            found.add(small.instruction.mnemonic)
    assert rule.narrow in found


@pytest.mark.parametrize("name", GROWS)
@given(
    register=st.integers(0, 7),
    distance=st.integers(-100, 100),
    registers=st.lists(st.integers(0, MASK) | st.just(0), min_size=32, max_size=32),
)
def test_a_branch_does_the_same_when_it_has_grown(name, register, distance, registers):
    template = ISA.narrow[name]
    element = next(e for e in template.by_field.values() if isinstance(e, Immediate))
    coded = with_fields(template, {"rs1": register} if "rs1" in template.fields else {})
    coded.symbolic.append((element, "target", 0, 0))
    large = grow(coded, ISA.templates[GROWS[name][0]][0])
    before = outcome(coded.instruction, coded.word | element.insert(2 * distance), registers)
    after = outcome(large.instruction, large.word | large.symbolic[0][0].insert(2 * distance), registers)
    if name == "c.jal":  # the link is behind an instruction of another size
        assert after[0][1] == before[0][1] + 2
        after[0][1] = before[0][1]
    assert after == before


@pytest.mark.parametrize("name", [n for n in INVERSE if not n.startswith("c.")])
@given(registers=st.lists(st.integers(0, MASK) | st.just(0), min_size=32, max_size=32))
def test_inverse_branches_are_taken_when_the_other_is_not(name, registers):
    fields = {"rs1": 5, "rs2": 6, "imm": 64}
    taken = [
        outcome(t.instruction, with_fields(t, fields).word, registers)[2] is not None
        for t in (ISA.templates[name][0], ISA.templates[INVERSE[name]][0])
    ]
    assert taken[0] != taken[1]
