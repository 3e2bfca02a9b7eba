"""One hart: the cycles of each instruction, its CSRs and counters, its state between runs."""

from __future__ import annotations

from typing import Any

import pytest

from rvsim import Machine
from rvsim.errors import UsageError
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    A7,
    BASE,
    C_NOP,
    CAPABILITY,
    DATA,
    ECALL,
    EXIT,
    FENCE,
    FENCE_I,
    MCAUSE,
    MCYCLE,
    MEPC,
    MIE,
    MINSTRET,
    MIP,
    MISA,
    MRET,
    MSCRATCH,
    MSTATUS,
    MTVAL,
    MTVEC,
    NOP,
    RA,
    T0,
    T1,
    T2,
    ZERO,
    add,
    addi,
    auipc,
    beq,
    bne,
    c_addi,
    csrrs,
    csrrw,
    csrrwi,
    flat,
    jal,
    jalr,
    lb,
    lh,
    li,
    lui,
    lw,
    machine,
    muldiv,
    sb,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

# ------------------------------------------------------------------------------------------------------------- cycles

# a1 points at aligned data, t1 holds 7, t2 minus 2, t0 the address of code; the table's words follow.
SETUP = [lui(A1, DATA >> 12), addi(T1, ZERO, 7), addi(T2, ZERO, -2), auipc(T0, 0)]
CSRRC, CSRRSI, CSRRCI = 3 << 12, 6 << 12, 7 << 12


def csr(kind: int, number: int, source: int) -> int:
    return number << 20 | source << 15 | kind | A0 << 7 | 0x73


# words, instructions of them that retire, cycles on ibex-small (docs/timing.md)
CYCLES: dict[str, tuple[list[Any], int, int]] = {
    "alu": ([addi(A0, A0, 1), add(A0, A0, A0), lui(A0, 1), auipc(A0, 0), C_NOP, c_addi(A0, 1)], 6, 6),
    "load": ([lw(A0, A1), lh(A0, A1, 2), lb(A0, A1, 3)], 3, 6),
    "load and use": ([lw(A0, A1), add(A0, A0, A0)], 2, 3),
    "store": ([sw(A0, A1), sh(A0, A1, 2), sb(A0, A1, 3)], 3, 6),
    "misaligned word": ([lw(A0, A1, 1), lw(A0, A1, 2), lw(A0, A1, 3)], 3, 9),
    "misaligned half within a word": ([lh(A0, A1, 1), lh(A0, A1, 5)], 2, 4),
    "misaligned half over two words": ([lh(A0, A1, 3), lh(A0, A1, 7)], 2, 6),
    "misaligned stores": ([sw(A0, A1, 1), sh(A0, A1, 1), sh(A0, A1, 3)], 3, 3 + 2 + 3),
    "mul": ([muldiv(0, A0, T1, T2), muldiv(0, A0, ZERO, ZERO)], 2, 6),
    "mulh, mulhsu, mulhu": ([muldiv(1, A0, T1, T2), muldiv(2, A0, T1, T2), muldiv(3, A0, T1, T2)], 3, 12),
    "div, divu, rem, remu": ([muldiv(n, A0, T1, T2) for n in (4, 5, 6, 7)], 4, 148),
    "div by one": ([addi(A0, ZERO, 1), muldiv(4, A0, T2, A0)], 2, 38),
    "div, divu, rem, remu by zero": ([muldiv(n, A0, T2, ZERO) for n in (4, 5, 6, 7)], 4, 8),
    "one division, both ways": ([addi(A2, ZERO, 1), muldiv(5, A0, T1, A2), addi(A2, A2, -1), beq(A2, ZERO, -8)], 7,
                                1 + 37 + 1 + 3 + 2 + 1 + 1),
    "not taken": ([bne(ZERO, ZERO, 8), beq(T1, ZERO, 8)], 2, 2),
    "taken": ([beq(ZERO, ZERO, 8), NOP, NOP], 2, 4),
    "jal": ([jal(RA, 8), NOP, NOP], 2, 3),
    "jalr": ([jalr(RA, T0, 12), NOP, NOP], 2, 3),
    # to a 32-bit instruction at a halfword boundary: one cycle more
    "taken, straddling": ([beq(ZERO, ZERO, 6), C_NOP, NOP], 2, 5),
    "jal, straddling": ([jal(RA, 6), C_NOP, NOP], 2, 4),
    "jalr, straddling": ([jalr(RA, T0, 10), C_NOP, NOP], 2, 4),
    # to a 16-bit one there, or in sequence: none
    "taken, 16 bits at a halfword": ([beq(ZERO, ZERO, 6), C_NOP, C_NOP], 2, 4),
    "not taken into a straddling instruction": ([C_NOP, bne(ZERO, ZERO, 8), NOP], 3, 3),
    "csr reads": ([csrrs(A0, n) for n in (MSTATUS, MIE, MTVEC, MISA, MCYCLE, MINSTRET, MEPC)], 7, 7),
    "csr reads by clearing nothing": ([csr(CSRRC, MSTATUS, ZERO), csr(CSRRSI, MIE, 0), csr(CSRRCI, MTVEC, 0)], 3, 3),
    "csr writes that flush": ([csrrw(ZERO, n, ZERO) for n in (MSTATUS, MIE, MTVEC)], 3, 9),
    "csr writes that flush, other forms":
        ([csrrwi(ZERO, MIE, 0), csr(CSRRC, MSTATUS, T1), csr(CSRRSI, MIE, 8), csr(CSRRCI, MIE, 8)], 4, 12),
    "csr writes that do not": ([csrrw(ZERO, MSCRATCH, T1), csrrw(ZERO, MEPC, T1), csrrwi(ZERO, MSCRATCH, 1)], 3, 3),
    "fence, fence.i": ([FENCE, FENCE_I], 2, 3),
    "mret": ([addi(T0, T0, 16), csrrw(ZERO, MEPC, T0), MRET, NOP, NOP], 4, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_of_an_instruction(name: str) -> None:
    words, retired, cycles = CYCLES[name]
    for core, expected in (("ibex-small", cycles), ("ideal", retired)):
        m = machine(SETUP, words, NOP, core=core, image={"data": bytes(16)})
        before = m.run(len(SETUP))
        after = m.run(retired)
        assert (after.stop_reason, after.instructions - before.instructions) == ("limit", retired)
        assert after.cycles - before.cycles == expected, core
        # All in one go they take as many.
        whole = machine(SETUP, words, NOP, core=core, image={"data": bytes(16)}).run(len(SETUP) + retired)
        assert whole.cycles == after.cycles


def test_settings_change_the_table() -> None:
    settings = {"core.cycles.alu": "5", "core.clock_mhz": "50"}
    result = machine(NOP, NOP, settings=settings).run(2)
    assert (result.cycles, result.clock_mhz) == (10, 50.0)
    assert machine(NOP, core="ibex").run(0).core == "ibex-small"


# --------------------------------------------------------------------------------------------------------------- CSRs

ALL = 0xFFFF_FFFF
# number, its value at reset, what is left of a write of all ones, of zero
CSRS = [
    (MSTATUS, 0x1800, 0x1888, 0x1800),  # MPP is 3 always
    (MISA, 0x4000_1104, 0x4000_1104, 0x4000_1104),
    (MIE, 0, 0x888, 0),
    (MTVEC, 0, 0xFFFF_FFFD, 0),  # modes 2 and 3 are reserved
    (0x310, 0, 0, 0),
    (MSCRATCH, 0, ALL, 0),
    (MEPC, 0, 0xFFFF_FFFE, 0),
    (MCAUSE, 0, ALL, 0),
    (MTVAL, 0, ALL, 0),
    (MIP, 0, 0, 0),
]


@pytest.mark.parametrize(("number", "reset", "ones", "zero"), CSRS)
def test_csrs_are_warl(number: int, reset: int, ones: int, zero: int) -> None:
    m = machine(
        csrrs(A0, number), addi(T0, ZERO, -1), csrrw(ZERO, number, T0), csrrw(A1, number, ZERO), csrrs(A2, number)
    )
    result = m.run(5)
    assert (result.stop_reason, m.registers[A0], m.registers[A1], m.registers[A2]) == ("limit", reset, ones, zero)


def test_csr_instructions() -> None:
    words = [
        addi(T0, ZERO, 0xF0), addi(T1, ZERO, 0x3C), csrrw(ZERO, MSCRATCH, T0),
        csrrs(A0, MSCRATCH, T1),  # 0xf0, then 0xfc
        csr(CSRRC, MSCRATCH, T0) & ~(31 << 7) | A1 << 7,  # 0xfc, then 0x0c
        csr(CSRRSI, MSCRATCH, 17) & ~(31 << 7) | A2 << 7,  # 0x0c, then 0x1d
        csr(CSRRCI, MSCRATCH, 5) & ~(31 << 7) | A3 << 7,  # 0x1d, then 0x18
        csrrwi(T2, MSCRATCH, 31),  # 0x18
    ]  # fmt: skip
    m = machine(*words)
    m.run(len(words))
    x = m.registers
    assert (x[A0], x[A1], x[A2], x[A3], x[T2], m.csrs.mscratch) == (0xF0, 0xFC, 0x0C, 0x1D, 0x18, 31)
    # rd and rs1 may be one register
    m = machine(addi(T0, ZERO, 5), csrrwi(ZERO, MSCRATCH, 9), csrrw(T0, MSCRATCH, T0))
    m.run(3)
    assert (m.registers[T0], m.csrs.mscratch) == (9, 5)


@pytest.mark.parametrize("number", [0xF11, 0xF12, 0xF13, 0xF14, 0xF15])
def test_read_only_csrs(number: int) -> None:
    m = machine(addi(A0, ZERO, 1), csrrs(A0, number), csrrw(A0, number, ZERO))
    result = m.run()
    assert (result.stop_reason, result.instructions, m.registers[A0]) == ("illegal-instruction", 2, 0)


@pytest.mark.parametrize("number", [0xC00, 0xC01, 0xC02, 0xC80, 0xC81, 0xC82])
def test_the_users_counters_cannot_be_written(number: int) -> None:
    assert machine(csrrs(A0, number), csrrw(ZERO, number, ZERO)).run().instructions == 1


@pytest.mark.parametrize(
    "number", [0x000, 0x180, 0x302, 0x303, 0x320, 0x3A0, 0x3B0, 0x7A0, 0x7C0, 0xB03, 0xC03, 0xFC1, 0xFFF]
)
def test_csrs_that_do_not_exist(number: int) -> None:
    assert machine(csrrs(A0, number)).run().stop_reason == "illegal-instruction"
    assert machine(csrrw(ZERO, number, A0)).run().stop_reason == "illegal-instruction"


@pytest.mark.parametrize(
    ("accel", "misa", "capability"),
    [
        ("off", 0x4000_1104, None),
        ("on", 0x4080_1104, 0x0108_083F),
        ("conv-4x4", 0x4080_1104, 0x0104_043F),
        ("conv-16x16", 0x4080_1104, 0x0110_103F),
    ],
)
def test_a_guest_finds_the_coprocessor(accel: str, misa: int, capability: int | None) -> None:
    m = machine(csrrs(A0, MISA), csrrs(A1, CAPABILITY), accel=accel)
    result = m.run(2)
    assert m.registers[A0] == misa
    if capability is None:
        assert (result.stop_reason, result.instructions) == ("illegal-instruction", 1)
    else:
        assert m.registers[A1] == capability


# ----------------------------------------------------------------------------------------------------------- counters


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
@pytest.mark.parametrize("unprivileged", [False, True])
def test_counters_are_exact_at_the_reading_instruction(core: str, unprivileged: bool) -> None:
    offset = 0x100 if unprivileged else 0
    words = [
        lui(T0, DATA >> 12), lw(T1, T0),  # 1 + 2
        csrrs(A0, MCYCLE + offset), csrrs(A1, MINSTRET + offset),  # 1 + 1; they read 2 and 3
        # here 4 instructions, 5 cycles
        NOP, csrrs(A2, MCYCLE + offset), csrrs(A3, MINSTRET + offset),
    ]  # fmt: skip
    m = machine(*words, core=core, image={"data": bytes(4)})
    m.run(len(words))
    x = m.registers
    assert (x[A1], x[A3]) == (3, 6)
    assert (x[A0], x[A2]) == {"ideal": (2, 5), "ibex-small": (3, 6)}[core]
    # In a block behind a loop, after a taken branch and a division
    words = [
        addi(T0, ZERO, 2), addi(T0, T0, -1), bne(T0, ZERO, -4), muldiv(4, T1, T0, T0), csrrs(A0, MCYCLE + offset),
        csrrs(A1, MINSTRET + offset),
    ]  # fmt: skip
    m = machine(*words, core=core)
    m.run(8)
    assert m.registers[A1] == 7
    assert m.registers[A0] == {"ideal": 6, "ibex-small": 1 + (1 + 3) + (1 + 1) + 2}[core]


@pytest.mark.parametrize(
    ("number", "ideal", "ibex"),
    [
        # What the next instruction reads, and the one behind it. The flush of Ibex's write takes two cycles more.
        (MCYCLE, (100, 101), (102, 103)),
        (MINSTRET, (100, 101), (100, 101)),
    ],
)
def test_counters_can_be_written(number: int, ideal: tuple[int, int], ibex: tuple[int, int]) -> None:
    for core, expected in (("ideal", ideal), ("ibex-small", ibex)):
        m = machine(addi(T0, ZERO, 100), csrrw(A2, number, T0), csrrs(A0, number), csrrs(A1, number), core=core)
        result = m.run(4)
        assert (m.registers[A0], m.registers[A1]) == expected
        assert m.registers[A2] == 1
        # What the guest writes there does not change what we counted.
        assert result.instructions == 4
        assert result.cycles == (4 if core == "ideal" else 6)


@pytest.mark.parametrize("number", [MCYCLE, MINSTRET])
def test_counters_have_64_bits(number: int) -> None:
    words = [
        addi(T0, ZERO, -1), addi(T1, ZERO, 7),
        csrrw(ZERO, number + 0x80, T1), csrrw(ZERO, number, T0),  # 7:ffffffff
        csrrs(A0, number), csrrs(A1, number + 0x80), csrrs(A2, number),
    ]  # fmt: skip
    m = machine(*words)
    m.run(len(words))
    # it passes on between the first two reads
    assert (m.registers[A0], m.registers[A1], m.registers[A2]) == (0xFFFF_FFFF, 8, 1)


# -------------------------------------------------------------------------------------------------- its own life


def test_registers_at_reset() -> None:
    m = machine(NOP)
    assert m.registers[0] == 0
    assert [n for n in range(32) if m.registers[n]] == [2]
    assert m.registers[2] % 16 == 0
    assert m.pc == BASE


def test_x0_stays_zero() -> None:
    m = machine(addi(ZERO, ZERO, 5), lui(ZERO, 5), jal(ZERO, 4), csrrs(ZERO, MISA), addi(A0, ZERO, 0), EXIT)
    assert m.run().exit_code == 0
    assert m.registers[0] == 0


def test_run_goes_on_after_a_limit() -> None:
    m = machine(addi(T0, ZERO, 5), addi(T0, T0, -1), bne(T0, ZERO, -4), EXIT)
    limits = [m.run(4).instructions for _ in range(3)]
    assert limits == [4, 8, 12]
    result = m.run()
    assert (result.stop_reason, result.instructions, result.exit_code) == ("exit", 13, 0)
    with pytest.raises(UsageError, match="has ended; make another Machine"):
        m.run()


def test_a_limit_of_zero_does_nothing() -> None:
    result = machine(EXIT).run(0)
    assert (result.stop_reason, result.instructions, result.cycles, result.exit_status) == ("limit", 0, 0, 124)
    assert result.message is not None and "raise --max-instructions" in result.message


def test_long_runs_pass_the_periods_between_looks_for_signals() -> None:
    # 20 million rounds of 2, over the 2 ** 24 instructions of a period; 3 of setup, 2 of exit
    rounds = 20_000_000
    result = machine(li(T0, rounds), addi(T0, T0, -1), bne(T0, ZERO, -4), EXIT).run()
    assert (result.instructions, result.taken_branches, result.cycles) == (2 * rounds + 4, rounds - 1, 2 * rounds + 4)


def test_equal_runs_count_equally() -> None:
    import kernels

    runs = [
        Machine.from_elf(kernels.example("conv_int8"), accel="on", stdout=lambda data: None).run() for _ in range(2)
    ]
    documents = [run.to_dict() for run in runs]
    for document in documents:
        del document["host_seconds"]
    assert documents[0] == documents[1]


def test_a_machine_describes_itself() -> None:
    m = machine(NOP, NOP, accel="on")
    m.run(1)
    assert repr(m) == "<Machine guest.elf, core ideal, accel conv-8x8, pc 0x80000004, 1 instructions retired>"


def test_memory_can_be_read_and_written_from_outside() -> None:
    m = machine(lui(T0, DATA >> 12), lw(A0, T0), EXIT)
    m.write_memory(DATA, (77).to_bytes(4, "little"))
    result = m.run()
    assert result.exit_code == 77
    assert m.read_memory(DATA, 4) == b"M\0\0\0"
    assert result.traffic["ram"].store.count == 0
    for address, size in ((0x4000_0000, 1), (BASE - 1, 2), (0x8100_0000 - 2, 4), (-1, 1), (1 << 32, 1)):
        with pytest.raises(UsageError, match="outside memory"):
            m.read_memory(address, size)
        with pytest.raises(UsageError, match="outside memory"):
            m.write_memory(address, bytes(size))


def test_writing_code_from_outside_takes_effect() -> None:
    m = machine(addi(A0, ZERO, 1), addi(A7, ZERO, 93), NOP, ECALL)
    m.run(2)
    m.write_memory(BASE + 8, addi(A0, ZERO, 9).to_bytes(4, "little"))
    assert m.run().exit_code == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": "ibex-smal"}, "did you mean 'ibex-small'?"),
        ({"accel": "cnv-8x8"}, "did you mean 'conv-8x8'?"),
        ({"settings": {"clock": "1"}}, "expected core.KEY=VALUE, accel.KEY=VALUE or platform.KEY=VALUE, found clock=1"),
        ({"settings": {"core.cycles.lod": "1"}}, "did you mean 'load'?"),
        ({"settings": {"core.cycles.load": "-1"}}, "expected 0 to 10000 cycles, found -1"),
        ({"settings": {"core.csr_write_cycles.mstat": "1"}}, "csr_write_cycles.mstat: no such CSR"),
        ({"args": ["x" * (5 << 20)]}, "the guest's arguments take"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.").replace("?", r"\?")):
        machine(*flat([EXIT]), **options)
