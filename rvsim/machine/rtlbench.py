"""The device of an RTL test bench: stores to it begin and end the region that is measured, and the run."""

from __future__ import annotations

from rvsim.machine.device import Device, DeviceFault
from rvsim.machine.hostcall import Exit
from rvsim.machine.result import RegionOfInterest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rvsim.machine.counted import Moment
    from rvsim.machine.device import Bus

START, STOP, EXIT, TRAP = 0, 4, 8, 12
MOST_SPANS = 64
"""Regions of interest of which it keeps what was counted at both ends: enough to say what they cost elsewhere."""
TRAPPED = 1
"""Exit code of a program whose trap handler ended it."""


class RtlBench(Device):
    """Four registers that take words; reads give 0.

    ======  ========================================================================
    offset  a store
    ======  ========================================================================
    0       begins the region of interest, again where one is open
    4       ends it; what several regions took is added up
    8       ends the run with exit code 0; the value is the program's checksum
    12      ends the run with exit code 1: the program took a trap that it should not
    ======  ========================================================================
    """

    name, size = "rtl-bench", 16

    def __init__(self, bus: Bus, base: int = 0x1000_0000) -> None:
        self.base = base
        self._bus = bus
        self._start: tuple[int, int] | None = None
        self._counts: tuple[int, int] | None = None
        self._checksum: int | None = None
        self._begin: Moment | None = None
        self._spans: list[tuple[Moment, Moment]] | None = []  # None where some are missing

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if size != 4 or offset % 4:
            raise DeviceFault
        if offset == START:
            self._start, self._begin = self._bus.stamp(), self._bus.moment()
        elif offset == STOP and self._start is not None:
            cycles, instructions = self._counts or (0, 0)
            now = self._bus.stamp()
            self._counts = cycles + now[0] - self._start[0], instructions + now[1] - self._start[1]
            if self._spans is not None and self._begin is not None:
                self._spans.append((self._begin, self._bus.moment()))
            if self._begin is None or (self._spans is not None and len(self._spans) > MOST_SPANS):
                self._spans = None
            self._start = self._begin = None
        elif offset == EXIT:
            self._checksum = value
            raise Exit(0)
        elif offset == TRAP:
            raise Exit(TRAPPED)

    def spans(self) -> list[tuple[Moment, Moment]]:
        return self._spans or []

    def roi(self) -> RegionOfInterest | None:
        return RegionOfInterest(*self._counts, self._checksum) if self._counts else None

    def state(self) -> dict[str, Any]:
        return {"start": self._start, "counts": self._counts, "checksum": self._checksum}

    def restore(self, state: dict[str, Any]) -> None:
        self._start, self._counts = (state[key] and tuple(state[key]) for key in ("start", "counts"))
        self._checksum = state["checksum"]
        # A snapshot does not hold what was counted at each mark.
        self._begin, self._spans = None, None if self._start or self._counts else []
