"""`rvsim caches`: the misses of caches of every size and associativity, from one run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rvsim.cli import run
from rvsim.errors import UsageError

if TYPE_CHECKING:
    from rvsim.machine.reuse import ReuseResult, Stream
    from rvsim.profile.tables import Cell, Table

HELP = "run a program and print what caches of every size and associativity would miss"
GUEST_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim caches`."""
    parser.description = (
        "Run a program once and print the misses of LRU caches of every size and associativity, for data and for "
        "instructions (docs/caches.md). The exit status is the program's own."
    )
    run.add_machine_arguments(parser)
    parser.add_argument(
        "--accel", default="off", metavar="on|off|NAME|FILE.toml|FILE.py", help="the coprocessor (default: off)"
    )
    parser.add_argument("--core", default=run.DEFAULT_CORE, metavar="NAME|FILE.toml", help="the core's timing")
    parser.add_argument("--line", type=int, default=32, metavar="BYTES", help="bytes of a line (default: %(default)s)")
    parser.add_argument(
        "--max-size", type=int, default=256, metavar="KIB", help="largest cache in KiB (default: %(default)s)"
    )
    parser.add_argument("--max-ways", type=int, default=16, metavar="N", help="most ways (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Run `rvsim caches`; returns the exit status."""
    if args.icache or args.dcache:
        raise UsageError("rvsim caches looks at every cache: leave out --icache and --dcache")
    if args.timing in ("exact", "fast"):
        raise UsageError(f"--timing {args.timing}: rvsim caches counts misses, not cycles; leave the option out")
    args.timing = "table"
    stdout = run.Stream(sys.stderr if args.json == "-" else sys.stdout)
    program = run.find_program(args.elf)
    run.check_files(args, program)
    machine = run.build_machine(
        program,
        args,
        core=args.core,
        accel=args.accel,
        stdout=stdout.write,
        stderr=run.Stream(sys.stderr).write,
        stdin=run.read_stdin,
    )
    from rvsim.machine.reuse import ReuseDistances

    distances = ReuseDistances(machine, args.line, args.max_size << 10, args.max_ways)
    ended = machine.run(args.max_instructions)
    stdout.end()
    run.report_end(ended)
    result = distances.result()
    if args.json:
        run.write_json(args.json, result.to_json())
    if not args.quiet and args.json != "-":
        from rvsim.profile.tables import print_tables

        print_tables(tables(result), sys.stdout)
    return ended.exit_status


def tables(result: ReuseResult) -> list[Table]:
    """Miss ratios by size and ways, and the misses of each power of two of ways."""
    return [
        _table(f"{name}: {stream.accesses:,} accesses, misses of lines of {result.line_bytes} bytes", stream)
        for name, stream in (("Data cache", result.data), ("Instruction cache", result.fetch))
    ]


def _table(title: str, stream: Stream) -> Table:
    from rvsim.profile.tables import Table, share

    by_shape = {(each.size_bytes, each.ways): each.misses for each in stream.caches}
    most = max(each.ways for each in stream.caches)
    ways = [1 << n for n in range(most.bit_length())]
    rows: list[tuple[Cell, ...]] = []
    for size in sorted({each.size_bytes for each in stream.caches if each.ways == 1}):
        cells: list[Cell] = []
        for n in ways:
            misses = by_shape.get((size, n))
            cells += [misses, None if misses is None else share(misses, stream.accesses)]
        rows.append((_size(size), *cells))
    columns = ("size", *(text for n in ways for text in (f"{n} way{'s' * (n > 1)}", "ratio")))
    return Table(title, columns, rows)


def _size(size: int) -> str:
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"
