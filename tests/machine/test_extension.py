"""Instructions that a user describes in CoreDSL (`--isa-ext`): what they do, count and cost, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.errors import InputFileError, UsageError
from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    BASE,
    C_NOP,
    DATA,
    EXIT,
    MEPC,
    MRET,
    MTVEC,
    NOP,
    T0,
    T1,
    T2,
    ZERO,
    addi,
    auipc,
    bne,
    csrrs,
    csrrw,
    jal,
    li,
    lui,
    machine,
    r_type,
)

pytestmark = pytest.mark.usefixtures("tier")

MAC = str(Path(__file__).with_name("mac.core_desc"))
CUSTOM_1, CUSTOM_2 = 0x2B, 0x5B
RESET = r_type(CUSTOM_1, 0, 0)


def low(rd: int) -> int:
    return r_type(CUSTOM_1, 0, 1, rd)


def high(rd: int) -> int:
    return r_type(CUSTOM_1, 0, 2, rd)


def mac(signed: bool, rs1: int, rs2: int) -> int:
    return r_type(CUSTOM_1, 2, int(signed), 0, rs1, rs2)


# ------------------------------------------------------------------------------------------------------- a MAC unit


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_a_program_uses_a_mac_unit(core: str) -> None:
    # The sum of n * (n + 1) for n of 10 to 1 is 440, and 440 - 440 = 0 the signed way with -(n + 1)
    words = [
        RESET, addi(T0, ZERO, 10),
        addi(T1, T0, 1), mac(False, T0, T1), addi(T0, T0, -1), bne(T0, ZERO, -12),
        low(A0), high(A1), EXIT,
    ]  # fmt: skip
    m = machine(*words, isa_ext=[MAC], core=core)
    result = m.run()
    assert (m.registers[A0], m.registers[A1], result.exit_code) == (440, 0, 440 & 0xFF)
    assert result.classes == {"alu": 22, "branch": 10, "custom": 13, "system": 1}
    assert result.instructions == 2 + 40 + 2 + 2
    # One cycle a custom instruction; nine taken branches and the ecall take two more each on Ibex.
    assert result.cycles == (46 if core == "ideal" else 46 + 2 * 9 + 2)


@settings(max_examples=60)
@given(
    signed=st.booleans(),
    pairs=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=4),
)
def test_the_accumulator_wraps_at_64_bits(signed: bool, pairs: list[tuple[int, int]]) -> None:
    words: list[Any] = [RESET]
    total = 0
    for x, y in pairs:
        words += [li(T0, x), li(T1, y), mac(signed, T0, T1)]
        total += (x - (x >> 31 << 32)) * (y - (y >> 31 << 32)) if signed else x * y
    m = machine(*words, low(A0), high(A1), isa_ext=[MAC])
    m.run(1 + 5 * len(pairs) + 2)
    assert (m.registers[A1] << 32 | m.registers[A0]) == total % (1 << 64)


def test_registers_of_an_extension_begin_at_zero_and_outlast_a_limit() -> None:
    m = machine(addi(T0, ZERO, 3), low(A0), mac(False, T0, T0), low(A1), isa_ext=[MAC])
    m.run(3)
    m.run(1)
    assert (m.registers[A0], m.registers[A1]) == (0, 9)
    other = machine(low(A0), isa_ext=[MAC])
    other.run(1)
    assert other.registers[A0] == 0


def test_words_that_the_file_does_not_declare_stay_illegal() -> None:
    for word in (r_type(CUSTOM_1, 0, 3), r_type(CUSTOM_1, 2, 0, A0), r_type(CUSTOM_1, 1, 0), low(A0) | 1 << 20):
        assert machine(word, isa_ext=[MAC]).run().stop_reason == "illegal-instruction"


def test_both_a_coprocessor_and_an_extension() -> None:
    m = machine(RESET, low(A0), r_type(0x0B, 0, 2, A1), isa_ext=[MAC], accel="on")
    assert m.run(3).classes == {"coprocessor": 1, "custom": 2}


def test_the_mac_unit_of_tum() -> None:
    folder = os.environ.get("RVSIM_COREDSL_FILES")
    if not folder:
        pytest.skip("set RVSIM_COREDSL_FILES to a folder with s4e-mac.core_desc of tum-ei-eda/riscv-coredsl-extensions")
    path = Path(folder) / "s4e-mac.core_desc"
    c0 = 0x0B

    def unit(funct7: int, funct3: int, rd: int = 0, rs1: int = 0, rs2: int = 0) -> int:
        return r_type(c0, funct3, funct7, rd, rs1, rs2)

    words = [
        unit(0, 0), *li(T0, 0xFFFF_FFFF), *li(T1, 0x8000_0000),
        unit(0, 2, 0, T0, T1), unit(1, 0, A0), unit(2, 0, A1),  # unsigned, 64 bits
        unit(1, 2, 0, T0, T1), unit(1, 0, A2), unit(2, 0, A3),  # signed: plus -1 * -2 ** 31
        unit(0, 1, 0, T0, T0), unit(1, 0, T2), unit(2, 0, T0),  # unsigned, 32 bits: plus 1
    ]  # fmt: skip
    m = machine(*words, isa_ext=[str(path)])
    result = m.run(14)
    x = m.registers
    product = 0xFFFF_FFFF * 0x8000_0000
    assert (x[A1] << 32 | x[A0]) == product
    assert (x[A3] << 32 | x[A2]) == product + 0x8000_0000
    assert (x[T0] << 32 | x[T2]) == (product + 0x8000_0000 + 1) & 0xFFFF_FFFF
    assert result.classes == {"alu": 4, "custom": 10}
    with pytest.raises(UsageError, match="claim the same words"):
        machine(NOP, isa_ext=[str(path)], accel="on")
    machine(NOP, isa_ext=[str(path)], accel="on", settings={"accel.custom_opcode": "custom-3"})


# ------------------------------------------------------------------------------------------------ one instruction each

ENCODING = "12'd0 :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b1011011"
TEST = r_type(CUSTOM_2, 0, 0, A0, A1)


@pytest.fixture
def describe(tmp_path: Path) -> Any:
    def write(behaviour: str, *, state: str = "", functions: str = "", encoding: str = ENCODING) -> list[str]:
        path = tmp_path / "own.core_desc"
        path.write_text(
            f"""import "RISCVBase.core_desc"
InstructionSet XOwn extends RISCVBase {{
    architectural_state {{ {state} }}
    functions {{ {functions} }}
    instructions {{
        OWN {{
            encoding: {encoding};
            assembly: {{"own.test", "{{name(rd)}}"}};
            behavior: {{ {behaviour} }}
        }}
    }}
}}
"""
        )
        return [str(path)]

    return write


def test_a_custom_load(describe: Any) -> None:
    files = describe("X[rd] = MEM[X[rs1] + 3 : X[rs1]] ^ 0xff;")
    m = machine(
        lui(A1, DATA >> 12), TEST, TEST, isa_ext=files,
        image={"data": b"\1\2\3\4\5\6\7\x08", "objects": {"table": (DATA, 8)}},
    )  # fmt: skip
    result = m.run(3)
    assert m.registers[A0] == 0x0403_02FE
    assert result.traffic["ram"].load.count == 2
    assert [(s.name, s.load.bytes) for s in result.symbols] == [("table", 8)]


def test_a_custom_load_of_eight_bytes_makes_two_accesses(describe: Any) -> None:
    files = describe("unsigned<64> both = MEM[X[rs1] + 7 : X[rs1]]; X[rd] = both[63:32];")
    m = machine(lui(A1, DATA >> 12), TEST, isa_ext=files, image={"data": b"\1\2\3\4\5\6\7\x08"})
    result = m.run(2)
    assert m.registers[A0] == 0x0807_0605
    assert (result.traffic["ram"].load.count, result.traffic["ram"].load.bytes) == (2, 8)


def test_a_custom_store(describe: Any) -> None:
    files = describe("MEM[X[rs1] + 1 : X[rs1]] = (unsigned<16>)X[rd];")
    m = machine(lui(A1, DATA >> 12), *li(A0, 0x1234_5678), TEST, isa_ext=files, image={"data": bytes(4)})
    result = m.run(4)
    assert m.read_memory(DATA, 4) == b"\x78\x56\0\0"
    assert (result.traffic["ram"].store.count, result.traffic["ram"].store.bytes) == (1, 2)


def test_a_custom_store_into_code(describe: Any) -> None:
    # The word behind it becomes addi a0, zero, 5; it has run before, and is in the same block.
    files = describe("MEM[X[rs1] + 3 : X[rs1]] = X[rd];")
    words = [*li(A0, addi(A0, ZERO, 5)), auipc(A1, 0), addi(A1, A1, 12), TEST, addi(A0, ZERO, 1), bne(T0, ZERO, 12),
             addi(T0, ZERO, 1), jal(ZERO, -28 + 4), EXIT]  # fmt: skip
    m = machine(*words, isa_ext=files)
    m.hart.pc = BASE + 20
    m.run(2)
    assert m.registers[A0] == 1
    m.hart.pc = BASE
    m.run(6)
    assert m.registers[A0] == 5


def test_custom_accesses_fault_as_built_in_ones_do(describe: Any) -> None:
    files = describe("X[rd] = MEM[X[rs1] + 3 : X[rs1]];")
    result = machine(addi(A1, ZERO, 8), TEST, isa_ext=files).run()
    assert (result.stop_reason, result.instructions) == ("access-fault", 1)
    assert result.message is not None
    assert result.message.startswith("load access fault at address 0x00000008: own.test a0 at 0x80000004; memory")
    words = [
        jal(ZERO, 20), csrrs(T1, MEPC), addi(T1, T1, 4), csrrw(ZERO, MEPC, T1), MRET,
        auipc(T0, 0), addi(T0, T0, -16), csrrw(ZERO, MTVEC, T0), addi(A1, ZERO, 8), TEST, addi(A2, ZERO, 1),
    ]  # fmt: skip
    m = machine(*words, isa_ext=files)
    m.run(10)
    assert (m.csrs.mcause, m.csrs.mtval, m.csrs.mepc, m.registers[A2]) == (5, 8, BASE + 40, 1)  # the handler added 4


def test_a_custom_jump(describe: Any) -> None:
    files = describe("if (X[rs1] != 0) PC = (unsigned<32>)(PC + 8);")
    assert (
        machine(TEST, addi(A0, A0, 1), addi(A1, ZERO, 1), TEST, addi(A0, A0, 16), EXIT, isa_ext=files).run().exit_code
        == 1
    )


def test_a_custom_jump_to_an_odd_address_traps(describe: Any) -> None:
    files = describe("PC = (unsigned<32>)(PC + 7);")
    result = machine(NOP, TEST, isa_ext=files).run()
    assert (result.stop_reason, result.exit_status, result.instructions) == ("trap", 134, 1)
    assert result.message is not None
    assert result.message.startswith("instruction address misaligned: own.test a0 at 0x80000004, address 0x8000000b")


def test_a_custom_instruction_does_not_change_x0(describe: Any) -> None:
    files = describe("X[rd] = 7;")
    m = machine(r_type(CUSTOM_2, 0, 0, ZERO), addi(A0, ZERO, 0), EXIT, isa_ext=files)
    assert m.run().exit_code == 0
    assert m.registers[0] == 0


def test_a_custom_instruction_reads_the_counters_before_itself(describe: Any) -> None:
    for number, value in ((0xB02, 3), (0xB00, 4)):
        m = machine(lui(T0, DATA >> 12), NOP, 0x0002_A303, TEST, isa_ext=describe(f"X[rd] = CSR[{number}];"),
                    core="ibex-small", image={"data": bytes(4)})  # fmt: skip
        m.run(4)
        assert m.registers[A0] == value


def test_a_custom_instruction_may_raise(describe: Any) -> None:
    files = describe("raise(0, 2);")
    result = machine(NOP, TEST, isa_ext=files).run()
    assert (result.stop_reason, result.instructions) == ("illegal-instruction", 1)
    assert result.message is not None
    assert result.message.startswith("illegal instruction own.test a0 at 0x80000004: its behaviour (")
    assert "own.core_desc:6) raises this" in result.message


def test_a_custom_instruction_of_16_bits(describe: Any) -> None:
    # A quadrant 0 word that RVC leaves reserved (funct3 100)
    files = describe("X[rd] = 9;", encoding="3'b100 :: 6'd0 :: rd[4:0] :: 2'b00")
    m = machine(C_NOP, 0x8000 | A0 << 2, EXIT, isa_ext=files)
    result = m.run()
    assert (result.exit_code, result.traffic["ram"].fetch.bytes) == (9, 2 + 2 + 8)


def test_an_added_instruction_takes_the_place_of_a_built_in_one(describe: Any) -> None:
    files = describe(
        "X[rd] = (unsigned<32>)(X[rs1] + 100);", encoding="imm[11:0] :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0010011"
    )
    m = machine(addi(A0, ZERO, 1), isa_ext=files)
    m.run(1)
    assert m.registers[A0] == 100


def test_registers_of_several_kinds(describe: Any) -> None:
    files = describe(
        "S = (signed<8>)(S - 100); T[1] = (unsigned<4>)(T[1] + 3); X[rd] = (unsigned<32>)S; X[rs1] = T[1];",
        state="register signed<8> S; register unsigned<4> T[2];",
    )
    m = machine(*[TEST] * 6, isa_ext=files)
    m.run(1)
    assert (m.registers[A0], m.registers[A1]) == (0xFFFF_FF9C, 3)
    m.run(5)
    # -600 in 8 bits is -88; 18 in 4 bits is 2
    assert (m.registers[A0], m.registers[A1]) == (0xFFFF_FFA8, 2)


# ---------------------------------------------------------------------------------------------------- what is refused


def test_an_extern_function_that_nobody_provides(describe: Any) -> None:
    files = describe("X[rd] = magic(X[rs1]);", functions="extern unsigned<32> magic(unsigned<32> x);")
    with pytest.raises(
        InputFileError, match="the extern function magic is not provided by this machine; it has fence_i"
    ):
        machine(NOP, isa_ext=files)


def test_a_behaviour_that_never_ends(describe: Any) -> None:
    files = describe("unsigned<32> i = 0; while (true) i = (unsigned<32>)(i + 1);")
    with pytest.raises(InputFileError, match=r"own\.core_desc:\d+: OWN at pc 0x80000004: .* 1000000 operations"):
        machine(NOP, TEST, isa_ext=files).run()


def test_a_behaviour_may_take_long(describe: Any) -> None:
    files = describe("unsigned<32> i = 0; while (i < 5000) i = (unsigned<32>)(i + 1); X[rd] = i;")
    m = machine(TEST, isa_ext=files)
    m.run(1)
    assert m.registers[A0] == 5000


def test_a_clash_with_the_coprocessors_opcode(describe: Any, tmp_path: Path) -> None:
    files = describe("X[rd] = 1;", encoding="12'd0 :: rs1[4:0] :: 3'd0 :: rd[4:0] :: 7'b0001011")
    with pytest.raises(
        UsageError, match=r"OWN and CONV_START of XConv claim the same words; move one to another opcode"
    ):
        machine(NOP, isa_ext=files, accel="on")
    machine(NOP, isa_ext=files, accel="on", settings={"accel.custom_opcode": "custom-3"})
    machine(NOP, isa_ext=files)


def test_a_clash_of_two_files(describe: Any) -> None:
    files = describe("X[rd] = 1;")
    with pytest.raises(UsageError, match="OWN and OWN of XOwn claim the same words"):
        machine(NOP, isa_ext=files * 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "expected at least one InstructionSet"),
        ("InstructionSet X {", "core_desc:1"),
        ("\xff\xfe", "core_desc"),
    ],
)
def test_files_that_are_no_description(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.core_desc"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputFileError, match=message):
        machine(NOP, isa_ext=[str(path)])


def test_an_interrupt_within_a_behaviour_keeps_the_counts(describe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    m: Machine = machine(NOP, NOP, TEST, EXIT, isa_ext=describe("X[rd] = (unsigned<32>)(CSR[832] + 1);"))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(m, "custom", interrupt)
    result = m.run()
    assert (result.stop_reason, result.exit_status, result.instructions) == ("interrupted", 130, 2)
    assert result.message == "interrupted at 0x80000008 after 2 instructions"
    monkeypatch.undo()
    assert m.run().instructions == 5
