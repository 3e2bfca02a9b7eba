"""Control and status registers of the hart: what each reads, and what a write leaves (WARL).

Numbers and fields: Privileged Architecture 20240411, chapters 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rvsim.machine._hart import GuestTrap

ILLEGAL_INSTRUCTION = 2
MSTATUS_MIE, MSTATUS_MPIE, MSTATUS_MPP = 1 << 3, 1 << 7, 3 << 11
# RV32 (MXL = 1) with C, I, M; X is added with a coprocessor.
MISA = 1 << 30 | 1 << 2 | 1 << 8 | 1 << 12
MISA_X = 1 << 23
# Machine software, timer and external interrupt enable.
MIE_MASK = 1 << 3 | 1 << 7 | 1 << 11
CAPABILITY = 0xFC0
WORD = 0xFFFF_FFFF


class Counters(Protocol):
    """Where the counters come from; within a CSR access they stand before that instruction."""

    @property
    def cycles(self) -> int: ...
    @property
    def instructions(self) -> int: ...


class CsrFile:
    """The CSRs of one hart.

    Parameters
    ----------
    counters : Counters
    capability : int or None
        The word of CSR 0xFC0; None without a coprocessor, when reading it is illegal.
    """

    def __init__(self, counters: Counters, capability: int | None = None) -> None:
        self.counters, self.capability = counters, capability
        self.mstatus = MSTATUS_MPP
        self.mtvec = self.mscratch = self.mepc = self.mcause = self.mtval = self.mie = self.mip = 0
        # A write to mcycle moves the origin the count is taken from.
        self.cycle_offset = self.instret_offset = 0
        self._read: dict[int, Callable[[], int]] = {
            0x300: lambda: self.mstatus,
            0x301: lambda: MISA | (MISA_X if capability is not None else 0),
            0x304: lambda: self.mie,
            0x305: lambda: self.mtvec,
            0x310: lambda: 0,
            0x340: lambda: self.mscratch,
            0x341: lambda: self.mepc,
            0x342: lambda: self.mcause,
            0x343: lambda: self.mtval,
            0x344: lambda: self.mip,
            0xF11: lambda: 0,
            0xF12: lambda: 0,
            0xF13: lambda: 0,
            0xF14: lambda: 0,
            0xF15: lambda: 0,
        }
        for base in (0xB00, 0xC00):
            self._read |= {
                base: lambda: self._cycle() & WORD,
                base + 0x80: lambda: self._cycle() >> 32 & WORD,
                base + 2: lambda: self._instret() & WORD,
                base + 0x82: lambda: self._instret() >> 32 & WORD,
            }
        # time counts cycles: there is no other clock.
        self._read |= {0xC01: self._read[0xC00], 0xC81: self._read[0xC80]}
        if capability is not None:
            self._read[CAPABILITY] = lambda: capability
        self._write: dict[int, Callable[[int], None]] = {
            0x300: lambda v: setattr(self, "mstatus", v & (MSTATUS_MIE | MSTATUS_MPIE) | MSTATUS_MPP),
            0x301: lambda v: None,
            0x304: lambda v: setattr(self, "mie", v & MIE_MASK),
            0x305: lambda v: setattr(self, "mtvec", v & ~2),
            0x310: lambda v: None,
            0x340: lambda v: setattr(self, "mscratch", v),
            0x341: lambda v: setattr(self, "mepc", v & ~1),
            0x342: lambda v: setattr(self, "mcause", v),
            0x343: lambda v: setattr(self, "mtval", v),
            0x344: lambda v: None,
            0xB00: lambda v: self._set_cycle(self._cycle() & ~WORD | v),
            0xB80: lambda v: self._set_cycle(self._cycle() & WORD | v << 32),
            0xB02: lambda v: self._set_instret(self._instret() & ~WORD | v),
            0xB82: lambda v: self._set_instret(self._instret() & WORD | v << 32),
        }

    def _cycle(self) -> int:
        return self.counters.cycles + self.cycle_offset

    def _instret(self) -> int:
        return self.counters.instructions + self.instret_offset

    def _set_cycle(self, value: int) -> None:
        # The write takes the place of one cycle's increment: the next instruction reads the value, plus this
        # instruction's cycles less one.
        self.cycle_offset += value - self._cycle() - 1

    def _set_instret(self, value: int) -> None:
        # The write takes the place of this instruction's increment: the next instruction reads the written value.
        self.instret_offset += value - self._instret() - 1

    def read(self, number: int) -> int:
        """Value of a CSR; raises `GuestTrap` (illegal instruction) where there is none."""
        if number not in self._read:
            raise GuestTrap(0, ILLEGAL_INSTRUCTION)
        return self._read[number]()

    def write(self, number: int, value: int) -> None:
        """Write a CSR; illegal where there is none or it is read-only (top two bits of the number 11)."""
        if number not in self._read or number >> 10 == 3:
            raise GuestTrap(0, ILLEGAL_INSTRUCTION)
        self._write[number](value)

    def enter_trap(self, irq: int, cause: int, tval: int, pc: int) -> int:
        """Take a trap: save the state, return the handler's address."""
        self.mepc, self.mcause, self.mtval = pc & ~1, irq << 31 | cause, tval & WORD
        enabled = bool(self.mstatus & MSTATUS_MIE)
        self.mstatus = MSTATUS_MPP | (MSTATUS_MPIE if enabled else 0)
        base = self.mtvec & ~3
        return base + 4 * cause if irq and self.mtvec & 1 else base

    def leave_trap(self) -> int:
        """mret: restore the interrupt enable, return the address to go on at."""
        enabled = bool(self.mstatus & MSTATUS_MPIE)
        self.mstatus = MSTATUS_MPP | MSTATUS_MPIE | (MSTATUS_MIE if enabled else 0)
        return self.mepc
