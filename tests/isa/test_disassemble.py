"""The disassembler prints what GNU objdump prints, but for the differences listed here."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.isa.disassemble import disassemble, find, format_operand
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.ir import Field, Instruction
from rvsim.isa.model import load_core
from rvsim.isa.names import CSR_NUMBERS

GCC, OBJDUMP = "riscv64-unknown-elf-gcc", "riscv64-unknown-elf-objdump"
RV32 = load_core(DESCRIPTIONS / "rv32.core_desc", "RV32")

RESERVED_SHIFTS = ("c.slli", "c.srli", "c.srai")


def normalised(text: str) -> str:
    """Text of objdump as ours would be: no comment, one space, targets with 0x."""
    text = re.sub(r"\s*[#<].*", "", text).replace("\t", " ").strip()
    text = re.sub(r"^\.2byte (.*)", r".half \1", text)
    if data := re.fullmatch(r"\.4byte (\w+)", text):
        return f".word {int(data[1], 16):#010x}"
    if data := re.fullmatch(r"\.half (\w+)", text):
        return f".half {int(data[1], 16):#06x}"
    return re.sub(r"^((?:c\.jal|c\.j) |(?:jal|(?:c\.)?b(?:eq|ne|lt|ge)\w*) .*,)([0-9a-f]+)$", r"\g<1>0x\2", text)


def documented_difference(word: int, ours: str, theirs: str) -> str | None:
    """Why the two may differ; None when they may not."""
    mnemonic, _, operands = ours.partition(" ")
    reserved = {"fence": 0xF00F8F80, "fence.i": 0xFFFF8F80}.get(mnemonic, 0)
    if word & reserved and theirs.startswith((".word", "fence.tso")):
        return "fm, rs1, rd and the immediate of fences are reserved; the manual has harts ignore them"
    if mnemonic == "c.nop" and theirs.startswith("c.addi zero,"):
        return "c.addi with rd = x0 is a HINT that the manual calls c.nop"
    if mnemonic in RESERVED_SHIFTS and operands.endswith(",0x0") and theirs == f"{mnemonic}64 {operands[:-4]}":
        return "shifts by 0 are HINTs on RV32, named after RV128"
    if ours.startswith(".half") and theirs.startswith(RESERVED_SHIFTS) and int(theirs.rpartition(",")[2], 16) >= 32:
        return "shifts by 32 and more are reserved on RV32"
    if mnemonic in ("c.jr", "c.lwsp", "c.lui", "c.addi4spn", "c.addi16sp") and theirs.startswith(".half"):
        return "reserved operands: the instruction is known and raises illegal instruction"
    if (known := find(RV32, word)) and known.set == "Zcb" and theirs.startswith(".half"):
        return "binutils learned Zcb in 2.42; encodings_rv32.csv has the manual's encodings"
    if mnemonic.startswith("csrr"):
        a, b = operands.split(","), theirs.partition(" ")[2].split(",")
        if (a[0], a[2]) == (b[0], b[2]) and a[1].startswith("0x"):
            return "objdump names CSRs that this machine does not have"
        if int(word >> 20) == 0xFC0:
            return "0xFC0 is ours"
    return None


def words() -> list[int]:
    """Random operands for every instruction, all of them 0 and all ones, and words of no pattern."""
    rng = random.Random(5)
    found = []
    for instruction in RV32.instructions:
        free = (1 << 8 * instruction.size) - 1 & ~instruction.mask
        found += [instruction.match | rng.getrandbits(32) & free for _ in range(40)]
        found += [instruction.match, instruction.match | free]
    for _ in range(4000):
        word = rng.getrandbits(32)
        if word & 0x1F != 0x1F:  # the lengths above 32 bits
            found.append(word if word & 3 == 3 else word & 0xFFFF)
    return [*found, 0x8330000F, 0xFC002573]


def decodes(word: int, text: str) -> bool:
    """Whether an instruction other than data was printed, and for which word."""
    return bool(word) and not text.startswith(".")


@pytest.mark.peer(GCC)
def test_objdump_prints_the_same(tmp_path: Path) -> None:
    if shutil.which(OBJDUMP) is None:
        pytest.skip(f"{OBJDUMP} is not on this machine (it comes with {GCC})")
    expected = words()
    source, target = tmp_path / "words.s", tmp_path / "words.o"
    lines = [f".insn {4 if word & 3 == 3 else 2}, {word:#x}" for word in expected]
    source.write_text(".option norelax\n" + "\n".join(lines) + "\n")
    subprocess.run(
        [GCC, "-c", "-march=rv32imac_zicsr_zifencei_zba_zbb_zbs", "-mabi=ilp32", "-o", str(target), str(source)],
        check=True,
    )
    dump = subprocess.run(
        [OBJDUMP, "-d", "-z", "-M", "no-aliases", str(target)], capture_output=True, text=True, check=True
    )
    found = re.findall(r"^\s*([0-9a-f]+):\t([0-9a-f]+)\s+\t?(.*)$", dump.stdout, re.MULTILINE)
    assert [int(word, 16) for _, word, _ in found] == expected
    reasons: dict[str, int] = {}
    wrong = []
    for address, code, text in found:
        word, theirs = int(code, 16), normalised(text)
        ours = disassemble(RV32, word, int(address, 16))
        if ours != theirs:
            reason = documented_difference(word, ours, theirs)
            reasons[reason or ""] = reasons.get(reason or "", 0) + 1
            if reason is None:
                wrong.append((hex(word), ours, theirs))
    assert wrong == []
    zcb = sum(n for reason, n in reasons.items() if reason.startswith("binutils"))
    assert len(reasons) == 7 + (zcb > 0)  # every listed difference is real
    assert sum(decodes(int(code, 16), text) for _, code, text in found) > 4000


def test_targets_are_absolute_and_wrap_around() -> None:
    assert disassemble(RV32, 0x0000006F | 8 << 20, 0x100) == "jal zero,0x108"
    assert disassemble(RV32, 0xFE000EE3, 0) == "beq zero,zero,0xfffffffc"
    assert disassemble(RV32, 0xBFFD, 0x8000_0000) == "c.j 0x7ffffffe"


def test_words_of_no_instruction_are_data() -> None:
    assert disassemble(RV32, 0xFFFFFFFF) == ".word 0xffffffff"
    assert disassemble(RV32, 0x9C01) == ".half 0x9c01"
    # Above a 16-bit instruction may lie anything.
    assert disassemble(RV32, 0xABCD_9C01) == ".half 0x9c01"
    assert disassemble(RV32, 0xABCD_0001) == "c.nop"


def test_csrs_have_their_names() -> None:
    for name, number in CSR_NUMBERS.items():
        text = disassemble(RV32, number << 20 | 10 << 7 | 0x2073)
        assert text == f"csrrs a0,{name.replace(' ', '_')},zero"
    assert disassemble(RV32, 0x7C0 << 20 | 10 << 7 | 0x2073) == "csrrs a0,0x7c0,zero"


@given(word=st.integers(0, 2**32 - 1), pc=st.integers(0, 2**32 - 1))
def test_every_word_has_a_text_of_one_line(word: int, pc: int) -> None:
    text = disassemble(RV32, word, pc)
    assert re.fullmatch(r"[a-z0-9.]+( [-a-z0-9,()]+)?", text)
    instruction = find(RV32, word)
    assert (instruction is None) == text.startswith((".word", ".half"))


def custom(operands: str) -> str:
    fields = [Field("rd", 5, [(7, 0, 5)]), Field("imm", 12, [(20, 0, 12)]), Field("reg", 6, [(12, 0, 6)])]
    instruction = Instruction("X", "S", 4, 0x7F, 0x0B, fields, "x", operands, [], [], [], [], "t:1")
    isa = type(RV32)("I", [], {}, [], [], [], [instruction])
    return disassemble(isa, 0xFFF0_0000 | 10 << 7 | 0x0B | 35 << 12)


@pytest.mark.parametrize(
    ("operands", "text"),
    [
        ("{name(rd)}, {imm}", "a0, 4095"),
        ("{name(rd+1)},{name(1 + rd)},{ imm }", "a1,a1,4095"),
        ("{name(reg)}", "x35"),
        ("{imm:s} {imm:#x} {imm:x} {imm:08b}", "-1 0xfff fff 111111111111"),
        ("{imm:#05x}{imm:>5}", "0xfff4095"),
        ("{imm:99999999999}", "4095"),
        ("{other} {name(other)} {{ {} {imm:q}", "{other} {name(other)} {{ {} 4095"),
        ("", ""),
    ],
)
def test_operand_forms_of_other_descriptions(operands: str, text: str) -> None:
    """What no field explains stays as it is written; a format nobody has is left out."""
    assert custom(operands) == f"x {text}".rstrip()


@pytest.mark.parametrize(
    ("form", "value", "width", "text"),
    [("s", 0x800, 12, "-2048"), ("u", 0x80000000, 32, "0x80000"), ("u", 0x20000, 18, "0xfffe0"),
     ("c", 0x300, 12, "mstatus"), ("f", 0b1010, 4, "ir"), ("f", 0, 4, "unknown"), ("t", 0x1FFE, 13, "0xffe"),
     ("", 12, 5, "12")],
)  # fmt: skip
def test_operand_forms_of_ours(form: str, value: int, width: int, text: str) -> None:
    assert format_operand(value, width, form, 0x1000) == text


@pytest.mark.parametrize(
    ("bits", "mnemonic"), [(0, "amoadd.w"), (1, "amoadd.w.rl"), (2, "amoadd.w.aq"), (3, "amoadd.w.aqrl")]
)
def test_ordering_bits_end_the_mnemonic(bits: int, mnemonic: str) -> None:
    word = 0x0000_202F | bits << 25 | 10 << 7 | 11 << 15 | 12 << 20
    assert disassemble(RV32, word) == f"{mnemonic} a0,a2,(a1)"
    instruction = find(RV32, word)
    assert instruction is not None and instruction.mnemonic == "amoadd.w"


@given(word=st.integers(0, 2**32 - 1))
def test_the_index_finds_what_a_search_of_all_finds(word: int) -> None:
    size = 4 if word & 3 == 3 else 2
    first = next((i for i in RV32.instructions if i.size == size and word & i.mask == i.match), None)
    assert find(RV32, word) is first
