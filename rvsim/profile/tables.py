"""The readable table of a run, and how any table is printed.

Plain aligned text everywhere but on a terminal, where rich (35 ms to import) draws it.
"""

from __future__ import annotations

import os

from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO, TypeAlias

    from rvsim.machine.result import LineProfile, RunResult

Cell: TypeAlias = "str | int | None"
TOP = 10
"""Rows of a list of functions or symbols."""

DEFAULT_WIDTH = 80
MIN_NAME = 6


class Table(Record):
    """Rows under a title.

    Attributes
    ----------
    title : str
        Printed above; empty for none.
    columns : tuple of str
        Headings; all empty for none.
    rows : list of tuple
        Text, or integers that are printed with separators, shortened where there is no room; None is a dash.
    left : int
        So many columns are left-aligned.
    elastic : int
        The column that is cut where the table is too wide.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    left: int = 1
    elastic: int = 0


def run_tables(result: RunResult, top: int = TOP) -> list[Table]:
    """What a run counted, as tables; lists of functions and symbols end after `top` rows."""
    return [
        table
        for table in (
            _summary(result),
            _classes(result),
            _traffic(result),
            _symbols(result, top),
            _caches(result),
            _functions(result, top),
            _lost(result, top),
            _lines(result, top),
            _lost_lines(result, top),
            _accelerator(result),
            _levels(result),
            _energy(result),
            _energy_shares(result, top),
            _area(result),
        )
        if table.rows
    ]


def _summary(result: RunResult) -> Table:
    end = f"exit {result.exit_code}" if result.stop_reason == "exit" else result.stop_reason
    rows: list[tuple[Cell, ...]] = [
        ("program", result.program),
        ("core", f"{result.core} at {result.clock_mhz:g} MHz"),
        ("coprocessor", result.accel),
        ("ended with", end),
        ("instructions", f"{result.instructions:,}"),
        ("cycles", f"{result.cycles:,}"),
        ("CPI", f"{result.cpi:.3f}"),
        ("time", duration(result.seconds_at_clock)),
        ("taken branches", f"{result.taken_branches:,}"),
    ]
    if result.platform is not None:
        rows.insert(2, ("platform", result.platform))
    roi = result.roi
    if roi is not None:
        text = f"{roi.instructions:,} instructions, {roi.cycles:,} cycles, CPI {roi.cpi:.3f}"
        rows.append(("region of interest", text))
        if roi.checksum is not None:
            rows.append(("checksum", f"{roi.checksum:#010x}"))
    return Table("", ("", ""), rows, left=2, elastic=1)


def _classes(result: RunResult) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, count, share(count, result.instructions))
        for name, count in sorted(result.classes.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]
    return Table("Instructions", ("class", "retired", "share"), rows)


def _traffic(result: RunResult) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for region, traffic in result.traffic.items():
        for kind in ("fetch", "load", "store"):
            moved = getattr(traffic, kind)
            if moved.count:
                rows.append((region, kind, moved.count, moved.bytes))
    return Table("Memory traffic", ("region", "kind", "accesses", "bytes"), rows, left=2)


def _symbols(result: RunResult, top: int) -> Table:
    busiest = sorted(result.symbols, key=lambda each: (-each.load.bytes - each.store.bytes, each.address))
    rows: list[tuple[Cell, ...]] = [
        (each.name, each.region, each.load.bytes, each.store.bytes)
        for each in busiest[:top]
        if each.load.count or each.store.count
    ]
    return Table("Data", ("symbol", "region", "bytes loaded", "bytes stored"), rows, left=2)


def _caches(result: RunResult) -> Table:
    all_ = [("icache", result.icache), ("dcache", result.dcache), *result.memory_caches.items()]
    there = [(name, cache) for name, cache in all_ if cache is not None]
    values: list[tuple[Cell, ...]] = [
        (
            name,
            *(cache.accesses, cache.misses, f"{cache.miss_ratio:.2%}"),
            *(cache.evictions, cache.write_backs, cache.refill_bytes, cache.stall_cycles),
        )
        for name, cache in there
    ]
    return Table(
        "Caches",
        ("cache", "accesses", "misses", "ratio", "evictions", "written back", "bytes in", "stall cycles"),
        values,
    )


def _lost(result: RunResult, top: int) -> Table:
    """What exact cycles were lost to, by function."""
    return _by_cause("Cycles lost", "function", [(f.name, f.lost_cycles) for f in result.functions[:top]])


def _lines(result: RunResult, top: int) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (_place(each), each.cycles, share(each.cycles, result.cycles), each.instructions)
        for each in result.lines[:top]
        if each.cycles
    ]
    return Table("Lines", ("line", "cycles", "share", "instructions"), rows)


def _lost_lines(result: RunResult, top: int) -> Table:
    most = sorted(result.lines, key=lambda each: -sum(each.lost_cycles.values()))
    return _by_cause("Cycles lost by line", "line", [(_place(each), each.lost_cycles) for each in most[:top]])


def _place(each: LineProfile) -> str:
    return f"{each.file}:{each.line}" if each.line else each.file


def _by_cause(title: str, what: str, lost: list[tuple[str, dict[str, int]]]) -> Table:
    shown = [(name, cycles) for name, cycles in lost if cycles]
    causes = list(dict.fromkeys(cause for _, cycles in shown for cause in cycles))
    rows: list[tuple[Cell, ...]] = [(name, *(cycles.get(cause) for cause in causes)) for name, cycles in shown]
    return Table(title, (what, *(cause.replace("_", "-") for cause in causes)), rows)


def _functions(result: RunResult, top: int) -> Table:
    shown = [each for each in result.functions[:top] if each.cycles]
    columns = ["function", "cycles", "share", "instructions"]
    rows: list[list[Cell]] = [
        [each.name, each.cycles, share(each.cycles, result.cycles), each.instructions] for each in shown
    ]
    for name in ("icache", "dcache"):
        if getattr(result, name) is not None:
            columns.append(f"{name} misses")
            for row, each in zip(rows, shown, strict=True):
                row.append(getattr(each, f"{name}_misses"))
    return Table("Functions", tuple(columns), [tuple(row) for row in rows])


def _accelerator(result: RunResult) -> Table:
    report = result.accelerator
    rows: list[tuple[Cell, ...]] = []
    if report is not None:
        failed = f" ({report.failed_commands:,} failed)" if report.failed_commands else ""
        moved = report.traffic
        split = report.cycles
        stall = "stall cycles", None if split else report.stall_cycles, "{:,} (waiting for memory)"
        told: list[tuple[str, float | None, str]] = [
            ("commands", report.commands, f"{{:,}}{failed}"),
            ("MACs", report.macs, "{:,}"),
            ("busy cycles", report.busy_cycles, "{:,}"),
            stall,
            ("  issue", split.issue if split else None, "{:,}"),
            ("  compute", split.compute if split else None, "{:,}"),
            ("  fill and drain", split.fill_drain if split else None, "{:,}"),
            ("  requantise", split.requantise if split else None, "{:,}"),
            ("  memory stall", split.stall if split else None, "{:,}"),
            ("idle cycles", split.idle if split else None, "{:,}"),
            ("core waited", report.core_wait_cycles, "{:,} cycles"),
            ("utilisation", report.utilisation, "{:.1%} of the PE array while busy"),
        ]
        rows = [(name, text.format(value)) for name, value, text in told if value is not None]
        if report.commands is not None or moved.load.count or moved.store.count:
            rows.append(("moved", f"{moved.load.bytes:,} bytes in, {moved.store.bytes:,} bytes out"))
    return Table(f"Coprocessor {report.name if report else ''}", ("", ""), rows, left=2, elastic=1)


def _levels(result: RunResult) -> Table:
    levels = result.accelerator.levels if result.accelerator else []
    rows: list[tuple[Cell, ...]] = [
        (each.level, each.element, each.bits, each.reads, each.writes) for each in levels if each.reads or each.writes
    ]
    return Table("Coprocessor's elements by level", ("level", "element", "bits", "reads", "writes"), rows, left=2)


def _energy(result: RunResult) -> Table:
    report = result.energy
    if report is None:
        return Table("", (), [])
    rows: list[tuple[Cell, ...]] = [
        (
            *(each.component, each.part, _count(each.count), joules(each.pj / each.count)),
            *(joules(each.pj), f"{each.pj / report.pj:.1%}" if report.pj else "-"),
            f"{joules(each.low_pj)} to {joules(each.high_pj)}",
        )
        for each in report.components
        if each.pj
    ]
    rows.append(("total", "", "", "", joules(report.pj), "", f"{joules(report.low_pj)} to {joules(report.high_pj)}"))
    title = f"Energy, {report.process} at {report.voltage:g} V (docs/energy.md)"
    return Table(title, ("component", "part", "events", "each", "energy", "share", "between"), rows, left=2, elastic=1)


def _area(result: RunResult) -> Table:
    report = result.area
    if report is None:
        return Table("", (), [])
    rows: list[tuple[Cell, ...]] = [
        (each.name, f"{each.mm2:.3g}", f"{each.low_mm2:.3g} to {each.high_mm2:.3g}") for each in report.parts
    ]
    rows.append(("total", f"{report.mm2:.3g}", f"{report.low_mm2:.3g} to {report.high_mm2:.3g}"))
    title = f"Area of the coprocessor, {report.process}: {report.kge:.0f} kGE (docs/energy.md)"
    return Table(title, ("part", "mm2", "between"), rows)


def _energy_shares(result: RunResult, top: int) -> Table:
    report = result.energy
    shown = (report.layers or report.functions)[:top] if report is not None else []
    rows: list[tuple[Cell, ...]] = [
        (
            *(each.name, joules(each.pj), f"{each.pj / report.pj:.1%}" if report and report.pj else "-"),
            f"{joules(each.low_pj)} to {joules(each.high_pj)}",
        )
        for each in shown
    ]
    what = "layer" if report is not None and report.layers else "function"
    return Table(f"Energy by {what}", (what, "energy", "share", "between"), rows)


def _count(number: float) -> str:
    return short(round(number))


# --------------------------------------------------------------------------------------------------------------- values


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent."""
    return f"{part / whole:.1%}" if whole else "-"


def duration(seconds: float) -> str:
    """A time of the modelled core with four digits: ``12.35 ms``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def joules(pj: float) -> str:
    """An energy with three digits: ``12.3 uJ``."""
    for unit, scale in (("J", 1e12), ("mJ", 1e9), ("uJ", 1e6), ("nJ", 1e3)):
        if pj >= scale:
            return f"{pj / scale:.3g} {unit}"
    return f"{pj:.3g} pJ"


def short(number: int) -> str:
    """At most six characters: ``12345`` as it is, ``1.235M`` above."""
    if abs(number) < 100_000:
        return str(number)
    value = float(number)
    for suffix in ("k", "M", "G", "T", "P", "E"):
        value /= 1000
        text = f"{value:.4g}"
        if abs(float(text)) < 1000:
            return text + suffix
    return f"{number:.0e}"


# ------------------------------------------------------------------------------------------------------------- printing


def width_of(file: TextIO) -> int:
    """Columns of a terminal, of COLUMNS in the environment, else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return max(20, int(columns))
    try:
        return max(20, os.get_terminal_size(file.fileno()).columns)
    except (OSError, ValueError):  # no terminal, no file descriptor
        return DEFAULT_WIDTH


def print_tables(tables: list[Table], file: TextIO) -> None:
    """Print to a terminal with rich, to anything else as plain text."""
    if file.isatty():
        _print_rich(tables, file)
        return
    text = render(tables, width_of(file))
    encoding = file.encoding or "utf-8"
    file.write(text.encode(encoding, "replace").decode(encoding))  # a symbol's name may not fit a C locale


def render(tables: list[Table], width: int = DEFAULT_WIDTH) -> str:
    """Plain aligned text; no line is longer than `width` columns."""
    return "\n".join(_render(table, width) for table in tables)


def _render(table: Table, width: int) -> str:
    rows = [table.columns, *_texts(table.rows, str_of=lambda number: f"{number:,}")]
    if _total(rows) > width:
        rows = [table.columns, *_texts(table.rows, str_of=short)]
    widths = _widths(rows)
    excess = _total(rows) - width
    if excess > 0:
        widths[table.elastic] = max(MIN_NAME, widths[table.elastic] - excess)
    lines = [cut(table.title, width)] if table.title else []
    for row in rows:
        if not any(row):
            continue
        cells = [
            cut(cell, size).ljust(size) if index < table.left else cut(cell, size).rjust(size)
            for index, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(cut("  ".join(cells).rstrip(), width))
    return "\n".join(lines) + "\n"


def cut(text: str, width: int) -> str:
    """`text`, or its beginning and two dots."""
    return text if len(text) <= width else text[: max(0, width - 2)] + ".."[:width]


def _texts(rows: list[tuple[Cell, ...]], str_of: Callable[[int], str]) -> list[tuple[str, ...]]:
    return [
        tuple("-" if cell is None else cell if isinstance(cell, str) else str_of(cell) for cell in row) for row in rows
    ]


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _total(rows: list[tuple[str, ...]]) -> int:
    widths = _widths(rows)
    return sum(widths) + 2 * (len(widths) - 1)


def _print_rich(tables: list[Table], file: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=file)
    for table in tables:
        headed = any(table.columns)
        drawn = RichTable(
            title=Text(table.title) if table.title else None,
            title_justify="left",
            box=box.SIMPLE if headed else None,
            show_header=headed,
        )
        for index, heading in enumerate(table.columns):
            drawn.add_column(
                Text(heading), justify="left" if index < table.left else "right", overflow="ellipsis", no_wrap=True
            )
        exact = _texts(table.rows, str_of=lambda number: f"{number:,}")
        narrow = _total([table.columns, *exact]) + 2 * len(table.columns) > console.width
        for row in _texts(table.rows, str_of=short) if narrow else exact:
            drawn.add_row(*map(Text, row))  # Text: a name in brackets is no markup
        console.print(drawn)
