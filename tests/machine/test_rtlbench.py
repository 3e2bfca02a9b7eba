"""The device of an RTL test bench: what it measures between its marks, how it ends a run, and who shows the counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rvsim.machine import Machine
from rvsim.machine.device import DeviceFault
from rvsim.machine.hostcall import Exit
from rvsim.machine.result import RegionOfInterest, RunResult, decode
from rvsim.machine.rtlbench import RtlBench
from rvsim.profile.tables import run_tables
from tests.machine.guest import A0, A1, A7, ECALL, EXIT, NOP, T0, T1, ZERO, addi, bne, code, li, lw, machine, sb, sh, sw

pytestmark = pytest.mark.usefixtures("tier")

BENCH = ["none", "rtl-bench"]
AT = li(T0, 0x1000_0000)
START, STOP, END, TRAP = (sw(A0, T0, offset) for offset in (0, 4, 8, 12))
LEAVE = [*li(A0, 0xDEAD_BEEF), END, NOP]


def result(*words: int | list[int], **options: object) -> RunResult:
    return machine(AT, *words, devices=BENCH, **options).run(1_000_000)


@pytest.mark.parametrize(
    ("words", "roi"),
    [
        ([LEAVE], None),
        ([STOP, LEAVE], None),
        ([START, LEAVE], None),
        ([START, STOP, LEAVE], (1, 1)),
        ([START, [NOP] * 5, STOP, LEAVE], (6, 6)),
        # the first store of two, and the second region of two
        ([START, NOP, START, [NOP] * 5, STOP, NOP, STOP, LEAVE], (6, 6)),
        ([START, NOP, STOP, [NOP] * 9, START, [NOP] * 2, STOP, LEAVE], (5, 5)),
        # 1000 times round a loop, which is compiled
        ([addi(T1, ZERO, 1000), START, addi(T1, T1, -1), bne(T1, ZERO, -4), STOP, LEAVE], (2001, 2001)),
        # loads from it measure nothing and give 0
        ([addi(A0, ZERO, 7), lw(A0, T0, 4), START, lw(A1, T0), sw(A0, T0, 4), LEAVE], (2, 2)),
    ],
)
def test_what_is_between_the_marks(words: list[int | list[int]], roi: tuple[int, int] | None) -> None:
    run = result(*words)
    assert (run.stop_reason, run.exit_code, run.exit_status) == ("exit", 0, 0)
    assert run.roi == (roi and RegionOfInterest(*roi, 0xDEAD_BEEF))


def test_the_cycles_are_those_of_the_core() -> None:
    # A store takes 2 cycles of ibex-small, a load 2, a taken branch 3, a nop 1.
    roi = result(START, lw(A1, T0), NOP, STOP, LEAVE, core="ibex-small").roi
    assert roi == RegionOfInterest(cycles=2 + 2 + 1, instructions=3, checksum=0xDEAD_BEEF)
    assert roi.cpi == 5 / 3


def test_a_run_without_an_end_has_no_checksum() -> None:
    run = result(START, NOP, STOP, EXIT)
    assert run.roi == RegionOfInterest(2, 2, None)
    assert machine(EXIT).run().roi is None


def test_a_trapped_program_fails() -> None:
    run = result(START, STOP, TRAP)
    assert (run.exit_code, run.roi) == (1, RegionOfInterest(1, 1, None))


@pytest.mark.parametrize("word", [sb(A0, T0, 8), sh(A0, T0, 8)])
def test_it_takes_words_only(word: int) -> None:
    run = result(word)
    assert run.stop_reason == "access-fault"
    with pytest.raises(DeviceFault):
        RtlBench(machine(EXIT)).write(6, 4, 0)


def test_the_two_places_of_its_address() -> None:
    bench = RtlBench(machine(EXIT), 0x4000)
    assert (bench.base, bench.size, bench.read(8, 4), bench.roi()) == (0x4000, 16, 0, None)
    with pytest.raises(Exit):
        bench.write(8, 4, 1)


@pytest.mark.parametrize("at", range(14))
def test_a_snapshot_keeps_the_marks(at: int, tmp_path: Path) -> None:
    words = [AT, START, NOP, STOP, NOP, START, NOP, NOP, STOP, LEAVE]
    expected = machine(*words, devices=BENCH).run().roi
    assert expected == RegionOfInterest(5, 5, 0xDEAD_BEEF)
    guest = machine(*words, devices=BENCH)
    guest.run(at)
    guest.save(tmp_path / "x.snap")
    loaded = Machine.load(tmp_path / "x.snap")
    assert loaded.result().roi == guest.result().roi
    assert loaded.run().roi == expected if loaded.stop.reason != "exit" else loaded.result().roi == expected
    before = guest.checkpoint()
    guest.resume()
    guest.rollback(before)
    guest.resume()
    assert guest.result().roi == expected
    guest.reset()
    assert guest.result().roi is None
    assert guest.run().roi == expected


def test_the_reports_show_it() -> None:
    run = result(START, [NOP] * 5, STOP, *li(A0, 0x12), END)
    document = json.loads(run.to_json())
    assert document["roi"] == {"cycles": 6, "instructions": 6, "checksum": 0x12}
    assert decode(run.to_json()).roi == run.roi
    rows = dict(run_tables(run)[0].rows)
    assert rows["region of interest"] == "6 instructions, 6 cycles, CPI 1.000"
    assert rows["checksum"] == "0x00000012"
    assert code(addi(A7, ZERO, 93), ECALL) == code(EXIT)
    nothing = machine(EXIT).run()
    assert "region of interest" not in dict(run_tables(nothing)[0].rows)
    assert json.loads(nothing.to_json())["roi"] is None


def test_a_stamp_is_what_the_machine_has_counted() -> None:
    guest = machine(AT, [NOP] * 4, EXIT, core="ibex-small")
    assert guest.stamp() == (0, 0)
    guest.run(5)
    assert guest.stamp() == (guest.cycles, 5)
