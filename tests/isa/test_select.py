"""`--isa`: which strings are taken, what they choose, and what a program is told that needs more."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.errors import UsageError
from rvsim.isa.bundle import bundled
from rvsim.isa.select import DEFAULT, EXTENSIONS, Selection, missing, select, warning

ISA = bundled("rv32")


def chosen(selection: Selection) -> set[str]:
    return {i.mnemonic for i, on in zip(ISA.instructions, selection.enabled, strict=True) if on}


@pytest.mark.parametrize(
    ("text", "name", "misa"),
    [
        ("rv32i", "rv32i", "i"),
        ("rv32imc", "rv32imc", "imc"),
        ("RV32IMC", "rv32imc", "imc"),
        ("rv32icm", "rv32imc", "imc"),
        ("rv32i_m_c", "rv32imc", "imc"),
        ("rv32i2p1_m2p0_c2p0_zicsr2p0_zifencei2p0", "rv32imc", "imc"),
        ("rv32i2m2c2", "rv32imc", "imc"),
        ("rv32imac_zba_zbb_zbs_zcb", "rv32imac_zcb_zba_zbb_zbs", "imacb"),
        ("rv32imaczba1p0_zbb1p0", "rv32imac_zba_zbb", "imac"),
        ("rv32imab", "rv32ima_zba_zbb_zbs", "imab"),
        ("rv32i_zca", "rv32ic", "ic"),
        ("rv32i_zcb", "rv32ic_zcb", "ic"),
        ("rv32im_zmmul", "rv32im", "im"),
        ("rv32i_zmmul", "rv32i_zmmul", "i"),
        ("rv32i_zaamo_zalrsc", "rv32ia", "ia"),
        ("rv32i_zaamo", "rv32i_zaamo", "i"),
        ("rv32i_zicntr_zihpm", "rv32i", "i"),
    ],
)
def test_names(text: str, name: str, misa: str) -> None:
    selection = select(text)
    assert selection.name == name
    # Privileged manual, misa: MXL is 1 in bits 31:30, bit 0 is A.
    assert selection.misa == 0x4000_0000 | sum(1 << "abcdefghijklmnopqrstuvwxyz".index(letter) for letter in misa)
    assert selection.compressed == ("c" in misa)
    assert selection.extensions >= {"i", "zicsr", "zifencei", "zicntr", "zihpm"}


DIVISIONS = {"div", "divu", "rem", "remu"}


@pytest.mark.parametrize(
    ("smaller", "larger", "more"),
    [
        ("rv32i_zmmul", "rv32im", DIVISIONS),
        ("rv32i", "rv32i_zmmul", {"mul", "mulh", "mulhsu", "mulhu"}),
        ("rv32i", "rv32i_zalrsc", {"lr.w", "sc.w"}),
        ("rv32i_zaamo", "rv32ia", {"lr.w", "sc.w"}),
        ("rv32i", "rv32i_zba", {"sh1add", "sh2add", "sh3add"}),
        ("rv32ic", "rv32ic_zcb", {"c.lbu", "c.lhu", "c.lh", "c.sb", "c.sh", "c.zext.b", "c.not"}),
        ("rv32imc", "rv32imc_zcb", {"c.lbu", "c.lhu", "c.lh", "c.sb", "c.sh", "c.zext.b", "c.not", "c.mul"}),
        ("rv32ic_zmmul_zbb", "rv32ic_zmmul_zbb_zcb", {"c.lbu", "c.lhu", "c.lh", "c.sb", "c.sh", "c.zext.b", "c.not",
                                                     "c.mul", "c.sext.b", "c.sext.h", "c.zext.h"}),
    ],
)  # fmt: skip
def test_what_an_extension_brings(smaller: str, larger: str, more: set[str]) -> None:
    assert chosen(select(larger)) - chosen(select(smaller)) == more
    assert chosen(select(smaller)) <= chosen(select(larger))


def test_the_default_and_the_largest() -> None:
    sets = {i.set for i, on in zip(ISA.instructions, select(DEFAULT).enabled, strict=True) if on}
    assert sets == {"RV32I", "RVM", "RVC", "Zicsr", "Zifencei", "Machine"}
    assert all(select("rv32imac_zba_zbb_zbs_zcb").enabled)


LIST = "rvsim has i, m, a, c, b, zicntr, zicsr, zifencei, zihpm, zmmul, zaamo, zalrsc, zca, zcb, zba, zbb, zbs"
FLOAT = "rvsim has no floating-point registers"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rv64imac", "--isa rv64imac: expected rv32, found rv64: the hart has 32-bit registers"),
        ("rv32e", "--isa rv32e: rv32e has 16 registers, and this hart has 32: programs for rv32e run on rv32i"),
        ("rv32gc", f"--isa rv32gc: g includes f and d, and {FLOAT}"),
        ("rv32imfc", f"--isa rv32imfc: {FLOAT}: compile with -mabi=ilp32 and without f and d"),
        ("rv32is", "--isa rv32is: rvsim has machine mode only"),
        ("rv32i_zbba", f"--isa rv32i_zbba: unknown extension 'zbba'; did you mean 'zbb'? {LIST}"),
        ("rv32i_xcvmac1p0", f"--isa rv32i_xcvmac1p0: unknown extension 'xcvmac'; {LIST}"),
        ("rv32iq", f"--isa rv32iq: unknown extension 'q'; {LIST}"),
        ("rv32i!", f"--isa rv32i!: unknown extension '!'; {LIST}"),
        ("rv32mc", "--isa rv32mc: expected the base i behind rv32, found 'm'; such as rv32imc"),
        ("rv32", "--isa rv32: expected the base i behind rv32, found nothing; such as rv32imc"),
        ("imc", "--isa imc: expected an ISA string such as rv32imc or rv32imac_zba_zbb_zbs_zcb"),
        ("", "--isa : expected an ISA string such as rv32imc or rv32imac_zba_zbb_zbs_zcb"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        select(text)
    assert str(error.value) == message


@given(names=st.sets(st.sampled_from(sorted(EXTENSIONS))))
def test_a_name_chooses_what_it_names(names: set[str]) -> None:
    selection = select("rv32i_" + "_".join(sorted(names)))
    assert select(selection.name) == selection
    assert select("rv32i_" + "_".join(sorted(selection.extensions))) == selection
    assert names <= selection.extensions
    # Equal names, and only those, have equal instructions.
    for other in ("rv32i", DEFAULT, "rv32imac_zba_zbb_zbs_zcb"):
        assert (chosen(select(other)) == chosen(selection)) == (select(other).name == selection.name)


@given(text=st.one_of(st.text(max_size=40), st.text("rv32imacbgxszp0_", max_size=40).map(lambda t: "rv32i" + t)))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        select(text)
    except UsageError:
        pass
    missing(text, 0, select(DEFAULT))


def test_a_selection_is_quick() -> None:
    before = time.perf_counter()
    for n in range(100):
        select(f"rv32i2p{n}_m_a_c_zba_zbb_zbs_zcb")
    assert (time.perf_counter() - before) / 100 < 1e-3


# ------------------------------------------------------------ what a program asks for
@pytest.mark.parametrize(
    ("arch", "flags", "isa", "lacking"),
    [
        ("rv32i2p1_m2p0_c2p0_zicsr2p0_zmmul1p0", 1, "rv32imc", []),
        ("", 0, "rv32i", []),
        ("", 1, "rv32i", ["c"]),
        ("rv32i2p1_c2p0_zca1p0", 1, "rv32i", ["c", "zca"]),
        ("rv32i2p1_m2p0_a2p1_c2p0_zicsr2p0_zba1p0", 1, "rv32imc", ["a", "zba"]),
        ("rv32i2p1_m2p0_f2p2_d2p2_zicsr2p0", 4, "rv32imc", ["f", "d"]),
        ("", 2, "rv32imc", ["f"]),
        ("rv32i2p1_xcvmac1p0_zfinx1p0", 0, "rv32i", ["xcvmac", "zfinx"]),
        ("rv32e1p9_m2p0", 8, "rv32im", []),
        ("rv32gc", 1, "rv32imac", ["f", "d"]),
        ("rv32i2p1_zve32x1p0_zvl32b1p0", 0, "rv32i", ["zve32x", "zvl32b"]),
    ],
)
def test_what_a_program_lacks(arch: str, flags: int, isa: str, lacking: list[str]) -> None:
    assert missing(arch, flags, select(isa)) == lacking


@pytest.mark.parametrize(
    ("lacking", "text"),
    [
        ([], ""),
        (["a", "zba"], "the program was compiled for a, zba, which rv32imc lacks; choose --isa rv32imac_zba"),
        (["f"], "the program was compiled for f, which rv32imc lacks; "
                "rvsim does not have f: such instructions are illegal"),
        (["zcb", "xcvmac"], "the program was compiled for zcb, xcvmac, which rv32imc lacks; choose --isa rv32imc_zcb; "
                            "rvsim does not have xcvmac: such instructions are illegal"),
    ],
)  # fmt: skip
def test_the_warning_says_what_to_choose(lacking: list[str], text: str) -> None:
    assert warning(lacking, select(DEFAULT)) == text


def test_a_hostile_attribute_costs_little() -> None:
    for arch in ("rv32i" + "m" * 10**6, "rv32i_z" + "1a" * 10**6, "rv32" + "_" * 10**6, "rv32i_za" + "1" * 10**6):
        before = time.perf_counter()
        missing(arch, 0, select(DEFAULT))
        assert time.perf_counter() - before < 0.1
