"""A run's counts apart from the machine: what the run costs on its core, or would cost on another, is asked of them."""

from __future__ import annotations

from rvsim.errors import RvsimError, UsageError
from rvsim.machine.costs import describe_all
from rvsim.machine.result import RegionOfInterest
from rvsim.machine.timed import lost, make_pipeline
from rvsim.timing.effort import CUT
from rvsim.timing.flow import Counts, Expected, expect
from rvsim.timing.operation import Operations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import NamedTuple, TypeAlias

    from rvsim.machine.machine import Machine
    from rvsim.machine.result import RunResult
    from rvsim.timing import CoreTiming
    from rvsim.timing._exact import Pipeline
    from rvsim.timing.platform import Platform

    Raw: TypeAlias = tuple[bytes, dict[tuple[int, int], int], dict[tuple[int, int], int], dict[int, int]]

    class Moment(NamedTuple):
        """What was counted up to a store, and its address."""

        counts: Raw
        pc: int
        cycles: int | None  # where the bus sees the store, of a pipeline that was stepped

else:
    from collections import namedtuple

    Moment = namedtuple("Moment", "counts pc cycles")

VECTORS = 32
"""Entries of a vectored mtvec, one for each interrupt (Privileged Architecture 20240411, section 3.1.7)."""
HERE = 16
"""Bytes below the first stack pointer at which an access to the home region stands for all."""
NO_MEMORY = "the host has no memory for the states of the pipeline"


class Cost:
    """Cycles in whole numbers.

    Attributes
    ----------
    cycles : int
        Of the run.
    by_pc : dict of int to int
        Of the instructions at an address; with waits for a coprocessor, they add up to `cycles`.
    lost : dict of int to (dict of str to int)
        By address: cycles beyond an instruction's first, by cause.
    roi : int or None
        Of the regions of interest.
    cut : bool
        The program is so made that not all was followed: cycles are less exact.
    """

    __slots__ = ("by_pc", "cut", "cycles", "lost", "roi")

    def __init__(
        self,
        counts: Counts,
        expected: Expected,
        roi: float | None,
        stepped: Stepped | None = None,
        lost_before: Mapping[int, Mapping[str, int]] | None = None,
    ) -> None:
        self.by_pc: dict[int, int] = {}
        self.lost: dict[int, dict[str, int]] = {}
        part = 0.0
        before = stepped.counts.rows if stepped else {}
        for pc, cycles in expected.by_pc.items():
            # What rounding leaves goes on to the next address, so that the sum is right.
            executed = sum(sign * each[pc].executed for sign, each in ((1, counts.rows), (-1, before)) if pc in each)
            part += cycles - executed
            extra = max(round(part), 0)
            part -= extra
            self.by_pc[pc] = executed + extra
            self.lost[pc] = _whole(expected.lost[pc], extra)
        for pc, n in stepped.by_pc.items() if stepped else ():
            self.by_pc[pc] = self.by_pc.get(pc, 0) + n
        for pc, causes in lost_before.items() if lost_before else ():
            of = self.lost.setdefault(pc, {})
            for cause, n in causes.items():
                of[cause] = of.get(cause, 0) + n
        self.cycles = sum(self.by_pc.values())
        self.roi = None if roi is None else round(roi)
        self.cut = expected.cut

    def region(self, roi: RegionOfInterest | None) -> RegionOfInterest | None:
        """A region of interest with these cycles; None where they are not known."""
        if roi is None or self.roi is None:
            return None
        return RegionOfInterest(self.roi, roi.instructions, roi.checksum)


class Stepped:
    """The first part of a fast run, that was stepped: its cycles, and where it ended.

    Parameters
    ----------
    machine : Machine
        Where it stands now, with its pipeline.
    """

    def __init__(self, machine: Machine) -> None:
        assert machine.timed is not None
        state = machine.timed.pipeline.state()
        self.cycles, self.state = int(state["cycles"]), state["pipeline"]
        self.pc = int(machine.hart.pc)
        self.counts = Counts(*machine.control_flow())
        self.by_pc = {pc: int(site[3]) for pc, site in machine.hart.cache_sites().items() if site[3]}
        for pc, n in machine.trap_cycles().items():
            self.by_pc[pc] = self.by_pc.get(pc, 0) + n


class Counted:
    """What a run counted, and what it is of.

    Parameters
    ----------
    machine : Machine
        Where it stands now.
    """

    def __init__(self, machine: Machine) -> None:
        hart = machine.hart
        self._raw: Raw = machine.control_flow()
        self._classes, self._added, self._extra = machine.classes, machine.added, machine.extra
        self._loops = machine.looped
        self._entry = machine.program.entry
        self._program = machine.program.path
        self._places = [each.base for each in machine.address_map] + [machine.stack_top - HERE]
        self._spans = machine.spans()
        vector = machine.csrs.mtvec & ~3
        self._vectors = range(vector, vector + (4 * VECTORS if machine.csrs.mtvec & 1 else 1))
        self.functions = machine.program.functions
        self.stalls = dict(machine.stalls)
        self.stall_cycles = int(hart.stall_cycles)
        self.regions = [(each.name, each.base, each.end, each in machine.regions) for each in machine.address_map]
        self.timing, self.platform, self._stepped = machine.timing, machine.platform, machine.stepped
        # Of the part that was stepped, and of waits for the coprocessor ever since.
        self._lost = lost(hart) if machine.stepped is not None else {}
        self._counts: Counts | None = None

    @property
    def counts(self) -> Counts:
        if self._counts is None:
            self._counts = Counts(*self._raw)
        return self._counts

    def cost(self, timing: CoreTiming, platform: Platform | None) -> Cost:
        """What the run costs on a core, with a platform's memory.

        Raises
        ------
        UsageError
            There is no exact model of the core, its caches are part of it, or the platform has no memory where the
            run was.
        MemoryError
        """
        self._check(platform)
        operation = Operations(describe_all(self._classes, self._added), self._extra)
        pipeline, _ = make_pipeline(timing, platform, self._entry)
        why = uncounted(pipeline, timing, platform, self._loops)
        if why:
            raise UsageError(f"retime: {why} what counts do not say; run it there, with --timing exact")

        stepped = self._stepped if timing == self.timing and platform == self.platform else None

        def of(counts: Counts) -> Expected:
            if stepped is None:
                starts: list[tuple[int, bytes | None, float]] = [(self._entry, None, 1.0)]
            else:
                counts, starts = counts.since(stepped.counts), [(stepped.pc, stepped.state, 1.0)]
            return expect(
                counts, pipeline, operation, self._places, starts, (), self._vectors, 1 + 2 * len(self._spans)
            )

        def seen(moment: Moment) -> float:
            if stepped is not None and moment.cycles is not None:
                return moment.cycles
            before = stepped.cycles if stepped is not None else 0
            return before + _seen(of(Counts(*moment.counts)), moment.pc)

        roi = sum(seen(stop) - seen(start) for start, stop in self._spans) if self._spans else None
        return Cost(self.counts, of(self.counts), roi, stepped, self._lost if stepped else None)

    def retime(
        self,
        result: RunResult,
        core: str | None,
        memory: str | os.PathLike[str] | Mapping[str, Mapping[str, int]] | None,
        settings: Mapping[str, str] | None,
    ) -> RunResult:
        """See `RunResult.retime`."""
        from rvsim.machine.retime import retime

        try:
            return retime(result, self, core, memory, settings)
        except MemoryError:
            raise RvsimError(f"{self._program}: retime: {NO_MEMORY}; run it there, with --timing exact") from None

    def waits_for(self, pc: int) -> str:
        """What the whole pipeline stood still for at an instruction: a coprocessor, or an interrupt."""
        row = self.counts.rows.get(pc)
        described = describe_all(self._classes, self._added)
        name = described[row.instruction][0].name if row and row.instruction < len(described) else ""
        return "other" if name == "WFI" else "coprocessor"

    def _check(self, platform: Platform | None) -> None:
        """Refuse a platform without memory where the run's code and stack were."""
        if platform is None:
            return
        for what, address in (("code", min(self.counts.rows, default=self._entry)), ("stack", self._places[-1])):
            if platform.region_at(address) is None:
                known = ", ".join(str(region) for region in platform.regions)
                raise UsageError(
                    f"{self._program}: its {what} was at {address:#010x}, where platform {platform.name} has no region "
                    f"({known}); link the program for that platform, or give waits by the run's own regions: "
                    f"memory={{{self.regions[0][0]!r}: {{'load_wait': 1}}}}"
                )


def cost_of(machine: Machine, counted: Counted | None = None) -> Cost | None:
    """Of a fast run that has left its pipeline: what it costs; None without memory, and then cycles are the table's.

    Whatever is to be said of it becomes one of the machine's warnings.
    """
    said, cost = "", None
    try:
        cost = (counted or Counted(machine)).cost(machine.timing, machine.platform)
        said = CUT if cost.cut else ""
    except MemoryError:
        said = f"{NO_MEMORY}: cycles are those of the core's table; --timing exact needs no such memory"
    if said and f"--timing fast: {said}" not in machine.warnings:
        machine.warnings.append(f"--timing fast: {said}")
    return cost


def uncounted(pipeline: Pipeline, timing: CoreTiming, platform: Platform | None, loops: bool = False) -> str:
    """What makes cycles depend on what is not counted, such as the order of accesses; empty where nothing does.

    Parameters
    ----------
    loops : bool
        Whether there are hardware loops, which go where registers say.
    """
    if loops:
        return "registers of hardware loops hold"
    if platform is not None and platform.caches:
        return f"platform {platform.name}: its cache {platform.caches[0].name} remembers"
    return f"core {timing.name}: its caches, or its branch predictor, remember" if pipeline.remembers else ""


def _seen(expected: Expected, pc: int) -> float:
    """Cycle in which the bus sees the store that the counts end with."""
    before: float = expected.cycles - expected.by_pc[pc] / expected.executed[pc]
    return before + expected.seen[pc]


def _whole(lost: Mapping[str, float], total: int) -> dict[str, int]:
    """Shares of a whole number in whole numbers, by largest remainder."""
    weight = sum(lost.values())
    if not total or not weight:
        return {"other": total} if total else {}
    exact = {name: total * n / weight for name, n in lost.items()}
    whole = {name: int(n) for name, n in exact.items()}
    for name in sorted(exact, key=lambda name: whole[name] - exact[name])[: total - sum(whole.values())]:
        whole[name] += 1
    return {name: n for name, n in whole.items() if n}
