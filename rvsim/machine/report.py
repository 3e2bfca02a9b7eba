"""From counts to a `RunResult`: by class, by region and symbol, by function."""

from __future__ import annotations

from rvsim.machine.functions import NOWHERE, Functions
from rvsim.machine.result import (
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
    from collections.abc import Iterable, Mapping

    from rvsim.machine.counted import Cost
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
    roi = next((roi for device in machine.devices if (roi := device.roi())), None)
    lost = machine.timed.lost() if machine.timed is not None else {}
    by_pc = [(pc, pc_cycles) for pc, _, _, _, pc_cycles in rows if pc_cycles]
    counted = cost = None
    if machine.keep_counts or machine.stepped is not None:
        from rvsim.machine.counted import Counted, cost_of

        counted = Counted(machine)
        cost = cost_of(machine, counted) if machine.stepped is not None else None
    if cost is not None:
        by_pc = [*cost.by_pc.items()]
        cycles, lost, roi = cost.cycles + hart.stall_cycles, cost.lost, cost.region(roi)
    else:
        by_pc += machine.trap_cycles().items()
    by_pc += machine.stalls.items()
    report = None
    if machine.attached is not None:
        classes_ = dict(enumerate(machine.classes))
        waited = {pc for pc, number, _, _, _ in rows if classes_.get(number) == "coprocessor"}
        added = dict(enumerate((each.name for each in machine.added), len(machine.classes) - len(machine.added)))
        executed: dict[str, int] = {}
        for _, number, _, executions, _ in rows:
            if executions and number in added:
                executed[added[number]] = executed.get(added[number], 0) + executions
        report = machine.attached.report(cycles, sum(machine.stalls.get(pc, 0) for pc in waited), executed)
    caches = machine.caches.reports() if machine.caches else {}
    traffic, symbols = _traffic(machine, *fetch_and_access)
    result = RunResult(
        program=program.path,
        core=machine.timing.name,
        clock_mhz=machine.timing.clock_mhz,
        accel=coprocessor.name if coprocessor else "off",
        platform=machine.platform.name if machine.platform else None,
        engine=machine.engine,
        timing=machine.timing_model if machine.timing_model != "fast" else _fast(machine, cost),
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
        functions=_functions(machine, rows, by_pc, lost),
        icache=caches.get("icache"),
        dcache=caches.get("dcache"),
        memory_caches=machine.timed.reports() if machine.timed is not None else {},
        accelerator=report,
        roi=roi,
        host_seconds=seconds,
    )
    if counted is not None:
        result.keep(counted)
    return result


def _fast(machine: Machine, cost: Cost | None) -> str:
    """Where the cycles of a fast run come from."""
    if machine.stepped is None:
        return "exact"
    return "fast" if cost is not None else "table"


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
    for pc, causes in machine.lost_cycles().items():
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


def _functions(
    machine: Machine, rows: list, cycles: Iterable[tuple[int, int]], lost: Mapping[int, Mapping[str, int]]
) -> list[FunctionProfile]:
    """What each function took.

    Parameters
    ----------
    rows : list of (pc, instruction, size, executions, cycles)
    cycles : iterable of (pc, cycles)
        An address may appear more than once.
    lost : mapping of int to (mapping of str to int)
        By address: cycles beyond an instruction's first, by cause.
    """
    of = Functions(machine.program.functions)
    executed = [(pc, number, size, n) for pc, number, size, n, _ in rows if n]
    instructions = of.sums((pc, n) for pc, _, _, n in executed)
    fetched = of.sums((pc, n * size) for pc, _, size, n in executed)
    classes = of.named((pc, {machine.classes[number]: n}) for pc, number, _, n in executed)
    taken = of.sums(cycles)
    misses = machine.caches.misses() if machine.caches is not None else {}
    icache, dcache = (of.sums((pc, each[n]) for pc, each in misses.items()) for n in (0, 1))
    causes = of.named(lost.items())
    profiles = []
    for n in {**instructions, **taken, **icache, **dcache}:
        at = machine.program.functions[n] if n >= 0 else None
        profiles.append(
            FunctionProfile(
                name=at.name if at else NOWHERE,
                address=at.address if at else 0,
                size=at.size if at else 0,
                instructions=instructions.get(n, 0),
                cycles=taken.get(n, 0),
                icache_misses=icache.get(n, 0),
                dcache_misses=dcache.get(n, 0),
                lost_cycles=causes.get(n, {}),
                classes=dict(sorted(classes.get(n, {}).items())),
                fetch_bytes=fetched.get(n, 0),
            )
        )
    return sorted(profiles, key=lambda p: -p.cycles)
