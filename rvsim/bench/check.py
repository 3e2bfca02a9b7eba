"""Compares a measurement with a kept one: has rvsim become slower beside qemu-riscv32?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rvsim.bench.peers import OWN

FALL = 0.2
"""Largest fall of the ratio that passes: rounds on a shared machine differ by some percent."""


def ratios(document: Mapping[str, Any]) -> dict[str, float]:
    """Median speed of rvsim relative to the reference, by guest and way of running it."""
    return {
        row["guest"] if row["peer"] == "rvsim" else f"{row['guest']} ({row['peer']})": row["ratio"]["median"]
        for row in document["results"]
        if row["peer"] in OWN and row.get("ratio")
    }


def falls(now: Mapping[str, Any], kept: Mapping[str, Any], fall: float = FALL) -> list[str]:
    """A line for each guest whose ratio is more than `fall` below the kept one; guests of one side alone do not count.

    Parameters
    ----------
    now, kept : mapping
        Documents of the schema ``rvsim.bench/1``.
    fall : float
        0.2 lets a ratio of 0.80 of the kept one pass.
    """
    before, after = ratios(kept), ratios(now)
    return [
        f"{guest}: {after[guest]:.3f} of {now['reference']}'s speed, {before[guest]:.3f} on {kept['date']} "
        f"({after[guest] / before[guest] - 1:+.0%}, at most -{fall:.0%})"
        for guest in before
        if guest in after and after[guest] < before[guest] * (1 - fall)
    ]
