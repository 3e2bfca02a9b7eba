"""`rvsim compare`: one program on several configurations, side by side."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rvsim.cli import run
from rvsim.errors import UsageError

if TYPE_CHECKING:
    from rvsim.machine.elf import Program
    from rvsim.profile.compare import Outcome

HELP = "run a program on several configurations and compare"
GUEST_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `rvsim compare`."""
    parser.description = (
        "Run a program on every combination of cores and coprocessors named, one after the other; the first is the "
        "baseline. The exit status is 1 when the program's output or exit status differ, else the program's own."
    )
    run.add_machine_arguments(parser)
    run.add_energy_argument(parser)
    parser.add_argument(
        "--accel", default="off,on", metavar="NAME,NAME", help="the coprocessors (default: %(default)s)"
    )
    parser.add_argument(
        "--core", default=run.DEFAULT_CORE, metavar="NAME,NAME", help="the cores' timing (default: %(default)s)"
    )


def main(args: argparse.Namespace) -> int:
    """Run `rvsim compare`; returns the exit status."""
    cores, accels = _names("--core", args.core), _names("--accel", args.accel)
    energy = run.take_energy_settings(args)
    program = run.find_program(args.elf)
    run.check_files(args, program)
    stdin = _Replay()
    outcomes = []
    for core in cores:
        for accel in accels:
            label = "/".join([core] * (len(cores) > 1) + [accel] * (len(accels) > 1)) or accel
            outcome = _outcome(program, args, core, accel, label, stdin, energy)
            run.report_end(outcome.result, f"{label}: ")
            if outcome.result.stop_reason == "interrupted":
                return outcome.result.exit_status
            outcomes.append(outcome)

    from rvsim.profile.compare import compare, comparison_tables
    from rvsim.profile.tables import print_tables, width_of

    comparison = compare(outcomes)
    if args.json:
        run.write_json(args.json, comparison.to_json())
    if not args.quiet and args.json != "-":
        _print_guest_output(outcomes, comparison.identical)
        print_tables(comparison_tables(comparison, width_of(sys.stdout)), sys.stdout)
    for text in comparison.differences:
        print(f"rvsim: {text}", file=sys.stderr)
    return comparison.exit_status


def _outcome(
    program: Program,
    args: argparse.Namespace,
    core: str,
    accel: str,
    label: str,
    stdin: _Replay,
    settings: dict[str, str],
) -> Outcome:
    from rvsim.energy import add_area, add_energy, load_energy
    from rvsim.profile.compare import Outcome

    stdout, stderr = bytearray(), bytearray()
    stdin.rewind()
    machine = run.build_machine(
        program, args, core=core, accel=accel, stdout=stdout.extend, stderr=stderr.extend, stdin=stdin.read
    )
    energy = run.energy_of(machine, args, settings) if args.energy else load_energy()
    result = machine.run(args.max_instructions)
    sized = add_area(result, energy)
    if args.energy:
        result = add_energy(sized, energy)
    ended = result.stop_reason == "exit" and program.io is not None and program.io.output is not None
    return Outcome(
        label=label,
        result=result,
        area=sized.area,
        stdout=bytes(stdout),
        stderr=bytes(stderr),
        output=machine.read_output().tobytes() if ended else None,
    )


def _print_guest_output(outcomes: list[Outcome], identical: bool) -> None:
    """Show what the guests wrote last, so that a checksum can be seen to agree."""
    for outcome in outcomes:
        lines = outcome.stdout.decode("utf-8", "replace").splitlines()
        for line in lines[-OUTPUT_LINES:]:
            print(f"{outcome.label}: {line}")
    if identical:
        print("The same output, output tensor and exit status in all runs.\n")


def _names(option: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len({*names}) < len(names):
        raise UsageError(f"{option}: expected different names with commas between them, found {text!r}")
    return names


OUTPUT_LINES = 5
"""Lines of each guest's output that are shown."""


class _Replay:
    """Our standard input, the same for every run."""

    def __init__(self) -> None:
        self._seen = b""
        self._position = 0

    def rewind(self) -> None:
        self._position = 0

    def read(self, size: int) -> bytes:
        if self._position == len(self._seen):
            self._seen += run.read_stdin(size)
        data = self._seen[self._position : self._position + size]
        self._position += len(data)
        return data
