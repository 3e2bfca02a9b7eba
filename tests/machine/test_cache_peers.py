"""Caches beside cache simulators that we did not write: pycachesim, least recently used; Spike, of one way."""

from __future__ import annotations

import functools
import io
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.conftest import ROOT
from tests.differential import compare
from tests.differential.compare import Kind
from tests.differential.program import link
from tests.machine.golden_programs import assemble, find_spike, spike_options
from tests.machine.test_caches import retired, size_of

pytestmark = pytest.mark.usefixtures("tier")

LIMIT = 30_000
Stream = list[tuple[int, int, bool] | None]  # address, bytes, is a store; None where fence.i stands


# ----------------------------------------------------------------------------------------------------------- pycachesim
@functools.cache
def image(program: str) -> bytes:
    if program == "random":
        return link(compare.batch("caches beside peers", 0, 8, Kind(rounds=4)))
    return next(ROOT.glob(f"kernels/*/{program}.elf")).read_bytes()


def machine(program: str, settings: dict[str, str]) -> Machine:
    return Machine(parse_elf(image(program)), stdout=lambda data: None, settings=settings)


@functools.cache
def accesses(program: str) -> tuple[Stream, Stream]:
    """Fetches and data accesses of the commit log."""
    log = io.BytesIO()
    m = machine(program, {})
    m.log_commits(log.write)
    m.resume(LIMIT)
    memory = [(r.base, r.end) for r in m.regions]
    fetches: Stream = []
    data: Stream = []
    for pc, word, seen in retired(log.getvalue().decode()):
        fetches.append((pc, 4 if word & 3 == 3 else 2, False))
        if word & 0x707F == 0x100F:  # fence.i empties the one and cleans the other
            fetches.append(None)
            data.append(None)
        data += [(at, size_of(word), store) for at, store in seen if any(base <= at < end for base, end in memory)]
    return fetches, data


@functools.cache
def pycachesim(program: str, sets: int, ways: int, line: int, fetches: bool, back: bool) -> dict[str, int]:
    """What pycachesim counts on a program's fetches, or else on its data accesses.

    Its stores leave the order of use as it is, so each is shown as a load, which does all but change the line.
    Addresses go in as iterables, as it takes others through an int where it has a long.
    """
    import cachesim

    memory = cachesim.MainMemory()
    cache = cachesim.Cache("L1", sets, ways, line, "LRU", write_back=True, write_allocate=True)
    memory.load_to(cache)
    memory.store_from(cache)
    counts: Counter[str] = Counter()
    for access in accesses(program)[0 if fetches else 1]:
        if access is None:
            cache.backend.force_write_back()
            if fetches:
                cache.backend.mark_all_invalid()
            continue
        address, size, store = access
        for at in dict.fromkeys((address // line * line, (address + size - 1) // line * line)):
            before = cache.backend.MISS_count
            cache.backend.iterload([at])
            kind = "store" if store else "load"
            counts[f"{kind}s"] += 1
            counts[f"{kind}_misses"] += cache.backend.MISS_count - before
            if store and back:
                cache.backend.iterstore([at])
    names = ("loads", "stores", "load_misses", "store_misses")
    return {**{name: counts[name] for name in names}, "write_backs": cache.backend.EVICT_count}


@pytest.mark.peer("cachesim")
@pytest.mark.parametrize("program", ["dwconv_int8", "fc_int8", "random"])
@pytest.mark.parametrize(
    ("sets", "ways", "line"), [(16, 1, 16), (8, 2, 32), (1, 4, 16), (2, 3, 64), (16, 4, 32), (4, 5, 8), (1, 16, 4)]
)
@pytest.mark.parametrize("write", ["back", "through"])
def test_misses_and_write_backs_are_those_of_pycachesim(
    program: str, sets: int, ways: int, line: int, write: str
) -> None:
    shape = {"size_bytes": sets * ways * line, "ways": ways, "line_bytes": line}
    settings = {f"core.{name}.{key}": str(n) for name in ("icache", "dcache") for key, n in shape.items()}
    m = machine(program, {**settings, "core.dcache.write": write})
    m.resume(LIMIT)
    result = m.result()
    for report, fetches in ((result.icache, True), (result.dcache, False)):
        expected = pycachesim(program, sets, ways, line, fetches, write == "back" and not fetches)
        assert expected["load_misses"] + expected["store_misses"]
        assert {name: getattr(report, name) for name in expected} == expected


# ---------------------------------------------------------------------------------------------------------------- Spike
# Spike's boot ROM begins on a line: five instructions, the fourth of which loads a word (riscv/sim.cc, reset_vec).
BOOT = 20
BOOT_LOADS = 1


@pytest.fixture(scope="module")
def spike() -> str:
    """Spike: never required, because Debian has none."""
    found = find_spike()
    if found is None:
        pytest.skip("Spike is neither on PATH nor in RVSIM_SPIKE")
    return found


def walk(seed: int) -> str:
    """Loads, stores and atomic operations in rounds, near each other and all over 32 KiB."""
    rng = random.Random(seed)
    lines = []
    for _ in range(120):
        size = rng.choice("bhw")
        pick: list[Callable[[], str]] = [
            lambda size=size: f"l{size} a0, {rng.randrange(-256, 256) * 4}(a1)",
            lambda size=size: f"s{size} a0, {rng.randrange(-256, 256) * 4}(a1)",
            lambda: f"amoadd.w a0, s1, (a{rng.choice('12')})",
            lambda: (
                "li a3, 0x41c64e6d\nmul s1, s1, a3\naddi s1, s1, 1657\nsrli a1, s1, 15\nand a1, a1, s3\nadd a1, a1, s0"
            ),
            lambda: f"addi a1, a1, {rng.choice((4, 16, 64, -32))}\nand a1, a1, s4\nor a1, a1, s0",
            lambda: f"beqz a0, 1f\nsw s1, {rng.randrange(64) * 4}(a2)\n1:",
            lambda: f"lw a0, {rng.randrange(64) * 4}(a2)",
        ]
        lines.append(rng.choice(pick)())
    begin = (
        "la s0, area + 4096; la s4, area + 0x7ffc; la a2, area + 0x8000; mv a1, s0; li s1, 9; li s2, 200; li s3, 0x7ffc"
    )
    end = "addi s2, s2, -1; beqz s2, 3f; j 2b; 3:"
    data = '.include "golden.inc"\n.data\n.balign 65536\narea: .zero 65536'
    return "\n".join([data, "begin", begin, "2:", *lines, end, "finish", ""])


@pytest.mark.peer("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize(("sets", "line"), [(1, 8), (16, 16), (64, 32), (128, 64), (1024, 8)])
@pytest.mark.parametrize("seed", range(3))
def test_misses_and_write_backs_of_one_way_are_those_of_spike(
    seed: int, sets: int, line: int, spike: str, tmp_path: Path
) -> None:
    source, elf = tmp_path / "walk.S", tmp_path / "walk.elf"
    source.write_text(walk(seed))
    isa = "rv32ima"  # without compressed instructions none is fetched from two lines, which Spike counts as one access
    assemble(source, elf, isa)
    caches = [f"--dc={sets}:1:{line}", f"--ic={sets}:1:{line}"]
    command = [spike, *spike_options(isa, "trap"), *caches, str(elf)]
    output = subprocess.run(command, timeout=60, capture_output=True, text=True, check=True).stdout
    theirs = {(cache, name): int(n) for cache, name, n in re.findall(r"^([DI])\$ ([\w ]+): +(\d+)$", output, re.M)}
    settings = {f"core.{name}.ways": "1" for name in ("icache", "dcache")}
    settings |= {f"core.{name}.size_bytes": str(sets * line) for name in ("icache", "dcache")}
    settings |= {f"core.{name}.line_bytes": str(line) for name in ("icache", "dcache")}
    m = Machine.from_elf(elf, isa=isa, settings=settings)
    m.resume(10_000_000)
    assert m.stop.reason == "exit"
    result = m.result()
    assert result.dcache is not None and result.icache is not None
    ours = result.dcache
    assert ours.misses > 1000
    assert {
        "Read Accesses": ours.loads + BOOT_LOADS,
        "Write Accesses": ours.stores,
        "Read Misses": ours.load_misses + BOOT_LOADS,
        "Write Misses": ours.store_misses,
        "Writebacks": ours.write_backs,
    } == {name: n for (cache, name), n in theirs.items() if cache == "D" and not name.startswith("Bytes")}
    # Spike goes on for a while with the loop behind the store to tohost.
    behind = m.pc // line != (m.pc - 4) // line
    assert result.icache.misses - (-BOOT // line) + behind == theirs["I", "Read Misses"]
