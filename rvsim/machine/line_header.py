"""Whether the header of a DWARF 5 line table is one that a parser gets to the end of.

Its tables of folders and files state the format of an entry and how many there are. A format without a byte makes any
number of entries fit, and pyelftools go through all of them.
"""

from __future__ import annotations

# Forms of DWARF 5 (section 7.5.6) that line tables use: bytes, or how the size follows. 0 is an offset's.
_OFFSET, _STRING, _LEB128, _BLOCK = 0, -1, -2, -3
_FORMS = {
    0x05: 2, 0x06: 4, 0x07: 8, 0x08: _STRING, 0x09: _BLOCK, 0x0B: 1, 0x0D: _LEB128, 0x0E: _OFFSET, 0x0F: _LEB128,
    0x1A: _LEB128, 0x1E: 16, 0x1F: _OFFSET, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4,
}  # fmt: skip


def is_finite(section: bytes, offset: int) -> bool:
    """Whether all entries of the header at `offset` of `.debug_line` lie in the section and have known forms."""
    try:
        wide = section[offset : offset + 4] == b"\xff" * 4
        at = offset + (12 if wide else 4)
        if section[at] + 256 * section[at + 1] < 5:
            return True
        at += 4 + (8 if wide else 4) + 5  # version, sizes of addresses and selectors, length of the header, five bytes
        at += section[at]  # the opcode base: itself and a length for each standard opcode
        for _ in range(2):
            at = _table(section, at, 8 if wide else 4)
    except (IndexError, ValueError):
        return False
    return True


def _table(section: bytes, at: int, offset_size: int) -> int:
    """Where a table ends."""
    formats, at = section[at], at + 1
    forms = []
    for _ in range(formats):
        _, at = _number(section, at)
        form, at = _number(section, at)
        if form not in _FORMS:
            raise ValueError(form)
        forms.append(_FORMS[form])
    entries, at = _number(section, at)
    if entries and not forms:
        raise ValueError(entries)
    for _ in range(entries):
        for size in forms:
            if size == _STRING:
                at = section.index(0, at) + 1
            elif size == _LEB128:
                _, at = _number(section, at)
            elif size == _BLOCK:
                length, at = _number(section, at)
                at += length
            else:
                at += size or offset_size
        if at > len(section):
            raise IndexError(at)
    return at


def _number(section: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and where it ends; ten bytes hold 64 bits."""
    value = 0
    for n in range(10):
        value |= (section[at + n] & 0x7F) << 7 * n
        if section[at + n] < 0x80:
            return value, at + n + 1
    raise ValueError(value)
