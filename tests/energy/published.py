"""Figures of docs/energy.md beside published ones: `python -m tests.energy.published`."""

from __future__ import annotations

import sys
from pathlib import Path

from rvsim.energy import estimate, load_energy
from rvsim.energy.sram import cacti
from rvsim.machine import Machine
from rvsim.machine.result import EnergyReport, RunResult
from tests.energy.test_area import NVDLA, nvdla_like

EXAMPLE = Path(__file__).parents[2] / "kernels" / "examples" / "conv_int8.elf"
VOLTAGE = 0.9
"""Of Horowitz's figures."""


def show(what: str, published: float, here: float, unit: str) -> None:
    print(f"{what}: published {published:g} {unit}, here {here:.3g}, ratio {here / published:.2g}")


def run(process: str, kib: int = 64) -> tuple[RunResult, EnergyReport]:
    """`conv_int8` on Ibex with a memory of 64 KiB."""
    result = Machine.from_elf(EXAMPLE, core="ibex-small", stdout=lambda data: None).run()
    return result, estimate(result, load_energy(process, {"region.ram.size_kib": str(kib)}))


def main() -> int:
    for process, nominal in (("45nm-lop", 0.7), ("45nm-hp", 1.0)):
        table, volt = cacti()[process], (VOLTAGE / nominal) ** 2
        for kib, pj in ((8, 10), (32, 20)):
            show(f"Horowitz, cache of {kib} KB, {process}", pj, table.lookup(kib, 64).read_pj * volt, "pJ")
        leakage = table.lookup(256, 32).leakage_mw * 4
        show(f"Horowitz, leakage of caches, {process}", 100, leakage, "mW/MB")
    for what, process, published, factor in (
        ("Mr.Wolf, 32-bit MAC, 40 nm, nine instructions", "40nm", 66.7, 9),
        ("RI5CY cluster, an operation, 28 nm", "28nm", 5.2, 1),
    ):
        result, report = run(process)
        parts = [each for each in report.components if each.component != "leakage"]
        low, value, high = (
            factor * sum(getattr(each, name) for each in parts) / result.instructions
            for name in ("low_pj", "pj", "high_pj")
        )
        show(f"{what} ({low:.3g} to {high:.3g})", published, value, "pJ")
    result, report = run("45nm-lop")
    low, value, high = (each / result.cycles for each in (report.low_pj, report.pj, report.high_pj))
    show(f"VexRiscv and 64 KiB, a cycle, 45nm-lop ({low:.3g} to {high:.3g})", 45, value, "pJ")
    show("MLPerf Tiny, AD01 on NUCLEO-L4R5ZI, a cycle", 322, value, "pJ")
    for macs, sides, kib, mm2 in NVDLA:
        show(f"NVDLA, {macs} MACs, {kib} KB, 28 nm", mm2, nvdla_like(sides, kib).mm2, "mm2")
    return 0


if __name__ == "__main__":
    sys.exit(main())
