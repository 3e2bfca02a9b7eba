"""Compiles one loop: a program of its own, started in the background by `rvsim.loops.cache`.

It reads the compiler's command, the file to make and the loop's text from standard input. Whatever goes wrong, the file
then says that there is no library, or is not there: the loop goes on without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rvsim.loops.cache import OPTIONS, pack
from rvsim.loops.code import NotCounted, source

ROOM = 64 << 20  # bytes of the cache
STALE = 3600  # seconds after which what a killed compiler left is removed
TIME = 120  # seconds that a compiler may take


def compile_loop(command: str, description: str, work: Path) -> bytes:
    """The shared library of a loop; empty if there can be none."""
    try:
        text = source(description)
    except NotCounted:
        return b""
    (work / "loop.c").write_text(text)
    words = [sys.executable, "-I", "-m", "ziglang", "cc"] if command == "ziglang" else command.split()
    arguments = [*words, *OPTIONS, "-o", str(work / "loop.so"), str(work / "loop.c")]
    try:
        subprocess.run(arguments, check=True, timeout=TIME, stdin=subprocess.DEVNULL, capture_output=True, cwd=work)
        return (work / "loop.so").read_bytes()
    except (OSError, subprocess.SubprocessError):
        return b""


def store(path: Path, data: bytes, work: Path) -> None:
    """Make the file at once and whole."""
    (work / "packed").write_bytes(data)
    (work / "packed").replace(path)


def prune(folder: Path) -> None:
    """Remove the oldest libraries beyond the cache's room, and what killed compilers left."""
    files = []
    for entry in folder.iterdir():
        status = entry.lstat()
        if entry.name.startswith("loop-") and entry.suffix == ".so":
            files.append((status.st_mtime, status.st_size, entry))
        elif entry.name.startswith("make-") and status.st_mtime < time.time() - STALE:
            for left in entry.iterdir():
                left.unlink()
            entry.rmdir()
    total = sum(size for _, size, _ in files)
    for _, size, entry in sorted(files):
        if total <= ROOM:
            break
        entry.unlink()
        total -= size


def main() -> None:
    """The program."""
    data = sys.stdin.buffer.read()
    try:
        os.setsid()
        os.nice(10)
    except OSError:
        pass
    os.umask(0o077)
    command, name, text = data.decode().split("\n", 2)
    path, description = Path(name), text.split("\n", 1)[1]
    try:
        with tempfile.TemporaryDirectory(prefix="make-", dir=path.parent) as work:
            store(path, pack(compile_loop(command, description, Path(work)), text.encode()), Path(work))
        prune(path.parent)
    except OSError:
        pass
