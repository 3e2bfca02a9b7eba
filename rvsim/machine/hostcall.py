"""Host calls: `ecall` with the numbers of RISC-V Linux, served while the guest has no trap handler (mtvec is 0).

They are those that static programs make: newlib's libgloss (with its old numbers from 1024 on), musl and glibc.
Structures are those of 32-bit Linux with 64-bit times. Time begins at 0 with the run and goes by cycles, so that every
run is the same. The guest reaches three streams, its own heap and the files that `HostFiles` gives it.
"""

from __future__ import annotations

import struct

from rvsim.machine.console import STDERR, STDOUT, Console
from rvsim.machine.hostfs import (
    LINUX_ERRNO,
    MAX_PATH,
    MAX_TRANSFER,
    O_APPEND,
    O_CREAT,
    O_EXCL,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    HostError,
    HostFiles,
    Status,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeVar

    T = TypeVar("T", bytes, Status)

    class Port(Protocol):
        """What host calls need of the hart."""

        def register(self, number: int) -> int: ...
        def set_register(self, number: int, value: int) -> None: ...
        def peek(self, address: int, size: int) -> bytes | None: ...
        def view(self, address: int, size: int, write: bool) -> object | None: ...


A0, A1, A2, A3, A4, A5, A7 = 10, 11, 12, 13, 14, 15, 17
STAT_SIZE, STATX_SIZE = 128, 256
S_IFCHR = 0o020000
AT_FDCWD, AT_REMOVEDIR, AT_EMPTY_PATH = -100 & 0xFFFF_FFFF, 0x200, 0x1000
MAX_IOVEC = 1024
CLOCKS = 12
NANOSECONDS = 1_000_000_000
# Clock ticks of times(2) a second.
USER_HZ = 100
MAX_RANDOM = 4096
SIGNALS = 64
PAGE = 4096
MAP_FIXED, MAP_ANONYMOUS = 0x10, 0x20
WORD = 0xFFFF_FFFF


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


class GuestMemory:
    """Memory at pointers that a guest gave; HostError EFAULT where there is none."""

    def __init__(self, hart: Port) -> None:
        self.hart = hart

    def fetch(self, address: int, size: int) -> bytes:
        data = self.hart.peek(address, size) if address + size <= 1 << 32 or not size else None
        if data is None:
            raise HostError("EFAULT")
        return data

    def words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self.fetch(address, 4 * count))

    def string(self, address: int, limit: int = MAX_PATH) -> bytes:
        """Bytes up to a zero; at most `limit`."""
        data = b""
        while len(data) < limit:
            at = address + len(data)
            # Regions begin and end at multiples of more than 64: a piece lies within one.
            piece, zero, _ = self.fetch(at, 64 - at % 64).partition(b"\0")
            data += piece
            if zero:
                return data
        raise HostError("ENAMETOOLONG")

    def writable(self, address: int, size: int) -> memoryview:
        """Memory that the guest itself may write."""
        if not size:
            return memoryview(bytearray())
        view = self.hart.view(address, size, True) if address + size <= 1 << 32 else None
        if view is None:
            raise HostError("EFAULT")
        return memoryview(view)  # type: ignore[arg-type]

    def store(self, address: int, data: bytes) -> None:
        self.writable(address, len(data))[:] = data


class Clock:
    """Time by cycles.

    Parameters
    ----------
    cycles : callable
        Gives the cycles so far.
    clock_mhz : float
    """

    def __init__(self, cycles: Callable[[], int] | None = None, clock_mhz: float = 100.0) -> None:
        self.cycles = cycles or (lambda: 0)
        # Whole kHz: floating point would lose nanoseconds.
        self.khz = max(1, round(clock_mhz * 1000))

    @property
    def nanoseconds(self) -> int:
        return self.cycles() * 1_000_000 // self.khz

    @property
    def hertz(self) -> int:
        return self.khz * 1000


class HostCalls:
    """Serves host calls of one program.

    Parameters
    ----------
    hart : Port
    heap : tuple of (int, int)
        Lowest and highest program break.
    stdout, stderr, stdin : callable, optional
        Make a `Console`, where `console` is not given.
    console : Console, optional
    files : HostFiles, optional
        None by default.
    clock : Clock, optional
        Stands still by default.
    """

    def __init__(
        self,
        hart: Port,
        heap: tuple[int, int],
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
        *,
        console: Console | None = None,
        files: HostFiles | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.hart, self.heap, self.break_ = hart, heap, heap[0]
        self.memory = GuestMemory(hart)
        self.console = console or Console(stdout, stderr, stdin)
        self.files = files or HostFiles()
        self.clock = clock or Clock()
        # mmap takes the heap from its top; below are the lowest page that it took, and the pages given back above it.
        self._mapped, self._free = heap[1] & -PAGE, list[tuple[int, int]]()
        self._random = 0

        def done() -> int:
            return 0

        # Number: what serves it, with how many arguments. Numbers: include/uapi/asm-generic/unistd.h; those from 1024
        # on: newlib, libgloss/riscv/machine/syscall.h.
        self._calls: dict[int, tuple[Callable[..., int], int]] = {
            17: (self._getcwd, 2),
            25: (self._fcntl, 2),
            29: (self._ioctl, 1),
            34: (self._mkdirat, 3),
            35: (self._unlinkat, 3),
            38: (self._renameat, 4),
            46: (self._ftruncate, 3),
            48: (self._faccessat, 2),
            56: (self._openat, 4),
            57: (self._close, 1),
            62: (self._lseek, 5),
            63: (self._read, 3),
            64: (self._write, 3),
            65: (self._readv, 3),
            66: (self._writev, 3),
            67: (self._pread, 5),
            68: (self._pwrite, 5),
            79: (self._fstatat, 4),
            80: (self._fstat, 2),
            93: (self._exit, 1),
            94: (self._exit, 1),
            96: (lambda: 1, 0),  # set_tid_address
            99: (done, 0),  # set_robust_list
            113: (self._clock_gettime32, 2),
            124: (done, 0),  # sched_yield
            129: (self._kill, 2),
            130: (self._kill, 2),  # tkill
            131: (lambda group, thread, signal: self._kill(thread, signal), 3),  # tgkill
            134: (done, 0),  # rt_sigaction: no signal ever comes
            135: (done, 0),  # rt_sigprocmask
            153: (self._times, 1),
            160: (self._uname, 1),
            169: (self._gettimeofday, 1),
            172: (lambda: 1, 0),  # getpid
            173: (done, 0),  # getppid
            174: (done, 0),  # getuid, geteuid, getgid, getegid
            175: (done, 0),
            176: (done, 0),
            177: (done, 0),
            178: (lambda: 1, 0),  # gettid
            214: (self._brk, 1),
            215: (self._munmap, 2),
            222: (self._mmap, 4),
            226: (done, 0),  # mprotect
            233: (done, 0),  # madvise
            259: (done, 0),  # riscv_flush_icache: stores to code are seen at once
            276: (self._renameat, 4),
            278: (self._getrandom, 2),
            291: (self._statx, 5),
            403: (self._clock_gettime64, 2),
            439: (self._faccessat, 2),
            1024: (self._open, 3),
            1026: (lambda path: self._unlinkat(AT_FDCWD, path, 0), 1),
            1030: (lambda path, mode: self._mkdirat(AT_FDCWD, path, mode), 2),
            1033: (lambda path: self._faccessat(AT_FDCWD, path), 1),
            1038: (lambda path, record: self._fstatat(AT_FDCWD, path, record, 0), 2),
            1039: (lambda path, record: self._fstatat(AT_FDCWD, path, record, 0), 2),
            1062: (self._time, 1),
        }

    def serve(self) -> None:
        """Do what the registers ask for and leave the result in a0.

        Raises
        ------
        Exit
            For exit, exit_group and a signal that the program sends itself.
        """
        register = self.hart.register
        result = self.call(register(A7), [register(n) for n in range(A0, A5 + 1)])
        self.hart.set_register(A0, result & WORD)

    def call(self, number: int, arguments: Sequence[int]) -> int:
        """Result of a call: a negative Linux errno where it fails.

        Parameters
        ----------
        number : int
        arguments : sequence of int
            Six unsigned 32-bit values.
        """
        if number not in self._calls:
            return -LINUX_ERRNO["ENOSYS"]
        call, count = self._calls[number]
        try:
            return call(*arguments[:count])
        except HostError as error:
            return error.number

    def state(self) -> dict[str, Any]:
        """What changes here; the console and the files have states of their own."""
        return {"break": self.break_, "mapped": self._mapped, "free": list(self._free), "random": self._random}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.break_, self._mapped, self._random = state["break"], state["mapped"], state["random"]
        self._free = [(start, end) for start, end in state["free"]]

    # ------------------------------------------------------------ reading and writing
    def _sink(self, fd: int) -> Callable[[bytes], int]:
        """What takes the bytes written to a descriptor; a negative result is an errno."""
        if fd in (STDOUT, STDERR):

            def print_(data: bytes) -> int:
                if data:
                    self.console.write(fd, data)
                return len(data)

            return print_
        if self.files.flags(fd) < 0:
            raise HostError("EBADF")
        return lambda data: self.files.write(fd, data)

    def _source(self, fd: int) -> Callable[[int], bytes]:
        """What gives the bytes read from a descriptor."""
        if fd == 0:
            return self.console.read
        if self.files.flags(fd) < 0:
            raise HostError("EBADF")
        return lambda size: got(self.files.read(fd, size))

    def _write(self, fd: int, address: int, size: int) -> int:
        sink = self._sink(fd)
        return sink(self.memory.fetch(address, min(size, MAX_TRANSFER)))

    def _read(self, fd: int, address: int, size: int) -> int:
        source = self._source(fd)
        # Memory first: what cannot be stored must not be taken from the stream.
        memory = self.memory.writable(address, min(size, MAX_TRANSFER))
        data = source(len(memory))[: len(memory)]
        memory[: len(data)] = data
        return len(data)

    def _vector(self, address: int, count: int) -> list[tuple[int, int]]:
        """Addresses and sizes of an iovec array, together at most MAX_TRANSFER bytes."""
        if count > MAX_IOVEC:
            raise HostError("EINVAL")
        words, left, pieces = self.memory.words(address, 2 * count), MAX_TRANSFER, []
        for start, size in zip(words[::2], words[1::2], strict=True):
            pieces.append((start, min(size, left)))
            left -= pieces[-1][1]
        return pieces

    def _writev(self, fd: int, address: int, count: int) -> int:
        sink = self._sink(fd)
        return sink(b"".join(self.memory.fetch(*piece) for piece in self._vector(address, count)))

    def _readv(self, fd: int, address: int, count: int) -> int:
        source = self._source(fd)
        memory = [self.memory.writable(*piece) for piece in self._vector(address, count)]
        data = source(sum(map(len, memory)))
        done = 0
        for view in memory:
            piece = data[done : done + len(view)]
            view[: len(piece)] = piece
            done += len(piece)
        return done

    def _pwrite(self, fd: int, address: int, size: int, low: int, high: int) -> int:
        self._file(fd)
        return self.files.write(fd, self.memory.fetch(address, min(size, MAX_TRANSFER)), high << 32 | low)

    def _pread(self, fd: int, address: int, size: int, low: int, high: int) -> int:
        self._file(fd)
        memory = self.memory.writable(address, min(size, MAX_TRANSFER))
        data = got(self.files.read(fd, len(memory), high << 32 | low))
        memory[: len(data)] = data
        return len(data)

    def _file(self, fd: int) -> None:
        if fd <= STDERR:
            raise HostError("ESPIPE")
        if self.files.flags(fd) < 0:
            raise HostError("EBADF")

    def _lseek(self, fd: int, first: int, second: int, result: int, whence: int) -> int:
        # libgloss passes lseek(fd, offset, whence, 0, 0); 32-bit Linux has _llseek(fd, high, low, result, whence) here.
        self._file(fd)
        if not result:
            return self.files.seek(fd, _signed(first), second)
        self.memory.writable(result, 8)
        position = self.files.seek(fd, struct.unpack("<q", struct.pack("<II", second, first))[0], whence)
        if position < 0:
            return position
        self.memory.store(result, struct.pack("<q", position))
        return 0

    def _ftruncate(self, fd: int, low: int, high: int) -> int:
        return self.files.truncate(fd, high << 32 | low)

    # ------------------------------------------------------------ descriptors and names
    def _close(self, fd: int) -> int:
        return 0 if fd <= STDERR else self.files.close(fd)

    def _fcntl(self, fd: int, command: int) -> int:
        flags = (0, O_WRONLY, O_WRONLY)[fd] if fd <= STDERR else self.files.flags(fd)
        if flags < 0 or command == 3:  # F_GETFL
            return flags
        return 0 if command in (1, 2, 4) else -LINUX_ERRNO["EINVAL"]  # F_GETFD, F_SETFD, F_SETFL

    def _ioctl(self, fd: int) -> int:
        return -LINUX_ERRNO["ENOTTY" if fd <= STDERR or self.files.flags(fd) >= 0 else "EBADF"]

    def _path(self, folder: int, address: int) -> bytes:
        path = self.memory.string(address)
        if folder != AT_FDCWD and not path.startswith(b"/"):
            raise HostError("ENOTDIR" if folder <= STDERR or self.files.flags(folder) >= 0 else "EBADF")
        return path

    def _openat(self, folder: int, path: int, flags: int, mode: int) -> int:
        return self.files.open(self._path(folder, path), flags, mode)

    def _open(self, path: int, flags: int, mode: int) -> int:
        # Only libgloss calls this number; it passes newlib's flags (newlib/libc/include/sys/_default_fcntl.h).
        linux = flags & (O_WRONLY | O_RDWR)
        for newlib, flag in ((0x0008, O_APPEND), (0x0200, O_CREAT), (0x0400, O_TRUNC), (0x0800, O_EXCL)):
            linux |= flag if flags & newlib else 0
        return self._openat(AT_FDCWD, path, linux, mode)

    def _unlinkat(self, folder: int, path: int, flags: int) -> int:
        return self.files.remove(self._path(folder, path), folder=bool(flags & AT_REMOVEDIR))

    def _renameat(self, old_folder: int, old: int, new_folder: int, new: int) -> int:
        return self.files.rename(self._path(old_folder, old), self._path(new_folder, new))

    def _mkdirat(self, folder: int, path: int, mode: int) -> int:
        return self.files.make_folder(self._path(folder, path), mode)

    def _faccessat(self, folder: int, path: int) -> int:
        got(self.files.status(self._path(folder, path)))
        return 0

    def _getcwd(self, address: int, size: int) -> int:
        if size < 2:
            raise HostError("ERANGE")
        self.memory.store(address, b"/\0")
        return 2

    # ------------------------------------------------------------ what a file is
    def _status(self, fd: int) -> Status:
        """The streams are character devices, whatever the host has there."""
        return Status(S_IFCHR, 0) if fd <= STDERR else got(self.files.fstat(fd))

    def _status_at(self, folder: int, path: int, flags: int) -> Status:
        if flags & AT_EMPTY_PATH and not self.memory.string(path):
            return self._status(folder)
        return got(self.files.status(self._path(folder, path)))

    def _fstat(self, fd: int, address: int) -> int:
        return self._store_stat(self._status(fd), address)

    def _fstatat(self, folder: int, path: int, address: int, flags: int) -> int:
        return self._store_stat(self._status_at(folder, path, flags), address)

    def _store_stat(self, found: Status, address: int) -> int:
        # struct stat of asm-generic/stat.h with 64-bit times. Inode numbers and times would differ between runs: 0.
        file = found.mode != S_IFCHR
        record = struct.pack(
            "<16xII24xqi4xq", found.mode, int(file), found.size, 4096 if file else 0, (found.size + 511) // 512
        )
        self.memory.store(address, record.ljust(STAT_SIZE, b"\0"))
        return 0

    def _statx(self, folder: int, path: int, flags: int, mask: int, address: int) -> int:
        found = self._status_at(folder, path, flags)
        # struct statx of include/uapi/linux/stat.h; the mask is STATX_BASIC_STATS.
        record = struct.pack("<II8xI8xH10xQQ", 0x7FF, 4096, 1, found.mode, found.size, (found.size + 511) // 512)
        self.memory.store(address, record.ljust(STATX_SIZE, b"\0"))
        return 0

    # ------------------------------------------------------------ time and the process
    def _time_of(self, number: int) -> tuple[int, int]:
        """Seconds and nanoseconds of any of Linux's clocks."""
        if number >= CLOCKS:
            raise HostError("EINVAL")
        return divmod(self.clock.nanoseconds, NANOSECONDS)

    def _clock_gettime32(self, number: int, address: int) -> int:
        seconds, nanoseconds = self._time_of(number)
        self.memory.store(address, struct.pack("<II", seconds & WORD, nanoseconds))
        return 0

    def _clock_gettime64(self, number: int, address: int) -> int:
        self.memory.store(address, struct.pack("<qq", *self._time_of(number)))
        return 0

    def _gettimeofday(self, address: int) -> int:
        # newlib's struct timeval: a 64-bit time_t, then a long, padded.
        seconds, nanoseconds = divmod(self.clock.nanoseconds, NANOSECONDS)
        self.memory.store(address, struct.pack("<qi4x", seconds, nanoseconds // 1000))
        return 0

    def _time(self, address: int) -> int:
        seconds = self.clock.nanoseconds // NANOSECONDS
        if address:
            self.memory.store(address, struct.pack("<q", seconds))
        return seconds

    def _times(self, address: int) -> int:
        ticks = self.clock.nanoseconds * USER_HZ // NANOSECONDS & 0x7FFF_FFFF
        if address:
            self.memory.store(address, struct.pack("<IIII", ticks, 0, 0, 0))
        return ticks

    def _uname(self, address: int) -> int:
        names = (b"Linux", b"rvsim", b"6.1.0", b"rvsim", b"riscv32", b"(none)")
        self.memory.store(address, b"".join(name.ljust(65, b"\0") for name in names))
        return 0

    def _getrandom(self, address: int, size: int) -> int:
        memory = self.memory.writable(address, min(size, MAX_RANDOM))
        data = bytearray()
        while len(data) < len(memory):
            data += self._next_random().to_bytes(8, "little")
        memory[:] = data[: len(memory)]
        return len(memory)

    def _next_random(self) -> int:
        """SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
        mask = (1 << 64) - 1
        self._random = value = (self._random + 0x9E37_79B9_7F4A_7C15) & mask
        value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9 & mask
        value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB & mask
        return value ^ value >> 31

    def _brk(self, address: int) -> int:
        top = self._mapped if self._mapped < self.heap[1] & -PAGE else self.heap[1]
        if self.heap[0] <= address <= top:
            self.break_ = address
        return self.break_

    def _mmap(self, address: int, size: int, protection: int, flags: int) -> int:
        """Zeroed pages anywhere, whatever the protection; there are no mappings of files or at given addresses."""
        if not size or flags & MAP_FIXED:
            raise HostError("EINVAL")
        if not flags & MAP_ANONYMOUS:
            raise HostError("ENODEV")
        size = size + PAGE - 1 & -PAGE
        found = next((n for n, (start, end) in enumerate(self._free) if end - start >= size), None)
        if found is not None:
            start, end = self._free.pop(found)
            base = end - size
            if start < base:
                self._free.insert(found, (start, base))
        else:
            base = self._mapped - size
            if base < self.break_:
                raise HostError("ENOMEM")
            self._mapped = base
        for at in range(base, base + size, MAX_TRANSFER):
            self.memory.store(at, bytes(min(MAX_TRANSFER, base + size - at)))
        return base

    def _munmap(self, address: int, size: int) -> int:
        end = address + size + PAGE - 1 & -PAGE
        if address % PAGE or not size or address < self._mapped or end > self.heap[1]:
            raise HostError("EINVAL")
        free: list[tuple[int, int]] = []
        for start, stop in sorted([*self._free, (address, end)]):
            if free and start <= free[-1][1]:
                free[-1] = free[-1][0], max(stop, free[-1][1])
            else:
                free.append((start, stop))
        if free[0][0] == self._mapped:
            self._mapped = free.pop(0)[1]
        self._free = free
        return 0

    def _kill(self, process: int, signal: int) -> int:
        if signal > SIGNALS:
            raise HostError("EINVAL")
        if signal:
            # As a shell reports a program that a signal ended.
            raise Exit(128 + signal)
        return 0

    def _exit(self, code: int) -> int:
        raise Exit(code & 0xFF)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def got(result: T | int) -> T:
    """What a method of `HostFiles` gave, or its errno raised."""
    if isinstance(result, int):
        raise HostError(result)
    return result
