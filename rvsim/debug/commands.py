"""What GDB asks, and what the machine answers: one method a packet.

Source: the GDB manual, appendix E.2 (Packets), E.3 (Stop reply packets), E.4 (General query packets).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from rvsim.debug import target
from rvsim.debug.history import History, Position
from rvsim.debug.monitor import Monitor
from rvsim.debug.packet import PACKET_SIZE
from rvsim.errors import RvsimError, UsageError

if TYPE_CHECKING:
    from rvsim.machine import Machine
    from rvsim.machine.stop import Stop

# GDB's numbers of signals (include/gdb/signals.def), which are those of Linux for these.
SIGINT, SIGILL, SIGTRAP, SIGABRT, SIGKILL, SIGSEGV, SIGTERM, SIGXCPU = 2, 4, 5, 6, 9, 11, 15, 24
FATAL = {"access-fault": SIGSEGV, "illegal-instruction": SIGILL, "breakpoint": SIGTRAP}
# Signals that end the program when the debugger hands them on.
DEADLY = {SIGILL, SIGABRT, SIGKILL, SIGSEGV, SIGTERM}
OK, UNKNOWN, MALFORMED, NO_MEMORY, NO_REGISTER, FAILED = b"OK", b"", b"E16", b"E0e", b"E05", b"E01"
# Seconds between two looks at what the debugger says while the program runs, and instructions of the first slice.
PATIENCE, FIRST_SLICE, LONGEST_SLICE = 0.02, 1 << 18, 1 << 25
# Bytes a memory packet carries as hexadecimal digits.
MEMORY_SIZE = (PACKET_SIZE - 64) // 2
WATCH = {2: ("w", b"watch"), 3: ("r", b"rwatch"), 4: ("rw", b"awatch")}
WATCHPOINTS = 64
HISTORY_BEGINS = b"replaylog:begin;"
# Steps through a source line between two looks at what the debugger says.
STEPS = 1 << 10
FEATURES = (
    b"PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;swbreak+;hwbreak+;vContSupported+;"
    b"ReverseStep+;ReverseContinue+;binary-upload+" % PACKET_SIZE
)


class Malformed(ValueError):
    """A packet whose arguments are not what its name wants."""


class Channel(Protocol):
    """The way to the debugger."""

    def send(self, payload: bytes) -> None:
        """Send a packet of its own, before the reply."""

    def interrupted(self) -> bool:
        """Whether the debugger asked to stop, without waiting for it; raises when it is gone."""


class Session:
    """A machine under a debugger, over as many connections as there are.

    Parameters
    ----------
    machine : Machine
    max_instructions : int, optional
        Retired instructions at which the program stops (SIGXCPU) every time it is told to go on.

    Attributes
    ----------
    ended : str or None
        ``exit``: the program ended; ``kill``, ``detach``: what the debugger asked for; None while it goes on.
    acknowledge : bool
        Whether packets are acknowledged.
    """

    def __init__(self, machine: Machine, max_instructions: int | None = None) -> None:
        self.machine, self.max_instructions = machine, max_instructions
        self.history = History(machine)
        self.monitor = Monitor(self.history, self._moved)
        self.ended: Literal["exit", "kill", "detach"] | None = None
        self._last = b""
        # Where a watched access was reported that is not passed yet: ahead, or behind a program that goes back.
        self._ahead: Position | None = None
        self._behind: Position | None = None
        self._csrs = target.csr_numbers(machine)
        self._documents = {
            b"features": {b"target.xml": target.description(self._csrs)},
            b"memory-map": {b"": target.memory_map(machine)},
        }
        self._letters: dict[bytes, Callable[[bytes], bytes | None]] = {
            b"!": self._extend,
            b"?": lambda rest: self._last,
            b"D": self._detach,
            b"G": self._write_registers,
            b"H": lambda rest: OK,
            b"M": lambda rest: self._write_memory(rest, _bytes_of),
            b"P": self._write_register,
            b"R": self._restart,
            b"T": lambda rest: OK,
            b"X": lambda rest: self._write_memory(rest, bytes),
            b"Z": lambda rest: self._breakpoint(rest, insert=True),
            b"b": self._backwards,
            b"c": lambda rest: self._resume(b"c", rest),
            b"C": lambda rest: self._resume(b"C" + rest.partition(b";")[0], rest.partition(b";")[2]),
            b"g": self._read_registers,
            b"k": self._kill,
            b"m": lambda rest: self._read_memory(rest).hex().encode() or NO_MEMORY,
            b"p": self._read_register,
            b"s": lambda rest: self._resume(b"s", rest),
            b"S": lambda rest: self._resume(b"S" + rest.partition(b";")[0], rest.partition(b";")[2]),
            b"x": lambda rest: b"b" + self._read_memory(rest),
            b"z": lambda rest: self._breakpoint(rest, insert=False),
        }
        # Up to the first of ":", ";", "," or "?".
        self._names: dict[bytes, Callable[[bytes], bytes | None]] = {
            b"QStartNoAckMode": self._stop_acknowledging,
            b"qAttached": lambda rest: b"0",
            b"qC": lambda rest: FAILED if self.ended else b"QC1",
            b"qOffsets": lambda rest: b"Text=0;Data=0;Bss=0",
            b"qRcmd": self._command,
            b"qSupported": self._supported,
            b"qSymbol": lambda rest: OK,
            b"qThreadExtraInfo": lambda rest: b"hart 0".hex().encode(),
            b"qXfer": self._document,
            b"qfThreadInfo": lambda rest: b"l" if self.ended else b"m1",
            b"qsThreadInfo": lambda rest: b"l",
            b"vAttach": lambda rest: self._last,
            b"vCont": self._resume_threads,
            b"vKill": lambda rest: self._kill(rest) or OK,
            b"vRun": lambda rest: self._restart(rest) or self._last,
        }
        self._halt(SIGTRAP)

    def connect(self, channel: Channel) -> None:
        """Begin with a debugger that knows nothing yet."""
        self.channel = channel
        self.acknowledge, self.extended = True, False
        self._reports: set[bytes] = set()
        # Kind (0 software, 1 hardware) and address.
        self._breakpoints: set[tuple[int, int]] = set()
        self.history.clear()

    def handle(self, payload: bytes) -> bytes | None:
        """The reply to a packet, None where it has none; never raises for what the packet holds."""
        name = re.match(rb"[Qqv][^:;,?]*", payload)
        action = self._names.get(name[0]) if name else self._letters.get(payload[:1])
        if action is None:
            return UNKNOWN
        try:
            return action(payload[name.end() :] if name else payload[1:])
        except Malformed:
            return MALFORMED
        except KeyboardInterrupt:  # in the terminal, between two runs of the machine
            return self._halt(SIGINT)
        except RvsimError as error:
            self._say(f"{error}\n")
            return FAILED

    # ------------------------------------------------------------ the session itself
    def _supported(self, rest: bytes) -> bytes:
        self._reports = {each for each in (b"swbreak", b"hwbreak") if each + b"+" in rest}
        return FEATURES

    def _stop_acknowledging(self, rest: bytes) -> bytes:
        self.acknowledge = False
        return OK

    def _extend(self, rest: bytes) -> bytes:
        self.extended = True
        return OK

    def _detach(self, rest: bytes) -> bytes:
        self.history.clear()
        self.ended = self.ended or "detach"
        return OK

    def _kill(self, rest: bytes) -> bytes | None:
        self.ended = self.ended or "kill"
        self._last = b"X%02x" % SIGKILL
        return None

    def _restart(self, rest: bytes) -> bytes | None:
        self.history.reset()
        self._moved()
        return None

    def _moved(self) -> None:
        """The machine stands elsewhere, its program not ended."""
        self.ended = None
        self._halt(SIGTRAP)

    def _command(self, rest: bytes) -> bytes:
        line = _bytes_of(rest[1:]).decode("utf-8", "replace")
        try:
            text, reply = self.monitor.run(line), OK
        except RvsimError as error:
            text, reply = f"{error}\n", FAILED
        self._say(text)
        return reply

    def _say(self, text: str) -> None:
        data = text.encode()
        for start in range(0, len(data), MEMORY_SIZE):
            self.channel.send(b"O" + data[start : start + MEMORY_SIZE].hex().encode())

    def _document(self, rest: bytes) -> bytes:
        found = re.fullmatch(rb":([\w-]+):read:([\w.]*):([0-9a-fA-F]{1,8}),([0-9a-fA-F]{1,8})", rest)
        if not found or found[1] not in self._documents:
            return UNKNOWN
        text = self._documents[found[1]].get(found[2])
        if text is None:
            return b"E00"
        start, size = int(found[3], 16), min(int(found[4], 16), PACKET_SIZE // 2)
        return (b"m" if start + size < len(text) else b"l") + text[start : start + size]

    # ------------------------------------------------------------ registers and memory
    def _read_registers(self, rest: bytes) -> bytes:
        return b"".join(map(_word, (*self.machine.registers, self.machine.pc)))

    def _write_registers(self, rest: bytes) -> bytes:
        data = _bytes_of(rest)
        if len(data) != 4 * (target.PC + 1):
            raise Malformed
        values = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

        def write() -> None:
            for number, value in enumerate(values[: target.PC]):
                self.machine.write_register(number, value)
            self.machine.pc = values[target.PC] & ~1

        self.history.change(write)
        return OK

    def _read_register(self, rest: bytes) -> bytes:
        number = _number(rest)
        if number < target.PC:
            return _word(self.machine.registers[number])
        if number == target.PC:
            return _word(self.machine.pc)
        if number - target.FIRST_CSR in self._csrs:
            return _word(self.machine.csrs.read(number - target.FIRST_CSR))
        return NO_REGISTER

    def _write_register(self, rest: bytes) -> bytes:
        left, _, right = rest.partition(b"=")
        number, data = _number(left), _bytes_of(right)
        if len(data) != 4:
            raise Malformed
        value = int.from_bytes(data, "little")
        if number < target.PC:
            self.history.change(lambda: self.machine.write_register(number, value))
        elif number == target.PC:
            self.history.change(lambda: setattr(self.machine, "pc", value & ~1))
        elif number - target.FIRST_CSR in self._csrs:
            try:
                self.history.change(lambda: self.machine.write_csr(number - target.FIRST_CSR, value))
            except UsageError:
                return NO_REGISTER
        else:
            return NO_REGISTER
        return OK

    def _read_memory(self, rest: bytes) -> bytes:
        """What there is of a range; empty where nothing is."""
        address, size = _range(rest)
        end = address + min(size, MEMORY_SIZE)
        parts = []
        for region in self.machine.regions:
            if region.base <= address < region.end and address < end:
                part = min(end, region.end) - address
                parts.append(self.machine.read_memory(address, part))
                address += part
        return b"".join(parts)

    def _write_memory(self, rest: bytes, decode: Callable[[bytes], bytes]) -> bytes:
        left, colon, right = rest.partition(b":")
        address, size = _range(left)
        data = decode(right)
        if not colon or len(data) != size:
            raise Malformed
        if not data:
            return OK
        try:
            self.history.change(lambda: self.machine.write_memory(address, data))
        except RvsimError:
            return NO_MEMORY
        return OK

    # ------------------------------------------------------------ breakpoints
    def _breakpoint(self, rest: bytes, insert: bool) -> bytes:
        found = re.fullmatch(rb"([0-9]),([0-9a-fA-F]{1,8}),([0-9a-fA-F]{1,8})(;.*)?", rest, re.DOTALL)
        if not found:
            raise Malformed
        kind, address, size = int(found[1]), int(found[2], 16), int(found[3], 16)
        history = self.history
        if kind in (0, 1):
            (self._breakpoints.add if insert else self._breakpoints.discard)((kind, address))
            # Both kinds may be set at one address: the machine's breakpoint goes with the last.
            if {(0, address), (1, address)} & self._breakpoints:
                history.add_breakpoint(address)
            else:
                history.remove_breakpoint(address)
            return OK
        if kind not in WATCH:
            return UNKNOWN
        if not size or size > 1 << 31 or address + size > 1 << 32:
            raise Malformed
        if insert and len(history.watchpoints) >= WATCHPOINTS:
            return FAILED
        (history.add_watchpoint if insert else history.remove_watchpoint)(address, size, WATCH[kind][0])
        return OK

    # ------------------------------------------------------------ running
    def _resume_threads(self, rest: bytes) -> bytes:
        if rest == b"?":
            return b"vCont;c;C;s;S;r"
        # There is one thread: the first action is its.
        action = rest[1:].partition(b";")[0].partition(b":")[0]
        if action[:1] == b"r":
            start, end = _range(action[1:])
            return self._step_range(start, end)
        return self._resume(action, b"")

    def _resume(self, action: bytes, address: bytes) -> bytes:
        """Continue or step (``c``, ``s``), perhaps with a signal (``C05``), perhaps from another address."""
        kind, signal = action[:1].lower(), _number(action[1:]) if action[1:] else 0
        if kind not in (b"c", b"s"):
            raise Malformed
        if address:
            pc = _number(address) & ~1
            self.history.change(lambda: setattr(self.machine, "pc", pc))
        if self.ended:
            return self._last
        if signal in DEADLY:
            self.ended, self._last = "exit", b"X%02x" % signal
            return self._last
        if kind == b"c":
            return self._continue()
        began = self.history.here
        return self._stopped(self.history.step(), began)

    def _continue(self) -> bytes:
        size, began = FIRST_SLICE, self.history.here
        while True:
            limit = size
            if self.max_instructions is not None:
                limit = min(limit, self.max_instructions - self.machine.instructions)
                if limit <= 0:
                    self._say(f"Stopped at the limit of {self.max_instructions} instructions.\n")
                    return self._halt(SIGXCPU)
            started = time.perf_counter()
            stop = self.history.resume(limit)
            if stop.reason != "limit" and not self._is_passed(stop):
                return self._stopped(stop, began)
            if self.channel.interrupted():
                return self._halt(SIGINT)
            seconds = time.perf_counter() - started
            if seconds < PATIENCE / 2 and limit == size:
                size = min(2 * size, LONGEST_SLICE)
            elif seconds > 2 * PATIENCE:
                size = max(size // 2, 1)

    def _step_range(self, start: int, end: int) -> bytes:
        """Step while the pc is in a range, as a source line is; any stop but a step's ends it."""
        began = self.history.here
        for count in range(1, 1 << 62):
            stop = self.history.step()
            pc = self.machine.pc
            if self._is_passed(stop):
                stop = stop.replace(reason="step")
            if stop.reason != "step" or not start <= pc < end or pc in self.history.breakpoints:
                return self._stopped(stop, began)
            if count % STEPS == 0 and self.channel.interrupted():
                return self._halt(SIGINT)
        raise AssertionError

    def _is_passed(self, stop: Stop) -> bool:
        """Whether a watched access was reported already, so that it now is to happen."""
        passed = self._ahead
        return (
            passed is not None and stop.reason == "watchpoint" and self.machine.instructions == passed.instructions + 1
        )

    def _stopped(self, stop: Stop, began: Position) -> bytes:
        """The stop reply for what ended the machine's run."""
        if stop.reason == "exit":
            code = stop.exit_code or 0
            if self.monitor.stop_at_exit:
                self.history.undo()
                if self.history.here != began:
                    self._say(f"The program is about to end with exit code {code}; continue ends it.\n")
                    return self._halt(SIGTRAP)
                self.history.step()
            self.ended, self._last = "exit", b"W%02x" % (code & 0xFF)
            return self._last
        if stop.reason == "watchpoint" and not self._is_passed(stop):
            # GDB's RISC-V expects to be told before the access: it steps over it and compares the values
            # (gdbarch_have_nonsteppable_watchpoint).
            self.history.undo()
            reply = self._halt(SIGTRAP, self._watch_reason(stop.address, stop.access))
            self._ahead = self.history.here
            return reply
        if stop.reason == "interrupted":
            return self._halt(SIGINT)
        if stop.reason == "breakpoint" and self.machine.pc in self.history.breakpoints:
            return self._halt(SIGTRAP, self._break_reason())
        if stop.reason in ("step", "limit", "watchpoint"):
            return self._halt(SIGTRAP)
        self._say(f"{stop.message}\n")
        return self._halt(FATAL.get(stop.reason, SIGABRT))

    def _backwards(self, rest: bytes) -> bytes:
        if rest not in (b"c", b"s"):
            return UNKNOWN
        self.ended = None
        passed = self._behind == self.history.here
        hit = self.history.step_back(passed) if rest == b"s" else self.history.back(self.channel.interrupted, passed)
        if hit.reason == "step":
            return self._halt(SIGTRAP)
        if hit.reason == "interrupted":
            return self._halt(SIGINT)
        if hit.reason == "begin":
            return self._halt(SIGTRAP, HISTORY_BEGINS)
        if hit.reason == "watchpoint":
            # Backwards, "before the access" is behind it.
            reply = self._halt(SIGTRAP, self._watch_reason(hit.address, hit.access))
            self._behind = self.history.here
            return reply
        return self._halt(SIGTRAP, self._break_reason())

    def _break_reason(self) -> bytes:
        name = b"swbreak" if (0, self.machine.pc) in self._breakpoints else b"hwbreak"
        return name + b":;" if name in self._reports else b""

    def _watch_reason(self, address: int | None, access: str | None) -> bytes:
        """``watch:ADDRESS;`` and its like; the machine's address lies inside what is watched, as GDB wants it."""
        at = address or 0
        for kind in (2, 4) if access == "w" else (3, 4):
            what, name = WATCH[kind]
            if any(each == what and low <= at < low + size for low, size, each in self.history.watchpoints):
                return b"%b:%x;" % (name, at)
        return b""

    def _halt(self, signal: int, reason: bytes = b"") -> bytes:
        """The stop reply of a program that stands, and can go on."""
        self._ahead = self._behind = None
        registers = self.machine.registers
        self._last = b"T%02x%bthread:1;%02x:%b;02:%b;08:%b;" % (
            signal,
            reason,
            target.PC,
            _word(self.machine.pc),
            _word(registers[2]),
            _word(registers[8]),
        )
        return self._last


def _word(value: int) -> bytes:
    """A register as the protocol writes it: its bytes in the order of memory."""
    return value.to_bytes(4, "little").hex().encode()


def _number(text: bytes) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", text):
        raise Malformed
    return int(text, 16)


def _range(text: bytes) -> tuple[int, int]:
    """``ADDRESS,SIZE``, or the start and end of a range."""
    left, _, right = text.partition(b",")
    return _number(left), _number(right)


def _bytes_of(digits: bytes) -> bytes:
    if len(digits) % 2 or not re.fullmatch(rb"[0-9a-fA-F]*", digits):
        raise Malformed
    return bytes.fromhex(digits.decode())
