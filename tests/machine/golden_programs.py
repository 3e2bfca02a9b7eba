"""The golden programs: how each is assembled, how Spike ran it, and which part of its log is the program's.

`python tests/machine/golden_programs.py [NAME...]` makes ELFs and logs again (docs/conformance.md, golden logs).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Program:
    """One golden log: `name`.log is what `source`.S, assembled for `isa`, logs."""

    name: str
    source: str
    isa: str = "rv32imac"
    misaligned: str = "trap"

    @property
    def elf(self) -> Path:
        return GOLDEN / f"{self.source}.elf"

    @property
    def log(self) -> Path:
        return GOLDEN / f"{self.name}.log"


PROGRAMS = (
    Program("integer", "integer"),
    Program("memory", "memory"),
    Program("compressed", "compressed"),
    Program("csr", "csr"),
    Program("traps", "traps"),
    Program("interrupts", "interrupts"),
    Program("atomic", "atomic"),
    Program("bits", "bits", isa="rv32imac_zba_zbb_zbs_zcb"),
    Program("fetch", "fetch", isa="rv32im"),
    Program("misaligned", "misaligned"),
    Program("misaligned-split", "misaligned", misaligned="split"),
)

COMPILER = "riscv64-unknown-elf-gcc"


def find_spike() -> str | None:
    """Path of Spike: RVSIM_SPIKE, else `spike` on PATH; None without one."""
    return os.environ.get("RVSIM_SPIKE") or shutil.which("spike")


def assemble(source: Path, elf: Path, isa: str) -> None:
    """Assemble and link one program as an ELF that begins at 0x80000000."""
    extensions = [name for name in isa.split("_")[1:] if name != "zcb"]  # binutils 2.40 does not know Zcb
    march = "_".join([isa.split("_")[0], *extensions, "zicsr", "zifencei"])
    options = [f"-march={march}", "-mabi=ilp32", "-nostdlib", "-static", f"-I{GOLDEN}", f"-Wa,-I{GOLDEN}"]
    link = ["-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments", "-Wl,-T", GOLDEN / "golden.ld"]
    with tempfile.TemporaryDirectory() as folder:  # the linker notes its inputs' names
        subprocess.run([COMPILER, *options, "-c", "-o", "program.o", source.resolve()], cwd=folder, check=True)
        subprocess.run([COMPILER, *options, *link, "-o", elf.resolve(), "program.o"], cwd=folder, check=True)
    elf.chmod(0o644)


def spike_options(isa: str, misaligned: str) -> list[str]:
    """Spike as the machine that rvsim is: M-mode alone, neither PMP nor triggers, 1 MiB of memory."""
    split = "_zicclsm" if misaligned == "split" else ""
    return [f"--isa={isa}_zicntr_zihpm{split}", "--priv=m", "--pmpregions=0", "--triggers=0", "-m0x80000000:0x100000"]


def spike_log(spike: str, elf: Path, isa: str, misaligned: str = "trap") -> str:
    """Commit log of a program, from its first instruction to its store to tohost.

    Raises ValueError for a program that Spike does not end: within 20 seconds, by that store.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [spike, *spike_options(isa, misaligned), "--log-commits", f"--log={log}", str(elf)]
        try:
            done = subprocess.run(command, timeout=20, capture_output=True, text=True)
        except subprocess.TimeoutExpired:
            raise ValueError(f"expected {elf.name} to end under Spike, found it running after 20 s") from None
        if done.returncode:
            raise ValueError(f"Spike ended {elf.name} with status {done.returncode}: {done.stderr.strip()}")
        return cut(log.read_text(), tohost(elf))


def cut(log: str, tohost: int) -> str:
    """The part of Spike's log behind its boot ROM, up to and with the first store to `tohost`."""
    lines = log.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.split()[3] >= "0x80000000")
    last = next(i for i, line in enumerate(lines) if f" mem 0x{tohost:08x} 0x" in line)
    return "".join(lines[first : last + 1])


def tohost(elf: Path) -> int:
    """Address of the symbol tohost."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        return ELFFile(stream).get_section_by_name(".symtab").get_symbol_by_name("tohost")[0]["st_value"]


def main(names: list[str]) -> None:
    spike = find_spike()
    if spike is None:
        raise SystemExit("expected Spike on PATH or in RVSIM_SPIKE, found neither")
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        assemble(GOLDEN / f"{program.source}.S", program.elf, program.isa)
        program.log.write_text(spike_log(spike, program.elf, program.isa, program.misaligned))
        print(f"{program.log.name}: {program.log.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
