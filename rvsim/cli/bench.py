"""`rvsim bench`: CPU time of guests under rvsim and under every peer on this machine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rvsim.errors import InputFileError, OutputError, RvsimError, UsageError

HELP = "measure host speed beside the other RISC-V simulators of this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="counted rounds (default: %(default)s)")
    parser.add_argument("--guests", nargs="+", type=Path, metavar="ELF", help="guests (default: kernels/bench/*.elf)")
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="NAME",
        help="simulators (default: rvsim in each way of running it, and all that are found)",
    )
    parser.add_argument("--json", metavar="FILE", help="write every round, the machine and the versions; - is stdout")
    parser.add_argument(
        "--check",
        metavar="FILE",
        help="compare with a kept JSON: status 1 if a ratio to qemu-riscv32 fell by over 20 %%",
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the page docs/benchmarks.md")


def main(args: argparse.Namespace) -> int:
    """Measure, print a table and write what was asked for."""
    from rvsim.bench.markdown import markdown
    from rvsim.bench.measure import document, measure
    from rvsim.bench.peers import find_peers

    if args.rounds < 1:
        raise UsageError(f"--rounds: expected at least 1, found {args.rounds}")
    kept = _kept(args.check) if args.check else None
    guests = _guests(args.guests)
    _compile_bytecode()
    peers = find_peers(args.peers)
    instructions = {guest.stem: _instructions(guest) for guest in guests}
    rows = measure(guests, peers, args.rounds, instructions, progress=_progress)
    result = document(rows, peers, args.rounds, ["rvsim", *sys.argv[1:]])
    text = json.dumps(result, indent=2) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    else:
        _print_table(rows)
        if args.json:
            _write(args.json, text)
    if args.markdown:
        _write(args.markdown, markdown(result))
    if kept is None:
        return 0
    from rvsim.bench.check import falls

    fallen = falls(result, kept)
    for line in fallen:
        print(f"rvsim bench: {line}", file=sys.stderr)
    return 1 if fallen else 0


def _compile_bytecode() -> None:
    """Bytecode is part of an installation; PYTHONDONTWRITEBYTECODE may have kept a checkout from having it."""
    import compileall

    import rvsim

    for folder in rvsim.__path__:
        compileall.compile_dir(folder, quiet=2)


def _kept(path: str) -> dict[str, Any]:
    """An earlier measurement, read before the long one begins."""
    from rvsim.bench.check import ratios
    from rvsim.bench.measure import SCHEMA

    try:
        document = json.loads(Path(path).read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {document['schema']}")
        ratios(document)
        document["date"]
    except OSError as error:
        raise InputFileError(f"--check: cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputFileError(
            f"--check: expected {path} to be a document of rvsim bench --json, schema {SCHEMA} "
            f"({type(error).__name__}: {error}); measure one with make bench"
        ) from None
    return dict(document)


def _guests(named: list[Path] | None) -> list[Path]:
    if named is None:
        import kernels

        folder = Path(kernels.__file__).parent / "bench"
        named = sorted(folder.glob("*.elf"))
        if not named:
            raise UsageError(f"expected guests in {folder}, found no *.elf; name some with --guests")
    if missing := [str(path) for path in named if not path.is_file()]:
        raise UsageError(f"--guests: expected files, found none at {', '.join(missing)}")
    stems = [path.stem for path in named]
    if len({*stems}) < len(stems):
        raise UsageError(f"--guests: expected files with different names, found {', '.join(stems)}")
    return named


def _instructions(guest: Path) -> int:
    """Retired instructions of a guest, from one run that is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.json"
        command = [sys.executable, "-m", "rvsim", "run", str(guest), "--quiet", "--json", str(file)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip()[-400:] or "nothing on stderr"
            raise RvsimError(f"expected exit status 0 of `{' '.join(command)}`, found {done.returncode} ({said})")
        return int(json.loads(file.read_text())["instructions"])


def _progress(message: str) -> None:
    if os.isatty(2) or "left out" in message:
        print(f"rvsim bench: {message}", file=sys.stderr)


def _print_table(rows: list[dict[str, object]]) -> None:
    from rvsim.bench import targets
    from rvsim.bench.markdown import COLUMNS, cells

    _print_lines([COLUMNS, *map(cells, rows)])
    if met := targets.compared(rows):
        print()
        _print_lines([targets.COLUMNS, *met])


def _print_lines(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text)
    except OSError as error:
        raise OutputError(f"expected to write {file}, found: {error.strerror}; choose another path") from error
