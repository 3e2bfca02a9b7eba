"""The plain part of TOML, in which tables of cycles are written; tomllib, a start-up of its own, reads the rest."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_plain(text: str) -> dict[str, Any] | None:
    """The document of a text with tables of one level, decimal numbers and strings without escapes; None for others.

    Source: TOML 1.0.0. What is read here reads the same with tomllib.
    """
    document: dict[str, Any] = {}
    table = document
    for line in text.replace("\r\n", "\n").replace("\t", " ").split("\n"):
        line = line.strip(" ")
        if not line.isprintable():
            return None
        if line.startswith("["):
            name, end, rest = line[1:].partition("]")
            if not end or not _is_key(name) or name in document or not _is_end(rest):
                return None
            table = document[name] = {}
        elif not _is_end(line):
            key, _, rest = line.partition("=")
            key, value = key.rstrip(" "), read_value(rest)
            if not _is_key(key) or key in table or value is None:
                return None
            table[key] = value
    return document


def read_value(text: str) -> int | float | str | None:
    """A decimal number, or a string in quotation marks, with a comment behind it; None for anything else."""
    text = text.strip(" ")
    if text.startswith('"'):
        string, end, rest = text[1:].partition('"')
        return string if end and "\\" not in string and string.isprintable() and _is_end(rest) else None
    number = text.partition("#")[0].rstrip(" ")
    whole, dot, fraction = number.partition(".")
    # A leading zero is an error; so many digits are not plain.
    if not _is_digits(whole) or (whole[0] == "0" and whole != "0"):
        return None
    if dot:
        return float(number) if _is_digits(fraction) else None
    return int(number)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _is_key(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _is_end(text: str) -> bool:
    text = text.strip(" ")
    return not text or text.startswith("#")
