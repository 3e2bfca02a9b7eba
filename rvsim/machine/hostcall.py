"""Host calls: `ecall` with the numbers of RISC-V Linux, served while the guest has no trap handler (mtvec is 0).

The guest reaches three streams and its own heap; there are no files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol

A0, A1, A2, A7 = 10, 11, 12, 17
# Linux errno values (include/uapi/asm-generic/errno-base.h, errno.h).
EBADF, EFAULT, ENOSYS = 9, 14, 38
# One write may carry this much; a larger count is served in part, as write(2) may.
MAX_TRANSFER = 1 << 20
STAT_SIZE = 128
S_IFCHR = 0o020000


class Port(Protocol):
    """What host calls need of the hart."""

    def register(self, number: int) -> int: ...
    def set_register(self, number: int, value: int) -> None: ...
    def peek(self, address: int, size: int) -> bytes | None: ...
    def view(self, address: int, size: int, write: bool) -> object | None: ...


class Exit(Exception):
    """The guest ended itself.

    Attributes
    ----------
    code : int
        0 to 255.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class HostCalls:
    """Serves host calls of one program.

    Parameters
    ----------
    hart : Port
    heap : tuple of (int, int)
        Lowest and highest program break.
    stdout, stderr : callable
        Take the bytes the guest writes.
    stdin : callable
        Gives at most n bytes; empty at the end.
    """

    def __init__(
        self,
        hart: Port,
        heap: tuple[int, int],
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
    ) -> None:
        self.hart, self.heap, self.break_ = hart, heap, heap[0]
        self.streams = {1: stdout or _writer("stdout"), 2: stderr or _writer("stderr")}
        self.stdin = stdin or _read_stdin
        self._calls: dict[int, Callable[[int, int, int], int]] = {
            57: self._close,
            63: self._read,
            64: self._write,
            80: self._fstat,
            93: self._exit,
            94: self._exit,
            214: self._brk,
        }

    def serve(self) -> None:
        """Do what the registers ask for and leave the result in a0.

        Raises
        ------
        Exit
            For exit and exit_group.
        """
        registers = self.hart.register
        call = self._calls.get(registers(A7))
        result = call(registers(A0), registers(A1), registers(A2)) if call else -ENOSYS
        self.hart.set_register(A0, result & 0xFFFF_FFFF)

    def _write(self, fd: int, address: int, size: int) -> int:
        if fd not in self.streams:
            return -EBADF
        data = self.hart.peek(address, min(size, MAX_TRANSFER))
        if data is None:
            return -EFAULT
        if data:
            self.streams[fd](data)
        return len(data)

    def _read(self, fd: int, address: int, size: int) -> int:
        if fd != 0:
            return -EBADF
        # Memory first: what cannot be stored must not be taken from the stream.
        memory = self._writable(address, min(size, MAX_TRANSFER))
        if memory is None:
            return -EFAULT
        data = self.stdin(len(memory))[: len(memory)] if memory else b""
        memory[: len(data)] = data
        return len(data)

    def _writable(self, address: int, size: int) -> memoryview | None:
        """Guest memory that the guest itself may write; None where it may not."""
        view = self.hart.view(address, size, True) if size else bytearray()
        return None if view is None else memoryview(view)  # type: ignore[arg-type]

    def _close(self, fd: int, address: int, size: int) -> int:
        return 0 if fd <= 2 else -EBADF

    def _fstat(self, fd: int, address: int, size: int) -> int:
        if fd > 2:
            return -EBADF
        # struct stat of riscv32 with 64-bit times: st_mode is the word at 16; the streams are character devices.
        record = bytearray(STAT_SIZE)
        record[16:20] = S_IFCHR.to_bytes(4, "little")
        memory = self._writable(address, STAT_SIZE)
        if memory is None:
            return -EFAULT
        memory[:] = record
        return 0

    def _brk(self, address: int, unused1: int, unused2: int) -> int:
        if self.heap[0] <= address <= self.heap[1]:
            self.break_ = address
        return self.break_

    def _exit(self, code: int, unused1: int, unused2: int) -> int:
        raise Exit(code & 0xFF)


def _read_stdin(size: int) -> bytes:
    try:
        # What is there now, as read(2) on a terminal or pipe.
        return os.read(sys.stdin.fileno(), size)
    except (AttributeError, OSError):  # closed, or replaced by something that is no file (a notebook)
        return b""


def _writer(name: str) -> Callable[[bytes], object]:
    def write(data: bytes) -> None:
        stream = getattr(sys, name)
        # Something else may have replaced the stream by one of text only (a notebook, a test).
        buffer = getattr(stream, "buffer", None)
        if buffer is None:
            stream.write(data.decode("utf-8", "replace"))
            return
        stream.flush()
        buffer.write(data)
        buffer.flush()

    return write
