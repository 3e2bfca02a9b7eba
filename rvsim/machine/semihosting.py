"""Semihosting: a program asks a debugger for files and streams through `slli x0,x0,31; ebreak; srai x0,x0,7`.

Sources: RISC-V Semihosting 1.0 (the sequence and its registers); Arm, Semihosting for AArch32 and AArch64, 2023Q3 (the
operations, with fields of 32 bits). Time begins at 0 with the run and goes by cycles.
"""

from __future__ import annotations

import struct

from rvsim.machine.console import STDERR, STDOUT
from rvsim.machine.hostcall import A0, A1, NANOSECONDS, WORD, Clock, Exit, GuestMemory, got
from rvsim.machine.hostfs import (
    MAX_OPEN,
    MAX_TRANSFER,
    O_APPEND,
    O_CREAT,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    HostError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rvsim.machine.console import Console
    from rvsim.machine.hostcall import Port
    from rvsim.machine.hostfs import HostFiles

# All three are 32-bit instructions, in this order.
SEQUENCE = struct.pack("<III", 0x01F0_1013, 0x0010_0073, 0x4070_5013)
APPLICATION_EXIT = 0x2_0026
# fopen's r, r+, w, w+, a, a+; each has a binary twin.
MODES = (0, O_RDWR, O_WRONLY | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_TRUNC, O_WRONLY | O_CREAT | O_APPEND,
         O_RDWR | O_CREAT | O_APPEND)  # fmt: skip
STREAM, FEATURES = b":tt", b":semihosting-features"
# Magic number, then SH_EXT_EXIT_EXTENDED and SH_EXT_STDOUT_STDERR.
FEATURE_BYTES = b"SHFB\x03"
STDIN = 0
FIRST = 3
FAILED = -1


class Semihosting:
    """Serves semihosting operations of one program.

    Handles 0, 1 and 2 are standard input, output and error from the start; files, `:tt` and `:semihosting-features` get
    handles from 3 on. The streams say that they are terminals.

    Parameters
    ----------
    hart : Port
    console : Console
    files : HostFiles
    clock : Clock
    command_line : sequence of bytes
        The program's name and arguments.
    heap : tuple of (int, int)
        Lowest address of the heap and the one behind it, for SYS_HEAPINFO.
    stack : tuple of (int, int)
        Where the stack begins (its highest address), and its limit.
    """

    def __init__(
        self,
        hart: Port,
        console: Console,
        files: HostFiles,
        *,
        clock: Clock | None = None,
        command_line: Sequence[bytes] = (),
        heap: tuple[int, int] = (0, 0),
        stack: tuple[int, int] = (0, 0),
    ) -> None:
        self.hart, self.console, self.files = hart, console, files
        self.memory = GuestMemory(hart)
        self.clock = clock or Clock()
        self.command_line = b" ".join(command_line)
        self.heap, self.stack = heap, stack
        # A handle leads to ("stream", number), ("file", descriptor) or ("features", position).
        self._handles: dict[int, tuple[str, int]] = {n: ("stream", n) for n in (STDIN, STDOUT, STDERR)}
        self._error = 0
        # Operation: what serves it, with how many fields of a block at a1; None: a1 itself is the argument.
        self._operations: dict[int, tuple[Callable[..., int], int | None]] = {
            0x01: (self._open, 3),
            0x02: (self._close, 1),
            0x03: (self._write_character, None),
            0x04: (self._write_string, None),
            0x05: (self._write, 3),
            0x06: (self._read, 3),
            0x07: (self._read_character, None),
            0x08: (lambda status: status >> 31, 1),
            0x09: (self._is_terminal, 1),
            0x0A: (self._seek, 2),
            0x0C: (self._length, 1),
            0x0D: (self._temporary_name, 3),
            0x0E: (self._remove, 2),
            0x0F: (self._rename, 4),
            0x10: (lambda _: self.clock.nanoseconds // (NANOSECONDS // 100) & 0x7FFF_FFFF, None),
            0x11: (lambda _: self.clock.nanoseconds // NANOSECONDS, None),
            0x12: (self._system, None),
            0x13: (lambda _: self._error, None),
            0x15: (self._get_command_line, None),
            0x16: (self._heap_info, None),
            0x18: (self._exit, None),
            0x20: (self._exit_extended, 2),
            0x30: (self._elapsed, None),
            0x31: (lambda _: self.clock.hertz, None),
        }

    @staticmethod
    def matches(peek: Callable[[int, int], bytes | None], pc: int) -> bool:
        """Whether the `ebreak` at `pc` is a semihosting call.

        Parameters
        ----------
        peek : callable
            Bytes of guest memory at an address, or None.
        """
        return 4 <= pc <= (1 << 32) - 8 and peek(pc - 4, len(SEQUENCE)) == SEQUENCE

    def serve(self) -> None:
        """Do the operation of a0 with the parameter of a1; the result goes to a0.

        Raises
        ------
        Exit
        """
        operation, parameter = self.hart.register(A0), self.hart.register(A1)
        self.hart.set_register(A0, self.call(operation, parameter) & WORD)

    def call(self, operation: int, parameter: int) -> int:
        """Result of an operation; -1 where it is not known or fails."""
        found = self._operations.get(operation)
        try:
            if found is None:
                raise HostError("ENOSYS")
            call, fields = found
            return call(parameter) if fields is None else call(*self.memory.words(parameter, fields))
        except HostError as error:
            self._error = -error.number
            return FAILED

    def state(self) -> dict[str, Any]:
        """What changes here; the console and the files have states of their own."""
        return {"handles": {str(n): list(where) for n, where in self._handles.items()}, "error": self._error}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self._handles = {int(n): (kind, number) for n, (kind, number) in state["handles"].items()}
        self._error = state["error"]

    # ------------------------------------------------------------ streams and files
    def _handle(self, handle: int) -> tuple[str, int]:
        if handle not in self._handles:
            raise HostError("EBADF")
        return self._handles[handle]

    def _name(self, address: int, size: int) -> bytes:
        return self.memory.fetch(address, min(size, MAX_TRANSFER)).partition(b"\0")[0]

    def _open(self, address: int, mode: int, size: int) -> int:
        name = self._name(address, size)
        if mode >= 2 * len(MODES):
            raise HostError("EINVAL")
        if len(self._handles) >= MAX_OPEN:
            raise HostError("EMFILE")
        if name == STREAM:
            where = ("stream", mode // 4)
        elif name == FEATURES:
            if mode > 1:
                raise HostError("EACCES")
            where = ("features", 0)
        else:
            where = ("file", _done(self.files.open(name, MODES[mode // 2])))
        handle = next(n for n in range(FIRST, FIRST + MAX_OPEN) if n not in self._handles)
        self._handles[handle] = where
        return handle

    def _close(self, handle: int) -> int:
        kind, number = self._handle(handle)
        # The three streams stay: libraries close what they did not open.
        if handle >= FIRST:
            del self._handles[handle]
        return _done(self.files.close(number)) if kind == "file" else 0

    def _write_character(self, address: int) -> int:
        self.console.write(STDOUT, self.memory.fetch(address, 1))
        return 0

    def _write_string(self, address: int) -> int:
        self.console.write(STDOUT, self.memory.string(address, MAX_TRANSFER))
        return 0

    def _write(self, handle: int, address: int, size: int) -> int:
        """Bytes that were not written."""
        kind, number = self._handle(handle)
        data = self.memory.fetch(address, min(size, MAX_TRANSFER))
        if kind == "file":
            return size - _done(self.files.write(number, data))
        if kind == "features" or number == STDIN:
            raise HostError("EBADF")
        self.console.write(number, data)
        return size - len(data)

    def _read(self, handle: int, address: int, size: int) -> int:
        """Bytes of the buffer that were not filled."""
        kind, number = self._handle(handle)
        if kind == "stream" and number != STDIN:
            raise HostError("EBADF")
        memory = self.memory.writable(address, min(size, MAX_TRANSFER))
        if kind == "file":
            data = got(self.files.read(number, len(memory)))
        elif kind == "stream":
            data = self.console.read(len(memory))
        else:
            data = FEATURE_BYTES[number : number + len(memory)]
            self._handles[handle] = (kind, number + len(data))
        memory[: len(data)] = data
        return size - len(data)

    def _read_character(self, _: int) -> int:
        """A byte of standard input; -1 at its end, of which the specification says nothing."""
        data = self.console.read(1)
        return data[0] if data else FAILED

    def _is_terminal(self, handle: int) -> int:
        return int(self._handle(handle)[0] == "stream")

    def _seek(self, handle: int, position: int) -> int:
        kind, number = self._handle(handle)
        if kind == "stream":
            raise HostError("ESPIPE")
        if kind == "features":
            self._handles[handle] = (kind, min(position, len(FEATURE_BYTES)))
        else:
            _done(self.files.seek(number, position))
        return 0

    def _length(self, handle: int) -> int:
        kind, number = self._handle(handle)
        if kind == "features":
            return len(FEATURE_BYTES)
        if kind == "stream":
            raise HostError("ESPIPE")
        return got(self.files.fstat(number)).size

    def _temporary_name(self, address: int, identifier: int, size: int) -> int:
        name = b"semihosting-%03d\0" % (identifier & 0xFF)
        if identifier > 0xFF or size < len(name):
            raise HostError("EINVAL")
        self.memory.store(address, name)
        return 0

    def _remove(self, address: int, size: int) -> int:
        return _done(self.files.remove(self._name(address, size)))

    def _rename(self, old: int, old_size: int, new: int, new_size: int) -> int:
        return _done(self.files.rename(self._name(old, old_size), self._name(new, new_size)))

    # ------------------------------------------------------------ the process
    def _system(self, _: int) -> int:
        """There is no shell for a program."""
        raise HostError("ENOSYS")

    def _get_command_line(self, block: int) -> int:
        address, size = self.memory.words(block, 2)
        if size <= len(self.command_line):
            raise HostError("ERANGE")
        self.memory.store(address, self.command_line + b"\0")
        self.memory.store(block, struct.pack("<II", address, len(self.command_line)))
        return 0

    def _heap_info(self, parameter: int) -> int:
        (block,) = self.memory.words(parameter, 1)
        self.memory.store(block, struct.pack("<IIII", *self.heap, *self.stack))
        return 0

    def _exit(self, reason: int) -> int:
        raise Exit(0 if reason == APPLICATION_EXIT else 1)

    def _exit_extended(self, reason: int, code: int) -> int:
        raise Exit(code & 0xFF if reason == APPLICATION_EXIT else 1)

    def _elapsed(self, address: int) -> int:
        self.memory.store(address, struct.pack("<Q", self.clock.cycles() & (1 << 64) - 1))
        return 0


def _done(result: int) -> int:
    """A result that is no negative errno."""
    if result < 0:
        raise HostError(result)
    return result
