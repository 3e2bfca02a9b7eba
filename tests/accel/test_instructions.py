"""Instructions as Python functions: their encoding, their description, their answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import InstructionCoprocessor, instruction
from accel.protocol import ContractError, Response
from rvsim.isa.disassemble import disassemble
from rvsim.isa.model import load_extension

# The same three instructions in CoreDSL: what the elaboration of a description gives is the oracle.
TEXT = """import "RISCVBase.core_desc"
InstructionSet XOwn extends RISCVBase {
    functions { extern unsigned<32> coprocessor_issue(unsigned<32> n, unsigned<32> a, unsigned<32> b); }
    instructions {
        BOTH {
            encoding: 7'd5 :: rs2[4:0] :: rs1[4:0] :: 3'd3 :: rd[4:0] :: 7'b0101011;
            assembly: {"both", "{name(rd)},{name(rs1)},{name(rs2)}"};
            behavior: { unsigned<32> answer = coprocessor_issue(0, X[rs1], X[rs2]); if (rd != 0) X[rd] = answer; }
        }
        TAKE_ONE {
            encoding: 7'd6 :: 5'd0 :: rs1[4:0] :: 3'd3 :: 5'd0 :: 7'b0101011;
            assembly: {"take.one", "{name(rs1)}"};
            behavior: { coprocessor_issue(1, X[rs1], 0); }
        }
        GIVE {
            encoding: 7'd127 :: 5'd0 :: 5'd0 :: 3'd7 :: rd[4:0] :: 7'b1111011;
            assembly: {"give", "{name(rd)}"};
            behavior: { unsigned<32> answer = coprocessor_issue(2, 0, 0); if (rd != 0) X[rd] = answer; }
        }
    }
}
"""


@instruction(funct3=3, funct7=5, opcode="custom-1")
def both(rs1: int, rs2: int) -> int:
    return rs1 + rs2


@instruction("take.one", funct3=3, funct7=6, opcode="custom-1", latency_cycles=4)
def take_one(rs1: int) -> None:
    pass


@instruction(funct3=7, funct7=127, opcode="custom-3")
def give() -> int:
    return -1


def test_the_description_is_what_coredsl_would_give(tmp_path: Path) -> None:
    (tmp_path / "own.core_desc").write_text(TEXT)
    described = {i.mnemonic: i for i in load_extension(tmp_path / "own.core_desc").instructions}
    made = InstructionCoprocessor("own", functions=[both, take_one, give]).isa()
    assert len(made.instructions) == 3
    for each in made.instructions:
        other = described[each.mnemonic]
        for what in ("name", "mask", "match", "size", "operands"):
            assert getattr(each, what) == getattr(other, what), (each.mnemonic, what)
        assert sorted(f.name for f in each.fields) == sorted(f.name for f in other.fields)
        assert {f.name: f.slices for f in each.fields} == {f.name: f.slices for f in other.fields}
        assert [op.code for op in each.body] == [op.code for op in other.body]
        assert disassemble(made, each.match | 11 << 7 & ~each.mask) == disassemble(
            load_extension(tmp_path / "own.core_desc"), each.match | 11 << 7 & ~each.mask
        )


def issue(unit: InstructionCoprocessor, function: int, rs1: int = 0, rs2: int = 0) -> Response:
    return unit.issue(function, rs1, rs2, None, 0, 0)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_signed_operands_and_the_result_wrap_at_32_bits(rs1: int, rs2: int) -> None:
    @instruction(funct3=0, funct7=0, signed=True)
    def lower(rs1: int, rs2: int) -> int:
        assert -(2**31) <= rs1 < 2**31 and -(2**31) <= rs2 < 2**31
        return min(rs1, rs2)

    wanted = min((each ^ 2**31) - 2**31 for each in (rs1, rs2))
    assert issue(InstructionCoprocessor(functions=[lower]), 0, rs1, rs2) == Response(wanted % 2**32, 0)


def test_latency_is_the_stall_beyond_a_cycle() -> None:
    unit = InstructionCoprocessor("own", functions=[both, take_one, give])
    assert [issue(unit, n, 1, 2) for n in range(3)] == [Response(3, 0), Response(0, 3), Response(0xFFFF_FFFF, 0)]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("x", "it returns 'x', expected an integer"),
        (None, "it returns None, expected an integer; a function without a result is annotated -> None"),
        (1.0, "it returns 1.0, expected an integer"),
        (2**32, "it returns 4294967296, expected 32 bits (-2**31 to 2**32 - 1); mask it with & 0xFFFFFFFF"),
        (-(2**31) - 1, "it returns -2147483649, expected 32 bits"),
        ([0] * 99, "it returns a value of type list, expected an integer"),
    ],
)
def test_a_result_that_is_no_word(result: Any, text: str) -> None:
    @instruction(funct3=0, funct7=0)
    def bad():  # type: ignore[no-untyped-def]
        return result

    with pytest.raises(ContractError) as caught:
        issue(InstructionCoprocessor(functions=[bad]), 0)
    assert str(caught.value).startswith(text) and caught.value.where.startswith(__file__)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"funct3": 8, "funct7": 0}, "funct3: expected 0 to 7, found 8"),
        ({"funct3": 0, "funct7": -1}, "funct7: expected 0 to 127, found -1"),
        ({"funct3": 0, "funct7": "1"}, "funct7: expected 0 to 127, found '1'"),
        ({"funct3": 0, "funct7": 0, "latency_cycles": 0}, "latency_cycles: expected 1 to 1048576, found 0"),
        ({"funct3": 0, "funct7": 0, "opcode": "custom-4"},
         "opcode: expected one of custom-0, custom-1, custom-2, custom-3, found 'custom-4'"),
        ({"name": "a b", "funct3": 0, "funct7": 0},
         "expected a mnemonic of letters, digits, dots and underscores, found 'a b'"),
    ],
)  # fmt: skip
def test_an_encoding_that_is_none(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        instruction(**arguments)(lambda rs1, rs2: 0)
    assert str(caught.value) == text


@pytest.mark.parametrize("function", [lambda a, b: 0, lambda rs2: 0, lambda rs1, rs2, rs3: 0, lambda *x: 0])
def test_other_parameters(function: Callable[..., int]) -> None:
    with pytest.raises(ValueError, match=r"expected a function of \(rs1, rs2\), \(rs1\) or nothing, found \("):
        instruction("f", funct3=0, funct7=0)(function)


def test_two_functions_of_one_encoding() -> None:
    other = instruction("other", funct3=3, funct7=5, opcode="custom-1")(lambda rs1: rs1)
    with pytest.raises(ContractError, match="both and other have the same opcode, funct3 and funct7"):
        InstructionCoprocessor(functions=[both, other])


class Unit(InstructionCoprocessor):
    registers = {"total": 0, "seen": [0, 0]}  # noqa: RUF012

    @instruction(funct3=0, funct7=0)
    def add(self, rs1: int) -> int:
        self.total += rs1
        self.seen.append(rs1)
        self.stall(rs1)
        return self.total

    @instruction(funct3=0, funct7=1)
    def stall_back(self) -> int:
        self.stall(-1)
        return 0


def test_methods_and_registers() -> None:
    unit, other = Unit("u"), Unit("u")
    assert [issue(unit, 0, n) for n in (1, 2)] == [Response(1, 1), Response(3, 2)]
    other.restore(unit.state())
    assert issue(unit, 0, 4) == issue(other, 0, 4) == Response(7, 4)
    assert unit.seen == other.seen == [0, 0, 1, 2, 4] and unit.seen is not other.seen
    unit.reset()
    assert unit.state() == Unit("u").state() == {"registers": {"total": 0, "seen": [0, 0]}, "moved": [0, 0, 0, 0]}
    with pytest.raises(ValueError, match="stall: expected 0 cycles or more, found -1"):
        issue(unit, 1)
    with pytest.raises(ValueError, match="expected the registers total, seen"):
        unit.restore({"registers": {}, "moved": [0, 0, 0, 0]})
