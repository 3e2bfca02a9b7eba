"""CoreDSL files written by others load as they are, and mean what ours mean.

RVSIM_COREDSL_FILES names a folder that holds, at any depth, the files of github.com/Minres/RISCV_ISA_CoreDSL and
github.com/tum-ei-eda/riscv-coredsl-extensions.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.isa import model
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import find
from rvsim.isa.evaluate import Trap, execute
from rvsim.isa.ir import Instruction, Isa
from tests.isa.snippets import Recorder

# Instructions of each set for XLEN = 32.
FILES = {
    "RVI.core_desc": {"RVI": 42, "Zicsr": 6, "Zifencei": 1, "RVNMode": 1, "RVSMode": 2, "RVDebug": 1},
    "RVM.core_desc": {"RVM": 8},
    "RVC.core_desc": {"RVC": 30, "RVCFP": 4},
    "RVA.core_desc": {"RVA": 11},
    "Zb.core_desc": {"Zba": 3, "Zbb_common": 7, "Zbb": 11, "Zbc_common": 2, "Zbc": 1, "Zbs": 8, "RVB": 0},
    "Zc.core_desc": {"Zca": 30, "Zcf": 4, "Zcd": 4, "Zcb": 11, "Zcmp": 6, "Zcmt": 1},
}
CORE = """
import "RVI.core_desc"
import "RVM.core_desc"
import "RVC.core_desc"
import "Zb.core_desc"
import "Zc.core_desc"
Core Public provides RVI, Zicsr, Zifencei, RVM, RVC, Zba, Zbb_common, Zbb, Zbs, Zcb {
    architectural_state { XLEN = 32; }
}
"""


def public_file(name: str) -> Path:
    folder = os.environ.get("RVSIM_COREDSL_FILES")
    if not folder:
        pytest.skip("RVSIM_COREDSL_FILES names no folder of public CoreDSL files")
    found = sorted(Path(folder).rglob(name))
    if not found:
        pytest.skip(f"no {name} below {folder} (RVSIM_COREDSL_FILES)")
    return found[0]


@pytest.mark.parametrize("name", FILES)
def test_a_public_file_passes_the_check(name: str) -> None:
    results = model.check_file(public_file(name))
    assert {isa.name: len(isa.instructions) for isa in results} == FILES[name]


def test_a_public_extension_loads_on_top_of_our_base() -> None:
    """The multiply-accumulate set of TU Munich imports ../rv_base/RV32I.core_desc, which is our RV32I here."""
    path = public_file("s4e-mac.core_desc")
    extension_set, core = model.check_file(path)
    assert (len(extension_set.instructions), len(core.instructions), core.warnings) == (7, 47, [])
    extension = model.load_extension(path)
    by_name = {i.name: i for i in extension.instructions}
    context = Recorder({5: 0xFFFF_FFFF, 6: 3})
    for name, expected in (("MACS_32", 0xFFFF_FFFD), ("MACU_64", 2**34 - 6), ("MACS_64", 2**34 - 9)):
        instruction = by_name[name]
        execute(instruction, instruction.match | 5 << 15 | 6 << 20, 0, context)
        assert context.registers["ACC", None] == expected, name


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Isa:
    path = tmp_path_factory.mktemp("public") / "public.core_desc"
    path.write_text(CORE)
    return model.load_core(path, "Public", [public_file("RVI.core_desc").parent])


# Atomics are left out: theirs keep reservations in an address space.
ALL = bundled("rv32")
OURS = msgspec.structs.replace(ALL, instructions=[i for i in ALL.instructions if i.set != "RVA"])
PC = 0x8000_0100


def outcome(instruction: Instruction, word: int, registers: dict[int, int]) -> dict[str, object]:
    """What an instruction does: registers, memory and CSR accesses, calls, and the next pc or the trap."""
    context = Recorder(
        dict(registers), lambda space, address, size: (address * 2654435761 ^ 0x9E3779B9) % (1 << 8 * size)
    )
    try:
        end: object = execute(instruction, word, PC, context)
    except Trap as trap:
        end = ("trap", trap.irq, trap.cause)
    accesses = [e for e in context.effects if e[0] in ("load", "store")]
    calls = [e for e in context.effects if e[0] == "call"]
    return {"end": end, "registers": context.registers, "accesses": accesses, "calls": calls}


@settings(max_examples=1500)
@given(data=st.data())
def test_every_instruction_does_what_the_public_description_says(data: st.DataObject, public: Isa) -> None:
    instruction = data.draw(st.sampled_from(OURS.instructions))
    free = (1 << 8 * instruction.size) - 1 & ~instruction.mask
    word = instruction.match | data.draw(st.integers(0, 2**32 - 1)) & free
    edge = st.sampled_from([0, 1, 2, 31, 2**31 - 1, 2**31, 2**32 - 1])
    values = data.draw(st.lists(st.one_of(edge, st.integers(0, 2**32 - 1)), min_size=31, max_size=31))
    registers = dict(enumerate([0, *values]))
    ours_, theirs_ = find(OURS, word), find(public, word)
    assert ours_ is not None and theirs_ is not None
    ours, theirs = outcome(ours_, word, registers), outcome(theirs_, word, registers)
    match ours_.mnemonic:
        case "fence" | "fence.i":  # theirs records the request in an address space, ours need none
            assert (ours["end"], ours["registers"]) == (theirs["end"], theirs["registers"])
            return
        case "ebreak" | "c.ebreak":  # the privileged manual leaves mtval to the implementation; ours is the pc
            theirs["calls"] = [("call", "set_tval", PC)]
        case "csrrwi":  # theirs reads the CSR even when rd is x0, which the manual forbids
            if not word >> 7 & 31:
                theirs["accesses"] = [a for a in theirs["accesses"] if a[0] == "store"]  # type: ignore[attr-defined]
        case "c.lbu" | "c.lh" | "c.lhu":  # theirs does not write x8, whose number in three bits is 0
            if not word >> 2 & 7:
                return
        case "c.slli":  # by 0: theirs is illegal, in the manual a HINT
            if not word >> 2 & 31:
                return
    assert ours == theirs, (ours_.name, hex(word), registers)


def test_both_know_the_same_encodings(public: Isa) -> None:
    ours, theirs = ({(i.mask, i.match): i for i in isa.instructions} for isa in (OURS, public))
    assert set(ours) - set(theirs) == set()
    # Words that ours has as c.jr and c.lui with an operand that is reserved: they raise an illegal instruction, too.
    assert {theirs[key].name for key in set(theirs) - set(ours)} == {"__reserved_cmv", "__reserved_clui"}
