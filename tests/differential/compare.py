"""Run programs in every tier, the evaluator and qemu-riscv32, compare all they tell, and shrink what differs."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rvsim.isa.select import DEFAULT, select
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.machine.result import RunResult
from tests.differential.evaluator_hart import EvaluatorHart
from tests.differential.generate import Generator
from tests.differential.program import ISA, SAVED, Code, link, parse
from tests.tiers import INTERPRETER, Tier, compiled_tiers, observed
from tests.tiers import difference as first_difference

BATCH = 8
QEMU_BATCH = 32
# A program retires some hundred instructions; one that lost its loop counter while shrinking must end.
LIMIT = 50_000
QEMU_SECONDS = 5
SHRINK_SECONDS = 60
ENDS = "the interpreter ends by"
INVALID = "the program is wrong"  # no difference between peers: the generator's or the shrinker's fault


class Outcome(NamedTuple):
    """What the comparison of some programs found."""

    difference: str | None
    instructions: int
    executed: Counter[str]


class Kind(NamedTuple):
    """What programs do, and who runs them.

    Attributes
    ----------
    modify, traps, signals, rounds
        See `Generator`. Those with traps run in machine mode, where qemu-riscv32 cannot follow.
    isa : str
        Instructions to choose from. Releases of qemu-riscv32 before 8.0 lack Zcb.
    qemu_only : bool
        Leave out the Python evaluator, which takes ten times as long, and with it the comparison of all counts.
    """

    modify: bool = False
    traps: bool = False
    signals: bool = False
    rounds: int = 1
    qemu_only: bool = False
    isa: str = DEFAULT

    @property
    def name(self) -> str:
        return "-".join(
            n if v is True else f"{n}={v}" for n, v in self._asdict().items() if v != Kind._field_defaults[n]
        )

    @property
    def cpu(self) -> str | None:
        """The CPU of qemu-riscv32 that has these instructions; None when it cannot run such programs."""
        extensions = select(self.isa).extensions
        if self.traps or "zcb" in extensions:
            return None
        on = {name: name in extensions for name in ("m", "a", "c", "zba", "zbb", "zbs", "zbc", "f", "d")}
        return ",".join(("rv32", *(f"{name}={str(value).lower()}" for name, value in on.items())))

    @classmethod
    def parse(cls, name: str) -> Kind:
        given = dict(part.partition("=")[::2] for part in name.split("-") if part)
        return cls(**{n: True if not v else int(v) if v.isdigit() else v for n, v in given.items()})  # type: ignore[arg-type]


def batch(seed: str, first: int, count: int, kind: Kind = Kind()) -> list[Code]:  # noqa: B008
    """Programs `first` to `first + count` of a seed, to be linked into one ELF."""
    options = {name: getattr(kind, name) for name in ("modify", "traps", "signals", "rounds", "isa")}
    return [Generator(f"{seed}/{first + n}", n, **options).program() for n in range(count)]


def run_evaluator(
    image: bytes, limit: int, settings: dict[str, str] | None = None, isa: str = DEFAULT
) -> tuple[EvaluatorHart, str]:
    """The hart after at most `limit` instructions, and what ended it."""
    machine = Machine(parse_elf(image), settings=settings)
    hart = EvaluatorHart(ISA, machine.regions, machine.timing, select(isa))
    for segment in machine.program.segments:
        hart.memory.write(segment.address, segment.data)
    hart.pc = machine.program.entry
    return hart, hart.run(limit)


def run_machine(
    image: bytes,
    limit: int,
    settings: dict[str, str] | None = None,
    slices: random.Random | None = None,
    isa: str = DEFAULT,
    tier: Tier = INTERPRETER,
) -> tuple[Machine, RunResult, bytes]:
    """At most `limit` instructions; with `slices` in runs of random lengths, which may change nothing."""
    output = bytearray()
    with tier.chosen():
        machine = Machine(
            parse_elf(image), settings=settings, stdout=output.extend, **({} if isa == DEFAULT else {"isa": isa})
        )
    stop = machine.resume(slices.randint(1, 300) if slices else limit)
    while slices and stop.reason == "limit" and machine.instructions < limit:
        stop = machine.resume(min(slices.choice((1, 2, 3, 50, 1000)), limit - machine.instructions))
    return machine, machine.result(), bytes(output)


def run_qemu(qemu: str, image: bytes, cpu: str) -> tuple[int, bytes]:
    """Exit status and output; -1 when it does not end."""
    with tempfile.NamedTemporaryFile(suffix=".elf") as file:
        file.write(image)
        file.flush()
        os.chmod(file.name, 0o700)
        try:
            done = subprocess.run(
                [qemu, "-cpu", cpu, file.name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=QEMU_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, b""
    return done.returncode, done.stdout


def compare(
    programs: Sequence[Code],
    qemu: str | None,
    kind: Kind = Kind(),  # noqa: B008
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
        Stop and go on at random instructions, at others in each tier.
    """
    image = link(programs, kind.modify)
    limit = LIMIT * sum(p.rounds for p in programs)
    machine, result, output = run_machine(image, limit, settings, slices, kind.isa)
    peers = [("interpreter", output)]
    hart = None
    if not kind.qemu_only:
        hart, stop = run_evaluator(image, limit, settings, kind.isa)
        if stop != "exit" and result.stop_reason != "exit":
            return Outcome(f"{INVALID}: {stop}, {result.message}", 0, Counter())
        if stop != "exit":
            end = f"the evaluator ends by {stop} at {hart.pc:#x}, cause and mtval {hart.trap}"
            return Outcome(f"{end}, the interpreter exits", 0, Counter())
        peers.append(("evaluator", bytes(hart.output)))
    told = b""
    if qemu is not None and kind.cpu is not None:
        status, told = run_qemu(qemu, link(programs, kind.modify, kind.signals), kind.cpu)
        if result.stop_reason != "exit" and (status != 0 or result.stop_reason == "limit"):
            # Not at the limit: qemu-riscv32 may well end a loop of 2**32 rounds.
            return Outcome(f"{INVALID}: {result.message}; qemu-riscv32 ends with {status}", 0, Counter())
        if result.stop_reason == "exit" and status != result.exit_code:
            return Outcome(f"exit status: interpreter {result.exit_code}, qemu-riscv32 {status}", 0, Counter())
        peers.append(("qemu-riscv32", told))
    found = Outcome(None, result.instructions, executed(machine))
    if result.stop_reason != "exit":
        end = f"{ENDS} {result.stop_reason}: {result.message}"
        return found._replace(difference=f"{end}; {peers[-1][0]} exits")
    for peer, other in peers[1:]:
        if difference := compare_output(programs, "interpreter", output, peer, other):
            return found._replace(difference=difference)
    if hart is not None and (difference := compare_counts(hart, machine, result)):
        return found._replace(difference=difference)
    everything = {"output": output, **observed(machine, slices is not None)}
    for tier in compiled_tiers():
        other, _, told = run_machine(image, limit, settings, slices, kind.isa, tier)
        if difference := first_difference(everything, {"output": told, **observed(other, slices is not None)}):
            return found._replace(difference=f"interpreter and {tier.name}: {difference}")
    return found


def executed(machine: Machine) -> Counter[str]:
    """Retired instructions by name."""
    counts = Counter[str]()
    for _, number, _, executions, _ in machine.hart.profile():
        if number < len(machine.isa.instructions):
            counts[machine.isa.instructions[number].name] += executions
    return counts


def compare_output(programs: Sequence[Code], one: str, first: bytes, other: str, second: bytes) -> str | None:
    """The first register or byte of data that differs between two outputs."""
    if first == second:
        return None
    start = 0
    for program in programs:
        a, b = (output[start : start + program.output_size] for output in (first, second))
        start += program.output_size
        if a == b:
            continue
        where = f"program {program.label}"
        if len(a) != len(b):
            return f"{where}: {one} writes {len(a)} bytes, {other} {len(b)}"
        at = next(i for i in range(len(a)) if a[i] != b[i])
        turn, byte = divmod(at, SAVED)
        if turn < program.rounds:
            x, y = (int.from_bytes(o[at & ~3 : (at & ~3) + 4], "little") for o in (a, b))
            return f"{where}: round {turn + 1}: x{byte // 4 + 1}: {one} {x:#010x}, {other} {y:#010x}"
        place = program.data_start + at - program.rounds * SAVED
        return f"{where}: byte at {place:#x}: {one} {a[at]:#04x}, {other} {b[at]:#04x}"
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
    pairs.append(("misaligned accesses", hart.misaligned, machine.hart.misaligned_accesses))
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


def explain(
    programs: list[Code], difference: str, differs: Callable[[list[Code]], str | None], kind: Kind, about: str
) -> str:
    """Make the program that differs small, save it, and say all that is needed to look into it.

    A listing in tests/differential/found/ is replayed by every run of the tests.
    """

    def alike(some: list[Code]) -> str | None:
        """Only such a difference: without what makes an address, a program may end where qemu-riscv32 goes on."""
        found = differs(some)
        return found if found is not None and found.startswith(ENDS) == difference.startswith(ENDS) else None

    alone = next((p for p in programs if alike([p]) is not None), None)
    small = [shrink(alone, alike)] if alone is not None else programs
    difference = differs(small) or difference
    text = f"difference {difference}\nkind {kind.name}\nsettings {about}\n"
    text += "\n".join(p.listing() for p in small)
    label = f"{small[0].label} to {small[-1].label}" if len(small) > 1 else small[0].label
    folder = Path(os.environ.get("RVSIM_FUZZ_FOLDER") or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rvsim-differential-{small[0].label.replace('/', '-')}.elf"
    path.write_bytes(link(small, kind.modify))
    path.chmod(0o755)  # qemu-user opens nothing else, and does not say so
    path = path.with_suffix(".txt")
    path.write_text(text)
    alone_or_not = "made small" if alone is not None else "none of these programs differs alone"
    return f"{difference}\nseed {label}, {alone_or_not}, saved in {path} (keep it in tests/differential/found/)\n{text}"


def replay(text: str, qemu: str | None) -> str | None:
    """What a saved listing still finds."""
    head = {key: value for key, _, value in (line.partition(" ") for line in text.splitlines()[:3])}
    kind = Kind.parse(head["kind"])
    settings = dict(part.split("=") for part in head["settings"].split())
    programs = [parse("program " + part) for part in text.split("\nprogram ")[1:]]
    for slices in (None, random.Random("replay")):
        if found := compare(programs, qemu, kind, settings or None, slices).difference:
            return found
    return None


def check(seed: str, first: int, count: int, qemu: str | None, kind: Kind = Kind()) -> Outcome:  # noqa: B008
    """Compare `count` programs in batches; the first difference ends it, made small and explained."""
    instructions, totals = 0, Counter[str]()
    # The handler of a program with traps counts in CSRs: one program an ELF.
    size = 1 if kind.traps else QEMU_BATCH if kind.qemu_only else BATCH
    for at in range(first, first + count, size):
        programs = batch(seed, at, min(size, first + count - at), kind)
        turn = at // size
        settings = {"core.misaligned": "trap"} if kind.traps and turn % 3 == 0 else None

        def differs(some: list[Code], settings: dict[str, str] | None = settings, turn: int = turn) -> str | None:
            """A difference, also when the interpreter stops in the middle of blocks, as in every second batch."""
            for slices in (None, random.Random(f"{seed}/{turn}")):
                found = compare(some, qemu, kind, settings, slices).difference
                if found is not None and not found.startswith(INVALID):
                    return found
            return None

        found = compare(programs, qemu, kind, settings, random.Random(f"{seed}/{turn}") if turn % 2 else None)
        instructions += found.instructions
        totals += found.executed
        if found.difference is not None:
            about = " ".join(f"{key}={value}" for key, value in (settings or {}).items())
            return Outcome(explain(programs, found.difference, differs, kind, about), instructions, totals)
    return Outcome(None, instructions, totals)
