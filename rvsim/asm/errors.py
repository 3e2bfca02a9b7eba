"""What is wrong with a source: places, diagnostics, and the error that carries all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from rvsim.errors import InputFileError

MAX_ERRORS = 20


@dataclass(frozen=True)
class Place:
    """Where a statement stands.

    Attributes
    ----------
    file : str
    line : int
        Counted from 1.
    text : str
        The line; of a macro's body, after its arguments were put in.
    origin : Place or None
        The statement that expanded the macro this one comes from.
    """

    file: str
    line: int
    text: str
    origin: Place | None = None

    @property
    def outermost(self) -> Place:
        """The place in a file that a reader would look at: outside all macros."""
        place = self
        while place.origin is not None:
            place = place.origin
        return place


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning.

    Attributes
    ----------
    place : Place
    column : int
        Counted from 1.
    message : str
    warning : bool
    """

    place: Place
    column: int
    message: str
    warning: bool = False

    def __str__(self) -> str:
        place, shown = self.place, self.place.text.replace("\t", " ")
        # Very long lines are cut around the column, so that the caret stays on the screen.
        start = max(0, self.column - 80)
        lines = [
            f"{place.file}:{place.line}:{self.column}: {'warning: ' if self.warning else ''}{self.message}",
            f"    {shown[start : start + 120]}".rstrip(),
            f"    {' ' * (self.column - 1 - start)}^",
        ]
        origins, origin = 0, place.origin
        while origin is not None and origins < 3:
            lines.append(f"    expanded at {origin.file}:{origin.line}: {origin.text.strip()[:80]}")
            origins, origin = origins + 1, origin.origin
        return "\n".join(lines)


class AssemblyError(InputFileError):
    """A source that does not assemble.

    Attributes
    ----------
    diagnostics : list of Diagnostic
        At most `MAX_ERRORS` errors, in the order they were found, and the warnings between them.
    """

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(str(each) for each in diagnostics))


class Problem(Exception):
    """An error at a column of the statement being assembled; the assembler adds the place."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.message, self.column = message, column


class Report:
    """Collects diagnostics; gives up after `MAX_ERRORS` errors."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.errors = 0

    def error(self, place: Place, column: int, message: str) -> None:
        # Both halves of a pseudo-instruction complain about their one operand.
        if any(each.place is place and each.message == message for each in self.diagnostics[-2:]):
            return
        self.diagnostics.append(Diagnostic(place, max(1, column), message))
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            self.check()

    def warning(self, place: Place, column: int, message: str) -> None:
        if len(self.diagnostics) < 1000:
            self.diagnostics.append(Diagnostic(place, max(1, column), message, warning=True))

    def check(self) -> None:
        """Raise what was collected, if there is an error in it."""
        if self.errors:
            raise AssemblyError(self.diagnostics)


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for a misspelt name, empty when nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
