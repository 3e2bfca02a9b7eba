"""The three streams of a program, with positions: a replay prints nothing twice and reads the same input again."""

from __future__ import annotations

import os
import sys

from rvsim.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STDOUT, STDERR = 1, 2
MAX_HISTORY = 64 << 20
"""Bytes of input that are kept for replays; the oldest go first."""
# What a chunk of history weighs beside its bytes, so that many empty ones are bounded too.
CHUNK = 64


class Console:
    """Standard output, error and input.

    Parameters
    ----------
    stdout, stderr : callable, optional
        Take bytes; the process's own streams by default.
    stdin : callable, optional
        Gives at most n bytes; empty at the end. The process's own stream by default.
    keep_history : bool
        Keep what is read, so that `restore` can go back behind it. May be set later: history begins then.
    """

    def __init__(
        self,
        stdout: Callable[[bytes], object] | None = None,
        stderr: Callable[[bytes], object] | None = None,
        stdin: Callable[[int], bytes] | None = None,
        *,
        keep_history: bool = False,
    ) -> None:
        self._writers = {STDOUT: stdout or _writer("stdout"), STDERR: stderr or _writer("stderr")}
        self._reader = stdin or _read_stdin
        self._ask = _stdin_ready if stdin is None else lambda: True
        self._terminal = _stdin_is_terminal if stdin is None else lambda: False
        self.keep_history = keep_history
        self.reset()

    def reset(self) -> None:
        """Begin again: output is printed once more, input goes on where it is."""
        self._written = {STDOUT: 0, STDERR: 0}
        # The furthest each output stream has got; up to there it has been printed.
        self._printed = {STDOUT: 0, STDERR: 0}
        self._read = 0  # bytes of input the program has had
        self._misses = 0  # how often `ready` has said no since the last read
        # Input is chunks by number: a read's bytes (none at the end of file), and how often `ready` said no before it.
        self._chunks: dict[int, tuple[bytes, int]] = {}
        self._first, self._at, self._offset = 0, 0, 0  # number of the oldest chunk kept, of the next to read, bytes had
        self._weight = 0
        self._future_misses = 0  # the same count behind the last chunk
        self._skip = 0  # bytes of input to drop, that the program had in an earlier process

    # ------------------------------------------------------------ output
    def write(self, stream: int, data: bytes) -> None:
        """Print to `STDOUT` or `STDERR` what has not been printed before."""
        start = self._written[stream]
        self._written[stream] = end = start + len(data)
        if end > self._printed[stream]:
            new = data[max(0, self._printed[stream] - start) :]
            self._printed[stream] = end
            self._writers[stream](new)

    # ------------------------------------------------------------ input
    @property
    def _replaying(self) -> bool:
        return self._at < self._first + len(self._chunks)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; waits for the first one as read(2) does. Empty at the end of input."""
        if size <= 0:
            return b""
        if self._replaying:
            data = self._chunks[self._at][0]
            got = data[self._offset : self._offset + size]
            self._offset += len(got)
            if self._offset == len(data):
                self._at, self._offset = self._at + 1, 0
        else:
            self._catch_up()
            got = self._reader(size)[:size]
            if self.keep_history:
                self._chunks[self._at] = got, self._misses
                self._weight += len(got) + CHUNK
                while self._weight > MAX_HISTORY:
                    self._weight -= len(self._chunks.pop(self._first)[0]) + CHUNK
                    self._first += 1
            else:
                self._first += 1
            self._at, self._future_misses = self._at + 1, 0
        self._read += len(got)
        self._misses = 0
        return got

    def ready(self) -> bool:
        """Whether `read(1)` returns without waiting; so it does at the end of input."""
        if self._replaying:
            answer = self._offset > 0 or self._misses >= self._chunks[self._at][1]
        elif self._misses < self._future_misses:
            answer = False
        else:
            self._catch_up()
            answer = self._ask()
        self._misses += not answer
        if not self._replaying:
            self._future_misses = max(self._future_misses, self._misses)
        return answer

    def _catch_up(self) -> None:
        """Drop the input that this program had in an earlier process; a terminal's user would not type it again."""
        if self._skip and self._terminal():
            self._skip = 0
        while self._skip:
            dropped = len(self._reader(min(self._skip, 1 << 16)))
            self._skip = self._skip - dropped if dropped else 0

    # ------------------------------------------------------------ snapshots
    def state(self) -> dict[str, Any]:
        """Positions; msgspec-encodable."""
        return {
            "written": [self._written[STDOUT], self._written[STDERR]],
            "read": self._read,
            "chunk": self._at,
            "offset": self._offset,
            "misses": self._misses,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go to the positions of `state`.

        Within this console's past: what has been printed is not printed again, what has been read is read again. In a
        new process, whose past ends before `state`: output goes on behind it, and the same input is expected again from
        its beginning (a terminal's goes on).

        Raises
        ------
        UsageError
            When the input since then was not kept.
        """
        at, offset, ahead = state["chunk"], state["offset"], state["read"] - self._read
        end = self._first + len(self._chunks)
        if not (self._first <= at < end or (at == end and not offset)):
            if at < self._first or ahead < 0:
                raise UsageError(
                    f"cannot go back to byte {state['read']} of the input: it was not kept (history is off, or reaches "
                    f"back {MAX_HISTORY >> 20} MiB only)"
                )
            # The chunks up to there are of another process; the list begins at theirs.
            self._chunks.clear()
            self._first, self._weight, self._future_misses, offset = at, 0, 0, 0
            self._skip += ahead
        self._at, self._offset = at, offset
        self._read, self._misses = state["read"], state["misses"]
        for stream, position in zip((STDOUT, STDERR), state["written"], strict=True):
            self._written[stream] = position
            self._printed[stream] = max(self._printed[stream], position)


def _read_stdin(size: int) -> bytes:
    try:
        # What is there now, as read(2) on a terminal or pipe.
        return os.read(sys.stdin.fileno(), size)
    except (AttributeError, OSError, ValueError):  # closed, or replaced by something that is no file (a notebook)
        return b""


def _stdin_ready() -> bool:
    import select

    try:
        return bool(select.select([sys.stdin.fileno()], [], [], 0)[0])
    except (AttributeError, OSError, ValueError):
        return True


def _stdin_is_terminal() -> bool:
    try:
        return os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):
        return False


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
