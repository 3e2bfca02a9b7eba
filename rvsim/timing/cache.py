"""A cache's configuration: the tables `[icache]` and `[dcache]` of a core, and the short option that stands for one."""

from __future__ import annotations

from rvsim.errors import UsageError
from rvsim.records import Record
from rvsim.timing.tables import check_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

MAX_SIZE = 16 << 20
MAX_WAYS = 64
LINE_BYTES = (4, 1024)
MAX_STALL = 10_000

POLICIES = ("lru", "plru", "random")
WRITES = ("back", "through")


class CacheTiming(Record):
    """One cache between a port of the core and memory; docs/caches.md says how it works.

    Attributes
    ----------
    size_kib, size_bytes : int
        Bytes of all lines; one of the two is given.
    ways : int
        Lines in a set, 1 (direct mapped) to 64.
    line_bytes : int
        Bytes of a line, a power of two from 4 to 1024.
    policy : {"lru", "plru", "random"}
        Which line of a full set is replaced: the least recently used, that of a binary tree of bits, any.
    seed : int
        Where the generator of ``random`` starts.
    miss_cycles : int
        Cycles that a refill stalls the core; by default two, and one for each word of the line: a 32-bit bus that moves
        a word a cycle (assumed).
    """

    ways: int
    line_bytes: int
    size_kib: int | None = None
    size_bytes: int | None = None
    policy: str = "lru"
    seed: int = 1
    miss_cycles: int | None = None

    def __post_init__(self) -> None:
        if (self.size_kib is None) == (self.size_bytes is None):
            raise ValueError("expected one of size_kib and size_bytes")
        if not 4 <= self.size <= MAX_SIZE:
            raise ValueError(f"expected a size of 4 to {MAX_SIZE} bytes, found {self.size}")
        if not 1 <= self.ways <= MAX_WAYS:
            raise ValueError(f"ways: expected 1 to {MAX_WAYS}, found {self.ways}")
        low, high = LINE_BYTES
        if not low <= self.line_bytes <= high or self.line_bytes & (self.line_bytes - 1):
            raise ValueError(f"line_bytes: expected a power of two from {low} to {high}, found {self.line_bytes}")
        if self.size % (self.ways * self.line_bytes) or not self.sets or self.sets & (self.sets - 1):
            raise ValueError(
                f"expected a power of two of sets, found {self.size} bytes / ({self.ways} ways x {self.line_bytes} "
                f"bytes) = {self.size / (self.ways * self.line_bytes):g}"
            )
        if self.policy not in POLICIES:
            raise ValueError(f"policy: expected lru, plru or random, found {self.policy!r}")
        if self.policy == "plru" and self.ways & (self.ways - 1):
            raise ValueError(f"ways: expected a power of two for policy plru, found {self.ways}")
        if not 1 <= self.seed < 1 << 32:
            raise ValueError(f"seed: expected 1 to {(1 << 32) - 1}, found {self.seed}")
        _stall("miss_cycles", self.refill_cycles)

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return self.size_bytes if self.size_bytes is not None else (self.size_kib or 0) * 1024

    @property
    def sets(self) -> int:
        """Number of sets."""
        return self.size // (self.ways * self.line_bytes)

    @property
    def refill_cycles(self) -> int:
        """Cycles that a refill stalls the core."""
        return self.miss_cycles if self.miss_cycles is not None else 2 + self.line_bytes // 4


class DataCacheTiming(CacheTiming):
    """A data cache.

    Attributes
    ----------
    write : {"back", "through"}
        Whether a store that hits changes the line alone, or memory too.
    write_allocate : bool
        Whether a store that misses fetches the line; else it goes to memory alone.
    writeback_cycles : int
        Cycles that a changed line on its way to memory stalls the core; by default one for each word of the line (no
        buffer for it, assumed).
    write_cycles : int
        Cycles that a single store on its way to memory stalls the core; by default none (a buffer for it that is never
        full, assumed).
    """

    write: str = "back"
    write_allocate: bool = True
    writeback_cycles: int | None = None
    write_cycles: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.write not in WRITES:
            raise ValueError(f"write: expected back or through, found {self.write!r}")
        _stall("writeback_cycles", self.clean_cycles)
        _stall("write_cycles", self.write_cycles)

    @property
    def clean_cycles(self) -> int:
        """Cycles that writing a line back stalls the core."""
        return self.writeback_cycles if self.writeback_cycles is not None else self.line_bytes // 4


def _stall(key: str, value: int) -> None:
    if not 0 <= value <= MAX_STALL:
        raise ValueError(f"{key}: expected 0 to {MAX_STALL} cycles, found {value}")


def read_cache(name: str, table: Any) -> CacheTiming | None:
    """The table ``icache`` or ``dcache`` of a core; None where it says that there is none.

    Raises
    ------
    ValueError
        For an unknown key or a value out of range.
    """
    return _read(name, table, DataCacheTiming if name == "dcache" else CacheTiming)


def _read(name: str, table: Any, type_: type[CacheTiming]) -> CacheTiming | None:
    if isinstance(table, dict):
        check_keys(f"{name}: ", table, type_.record_fields)
    try:
        timing = type_.from_plain(table) if isinstance(table, dict) else None
        if timing is None:
            import msgspec

            timing = msgspec.convert(table, type_ | None)
        return timing
    except ValueError as error:  # msgspec's errors are such, too
        raise ValueError(f"{name}: {error}") from None


class MemoryCache(Record):
    """A cache of a platform, between the core's ports and some of its memories; docs/platforms.md says how it works.

    Attributes
    ----------
    name : str
    regions : tuple of str
        The memories behind it.
    serves : {"both", "fetch", "data"}
        Which accesses go through it.
    timing : CacheTiming
        Its lines; the cycles are wait states on top of `hit_wait`.
    hit_wait : int
        Wait states of every access through it.
    """

    name: str
    regions: tuple[str, ...]
    serves: str
    timing: CacheTiming
    hit_wait: int = 0

    @property
    def longest(self) -> int:
        """Most wait states of an access: a line goes back, another one comes, a store is passed on."""
        data = self.timing if isinstance(self.timing, DataCacheTiming) else None
        return self.hit_wait + self.timing.refill_cycles + (data.clean_cycles + data.write_cycles if data else 0)


SERVES = ("both", "fetch", "data")
MAX_WAIT = 1000


def read_memory_cache(name: str, table: dict[str, Any]) -> MemoryCache:
    """The table ``[cache.NAME]`` of a platform.

    A refill waits ``miss_cycles``, or ``latency_cycles`` and ``beat_cycles`` for each ``bus_bytes`` of the line.

    Raises
    ------
    ValueError
        For an unknown key or a value that cannot be: the cache, the key, the reason.
    """
    where = f"cache {name!r}"
    own = dict(table)
    regions, serves = own.pop("regions", None), own.pop("serves", "both")
    if not isinstance(regions, list) or not regions or any(type(each) is not str for each in regions):
        raise ValueError(f'{where}: regions: expected a list of names of regions, such as ["flash"]')
    if serves not in SERVES:
        raise ValueError(f"{where}: serves: expected {', '.join(SERVES)}, found {serves!r}")
    waits = {key: own.pop(key, None) for key in ("hit_wait", "latency_cycles", "bus_bytes", "beat_cycles")}
    for key, value in waits.items():
        low = 1 if key == "bus_bytes" else 0
        if value is not None and (type(value) is not int or not low <= value <= MAX_WAIT):
            raise ValueError(f"{where}: {key}: expected an integer from {low} to {MAX_WAIT}, found {value!r}")
    check_keys(f"{where}: ", own, DataCacheTiming.record_fields)
    if serves == "fetch":
        for key in own.keys() - CacheTiming.record_fields.keys():
            raise ValueError(f"{where}: {key}: expected no key about stores in a cache that serves fetches alone")
    timing = _read(where, own, CacheTiming if serves == "fetch" else DataCacheTiming)
    assert timing is not None
    if waits["latency_cycles"] is not None or waits["beat_cycles"] is not None or waits["bus_bytes"] is not None:
        if "miss_cycles" in own:
            raise ValueError(
                f"{where}: miss_cycles: expected it, or latency_cycles, bus_bytes and beat_cycles, not both"
            )
        bus = waits["bus_bytes"] or 4
        if timing.line_bytes % bus:
            raise ValueError(
                f"{where}: bus_bytes: expected a divisor of the line's {timing.line_bytes} bytes, found {bus}"
            )
        beats = timing.line_bytes // bus
        beat = 1 if waits["beat_cycles"] is None else waits["beat_cycles"]
        miss = (waits["latency_cycles"] or 0) + beats * beat
        timing = timing.replace(miss_cycles=miss)
    cache = MemoryCache(name, tuple(regions), serves, timing, waits["hit_wait"] or 0)
    if cache.longest > MAX_WAIT:
        raise ValueError(f"{where}: expected at most {MAX_WAIT} wait states of an access, found {cache.longest}")
    return cache


_WORDS: dict[str, tuple[str, str]] = {
    "lru": ("policy", "lru"),
    "plru": ("policy", "plru"),
    "random": ("policy", "random"),
    "wb": ("write", "back"),
    "wt": ("write", "through"),
    "wa": ("write_allocate", "true"),
    "nwa": ("write_allocate", "false"),
}


def cache_settings(name: Literal["icache", "dcache"], text: str | None) -> dict[str, str]:
    """The setting that a short option such as ``16K,4,32,plru,wt,nwa`` stands for; none for None.

    Parameters
    ----------
    name : {"icache", "dcache"}
    text : str or None
        ``SIZE,WAYS,LINE_BYTES`` and words in any order, or ``off``. SIZE is in bytes, or in KiB with a K behind it.

    Returns
    -------
    dict of str to str
        As for ``--set``, in this order: ``{"core.dcache": "{}", "core.dcache.size_bytes": "16384", ...}``.

    Raises
    ------
    UsageError
    """
    if text is None:
        return {}
    if text == "off":
        return {f"core.{name}": "null"}
    known = [word for word, (key, _) in _WORDS.items() if name == "dcache" or key == "policy"]
    numbers, words = text.split(",")[:3], text.split(",")[3:]
    kib = numbers[0].endswith("K")
    numbers[0] = numbers[0].removesuffix("K")
    right = len(numbers) == 3 and all(each.isascii() and each.isdecimal() and len(each) < 10 for each in numbers)
    table: dict[str, str] = {}
    for word in words:
        key, value = _WORDS[word] if word in known else ("", "")
        right &= bool(key) and key not in table
        table[key] = value
    if not right:
        raise UsageError(
            f"--{name}: expected SIZE,WAYS,LINE_BYTES such as 16K,4,32, then one of each of {', '.join(known)}, or "
            f"off; found {text!r}"
        )
    size, ways, line = (int(each) for each in numbers)
    table = {"size_bytes": str(size * (1024 if kib else 1)), "ways": str(ways), "line_bytes": str(line), **table}
    return {f"core.{name}": "{}", **{f"core.{name}.{key}": value for key, value in table.items()}}
