"""A command line without surprises, parsed without argparse: importing it takes longer than a small program runs.

Options are declared once, by a command's `add_arguments`. What is not plain (--help, abbreviations, a value that begins
with a dash, anything wrong) is left to argparse, which has the say and the messages.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any


class Arguments:
    """Values by name, as `argparse.Namespace` has them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


class Declarations:
    """Takes what `add_arguments` declares, in place of an `argparse.ArgumentParser`."""

    def __init__(self) -> None:
        self.description = ""
        self.options: dict[str, dict[str, Any]] = {}
        self.positionals: list[dict[str, Any]] = []

    def add_argument(self, *names: str, **how: Any) -> None:
        """Declare one, as `argparse.ArgumentParser.add_argument` does."""
        how["dest"] = names[-1].lstrip("-").replace("-", "_")
        if names[0].startswith("-"):
            self.options.update(dict.fromkeys(names, how))
        else:
            self.positionals.append(how)

    def add_argument_group(self, _: str) -> Declarations:
        """Groups only matter to --help."""
        return self


def parse_quickly(module: ModuleType, arguments: list[str]) -> Arguments | None:
    """The arguments of a command that takes one positional argument and a list of others.

    Returns
    -------
    Arguments or None
        As argparse would give them; None where argparse has to look.
    """
    declared = Declarations()
    module.add_arguments(declared)
    values = {how["dest"]: _default(how) for how in declared.options.values()}
    words = []
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
        elif not _take(declared.options, word, rest, values):
            return None
    first, others = declared.positionals
    return Arguments({**values, first["dest"]: words[0], others["dest"]: words[1:]}) if words else None


def _default(how: dict[str, Any]) -> Any:
    default = how.get("default", False if how.get("action") == "store_true" else None)
    return list(default) if isinstance(default, list) else default


def _take(options: dict[str, dict[str, Any]], word: str, rest: Iterator[str], values: dict[str, Any]) -> bool:
    """Store the option that a word begins, with its value; False where that is not plain."""
    name, equals, value = word.partition("=")
    how = options.get(name)
    if how is None:
        return False
    action, dest = how.get("action", "store"), how["dest"]
    if action == "store_true":
        values[dest] = True
        return not equals
    if not equals:
        value = next(rest, "")
    if not value or action not in ("store", "append") or (not equals and value.startswith("-") and value != "-"):
        return False
    try:
        converted = how.get("type", str)(value)
    except Exception:  # argparse says what is wrong with it
        return False
    if converted not in how.get("choices", (converted,)):
        return False
    if action == "append":
        values[dest].append(converted)
    else:
        values[dest] = converted
    return True
