"""Caches of a running hart: what they count is what the definition counts on the accesses of the commit log."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rvsim.asm import assemble
from rvsim.isa.bundle import bundled
from rvsim.isa.ir import walk
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from rvsim.timing.cache_model import Cache
from tests.conftest import ROOT
from tests.differential import compare
from tests.differential.compare import Kind
from tests.differential.program import link
from tests.machine.programs import PROGRAMS, guest
from tests.tiers import compiled_tiers

BENCH = ROOT / "kernels" / "bench" / "branchy_s.elf"
EXAMPLE = ROOT / "kernels" / "examples" / "fc_int8.elf"
CACHES: list[dict[str, Any]] = [
    {"dcache": "1K,4,32"},
    {"icache": "256,2,16"},
    {"icache": "512,1,32,random", "dcache": "512,2,16,plru"},
    {"icache": "64,2,4,plru", "dcache": "64,4,4,random,wt,nwa"},
    {"icache": "1K,4,64", "dcache": "256,3,64,wt", "settings": {"core.dcache.size_bytes": "384"}},
    {"icache": "32,1,8", "dcache": "256,2,16,nwa", "settings": {"core.dcache.write_cycles": "2"}},
    {"dcache": "2K,8,128,wt", "settings": {"core.dcache.write_cycles": "3", "core.dcache.miss_cycles": "0"}},
    {"icache": "64K,1,64", "dcache": "64K,1,64", "settings": {"core.dcache.writeback_cycles": "0"}},
]
NAMES = [" ".join(f"{k}={v}" for k, v in each.items() if k != "settings") for each in CACHES]

INSTRUCTIONS = bundled("rv32").instructions
SIZES = {
    (i.mask, i.match, i.size): next((op.attr[1] for op in walk(i.body) if op.code in ("load", "store")), 0)
    for i in INSTRUCTIONS
}
_SIZE: dict[int, int] = {}


@pytest.fixture(autouse=True, params=["interp", "jit", "jit 128,0", "jit 128,1"])
def tier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter, and compiled code: as it comes, with each block compiled at once, with those entered before."""
    engine, *how = request.param.split()
    monkeypatch.setenv("RVSIM_ENGINE", engine)
    for value in how:
        monkeypatch.setenv("RVSIM_JIT", value)
    monkeypatch.setenv("RVSIM_LOOPS", "0")


def size_of(word: int) -> int:
    """Bytes that an instruction loads or stores."""
    if word not in _SIZE:
        length = 4 if word & 3 == 3 else 2
        _SIZE[word] = next(n for (mask, match, size), n in SIZES.items() if size == length and word & mask == match)
    return _SIZE[word]


LINE = re.compile(r"core   0: 3 0x([0-9a-f]{8}) \(0x([0-9a-f]+)\)(.*)")
ACCESS = re.compile(r" mem 0x([0-9a-f]{8})( 0x[0-9a-f]+)?")


def retired(log: str) -> Iterator[tuple[int, int, list[tuple[int, bool]]]]:
    """Address, word and accesses (address, is a store) of each retired instruction."""
    for line in log.splitlines():
        match = LINE.match(line)
        assert match, line
        accesses = [(int(a, 16), bool(value)) for a, value in ACCESS.findall(match[3])]
        yield int(match[1], 16), int(match[2], 16), accesses


def expected(machine: Machine, log: str) -> dict[str, Any]:
    """What the definition counts on a commit log."""
    caches = {
        name: Cache(each)
        for name, each in (("icache", machine.timing.icache), ("dcache", machine.timing.dcache))
        if each is not None
    }
    icache, dcache = caches.get("icache"), caches.get("dcache")
    memory = [(r.base, r.end) for r in machine.regions]
    stalls: Counter[int] = Counter()
    missed: dict[int, list[int]] = {}

    def access(cache: Cache, kind: int, pc: int, *where: Any) -> None:
        before = cache.counts.load_misses + cache.counts.store_misses
        stalls[pc] += cache.access(*where)
        if misses := cache.counts.load_misses + cache.counts.store_misses - before:
            missed.setdefault(pc, [0, 0])[kind] += misses

    for pc, word, accesses in retired(log):
        if icache:
            access(icache, 0, pc, pc, 4 if word & 3 == 3 else 2)
        for address, store in accesses if dcache else ():
            assert dcache is not None
            if any(base <= address < end for base, end in memory):
                access(dcache, 1, pc, address, size_of(word), store)
        if word & 0x707F == 0x100F:
            if dcache:
                stalls[pc] += dcache.clean()
            if icache:
                icache.invalidate()
    return {
        "caches": {name: msgspec.to_builtins(each.counts) for name, each in caches.items()},
        "stalls": {pc: n for pc, n in stalls.items() if n},
        "misses": {pc: tuple(n) for pc, n in missed.items()},
    }


def found(machine: Machine) -> dict[str, Any]:
    """The same of a machine."""
    result = machine.result()
    caches = {}
    for name in ("icache", "dcache"):
        report = getattr(result, name)
        if report is not None:
            assert report.hits == report.accesses - report.misses >= 0
            assert report.misses == report.load_misses + report.store_misses
            assert report.accesses == report.loads + report.stores
            timing = getattr(machine.timing, name)
            assert report.write_back_bytes == report.write_backs * timing.line_bytes
            row = {key: getattr(report, key) for key in msgspec.to_builtins(Cache(timing).counts) if key != "refills"}
            caches[name] = {**row, "refills": report.refill_bytes // timing.line_bytes}
    sites = machine.hart.cache_sites()
    assert machine.caches is not None
    return {
        "caches": caches,
        "stalls": {pc: row[3] for pc, row in sites.items() if row[3]},
        "misses": {pc: n for pc, n in machine.caches.misses().items() if any(n)},
    }


def check(make: Any, options: dict[str, Any], limit: int) -> Machine:
    """A run, with and without the commit log, counts what the definition does; and stalls are all that it adds."""
    log = io.BytesIO()
    logged, machine, plain = make(**options), make(**options), make()
    logged.log_commits(log.write)
    for each in (logged, machine, plain):
        each.resume(limit)
    assert machine.stop.reason in ("exit", "limit")
    truth = expected(logged, log.getvalue().decode())
    assert found(logged) == truth
    assert found(machine) == truth
    total = sum(truth["stalls"].values())
    assert (
        machine.result().cycles - plain.result().cycles
        == total
        == sum(each["stall_cycles"] for each in truth["caches"].values())
    )
    costs, without = machine.instruction_counts(), plain.instruction_counts()
    differences = {pc: cycles - without[pc][1] for pc, (_, cycles) in costs.items() if cycles != without[pc][1]}
    assert differences == truth["stalls"]
    return machine


@pytest.mark.parametrize("options", CACHES, ids=NAMES)
@pytest.mark.parametrize("path", [BENCH, EXAMPLE], ids=lambda path: path.stem)
def test_programs(path: Path, options: dict[str, Any]) -> None:
    def make(**more: Any) -> Machine:
        return Machine.from_elf(path, core="ibex-small", stdout=lambda data: None, **more)

    result = check(make, options, 60_000).result()
    functions = result.functions
    for name in ("icache", "dcache"):
        report = getattr(result, name)
        assert sum(getattr(f, f"{name}_misses") for f in functions) == (report.misses if report else 0)
    assert sum(f.cycles for f in functions) == result.cycles


@pytest.mark.parametrize("options", CACHES, ids=NAMES)
@pytest.mark.parametrize("kind", [Kind(rounds=3), Kind(modify=True, rounds=3)], ids=lambda kind: kind.name or "plain")
def test_random_programs(kind: Kind, options: dict[str, Any]) -> None:
    image = link(compare.batch(f"caches {options}", 0, 6, kind), writable_text=kind.modify)

    def make(settings: dict[str, str] = {}, **more: Any) -> Machine:  # noqa: B006
        # Cycles of split accesses are those of a block's first instruction, and blocks are others without a cache.
        settings = {"core.misaligned_cycles": "0", **settings}
        return Machine(parse_elf(image), stdout=lambda data: None, settings=settings, **more)

    check(make, options, 50_000)


@pytest.mark.parametrize("name", ["patches", "mac"])
@pytest.mark.parametrize("options", CACHES[:6], ids=NAMES[:6])
def test_programs_with_fence_i_and_added_instructions(name: str, options: dict[str, Any]) -> None:
    g = guest(name)
    check(lambda **more: g.machine(**more), options, 50_000)


@pytest.mark.parametrize("options", CACHES, ids=NAMES)
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_slices_change_nothing(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Traps, interrupts, atomic operations, devices and the coprocessor: in one go, in steps, and as the log counts."""
    rows = []
    for how in ("at once", "in steps", "logged"):
        g = guest(name)
        more = {**options, "settings": {**g.options.get("settings", {}), **options.get("settings", {})}}
        m = g.machine(host_dir=str(tmp_path), **more)
        if how == "logged":
            m.log_commits(lambda data: None)
        while m.stop.reason == "limit" and m.instructions < 30_000:
            m.resume(7 if how == "in steps" else 30_000 - m.instructions)
        m.resume(max(0, 30_000 - m.instructions)) if how != "in steps" else None
        counts = m.result().to_dict()
        rows.append({**{k: v for k, v in counts.items() if k not in ("host_seconds", "message")}, **found(m)})
        (tmp_path / "linux").unlink(missing_ok=True), (tmp_path / "semi").unlink(missing_ok=True)
    if rows[0]["instructions"] == rows[1]["instructions"]:
        assert rows[0] == rows[1]
    assert rows[0] == rows[2]


# Five lines in a set of four: the second is the one used longest ago, by more instructions than a time tells apart.
LONG_AGO = """
        .text
_start: la s0, area
        lw zero, 0(s0)
        lw zero, 32(s0)
        lw zero, 64(s0)
        lw zero, 96(s0)
        jal spin
        lw zero, 0(s0)
        jal spin
        lw zero, 128(s0)
        lw zero, 0(s0)
        lw zero, 64(s0)
        lw zero, 96(s0)
        li a0, 0
        li a7, 93
        ecall
spin:   li t0, 3 << 29
1:      addi t0, t0, -1
        bnez t0, 1b
        ret
        .bss
        .balign 32
area:   .space 160
"""


@pytest.mark.parametrize("tier", ["jit"], indirect=True)
@pytest.mark.skipif(not compiled_tiers(), reason="6 thousand million instructions take the interpreter too long")
def test_lines_stay_in_order_over_thousands_of_millions_of_instructions() -> None:
    machine = Machine(parse_elf(assemble(LONG_AGO)), dcache="128,4,32")
    result = machine.run()
    assert result.instructions > 1 << 32
    assert result.dcache is not None
    assert (result.dcache.loads, result.dcache.misses, result.dcache.evictions) == (9, 5, 1)
