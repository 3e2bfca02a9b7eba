"""Reading a program: what an ELF file asks of the machine, or one clear reason why it cannot run.

pyelftools reads the records and strings of the file (ELF specification, "Object Files") and its DWARF lines; what is
checked around it here is what a damaged or hostile file must not do to the run.
"""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_right
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rvsim.errors import ElfError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import StringTableSection

ADDRESS_SPACE = 1 << 32
MAX_MEMORY = 1 << 30
"""Default limit on the memory all segments of a program may ask for, in bytes."""

MAX_DEBUG = 256 << 20
"""Most bytes of unpacked debug sections that are read: a compressed section states any size it likes."""

MAX_SYMBOLS = 1 << 18
"""Most symbols that are read, at about 15 µs each."""

MAX_NAMES = 64 << 20
"""Most characters of symbol or section names that are read: any number of them may share one long string."""

COPY_HINT = "copy or build it again"
MAP_HINT = "check the memory map in the linker script"
BUILD_HINT = "compile it for riscv32 with -march=rv32imc -mabi=ilp32"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
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


class Section(msgspec.Struct, frozen=True, kw_only=True):
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


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
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


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output tensor of a program (docs/architecture.md, `.rvsim.io`).

    Attributes
    ----------
    symbol : str
        Name of the object that holds it.
    shape : tuple of int
        Dimensions, each at least 1.
    dtype : {"int8", "int16", "int32", "float32"}
    scale : float
        Real value of one step; 0 or 1 where the tensor is not quantised.
    zero_point : int
        Quantised value of real 0.
    """

    symbol: str
    shape: tuple[int, ...]
    dtype: Literal["int8", "int16", "int32", "float32"]
    scale: float = 1.0
    zero_point: int = 0

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        size = {"int8": 1, "int16": 2, "int32": 4, "float32": 4}[self.dtype]
        for dimension in self.shape:
            size *= dimension
        return size

    def __post_init__(self) -> None:
        if any(dimension < 1 for dimension in self.shape) or self.nbytes > ADDRESS_SPACE:
            raise ValueError(f"shape {list(self.shape)} has a dimension below 1 or more than 4 GiB")


class ProgramIO(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `.rvsim.io` says: where a program takes its input and leaves its output."""

    version: Literal[1]
    input: Tensor | None = None
    output: Tensor | None = None


class Program(msgspec.Struct, frozen=True, kw_only=True, dict=True, eq=False):
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

    @property
    def name(self) -> str:
        """File name without folder."""
        return os.path.basename(self.path)

    @cached_property
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

    @cached_property
    def _lines(self) -> tuple[list[int], list[tuple[str, int] | None]]:
        try:
            return _read_lines(self.image)
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

    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(BytesIO(image))
    except ELFError as error:  # releases before 0.33 already look up the section names here
        raise ElfError(f"{path} is damaged: {_one_line(error)}; {COPY_HINT}") from None
    _check_kind(elf, path)
    segments = _read_segments(_table(elf, path, "program header"), image, path, max_memory)
    _check_entry(elf["e_entry"], segments, path)

    notes: list[str] = []
    sections = _read_sections(elf, _table(elf, path, "section header"), image, notes)
    symbols = _read_symbols(elf, sections, image, notes)
    return Program(
        path=path,
        entry=elf["e_entry"],
        segments=segments,
        functions=symbols["function"],
        objects=symbols["object"],
        labels=symbols["label"],
        sections=tuple(section.public for section in sections[1:]),
        io=_read_io(sections, image, path),
        flags=elf["e_flags"],
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


def _check_kind(elf: ELFFile, path: str) -> None:
    """Class, byte order, machine and type, in one message when they are another computer's."""
    machine, kind = elf["e_machine"], elf["e_type"]
    if machine != "EM_RISCV" or elf.elfclass != 32 or not elf.little_endian:
        raise ElfError(
            f"{path} is a {elf.elfclass}-bit {'little' if elf.little_endian else 'big'}-endian ELF for "
            f"{_machine_name(machine)}: expected 32-bit little-endian RISC-V; {BUILD_HINT}"
        )
    if kind == "ET_REL":
        raise ElfError(
            f"{path} is a relocatable object, not an executable; link it first (docs: rvsim's linker script)"
        )
    if kind == "ET_DYN":
        raise ElfError(f"{path} is a shared object or position-independent executable; link it with -static -no-pie")
    if kind != "ET_EXEC":
        name = {"ET_NONE": "no type", "ET_CORE": "a core dump"}.get(kind, f"type {kind}")
        raise ElfError(f"{path} is not an executable (its ELF header says {name}); use the linker's output")


def _machine_name(machine: str | int) -> str:
    """`e_machine` in words; pyelftools leaves a number it does not know."""
    from elftools.elf.descriptions import describe_e_machine

    if isinstance(machine, int):
        return f"unknown machine {machine}"
    description = str(describe_e_machine(machine))
    return machine.removeprefix("EM_") if description.startswith("<unknown>") else description


def _table(elf: ELFFile, path: str, what: Literal["program header", "section header"]) -> list[Any]:
    """All program or section headers, which must be in the file.

    Not `iter_segments` and `iter_sections`: they read on into what a header points to, which may be damaged when the
    header is not, and take more entries than the ELF header says from section 0.
    """
    from elftools.common.utils import struct_parse

    record, prefix = (elf.structs.Elf_Phdr, "e_ph") if what == "program header" else (elf.structs.Elf_Shdr, "e_sh")
    offset, count, entry_size = elf[f"{prefix}off"], elf[f"{prefix}num"], elf[f"{prefix}entsize"]
    if count == 0 or offset == 0:
        return []
    size = record.sizeof()
    if entry_size != size:
        raise ElfError(f"{path} is damaged: a {what} takes {size} bytes, its ELF header says {entry_size}; {COPY_HINT}")
    end = offset + count * size
    if end > elf.stream_len:
        raise ElfError(
            f"{path} is truncated: its {what}s reach to byte {end}, the file has {elf.stream_len}; {COPY_HINT}"
        )
    return [struct_parse(record, elf.stream, stream_pos=at) for at in range(offset, end, size)]


# ------------------------------------------------------------------------------------------------------------- segments


def _read_segments(headers: list[Any], image: bytes, path: str, max_memory: int) -> tuple[Segment, ...]:
    from elftools.elf.constants import P_FLAGS

    segments = []
    total = 0
    # Start-up code in flash copies initialised data from its load address to where it runs: both are filled.
    images: list[tuple[int, bytes]] = []
    for header in headers:
        if header["p_type"] != "PT_LOAD":
            continue
        address, size, offset, file_size = (header[f"p_{each}"] for each in ("vaddr", "memsz", "offset", "filesz"))
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
        flags = header["p_flags"] or P_FLAGS.PF_R | P_FLAGS.PF_W | P_FLAGS.PF_X
        if header["p_paddr"] != address and file_size:
            images.append((header["p_paddr"], image[offset : offset + file_size]))
        segments.append(
            Segment(
                address=address,
                data=image[offset : offset + file_size],
                size=size,
                readable=bool(flags & P_FLAGS.PF_R),
                writable=bool(flags & P_FLAGS.PF_W),
                executable=bool(flags & P_FLAGS.PF_X),
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


class _RawSection(msgspec.Struct, kw_only=True):
    """A section with its header as pyelftools reads it."""

    public: Section
    header: Any

    def data(self, image: bytes) -> bytes | None:
        """Its bytes, or None when they are not (wholly) in the file."""
        end = self.header["sh_offset"] + self.header["sh_size"]
        if self.header["sh_type"] in ("SHT_NOBITS", "SHT_NULL") or end > len(image):
            return None
        return image[self.header["sh_offset"] : end]


def _string_table(elf: ELFFile, data: bytes) -> StringTableSection:
    """The string table whose bytes are `data`; a string that does not begin and end in it is empty."""
    from elftools.construct import Container
    from elftools.elf.sections import StringTableSection

    table = StringTableSection(Container(sh_flags=0, sh_offset=0, sh_size=len(data), sh_addralign=1), "", elf)
    table.stream = BytesIO(data[: data.rfind(b"\0") + 1])  # in the file's stream, get_string would read past the table
    return table


def _read_sections(elf: ELFFile, headers: list[Any], image: bytes, notes: list[str]) -> list[_RawSection]:
    from elftools.elf.constants import SH_FLAGS

    table = b""
    if 0 < elf["e_shstrndx"] < len(headers):
        header = headers[elf["e_shstrndx"]]
        table = image[header["sh_offset"] : header["sh_offset"] + header["sh_size"]]
    strings = _string_table(elf, table)
    sections = []
    names = 0
    for header in headers:
        name = _printable(strings.get_string(header["sh_name"])) if names <= MAX_NAMES else ""
        names += len(name)
        end = header["sh_offset"] + header["sh_size"]
        if end > len(image) and header["sh_type"] not in ("SHT_NOBITS", "SHT_NULL"):
            notes.append(f"section {name or '(no name)'} reaches to byte {end}, the file has {len(image)}")
        public = Section(
            name=name,
            address=header["sh_addr"],
            size=header["sh_size"],
            alloc=bool(header["sh_flags"] & SH_FLAGS.SHF_ALLOC),
            executable=bool(header["sh_flags"] & SH_FLAGS.SHF_EXECINSTR),
        )
        sections.append(_RawSection(public=public, header=header))
    if names > MAX_NAMES:
        notes.append("the section names are too long: some are left out")
    return sections


_KINDS = {"STT_NOTYPE": "label", "STT_OBJECT": "object", "STT_FUNC": "function"}


def _read_symbols(
    elf: ELFFile, sections: list[_RawSection], image: bytes, notes: list[str]
) -> dict[str, tuple[Symbol, ...]]:
    from elftools.elf.constants import SHN_INDICES
    from elftools.elf.sections import SymbolTableSection

    none: dict[str, tuple[Symbol, ...]] = {"function": (), "object": (), "label": ()}
    table = next((section for section in sections if section.header["sh_type"] == "SHT_SYMTAB"), None)
    if table is None:
        notes.append("no symbol table: functions and data have no names; do not strip the program")
        return none
    header, entry_size = table.header, elf.structs.Elf_Sym.sizeof()
    strings = sections[header["sh_link"]].data(image) if header["sh_link"] < len(sections) else None
    if table.data(image) is None or strings is None or header["sh_size"] % entry_size:
        notes.append("the symbol table is damaged: functions and data have no names")
        return none
    header["sh_entsize"], header["sh_flags"] = entry_size, 0  # pyelftools believes both; here they can only be damaged

    found = []
    names = lost = 0
    symbol_table = SymbolTableSection(header, table.public.name, elf, _string_table(elf, strings))
    for number, symbol in enumerate(symbol_table.iter_symbols()):
        names += len(symbol.name)
        if number >= MAX_SYMBOLS or names > MAX_NAMES:
            notes.append(f"the symbol table is too large: its first {number} symbols are read")
            break
        kind, name, index = _KINDS.get(symbol["st_info"]["type"]), _printable(symbol.name), symbol["st_shndx"]
        if kind is None or not name or name.startswith(("$", ".L")):  # mapping symbols, the assembler's own labels
            continue
        if index != "SHN_ABS":  # the other indices pyelftools names, and the reserved ones, are no place
            if not isinstance(index, int) or index >= SHN_INDICES.SHN_LORESERVE:
                continue
            if index >= len(sections):
                lost += 1
                continue
        found.append((symbol["st_value"], symbol["st_size"], kind, symbol["st_info"]["bind"], name, index))
    if lost:
        notes.append(f"{lost} symbols are in sections that do not exist: they are left out")
    # The name to keep for an address comes first: sized before unsized, global before local.
    found.sort(key=lambda each: (each[0], -each[1], each[3] == "STB_LOCAL", each[4]))

    starts: dict[int | str, list[int]] = {}  # per section, where a function of size 0 ends at the latest
    for value, _, kind, binding, _, index in found:
        if kind != "label" or binding != "STB_LOCAL":
            starts.setdefault(index, []).append(value)

    symbols: dict[str, list[Symbol]] = {kind: [] for kind in none}
    for value, size, kind, _, name, index in found:
        section = sections[index].public if index != "SHN_ABS" else None
        known = symbols[kind]
        if section is None or (known and known[-1].address == value):
            kind = "label"
        if kind == "label":
            size = 0
        elif kind == "function" and size == 0 and section is not None:
            position = bisect_right(starts[index], value)
            end = starts[index][position] if position < len(starts[index]) else section.address + section.size
            size = max(0, end - value)
        symbols[kind].append(
            Symbol(
                name=name,
                address=value,
                size=min(size, ADDRESS_SPACE - value),
                kind=kind,  # type: ignore[arg-type]
                section=section.name if section else "",
            )
        )
    return {kind: tuple(each) for kind, each in symbols.items()}


def _read_io(sections: list[_RawSection], image: bytes, path: str) -> ProgramIO | None:
    section = next((each for each in sections if each.public.name == ".rvsim.io"), None)
    if section is None:
        return None
    try:
        return msgspec.json.decode((section.data(image) or b"").rstrip(b"\0"), type=ProgramIO)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ElfError(
            f"{path}: section .rvsim.io does not hold the description of tensors that docs/architecture.md defines: "
            f"{_one_line(error)}; compile the model again"
        ) from None


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


# ---------------------------------------------------------------------------------------------------------------- lines


def _read_lines(image: bytes) -> tuple[list[int], list[tuple[str, int] | None]]:
    """Sorted start addresses, and the place in the source from each to the next (None: after a sequence's end)."""
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(BytesIO(image))
    if not elf.has_dwarf_info(strict=True):
        return [], []
    debug = [section for section in elf.iter_sections() if section.name.startswith((".debug_", ".zdebug_"))]
    if sum(section.data_size for section in debug) > MAX_DEBUG:
        return [], []
    dwarf = elf.get_dwarf_info(follow_links=False)
    rows: list[tuple[int, bool, tuple[str, int] | None]] = []
    for unit in dwarf.iter_CUs():
        try:
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


def _one_line(error: Exception) -> str:
    return " ".join(f"{error}".split())[:200] or type(error).__name__
