"""The plain part of TOML, in which cores and platforms are written; tomllib, a start-up of its own, reads the rest."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_plain(text: str) -> dict[str, Any] | None:
    """The document of a text with plain tables and values; None for others.

    Tables: ``[a]``, ``[a.b]`` and ``[[a]]``. Values: decimal and hexadecimal numbers, strings without escapes, and
    lists of such strings on one line.

    Source: TOML 1.0.0. What is read here reads the same with tomllib.
    """
    document: dict[str, Any] = {}
    table = document
    for line in text.replace("\r\n", "\n").replace("\t", " ").split("\n"):
        line = line.strip(" ")
        if not line.isprintable():
            return None
        if line.startswith("["):
            made = _open_table(document, line)
            if made is None:
                return None
            table = made
        elif not _is_end(line):
            key, _, rest = line.partition("=")
            key, value = key.rstrip(" "), _read_strings(rest) if rest.lstrip(" ").startswith("[") else read_value(rest)
            if not _is_key(key) or key in table or value is None:
                return None
            table[key] = value
    return document


def _open_table(document: dict[str, Any], line: str) -> dict[str, Any] | None:
    """The table that a header begins; None where it is not plain."""
    element = line.startswith("[[")
    name, end, rest = line[1 + element :].partition("]]" if element else "]")
    if not end or not _is_end(rest):
        return None
    outer, dot, inner = name.partition(".")
    if not _is_key(outer) or (dot and (element or not _is_key(inner))):
        return None
    table: dict[str, Any] = {}
    if element:
        tables = document.setdefault(outer, [table])
        # A value of that name is no list of tables, be it a list of strings or an empty one.
        if not isinstance(tables, list) or not tables or not isinstance(tables[0], dict):
            return None
        if tables[-1] is not table:
            tables.append(table)
    else:
        parent, key = (document.setdefault(outer, {}), inner) if dot else (document, outer)
        if not isinstance(parent, dict) or key in parent:
            return None
        parent[key] = table
    return table


def _read_strings(text: str) -> list[str] | None:
    """A list of strings on one line, with a comment behind it; None for anything else."""
    strings: list[str] = []
    rest = text.strip(" ")[1:].lstrip(" ")
    while not rest.startswith("]"):
        if not rest.startswith('"'):
            return None
        string, end, rest = rest[1:].partition('"')
        rest = rest.lstrip(" ")
        if not end or "\\" in string or rest[:1] not in (",", "]"):
            return None
        strings.append(string)
        if rest.startswith(","):
            rest = rest[1:].lstrip(" ")
    return strings if _is_end(rest[1:]) else None


def read_value(text: str) -> int | float | str | None:
    """A number, or a string in quotation marks, with a comment behind it; None for anything else."""
    text = text.strip(" ")
    if text.startswith('"'):
        string, end, rest = text[1:].partition('"')
        return string if end and "\\" not in string and string.isprintable() and _is_end(rest) else None
    number = text.partition("#")[0].rstrip(" ")
    if number.startswith("0x"):
        digits = number[2:]
        return int(digits, 16) if _is_hexadecimal(digits) else None
    whole, dot, fraction = number.partition(".")
    # A leading zero is an error; so many digits are not plain.
    if not _is_digits(whole) or (whole[0] == "0" and whole != "0"):
        return None
    if dot:
        return float(number) if _is_digits(fraction) else None
    return int(number)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _is_hexadecimal(text: str) -> bool:
    return 0 < len(text) < 16 and not text.strip("0123456789abcdefABCDEF")


def _is_key(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _is_end(text: str) -> bool:
    text = text.strip(" ")
    return not text or text.startswith("#")
