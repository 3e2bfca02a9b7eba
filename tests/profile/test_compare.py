"""Runs side by side: speed-ups are ratios of time, and every difference of the guests is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rvsim.machine import Machine
from rvsim.machine.result import AcceleratorReport, FunctionProfile, RunResult, json_schema
from rvsim.profile.compare import Outcome, compare, comparison_tables, times
from rvsim.profile.tables import render


def run(label: str, cycles: int, conv: int | None, **changes: Any) -> Outcome:
    outcome = {key: changes.pop(key) for key in ("stdout", "stderr", "output") if key in changes}
    functions = [FunctionProfile(name="main", address=0, size=8, instructions=10, cycles=100)]
    if conv is not None:
        functions.append(FunctionProfile(name="conv_2d", address=8, size=8, instructions=10, cycles=conv))
    fields: dict[str, Any] = {
        "program": "demo.elf", "core": "ibex-small", "clock_mhz": 100.0, "accel": label, "exit_code": 0,
        "stop_reason": "exit", "instructions": 1000, "cycles": cycles, "functions": functions,
    }  # fmt: skip
    return Outcome(label=label, result=RunResult(**{**fields, **changes}), **outcome)


SIDE_BY_SIDE = """\
Overall
                  off      on
speed-up        1.00x   4.00x
cycles          1,000     250
instructions    1,000   1,000
CPI             1.000   0.250
time            10 us  2.5 us
taken branches      0       0
bytes fetched       0       0
bytes loaded        0       0
bytes stored        0       0
MACs                -   6,400
busy cycles         -      50
utilisation         -   50.0%
exit status         0       0

Cycles by function, off and on
function  off   on  speed-up
conv_2d   900    -         -
main      100  100     1.00x
"""


def test_speed_up_overall_and_by_function() -> None:
    report = AcceleratorReport(name="on", macs=6400, busy_cycles=50, utilisation=0.5)
    comparison = compare([run("off", 1000, 900), run("on", 250, None, accelerator=report)])
    assert comparison.identical
    assert comparison.speed_up == [1.0, 4.0]
    assert [(each.name, each.cycles) for each in comparison.functions] == [
        ("conv_2d", [900, None]),
        ("main", [100, 100]),
    ]
    assert render(comparison_tables(comparison)) == SIDE_BY_SIDE


def test_each_run_counts_at_its_own_clock() -> None:
    comparison = compare([run("a", 1000, None), run("b", 1000, None, clock_mhz=50.0), run("c", 0, None)])
    assert comparison.speed_up == [1.0, 0.5, None]
    assert (times(0.5), times(None), times(12.345)) == ("0.5x", "-", "12.35x")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"exit_code": 3}, "off and on end differently: exit 0, exit 3"),
        ({"stop_reason": "limit", "exit_code": None}, "off and on end differently: exit 0, limit"),
        ({"stdout": b"sum 1\nsum 3\n"}, "off and on write different stdout, first in line 2: 'sum 2\\n', 'sum 3\\n'"),
        ({"stdout": b"sum 1\n"}, "off and on write different stdout, first in line 2: 'sum 2\\n', nothing"),
        ({"stderr": b"oh\n"}, "off and on write different stderr, first in line 1: nothing, 'oh\\n'"),
        ({"output": b"\x01\x03\x04"}, "off and on have different output tensors: 2 of 3 bytes, the first at byte 1"),
        ({"output": None}, "off and on: only one of them has an output tensor"),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], difference: str) -> None:
    same: dict[str, Any] = {"stdout": b"sum 1\nsum 2\n", "output": b"\x01\x02\x03"}
    comparison = compare([run("off", 1000, None, **same), run("on", 1000, None, **{**same, **change})])
    assert (comparison.identical, comparison.differences, comparison.exit_status) == (False, [difference], 1)
    assert compare([run("off", 1, None, **same), run("on", 1, None, **same)]).differences == []


def test_line_ends_are_part_of_the_output() -> None:
    comparison = compare([run("off", 1, None, stdout=b"a\n"), run("on", 1, None, stdout=b"a")])
    assert comparison.differences == ["off and on write different stdout, first in line 1: 'a\\n', 'a'"]


def test_exit_status_of_equal_runs_is_the_guests() -> None:
    assert compare([run("off", 1, None, exit_code=7), run("on", 1, None, exit_code=7)]).exit_status == 7


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_any_number_of_runs_fits(count: int, width: int) -> None:
    labels = [f"a core with a name/{index}" for index in range(count)]
    comparison = compare([run(label, 2**63, 2**62) for label in labels])
    text = render(comparison_tables(comparison, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("speed-up") >= count - 1


def test_the_document() -> None:
    document = json.loads(compare([run("off", 1000, 900), run("on", 250, 100)]).to_json())
    assert (document["schema"], document["identical"], document["labels"]) == ("rvsim.compare/1", True, ["off", "on"])
    for each in document["runs"]:
        jsonschema.validate(each, json_schema())


def test_what_runs_would_take_on_a_chip_stands_beside_their_cycles() -> None:
    """Energy where it was estimated; TOPS/W and GOPS/mm2 of the MACs of the whole run."""
    from rvsim.energy import add_area, add_energy, load_energy

    parameters = load_energy("45nm-lop")
    example = Path(__file__).parents[2] / "kernels" / "examples" / "conv_int8.elf"
    outcomes = []
    for accel in ("off", "conv-4x4"):
        run = Machine.from_elf(example, accel=accel, stdout=lambda data: None).run()
        sized = add_area(run, parameters)
        outcomes.append(Outcome(label=accel, result=add_energy(sized, parameters), area=sized.area))
    comparison = compare(outcomes)
    rows = {row[0]: row[1:] for row in comparison_tables(comparison)[0].rows}
    done = comparison.runs[1]
    assert done.area is not None and done.energy is not None and done.accelerator is not None
    operations = 2 * 16 * 16 * 32 * 3 * 3 * 32
    assert done.accelerator.operations == operations
    assert rows["mm2, 45 nm"] == (None, f"{done.area.mm2:.3g}")
    assert float(rows["TOPS/W"][1]) == pytest.approx(operations / done.energy.pj, rel=0.01)
    assert float(rows["GOPS/mm2"][1]) == pytest.approx(
        operations / (done.cycles / done.clock_mhz * 1e3) / done.area.mm2, rel=0.01
    )
    assert rows["energy"][0] is not None and rows["TOPS/W"][0] is None
