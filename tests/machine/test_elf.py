"""What a program file says is read exactly; every other file ends in one clear ElfError."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.errors import ElfError
from rvsim.machine import elf
from rvsim.machine.elf import Program, load_elf, parse_elf

ROOT = Path(__file__).parents[2]
BASE = 0x8000_0000
CODE = struct.pack("<4I", 0x00000513, 0x05D00893, 0x00000073, 0x0000006F)  # exit(0); loop
IO = {
    "version": 1,
    "input": {"symbol": "image", "shape": [1, 2, 2, 1], "dtype": "int8", "scale": 0.5, "zero_point": -3},
    "output": {"symbol": "scores", "shape": [4], "dtype": "int8", "scale": 0.25, "zero_point": 7},
}
FUNCTION, OBJECT, LABEL = 2, 1, 0
GLOBAL, LOCAL = 1, 0

SYMBOLS = (
    # name, address, size, type, binding, section
    ("_start", BASE, 0, FUNCTION, GLOBAL, 1),
    ("loop", BASE + 4, 0, LABEL, LOCAL, 1),
    ("$x", BASE, 0, LABEL, LOCAL, 1),
    ("stop", BASE + 8, 4, FUNCTION, GLOBAL, 1),
    ("halt", BASE + 8, 4, FUNCTION, LOCAL, 1),
    ("last", BASE + 12, 0, FUNCTION, LOCAL, 1),
    ("image", BASE + 0x1000, 4, OBJECT, GLOBAL, 2),
    ("scores", BASE + 0x1004, 4, OBJECT, GLOBAL, 2),
    ("__stack_size", 0x400, 0, LABEL, GLOBAL, 0xFFF1),
    ("elsewhere", 0, 0, LABEL, GLOBAL, 0),
)


def attributes(arch: str) -> bytes:
    tags = b"\x04\x10" + b"\x05" + arch.encode() + b"\0"  # stack_align 16, arch
    file = b"\x01" + struct.pack("<I", 5 + len(tags)) + tags
    vendor = struct.pack("<I", 4 + 6 + len(file)) + b"riscv\0" + file
    return b"A" + vendor


def build(
    *,
    segments: list[tuple[int, bytes, int, int]] | None = None,
    entry: int = BASE,
    io: bytes | None = json.dumps(IO).encode(),
    symbols: tuple[tuple[str, int, int, int, int, int], ...] = SYMBOLS,
    **header: int,
) -> bytes:
    """An executable; a segment is (address, bytes, size in memory, flags), `header` replaces Elf32_Ehdr fields."""
    if segments is None:
        segments = [(BASE, CODE, len(CODE), 5), (BASE + 0x1000, b"\x01\x02\x03\x04", 0x100, 6)]
    offset = 52 + 32 * len(segments)
    blobs, program_headers = b"", b""
    for address, data, size, flags in segments:
        at = offset + len(blobs)
        program_headers += struct.pack("<8I", 1, at, address, address, len(data), size, flags, 4)
        blobs += data

    names, strings = b"\0", b"\0"
    table = bytes(16)
    for name, value, size, kind, binding, section in symbols:
        table += struct.pack("<IIIBBH", len(strings), value, size, binding << 4 | kind, 0, section)
        strings += name.encode() + b"\0"
    arch = attributes("rv32i2p1_m2p0_c2p0")
    section_headers = bytes(40)
    contents = [
        (".text", 1, 6, BASE, CODE, 0),
        (".data", 1, 3, BASE + 0x1000, b"\x01\x02\x03\x04" + b"\0" * 4, 0),
        (".symtab", 2, 0, 0, table, 4),
        (".strtab", 3, 0, 0, strings, 0),
        (".riscv.attributes", 0x70000003, 0, 0, arch, 0),
    ]
    if io is not None:
        contents.append((".rvsim.io", 1, 0, 0, io, 0))
    for name, kind, flags, address, data, link in contents:
        at = offset + len(blobs)
        section_headers += struct.pack("<10I", len(names), kind, flags, address, at, len(data), link, 1, 1, 0)
        names += name.encode() + b"\0"
        blobs += data
    section_headers += struct.pack("<10I", len(names), 3, 0, 0, offset + len(blobs), len(names) + 10, 0, 0, 1, 0)
    names += b".shstrtab\0"
    blobs += names
    fields = {
        "type": 2, "machine": 243, "version": 1, "entry": entry, "phoff": 52, "shoff": offset + len(blobs), "flags": 1,
        "ehsize": 52, "phentsize": 32, "phnum": len(segments), "shentsize": 40, "shnum": len(contents) + 2,
        "shstrndx": len(contents) + 1,
    }  # fmt: skip
    fields.update(header)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    return ident + struct.pack("<2H5I6H", *fields.values()) + program_headers + blobs + section_headers


def test_a_program_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "small.elf"
    path.write_bytes(build())
    program = load_elf(path)
    assert (program.path, program.name, program.entry, program.flags) == (str(path), "small.elf", BASE, 1)
    assert program.arch == "rv32i2p1_m2p0_c2p0"
    assert program.notes == ()
    code, data = program.segments
    assert (code.address, code.data, code.size, code.end) == (BASE, CODE, 16, BASE + 16)
    assert (code.readable, code.writable, code.executable) == (True, False, True)
    assert (data.data, data.size, data.writable, data.executable) == (b"\x01\x02\x03\x04", 0x100, True, False)
    assert [(each.name, each.address - BASE, each.size) for each in program.functions] == [
        ("_start", 0, 8),  # size 0 reaches to the next function, past the local label
        ("stop", 8, 4),  # the global name is kept ...
        ("last", 12, 4),  # size 0 reaches to the section's end
    ]
    assert [(each.name, each.section) for each in program.labels] == [
        ("__stack_size", ""),
        ("loop", ".text"),
        ("halt", ".text"),  # ... and the local one becomes a label
    ]
    assert [each.name for each in program.objects] == ["image", "scores"]
    assert [(each.name, each.alloc, each.executable) for each in program.sections][:3] == [
        (".text", True, True),
        (".data", True, False),
        (".symtab", False, False),
    ]
    assert program.io is not None and program.io.input is not None and program.io.output is not None
    assert (program.io.input.shape, program.io.input.scale, program.io.input.nbytes) == ((1, 2, 2, 1), 0.5, 4)
    assert program.io.output.zero_point == 7
    assert program.line(BASE) is None


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (BASE, "_start"),
        (BASE + 7, "_start"),
        (BASE + 8, "stop"),
        (BASE + 15, "last"),
        (BASE + 16, None),
        (BASE + 0x1003, "image"),
        (BASE + 0x1007, "scores"),
        (BASE + 0x1008, None),
        (0, None),
    ],
)
def test_symbol_at(address: int, name: str | None) -> None:
    symbol = parse_elf(build()).symbol_at(address)
    assert (symbol.name if symbol else None) == name


def test_labels_name_what_no_function_holds() -> None:
    symbols = (("_start", BASE, 0, LABEL, GLOBAL, 1), ("again", BASE + 8, 0, LABEL, LOCAL, 1))
    program = parse_elf(build(symbols=symbols))
    assert program.functions == ()
    assert program.where(BASE + 4) == "0x80000004 in _start+0x4"
    assert program.where(BASE + 8) == "0x80000008 in again"
    assert program.where(0x100) == "0x00000100"
    assert program.symbol("again") == program.labels[1]
    assert program.symbol("missing") is None


def test_names_cannot_drive_a_terminal() -> None:
    program = parse_elf(build(symbols=(("\x1b[31mred", BASE, 4, FUNCTION, GLOBAL, 1),)))
    assert program.functions[0].name == "?[31mred"


def segment(address: int = BASE, data: bytes = CODE, size: int = 16, flags: int = 5) -> tuple[int, bytes, int, int]:
    return (address, data, size, flags)


REFUSED = {
    "empty": (b"", "p is empty: expected a RISC-V ELF executable"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "it looks like a TensorFlow Lite model"),
    "numpy": (b"\x93NUMPY\x01\0", "it looks like a NumPy array"),
    "zip": (b"PK\x03\x04....", "it looks like a zip archive"),
    "archive": (b"!<arch>\nfoo", "it looks like a static library"),
    "script": (b"#!/bin/sh\n", "it looks like a script"),
    "text": ("int main(void) { /* äö */ }\n".encode(), "it looks like text; compile and link it first"),
    "text cut in a character": (b"a" * 511 + "ä".encode(), "it looks like text"),
    "raw": (bytes.fromhex("130000009308d005"), "it begins with 13 00 00 00 93 08 d0 05, expected 7f 45 4c 46"),
    "header cut": (build()[:51], "p is truncated: 51 bytes, but the ELF header alone takes 52"),
    "program headers cut": (build()[:100], "p is truncated: its program headers reach to byte 116, the file has 100"),
    "segment cut": (build()[:131], "p is truncated: the segment at 0x80000000 reaches to byte 132, the file has 131"),
    "section headers cut": (build()[:-1], "p is truncated: its section headers reach to byte"),
    "class": (build()[:4] + b"\x07" + build()[5:], "p is damaged: ELF class 7 and byte order 1 do not exist"),
    "64-bit": (build()[:4] + b"\x02" + build()[5:], "p is a 64-bit little-endian ELF for RISC-V: expected"),
    "big-endian": (
        b"\x7fELF\x01\x02" + build()[6:18] + b"\0\xf3" + build()[20:],
        "p is a 32-bit big-endian ELF for RISC-V",
    ),
    "foreign": (build(machine=40), "p is a 32-bit little-endian ELF for ARM: expected"),
    "foreign x86": (build(machine=62), "ELF for Advanced Micro Devices X86-64: expected"),
    "unheard of": (build(machine=0xFACE), "ELF for unknown machine 64206: expected"),
    "object": (build(type=1), "p is a relocatable object, not an executable; link it first"),
    "shared object": (build(type=3), "p is a shared object or position-independent executable; link"),
    "core dump": (build(type=4), r"p is not an executable (its ELF header says a core dump)"),
    "phentsize": (build(phentsize=56), "p is damaged: a program header takes 32 bytes, its ELF header says 56"),
    "shentsize": (build(shentsize=0), "p is damaged: a section header takes 40 bytes, its ELF header says 0"),
    "no segments": (build(phnum=0), r"p has no segment to load (PT_LOAD)"),
    "empty segments": (build(segments=[segment(size=0, data=b"")]), "p has no segment to load"),
    "filesz": (build(segments=[segment(size=8)]), "the segment at 0x80000000 has 16 bytes in the file but 8 in memory"),
    "overlap": (
        build(segments=[segment(BASE + 8), segment()]),
        "p: segments 0x80000000-0x8000000f and 0x80000008-0x80000017 overlap",
    ),
    "wrap": (build(segments=[segment(0xFFFF_FFF8)]), "the segment at 0xfffffff8 of 16 bytes wraps around"),
    "too much": (
        build(segments=[segment(size=(1 << 30) + 1)]),
        "asks for at least 1,073,741,825 bytes of memory, the limit",
    ),
    "entry nowhere": (build(entry=0), r"p: entry 0x00000000 is in no segment (executable: 0x80000000-0x8000000f)"),
    "entry in data": (build(entry=BASE + 0x1000), "0x80001000 is in segment 0x80001000-0x800010ff, which is not"),
    "entry odd": (build(entry=BASE + 1), "p: entry 0x80000001 is misaligned"),
    "io": (build(io=b"{"), "p: section .rvsim.io does not hold the description of tensors"),
    "io version": (build(io=b'{"version": 2}'), "section .rvsim.io does not hold"),
    "io shape": (build(io=json.dumps({**IO, "input": {**IO["input"], "shape": [0]}}).encode()), "dimension below 1"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    image, message = REFUSED[case]
    with pytest.raises(ElfError) as caught:
        parse_elf(image, "p")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 66


def test_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(ElfError, match="does not exist"):
        load_elf(tmp_path / "none.elf")
    with pytest.raises(ElfError, match="is a directory"):
        load_elf(tmp_path)
    with pytest.raises(ElfError, match="is not a regular file"):
        load_elf("/dev/null")
    with pytest.raises(ElfError, match="cannot read"):
        load_elf("a\0b")
    huge = tmp_path / "huge.elf"
    with huge.open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(ElfError, match="has 5 GiB: a 32-bit ELF has less than 4 GiB"):
        load_elf(huge)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.elf"
    path.write_bytes(build())

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root reads everything
    with pytest.raises(ElfError, match=r"cannot read '.*secret\.elf': Permission denied"):
        load_elf(path)


def test_the_memory_limit_is_an_argument() -> None:
    assert parse_elf(build(), max_memory=0x110)
    with pytest.raises(ElfError, match="asks for at least 272 bytes of memory, the limit is 271"):
        parse_elf(build(), max_memory=0x10F)


def test_adjacent_segments_up_to_the_last_byte() -> None:
    program = parse_elf(build(segments=[segment(0xFFFF_FFF0), segment(0xFFFF_FFE0)], entry=0xFFFF_FFE0))
    assert program.segments[-1].end == 1 << 32


@pytest.mark.parametrize(
    ("image", "note"),
    [
        (build(shnum=0), "no symbol table"),
        (build(shoff=0), "no symbol table"),
        (build(symbols=(("ghost", BASE, 0, FUNCTION, GLOBAL, 99),)), "1 symbols are in sections that do not exist"),
    ],
)
def test_broken_names_do_not_hinder_the_run(image: bytes, note: str) -> None:
    program = parse_elf(image)
    assert program.functions == ()
    assert note in program.notes[0]
    assert program.where(BASE) == "0x80000000"


def test_a_symbol_table_beyond_the_file_is_noted() -> None:
    image = bytearray(build(io=None))
    shoff = struct.unpack_from("<I", image, 32)[0]
    struct.pack_into("<I", image, shoff + 3 * 40 + 16, 0xFFFF_0000)  # sh_offset of .symtab
    program = parse_elf(bytes(image))
    assert program.functions == ()
    assert program.notes[0].startswith("section .symtab reaches to byte")
    assert program.notes[1].startswith("the symbol table is damaged")


def test_names_do_not_hang_on_what_else_the_section_headers_say() -> None:
    image = bytearray(build())
    shoff = struct.unpack_from("<I", image, 32)[0]
    for index in (3, 4, 7):  # .symtab, .strtab, .shstrtab: flags (compressed among them) and entry size
        struct.pack_into("<I", image, shoff + index * 40 + 8, 0xFFFF_FFFF)
        struct.pack_into("<I", image, shoff + index * 40 + 36, 0xFFFF_FFFF)
    assert parse_elf(bytes(image)).functions == parse_elf(build()).functions


def test_a_name_ends_in_its_string_table() -> None:
    image = bytearray(
        build(symbols=(("first", BASE, 4, FUNCTION, GLOBAL, 1), ("cut", BASE + 4, 4, FUNCTION, GLOBAL, 1)))
    )
    strtab = struct.unpack_from("<I", image, 32)[0] + 4 * 40
    size = struct.unpack_from("<I", image, strtab + 20)[0]
    struct.pack_into("<I", image, strtab + 20, size - 1)  # without the last NUL
    assert [each.name for each in parse_elf(bytes(image)).functions] == ["first"]


@pytest.mark.parametrize(("limit", "value", "read"), [("MAX_SYMBOLS", 5, 5), ("MAX_NAMES", 15, 4)])
def test_symbols_beyond_the_limit_are_noted(limit: str, value: int, read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, limit, value)
    symbols = tuple((f"fn_{number}", BASE + number, 1, FUNCTION, GLOBAL, 1) for number in range(8))
    program = parse_elf(build(symbols=symbols, shstrndx=0, io=None))
    assert program.notes == (f"the symbol table is too large: its first {read} symbols are read",)
    assert len(program.functions) == read - 1  # symbol 0 is nobody's


def test_section_names_beyond_the_limit_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "MAX_NAMES", 8)
    program = parse_elf(build(symbols=()))
    assert program.notes == ("the section names are too long: some are left out",)
    assert [each.name for each in program.sections][:3] == [".text", ".data", ""]


@pytest.mark.parametrize("elf_class", [1, 2])
def test_a_header_of_either_class_may_be_cut(elf_class: int) -> None:
    size = 52 if elf_class == 1 else 64
    with pytest.raises(ElfError, match=f"{size - 1} bytes, but the ELF header alone takes {size}"):
        parse_elf((b"\x7fELF" + bytes([elf_class])).ljust(size - 1, b"\1"))


PROGRAMS = sorted((ROOT / "kernels").rglob("*.elf"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_are_read_as_pyelftools_reads_them(path: Path) -> None:
    program = load_elf(path)
    with path.open("rb") as file:
        theirs = ELFFile(file)
        assert (program.entry, program.flags) == (theirs["e_entry"], theirs["e_flags"])
        segments = sorted(
            (s["p_vaddr"], s.data(), s["p_memsz"], s["p_flags"])
            for s in theirs.iter_segments("PT_LOAD")
            if s["p_memsz"]
        )
        ours = [(s.address, s.data, s.size, s.readable * 4 | s.writable * 2 | s.executable) for s in program.segments]
        assert [each for each in segments if each not in ours] == []
        sections = [(s.name, s["sh_addr"], s["sh_size"], s["sh_flags"] & 6) for s in theirs.iter_sections()]
        assert [(s.name, s.address, s.size, s.alloc * 2 | s.executable * 4) for s in program.sections] == sections[1:]
        symbols = {
            (s.name, s["st_value"])
            for s in theirs.get_section_by_name(".symtab").iter_symbols()
            if s["st_info"]["type"] in ("STT_NOTYPE", "STT_OBJECT", "STT_FUNC")
            and (isinstance(s["st_shndx"], int) or s["st_shndx"] == "SHN_ABS")
            and s.name
            and not s.name.startswith(("$", ".L"))
        }
        assert {(s.name, s.address) for s in (*program.functions, *program.objects, *program.labels)} == symbols


def check(image: bytes) -> None:
    """Either an ElfError, or a program whose every answer works."""
    try:
        program = parse_elf(image)
    except ElfError as error:
        assert "\n" not in str(error)
        return
    assert isinstance(program, Program)
    assert sum(each.size for each in program.segments) <= 1 << 30
    for each in (*program.functions[:50], *program.objects[:50], *program.labels[:50]):
        assert 0 <= each.address <= each.end <= 1 << 32
        program.where(each.address)
    assert program.symbol_at(program.entry) is None or program.where(program.entry)


SMALL = build()
EXAMPLES = [path.read_bytes() for path in sorted((ROOT / "kernels" / "examples").glob("*.elf"))]
IMAGES = st.sampled_from([SMALL, *EXAMPLES])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    image = bytearray(draw(IMAGES))
    interesting = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
    near_headers = st.one_of(
        st.integers(0, 180), st.integers(0, len(image) - 1), st.integers(len(image) - 400, len(image) - 1)
    )
    for at in draw(st.lists(near_headers, max_size=8)):
        image[max(at, 0)] = draw(interesting | st.integers(0, 255))
    for at in draw(st.lists(st.integers(0, len(image) // 4 - 1), max_size=2)):
        struct.pack_into("<I", image, 4 * at, draw(st.sampled_from([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])))
    return bytes(image[: draw(st.just(len(image)) | st.integers(0, len(image)))])


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_a_damaged_file_is_refused_or_runs(image: bytes) -> None:
    check(image)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_rubbish_is_refused(tail: bytes, magic: bool) -> None:
    check((b"\x7fELF\x01\x01" if magic else b"") + tail)


def test_every_truncation_is_refused() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(ElfError):
            parse_elf(SMALL[:size])


GCC = shutil.which("riscv64-unknown-elf-gcc")
SOURCE = """\
int table[4];
static int third(int a) {
    return a * 3;
}
void _start(void) {
    volatile int x = third(table[1]);
    for (;;) x++;
}
__attribute__((section(".text.unlikely"))) void first(void) {
}
"""


@pytest.mark.skipif(GCC is None, reason="no riscv64-unknown-elf-gcc on the PATH")
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("compressed", [False, True])
def test_source_lines_of_a_compiled_program(tmp_path: Path, version: int, compressed: bool) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "lines.c").write_text(SOURCE)
    assert GCC is not None
    subprocess.run(
        [GCC, "-march=rv32imc", "-mabi=ilp32", f"-gdwarf-{version}", "-O0", "-nostdlib", "-nostartfiles",
         *(["-gz"] if compressed else []), "-o", "lines.elf", "sub/lines.c"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    program = load_elf(tmp_path / "lines.elf")
    assert program.arch.startswith("rv32i")
    third = program.symbol("third")
    assert third is not None and third.kind == "function"
    assert program.line(third.address) == ("sub/lines.c", 2)
    assert program.line(third.end - 1) == ("sub/lines.c", 4)
    assert program.where(third.address) == f"0x{third.address:08x} in third (sub/lines.c:2)"
    first = program.functions[0]
    assert (first.name, program.line(first.address)) == (
        "first",
        ("sub/lines.c", 9),
    )  # later in the table, lower address
    assert program.line(program.functions[-1].end) is None

    damaged = bytearray(program.image)
    for at in range(0, len(damaged), 3):
        if not 0x100 <= at < len(damaged) - 40 * (len(program.sections) + 2):
            continue
        damaged[at] ^= 0xFF
    parse_elf(bytes(damaged)).line(third.address)
