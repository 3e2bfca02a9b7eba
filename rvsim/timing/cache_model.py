"""What a cache does, in plain Python: the definition that `rvsim/machine/cache.h` is tested against."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rvsim.timing.cache import CacheTiming, DataCacheTiming


class Counts(msgspec.Struct, kw_only=True):
    """What one cache counted; docs/run-schema.md has the meanings."""

    loads: int = 0
    stores: int = 0
    load_misses: int = 0
    store_misses: int = 0
    refills: int = 0
    evictions: int = 0
    write_backs: int = 0
    passed_stores: int = 0
    stall_cycles: int = 0


class Line:
    """One way of a set."""

    def __init__(self) -> None:
        self.number: int | None = None  # address / line_bytes; None while it holds nothing
        self.dirty = False
        self.used = 0  # when it was used last


class Cache:
    """A cache without data: which lines it holds, what it counts, how long the core waits.

    Parameters
    ----------
    timing : CacheTiming
        Of an instruction cache, which is never stored to, or a DataCacheTiming.
    """

    def __init__(self, timing: CacheTiming) -> None:
        self.timing = timing
        self.back = isinstance(timing, DataCacheTiming) and timing.write == "back"
        self.allocate = isinstance(timing, DataCacheTiming) and timing.write_allocate
        self.writeback_cycles = timing.clean_cycles if isinstance(timing, DataCacheTiming) else 0
        self.write_cycles = timing.write_cycles if isinstance(timing, DataCacheTiming) else 0
        self.sets = [[Line() for _ in range(timing.ways)] for _ in range(timing.sets)]
        # Of each set a binary tree in heap order, root 1: which half (0 the lower ways) is replaced next.
        self.trees = [[0] * timing.ways for _ in range(timing.sets)]
        self.random = timing.seed
        self.time = 0
        self.counts = Counts()

    def access(self, address: int, size: int = 1, store: bool = False) -> int:
        """Read or write some bytes: one access for each line that they are in.

        Returns
        -------
        int
            Cycles that the core stalls.
        """
        before = self.counts.stall_cycles
        for number in self.lines(address, size):
            self._access(number, store)
        return self.counts.stall_cycles - before

    def lines(self, address: int, size: int) -> Iterator[int]:
        """Numbers of the lines that some bytes are in; the last address is followed by the first."""
        first, last = address // self.timing.line_bytes, (address + size - 1) % (1 << 32) // self.timing.line_bytes
        yield first
        if last != first:
            yield last

    def _access(self, number: int, store: bool) -> None:
        counts, timing = self.counts, self.timing
        index = number % timing.sets
        lines = self.sets[index]
        counts.loads += not store
        counts.stores += store
        way = next((way for way, line in enumerate(lines) if line.number == number), None)
        if way is None:
            counts.load_misses += not store
            counts.store_misses += store
            if store and not self.allocate:
                self._pass()
                return
            way = self._victim(index)
            if lines[way].number is not None:
                counts.evictions += 1
            if lines[way].dirty:
                self._write_back(lines[way])
            lines[way].number = number
            counts.refills += 1
            counts.stall_cycles += timing.refill_cycles
        if store and self.back:
            lines[way].dirty = True
        elif store:
            self._pass()
        self._use(index, way)

    def _pass(self) -> None:
        """A store goes to memory."""
        self.counts.passed_stores += 1
        self.counts.stall_cycles += self.write_cycles

    def _write_back(self, line: Line) -> None:
        line.dirty = False
        self.counts.write_backs += 1
        self.counts.stall_cycles += self.writeback_cycles

    def _victim(self, index: int) -> int:
        """The way that the next line of a set goes to: the first empty one, else what the policy says."""
        lines, ways = self.sets[index], self.timing.ways
        for way, line in enumerate(lines):
            if line.number is None:
                return way
        if self.timing.policy == "lru":
            return min(range(ways), key=lambda way: lines[way].used)
        if self.timing.policy == "random":
            # Xorshift, Marsaglia, Journal of Statistical Software 8 (2003) 14: shifts 13, 17, 5.
            self.random ^= self.random << 13 & 0xFFFF_FFFF
            self.random ^= self.random >> 17
            self.random ^= self.random << 5 & 0xFFFF_FFFF
            return self.random % ways
        node = 1
        while node < ways:
            node = 2 * node + self.trees[index][node]
        return node - ways

    def _use(self, index: int, way: int) -> None:
        self.time += 1
        self.sets[index][way].used = self.time
        if self.timing.policy == "plru":
            node = way + self.timing.ways
            while node > 1:  # every node on the way points to its other half
                self.trees[index][node // 2] = 1 - node % 2
                node //= 2

    def clean(self) -> int:
        """Write every changed line back and keep it (a data cache, by fence.i); the cycles that it takes."""
        before = self.counts.stall_cycles
        for line in (line for lines in self.sets for line in lines if line.dirty):
            self._write_back(line)
        return self.counts.stall_cycles - before

    def invalidate(self) -> None:
        """Forget every line (an instruction cache, by fence.i)."""
        for line in (line for lines in self.sets for line in lines):
            line.number = None
