"""What an estimate is made of: the constants it used, and the components it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rvsim.energy.tables import Bounded
from rvsim.errors import UsageError
from rvsim.machine.result import EnergyComponent, EnergyConstant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rvsim.energy.tables import EnergyParameters


class Ledger:
    """Components as they are found, with the weights by which functions have a share in them."""

    def __init__(self, parameters: EnergyParameters) -> None:
        self.parameters = parameters
        self.constants: dict[str, EnergyConstant] = {}
        self.rows: list[tuple[EnergyComponent, dict[str, float]]] = []
        self.uncounted: list[str] = []

    def constant(self, name: str) -> Bounded:
        found = self.parameters.constant(name)
        constant, process = self.parameters.constants[name], self.parameters.process
        source = constant.source
        here = (process.node_nm, self.parameters.voltage)
        if constant.unit == "pJ" and here != (constant.node_nm, constant.voltage):
            source += f"; from {constant.node_nm:g} nm, {constant.voltage:g} V by node and V^2"
        elif constant.unit == "um2" and process.node_nm != constant.node_nm:
            source += f"; from {constant.node_nm:g} nm by node^2"
        return self.keep(name, found, constant.unit, source)

    def keep(self, name: str, found: Bounded, unit: str, source: str) -> Bounded:
        self.constants[name] = EnergyConstant(name, *found, unit, source)
        return found

    def sram(self, name: str, size_kib: float, width_bits: float) -> tuple[Bounded, Bounded, Bounded]:
        """Energy of reads and writes in pJ and leakage in mW of an SRAM, kept under its name."""
        try:
            found = self.parameters.sram(size_kib, width_bits)
        except ValueError as error:
            raise UsageError(
                f"energy of {name}: {error}; make it smaller, or a region by --set energy.region.NAME.size_kib=KIB"
            ) from None
        process, volt = self.parameters.process, self.parameters.voltage
        source = f"{process.source}, {size_kib:g} KiB of {width_bits:g} bits"
        source += "" if volt == process.voltage else f"; from {process.voltage:g} V by V^2"
        for each, kind in zip(found, ("read", "write", "leakage"), strict=True):
            self.keep(f"{name}.{kind}", each, "mW" if kind == "leakage" else "pJ", source)
        return found

    def add(
        self,
        component: str,
        part: str,
        count: float,
        unit: str,
        energy: Bounded,
        constants: Sequence[str],
        weights: Mapping[str, float],
    ) -> None:
        """Note one component; `weights` says by which weights of the functions it is attributed to them."""
        if count:
            row = EnergyComponent(component, part, float(count), unit, *energy, list(constants))
            self.rows.append((row, dict(weights)))
