"""Harts of fewer extensions, and reservations: the interpreter leaves the state that the evaluator leaves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.isa.ccode import instruction_class
from rvsim.isa.ir import Instruction
from tests.differential.program import ISA, encode
from tests.differential.test_instruction import DATA, ILLEGAL, PATTERN, TEXT, Pair, cases

MISALIGNED_FETCH = 0
BASE_SETS = ("RV32I", "Machine", "Zicsr", "Zifencei")
both = Pair("split")  # of all instructions


@pytest.fixture(scope="module")
def base() -> Pair:
    """A hart of RV32I alone: IALIGN is 32."""
    return Pair("split", "rv32i")


@pytest.mark.parametrize("instruction", [i for i in ISA.instructions if i.set == "RV32I"], ids=lambda i: i.name)
def test_instructions_without_compressed_ones(base: Pair, instruction: Instruction) -> None:
    misaligned = 0

    @settings(max_examples=30, database=None)
    @given(case=cases(instruction))
    def check(case: tuple[int, int, list[int], int]) -> None:
        nonlocal misaligned
        word, pc, registers, seed = case
        trap = base.run(word, pc & ~3, registers, seed)
        misaligned += trap is not None and trap[0] == MISALIGNED_FETCH

    check()
    if instruction_class(instruction) not in ("branch", "jump"):
        assert misaligned == 0


@pytest.mark.parametrize(
    ("word", "registers", "target"),
    [
        (encode("JAL", rd=1, imm=6), {}, TEXT + 6),
        (encode("JAL", rd=1, imm=8), {}, None),
        (encode("JALR", rd=1, rs1=10, imm=3), {10: TEXT}, TEXT + 2),
        (encode("JALR", rd=1, rs1=10, imm=5), {10: TEXT}, None),
        (encode("BEQ", rs1=10, rs2=11, imm=2), {}, TEXT + 2),
        (encode("BNE", rs1=10, rs2=11, imm=2), {}, None),  # not taken
        (encode("BGEU", rs1=10, rs2=11, imm=-2), {}, TEXT - 2),
    ],
)
def test_a_transfer_to_an_odd_halfword_traps_and_writes_nothing(
    base: Pair, word: int, registers: dict[int, int], target: int | None
) -> None:
    state = [registers.get(n, 0) for n in range(32)]
    trap = base.run(word, TEXT, state)
    assert trap == (None if target is None else (MISALIGNED_FETCH, target))
    if trap is not None:
        assert (base.hart.register(1), base.hart.pc) == (0, TEXT)


def test_disabled_instructions_are_illegal(base: Pair) -> None:
    disabled = [i for i in ISA.instructions if i.set not in BASE_SETS]
    assert len(disabled) > 80
    for i in disabled:
        assert base.run(i.match, TEXT, PATTERN) == (ILLEGAL, i.match), i.name


@settings(max_examples=300, database=None)
@given(
    reserved=st.integers(0, 12),
    address=st.integers(0, 12),
    steps=st.lists(st.sampled_from(("SC_W", "LR_W", "AMOADD_W", "SW")), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_reservations(reserved: int, address: int, steps: list[str], seed: int) -> None:
    """Load-reserved, then others of the same or another word; a trap that nobody takes keeps the reservation."""
    registers = list(PATTERN)
    registers[11] = seed
    words = {name: encode(name, rs1=10, rs2=11, rd=12) for name in ("SC_W", "AMOADD_W")}
    words |= {"LR_W": encode("LR_W", rs1=10, rd=12), "SW": encode("SW", rs1=10, rs2=11)}
    registers[10] = DATA + reserved
    both.run(words["LR_W"], TEXT, registers, seed)
    for name in steps:
        registers[10] = DATA + address
        trap = both.run(words[name], TEXT, registers, seed)
        if trap is None and name == "SC_W":
            stored = both.machine.read_memory(DATA + address, 4) == seed.to_bytes(4, "little")
            assert stored or both.hart.register(12) == 1


def test_a_store_conditional_succeeds_once() -> None:
    registers = list(PATTERN)
    registers[10] = DATA + 4
    # What another test reserved last is not of interest here.
    both.hart.forget_reservation()
    both.evaluator.reservation = 0
    load, store = encode("LR_W", rs1=10, rd=12), encode("SC_W", rs1=10, rs2=11, rd=12)
    results = []
    for word in (store, load, store, store):
        assert both.run(word, TEXT, registers) is None
        results.append(both.hart.register(12))
    assert (results[0], results[2:]) == (1, [0, 1])
