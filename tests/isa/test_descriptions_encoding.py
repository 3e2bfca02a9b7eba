"""The bundled descriptions encode what the manual and GNU as say.

`encodings_rv32.csv` holds mask and match of every instruction of RV32IMAC, Zicsr, Zifencei, Zba, Zbb, Zbs, Zcb and
machine mode, written from the instruction listings of the manuals (unprivileged 20240411, privileged 1.12), not from
the descriptions.
"""

from __future__ import annotations

import csv
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.ir import Field, Instruction
from rvsim.isa.model import load_core, load_extension

GCC = "riscv64-unknown-elf-gcc"
TABLE = Path(__file__).with_name("encodings_rv32.csv")
with TABLE.open(newline="") as file:
    # mnemonic: (bytes, mask, match); a mask is written with all its digits.
    MANUAL = {
        name: (len(mask) // 2 - 1, int(mask, 16), int(match, 16)) for name, mask, match in list(csv.reader(file))[1:]
    }

RV32 = load_core(DESCRIPTIONS / "rv32.core_desc", "RV32").instructions
ABI = ["zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", *(f"a{i}" for i in range(8)),
       *(f"s{i}" for i in range(2, 12)), "t3", "t4", "t5", "t6"]  # fmt: skip


def encodings(instructions: list[Instruction]) -> dict[str, tuple[int, int, int]]:
    return {i.mnemonic: (i.size, i.mask, i.match) for i in instructions}


def test_rv32_is_the_manuals_table() -> None:
    assert encodings(RV32) == MANUAL


def test_without_rvc_an_instruction_has_the_same_encoding() -> None:
    """The interpreter takes RV32I for IALIGN = 32 from a description of its own."""
    alone = encodings(load_extension(DESCRIPTIONS / "RV32I.core_desc").instructions)
    assert alone == {i.mnemonic: MANUAL[i.mnemonic] for i in RV32 if i.set == "RV32I"}


def test_where_two_encodings_meet_one_is_the_others_special_case() -> None:
    nested = set()
    for a, b in itertools.permutations(RV32, 2):
        if a.size == b.size and (a.match ^ b.match) & a.mask & b.mask == 0 and a.mask & b.mask == b.mask:
            nested.add((a.mnemonic, b.mnemonic))
        elif a.size == b.size and a.mask & b.mask not in (a.mask, b.mask):
            assert (a.match ^ b.match) & a.mask & b.mask, f"{a.mnemonic} and {b.mnemonic} cross"
    assert nested == {
        ("c.unimp", "c.addi4spn"),
        ("c.nop", "c.addi"),
        ("c.addi16sp", "c.lui"),
        ("c.jr", "c.mv"),
        ("c.jalr", "c.add"),
        ("c.ebreak", "c.add"),
        ("c.ebreak", "c.jalr"),
    }


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (0x1002, "c.slli with shamt[5] = 1"),
        (0x9001, "c.srli with shamt[5] = 1"),
        (0x9401, "c.srai with shamt[5] = 1"),
        (0x9C01, "c.subw, RV64 only"),
        (0x9C71, "c.zext.w, RV64 only"),
        (0x9C79, "the reserved c.not with funct 110"),
        (0x8C40, "c.sh with bit 6 = 1"),
        (0x9000, "the reserved rest of quadrant 0, funct3 100"),
        (0x60359513, "ctz with bit 0 of funct12 = 1 and rs2 = 3"),
        (0x1015A52F, "lr.w with rs2 = 1"),
        (0x1005B52F, "lr.d, RV64 only"),
        (0x4805151B, "slli.uw and other words of OP-IMM-32, RV64 only"),
        (0x0A0595B3, "clmul, without Zbc"),
        (0x6000, "c.flw, without F"),
        (0x6002, "c.flwsp, without F"),
        (0x02051513, "slli with shamt[5] = 1"),
        (0x00000033 | 2 << 25, "OP with funct7 2"),
        (0x10200073, "sret, without S-mode"),
        (0xFFFFFFFF, "all ones"),
    ],
)
def test_reserved_words_match_nothing(word: int, why: str) -> None:
    size = 4 if word & 3 == 3 else 2
    assert [i.mnemonic for i in RV32 if i.size == size and word & i.mask == i.match] == [], why


@pytest.mark.parametrize("instruction", RV32, ids=lambda i: i.mnemonic)
def test_fields_hold_every_bit_the_mask_leaves(instruction: Instruction) -> None:
    covered = [f.insert(f.encodable) for f in instruction.fields]
    assert sum(covered) == (1 << 8 * instruction.size) - 1 - instruction.mask
    assert instruction.match & ~instruction.mask == 0


# ------------------------------------------------------------ against the assembler
def operand_text(text: str, instruction: Instruction, values: dict[str, int]) -> str:
    """Operands as assemblers read them; the forms are those listed in RISCVBase.core_desc."""
    widths = {f.name: f.width for f in instruction.fields}

    def show(match: re.Match[str]) -> str:
        if register := re.fullmatch(r"name\((?:(8)\+)?(\w+)\)", match[1]):
            return ABI[int(register[1] or 0) + values[register[2]]]
        name, _, form = match[1].partition(":")
        value = values[name]
        signed = value - (1 << widths[name]) if value >> (widths[name] - 1) else value
        fence = "".join(letter for bit, letter in zip((8, 4, 2, 1), "iorw", strict=True) if value & bit)
        upper = signed >> 12 & 0xFFFFF
        return {"": f"{value}", "s": f"{signed}", "#x": f"{value:#x}", "t": f".{signed:+d}", "u": f"{upper:#x}",
                "c": f"{value}", "f": fence, "o": ("", ".rl", ".aq", ".aqrl")[value & 3]}[form]  # fmt: skip

    return re.sub(r"\{([^}]*)\}", show, text)


def samples(instruction: Instruction) -> list[dict[str, int]]:
    """Field values: all bits of every operand set, then for each operand one of its bits alone.

    No operand is 0, because assemblers refuse most HINTs and reserved encodings; fields that are no operand stay 0.
    """

    def values(field: Field) -> list[int]:
        return [field.encodable & 1 << i for i in range(field.width) if field.encodable >> i & 1] + [field.encodable]

    text = instruction.suffix + instruction.operands
    shown = [f for f in instruction.fields if re.search(rf"\b{f.name}\b", text)]
    plain = {f.name: values(f)[-1] if f in shown else 0 for f in instruction.fields}
    cases = [plain] + [{**plain, f.name: value} for f in shown for value in values(f)[:-1]]
    if instruction.suffix:
        cases.append({**plain, "aqrl": 0})
    # c.lui to sp is c.addi16sp.
    return [c for c in cases if not (instruction.mnemonic == "c.lui" and c["rd"] == 2)]


ASSEMBLERS = {
    GCC: [GCC, "-march=rv32imac_zicsr_zifencei_zba_zbb_zbs", "-mabi=ilp32"],
    "ziglang": [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-freestanding",
                "-mcpu=generic_rv32+m+a+c+zicsr+zifencei+zba+zbb+zbs+zcb"],
}  # fmt: skip


@pytest.mark.parametrize("assembler", [pytest.param(name, marks=pytest.mark.peer(name)) for name in ASSEMBLERS])
def test_assemblers_encode_the_same(assembler: str, tmp_path: Path) -> None:
    """GNU as, which has no Zcb before 2.42, and LLVM's, which has all of it."""
    from elftools.elf.elffile import ELFFile

    expected, lines = [], [".option norelax"]
    for instruction in RV32:
        if assembler == GCC and instruction.set == "Zcb":
            continue
        for values in samples(instruction):
            word = instruction.match | sum(f.insert(values[f.name]) for f in instruction.fields)
            mnemonic = instruction.mnemonic + operand_text(instruction.suffix, instruction, values)
            text = f"{mnemonic} {operand_text(instruction.operands, instruction, values)}".rstrip()
            lines += [text] if instruction.size == 2 else [".option push", ".option norvc", text, ".option pop"]
            expected.append((text, instruction.size, word))
    assert len(expected) > 1400
    source, target = tmp_path / "all.s", tmp_path / "all.o"
    source.write_text("\n".join(lines) + "\n")
    command = [*ASSEMBLERS[assembler], "-c", "-o", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with target.open("rb") as stream:
        text_section = ELFFile(stream).get_section_by_name(".text")
        assert text_section is not None
        code = text_section.data()
    found, position = [], 0
    for text, size, _ in expected:
        found.append((text, size, int.from_bytes(code[position : position + size], "little")))
        position += size
    assert found == expected
    assert position == len(code)
