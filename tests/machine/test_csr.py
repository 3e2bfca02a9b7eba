"""Control and status registers: which exist, what they hold, and what traps leave in them.

Expected values: Privileged Architecture 20240411, chapters 2 and 3; RV32 with machine mode alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    A4,
    A5,
    BASE,
    CAPABILITY,
    EBREAK,
    ECALL,
    ILLEGAL,
    MCAUSE,
    MEPC,
    MINSTRET,
    MRET,
    MSCRATCH,
    MSTATUS,
    MTVAL,
    MTVEC,
    NOP,
    RA,
    S0,
    S1,
    S2,
    S3,
    S4,
    T0,
    T1,
    T2,
    WFI,
    ZERO,
    addi,
    bne,
    code,
    csrrs,
    csrrw,
    csrrwi,
    flat,
    jal,
    jalr,
    lh,
    li,
    lw,
    machine,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

ALL = 0xFFFF_FFFF
PATTERNS = (ALL, 0, 0xAAAA_AAAA, 0x5555_5555)
MIE_BIT, MPIE_BIT, MPP = 1 << 3, 1 << 7, 3 << 11


class Csr(NamedTuple):
    """A register: its value at reset, the bits that software can write, and those that are always 1."""

    number: int
    name: str
    reset: int = 0
    writable: int | None = ALL  # None: read-only
    ones: int = 0


RV32IMC = 1 << 30 | 1 << 2 | 1 << 8 | 1 << 12
REGISTERS = [
    Csr(0x300, "mstatus", MPP, MIE_BIT | MPIE_BIT, MPP),
    Csr(0x301, "misa", RV32IMC, 0, RV32IMC),
    Csr(0x304, "mie", 0, 0x888),
    Csr(0x305, "mtvec", 0, ~2 & ALL),
    Csr(0x310, "mstatush", 0, 0),
    Csr(0x320, "mcountinhibit", 0, ~2 & ALL),
    *(Csr(0x320 + n, f"mhpmevent{n}", 0, 0) for n in range(3, 32)),  # numbers beyond the last event: none
    Csr(0x340, "mscratch"),
    Csr(0x341, "mepc", 0, ~1 & ALL),
    Csr(0x342, "mcause"),
    Csr(0x343, "mtval"),
    Csr(0x344, "mip", 0, 0),
    *(Csr(0x3B0 + n, f"pmpaddr{n}") for n in range(16)),
    *(Csr(0x7A0 + n, name, 0, 0) for n, name in enumerate(("tselect", "tdata1", "tdata2", "tdata3", "tinfo"))),
    *(Csr(0xB03 + n, f"mhpmcounter{n + 3}") for n in range(29)),
    *(Csr(0xB83 + n, f"mhpmcounter{n + 3}h") for n in range(29)),
    Csr(0xB80, "mcycleh"),
    Csr(0xB82, "minstreth"),
    *(Csr(0xC03 + n, f"hpmcounter{n + 3}", 0, None) for n in range(29)),
    *(Csr(0xC83 + n, f"hpmcounter{n + 3}h", 0, None) for n in range(29)),
    *(Csr(0xC80 + n, name, 0, None) for n, name in enumerate(("cycleh", "timeh", "instreth"))),
    *(Csr(0xF11 + n, f"m{name}", 0, None) for n, name in enumerate(("vendorid", "archid", "impid", "hartid"))),
    Csr(0xF15, "mconfigptr", 0, None),
]
# Registers that move on their own, and those whose fields hang together.
COUNTING = {0xB00: "mcycle", 0xB02: "minstret", 0xC00: "cycle", 0xC01: "time", 0xC02: "instret"}
PMPCFG = range(0x3A0, 0x3A4)
EXISTING = {r.number for r in REGISTERS} | set(COUNTING) | set(PMPCFG)
READ_ONLY = [n for n in sorted(EXISTING) if n >> 10 == 3]
ABSENT = {
    0x001: "fflags", 0x017: "jvt", 0x100: "sstatus", 0x104: "sie", 0x105: "stvec", 0x140: "sscratch", 0x141: "sepc",
    0x180: "satp", 0x302: "medeleg", 0x303: "mideleg", 0x306: "mcounteren", 0x312: "medelegh", 0x30A: "menvcfg",
    0x31A: "menvcfgh", 0x321: "mcyclecfg", 0x34A: "mtinst", 0x34B: "mtval2", 0x3A4: "pmpcfg4", 0x3C0: "pmpaddr16",
    0x747: "mseccfg", 0x7A8: "mcontext", 0x7B0: "dcsr", 0x7B1: "dpc", 0x7C0: "custom", 0xB01: "no mtime",
    0xB81: "no mtimeh", 0xFC0: "no capability without a coprocessor",
}  # fmt: skip


def csrrc(rd: int, csr: int, rs1: int) -> int:
    return csr << 20 | rs1 << 15 | 3 << 12 | rd << 7 | 0x73


def csrrsi(rd: int, csr: int, value: int) -> int:
    return csr << 20 | value << 15 | 6 << 12 | rd << 7 | 0x73


def csrrci(rd: int, csr: int, value: int) -> int:
    return csr << 20 | value << 15 | 7 << 12 | rd << 7 | 0x73


@pytest.fixture(scope="module")
def board() -> Machine:
    """A machine to write programs into; `run_on` resets it."""
    return machine(NOP)


def run_on(m: Machine, *words: Any) -> Machine:
    m.reset()
    m.write_memory(BASE, code(*words))
    m.run(len(flat(words)))
    assert m.pc == BASE + 4 * len(flat(words)), m.result().message
    return m


# --------------------------------------------------------------------------------------------------------- what exists


def test_the_registers_that_exist() -> None:
    assert machine(NOP).csrs.numbers == sorted(EXISTING)
    assert not EXISTING & set(ABSENT)


def test_every_other_number_is_an_illegal_instruction(board: Machine) -> None:
    """All 4096 numbers: the handler lists the words that trapped."""
    # The list is at s0; the handler of eight instructions comes first.
    handler = [csrrs(T0, MTVAL), sw(T0, S0), addi(S0, S0, 4), csrrs(T0, MEPC), addi(T0, T0, 4), csrrw(ZERO, MEPC, T0),
               MRET]  # fmt: skip
    reads = [csrrs(A0, n) for n in range(4096)]
    trapped = [n for n in range(4096) if n not in EXISTING]
    m = board
    m.reset()
    at = BASE + 0x10000
    m.write_memory(BASE, code(jal(ZERO, 4 + 4 * len(handler)), handler, li(S0, at), li(T0, BASE + 4),
                              csrrw(ZERO, MTVEC, T0), reads))  # fmt: skip
    m.run(1 + 5 + len(reads) - len(trapped) + 7 * len(trapped))
    count = (m.registers[S0] - at) // 4
    words = m.read_memory(at, 4 * count)
    assert [int.from_bytes(words[4 * n : 4 * n + 4], "little") for n in range(count)] == [reads[n] for n in trapped]


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: r.name)
def test_what_a_write_leaves(board: Machine, register: Csr) -> None:
    m = run_on(board, csrrs(A0, register.number))
    assert m.registers[A0] == register.reset
    if register.writable is None:
        return
    for before in PATTERNS:
        for value in PATTERNS:
            m = run_on(board, li(T0, before), csrrw(A1, register.number, T0), li(T1, value),
                       csrrw(A2, register.number, T1), csrrs(A3, register.number))  # fmt: skip
            m_values = m.registers[A1], m.registers[A2], m.registers[A3]
            expected = [word & register.writable | register.ones for word in (before, value)]
            assert m_values == (register.reset, *expected), (hex(before), hex(value))


@pytest.mark.parametrize("number", PMPCFG)
@pytest.mark.parametrize(
    ("value", "left"),
    [
        # lock is sticky, so each write is the first; bits 6:5 read 0, write without read is reserved
        (ALL, 0x9F9F_9F9F), (0, 0), (0xAAAA_AAAA, 0x8888_8888), (0x5555_5555, 0x1515_1515),
        (0x0706_0503, 0x0704_0503), (0x0201_0408, 0x0001_0408), (0x6018_1000, 0x0018_1000),
    ],
)  # fmt: skip
def test_what_a_write_of_pmpcfg_leaves(board: Machine, number: int, value: int, left: int) -> None:
    m = run_on(board, li(T0, value), csrrw(A0, number, T0), csrrs(A1, number))
    assert (m.registers[A0], m.registers[A1]) == (0, left)


@pytest.mark.parametrize(
    ("isa", "misa"),
    [
        ("rv32i", 1 << 8), ("rv32im", 1 << 8 | 1 << 12), ("rv32imac", 1 | RV32IMC & ALL >> 2), ("rv32imc", RV32IMC),
        ("rv32imac_zba_zbb_zbs_zcb", 1 | 1 << 1 | RV32IMC),
    ],
)  # fmt: skip
def test_misa_names_the_instruction_set(isa: str, misa: int) -> None:
    m = machine(csrrs(A0, 0x301), isa=isa)
    m.run(1)
    assert m.registers[A0] == misa | 1 << 30


def test_a_coprocessor_adds_a_register_and_a_letter() -> None:
    m = machine(csrrs(A0, CAPABILITY), csrrs(A1, 0x301), csrrw(ZERO, CAPABILITY, A0), accel="on")
    result = m.run()
    assert m.registers[A0] == m.coprocessor.capability != 0  # type: ignore[union-attr]
    assert m.registers[A1] == RV32IMC | 1 << 23
    assert (result.stop_reason, m.pc) == ("illegal-instruction", BASE + 8)


# -------------------------------------------------------------------------------------------------------------- access


@pytest.mark.parametrize("number", READ_ONLY)
def test_read_only_registers(board: Machine, number: int) -> None:
    """Every write traps before rd changes; what writes nothing reads."""
    for word in (csrrs(A0, number), csrrc(A0, number, ZERO), csrrsi(A0, number, 0), csrrci(A0, number, 0)):
        run_on(board, word)
    for word in (
        csrrw(A0, number, ZERO), csrrw(ZERO, number, ZERO), csrrwi(A0, number, 0), csrrs(A0, number, T2),
        csrrc(A0, number, T2), csrrsi(A0, number, 1), csrrci(A0, number, 1),
    ):  # fmt: skip
        m = board
        m.reset()
        m.write_memory(BASE, code(li(T0, BASE + 0x100), csrrw(ZERO, MTVEC, T0), addi(A0, ZERO, 77), word))
        m.write_memory(BASE + 0x100, code(NOP))
        m.run(5)
        assert (m.pc, m.registers[A0]) == (BASE + 0x104, 77), hex(word)
        assert (m.csrs.mcause, m.csrs.mtval, m.csrs.mepc) == (2, word, BASE + 16)


@pytest.mark.parametrize("number", ABSENT)
@pytest.mark.parametrize("word", [csrrs(A0, 0), csrrw(A0, 0, ZERO), csrrw(ZERO, 0, T0), csrrsi(ZERO, 0, 0)])
def test_absent_registers(board: Machine, number: int, word: int) -> None:
    board.reset()
    board.write_memory(BASE, code(word | number << 20))
    assert board.run(1).stop_reason == "illegal-instruction"
    assert board.registers[A0] == 0


def test_reading_has_no_side_effect(board: Machine) -> None:
    reads = [csrrs(A0, n) for n in sorted(EXISTING)]
    m = run_on(board, NOP)
    before = m.csrs.state()
    m = run_on(board, reads, reads)
    assert m.csrs.state() == before


@pytest.mark.parametrize("number", [r.number for r in REGISTERS if r.writable] + list(COUNTING)[:2])
def test_set_and_clear_of_nothing_write_nothing(board: Machine, number: int) -> None:
    """A counter written at its own value would fall behind."""
    nothing = [csrrs(A0, number), csrrc(A0, number, ZERO), csrrsi(A0, number, 0), csrrci(A0, number, 0)]
    with_nothing = run_on(board, li(T0, 0x8880), csrrw(ZERO, number, T0), nothing, csrrs(A1, number)).registers[A1]
    reference = run_on(board, li(T0, 0x8880), csrrw(ZERO, number, T0), [NOP] * 4, csrrs(A1, number)).registers[A1]
    assert with_nothing == reference
    if number in COUNTING:
        assert reference == 0x8880 + 4


@given(
    old=st.integers(0, ALL), value=st.integers(0, ALL), immediate=st.integers(0, 31), function=st.sampled_from(range(6))
)
def test_swap_set_and_clear(board: Machine, old: int, value: int, immediate: int, function: int) -> None:
    word = (csrrw(A0, MSCRATCH, T1), csrrs(A0, MSCRATCH, T1), csrrc(A0, MSCRATCH, T1),
            csrrwi(A0, MSCRATCH, immediate), csrrsi(A0, MSCRATCH, immediate),
            csrrci(A0, MSCRATCH, immediate))[function]  # fmt: skip
    operand = value if function < 3 else immediate
    expected = (operand, old | operand, old & ~operand)[function % 3]
    m = run_on(board, li(T0, old), csrrw(ZERO, MSCRATCH, T0), li(T1, value), word, csrrs(A1, MSCRATCH))
    assert (m.registers[A0], m.registers[A1]) == (old, expected)


def test_one_register_is_operand_and_destination(board: Machine) -> None:
    m = run_on(board, li(T0, 5), csrrw(ZERO, MSCRATCH, T0), li(A0, 9), csrrw(A0, MSCRATCH, A0), csrrs(A1, MSCRATCH))
    assert (m.registers[A0], m.registers[A1]) == (5, 9)


# --------------------------------------------------------------------------------------------------------------- traps

HANDLER = BASE + 0x400
AFTER = BASE + 0x200
# Entered at its base it marks a5; it notes what the trap left, and goes on at s4.
NOTE = [addi(A5, A5, 1), csrrs(S0, MEPC), csrrs(S1, MCAUSE), csrrs(S2, MTVAL), csrrs(S3, MSTATUS),
        csrrw(ZERO, MEPC, S4), MRET]  # fmt: skip
SETUP: list[Any] = [li(S4, AFTER), li(T2, BASE), li(T0, 0x4000_0000)]
BODY = BASE + 4 * (6 + 3 + 3)
TRAPS = {"core.misaligned": "trap"}

CAUSES = [
    # words, mcause, mepc, mtval, options
    ([jalr(RA, T2, 2)], 0, BODY, BASE + 2, {"isa": "rv32im"}),
    ([jal(RA, 6)], 0, BODY, BODY + 6, {"isa": "rv32im"}),
    ([bne(T2, ZERO, -6)], 0, BODY, BODY - 6, {"isa": "rv32im"}),
    ([jalr(RA, T0, 4)], 1, 0x4000_0004, 0x4000_0004, {}),
    ([ILLEGAL], 2, BODY, ILLEGAL, {}),
    ([csrrw(A0, 0xF14, T0)], 2, BODY, csrrw(A0, 0xF14, T0), {}),
    ([EBREAK], 3, BODY, BODY, {}),
    ([lw(A0, T2, 1)], 4, BODY, BASE + 1, {"settings": TRAPS}),
    ([lh(A0, T2, 3)], 4, BODY, BASE + 3, {"settings": TRAPS}),
    ([lw(A0, T0)], 5, BODY, 0x4000_0000, {}),
    ([sh(A0, T2, 1)], 6, BODY, BASE + 1, {"settings": TRAPS}),
    ([sw(A0, T0, 8)], 7, BODY, 0x4000_0008, {}),
    ([ECALL], 11, BODY, 0, {}),
]  # fmt: skip


@pytest.mark.parametrize("vectored", [0, 1])
@pytest.mark.parametrize("status", [0, MIE_BIT, MPIE_BIT, MIE_BIT | MPIE_BIT])
@pytest.mark.parametrize(("body", "cause", "at", "value", "options"), CAUSES)
def test_a_trap_and_the_way_back(
    body: list[int], cause: int, at: int, value: int, options: dict[str, Any], status: int, vectored: int
) -> None:
    words: list[Any] = [
        SETUP,
        li(T1, HANDLER | vectored),
        csrrw(ZERO, MTVEC, T1),
        li(T1, status),
        csrrw(ZERO, MSTATUS, T1),
        body,
    ]
    m = machine(words, **options)
    m.write_memory(HANDLER, code(NOTE))
    m.write_memory(AFTER, code(csrrs(A4, MSTATUS), NOP))
    setup = len(flat(words)) - len(body)
    assert BASE + 4 * setup == BODY
    m.run(setup + (cause == 1) + len(NOTE) + 1)
    x = m.registers
    assert (x[S1], x[S0], x[S2]) == (cause, at, value)
    assert x[A5] == 1  # exceptions go to the base in both modes
    enabled = bool(status & MIE_BIT)
    assert x[S3] == MPP | (MPIE_BIT if enabled else 0)
    assert x[A4] == MPP | MPIE_BIT | (MIE_BIT if enabled else 0)
    assert m.pc == AFTER + 4
    # What trapped did not write its register; the jump to where nothing is did.
    assert (x[A0], x[RA]) == (0, BODY + 4 if cause == 1 else 0)
    assert m.result().instructions == setup + (cause == 1) + len(NOTE) + 1


def test_a_branch_that_is_not_taken_may_name_an_odd_halfword() -> None:
    m = machine(bne(ZERO, ZERO, 6), addi(A0, ZERO, 1), isa="rv32im")
    m.run(2)
    assert (m.registers[A0], m.pc) == (1, BASE + 8)


def test_without_compressed_instructions_mepc_has_two_zero_bits() -> None:
    m = machine(li(T0, BASE + 0x43), csrrw(ZERO, MEPC, T0), csrrs(A0, MEPC), MRET, isa="rv32im")
    m.run(5)
    assert (m.registers[A0], m.pc) == (BASE + 0x40, BASE + 0x40)
    m = machine(li(T0, BASE + 0x43), csrrw(ZERO, MEPC, T0), csrrs(A0, MEPC), MRET)
    m.run(5)
    assert (m.registers[A0], m.pc) == (BASE + 0x42, BASE + 0x42)


def test_a_trap_in_a_handler_saves_over_the_first() -> None:
    """The handler keeps mepc and mstatus of the first, takes an ecall of its own, and puts both back."""
    outer: list[Any] = [
        csrrs(S0, MEPC), csrrs(S1, MSTATUS), csrrs(S2, MCAUSE), li(T0, HANDLER + 0x100), csrrw(ZERO, MTVEC, T0),
        ECALL, csrrs(A3, MSTATUS), csrrw(ZERO, MSTATUS, S1), addi(S0, S0, 4), csrrw(ZERO, MEPC, S0), MRET,
    ]  # fmt: skip
    inner = [csrrs(A0, MEPC), csrrs(A1, MSTATUS), csrrs(A2, MCAUSE), addi(T0, A0, 4), csrrw(ZERO, MEPC, T0), MRET]
    words: list[Any] = [
        li(T0, HANDLER),
        csrrw(ZERO, MTVEC, T0),
        csrrsi(ZERO, MSTATUS, MIE_BIT),
        ILLEGAL,
        csrrs(A4, MSTATUS),
    ]
    m = machine(words)
    m.write_memory(HANDLER, code(outer))
    m.write_memory(HANDLER + 0x100, code(inner))
    m.run(4 + len(flat(outer)) - 1 + len(inner) + 1)
    x = m.registers
    assert m.pc == BASE + 24
    assert (x[S0], x[S1], x[S2]) == (BASE + 20, MPP | MPIE_BIT, 2)
    assert (x[A0], x[A1], x[A2]) == (HANDLER + 4 * 6, MPP, 11)  # interrupts were off when the inner trap came
    assert (x[A3], x[A4]) == (MPP | MPIE_BIT, MPP | MPIE_BIT | MIE_BIT)
    assert m.result().instructions == 4 + 11 + 6 + 1


def test_mret_twice_leaves_interrupts_on() -> None:
    """Behind an mret MPIE is 1, so a second one enables interrupts whatever was before."""
    words: list[Any] = [li(T0, BASE + 16), csrrw(ZERO, MEPC, T0), MRET, csrrs(A0, MSTATUS), li(T0, BASE + 36),
             csrrw(ZERO, MEPC, T0), MRET, csrrs(A1, MSTATUS)]  # fmt: skip
    m = machine(words)
    m.run(10)
    assert (m.registers[A0], m.registers[A1]) == (MPP | MPIE_BIT, MPP | MPIE_BIT | MIE_BIT)


@pytest.mark.parametrize("word", [0x1020_0073, 0x0020_0073, 0x7B20_0073, 0x1200_0073, WFI | 1 << 7, MRET | 1 << 15])
def test_instructions_of_other_modes_are_illegal(word: int) -> None:
    """sret, uret, dret, sfence.vma, and wfi and mret with operands."""
    result = machine(word).run(1)
    assert (result.stop_reason, result.instructions) == ("illegal-instruction", 0)


def test_minstret_does_not_count_what_traps() -> None:
    m = machine(SETUP, li(T1, HANDLER), csrrw(ZERO, MTVEC, T1), NOP)
    m.write_memory(BODY - 3 * 4, code(csrrw(ZERO, MINSTRET, ZERO), NOP, ECALL))
    m.write_memory(HANDLER, code(csrrs(A0, MINSTRET)))
    m.run(9 + 2 + 1)
    assert m.registers[A0] == 1
