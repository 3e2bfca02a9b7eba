"""Misses of LRU caches of every size and associativity from one run: the stack distances of its accesses.

`rvsim/machine/reuse.h` says how. A cache that allocates on every miss, fetches and stores alike, has these misses,
whatever it does with stores that hit.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rvsim.errors import UsageError
from rvsim.machine._hart import Reuse
from rvsim.machine.machine import Machine
from rvsim.timing.cache import LINE_BYTES, MAX_WAYS

MAX_LINES = 1 << 19


class Misses(msgspec.Struct, frozen=True, kw_only=True):
    """Of one cache.

    Attributes
    ----------
    sets, ways : int
    size_bytes : int
        sets x ways x line_bytes.
    misses : int
    """

    sets: int
    ways: int
    size_bytes: int
    misses: int


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Fetches, or loads and stores to memory.

    Attributes
    ----------
    accesses : int
        As a cache counts them: one that touches two lines is two.
    loads, stores : int
        Accesses that read (fetches do), that write.
    caches : list of Misses
        By number of sets, then ways.
    """

    accesses: int
    loads: int
    stores: int
    caches: list[Misses]


class ReuseResult(msgspec.Struct, frozen=True, kw_only=True):
    """Misses by cache; docs/run-schema.md explains the keys."""

    schema: Literal["rvsim.caches/1"] = "rvsim.caches/1"
    program: str
    instructions: int
    line_bytes: int
    fetch: Stream
    data: Stream

    def to_json(self) -> str:
        """The document as indented JSON text that ends in a newline."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        document = {"schema": document.pop("schema"), **document}
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


class ReuseDistances:
    """Watches a machine from before its first instruction; the core must have no caches.

    Parameters
    ----------
    machine : Machine
    line_bytes : int
        A power of two, 4 to 1024.
    max_size : int
        Bytes of the largest cache: a power of two of lines, at most 524288.
    max_ways : int
        1 to 64.

    Raises
    ------
    UsageError
    """

    def __init__(self, machine: Machine, line_bytes: int = 32, max_size: int = 256 << 10, max_ways: int = 16) -> None:
        low, high = LINE_BYTES
        if not low <= line_bytes <= high or line_bytes & (line_bytes - 1):
            raise UsageError(f"expected lines of {low} to {high} bytes, a power of two, found {line_bytes}")
        if not 1 <= max_ways <= MAX_WAYS:
            raise UsageError(f"expected 1 to {MAX_WAYS} ways, found {max_ways}")
        lines = max_size // line_bytes
        if not 1 <= lines <= MAX_LINES or lines & (lines - 1) or lines * line_bytes != max_size:
            raise UsageError(
                f"expected a largest cache of 1 to {MAX_LINES} lines of {line_bytes} bytes, a power of two, found "
                f"{max_size} bytes"
            )
        if machine.caches is not None:
            raise UsageError("expected a core without caches: every cache is looked at; take away icache and dcache")
        if machine.timed is not None:
            raise UsageError(
                "expected a core that is a table of cycles, found exact cycles; make it with timing='table'"
            )
        self._machine, self._line_bytes = machine, line_bytes
        self._streams = [Reuse(lines.bit_length(), max_ways, line_bytes) for _ in range(2)]
        machine.hart.use_reuse(*self._streams)

    def result(self) -> ReuseResult:
        """What has been seen so far."""
        machine = self._machine
        fetches, loads, stores = machine.hart.cache_accesses()
        fetch, data = self._streams
        return ReuseResult(
            program=machine.program.path,
            instructions=machine.instructions,
            line_bytes=self._line_bytes,
            fetch=self._stream(fetch, fetches, 0),
            data=self._stream(data, loads, stores),
        )

    def _stream(self, reuse: Reuse, loads: int, stores: int) -> Stream:
        caches = [
            Misses(sets=1 << k, ways=way, size_bytes=(way << k) * self._line_bytes, misses=misses)
            for k, row in enumerate(reuse.misses())
            for way, misses in enumerate(row, 1)
        ]
        return Stream(accesses=loads + stores, loads=loads, stores=stores, caches=caches)
