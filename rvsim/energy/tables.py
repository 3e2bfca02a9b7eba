"""The energy model's parameters: process, voltage, constants, and what is known better of a memory; read from TOML."""

from __future__ import annotations

import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rvsim.energy.sram import SramTable, cacti, mix
from rvsim.errors import UsageError
from rvsim.records import Record
from rvsim.timing.tables import bundled_names, check_keys, nearest, read_setting, read_toml, read_toml_file, short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rvsim.energy.sram import Sram

FOLDER = os.path.dirname(__file__)
PROCESSES = os.path.join(FOLDER, "processes")
DEFAULT = "45nm-lop"
VOLTAGES = 0.6, 1.5
"""Of the process's own, between which V² is believed: below, transistors come near their threshold."""
NODE_EXPONENTS = 0.7, 1.0, 1.3
"""Energy by gate length: 1 is constant-field scaling at one voltage (Dennard, JSSC 9(5), 1974); bounds are assumed."""
AREA_EXPONENTS = 1.6, 2.0, 2.4
LEAKAGE_EXPONENTS = 1, 2, 4
"""Leakage power by voltage: 1 if the current stayed, more by drain-induced barrier lowering; assumed."""
BETWEEN_NODES = 1.25
"""By how much bounds widen at a node that is between two of the data; assumed."""
UNITS = ("pJ", "um2", "kGE")


class Bounded(NamedTuple):
    """An estimate between its bounds."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: Any) -> Bounded:
        other = factor if isinstance(factor, Bounded) else Bounded(factor, factor, factor)
        return Bounded(self.value * other.value, self.low * other.low, self.high * other.high)

    def __add__(self, other: Any) -> Bounded:
        return Bounded(self.value + other.value, self.low + other.low, self.high + other.high)


ZERO = Bounded(0.0, 0.0, 0.0)
SRAM_AREA = Bounded(1.0, 2 / 3, 1.5)
"""Of CACTI's, what an SRAM may take; assumed."""
LOGIC_AREA = Bounded(1.0, 0.5, 2.0)
"""Of units' areas added up: units as fast as Accelergy's (1 ns) are large, wires and tests are left out; assumed."""


class Process(Record):
    """A process and how well its memories' energies are known.

    Attributes
    ----------
    name : str
    node_nm : float
        Gate length by which it is called, in nm.
    voltage : float
        Nominal supply voltage in V, for which the memories' energies hold.
    dynamic_low, dynamic_high : float
        Bounds of an SRAM's access, as a share of its row.
    leakage_low, leakage_high : float
        Bounds of an SRAM's leakage, as a share of its row.
    source : str
    """

    name: str
    node_nm: float
    voltage: float
    dynamic_low: float
    dynamic_high: float
    leakage_low: float
    leakage_high: float
    source: str


class Constant(Record):
    """What an event takes or how large a part is, where it was found.

    Attributes
    ----------
    value, low, high : float
    unit : {"pJ", "um2", "kGE"}
    node_nm : float
        In nm.
    voltage : float
        In V.
    source : str
    """

    value: float
    low: float
    high: float
    unit: str
    node_nm: float
    voltage: float
    source: str


class MemoryEnergy(Record):
    """What is said of one memory region, in place of what follows from its size.

    Attributes
    ----------
    size_kib : float or None
        Size of the SRAM in KiB.
    width_bits : int
        Width of an access: 32, 64 or 128.
    read_pj, write_pj : float or None
        An access of that width, in pJ, whatever process and voltage.
    leakage_mw : float or None
        Leakage power in mW.
    source : str
    """

    size_kib: float | None = None
    width_bits: int = 32
    read_pj: float | None = None
    write_pj: float | None = None
    leakage_mw: float | None = None
    source: str = ""


class EnergyParameters(Record):
    """All that energy depends on beside a run's counts; `load_energy` makes them.

    Attributes
    ----------
    process : Process
    voltage : float
        Supply voltage in V.
    constants : dict of str to Constant
    regions : dict of str to MemoryEnergy
        By name of the memory region.
    path : str
        The file they were read from, or the process's name.
    """

    process: Process
    voltage: float
    constants: dict[str, Constant]
    regions: dict[str, MemoryEnergy]
    path: str

    def constant(self, name: str) -> Bounded:
        """A constant at this process and voltage: energy by node and V², area by node²."""
        constant = self.constants[name]
        factor = Bounded(1.0, 1.0, 1.0)
        ratio = self.process.node_nm / constant.node_nm
        if constant.unit == "pJ":
            factor = _powers(ratio, NODE_EXPONENTS) * (self.voltage / constant.voltage) ** 2
        elif constant.unit == "um2":
            factor = _powers(ratio, AREA_EXPONENTS)
        return Bounded(constant.value, constant.low, constant.high) * factor

    def sram(self, size_kib: float, width_bits: float) -> tuple[Bounded, Bounded, Bounded]:
        """An access that reads and one that writes, in pJ, and the leakage in mW, of an SRAM at this voltage.

        Raises
        ------
        ValueError
            The memory is too large (`SramTable.lookup`).
        """
        row = self._row(size_kib, width_bits)
        process, dynamic = self.process, (self.voltage / self.process.voltage) ** 2
        # A memory beyond the rows' sizes may need as little as the largest row, and as much as the way to it grows.
        shrunk = 1.0
        if row.spread > 1:
            shrunk = 1 / row.spread
        bounds = Bounded(1.0, process.dynamic_low * shrunk, process.dynamic_high * row.spread)
        # Below the smallest row and width the row is an upper bound.
        if size_kib < 1 or width_bits < 32:
            bounds = bounds._replace(low=bounds.low * min(1.0, size_kib) * min(1.0, width_bits / 32))
        leakage = Bounded(1.0, process.leakage_low, process.leakage_high) * self.leakage_factor()
        if size_kib < 1:
            leakage = leakage._replace(low=leakage.low * size_kib)
        return bounds * (row.read_pj * dynamic), bounds * (row.write_pj * dynamic), leakage * row.leakage_mw

    def sram_area(self, size_kib: float, width_bits: float) -> Bounded:
        """Of an SRAM, in mm²: a row of CACTI, between two thirds and one and a half of it (assumed).

        Raises
        ------
        ValueError
            The memory is too large (`SramTable.lookup`).
        """
        bounds = SRAM_AREA
        if size_kib < 1 or width_bits < 32:
            bounds = bounds._replace(low=bounds.low * min(1.0, size_kib))
        return bounds * self._row(size_kib, width_bits).area_mm2

    def logic_leakage(self) -> Bounded:
        """Leakage of logic in mW/mm²: that of a large SRAM, between a quarter and four times of it; assumed."""
        row = self._row(256, 32)
        factor = Bounded(1.0, self.process.leakage_low / 4, self.process.leakage_high * 4)
        return factor * self.leakage_factor() * (row.leakage_mw / row.area_mm2)

    def leakage_factor(self) -> Bounded:
        """Of leakage power, by the voltage."""
        ratio = self.voltage / self.process.voltage
        low, value, high = (ratio**exponent for exponent in LEAKAGE_EXPONENTS)
        return Bounded(value, min(low, high), max(low, high))

    def _row(self, size_kib: float, width_bits: float) -> Sram:
        parts = [(table.lookup(size_kib, width_bits), weight) for table, weight in tables_of(self.process)]
        spread = max(sram.spread for sram, _ in parts)
        return mix([(sram._replace(spread=1.0), weight) for sram, weight in parts])._replace(spread=spread)


@cache
def process_names() -> list[str]:
    """Names of the bundled processes."""
    return bundled_names(PROCESSES)


def tables_of(process: Process) -> list[tuple[SramTable, float]]:
    """The tables whose rows are a process's, with their weights: one, or two around a node that is between them."""
    if process.name in cacti():
        return [(cacti()[process.name], 1.0)]
    small, large = _around()
    share = _share(process.node_nm, small, large)
    return [(cacti()[small.name], 1 - share), (cacti()[large.name], share)]


def load_energy(
    name_or_path: str = "auto",
    settings: Mapping[str, str] | None = None,
    platform: Mapping[str, Any] | None = None,
) -> EnergyParameters:
    """The parameters of an energy estimate; docs/energy.md has the format.

    Parameters
    ----------
    name_or_path : str
        A process (``45nm-lop``, ``45nm-hp``, ``22nm-lop``, or a node between such as ``28nm``), a path that ends in
        ``.toml``, or ``auto``: what the platform says, else ``45nm-lop``.
    settings : mapping of str to str, optional
        Keys to replace, such as ``{"voltage": "0.8", "region.ram.size_kib": "64"}`` (``--set energy.voltage=0.8``).
    platform : mapping, optional
        The platform's table ``[energy]``: ``process`` and ``voltage``, of which ``auto`` makes use.

    Raises
    ------
    UsageError
        For an unknown process, an unreadable file, or a key or value that cannot be: the file, the key, the reason.
    """
    where = name_or_path
    try:
        if name_or_path == "auto":
            table: dict[str, Any] = dict(platform or {})
            where = "the platform's [energy]" if table else DEFAULT
        elif name_or_path.endswith(".toml"):
            table = read_toml_file(name_or_path)
        else:
            table, where = {"process": name_or_path}, "--energy"
        for key, value in (settings or {}).items():
            _set(table, key, value)
        return _parameters(table, name_or_path if where == "--energy" else where)
    except OSError as error:
        raise UsageError(f"{where}: cannot read the energy parameters: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # of TOML and of Unicode, too
        raise UsageError(f"{where}: {error}") from None


def _set(table: dict[str, Any], key: str, value: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ValueError(f"{key}: expected region.NAME.KEY, constant.NAME.KEY or KEY")
    table[last] = read_setting(value)


def _parameters(table: dict[str, Any], path: str) -> EnergyParameters:
    check_keys("", table, ("name", "source", "process", "voltage", "constant", "region"))
    process = _process(table.get("process", DEFAULT))
    for key in ("name", "source"):
        _text(key, table.get(key, ""))
    voltage = process.voltage
    if "voltage" in table:
        low, high = (round(process.voltage * factor, 3) for factor in VOLTAGES)
        voltage = _number("voltage", table["voltage"], low, high, f"V of {process.name} (around {process.voltage:g})")
    constants = bundled_constants()
    for name, each in _tables("constant", table).items():
        if name not in constants:
            raise ValueError(
                f"constant: unknown constant {short(name)!r}; {nearest(short(name), constants, 'known: ')}"
            )
        constants[name] = _constant(f"constant.{name}: ", each, constants[name], process, voltage)
    regions = {name: _region(f"region.{short(name)}: ", each) for name, each in _tables("region", table).items()}
    return EnergyParameters(process, voltage, constants, regions, path)


def _process(name: Any) -> Process:
    """A bundled process, or one between two of them by its node."""
    if type(name) is not str:
        raise ValueError(
            f"process: expected a name such as {DEFAULT} or a node such as 28nm, found {short(repr(name))}"
        )
    known = process_names()
    if name in known:
        return Process(**_bundled(os.path.join(PROCESSES, f"{name}.toml")))
    small, large = _around()
    node = re.fullmatch(r"(\d{1,4}(?:\.\d{1,4})?)nm", name, re.ASCII)
    if not node:
        raise ValueError(
            f"process: expected one of {', '.join(known)}, a node such as 28nm, or a FILE.toml, found {short(name)!r}"
        )
    length = float(node[1])
    if not small.node_nm <= length <= large.node_nm:
        raise ValueError(
            f"process: the data reach from {small.node_nm:g} to {large.node_nm:g} nm, found {short(name)}; "
            "choose a node between them"
        )
    for each in (small, large):
        if length == each.node_nm:
            return each
    share = _share(length, small, large)
    values = {
        key: getattr(small, key) ** (1 - share) * getattr(large, key) ** share
        for key in ("voltage", "dynamic_low", "dynamic_high", "leakage_low", "leakage_high")
    }
    for key in values:
        if key != "voltage":
            values[key] *= BETWEEN_NODES if key.endswith("_high") else 1 / BETWEEN_NODES
    source = f"between {small.source} and {large.source}, straight lines through the logarithms"
    return Process(name=f"{length:g}nm", node_nm=length, source=source, **values)


def _around() -> tuple[Process, Process]:
    """The processes of one kind that the data have at two nodes."""
    return _process("22nm-lop"), _process("45nm-lop")


def _share(node_nm: float, small: Process, large: Process) -> float:
    import math

    return math.log(node_nm / small.node_nm) / math.log(large.node_nm / small.node_nm)


def bundled_constants() -> dict[str, Constant]:
    """The constants of constants.toml."""
    return {name: Constant(**each) for name, each in _bundled(os.path.join(FOLDER, "constants.toml")).items()}


def _constant(where: str, table: dict[str, Any], before: Constant, process: Process, voltage: float) -> Constant:
    check_keys(where, table, ("value", "low", "high", "node_nm", "voltage", "source"))
    if "value" not in table:
        raise ValueError(f"{where}value: expected this key, found none")
    value = _number(f"{where}value", table["value"], 0, 1e9, before.unit)
    low = _number(f"{where}low", table.get("low", value), 0, value, f"{before.unit}, at most value")
    high = _number(f"{where}high", table.get("high", value), value, 1e9, f"{before.unit}, at least value")
    node = _number(f"{where}node_nm", table.get("node_nm", process.node_nm), 1, 1000, "nm")
    volt = _number(f"{where}voltage", table.get("voltage", voltage), 0.1, 10, "V")
    source = _text(f"{where}source", table.get("source", "")) or "given, without a source"
    return Constant(value, low, high, before.unit, node, volt, source)


def _region(where: str, table: dict[str, Any]) -> MemoryEnergy:
    check_keys(where, table, MemoryEnergy.record_fields)
    width = table.get("width_bits", 32)
    if type(width) is not int or width not in (32, 64, 128):
        raise ValueError(f"{where}width_bits: expected 32, 64 or 128, found {short(repr(width))}")
    values: dict[str, Any] = {"width_bits": width, "source": _text(f"{where}source", table.get("source", ""))}
    for key, low, high, what in (
        ("size_kib", 1 / 1024, 1 << 14, "KiB"),
        ("read_pj", 0, 1e9, "pJ"),
        ("write_pj", 0, 1e9, "pJ"),
        ("leakage_mw", 0, 1e9, "mW"),
    ):
        if key in table:
            values[key] = _number(f"{where}{key}", table[key], low, high, what)
    return MemoryEnergy(**values)


def _tables(key: str, table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tables = table.get(key, {})
    if type(tables) is not dict or any(type(each) is not dict for each in tables.values()):
        raise ValueError(f"{key}: expected tables [{key}.NAME], found {short(repr(tables))}")
    return tables


def _number(key: str, value: Any, low: float, high: float, what: str) -> float:
    # A comparison with NaN is false.
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(f"{key}: expected from {low:g} to {high:g} {what}, found {short(repr(value))}")
    return float(value)


def _text(key: str, value: Any) -> str:
    if type(value) is not str or not value.isprintable() or len(value) > 2000:
        raise ValueError(f"{key}: expected a text of one line, found {short(repr(value))}")
    return value


@cache
def _bundled(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return read_toml(file.read())


def _powers(ratio: float, exponents: tuple[float, float, float]) -> Bounded:
    first, value, last = (ratio**exponent for exponent in exponents)
    return Bounded(value, min(first, last), max(first, last))
