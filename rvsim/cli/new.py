"""`rvsim new accel NAME`: a working coprocessor to change into one's own."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from pathlib import Path

from rvsim.errors import OutputError, UsageError

HELP = "write a working skeleton of a coprocessor of your own"
SKELETON = "skeleton"
"""The unit that is copied, file by file, its name replaced by the new one (accel/skeleton)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be made."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    accel = kinds.add_parser("accel", help="a coprocessor: CoreDSL, Python, C header, demo, tests")
    accel.add_argument("name", metavar="NAME", help="lower-case letters, digits and underscores, a letter first")
    accel.add_argument("--directory", metavar="DIR", default=".", help="where its folder goes (default: here)")


def main(args: argparse.Namespace) -> int:
    """Write it; the exit status."""
    import accel

    name = _checked(args.name)
    source = Path(accel.__file__).parent / SKELETON
    target = Path(args.directory) / name
    texts = {
        _renamed(path.name, name): _renamed(path.read_text(encoding="utf-8"), name)
        for path in sorted(source.iterdir())
        if path.is_file()
    }
    try:
        target.mkdir(parents=True)
        for file, text in texts.items():
            (target / file).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise OutputError(f"{target} exists and is left as it is: choose another name or --directory") from None
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from None
    print(f"{target}: {', '.join(texts)}")
    print(f"Its tests: pytest {target}; what it consists of: {target / 'README.md'}")
    return 0


def _checked(name: str) -> str:
    from accel import registry

    expected = "expected lower-case letters, digits and underscores, a letter first, at most 30"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", name):
        raise UsageError(f"NAME: {expected}; found {name!r}")
    if keyword.iskeyword(name) or name in sys.stdlib_module_names:
        raise UsageError(f"NAME: {name!r} is a word or a module of Python's own: choose another one")
    taken = [*registry.names(), *registry.kinds(), "accel", "rvsim", "kernels", "numpy", "msgspec", "pytest"]
    if name in taken:
        raise UsageError(f"NAME: {name!r} is taken already: choose another one")
    return name


def _renamed(text: str, name: str) -> str:
    camel = "".join(part.capitalize() for part in name.split("_")) or name.capitalize()
    return text.replace(SKELETON.upper(), name.upper()).replace(SKELETON.capitalize(), camel).replace(SKELETON, name)
