"""Interpreter, compiled code, evaluator and qemu-riscv32 agree on random programs over every instruction.

RVSIM_FUZZ_PROGRAMS sets how many programs of each kind the evaluator runs, RVSIM_FUZZ_SEED which; `make fuzz` runs them
for long.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from rvsim.isa.select import DEFAULT
from tests.differential import compare
from tests.differential.compare import Kind
from tests.differential.fuzz import FULL_ISA, QEMU_ISA
from tests.differential.generate import EXCLUDED, Generator, choice
from tests.differential.program import BY_NAME, ISA, Code, encode, link, parse
from tests.differential.summary import COMPARED

PROGRAMS = int(os.environ.get("RVSIM_FUZZ_PROGRAMS") or 320)
SEED = os.environ.get("RVSIM_FUZZ_SEED") or "rvsim"
# Parts run at the same time under pytest -n.
PARTS = 8
PART = -(-PROGRAMS // PARTS)
ISAS = (DEFAULT, QEMU_ISA, FULL_ISA)
FOUND = Path(__file__).with_name("found")


class Share(NamedTuple):
    """Programs of one kind against qemu-riscv32 alone: parts, programs a part, instructions a part has at least."""

    kind: Kind
    parts: int
    programs: int
    instructions: int


# What a run of the tests owes: two million random instructions that qemu-riscv32 executes too.
OWED = 2_000_000
SHARES = (
    Share(Kind(rounds=4, qemu_only=True), 2, 64, 90_000),
    Share(Kind(rounds=4, qemu_only=True, isa=QEMU_ISA), 6, 64, 90_000),
    Share(Kind(signals=True, rounds=4, qemu_only=True), 2, 64, 180_000),
    Share(Kind(signals=True, rounds=4, qemu_only=True, isa=QEMU_ISA), 2, 64, 180_000),
    Share(Kind(signals=True, modify=True, rounds=4, qemu_only=True, isa=QEMU_ISA), 4, 40, 150_000),
)


@pytest.mark.parametrize(
    ("share", "part"),
    [(s, n) for s in SHARES for n in range(s.parts)],
    ids=lambda v: v.kind.name if isinstance(v, Share) else str(v),
)
def test_interpreter_and_qemu_agree(
    share: Share, part: int, require_peer: Callable[[str], str], record_property: Callable[[str, object], None]
) -> None:
    found = compare.check(SEED, part * share.programs, share.programs, require_peer("qemu-riscv32"), share.kind)
    assert found.difference is None, found.difference
    assert found.instructions >= share.instructions
    record_property(COMPARED, found.instructions)


def test_qemu_executes_two_million_instructions() -> None:
    assert sum(s.parts * s.instructions for s in SHARES) >= OWED


@pytest.mark.parametrize("part", range(PARTS))
def test_interpreter_evaluator_and_qemu_agree(
    part: int, require_peer: Callable[[str], str], record_property: Callable[[str, object], None]
) -> None:
    qemu = require_peer("qemu-riscv32")
    found = compare.check(f"{SEED}-all", part * PART, PART, qemu, Kind(rounds=1 + part % 2, isa=ISAS[part % len(ISAS)]))
    assert found.difference is None, found.difference
    record_property(COMPARED, found.instructions)


@pytest.mark.parametrize("signals", [False, True])
def test_all_agree_on_programs_that_modify_themselves(signals: bool, require_peer: Callable[[str], str]) -> None:
    qemu = require_peer("qemu-riscv32")
    found = compare.check(
        f"{SEED}-modify", signals * PART, PART, qemu, Kind(modify=True, signals=signals, isa=QEMU_ISA)
    )
    assert found.difference is None, found.difference


@pytest.mark.parametrize("modify", [False, True])
def test_interpreter_and_evaluator_agree_on_traps_and_csrs(modify: bool) -> None:
    found = compare.check(
        f"{SEED}-traps", modify * PART, PART, None, Kind(modify=modify, traps=True, isa=FULL_ISA if modify else DEFAULT)
    )
    assert found.difference is None, found.difference


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.txt")), ids=lambda p: p.stem)
def test_what_once_differed_agrees(path: Path, require_peer: Callable[[str], str]) -> None:
    """Programs that fuzzing made small; the first line says what they found."""
    assert compare.replay(path.read_text(), require_peer("qemu-riscv32")) is None


@pytest.mark.parametrize(
    "kind", [Kind(), Kind(modify=True, rounds=3), Kind(signals=True, isa=QEMU_ISA), Kind(traps=True)]
)
def test_a_listing_gives_the_program_again(kind: Kind) -> None:
    assert Kind.parse(kind.name) == kind
    (program,) = compare.batch("listing", 3, 1, kind)
    assert parse(program.listing()).listing() == program.listing()
    first, again = (
        compare.run_machine(link([p], kind.modify), compare.LIMIT, isa=kind.isa)
        for p in (program, parse(program.listing()))
    )
    assert first[2] == again[2]


def test_default_amount_executes_every_instruction() -> None:
    missing = choice(FULL_ISA).names - EXCLUDED
    for first in range(0, 320, compare.BATCH):
        machine, result, _ = compare.run_machine(
            link(compare.batch(SEED, first, compare.BATCH, Kind(isa=FULL_ISA))),
            compare.LIMIT * compare.BATCH,
            isa=FULL_ISA,
        )
        assert result.stop_reason == "exit"
        missing -= {name for name, times in compare.executed(machine).items() if times}
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
