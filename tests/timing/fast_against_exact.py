"""Fast cycles beside exact ones on long programs (docs/pipelines.md): `python -m tests.timing.fast_against_exact`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from rvsim.machine import Machine, RunResult

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


def main() -> int:
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
