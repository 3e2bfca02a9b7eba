"""Damage to files: bytes for binary ones, tokens for text, values for documents."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Sequence
from typing import Any

INTERESTING = (
    0,
    1,
    2,
    4,
    7,
    8,
    0x10,
    0x20,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFF_FFFF,
    0x8000_0000,
)
INTERESTING += (0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FF00, 0x4000_0000)
NUMBERS = (
    "0",
    "1",
    "-1",
    "31",
    "32",
    "33",
    "64",
    "65",
    "4294967295",
    "4294967296",
    "1" + "0" * 40,
    "0x" + "f" * 300,
    "1e308",
    "nan",
)
LITTER = (
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    "=",
    '"',
    "'",
    "\\",
    "\0",
    "/*",
    "*/",
    "//",
    "::",
    "...",
    "é",
    "\u2028",
    "\n" * 50,
)
_TOKEN = re.compile(r"\w+|\s+|.", re.DOTALL)
_NUMBER = re.compile(r"(0[xXbB])?[0-9][0-9a-fA-F'_.]*")


def damage_bytes(draw: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One file of the corpus with one to eight changes; headers at the beginning and the end suffer most."""
    data = bytearray(draw.choice(corpus))
    sections = _sections(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        place = draw.random()
        span = min(len(data), 256 if place < 0.3 else 1024 if place < 0.6 else len(data))
        at = draw.randrange(span) if place < 0.3 else len(data) - 1 - draw.randrange(span)
        if sections and draw.random() < 0.4:
            # Small sections as often as large ones.
            start, size = draw.choice(sections)
            at = min(start + draw.randrange(size), len(data) - 1)
        _damage(draw, data, at, draw.choice(corpus))
    return bytes(data)


def _sections(data: bytes) -> list[tuple[int, int]]:
    """Offset and size of each section of an ELF of 32 bits; nothing for another file."""
    if data[:5] != b"\x7fELF\x01":
        return []
    (table,), (entry, count) = struct.unpack_from("<I", data, 32), struct.unpack_from("<HH", data, 46)
    headers = [struct.unpack_from("<10I", data, table + n * entry) for n in range(count)]
    return [(h[4], h[5]) for h in headers if h[5] and h[4] + h[5] <= len(data)]


def _damage(draw: random.Random, data: bytearray, at: int, other: bytes) -> None:
    kind = draw.randrange(8)
    if kind == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    elif kind in (2, 3, 4):
        width = draw.choice((2, 4, 4, 4, 8))
        at -= at % width
        value = draw.choice((*INTERESTING, len(data), draw.randrange(2 * len(data)), draw.getrandbits(32)))
        data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    elif kind == 5:
        del data[at : at + draw.choice((1, 4, 40, 1000, len(data)))]
    elif kind == 6:
        start = draw.randrange(len(other) or 1)
        data[at:at] = other[start : start + draw.choice((1, 4, 40, 500))]
    else:
        start = draw.randrange(len(data))
        size = draw.choice((4, 8, 16, 40))
        data[at : at + size] = data[start : start + size]


def damage_text(draw: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One text of the corpus with one to four tokens taken away, doubled, exchanged or replaced."""
    tokens = _TOKEN.findall(draw.choice(corpus).decode("utf-8", "surrogateescape"))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not tokens:
            break
        at = draw.randrange(len(tokens))
        kind = draw.randrange(9)
        if kind == 0:
            del tokens[at : at + draw.choice((1, 1, 2, 10))]
        elif kind == 1:
            tokens[at:at] = tokens[at : at + draw.choice((1, 2, 10, 60))]
        elif kind == 2:
            other = draw.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif kind in (3, 4):
            numbers = [n for n, token in enumerate(tokens) if _NUMBER.fullmatch(token)]
            if numbers:
                tokens[draw.choice(numbers)] = draw.choice(NUMBERS)
        elif kind == 5:
            other_tokens = _TOKEN.findall(draw.choice(corpus).decode("utf-8", "surrogateescape"))
            tokens[at] = draw.choice(other_tokens or [""])
        elif kind == 6:
            tokens.insert(at, draw.choice(LITTER))
        elif kind == 7:
            tokens[at] = draw.choice(("(", "[", "{", "-", "~", "!", '"', "a.", "(1+")) * draw.choice((2, 50, 3000))
        else:
            words = [n for n, token in enumerate(tokens) if token.strip() and token.isidentifier()]
            if len(words) > 1:
                tokens[draw.choice(words)] = tokens[draw.choice(words)]
    text = "".join(tokens).encode("utf-8", "surrogateescape")
    return damage_bytes(draw, [text]) if draw.random() < 0.1 else text


def damage_document(draw: random.Random, document: Any) -> Any:
    """One to three values of nested dicts and lists exchanged; the document itself is changed."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        node, key, value = None, None, document
        while isinstance(value, dict | list) and value and (node is None or draw.random() < 0.85):
            node, key = value, draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
            value = node[key]
        if node is None:
            break
        kind = draw.randrange(6)
        if kind == 0:
            del node[key]
        elif kind == 1 and isinstance(value, int):
            change = draw.choice((1, -1, 1 << draw.randrange(33), -(1 << draw.randrange(33))))
            node[key] = max(-(1 << 63), min(value + change, (1 << 64) - 1))
        elif kind == 2 and isinstance(value, bytes):
            node[key] = damage_bytes(draw, [value])
        elif kind == 3 and isinstance(value, list):
            node[key] = value[: draw.randrange(len(value) + 1)] * draw.choice((1, 2))
        elif kind == 4 and isinstance(value, str):
            node[key] = draw.choice((value + "x", "", "../" + value, "/etc/passwd", "\0", "on", "rv32i", "a" * 5000))
        else:
            numbers = (*INTERESTING, -1, 1 << 62, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
            node[key] = draw.choice((None, True, "", "x", b"", [], {}, 0.5, float("nan"), [0] * 40, *numbers))
    return document
