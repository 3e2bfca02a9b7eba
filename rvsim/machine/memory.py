"""The memory map: regions of a platform, `--memory` and the ELF, or the RAM; intervals to count accesses by."""

from __future__ import annotations

from itertools import count, pairwise

from rvsim.errors import ElfError, UsageError
from rvsim.machine.result import TOTAL
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rvsim.machine.elf import Program, Segment, Symbol
    from rvsim.timing.platform import Platform

RAM_BASE, RAM_SIZE = 0x8000_0000, 16 << 20
PAGE = 4096
# What brk may give a program that is linked outside the RAM.
HEAP_SIZE = 1 << 20
# All guest memory together; a guest cannot make the host allocate more.
DEFAULT_LIMIT = 1 << 30
READ, WRITE, EXECUTE = 4, 2, 1
# A device's registers: no memory behind them (_hart.pyx).
DEVICE_ACCESS = 8 | READ | WRITE


class Region(Record):
    """A range of addresses with memory behind it."""

    name: str
    base: int
    size: int
    permissions: int

    @property
    def end(self) -> int:
        return self.base + self.size


class Interval(Record):
    """A part of a region that accesses are counted for: an object, or what lies between objects of a section."""

    name: str
    low: int
    last: int
    region: int


def parse_memory(option: str) -> Region:
    """A ``--memory NAME=ADDRESS,SIZE_KIB`` option.

    Raises
    ------
    UsageError
    """
    import re

    found = re.fullmatch(r"([A-Za-z_][\w-]*)=(0x[0-9a-fA-F]+|\d+),(\d+)", option)
    if not found:
        raise UsageError(f"--memory: expected NAME=ADDRESS,SIZE_KIB such as sram=0x20000000,64, found {option!r}")
    base, size = int(found[2], 0), int(found[3]) << 10
    if not size or base % PAGE or base + size > 1 << 32:
        raise UsageError(
            f"--memory {option}: expected an address at a multiple of {PAGE} and 1 KiB or more below 4 GiB"
        )
    return Region(found[1], base, size, READ | WRITE | EXECUTE)


def layout(
    program: Program, extra: Sequence[Region] = (), limit: int = DEFAULT_LIMIT, platform: Platform | None = None
) -> list[Region]:
    """Regions for a program: the RAM, those asked for, and one for each run of pages of segments that lie outside them.

    With a platform: its regions and those asked for, nothing else.

    Raises
    ------
    ElfError
        When a segment reaches beyond the region it starts in, lies in none of a platform's, or memory exceeds the
        limit.
    UsageError
        When regions that were asked for overlap, have one name or are too large.
    """
    given = list(extra)
    if platform is not None:
        given += [Region(r.name, r.base, r.size, _permissions(r.access)) for r in platform.regions]
    elif not any(r.name == "ram" for r in given):
        given.append(Region("ram", RAM_BASE, RAM_SIZE, READ | WRITE | EXECUTE))
    given.sort(key=lambda r: r.base)
    for a, b in pairwise(given):
        if b.base < a.end:
            raise UsageError(
                f"--memory: {a.name} ({a.base:#010x} to {a.end - 1:#010x}) and {b.name} ({b.base:#010x} on) overlap"
            )
    seen = {TOTAL}
    for region in given:
        if region.name in seen:
            raise UsageError(f"--memory: the name {region.name} is taken; give each region its own")
        seen.add(region.name)
    if sum(r.size for r in given) > limit:
        size = sum(r.size for r in given) >> 20
        where = platform.path if platform else "--memory"
        raise UsageError(f"{where}: the regions have {size} MiB together, the limit is {limit >> 20} MiB")
    outside: list[Region] = []
    for segment in program.segments:
        if not segment.size:
            continue
        last = segment.address + segment.size - 1
        home = next((r for r in given if r.base <= last and segment.address < r.end), None)
        if platform is not None and (home is None or segment.address < home.base or last >= home.end):
            raise _outside(program, segment, platform, given)
        if home is not None:
            if segment.address < home.base or last >= home.end:
                base = min(home.base, segment.address // PAGE * PAGE)
                size = (max(last + 1, home.end) - base + 1023) >> 10
                raise ElfError(
                    f"{program.path}: the segment {segment.address:#010x} to {last:#010x} does not fit into "
                    f"{home.name} ({home.base:#010x} to {home.end - 1:#010x}); enlarge it, such as --memory "
                    f"{home.name}={base:#x},{size}"
                )
            continue
        permissions = segment.readable * READ | segment.writable * WRITE | segment.executable * EXECUTE
        # Whole pages, as far as nothing else lies there.
        low = max([segment.address // PAGE * PAGE, *(r.end for r in given if r.end <= segment.address)])
        end = min([(last // PAGE + 1) * PAGE, *(r.base for r in given if r.base > last)])
        if outside and low < outside[-1].end:
            # Segments that share a page share its permissions.
            before = outside.pop()
            low, permissions = before.base, permissions | before.permissions
        outside.append(Region("", low, end - low, permissions))
    named = _named(outside, seen)
    regions = sorted(given + named, key=lambda r: r.base)
    writable = [r for r in named if r.permissions & WRITE]
    if writable and not any(r.base <= program.entry < r.end for r in given):
        # brk grows the last writable region of a program linked elsewhere.
        n = regions.index(writable[-1])
        room = (regions[n + 1].base if n + 1 < len(regions) else 1 << 32) - regions[n].end
        regions[n] = regions[n].replace(size=regions[n].size + min(HEAP_SIZE, room))
    total = sum(r.size for r in regions)
    if total > limit:
        raise ElfError(
            f"{program.path}: needs {total >> 20} MiB of memory, the limit is {limit >> 20} MiB; check the "
            f"linker script"
        )
    return regions


def home(regions: Sequence[Region], program: Program, platform: Platform | None = None) -> Region:
    """The region whose end is the initial stack pointer.

    The RAM; of a platform the writable region that holds the program's last writable segment, else its largest one.
    """
    if platform is None:
        return next((r for r in regions if r.name == "ram"), regions[-1])
    writable = [r for r in regions if r.permissions & WRITE] or list(regions)
    for segment in reversed(program.segments):
        for region in writable:
            if segment.writable and region.base <= segment.address < region.end:
                return region
    return max(writable, key=lambda r: r.size)


def _permissions(access: str) -> int:
    return ("r" in access) * READ | ("w" in access) * WRITE | ("x" in access) * EXECUTE


def _outside(program: Program, segment: Segment, platform: Platform, regions: Sequence[Region]) -> ElfError:
    base = segment.address // PAGE * PAGE
    there = ", ".join(f"{r.name} ({r.base:#010x} to {r.end - 1:#010x})" for r in regions)
    return ElfError(
        f"{program.path}: the segment {segment.address:#010x} to {segment.end - 1:#010x} does not lie within a region "
        f"of platform {platform.name}: {there}; link it for one of them, or add memory that is free there, such as "
        f"--memory NAME={base:#x},{(segment.end - base + 1023) >> 10}"
    )


def _named(regions: list[Region], taken: Iterable[str]) -> list[Region]:
    """The regions, called data, data2, ... where they are writable, else rom, rom2, ..."""
    named: list[Region] = []
    for region in regions:
        kind = "data" if region.permissions & WRITE else "rom"
        used = {*taken, *(r.name for r in named)}
        names = (kind if n == 1 else f"{kind}{n}" for n in count(1))
        named.append(region.replace(name=next(name for name in names if name not in used)))
    return named


def intervals(regions: Sequence[Region], program: Program, stack: int) -> list[Interval]:
    """Cut regions at data objects and sections; together the intervals cover every region.

    Parameters
    ----------
    stack : int
        The initial stack pointer: what holds it and belongs to no section is called ``(stack)``.
    """
    sections = sorted((s for s in program.sections if s.alloc and s.size), key=lambda s: s.address)
    objects = list(_disjoint(o for o in program.objects if o.size))
    result: list[Interval] = []
    for number, region in enumerate(regions):
        if region.permissions == DEVICE_ACCESS:
            result.append(Interval(region.name, region.base, region.end - 1, number))
            continue
        cuts = [
            (o.address, o.address + o.size, o.name)
            for o in objects
            if region.base <= o.address and o.address + o.size <= region.end
        ]
        at = region.base
        for low, end, name in [*cuts, (region.end, region.end, "")]:
            for section in sections:
                if at < low and section.address < low and section.address + section.size > at:
                    if section.address > at:
                        result.append(_gap(at, section.address, number, stack))
                        at = section.address
                    until = min(low, section.address + section.size)
                    result.append(Interval(section.name, at, until - 1, number))
                    at = until
            if at < low:
                result.append(_gap(at, low, number, stack))
            if end > low:
                result.append(Interval(name, low, end - 1, number))
            at = max(at, end)
    return result


def cut(intervals: Sequence[Interval], low: int, last: int, name: str) -> list[Interval]:
    """The intervals with the bytes from `low` to `last` as intervals of their own."""
    result: list[Interval] = []
    for item in intervals:
        if item.last < low or last < item.low:
            result.append(item)
            continue
        if item.low < low:
            result.append(item.replace(last=low - 1))
        result.append(Interval(name, max(low, item.low), min(last, item.last), item.region))
        if last < item.last:
            result.append(item.replace(low=last + 1))
    return result


def _gap(low: int, end: int, region: int, stack: int) -> Interval:
    return Interval("(stack)" if low < stack <= end else "(no section)", low, end - 1, region)


def _disjoint(objects: Iterable[Symbol]) -> Iterable[Symbol]:
    end = 0
    for item in sorted(objects, key=lambda o: (o.address, -o.size)):
        if item.address >= end:
            end = item.address + item.size
            yield item
