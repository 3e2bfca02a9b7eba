"""What the TOML files of cores and platforms have in common: finding them, reading them, keys that are unknown."""

from __future__ import annotations

import os

from rvsim.errors import UsageError
from rvsim.timing.plain import read_plain, read_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_FILE = 1 << 20
_PLAIN: dict[str, Any] = {"{}": {}, "null": None, "true": True, "false": False}


def bundled_names(folder: str) -> list[str]:
    """Names of the bundled files in a folder."""
    return sorted(file.removesuffix(".toml") for file in os.listdir(folder) if file.endswith(".toml"))


def find_table(option: str, name_or_path: str, folder: str) -> str:
    """The path of a bundled file by its name, or of any that ends in ``.toml``.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    if name_or_path.endswith(".toml"):
        return name_or_path
    known = bundled_names(folder)
    if name_or_path not in known:
        hint = nearest(name_or_path, known, "")
        raise UsageError(
            f"{option}: expected one of {', '.join(known)} or a FILE.toml, found {name_or_path!r}"
            + (f"; {hint}" if hint.startswith("did") else "")
        )
    return os.path.join(folder, f"{name_or_path}.toml")


def read_toml(data: bytes) -> dict[str, Any]:
    """A document; ValueError where it is none."""
    table = read_plain(data.decode())
    if table is None:
        import msgspec

        table = msgspec.toml.decode(data, type=dict)
    return table


def read_toml_file(path: str) -> dict[str, Any]:
    """A document from a file of at most 1 MiB; ValueError where it is none, OSError where it cannot be read."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("expected a TOML file, found something else of that name")
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"expected a file of at most {MAX_FILE >> 10} KiB")
    return read_toml(data)


def read_setting(text: str) -> Any:
    """A number or another value of JSON; a text that is none stands for itself."""
    if text in _PLAIN or text.isalpha():
        return {} if text == "{}" else _PLAIN.get(text, text)
    value = read_value(text)
    if value is None:
        import msgspec

        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = text
    return value


def check_keys(where: str, keys: Iterable[str], known: Iterable[str]) -> None:
    """ValueError for the first key that is not known."""
    for key in keys:
        if key not in known:
            raise ValueError(f"{where}unknown key {short(key)!r}; {nearest(short(key), known, 'known: ')}")


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """For a message: the known name that a name is like, else all of them behind `otherwise`."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise}{', '.join(known)}"


def short(text: str) -> str:
    """A key of a file for a message: files may be hostile."""
    return text if len(text) < 40 else text[:36] + "..."
