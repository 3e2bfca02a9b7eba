"""Text of a CoreDSL 2 description to a lark tree, with errors that point at the offending character."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from rvsim.errors import InputFileError

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

GRAMMAR = Path(__file__).with_name("coredsl.lark")
# The largest public description has some 100 kB; a hostile one of this size takes ten seconds and 0.5 GB to parse.
MAX_BYTES = 1 << 19


class CoreDslError(InputFileError):
    """A description that does not parse or breaks a rule of the language.

    Attributes
    ----------
    file : str
    line, column : int
        Counted from 1; 0 where the error belongs to no place in the text.
    reason : str
        The message without position and caret.
    """

    def __init__(self, reason: str, file: str = "", line: int = 0, column: int = 0, text: str = "") -> None:
        self.reason, self.file, self.line, self.column = reason, file, line, column
        place = f"{file}:{line}:{column}: " if line else (f"{file}: " if file else "")
        lines = text.splitlines()
        caret = ""
        if 0 < line <= len(lines):
            shown = lines[line - 1].replace("\t", " ")
            # Very long lines are cut around the column, so that the caret stays on the screen.
            start = max(0, column - 80)
            caret = f"\n    {shown[start : start + 120]}\n    {' ' * (column - 1 - start)}^"
        super().__init__(f"{place}{reason}{caret}")


class Source:
    """One description file: its name as the user gave it, its text and its tree."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.tree = _parse(text, name)

    def error(self, reason: str, node: Tree | Token | None) -> CoreDslError:
        """Make (not raise) the error `reason` at the place of `node`."""
        line, column = position(node)
        return CoreDslError(reason, self.name, line, column, self.text)


def position(node: Tree | Token | None) -> tuple[int, int]:
    """Line and column (from 1) where a tree or token starts; (0, 0) when it is empty."""
    meta = getattr(node, "meta", node)
    return (getattr(meta, "line", 0) or 0, getattr(meta, "column", 0) or 0)


def read_source(path: Path, name: str | None = None) -> Source:
    """Read and parse one file.

    Raises
    ------
    CoreDslError
        When it cannot be read, is not UTF-8, is too large or does not parse.
    """
    name = name or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CoreDslError(f"expected a description of at most {MAX_BYTES} bytes, found more", name)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise CoreDslError(f"cannot read the description: {error.strerror or error}", name) from None
    except UnicodeDecodeError as error:
        raise CoreDslError(
            f"expected UTF-8 text, found the byte {error.object[error.start]:#04x} at {error.start}", name
        ) from None
    return Source(name, text)


@functools.cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(
        GRAMMAR.read_text(),
        parser="lalr",
        lexer="contextual",
        start="description",
        maybe_placeholders=False,
        propagate_positions=True,
    )


# Names of the grammar's terminals as a person would write them.
_TERMINALS = {
    "ID": "a name",
    "INTEGER": "a number",
    "STRING": "a string",
    "SIGN": "'signed' or 'unsigned'",
    "$END": "the end of the file",
    "SHORTHAND": "'int', 'char', 'short' or 'long'",
}


def _terminal(name: str) -> str:
    if name in _TERMINALS:
        return _TERMINALS[name]
    definition = next((t.pattern for t in _parser().terminals if t.name == name), None)
    return repr(definition.value) if definition is not None and definition.type == "str" else name.lower()


def _parse(text: str, name: str) -> Tree:
    from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

    try:
        return _parser().parse(text)
    except UnexpectedToken as error:
        expected = sorted({_terminal(t) for t in error.expected})
        wanted = ", ".join(expected[:6]) + (", …" if len(expected) > 6 else "")
        found = "the end of the file" if error.token.type == "$END" else repr(str(error.token))
        line, column = error.line, error.column
        if error.token.type == "$END":
            line, column = text.count("\n") + 1, len(text.rsplit("\n", 1)[-1]) + 1
        raise CoreDslError(f"expected {wanted}; found {found}", name, line, column, text) from None
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        found = repr(text[at]) if at < len(text) else "the end of the file"
        raise CoreDslError(f"no CoreDSL token starts with {found} here", name, error.line, error.column, text) from None
    except UnexpectedInput as error:
        raise CoreDslError(str(error), name, error.line, error.column, text) from None
    except RecursionError:
        raise CoreDslError("expressions or blocks are nested too deeply", name) from None
