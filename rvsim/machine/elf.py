"""Reading a program: what an ELF file asks of the machine, or one clear reason why it cannot run.

Headers, records and their numbers: System V ABI, generic part, chapter 4, "Object Files". Nothing in the file is
believed: what a damaged or hostile one states is compared with the bytes that are there.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_right
from itertools import pairwise

from rvsim.errors import ElfError
from rvsim.records import Record, lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from rvsim.machine.tensors import ProgramIO

ADDRESS_SPACE = 1 << 32
MAX_MEMORY = 1 << 30
"""Default limit on the memory all segments of a program may ask for, in bytes."""

MAX_SYMBOLS = 1 << 18
"""Most symbols that are read, at about 3 µs each."""

MAX_NAMES = 64 << 20
"""Most characters of symbol or section names that are read: any number of them may share one long string."""

COPY_HINT = "copy or build it again"
MAP_HINT = "check the memory map in the linker script"
BUILD_HINT = "compile it for riscv32 with -march=rv32imc -mabi=ilp32"

# Elf32_Ehdr behind e_ident, Elf32_Phdr, Elf32_Shdr, Elf32_Sym.
HEADER, PROGRAM_HEADER, SECTION_HEADER, SYMBOL = (
    struct.Struct(f) for f in ("<HHIIIIIHHHHHH", "<8I", "<10I", "<IIIBBH")
)
ET_NONE, ET_REL, ET_EXEC, ET_DYN, ET_CORE = range(5)
EM_RISCV = 243
PT_LOAD = 1
PF_X, PF_W, PF_R = 1, 2, 4
SHT_NULL, SHT_SYMTAB, SHT_NOBITS = 0, 2, 8
SHF_ALLOC, SHF_EXECINSTR = 2, 4
SHN_UNDEF, SHN_LORESERVE, SHN_ABS = 0, 0xFF00, 0xFFF1
STB_LOCAL = 0


class Segment(Record):
    """One PT_LOAD segment: a range of memory and what it holds before the first instruction.

    Attributes
    ----------
    address : int
        Virtual address of the first byte.
    data : bytes
        Bytes from the file; the rest, up to `size`, is zero.
    size : int
        Size in memory, in bytes.
    readable, writable, executable : bool
        Permissions.
    """

    address: int
    data: bytes
    size: int
    readable: bool
    writable: bool
    executable: bool

    @property
    def end(self) -> int:
        """Address after the last byte."""
        return self.address + self.size


class Section(Record):
    """One section header.

    Attributes
    ----------
    name : str
    address : int
        Virtual address; 0 when not allocated.
    size : int
        Size in bytes.
    alloc : bool
        Whether the section is part of the running program.
    executable : bool
        Whether it holds instructions.
    """

    name: str
    address: int
    size: int
    alloc: bool
    executable: bool


class Symbol(Record):
    """A named address.

    Attributes
    ----------
    name : str
    address : int
    size : int
        Size in bytes; 0 for a label.
    kind : {"function", "object", "label"}
        A label (no type, or a second name of a function or object) serves for naming only.
    section : str
        Name of its section; empty for an absolute symbol.
    """

    name: str
    address: int
    size: int
    kind: Literal["function", "object", "label"]
    section: str

    @property
    def end(self) -> int:
        """Address after the last byte."""
        return self.address + self.size


class Program(Record):
    """A loaded 32-bit little-endian RISC-V executable.

    Attributes
    ----------
    path : str
        Where it was read.
    entry : int
        Address of the first instruction.
    segments : tuple of Segment
        Sorted by address, without overlap.
    functions : tuple of Symbol
        One a start address, sorted by address. A function whose file size is 0 reaches to the next function, object or
        global label of its section, or to the section's end.
    objects : tuple of Symbol
        Data symbols, one a start address, sorted by address.
    labels : tuple of Symbol
        All other named addresses, sorted by address.
    sections : tuple of Section
        In file order.
    io : ProgramIO or None
        Input and output tensors, if the program declares any.
    flags : int
        `e_flags` of the header (RISC-V ELF psABI: bit 0 compressed, bits 2:1 float ABI, bit 3 RV32E).
    arch : str
        Architecture string of `.riscv.attributes`, for example ``rv32i2p1_m2p0_c2p0``; empty when the file has none.
    notes : tuple of str
        What was broken in the file without hindering the run, such as a damaged symbol table.
    image : bytes
        The whole file.
    """

    path: str
    entry: int
    segments: tuple[Segment, ...]
    functions: tuple[Symbol, ...] = ()
    objects: tuple[Symbol, ...] = ()
    labels: tuple[Symbol, ...] = ()
    sections: tuple[Section, ...] = ()
    io: ProgramIO | None = None
    flags: int = 0
    arch: str = ""
    notes: tuple[str, ...] = ()
    image: bytes = b""

    __eq__, __hash__ = object.__eq__, object.__hash__

    @property
    def name(self) -> str:
        """File name without folder."""
        return os.path.basename(self.path)

    @lazy
    def _by_name(self) -> dict[str, Symbol]:
        return {symbol.name: symbol for symbol in (*self.labels, *self.objects, *self.functions)}

    def symbol(self, name: str) -> Symbol | None:
        """The symbol called `name`, a function or object before a label, or None."""
        return self._by_name.get(name)

    def symbol_at(self, address: int) -> Symbol | None:
        """The function or object that holds `address`, else the nearest label before it in its section, or None."""
        for symbols in (self.functions, self.objects):
            index = bisect_right(symbols, address, key=_address_of)
            for symbol in reversed(symbols[max(0, index - 16) : index]):  # a large one may hold small ones
                if address < symbol.end:
                    return symbol
        section = self.section_at(address)
        if section is None:
            return None
        index = bisect_right(self.labels, address, key=_address_of)
        for symbol in reversed(self.labels[:index]):
            if symbol.address < section.address:
                break
            if symbol.section == section.name:
                return symbol
        return None

    def section_at(self, address: int) -> Section | None:
        """The allocated section that holds `address`, or None."""
        for section in self.sections:
            if section.alloc and section.address <= address < section.address + section.size:
                return section
        return None

    def line(self, pc: int) -> tuple[str, int] | None:
        """Source file and line of the instruction at `pc`, or None where DWARF does not say.

        The first call reads the line tables of the whole file.
        """
        starts, places = self._lines
        index = bisect_right(starts, pc) - 1
        return places[index] if index >= 0 else None

    @lazy
    def _lines(self) -> tuple[list[int], list[tuple[str, int] | None]]:
        from rvsim.machine.lines import read_lines

        try:
            return read_lines(self.image)
        except Exception:  # rubbish in DWARF costs the line numbers, never the run
            return [], []

    def where(self, pc: int) -> str:
        """`pc` for a message: ``0x80000124 in conv_2d+0x14 (conv.c:31)``, as far as the file tells."""
        text = f"0x{pc:08x}"
        symbol = self.symbol_at(pc)
        if symbol is not None:
            offset = pc - symbol.address
            text += f" in {symbol.name}" + (f"+0x{offset:x}" if offset else "")
        place = self.line(pc)
        if place is not None:
            text += f" ({place[0]}:{place[1]})"
        return text


def load_elf(path: str | os.PathLike[str], *, max_memory: int = MAX_MEMORY) -> Program:
    """Read a program.

    Parameters
    ----------
    path : path
        A statically linked 32-bit little-endian RISC-V executable.
    max_memory : int
        Most bytes of memory all segments together may ask for.

    Returns
    -------
    Program

    Raises
    ------
    ElfError
        The file cannot be read, is something else, is damaged, or does not fit. The message says which, and what to do.
    """
    name = os.fspath(path)
    # A file name that is no UTF-8 could be in no message and no document.
    return parse_elf(_read_file(name), name.encode(errors="replace").decode(), max_memory=max_memory)


def parse_elf(image: bytes, path: str = "<memory>", *, max_memory: int = MAX_MEMORY) -> Program:
    """Like `load_elf`, from the bytes of a file; `path` serves for messages."""
    if not image:
        raise ElfError(f"{path} is empty: expected a RISC-V ELF executable; was the build interrupted?")
    if image[:4] != b"\x7fELF":
        raise ElfError(f"{path} is not an ELF file: {_looks_like(image)}")
    header_size = 64 if image[4:5] == b"\2" else 52
    if len(image) < header_size:
        raise ElfError(
            f"{path} is truncated: {len(image)} bytes, but the ELF header alone takes {header_size}; {COPY_HINT}"
        )
    if image[4] not in (1, 2) or image[5] not in (1, 2):
        raise ElfError(f"{path} is damaged: ELF class {image[4]} and byte order {image[5]} do not exist; {COPY_HINT}")

    _check_kind(image, path)
    _, _, _, entry, phoff, shoff, flags, _, phentsize, phnum, shentsize, shnum, shstrndx = HEADER.unpack_from(image, 16)
    programs = _table(image, path, "program header", PROGRAM_HEADER, phoff, phnum, phentsize)
    segments = _read_segments(programs, image, path, max_memory)
    _check_entry(entry, segments, path)

    notes: list[str] = []
    headers = _table(image, path, "section header", SECTION_HEADER, shoff, shnum, shentsize)
    sections = _read_sections(headers, shstrndx, image, notes)
    symbols = _read_symbols(sections, image, notes)
    return Program(
        path=path,
        entry=entry,
        segments=segments,
        functions=symbols["function"],
        objects=symbols["object"],
        labels=symbols["label"],
        sections=tuple(section.public for section in sections[1:]),
        io=_read_io(sections, image, path),
        flags=flags,
        arch=_read_arch(sections, image),
        notes=tuple(notes),
        image=image,
    )


# ------------------------------------------------------------------------------------------------------------- the file


def _read_file(path: str) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ElfError(f"{path} is a directory: expected a RISC-V ELF executable; name the file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ElfError(f"{path} is not a regular file: expected a RISC-V ELF executable")
        if status.st_size >= ADDRESS_SPACE:
            raise ElfError(f"{path} has {_size(status.st_size)}: a 32-bit ELF has less than 4 GiB")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ElfError(f"{path} does not exist: expected a RISC-V ELF executable; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ElfError(f"cannot read {path!r}: {reason}") from None


def _looks_like(image: bytes) -> str:
    """What a file that is not an ELF seems to be, and what to do with it."""
    if image[4:8] == b"TFL3":
        return "it looks like a TensorFlow Lite model; make a program of it with 'rvsim compile'"
    for magic, text in (
        (b"\x93NUMPY", "it looks like a NumPy array; --input takes those"),
        (b"PK\x03\x04", "it looks like a zip archive; unpack it first"),
        (b"\x1f\x8b", "it looks like a gzip file; unpack it first"),
        (b"!<arch>\n", "it looks like a static library; link it into an executable"),
        (b"BC\xc0\xde", "it looks like LLVM bitcode; link it into an executable"),
        (b"MZ", f"it looks like a Windows program; {BUILD_HINT}"),
        (b"\xcf\xfa\xed\xfe", f"it looks like a macOS program; {BUILD_HINT}"),
        (b"\xca\xfe\xba\xbe", f"it looks like a macOS or Java program; {BUILD_HINT}"),
        (b"#!", "it looks like a script; name the ELF file it builds or runs"),
        (b":", "it looks like Intel HEX; use the ELF file it was made from"),
        (b"S0", "it looks like Motorola S-records; use the ELF file they were made from"),
    ):
        if image.startswith(magic):
            return text
    head = image[:512]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start > 508 else "\0"  # a character cut by the limit
    if all(character.isprintable() or character in "\t\r\n\f" for character in text):
        return "it looks like text; compile and link it first"
    return f"it begins with {image[:8].hex(' ')}, expected 7f 45 4c 46; use the linker's output, not a raw binary"


def _check_kind(image: bytes, path: str) -> None:
    """Class, byte order, machine and type, in one message when they are another computer's."""
    bits, order = 32 * image[4], "little" if image[5] == 1 else "big"
    kind, machine = struct.unpack_from("<HH" if order == "little" else ">HH", image, 16)
    if machine != EM_RISCV or bits != 32 or order != "little":
        raise ElfError(
            f"{path} is a {bits}-bit {order}-endian ELF for {_machine_name(machine)}: "
            f"expected 32-bit little-endian RISC-V; {BUILD_HINT}"
        )
    if kind == ET_REL:
        raise ElfError(
            f"{path} is a relocatable object, not an executable; link it first (docs: rvsim's linker script)"
        )
    if kind == ET_DYN:
        raise ElfError(f"{path} is a shared object or position-independent executable; link it with -static -no-pie")
    if kind != ET_EXEC:
        name = {ET_NONE: "no type", ET_CORE: "a core dump"}.get(kind, f"type {kind}")
        raise ElfError(f"{path} is not an executable (its ELF header says {name}); use the linker's output")


def _machine_name(machine: int) -> str:
    """`e_machine` in words, as pyelftools knows them."""
    from elftools.elf.descriptions import describe_e_machine
    from elftools.elf.enums import ENUM_E_MACHINE

    name = next((name for name, number in ENUM_E_MACHINE.items() if number == machine and name != "_default_"), None)
    if name is None:
        return f"unknown machine {machine}"
    description = str(describe_e_machine(name))
    return name.removeprefix("EM_") if description.startswith("<unknown>") else description


def _table(
    image: bytes, path: str, what: str, record: struct.Struct, offset: int, count: int, entry_size: int
) -> list[tuple[int, ...]]:
    """All program or section headers, which must be in the file."""
    if count == 0 or offset == 0:
        return []
    if entry_size != record.size:
        raise ElfError(
            f"{path} is damaged: a {what} takes {record.size} bytes, its ELF header says {entry_size}; {COPY_HINT}"
        )
    end = offset + count * record.size
    if end > len(image):
        raise ElfError(f"{path} is truncated: its {what}s reach to byte {end}, the file has {len(image)}; {COPY_HINT}")
    return list(record.iter_unpack(image[offset:end]))


# ------------------------------------------------------------------------------------------------------------- segments


def _read_segments(headers: list[tuple[int, ...]], image: bytes, path: str, max_memory: int) -> tuple[Segment, ...]:
    segments = []
    total = 0
    # Start-up code in flash copies initialised data from its load address to where it runs: both are filled.
    images: list[tuple[int, bytes]] = []
    for type_, offset, address, load_address, file_size, size, flags, _ in headers:
        if type_ != PT_LOAD:
            continue
        if file_size > size:
            raise ElfError(
                f"{path} is damaged: the segment at 0x{address:08x} has {file_size} bytes in the file "
                f"but {size} in memory; {COPY_HINT}"
            )
        if size == 0:
            continue
        if offset + file_size > len(image):
            raise ElfError(
                f"{path} is truncated: the segment at 0x{address:08x} reaches to byte {offset + file_size}, "
                f"the file has {len(image)}; {COPY_HINT}"
            )
        if address + size > ADDRESS_SPACE:
            raise ElfError(
                f"{path}: the segment at 0x{address:08x} of {_size(size)} wraps around the end of the 4 GiB address "
                f"space; {MAP_HINT}"
            )
        total += size
        if total > max_memory:
            raise ElfError(
                f"{path} asks for at least {total:,} bytes of memory, the limit is {max_memory:,}; {MAP_HINT}"
            )
        # PHDRS without FLAGS in a linker script may leave none (riscv-tests): then all is allowed.
        flags = flags or PF_R | PF_W | PF_X
        if load_address != address and file_size:
            images.append((load_address, image[offset : offset + file_size]))
        segments.append(
            Segment(
                address=address,
                data=image[offset : offset + file_size],
                size=size,
                readable=bool(flags & PF_R),
                writable=bool(flags & PF_W),
                executable=bool(flags & PF_X),
            )
        )
    if not segments:
        raise ElfError(f"{path} has no segment to load (PT_LOAD): nothing to run; link it with a memory map")
    segments.sort(key=_address_of)
    for before, after in pairwise(segments):
        if after.address < before.end:
            raise ElfError(f"{path}: segments {_range(before)} and {_range(after)} overlap; {MAP_HINT}")
    for address, data in images:
        end = address + len(data)
        total += len(data)
        if end > ADDRESS_SPACE or total > max_memory or any(s.address < end and address < s.end for s in segments):
            continue
        segments.append(
            Segment(address=address, data=data, size=len(data), readable=True, writable=False, executable=False)
        )
        segments.sort(key=_address_of)
    return tuple(segments)


def _check_entry(entry: int, segments: tuple[Segment, ...], path: str) -> None:
    if entry % 2:
        raise ElfError(
            f"{path}: entry 0x{entry:08x} is misaligned: instructions begin at even addresses; check ENTRY()"
        )
    holder = next((segment for segment in segments if segment.address <= entry < segment.end), None)
    if holder is None:
        known = ", ".join(_range(segment) for segment in segments if segment.executable) or "none"
        raise ElfError(
            f"{path}: entry 0x{entry:08x} is in no segment (executable: {known}); check ENTRY() in the linker script"
        )
    if not holder.executable:
        raise ElfError(
            f"{path}: entry 0x{entry:08x} is in segment {_range(holder)}, which is not executable; "
            "check ENTRY() and the segment's flags in the linker script"
        )


# ---------------------------------------------------------------------------------------- sections, symbols, attributes


class _RawSection:
    """A section, and where its bytes are."""

    def __init__(self, public: Section, kind: int, offset: int, link: int) -> None:
        self.public, self.kind, self.offset, self.link = public, kind, offset, link

    @property
    def end(self) -> int:
        return self.offset + self.public.size

    def data(self, image: bytes) -> bytes | None:
        """Its bytes, or None when they are not (wholly) in the file."""
        if self.kind in (SHT_NOBITS, SHT_NULL) or self.end > len(image):
            return None
        return image[self.offset : self.end]


def _string(table: bytes, at: int) -> str:
    """A string of a string table; empty where it does not begin and end in it."""
    end = table.find(b"\0", at)
    return table[at:end].decode("utf-8", "replace") if end > at else ""


def _read_sections(
    headers: list[tuple[int, ...]], names_section: int, image: bytes, notes: list[str]
) -> list[_RawSection]:
    table = b""
    if 0 < names_section < len(headers):
        offset, size = headers[names_section][4:6]
        table = image[offset : offset + size]
    sections = []
    names = 0
    for name_at, kind, flags, address, offset, size, link, *_ in headers:
        name = _printable(_string(table, name_at)) if names <= MAX_NAMES else ""
        names += len(name)
        public = Section(
            name=name,
            address=address,
            size=size,
            alloc=bool(flags & SHF_ALLOC),
            executable=bool(flags & SHF_EXECINSTR),
        )
        section = _RawSection(public, kind, offset, link)
        if section.end > len(image) and kind not in (SHT_NOBITS, SHT_NULL):
            notes.append(f"section {name or '(no name)'} reaches to byte {section.end}, the file has {len(image)}")
        sections.append(section)
    if names > MAX_NAMES:
        notes.append("the section names are too long: some are left out")
    return sections


# Of STT_NOTYPE, STT_OBJECT and STT_FUNC.
_KINDS: tuple[Literal["function", "object", "label"], ...] = ("label", "object", "function")


def _read_symbols(sections: list[_RawSection], image: bytes, notes: list[str]) -> dict[str, tuple[Symbol, ...]]:
    none: dict[str, tuple[Symbol, ...]] = {"function": (), "object": (), "label": ()}
    section = next((section for section in sections if section.kind == SHT_SYMTAB), None)
    if section is None:
        notes.append("no symbol table: functions and data have no names; do not strip the program")
        return none
    strings = sections[section.link].data(image) if section.link < len(sections) else None
    table = section.data(image)
    if table is None or strings is None or len(table) % SYMBOL.size:
        notes.append("the symbol table is damaged: functions and data have no names")
        return none

    found = []
    names = lost = 0
    for number, (name_at, value, size, info, _, index) in enumerate(SYMBOL.iter_unpack(table)):
        name = _string(strings, name_at)
        names += len(name)
        if number >= MAX_SYMBOLS or names > MAX_NAMES:
            notes.append(f"the symbol table is too large: its first {number} symbols are read")
            break
        # Mapping symbols and the assembler's own labels name nothing.
        if info & 15 >= len(_KINDS) or not name or name.startswith(("$", ".L")):
            continue
        if index != SHN_ABS:  # the other reserved indices are no place
            if index == SHN_UNDEF or index >= SHN_LORESERVE:
                continue
            if index >= len(sections):
                lost += 1
                continue
        found.append((value, size, _KINDS[info & 15], info >> 4, _printable(name), index))
    if lost:
        notes.append(f"{lost} symbols are in sections that do not exist: they are left out")
    # The name to keep for an address comes first: sized before unsized, global before local.
    found.sort(key=lambda each: (each[0], -each[1], each[3] == STB_LOCAL, each[4]))

    starts: dict[int, list[int]] = {}  # per section, where a function of size 0 ends at the latest
    for value, _, kind, binding, _, index in found:
        if kind != "label" or binding != STB_LOCAL:
            starts.setdefault(index, []).append(value)

    symbols: dict[str, list[Symbol]] = {kind: [] for kind in none}
    for value, size, kind, _, name, index in found:
        home = sections[index].public if index != SHN_ABS else None
        known = symbols[kind]
        if home is None or (known and known[-1].address == value):
            kind = "label"
        if kind == "label":
            size = 0
        elif kind == "function" and size == 0 and home is not None:
            position = bisect_right(starts[index], value)
            end = starts[index][position] if position < len(starts[index]) else home.address + home.size
            size = max(0, end - value)
        symbols[kind].append(
            Symbol(
                name=name,
                address=value,
                size=min(size, ADDRESS_SPACE - value),
                kind=kind,
                section=home.name if home else "",
            )
        )
    return {kind: tuple(each) for kind, each in symbols.items()}


def _read_io(sections: list[_RawSection], image: bytes, path: str) -> ProgramIO | None:
    section = next((each for each in sections if each.public.name == ".rvsim.io"), None)
    if section is None:
        return None
    from rvsim.machine.tensors import decode_io

    return decode_io((section.data(image) or b"").rstrip(b"\0"), path)


def _read_arch(sections: list[_RawSection], image: bytes) -> str:
    """Tag_RISCV_arch (5) of the vendor "riscv" (RISC-V ELF psABI, "Attributes"); empty when absent or damaged.

    Not pyelftools: its iterator never ends on a second vendor or a length of 0.
    """
    section = next((each for each in sections if each.public.name == ".riscv.attributes"), None)
    data = section.data(image) if section else None
    if not data or data[:1] != b"A":
        return ""
    try:
        start = 1
        while start < len(data):
            (length,) = struct.unpack_from("<I", data, start)
            if length < 5:
                return ""
            vendor_end = data.index(b"\0", start + 4)
            if data[start + 4 : vendor_end] == b"riscv":
                position, end = vendor_end + 1 + 5, min(start + length, len(data))  # Tag_File and its length: 5 bytes
                while position < end:
                    tag, position = _uleb128(data, position)
                    if tag % 2:  # odd tags are strings, even ones numbers
                        stop = data.index(b"\0", position)
                        if tag == 5:
                            return data[position:stop].decode("ascii")
                        position = stop + 1
                    else:
                        _, position = _uleb128(data, position)
            start += length
    except (ValueError, IndexError, struct.error):
        pass
    return ""


def _uleb128(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


# ---------------------------------------------------------------------------------------------------------------- words


def _address_of(item: Segment | Symbol) -> int:
    return item.address


def _printable(text: str) -> str:
    """`text`, with `?` for what would upset a terminal."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def _range(segment: Segment) -> str:
    return f"0x{segment.address:08x}-0x{segment.end - 1:08x}"


def _size(count: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.4g} {unit}"
    return f"{count} bytes"
