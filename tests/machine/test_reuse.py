"""One run gives the misses of every LRU cache: those of each cache simulated by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.cli.main import main
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine._hart import Reuse
from rvsim.machine.reuse import ReuseDistances, ReuseResult
from rvsim.timing.cache import CacheTiming
from rvsim.timing.cache_model import Cache
from tests.conftest import ROOT
from tests.machine.programs import guest

BENCH = ROOT / "kernels" / "bench" / "branchy_s.elf"
HELLO = str(ROOT / "kernels" / "examples" / "hello.elf")


def table(result: ReuseResult, stream: str) -> dict[tuple[int, int], int]:
    return {(each.sets, each.ways): each.misses for each in getattr(result, stream).caches}


@settings(max_examples=100)
@given(
    addresses=st.lists(st.integers(0, 700) | st.integers(0, 40).map(lambda n: n << 7), max_size=200),
    levels=st.integers(1, 7),
    ways=st.integers(1, 9),
    line=st.sampled_from([4, 16, 32]),
)
def test_the_definition_misses_as_often(addresses: list[int], levels: int, ways: int, line: int) -> None:
    reuse = Reuse(levels, ways, line)
    for address in addresses:
        reuse.access(address)
    for level, row in enumerate(reuse.misses()):
        assert len(row) == min(ways, 1 << (levels - 1 - level))
        for way, misses in enumerate(row, 1):
            cache = Cache(CacheTiming(size_bytes=(way << level) * line, ways=way, line_bytes=line))
            for address in addresses:
                cache.access(address)
            assert misses == cache.counts.load_misses


@pytest.mark.parametrize(
    ("name", "options"), [("branchy", {}), ("patches", {}), ("atomics", {}), ("timer", {}), ("conv", {})]
)
@pytest.mark.parametrize("line", [8, 32])
def test_each_cache_simulated_by_itself(name: str, options: dict[str, Any], line: int) -> None:
    """fence.i, traps, interrupts, the coprocessor; stalls of none, so that timers run alike."""

    def make(**more: Any) -> Machine:
        if name == "branchy":
            return Machine.from_elf(BENCH, stdout=lambda data: None, **more)
        g = guest(name)
        return g.machine(**{**more, "settings": {**g.options.get("settings", {}), **more.get("settings", {})}})

    machine = make()
    distances = ReuseDistances(machine, line, 64 * line, 4)
    machine.resume(40_000)
    result = distances.result()
    assert result.instructions == machine.instructions
    assert len(result.fetch.caches) == len(result.data.caches) == 4 * 5 + 2 + 1
    for sets, ways in [(1, 1), (1, 4), (4, 3), (16, 4), (64, 1)]:
        free = {"size_bytes": ways * sets * line, "ways": ways, "line_bytes": line, "miss_cycles": 0}
        more = {"core.icache": json.dumps(free), "core.dcache": json.dumps({**free, "writeback_cycles": 0})}
        one = make(settings=more)
        one.resume(40_000)
        run = one.result()
        assert run.icache is not None and run.dcache is not None
        assert table(result, "fetch")[sets, ways] == run.icache.misses
        assert table(result, "data")[sets, ways] == run.dcache.misses
        assert (result.fetch.accesses, result.data.accesses) == (run.icache.accesses, run.dcache.accesses)
        assert (result.data.loads, result.data.stores) == (run.dcache.loads, run.dcache.stores)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caches", HELLO, "--line", "16", "--max-size", "4", "--max-ways", "4"]) == 0
    out = capsys.readouterr().out
    assert "Data cache: " in out and "Instruction cache: " in out and "4 ways" in out and "\n4 KiB " in out
    assert main(["caches", HELLO, "--line", "16", "--max-size", "4", "--max-ways", "4", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "rvsim.caches/1" and found["line_bytes"] == 16
    largest = [each for each in found["data"]["caches"] if each["size_bytes"] == 4096]
    assert [(each["sets"], each["ways"]) for each in largest] == [(64, 4), (128, 2), (256, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--line", "24"], "expected lines of 4 to 1024 bytes, a power of two, found 24"),
        (["--max-ways", "65"], "expected 1 to 64 ways, found 65"),
        (["--max-size", "3"], "expected a largest cache of 1 to 524288 lines of 32 bytes"),
        (["--max-size", "0"], "expected a largest cache of 1 to 524288 lines of 32 bytes"),
        (["--max-size", "1048576"], "expected a largest cache of 1 to 524288 lines of 32 bytes"),
        (["--dcache", "1K,1,16"], "leave out --icache and --dcache"),
        (["--set", 'core.dcache={"size_kib":1,"ways":1,"line_bytes":16}'], "expected a core without caches"),
    ],
)
def test_what_cannot_be(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caches", HELLO, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_core_with_caches_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a core without caches"):
        ReuseDistances(Machine.from_elf(BENCH, icache="1K,1,16"))
