"""Core ibex-small takes the cycles of Ibex in RTL simulation, program by program (tests/timing/data/README.md)."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import pytest

from rvsim.machine import Machine
from rvsim.machine.elf import Program
from tests.machine.guest import MTVEC
from tests.timing.rtl import ECALLS, Row, archive, program, rows

pytestmark = pytest.mark.usefixtures("tier")

MAGIC = 0x1000_0000
ROWS = [row for row in rows() if (row.core, row.memory) == ("ibex-small", "ideal")]


def _at_start(elf: Program, core: str = "ibex-small") -> Machine:
    """A machine that stands at the START store, with memory behind the magic device."""
    # The first machine finds out how far that is: without memory there, the store faults.
    probe = Machine(elf, devices=("none",), core=core)
    probe.csrs._write[MTVEC] = lambda value: None  # a handler of the program's would take the fault
    before = probe.run()
    assert before.message is not None and "at address 0x10000000" in before.message
    machine = Machine(elf, devices=("none",), core=core, memory=[f"magic={MAGIC:#x},4"])
    machine.run(before.instructions)
    assert machine.pc == _address(elf, "roi_start")
    return machine


def _address(elf: Program, name: str) -> int:
    symbol = elf.symbol(name)
    assert symbol is not None
    return symbol.address


@pytest.mark.parametrize("row", ROWS, ids=[each.program for each in ROWS])
def test_cycles_are_those_of_the_rtl(row: Row) -> None:
    elf = program(row.program)
    machine = _at_start(elf)
    start = machine.run(0)
    # From START, which is the first of them, to before STOP.
    stop = machine.run((row.instret or 0) - ECALLS.get(row.program, 0))
    assert machine.pc == _address(elf, "roi_stop")
    assert stop.cycles - start.cycles == row.cycles
    machine.run(6)  # STOP, four nops, EXIT
    assert machine.registers[10] == row.checksum


def test_every_row_is_held() -> None:
    assert len(ROWS) == 217
    assert {f"elf/{row.program}.elf" for row in ROWS} == {name for name in archive() if name.startswith("elf/")}


@pytest.mark.parametrize("name", sorted(each for each in archive() if each.startswith("traces/ibex-small.")))
def test_each_instruction_takes_its_cycles(name: str) -> None:
    trace = list(csv.DictReader(io.StringIO(archive()[name].decode())))
    elf = program(name.split(".")[2])
    machine = _at_start(elf)
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
        machine = _at_start(program(row.program), core="ideal")
        result = machine.run(row.instret or 0)
        assert result.cycles == result.instructions
