"""The differential test at length: ``make fuzz``, or ``python -m tests.differential.fuzz --programs 20000``.

Exit status 1 when something differs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import Pool

from tests.conftest import find_peer
from tests.differential import compare
from tests.differential.compare import Kind
from tests.differential.generate import EXCLUDED
from tests.differential.program import BY_NAME
from tests.tiers import INTERPRETER, compiled_tiers

CHUNK = 64
# Kinds of programs, in turn; the evaluator, which takes most of the time, follows a part of them.
QEMU_ISA = "rv32imac_zba_zbb_zbs"
FULL_ISA = "rv32imac_zba_zbb_zbs_zcb"
KINDS = (
    Kind(rounds=4, qemu_only=True, isa=QEMU_ISA),
    Kind(signals=True, rounds=8, qemu_only=True),
    Kind(signals=True, modify=True, rounds=4, qemu_only=True, isa=QEMU_ISA),
    Kind(rounds=2, isa=FULL_ISA),
    Kind(traps=True),
    Kind(modify=True, rounds=16, qemu_only=True),
    Kind(modify=True, signals=True, isa=QEMU_ISA),
    Kind(modify=True, traps=True, isa=FULL_ISA),
)
Job = tuple[str, int, int, "str | None", Kind]


def _jobs(seed: str, programs: int, qemu: str | None) -> Iterator[Job]:
    for first, kind in zip(range(0, programs, CHUNK), itertools.cycle(KINDS), strict=False):
        if qemu is None:
            kind = kind._replace(qemu_only=False)
        yield seed, first, min(CHUNK, programs - first), qemu, kind


def _run(job: Job) -> tuple[int, compare.Outcome]:
    return job[2], compare.check(*job)


def main(arguments: list[str]) -> int:
    """Compare until the programs or the seconds are used up, or something differs."""
    parser = argparse.ArgumentParser(prog="tests.differential.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--programs", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--seed", default="", help="repeats a run (default: a new one)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a processor)")
    options = parser.parse_args(arguments)
    seed = options.seed or secrets.token_hex(4)
    qemu = find_peer("qemu-riscv32")
    if qemu is None:
        print("fuzz: qemu-riscv32 is not on this machine (apt-get install qemu-user): without it", file=sys.stderr)
    started, done, instructions, executed = time.monotonic(), 0, 0, Counter[str]()
    difference = None
    with Pool(options.jobs) as pool:
        for count, found in pool.imap_unordered(_run, _jobs(seed, options.programs, qemu)):
            done, instructions, executed = done + count, instructions + found.instructions, executed + found.executed
            difference = found.difference
            if sys.stderr.isatty():
                print(f"\r{done:,} programs, {instructions:,} instructions", end="", file=sys.stderr)
            if difference is not None or time.monotonic() - started > options.seconds:
                break
        pool.terminate()
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    if difference is not None:
        print(difference)
    rarest = min(set(BY_NAME) - EXCLUDED, key=lambda name: executed[name])
    tiers = ", ".join(tier.name for tier in (INTERPRETER, *compiled_tiers()))
    peers = f"{tiers}, qemu-riscv32 and (a part) evaluator" if qemu else f"{tiers} and evaluator"
    print(
        f"fuzz: seed {seed}: {done:,} programs, {instructions:,} instructions compared between {peers} in "
        f"{time.monotonic() - started:.0f} s; the rarest is {BY_NAME[rarest].mnemonic} ({executed[rarest]:,}); "
        f"{'no difference' if difference is None else 'one program differs, see above'}"
    )
    return difference is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
