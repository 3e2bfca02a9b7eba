"""The speeds rvsim is built to reach, each as a ratio to qemu-riscv32, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Every counter on, CPU time of whole processes. `rvsim` is what a user gets: compiled code with counted loops.
TARGETS: dict[tuple[str, str], float] = {
    ("conv3x3", "rvsim-interp"): 0.18,
    ("conv3x3", "rvsim-jit"): 0.75,
    ("conv3x3", "rvsim"): 1.2,
    ("conv3x3_x10", "rvsim-interp"): 0.18,
    ("conv3x3_x10", "rvsim-jit"): 1.1,
    ("conv3x3_x10", "rvsim"): 2.5,
    ("branchy", "rvsim-interp"): 0.55,
    ("branchy", "rvsim-jit"): 1.5,
    ("branchy_x10", "rvsim-interp"): 0.6,
    ("branchy_x10", "rvsim-jit"): 1.9,
    ("gemv_x10", "rvsim-interp"): 0.18,
    ("gemv_x10", "rvsim-jit"): 1.0,
    ("gemv_x10", "rvsim"): 2.0,
    ("branchy", "rvsim-interp-dcache"): 0.45,
    ("branchy", "rvsim-jit-dcache"): 1.0,
}

COLUMNS = ("guest", "simulator", "target", "speed ratio (min–max)", "met")


def compared(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """A line, in the order of `COLUMNS`, for each target that was measured."""
    ratios = {(row["guest"], row["peer"]): row["ratio"] for row in rows if row.get("ratio")}
    return [
        (
            guest,
            peer,
            f"{target:.2f}",
            f"{ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f})",
            "yes" if ratio["median"] >= target else "no",
        )
        for (guest, peer), target in TARGETS.items()
        if (ratio := ratios.get((guest, peer)))
    ]
