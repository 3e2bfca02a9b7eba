"""Run programs on the interpreter, the evaluator and qemu-riscv32, compare all they tell, and shrink what differs."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.machine.result import RunResult
from tests.differential.evaluator_hart import EvaluatorHart
from tests.differential.generate import Generator
from tests.differential.program import DATA_STRIDE, ISA, Code, link

BATCH = 8
# A program retires some hundred instructions; one that lost its loop counter while shrinking must end.
LIMIT = 50_000
QEMU_SECONDS = 5
SHRINK_SECONDS = 60
INVALID = "the program is wrong"  # no difference between peers: the generator's or the shrinker's fault


class Outcome(NamedTuple):
    """What the comparison of some programs found."""

    difference: str | None
    instructions: int
    executed: Counter[str]


def batch(seed: str, first: int, count: int, **options: Any) -> list[Code]:
    """Programs `first` to `first + count` of a seed, to be linked into one ELF."""
    return [Generator(f"{seed}/{first + n}", n, **options).program() for n in range(count)]


def run_evaluator(image: bytes, limit: int, settings: dict[str, str] | None = None) -> tuple[EvaluatorHart, str]:
    """The hart after at most `limit` instructions, and what ended it."""
    machine = Machine(parse_elf(image), settings=settings)
    hart = EvaluatorHart(ISA, machine.regions, machine.timing)
    for segment in machine.program.segments:
        hart.memory.write(segment.address, segment.data)
    hart.pc = machine.program.entry
    return hart, hart.run(limit)


def run_interpreter(
    image: bytes, limit: int, settings: dict[str, str] | None = None, slices: random.Random | None = None
) -> tuple[Machine, RunResult, bytes]:
    """At most `limit` instructions; with `slices` in runs of random lengths, which may change nothing."""
    output = bytearray()
    machine = Machine(parse_elf(image), settings=settings, stdout=output.extend)
    result = machine.run(max_instructions=slices.randint(1, 300) if slices else limit)
    while slices and result.stop_reason == "limit" and result.instructions < limit:
        length = slices.choice((1, 2, 3, 50, 1000))
        result = machine.run(max_instructions=min(length, limit - result.instructions))
    return machine, result, bytes(output)


def run_qemu(qemu: str, image: bytes) -> tuple[int, bytes]:
    """Exit status and output; -1 when it does not end."""
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(image)
        file.flush()
        os.chmod(file.name, 0o700)
        try:
            done = subprocess.run(
                [qemu, file.name], stdin=subprocess.DEVNULL, capture_output=True, timeout=QEMU_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return -1, b""
    return done.returncode, done.stdout


def compare(
    programs: Sequence[Code],
    qemu: str | None,
    writable_text: bool = False,
    settings: dict[str, str] | None = None,
    slices: random.Random | None = None,
) -> Outcome:
    """Run the programs as one ELF on each and compare.

    Parameters
    ----------
    qemu : str or None
        Path of qemu-riscv32; None: interpreter and evaluator alone.
    settings : dict, optional
        Of the core, for interpreter and evaluator.
    slices : Random, optional
        Stop and go on with the interpreter at random instructions.
    """
    image = link(programs, writable_text)
    limit = LIMIT * len(programs)
    hart, stop = run_evaluator(image, limit, settings)
    machine, result, output = run_interpreter(image, limit, settings, slices)

    def outcome(difference: str | None) -> Outcome:
        return Outcome(difference, hart.instructions, hart.executed)

    if stop != "exit":
        end = f"the evaluator ends by {stop} at {hart.pc:#x}, cause and mtval {hart.trap}"
        if result.stop_reason == "exit":
            return outcome(f"{end}, the interpreter exits")
        # Not at the limit: qemu-riscv32 may well end a loop of 2**32 rounds.
        if stop == "trap" and qemu is not None and run_qemu(qemu, image)[0] == 0:
            return outcome(f"{end}, qemu-riscv32 exits")
        return outcome(f"{INVALID}: {end}")
    if qemu is not None:
        status, told = run_qemu(qemu, image)
        if difference := compare_output(programs, "evaluator", bytes(hart.output), "qemu-riscv32", told):
            return outcome(difference)
        if status != hart.exit_code:
            return outcome(f"exit status: evaluator {hart.exit_code}, qemu-riscv32 {status}")
    if difference := compare_output(programs, "evaluator", bytes(hart.output), "interpreter", output):
        return outcome(difference)
    if result.stop_reason != "exit":
        return outcome(f"the interpreter ends by {result.stop_reason}: {result.message}")
    return outcome(compare_counts(hart, machine, result))


def compare_output(programs: Sequence[Code], one: str, first: bytes, other: str, second: bytes) -> str | None:
    """The first register or byte of data that differs between two outputs."""
    if first == second:
        return None
    for n, program in enumerate(programs):
        a, b = (output[n * DATA_STRIDE : (n + 1) * DATA_STRIDE] for output in (first, second))
        if a == b:
            continue
        where = f"program {program.label}"
        if len(a) != len(b):
            return f"{where}: {one} writes {len(a)} bytes, {other} {len(b)}"
        at = next(i for i in range(len(a)) if a[i] != b[i])
        if at < 124:
            x, y = (int.from_bytes(o[at & ~3 : (at & ~3) + 4], "little") for o in (a, b))
            return f"{where}: x{at // 4 + 1}: {one} {x:#010x}, {other} {y:#010x}"
        return f"{where}: byte at {program.data_start + at:#x}: {one} {a[at]:#04x}, {other} {b[at]:#04x}"
    return f"{one} writes {len(first)} bytes, {other} {len(second)}"


def compare_counts(hart: EvaluatorHart, machine: Machine, result: RunResult) -> str | None:
    """The first count that differs between the evaluator's hart and the machine's result."""
    pairs: list[tuple[str, object, object]] = [
        ("instructions", hart.instructions, result.instructions),
        ("classes", dict(sorted(hart.classes.items())), result.classes),
        ("taken branches", hart.taken_branches, result.taken_branches),
        ("exit code", hart.exit_code, result.exit_code),
    ]
    for region in machine.regions:
        told = result.traffic[region.name]
        place = region.base, region.size
        accesses = [told.load.count, told.load.bytes, told.store.count, told.store.bytes]
        pairs.append((f"fetches of {region.name}", hart.fetches_within(*place), [told.fetch.count, told.fetch.bytes]))
        pairs.append((f"accesses to {region.name}", hart.accesses_within(*place), accesses))
    for symbol in result.symbols:
        counts = [symbol.load.count, symbol.load.bytes, symbol.store.count, symbol.store.bytes]
        pairs.append(
            (
                f"accesses to {symbol.name} at {symbol.address:#x}",
                hart.accesses_within(symbol.address, symbol.size),
                counts,
            )
        )
    for function in result.functions:
        if function.size:
            pairs.append(
                (
                    f"instructions of {function.name}",
                    hart.fetches_within(function.address, function.size)[0],
                    function.instructions,
                )
            )
    pairs.append(("misaligned accesses", hart.misaligned, machine._hart.misaligned_accesses))
    pairs.append(("cycles", hart.cycles, result.cycles))
    return next((f"{what}: evaluator {a}, interpreter {b}" for what, a, b in pairs if a != b), None)


# ------------------------------------------------------------ failures
def shrink(program: Code, differs: Callable[[list[Code]], str | None]) -> Code:
    """A program with fewer instructions that still differs: halves, quarters and so on become nops while it does."""
    deadline = time.monotonic() + SHRINK_SECONDS
    removable = list(program.body)
    size = max(1, len(removable) // 2)
    while True:
        at, before = 0, len(removable)
        while at < len(removable):
            candidate = program.without(removable[at : at + size])
            if time.monotonic() > deadline:
                return program
            if differs([candidate]) is not None:
                program = candidate
                del removable[at : at + size]
            else:
                at += size
        if size == 1 and len(removable) == before:
            return program
        size = max(1, size // 2)


def explain(programs: list[Code], difference: str, differs: Callable[[list[Code]], str | None], writable: bool) -> str:
    """Make the program that differs small, save it, and say all that is needed to look into it."""
    alone = next((p for p in programs if differs([p]) is not None), None)
    small = [shrink(alone, differs)] if alone is not None else programs
    difference = differs(small) or difference
    text = "\n".join(p.listing() for p in small) if alone is not None else "none of these programs differs alone"
    label = f"{small[0].label} to {small[-1].label}" if len(small) > 1 else small[0].label
    folder = Path(os.environ.get("RVSIM_FUZZ_FOLDER") or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rvsim-differential-{small[0].label.replace('/', '-')}.elf"
    path.write_bytes(link(small, writable))
    path.chmod(0o755)  # qemu-user opens nothing else, and does not say so
    path.with_suffix(".txt").write_text(f"{difference}\n{text}\n")
    return f"{difference}\nseed {label}, made small and saved in {path}\n{text}"


def check(seed: str, first: int, count: int, qemu: str | None, modify: bool = False, traps: bool = False) -> Outcome:
    """Compare `count` programs in batches; the first difference ends it, made small and explained.

    Parameters
    ----------
    modify, traps : bool
        What kind of programs; see `Generator`. Those with traps run in machine mode, so `qemu` has to be None.
    """
    instructions, executed = 0, Counter[str]()
    # The handler of a program with traps counts in CSRs: one program an ELF.
    size = 1 if traps else BATCH
    for at in range(first, first + count, size):
        programs = batch(seed, at, min(size, first + count - at), modify=modify, traps=traps)
        turn = at // size
        settings = {"core.misaligned": "trap"} if traps and turn % 3 == 0 else None

        def differs(some: list[Code], settings: dict[str, str] | None = settings, turn: int = turn) -> str | None:
            """A difference, also when the interpreter stops in the middle of blocks, as in every second batch."""
            for slices in (None, random.Random(f"{seed}/{turn}")):
                found = compare(some, qemu, modify, settings, slices).difference
                if found is not None and not found.startswith(INVALID):
                    return found
            return None

        found = compare(programs, qemu, modify, settings, random.Random(f"{seed}/{turn}") if turn % 2 else None)
        instructions += found.instructions
        executed += found.executed
        if found.difference is not None:
            return Outcome(explain(programs, found.difference, differs, modify), instructions, executed)
    return Outcome(None, instructions, executed)
