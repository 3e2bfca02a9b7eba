"""The generated interpreter: which instructions keep a window, what comes last, and the two instruction alignments."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.isa.bundle import bundled
from rvsim.isa.ccode import GenerationError, generate_header, has_window, instruction_class, variants
from rvsim.isa.disassemble import find
from rvsim.isa.elaborate import DESCRIPTIONS
from rvsim.isa.model import load_extension
from tests.isa.snippets import load, word_of

ISA = bundled("rv32")
ALIGNED = load_extension(DESCRIPTIONS / "RV32I.core_desc").instructions
HEADER = generate_header(ISA, ALIGNED)
HANDLERS = {
    int(number): (names.split(", "), body)
    for number, names, body in re.findall(
        r"^handler_(\d+): \{ /\* (.*?) \*/\n(.*?)^\}", HEADER.partition("#ifdef HANDLERS")[2], re.S | re.M
    )
}
TRANSFERS = ["jal", "jalr", "beq", "bne", "blt", "bge", "bltu", "bgeu"]


def bodies(mnemonic: str) -> list[str]:
    return [body for names, body in HANDLERS.values() if mnemonic in names]


def test_one_access_each_time_has_a_window() -> None:
    """What may store or not, or makes two accesses, is counted where it happens."""
    windows = {i.mnemonic for i in ISA.instructions for v in variants(i) if has_window(v.body)}
    loads_and_stores = {i.mnemonic for i in ISA.instructions if instruction_class(i) in ("load", "store")}
    assert windows == loads_and_stores | {"lr.w"}
    for i in ISA.instructions:
        text = "".join(bodies(i.mnemonic))
        assert bool(re.search(r"\b(LOAD|STORE)\d+\(", text)) == (i.mnemonic in windows), i.mnemonic
        assert ("PLAIN_" in text) == (instruction_class(i) == "atomic" and i.mnemonic != "lr.w"), i.mnemonic


def test_an_atomic_stores_behind_all_else() -> None:
    for i in ISA.instructions:
        if i.set == "RVA" and i.name != "LR_W":
            for body in bodies(i.mnemonic):
                assert re.search(r"PLAIN_STORE\(32, v\d+, .*\);\n(    \}\n)?    NEXT;", body), i.mnemonic


def test_the_reservation_is_a_field_of_the_hart() -> None:
    assert all("h->reg_RESERVATION = " in body for body in bodies("lr.w") + bodies("sc.w"))


def test_a_register_file_of_an_added_set_has_no_c(tmp_path: Path) -> None:
    text = """import "RISCVBase.core_desc"
    InstructionSet A extends RISCVBase {
        architectural_state { register unsigned<32> V[4]; }
        instructions { GET {
            encoding: 20'd0 :: rd[4:0] :: 7'b0001011;
            behavior: if (rd != 0) X[rd] = V[1];
        } }
    }"""
    with pytest.raises(GenerationError, match="the interpreter has no register file V"):
        generate_header(load(tmp_path, text))


# ------------------------------------------------------------ decoding
class Decoded(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_uint16), ("instruction", ctypes.c_uint16), ("size", ctypes.c_uint8),
                ("r", ctypes.c_uint8 * 4), ("k", ctypes.c_uint32 * 2)]  # fmt: skip


Decode = Callable[..., Decoded | None]


@pytest.fixture(scope="module")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Decode:
    """The generated decoder: word, pc, whether IALIGN is 32."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("decode")
    (folder / "interpreter.h").write_text(HEADER)
    (folder / "decode.c").write_text(
        "#include <stdint.h>\n"
        "struct decoded { uint16_t handler, instruction; uint8_t size, r[4]; uint32_t k[2]; };\n"
        "#define DECODE_BODY\n"
        '#include "interpreter.h"\n'
        "int test(uint32_t w, uint32_t pc, int ialign4, struct decoded *d) { return decode(w, pc, ialign4, d); }\n"
    )
    library = folder / "decode.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, folder / "decode.c"], check=True)
    function = ctypes.CDLL(str(library)).test

    def decode(word: int, pc: int, ialign4: bool) -> Decoded | None:
        result = Decoded()
        return result if function(word, pc, int(ialign4), ctypes.byref(result)) else None

    return decode


@given(word=st.one_of(st.integers(0, 2**32 - 1), st.sampled_from(ISA.instructions).map(lambda i: i.match)),
       pc=st.integers(0, 2**30 - 1).map(lambda n: 4 * n), ialign4=st.booleans())  # fmt: skip
def test_the_decoder_finds_what_the_disassembler_finds(decode: Decode, word: int, pc: int, ialign4: bool) -> None:
    found, instruction = decode(word, pc, ialign4), find(ISA, word)
    assert (found is None) == (instruction is None)
    if found is not None and instruction is not None:
        assert (ISA.instructions[found.instruction], found.size) == (instruction, instruction.size)


@pytest.mark.parametrize("mnemonic", TRANSFERS)
@given(rd=st.integers(0, 31), rs1=st.integers(0, 31), rs2=st.integers(0, 31), imm=st.integers(0, 2**20 - 1))
def test_ialign_32_changes_transfers_to_odd_halfwords_alone(
    decode: Decode, mnemonic: str, rd: int, rs1: int, rs2: int, imm: int
) -> None:
    instruction = next(i for i in ISA.instructions if i.mnemonic == mnemonic)
    word = word_of(instruction, rd=rd, rs1=rs1, rs2=rs2, imm=2 * imm)
    wide, narrow = decode(word, 0x1000, True), decode(word, 0x1000, False)
    assert wide is not None and narrow is not None
    assert wide.instruction == narrow.instruction
    # Of jalr the register decides, of the others the offset.
    if mnemonic == "jalr" or imm % 2:
        assert wide.handler != narrow.handler
        assert "RAISE(0, 0)" in HANDLERS[wide.handler][1]
        assert [f"{mnemonic} (IALIGN 32)"] == HANDLERS[wide.handler][0]
    else:
        assert (wide.handler, wide.r[:], wide.k[:]) == (narrow.handler, narrow.r[:], narrow.k[:])
    assert "RAISE" not in HANDLERS[narrow.handler][1]


def test_all_other_instructions_are_the_same(decode: Decode) -> None:
    assert {i.mnemonic for i in ALIGNED} >= set(TRANSFERS)
    for instruction in ISA.instructions:
        if instruction.mnemonic not in TRANSFERS:
            free = (1 << 8 * instruction.size) - 1 & ~instruction.mask
            for word in (instruction.match, instruction.match | free, instruction.match | 0x5A5A_5A5A & free):
                wide, narrow = decode(word, 0x1000, True), decode(word, 0x1000, False)
                assert wide is not None and narrow is not None
                assert bytes(wide) == bytes(narrow)
