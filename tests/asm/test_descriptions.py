"""Operand syntax comes from the descriptions: what our disassembler prints of any instruction assembles to its word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rvsim.asm import AssemblyError, assemble_program
from rvsim.asm.compress import reserved
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import disassemble, find
from rvsim.isa.ir import Isa
from rvsim.isa.model import load_extension

ALL = "rv32imac_zba_zbb_zbs_zcb"
RV32 = bundled("rv32")
CONV = bundled("conv")
MAC = load_extension(Path(__file__).parents[1] / "machine" / "mac.core_desc")
PC = 0x8000_0000


def code(source: str, *isa_ext: Isa, isa: str = ALL, **options) -> bytes:
    _, state = assemble_program(source, isa=isa, isa_ext=isa_ext, **options)
    return state.images[".text"]


@st.composite
def word(draw, instruction):
    """A word of an instruction; a fence orders something, for 0 has no letters."""
    ordered = sum(f.insert(1) for f in instruction.fields if f"{{{f.name}:f}}" in instruction.operands)
    return instruction.match | ordered | draw(st.integers(0, (1 << 8 * instruction.size) - 1)) & ~instruction.mask


def check(isa: Isa, instruction, value: int, *isa_ext: Isa) -> None:
    text = disassemble(isa, value, PC)
    # Fields that the text does not show are written as 0.
    shown = set(re.findall(r"\w+", instruction.operands + instruction.suffix))
    hidden = sum(f.insert(-1) for f in instruction.fields if f.name not in shown)
    if target := re.search(r"0x[0-9a-f]+$", text) if ":t}" in instruction.operands else None:
        # A number is the target's address; a distance keeps branches from growing.
        text = f"{text[: target.start()]}. + {int(target[0], 16) - PC}"
    source = f".option norvc\n{text}" if instruction.size == 4 else text
    assert int.from_bytes(code(source, *isa_ext), "little") == value & ~hidden, text


@pytest.mark.parametrize("instruction", RV32.instructions, ids=lambda i: i.name)
@settings(max_examples=30)
@given(data=st.data())
def test_what_is_disassembled_assembles(instruction, data):
    value = data.draw(word(instruction))
    assume(find(RV32, value) is instruction and not reserved(instruction, value))
    check(RV32, instruction, value)


@pytest.mark.parametrize(
    ("isa", "instruction"), [(isa, i) for isa in (CONV, MAC) for i in isa.instructions], ids=lambda p: p.name
)
@given(data=st.data())
def test_instructions_that_were_added(isa, instruction, data):
    check(isa, instruction, data.draw(word(instruction)), isa)


DESCRIPTION = """
import "RISCVBase.core_desc"
InstructionSet Odd extends RISCVBase {
    instructions {
        POST {
            encoding: imm[11:0] :: rs1[4:0] :: 3'b010 :: rd[4:0] :: 7'b0001011;
            assembly: {"odd.lw", "{name(rd)}, {imm:s}({name(rs1)}!)"};
            behavior: { if (rd != 0) X[rd] = imm; }
        }
        INDEXED {
            encoding: 7'd1 :: rs2[4:0] :: rs1[4:0] :: 3'b011 :: rd[4:0] :: 7'b0001011;
            assembly: {"odd.add", "{name(rd)}, [{name(rs1)} + {name(rs2)}]"};
            behavior: { if (rd != 0) X[rd] = X[rs1]; }
        }
        FIXED {
            encoding: 7'd2 :: 5'd0 :: rs1[4:0] :: 3'b011 :: 5'd2 :: 7'b0001011;
            assembly: {"odd.push", "sp, {name(rs1)}"};
            behavior: { X[2] = X[rs1]; }
        }
        LOOP {
            encoding: imm[12:1] :: rs1[4:0] :: 3'b100 :: count[4:0] :: 7'b0001011;
            assembly: {"odd.loop", "{count}, {name(rs1)}, {imm:t}"};
            behavior: { if (X[rs1] == count) PC = (unsigned<XLEN>)(PC + (signed)imm); }
        }
        SAME {
            encoding: 7'd3 :: 5'd0 :: rd[4:0] :: 3'b011 :: 5'd0 :: 7'b0001011;
            assembly: {"odd.inc", "{name(rd)}, {name(rd)}"};
            behavior: { if (rd != 0) X[rd] = 1; }
        }
    }
}
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Isa:
    path = tmp_path_factory.mktemp("odd") / "odd.core_desc"
    path.write_text(DESCRIPTION)
    return load_extension(path)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("odd.lw a0, 4(a1!)", 0x0045A50B),
        ("odd.lw a0, -(2 + 2)(x11 !)", 0xFFC5A50B),
        ("odd.lw a0, (a1!)", 0x0005A50B),
        ("odd.add a0, [a1+a2]", 0x02C5B50B),
        ("odd.push x2, a0", 0x0405310B),
        ("odd.loop 3, a0, .", 0x0005418B),
        ("odd.loop 31, a0, . + 8", 0x00454F8B),
        ("odd.inc a0, x10", 0x0605300B),
    ],
)
def test_syntax_of_any_form(odd, source, expected):
    assert int.from_bytes(code(source, odd), "little") == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("odd.inc a0, a1", "expected the same operand for rd in both places"),
        ("odd.push a0, a1", "expected sp, found register a0"),
        ("odd.lw a0, 4(a1)", "expected an operand of the form imm(rs1!), found '4(a1)'"),
        ("odd.loop 3, a0, . + 1", "expected a target between -4096 and 4094 bytes away, a multiple of 2, found 1"),
    ],
)
def test_errors_of_any_form(odd, source, message):
    with pytest.raises(AssemblyError, match=re.escape(message)):
        code(source, odd)


@pytest.mark.parametrize(
    ("source", "narrow"),
    [
        ("lbu a0, 3(a1)", "c.lbu a0,3(a1)"),
        ("lbu a0, 4(a1)", None),
        ("lhu a0, 2(a1)", "c.lhu a0,2(a1)"),
        ("lh a0, 0(a1)", "c.lh a0,0(a1)"),
        ("sb a0, 1(a1)", "c.sb a0,1(a1)"),
        ("sh a0, 2(s0)", "c.sh a0,2(s0)"),
        ("zext.b a0, a0", "c.zext.b a0"),
        ("sext.b a0, a0", "c.sext.b a0"),
        ("zext.h a0, a0", "c.zext.h a0"),
        ("sext.h a0, a0", "c.sext.h a0"),
        ("not a0, a0", "c.not a0"),
        ("mul a0, a1, a0", "c.mul a0,a1"),
        ("mul a0, a1, a2", None),
    ],
)
def test_zcb(source, narrow):
    """Rules for Zcb, which the GNU as of the tests does not know (binutils 2.42 has these aliases)."""
    data = code(source)
    text = disassemble(RV32, int.from_bytes(data, "little"))
    assert (text == narrow) if narrow else len(data) == 4
    assert len(code(source, isa="rv32imac_zbb")) == 4
