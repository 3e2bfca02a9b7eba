"""Exact cycles of a run: the core's pipeline, made from its numbers and the platform's memory, shown what retires."""

from __future__ import annotations

import struct

from rvsim.errors import UsageError
from rvsim.machine.caches import cache_report, make_cache
from rvsim.timing._exact import CAUSE_NAMES, Pipeline
from rvsim.timing.operation import Operations
from rvsim.timing.platform import WaitStates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from rvsim.isa.ir import Instruction
    from rvsim.machine._hart import Hart
    from rvsim.machine.machine import Machine
    from rvsim.machine.result import CacheReport
    from rvsim.timing import CoreTiming
    from rvsim.timing.platform import Platform

BUSY_CYCLES, BUS_CYCLES = 256, 48
"""More cycles, and more accesses to memory, than any instruction takes: a division, fence.i; lines of caches filled."""


MOST_REGIONS, MOST_WAIT = 31, 1000
"""What the models' tables and times hold (exact/operation.h)."""

OWN_CACHES = ("vexriscv",)
"""Models with caches, which ask memory for the beats of a line."""

RECORD = struct.Struct("=Q4I7ii10I3B5x")
"""What went through the pipeline: `timed_record` of timed.h.

Cycle of the retirement before; cycles from there, cycles waited in front of these, pc, word; first cycle in each stage,
relative to the retirement before (`NO_STAGE`: not in it), and in none; cycles lost by cause; bytes; 1 if it
retired; of an added instruction the stage in which it waited, else 0.
"""

NO_STAGE = -(1 << 31)


class Timed:
    """One hart's pipeline.

    Parameters
    ----------
    hart : Hart
        Before its first instruction.
    timing : CoreTiming
    instructions : sequence of (Instruction, str)
        By number, each with its class.
    platform : Platform or None
        Whose memories and devices answer with wait states; None for memory without.
    entry : int
    extra : mapping of int to int
        By number of an instruction: cycles for which the pipeline waits.

    Raises
    ------
    UsageError
        There is no exact model of the core, or its numbers are not those of the model.
    """

    def __init__(
        self,
        hart: Hart,
        timing: CoreTiming,
        instructions: Sequence[tuple[Instruction, str]],
        platform: Platform | None,
        entry: int,
        extra: Mapping[int, int] | None = None,
    ) -> None:
        caches = platform.caches if platform else ()
        if platform is not None and caches and timing.model in OWN_CACHES:
            raise UsageError(
                f"{platform.path}: cache {caches[0].name!r}: core {timing.name} has caches of its own, in front of "
                "which its model takes no others; choose another core, or a platform without"
            )
        self.pipeline, longest = make_pipeline(timing, platform, entry)
        self._caches = {each.name: (each, make_cache(each.timing, timed=False)) for each in caches}
        if platform is not None and caches:
            for n, region in enumerate(platform.regions, 1):
                self.pipeline.attach(n, *(self._shown(platform, region.name, access) for access in ("fetch", "data")))
        self._hart = hart
        self.operation = Operations(instructions, extra)
        waits = max((extra or {0: 0}).values(), default=0)
        longest += max((each.longest for each in caches), default=0)
        hart.use_pipeline(self.pipeline.shown, BUSY_CYCLES + BUS_CYCLES * (1 + longest) + waits)

    def _shown(self, platform: Platform, region: str, access: str) -> object:
        cache = platform.cache_of(region, access)
        return self._caches[cache.name][1].shown(cache.hit_wait) if cache else None

    def reports(self) -> dict[str, CacheReport]:
        """What each cache of the platform counted."""
        return {
            name: cache_report(each.timing, *cache.accesses, cache.counts())
            for name, (each, cache) in self._caches.items()
        }

    def state(self) -> dict[str, Any]:
        """For snapshots, behind the hart's own."""
        lost = [[pc, *cycles] for pc, cycles in sorted(self._hart.lost().items())]
        caches: dict[str, Any] = {
            name: {**cache.state(), "accesses": list(cache.accesses)} for name, (_, cache) in self._caches.items()
        }
        return {
            "hart": self._hart.cache_state(),
            "lost": lost,
            **({"caches": caches} if caches else {}),
            **self.pipeline.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`, behind the hart's own."""
        caches = state.get("caches", {})
        if caches.keys() != self._caches.keys():
            raise ValueError("the snapshot is of a machine with other caches")
        self.pipeline.restore(state)
        for name, (_, cache) in self._caches.items():
            cache.restore(caches[name])
            cache.accesses = tuple(caches[name]["accesses"])
        self._hart.cache_restore(state["hart"])
        self._hart.restore_lost(state["lost"])

    def lost(self) -> dict[int, dict[str, int]]:
        """By address of an instruction: cycles beyond its first, by what they were lost to."""
        return lost(self._hart)


def causes(cycles: Sequence[int], coprocessor: int = 0) -> dict[str, int]:
    """Cycles lost by name of the cause; `coprocessor`: more of these."""
    named = dict(zip(CAUSE_NAMES, cycles, strict=True))
    named["coprocessor"] += coprocessor
    return {name: n for name, n in named.items() if n}


def lost(hart: Hart) -> dict[int, dict[str, int]]:
    """What `Timed.lost` gives, of a hart that may have no pipeline any more."""
    return {pc: causes(cycles) for pc, cycles in hart.lost().items()}


def lose(hart: Hart, pc: int, cause: str, cycles: int) -> None:
    """The instruction at `pc` lost cycles in which the whole pipeline stood still."""
    hart.lose(pc, CAUSE_NAMES.index(cause), cycles)


def make_pipeline(timing: CoreTiming, platform: Platform | None, entry: int) -> tuple[Pipeline, int]:
    """A core's pipeline at reset, and the most wait states that an access of it may meet.

    Raises
    ------
    UsageError
        There is no exact model of the core, or its numbers are not those of the model.
    """
    if not timing.model:
        raise UsageError(f"--timing exact, fast: core {timing.name} has no exact model; choose another core, or table")
    regions, outside = waits(platform, timing.name)
    try:
        pipeline = Pipeline(timing.model, timing.pipeline, regions, outside, entry)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{timing.path or timing.name}: [pipeline]: {error}") from None
    return pipeline, max(*outside, *(wait for region in regions for wait in region[2:]))


def view(machine: Machine, take: Callable[[bytes], object], start: int | str | None, most: int) -> None:
    """Have `take` handed what goes through a machine's pipeline; see `Machine.view_pipeline`."""
    if machine.timed is None or machine.timing_model != "exact":
        raise UsageError(
            "a view of the pipeline needs exact cycles, and this run's are from the table, or the counts, of core "
            f"{machine.timing.name}: choose --timing exact and a core that has an exact model"
        )
    hart = machine.hart
    if start is None:
        hart.view_pipeline(take, most=most)
    elif isinstance(start, int):
        hart.view_pipeline(take, 1, cycle=start, most=most)
    elif start == "roi":
        from rvsim.machine import rtlbench

        bench = next((each for each in machine.devices if isinstance(each, rtlbench.RtlBench)), None)
        if bench is None:
            raise UsageError(
                "the pipeline from roi on: this machine has no device rtl-bench, to which a program says where its "
                "region of interest begins; add it (--device rtl-bench), or begin with a cycle or a function"
            )
        hart.view_pipeline(take, 2, at=bench.base + rtlbench.START, until=bench.base + rtlbench.STOP, most=most)
    else:
        symbol = machine.program.symbol(start)
        if symbol is None:
            raise UsageError(
                f"the pipeline from {start!r} on: expected a cycle, roi, or a symbol of {machine.program.path}, which "
                "has none of that name"
            )
        hart.view_pipeline(take, 3, at=symbol.address, most=most)


def waits(platform: Platform | None, core: str) -> tuple[list[tuple[int, int, int, int, int]], tuple[int, int, int]]:
    """Of each region first and last address and wait states of fetches, loads and stores; and those of all else."""
    if platform is None:
        return [], (0, 0, 0)
    if len(platform.regions) > MOST_REGIONS:
        raise UsageError(
            f"platform {platform.name}: expected at most {MOST_REGIONS} regions for exact cycles, found "
            f"{len(platform.regions)}; join some, or choose --timing table"
        )
    added = platform.wait_states.get(core, WaitStates())
    regions = []
    for r in platform.regions:
        fetch, data = (platform.cache_of(r.name, access) for access in ("fetch", "data"))
        of = WaitStates(0 if fetch else r.wait.fetch, *((0, 0) if data else (r.wait.load, r.wait.store))) + added
        regions.append((r.base, r.end - 1, *_three(of)))
    outside = _three(platform.device_wait + added)
    longest = max(*outside, *(wait for region in regions for wait in region[2:]))
    longest += max((each.longest for each in platform.caches), default=0)
    if longest > MOST_WAIT:
        raise UsageError(
            f"platform {platform.name}: wait states of a region and of core {core} add up to {longest}; expected at "
            f"most {MOST_WAIT}"
        )
    return regions, outside


def _three(wait: WaitStates) -> tuple[int, int, int]:
    return wait.fetch, wait.load, wait.store
