"""Core ibex-small takes the cycles of Ibex in RTL simulation, program by program (tests/timing/data/README.md)."""

from __future__ import annotations

import csv
import functools
import io
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from rvsim.machine import Machine
from rvsim.machine.elf import Program, parse_elf
from tests.machine.guest import MTVEC

pytestmark = pytest.mark.usefixtures("tier")

DATA = Path(__file__).with_name("data")
MAGIC = 0x1000_0000


class Row(NamedTuple):
    program: str
    cycles: int
    instret: int
    checksum: int


def _rows() -> list[Row]:
    with open(DATA / "ibex-small.csv", newline="") as file:
        return [
            Row(r["program"], int(r["cycles"]), int(r["instret"]), int(r["checksum"], 16)) for r in csv.DictReader(file)
        ]


ROWS = _rows()
# Ibex counts an ecall as retired. The Privileged Architecture (20240411, 3.3.1) has it not retire, and so do we.
ECALLS = {"ecall_mret": 32}


@functools.cache
def _archive() -> dict[str, bytes]:
    with tarfile.open(DATA / "rtl-programs.tar.xz") as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def _program(name: str) -> Program:
    return parse_elf(_archive()[f"elf/{name}.elf"], f"{name}.elf")


def _at_start(program: Program, core: str = "ibex-small") -> Machine:
    """A machine that stands at the START store, with memory behind the magic device."""
    # The first machine finds out how far that is: without memory there, the store faults.
    probe = Machine(program, devices=("none",), core=core)
    probe.csrs._write[MTVEC] = lambda value: None  # a handler of the program's would take the fault
    before = probe.run()
    assert before.message is not None and "at address 0x10000000" in before.message
    machine = Machine(program, devices=("none",), core=core, memory=[f"magic={MAGIC:#x},4"])
    machine.run(before.instructions)
    assert machine.pc == _address(program, "roi_start")
    return machine


def _address(program: Program, name: str) -> int:
    symbol = program.symbol(name)
    assert symbol is not None
    return symbol.address


@pytest.mark.parametrize("row", ROWS, ids=[each.program for each in ROWS])
def test_cycles_are_those_of_the_rtl(row: Row) -> None:
    program = _program(row.program)
    machine = _at_start(program)
    start = machine.run(0)
    # From START, which is the first of them, to before STOP.
    stop = machine.run(row.instret - ECALLS.get(row.program, 0))
    assert machine.pc == _address(program, "roi_stop")
    assert stop.cycles - start.cycles == row.cycles
    machine.run(6)  # STOP, four nops, EXIT
    assert machine.registers[10] == row.checksum


def test_every_row_is_held() -> None:
    assert len(ROWS) == 217
    assert {f"elf/{row.program}.elf" for row in ROWS} == {name for name in _archive() if name.startswith("elf/")}


@pytest.mark.parametrize("name", sorted(each for each in _archive() if each.startswith("traces/")))
def test_each_instruction_takes_its_cycles(name: str) -> None:
    trace = list(csv.DictReader(io.StringIO(_archive()[name].decode())))
    program = _program(name.split(".")[1])
    machine = _at_start(program)
    origin = machine.run(1).cycles
    for line, following in pairwise(trace[1:]):
        assert machine.pc == int(line["pc"], 16)
        # Limits cut blocks, so this also tests that a cut changes no count. An instruction retires in its last cycle.
        cycles = machine.run(1).cycles - origin
        if int(following["pc"], 16) - int(line["pc"], 16) in (2, 4):
            assert cycles == int(line["cycle"]), f"at {line['pc']}"
        # A jump retires before the fetch that it waits for, and we count that wait as its own.


def test_core_ideal_takes_a_cycle_an_instruction() -> None:
    for row in ROWS[::10]:
        machine = _at_start(_program(row.program), core="ideal")
        result = machine.run(row.instret)
        assert result.cycles == result.instructions
