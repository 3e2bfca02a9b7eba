"""Damaged files for everything that reads files: each ends in a result or an `RvsimError`, in bounded time and memory.

``make fuzz-parsers``, or ``python -m tests.fuzz.parsers --target elf --cases 10000``. A file that does anything else is
kept in RVSIM_FUZZ_FOLDER (by default a temporary folder, which is named) and the exit status is 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import resource
import secrets
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rvsim.errors import RvsimError
from tests.fuzz.mutate import damage_bytes, damage_document, damage_text

ROOT = Path(__file__).parents[2]
SECONDS = 10  # a case may take; twenty times what the slowest undamaged file takes
MEMORY = 2 << 30  # bytes of address space beyond what the process begins with
INSTRUCTIONS = 20_000


class Hang(BaseException):
    """A case took too long."""


class Target(NamedTuple):
    """What reads a file.

    Attributes
    ----------
    corpus : callable
        Undamaged files.
    damage : callable
    read : callable
        Takes the path of a file; may raise nothing but `RvsimError`.
    suffix : str
        Of the file's name.
    """

    corpus: Callable[[], Sequence[bytes]]
    damage: Callable[[random.Random, Sequence[bytes]], bytes]
    read: Callable[[Path], object]
    suffix: str


def files(*patterns: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def read_elf(path: Path) -> None:
    """All that any command asks of a file, its listing included."""
    from rvsim.isa.bundle import bundled
    from rvsim.machine.elf import load_elf
    from rvsim.profile.listing import Listing

    program = load_elf(path, max_memory=64 << 20)
    program.where(program.entry)
    for _ in islice(Listing(program, [bundled("rv32")], source=True).lines(), 500):
        pass


def run_elf(path: Path) -> None:
    """Run it: whatever the program does, the run ends at its limit."""
    from rvsim.machine import Machine
    from rvsim.machine.elf import load_elf

    program = load_elf(path, max_memory=64 << 20)
    machine = Machine(program, accel="on", stdout=len, stderr=len, stdin=lambda size: b"", memory_limit=64 << 20)
    machine.run(INSTRUCTIONS).to_json()


def read_description(path: Path) -> None:
    from rvsim.isa.elaborate import DESCRIPTIONS
    from rvsim.isa.model import check_file

    check_file(path, [DESCRIPTIONS])


def read_extension(path: Path) -> None:
    from rvsim.machine.extension import load_extension

    load_extension(str(path))


def read_core(path: Path) -> None:
    from rvsim.timing import load_core_timing

    load_core_timing(str(path))


def read_platform(path: Path) -> None:
    from rvsim.timing.platform import load_platform

    load_platform(str(path))


def read_coprocessor(path: Path) -> None:
    from accel import registry

    registry.load(str(path))


def snapshots() -> list[bytes]:
    """Machines stopped in the middle."""
    from rvsim.machine import Machine

    made = []
    with tempfile.TemporaryDirectory() as folder:
        for name, accel, instructions in (("hello", "off", 20), ("conv_int8", "on", 400), ("fc_int8", "off", 5000)):
            machine = Machine.from_elf(ROOT / f"kernels/examples/{name}.elf", accel=accel, stdout=len, stderr=len)
            machine.run(instructions)
            machine.save(f"{folder}/{name}")
            made.append(Path(f"{folder}/{name}").read_bytes())
    return made


def damage_snapshot(draw: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Bytes of the file, which its checksum notices; or values of the document, under a checksum that is right."""
    import msgspec

    if draw.random() < 0.1:
        return damage_bytes(draw, corpus)
    data = draw.choice(corpus)
    start = data.index(b"\n") + 33
    raw = zlib.decompress(data[start:])
    document = damage_document(draw, msgspec.msgpack.decode(raw, strict=False))
    raw = msgspec.msgpack.encode(document)
    body = zlib.compress(damage_bytes(draw, [raw]) if draw.random() < 0.1 else raw, 1)
    return data[: start - 32] + hashlib.sha256(body).digest() + body


def read_snapshot(path: Path) -> None:
    """Load it, and go on."""
    from rvsim.machine import Machine

    machine = Machine.load(path, stdout=len, stderr=len, stdin=lambda size: b"")
    machine.run(INSTRUCTIONS).to_json()


TARGETS = {
    "elf": Target(files("kernels/**/*.elf"), damage_bytes, read_elf, ".elf"),
    "run": Target(files("kernels/**/*.elf"), damage_bytes, run_elf, ".elf"),
    "coredsl": Target(
        files("tests/machine/*.core_desc", "accel/*/*.core_desc", "rvsim/isa/descriptions/[!r]*.core_desc"),
        damage_text,
        read_description,
        ".core_desc",
    ),
    "extension": Target(
        files("tests/machine/*.core_desc", "accel/*/*.core_desc"), damage_text, read_extension, ".core_desc"
    ),
    "snapshot": Target(snapshots, damage_snapshot, read_snapshot, ".snapshot"),
    "core": Target(files("rvsim/timing/cores/*.toml"), damage_text, read_core, ".toml"),
    "platform": Target(files("rvsim/platforms/*.toml"), damage_text, read_platform, ".toml"),
    "coprocessor": Target(files("accel/*/presets/*.toml"), damage_text, read_coprocessor, ".toml"),
}


def _alarm(number: int, frame: object) -> None:
    raise Hang


def run_case(target: Target, path: Path) -> str:
    """``result`` or ``error``; else the traceback of what may not happen."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    # Where no Python runs, no signal is served: then the process ends, and says where it was.
    faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
    try:
        target.read(path)
    except RvsimError as error:
        return "error" if str(error) and "\n" not in str(error)[:1] else "an error without a message"
    except (Exception, Hang):
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    return "result"


def _limit_memory() -> None:
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def fuzz(name: str, seed: str, cases: int, seconds: float) -> int:
    """Read damaged files until one fails; 1 then."""
    target = TARGETS[name]
    corpus = target.corpus()
    folder = Path(os.environ.get("RVSIM_FUZZ_FOLDER") or tempfile.mkdtemp(prefix="rvsim-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{os.getpid()}{target.suffix}"
    # Undamaged files come first: they import what is needed, before the memory is bounded.
    for data in corpus:
        path.write_bytes(data)
        target.read(path)
    _limit_memory()
    signal.signal(signal.SIGALRM, _alarm)
    started, ends, slowest = time.monotonic(), Counter[str](), 0.0
    for number in range(cases):
        # The file is there before it is read: if the process dies, it stays.
        path.write_bytes(target.damage(random.Random(f"{seed}/{name}/{number}"), corpus))
        before = time.monotonic()
        end = run_case(target, path)
        slowest = max(slowest, time.monotonic() - before)
        if end not in ("result", "error"):
            print(f"{end}\nfuzz-parsers: {name}: case {number} of seed {seed} is kept in {path}")
            return 1
        ends[end] += 1
        if time.monotonic() - started > seconds:
            break
    path.unlink()
    print(
        f"fuzz-parsers: {name}: seed {seed}: {sum(ends.values()):,} damaged files, {ends['result']:,} read, "
        f"{ends['error']:,} refused, in {time.monotonic() - started:.0f} s, the slowest in {slowest:.2f} s"
    )
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.parsers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", choices=(*TARGETS, "all"), default="all")
    parser.add_argument("--cases", type=int, default=1 << 62, help="damaged files of each target")
    parser.add_argument("--seconds", type=float, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", default="", help="repeats a run (default: a new one)")
    options = parser.parse_args(arguments)
    seed = options.seed or secrets.token_hex(4)
    names = list(TARGETS) if options.target == "all" else [options.target]
    return max(fuzz(name, seed, options.cases, options.seconds) for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
