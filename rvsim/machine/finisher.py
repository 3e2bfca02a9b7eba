"""The test finisher of SiFive's boards and QEMU's virt machine: a store to it ends the run."""

from __future__ import annotations

from rvsim.machine.device import Device, DeviceFault
from rvsim.machine.hostcall import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rvsim.machine.device import Bus

# QEMU, include/hw/misc/sifive_test.h.
FAIL, PASS, RESET = 0x3333, 0x5555, 0x7777
RESET_CODE = 0x77
"""Exit code of a program that asks for a reset: there is no power to cycle, and it did not say that it passed."""


class Finisher(Device):
    """One register; reads 0. Stores of 2 and 4 bytes to it end the run, others change nothing.

    The exit code is 0 for 0x5555; bits 23:16 for 0x3333, or 1 where they are 0, for a failure must not look like
    success; 119 (0x77) for 0x7777.
    """

    name, size = "finisher", 0x1000

    def __init__(self, bus: Bus, base: int = 0x0010_0000) -> None:
        self.base = base

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if size < 2:
            raise DeviceFault
        if offset:
            return
        what = value & 0xFFFF
        if what == PASS:
            raise Exit(0)
        if what == FAIL:
            raise Exit(value >> 16 & 0xFF or 1)
        if what == RESET:
            raise Exit(RESET_CODE)
