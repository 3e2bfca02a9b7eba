"""Interrupts: taken before the first instruction that begins at or after their cycle, whatever blocks the code has."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A7,
    BASE,
    ECALL,
    MCAUSE,
    MEPC,
    MIE,
    MIP,
    MRET,
    MSTATUS,
    MTVEC,
    S0,
    S1,
    S2,
    T0,
    T1,
    T2,
    WFI,
    ZERO,
    addi,
    bne,
    branch,
    csrrs,
    csrrw,
    li,
    lw,
    machine,
    muldiv,
    sw,
)

pytestmark = pytest.mark.usefixtures("tier")

CLINT = 0x0200_0000
TIMER, SOFTWARE, EXTERNAL = 7, 3, 11


# The handler notes mepc and mcause in s0 and s1 and ends the program.
HANDLER = [csrrs(S0, MEPC), csrrs(S1, MCAUSE), csrrw(ZERO, MTVEC, ZERO), addi(A7, ZERO, 93), addi(A0, ZERO, 0), ECALL]
BODY = [
    addi(A1, A1, 1),
    muldiv(0, A0, A1, A1),
    lw(T2, S2),
    bne(T2, ZERO, 8),
    muldiv(4, A0, A0, A1),
    sw(A0, S2, 4),
    branch(5, A1, ZERO, -24),  # back to the start
]


def waiting(deadline: int, enable: int = 1 << TIMER, body: list[int] = BODY) -> list[int]:
    """Set the timer to a cycle, enable interrupts, run the body for ever."""
    setup = [
        *li(S2, BASE + 0x2000),
        *li(T0, CLINT + 0x4000),
        *li(T1, deadline),
        sw(ZERO, T0, 4),
        sw(T1, T0),
        *li(T1, enable),
        csrrw(ZERO, MIE, T1),
    ]
    n = len(setup) + 5
    return [
        *setup,
        *li(T1, BASE + 4 * (n + len(body))),
        csrrw(ZERO, MTVEC, T1),
        addi(T1, ZERO, 8),
        csrrs(ZERO, MSTATUS, T1),
        *body,
        *HANDLER,
    ]


def begins(words: list[int], core: str, instructions: int) -> list[tuple[int, int]]:
    """Cycle and pc before each instruction, from single steps without an interrupt."""
    m = machine(*words, core=core)
    result = []
    for _ in range(instructions):
        result.append((m.cycles, m.pc))
        m.resume(step=True)
    return result


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
def test_the_timer_interrupts_at_its_cycle(core: str) -> None:
    """Every deadline over two rounds of the loop, against the cycles that single steps show."""
    far = waiting(0x7000_0000)
    steps = begins(far, core, 60)
    enabled = next(n for n, (_, pc) in enumerate(steps) if pc == BASE + 4 * (len(far) - len(HANDLER) - len(BODY)))
    for deadline in range(1, steps[-1][0]):
        m = machine(*waiting(deadline), core=core)
        result = m.run(10_000)
        expected = next(pc for n, (cycle, pc) in enumerate(steps) if n >= enabled and cycle >= deadline)
        assert (m.registers[S0], m.registers[S1]) == (expected, 1 << 31 | TIMER), deadline
        assert result.stop_reason == "exit"


@settings(max_examples=30, deadline=None)
@given(deadline=st.integers(50_000, 3_000_000), core=st.sampled_from(["ideal", "ibex-small"]))
def test_far_deadlines(deadline: int, core: str) -> None:
    """The interrupt comes within the longest instruction behind the deadline, and mcycle in the handler says so."""
    m = machine(*waiting(deadline), core=core)
    m.add_breakpoint(BASE + 4 * (len(waiting(deadline)) - len(HANDLER)))
    stop = m.resume(10_000_000)
    assert stop.reason == "breakpoint"
    late = m.cycles - m.timing.trap_cycles - deadline
    assert 0 <= late < 38
    # One instruction earlier the deadline had not come.
    assert m.csrs.interrupt is None and m.csrs.mcause == 1 << 31 | TIMER


def test_software_interrupt_is_taken_behind_the_store() -> None:
    body = [*li(T0, CLINT), addi(T1, ZERO, 1), sw(T1, T0), addi(A1, A1, 1), addi(A1, A1, 1)]
    m = machine(*waiting(0x7000_0000, 1 << SOFTWARE, body))
    assert m.run(1000).stop_reason == "exit"
    assert m.registers[S1] == 1 << 31 | SOFTWARE
    at = len(waiting(0x7000_0000, 1 << SOFTWARE, body)) - len(HANDLER) - 2
    assert m.registers[S0] == BASE + 4 * at
    assert m.registers[A1] == 0  # nothing behind the store ran


@pytest.mark.parametrize(("mtvec_mode", "offset"), [(0, 0), (1, 4 * TIMER)])
def test_vectored_mode_adds_four_times_the_cause(mtvec_mode: int, offset: int) -> None:
    words = waiting(100)
    m = machine(*words)
    handler = BASE + 4 * (len(words) - len(HANDLER))
    m.add_breakpoint(BASE + 4 * (len(words) - len(HANDLER) - len(BODY)) - 4)
    assert m.resume(1000).reason == "breakpoint"
    m.csrs.write(MTVEC, handler + mtvec_mode & ~2)
    m.add_breakpoint((handler & ~3) + offset)
    assert m.resume(10_000).pc == (handler & ~3) + offset


def test_wfi_lets_time_pass_to_the_timer() -> None:
    m = machine(*waiting(1_000_000, body=[WFI, addi(A1, A1, 1), branch(0, ZERO, ZERO, -4)]))
    result = m.run(1000)
    assert result.stop_reason == "exit"
    assert result.instructions < 40 and result.cycles >= 1_000_000
    assert m.registers[A1] == 0  # taken right behind the wfi


def test_wfi_goes_on_without_mie() -> None:
    """A pending interrupt ends wfi even where mstatus.MIE does not let it through (3.3.3)."""
    words = [
        *li(T0, CLINT),
        addi(T1, ZERO, 1),
        sw(T1, T0),
        addi(T1, ZERO, 8),
        csrrw(ZERO, MIE, T1),
        WFI,
        csrrs(S0, MIP),
    ]
    m = machine(*words, addi(A7, ZERO, 93), ECALL)
    assert m.run(100).stop_reason == "exit"
    assert m.registers[S0] == 8


def test_mret_lets_a_pending_interrupt_in_at_once() -> None:
    """MPIE becomes MIE: the instruction at mepc is interrupted before it runs."""
    target = [addi(A1, A1, 1), addi(A1, A1, 1)]
    setup = [*li(T0, CLINT), addi(T1, ZERO, 1), sw(T1, T0), addi(T1, ZERO, 8), csrrw(ZERO, MIE, T1)]
    n = len(setup) + 9
    words = [
        *setup,
        *li(T1, BASE + 4 * n),
        csrrw(ZERO, MEPC, T1),
        *li(T1, BASE + 4 * (n + 2)),
        csrrw(ZERO, MTVEC, T1),
        addi(T1, ZERO, 0x80),
        csrrs(ZERO, MSTATUS, T1),
        MRET,
        *target,
        *HANDLER,
    ]
    m = machine(*words)
    assert m.run(1000).stop_reason == "exit"
    assert (m.registers[S0], m.registers[S1], m.registers[A1]) == (BASE + 4 * n, 1 << 31 | SOFTWARE, 0)


def test_stepping_and_running_agree() -> None:
    """Single steps, any slices, and one run end with the same counters."""
    words = waiting(700)

    def end(slices: int | None) -> tuple[object, ...]:
        m: Machine = machine(*words, core="ibex-small")
        while m.resume(slices).reason == "limit":
            pass
        result = m.result()
        return m.registers, result.instructions, result.cycles, result.classes, result.traffic, result.taken_branches

    assert end(1) == end(7) == end(100) == end(None)
