"""docs/validation.md: every RTL cycle count beside ours. `python -m tests.timing.validate` writes it and its picture.

The runs are those of `rvsim run PROGRAM.elf --platform rtl-MEMORY --core CORE`, in one process.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

from rvsim.machine import Machine
from tests.timing.rtl import ECALLS, Row, archive, program, rows

DOCS = Path(__file__).parents[2] / "docs"
CORES = ("ibex-small", "ibex-maxperf", "cv32e40p", "hazard3-fast", "hazard3-small", "picorv32", "vexriscv-custom")
MEMORIES = ("ideal", "la0", "d2", "i1", "i2d2")
# These count an ecall as retired, which the Privileged Architecture (20240411, 3.3.1) has not retire, nor do we.
COUNT_ECALLS = ("ibex-small", "ibex-maxperf", "picorv32")


def simulate(row: Row) -> tuple[int, int, int]:
    """Cycles, instructions and checksum of a row's region."""
    machine = Machine(program(row.program, row.core), platform=f"rtl-{row.memory}", core=row.core)
    result = machine.run()
    assert result.timing == "exact", result.timing
    assert result.roi is not None and result.exit_code == 0, (row, result.message)
    assert result.roi.checksum is not None
    lost = sum(sum(f.lost_cycles.values()) for f in result.functions)
    # Each cycle beyond an instruction's first has a cause, and all of a trap.
    assert result.cycles == result.instructions + lost, row
    return result.roi.cycles, result.roi.instructions, result.roi.checksum


def instructions(row: Row) -> int | None:
    """What a row's core retired, ecalls left out."""
    if row.instret is None:
        return None
    return row.instret - (ECALLS.get(row.program, 0) if row.core in COUNT_ECALLS else 0)


def trace_names() -> list[str]:
    """Files of the archive with the retirement of each instruction."""
    return sorted(name for name in archive() if name.startswith("traces/"))


def trace(name: str) -> tuple[str, str, list[tuple[int, int]]]:
    """Core and program of a trace; cycle and pc of each instruction, from the START store on."""
    core, _, of = name.removeprefix("traces/").removesuffix(".csv").split(".", 2)
    table = csv.DictReader(io.StringIO(archive()[name].decode()))
    return core, of, [(int(row["cycle"]), int(row["pc"], 16)) for row in table]


def our_trace(core: str, of: str, length: int) -> list[tuple[int, int]]:
    """The same of ours: each instruction is a run of its own."""
    machine = Machine(program(of, core), platform="rtl-ideal", core=core)
    start = machine.program.symbol("roi_start")
    assert start is not None
    while machine.pc != start.address:
        machine.run(1)
    found: list[tuple[int, int]] = []
    origin = 0
    for _ in range(length):
        pc = machine.pc
        cycles = machine.run(1).cycles
        origin = origin if found else cycles
        found.append((cycles - origin, pc))
    return found


# ------------------------------------------------------------------------------------------------------------- document
def document(counts: dict[Row, int]) -> str:
    """The text: a summary, then each kernel by core, and micro-benchmarks that deviate."""
    lines = [
        "# Validation: cycles against RTL simulation",
        "",
        "Written by `python -m tests.timing.validate`; do not edit. The data is that of tests/timing/data/README.md:",
        "cycles between two stores, counted in RTL simulation (Verilator) of the cores' own sources. Ours are those of",
        "`rvsim run PROGRAM.elf --platform rtl-MEMORY --core CORE`, exact models ([pipelines.md](pipelines.md)). Rows",
        "on which a core takes an exception that others do not take have no counts and are left out.",
        "",
        "![Simulated against RTL cycles](validation.svg)",
        "",
        "## Summary",
        "",
        "| core | memory | micro-benchmarks | exact | kernels | exact | largest error |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in counts:
        groups[row.core, row.memory].append(row)
    for core in CORES:
        for memory in MEMORIES:
            group = groups.get((core, memory))
            if not group:
                continue
            cells = []
            for kernels in (False, True):
                part = [row for row in group if row.is_kernel == kernels]
                cells += [str(len(part)), str(sum(counts[row] == row.cycles for row in part))]
            worst = max(abs(counts[row] - row.cycles) / row.cycles for row in group)
            lines.append(f"| {core} | {memory} | {' | '.join(cells)} | {worst:.2%} |")
    wrong = [row for row in counts if counts[row] != row.cycles]
    lines += ["", f"{len(counts)} rows, of which {len(counts) - len(wrong)} are exact to the cycle."]
    for row in wrong:
        lines.append(f"* {row.core}, {row.memory}, {row.program}: {counts[row]}, RTL {row.cycles}")
    for core in CORES:
        memories = [memory for memory in MEMORIES if (core, memory) in groups]
        lines += ["", f"## {core}", "", "Kernels: simulated cycles, RTL cycles and error for each memory.", ""]
        lines.append("| kernel | " + " | ".join(f"{m} | RTL | error" for m in memories) + " |")
        lines.append("|---|" + "---:|---:|---:|" * len(memories))
        kernels = sorted({row.program for m in memories for row in groups[core, m] if row.is_kernel})
        by_key = {(row.program, row.memory): row for m in memories for row in groups[core, m]}
        for kernel in kernels:
            cells = []
            for memory in memories:
                row = by_key[kernel, memory]
                error = (counts[row] - row.cycles) / row.cycles
                cells.append(f"{counts[row]} | {row.cycles} | {error:.2%}")
            lines.append(f"| {kernel} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(counts: dict[Row, int]) -> str:
    """Simulated against RTL cycles, both on logarithmic axes, a dot a row and a colour a core."""
    import math

    colours = ("#1b6ca8", "#4aa3df", "#d1495b", "#2e8b57", "#7cc49a", "#b07d12", "#6b4fa0")
    size, margin = 420, 48
    low, high = 0.0, math.ceil(math.log10(max(row.cycles for row in counts)))

    def place(cycles: int) -> float:
        return (math.log10(max(cycles, 1)) - low) / (high - low) * size

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size + 2 * margin + 130}" height="{size + 2 * margin}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<g transform="translate({margin},{margin // 2})">',
        f'<rect width="{size}" height="{size}" fill="none" stroke="#888"/>',
        f'<line x1="0" y1="{size}" x2="{size}" y2="0" stroke="#bbb"/>',
    ]
    for power in range(int(high) + 1):
        at = place(10**power)
        parts.append(f'<text x="{at:.1f}" y="{size + 16}" text-anchor="middle">1e{power}</text>')
        parts.append(f'<text x="-6" y="{size - at + 4:.1f}" text-anchor="end">1e{power}</text>')
    for core, colour in zip(CORES, colours, strict=True):
        dots = sorted(
            {(round(place(r.cycles), 1), round(size - place(n), 1)) for r, n in counts.items() if r.core == core}
        )
        marks = "".join(f'<circle cx="{x}" cy="{y}" r="1.6"/>' for x, y in dots)
        parts.append(f'<g fill="{colour}" fill-opacity="0.7">{marks}</g>')
        y = 16 * CORES.index(core) + 12
        parts.append(f'<circle cx="{size + 14}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{size + 24}" y="{y}">{core}</text>')
    parts.append(f'<text x="{size / 2}" y="{size + 36}" text-anchor="middle">cycles in RTL simulation</text>')
    parts.append(
        f'<text transform="translate(-36,{size / 2}) rotate(-90)" text-anchor="middle">simulated cycles</text>'
        "</g></svg>"
    )
    return "\n".join(parts) + "\n"


def main() -> None:
    counts = {row: simulate(row)[0] for row in rows()}
    (DOCS / "validation.md").write_text(document(counts))
    (DOCS / "validation.svg").write_text(picture(counts))


if __name__ == "__main__":
    main()
