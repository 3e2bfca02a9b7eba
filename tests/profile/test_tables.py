"""The table of a run says every number once, fits its width, and draws itself only on a terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine.result import (
    AcceleratorReport,
    Count,
    FunctionProfile,
    PortTraffic,
    RunResult,
    SymbolTraffic,
    Traffic,
)
from rvsim.profile.tables import Table, cut, duration, print_tables, render, run_tables, share, short


def result(**changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "program": "examples/demo.elf", "core": "ibex-small", "clock_mhz": 100.0, "accel": "conv-8x8", "exit_code": 0,
        "stop_reason": "exit", "instructions": 1_000_000, "cycles": 1_500_000, "taken_branches": 50_000,
        "classes": {"load": 100_000, "alu": 900_000, "div": 0},
        "traffic": {"ram": Traffic(fetch=Count(count=1000, bytes=4000), store=Count(count=1, bytes=4))},
        "symbols": [
            SymbolTraffic(name="weights", region="ram", address=16, size=4, load=Count(count=4, bytes=4)),
            SymbolTraffic(name="unused", region="ram", address=32, size=4),
        ],
        "functions": [
            FunctionProfile(name="main", address=0, size=8, instructions=400_000, cycles=500_000),
            FunctionProfile(name="conv_2d", address=8, size=8, instructions=600_000, cycles=1_000_000),
        ],
        "accelerator": AcceleratorReport(
            name="conv-8x8", macs=6400, commands=2, busy_cycles=200, stall_cycles=20, core_wait_cycles=150,
            utilisation=0.5, traffic=PortTraffic(load=Count(count=10, bytes=40)),
        ),
    }  # fmt: skip
    return RunResult(**{**fields, **changes})


EXPECTED = """\
program         examples/demo.elf
core            ibex-small at 100 MHz
coprocessor     conv-8x8
ended with      exit 0
instructions    1,000,000
cycles          1,500,000
CPI             1.500
time            15 ms
taken branches  50,000

Instructions
class  retired  share
alu    900,000  90.0%
load   100,000  10.0%

Memory traffic
region  kind   accesses  bytes
ram     fetch     1,000  4,000
ram     store         1      4
total   fetch     1,000  4,000
total   store         1      4

Data
symbol   region  bytes loaded  bytes stored
weights  ram                4             0

Functions
function     cycles  share  instructions
conv_2d   1,000,000  66.7%       600,000
main        500,000  33.3%       400,000

Coprocessor conv-8x8
commands      2
MACs          6,400
busy cycles   200
stall cycles  20 (waiting for memory)
core waited   150 cycles
utilisation   50.0% of the PE array while busy
moved         40 bytes in, 0 bytes out
"""


def test_the_text_of_a_run() -> None:
    assert render(run_tables(result())) == EXPECTED


def test_a_scalar_run_has_no_coprocessor_table() -> None:
    text = render(run_tables(result(accel="off", accelerator=None, stop_reason="limit", exit_code=None)))
    assert "Coprocessor conv" not in text
    assert "ended with      limit" in text


def test_lists_end_at_the_top() -> None:
    functions = [FunctionProfile(name=f"f{i}", address=i, size=1, instructions=1, cycles=100 - i) for i in range(30)]
    text = render(run_tables(result(functions=functions), top=3))
    assert "f2 " in text and "f3 " not in text


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=100)
numbers = st.integers(0, 2**64)


@given(names, st.lists(numbers, min_size=4, max_size=4), st.integers(60, 120))
def test_no_line_is_wider_than_asked(name: str, counts: list[int], width: int) -> None:
    count = Count(count=counts[0], bytes=counts[1])
    run = result(
        program=name, core=name, accel=name, instructions=counts[2], cycles=counts[3], taken_branches=counts[0],
        classes={name: counts[2], "alu": 1}, traffic={name: Traffic(fetch=count, load=count, store=count)},
        symbols=[SymbolTraffic(name=name, region=name[:8], address=0, size=1, load=count, store=count)],
        functions=[FunctionProfile(name=name, address=0, size=1, instructions=counts[2], cycles=counts[3])],
    )  # fmt: skip
    for line in render(run_tables(run), width).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


def test_numbers_are_shortened_before_names_are_cut() -> None:
    table = Table("", ("function", "cycles"), [("a_rather_long_name", 12_345_678)])
    assert render([table], 30) == "function                cycles\na_rather_long_name  12,345,678\n"
    assert render([table], 28) == "function            cycles\na_rather_long_name  12.35M\n"
    assert render([table], 20) == "function      cycles\na_rather_l..  12.35M\n"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (1_234_567, "1.235M"),
        (999_600_000, "999.6M"),
        (999_999_999, "1G"),
        (2**64, "18.45E"),
    ],
)
def test_short(number: int, text: str) -> None:
    assert short(number) == text


@given(st.integers(0, 2**80))
def test_short_is_short(number: int) -> None:
    assert len(short(number)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ns"), (1.5e-8, "15 ns"), (1.5e-5, "15 us"), (0.012345, "12.35 ms"), (75.0, "75 s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_share_and_cut() -> None:
    assert (share(1, 3), share(1, 0)) == ("33.3%", "-")
    assert (cut("abcdef", 6), cut("abcdef", 5), cut("abcdef", 1)) == ("abcdef", "abc..", ".")


def test_plain_text_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_tables([Table("", ("function",), [("größe_of_a_very_long_name",)])], file)
    file.flush()
    assert raw.getvalue() == b"function\ngr??e_of_a_very_lo..\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [60, 100])
def test_rich_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    file = Terminal()
    print_tables([*run_tables(result()), Table("[red]x", ("a",), [("[bold]name",)])], file)
    text = file.getvalue()
    assert "conv_2d" in text and "900,000" in text and "[bold]name" in text and "[red]x" in text


def test_rich_is_imported_for_terminals_only() -> None:
    code = (
        "import sys; from rvsim.profile.tables import *; print_tables([Table('', ('a',), [('b',)])], sys.stdout); "
        "assert 'rich' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a\nb\n"), done.stderr
