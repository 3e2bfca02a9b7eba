"""The generated interpreter, the evaluator and qemu-riscv32 agree on random programs over every RV32IMC instruction.

RVSIM_FUZZ_PROGRAMS sets how many programs of each kind run, RVSIM_FUZZ_SEED which; `make fuzz` runs them for long.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest

from tests.differential import compare
from tests.differential.generate import EXCLUDED, Generator
from tests.differential.program import BY_NAME, ISA, Code, encode, link

PROGRAMS = int(os.environ.get("RVSIM_FUZZ_PROGRAMS") or 320)
SEED = os.environ.get("RVSIM_FUZZ_SEED") or "rvsim"
# Parts run at the same time under pytest -n.
PARTS = 8
PART = -(-PROGRAMS // PARTS)


@pytest.mark.parametrize("part", range(PARTS))
def test_interpreter_evaluator_and_qemu_agree(part: int, require_peer: Callable[[str], str]) -> None:
    qemu = require_peer("qemu-riscv32")
    found = compare.check(SEED, part * PART, PART, qemu)
    assert found.difference is None, found.difference


@pytest.mark.parametrize("part", range(2))
def test_all_agree_on_programs_that_modify_themselves(part: int, require_peer: Callable[[str], str]) -> None:
    qemu = require_peer("qemu-riscv32")
    found = compare.check(f"{SEED}-modify", part * PART, PART, qemu, modify=True)
    assert found.difference is None, found.difference


@pytest.mark.parametrize("modify", [False, True])
def test_interpreter_and_evaluator_agree_on_traps_and_csrs(modify: bool) -> None:
    found = compare.check(f"{SEED}-traps", modify * PART, PART, None, modify=modify, traps=True)
    assert found.difference is None, found.difference


def test_default_amount_executes_every_instruction() -> None:
    missing = set(BY_NAME) - EXCLUDED
    for first in range(0, 320, compare.BATCH):
        image = link(compare.batch("rvsim", first, compare.BATCH))
        hart, stop = compare.run_evaluator(image, compare.LIMIT * compare.BATCH)
        assert stop == "exit"
        missing -= set(hart.executed)
        if not missing:
            return
    assert not missing


def test_excluded_are_machine_mode_traps_and_csrs() -> None:
    assert sorted(EXCLUDED) == [
        "CSRRC",
        "CSRRCI",
        "CSRRS",
        "CSRRSI",
        "CSRRW",
        "CSRRWI",
        "C_EBREAK",
        "C_UNIMP",
        "EBREAK",
        "MRET",
        "WFI",
    ]


def test_a_seed_gives_one_program() -> None:
    first, again, other = (Generator(label).program() for label in ("a/1", "a/1", "a/2"))
    assert first == again
    assert first.words != other.words


def test_encode_refuses_what_it_cannot_hold() -> None:
    assert encode("ADDI", rd=1, rs1=2, imm=-1) == 0xFFF10093
    with pytest.raises(ValueError, match="imm cannot hold"):
        encode("ADDI", imm=4096)
    with pytest.raises(ValueError, match="another instruction"):
        encode("C_MV", rd=1, rs2=0)
    with pytest.raises(ValueError, match="no field"):
        encode("C_NOP", rd=1)


def test_shrink_leaves_the_instructions_that_matter() -> None:
    program = Generator("shrink/0").program()
    # The difference that is looked for: some xor is executed.
    guilty = BY_NAME["XOR"]

    def differs(programs: list[Code]) -> str | None:
        hart, stop = compare.run_evaluator(link(programs), compare.LIMIT)
        return "xor" if stop == "exit" and hart.executed["XOR"] else None

    assert differs([program])
    small = compare.shrink(program, differs)
    left = Counter(
        w & guilty.mask == guilty.match
        for n, (_, w, _) in enumerate(small.words)
        if n in small.body and w not in (0x13, 1)
    )
    assert left[True] == 1
    assert left[False] <= 6  # what sets the pointer to the area for the registers


def test_all_instructions_of_the_description_are_known() -> None:
    assert set(BY_NAME) >= EXCLUDED and len(BY_NAME) == len(ISA.instructions)
