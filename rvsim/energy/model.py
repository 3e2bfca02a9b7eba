"""From a run's counts to pJ: a pure function of the counts and the parameters.

Each component of the energy is a number of events times what one takes. It is attributed to functions by what causes
it: an instruction's energy to the function that it is in, an access's by the loads and stores of the functions, leakage
by cycles. So functions add up to components, and both to the total.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rvsim.energy.area import UNITS, of_part
from rvsim.energy.ledger import Ledger
from rvsim.energy.tables import ZERO, Bounded, MemoryEnergy
from rvsim.errors import UsageError
from rvsim.machine.result import (
    TOTAL,
    Count,
    EnergyComponent,
    EnergyReport,
    EnergyShare,
    MemoryReport,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rvsim.energy.tables import EnergyParameters
    from rvsim.machine.result import AcceleratorReport, CacheReport, RunResult

NOWHERE, NO_LAYER = "(no function)", "(no layer)"
LARGEST_KIB = 256
"""Memory that no platform describes counts as an SRAM of at most this size, the largest that the data have."""
WASTED_WORDS = 2
"""Words that a prefetch buffer may have fetched in vain when a branch is taken: in the upper bound alone."""
TAG_BITS = 24
"""Of a cache's line: 20 to 22 bits of address and two of state; assumed."""
OPERATIONS: dict[str, dict[str, float]] = {
    "alu": {"add32": 1},
    "load": {"add32": 1},
    "store": {"add32": 1},
    "atomic": {"add32": 2},
    "branch": {"add32": 2},
    "jump": {"add32": 1},
    "multiply": {"multiply32": 1},
    "multiply-high": {"multiply32": 1},
    "divide": {"add32": 32},
    "custom": {"add32": 1},
}
"""What an instruction of a class does beside what every instruction does; a division subtracts once for each bit."""


class Part(NamedTuple):
    """A function, as far as energy is attributed to it."""

    name: str
    weights: dict[str, float]


def add_energy(
    result: RunResult, parameters: EnergyParameters, layers: Mapping[str, Sequence[str]] | None = None
) -> RunResult:
    """A run's result with `energy_pj` and `energy`; see `estimate`."""
    report = estimate(result, parameters, layers)
    return result.replace(energy=report, energy_pj=report.pj)


def estimate(
    result: RunResult, parameters: EnergyParameters, layers: Mapping[str, Sequence[str]] | None = None
) -> EnergyReport:
    """Where a run's energy went, in pJ.

    Parameters
    ----------
    result : RunResult
        Of it: `classes`, `cycles`, `clock_mhz`, `taken_branches`, `traffic`, `memories`, `functions`, `icache`,
        `dcache` and `accelerator`.
    parameters : EnergyParameters
        `rvsim.energy.load_energy` reads them.
    layers : mapping of str to sequence of str, optional
        Names of the functions of each layer; a layer takes what they take. A function is in at most one.

    Returns
    -------
    EnergyReport

    Raises
    ------
    UsageError
        A memory is larger than the data allow, or a function is in two layers.

    Examples
    --------
    >>> from rvsim import Machine
    >>> from rvsim.energy import estimate, load_energy
    >>> result = Machine.from_elf("kernels/examples/hello.elf", stdout=lambda data: None).run()
    >>> report = estimate(result, load_energy("45nm-lop"))
    >>> report.low_pj < report.pj < report.high_pj
    True
    """
    unknown = sorted(parameters.regions.keys() - result.memories.keys())
    if unknown and result.memories:
        raise UsageError(
            f"{parameters.path}: region: the machine has no memory {unknown[0]!r}; it has {', '.join(result.memories)}"
        )
    ledger = Ledger(parameters)
    _core(ledger, result)
    _caches(ledger, result)
    _memories(ledger, result)
    if result.accelerator is not None:
        _coprocessor(ledger, result.accelerator, result.cycles, _microseconds(result) * 1000)
    _core_leakage(ledger, result)
    functions = _attribute(ledger.rows, _parts(result))
    total = sum((_of(row) for row, _ in ledger.rows), ZERO)
    return EnergyReport(
        process=parameters.process.name,
        node_nm=parameters.process.node_nm,
        voltage=parameters.voltage,
        pj=total.value,
        low_pj=total.low,
        high_pj=total.high,
        components=[row for row, _ in ledger.rows],
        functions=functions,
        layers=_layers(functions, layers or {}),
        constants=sorted(ledger.constants.values(), key=lambda each: each.name),
        uncounted=ledger.uncounted,
    )


def coprocessor_energy(
    report: AcceleratorReport, cycles: int, clock_mhz: float, parameters: EnergyParameters
) -> Bounded:
    """Energy in pJ of a coprocessor alone, without the memory behind its port and without the core.

    Parameters
    ----------
    report : AcceleratorReport
        Of it: `activities`, `levels` and `hardware`.
    cycles : int
        Core cycles in which it leaks.
    clock_mhz : float
        The core's clock.

    Raises
    ------
    UsageError
        A buffer is larger than the data allow.
    """
    ledger = Ledger(parameters)
    _coprocessor(ledger, report, cycles, cycles / clock_mhz * 1000)
    return sum((_of(row) for row, _ in ledger.rows), ZERO)


# --------------------------------------------------------------------------------------------------------- components


def _core(ledger: Ledger, result: RunResult) -> None:
    base = ledger.constant("instruction")
    for class_, count in result.classes.items():
        does = OPERATIONS.get(class_, {})
        one = sum((ledger.constant(name) * times for name, times in does.items()), base)
        ledger.add("core", class_, count, "instructions", one * count, ("instruction", *does), {f"class.{class_}": 1})
    idle = max(0, result.cycles - result.instructions)
    ledger.add("core", "stalls", idle, "cycles", ledger.constant("stall_cycle") * idle, ("stall_cycle",), {"idle": 1})


def _caches(ledger: Ledger, result: RunResult) -> None:
    """The arrays of the caches: every access looks at all ways and their tags; a refill writes, a write-back reads."""
    for name, cache in (("icache", result.icache), ("dcache", result.dcache)):
        if cache is None:
            continue
        size, ways, line = _shape(cache)
        data = ledger.sram(f"{name}.data", size / 1024, 32 * ways)
        tags = ledger.sram(f"{name}.tags", size / line * TAG_BITS / 8 / 1024, TAG_BITS * ways)
        # A refill or write-back moves words of one way.
        way = ledger.sram(f"{name}.way", size / 1024, 32)
        use = {"fetch": 1} if name == "icache" else {"data": 1}
        look = data[0] + tags[0]
        names = (f"{name}.data.read", f"{name}.tags.read")
        ledger.add(name, "reads", cache.loads, "accesses", look * cache.loads, names, use)
        stores = (tags[0] + way[1]) * cache.stores
        names = (f"{name}.tags.read", f"{name}.way.write")
        ledger.add(name, "writes", cache.stores, "accesses", stores, names, {"store": 1})
        missed = {f"{name}_misses": 1}
        words = cache.refill_bytes / 4
        refills = way[1] * words + tags[1] * (cache.refill_bytes / line)
        ledger.add(name, "refills", words, "words", refills, (f"{name}.way.write", f"{name}.tags.write"), missed)
        words = cache.write_back_bytes / 4
        ledger.add(name, "write-backs", words, "words", way[0] * words, (f"{name}.way.read",), missed)
        energy = (data[2] + tags[2]) * _microseconds(result) * 1000
        names = (f"{name}.data.leakage", f"{name}.tags.leakage")
        ledger.add("leakage", name, result.cycles, "cycles", energy, names, {"cycles": 1})


def _shape(cache: CacheReport) -> tuple[int, int, int]:
    """Bytes, ways and bytes of a line."""
    of = cache.parameters
    size = int(of["size_bytes"]) if of.get("size_bytes") is not None else int(of["size_kib"]) * 1024
    return size, int(of["ways"]), int(of["line_bytes"])


def _memories(ledger: Ledger, result: RunResult) -> None:
    """Accesses and leakage of each region."""
    regions = {name: ledger.parameters.regions.get(name, MemoryEnergy()) for name in result.memories}
    moved = _behind_caches(result, {name: each.width_bits // 8 for name, each in regions.items()})
    redirected = result.taken_branches + result.classes.get("jump", 0)
    all_fetches = sum(each.fetch.count for name, each in result.traffic.items() if name != TOTAL)
    port = result.accelerator.traffic if result.accelerator else None
    for name, (fetches, loads, stores) in moved.items():
        memory = result.memories[name]
        found = _memory(ledger, name, memory, regions[name], fetches + loads + stores)
        if found is None:
            continue
        read, write, leakage = found
        energy = read * fetches
        if result.icache is None and all_fetches:
            vain = WASTED_WORDS * redirected * result.traffic[name].fetch.count / all_fetches
            energy = energy._replace(high=energy.high + read.high * vain)
        use = {"icache_misses": 1.0} if result.icache is not None else {f"fetch.{name}": 1.0}
        ledger.add("fetch", name, fetches, "accesses", energy, (f"{name}.read",), use)
        for kind, count, one in (("load", loads, read), ("store", stores, write)):
            of_port = getattr(port, kind).count if port is not None else 0
            of_all = getattr(result.traffic[TOTAL], kind).count
            share = of_port / of_all if of_all else 0.0
            weights = {kind if result.dcache is None else "dcache_misses": 1 - share, "coprocessor": share}
            constant = f"{name}.{'read' if kind == 'load' else 'write'}"
            ledger.add(kind, name, count, "accesses", one * count, (constant,), weights)
        if leakage.high:
            energy = leakage * _microseconds(result) * 1000
            ledger.add("leakage", name, result.cycles, "cycles", energy, (f"{name}.leakage",), {"cycles": 1})


def _behind_caches(result: RunResult, width: Mapping[str, int]) -> dict[str, tuple[float, float, float]]:
    """Fetches, loads and stores of each memory.

    The core fetches words of 32 bits, and each load or store is an access, whatever it moves. Caches and the
    coprocessor's port use the memory's whole width, `width` bytes. What a cache lets pass is not counted by region: it
    is divided as the accesses before it are. So is what a port wider than the memory needs more accesses for.
    """
    names = [name for name in result.memories if name in result.traffic]
    memories = [name for name in names if result.memories[name].kind != "device"]
    fetches = {name: result.traffic[name].fetch.bytes / 4 for name in names}
    if result.icache is not None and (fetched := sum(fetches.values())):
        fetches = {n: result.icache.refill_bytes / width[n] * each / fetched for n, each in fetches.items()}
    found = {name: [fetches[name]] for name in names}
    for kind in ("load", "store"):
        traffic = {name: getattr(result.traffic[name], kind) for name in names}
        port = getattr(result.accelerator.traffic, kind) if result.accelerator else Count()
        accesses = sum(traffic[name].count for name in memories)
        for name in names:
            count = float(traffic[name].count)
            if name in memories and accesses:
                share = traffic[name].count / accesses
                if (cache := result.dcache) is not None:
                    passed = cache.passed_stores if kind == "store" else 0
                    bytes_ = cache.write_back_bytes if kind == "store" else cache.refill_bytes
                    count = (bytes_ / width[name] + passed + port.count) * share
                count += max(0.0, port.bytes / width[name] - port.count) * share
            found[name].append(count)
    return {name: (each[0], each[1], each[2]) for name, each in found.items()}


def _memory(
    ledger: Ledger, name: str, memory: MemoryReport, given: MemoryEnergy, used: float
) -> tuple[Bounded, Bounded, Bounded] | None:
    """What an access of a region takes, in pJ, and its leakage in mW; None where nobody knows."""
    says = (given.read_pj, given.write_pj, given.leakage_mw)
    outside = memory.kind in ("device", "flash-xip") and given.size_kib is None
    if outside and all(each is None for each in says):
        if used and memory.kind != "device":
            ledger.uncounted.append(
                f"{name}: {used:,.0f} accesses to {memory.kind}, of whose energy there are no data; give "
                f"--set energy.region.{name}.read_pj=PJ, for {given.width_bits} bits"
            )
        elif used:
            ledger.uncounted.append(f"{name}: {used:,.0f} accesses to a device")
        return None
    if outside:
        found = [ZERO, ZERO, ZERO]
    else:
        size = given.size_kib if given.size_kib is not None else memory.size / 1024
        if memory.kind == "ram" and given.size_kib is None:
            size = min(size, LARGEST_KIB)
        found = list(ledger.sram(name, size, given.width_bits))
        if memory.kind == "rom":
            # As an SRAM of its size, which is an upper bound: cells of a ROM do not leak.
            found = [found[0], found[1], found[2]._replace(low=0.0)]
            _note(ledger, f"{name}.leakage", found[2], "a ROM as an SRAM of its size, an upper bound")
    for n, (kind, value) in enumerate(zip(("read", "write", "leakage"), says, strict=True)):
        if value is not None:
            found[n] = Bounded(value, value, value)
            source = given.source or f"given, {ledger.parameters.path}"
            ledger.keep(f"{name}.{kind}", found[n], "mW" if kind == "leakage" else "pJ", source)
    return found[0], found[1], found[2]


def _note(ledger: Ledger, name: str, value: Bounded, why: str) -> None:
    before = ledger.constants[name]
    ledger.keep(name, value, before.unit, f"{before.source}; {why}")


def _coprocessor(ledger: Ledger, report: AcceleratorReport, cycles: int, time: float) -> None:
    """What it does, its memories' accesses, and what all of it leaks in `time` nanoseconds."""
    use = {"coprocessor": 1}
    for activity in report.activities:
        try:
            one = sum((ledger.constant(name) * times for name, times in activity.takes.items()), ZERO)
        except KeyError as error:
            raise UsageError(
                f"energy of {report.name}, {activity.name}: expected names of constants.toml, found {error}"
            ) from None
        ledger.add(
            "coprocessor", activity.name, activity.count, "times", one * activity.count, tuple(activity.takes), use
        )
    if report.commands and not report.hardware:
        ledger.uncounted.append(f"coprocessor {report.name}: its buffers and leakage, as it does not tell its hardware")
    memories = {part.name: part for part in report.hardware if part.sram_kib is not None}
    logic = ZERO
    for part in report.hardware:
        if part.sram_kib is None:
            logic = logic + of_part(ledger, part)
            continue
        name = part.name.replace(" ", "_")
        leakage = ledger.sram(name, part.sram_kib / part.banks, part.sram_bits)[2] * (part.banks * time)
        ledger.add("leakage", part.name, cycles, "cycles", leakage, (f"{name}.leakage",), {"cycles": 1})
    for moved in report.levels:
        found = memories.get(moved.level)
        if found is None or found.sram_kib is None:
            continue
        name = found.name.replace(" ", "_")
        read, write, _ = ledger.sram(name, found.sram_kib / found.banks, found.sram_bits)
        for elements, each, kind in ((moved.reads, read, "read"), (moved.writes, write, "write")):
            # Elements side by side in one access of the whole width.
            count = elements * moved.bits / found.sram_bits
            ledger.add(
                "coprocessor", f"{moved.level} {kind}s", count, "accesses", each * count, (f"{name}.{kind}",), use
            )
    if logic.high:
        names = (*(UNITS[unit][0] for part in report.hardware for unit in part.units), "logic.leakage")
        energy = logic * _density(ledger) * time
        known = tuple(dict.fromkeys(names))
        ledger.add("leakage", "coprocessor's logic", cycles, "cycles", energy, known, {"cycles": 1})


def _core_leakage(ledger: Ledger, result: RunResult) -> None:
    area = ledger.constant("core_area") * ledger.constant("gate_area") * 1e-3  # kGE and um2 to mm2
    energy = area * _density(ledger) * _microseconds(result) * 1000
    names = ("core_area", "gate_area", "logic.leakage")
    ledger.add("leakage", "core", result.cycles, "cycles", energy, names, {"cycles": 1})


def _density(ledger: Ledger) -> Bounded:
    source = (
        f"assumed: mW/mm2 of an SRAM of 256 KiB ({ledger.parameters.process.source}), a quarter to four times of it"
    )
    return ledger.keep("logic.leakage", ledger.parameters.logic_leakage(), "mW/mm2", source)


def _microseconds(result: RunResult) -> float:
    """Time of the run at its clock; mW times µs is nJ."""
    return result.cycles / result.clock_mhz


# -------------------------------------------------------------------------------------------------------- attribution


def _parts(result: RunResult) -> list[Part]:
    """What each function had of everything that energy is attributed by."""
    memories = [(name, each) for name, each in result.memories.items() if each.kind != "device"]
    left = {name: result.traffic[name].fetch.bytes for name, _ in memories if name in result.traffic}
    parts = []
    for function in result.functions:
        of = function.classes
        atomic = of.get("atomic", 0)
        weights: dict[str, float] = {f"class.{name}": count for name, count in of.items()}
        weights |= {
            "idle": max(0, function.cycles - function.instructions),
            "cycles": function.cycles,
            "fetch": function.fetch_bytes,
            "load": of.get("load", 0) + atomic,
            "store": of.get("store", 0) + atomic,
            "data": of.get("load", 0) + of.get("store", 0) + 2 * atomic,
            "coprocessor": of.get("coprocessor", 0),
            "icache_misses": function.icache_misses,
            "dcache_misses": function.dcache_misses,
        }
        home = None if function.name == NOWHERE else _home(function.address, memories)
        if home in left:
            weights[f"fetch.{home}"] = function.fetch_bytes
            left[home] -= function.fetch_bytes
        parts.append(Part(function.name, weights))
    # Code of no function may lie anywhere: of what a memory gave, it had what the functions there had not.
    for part in parts:
        if part.name == NOWHERE:
            part.weights.update({f"fetch.{name}": max(0, each) for name, each in left.items()})
    return parts


def _home(address: int, memories: Sequence[tuple[str, MemoryReport]]) -> str | None:
    """The memory that an address is in."""
    return next((name for name, each in memories if each.base <= address < each.base + each.size), None)


def _attribute(rows: Sequence[tuple[EnergyComponent, dict[str, float]]], parts: Sequence[Part]) -> list[EnergyShare]:
    """Divide each component among the functions; what no function caused is that of no function."""
    shares: dict[int, dict[str, float]] = {}
    sums: dict[int, Bounded] = {}

    def give(n: int, row: EnergyComponent, share: float) -> None:
        of = shares.setdefault(n, {})
        of[row.component] = of.get(row.component, 0.0) + row.pj * share
        sums[n] = sums.get(n, ZERO) + _of(row) * share

    nowhere = next((n for n, part in enumerate(parts) if part.name == NOWHERE), -1)
    totals: dict[str, float] = {}
    for row, weights in rows:
        for key, weight in weights.items():
            if not weight:
                continue
            if key not in totals:
                totals[key] = math.fsum(part.weights.get(key, 0) for part in parts)
            if not totals[key]:
                give(nowhere, row, weight)
                continue
            for n, part in enumerate(parts):
                if own := part.weights.get(key, 0):
                    give(n, row, weight * own / totals[key])
    names = [part.name for part in parts]
    found = [EnergyShare(names[n] if n >= 0 else NOWHERE, *sums[n], of) for n, of in shares.items()]
    return sorted(found, key=lambda each: (-each.pj, each.name))


def _layers(functions: Sequence[EnergyShare], layers: Mapping[str, Sequence[str]]) -> list[EnergyShare]:
    """Functions added up by the layer that they are of."""
    home: dict[str, str] = {}
    for layer, names in layers.items():
        for name in names:
            if home.setdefault(name, layer) != layer:
                raise UsageError(f"layers: function {name} is in {home[name]} and in {layer}; give it to one")
    sums: dict[str, Bounded] = dict.fromkeys(layers, ZERO)
    components: dict[str, dict[str, float]] = {layer: {} for layer in layers}
    for each in functions if layers else ():
        layer = home.get(each.name, NO_LAYER)
        sums[layer] = sums.get(layer, ZERO) + Bounded(each.pj, each.low_pj, each.high_pj)
        of = components.setdefault(layer, {})
        for name, pj in each.components.items():
            of[name] = of.get(name, 0.0) + pj
    return [EnergyShare(name, *total, components[name]) for name, total in sums.items()]


def _of(row: EnergyComponent) -> Bounded:
    return Bounded(row.pj, row.low_pj, row.high_pj)
