"""Interrupts from the timer, software and the UART together: which comes first, when, and what counting says of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
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
    MCAUSE,
    MCYCLE,
    MEPC,
    MIE,
    MIP,
    MRET,
    MSTATUS,
    MTVEC,
    NOP,
    S0,
    S1,
    S2,
    S3,
    S4,
    T0,
    T1,
    WFI,
    ZERO,
    add,
    addi,
    beq,
    bne,
    c_addi,
    code,
    csrrs,
    csrrw,
    csrrwi,
    flat,
    jal,
    lb,
    li,
    lw,
    machine,
    muldiv,
    r_type,
    sb,
    sw,
)
from tests.machine.test_coprocessor import AT, TIMING, conv_machine, start
from tests.machine.test_coprocessor import wait as conv_wait

pytestmark = pytest.mark.usefixtures("tier")

CLINT, UART = 0x0200_0000, 0x1000_0000
MTIMECMP, MTIME = CLINT + 0x4000, CLINT + 0xBFF8
SOFTWARE, TIMER, EXTERNAL = 3, 7, 11
IRQ = 1 << 31
HANDLER = BASE + 0x4000
LOG = BASE + 0x8000
ALL = 0xFFFF_FFFF


def begin(mie: int) -> list[Any]:
    """mtvec, mie; s0 is the log, s1 mtimecmp."""
    return [li(T0, HANDLER), csrrw(ZERO, MTVEC, T0), li(T0, mie), csrrw(ZERO, MIE, T0), li(S0, LOG), li(S1, MTIMECMP)]


ENABLE = csrrwi(ZERO, MSTATUS, 8)
NOTE_CAUSE = [csrrs(T0, MCAUSE), sw(T0, S0), addi(S0, S0, 4)]


def guest(words: list[Any], handler: list[Any], **options: Any) -> Machine:
    m = machine(words, **options)
    m.write_memory(HANDLER, code(handler))
    return m


def log(m: Machine) -> list[int]:
    data = m.read_memory(LOG, m.registers[S0] - LOG)
    return [int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)]


def stdin(text: bytes) -> Any:
    left = [text]

    def read(n: int) -> bytes:
        data, left[0] = left[0][:n], left[0][n:]
        return data

    return read


# ------------------------------------------------------------------------------------------------------------ priority


@pytest.mark.parametrize("enabled", range(8))
def test_pending_interrupts_come_in_order_of_priority(enabled: int) -> None:
    """External, software, timer (3.1.9), of those that mie enables; the handler takes the source of each away."""
    mie = sum(1 << cause for n, cause in enumerate((SOFTWARE, TIMER, EXTERNAL)) if enabled >> n & 1)
    # The handler clears bit mcause of mie (csrrc): a shift takes the low five bits.
    handler: list[Any] = [NOTE_CAUSE, addi(T1, ZERO, 1), r_type(0x33, 1, 0, T1, T1, T0),
               r_type(0x73, 3, MIE >> 5, 0, T1, MIE & 31), MRET]  # fmt: skip
    words: list[Any] = [begin(mie), li(T0, CLINT), addi(T1, ZERO, 1), sw(T1, T0), sw(ZERO, S1, 4), sw(ZERO, S1),
             li(T0, UART), sb(T1, T0, 1), csrrs(S2, MIP), ENABLE, [addi(A0, A0, 1)] * 3]  # fmt: skip
    m = guest(words, handler, stdin=stdin(b"x"))
    setup = len(flat(words))
    m.run(setup + 7 * bin(enabled).count("1"))
    assert m.registers[S2] == 1 << SOFTWARE | 1 << TIMER | 1 << EXTERNAL
    assert log(m) == [IRQ | cause for cause in (EXTERNAL, SOFTWARE, TIMER) if mie >> cause & 1]
    assert (m.registers[A0], m.pc) == (3, BASE + 4 * setup)


def test_input_interrupts_as_external() -> None:
    """Each byte of standard input raises the interrupt; the handler reads it away."""
    handler: list[Any] = [NOTE_CAUSE, li(T1, UART), lb(T1, T1), sw(T1, S0), addi(S0, S0, 4), MRET]
    words: list[Any] = [begin(1 << EXTERNAL), li(T0, UART), addi(T1, ZERO, 1), sb(T1, T0, 1), ENABLE, jal(ZERO, 0)]
    m = guest(words, handler, stdin=stdin(b"hey"))
    m.run(100_000)
    assert log(m) == [value for byte in b"hey" for value in (IRQ | EXTERNAL, byte)]


# --------------------------------------------------------------------------------------------------------------- timer


@pytest.mark.parametrize("start_at", [0, 0xFFFF_FFF0, (5 << 32) - 20, (1 << 63) - 25])
def test_halves_of_mtimecmp(start_at: int) -> None:
    """mtime is set near a carry; mtimecmp, written high half first as ALL, is forty cycles later."""
    target = start_at + 100
    words: list[Any] = [
        begin(1 << TIMER), li(T0, MTIME), li(A1, start_at >> 32), li(A2, start_at & ALL), li(A3, target >> 32),
        li(A4, target & ALL), addi(T1, ZERO, -1), sw(T1, S1, 4), sw(A4, S1), sw(A3, S1, 4), lw(A5, S1, 4),
        sw(A1, T0, 4), sw(A2, T0), ENABLE, jal(ZERO, 0),
    ]  # fmt: skip
    m = guest(words, [csrrs(S2, MCYCLE), jal(ZERO, 0)])
    m.run(1000)
    # The store of mtime's low half is the instruction before ENABLE and the loop; cycles count from it.
    written = len(flat(words)) - 3
    assert m.registers[A5] == target >> 32
    assert (m.registers[S2], m.csrs.mcause) == (written + 100, IRQ | TIMER)


def test_mtime_moved_past_mtimecmp_interrupts_at_once() -> None:
    words: list[Any] = [
        begin(1 << TIMER),
        li(T0, MTIME),
        li(T1, 5000),
        sw(ZERO, S1, 4),
        sw(T1, S1),
        ENABLE,
        NOP,
        sw(T1, T0),
        NOP,
    ]
    m = guest(words, [csrrs(S2, MEPC), csrrs(S3, MIP), sw(ZERO, T0), csrrs(S4, MIP), jal(ZERO, 0)])
    m.run(len(flat(words)) + 4)
    assert m.registers[S2] == BASE + 4 * (len(flat(words)) - 1)
    assert (m.registers[S3], m.registers[S4]) == (1 << TIMER, 0)  # and moved back it is gone


@pytest.mark.parametrize("core", ["ideal", "ibex-small"])
@pytest.mark.parametrize("period", [60, 100, 5003])
def test_a_periodic_timer_with_wfi_keeps_its_period(core: str, period: int) -> None:
    """A thousand interrupts: mcycle at the handler's first instruction moves by the period, exactly."""
    handler: list[Any] = [csrrs(T0, MCYCLE), sw(T0, S0), addi(S0, S0, 4), add(S2, S2, S3), sw(S2, S1), MRET]
    words: list[Any] = [
        begin(1 << TIMER),
        li(S3, period),
        li(S2, 100),
        sw(ZERO, S1, 4),
        sw(S2, S1),
        ENABLE,
        WFI,
        jal(ZERO, -4),
    ]
    m = guest(words, handler, core=core)
    m.run(len(flat(words)) + 8 * 1000)
    times = log(m)[:1000]
    assert len(times) == 1000
    assert times == [100 + m.timing.trap_cycles + period * n for n in range(1000)]


# ---------------------------------------------------------------------------------------------------------- coprocessor


def test_an_interrupt_during_a_stall_is_taken_behind_it() -> None:
    """The timer fires while conv.wait stalls the hart: the wait ends first, with its result."""
    words: list[Any] = [begin(1 << TIMER), AT, li(T1, 40), sw(ZERO, S1, 4), sw(T1, S1), addi(A2, ZERO, -1), ENABLE,
             start(A0, A1), conv_wait(A2), addi(A3, A3, 1), jal(ZERO, 0)]  # fmt: skip
    m = conv_machine(words)
    m.write_memory(HANDLER, code(csrrs(S2, MEPC), csrrs(S3, MCYCLE), jal(ZERO, 0)))
    m.run(len(flat(words)) + 3)
    at_wait = len(flat(words)) - 3
    assert TIMING.cycles > 40
    assert (m.registers[S2], m.csrs.mcause) == (BASE + 4 * (at_wait + 1), IRQ | TIMER)
    assert (m.registers[A2], m.registers[A3]) == (0, 0)
    assert m.registers[S3] >= TIMING.cycles


# --------------------------------------------------------------------------------------------------- one way to count

pieces = st.sampled_from([
    [addi(A2, A2, 3)], [muldiv(0, A2, A2, A3)], [muldiv(4, A3, A2, A4)], [lw(A3, S4)], [sw(A2, S4, 2)],
    [beq(A2, A3, 8), addi(A3, A3, 1)], [c_addi(A2, 1), c_addi(A3, 2)], [li(A4, 7), addi(A4, A4, -1), bne(A4, ZERO, -4)],
    [jal(ZERO, 6), c_addi(A2, 1), NOP, c_addi(A2, 1)], [csrrs(A5, MCYCLE)], [WFI], [csrrwi(ZERO, MSTATUS, 0), ENABLE],
])  # fmt: skip


@settings(max_examples=40)
@given(
    body=st.lists(pieces, min_size=1, max_size=10),
    first=st.integers(30, 300),
    period=st.integers(80, 400),
    slices=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    core=st.sampled_from(["ideal", "ibex-small"]),
)
def test_stepping_slices_and_one_run_agree(
    body: list[Any], first: int, period: int, slices: list[int], core: str
) -> None:
    """A periodic interrupt over any loop: everything that is counted, and the handler's log of cycles and pcs."""
    handler: list[Any] = [csrrs(T0, MCYCLE), sw(T0, S0), csrrs(T0, MEPC), sw(T0, S0, 4), addi(S0, S0, 8),
                          add(S2, S2, S3), sw(S2, S1), MRET]  # fmt: skip
    words: list[Any] = [begin(1 << TIMER), li(S4, LOG + 0x4000), li(S3, period), li(S2, first), sw(ZERO, S1, 4),
                        sw(S2, S1), ENABLE, body]  # fmt: skip
    words.append(jal(ZERO, -len(code(body))))
    total = 1500

    def end(pieces: list[int] | None) -> tuple[Any, ...]:
        m = guest(words, handler, core=core)
        n = 0
        while m.instructions < total:
            stop = m.resume(min(total - m.instructions, pieces[n % len(pieces)] if pieces else total))
            assert stop.reason == "limit", stop.message
            n += 1
        result = m.result()
        return (m.registers, m.pc, log(m), result.instructions, result.cycles, result.classes, result.traffic,
                result.taken_branches, m.hart.traps, m.hart.misaligned_accesses)  # fmt: skip

    one = end(None)
    assert one == end([1]) == end(slices)
    assert 0 <= one[8] - len(one[2]) // 2 <= 1 < one[8]  # the last may not be in the log yet
