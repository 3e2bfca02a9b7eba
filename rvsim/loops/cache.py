"""Compiled loops on disk: looked up in microseconds, made in the background.

A file holds a shared library, then the text it was made for, then a check sum of both. The text says everything that
matters: the block's steps, the layout of the hart, this program's version, the compiler, its options and the host's
processor. It is compared whole, so the file's name need only be likely to differ. A file without a library says that
there is none to be had.

A library is code that this process runs: folder and file must belong to the user, and nobody else may write them.
"""

from __future__ import annotations

import os
import struct
import sys
from binascii import crc32

from rvsim._version import __version__

FORMAT = 2  # of the function that the hart calls
OPTIONS = ("-O3", "-march=native", "-fwrapv", "-fno-strict-aliasing", "-shared", "-fPIC", "-w")
MOST = 64  # loops of one process
AT_ONCE = 2  # compilers in the background
_TAIL = struct.Struct("<IIQ")  # check sum of all before, bytes of the text, the mark
_MARK = 0x504F4F4C4D495356  # "VSIMLOOP"


def pack(library: bytes, text: bytes) -> bytes:
    """What a file of the cache holds."""
    return library + text + _TAIL.pack(crc32(library + text), len(text), _MARK)


def library_of(data: bytes, text: bytes) -> int | None:
    """Bytes of the library in a file made for `text`; None if it is another's, or damaged."""
    if len(data) < _TAIL.size:
        return None
    size: int
    check, size, mark = _TAIL.unpack(data[-_TAIL.size :])
    body = data[: -_TAIL.size]
    if mark != _MARK or body[len(body) - size :] != text or check != crc32(body):
        return None
    return len(body) - size


def folder() -> str:
    """Where compiled loops are kept: RVSIM_CACHE, else rvsim in the user's cache."""
    own = os.environ.get("RVSIM_CACHE")
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return own or os.path.join(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache"), "rvsim")


def private(status: os.stat_result) -> bool:
    """Whether a file or folder is the user's own and nobody else may write it."""
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def processor() -> str:
    """What the host's machine code may depend on."""
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    lines: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            for line in file.read(8192).decode("latin-1").splitlines():
                name, _, value = line.partition(":")
                if name.strip() in names:
                    lines.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    return f"{sys.platform} {os.uname().machine} {lines}"


def compiler() -> str:
    """The compiler's path, size and time of change: RVSIM_CC, the first of cc, gcc and clang there is, else ziglang."""
    command = os.environ.get("RVSIM_CC", "")
    words = command.split()
    for name in words[:1] or ("cc", "gcc", "clang"):
        for place in [""] if "/" in name else os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            if os.access(path, os.X_OK):
                return " ".join([path, *words[1:]]) + f"\t{status.st_size} {status.st_mtime_ns}"
    return command + "\t" if words else "ziglang\t"


class Loops:
    """The compiled loops of this process.

    Parameters
    ----------
    wait : bool
        Compile at once and wait for it: tests have every loop compiled.
    """

    def __init__(self, wait: bool = False) -> None:
        self.wait = wait
        self.folder = folder()
        self.children: dict[int, str] = {}
        self.paths: dict[str, str | None] = {}
        self.usable = self._usable()
        self.command, _, identity = compiler().partition("\t")
        self.host = f"{FORMAT} {__version__} {self.command} {identity} {OPTIONS} {processor()}"

    def _usable(self) -> bool:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            if private(os.stat(self.folder)):
                return bool(sys.executable)
        except OSError:
            return False
        sys.stderr.write(
            f"rvsim: note: expected a folder of your own that nobody else may write to, found {self.folder}; "
            "loops are not compiled (RVSIM_CACHE names another folder)\n"
        )
        return False

    def find(self, description: str, make: bool) -> str | None:
        """The library for a loop.

        Parameters
        ----------
        description : str
            The hart's (`rvsim.loops.code`).
        make : bool
            Have it compiled if there is none.

        Returns
        -------
        str or None
            Path of the library; empty when there will be none; None when there is none yet.
        """
        if not self.usable:
            return ""
        text = f"{self.host}\n{description}"
        path = self.paths[text] if text in self.paths else self._look(text)
        if path is None and make and text not in self.children.values():
            if len(self.paths) >= MOST:
                return ""
            if len(self.children) < AT_ONCE:
                self._make(text, description)
                path = self._look(text)
        if path is not None:
            self.paths[text] = path
        return path

    def _file(self, text: str) -> str:
        return os.path.join(self.folder, f"loop-{crc32(text.encode()):08x}{crc32(text[::-1].encode()):08x}.so")

    def _look(self, text: str) -> str | None:
        path = self._file(text)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
                if not private(os.fstat(file.fileno())):
                    return ""
                size = library_of(file.read(), text.encode())
        except OSError:
            return None
        return None if size is None else path if size else ""

    def _make(self, text: str, description: str) -> None:
        """Start a compiler in a session of its own: it may end after this process."""
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        program = f"import sys; sys.path.insert(0, {root!r}); from rvsim.loops.compile import main; main()"
        reads, writes = os.pipe()
        data = f"{self.command}\n{self._file(text)}\n{text}".encode()
        actions = [
            (os.POSIX_SPAWN_DUP2, reads, 0),
            (os.POSIX_SPAWN_CLOSE, writes),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        try:
            child = os.posix_spawn(
                sys.executable, [sys.executable, "-I", "-c", program], os.environ, file_actions=actions
            )
        except OSError:
            self.usable = False
            return
        finally:
            os.close(reads)
        with open(writes, "wb", buffering=0) as pipe:
            try:
                pipe.write(data)
            except OSError:
                pass  # it ended at once; there will be no library
        self.children[child] = text
        if self.wait:
            os.waitpid(child, 0)
            del self.children[child]
            self.paths[text] = self._look(text) or ""

    def poll(self) -> bool:
        """Whether a compiler has ended since the last call."""
        ended = False
        for child in list(self.children):
            try:
                done, _ = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                done = child
            if done:
                text = self.children.pop(child)
                self.paths[text] = self._look(text) or ""
                ended = True
        return ended
