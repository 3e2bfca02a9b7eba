"""What a run counted: the one definition of every statistic, and the JSON document `rvsim.run/1`.

``python -m rvsim.machine.result`` writes its JSON Schema to docs/schemas/run-1.json; docs/run-schema.md explains it.
"""

from __future__ import annotations

import sys

from rvsim.errors import UsageError
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any, Literal, TypeAlias

    from rvsim.machine.counted import Counted

StopReason: TypeAlias = (
    "Literal['exit', 'limit', 'interrupted', 'illegal-instruction', 'access-fault', 'breakpoint', 'trap']"
)

EXIT_STATUS = {
    "limit": 124,
    "interrupted": 130,
    "illegal-instruction": 132,
    "breakpoint": 133,
    "trap": 134,
    "access-fault": 139,
}
"""Exit status of a run that the guest did not end itself (docs/architecture.md)."""

TOTAL = "total"
"""Key of the computed sum in `RunResult.traffic`; no region may have this name."""


class Count(Record):
    """Accesses of one kind.

    Attributes
    ----------
    count : int
        Number of accesses.
    bytes : int
        Bytes they moved.
    """

    count: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(count=self.count + other.count, bytes=self.bytes + other.bytes)


class Traffic(Record):
    """Accesses to one memory region, by the hart and by the coprocessor.

    Attributes
    ----------
    fetch : Count
        Instruction fetches of retired instructions: one each, of 2 or 4 bytes.
    load : Count
        Data reads.
    store : Count
        Data writes.
    """

    fetch: Count = Count()
    load: Count = Count()
    store: Count = Count()

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(fetch=self.fetch + other.fetch, load=self.load + other.load, store=self.store + other.store)

    @property
    def bytes(self) -> int:
        """Bytes of all three kinds."""
        return self.fetch.bytes + self.load.bytes + self.store.bytes


class MemoryReport(Record):
    """One memory region, or a device's registers.

    Attributes
    ----------
    base : int
        First address.
    size : int
        Size in bytes.
    kind : str
        ``sram``, ``tcm``, ``rom``, ``flash-xip`` as the platform says, ``ram`` without a platform, or ``device``.
    """

    base: int
    size: int
    kind: str = "ram"


class SymbolTraffic(Record):
    """Data accesses to one object of the program, or to a range of memory that no object covers.

    Attributes
    ----------
    name : str
        Symbol name; for what no object covers, the section's, ``(stack)`` or ``(no section)``.
    region : str
        Name of the memory region that holds it.
    address : int
        Address of its first byte.
    size : int
        Size in bytes.
    load : Count
        Data reads that began in it.
    store : Count
        Data writes that began in it.
    """

    name: str
    region: str
    address: int
    size: int
    load: Count = Count()
    store: Count = Count()


class FunctionProfile(Record):
    """What one function took, without the functions it called.

    Attributes
    ----------
    name : str
        Symbol name; ``(no function)`` for code without one.
    address : int
        Address of its first instruction.
    size : int
        Size in bytes.
    instructions : int
        Instructions retired in it.
    cycles : int
        Core cycles spent in it, waiting for the coprocessor and for caches included.
    icache_misses : int
        Misses of the instruction cache in it; 0 without one.
    dcache_misses : int
        Misses of the data cache in it; 0 without one.
    lost_cycles : dict of str to int
        With exact cycles: those beyond an instruction's first, by what they were lost to (docs/pipelines.md).
    classes : dict of str to int
        Instructions retired in it by class; they add up to `instructions`.
    fetch_bytes : int
        Bytes of the instructions retired in it.
    """

    name: str
    address: int
    size: int
    instructions: int
    cycles: int
    icache_misses: int = 0
    dcache_misses: int = 0
    lost_cycles: dict[str, int] = {}
    classes: dict[str, int] = {}
    fetch_bytes: int = 0


class LineProfile(Record):
    """What the instructions of one source line took.

    Attributes
    ----------
    file : str
        Source file, as DWARF names it; ``(no line)`` for code of which it says nothing.
    line : int
        Number of the line; 0 for none.
    instructions : int
        Instructions retired.
    cycles : int
        Core cycles, waiting for the coprocessor and for caches included.
    lost_cycles : dict of str to int
        With exact cycles: those beyond an instruction's first, by what they were lost to (docs/pipelines.md).
    """

    file: str
    line: int
    instructions: int
    cycles: int
    lost_cycles: dict[str, int] = {}


class CacheReport(Record):
    """What one cache did; docs/caches.md says how it works.

    Attributes
    ----------
    accesses : int
        Fetches of instructions, or loads and stores of the hart to memory; one that touches two lines is two.
    hits : int
        Accesses whose line was there.
    misses : int
        Accesses whose line was not there.
    loads : int
        Accesses that read; of an instruction cache, all.
    stores : int
        Accesses that write.
    load_misses : int
        Misses of those that read.
    store_misses : int
        Misses of those that write.
    evictions : int
        Lines that gave way to another.
    write_backs : int
        Changed lines that were written to memory, by evictions and by `fence.i`.
    passed_stores : int
        Stores that went to memory by themselves: all when writing through, else those that missed and did not allocate.
    refill_bytes : int
        Bytes read from memory.
    write_back_bytes : int
        Bytes of the lines that were written back.
    stall_cycles : int
        Core cycles that the hart waited for it.
    parameters : dict
        Its configuration.
    """

    accesses: int = 0
    hits: int = 0
    misses: int = 0
    loads: int = 0
    stores: int = 0
    load_misses: int = 0
    store_misses: int = 0
    evictions: int = 0
    write_backs: int = 0
    passed_stores: int = 0
    refill_bytes: int = 0
    write_back_bytes: int = 0
    stall_cycles: int = 0
    parameters: dict[str, Any] = {}

    @property
    def miss_ratio(self) -> float:
        """Misses / accesses; 0 without accesses."""
        return self.misses / self.accesses if self.accesses else 0.0


class PortTraffic(Record):
    """What the coprocessor moved through its own memory port; the regions' traffic includes it.

    Attributes
    ----------
    load : Count
        Reads.
    store : Count
        Writes.
    """

    load: Count = Count()
    store: Count = Count()


class AcceleratorCycles(Record):
    """Core cycles by what a coprocessor with commands spent them on; they add up to the run's.

    Attributes
    ----------
    issue : int
        Reading and judging descriptors.
    compute : int
        PE array (or lanes) working.
    fill_drain : int
        PE array loading stationary operands, filling and draining.
    requantise : int
        PE array waiting for requantisation.
    stall : int
        PE array waiting for memory.
    idle : int
        No command.
    """

    issue: int
    compute: int
    fill_drain: int
    requantise: int
    stall: int
    idle: int


class LevelTraffic(Record):
    """Elements of one kind that were read from and written to one level of a coprocessor's memory.

    Attributes
    ----------
    level : str
        memory, input buffer, weight buffer or output buffer.
    element : str
        input, weights, output, partial sums and so on.
    bits : int
        Width of an element.
    reads : int
        Elements read.
    writes : int
        Elements written.
    """

    level: str
    element: str
    bits: int
    reads: int
    writes: int


class HardwarePart(Record):
    """A part of a coprocessor, for an estimate of its area: units of logic, a published size, or a memory.

    Attributes
    ----------
    name : str
        What it is; of a memory the `level` of `LevelTraffic`.
    units : dict of str to float
        How many of what: ``multiply8``, ``multiply32``, ``add32``, ``register_bit``.
    kge : float or None
        Size in kGE (thousands of NAND2 gates) that was published.
    low_kge : float or None
        Its lower bound; as `kge` without.
    high_kge : float or None
        Its upper bound; as `kge` without.
    source : str
        Of `kge`.
    sram_kib : float or None
        Size of a memory in KiB, all banks.
    sram_bits : int
        Width of its accesses in bits.
    banks : int
        Memories it consists of; an access takes one.
    """

    name: str
    units: dict[str, float] = {}
    kge: float | None = None
    low_kge: float | None = None
    high_kge: float | None = None
    source: str = ""
    sram_kib: float | None = None
    sram_bits: int = 32
    banks: int = 1


class Activity(Record):
    """What a coprocessor did beside reading and writing memories, for an estimate of its energy.

    Attributes
    ----------
    name : str
        What it is called.
    count : float
        How often.
    takes : dict of str to float
        What each time is made of: ``multiply8``, ``multiply32``, ``add32``, ``register_bit``.
    """

    name: str
    count: float
    takes: dict[str, float]


class AcceleratorReport(Record):
    """What the coprocessor did; `msgspec.convert(coprocessor.report(cycles), AcceleratorReport)` makes one.

    None stands where the coprocessor has no such thing: one whose instructions are like the core's own has no commands.

    Attributes
    ----------
    name : str
        Name of the preset or configuration file.
    macs : int or None
        Multiply-accumulates of the layers it ran.
    commands : int or None
        Commands it took.
    failed_commands : int or None
        Commands among them that ended with another status than 0.
    busy_cycles : int or None
        Cycles from a command's start to its end, over all commands.
    stall_cycles : int or None
        Busy cycles in which the PE array waited for memory.
    cycles : AcceleratorCycles or None
        All cycles of the run by what the coprocessor spent them on.
    core_wait_cycles : int
        Cycles the hart stood still waiting for the coprocessor.
    utilisation : float or None
        MACs done, as a share of those the PE array could do in its busy cycles, 0 to 1.
    traffic : PortTraffic
        What it moved to and from memory.
    operands : dict of str to int
        Bytes moved, by operand (input, weights, output, and so on).
    levels : list of LevelTraffic
        Elements moved, by level and width.
    hardware : list of HardwarePart
        What it is built of; empty where it does not tell.
    activities : list of Activity
        What its work is made of.
    parameters : dict
        Its configuration.
    """

    name: str
    macs: int | None = None
    commands: int | None = None
    failed_commands: int | None = None
    busy_cycles: int | None = None
    stall_cycles: int | None = None
    cycles: AcceleratorCycles | None = None
    core_wait_cycles: int = 0
    utilisation: float | None = None
    traffic: PortTraffic = PortTraffic()
    operands: dict[str, int] = {}
    levels: list[LevelTraffic] = []
    hardware: list[HardwarePart] = []
    activities: list[Activity] = []
    parameters: dict[str, Any] = {}

    @property
    def operations(self) -> float:
        """Multiplications and additions of its MACs, two each, as TOPS/W and GOPS/mm² count them."""
        return 2 * sum(each.count for each in self.activities if each.name == "MACs")


class RegionOfInterest(Record):
    """What the program did between the marks it set by stores to the device `rtl-bench`.

    Attributes
    ----------
    cycles : int
        Core cycles from the store that begins the region to the store that ends it.
    instructions : int
        Instructions retired behind the first store, up to and including the second.
    checksum : int or None
        What the program stored when it ended; null before.
    """

    cycles: int
    instructions: int
    checksum: int | None = None

    @property
    def cpi(self) -> float:
        """Cycles per retired instruction; 0 when none retired."""
        return self.cycles / self.instructions if self.instructions else 0.0


class EnergyConstant(Record):
    """One number of the energy model, as it was used: at the process and voltage of the report.

    Attributes
    ----------
    name : str
        What `EnergyComponent.constants` calls it.
    value : float
        The estimate.
    low : float
        Its lower bound.
    high : float
        Its upper bound.
    unit : str
        ``pJ`` of an event; ``mW``, ``mW/mm2`` of leakage; ``um2``, ``kGE`` of area.
    source : str
        Where it is from, and how it was carried to this process and voltage.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str


class EnergyComponent(Record):
    """What one kind of event took.

    Attributes
    ----------
    component : str
        ``core``, ``fetch``, ``load``, ``store``, ``icache``, ``dcache``, ``coprocessor`` or ``leakage``.
    part : str
        Of it: class of instructions, memory region, or what it does.
    count : float
        Number of events.
    unit : str
        What is counted: instructions, cycles, accesses of a memory's width, MACs.
    pj : float
        Energy in pJ.
    low_pj : float
        Its lower bound.
    high_pj : float
        Its upper bound.
    constants : list of str
        Names of the constants that it follows from.
    """

    component: str
    part: str
    count: float
    unit: str
    pj: float
    low_pj: float
    high_pj: float
    constants: list[str] = []


class EnergyShare(Record):
    """What one function or layer took.

    Attributes
    ----------
    name : str
        Of the function or layer; ``(no function)`` and ``(no layer)`` take what belongs to none.
    pj : float
        Energy in pJ.
    low_pj : float
        Its lower bound.
    high_pj : float
        Its upper bound.
    components : dict of str to float
        Energy in pJ by component; they add up to `pj`.
    """

    name: str
    pj: float
    low_pj: float
    high_pj: float
    components: dict[str, float] = {}


class EnergyReport(Record):
    """Where a run's energy went; docs/energy.md says how it is estimated.

    Attributes
    ----------
    process : str
        Name of the process.
    node_nm : float
        Its node in nm.
    voltage : float
        Supply voltage in V.
    pj : float
        Energy of the whole run in pJ.
    low_pj : float
        Its lower bound, all constants at theirs.
    high_pj : float
        Its upper bound.
    components : list of EnergyComponent
        They add up to `pj`.
    functions : list of EnergyShare
        By function, most energy first; they add up to `pj`.
    layers : list of EnergyShare
        By layer, where the layers' functions are known; empty otherwise.
    constants : list of EnergyConstant
        What `components` follow from, each with its source.
    uncounted : list of str
        What the program used and the model has no number for, and how to give one.
    """

    process: str
    node_nm: float
    voltage: float
    pj: float
    low_pj: float
    high_pj: float
    components: list[EnergyComponent] = []
    functions: list[EnergyShare] = []
    layers: list[EnergyShare] = []
    constants: list[EnergyConstant] = []
    uncounted: list[str] = []


class AreaPart(Record):
    """What a part of a coprocessor takes of a chip.

    Attributes
    ----------
    name : str
        What it is.
    mm2 : float
        Area in mm².
    low_mm2 : float
        Its lower bound.
    high_mm2 : float
        Its upper bound.
    """

    name: str
    mm2: float
    low_mm2: float
    high_mm2: float


class AreaReport(Record):
    """How large a coprocessor is; docs/energy.md says how that is estimated.

    Attributes
    ----------
    process : str
        Name of the process.
    node_nm : float
        Its node in nm.
    mm2 : float
        Area of cells and memories in mm².
    low_mm2 : float
        Its lower bound.
    high_mm2 : float
        Its upper bound.
    kge : float
        The same in thousands of NAND2 gates.
    parts : list of AreaPart
        They add up to `mm2`.
    constants : list of EnergyConstant
        Every number that was used.
    """

    process: str
    node_nm: float
    mm2: float
    low_mm2: float
    high_mm2: float
    kge: float
    parts: list[AreaPart]
    constants: list[EnergyConstant] = []


class RunResult(Record):
    """One run of one program on one configuration.

    Attributes
    ----------
    schema : str
        Name and version of this document.
    program : str
        Path of the program.
    core : str
        Name of the core's timing model.
    clock_mhz : float
        Clock of core and coprocessor, in MHz.
    accel : str
        Name of the coprocessor, or ``off``.
    platform : str or None
        Name of the platform; null without one.
    engine : str
        What executed the instructions; it changes host time, never counts.
    timing : str
        Where cycles come from: ``table``, cycles by class of instruction; ``exact``, the core's pipeline; ``fast``, the
        pipeline over what the run counted.
    exit_code : int or None
        What the guest gave to exit; null when it did not exit.
    stop_reason : str
        Why the run ended.
    message : str or None
        What went wrong, where, and what to try; null after an exit.
    instructions : int
        Retired instructions.
    cycles : int
        Core cycles from reset to the end of the last instruction.
    taken_branches : int
        Retired conditional branches that were taken.
    classes : dict of str to int
        Retired instructions by class; they add up to `instructions`.
    traffic : dict of str to Traffic
        Accesses and bytes by memory region; ``total`` is their sum and is computed.
    symbols : list of SymbolTraffic
        Data accesses by object of the program.
    functions : list of FunctionProfile
        Instructions and cycles by function, most cycles first.
    lines : list of LineProfile
        Instructions and cycles by source line, most cycles first; empty unless asked for.
    icache : CacheReport or None
        What the instruction cache did; null without one.
    dcache : CacheReport or None
        What the data cache did; null without one.
    memory_caches : dict of str to CacheReport
        With exact cycles: what each cache of the platform did, in front of its memories.
    accelerator : AcceleratorReport or None
        What the coprocessor did; null without one.
    memories : dict of str to MemoryReport
        Where the regions of `traffic` lie, and what they are.
    energy_pj : float or None
        Energy of the run in pJ; null where it was not asked for.
    energy : EnergyReport or None
        Where it went; null where it was not asked for.
    area : AreaReport or None
        How large the coprocessor is; null without one, or where it was not asked for.
    roi : RegionOfInterest or None
        Counts of the region of interest; null without one.
    host_seconds : float
        Wall-clock time of the simulation on the host, in seconds. The only value that differs between equal runs.
    """

    program: str
    core: str
    clock_mhz: float
    accel: str
    exit_code: int | None
    stop_reason: StopReason
    instructions: int
    cycles: int
    schema: Literal["rvsim.run/1"] = "rvsim.run/1"
    platform: str | None = None
    engine: str = "interpreter"
    timing: str = "table"
    message: str | None = None
    taken_branches: int = 0
    classes: dict[str, int] = {}
    traffic: dict[str, Traffic] = {}
    symbols: list[SymbolTraffic] = []
    functions: list[FunctionProfile] = []
    lines: list[LineProfile] = []
    icache: CacheReport | None = None
    dcache: CacheReport | None = None
    memory_caches: dict[str, CacheReport] = {}
    accelerator: AcceleratorReport | None = None
    memories: dict[str, MemoryReport] = {}
    energy_pj: float | None = None
    energy: EnergyReport | None = None
    area: AreaReport | None = None
    roi: RegionOfInterest | None = None
    host_seconds: float = 0.0

    def __post_init__(self) -> None:
        regions = {name: each for name, each in self.traffic.items() if name != TOTAL}
        total = sum(regions.values(), Traffic())
        functions = sorted(self.functions, key=lambda each: (-each.cycles, each.address))
        self.__dict__.update(traffic={**regions, TOTAL: total}, functions=functions)

    @property
    def cpi(self) -> float:
        """Cycles per retired instruction; 0 when none retired."""
        return self.cycles / self.instructions if self.instructions else 0.0

    @property
    def seconds_at_clock(self) -> float:
        """Time the run would take on the modelled core, in seconds: cycles / clock."""
        return self.cycles / (self.clock_mhz * 1e6)

    @property
    def exit_status(self) -> int:
        """Exit status of `rvsim run`: the guest's own, its low 8 bits as POSIX has it, or the stop reason's."""
        if self.stop_reason == "exit":
            return (self.exit_code or 0) & 0xFF
        return EXIT_STATUS[self.stop_reason]

    def keep(self, counted: Counted | None) -> None:
        """Remember what the run counted, beside the document."""
        self.__dict__["_counted"] = counted

    def replace(self, **values: Any) -> RunResult:
        """A copy with other values."""
        new = super().replace(**values)
        new.keep(self.__dict__.get("_counted"))
        return new

    def retime(
        self,
        core: str | None = None,
        memory: str | os.PathLike[str] | Mapping[str, Mapping[str, int]] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> RunResult:
        """What the same run costs on another core, or with other memory.

        The core's exact model goes over what the run counted (docs/pipelines.md, "Fast"): it takes milliseconds,
        whatever the run took. What the program did is the same, also where it looked at the clock.

        Parameters
        ----------
        core : str, optional
            Name of a core with an exact model, or a TOML file; the run's own by default.
        memory : str or mapping, optional
            A platform's name or file, with memory where the run had it; or by name of the run's regions ``fetch_wait``,
            ``load_wait`` and ``store_wait`` in cycles. The run's own by default.
        settings : mapping of str to str, optional
            As ``--set``: ``core.clock_mhz``, ``platform.region.ram.load_wait``.

        Returns
        -------
        RunResult
            With `timing` ``fast``; its energy is null.

        Raises
        ------
        UsageError
            The result was not made by a run of this process, the core has no exact model, or caches of its own, or the
            platform has no memory where the run was.

        Examples
        --------
        >>> from rvsim import Machine
        >>> run = Machine.from_elf("kernels/examples/hello.elf", core="ibex-small", stdout=lambda data: None).run()
        >>> [run.retime(core).core for core in ("cv32e40p", "picorv32")]
        ['cv32e40p', 'picorv32']
        """
        counted: Counted | None = self.__dict__.get("_counted")
        if counted is None:
            raise UsageError(
                f"{self.program}: this result has no counts to retime (it was read from a file, or the machine did not "
                "keep them); run the program, and retime the result of that"
            )
        return counted.retime(self, core, memory, settings)

    def to_dict(self) -> dict[str, Any]:
        """The document as plain dicts, lists, numbers and strings."""
        import msgspec

        document: dict[str, Any] = msgspec.to_builtins(self)
        return {"schema": document.pop("schema"), **document}

    def to_json(self) -> str:
        """The document as indented JSON text that ends in a newline."""
        import msgspec

        return msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=2).decode() + "\n"

    def __repr__(self) -> str:
        end = f"exit {self.exit_code}" if self.stop_reason == "exit" else self.stop_reason
        lines = [
            f"<RunResult {self.program} on {self.core}, accel {self.accel}: {end}",
            f"  {self.instructions:,} instructions, {self.cycles:,} cycles, CPI {self.cpi:.2f}",
            f"  {self.seconds_at_clock * 1e3:.4g} ms at {self.clock_mhz:g} MHz, "
            f"{self.traffic[TOTAL].bytes:,} bytes moved",
        ]
        if self.functions:
            lines.append(f"  most cycles: {', '.join(each.name for each in self.functions[:3])}")
        return "\n".join(lines) + ">"


def decode(text: str | bytes) -> RunResult:
    """Read a document that `RunResult.to_json` wrote.

    Raises
    ------
    msgspec.ValidationError
        It is not an `rvsim.run/1` document.
    """
    import msgspec

    return msgspec.json.decode(text, type=RunResult)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the document; the attributes' docstrings become its descriptions."""
    import inspect

    import msgspec

    records = [
        *(Count, Traffic, MemoryReport, SymbolTraffic, FunctionProfile, LineProfile, CacheReport, PortTraffic),
        *(AcceleratorCycles, LevelTraffic, HardwarePart, Activity, AcceleratorReport, AreaPart, AreaReport),
        *(EnergyConstant, EnergyComponent, EnergyShare, EnergyReport, RegionOfInterest, RunResult),
    ]
    _, definitions = msgspec.json.schema_components(records, ref_template="#/$defs/{name}")
    for record in records:
        definition = definitions[record.__name__]
        definition["description"] = (record.__doc__ or "").partition("\n")[0]
        meanings = _attributes(inspect.getdoc(record) or "")  # Python 3.13 strips the indentation itself
        for name, field in definition["properties"].items():
            field["description"] = meanings[name]
            # Whatever is written is always there; defaults are the constructor's business, not the document's.
            field.pop("default", None)
            if field.get("type") == "integer" and name != "exit_code":
                field["minimum"] = 0
        definition["required"] = list(definition["properties"])
    root = definitions.pop("RunResult")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "rvsim.run/1",
        "$defs": definitions,
    }


def _attributes(docstring: str) -> dict[str, str]:
    """Name to meaning, from the Attributes section of a NumPy-style docstring."""
    meanings: dict[str, list[str]] = {}
    for line in docstring.partition("----------\n")[2].splitlines():
        text = line.strip()
        if text and not line.startswith(" " * 4):
            meanings[text.partition(" : ")[0]] = lines = []
        elif text:
            lines.append(text)
    return {name: " ".join(lines) for name, lines in meanings.items()}


def main(arguments: list[str]) -> int:
    """Write the JSON Schema to the file named, docs/schemas/run-1.json by default."""
    import json
    from pathlib import Path

    path = Path(arguments[0] if arguments else "docs/schemas/run-1.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
