"""Files of the host: what a program can do with them, and that nothing outside the folder can be reached."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.errors import UsageError
from rvsim.machine import hostfs
from rvsim.machine.hostfs import (
    LINUX_ERRNO,
    MAX_FILE,
    MAX_OPEN,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    HostFiles,
    Status,
)

EACCES, EBADF, EEXIST, EFBIG, EINVAL, EIO, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY = (
    -LINUX_ERRNO[name]
    for name in ("EACCES", "EBADF", "EEXIST", "EFBIG", "EINVAL", "EIO", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG",
                 "ENOENT", "ENOTDIR", "ENOTEMPTY")
)  # fmt: skip
SECRET = "outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what could lead out of it, beside a file that must stay as it is."""
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "file").write_bytes(b"0123456789")
    (inside / "sub" / "deep").write_bytes(b"deep")
    (tmp_path / "secret").write_text(SECRET)
    (inside / "link").symlink_to("../secret")
    (inside / "absolute").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to("..")
    (inside / "within").symlink_to("file")
    (inside / "dangling").symlink_to(tmp_path / "made")
    os.mkfifo(inside / "fifo")
    return inside


@pytest.fixture
def files(folder: Path) -> HostFiles:
    return HostFiles(folder)


# --------------------------------------------------------------------------------------------------------------- bounds

HOSTILE = [
    (b"../secret", EACCES),
    (b"/../secret", EACCES),
    (b"sub/../../secret", EACCES),
    (b"sub/../file", EACCES),
    (b"..", EACCES),
    (b"link", ELOOP),
    (b"absolute", ELOOP),
    (b"dangling", ELOOP),
    (b"within", ELOOP),
    (b"up/secret", ENOTDIR),
    (b"up/inside/file", ENOTDIR),
    (b"fifo", EACCES),
    (b"fifo/x", ENOTDIR),
    (b"", ENOENT),
    (b"nothing/x", ENOENT),
    (b"file/x", ENOTDIR),
    (b"fi\0le", EINVAL),
    (b"x" * 256, ENAMETOOLONG),
    (b"x/" * 2048, ENAMETOOLONG),
    (b"/etc/passwd", ENOENT),
    (b"/dev/null", ENOENT),
    (b"\xff\xfe/x", ENOENT),
]


@pytest.mark.parametrize(("path", "error"), HOSTILE)
@pytest.mark.parametrize("flags", [0, O_RDWR, O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_TRUNC, O_WRONLY | O_APPEND])
def test_paths_that_lead_elsewhere(files: HostFiles, folder: Path, path: bytes, error: int, flags: int) -> None:
    before = sorted(os.listdir(folder.parent)), sorted(os.listdir(folder))
    result = files.open(path, flags)
    # A symbolic link in the middle is ELOOP or ENOTDIR by host.
    assert result == error or (path.startswith(b"up/") and result == ELOOP)
    assert (sorted(os.listdir(folder.parent)), sorted(os.listdir(folder))) == before
    assert (folder.parent / "secret").read_text() == SECRET


def test_names_that_lead_elsewhere(files: HostFiles, folder: Path) -> None:
    assert [files.status(p) for p in (b"link", b"fifo", b"../secret")] == [ELOOP, EACCES, EACCES]
    assert [files.rename(b"file", b"../stolen"), files.rename(b"../secret", b"mine")] == [EACCES, EACCES]
    assert [files.remove(b"../secret"), files.remove(b"..", folder=True)] == [EACCES, EACCES]
    assert files.make_folder(b"../made") == EACCES
    assert files.rename(b"file", b"up/stolen") in (ENOTDIR, ELOOP)
    # A link is removed, not what it leads to.
    assert files.remove(b"link") == 0
    assert sorted(os.listdir(folder.parent)) == ["inside", "secret"]
    assert (folder.parent / "secret").read_text() == SECRET


@given(st.lists(st.sampled_from([b"..", b".", b"", b"sub", b"link", b"up", b"secret", b"file", b"\xff", b"fifo"])))
def test_no_path_of_such_parts_opens_the_secret(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    folder = tmp_path_factory.getbasetemp() / "hostile" / "inside"
    if not folder.exists():
        (folder / "sub").mkdir(parents=True)
        (folder / "file").write_bytes(b"fine")
        (folder.parent / "secret").write_text(SECRET)
        (folder / "link").symlink_to("../secret")
        (folder / "up").symlink_to("..")
    files = HostFiles(folder)
    for path in (b"/".join(parts), b"/" + b"/".join(parts)):
        fd = files.open(path, 0)
        if fd > 0:
            assert files.read(fd, 10) == b"fine"
    files.close_all()


def test_without_a_folder_there_is_nothing() -> None:
    files = HostFiles()
    assert [files.open(p, O_RDWR | O_CREAT) for p in (b"x", b"/etc/passwd", b"", b".")] == [ENOENT] * 4
    assert [files.status(b"/"), files.remove(b"x"), files.rename(b"x", b"y"), files.make_folder(b"x")] == [ENOENT] * 4


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--host-dir: expected a folder that can be read, found .*nothing"):
        HostFiles(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Not a directory"):
        HostFiles(tmp_path / "file")


def test_limits(files: HostFiles, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fds = [files.open(b"file", 0) for _ in range(MAX_OPEN + 2)]
    assert fds == [*range(3, 3 + MAX_OPEN), EMFILE, EMFILE]
    assert (files.close(10), files.open(b"file", 0)) == (0, 10)
    assert (files.close(11), files.open(b"sub/deep", O_RDWR)) == (0, 11)
    assert [files.seek(11, MAX_FILE), files.write(11, b"x"), files.seek(11, MAX_FILE + 1)] == [MAX_FILE, EFBIG, EINVAL]
    assert [files.write(11, b"x", 1 << 63), files.write(11, b"x", -1)] == [EFBIG, EINVAL]
    assert [files.truncate(11, MAX_FILE + 1), files.truncate(11, 1 << 63), files.truncate(11, -1)] == [
        EFBIG, EFBIG, EINVAL,
    ]  # fmt: skip
    assert [files.read(11, 4, 1 << 63), files.read(11, -1), files.read(11, 1, -1)] == [b"", EINVAL, EINVAL]
    assert (folder / "sub" / "deep").read_bytes() == b"deep"
    monkeypatch.setattr(hostfs, "MAX_TRANSFER", 4)
    assert (files.read(10, 100), files.write(11, b"longer")) == (b"0123", EFBIG)
    files.seek(11, 0)
    assert files.write(11, b"longer") == 4


# ------------------------------------------------------------------------------------------------------------------ use


@pytest.mark.parametrize("path", [b"file", b"/file", b"./file", b"//./file", b"sub/deep", b"/sub//deep"])
def test_paths_are_relative_to_the_folder(files: HostFiles, path: bytes) -> None:
    fd = files.open(path, 0)
    assert fd == 3
    assert files.read(fd, 4) in (b"0123", b"deep")
    assert isinstance(files.status(path), Status)


def test_the_folder_may_move_and_the_working_directory_change(
    files: HostFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rename(folder.with_name("moved"))
    monkeypatch.chdir("/")
    assert files.open(b"file", 0) == 3


def test_reading_and_seeking(files: HostFiles) -> None:
    fd = files.open(b"file", 0)
    assert [files.read(fd, 3), files.read(fd, 3), files.read(fd, 2, 8), files.read(fd, 3)] == [
        b"012", b"345", b"89", b"678",
    ]  # fmt: skip
    assert [files.seek(fd, 2), files.seek(fd, 3, 1), files.seek(fd, -1, 2), files.seek(fd, -10, 2)] == [2, 5, 9, 0]
    assert [files.seek(fd, -1), files.seek(fd, 0, 3)] == [EINVAL, EINVAL]
    assert [files.seek(fd, 20), files.read(fd, 1), files.write(fd, b"x")] == [20, b"", EBADF]
    status = files.fstat(fd)
    assert isinstance(status, Status) and (status.size, status.mode & 0o170000) == (10, 0o100000)
    assert [files.isatty(fd), files.close(fd), files.close(fd), files.isatty(fd)] == [0, 0, EBADF, EBADF]
    assert [files.read(fd, 1), files.write(fd, b""), files.seek(fd, 0), files.fstat(fd), files.flags(fd)] == [EBADF] * 5


@pytest.mark.parametrize(
    ("flags", "first", "after"),
    [
        (O_WRONLY, EBADF, b"ab23456789"),
        (O_RDWR, b"012", b"012ab56789"),
        (O_RDWR | O_TRUNC, b"", b"ab"),
        (O_RDWR | O_CREAT, b"012", b"012ab56789"),
        (O_WRONLY | O_APPEND, EBADF, b"0123456789ab"),
        (O_RDWR | O_APPEND, b"012", b"0123456789ab"),
        # nothing is cut by a file that is only read
        (O_TRUNC, b"012", b"0123456789"),
    ],
)
def test_flags(files: HostFiles, folder: Path, flags: int, first: bytes | int, after: bytes) -> None:
    fd = files.open(b"file", flags)
    assert files.read(fd, 3) == first
    assert files.write(fd, b"ab") == (2 if flags & 3 else EBADF)
    assert (folder / "file").read_bytes() == after


def test_making_files(files: HostFiles, folder: Path) -> None:
    assert [files.open(b"new", f) for f in (O_WRONLY, O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_CREAT | O_EXCL)] == [
        ENOENT, 3, EEXIST,
    ]  # fmt: skip
    assert files.open(b"tool", O_WRONLY | O_CREAT, 0o6777) == 4
    assert (folder / "tool").stat().st_mode & 0o7111 == 0
    assert [files.open(b"sub", 0), files.open(b"/", 0), files.open(b"sub", O_RDWR | O_CREAT)] == [EISDIR] * 3
    assert [files.open(b"file", O_DIRECTORY), files.open(b"file", 3), files.open(b"new2/", O_RDWR | O_CREAT)] == [
        ENOTDIR, EINVAL, ENOENT,
    ]  # fmt: skip


def test_names(files: HostFiles, folder: Path) -> None:
    assert [files.make_folder(b"made"), files.make_folder(b"made"), files.rename(b"file", b"made/file")] == [
        0, EEXIST, 0,
    ]  # fmt: skip
    assert [files.remove(b"made"), files.remove(b"made", folder=True), files.remove(b"file")] == [
        EISDIR, ENOTEMPTY, ENOENT,
    ]  # fmt: skip
    assert [files.remove(b"made/file"), files.remove(b"made", folder=True), files.status(b"made")] == [0, 0, ENOENT]
    assert sorted(os.listdir(folder / "sub")) == ["deep"]


# ------------------------------------------------------------------------------------------------------------ snapshots


def round_trip(files: HostFiles, into: HostFiles) -> list[str]:
    return into.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(files.state())))


def test_states_continue_in_another_process(files: HostFiles, folder: Path) -> None:
    reading, writing = files.open(b"file", 0), files.open(b"log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)
    files.read(reading, 4)
    files.write(writing, b"one ")
    other = HostFiles(folder)
    assert round_trip(files, other) == []
    # What the first process still wrote is written again by the second, once.
    files.write(writing, b"two ")
    state = other.state()
    assert round_trip(other, other) == [] and other.state() == state
    other.restore(state)
    assert (other.read(reading, 2), other.write(writing, b"two "), other.open(b"file", 0)) == (b"45", 4, 5)


def test_a_replay_appends_once(files: HostFiles, folder: Path) -> None:
    fd = files.open(b"log", O_WRONLY | O_CREAT | O_APPEND)
    files.write(fd, b"one ")
    state = files.state()
    for _ in range(3):
        files.write(fd, b"two ")
        assert (folder / "log").read_bytes() == b"one two "
        files.restore(state)


def test_a_file_that_is_gone(files: HostFiles, folder: Path) -> None:
    fd = files.open(b"file", 0)
    files.read(fd, 1)
    state = files.state()
    files.remove(b"file")
    (lost,) = files.restore(state)
    assert lost.startswith("file: the program has it open, and it cannot be opened again: ")
    assert [files.read(fd, 1), files.fstat(fd), files.seek(fd, 0), files.close(fd)] == [EIO, EIO, EIO, 0]


def test_a_state_cannot_reach_outside_either(files: HostFiles) -> None:
    assert len(files.restore({"files": {"3": [b"../secret", O_RDWR, 0, 0], "4": [b"link", 0, 0, 0]}})) == 2
    assert [files.read(3, 1), files.write(3, b"x"), files.read(4, 1)] == [EIO] * 3


def test_descriptors_are_given_back(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    files = HostFiles(folder)
    for path in (b"file", b"sub/deep", b"fifo", b"link", b"../x", b"sub/nothing"):
        files.open(path, 0)
        files.status(path)
    del files
    assert not before or len(os.listdir("/proc/self/fd")) == before
