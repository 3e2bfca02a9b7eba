"""Writes a bench document as the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rvsim.bench import targets

COLUMNS = ("guest", "simulator", "CPU seconds (min–max)", "speed ratio (min–max)", "MIPS")


def cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """One row of the table, in the order of `COLUMNS`."""
    if "left_out" in row:
        return row["guest"], row["peer"], "left out", "", ""
    taken, ratio, mips = row["cpu_seconds"], row["ratio"], row["mips"]
    return (
        row["guest"],
        row["peer"],
        f"{taken['median']:.3f} ({taken['min']:.3f}–{taken['max']:.3f})",
        f"{ratio['median']:.3f} ({ratio['min']:.3f}–{ratio['max']:.3f})" if ratio else "",
        f"{mips:.1f}" if mips is not None else "",
    )


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ("---",) * len(columns), *lines])


def markdown(document: Mapping[str, Any]) -> str:
    """The whole page: how it was measured, the table, what was left out and why."""
    machine, rows = document["machine"], document["results"]
    versions = "\n".join(f"* {name}: {version}" for name, version in document["versions"].items())
    left_out = "\n".join(f"* {row['peer']}, {row['guest']}: {row['left_out']}" for row in rows if "left_out" in row)
    table = _table(COLUMNS, [*map(cells, rows)])
    met = targets.compared(rows)
    aims = f"\n## Targets\n\n{_table(targets.COLUMNS, met)}\n" if met else ""
    page = f"""# Benchmarks

Written by `{document["command"]}` on {document["date"]}; do not edit.
Machine: {machine["cpu"]}, {machine["cores"]} cores, {machine["system"]}.

Each figure is the CPU time (user and system) of a whole process, start-up included: the median of
{document["rounds"]} interleaved rounds, with the smallest and largest. The speed ratio is to the
{document["reference"]} run of the same round; above 1 is faster. MIPS: millions of retired instructions a CPU second;
the count is rvsim's, the same for every simulator. Guest `nop` shows what starting costs,
beside `import numpy` in Python.

`rvsim` is what a user gets: compiled code with counted loops; `rvsim-jit` is without counted loops, `rvsim-interp` the
interpreter alone; `-dcache` with a data cache of 16 KiB, 4 ways, lines of 32 bytes (docs/engine.md).

{table}
{aims}
Versions:

{versions}
"""
    return page + (f"\nLeft out:\n\n{left_out}\n" if left_out else "")
