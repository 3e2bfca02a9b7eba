"""Source text to statements: comments and the statements of a line apart, labels and mnemonic split off."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rvsim.asm.errors import Place, Problem

MAX_STATEMENT = 1 << 16
"""Longest statement in characters, macro arguments put in."""

_SCAN = re.compile(r"""("(?:\\.|[^"\\\n])*"?)|('(?:\\.|[^\\\n]))|(/\*)|(\#|//)|(;)|(\n)""")
_HEAD = re.compile(
    r"\s*(?:(?P<label>[A-Za-z_.$][\w.$]*|\d+)\s*:(?!:)"
    r"|(?P<assigned>[A-Za-z_.$][\w.$]*)\s*(?P<equals>==?)(?!=)"
    r"|(?P<mnemonic>[A-Za-z_.$][\w.$]*)(?=\s|\Z|[\"'(\\%@<,-])"
    r"|(?P<end>\Z)|(?P<bad>\S))"
)


@dataclass
class Raw:
    """One statement as text; `column` is the offset of its first character in the line of its place."""

    text: str
    place: Place
    column: int = 0


@dataclass
class Statement:
    """One statement, split.

    Attributes
    ----------
    labels : list of (str, int)
        Names, or digits of local labels, and their offsets.
    name : str
        Mnemonic or directive, as written; empty when there are labels only.
    name_column, column : int
        Offsets of the name and of the operand text.
    operands : str
        What follows the name.
    """

    labels: list[tuple[str, int]]
    name: str
    name_column: int
    operands: str
    column: int


def split_source(text: str, file: str, first: int = 1) -> tuple[list[Raw], list[tuple[Place, int, str]]]:
    """Cut a source into statements, without comments, and the errors met on the way.

    Parameters
    ----------
    first : int
        Number of the first line.
    """
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    statements: list[Raw] = []
    errors: list[tuple[Place, int, str]] = []
    line, line_start, start = first, 0, 0
    pieces: list[str] = []
    broken = False

    def place() -> Place:
        return Place(file, line, lines[line - first])

    def flush(end: int) -> None:
        nonlocal broken
        pieces.append(text[start:end])
        body = "".join(pieces)
        pieces.clear()
        if body.strip() and not broken:
            statements.append(Raw(body, place(), column=max(0, end - len(body) - line_start)))
        broken = False

    at = 0
    while (found := _SCAN.search(text, at)) is not None:
        at = found.end()
        kind = found.lastindex
        if kind == 1:
            if len(found[1]) < 2 or not found[1].endswith('"'):
                errors.append((place(), found.start() - line_start + 1, "expected a closing quote in this line"))
                broken = True
        elif kind == 3:
            end = text.find("*/", at)
            if end < 0:
                errors.append((place(), found.start() - line_start + 1, "expected */ at the end of this comment"))
                end = len(text)
            stop = min(len(text), end + 2)
            newlines = text.count("\n", at, stop)
            if newlines:
                flush(found.start())
                line += newlines
                line_start = text.rfind("\n", at, stop) + 1
                # What follows the comment keeps its column.
                start = stop
            else:
                pieces.append(text[start : found.start()] + " " * (stop - found.start()))
                start = stop
            at = stop
        elif kind == 4:
            end = text.find("\n", at)
            flush(found.start())
            at = start = end if end >= 0 else len(text)
        elif kind == 5:
            flush(found.start())
            start = at
        elif kind == 6:
            flush(found.start())
            start, line, line_start = at, line + 1, at
    flush(len(text))
    return statements, errors


def split_statement(raw: Raw) -> Statement:
    """Labels, name and operand text of a statement.

    Raises
    ------
    Problem
        It begins with neither; columns count from the start of the statement.
    """
    text = raw.text
    if len(text) > MAX_STATEMENT:
        raise Problem(f"expected a statement of at most {MAX_STATEMENT} characters, found {len(text)}", 0)
    labels: list[tuple[str, int]] = []
    at = 0
    while True:
        found = _HEAD.match(text, at)
        assert found is not None
        kind = found.lastgroup
        if kind == "label":
            labels.append((found["label"], found.start("label")))
            at = found.end()
        elif kind == "mnemonic":
            return Statement(labels, found["mnemonic"], found.start("mnemonic"), text[found.end() :], found.end())
        elif kind == "equals":
            # NAME = expression, as .set NAME, expression; NAME == expression, as .equiv.
            directive = ".set" if found["equals"] == "=" else ".equiv"
            blank = " " * (found.start("assigned"))
            operands = f"{blank}{found['assigned']},".ljust(found.end()) + text[found.end() :]
            return Statement(labels, directive, found.start("assigned"), operands, 0)
        elif kind == "end":
            return Statement(labels, "", at, "", at)
        else:
            raise Problem(
                f"expected a label, an instruction or a directive, found {found['bad']!r}", found.start("bad")
            )
