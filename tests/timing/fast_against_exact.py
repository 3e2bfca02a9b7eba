"""Figures of docs/pipelines.md on fast cycles and retime: `python -m tests.timing.fast_against_exact [--retime]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rvsim.machine import Machine, RunResult
from tests.timing.rtl import Row, program, rows

BENCH = Path(__file__).parents[2] / "kernels" / "bench"
GUESTS = ("conv3x3", "branchy", "calls", "gemv")
CORES = ("ibex-small", "ibex-maxperf", "cv32e40p", "hazard3-fast", "hazard3-small", "picorv32")
SLOW = """name = "two wait states"
source = "this file"
[[region]]
name = "ram"
base = 0x10000
size_kib = 8192
access = "rwx"
fetch_wait = 2
load_wait = 2
store_wait = 2
"""


def run(guest: str, core: str, platform: str | None, timing: str) -> tuple[RunResult, float]:
    """A run, and its CPU time in seconds."""
    began = time.process_time()
    machine = Machine.from_elf(
        BENCH / f"{guest}.elf", core=core, platform=platform, timing=timing, stdout=lambda data: None
    )
    machine.keep_counts = timing == "fast"
    result = machine.run()
    return result, time.process_time() - began


def long_programs() -> None:
    """Whole programs: how fast cycles differ from exact ones, and what each run takes."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as slow:
        slow.write(SLOW)
        slow.flush()
        print("| program | wait states | " + " | ".join(CORES) + " | exact | fast | table |")
        print("|---|---|" + "---:|" * (len(CORES) + 3))
        for guest in GUESTS:
            for platform in (None, slow.name):
                differ, seconds = [], {"exact": 0.0, "fast": 0.0, "table": 0.0}
                for core in CORES:
                    results = {timing: run(guest, core, platform, timing) for timing in seconds}
                    for timing, (_, took) in results.items():
                        seconds[timing] += took / len(CORES)
                    exact, fast = results["exact"][0], results["fast"][0]
                    assert (exact.timing, fast.timing) == ("exact", "fast")
                    differ.append(f"{100 * (fast.cycles / exact.cycles - 1):+.3f} %")
                times = " | ".join(f"{seconds[timing]:.2f} s" for timing in seconds)
                print(f"| {guest} | {'2' if platform else 'none'} | {' | '.join(differ)} | {times} |", flush=True)


def counted(name: str) -> RunResult:
    """One run with a table of cycles, by compiled code: nothing of it depends on the core."""
    result = Machine(program(name), core="ideal", platform="rtl-ideal", timing="table").run()
    assert result.timing == "table" and result.exit_code == 0
    return result


def retimed(wanted: Callable[[Row], bool]) -> Iterator[tuple[Row, float, float]]:
    """Rows of RTL cycle counts: by how much the one run of their program is off there, and CPU seconds of asking."""
    results: dict[str, RunResult] = {}
    for row in rows():
        if row.core not in CORES or not wanted(row):
            continue
        if row.program not in results:
            results[row.program] = counted(row.program)
        began = time.process_time()
        again = results[row.program].retime(row.core, f"rtl-{row.memory}")
        took = time.process_time() - began
        assert again.roi is not None and again.roi.checksum == row.checksum
        yield row, abs(again.roi.cycles / row.cycles - 1), took


def against_rtl() -> None:
    """One run of each program, asked for every core and memory with an RTL cycle count."""
    print("| programs | rows | exact | within 0.5 % | worst | median of asking |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, kernels in (("kernels", True), ("micro-benchmarks", False)):
        each = list(retimed(lambda row, kernels=kernels: row.is_kernel == kernels))  # type: ignore[misc]
        off = [error for _, error, _ in each]
        seconds = sorted(took for _, _, took in each)
        print(
            f"| {name} | {len(off)} | {sum(error == 0 for error in off)} | {sum(error <= 0.005 for error in off)} "
            f"| {100 * max(off):.2f} % | {1e3 * seconds[len(seconds) // 2]:.1f} ms |",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retime", action="store_true", help="the second table alone: a minute")
    if not parser.parse_args().retime:
        long_programs()
        print()
    against_rtl()
    return 0


if __name__ == "__main__":
    sys.exit(main())
