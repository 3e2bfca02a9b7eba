"""`rvsim asm`: an assembler source to an executable."""

from __future__ import annotations

import argparse
import os
import sys

from rvsim.cli.run import check_writable, write_file
from rvsim.errors import InputFileError, OutputError, UsageError

HELP = "assemble a source in GNU syntax to an executable"
MAX_SOURCE = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim asm`."""
    parser.description = (
        "Assemble a source in GNU as syntax to an ELF with symbols and line information, which runs without a linker. "
        "Instructions are those of the descriptions, files of --isa-ext included."
    )
    parser.add_argument("source", metavar="FILE.s", help="the source; - for standard input")
    parser.add_argument("-o", "--output", required=True, metavar="ELF", help="the ELF to write")
    parser.add_argument("--isa", metavar="NAME", help="the instruction set, such as rv32imac_zba (default: rv32imc)")
    parser.add_argument(
        "--isa-ext", action="append", default=[], metavar="FILE", help="add the instructions of a CoreDSL file"
    )
    parser.add_argument(
        "--accel", default="off", metavar="on|off|NAME|FILE.toml|FILE.py", help="add a coprocessor's instructions"
    )
    parser.add_argument(
        "--text", type=_address, default=0x8000_0000, metavar="ADDR", help="address of .text (default: 0x80000000)"
    )
    parser.add_argument(
        "--define", action="append", default=[], metavar="NAME=VALUE", help="set a symbol before the first line"
    )
    parser.add_argument("--relax", action="store_true", help="shorten calls to single jumps where they reach")
    parser.add_argument("--listing", metavar="FILE|-", help="write addresses, bytes and source lines")


def main(args: argparse.Namespace) -> int:
    """Run `rvsim asm`; returns the exit status."""
    defines = dict(map(_definition, args.define))
    _check_outputs(args)
    source, name = _read(args.source)
    from rvsim.asm import assemble_program

    image, assembler = assemble_program(
        source,
        isa=args.isa,
        name=name,
        text=args.text,
        defines=defines,
        isa_ext=_extensions(args.isa_ext, args.accel),
        folder=os.path.dirname(os.path.abspath(args.source)) if args.source != "-" else os.getcwd(),
        relax=args.relax,
        compile_folder=os.getcwd(),
    )
    for warning in assembler.warnings:
        print(f"rvsim: {warning}", file=sys.stderr)
    write_file(args.output, image)
    if args.listing:
        from rvsim.asm.listing import listing

        text = listing(assembler)
        if args.listing == "-":
            sys.stdout.write(text)
        else:
            write_file(args.listing, text.encode("utf-8", "surrogateescape"))
    return 0


def _extensions(files: list[str], accel: str) -> list:
    found = []
    if accel != "off":
        from accel import registry

        if (coprocessor := registry.load(accel)) is not None:
            found.append(coprocessor.isa())
    if not files:
        return found
    from pathlib import Path

    from rvsim.isa.model import load_extension

    return [*found, *(load_extension(Path(file)) for file in files)]


def _read(path: str) -> tuple[str, str]:
    """The source's text and its name in messages."""
    try:
        if path == "-":
            data, name = sys.stdin.buffer.read(MAX_SOURCE + 1), "<stdin>"
        else:
            with open(path, "rb") as file:
                data, name = file.read(MAX_SOURCE + 1), path
    except OSError as error:
        raise InputFileError(f"{path}: cannot read the source: {error.strerror}") from None
    if len(data) > MAX_SOURCE:
        raise InputFileError(f"{name}: expected a source of at most {MAX_SOURCE >> 20} MiB, found a larger one")
    try:
        return data.decode("utf-8-sig"), name
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputFileError(
            f"{name}:{line}: expected text in UTF-8, found the byte {data[error.start]:#04x}"
        ) from None


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse what cannot be written, or must not be lost, before assembling."""
    outputs = [path for path in (args.output, args.listing) if path and path != "-"]
    inputs = [path for path in (args.source, *args.isa_ext) if path != "-"]
    if args.output == "-":
        raise UsageError("-o: expected a file for the ELF, found -; name a file")
    for path in outputs:
        check_writable(path)
        for each in inputs:
            if os.path.realpath(path) == os.path.realpath(each) or (
                os.path.exists(path) and os.path.exists(each) and os.path.samefile(path, each)
            ):
                raise UsageError(f"{path} is a source itself: name another file to write")
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        raise UsageError(f"-o and --listing both name {outputs[0]}: name two files")
    if not os.path.isfile(args.output):
        return
    try:
        with open(args.output, "rb") as file:
            head = file.read(4)
    except OSError:
        return
    if head not in (b"\x7fELF", b""):
        # A mistyped -o must not cost a file.
        raise OutputError(f"{args.output} exists and is no ELF, so it is not replaced: name another file with -o")


def _address(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32 or value % 2:
        raise argparse.ArgumentTypeError(f"expected an even address below 2^32, found {text!r}")
    return value


def _definition(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    try:
        number = int(value, 0) if equals else 1
    except ValueError:
        number = 1 << 64
    if (
        not name.replace("_", "a").replace(".", "a").isalnum()
        or name[0].isdigit()
        or not -(1 << 63) <= number < 1 << 64
    ):
        raise UsageError(f"--define: expected NAME=NUMBER, found {text!r}")
    return name, number
