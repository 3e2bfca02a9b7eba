"""`rvsim run`: one program on one configuration."""

from __future__ import annotations

import os
import sys

from rvsim.errors import ElfError, InputFileError, OutputError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    import numpy

    from rvsim.energy import EnergyParameters
    from rvsim.machine import Machine
    from rvsim.machine.elf import Program
    from rvsim.machine.result import RunResult

HELP = "run a program and count cycles, instructions and memory traffic"
GUEST_ARGUMENTS = True
DEFAULT_CORE = "ibex-small"
# As rvsim.isa.select.DEFAULT and rvsim.machine.memory.DEFAULT_LIMIT, which --help does not import.
DEFAULT_ISA = "rv32imc"
DEFAULT_MEMORY_MIB = 1024
DEFAULT_KONATA = 100_000  # as rvsim.profile.konata.DEFAULT_COUNT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim run`."""
    parser.description = (
        "Run a program and print what it took. The exit status is the program's own; 124: --max-instructions reached, "
        "130: interrupted, 132: illegal instruction, 133: breakpoint, 134: other trap, 139: access fault."
    )
    add_machine_arguments(parser, ", or a snapshot of --save")
    parser.add_argument(
        "--accel", default="off", metavar="on|off|NAME|FILE.toml|FILE.py", help="the coprocessor (default: off)"
    )
    parser.add_argument(
        "--core", default=DEFAULT_CORE, metavar="NAME|FILE.toml", help="the core's timing (default: %(default)s)"
    )
    parser.add_argument("--output", metavar="FILE.npy", help="write the program's output tensor after a normal exit")
    parser.add_argument("--commit-log", metavar="FILE", help="write a line for each retired instruction, as Spike does")
    parser.add_argument(
        "--konata",
        metavar="FILE",
        help="with exact cycles: write the pipeline for the viewer Konata (docs/pipelines.md)",
    )
    parser.add_argument(
        "--konata-from", metavar="CYCLE|roi|FUNCTION", help="where it begins (default: with the first instruction)"
    )
    parser.add_argument(
        "--konata-count",
        type=_count,
        default=DEFAULT_KONATA,
        metavar="N",
        help="most instructions of it (default: %(default)s)",
    )
    parser.add_argument(
        "--lines", action="store_true", help="count by source line too: cycles and, with exact cycles, what lost them"
    )
    parser.add_argument(
        "--signature", metavar="FILE", help="write the memory from begin_signature to end_signature after the run"
    )
    parser.add_argument(
        "--signature-granularity",
        type=int,
        choices=(1, 2, 4, 8, 16),
        default=4,
        metavar="BYTES",
        help="bytes of a line of the signature (default: %(default)s)",
    )
    add_energy_argument(parser)
    parser.add_argument("--gdb", metavar="[HOST:]PORT", help="wait for a debugger before the first instruction")
    parser.add_argument(
        "--save", metavar="FILE", help="write a snapshot when the run stops; run FILE goes on from there"
    )


def add_energy_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--energy``."""
    parser.add_argument(
        "--energy",
        metavar="NODE|FILE.toml|auto",
        help="estimate the energy, and the coprocessor's area, in a process such as 45nm-lop or 28nm; auto: the "
        "platform's (docs/energy.md)",
    )


def add_machine_arguments(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Declare what every command that runs programs takes; `also` says what else ELF may be."""
    parser.add_argument("elf", metavar="ELF", help=f"a program, or the name of a bundled one (rvsim examples){also}")
    parser.add_argument(
        "args", nargs="*", default=[], help="the program's arguments; after -- they may begin with a dash"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, such as core.clock_mhz=50 or accel.pe_rows=4",
    )
    parser.add_argument(
        "--platform", metavar="NAME|FILE.toml", help="memory regions, clock and devices (docs/platforms.md)"
    )
    for option, what in (("--icache", "instruction"), ("--dcache", "data")):
        parser.add_argument(
            option,
            metavar="SIZE,WAYS,LINE",
            help=f"the core's {what} cache, such as 16K,4,32 or 8K,2,16,plru"
            + (",wt,nwa" if what == "data" else "")
            + " (docs/caches.md)",
        )
    parser.add_argument("--max-instructions", type=_count, metavar="N", help="stop after N retired instructions")
    parser.add_argument(
        "--isa", metavar="ISA", help=f"the instruction set, such as rv32imac_zba_zbb_zbs_zcb (default: {DEFAULT_ISA})"
    )
    parser.add_argument(
        "--memory", action="append", default=[], metavar="NAME=ADDR,SIZE_KIB", help="add a memory region"
    )
    parser.add_argument(
        "--memory-limit",
        type=_count,
        metavar="MIB",
        help=f"most memory that the guest may have (default: {DEFAULT_MEMORY_MIB} MiB)",
    )
    parser.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME[=ADDR]",
        help="add or move a device: clint, uart, finisher, rtl-bench; none for a machine without",
    )
    parser.add_argument("--host-dir", metavar="DIR", help="the one folder whose files the program reaches")
    parser.add_argument(
        "--isa-ext", action="append", default=[], metavar="FILE", help="add the instructions of a CoreDSL file"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "interp", "jit"),
        help="execute by the interpreter or by compiled code; no count differs (default: auto)",
    )
    parser.add_argument(
        "--timing",
        choices=("auto", "table", "exact", "fast"),
        default="auto",
        help="cycles from the core's table, from its pipeline step by step, or from its pipeline over the run's "
        "counts (default: exact with --platform, for cores with a model)",
    )
    parser.add_argument("--input", metavar="FILE.npy", help="put this into the program's input tensor before the start")
    parser.add_argument("--json", metavar="FILE|-", help="write all counts as JSON (docs/run-schema.md)")
    parser.add_argument("--quiet", action="store_true", help="print no table")


def main(args: argparse.Namespace) -> int:
    """Run `rvsim run`; returns the exit status."""
    # With --json - stdout is one JSON document: what the guest says goes to stderr.
    stdout = Stream(sys.stderr if args.json == "-" else sys.stdout)
    energy_settings = take_energy_settings(args)
    streams: dict[str, Any] = {"stdout": stdout.write, "stderr": Stream(sys.stderr).write, "stdin": read_stdin}
    if is_snapshot(args.elf):
        machine = load_snapshot(args, streams)
    else:
        program = find_program(args.elf)
        check_files(args, program)
        machine = build_machine(program, args, core=args.core, accel=args.accel, **streams)
    if not args.quiet:
        for warning in machine.warnings:
            print(f"rvsim: warning: {warning}", file=sys.stderr)
    energy = energy_of(machine, args, energy_settings) if args.energy else None
    warned = len(machine.warnings)
    result = run_machine(machine, args)
    for warning in machine.warnings[warned:] if not args.quiet else ():
        print(f"rvsim: warning: {warning}", file=sys.stderr)
    if args.lines:
        result = result.replace(lines=machine.line_profile())
        if not any(each.line for each in result.lines):
            print(
                f"rvsim: {machine.program.path} has no DWARF line table; compile it with -g for --lines",
                file=sys.stderr,
            )
    stdout.end()
    report_end(result)
    if args.output and result.stop_reason == "exit":
        write_file(args.output, npy_bytes(machine.read_output()))
    elif args.output:
        print(f"rvsim: {args.output} is not written: the program did not come to its end", file=sys.stderr)
    if args.signature:
        write_file(args.signature, machine.signature(args.signature_granularity).encode())
    if args.save:
        machine.save(args.save)
    if energy is not None:
        from rvsim.energy import add_area, add_energy

        result = add_area(add_energy(result, energy), energy)
        for what in result.energy.uncounted if result.energy and not args.quiet else ():
            print(f"rvsim: warning: energy: not counted: {what}", file=sys.stderr)
    if args.json:
        write_json(args.json, result.to_json())
    if not args.quiet and args.json != "-":
        from rvsim.profile.tables import print_tables, run_tables

        print_tables(run_tables(result), sys.stdout)
    return result.exit_status


def take_energy_settings(args: argparse.Namespace) -> dict[str, str]:
    """The settings ``energy.KEY`` without their prefix, out of `args.set`: they are not the machine's."""
    pairs = [pair for pair in args.set if pair.strip().startswith("energy.")]
    if not pairs:
        return {}
    if not args.energy:
        raise UsageError(f"--set: {pairs[0]} needs --energy NODE, FILE.toml or auto")
    args.set = [pair for pair in args.set if pair not in pairs]
    return {key.partition(".")[2]: value for key, value in parse_settings(pairs).items()}


def energy_of(machine: Machine, args: argparse.Namespace, settings: dict[str, str]) -> EnergyParameters:
    """The parameters of the energy estimate, checked with the machine before it runs."""
    from rvsim.energy import estimate, load_energy

    energy = load_energy(args.energy, settings, machine.platform.energy if machine.platform else None)
    estimate(machine.result(), energy)
    return energy


def run_machine(machine: Machine, args: argparse.Namespace) -> RunResult:
    """Run to the end, with a debugger, a commit log and a view of the pipeline where they are asked for."""
    if args.konata:
        return _run_viewed(machine, args)
    return _run_logged(machine, args)


def _run_logged(machine: Machine, args: argparse.Namespace) -> RunResult:
    if not args.commit_log:
        return _run_or_debug(machine, args)
    log = OutputFile(args.commit_log)
    machine.log_commits(log.write)
    result = _run_or_debug(machine, args)
    machine.log_commits(None)
    log.close()
    return result


def _run_viewed(machine: Machine, args: argparse.Namespace) -> RunResult:
    from rvsim.profile.konata import Konata

    start = args.konata_from
    try:
        start = int(start, 0) if start is not None else None
    except ValueError:
        pass  # a name
    if isinstance(start, int) and not 0 <= start < 1 << 63:
        raise UsageError(f"--konata-from: expected a cycle from 0 on, found {args.konata_from}")
    file = OutputFile(args.konata)
    view = Konata(machine, file.write, start, args.konata_count)
    result = _run_logged(machine, args)
    cut = view.finish()
    file.close()
    if cut:
        print(
            f"rvsim: {args.konata} ends behind {view.instructions} instructions; --konata-count N allows more",
            file=sys.stderr,
        )
    elif not view.instructions:
        print(
            f"rvsim: {args.konata} is empty: the run did not come to {args.konata_from or 'an instruction'}",
            file=sys.stderr,
        )
    return result


def _run_or_debug(machine: Machine, args: argparse.Namespace) -> RunResult:
    if is_snapshot(args.elf) and machine.stop.reason == "exit":
        return machine.result()  # saved behind its end: there is nothing left to do but to tell of it
    if not args.gdb:
        return machine.run(args.max_instructions)

    from rvsim.debug.server import parse_address, serve

    limit = args.max_instructions
    end = serve(machine, *parse_address(args.gdb), max_instructions=limit)
    if end == "detach":
        return machine.run(limit and max(1, limit - machine.instructions))
    if end != "exit":
        machine.abandon("the debugger ended the run" if end == "kill" else "interrupted")
    return machine.result()


def is_snapshot(path: str) -> bool:
    """Whether a file begins as `--save` writes them; a pipe is not looked into, what is read would be lost."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(14) == b"rvsim snapshot"
    except OSError:
        return False


def load_snapshot(args: argparse.Namespace, streams: dict[str, Any]) -> Machine:
    """The machine of a snapshot: its configuration is the snapshot's."""
    given = [
        option
        for option, value in (
            ("ARGS", args.args),
            ("--core", args.core != DEFAULT_CORE),
            ("--set", args.set),
            ("--platform", args.platform),
            ("--icache", args.icache),
            ("--dcache", args.dcache),
            ("--memory", args.memory),
            ("--isa", args.isa),
            ("--isa-ext", args.isa_ext),
            ("--device", args.device),
            ("--input", args.input),
        )
        if value
    ]
    if given:
        raise UsageError(f"{args.elf} is a snapshot and has its own {', '.join(given)}: leave them out")

    from rvsim.machine import Machine

    limit = (args.memory_limit or DEFAULT_MEMORY_MIB) << 20
    accel = None if args.accel == "off" else args.accel
    machine = Machine.load(
        args.elf, accel=accel, host_dir=args.host_dir, memory_limit=limit, engine=args.engine, **streams
    )
    check_files(args, machine.program)
    return machine


def find_program(name: str) -> Program:
    """Read the program at a path, or the bundled one of that name; a path wins.

    Raises
    ------
    ElfError
        There is neither, or the file cannot run.
    """
    from rvsim.machine.elf import load_elf

    if not os.path.exists(name) and os.path.basename(name) == name:
        import kernels

        bundled = kernels.files()
        file = f"{name.removesuffix('.elf')}.elf"
        if file not in bundled:
            raise ElfError(f"{name} is neither a file nor a bundled program ({', '.join(bundled)}); check the path")
        # Messages and results name the program as the user did, not where it is installed.
        return load_elf(bundled[file]).replace(path=file)
    return load_elf(name)


def check_files(args: argparse.Namespace, program: Program) -> None:
    """Refuse what cannot work before the run, not after it."""
    tensors = program.io
    for option, tensor in (("input", tensors and tensors.input), ("output", tensors and tensors.output)):
        if getattr(args, option, None) and tensor is None:
            raise UsageError(
                f"--{option}: {program.path} declares no {option} tensor in its section .rvsim.io; "
                "'rvsim compile' makes programs that do"
            )
    options = ("json", "output", "commit_log", "konata", "signature", "save")
    named = {option: path for option in options if (path := getattr(args, option, None)) and path != "-"}
    written = list(named.values())
    for option in ("commit_log", "konata"):
        if getattr(args, "gdb", None) and option in named:
            raise UsageError(
                f"--gdb and --{option.replace('_', '-')} exclude each other: a debugger goes back and forth; log a run "
                "without it"
            )
    if getattr(args, "konata_from", None) and not args.konata:
        raise UsageError("--konata-from says where the file of --konata begins: name one (--konata FILE)")
    for path in written:
        check_writable(path)
        if os.path.exists(path) and os.path.exists(args.elf) and os.path.samefile(path, args.elf):
            raise UsageError(f"{path} is the program itself: name another file to write")
    if len({os.path.realpath(path) for path in written}) < len(written):
        raise UsageError(
            f"{' and '.join('--' + option.replace('_', '-') for option in named)} "
            f"{'both' if len(named) == 2 else 'partly'} name {written[0]}: name different files"
        )


def build_machine(
    program: Program,
    args: argparse.Namespace,
    *,
    core: str,
    accel: str,
    stdout: Callable[[bytes], Any],
    stderr: Callable[[bytes], Any],
    stdin: Callable[[int], bytes],
) -> Machine:
    """Build the machine that the options describe, its input tensor filled."""
    array = read_npy(args.input) if args.input else None
    settings = parse_settings(args.set)

    from rvsim.machine import Machine

    machine = Machine.from_elf(
        program,
        args=tuple(args.args),
        core=core,
        accel=accel,
        isa=args.isa or DEFAULT_ISA,
        platform=args.platform,
        icache=args.icache,
        dcache=args.dcache,
        settings=settings,
        isa_ext=tuple(args.isa_ext),
        memory=tuple(args.memory),
        memory_limit=(args.memory_limit or DEFAULT_MEMORY_MIB) << 20,
        devices=tuple(args.device),
        host_dir=args.host_dir,
        engine=args.engine,
        timing=args.timing,
        stdout=stdout,
        stderr=stderr,
        stdin=stdin,
    )
    machine.keep_counts = False  # nobody asks this result for another core
    if array is not None:
        machine.write_input(array)
    return machine


def report_end(result: RunResult, label: str = "") -> None:
    """Say on stderr why a run ended without an exit."""
    if result.message:
        print(f"rvsim: {label}{result.message}", file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------------- options


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict.

    Raises
    ------
    UsageError
        One has no key or no equals sign, or a key comes twice with different values.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key, value = key.strip(), value.strip()
        if not key or not equals:
            raise UsageError(f"--set: expected KEY=VALUE, found {pair!r}")
        if settings.setdefault(key, value) != value:
            raise UsageError(f"--set: {key} is set to {settings[key]} and to {value}; give it once")
    return settings


def _count(text: str) -> int:
    """A positive integer; 1_000_000 and 1e6 are allowed."""
    try:
        value = int(text, 0)
    except ValueError:
        try:
            value = int(float(text)) if float(text).is_integer() else 0
        except (ValueError, OverflowError):
            value = 0
    if not 0 < value < 1 << 63:
        import argparse

        raise argparse.ArgumentTypeError(f"expected a positive integer, found {text!r}")
    return value


# ---------------------------------------------------------------------------------------------------------------- files


class Stream:
    """Where a guest's bytes go."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._raw = file.buffer
        self._prompt = file.isatty() or file is sys.stderr
        self._last = b"\n"

    def write(self, data: bytes) -> None:
        """Pass the bytes on, at once where somebody may be watching."""
        self._raw.write(data)
        self._last = data[-1:] or self._last
        if self._prompt:
            self._raw.flush()

    def end(self) -> None:
        """Begin a new line for what follows, if the guest did not."""
        if self._last != b"\n":
            self.write(b"\n")
        self._raw.flush()


def read_stdin(size: int) -> bytes:
    """At most `size` bytes of our standard input; empty at its end."""
    # The size is the guest's and may be 4 GiB, which os.read would allocate.
    return os.read(sys.stdin.fileno(), min(size, 1 << 16)) if sys.stdin is not None else b""


def read_npy(path: str) -> numpy.ndarray:
    """Read one array, never more than the file holds and never pickled objects.

    Raises
    ------
    InputFileError
        The file cannot be read, or is no .npy file.
    """
    import numpy

    try:
        with open(path, "rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise InputFileError(f"--input: {path} is not a .npy file; write one with numpy.save")
        # Mapped: a header may state any shape, and only a mapping compares it with the file's size first.
        return numpy.ascontiguousarray(numpy.load(path, mmap_mode="r", allow_pickle=False))
    except OSError as error:
        raise InputFileError(f"--input: cannot read {path}: {error.strerror}") from None
    except Exception as error:  # numpy.load raises many kinds on rubbish
        if isinstance(error, InputFileError):
            raise
        what = " ".join(str(error).split())
        raise InputFileError(
            f"--input: {path} is a damaged .npy file: {what}; write it again with numpy.save"
        ) from None


def npy_bytes(array: numpy.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    import io

    import numpy

    file = io.BytesIO()
    numpy.save(file, array, allow_pickle=False)
    return file.getvalue()


def write_json(path: str, text: str) -> None:
    """Write a JSON document to a file, or to stdout for ``-``."""
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
    else:
        write_file(path, text.encode())


def check_writable(path: str) -> None:
    """Refuse a file that `write_file` could not write.

    Raises
    ------
    OutputError
        With the reason.
    """
    folder = os.path.dirname(os.path.realpath(path))
    if os.path.isdir(path):
        raise OutputError(f"cannot write {path}: it is a directory; name a file in it")
    if _is_special(path):
        return
    if not os.path.isdir(folder):
        raise OutputError(f"cannot write {path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: the folder {folder} is not writable")


def write_file(path: str, data: bytes) -> None:
    """Write a whole file or nothing: beside it first, then renamed over it.

    Raises
    ------
    OutputError
        With the reason.
    """
    target = path if _is_special(path) else os.path.realpath(path)
    temporary = target if _is_special(path) else f"{target}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            if temporary != target:
                os.replace(temporary, target)
        except BaseException:
            if temporary != target and os.path.exists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


class OutputFile:
    """A file that is written while the program runs.

    Raises
    ------
    OutputError
        By all of it, with the reason.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._error(error) from None

    def write(self, data: bytes) -> None:
        """Append."""
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Write the rest."""
        try:
            self._file.close()
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror}")


def _is_special(path: str) -> bool:
    """A device or pipe, which is written to and not replaced."""
    return os.path.exists(path) and not os.path.isfile(path)
