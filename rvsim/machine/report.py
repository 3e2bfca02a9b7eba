"""From counts to a `RunResult`: by class, by region and symbol, by function."""

from __future__ import annotations

from bisect import bisect_right

from rvsim.machine.result import (
    AcceleratorReport,
    Count,
    FunctionProfile,
    LineProfile,
    MemoryReport,
    RunResult,
    SymbolTraffic,
    Traffic,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rvsim.machine.machine import Machine
    from rvsim.machine.result import StopReason


def build_result(
    machine: Machine, stop: StopReason, exit_code: int | None, message: str | None, seconds: float
) -> RunResult:
    """Everything counted up to here, as a `RunResult`.

    Parameters
    ----------
    stop, exit_code, message
        How the run ended.
    seconds : float
        Host time spent running.
    """
    hart, program, coprocessor = machine.hart, machine.program, machine.coprocessor
    fetch_and_access = hart.traffic()
    rows = hart.profile()
    classes: dict[str, int] = {}
    for _, number, _, executions, _ in rows:
        if executions:
            class_ = machine.classes[number]
            classes[class_] = classes.get(class_, 0) + executions
    cycles = hart.cycles
    report = None
    if coprocessor is not None:
        import msgspec

        report = msgspec.convert(coprocessor.report(cycles), AcceleratorReport)
    caches = machine.caches.reports() if machine.caches else {}
    traffic, symbols = _traffic(machine, *fetch_and_access)
    return RunResult(
        program=program.path,
        core=machine.timing.name,
        clock_mhz=machine.timing.clock_mhz,
        accel=coprocessor.name if coprocessor else "off",
        platform=machine.platform.name if machine.platform else None,
        engine=machine.engine,
        timing=machine.timing_model,
        exit_code=exit_code,
        stop_reason=stop,
        message=message,
        instructions=hart.instructions,
        cycles=cycles,
        taken_branches=hart.taken_branches,
        classes=dict(sorted(classes.items())),
        traffic=traffic,
        memories=_memories(machine, traffic),
        symbols=symbols,
        functions=_functions(machine, rows),
        icache=caches.get("icache"),
        dcache=caches.get("dcache"),
        memory_caches=machine.timed.reports() if machine.timed is not None else {},
        accelerator=report,
        roi=next((roi for device in machine.devices if (roi := device.roi())), None),
        host_seconds=seconds,
    )


def line_profile(machine: Machine) -> list[LineProfile]:
    """What a run counted, by source line, most cycles first; `LineProfile` of line 0 has what DWARF does not tell."""
    totals: dict[tuple[str, int], list[int]] = {}
    lost: dict[tuple[str, int], dict[str, int]] = {}
    nowhere = "(no line)", 0
    counts = [(pc, n, cycles) for pc, (n, cycles) in machine.instruction_counts().items()]
    counts += [(pc, 0, cycles) for pc, cycles in machine.stalls.items() if cycles]
    for pc, n, cycles in counts:
        total = totals.setdefault(machine.program.line(pc) or nowhere, [0, 0])
        total[0] += n
        total[1] += cycles
    for pc, causes in machine.timed.lost().items() if machine.timed is not None else ():
        of = lost.setdefault(machine.program.line(pc) or nowhere, {})
        for cause, cycles in causes.items():
            of[cause] = of.get(cause, 0) + cycles
    lines = [
        LineProfile(file=file, line=line, instructions=n, cycles=cycles, lost_cycles=lost.get((file, line), {}))
        for (file, line), (n, cycles) in totals.items()
    ]
    return sorted(lines, key=lambda each: (-each.cycles, each.file, each.line))


def _traffic(machine: Machine, fetch: list, accesses: list) -> tuple[dict[str, Traffic], list[SymbolTraffic]]:
    loads = [[0, 0] for _ in machine.address_map]
    stores = [[0, 0] for _ in machine.address_map]
    symbols = []
    for interval, (load_count, load_bytes, store_count, store_bytes) in zip(machine.intervals, accesses, strict=True):
        if not load_count and not store_count:
            continue
        for sums, values in ((loads, (load_count, load_bytes)), (stores, (store_count, store_bytes))):
            sums[interval.region][0] += values[0]
            sums[interval.region][1] += values[1]
        symbols.append(
            SymbolTraffic(
                name=interval.name,
                region=machine.address_map[interval.region].name,
                address=interval.low,
                size=interval.last - interval.low + 1,
                load=Count(count=load_count, bytes=load_bytes),
                store=Count(count=store_count, bytes=store_bytes),
            )
        )
    traffic = {
        region.name: Traffic(
            fetch=Count(count=fetch[n][0], bytes=fetch[n][1]),
            load=Count(count=loads[n][0], bytes=loads[n][1]),
            store=Count(count=stores[n][0], bytes=stores[n][1]),
        )
        for n, region in enumerate(machine.address_map)
        # A device that the program does not use is nothing to report.
        if region in machine.regions or loads[n][0] or stores[n][0]
    }
    symbols.sort(key=lambda s: -(s.load.bytes + s.store.bytes))
    return traffic, symbols


def _memories(machine: Machine, traffic: dict[str, Traffic]) -> dict[str, MemoryReport]:
    kinds = {each.base: each.kind for each in machine.platform.regions} if machine.platform else {}
    return {
        region.name: MemoryReport(
            region.base, region.size, kinds.get(region.base, "ram") if region in machine.regions else "device"
        )
        for region in machine.address_map
        if region.name in traffic
    }


def _functions(machine: Machine, rows: list) -> list[FunctionProfile]:
    functions = machine.program.functions
    starts = [f.address for f in functions]
    totals: dict[int, list[int]] = {}
    classes: dict[int, dict[str, int]] = {}
    counts = [(pc, number, n, cycles, 0, 0, n * size) for pc, number, size, n, cycles in rows]
    counts += [(pc, -1, 0, cycles, 0, 0, 0) for pc, cycles in machine.stalls.items() if cycles]
    if machine.caches is not None:
        counts += [(pc, -1, 0, 0, *misses, 0) for pc, misses in machine.caches.misses().items()]
    for pc, number, *values in counts:
        n = bisect_right(starts, pc) - 1
        if n >= 0 and pc >= functions[n].end:
            n = -1
        totals[n] = [a + b for a, b in zip(totals.get(n, (0, 0, 0, 0, 0)), values, strict=True)]
        if values[0]:
            of = classes.setdefault(n, {})
            class_ = machine.classes[number]
            of[class_] = of.get(class_, 0) + values[0]
    lost: dict[int, dict[str, int]] = {}
    for pc, causes in machine.timed.lost().items() if machine.timed is not None else ():
        n = bisect_right(starts, pc) - 1
        by_cause = lost.setdefault(-1 if n >= 0 and pc >= functions[n].end else n, {})
        for cause, cycles in causes.items():
            by_cause[cause] = by_cause.get(cause, 0) + cycles
    nowhere = ("(no function)", 0, 0)
    profiles = []
    for n, (instructions, cycles, icache, dcache, fetch_bytes) in totals.items():
        name, address, size = (functions[n].name, functions[n].address, functions[n].size) if n >= 0 else nowhere
        profiles.append(
            FunctionProfile(
                name=name,
                address=address,
                size=size,
                instructions=instructions,
                cycles=cycles,
                icache_misses=icache,
                dcache_misses=dcache,
                lost_cycles=lost.get(n, {}),
                classes=dict(sorted(classes.get(n, {}).items())),
                fetch_bytes=fetch_bytes,
            )
        )
    return sorted(profiles, key=lambda p: -p.cycles)
