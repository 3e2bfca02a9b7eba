"""The executable: what loaders, debuggers and the machine find in it."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from rvsim.asm import assemble, assemble_program
from rvsim.machine import Machine

PROGRAM = """\
# sums 1 to 10 and says so
    .text
    .globl _start, sum
    .type sum, @function
_start:
    la   a0, numbers
    li   a1, 10
    call sum
    la   a1, result
    sw   a0, (a1)
    j    done
sum:
    mv   a2, a0
    li   a0, 0
1:  lw   a3, (a2)
    add  a0, a0, a3
    addi a2, a2, 4
    addi a1, a1, -1
    bnez a1, 1b
    ret
    .size sum, . - sum
done:
    li   a7, 93
    ecall
    .section .rodata
numbers:
    .set n, 1
    .rept 10
    .word n
    .set n, n + 1
    .endr
    .bss
result: .word 0
"""


def elf(image: bytes) -> ELFFile:
    return ELFFile(io.BytesIO(image))


def write(image: bytes, folder: Path, name: str = "program.elf") -> str:
    path = folder / name
    path.write_bytes(image)
    return str(path)


def test_it_runs(tmp_path):
    machine = Machine.from_elf(write(assemble(PROGRAM), tmp_path))
    assert machine.run(1000).exit_status == 55


def test_it_runs_on_qemu(require_peer, tmp_path):
    qemu = require_peer("qemu-riscv32")
    path = write(assemble(PROGRAM, text=0x10000), tmp_path)
    Path(path).chmod(0o755)
    assert subprocess.run([qemu, path], check=False).returncode == 55


def test_header():
    file = elf(assemble(PROGRAM, text=0x2000_0000))
    header = file.header
    assert (header.e_type, header.e_machine, header.e_flags) == ("ET_EXEC", "EM_RISCV", 1)
    assert header.e_entry == 0x2000_0000
    assert elf(assemble("nop", isa="rv32i")).header.e_flags == 0
    assert elf(assemble("nop\n_start: nop")).header.e_entry == 0x8000_0002
    assert elf(assemble("nop\nstart: nop")).header.e_entry == 0x8000_0000


def test_segments():
    loads = [s.header for s in elf(assemble(PROGRAM + ".data\n.word 1")).iter_segments("PT_LOAD")]
    assert [(s.p_vaddr, s.p_flags) for s in loads] == [(0x8000_0000, 5), (0x8000_1000, 4), (0x8000_2000, 6)]
    assert all(s.p_offset % s.p_align == s.p_vaddr % s.p_align for s in loads)
    assert (loads[2].p_filesz, loads[2].p_memsz) == (4, 8)  # .bss behind .data takes no room in the file


def test_sections_follow_one_another():
    source = (
        '.data\nd: .byte 1\n.bss\nb: .zero 3\n.section .rodata\nr: .byte 2\n.text\nnop\n.section .text.more,"ax"\nnop'
    )
    sections = [s for s in elf(assemble(source)).iter_sections() if s["sh_flags"] & 2]
    assert [s.name for s in sections] == [".text", ".text.more", ".rodata", ".data", ".bss"]
    assert [s["sh_addr"] - 0x8000_0000 for s in sections] == [0, 2, 0x1000, 0x2000, 0x2001]


def test_symbols():
    symbols = {s.name: s for s in elf(assemble(PROGRAM)).get_section_by_name(".symtab").iter_symbols()}
    assert symbols["sum"]["st_info"] == {"bind": "STB_GLOBAL", "type": "STT_FUNC"}
    assert symbols["sum"]["st_size"] == 16
    assert symbols["done"]["st_info"] == {"bind": "STB_LOCAL", "type": "STT_NOTYPE"}
    assert symbols["n"]["st_shndx"] == "SHN_ABS" and symbols["n"]["st_value"] == 11
    assert not any(name.startswith(".L") or "\x01" in name for name in symbols)
    hidden = elf(assemble(".Lx: nop\n1: j .Lx")).get_section_by_name(".symtab")
    assert [s.name for s in hidden.iter_symbols() if s.name and "$" not in s.name] == ["<string>"]


def test_mapping_symbols():
    table = elf(assemble("nop\n.word 1\n.byte 2, 0\nnop")).get_section_by_name(".symtab")
    marks = [(s.name, s["st_value"] & 0xFF) for s in table.iter_symbols() if s.name.startswith("$")]
    assert marks == [("$x", 0), ("$d", 2), ("$x", 8)]


@pytest.mark.parametrize(
    ("isa", "arch"),
    [
        ("rv32i", "rv32i2p1_zicsr2p0_zifencei2p0"),
        ("rv32imc", "rv32i2p1_m2p0_c2p0_zicsr2p0_zifencei2p0"),
        ("rv32ima_zbb_zba", "rv32i2p1_m2p0_a2p1_zba1p0_zbb1p0_zicsr2p0_zifencei2p0"),
    ],
)
def test_attributes(gnu, tmp_path, isa, arch):
    text = gnu.run("readelf", "-A", write(assemble("nop", isa=isa), tmp_path))
    assert f'Tag_RISCV_arch: "{arch}"' in text
    assert "Tag_RISCV_stack_align: 16-bytes" in text


def test_readelf_finds_nothing_wrong(gnu, tmp_path):
    done = subprocess.run(
        [f"{gnu.prefix}readelf", "-aW", "--debug-dump=rawline,info,abbrev,aranges", write(assemble(PROGRAM), tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "arning" not in done.stdout + done.stderr and "rror" not in done.stdout + done.stderr


# ------------------------------------------------------------ line information
def line_of(text: str) -> int:
    return next(n for n, line in enumerate(PROGRAM.splitlines(), 1) if text in line)


@pytest.fixture
def built(tmp_path):
    (tmp_path / "program.s").write_text(PROGRAM)
    image, _ = assemble_program(PROGRAM, name="program.s", compile_folder=str(tmp_path))
    return write(image, tmp_path)


def test_objdump_names_lines(gnu, built, tmp_path):
    text = gnu.run("objdump", "-dl", built)
    lines = [int(found) for found in re.findall(r"program\.s:(\d+)", text)]
    instructions = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if re.match(r"(1:)?\s+[a-z]", line)]
    assert lines == [n for n in instructions if n < line_of(".section")]


def test_addr2line(gnu, built, tmp_path):
    symbols = {
        s.name: s["st_value"] for s in elf(Path(built).read_bytes()).get_section_by_name(".symtab").iter_symbols()
    }
    for name, text in (("_start", "la   a0"), ("sum", "mv   a2"), ("done", "li   a7")):
        assert gnu.run("addr2line", "-e", built, hex(symbols[name])).strip().endswith(f"program.s:{line_of(text)}")


def test_the_same_lines_as_gnu(gnu, tmp_path):
    """Rows of the line table, against GNU as -g."""
    source = PROGRAM.replace("la   a0, numbers", "la a0, numbers; nop")
    ours = write(assemble(source, name="gnu.s"), tmp_path)
    gnu.link(source, "rv32imc_zicsr_zifencei", Path(ours).read_bytes())
    names = {name: str(gnu.folder / f"gnu.{name}") for name in ("s", "o", "ld", "elf")}
    gnu.run("as", "-g", "-march=rv32imc_zicsr", "-mabi=ilp32", names["s"], "-o", names["o"])
    gnu.run("ld", "-melf32lriscv", "--no-relax", "-T", names["ld"], names["o"], "-o", names["elf"])

    def rows(path: str) -> list[tuple[int, int]]:
        text = gnu.run("objdump", "--dwarf=decodedline", path)
        return [(int(a, 16), int(n)) for n, a in re.findall(r"gnu\.s\s+(\d+)\s+(0x[0-9a-f]+)", text)]

    # GNU as makes a row for each instruction, we for each change of line.
    wanted = [row for n, row in enumerate(rows(names["elf"])) if not n or row[1] != rows(names["elf"])[n - 1][1]]
    assert rows(ours) == wanted and len(wanted) > 10


def test_gdb_reads_lines_and_functions(require_peer, built, tmp_path):
    gdb = require_peer("gdb-multiarch")
    done = subprocess.run(
        [
            gdb,
            "-nx",
            "-batch",
            "-ex",
            "info line sum",
            "-ex",
            f"break program.s:{line_of('add  a0')}",
            "-ex",
            "list sum",
            built,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert f'Line {line_of("mv   a2")} of "program.s" starts at address' in done.stdout
    assert f"file program.s, line {line_of('add  a0')}." in done.stdout
    assert "    mv   a2, a0" in done.stdout


def test_lines_of_a_compiler_are_kept(gnu, tmp_path):
    source = '.file 1 "dir" "a.c"\n_start:\n.loc 1 7 3\nnop\n.loc 1 9\nnop\nnop\n'
    text = gnu.run("objdump", "--dwarf=decodedline", write(assemble(source), tmp_path))
    assert re.findall(r"a\.c\s+(\d+)\s+0x8000000(\d)", text) == [("7", "0"), ("9", "2")]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 0, 2, 30, 500])), min_size=1, max_size=12))
def test_lines_of_any_distance(gaps):
    source, wanted, line, address = "", [], 1, 0x8000_0000
    for blank, filling in gaps:
        source += "\n" * blank + f"nop; .zero {filling}\n"
        wanted.append((address, line + blank))
        line, address = line + blank + 1, address + 2 + filling
    dwarf = elf(assemble(source)).get_dwarf_info()
    [unit] = dwarf.iter_CUs()
    states = [e.state for e in dwarf.line_program_for_CU(unit).get_entries() if e.state]
    assert [(s.address, s.line) for s in states if not s.end_sequence] == wanted
    assert (states[-1].address, states[-1].end_sequence) == (address, True)


def test_what_a_compiler_writes(gnu, tmp_path, agree):
    """Output of GCC, with calls, data, jump tables and alignment."""
    code = """
    static int table[16]; const char *names[] = {"a", "b", "c"}; int counter = 5; static short small;
    __attribute__((noinline)) int twice(int x) { return x * 2 + counter; }
    int choose(int n) { switch (n) { case 0: return 5; case 1: return twice(n); case 2: return 77; case 3: return small;
        case 4: return 9; case 5: return table[n]; case 6: return names[n & 1][0]; default: return -1; } }
    long long wide(long long a, unsigned char *p) { while (*p) a = a * 31 + *p++; return a / 7; }
    float real = 1.5f; double other = 2.5;
    """
    (tmp_path / "a.c").write_text(code.replace("a / 7", "a >> 3"))
    for level in ("-O0", "-O2", "-Os"):
        out = tmp_path / "a.s"
        gnu.run("gcc", "-march=rv32imc", "-mabi=ilp32", level, "-S", "-fno-pic", str(tmp_path / "a.c"), "-o", str(out))
        agree(out.read_text(), "rv32imc")
