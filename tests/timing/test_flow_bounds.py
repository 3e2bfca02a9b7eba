"""Programs made to have more ways, or more states of the pipeline, than can be followed: answered all the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rvsim.asm import assemble
from rvsim.errors import RvsimError
from rvsim.machine import Machine, RunResult, counted, machine
from rvsim.timing import effort, flow, jumps
from rvsim.timing.effort import Effort
from rvsim.timing.loopnest import natural_loops

# An interpreter whose every handler jumps to any handler: ways grow as the square of the handlers, solving as the cube.
HANDLER = """
h{n}:   lw a1, {slow}(s0)
        {filler}
        div a2, s1, a1
        andi a3, s1, {bit}
        beqz a3, 1f
        addi a4, a2, 1
1:      addi s2, s2, -1
        beqz s2, end
        mul s1, s1, s3
        addi s1, s1, 1977
        srli a0, s1, 8
        remu a0, a0, s4
        slli a0, a0, 2
        add a0, a0, s0
        lw a0, 0(a0)
        jr a0
"""


def program(path: Path, handlers: int, rounds: int) -> Path:
    shuffled = random.Random(handlers)
    source = (
        f".globl _start\n_start: la s0, table\nli s1, 12345\nli s2, {rounds}\nli s3, 1103515245\nli s4, {handlers}\n"
    )
    for n in range(handlers):
        filler = "\n".join(["nop"] * shuffled.randrange(4))
        bit = 1 << shuffled.randrange(4, 11)
        source += HANDLER.format(n=n, slow=4 * shuffled.randrange(min(handlers, 500)), filler=filler, bit=bit)
    source += "end: li a7, 93\nli a0, 0\necall\n.balign 4\ntable:\n"
    source += "".join(f".word h{n}\n" for n in range(handlers))
    path.write_bytes(assemble(source, text=0x10000))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """One of a few handlers, by each kind of timing."""
    elf = program(tmp_path_factory.mktemp("bounds") / "few.elf", 24, 20_000)
    return {timing: Machine.from_elf(elf, core="cv32e40p", timing=timing).run() for timing in ("exact", "table")}


def test_ways_without_bounds(runs: dict[str, RunResult]) -> None:
    assert runs["table"].retime().cycles == pytest.approx(runs["exact"].cycles, rel=1e-4)


@pytest.mark.parametrize(
    ("where", "name", "value", "off"),
    [
        (jumps, "MOST_PAIRS", 100, 0.01),  # which handler follows which is not known
        (flow, "WORK", 5000, 0.01),  # states are found, but not solved for
        (flow, "WORK", 100, 0.1),  # one state for each instruction
        (effort, "MOST_STEPS", 10, 0.01),  # no loops
    ],
)
def test_less_effort_is_less_exact_and_said(
    where: Any, name: str, value: int, off: float, runs: dict[str, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "MOST_STEPS":
        monkeypatch.setattr(Effort.__init__, "__defaults__", (value,))
    else:
        monkeypatch.setattr(where, name, value)
    with pytest.warns(UserWarning, match="more ways through it than are followed"):
        result = runs["table"].retime()
    assert result.cycles == pytest.approx(runs["exact"].cycles, rel=off)


def test_hundreds_of_handlers_take_no_longer_than_a_program(tmp_path: Path) -> None:
    """A thousand took minutes before there were bounds; the cycles are nearly as exact."""
    elf = program(tmp_path / "many.elf", 370, 10_000)
    exact = Machine.from_elf(elf, core="cv32e40p", timing="exact").run()
    with pytest.warns(UserWarning, match="more ways"):
        result = exact.retime()
    assert result.cycles == pytest.approx(exact.cycles, rel=0.01)


def test_the_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "STEPPED", 1000)
    monkeypatch.setattr(flow, "WORK", 5000)
    m = Machine.from_elf(program(tmp_path / "few.elf", 24, 2000), core="cv32e40p", timing="fast")
    result = m.run()
    assert result.timing == "fast"
    assert [each for each in m.warnings if effort.CUT in each] == [f"--timing fast: {effort.CUT}"]


def test_without_memory_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run counted is told all the same, with cycles from the table, and the run says so."""

    def no_memory(*arguments: object) -> None:
        raise MemoryError

    elf = program(tmp_path / "few.elf", 24, 2000)
    whole = Machine.from_elf(elf, core="cv32e40p", timing="exact").run()
    monkeypatch.setattr(machine, "STEPPED", 1000)
    monkeypatch.setattr(counted, "expect", no_memory)
    m = Machine.from_elf(elf, core="cv32e40p", timing="fast")
    result = m.run()
    assert (result.timing, result.instructions, result.classes) == ("table", whole.instructions, whole.classes)
    assert result.cycles == sum(each.cycles for each in result.functions) > result.instructions
    assert sum(cycles for _, cycles in m.instruction_counts().values()) == result.cycles
    assert m.warnings[-1].endswith("cycles are those of the core's table; --timing exact needs no such memory")
    with pytest.raises(RvsimError, match="retime: the host has no memory for the states of the pipeline"):
        whole.retime()


def test_all_that_jumped_and_all_that_was_reached_is_told_of_whatever_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jumps, "MOST_PAIRS", 50)
    found = {4 * n: jumps.Jump("jalr", 4 * n + 4, 0, 0, 10, 7 + n) for n in range(40)}
    total = sum(jump.count for jump in found.values())
    entered = {4000 + 4 * n: total // 20 for n in range(20)}
    bounded = Effort()
    led = jumps.match(found, entered, [*found, *entered], bounded)
    assert bounded.cut
    for pc, jump in found.items():
        assert sum(led[pc].values()) == pytest.approx(jump.count)
    for target in entered:
        assert sum(each.get(target, 0) for each in led.values()) == pytest.approx(total / 20)
    assert sum(len(each) for each in led.values()) <= 50 + len(found) + len(entered)


def test_loops_of_a_graph_that_takes_long_are_left_out() -> None:
    """A chain whose every node may also leave to the end: each of those ways is followed back to the chain's begin."""
    chain: dict[int, list[int]] = {n: [n + 1, 3001] for n in range(3000)} | {3000: [3001], 3001: [0]}
    unbounded, bounded = Effort(), Effort(10_000)
    assert [head for head, _ in natural_loops(chain, [0], unbounded)] == [0] and not unbounded.cut
    assert natural_loops(chain, [0], bounded) == [] and bounded.cut
