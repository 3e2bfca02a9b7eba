"""Source lines of a program, from its DWARF line tables; pyelftools reads them."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

from elftools.elf.elffile import ELFFile

from rvsim.machine.line_header import is_finite

MAX_DEBUG = 256 << 20
"""Most bytes of unpacked debug sections that are read: a compressed section states any size it likes."""


def read_lines(image: bytes) -> tuple[list[int], list[tuple[str, int] | None]]:
    """Sorted start addresses, and the place in the source from each to the next (None: after a sequence's end)."""
    elf = ELFFile(BytesIO(image))
    if not elf.has_dwarf_info(strict=True):
        return [], []
    debug = [section for section in elf.iter_sections() if section.name.startswith((".debug_", ".zdebug_"))]
    if sum(section.data_size for section in debug) > MAX_DEBUG:
        return [], []
    dwarf = elf.get_dwarf_info(follow_links=False)
    section = b""
    if dwarf.debug_line_sec is not None:
        dwarf.debug_line_sec.stream.seek(0)
        section = dwarf.debug_line_sec.stream.read()
    rows: list[tuple[int, bool, tuple[str, int] | None]] = []
    for unit in dwarf.iter_CUs():
        try:
            table = unit.get_top_DIE().attributes.get("DW_AT_stmt_list")
            if table is None or not is_finite(section, table.value):
                continue
            program = dwarf.line_program_for_CU(unit)
            if program is not None:
                names = _file_names(program)
                for entry in program.get_entries():
                    state: Any = entry.state
                    if state is None:
                        continue
                    name = names.get(state.file)
                    place = None if state.end_sequence or name is None else (name, state.line)
                    rows.append((state.address, not state.end_sequence, place))
        except Exception:  # one damaged unit does not hide the others
            continue
    rows.sort(key=lambda row: row[:2])  # a sequence's end before the next one's start at the same address
    return [row[0] for row in rows], [row[2] for row in rows]


def _file_names(program: Any) -> dict[int, str]:
    """File number of a line table to its name, with the folder as the table states it."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1  # DWARF 5 counts files and folders from 0; before, folder 0 is implicit
    folders = [
        folder if isinstance(folder, bytes) else folder["DW_LNCT_path"] for folder in header["include_directory"]
    ]
    folders = [] if first == 0 and not folders else folders
    names = {}
    for index, file in enumerate(header["file_entry"]):
        folder_index = file["dir_index"] - first
        name = file["name"].decode("utf-8", "replace")
        # Folder 0 of DWARF 5 is the compilation's own: left out, as before version 5.
        if 0 <= folder_index < len(folders) and (first or folder_index):
            name = os.path.join(folders[folder_index].decode("utf-8", "replace"), name)
        names[index + first] = name
    return names
