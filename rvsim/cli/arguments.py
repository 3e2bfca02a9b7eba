"""One command's arguments, parsed by argparse: --help, abbreviations, and every message about what is wrong."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from rvsim.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `UsageError`."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def parse_with_argparse(name: str, module: ModuleType, arguments: list[str], intermixed: bool) -> argparse.Namespace:
    """Parse one command's arguments.

    Parameters
    ----------
    intermixed : bool
        Options may come before, between and after positional arguments.

    Raises
    ------
    UsageError
    """
    parser = Parser(prog=f"rvsim {name}", description=module.HELP, allow_abbrev=False)
    module.add_arguments(parser)
    parse = parser.parse_known_intermixed_args if intermixed else parser.parse_known_args
    args, extras = parse(arguments)
    unknown = [extra for extra in extras if extra.startswith("-")]
    if unknown:
        option = unknown[0].partition("=")[0]
        options = [text for action in parser._actions for text in action.option_strings]
        raise UsageError(f"unknown option {option!r} of rvsim {name}; {nearest(option, options)}")
    if extras:
        raise UsageError(f"rvsim {name} does not expect {extras[0]!r}; see 'rvsim {name} --help'")
    return args


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint: the name meant by a misspelt one, or all of them."""
    import difflib

    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
