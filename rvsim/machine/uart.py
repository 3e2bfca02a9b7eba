"""A 16550 UART behind the console (National Semiconductor PC16550D data sheet, table II and section 8)."""

from __future__ import annotations

from rvsim.machine.console import STDOUT
from rvsim.machine.device import EXTERNAL, Device, DeviceFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rvsim.machine.console import Console
    from rvsim.machine.device import Bus

DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
FCR = IIR
# Interrupt enable register, and modem status deltas that one of them enables.
RX_DATA, TX_EMPTY, LINE_STATUS, MODEM_STATUS = 1, 2, 4, 8
DLAB, LOOP, FIFO = 0x80, 0x10, 0x01
DATA_READY, OVERRUN, ALWAYS_EMPTY = 0x01, 0x02, 0x60
# Identities of IIR by falling priority.
ID_LINE, ID_DATA, ID_TIMEOUT, ID_EMPTY, ID_MODEM, ID_NONE = 0x06, 0x04, 0x0C, 0x02, 0x00, 0x01
TRIGGERS = (1, 4, 8, 14)
FIFO_DEPTH = 16
# Cycles between two looks at standard input while the program waits for an interrupt: the host is asked on this grid
# only, so that a replay asks at the same cycles.
POLL = 1 << 14


class Uart(Device):
    """Byte registers, one to an address; wider accesses reach the register at their address.

    A byte is sent in no time, so the transmitter is always empty; break, parity, framing and baud rate are kept and
    have no effect. The interrupt is the machine external one.

    Parameters
    ----------
    bus : Bus
    console : Console
        Output goes to stdout, input comes from stdin.
    base : int
    """

    name, size, timed = "uart", 0x100, EXTERNAL

    def __init__(self, bus: Bus, console: Console, base: int = 0x1000_0000) -> None:
        self.bus, self.console, self.base = bus, console, base
        self.ier = self.fcr = self.lcr = self.scr = self.overrun = 0
        self.mcr = 0x08
        self.divisor = 1
        # Carrier, data set ready and clear to send: a terminal is there.
        self.modem = 0xB0
        self.empty_pending = False
        self.received = b""
        self.ended = False
        self.next_poll = 0

    # ------------------------------------------------------------ registers
    def read(self, offset: int, size: int) -> int:
        if offset > SCR:
            raise DeviceFault
        if offset in (DATA, IER) and self.lcr & DLAB:
            return self.divisor >> 8 * offset & 0xFF
        value: int = self._readers[offset](self)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        if offset > SCR:
            raise DeviceFault
        value &= 0xFF
        if offset in (DATA, IER) and self.lcr & DLAB:
            keep = 0xFF00 if offset == DATA else 0x00FF
            self.divisor = self.divisor & keep | value << 8 * offset
            return
        if offset == DATA:
            self._send(value)
        elif offset == IER:
            # Enabling the interrupt of an empty transmitter raises it.
            self.empty_pending = bool(value & TX_EMPTY) and (self.empty_pending or not self.ier & TX_EMPTY)
            self.ier = value & 0x0F
        elif offset == FCR:
            # Bits 2:1 clear a FIFO, as switching FIFO mode does; they read 0.
            if value & 0x02 or (value ^ self.fcr) & FIFO:
                self.received = b""
            self.fcr = value & 0xC9 if value & FIFO else 0
        elif offset == LCR:
            self.lcr = value
        elif offset == MCR:
            self.mcr = value & 0x1F
            self._modem_lines()
        elif offset == SCR:
            self.scr = value
        self.bus.attention()

    def _read_data(self) -> int:
        self._receive()
        if not self.received:
            return 0
        value, self.received = self.received[0], self.received[1:]
        self.bus.attention()
        return value

    def _read_iir(self) -> int:
        identity = self._identity()
        if identity == ID_EMPTY:
            self.empty_pending = False
            self.bus.attention()
        return identity | (0xC0 if self.fcr & FIFO else 0)

    def _read_lsr(self) -> int:
        self._receive()
        value = ALWAYS_EMPTY | self.overrun | (DATA_READY if self.received else 0)
        if self.overrun:
            self.overrun = 0
            self.bus.attention()
        return value

    def _read_msr(self) -> int:
        value = self.modem
        if value & 0x0F:
            self.modem &= 0xF0
            self.bus.attention()
        return value

    _readers = (
        _read_data,
        lambda self: self.ier,
        _read_iir,
        lambda self: self.lcr,
        lambda self: self.mcr,
        _read_lsr,
        _read_msr,
        lambda self: self.scr,
    )

    # ------------------------------------------------------------ lines
    def _send(self, value: int) -> None:
        self.empty_pending = bool(self.ier & TX_EMPTY)
        if not self.mcr & LOOP:
            self.console.write(STDOUT, bytes([value]))
        elif len(self.received) < (FIFO_DEPTH if self.fcr & FIFO else 1):
            self.received += bytes([value])
        else:
            self.overrun = OVERRUN
            # A full FIFO keeps what it has; the single register is overwritten.
            if not self.fcr & FIFO:
                self.received = bytes([value])

    def _receive(self) -> None:
        """Take one byte from the console, if there is one and room for it."""
        if self.received or self.ended or self.mcr & LOOP or not self.console.ready():
            return
        self.received = self.console.read(1)
        self.ended = not self.received

    def _modem_lines(self) -> None:
        """In loopback, DTR, RTS, OUT1 and OUT2 are DSR, CTS, RI and DCD."""
        mcr, old = self.mcr, self.modem & 0xF0
        new = 0xB0
        if mcr & LOOP:
            new = (mcr & 1) << 5 | (mcr & 2) << 3 | (mcr & 4) << 4 | (mcr & 8) << 4
        changed = (old ^ new) >> 4
        # The ring indicator's delta is set by its trailing edge only.
        if new & 0x40:
            changed &= ~0x04
        self.modem = new | self.modem & 0x0F | changed

    # ------------------------------------------------------------ interrupt
    def _identity(self) -> int:
        if self.ier & LINE_STATUS and self.overrun:
            return ID_LINE
        if self.ier & RX_DATA and self.received:
            trigger = TRIGGERS[self.fcr >> 6] if self.fcr & FIFO else 1
            # Fewer bytes than the trigger level: nobody sends more, so the time-out is now.
            return ID_DATA if len(self.received) >= trigger else ID_TIMEOUT
        if self.ier & TX_EMPTY and self.empty_pending:
            return ID_EMPTY
        if self.ier & MODEM_STATUS and self.modem & 0x0F:
            return ID_MODEM
        return ID_NONE

    def _listens(self) -> bool:
        return bool(self.ier & RX_DATA) and not (self.received or self.ended or self.mcr & LOOP)

    def pending(self) -> int:
        cycles = self.bus.cycles
        if self._listens() and cycles >= self.next_poll:
            self.next_poll = cycles - cycles % POLL + POLL
            self._receive()
        return EXTERNAL if self._identity() != ID_NONE else 0

    def deadline(self) -> int | None:
        """When to look at the console again, while an interrupt waits for input."""
        return max(self.next_poll, self.bus.cycles + 1) if self._listens() else None

    # ------------------------------------------------------------ snapshots
    _kept = (
        "ier", "fcr", "lcr", "mcr", "scr", "overrun", "divisor", "modem", "empty_pending", "received", "ended",
        "next_poll",
    )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._kept}

    def restore(self, state: dict[str, Any]) -> None:
        for name in self._kept:
            setattr(self, name, state[name])
