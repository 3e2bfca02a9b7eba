"""`rvsim isa`: check a CoreDSL description, list instructions, show one."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rvsim.errors import InputFileError, UsageError

if TYPE_CHECKING:
    from rvsim.isa.ir import Instruction, Op

HELP = "check CoreDSL descriptions, list and show instructions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="isa_command", metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="parse a description, check types, encodings and overlaps")
    check.add_argument("files", nargs="+", metavar="FILE", help="a .core_desc file")
    check.add_argument(
        "--xlen",
        type=int,
        choices=(32, 64),
        default=32,
        help="width for sets that no core in the file fixes (default: 32)",
    )
    check.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="DIR",
        help="where imports are looked up besides the file's folder",
    )
    check.add_argument(
        "--lenient", action="store_true", help="warn about conversions that lose values instead of refusing them"
    )
    check.add_argument("--quiet", action="store_true", help="no warnings")
    listing = commands.add_parser("list", help="list instructions")
    show = commands.add_parser("show", help="show one instruction: encoding, assembly, behaviour")
    show.add_argument("mnemonic", metavar="MNEMONIC", help="such as addi or c.addi")
    for parser_ in (listing, show):
        parser_.add_argument(
            "--isa",
            metavar="NAME",
            help="only what a hart of this instruction set has, such as rv32imac_zba (default: all)",
        )
        parser_.add_argument(
            "--isa-ext", action="append", default=[], metavar="FILE", help="a CoreDSL file whose instructions are added"
        )
        parser_.add_argument(
            "--accel", metavar="NAME|FILE.toml|FILE.py", help="only this coprocessor's (default: those of all presets)"
        )


def main(args: argparse.Namespace) -> int:
    """Run one of them; the exit status."""
    return {"check": _check, "list": _list, "show": _show}[args.isa_command](args)


def _check(args: argparse.Namespace) -> int:
    from rvsim.isa.model import check_file

    status = 0
    for file in args.files:
        try:
            results = check_file(Path(file), [Path(d) for d in args.include], {"XLEN": args.xlen}, args.lenient)
        except InputFileError as error:
            # The other files are still worth checking.
            print(f"rvsim: error: {error}", file=sys.stderr)
            status = error.exit_status
            continue
        if not args.quiet:
            for warning in dict.fromkeys(w for isa in results for w in isa.warnings):
                print(f"warning: {warning}", file=sys.stderr)
        sets = ", ".join(f"{isa.name} {len(isa.instructions)}" for isa in results)
        print(f"{file}: ok; instructions: {sets}")
    return status


def _instructions(args: argparse.Namespace) -> list[Instruction]:
    """The bundled instructions that were asked for, those of coprocessors, and those of added files."""
    from accel import registry
    from rvsim.isa.bundle import bundled

    instructions = bundled("rv32").instructions
    if args.isa is not None:
        from rvsim.isa.select import select

        instructions = [i for i, on in zip(instructions, select(args.isa).enabled, strict=True) if on]
    if args.accel is None:
        isas = [bundled(kind) for kind in registry.kinds()]
    else:
        coprocessor = registry.load(args.accel)
        isas = [coprocessor.isa()] if coprocessor else []
    if args.isa_ext:
        from rvsim.isa.model import load_extension

        isas += [load_extension(Path(file)) for file in args.isa_ext]
    return [*instructions, *(i for isa in isas for i in isa.instructions)]


def _list(args: argparse.Namespace) -> int:
    rows = [(i.set, i.mnemonic + i.suffix, encoding_text(i), i.operands) for i in _instructions(args)]
    rows.sort(key=lambda row: (row[0], row[1]))
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]).rstrip())
    return 0


def _show(args: argparse.Namespace) -> int:
    from rvsim.isa.bundle import bundled
    from rvsim.isa.ccode import instruction_class
    from rvsim.isa.select import needs

    instructions = _instructions(args)
    wanted = args.mnemonic.lower()
    found = [i for i in instructions if i.mnemonic == wanted or i.name.lower() == wanted]
    if not found:
        if args.isa and (others := [i for i in bundled("rv32").instructions if wanted in (i.mnemonic, i.name.lower())]):
            raise UsageError(f"{args.isa} has no {wanted}: it comes with {' and '.join(sorted(needs(others[0])))}")
        near = difflib.get_close_matches(wanted, [i.mnemonic for i in instructions], 3)
        raise UsageError(
            f"no instruction {args.mnemonic!r}"
            + (f" in {args.isa}" if args.isa else "")
            + (f"; did you mean {' or '.join(near)}?" if near else "; see rvsim isa list")
        )
    for number, instruction in enumerate(found):
        if number:
            print()
        print(f"{instruction.mnemonic}{instruction.suffix} {instruction.operands}".rstrip())
        print(f"  set        {instruction.set} ({instruction.where})")
        if needed := needs(instruction):
            print(f"  extension  {' and '.join(sorted(needed))}")
        print(f"  encoding   {encoding_text(instruction)}")
        digits = 2 + 2 * instruction.size
        print(f"  mask       {instruction.mask:#0{digits}x}, match {instruction.match:#0{digits}x}")
        for field in instruction.fields:
            bits = ", ".join(f"{field.name}[{t + n - 1}:{t}] at {p + n - 1}:{p}" for p, t, n in field.slices)
            print(f"  field      {bits}")
        print(f"  class      {instruction_class(instruction)}")
        for note in instruction.notes:
            print(f"  note       {note}")
        print(
            "  predecoded " + "\n             ".join(op_lines(instruction.static))
            if instruction.static
            else "  predecoded nothing"
        )
        print(
            "  executed   " + "\n             ".join(op_lines(instruction.body))
            if instruction.body
            else "  executed   nothing"
        )
    return 0


def encoding_text(instruction: Instruction) -> str:
    """The encoding as fixed bits and field letters: ``0000000 rs2 rs1 000 rd 0110011``."""
    owner = [""] * (8 * instruction.size)
    for field in instruction.fields:
        for position, target, bits in field.slices:
            for n in range(bits):
                owner[position + n] = f"{field.name}[{target + bits - 1}:{target}]"
    parts: list[str] = []
    for bit in reversed(range(8 * instruction.size)):
        if instruction.mask >> bit & 1:
            digit = str(instruction.match >> bit & 1)
            if parts and set(parts[-1]) <= {"0", "1"}:
                parts[-1] += digit
            else:
                parts.append(digit)
        elif not parts or parts[-1] != (owner[bit] or "-"):
            parts.append(owner[bit] or "-")
    return " ".join(parts)


def op_lines(ops: list[Op], depth: int = 0) -> list[str]:
    """Micro-ops as text, one a line, nested blocks indented."""
    lines = []
    for op in ops:
        arguments = ", ".join(f"v{a}" for a in op.args)
        attribute = (
            ""
            if op.attr is None
            else f" [{', '.join(map(str, op.attr))}]"
            if isinstance(op.attr, list)
            else f" {op.attr}"
        )
        result = f"v{op.result} = " if op.result >= 0 else ""
        lines.append(f"{'  ' * depth}{result}{op.code}{attribute} {arguments}".rstrip())
        for number, body in enumerate(op.bodies):
            if number and body:
                lines.append("  " * depth + "else")
            lines += op_lines(body, depth + 1)
    return lines
