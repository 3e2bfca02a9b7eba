"""Compiled code counts, traps and stops as the interpreter does, and its bytes are the instructions that were meant."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kernels
from rvsim import Machine
from rvsim.errors import UsageError
from tests.conftest import ROOT, find_peer

PROGRAMS = sorted([*(e.path for e in kernels.examples()), *(ROOT / "kernels" / "bench").glob("*_s.elf")])
# How blocks come to be compiled: by themselves, after a few instructions, each before it is entered.
HOW = ("", "128,1", "128,0")


@pytest.fixture(params=HOW, ids=lambda how: how or "default")
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVSIM_ENGINE", "jit")
    monkeypatch.setenv("RVSIM_JIT", request.param)
    monkeypatch.setenv("RVSIM_LOOPS", "0")  # they are in test_loops.py; they end blocks elsewhere
    if Machine.from_elf(PROGRAMS[0]).engine != "jit":
        pytest.skip("no compiled code on this processor or system")


def counts(machine: Machine) -> dict[str, Any]:
    result = machine.result().to_dict()
    return {key: value for key, value in result.items() if key not in ("engine", "host_seconds")}


def profile(machine: Machine) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Executions and cycles by (pc, instruction, size): an address has as many rows as the blocks that hold it."""
    totals: dict[tuple[int, int, int], tuple[int, int]] = {}
    for pc, instruction, size, executions, cycles in machine.hart.profile():
        before = totals.get((pc, instruction, size), (0, 0))
        totals[pc, instruction, size] = (before[0] + executions, before[1] + cycles)
    return totals


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_count_is_the_interpreters(compiled: None, path: Path) -> None:
    machines = [Machine.from_elf(path, engine=engine, stdout=lambda data: None) for engine in ("interp", "jit")]
    for machine in machines:
        machine.run(20_000_000)
    assert machines[0].result().engine == "interpreter" and machines[1].result().engine == "jit"
    assert counts(machines[0]) == counts(machines[1])
    assert profile(machines[0]) == profile(machines[1])
    assert machines[0].registers == machines[1].registers


@pytest.mark.parametrize("limit", [1, 127, 1000, 40_001, 123_457])
def test_a_limit_is_exact(compiled: None, limit: int) -> None:
    path = ROOT / "kernels" / "bench" / "branchy_s.elf"
    machines = [Machine.from_elf(path, engine=engine, stdout=lambda data: None) for engine in ("interp", "jit")]
    for machine in machines:
        for _ in range(5):
            machine.resume(limit)
    assert counts(machines[0]) == counts(machines[1])
    assert machines[0].instructions == 5 * limit
    assert (machines[0].pc, machines[0].registers) == (machines[1].pc, machines[1].registers)


READINGS: dict[str, Callable[[Machine], object]] = {
    "cycles": lambda machine: machine.cycles,
    "traffic": lambda machine: machine.hart.traffic(),
    "profile": profile,
    "instruction counts": lambda machine: machine.hart.instruction_counts(),
    "taken branches": lambda machine: machine.hart.taken_branches,
}


@pytest.mark.parametrize("reading", list(READINGS))
def test_each_reading_is_up_to_date_by_itself(compiled: None, reading: str) -> None:
    """No other one has brought the counts of blocks up to date before it."""
    path = ROOT / "kernels" / "bench" / "branchy_s.elf"
    machines = [Machine.from_elf(path, engine=engine, stdout=lambda data: None) for engine in ("interp", "jit")]
    for _ in range(3):
        for machine in machines:
            machine.resume(50_021)
        assert READINGS[reading](machines[0]) == READINGS[reading](machines[1])


def test_code_is_what_was_meant(compiled: None, tmp_path: Path) -> None:
    """GNU objdump finds instructions from end to end, and all jumps within a block at the start of one."""
    objdump = find_peer("objdump")
    if objdump is None or "elf64-x86-64" not in subprocess.run([objdump, "-i"], capture_output=True, text=True).stdout:
        pytest.skip("no objdump for x86-64 on this machine (apt-get install binutils)")
    machine = Machine.from_elf(ROOT / "kernels" / "bench" / "branchy_s.elf", stdout=lambda data: None)
    machine.resume(500_000)
    blocks = machine.hart.compiled()
    assert len(blocks) > 20
    for pc, code in blocks[:60]:
        file = tmp_path / "code"
        file.write_bytes(code)
        command = [objdump, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn", str(file)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "(bad)" not in text, (hex(pc), text)
        lines = dict(re.findall(r"^\s*([0-9a-f]+):\t(.*)$", text, re.M))
        for target in re.findall(r"\bj\w+\s+0x([0-9a-f]+)", "\n".join(lines.values())):
            assert target in lines or int(target, 16) >= len(code), (hex(pc), target, text)


def test_auto_compiles_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RVSIM_ENGINE", raising=False)
    monkeypatch.delenv("RVSIM_JIT", raising=False)
    assert Machine.from_elf(PROGRAMS[0], stdout=lambda data: None).run().engine == "jit"
    monkeypatch.setenv("RVSIM_JIT", "0")
    machine = Machine.from_elf(PROGRAMS[0], stdout=lambda data: None)
    assert (machine.run().engine, machine.warnings) == ("interpreter", [])


def test_rvsim_jit_0_leaves_it_to_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RVSIM_JIT", "0")
    machine = Machine.from_elf(PROGRAMS[0], engine="jit", stdout=lambda data: None)
    assert machine.run().engine == "interpreter"
    assert any("RVSIM_JIT=0 rules out compiled code" in warning for warning in machine.warnings)


@pytest.mark.parametrize(("engine", "how"), [("fast", ""), ("jit", "1,"), ("jit", "a,b"), ("jit", "on")])
def test_unknown_engines_are_refused(monkeypatch: pytest.MonkeyPatch, engine: str, how: str) -> None:
    monkeypatch.setenv("RVSIM_JIT", how)
    with pytest.raises(UsageError, match="expected"):
        Machine.from_elf(PROGRAMS[0], engine=engine)
