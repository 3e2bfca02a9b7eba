"""A cache by itself: its configuration, patterns whose misses are known, and the C against the definition in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rvsim.errors import UsageError
from rvsim.machine.caches import make_cache
from rvsim.timing import load_core_timing
from rvsim.timing.cache import CacheTiming, DataCacheTiming, cache_settings
from rvsim.timing.cache_model import Cache
from rvsim.timing.core import CORES


def timing(size: int, ways: int, line: int, **more: Any) -> DataCacheTiming:
    return DataCacheTiming(size_bytes=size, ways=ways, line_bytes=line, **more)


# ---------------------------------------------------------------------------------------------------------------- model
def misses(each: CacheTiming, addresses: list[int], store: bool = False) -> int:
    """Of the definition, and of the C, which must agree."""
    cache, ours = Cache(each), make_cache(each)
    for address in addresses:
        assert cache.access(address, 1, store) == ours.access(address, store)
    counts = cache.counts
    assert (counts.load_misses, counts.store_misses) == ours.counts()[:2]
    return counts.load_misses + counts.store_misses


STREAM = list(range(0, 4096, 4))


@pytest.mark.parametrize(
    ("each", "addresses", "expected"),
    [
        # A stream misses once a line, and a second time where it does not fit.
        (timing(1024, 4, 32), STREAM, 128),
        (timing(4096, 4, 32), STREAM * 3, 128),
        (timing(2048, 4, 32), STREAM * 3, 3 * 128),
        (timing(4096, 1, 16), STREAM * 3, 256),
        # Random replacement keeps some of a stream that does not fit.
        (timing(64, 1, 32), [0, 64] * 10, 20),
        # A stride of the size of a way uses one set: as many lines as ways stay, one more thrashes.
        (timing(1024, 4, 32), [k * 256 for k in range(4)] * 10, 4),
        (timing(1024, 4, 32), [k * 256 for k in range(5)] * 10, 50),
        (timing(1024, 4, 32, policy="plru"), [k * 256 for k in range(4)] * 10, 4),
        # The order of use matters, not that of filling: 0 is used again, so 256 goes.
        (timing(64, 2, 32), [0, 256, 0, 512, 0, 256], 4),
        # Tree-PLRU, four ways filled with A B C D, then A: E takes the place of C, where LRU would take B's.
        (timing(128, 4, 32, policy="plru"), [0, 128, 256, 384, 0, 512, 128, 384, 0], 5),
        (timing(128, 4, 32), [0, 128, 256, 384, 0, 512, 256, 384, 0], 5),
        (timing(128, 4, 32), [0, 128, 256, 384, 0, 512, 128], 6),
        # One line.
        (timing(32, 1, 32), [0, 31, 32, 33, 0], 3),
    ],
)
def test_patterns(each: CacheTiming, addresses: list[int], expected: int) -> None:
    assert misses(each, addresses) == expected


def test_random_replacement_keeps_some_of_a_stream_that_does_not_fit() -> None:
    """LRU keeps nothing of 128 lines in 64; of a random cache less than half stays from one pass to the next."""
    found = misses(timing(2048, 4, 32, policy="random"), STREAM * 20)
    assert 20 * 128 * 0.5 < found < 20 * 128 * 0.85
    assert found != misses(timing(2048, 4, 32, policy="random", seed=2), STREAM * 20)


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        # A miss refills (10 cycles for 8 words), a changed line goes back (8).
        ({}, {"store_misses": 3, "refills": 3, "evictions": 2, "write_backs": 2, "stall_cycles": 3 * 10 + 2 * 8}),
        ({"write_allocate": False}, {"store_misses": 4, "passed_stores": 4}),
        ({"write_allocate": False, "write_cycles": 3}, {"store_misses": 4, "passed_stores": 4, "stall_cycles": 12}),
        (
            {"write": "through", "write_cycles": 2, "miss_cycles": 7},
            {"store_misses": 3, "refills": 3, "evictions": 2, "passed_stores": 4, "stall_cycles": 21 + 8},
        ),
        (
            {"miss_cycles": 0, "writeback_cycles": 1},
            {"store_misses": 3, "refills": 3, "evictions": 2, "write_backs": 2, "stall_cycles": 2},
        ),
    ],
)
def test_stores(more: dict[str, Any], counts: dict[str, int]) -> None:
    cache = Cache(timing(32, 1, 32, **more))
    for address in (0, 4, 32, 0):
        cache.access(address, 4, True)
    assert {k: v for k, v in msgspec.to_builtins(cache.counts).items() if v} == {"stores": 4, **counts}


def test_an_access_to_two_lines_is_two() -> None:
    cache = Cache(timing(64, 1, 16))
    assert cache.access(14, 4) == 2 * 6
    assert (cache.counts.loads, cache.counts.load_misses) == (2, 2)
    assert cache.access(12, 4) == 0
    assert cache.counts.loads == 3


@st.composite
def timings(draw: st.DrawFn) -> CacheTiming:
    line, sets = 1 << draw(st.integers(2, 7)), 1 << draw(st.integers(0, 4))
    policy = draw(st.sampled_from(["lru", "plru", "random"]))
    ways = draw(st.sampled_from([1, 2, 4, 8, 64])) if policy == "plru" else draw(st.integers(1, 9))
    plain = {"size_bytes": line * sets * ways, "ways": ways, "line_bytes": line, "policy": policy}
    plain |= {"seed": draw(st.integers(1, 2**32 - 1)), "miss_cycles": draw(st.none() | st.integers(0, 9))}
    if draw(st.booleans()):
        return CacheTiming(**plain)
    return DataCacheTiming(
        **plain,
        write=draw(st.sampled_from(["back", "through"])),
        write_allocate=draw(st.booleans()),
        writeback_cycles=draw(st.none() | st.integers(0, 9)),
        write_cycles=draw(st.integers(0, 3)),
    )


HIGH = 0xFFFF_FFFF
# Small numbers meet in few sets; equal low bits in few places of the table of recent lines.
FAR = st.tuples(st.integers(0, 9), st.sampled_from([14, 19])).map(lambda each: each[0] << each[1])
ADDRESSES = st.integers(0, 600) | FAR | st.integers(HIGH - 600, HIGH)
OTHERS = st.sampled_from(["clean", "invalidate", "save", "look"])
STEPS = st.lists(st.tuples(ADDRESSES, st.booleans()) | OTHERS, max_size=300)


A, B, C, D = ((address, False) for address in (0, 1 << 14, 4, 8))  # the first two share a place in the table


@settings(max_examples=300)
@given(each=timings(), steps=STEPS)
# A is used again before B takes its place in the table: C is the one used longest ago.
@example(each=timing(12, 3, 4), steps=[A, C, A, B, D, A])
# A line that was written back is changed again.
@example(each=timing(4, 1, 4), steps=[(0, True), "clean", (0, True), C])
def test_c_is_the_definition(each: CacheTiming, steps: list[Any]) -> None:
    """Callers look into the table of recent lines first, and count nothing for what they find there but the time."""
    cache, ours = Cache(each), make_cache(each)
    skipped_passes = 0
    for step in steps:
        if step == "save":
            state = ours.state()
            ours = make_cache(each)
            ours.restore(state)
        elif step == "look":  # a snapshot changes nothing in a cache that goes on
            ours.state()
        elif step == "clean":
            assert cache.clean() == ours.clean()
        elif step == "invalidate":
            # A data cache is not invalidated without being cleaned.
            cache.clean(), cache.invalidate(), ours.clean(), ours.invalidate()
        else:
            address, store = step
            store = store and isinstance(each, DataCacheTiming)
            if ours.quiet(address, store):
                before = cache.counts.passed_stores
                assert cache.access(address, 1, store) == 0
                skipped_passes += cache.counts.passed_stores - before
            else:
                assert cache.access(address, 1, store) == ours.access(address, store)
    c = cache.counts
    expected = (c.load_misses, c.store_misses, c.refills, c.evictions, c.write_backs, c.passed_stores - skipped_passes)
    assert ours.counts() == (*expected, c.stall_cycles)


# -------------------------------------------------------------------------------------------------------- configuration
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16K,4,32", {"size": 16384, "ways": 4, "line_bytes": 32, "policy": "lru", "write": "back"}),
        ("512,1,16,plru", {"size": 512, "policy": "plru", "write_allocate": True}),
        ("1K,2,8,nwa,wt,random", {"policy": "random", "write": "through", "write_allocate": False}),
        ("1K,2,8,wb,wa,lru", {"policy": "lru", "write": "back", "write_allocate": True}),
    ],
)
def test_short_options(text: str, expected: dict[str, Any]) -> None:
    core = load_core_timing("ideal", {k.removeprefix("core."): v for k, v in cache_settings("dcache", text).items()})
    assert {key: getattr(core.dcache, key) for key in expected} == expected
    assert core.icache is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dcache", "16K"), ("dcache", "16K,4"), ("dcache", "16M,4,32"), ("dcache", "16K,4,32,fifo"), ("dcache", ""),
        ("dcache", "16K,4,32,lru,plru"), ("dcache", "16K,4,32,"), ("dcache", "-1,4,32"), ("icache", "16K,4,32,wt"),
        ("dcache", "on"), ("dcache", "16K,4,32,lru,lru"),
    ],
)  # fmt: skip
def test_short_options_that_are_refused(name: Any, text: str) -> None:
    with pytest.raises(UsageError, match=f"--{name}: expected SIZE,WAYS,LINE_BYTES such as 16K,4,32"):
        cache_settings(name, text)


def test_off_takes_a_core_s_cache_away(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(Path(CORES, "ideal.toml").read_text() + "[dcache]\nsize_kib = 1\nways = 2\nline_bytes = 16\n")
    core = load_core_timing(str(path), {"dcache.ways": "4"})
    assert core.dcache is not None and (core.dcache.sets, core.dcache.refill_cycles, core.dcache.clean_cycles) == (
        16,
        6,
        4,
    )
    assert load_core_timing(str(path), {"dcache": "null"}).dcache is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("ways = 2", "Object missing required field `line_bytes`"),
        ("size_kib = 1\nways = 2\nlines = 4\nline_bytes = 4", "unknown key 'lines'; did you mean 'line_bytes'?"),
        ("ways = 2\nline_bytes = 16", "expected one of size_kib and size_bytes"),
        ("size_kib = 1\nsize_bytes = 1024\nways = 2\nline_bytes = 16", "expected one of size_kib and size_bytes"),
        ("size_kib = 0\nways = 2\nline_bytes = 16", "expected a size of 4 to 16777216 bytes, found 0"),
        ("size_kib = 16385\nways = 1\nline_bytes = 16", "expected a size of 4 to 16777216 bytes, found 16778240"),
        ("size_kib = 1\nways = 0\nline_bytes = 16", "ways: expected 1 to 64, found 0"),
        ("size_kib = 1\nways = 65\nline_bytes = 16", "ways: expected 1 to 64, found 65"),
        ("size_kib = 1\nways = 2\nline_bytes = 24", "line_bytes: expected a power of two from 4 to 1024, found 24"),
        ("size_kib = 1\nways = 2\nline_bytes = 2", "line_bytes: expected a power of two from 4 to 1024, found 2"),
        ("size_kib = 1\nways = 3\nline_bytes = 16", "expected a power of two of sets, found 1024 bytes / (3 ways x 16"),
        ("size_kib = 3\nways = 1\nline_bytes = 16", "expected a power of two of sets"),
        ("size_bytes = 64\nways = 64\nline_bytes = 16", "expected a power of two of sets"),
        ('size_bytes = 96\nways = 3\nline_bytes = 16\npolicy = "plru"', "ways: expected a power of two for policy"),
        ('size_kib = 1\nways = 2\nline_bytes = 16\npolicy = "fifo"', "policy: expected lru, plru or random, found"),
        ("size_kib = 1\nways = 2\nline_bytes = 16\nseed = 0", "seed: expected 1 to 4294967295, found 0"),
        ("size_kib = 1\nways = 2\nline_bytes = 16\nmiss_cycles = -1", "miss_cycles: expected 0 to 10000 cycles"),
        ("size_kib = 1\nways = 2\nline_bytes = 16\nwriteback_cycles = 10001", "writeback_cycles: expected 0 to 10000"),
        ("size_kib = 1\nways = 2\nline_bytes = 16\nwrite_cycles = -1", "write_cycles: expected 0 to 10000"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(Path(CORES, "ideal.toml").read_text() + f"[dcache]\n{table}\n")
    with pytest.raises(UsageError) as raised:
        load_core_timing(str(path))
    assert message in str(raised.value) and str(path) in str(raised.value)


def test_an_instruction_cache_takes_no_stores() -> None:
    table = '{"size_kib": 1, "ways": 2, "line_bytes": 16, "write": "back"}'
    with pytest.raises(UsageError, match="unknown key 'write'"):
        load_core_timing("ideal", {"icache": table})
