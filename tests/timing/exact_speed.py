"""How fast exact cycles are counted: `python -m tests.timing.exact_speed` prints the table of docs/pipelines.md."""

from __future__ import annotations

import time
from pathlib import Path

from rvsim.machine import Machine
from tests.timing.validate import CORES

GUEST = Path(__file__).parents[2] / "kernels" / "bench" / "branchy_s.elf"
ROUNDS = 3


def main() -> None:
    print("| core | million instructions a second |\n|---|---:|")
    for core in CORES:
        best = 0.0
        for _ in range(ROUNDS):
            machine = Machine.from_elf(GUEST, core=core, timing="exact")
            start = time.process_time()
            machine.run()
            best = max(best, machine.instructions / (time.process_time() - start) / 1e6)
        print(f"| {core} | {best:.0f} |")


if __name__ == "__main__":
    main()
