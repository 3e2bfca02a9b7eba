"""The machine's caches: made from the core's configuration, kept in snapshots, reported.

What a cache does is in `rvsim/machine/cache.h`; the hart shows it fetches and data accesses to memory. The
coprocessor's own port, devices, the loader and host calls go past it.
"""

from __future__ import annotations

from rvsim.machine._hart import Cache, Hart
from rvsim.machine.result import CacheReport
from rvsim.timing import CoreTiming
from rvsim.timing.cache import CacheTiming, DataCacheTiming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make_cache(timing: CacheTiming, timed: bool = True) -> Cache:
    """A cache in C as it is configured; the hart looks at the one for instructions line by line.

    Parameters
    ----------
    timing : CacheTiming
    timed : bool
        Whether the hart looks for data itself, and says when it used a line.
    """
    stores: dict[str, Any] = {}
    if isinstance(timing, DataCacheTiming):
        stores = {
            "timed": timed,
            "back": timing.write == "back",
            "allocate": timing.write_allocate,
            "writeback_cycles": timing.clean_cycles,
            "write_cycles": timing.write_cycles,
        }
    return Cache(
        timing.sets,
        timing.ways,
        timing.line_bytes,
        policy=timing.policy,
        seed=timing.seed,
        refill_cycles=timing.refill_cycles,
        **stores,
    )


class Caches:
    """Those of one hart, at least one.

    Parameters
    ----------
    hart : Hart
        Before its first instruction.
    timing : CoreTiming
    """

    def __init__(self, hart: Hart, timing: CoreTiming) -> None:
        self._hart = hart
        self._timings: dict[str, CacheTiming] = {}
        for name, each in (("icache", timing.icache), ("dcache", timing.dcache)):
            if each is not None:
                self._timings[name] = each
        self._caches = {name: make_cache(each) for name, each in self._timings.items()}
        hart.use_caches(self._caches.get("icache"), self._caches.get("dcache"))

    def reports(self) -> dict[str, CacheReport]:
        """What each counted."""
        fetches, loads, stores = self._hart.cache_accesses()
        accesses = {"icache": (fetches, 0), "dcache": (loads, stores)}
        return {
            name: cache_report(timing, *accesses[name], self._caches[name].counts())
            for name, timing in self._timings.items()
        }

    def misses(self) -> dict[int, tuple[int, int]]:
        """By address of an instruction: misses of its fetch and of its accesses."""
        return {pc: (fetch, load + store) for pc, (fetch, load, store, _) in self._hart.cache_sites().items()}

    def state(self) -> dict[str, Any]:
        """For snapshots, behind the hart's own."""
        return {"hart": self._hart.cache_state(), **{name: each.state() for name, each in self._caches.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`, behind the hart's own."""
        self._hart.cache_restore(state["hart"])
        for name, each in self._caches.items():
            each.restore(state[name])


def cache_report(timing: CacheTiming, loads: int, stores: int, counts: tuple[int, ...]) -> CacheReport:
    """What one counted: accesses, and `Cache.counts`."""
    load_misses, store_misses, refills, evictions, write_backs, passed_stores, stall_cycles = counts
    through = isinstance(timing, DataCacheTiming) and timing.write == "through"
    misses = load_misses + store_misses
    parameters = {key: value for key, value in zip(timing.record_fields, timing, strict=True) if value is not None}
    return CacheReport(
        accesses=loads + stores,
        hits=loads + stores - misses,
        misses=misses,
        loads=loads,
        stores=stores,
        load_misses=load_misses,
        store_misses=store_misses,
        evictions=evictions,
        write_backs=write_backs,
        # A store that hits and is passed on without a wait is left out by those who look for themselves.
        passed_stores=stores if through else passed_stores,
        refill_bytes=refills * timing.line_bytes,
        write_back_bytes=write_backs * timing.line_bytes,
        stall_cycles=stall_cycles,
        parameters=parameters,
    )
