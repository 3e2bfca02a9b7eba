"""Runs of one program side by side: the document `rvsim.compare/1` and its tables."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rvsim.machine.result import TOTAL, AreaReport, RunResult
from rvsim.profile.tables import DEFAULT_WIDTH, TOP, Cell, Table, cut, duration, joules

LABEL = 20
"""Longest heading of a run."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs that are compared.

    Attributes
    ----------
    label : str
        What tells it apart.
    result : RunResult
        What it counted.
    area : AreaReport or None
        How large its coprocessor is.
    stdout, stderr : bytes
        What the guest wrote.
    output : bytes or None
        Bytes of its output tensor, if it declares one and came to its end.
    """

    label: str
    result: RunResult
    area: AreaReport | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    output: bytes | None = None


class FunctionComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One function in all runs.

    Attributes
    ----------
    name : str
    cycles : list of int or None
        Core cycles in each run, in the order of the runs; None where it did not run.
    """

    name: str
    cycles: list[int | None]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs side by side; the first is the baseline. docs/run-schema.md explains the keys.

    Attributes
    ----------
    identical : bool
        Whether the guest did the same in all runs.
    differences : list of str
        One sentence for each thing that differs.
    labels : list of str
        What tells the runs apart.
    speed_up : list of float or None
        Time of the baseline / time of the run, each at its own clock.
    functions : list of FunctionComparison
        Most cycles (in any run) first.
    runs : list of RunResult
    areas : list of AreaReport or None
        How large the coprocessor of each run is.
    """

    schema: Literal["rvsim.compare/1"] = "rvsim.compare/1"
    identical: bool
    differences: list[str]
    labels: list[str]
    speed_up: list[float | None]
    functions: list[FunctionComparison]
    runs: list[RunResult]
    areas: list[AreaReport | None]

    @property
    def exit_status(self) -> int:
        """Exit status of `rvsim compare`: 1 when the runs differ, else that of every run."""
        return self.runs[0].exit_status if self.identical else 1

    def to_json(self) -> str:
        """The document as indented JSON text that ends in a newline."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        document["runs"] = [run.to_dict() for run in self.runs]
        document = {"schema": document.pop("schema"), **document}
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def compare(outcomes: list[Outcome]) -> Comparison:
    """Put at least one run beside the others; the first is the baseline."""
    runs = [outcome.result for outcome in outcomes]
    differences = [text for outcome in outcomes[1:] for text in _differences(outcomes[0], outcome)]
    cycles: dict[tuple[int, str], list[int | None]] = {}
    for index, run in enumerate(runs):
        for function in run.functions:
            if function.instructions or function.cycles:
                cycles.setdefault((function.address, function.name), [None] * len(runs))[index] = function.cycles
    order = sorted(cycles.items(), key=lambda item: (-max(each or 0 for each in item[1]), item[0]))
    return Comparison(
        identical=not differences,
        differences=differences,
        labels=[outcome.label for outcome in outcomes],
        speed_up=[_ratio(runs[0].seconds_at_clock, run.seconds_at_clock) for run in runs],
        functions=[FunctionComparison(name=name, cycles=each) for (_, name), each in order],
        runs=runs,
        areas=[outcome.area for outcome in outcomes],
    )


def _differences(first: Outcome, other: Outcome) -> list[str]:
    texts = []
    both = f"{first.label} and {other.label}"
    if first.result.exit_status != other.result.exit_status:
        ends = [
            f"exit {run.exit_code}" if run.stop_reason == "exit" else run.stop_reason
            for run in (first.result, other.result)
        ]
        texts.append(f"{both} end differently: {ends[0]}, {ends[1]}")
    for name in ("stdout", "stderr"):
        ours, theirs = getattr(first, name), getattr(other, name)
        if ours != theirs:
            left, right = ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
            same = next(
                (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
            )
            texts.append(
                f"{both} write different {name}, first in line {same + 1}: {_line(left, same)}, {_line(right, same)}"
            )
    if first.output != other.output:
        if first.output is None or other.output is None or len(first.output) != len(other.output):
            texts.append(f"{both}: only one of them has an output tensor")
        else:
            wrong = [i for i, (a, b) in enumerate(zip(first.output, other.output, strict=True)) if a != b]
            texts.append(
                f"{both} have different output tensors: {len(wrong)} of {len(first.output)} bytes, "
                f"the first at byte {wrong[0]}"
            )
    return texts


def _line(lines: list[bytes], index: int) -> str:
    return repr(lines[index][:60].decode("utf-8", "replace")) if index < len(lines) else "nothing"


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None


def comparison_tables(comparison: Comparison, width: int = DEFAULT_WIDTH, top: int = TOP) -> list[Table]:
    """Overall numbers, as many runs beside the baseline as fit, then each run's functions beside the baseline's."""
    runs, labels = comparison.runs, [cut(label, LABEL) for label in comparison.labels]
    beside = max(1, (width - 16) // (max(10, *map(len, labels)) + 2) - 1)
    tables = []
    for start in range(1, max(2, len(runs)), beside):
        chosen = [0, *range(start, min(start + beside, len(runs)))]
        tables.append(
            Table(
                "Overall", ("", *(labels[i] for i in chosen)), _overall([runs[i] for i in chosen], comparison, chosen)
            )
        )
    for index in range(1, len(runs)):
        rows: list[tuple[Cell, ...]] = []
        for function in comparison.functions:
            ours, theirs = function.cycles[0], function.cycles[index]
            if ours is None and theirs is None:
                continue
            ratio = _ratio((ours or 0) / runs[0].clock_mhz, (theirs or 0) / runs[index].clock_mhz)
            rows.append((function.name, ours, theirs, times(ratio if ours and theirs else None)))
        if rows:
            heading = ("function", labels[0], labels[index], "speed-up")
            tables.append(Table(f"Cycles by function, {labels[0]} and {labels[index]}", heading, rows[:top]))
    return tables


def _overall(runs: list[RunResult], comparison: Comparison, chosen: list[int]) -> list[tuple[Cell, ...]]:
    totals = [run.traffic[TOTAL] for run in runs]
    reports = [run.accelerator for run in runs]
    rows: list[tuple[Cell, ...]] = [
        ("speed-up", *(times(comparison.speed_up[i]) for i in chosen)),
        ("cycles", *(run.cycles for run in runs)),
        ("instructions", *(run.instructions for run in runs)),
        ("CPI", *(f"{run.cpi:.3f}" for run in runs)),
        ("time", *(duration(run.seconds_at_clock) for run in runs)),
        ("taken branches", *(run.taken_branches for run in runs)),
        ("bytes fetched", *(total.fetch.bytes for total in totals)),
        ("bytes loaded", *(total.load.bytes for total in totals)),
        ("bytes stored", *(total.store.bytes for total in totals)),
        ("exit status", *(run.exit_status for run in runs)),
    ]
    told: list[tuple[Cell, ...]] = [
        ("MACs", *(report.macs if report else None for report in reports)),
        ("busy cycles", *(report.busy_cycles if report else None for report in reports)),
        ("utilisation", *(_percent(report.utilisation) if report else None for report in reports)),
    ]
    told += _chip(runs, [comparison.areas[i] for i in chosen])
    rows[-1:-1] = [row for row in told if any(cell is not None for cell in row[1:])]
    return rows


def _chip(runs: list[RunResult], areas: list[AreaReport | None]) -> list[tuple[Cell, ...]]:
    """What they would take on a chip, and what comes of it; the area is the coprocessor's."""
    energies = [run.energy for run in runs]
    node = next((f"{each.node_nm:g} nm" for each in areas if each is not None), "")
    done = [run.accelerator.operations if run.accelerator else 0.0 for run in runs]
    watts = [n / each.pj if each and n else None for each, n in zip(energies, done, strict=True)]
    dense = [
        n / run.seconds_at_clock / 1e9 / each.mm2 if each and n and run.cycles else None
        for run, each, n in zip(runs, areas, done, strict=True)
    ]
    return [
        ("energy", *(joules(each.pj) if each else None for each in energies)),
        ("  from", *(joules(each.low_pj) if each else None for each in energies)),
        ("  to", *(joules(each.high_pj) if each else None for each in energies)),
        ("TOPS/W", *map(_figure, watts)),
        (f"mm2, {node}", *(_figure(each.mm2 if each else None) for each in areas)),
        ("  from", *(_figure(each.low_mm2 if each else None) for each in areas)),
        ("  to", *(_figure(each.high_mm2 if each else None) for each in areas)),
        ("kGE", *(_figure(each.kge if each else None) for each in areas)),
        ("GOPS/mm2", *map(_figure, dense)),
    ]


def _figure(value: float | None) -> str | None:
    """Three digits: ``0.0123``, ``2270``."""
    return None if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _percent(part: float | None) -> str | None:
    return None if part is None else f"{part:.1%}"


def times(ratio: float | None) -> str:
    """A speed-up: ``12.3x``."""
    return "-" if ratio is None else f"{ratio:.4g}x" if ratio < 1 else f"{ratio:.2f}x"
