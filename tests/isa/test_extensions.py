"""A, Zba, Zbb, Zbs and Zcb do what the manual says: restated in Python here, and compared with qemu-riscv32."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.isa.bundle import bundled
from rvsim.isa.ccode import instruction_class
from rvsim.isa.evaluate import Trap, execute
from rvsim.isa.ir import Instruction
from tests.isa.snippets import Recorder, word_of

GCC = "riscv64-unknown-elf-gcc"
BY_MNEMONIC = {i.mnemonic: i for i in bundled("rv32").instructions}
MASK = 0xFFFF_FFFF
MISALIGNED_LOAD, MISALIGNED_STORE = 4, 6
CORNERS = [0, 1, 2, 31, 32, 0x7F, 0x80, 0x7FFF, 0x8000, 0x00FF_0100, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFE0, MASK]
values = st.one_of(st.sampled_from(CORNERS), st.integers(0, MASK))


def signed(value: int, bits: int = 32) -> int:
    return (value & (1 << bits) - 1) - (value >> (bits - 1) & 1) * (1 << bits)


def rotated_left(value: int, by: int) -> int:
    digits = f"{value:032b}"
    return int(digits[by % 32 :] + digits[: by % 32], 2)


def bit(value: int, n: int) -> int:
    return int(f"{value:032b}"[31 - n % 32])


# The result of two operands; the second is rs2 or the immediate, and nothing where there is neither.
MEANING: dict[str, Callable[[int, int], int]] = {
    "sh1add": lambda a, b: 2 * a + b,
    "sh2add": lambda a, b: 4 * a + b,
    "sh3add": lambda a, b: 8 * a + b,
    "andn": lambda a, b: a & (MASK - b),
    "orn": lambda a, b: a | (MASK - b),
    "xnor": lambda a, b: MASK - (a ^ b),
    "clz": lambda a, b: 32 - a.bit_length(),
    "ctz": lambda a, b: f"1{a:032b}"[::-1].index("1"),
    "cpop": lambda a, b: f"{a:b}".count("1"),
    "max": lambda a, b: max(signed(a), signed(b)),
    "maxu": lambda a, b: max(a, b),
    "min": lambda a, b: min(signed(a), signed(b)),
    "minu": lambda a, b: min(a, b),
    "sext.b": lambda a, b: signed(a, 8),
    "sext.h": lambda a, b: signed(a, 16),
    "zext.h": lambda a, b: a % 65536,
    "rol": rotated_left,
    "ror": lambda a, b: rotated_left(a, -b),
    "rori": lambda a, b: rotated_left(a, -b),
    "orc.b": lambda a, b: int.from_bytes(bytes(255 * (x > 0) for x in a.to_bytes(4, "little")), "little"),
    "rev8": lambda a, b: int.from_bytes(a.to_bytes(4, "little"), "big"),
    **dict.fromkeys(("bclr", "bclri"), lambda a, b: a - (bit(a, b) << b % 32)),
    **dict.fromkeys(("bext", "bexti"), bit),
    **dict.fromkeys(("binv", "binvi"), lambda a, b: a ^ 1 << b % 32),
    **dict.fromkeys(("bset", "bseti"), lambda a, b: a + (1 - bit(a, b) << b % 32)),
}
# What is stored for the old value and rs2.
STORED: dict[str, Callable[[int, int], int]] = {
    "amoswap.w": lambda old, new: new,
    "amoadd.w": lambda old, new: old + new,
    "amoxor.w": lambda old, new: old ^ new,
    "amoand.w": lambda old, new: old & new,
    "amoor.w": lambda old, new: old | new,
    "amomin.w": lambda old, new: min(signed(old), signed(new)),
    "amomax.w": lambda old, new: max(signed(old), signed(new)),
    "amominu.w": min,
    "amomaxu.w": max,
}
COMPRESSED: dict[str, Callable[[int, int], int]] = {
    "c.zext.b": lambda a, b: a % 256,
    "c.sext.b": MEANING["sext.b"],
    "c.zext.h": MEANING["zext.h"],
    "c.sext.h": MEANING["sext.h"],
    "c.not": lambda a, b: MASK - a,
    "c.mul": lambda a, b: a * b,
}
ACCESSES = {"c.lbu": 1, "c.lhu": 2, "c.lh": 2, "c.sb": 1, "c.sh": 2}


def test_every_instruction_of_these_sets_is_restated() -> None:
    described = {m for m, i in BY_MNEMONIC.items() if i.set in ("RVA", "Zba", "Zbb", "Zbs", "Zcb")}
    assert described == {*MEANING, *STORED, *COMPRESSED, *ACCESSES, "lr.w", "sc.w"}


def run(mnemonic: str, registers: dict[int, int], cell: int = 0, **fields: int) -> Recorder:
    """Execute one instruction; the word in memory is `cell` at every address."""
    context = Recorder(registers, lambda space, address, size: cell & (1 << 8 * size) - 1)
    execute(BY_MNEMONIC[mnemonic], word_of(BY_MNEMONIC[mnemonic], **fields), 0x100, context)
    return context


# ------------------------------------------------------------ Zba, Zbb, Zbs
@pytest.mark.parametrize("mnemonic", MEANING)
@given(a=values, b=values, same=st.booleans())
def test_bit_manipulation(mnemonic: str, a: int, b: int, same: bool) -> None:
    rd = 10 if same else 12
    context = run(mnemonic, {10: a, 11: b}, rd=rd, rs1=10, rs2=11, shamt=b % 32)
    if mnemonic.endswith("i"):
        b %= 32
    assert context.effects == [("put", "X", rd, MEANING[mnemonic](a, b) & MASK)]


@pytest.mark.parametrize("mnemonic", MEANING)
def test_with_rd_x0_nothing_is_written(mnemonic: str) -> None:
    assert run(mnemonic, {10: 5, 11: 7}, rd=0, rs1=10, rs2=11, shamt=3).effects == []


# ------------------------------------------------------------ Zcb
@pytest.mark.parametrize("mnemonic", COMPRESSED)
@given(a=values, b=values)
def test_compressed_arithmetic(mnemonic: str, a: int, b: int) -> None:
    context = run(mnemonic, {8 + 2: a, 8 + 3: b}, rd=2, rs2=3)
    assert context.effects == [("put", "X", 10, COMPRESSED[mnemonic](a, b) & MASK)]


@pytest.mark.parametrize("mnemonic", ACCESSES)
@given(base=values, value=values, offset=st.integers(0, 3))
def test_compressed_accesses(mnemonic: str, base: int, value: int, offset: int) -> None:
    size = ACCESSES[mnemonic]
    offset &= -size  # the encodings of halfwords have one bit of the offset
    context = run(mnemonic, {8 + 2: base, 8 + 3: value}, value, rs1=2, rd=3, rs2=3, uimm=offset)
    address, low = (base + offset) & MASK, value % (1 << 8 * size)
    if mnemonic.startswith("c.s"):
        assert context.effects == [("store", "MEM", address, low, size, False)]
    else:
        loaded = signed(low, 16) & MASK if mnemonic == "c.lh" else low
        assert context.effects == [("load", "MEM", address, size), ("put", "X", 11, loaded)]


# ------------------------------------------------------------ A
@pytest.mark.parametrize("mnemonic", STORED)
@given(old=values, new=values, address=values, rd=st.sampled_from((0, 10, 11, 12)), aqrl=st.integers(0, 3))
def test_amos_check_load_write_rd_and_store_last(
    mnemonic: str, old: int, new: int, address: int, rd: int, aqrl: int
) -> None:
    """The store leaves a block whose code it changed: it must be the last effect."""
    address &= -4
    context = run(mnemonic, {10: address, 11: new}, old, rd=rd, rs1=10, rs2=11, aqrl=aqrl)
    assert context.effects == [
        ("call", "probe_store", address),
        ("load", "MEM", address, 4),
        *([("put", "X", rd, old)] if rd else []),
        ("store", "MEM", address, STORED[mnemonic](old, new) & MASK, 4, False),
    ]


@given(address=values, value=values, rd=st.sampled_from((0, 10, 12)))
def test_lr_reserves_the_word(address: int, value: int, rd: int) -> None:
    address &= -4
    context = run("lr.w", {10: address}, value, rd=rd, rs1=10)
    assert context.effects == [
        ("load", "MEM", address, 4),
        ("put", "RESERVATION", None, address | 1),
        *([("put", "X", rd, value)] if rd else []),
    ]


@pytest.mark.parametrize("reservation", ["this", "another", "none"])
@given(address=values, value=values, rd=st.sampled_from((0, 10, 11, 12)))
def test_sc_stores_only_to_the_reserved_word_and_always_ends_the_reservation(
    reservation: str, address: int, value: int, rd: int
) -> None:
    address &= -4
    instruction = BY_MNEMONIC["sc.w"]
    context = Recorder({10: address, 11: value})
    held = {"this": address | 1, "another": address ^ 4 | 1, "none": 0}[reservation]
    context.registers["RESERVATION", None] = held
    execute(instruction, word_of(instruction, rd=rd, rs1=10, rs2=11), 0, context)
    done = reservation == "this"
    assert context.effects == [
        ("call", "probe_store", address),
        ("put", "RESERVATION", None, 0),
        *([("put", "X", rd, int(not done))] if rd else []),
        *([("store", "MEM", address, value, 4, False)] if done else []),
    ]


@pytest.mark.parametrize("mnemonic", ["lr.w", "sc.w", *STORED])
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_misaligned_atomics_trap_before_anything_happens(mnemonic: str, offset: int) -> None:
    context = Recorder({10: 0x1000 + offset, 11: 7})
    instruction = BY_MNEMONIC[mnemonic]
    with pytest.raises(Trap) as trap:
        execute(instruction, word_of(instruction, rd=12, rs1=10, rs2=11), 0, context)
    cause = MISALIGNED_LOAD if mnemonic == "lr.w" else MISALIGNED_STORE
    assert (trap.value.irq, trap.value.cause) == (0, cause)
    assert context.effects == [("call", "set_tval", 0x1000 + offset)]


def test_timing_classes() -> None:
    classes = {m: instruction_class(i) for m, i in BY_MNEMONIC.items()}
    assert {classes[m] for m in ("lr.w", "sc.w", *STORED)} == {"atomic"}
    assert {classes[m] for m in MEANING} == {"alu"}
    assert {m: classes[m] for m in COMPRESSED if classes[m] != "alu"} == {"c.mul": "multiply"}
    assert [classes[m] for m in ACCESSES] == ["load", "load", "load", "store", "store"]


# ------------------------------------------------------------ qemu-riscv32
class Cell:
    """A context with registers and one word of memory, for runs of several instructions."""

    def __init__(self, address: int) -> None:
        self.files: dict[tuple[str, int | None], int] = {}
        self.address, self.cell = address, 0

    def get(self, file: str, index: int | None) -> int:
        return self.files.get((file, index), 0)

    def put(self, file: str, index: int | None, value: int) -> None:
        self.files[file, index] = value

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        assert (address, size) == (self.address, 4)
        return self.cell

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        assert (address, size) == (self.address, 4)
        self.cell = value

    def call(self, name: str, arguments: Sequence[int]) -> Any:
        assert name == "probe_store"


START = """
    .globl _start
_start:
    la s0, results
    la s1, cell
"""
END = """
    li a0, 1
    la a1, results
    sub a2, s0, a1
    li a7, 64
    ecall
    li a0, 0
    li a7, 93
    ecall
    .bss
    .balign 4
cell: .space 8
results: .space {size}
"""
CELL, OTHER = 0x1000, 0x1004


def programme() -> tuple[str, list[int]]:
    """Assembly that runs every case, and what the evaluator says it writes: results, and the cell behind atomics."""
    lines, expected = [START], []

    def step(context: Cell, instruction: Instruction, **fields: int) -> None:
        word = word_of(instruction, **fields)
        lines.append(f"    .4byte {word:#x}")
        execute(instruction, word, 0, context)

    def record(context: Cell, register: int) -> None:
        lines.append(f"    sw x{register}, 0(s0)\n    addi s0, s0, 4")
        expected.append(context.get("X", register))

    pairs = [(a, b) for a in CORNERS for b in CORNERS]
    for mnemonic in MEANING:
        for a, b in pairs:
            context = Cell(CELL)
            context.files |= {("X", 10): a, ("X", 11): b}
            lines.append(f"    li a0, {a}\n    li a1, {b}")
            step(context, BY_MNEMONIC[mnemonic], rd=12, rs1=10, rs2=11, shamt=b % 32)
            record(context, 12)
    for number, mnemonic in enumerate([*STORED, "sc.w"]):
        for n, (a, b) in enumerate(pairs[:: 1 if mnemonic != "sc.w" else 5]):
            context = Cell(CELL)
            context.cell = a
            context.files |= {("X", 9): CELL, ("X", 11): b, ("X", 14): OTHER}
            lines.append(f"    li a3, {a}\n    sw a3, 0(s1)\n    li a1, {b}\n    addi a4, s1, 4")
            if mnemonic == "sc.w":
                step(context, BY_MNEMONIC["lr.w"], rd=13, rs1=9, aqrl=2)
                record(context, 13)
                if n % 3 == 1:  # the reservation is of another word, then gone
                    step(context, BY_MNEMONIC["sc.w"], rd=12, rs1=14, rs2=11)
                    record(context, 12)
            step(context, BY_MNEMONIC[mnemonic], rd=12, rs1=9, rs2=11, aqrl=number % 4)
            record(context, 12)
            if mnemonic == "sc.w" and n % 3 == 2:  # the first one took the reservation
                step(context, BY_MNEMONIC["sc.w"], rd=12, rs1=9, rs2=9)
                record(context, 12)
            lines.append("    lw a3, 0(s1)\n    sw a3, 0(s0)\n    addi s0, s0, 4")
            expected.append(context.cell)
    return "\n".join(lines) + END.format(size=4 * len(expected)), expected


@pytest.mark.peer(GCC, "qemu-riscv32")
def test_qemu_computes_the_same(tmp_path: Path) -> None:
    text, expected = programme()
    source, target = tmp_path / "cases.s", tmp_path / "cases.elf"
    source.write_text(text)
    build = [GCC, "-march=rv32ima", "-mabi=ilp32", "-nostdlib", "-static", "-Wl,--no-relax", "-o", target, source]
    subprocess.run(build, check=True)
    qemu = ["qemu-riscv32", "-cpu", "rv32,zba=true,zbb=true,zbs=true", str(target)]
    result = subprocess.run(qemu, capture_output=True, check=True)
    found = [int.from_bytes(result.stdout[n : n + 4], "little") for n in range(0, len(result.stdout), 4)]
    assert len(expected) > 7000
    assert found == expected
