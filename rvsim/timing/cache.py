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
    type_ = DataCacheTiming if name == "dcache" else CacheTiming
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
