"""The guest side: C kernels, start-up code, headers, and the bundled programs."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = os.path.join(os.path.dirname(os.path.realpath(__file__)), "examples")


class Example:
    """A bundled program.

    Attributes
    ----------
    name : str
    path : Path
        The ELF; its source lies beside it.
    description : str
        One line: the first comment of the source.
    """

    def __init__(self, name: str, path: Path, description: str) -> None:
        self.name, self.path, self.description = name, path, description


def files() -> dict[str, str]:
    """Paths of the bundled examples by file name, sorted."""
    return {name: os.path.join(_EXAMPLES, name) for name in sorted(os.listdir(_EXAMPLES)) if name.endswith(".elf")}


def examples() -> list[Example]:
    """Give the bundled examples, sorted by name."""
    from pathlib import Path

    elfs = [Path(path) for path in files().values()]
    return [Example(elf.stem, elf, _first_comment(elf.with_suffix(".c"))) for elf in elfs]


def example(name: str) -> Path:
    """Find the ELF of a bundled example.

    Raises
    ------
    rvsim.errors.UsageError
        There is none of that name.
    """
    paths = {example.name: example.path for example in examples()}
    if name not in paths:
        from rvsim.errors import UsageError

        raise UsageError(f"expected the name of a bundled example ({', '.join(paths)}), found {name!r}")
    return paths[name]


def _first_comment(source: Path) -> str:
    with source.open(encoding="utf-8") as lines:
        return lines.readline().strip().removeprefix("/*").removesuffix("*/").strip()
