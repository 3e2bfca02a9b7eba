"""Cycle counts of real cores in RTL simulation, and the programs that were run (tests/timing/data/README.md)."""

from __future__ import annotations

import csv
import functools
import io
import tarfile
from pathlib import Path
from typing import NamedTuple

from rvsim.machine.elf import Program, parse_elf

DATA = Path(__file__).with_name("data")
# An ecall does not retire (Privileged Architecture 20240411, 3.3.1): Ibex and PicoRV32 count it all the same.
ECALLS = {"ecall_mret": 32}


class Row(NamedTuple):
    """One program on one core with one memory; the counts are those of the region between the START and STOP stores."""

    core: str
    memory: str
    program: str
    cycles: int
    instret: int | None
    retire: int | None
    checksum: int

    @property
    def is_kernel(self) -> bool:
        return "." in self.program


@functools.cache
def archive() -> dict[str, bytes]:
    """Files by name."""
    with tarfile.open(DATA / "rtl-cycles.tar.xz") as files:
        return {each.name: files.extractfile(each).read() for each in files if each.isfile()}  # type: ignore[union-attr]


@functools.cache
def rows() -> list[Row]:
    """All that ran to their end; the others took an exception that their core has and others have not."""
    table = csv.DictReader(io.StringIO(archive()["cycles.csv"].decode()))
    return [
        Row(
            r["core"],
            r["memory"],
            r["program"],
            int(r["cycles"]),
            int(r["instret"]) if r["instret"] else None,
            int(r["cycles_retire"]) if r["cycles_retire"] else None,
            int(r["checksum"], 16),
        )
        for r in table
        if r["status"] == "ok"
    ]


@functools.cache
def program(name: str, core: str = "") -> Program:
    """The ELF that a core ran."""
    folder = "elf-40000000" if core == "vexriscv-custom" else "elf"
    return parse_elf(archive()[f"{folder}/{name}.elf"], f"{name}.elf")
