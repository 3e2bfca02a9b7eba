"""`rvsim disasm` prints, line by line, what GNU objdump prints; and counts what a run executes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rvsim.cli.main import main
from rvsim.machine import Machine
from rvsim.machine.elf import load_elf
from rvsim.profile.listing import Listing

ROOT = Path(__file__).parents[2]
GCC, OBJDUMP = "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-objdump"
BUNDLED = sorted((ROOT / "kernels").rglob("*.elf"))
# What objdump does not know for want of Zicsr in the file's attributes, the coprocessor's instructions, and the name of
# the no-operation in the manual, which objdump takes for an alias.
OURS = re.compile(r"\t(csrr|conv\.|c\.nop$)")
ODD = """
    .globl _start, table
_start:
    j       after
    .word   0x12345678, 0
    .string "odd"
    .balign 2
after:
    c.addi  a0, 1
    la      a1, table
    beqz    a0, _start
    jal     ra, local
    .short  0x8000, 0
local:
    jalr    zero, 8(ra)
    csrr    a0, mstatus
    .option norvc
    fence   rw, w
    .text 1
table:
    .word   1, 2, 3, 4, 5
    ebreak
    .section .second, "ax"
second:
    bnez    a0, . + 4
    j       . - 4
"""


def disasm(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    assert main(["disasm", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def objdump(path: Path) -> list[str]:
    command = [OBJDUMP, "-d", "-z", "-M", "no-aliases", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [re.sub(r"\s*# .*", "", line) for line in done.stdout.splitlines()]


@pytest.mark.peer(GCC)
@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.name)
def test_bundled_programs_are_listed_as_objdump_does(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = disasm(capsys, path), objdump(path)
    assert len(ours) == len(theirs)
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b and not OURS.search(a)]
    assert different == []


@pytest.mark.peer(GCC)
@pytest.mark.parametrize("stripped", [False, True])
def test_data_in_code(stripped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.s").write_text(ODD)
    elf = tmp_path / "odd.elf"
    command = [GCC, "-nostdlib", "-march=rv32imc_zicsr", "-mabi=ilp32", "-Wl,--no-relax", *["-s"] * stripped]
    subprocess.run([*command, "-o", str(elf), str(tmp_path / "odd.s")], check=True, capture_output=True)
    ours, theirs = disasm(capsys, elf), objdump(elf)
    if stripped:
        # Without mapping symbols all is code, and objdump leaves out runs of zeros.
        assert len(ours) > 20 and not [line for line in ours if "bytes of data" in line]
        return
    data = re.compile(r"\t\.(word|short|byte|string|\dbyte)|\t\.\.\.")
    assert [line for line in ours if not data.search(line)] == [line for line in theirs if not data.search(line)]
    assert re.findall(r"\.\.\. (\d+) bytes of data", "\n".join(ours)) == ["12", "4", "20"]


def test_only_the_chosen_set_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    everything = disasm(capsys, "conv_int8.elf")
    without = disasm(capsys, "conv_int8.elf", "--isa", "rv32ic")
    changed = [(a, b) for a, b in zip(everything, without, strict=True) if a != b]
    assert changed and all(re.search(r"\t(mul|div|rem)", a) and ".4byte" in b for a, b in changed)


def test_added_instructions_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = ROOT / "accel/conv/conv.core_desc"
    mine = tmp_path / "mine.core_desc"
    text = description.read_text().replace("conv.start", "mine.start").replace("0001011", "0101011")
    mine.write_text(text)
    image = bytearray((ROOT / "kernels/examples/conv_int8.elf").read_bytes())
    at = image.index(bytes.fromhex("0b850500"))  # conv.start a0,a1
    image[at] = 0x2B
    (tmp_path / "mine.elf").write_bytes(image)
    assert "mine.start\ta0,a1" in "\n".join(disasm(capsys, tmp_path / "mine.elf", "--isa-ext", mine))
    assert ".4byte\t0x5852b" in "\n".join(disasm(capsys, tmp_path / "mine.elf"))


def test_one_function_or_range(capsys: pytest.CaptureFixture[str]) -> None:
    program = load_elf(BUNDLED[0])
    main_ = program.symbol("main")
    assert main_ is not None
    lines = [x for x in disasm(capsys, BUNDLED[0], "--function", "main") if "\t" in x]
    assert int(lines[0].partition(":")[0], 16) == main_.address
    assert int(lines[-1].partition(":")[0], 16) in (main_.end - 2, main_.end - 4)
    assert lines == [x for x in disasm(capsys, BUNDLED[0], "--start", "main", "--stop", hex(main_.end)) if "\t" in x]


def test_source_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = disasm(capsys, "hello.elf", "--function", "main", "--source")
    at = lines.index("80000062 <main>:")
    assert lines[at + 1].startswith("; kernels/examples/hello.c:4  int main(int argc")
    assert not [line for line in lines if re.match(r"; \S+:0\b", line)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--function", "mian"], "has no symbol 'mian'; did you mean 'main'?"),
        (["--function", "main", "--stop", "9"], "--function and --start or --stop: give one or the other"),
        (["--start", "16", "--stop", "0x10"], "--stop 0x10 is not behind --start 0x10: nothing to print"),
        (["--start", "-1"], "--start: expected an address of 32 bits, found -1"),
        (["--start", "0x100000000"], "expected an address of 32 bits"),
    ],
)
def test_what_cannot_be_listed(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    if arguments == ["--start", "-1"]:
        arguments = ["--start=-1"]
    assert main(["disasm", "hello.elf", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_counts_are_those_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    program = load_elf(ROOT / "kernels/examples/hello.elf")
    result = Machine.from_elf(program, args=["some", "words"], stdout=lambda data: None).run()
    lines = disasm(capsys, "hello.elf", "--counts", "some", "words")
    rows = [re.match(r"\s*(\d+)\s+(\d+)  (\w+):\t", line) for line in lines]
    assert sum(int(row[1]) for row in rows if row) == result.instructions
    assert sum(int(row[2]) for row in rows if row) == result.cycles


def test_counts_by_hand() -> None:
    """Columns of a given count; an instruction that never ran has blanks."""
    program = load_elf(ROOT / "kernels/examples/hello.elf")
    from rvsim.isa.bundle import bundled

    lines = list(Listing(program, [bundled("rv32")], {0x80000000: (7, 9)}).lines(0x80000000, 0x80000008))
    assert lines[-2:] == [
        "           7             9  80000000:\t00013197          \tauipc\tgp,0x13",
        "                            80000004:\t80018193          \taddi\tgp,gp,-2048",
    ]
