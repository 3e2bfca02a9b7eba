"""Counters that a program reads: exact at the reading instruction, writable, inhibited, and what Zihpm events count.

Semantics: Privileged Architecture 20240411, 3.1.10 to 3.1.12; a CSR access reads what stood before it, and what it
writes takes the place of its own increment (Unprivileged ISA, Zicsr). Event numbers: docs/machine.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.errors import UsageError
from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    A4,
    A5,
    BASE,
    C_NOP,
    ECALL,
    FENCE_I,
    MCYCLE,
    MEPC,
    MINSTRET,
    MRET,
    MSCRATCH,
    MTVEC,
    NOP,
    S0,
    S1,
    S2,
    T0,
    T1,
    T2,
    ZERO,
    addi,
    beq,
    bne,
    c_addi,
    code,
    csrrs,
    csrrw,
    csrrwi,
    jal,
    lb,
    lh,
    li,
    lw,
    machine,
    muldiv,
    r_type,
    sh,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

ALL = 0xFFFF_FFFF
MCYCLEH, MINSTRETH, MCOUNTINHIBIT, TIME, TIMEH = 0xB80, 0xB82, 0x320, 0xC01, 0xC81
CLINT = 0x0200_0000
CY, TM, IR = 1, 2, 4
MAC = str(Path(__file__).with_name("mac.core_desc"))
DATA_AT = BASE + 0x8000
HANDLER = BASE + 0x4000
RETURN = [csrrs(T2, MEPC), addi(T2, T2, 4), csrrw(ZERO, MEPC, T2), MRET]
"""A handler that goes on behind the instruction that trapped."""


def counter(n: int) -> int:
    return 0xB00 + n


def event(n: int) -> int:
    return 0x320 + n


def guest(*words: Any, **options: Any) -> Machine:
    """A machine with `RETURN` as its handler (mtvec set), s1 at data, before the words."""
    m = machine(li(T0, HANDLER), csrrw(ZERO, MTVEC, T0), li(S1, DATA_AT), words, **options)
    m.write_memory(HANDLER, code(RETURN))
    m.run(5)
    return m


# ------------------------------------------------------------------------------------- exact at the reading instruction

operands = st.sampled_from([0, 1, 2, 7, 0x7FFF_FFFF, 0x8000_0000, ALL]) | st.integers(0, ALL)
pieces = st.one_of(
    st.builds(lambda n: [addi(A2, A2, n)], st.integers(-9, 9)),
    st.builds(lambda f, x, y: [li(A2, x), li(A3, y), muldiv(f, A4, A2, A3)], st.integers(0, 7), operands, operands),
    st.builds(lambda n: [lw(A2, S1, n)], st.integers(0, 9)),
    st.builds(lambda n: [lh(A2, S1, n)], st.integers(0, 9)),
    st.builds(lambda n: [sw(A2, S1, n)], st.integers(0, 9)),
    st.sampled_from([
        [beq(ZERO, ZERO, 8), NOP],  # taken
        [bne(ZERO, ZERO, 8), NOP],  # not taken
        [jal(ZERO, 6), C_NOP, NOP, C_NOP],  # to a straddling instruction
        [c_addi(A2, 1), C_NOP],
        [FENCE_I],
        [ECALL],
        [csrrw(ZERO, MSCRATCH, A2)],
        [csrrw(ZERO, 0x343, A2)],  # mtval: flushes Ibex's pipeline
        [li(A2, 5), addi(A2, A2, -1), bne(A2, ZERO, -4)],
    ]),
)  # fmt: skip
READS = (MCYCLE, MINSTRET, 0xC00, TIME, 0xC02)
READ = [[csrrs(A5, n), sw(A5, S0), addi(S0, S0, 4)] for n in READS]


@settings(max_examples=60)
@given(body=st.lists(pieces, min_size=1, max_size=12), core=st.sampled_from(["ideal", "ibex-small"]))
def test_counters_are_exact_where_they_are_read(body: list[Any], core: str) -> None:
    """A log that the program writes in one run, against counts that single steps show before each read."""
    words: list[Any] = [li(S0, DATA_AT + 0x100), READ, [[piece, READ] for piece in body]]
    stepped, run = guest(words, core=core), guest(words, core=core)
    expected = []
    while stepped.pc != BASE + 4 * 5 + len(code(*words)):
        word = int.from_bytes(stepped.read_memory(stepped.pc, 4), "little")
        if word in (csrrs(A5, n) for n in READS):
            expected.append(stepped.instructions if word >> 20 in (MINSTRET, 0xC02) else stepped.cycles)
        stop = stepped.resume(step=True)
        assert stop.reason == "step", stop.message
    run.run(stepped.instructions - run.instructions)
    log = run.read_memory(DATA_AT + 0x100, 4 * len(expected))
    assert [int.from_bytes(log[4 * n : 4 * n + 4], "little") for n in range(len(expected))] == expected
    assert (run.cycles, run.registers) == (stepped.cycles, stepped.registers)


def test_values_on_an_ideal_core() -> None:
    """Where each instruction takes one cycle, both counters are the number of those before."""
    m = machine(NOP, csrrs(A0, MCYCLE), csrrs(A1, MINSTRET), [NOP] * 70, csrrs(A2, MCYCLE), csrrs(A3, MINSTRET))
    m.run(75)
    assert m.registers[A0 : A3 + 1] == (1, 2, 73, 74)


# ---------------------------------------------------------------------------------------------------------- written


@pytest.mark.parametrize("low", [MCYCLE, MINSTRET, counter(3), counter(31)])
@pytest.mark.parametrize(
    ("value", "after"), [(0, 3), (5 << 32 | 9, 5 << 32 | 12), (7 << 32 | ALL, (8 << 32) + 2), ((1 << 64) - 1, 2)]
)
def test_halves_of_written_counters(low: int, value: int, after: int) -> None:
    """Written as 64 bits (high half while the low one is 0), read three instructions after; hpm counts nothing."""
    m = machine(li(T0, value & ALL), li(T1, value >> 32), csrrw(ZERO, low, ZERO), csrrw(ZERO, low + 0x80, T1),
                csrrw(ZERO, low, T0), csrrs(A0, low), csrrs(A1, low + 0x80), NOP, csrrs(A2, low),
                csrrs(A3, low + 0x80))  # fmt: skip
    m.run(12)
    a0, a1, a2, a3 = m.registers[A0 : A3 + 1]
    assert a0 == value & ALL  # the next instruction reads what was written
    moving = low in (MCYCLE, MINSTRET)
    assert a1 == ((value + 1 if moving else value) >> 32) & ALL
    assert (a3 << 32 | a2) == (after if moving else value)


def test_a_written_half_keeps_the_other() -> None:
    m = machine(li(T0, ALL), csrrw(ZERO, MINSTRET, T0), csrrwi(ZERO, MINSTRETH, 9), csrrs(A0, MINSTRET),
                csrrs(A1, MINSTRETH), csrrwi(ZERO, MINSTRET, 3), csrrs(A2, MINSTRETH), csrrs(A3, MINSTRET))  # fmt: skip
    m.run(10)
    # The write of the high half replaces the increment that would have wrapped the low one.
    assert m.registers[A0 : A3 + 1] == (ALL, 10, 10, 4)


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_written_counters_do_not_disturb_others(core: str) -> None:
    """mcycle and minstret are the program's; time, results and traces go on."""
    words: list[Any] = [li(T0, 1000), csrrw(ZERO, MCYCLE, T0), csrrwi(ZERO, MINSTRET, 0), NOP, csrrs(A0, TIME), NOP]
    m = machine(words, core=core)
    other = machine(words[:1], csrrw(ZERO, 0x343, T0), csrrwi(ZERO, 0x343, 0), NOP, csrrs(A0, TIME), NOP, core=core)
    m.run(7), other.run(7)
    assert (m.cycles, m.instructions, m.registers[A0]) == (other.cycles, 7, other.registers[A0])


@pytest.mark.parametrize(
    ("machine_csr", "user_csr"),
    [(MCYCLE, 0xC00), (MCYCLEH, 0xC80), (MINSTRET, 0xC02), (MINSTRETH, 0xC82)]
    + [(0xB00 + n + h, 0xC00 + n + h) for n in (3, 17, 31) for h in (0, 0x80)],
)
def test_user_counters_are_shadows(machine_csr: int, user_csr: int) -> None:
    m = machine(li(T0, 0x1234_5678), csrrw(ZERO, machine_csr, T0), csrrs(A0, user_csr), csrrs(A1, machine_csr))
    m.run(5)
    assert m.registers[A0] == 0x1234_5678
    assert m.registers[A1] == 0x1234_5678 + (machine_csr in (MCYCLE, MINSTRET))


def test_time_is_mtime() -> None:
    m = machine(li(T0, CLINT + 0xC000 - 8), addi(T1, ZERO, 77), sw(T1, T0, 4), sw(ZERO, T0), csrrs(A0, TIME), NOP,
                lw(A1, T0), csrrs(A2, TIMEH), lw(A3, T0, 4), csrrs(A4, MCYCLE))  # fmt: skip
    m.run(11)
    # A store to mtime counts from its own instruction.
    assert m.registers[A0 : A4 + 1] == (1, 3, 77, 77, 10)


def test_time_without_a_timer_is_cycles() -> None:
    m = machine(NOP, NOP, csrrs(A0, TIME), csrrs(A1, TIMEH), devices=["none"])
    m.run(4)
    assert m.registers[A0 : A1 + 1] == (2, 0)


# --------------------------------------------------------------------------------------------------------- inhibited


@pytest.mark.parametrize("bits", [0, CY, IR, 1 << 3, CY | IR | 1 << 3, ALL])
def test_inhibited_counters_stand(bits: int) -> None:
    """Counter 3 counts stores, of which there are two while it may be held."""
    low = (MCYCLE, MINSTRET, counter(3))
    m = guest(csrrwi(ZERO, event(3), 2), [csrrwi(ZERO, n, 0) for n in low], li(T0, bits),
              csrrw(ZERO, MCOUNTINHIBIT, T0), csrrs(A0, MCOUNTINHIBIT), sw(ZERO, S1), sw(ZERO, S1),
              [csrrs(A1 + n, number) for n, number in enumerate(low)], csrrw(ZERO, MCOUNTINHIBIT, ZERO),
              sw(ZERO, S1), [csrrs(S2 + n, number) for n, number in enumerate(low)])  # fmt: skip
    m.run(7 + 3 + 3 + 1 + 1 + 3)
    x = m.registers
    assert x[A0] == bits & ~TM
    held = x[A1], x[A1 + 1], x[A1 + 2]
    # Written as 0, then: two more counters to write, two li, the csrw that inhibits or one more of each.
    free = 4 + 4, 3 + 5, 2
    assert held == (4 if bits & CY else free[0], 3 if bits & IR else free[1], 0 if bits & 8 else free[2])
    # Between the reads: the rest of them, the csrw (not counted where it releases), a store.
    assert x[S2] - held[0] == (1 if bits & CY else 5)
    assert x[S2 + 1] - held[1] == (2 if bits & IR else 5)
    assert x[S2 + 2] - held[2] == 1


def test_an_inhibited_counter_can_be_written() -> None:
    m = machine(csrrwi(ZERO, MCOUNTINHIBIT, CY | IR), csrrwi(ZERO, MCYCLE, 7), csrrwi(ZERO, MINSTRETH, 9), NOP,
                csrrs(A0, MCYCLE), csrrs(A1, MINSTRETH), csrrwi(ZERO, MCOUNTINHIBIT, 0), csrrs(A2, MCYCLE),
                csrrs(A3, MCYCLE), csrrs(A4, MINSTRETH))  # fmt: skip
    m.run(10)
    assert m.registers[A0 : A4 + 1] == (7, 9, 7, 8, 9)


def test_inhibiting_counters_stops_nothing_else() -> None:
    words: list[Any] = [addi(T0, ZERO, 50), addi(T0, T0, -1), bne(T0, ZERO, -4)]
    m = machine(csrrwi(ZERO, MCOUNTINHIBIT, CY | IR), words, core="ibex-small")
    other = machine(csrrwi(ZERO, MSCRATCH, 5), words, core="ibex-small")
    m.run(102), other.run(102)
    assert (m.cycles, m.instructions) == (other.cycles, other.instructions)


# -------------------------------------------------------------------------------------------------- events (Zihpm)

CONV_STATUS = r_type(0x0B, 0, 2, A0)
MAC_RESET = r_type(0x2B, 0, 0)
LR, SC, AMOADD = (r_type(0x2F, 2, f << 2, A0, S1) for f in (2, 3, 0))
A_LOT = 0xFFF

EVENTS = [
    # number, words, times, options
    (0, [lw(A0, S1), sw(A0, S1), ECALL], 0, {}),
    (1, [lw(A0, S1), lb(A0, S1, 1), lw(A0, S1, 1), sw(A0, S1), NOP, LR], 3, {}),
    (2, [sw(A0, S1), sh(A0, S1, 3), lw(A0, S1), SC], 2, {}),
    (3, [beq(ZERO, ZERO, 4), bne(ZERO, ZERO, 4), jal(ZERO, 4), addi(A0, ZERO, 9), addi(A0, A0, -1), bne(A0, ZERO, -4)],
     11, {}),
    (4, [beq(ZERO, ZERO, 4), bne(ZERO, ZERO, 4), jal(ZERO, 4), addi(A0, ZERO, 9), addi(A0, A0, -1), bne(A0, ZERO, -4)],
     9, {}),
    (5, [jal(ZERO, 4), jal(A0, 8), NOP, beq(ZERO, ZERO, 4), MRET], 2, {}),
    (6, [muldiv(f, A0, A1, A2) for f in range(8)], 4, {}),
    (7, [muldiv(f, A0, A1, A2) for f in range(8)], 4, {}),
    (8, [csrrs(A0, MSCRATCH), csrrw(A0, MSCRATCH, A0), csrrwi(ZERO, MSCRATCH, 1)], 3, {}),
    (9, [CONV_STATUS, CONV_STATUS, MAC_RESET, NOP], 2, {"accel": "on", "isa_ext": [MAC]}),
    (10, [LR, SC, AMOADD, AMOADD, lw(A0, S1)], 4, {}),
    (11, [C_NOP, c_addi(A0, 3), NOP, c_addi(A0, 3), C_NOP, lw(A0, S1)], 4, {}),
    # halfwords at byte 1 of a word are one access
    (12, [lw(A0, S1, 2), sw(A0, S1, 1), lh(A0, S1, 3), lh(A0, S1, 1), lh(A0, S1, 2), lw(A0, S1, 4)], 3, {}),
    (13, [ECALL, NOP, A_LOT << 20 | 0x73, lw(A0, ZERO), ECALL], 4, {}),
    (14, [ECALL, lw(A0, S1, 1), ECALL], 6, {"core": "ibex-small"}),
    (15, [MAC_RESET, NOP, MAC_RESET, MAC_RESET], 3, {"isa_ext": [MAC]}),
]  # fmt: skip


def counted(number: int, words: list[Any], options: dict[str, Any], by: int = 3, *, step: bool = False) -> Machine:
    """Run the words with counter `by` following an event: a1 is what it read before, a2 behind."""
    # mret, where a program has it, goes to the instruction behind itself.
    at = BASE + 4 * (5 + 1 + 3 + 1) + len(code(words))
    m = guest(
        csrrwi(ZERO, event(by), number), li(T0, at), csrrw(ZERO, MEPC, T0), csrrs(A1, counter(by)), words,
        csrrs(A2, counter(by)), NOP, **{"isa": "rv32imac", **options},
    )  # fmt: skip
    end = at + 4
    m.add_breakpoint(end)
    for _ in range(100):
        if m.pc == end:
            break
        stop = m.resume(step=step)
        assert stop.reason in ("step", "breakpoint"), stop.message
    assert m.pc == end
    return m


@pytest.mark.parametrize("step", [False, True])
@pytest.mark.parametrize(("number", "words", "times", "options"), EVENTS)
def test_events(number: int, words: list[Any], times: int, options: dict[str, Any], step: bool) -> None:
    for by in (3, 31):
        m = counted(number, words, options, by, step=step)
        # Of CSR accesses, the first read is one itself; the handler's belong to other events.
        assert m.registers[A2] - m.registers[A1] == times + (number == 8), by
    # The counter begins with what was so far: it follows the event from when it is chosen.
    assert m.registers[A1] == {8: 1}.get(number, 0)


def test_a_counter_of_csr_accesses_from_outside() -> None:
    """Between instructions it stands where the next one would read it."""
    m = machine(csrrwi(ZERO, event(3), 8), csrrwi(ZERO, counter(3), 5), csrrs(A0, counter(3)), csrrs(A1, counter(3)))
    found = []
    for _ in range(4):
        m.run(1)
        found.append(m.csrs.read(counter(3)))
    assert (found, m.registers[A0], m.registers[A1]) == ([0, 5, 6, 7], 5, 6)


@pytest.mark.parametrize("number", [0xB00, 0xB80, 0xB02, 0xB82, 0xB03])
def test_a_debugger_reads_what_it_wrote(number: int) -> None:
    """No instruction writes the counter, so none has an increment to lose."""
    m = machine(*[addi(A0, A0, 1)] * 4, core="ideal")
    m.resume(2)
    m.write_csr(number, 77)
    assert m.csrs.read(number) == 77
    m.resume(step=True)
    assert m.csrs.read(number) == 77 + (number in (0xB00, 0xB02))
    with pytest.raises(UsageError, match="CSR 0x180 does not exist on this hart or is read-only"):
        m.write_csr(0x180, 0)
