"""The configurable core made into others, held against their RTL: `python -m tests.timing.inorder` writes the table."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from rvsim.machine import Machine
from tests.timing.rtl import Row, program, rows

CORES = Path(__file__).with_name("cores")
DOCUMENT = Path(__file__).parents[2] / "docs" / "pipelines.md"
BEGIN, END = "<!-- inorder: python -m tests.timing.inorder -->\n", "<!-- inorder ends -->\n"
MEMORIES = ("ideal", "d2", "i1", "i2d2")


class Group(NamedTuple):
    """Rows of one core and memory; errors are relative, of kernels."""

    micro: int
    micro_exact: int
    kernels: int
    kernels_exact: int
    worst: float


def names() -> list[str]:
    """Cores that the configurable one is made into."""
    return sorted(path.stem for path in CORES.glob("*.toml"))


def simulate(row: Row) -> int:
    """Cycles of a row's region on the configurable core."""
    result = Machine(program(row.program), platform=f"rtl-{row.memory}", core=str(CORES / f"{row.core}.toml")).run()
    assert result.timing == "exact" and result.roi is not None and result.roi.checksum == row.checksum, row
    return result.roi.cycles


@functools.cache
def group(core: str, memory: str) -> Group:
    """All rows of a core and memory."""
    found = [(row, simulate(row)) for row in rows() if (row.core, row.memory) == (core, memory)]
    micro = [cycles == row.cycles for row, cycles in found if not row.is_kernel]
    kernels = [(cycles - row.cycles) / row.cycles for row, cycles in found if row.is_kernel]
    return Group(len(micro), sum(micro), len(kernels), kernels.count(0), max(map(abs, kernels)))


HEADING = [
    "| made into | memory | micro-benchmarks | exact | kernels | exact | largest error of a kernel |",
    "|---|---|---:|---:|---:|---:|---:|",
]


def line(core: str, memory: str) -> str:
    """What docs/pipelines.md says of a core and memory."""
    g = group(core, memory)
    cells = (g.micro, g.micro_exact, g.kernels, g.kernels_exact, f"{g.worst:.2%}")
    return f"| {core} | {memory} | {' | '.join(map(str, cells))} |"


def table() -> str:
    """What docs/pipelines.md says of them all."""
    return "\n".join([*HEADING, *(line(core, memory) for core in names() for memory in MEMORIES)]) + "\n"


def main() -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
