"""How large a coprocessor is, of what it says it is built of: mm² between bounds, and kGE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rvsim.energy.tables import LOGIC_AREA, ZERO, Bounded
from rvsim.errors import UsageError
from rvsim.machine.result import AreaPart, AreaReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rvsim.energy.ledger import Ledger
    from rvsim.energy.tables import EnergyParameters
    from rvsim.machine.result import HardwarePart, RunResult

UNITS = {
    "multiply8": ("multiplier_area", 1 / 16),
    "multiply32": ("multiplier_area", 1.0),
    "add32": ("adder_area", 1.0),
    "register_bit": ("register_bit_area", 1.0),
}
"""Constant and share of it: Accelergy has multipliers of 32 bits, whose area goes by the square of the width."""


def add_area(result: RunResult, parameters: EnergyParameters) -> RunResult:
    """A run's result with the `area` of its coprocessor."""
    report = result.accelerator
    return result.replace(area=area(report.hardware, parameters) if report is not None and report.hardware else None)


def area(hardware: Sequence[HardwarePart], parameters: EnergyParameters) -> AreaReport:
    """How large parts are.

    Parameters
    ----------
    hardware : sequence of HardwarePart
        `AcceleratorReport.hardware`.
    parameters : EnergyParameters
        `rvsim.energy.load_energy` reads them; voltage has no influence.

    Raises
    ------
    UsageError
        A memory is larger than the data allow, or a unit unknown.

    Examples
    --------
    >>> from rvsim.energy import area, load_energy
    >>> from rvsim.machine.result import HardwarePart
    >>> found = area([HardwarePart("buffer", sram_kib=16, sram_bits=64)], load_energy("22nm-lop"))
    >>> found.low_mm2 < found.mm2 < found.high_mm2
    True
    """
    from rvsim.energy.ledger import Ledger

    ledger = Ledger(parameters)
    found = [(each.name, of_part(ledger, each)) for each in hardware]
    total = sum((mm2 for _, mm2 in found), ZERO)
    gate = ledger.constant("gate_area").value
    return AreaReport(
        process=parameters.process.name,
        node_nm=parameters.process.node_nm,
        mm2=total.value,
        low_mm2=total.low,
        high_mm2=total.high,
        kge=total.value * 1e3 / gate,
        parts=[AreaPart(name, *mm2) for name, mm2 in found],
        constants=sorted(ledger.constants.values(), key=lambda each: each.name),
    )


def of_part(ledger: Ledger, part: HardwarePart) -> Bounded:
    """Area of a part in mm²: its memory, what was published of it, and its units."""
    found = ZERO
    if part.sram_kib is not None:
        try:
            each = ledger.parameters.sram_area(part.sram_kib / part.banks, part.sram_bits)
        except ValueError as error:
            raise UsageError(f"area of {part.name}: {error}; make it smaller") from None
        source = f"{ledger.parameters.process.source}, {part.sram_kib / part.banks:g} KiB of {part.sram_bits} bits"
        found = found + ledger.keep(f"{part.name}.area", each, "mm2", source) * part.banks
    if part.kge is not None:
        low, high = (part.kge if each is None else each for each in (part.low_kge, part.high_kge))
        published = ledger.keep(f"{part.name}.size", Bounded(part.kge, low, high), "kGE", part.source)
        found = found + published * ledger.constant("gate_area") * 1e-3
    logic = ZERO
    for name, number in part.units.items():
        if name not in UNITS:
            raise UsageError(f"area of {part.name}: expected units of {', '.join(UNITS)}, found {name!r}")
        constant, share = UNITS[name]
        logic = logic + ledger.constant(constant) * (share * number * 1e-6)
    return found + logic * LOGIC_AREA
