"""What a finished run costs on another core, or with other memory: `RunResult.retime`."""

from __future__ import annotations

import os
import warnings

from rvsim.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rvsim.machine.counted import Counted
    from rvsim.machine.result import RunResult
    from rvsim.timing.platform import Platform


def retime(
    result: RunResult,
    counted: Counted,
    core: str | None,
    memory: str | os.PathLike[str] | Mapping[str, Mapping[str, int]] | None,
    settings: Mapping[str, str] | None,
) -> RunResult:
    """See `RunResult.retime`."""
    from rvsim.machine.functions import NOWHERE, Functions
    from rvsim.machine.settings import split_settings
    from rvsim.timing import load_core_timing
    from rvsim.timing.platform import load_platform

    of_core, of_accel, of_platform = split_settings(settings or {})
    if of_accel:
        raise UsageError(
            f"accel.{next(iter(of_accel))}: retime changes core and memory; what a coprocessor does takes a run"
        )
    timing = (
        load_core_timing(core or counted.timing.path or counted.timing.name, of_core)
        if core or of_core
        else counted.timing
    )
    platform = counted.platform
    if memory is None and of_platform:
        if platform is None:
            raise UsageError(f"platform.{next(iter(of_platform))}: the run has no platform; name one: memory=...")
        memory = platform.path
    if isinstance(memory, (str, os.PathLike)):
        platform = load_platform(os.fspath(memory), of_platform)
    elif memory is not None:
        platform = waits_of(counted.regions, memory)
    cost = counted.cost(timing, platform)
    if cost.cut:
        from rvsim.timing.effort import CUT

        warnings.warn(f"{result.program}: retime: {CUT}", stacklevel=4)
    of = Functions(counted.functions)
    cycles = of.sums([*cost.by_pc.items(), *counted.stalls.items()])
    waited = ((pc, {counted.waits_for(pc): n}) for pc, n in counted.stalls.items())
    lost = of.named([*cost.lost.items(), *waited])
    number = {(each.name, each.address): n for n, each in enumerate(counted.functions)} | {(NOWHERE, 0): -1}
    functions = []
    for each in result.functions:
        n = number[each.name, each.address]
        functions.append(
            each.replace(cycles=cycles.get(n, 0), lost_cycles=lost.get(n, {}), icache_misses=0, dcache_misses=0)
        )
    clock = timing.clock_mhz
    if platform is not None and platform.clock_mhz is not None and "clock_mhz" not in of_core:
        clock = platform.clock_mhz
    new = result.replace(
        core=timing.name,
        clock_mhz=clock,
        platform=platform.name if platform else None,
        timing="fast",
        cycles=cost.cycles + counted.stall_cycles,
        functions=functions,
        icache=None,
        dcache=None,
        memory_caches={},
        roi=cost.region(result.roi),
        energy_pj=None,
        energy=None,
        lines=[],
    )
    new.keep(counted)
    return new


def waits_of(regions: list[tuple[str, int, int, bool]], memory: Mapping[str, Mapping[str, Any]]) -> Platform:
    """A platform with the regions of a run, whose wait states are given by name.

    Parameters
    ----------
    regions : list of (name, first address, address behind the last byte, whether it is memory)
    memory : mapping of str to (mapping of str to int)
        ``fetch_wait``, ``load_wait`` and ``store_wait`` of a region; those that are not named answer without.

    Raises
    ------
    UsageError
    """
    from rvsim.timing.platform import MAX_WAIT, MemoryRegion, Platform, WaitStates

    names = [name for name, _, _, is_memory in regions if is_memory]
    for name, waits in memory.items():
        if name not in names:
            raise UsageError(f"memory: expected one of the run's regions {', '.join(names)}, found {name!r}")
        for key, value in waits.items():
            if key not in ("fetch_wait", "load_wait", "store_wait"):
                raise UsageError(f"memory: {name}: expected fetch_wait, load_wait or store_wait, found {key!r}")
            if not isinstance(value, int) or not 0 <= value <= MAX_WAIT:
                raise UsageError(f"memory: {name}.{key}: expected 0 to {MAX_WAIT} cycles, found {value!r}")
    return Platform(
        name=", ".join(f"{name} {key}={value}" for name, waits in memory.items() for key, value in waits.items()),
        path="",
        regions=tuple(
            MemoryRegion(
                name,
                base,
                end - base,
                wait=WaitStates(**{key.partition("_")[0]: value for key, value in memory.get(name, {}).items()}),
            )
            for name, base, end, is_memory in regions
            if is_memory
        ),
    )
