"""The guest side: C kernels, start-up code, headers, and the bundled programs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_EXAMPLES = Path(__file__).resolve().parent / "examples"


class Example(NamedTuple):
    """A bundled program.

    Attributes
    ----------
    name : str
    path : Path
        The ELF; its source lies beside it.
    description : str
        One line: the first comment of the source.
    """

    name: str
    path: Path
    description: str


def examples() -> list[Example]:
    """Give the bundled examples, sorted by name."""
    elfs = sorted(_EXAMPLES.glob("*.elf"))
    return [Example(elf.stem, elf, _first_comment(elf.with_suffix(".c"))) for elf in elfs]


def example(name: str) -> Path:
    """Find the ELF of a bundled example.

    Raises
    ------
    rvsim.errors.UsageError
        There is none of that name.
    """
    paths = {path.stem: path for path in sorted(_EXAMPLES.glob("*.elf"))}
    if name not in paths:
        from rvsim.errors import UsageError

        raise UsageError(f"expected the name of a bundled example ({', '.join(paths)}), found {name!r}")
    return paths[name]


def _first_comment(source: Path) -> str:
    with source.open(encoding="utf-8") as lines:
        return lines.readline().strip().removeprefix("/*").removesuffix("*/").strip()
