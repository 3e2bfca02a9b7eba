"""`rvsim disasm`: a program's instructions, with symbols, source lines and execution counts."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rvsim.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rvsim.isa.ir import Isa
    from rvsim.machine.elf import Program

HELP = "disassemble a program; with source lines and execution counts"
GUEST_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim disasm`."""
    parser.description = "Print the executable sections as 'objdump -d -M no-aliases' does. --counts runs the program."
    parser.add_argument("elf", metavar="ELF", help="a program, or the name of a bundled one (rvsim examples)")
    parser.add_argument("args", nargs="*", default=[], help="with --counts: the program's arguments")
    parser.add_argument(
        "--isa", metavar="ISA", help="know only this set, such as rv32imc (default: all that rvsim has)"
    )
    parser.add_argument(
        "--isa-ext", action="append", default=[], metavar="FILE", help="know a CoreDSL file's instructions"
    )
    parser.add_argument(
        "--accel",
        default="off",
        metavar="on|off|NAME|FILE.toml|FILE.py",
        help="know a coprocessor's instructions, those of conv by default; with --counts, run with it (default: off)",
    )
    parser.add_argument("--function", metavar="NAME", help="only this function or symbol")
    parser.add_argument("--start", metavar="ADDR|SYMBOL", help="begin there")
    parser.add_argument("--stop", metavar="ADDR|SYMBOL", help="end before that")
    parser.add_argument("--source", action="store_true", help="print source lines between the instructions")
    counts = parser.add_argument_group("execution counts")
    counts.add_argument(
        "--counts", action="store_true", help="run the program; print how often each instruction ran, and its cycles"
    )
    counts.add_argument("--max-instructions", type=int, metavar="N", help="stop after N retired instructions")
    counts.add_argument(
        "--core", default="ibex-small", metavar="NAME|FILE.toml", help="the core (default: %(default)s)"
    )
    counts.add_argument(
        "--platform", metavar="NAME|FILE.toml", help="memory regions, clock and devices (docs/platforms.md)"
    )
    counts.add_argument(
        "--timing",
        choices=("auto", "table", "exact"),
        default="auto",
        help="as of rvsim run; with exact cycles, what each instruction lost of them is printed behind it",
    )


def main(args: argparse.Namespace) -> int:
    """Run `rvsim disasm`; returns the exit status."""
    from rvsim.cli.run import find_program

    program = find_program(args.elf)
    start, stop = _bounds(args, program)
    isas = _isas(args)
    counts, lost = _count(args, program) if args.counts else (None, None)

    from rvsim.profile.listing import Listing

    print(f"\n{program.path}:     file format elf32-littleriscv\n")
    for line in Listing(program, isas, counts, args.source, lost).lines(start, stop):
        print(line)
    return 0


def _isas(args: argparse.Namespace) -> list[Isa]:
    from accel import registry
    from rvsim.isa.bundle import bundled

    standard = bundled("rv32")
    if args.isa:
        import msgspec

        from rvsim.isa.select import select

        known = zip(standard.instructions, select(args.isa).enabled, strict=True)
        standard = msgspec.structs.replace(standard, instructions=[each for each, enabled in known if enabled])
    coprocessor = registry.load("on" if args.accel == "off" else args.accel)
    isas = [standard, *([coprocessor.isa()] if coprocessor else [])]
    if args.isa_ext:
        from pathlib import Path

        from rvsim.isa.model import load_extension

        isas += [load_extension(Path(file)) for file in args.isa_ext]
    return isas


def _bounds(args: argparse.Namespace, program: Program) -> tuple[int, int]:
    if args.function is None:
        start = _address("--start", args.start, program) if args.start else 0
        stop = _address("--stop", args.stop, program) if args.stop else 1 << 32
        if start >= stop:
            raise UsageError(f"--stop {stop:#x} is not behind --start {start:#x}: nothing to print")
        return start, stop
    if args.start or args.stop:
        raise UsageError("--function and --start or --stop: give one or the other")
    start = _address("--function", args.function, program)
    symbol = program.symbol(args.function)
    if symbol is not None and symbol.size:
        return start, symbol.end
    # A label reaches to the next symbol.
    symbols = (*program.functions, *program.objects, *program.labels)
    return start, min((s.address for s in symbols if s.address > start), default=1 << 32)


def _address(option: str, text: str, program: Program) -> int:
    symbol = program.symbol(text)
    if symbol is not None:
        return symbol.address
    try:
        value = int(text, 0)
    except ValueError:
        from rvsim.cli.arguments import nearest

        hint = nearest(text, [s.name for s in program.functions]) if program.functions else "the program has no symbols"
        raise UsageError(f"{option}: {program.path} has no symbol {text!r}; {hint}") from None
    if not 0 <= value < 1 << 32:
        raise UsageError(f"{option}: expected an address of 32 bits, found {text}")
    return value


def _count(
    args: argparse.Namespace, program: Program
) -> tuple[Mapping[int, tuple[int, int]], Mapping[int, Mapping[str, int]]]:
    """Run the program, its output on stderr, and return by address executions and cycles, and cycles lost."""
    from rvsim.cli.run import Stream, read_stdin, report_end
    from rvsim.isa.select import DEFAULT
    from rvsim.machine import Machine

    stream = Stream(sys.stderr)
    machine = Machine.from_elf(
        program,
        args=tuple(args.args),
        core=args.core,
        accel=args.accel,
        isa=args.isa or DEFAULT,
        isa_ext=tuple(args.isa_ext),
        platform=args.platform,
        timing=args.timing,
        stdout=stream.write,
        stderr=stream.write,
        stdin=read_stdin,
    )
    report_end(machine.run(args.max_instructions))
    stream.end()
    return machine.instruction_counts(), machine.lost_cycles()
