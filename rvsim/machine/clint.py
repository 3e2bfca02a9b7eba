"""Core-local interruptor: the machine's timer and software interrupt of one hart (SiFive FU540-C000 manual, ch. 9)."""

from __future__ import annotations

from rvsim.machine.device import SOFTWARE, TIMER, Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rvsim.machine.device import Bus

MSIP, MTIMECMP, MTIME = 0x0, 0x4000, 0xBFF8
NEVER = (1 << 64) - 1
# A machine that counted every nanosecond would take a century to get there.
FAR = 1 << 62


class Clint(Device):
    """msip, mtimecmp and mtime of hart 0; mtime counts cycles.

    Accesses of 1, 2 and 4 bytes take the lanes they name, as SiFive's register map does. Registers of harts that do not
    exist read 0 and ignore writes.
    """

    name, size, timed = "clint", 0x1_0000, TIMER

    def __init__(self, bus: Bus, base: int = 0x0200_0000) -> None:
        self.bus, self.base = bus, base
        self.msip, self.mtimecmp, self.offset = 0, NEVER, 0

    @property
    def mtime(self) -> int:
        return (self.bus.cycles + self.offset) & NEVER

    def _register(self, offset: int) -> tuple[int, int]:
        """Value of the register at an offset, and where the register begins."""
        if MSIP <= offset < MSIP + 4:
            return self.msip, MSIP
        if MTIMECMP <= offset < MTIMECMP + 8:
            return self.mtimecmp, MTIMECMP
        if MTIME <= offset < MTIME + 8:
            return self.mtime, MTIME
        return 0, offset

    def read(self, offset: int, size: int) -> int:
        value, start = self._register(offset)
        return value >> 8 * (offset - start) & ((1 << 8 * size) - 1)

    def write(self, offset: int, size: int, value: int) -> None:
        old, start = self._register(offset)
        shift, lanes = 8 * (offset - start), (1 << 8 * size) - 1
        new = (old & ~(lanes << shift) | (value & lanes) << shift) & NEVER
        if start == MSIP:
            self.msip = new & 1
        elif start == MTIMECMP:
            self.mtimecmp = new
        elif start == MTIME:
            self.offset = (new - self.bus.cycles) & NEVER
        else:
            return
        self.bus.attention()

    def pending(self) -> int:
        return (SOFTWARE if self.msip else 0) | (TIMER if self.mtime >= self.mtimecmp else 0)

    def deadline(self) -> int | None:
        """Cycle at which mtime reaches mtimecmp or, beyond it, wraps round; None if that is centuries away."""
        mtime = self.mtime
        target = self.mtimecmp if mtime < self.mtimecmp else NEVER + 1
        return self.bus.cycles + target - mtime if target - mtime < FAR else None

    def state(self) -> dict[str, Any]:
        return {"msip": self.msip, "mtimecmp": self.mtimecmp, "offset": self.offset}

    def restore(self, state: dict[str, Any]) -> None:
        self.msip, self.mtimecmp, self.offset = state["msip"], state["mtimecmp"], state["offset"]
