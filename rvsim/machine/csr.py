"""Control and status registers of the hart: what each reads, and what a write leaves (WARL).

Numbers and fields: Privileged Architecture 20240411, chapters 2 and 3. The hart has machine mode alone, so what exists
for other modes (medeleg, mideleg, mcounteren, menvcfg) does not exist here.
"""

from __future__ import annotations

from rvsim.machine._hart import GuestTrap
from rvsim.machine.events import CSR_ACCESS
from rvsim.machine.pmp import ADDRESS, CFG, ENTRIES, Pmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from rvsim.machine.pmp import Rule

    class Counts(Protocol):
        """Where the counters come from; within a CSR access they stand before that instruction."""

        @property
        def cycles(self) -> int: ...
        @property
        def instructions(self) -> int: ...


ILLEGAL_INSTRUCTION = 2
MSTATUS_MIE, MSTATUS_MPIE, MSTATUS_MPP = 1 << 3, 1 << 7, 3 << 11
# MXL = 1 (RV32) with C, I, M.
MISA_RV32IMC = 1 << 30 | 1 << 2 | 1 << 8 | 1 << 12
MISA_X = 1 << 23
# Machine software, timer and external interrupt, in order of priority when several are pending (3.1.9).
MSI, MTI, MEI = 1 << 3, 1 << 7, 1 << 11
PRIORITY = (11, 3, 7)
MSTATUS, MISA, MIE, MTVEC, MSTATUSH, MCOUNTINHIBIT, MHPMEVENT = 0x300, 0x301, 0x304, 0x305, 0x310, 0x320, 0x320
MSCRATCH, MEPC, MCAUSE, MTVAL, MIP = 0x340, 0x341, 0x342, 0x343, 0x344
CAPABILITY = 0xFC0
TRIGGERS = range(0x7A0, 0x7A5)
CYCLE, TIME, INSTRET = 0, 1, 2
COUNTERS = 32
WORD, LONG = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
# A write of these may let an interrupt through.
INTERRUPT_CSRS = frozenset({MSTATUS, MIE, MIP})


class Counter:
    """A 64-bit counter that follows a count of the machine; it can be written and inhibited.

    Parameters
    ----------
    source : callable
        The count so far.
    own : int
        What the instruction that writes the counter would add to it: the written value takes the place of that
        increment, so the next instruction reads what was written.
    """

    def __init__(self, source: Callable[[], int], own: int) -> None:
        self.source, self.own = source, own
        self.offset = 0
        self.held: int | None = None

    def read(self) -> int:
        return self.held if self.held is not None else (self.source() + self.offset) & LONG

    def write(self, value: int) -> None:
        if self.held is not None:
            self.held = value
        else:
            self.offset = value - self.source() - self.own

    def inhibit(self, stop: bool) -> None:
        """Hold the counter, or let it go on from where it stands behind this instruction."""
        if stop and self.held is None:
            self.held = self.read()
        elif not stop and self.held is not None:
            value, self.held = self.held, None
            self.write(value)


class CsrFile:
    """The CSRs of one hart.

    Parameters
    ----------
    counts : Counts
    misa : int
        The instruction set, without X.
    capability : int or None
        The word of CSR 0xFC0; None without a coprocessor, when reading it is illegal.
    lines : callable, optional
        The mip bits that devices assert now.
    events : sequence of callable
        Counts that a hardware performance counter may follow; mhpmevent n selects events[n], 0 counts nothing.
    time : callable, optional
        mtime; cycles by default.
    protect : callable, optional
        Gets the rules of physical memory protection (`Pmp`) when they change.
    alignment : int
        Bytes that instructions are aligned to, 2 or 4.
    """

    def __init__(
        self,
        counts: Counts,
        misa: int = MISA_RV32IMC,
        capability: int | None = None,
        *,
        lines: Callable[[], int] = lambda: 0,
        events: Sequence[Callable[[], int]] = (lambda: 0,),
        time: Callable[[], int] | None = None,
        protect: Callable[[list[Rule]], object] = lambda rules: None,
        alignment: int = 2,
    ) -> None:
        self.lines, self.events = lines, events
        self.time = time or (lambda: counts.cycles)
        self.misa = misa | (MISA_X if capability is not None else 0)
        self.mstatus = MSTATUS_MPP
        self.mtvec = self.mscratch = self.mepc = self.mcause = self.mtval = self.mie = self.mcountinhibit = 0
        self.counters = [Counter(lambda: 0, 0) for _ in range(COUNTERS)]
        self.counters[CYCLE] = Counter(lambda: counts.cycles, 1)
        self.counters[INSTRET] = Counter(lambda: counts.instructions, 1)
        self.selected = [0] * COUNTERS
        self._address = ~(alignment - 1) & WORD
        self._read: dict[int, Callable[[], int]] = {
            MSTATUS: lambda: self.mstatus,
            MISA: lambda: self.misa,
            MIE: lambda: self.mie,
            MTVEC: lambda: self.mtvec,
            MSTATUSH: lambda: 0,
            MCOUNTINHIBIT: lambda: self.mcountinhibit,
            MSCRATCH: lambda: self.mscratch,
            MEPC: lambda: self.mepc,
            MCAUSE: lambda: self.mcause,
            MTVAL: lambda: self.mtval,
            MIP: self.lines,
            # mvendorid, marchid, mimpid, mhartid, mconfigptr
            **{number: lambda: 0 for number in range(0xF11, 0xF16)},
            0xC00 + TIME: lambda: self.time() & WORD,
            0xC80 + TIME: lambda: self.time() >> 32 & WORD,
        }
        self._write: dict[int, Callable[[int], None]] = {
            MSTATUS: self._set_mstatus,
            MISA: lambda v: None,
            MIE: self._setter("mie", MSI | MTI | MEI),
            MTVEC: self._setter("mtvec", ~2),
            MSTATUSH: lambda v: None,
            MCOUNTINHIBIT: self._set_inhibit,
            MSCRATCH: self._setter("mscratch", WORD),
            MEPC: self._setter("mepc", self._address),
            MCAUSE: self._setter("mcause", WORD),
            MTVAL: self._setter("mtval", WORD),
            MIP: lambda v: None,  # its bits are those of devices
        }
        self.pmp = Pmp(protect)
        for n in range(COUNTERS):
            if n != TIME:
                self._add_counter(n)
        for n in range(ENTRIES):
            self._add_protection(n)
        # tselect, tdata1 to 3, tinfo: there are no triggers (debug specification 1.0, section 5.6).
        for number in TRIGGERS:
            self._read[number] = lambda: 0
            self._write[number] = lambda v: None
        if capability is not None:
            self._read[CAPABILITY] = lambda: capability

    def show(self, number: int, read: Callable[[], int]) -> None:
        """Add a read-only CSR."""
        self._read[number] = read

    # ------------------------------------------------------------ fields
    def _setter(self, name: str, mask: int) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value & mask & WORD)

    def _add_counter(self, n: int) -> None:
        def write(value: int) -> None:
            self.counters[n].write(self.counters[n].read() & ~WORD | value)

        def write_high(value: int) -> None:
            self.counters[n].write(self.counters[n].read() & WORD | value << 32)

        for base in (0xB00, 0xC00):  # mcycle and cycle, minstret and instret, mhpmcounter3 and hpmcounter3, ...
            self._read[base + n] = lambda: self.counters[n].read() & WORD
            self._read[base + 0x80 + n] = lambda: self.counters[n].read() >> 32
        self._write[0xB00 + n] = write
        self._write[0xB80 + n] = write_high
        if n > INSTRET:
            self._read[MHPMEVENT + n] = lambda: self.selected[n]
            self._write[MHPMEVENT + n] = lambda value: self._select(n, value)

    def _add_protection(self, n: int) -> None:
        self._read[ADDRESS + n] = lambda: self.pmp.address[n]
        self._write[ADDRESS + n] = lambda value: self.pmp.write_address(n, value)
        if n < ENTRIES // 4:
            self._read[CFG + n] = lambda: self.pmp.read_cfg(n)
            self._write[CFG + n] = lambda value: self.pmp.write_cfg(n, value)

    def _set_mstatus(self, value: int) -> None:
        self.mstatus = value & (MSTATUS_MIE | MSTATUS_MPIE) | MSTATUS_MPP

    def _set_inhibit(self, value: int) -> None:
        self.mcountinhibit = value & ~(1 << TIME) & WORD
        for n, counter in enumerate(self.counters):
            counter.inhibit(bool(self.mcountinhibit >> n & 1))

    def _select(self, n: int, value: int) -> None:
        """Let counter n follow an event from here on; what is not an event is none."""
        now = self.counters[n].read()
        self._follow(n, value)
        self.counters[n].write(now)

    def _follow(self, n: int, event: int) -> None:
        self.selected[n] = event if 0 <= event < len(self.events) else 0
        counter = self.counters[n]
        counter.source, counter.own = self.events[self.selected[n]], int(self.selected[n] == CSR_ACCESS)

    # ------------------------------------------------------------ access
    @property
    def numbers(self) -> list[int]:
        """Numbers of the CSRs that exist."""
        return sorted(self._read)

    def read(self, number: int) -> int:
        """Value of a CSR, without any side effect; raises `GuestTrap` (illegal instruction) where there is none."""
        if number not in self._read:
            raise GuestTrap(0, ILLEGAL_INSTRUCTION)
        return self._read[number]()

    def write(self, number: int, value: int) -> None:
        """Write a CSR; illegal where there is none or it is read-only (top two bits of the number 11)."""
        if number not in self._read or number >> 10 == 3:
            raise GuestTrap(0, ILLEGAL_INSTRUCTION)
        self._write[number](value)

    def assign(self, number: int, value: int) -> None:
        """Write a CSR from outside the program: a counter then reads the value, for no instruction counts beside it."""
        self.write(number, value)
        if 0xB00 <= number < 0xC00:
            counter = self.counters[number & 0x1F]
            counter.offset += counter.own if counter.held is None else 0

    # ------------------------------------------------------------ traps
    @property
    def interrupts_enabled(self) -> bool:
        """Whether any interrupt could be taken now."""
        return bool(self.mstatus & MSTATUS_MIE and self.mie)

    @property
    def interrupt(self) -> int | None:
        """Cause of the interrupt to take now, None without one."""
        if not self.mstatus & MSTATUS_MIE:
            return None
        pending = self.lines() & self.mie
        return next((cause for cause in PRIORITY if pending >> cause & 1), None)

    def enter_trap(self, irq: int, cause: int, tval: int, pc: int) -> int:
        """Take a trap: save the state, return the handler's address."""
        self.mepc, self.mcause, self.mtval = pc & self._address, irq << 31 | cause, tval & WORD
        enabled = bool(self.mstatus & MSTATUS_MIE)
        self.mstatus = MSTATUS_MPP | (MSTATUS_MPIE if enabled else 0)
        base = self.mtvec & ~3
        return base + 4 * cause & WORD if irq and self.mtvec & 1 else base

    def leave_trap(self) -> int:
        """mret: restore the interrupt enable, return the address to go on at."""
        enabled = bool(self.mstatus & MSTATUS_MPIE)
        self.mstatus = MSTATUS_MPP | MSTATUS_MPIE | (MSTATUS_MIE if enabled else 0)
        return self.mepc

    # ------------------------------------------------------------ snapshots
    _SAVED = ("mstatus", "mtvec", "mscratch", "mepc", "mcause", "mtval", "mie", "mcountinhibit")

    def state(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self._SAVED},
            "counters": [[c.offset, c.held] for c in self.counters],
            "events": list(self.selected),
            "pmp": self.pmp.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        for number, name in (
            (MSTATUS, "mstatus"),
            (MTVEC, "mtvec"),
            (MSCRATCH, "mscratch"),
            (MEPC, "mepc"),
            (MCAUSE, "mcause"),
            (MTVAL, "mtval"),
            (MIE, "mie"),
        ):
            self._write[number](int(state[name]))
        self.pmp.restore(state["pmp"])
        self.mcountinhibit = int(state["mcountinhibit"]) & WORD
        for n, (offset, held) in enumerate(state["counters"][:COUNTERS]):
            self.counters[n].offset = int(offset)
            self.counters[n].held = None if held is None else int(held) & LONG
        for n, event in enumerate(state["events"][:COUNTERS]):
            if n > INSTRET:
                self._follow(n, int(event))
