"""Measures CPU time of whole processes: interleaved rounds, so that a slow minute of the machine slows every peer."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rvsim.bench.peers import OWN, Peer
from rvsim.errors import RvsimError

SCHEMA = "rvsim.bench/1"
REFERENCE = "qemu-riscv32"
WARM_UP = {"RVSIM_LOOPS": "wait"}
"""The uncounted round leaves the cache of counted loops filled (docs/engine.md)."""


def cpu_seconds(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Run one process to its end and return its user and system time in seconds; `environment` goes beside ours.

    Raises
    ------
    RvsimError
        The process cannot be started or does not end with status 0.
    """
    # An installation has its bytecode; in a checkout the warm-up writes it.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as errors:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        try:
            process = os.posix_spawnp(argv[0], [*argv], {**variables, **(environment or {})}, file_actions=actions)
        except OSError as error:
            raise RvsimError(f"expected to start {argv[0]}, found: {error.strerror}") from error
        _, wait_status, usage = os.wait4(process, 0)
        status = os.waitstatus_to_exitcode(wait_status)
        if status != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["nothing on stderr"]
            raise RvsimError(f"expected exit status 0 of `{' '.join(argv)}`, found {status} ({said[-1]})")
    return usage.ru_utime + usage.ru_stime


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of some values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(
    guests: Sequence[Path],
    peers: Sequence[Peer],
    rounds: int,
    instructions: Mapping[str, int],
    progress: Callable[[str], None] = lambda message: None,
) -> list[dict[str, Any]]:
    """Run every guest under every peer, `rounds` times, after one round that is not counted.

    A peer that fails a guest in the uncounted round is left out for that guest, and its row says why; a failure of
    rvsim, or of anyone later, is an error.

    Parameters
    ----------
    guests : sequence of Path
        ELF files.
    peers : sequence of Peer
        Simulators; ratios are to the one named `qemu-riscv32`, if it is there.
    rounds : int
        Counted rounds, at least 1.
    instructions : mapping of str to int
        Retired instructions by guest name (the file's stem); may lack guests.
    progress : callable
        Told what is being measured.

    Returns
    -------
    list of dict
        One row a guest and peer: `guest`, `peer`, `instructions`, `cpu_seconds` (every round, with its `summary`),
        `mips` (millions of retired instructions a CPU second, of the median) and `ratio` (speed relative to the
        reference: its CPU time of the same round over this one's); or `left_out`, the reason.

    Raises
    ------
    RvsimError
        A process failed.
    """
    left_out: dict[tuple[str, str], str] = {}
    runs = [(guest, peer) for guest in guests for peer in peers if peer.guests is None or guest.stem in peer.guests]
    seconds: dict[tuple[str, str], list[float]] = {(guest.stem, peer.name): [] for guest, peer in runs}
    for round_number in range(rounds + 1):
        progress(f"round {round_number} of {rounds}" if round_number else "warm-up")
        for guest, peer in runs:
            key = (guest.stem, peer.name)
            if key in left_out:
                continue
            try:
                taken = cpu_seconds(
                    peer.argv(str(guest)), {**({} if round_number else WARM_UP), **dict(peer.environment)}
                )
            except RvsimError as error:
                if round_number or peer.name.startswith("rvsim"):
                    raise
                left_out[key] = str(error)
                progress(f"{peer.name} is left out for {guest.stem}: {error}")
            else:
                if round_number:
                    seconds[key].append(taken)
    return [_row(guest.stem, peer.name, seconds, left_out, instructions.get(guest.stem)) for guest, peer in runs]


def _row(
    guest: str,
    peer: str,
    seconds: Mapping[tuple[str, str], list[float]],
    left_out: Mapping[tuple[str, str], str],
    instructions: int | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"guest": guest, "peer": peer, "instructions": instructions}
    if (guest, peer) in left_out:
        return {**row, "left_out": left_out[guest, peer]}
    taken = seconds[guest, peer]
    median = statistics.median(taken)
    row["cpu_seconds"] = {"rounds": taken, **summary(taken)}
    row["mips"] = instructions / median / 1e6 if instructions and median else None
    reference = seconds.get((guest, REFERENCE), [])
    ratios = [other / own for own, other in zip(taken, reference, strict=False) if own]
    row["ratio"] = summary(ratios) if ratios else None
    return row


def document(rows: list[dict[str, Any]], peers: Sequence[Peer], rounds: int, command: Sequence[str]) -> dict[str, Any]:
    """The rows together with what is needed to judge and repeat them: machine, versions, date, command."""
    return {
        "schema": SCHEMA,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "command": " ".join(command),
        "rounds": rounds,
        "reference": REFERENCE,
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "python": platform.python_version(),
            **{peer.name: peer.version for peer in peers if peer.name == "rvsim" or peer.name not in OWN},
        },
        "results": rows,
    }


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
