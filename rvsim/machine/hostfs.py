"""Files of the host that a program may use: regular ones below one folder, and nothing else.

A path is walked one component at a time from the folder's descriptor without following symbolic links, so no name can
lead outside, whatever lies in the folder.
"""

from __future__ import annotations

import errno
import os
import stat

from rvsim.errors import UsageError
from rvsim.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

MAX_OPEN = 64
MAX_TRANSFER = 1 << 20
"""Bytes that one read or write moves at most; more is served in part, as read(2) and write(2) may."""
MAX_FILE = 1 << 30
"""Size in bytes that a program can make a file."""
MAX_PATH = 4096
FIRST = 3

# Open flags of RISC-V Linux (include/uapi/asm-generic/fcntl.h).
O_WRONLY, O_RDWR, O_ACCMODE = 1, 2, 3
O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY = 0o100, 0o200, 0o1000, 0o2000, 0o200000
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2

# Linux errno values (include/uapi/asm-generic/errno-base.h, errno.h); those of another host may differ.
LINUX_ERRNO = {
    "EPERM": 1, "ENOENT": 2, "EINTR": 4, "EIO": 5, "ENXIO": 6, "EBADF": 9, "EAGAIN": 11, "ENOMEM": 12, "EACCES": 13,
    "EFAULT": 14, "EBUSY": 16, "EEXIST": 17, "EXDEV": 18, "ENODEV": 19, "ENOTDIR": 20, "EISDIR": 21, "EINVAL": 22,
    "ENFILE": 23, "EMFILE": 24, "ENOTTY": 25, "ETXTBSY": 26, "EFBIG": 27, "ENOSPC": 28, "ESPIPE": 29, "EROFS": 30,
    "EMLINK": 31, "EPIPE": 32, "ERANGE": 34, "ENAMETOOLONG": 36, "ENOSYS": 38, "ENOTEMPTY": 39, "ELOOP": 40,
    "EDQUOT": 122,
}  # fmt: skip


class Status(Record):
    """What fstat tells: type and permissions as `st_mode`, and the size in bytes."""

    mode: int
    size: int


class HostError(Exception):
    """A call that is refused; `number` is its result, a negative Linux errno."""

    def __init__(self, error: str | int) -> None:
        super().__init__(error)
        self.number = -LINUX_ERRNO[error] if isinstance(error, str) else error


def _number(error: OSError) -> int:
    """A negative Linux errno for a host's error."""
    return -LINUX_ERRNO.get(errno.errorcode.get(error.errno or 0, ""), LINUX_ERRNO["EIO"])


def _answer(method: Callable[P, R]) -> Callable[P, R | int]:
    """Make what a method raises its result: a negative Linux errno."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R | int:
        try:
            return method(*args, **kwargs)
        except HostError as refused:
            return refused.number
        except OSError as error:
            return _number(error)

    call.__doc__ = method.__doc__
    return call


class _File:
    """An open file; `handle` is the host's descriptor, or -1 where a restored file is gone."""

    def __init__(self, path: bytes, flags: int, handle: int, position: int = 0) -> None:
        self.path, self.flags, self.handle, self.position = path, flags, handle, position

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE != O_WRONLY

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE != 0


class _Place:
    """A name in an open folder, which is closed behind the `with`."""

    def __init__(self, folder: int, name: bytes) -> None:
        self.folder, self.name = folder, name

    def __enter__(self) -> tuple[int, bytes]:
        return self.folder, self.name

    def __exit__(self, *_: object) -> None:
        os.close(self.folder)


class HostFiles:
    """Open files of a program, by descriptors from 3 on.

    Every method returns a result, or a negative Linux errno; none raises for what a program asks.

    Parameters
    ----------
    folder : path, optional
        What the program sees as its root and working directory. Without one there are no files.

    Raises
    ------
    UsageError
        When the folder cannot be opened.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder
        self._root = -1
        self._files: dict[int, _File] = {}
        if folder is not None:
            try:
                self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise UsageError(
                    f"--host-dir: expected a folder that can be read, found {os.fspath(folder)!r}: {error.strerror}"
                ) from None

    def close_all(self) -> None:
        """Close the program's files."""
        for file in self._files.values():
            if file.handle >= 0:
                os.close(file.handle)
        self._files = {}

    def __del__(self) -> None:
        if getattr(self, "_root", -1) >= 0:
            self.close_all()
            os.close(self._root)
            self._root = -1

    # ------------------------------------------------------------ names
    def _parent(self, path: bytes) -> _Place:
        """Descriptor of the folder that holds `path`, and the last component's name (``.`` for the root itself)."""
        if self._root < 0 or not path:
            raise HostError("ENOENT")
        if len(path) >= MAX_PATH:
            raise HostError("ENAMETOOLONG")
        if b"\0" in path:
            raise HostError("EINVAL")
        names = [name for name in path.split(b"/") if name not in (b"", b".")]
        if b".." in names:
            raise HostError("EACCES")
        at = os.dup(self._root)
        try:
            for name in names[:-1]:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                os.close(at)
                at = below
        except BaseException:
            os.close(at)
            raise
        return _Place(at, names[-1] if names else b".")

    @_answer
    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int:
        """Open or create a regular file.

        Parameters
        ----------
        path : bytes
            Below the folder; a leading slash means the folder itself.
        flags : int
            Of RISC-V Linux; those that are not named here have no effect.
        mode : int
            Permissions of a new file, without execution, under the process's umask.
        """
        number = next(n for n in range(FIRST, FIRST + MAX_OPEN + 1) if n not in self._files)
        if number == FIRST + MAX_OPEN:
            raise HostError("EMFILE")
        if flags & O_ACCMODE == O_ACCMODE:
            raise HostError("EINVAL")
        handle = self._open(path, flags, mode)
        self._files[number] = _File(path, flags & (O_ACCMODE | O_APPEND), handle)
        return number

    def _open(self, path: bytes, flags: int, mode: int) -> int:
        host = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)[flags & O_ACCMODE]
        # A FIFO would block; opening a device or a FIFO may already do something.
        host |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        if flags & O_CREAT:
            host |= os.O_CREAT | (os.O_EXCL if flags & O_EXCL else 0)
        with self._parent(path) as (parent, name):
            try:
                _require_regular(os.stat(name, dir_fd=parent, follow_symlinks=False), flags)
            except FileNotFoundError:
                if path.endswith(b"/"):
                    raise HostError("ENOENT") from None
            handle = os.open(name, host, mode & 0o666, dir_fd=parent)
        try:
            _require_regular(os.fstat(handle), flags)
            if flags & O_TRUNC and flags & O_ACCMODE:
                os.ftruncate(handle, 0)
        except BaseException:
            os.close(handle)
            raise
        return handle

    @_answer
    def status(self, path: bytes) -> Status:
        """What lstat tells of a file or folder; symbolic links and special files are refused."""
        with self._parent(path) as (parent, name):
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise HostError("ELOOP")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise HostError("EACCES")
        return _status(found)

    @_answer
    def remove(self, path: bytes, folder: bool = False) -> int:
        """Remove a name (a link itself, not what it leads to); with `folder`, an empty folder."""
        with self._parent(path) as (parent, name):
            if folder:
                os.rmdir(name, dir_fd=parent)
            elif stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise HostError("EISDIR")
            else:
                os.unlink(name, dir_fd=parent)
        return 0

    @_answer
    def rename(self, old: bytes, new: bytes) -> int:
        """Give a file or folder another name, replacing what has it."""
        with self._parent(old) as (from_, source), self._parent(new) as (to, target):
            os.rename(source, target, src_dir_fd=from_, dst_dir_fd=to)
        return 0

    @_answer
    def make_folder(self, path: bytes, mode: int = 0o777) -> int:
        """Make a folder."""
        with self._parent(path) as (parent, name):
            os.mkdir(name, mode & 0o777, dir_fd=parent)
        return 0

    # ------------------------------------------------------------ open files
    def _file(self, fd: int) -> _File:
        file = self._files.get(fd)
        if file is None:
            raise HostError("EBADF")
        if file.handle < 0:
            raise HostError("EIO")
        return file

    @_answer
    def close(self, fd: int) -> int:
        """Close an open file."""
        file = self._files.pop(fd, None)
        if file is None:
            raise HostError("EBADF")
        if file.handle >= 0:
            os.close(file.handle)
        return 0

    @_answer
    def read(self, fd: int, size: int, at: int | None = None) -> bytes:
        """At most `size` bytes from the file's position, which moves, or from `at`. Empty at the end."""
        file = self._file(fd)
        if not file.readable:
            raise HostError("EBADF")
        if size < 0 or (at is not None and at < 0):
            raise HostError("EINVAL")
        if at is not None and at > MAX_FILE:
            return b""
        data = os.pread(file.handle, min(size, MAX_TRANSFER), file.position if at is None else at)
        if at is None:
            file.position += len(data)
        return data

    @_answer
    def write(self, fd: int, data: bytes, at: int | None = None) -> int:
        """Write at the file's position, which moves, or at `at`; behind the end of a file open for appending."""
        file = self._file(fd)
        if not file.writable:
            raise HostError("EBADF")
        if at is not None:
            position = at
        else:
            position = os.fstat(file.handle).st_size if file.flags & O_APPEND else file.position
        if position < 0:
            raise HostError("EINVAL")
        if position + len(data) > MAX_FILE:
            raise HostError("EFBIG")
        done = os.pwrite(file.handle, data[:MAX_TRANSFER], position)
        if at is None:
            file.position = position + done
        return done

    @_answer
    def seek(self, fd: int, offset: int, whence: int = SEEK_SET) -> int:
        """Set the file's position; the new one."""
        file = self._file(fd)
        start = {SEEK_SET: 0, SEEK_CUR: file.position, SEEK_END: os.fstat(file.handle).st_size}.get(whence)
        if start is None or not 0 <= start + offset <= MAX_FILE:
            raise HostError("EINVAL")
        file.position = start + offset
        return file.position

    @_answer
    def truncate(self, fd: int, size: int) -> int:
        """Set the file's size."""
        file = self._file(fd)
        if not file.writable or size < 0:
            raise HostError("EINVAL")
        if size > MAX_FILE:
            raise HostError("EFBIG")
        os.ftruncate(file.handle, size)
        return 0

    @_answer
    def fstat(self, fd: int) -> Status:
        """Type, permissions and size of an open file."""
        return _status(os.fstat(self._file(fd).handle))

    def isatty(self, fd: int) -> int:
        """0 for every open file: terminals cannot be opened."""
        return 0 if fd in self._files else -LINUX_ERRNO["EBADF"]

    def flags(self, fd: int) -> int:
        """Access mode and O_APPEND, as fcntl's F_GETFL gives them."""
        return self._files[fd].flags if fd in self._files else -LINUX_ERRNO["EBADF"]

    # ------------------------------------------------------------ snapshots
    def state(self) -> dict[str, Any]:
        """Open files by descriptor: path, flags, position and size; msgspec-encodable. Contents are not kept."""
        kept = {}
        for number, file in self._files.items():
            found = self.fstat(number)
            size = found.size if isinstance(found, Status) else -1
            kept[str(number)] = [file.path, file.flags, file.position, size]
        return {"files": kept}

    def restore(self, state: dict[str, Any]) -> list[str]:
        """Open the files of `state` again.

        A file that was open for writing is cut to the size it had, so that what the program wrote since is written
        once. What was overwritten, removed or renamed since is not brought back.

        Returns
        -------
        list of str
            A line for each file that cannot be opened any more; its descriptor gives EIO.
        """
        self.close_all()
        lost = []
        for number, (path, flags, position, size) in state["files"].items():
            try:
                handle = self._open(path, flags, 0)
                if flags & O_ACCMODE and 0 <= size < os.fstat(handle).st_size:
                    os.ftruncate(handle, size)
            except (HostError, OSError) as error:
                lost.append(f"{os.fsdecode(path)}: the program has it open, and it cannot be opened again: {error}")
                handle = -1
            self._files[int(number)] = _File(path, flags, handle, position)
        return lost


def _require_regular(found: os.stat_result, flags: int) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise HostError("ELOOP")
    if stat.S_ISDIR(found.st_mode):
        raise HostError("EISDIR")
    if not stat.S_ISREG(found.st_mode):
        raise HostError("EACCES")
    if flags & O_DIRECTORY:
        raise HostError("ENOTDIR")


def _status(found: os.stat_result) -> Status:
    return Status(found.st_mode & 0o170777, found.st_size)
