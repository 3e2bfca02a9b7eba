"""A listing: addresses and bytes beside the source lines they come from."""

from __future__ import annotations

from rvsim.asm.layout import Section
from rvsim.asm.state import State

BYTES = 8
"""Bytes on one line of a listing."""


def listing(a: State) -> str:
    """The text of a listing: ``address  bytes  file:line  source``."""
    by_section: dict[str, list[tuple[int, int]]] = {}
    for number, (section, label, _) in enumerate(a.listing):
        by_section.setdefault(section.name, []).append((label.address, number))
    ends: dict[int, int] = {}
    for name, places in by_section.items():
        section = a.sections[name]
        places.sort()
        following = [address for address, _ in places[1:]] + [section.base + section.size]
        for (_, number), end in zip(places, following, strict=True):
            ends[number] = end
    lines = []
    for number, (section, label, place) in enumerate(a.listing):
        address = label.address
        data = _bytes(a, section, address, ends[number])
        where = f"{place.file}:{place.line}"
        head = f"{address:08x}" if data or ends[number] > address else " " * 8
        lines.append(f"{head}  {data[: 2 * BYTES]:<{2 * BYTES}}  {where:<16} {place.text.rstrip()}".rstrip())
        for at in range(2 * BYTES, min(len(data), 8 * BYTES), 2 * BYTES):
            lines.append(f"{address + at // 2:08x}  {data[at : at + 2 * BYTES]}")
    return "\n".join(lines) + "\n"


def _bytes(a: State, section: Section, start: int, end: int) -> str:
    image = a.images.get(section.name, b"")
    return image[start - section.base : min(end, start + 4 * BYTES) - section.base].hex()
