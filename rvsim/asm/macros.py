"""Where statements come from: files, macros and repetitions, each a frame on a stack."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rvsim.asm.errors import Place, Problem
from rvsim.asm.source import MAX_STATEMENT, Raw

MAX_DEPTH = 100
"""Deepest nesting of macros, repetitions and included files (GNU as nests macros 100 deep)."""

MAX_STATEMENTS = 500_000
"""Most statements of an assembly, repeated ones counted each time."""

_ARGUMENT = re.compile(r"\\(@|\(\)|[A-Za-z_$][\w$]*)")
_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z_.$][\w.$]*)\s*(?::\s*(req|vararg))?\s*(?:=\s*(\"(?:\\.|[^\"])*\"|[^\s,]*))?")
_FIRST_WORD = re.compile(r"(?:\s*(?:[A-Za-z_.$][\w.$]*|\d+)\s*:(?!:))*\s*(\.\w+)")


@dataclass
class Macro:
    """A macro: parameters (name, qualifier, default) and body."""

    name: str
    parameters: list[tuple[str, str, str]]
    body: list[Raw]


@dataclass
class Frame:
    """A source of statements; `conditions` is how many .if were open when it began."""

    statements: Iterator[Raw]
    macro: bool
    conditions: int


@dataclass
class Reader:
    """The stack of frames."""

    frames: list[Frame] = field(default_factory=list)
    read: int = 0

    def push(self, statements: Iterator[Raw], conditions: int, macro: bool = False) -> None:
        if len(self.frames) >= MAX_DEPTH:
            raise Problem(f"expected macros, repetitions and .include nested at most {MAX_DEPTH} deep, found more")
        self.frames.append(Frame(statements, macro, conditions))

    def next(self) -> Raw | None:
        """The next statement; None at the end. Frames that came to their end are left."""
        while self.frames:
            raw = next(self.frames[-1].statements, None)
            if raw is not None:
                self.read += 1
                if self.read > MAX_STATEMENTS:
                    raise Problem(
                        f"expected at most {MAX_STATEMENTS} statements, found more; is a repetition too long?"
                    )
                return raw
            self.frames.pop()
        return None

    def body(self, begin: tuple[str, ...], end: tuple[str, ...]) -> list[Raw]:
        """Statements up to the matching end directive, nested pairs included."""
        body: list[Raw] = []
        depth = 0
        for raw in self.frames[-1].statements:
            self.read += 1
            found = _FIRST_WORD.match(raw.text)
            word = found[1] if found else ""
            if word in begin:
                depth += 1
            elif word in end:
                if not depth:
                    return body
                depth -= 1
            body.append(raw)
        raise Problem(
            f"expected {end[0]} behind this, found the end of the {'macro' if len(self.frames) > 1 else 'file'}"
        )

    def leave_macro(self) -> int:
        """`.exitm`: how many .if were open when the macro began."""
        while self.frames:
            frame = self.frames.pop()
            if frame.macro:
                return frame.conditions
        raise Problem("expected .exitm in a macro, found it outside")


def parse_parameters(text: str) -> list[tuple[str, str, str]]:
    """The parameters of `.macro`: ``a, b=1, c:req, d:vararg``."""
    parameters: list[tuple[str, str, str]] = []
    at = 0
    while text[at:].strip():
        found = _PARAMETER.match(text, at)
        if found is None or found.end() == at:
            raise Problem(f"expected a parameter's name, found {text[at:].strip()!r}", at)
        if any(name == found[1] for name, _, _ in parameters):
            raise Problem(f"expected each parameter once, found {found[1]} twice", found.start(1))
        default = found[3] or ""
        parameters.append((found[1], found[2] or "", unquote(default)))
        at = found.end()
    return parameters


def split_arguments(text: str) -> list[tuple[str, int]]:
    """Arguments and their columns: separated by commas, or by blanks between words."""
    arguments: list[tuple[str, int]] = []

    def add(start: int, end: int) -> None:
        part = text[start:end]
        arguments.append((part.strip(), start + len(part) - len(part.lstrip())))

    depth = start = at = 0
    ended = False
    while at < len(text):
        char = text[at]
        if char == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        elif char == "'" and at + 1 < len(text):
            at += 2 if text[at + 1] == "\\" else 1
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth <= 0:
            add(start, at)
            start, ended = at + 1, True
        elif char.isspace() and depth <= 0 and _between_words(text, start, at):
            add(start, at)
            start, ended = at + 1, False
        at += 1
    if text[start:].strip() or (ended and arguments):
        add(start, len(text))
    return arguments


def _between_words(text: str, start: int, at: int) -> bool:
    before, after = text[start:at].rstrip()[-1:], text[at:].lstrip()[:1]
    return bool(re.match(r"[\w.$)\"']", before)) and bool(re.match(r"[\w.$\"'\\%]", after))


def unquote(text: str) -> str:
    """An argument without the quotes around it."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def bind(macro: Macro, text: str) -> dict[str, str]:
    """Values of a macro's parameters for the operands of a call."""
    written = split_arguments(text)
    names = [name for name, _, _ in macro.parameters]
    values: dict[str, str] = {}
    position = 0
    for argument, at in written:
        name, equals, value = argument.partition("=")
        if equals and name.strip() in names and not value.startswith("="):
            values[name.strip()] = unquote(value.strip())
            continue
        if position >= len(names):
            wanted = f"at most {len(names)} arguments" if names else "no arguments"
            raise Problem(f"expected {wanted} for {macro.name}, found {len(written)}", at)
        if macro.parameters[position][1] == "vararg":
            values[names[position]] = text[at:].strip()
            break
        if argument:
            values[names[position]] = unquote(argument)
        position += 1
    for name, qualifier, default in macro.parameters:
        if not values.get(name):
            if qualifier == "req":
                raise Problem(f"expected a value for {name} of {macro.name}, which requires it, found none", 0)
            values[name] = default
    return values


def substitute(text: str, values: dict[str, str], number: int) -> str:
    r"""A body's statement with ``\name``, ``\@`` and ``\()`` put in."""
    if "\\" not in text:
        return text

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name == "@":
            return str(number)
        return "" if name == "()" else values.get(name, found[0])

    result = _ARGUMENT.sub(put, text)
    if len(result) > MAX_STATEMENT:
        raise Problem(f"expected a statement of at most {MAX_STATEMENT} characters, found {len(result)}", 0)
    return result


def expand(
    body: list[Raw], rounds: Iterator[dict[str, str]], origin: Place, number: int, fail: Callable[[Raw, Problem], None]
) -> Iterator[Raw]:
    """A body's statements for each round's values."""
    for values in rounds:
        for raw in body:
            try:
                text = substitute(raw.text, values, number)
            except Problem as problem:
                fail(raw, problem)
                return
            if text is raw.text or text == raw.text:
                yield Raw(text, Place(raw.place.file, raw.place.line, raw.place.text, origin), raw.column)
            else:
                yield Raw(text, Place(raw.place.file, raw.place.line, text, origin), 0)
