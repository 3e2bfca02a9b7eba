"""Builds the bench guests, kernels/bench/*.elf: user-mode programs that check a golden checksum and print nothing.

Built by a RISC-V GCC, as most guests in the field are, and linked at 0x10000, where user-mode emulators take them. They
use nothing of the kernels, so that a bench stays the same program while the kernels change.
`python -m kernels.bench_build` builds them again.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from kernels.build import ROOT, Toolchain, find_toolchain, run_tool
from rvsim.errors import RvsimError, UsageError

BENCH_GCC_VERSION = "12.2.0"
"""The GCC that the committed ELFs are built with."""


class Bench(NamedTuple):
    """One bench guest.

    Attributes
    ----------
    name : str
        Name of the ELF.
    source : str
        C file in kernels/bench.
    repetitions : int
        How often the work is done.
    golden : int
        Checksum by the host's build of the same C (`host_checksum`); 0 is not checked.
    """

    name: str
    source: str
    repetitions: int
    golden: int


BENCHES = (
    Bench("conv3x3", "conv3x3.c", 24, 0xBC488234),
    Bench("branchy", "branchy.c", 360, 0x576CB223),
    Bench("gemv", "gemv.c", 420, 0xCB050F4B),
    Bench("nop", "nop.c", 0, 0x00000000),
    Bench("branchy_s", "branchy.c", 3, 0x496F7979),
    Bench("conv3x3_x10", "conv3x3.c", 240, 0xE29D33C1),
    Bench("branchy_x10", "branchy.c", 3600, 0x05A5D621),
    Bench("gemv_x10", "gemv.c", 4200, 0x2C0413C6),
    Bench("calls", "calls.c", 700, 0xF27C3F65),
)

_MACHINE = ("-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medany")
_COMPILE_FLAGS = (
    *_MACHINE,
    *("-O2", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-fno-common", "-fno-ident", "-Wall", "-Wextra"),
)
# No Zicsr: GCC finds its library by the exact name of the architecture.
_LINK_FLAGS = ("-march=rv32imc", "-mabi=ilp32", "-nostdlib", "-static", "-nostartfiles", "-Wl,--build-id=none")


def build_bench(folder: Path | None = None, toolchain: Toolchain | None = None) -> list[Path]:
    """Build every bench guest into `folder`, by default where the committed ELFs lie.

    Raises
    ------
    rvsim.errors.UsageError
        There is no RISC-V GCC.
    rvsim.errors.RvsimError
        The compiler failed.
    """
    gcc = (toolchain or find_toolchain("gcc")).name
    bench = ROOT / "bench"
    place = folder or bench
    built = []
    with tempfile.TemporaryDirectory(prefix=".rvsim-", dir=place) as name:
        scratch = Path(name)
        for guest in BENCHES:
            define = [f"-DREPS={guest.repetitions}", f"-DGOLDEN={guest.golden:#010x}u"]
            failure, elf, objects = f"cannot build {guest.name}", scratch / f"{guest.name}.elf", []
            # Objects with names of ours: GCC's own are random, and the symbol table would hold them.
            for source in (bench / "crt_user.S", bench / "rt.c", bench / guest.source):
                objects.append(os.fspath(scratch / f"{source.stem}.o"))
                run_tool([gcc, *_COMPILE_FLAGS, *define, "-c", os.fspath(source), "-o", objects[-1]], failure)
            script = os.fspath(bench / "link_user.ld")
            run_tool([gcc, *_LINK_FLAGS, "-T", script, *objects, "-lgcc", "-o", os.fspath(elf)], failure)
            os.replace(elf, place / elf.name)
            built.append(place / elf.name)
    return built


def host_checksum(guest: Bench, folder: Path, compiler: str = "cc") -> int:
    """Give the checksum of a guest's C compiled for and run on the host.

    Parameters
    ----------
    guest : Bench
    folder : Path
        Where the host program is built.
    compiler : str
        C compiler of the host.
    """
    program = folder / guest.name
    sources = [os.fspath(ROOT / "bench" / name) for name in (guest.source, "rt.c")]
    run_tool([compiler, "-O2", "-fwrapv", "-DHOST", f"-DREPS={guest.repetitions}", *sources, "-o", os.fspath(program)])
    return int(run_tool([os.fspath(program)]).strip().rstrip("u"), 16)


def main() -> int:
    """Rebuild kernels/bench/*.elf."""
    try:
        toolchain = find_toolchain("gcc")
        if toolchain.version != BENCH_GCC_VERSION:
            raise UsageError(
                f"the committed bench guests are built with GCC {BENCH_GCC_VERSION}, found {toolchain.version}; "
                "install that version"
            )
        for path in build_bench(toolchain=toolchain):
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    except RvsimError as error:
        print(f"kernels.bench_build: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
