"""Imports point one way (docs/architecture.md): every Python and Cython file, also inside functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("rvsim", "accel", "kernels")

# What a layer may import beside itself and EVERYONE. A layer is named by the longest prefix that fits.
EVERYONE = {"rvsim.errors", "rvsim.records", "rvsim._version"}
MAY_IMPORT = {
    "rvsim.errors": set(),
    "rvsim.records": set(),
    "rvsim._version": set(),
    "rvsim.isa": set(),
    "kernels": set(),
    "rvsim.bench": set(),
    "rvsim.loops": set(),
    "rvsim.asm": {"rvsim.isa"},
    "accel": {"rvsim.isa"},
    "rvsim.timing": {"accel", "rvsim.isa"},
    "rvsim.machine": {"rvsim.timing", "rvsim.loops", "accel", "rvsim.isa"},
    "rvsim.energy": {"rvsim.machine", "rvsim.timing", "accel", "rvsim.isa"},
    "rvsim.debug": {"rvsim.machine", "rvsim.timing", "accel", "rvsim.isa"},
    "rvsim.nn": {"rvsim.machine", "rvsim.timing", "accel", "rvsim.isa", "kernels"},
    "rvsim.profile": {"rvsim.nn", "rvsim.machine", "rvsim.timing", "accel", "rvsim.isa", "kernels"},
    # The command line, and the front doors `import rvsim` and `python -m rvsim`.
    "rvsim.cli": {"*"},
    "rvsim.__main__": {"*"},
    "rvsim": {"*"},
}


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix not in (".py", ".pyx") or not (path.parent / "__init__.py").is_file():
                continue
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a file imports; `from a import b` gives a.b."""
    text = path.read_text()
    if path.suffix == ".pyx":
        for number, line in enumerate(text.splitlines(), 1):
            if match := re.match(r"\s*(?:from\s+([\w.]+)\s+c?import\s+(\w+)|c?import\s+([\w.]+))", line):
                yield number, match[3] or f"{match[1]}.{match[2]}"
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def layer(name: str) -> str:
    """The layer a module is in."""
    return max((each for each in MAY_IMPORT if f"{name}.".startswith(f"{each}.")), key=len)


def edges(root: Path) -> Iterator[tuple[str, str, str]]:
    """Importing module, imported module and place of each import of ours by ours."""
    ours = modules(root)
    for name, path in ours.items():
        for line, target in imported(name, path):
            if target.split(".")[0] not in PACKAGES:
                continue
            # `from a.b import c` is an import of a.b.c if that is a module, of a.b otherwise.
            module = target if target in ours else target.rpartition(".")[0] or target
            yield name, module, f"{path.relative_to(root)}:{line}"


def violations(root: Path) -> list[str]:
    """What the layers forbid."""
    bad = []
    for name, target, place in edges(root):
        source, destination = layer(name), layer(target)
        allowed = MAY_IMPORT[source] | EVERYONE | {source}
        if "*" not in allowed and destination not in allowed:
            bad.append(f"{place}: {source} must not import {target}")
    return bad


def for_types(path: Path) -> set[int]:
    """Lines under ``if TYPE_CHECKING``: nothing imports there when a program runs."""
    if path.suffix == ".pyx":
        return set()
    blocks = (
        node
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return {line for node in blocks for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def cycle(root: Path) -> list[str]:
    """Modules that import one another, or an empty list. Names of types may be taken from either side."""
    graph: dict[str, set[str]] = {}
    skipped = {str(path.relative_to(root)): for_types(path) for path in modules(root).values()}
    for name, target, place in edges(root):
        file, _, line = place.rpartition(":")
        if name != target and int(line) not in skipped[file]:
            graph.setdefault(name, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_folder_of_rvsim_has_a_layer():
    folders = {f"rvsim.{path.parent.name}" for path in (ROOT / "rvsim").glob("*/__init__.py")}
    assert folders <= MAY_IMPORT.keys()


def test_the_layers_have_no_cycle():
    TopologicalSorter({name: may - {"*"} for name, may in MAY_IMPORT.items()}).prepare()


def test_imports_point_one_way():
    assert violations(ROOT) == []


def test_no_modules_import_one_another():
    assert cycle(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("rvsim/isa/a.py", "import accel", "rvsim/isa/a.py:1: rvsim.isa must not import accel"),
        ("rvsim/isa/a.py", "def f():\n    import rvsim.cli", "rvsim/isa/a.py:2: rvsim.isa must not import rvsim.cli"),
        ("rvsim/isa/a.py", "from .. import cli", "rvsim/isa/a.py:1: rvsim.isa must not import rvsim.cli"),
        ("rvsim/isa/a.py", "from rvsim import Machine", "rvsim/isa/a.py:1: rvsim.isa must not import rvsim"),
        ("accel/a.py", "from rvsim import timing", "accel/a.py:1: accel must not import rvsim.timing"),
        ("rvsim/timing/a.pyx", "cimport rvsim.nn", "rvsim/timing/a.pyx:1: rvsim.timing must not import rvsim.nn"),
        ("kernels/a.py", "import rvsim.isa", "kernels/a.py:1: kernels must not import rvsim.isa"),
        ("rvsim/machine/a.py", "import rvsim.nn", "rvsim/machine/a.py:1: rvsim.machine must not import rvsim.nn"),
        ("rvsim/isa/a.py", "from rvsim.errors import UsageError\nimport numpy\nfrom . import b", None),
        ("accel/a.py", "from rvsim.isa import b", None),
        ("rvsim/cli/a.py", "import kernels, rvsim.profile", None),
    ],
)
def test_a_planted_import_is_found(tmp_path, file, text, complaint):
    for folder in ("rvsim", "rvsim/isa", "rvsim/cli", "rvsim/timing", "rvsim/machine", "rvsim/nn", "accel", "kernels"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "rvsim/isa/b.py").touch()
    (tmp_path / file).write_text(text)
    assert violations(tmp_path) == ([complaint] if complaint else [])


def test_a_planted_cycle_is_found(tmp_path):
    (tmp_path / "accel").mkdir()
    (tmp_path / "accel/__init__.py").touch()
    (tmp_path / "accel/a.py").write_text("def f():\n    from accel import b")
    (tmp_path / "accel/b.py").write_text("from accel.a import f")
    assert sorted({*cycle(tmp_path)}) == ["accel.a", "accel.b"]
