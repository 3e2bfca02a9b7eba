"""Headers of DWARF 5 line tables by hand: those of compilers are finite, those without an end are not read."""

from __future__ import annotations

import pytest

from rvsim.machine.line_header import is_finite

START = b"\x05\x00\x04\x00" + bytes(4) + b"\x01\x01\x01\xfb\x0e\x02" + b"\x00"  # opcode base 2: one length
PATH, INDEX = 1, 2
STRING, LINE_STRP, UDATA, DATA16, FLAG_PRESENT = 0x08, 0x1F, 0x0F, 0x1E, 0x19
MANY = b"\xff" * 9 + b"\x01"


def table(formats: list[tuple[int, int]], count: bytes, entries: bytes = b"") -> bytes:
    return bytes([len(formats), *(byte for pair in formats for byte in pair)]) + count + entries


FOLDERS = table([(PATH, LINE_STRP)], b"\x02", bytes(8))
FILES = table([(PATH, STRING), (INDEX, UDATA), (5, DATA16)], b"\x02", (b"a.c\0\x81\x01" + bytes(16)) * 2)


@pytest.mark.parametrize(
    ("tables", "finite"),
    [
        (FOLDERS + FILES, True),
        (table([], b"\0") + table([], b"\0"), True),
        (table([], MANY) + FILES, False),
        (table([(PATH, FLAG_PRESENT)], MANY) + FILES, False),
        (FOLDERS + table([], b"\x01"), False),
        (FOLDERS + table([(PATH, STRING)], MANY, b"a\0b\0"), False),
        (FOLDERS + table([(PATH, LINE_STRP)], b"\x03", bytes(8)), False),
        (FOLDERS, False),
        (table([(PATH, STRING)], b"\xff" * 10), False),
    ],
)
def test_entries_have_bytes_and_lie_in_the_section(tables: bytes, finite: bool) -> None:
    body = START + tables
    section = bytes(3) + len(body).to_bytes(4, "little") + body
    assert is_finite(section, 3) is finite


@pytest.mark.parametrize("offset", [0, 10, 1 << 40])
def test_a_place_outside_is_not_read(offset: int) -> None:
    assert not is_finite(b"\x10\x00\x00\x00\x05\x00", offset)


def test_earlier_versions_end_their_tables_themselves() -> None:
    assert is_finite(bytes(4) + b"\x04\x00", 0)
