"""Caches of a platform in front of exact pipelines: what they hold, what they cost, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm import assemble
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine._hart import Cache
from rvsim.machine.caches import make_cache
from rvsim.machine.elf import Program, parse_elf
from rvsim.timing import core_names, load_core_timing
from rvsim.timing._exact import Pipeline
from rvsim.timing.cache import DataCacheTiming
from rvsim.timing.cache_model import Cache as Model
from rvsim.timing.platform import load_platform
from tests.timing.test_inorder import NUMBERS, Op, records

CORES = [name for name in core_names() if load_core_timing(name).model not in ("", "vexriscv")]
REGIONS = """
name = "mine"
[[region]]
name = "flash"
base = 0x80000000
size_kib = 64
fetch_wait = 9
load_wait = 9
store_wait = 9
[[region]]
name = "ram"
base = 0x90000000
size_kib = 64
"""
ALL = [(0x8000_0000, 0xFFFF_FFFF, 0, 0, 0)]
CACHE = '[cache.xip]\nregions = ["flash"]\nsize_bytes = 256\nways = 2\nline_bytes = 16\nmiss_cycles = 20\n'
LOOP = """
_start:
    li a0, {rounds}
loop:
    addi a1, a1, 3
    xor a2, a1, a0
    slli a3, a2, 1
    addi a0, a0, -1
    bnez a0, loop
    li a7, 93
    ecall
"""
# A walk through 512 bytes of code behind jumps, loads and stores among 1 KiB of data, all in "flash".
WALK = """
_start:
    li s0, 40
    la s1, data
    li s2, 1
again:
    slli t0, s2, 5
    xor s2, s2, t0
    srli t0, s2, 7
    xor s2, s2, t0
    andi t1, s2, 1020
    add t1, t1, s1
    lw t2, 0(t1)
    add t2, t2, s2
    sw t2, 0(t1)
    andi t3, s2, 1
    beqz t3, other
    call one
    j next
other:
    call two
next:
    addi s0, s0, -1
    bnez s0, again
    li a7, 93
    li a0, 0
    ecall
.space 64
one: addi a1, a1, 1
    lb t4, 1(t1)
    ret
.space 96
two: addi a2, a2, 1
    sh t4, 2(t1)
    ret
.align 4
data: .space 1024
"""


def program(source: str) -> Program:
    return parse_elf(assemble(source))


def machine(source: str, core: str, platform: str, tmp_path: Path, **options: Any) -> Machine:
    path = tmp_path / "mine.toml"
    path.write_text(platform)
    return Machine(program(source), core=core, platform=str(path), **options)


# ------------------------------------------------------------------------------------------------ contents
@settings(max_examples=60)
@given(
    st.sampled_from(["lru", "plru", "random"]), st.sampled_from([1, 2, 4]), st.sampled_from([4, 16]),
    st.sampled_from(["back", "through"]), st.booleans(),
    st.lists(st.tuples(st.integers(0, 511), st.booleans()), min_size=1, max_size=120),
)  # fmt: skip
def test_a_pipelines_accesses_hit_and_miss_as_the_model_says(
    policy: str, ways: int, line: int, write: str, allocate: bool, accesses: list[tuple[int, bool]]
) -> None:
    """One load or store after the other, each behind the answer to the one before."""
    timing = DataCacheTiming(
        size_bytes=64 * ways, ways=ways, line_bytes=line, policy=policy, write=write, write_allocate=allocate,
        miss_cycles=20, writeback_cycles=7, write_cycles=3,
    )  # fmt: skip
    cache, model = make_cache(timing, timed=False), Model(timing)
    pipeline = Pipeline("inorder", {**NUMBERS, "stages": 2}, ALL, (0, 0, 0), 0x8000_0000)
    pipeline.attach(1, None, cache.shown(2))
    ops = [Op("store" if store else "load", address=0x8000_0000 + at * 4) for at, store in accesses]
    cycles = [cycle for cycle, _ in pipeline.run(records(ops))]
    waits = [2 + model.access(op.address, 4, op.kind == "store") for op in ops]
    # Two cycles an access and what it waits; the first instruction comes in cycle 1.
    assert [b - a for a, b in zip([1, *cycles], cycles, strict=False)][1:] == [2 + wait for wait in waits][1:]
    assert cache.counts() == (
        model.counts.load_misses, model.counts.store_misses, model.counts.refills, model.counts.evictions,
        model.counts.write_backs, model.counts.passed_stores, model.counts.stall_cycles,
    )  # fmt: skip
    assert cache.accesses == (model.counts.loads, model.counts.stores)


@pytest.mark.parametrize("core", CORES)
def test_words_are_asked_for_once_and_in_order(core: str) -> None:
    """A straight line: each word of it once, and no more than the buffer's beyond its end."""
    timing = load_core_timing(core)
    asked = Cache(64, 1, 4)
    pipeline = Pipeline(timing.model, timing.pipeline, ALL, (0, 0, 0), 0x8000_0000)
    pipeline.attach(1, asked.shown(0), None)
    pipeline.run(records([Op("alu", rd=5) for _ in range(40)]))
    loads, stores = asked.accesses
    assert stores == 0 and 40 <= loads <= 40 + 8 and asked.counts()[0] == loads
    for n in range(1, 40):  # PicoRV32's model begins behind the fetch of the first one
        asked.access(0x8000_0000 + 4 * n)
    assert asked.counts()[0] == loads  # they were there


def test_what_a_jump_throws_away_fills_the_cache_and_what_is_never_asked_for_does_not() -> None:
    """Two fetches under way on a slow bus: the one behind a jump comes; those further on were not asked for."""
    asked = Cache(64, 1, 4)
    pipeline = Pipeline("inorder", {**NUMBERS, "prefetch": 8}, ALL, (0, 0, 0), 0x8000_0000)
    pipeline.attach(1, asked.shown(30), None)
    pipeline.run(records([Op("jal", jump=0x400), Op("jal", jump=0x400), Op("alu")]))
    # Of each jump its word and the one behind: a third would be asked for in the cycle of the redirect. The last
    # instruction is none, and a third follows it.
    assert asked.accesses[0] == 2 + 2 + 3


# ------------------------------------------------------------------------------------------------ runs
@pytest.mark.parametrize("core", CORES)
def test_a_loop_that_fits_runs_as_from_sram(core: str, tmp_path: Path) -> None:
    """Longer loops cost the same cycles more behind the cache as without wait states; all misses are before."""
    costs, fast = [], REGIONS.replace("= 9", "= 0")
    for rounds in (40, 140):
        cached = machine(LOOP.format(rounds=rounds), core, REGIONS + CACHE, tmp_path).run()
        sram = machine(LOOP.format(rounds=rounds), core, fast, tmp_path).run()
        costs.append((cached.cycles, sram.cycles, cached.memory_caches["xip"].misses))
    (cached_40, sram_40, misses_40), (cached_140, sram_140, misses_140) = costs
    assert cached_140 - cached_40 == sram_140 - sram_40
    assert misses_40 == misses_140 > 0
    assert sram_40 < cached_40 <= sram_40 + 20 * misses_40


@pytest.mark.parametrize("core", CORES)
def test_a_larger_cache_of_one_set_never_misses_more(core: str, tmp_path: Path) -> None:
    """LRU is a stack algorithm (Mattson and others 1970); no wait states, so that the accesses are the same."""
    misses = []
    for lines in (1, 2, 4, 8, 16, 32, 64):
        cache = f'[cache.all]\nregions = ["flash"]\nsize_bytes = {16 * lines}\nways = {lines}\nline_bytes = 16\n'
        cache += "miss_cycles = 0\nwriteback_cycles = 0\n"
        report = machine(WALK, core, REGIONS + cache, tmp_path).run().memory_caches["all"]
        assert report.hits + report.misses == report.accesses and report.stores >= 40
        misses.append((report.misses, report.accesses))
    assert [n for n, _ in misses] == sorted((n for n, _ in misses), reverse=True)
    assert len({accesses for _, accesses in misses}) == 1


@pytest.mark.parametrize("core", CORES)
def test_snapshots_and_slices_keep_the_lines(core: str, tmp_path: Path) -> None:
    whole = machine(WALK, core, REGIONS + CACHE, tmp_path).run()
    sliced = machine(WALK, core, REGIONS + CACHE, tmp_path)
    for n in (1, 7, 100):
        sliced.run(n)
    sliced.save(str(tmp_path / "snapshot"))
    loaded = Machine.load(str(tmp_path / "snapshot")).run()
    result = sliced.run()
    for each in (loaded, result):
        assert (each.cycles, each.memory_caches) == (whole.cycles, whole.memory_caches)


def test_fetches_and_data_may_have_caches_of_their_own(tmp_path: Path) -> None:
    both = CACHE.replace("xip]", "code]\nserves = 'fetch'") + CACHE.replace("xip]", "data]\nserves = 'data'")
    result = machine(WALK, "ibex-small", REGIONS + both, tmp_path).run()
    code, data = result.memory_caches["code"], result.memory_caches["data"]
    assert code.stores == 0 and code.loads > result.traffic["flash"].fetch.count / 2
    assert (data.loads, data.stores) == (result.traffic["flash"].load.count, result.traffic["flash"].store.count)


def test_what_does_not_go_through_the_cache_waits_as_its_region_says(tmp_path: Path) -> None:
    fetches = CACHE + "serves = 'fetch'\n"
    slow = machine(WALK, "ibex-small", REGIONS + fetches, tmp_path).run()
    fast = machine(WALK, "ibex-small", REGIONS.replace("load_wait = 9", "load_wait = 8") + fetches, tmp_path).run()
    loads = slow.traffic["flash"].load.count
    assert loads - 20 <= slow.cycles - fast.cycles <= loads


@pytest.mark.parametrize("name", ["esp32c3", "rp2350-hazard3"])
def test_flash_of_boards_is_behind_a_cache(name: str) -> None:
    platform = load_platform(name)
    (cache,) = platform.caches
    assert cache.timing.size == 16 << 10
    assert all(each.kind == "flash-xip" for each in platform.regions if each.name in cache.regions)
    assert {each.name for each in platform.regions if each.kind == "flash-xip"} == set(cache.regions)


# ------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size_bytes = 256", "size_kib = 128", "size_kib: expected at most the 65536 bytes of the memory behind it"),
        ("size_bytes = 256", "size_bytes = 0", "expected a size of 4 to"),
        ("line_bytes = 16", "line_bytes = 0", "line_bytes: expected a power of two from 4 to 1024, found 0"),
        ("line_bytes = 16", "line_bytes = 24", "line_bytes: expected a power of two from 4 to 1024, found 24"),
        ("ways = 2", "ways = 3", "expected a power of two of sets"),
        ("ways = 2", "ways = 0", "ways: expected 1 to 64, found 0"),
        ("ways = 2", "way = 2", "unknown key 'way'; did you mean 'ways'?"),
        ('["flash"]', '["flahs"]', "unknown key 'flahs'; did you mean 'flash'?"),
        ('["flash"]', "[]", "regions: expected a list of names of regions"),
        ('["flash"]', '"flash"', "regions: expected a list of names of regions"),
        ('["flash"]', '["flash", "flash"]', "regions: flash has cache 'xip' for the same accesses already"),
        ("miss_cycles = 20", "miss_cycles = 2000", "expected at most 1000 wait states of an access"),
        ("miss_cycles = 20", "hit_wait = -1", "hit_wait: expected an integer from 0 to 1000, found -1"),
        ("miss_cycles = 20", "serves = 'code'", "serves: expected both, fetch, data, found 'code'"),
        ("miss_cycles = 20", "serves = 'fetch'\nwrite = 'back'", "write: expected no key about stores"),
        ("miss_cycles = 20", "miss_cycles = 20\nbus_bytes = 4", "miss_cycles: expected it, or latency_cycles"),
        ("miss_cycles = 20", "latency_cycles = 3\nbus_bytes = 3", "bus_bytes: expected a divisor of the line's 16"),
        ("[cache.xip]", "[cache.icache]", "expected a name of letters, digits, - and _, other than icache and dcache"),
        ("[cache.xip]", "[cachet.xip]", "unknown key 'cachet'; did you mean 'cache'?"),
    ],
)  # fmt: skip
def test_caches_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(REGIONS + CACHE.replace(old, new))
    with pytest.raises(UsageError) as raised:
        load_platform(str(path))
    assert message in str(raised.value) and str(raised.value).startswith(f"{path}: ")


def test_no_region_has_two_caches_for_one_access(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="flash has cache 'xip' for the same accesses already"):
        machine(WALK, "ibex-small", REGIONS + CACHE + CACHE.replace("xip", "other"), tmp_path)


def test_a_refill_is_its_latency_and_its_beats(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    lines = "latency_cycles = 5\nbus_bytes = 2\nbeat_cycles = 3\nhit_wait = 1"
    path.write_text(REGIONS + CACHE.replace("miss_cycles = 20", lines))
    (cache,) = load_platform(str(path)).caches
    assert (cache.timing.refill_cycles, cache.hit_wait) == (5 + 8 * 3, 1)


def test_a_setting_replaces_a_key(tmp_path: Path) -> None:
    m = machine(
        LOOP.format(rounds=3), "ibex-small", REGIONS + CACHE, tmp_path, settings={"platform.cache.xip.ways": "4"}
    )
    assert m.run().memory_caches["xip"].parameters["ways"] == 4


def test_cores_with_caches_of_their_own_take_no_others(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml: cache 'xip': core vexriscv-custom has caches of its own"):
        machine(LOOP.format(rounds=3), "vexriscv-custom", REGIONS + CACHE, tmp_path)


def test_caches_are_not_in_a_table_of_cycles_which_says_so(tmp_path: Path) -> None:
    m = machine(LOOP.format(rounds=3), "ibex-small", REGIONS + CACHE, tmp_path, timing="table")
    assert any("are not in the cycles" in line for line in m.warnings) and m.run().memory_caches == {}
