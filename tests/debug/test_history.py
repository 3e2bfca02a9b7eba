"""Running backwards: every position is the one that single steps from the start came through.

The model is a list of states that another machine went through one step at a time; going back is a lower index.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.debug.history import History
from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A7,
    BASE,
    DATA,
    ECALL,
    EXIT,
    MEPC,
    MIE,
    MRET,
    MSTATUS,
    MTVEC,
    S0,
    T0,
    T1,
    ZERO,
    add,
    addi,
    auipc,
    bne,
    code,
    csrrs,
    csrrw,
    csrrwi,
    i_type,
    jal,
    li,
    lw,
    machine,
    sw,
)

MTIMECMP = 0x0200_4000


def lbu(rd: int, rs1: int) -> int:
    return i_type(0x03, 4, rd, rs1, 0)


# A loop that stores, loads, traps into a handler that stores too, and prints at its end.
HANDLER = [
    sw(S0, A1, 4),
    addi(S0, S0, 1),
    csrrs(T1, MEPC),
    addi(T1, T1, 4),
    csrrw(ZERO, MEPC, T1),
    MRET,
]
LOOP = [addi(A2, A2, 3), sw(A2, A1, 0), ECALL, lw(T0, A1, 0), addi(A0, A0, -1), bne(A0, ZERO, -20)]
PROGRAM = [
    jal(ZERO, 4 + 4 * len(HANDLER)),
    HANDLER,
    auipc(T1, 0),
    addi(T1, T1, -4 * len(HANDLER)),
    csrrw(ZERO, MTVEC, T1),
    li(A1, DATA),
    addi(A0, ZERO, 9),
    LOOP,
    csrrw(ZERO, MTVEC, ZERO),
    # write(1, DATA, 4), exit(7)
    [addi(A0, ZERO, 1), addi(A2, ZERO, 4), addi(A7, ZERO, 64), ECALL],
    addi(A0, ZERO, 7),
    EXIT,
]
SIZE = len(code(*PROGRAM))


class State(NamedTuple):
    instructions: int
    pc: int
    registers: tuple[int, ...]
    data: bytes


def fresh(printed: list[bytes] | None = None) -> Machine:
    stdout = (lambda data: None) if printed is None else printed.append
    return machine(*PROGRAM, image={"data_size": 16}, stdout=stdout)


def state(m: Machine) -> State:
    return State(m.instructions, m.pc, tuple(m.registers), m.read_memory(DATA, 8))


@pytest.fixture(scope="module")
def trace() -> list[State]:
    """All states up to the exit."""
    m = fresh()
    states = [state(m)]
    while m.resume(step=True).reason != "exit":
        states.append(state(m))
    return [*states, state(m)]


def run_to(history: History, count: int) -> None:
    while history.machine.instructions < count:
        assert history.resume(count - history.machine.instructions).reason == "limit"


def touches(trace: list[State], index: int, access: str, address: int) -> bool:
    """Whether the step to a state made this access of the word at an address."""
    before, after = trace[index - 1], trace[index]
    word = int.from_bytes(code(*PROGRAM)[before.pc - trace[0].pc :][:4], "little")
    wanted = {"w": [sw(A2, A1, 0), sw(S0, A1, 4)], "r": [lw(T0, A1, 0)]}
    at = {sw(A2, A1, 0): DATA, sw(S0, A1, 4): DATA + 4, lw(T0, A1, 0): DATA}
    return after.instructions > before.instructions and any(
        word == each and at[each] == address for kind in access for each in wanted[kind]
    )


def test_the_model_traps_stores_and_ends(trace):
    repeated = [b for a, b in pairwise(trace) if a.instructions == b.instructions]
    assert len(repeated) == 9, "each trap is a step that retires nothing"
    assert trace[-1].data == (27).to_bytes(4, "little") + (8).to_bytes(4, "little")


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("resume"), st.integers(1, 90)),
        st.tuples(st.just("step"), st.integers(1, 3)),
        st.tuples(st.just("step_back"), st.integers(1, 5)),
        st.tuples(st.just("back"), st.just(0)),
        st.tuples(st.just("break"), st.integers(0, SIZE // 4 - 1)),
        st.tuples(st.just("watch"), st.sampled_from([(DATA, "w"), (DATA, "r"), (DATA, "rw"), (DATA + 4, "w")])),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.just("load"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(ACTIONS, st.integers(3, 8), st.integers(1, 40))
def test_any_walk_stays_on_the_recorded_run(trace, actions, limit, spacing):
    m = fresh()
    history = History(m, limit=limit, spacing=spacing)
    at, saved = 0, None
    breakpoints: set[int] = set()
    watched: set[tuple[int, str]] = set()
    stops = lambda n: trace[n].pc in breakpoints  # noqa: E731
    hit = lambda n: n > 0 and any(touches(trace, n, access, address) for address, access in watched)  # noqa: E731
    last = len(trace) - 1
    for name, value in actions:
        if name == "break":
            history.add_breakpoint(trace[0].pc + 4 * value)
            breakpoints.add(trace[0].pc + 4 * value)
        elif name == "watch":
            history.add_watchpoint(value[0], 4, value[1])
            watched.add(value)
        elif name == "clear":
            history.clear()
            breakpoints, watched = set(), set()
            assert m.breakpoints == set()
        elif name == "save":
            saved = (history.save(), at)
        elif name == "load" and saved is not None:
            history.load(saved[0])
            at = saved[1]
        elif name == "step" and at < last:
            for _ in range(value):
                if at < last:
                    history.step()
                    at += 1
        elif name == "resume" and at < last:
            goal = min(at + value, last)
            left = trace[goal].instructions - trace[at].instructions
            expected = next((n for n in range(at + 1, last + 1) if stops(n) or hit(n)), last)
            reason = "limit"
            while left > 0 and reason == "limit":
                before = m.instructions
                stop = history.resume(left)
                left, reason = left - (m.instructions - before), stop.reason
            if reason == "limit":
                # The first state of this count of instructions: a trap behind it is not taken yet.
                expected = next(n for n in range(at, last + 1) if trace[n].instructions == trace[goal].instructions)
            at = expected
        elif name == "step_back":
            for _ in range(value):
                found = history.step_back(passed=True)
                assert (found.reason == "begin") == (at == 0)
                at = max(0, at - 1)
        elif name == "back":
            found = history.back(lambda: False)
            broken = next((n for n in range(at - 1, -1, -1) if stops(n)), -1)
            touched = next((n for n in range(at, 0, -1) if hit(n)), -1)
            assert found.reason == (
                "begin"
                if max(broken, touched) <= 0 and broken < 0
                else "breakpoint"
                if broken >= touched
                else "watchpoint"
            )
            at = max(broken, touched, 0)
        assert state(m) == trace[at]
        assert len(history.checkpoints) <= limit
        assert history.checkpoints == sorted(set(history.checkpoints))


def test_interrupts_are_positions_too():
    # A timer interrupt every 50 cycles; its handler is behind the first jump.
    handler = [addi(S0, S0, 1), lw(T0, A1, 0), addi(T0, T0, 50), sw(T0, A1, 0), MRET]
    m = machine(
        jal(ZERO, 4 + 4 * len(handler)),
        handler,
        auipc(T1, 0),
        addi(T1, T1, -4 * len(handler)),
        csrrw(ZERO, MTVEC, T1),
        li(A1, MTIMECMP),
        sw(ZERO, A1, 4),
        addi(T0, ZERO, 60),
        sw(T0, A1, 0),
        addi(T0, ZERO, 1 << 7),
        csrrw(ZERO, MIE, T0),
        csrrwi(ZERO, MSTATUS, 1 << 3),
        addi(A2, A2, 1),
        jal(ZERO, -4),
    )
    history = History(m, spacing=20)
    history.add_breakpoint(BASE + 4)
    seen = []
    while len(seen) < 6:
        if history.resume(1000).reason == "breakpoint":
            seen.append((m.instructions, m.pc, m.registers, m.cycles))
    assert len({cycles for *_, cycles in seen}) == 6
    for expected in seen[-2::-1]:
        assert history.back(lambda: False).reason == "breakpoint"
        assert (m.instructions, m.pc, m.registers, m.cycles) == expected
    # Undone with the instruction that it came behind, it is taken again at the same cycle.
    for again in (history.step, lambda: history.resume(1000)):
        history.step_back()
        assert m.instructions == seen[0][0] - 1
        assert m.pc > BASE + 4 * len(handler)
        again()
        assert (m.instructions, m.pc, m.registers, m.cycles) == seen[0]


@pytest.mark.parametrize("name", ["fc_int8", "dwconv_int8"])
@pytest.mark.parametrize("accel", ["off", "on"])
def test_counters_are_those_of_a_run_without_a_debugger(root, name, accel):
    options = {"accel": accel, "stdout": lambda data: None}
    elf = root / "kernels" / "examples" / f"{name}.elf"
    expected = Machine.from_elf(elf, **options).run().to_dict()
    m = Machine.from_elf(elf, **options)
    history = History(m, spacing=50_000)
    run_to(history, expected["instructions"] // 2)
    for _ in range(20):
        history.step_back()
    saved = history.save()
    history.add_breakpoint(m.pc)
    history.back(lambda: False)
    history.clear()
    while history.resume(1 << 30).reason != "exit":
        pass
    for _ in range(3):
        history.step_back()
    history.load(saved)
    while history.resume(1 << 30).reason != "exit":
        pass
    result = m.result().to_dict()
    assert {**result, "host_seconds": 0} == {**expected, "host_seconds": 0}


def test_input_is_read_again():
    # Reads a byte, adds it up, for ever.
    typed = iter([b"a", b"b", b"c", b"d", b"e"])
    read = [
        addi(A0, ZERO, 0),
        addi(A2, ZERO, 1),
        addi(A7, ZERO, 63),
        ECALL,
        lbu(T0, A1),
        add(S0, S0, T0),
        jal(ZERO, -24),
    ]
    m = machine(li(A1, DATA), read, image={"data_size": 16}, stdin=lambda size: next(typed, b""))
    history = History(m)
    run_to(history, 2 + 7 * 3)
    total = m.registers[S0]
    assert total == sum(b"abc")
    assert history.back(lambda: False).reason == "begin"
    run_to(history, 2 + 7 * 3)
    assert m.registers[S0] == total
    run_to(history, 2 + 7 * 4)
    assert m.registers[S0] == total + ord("d")


def test_memory_of_checkpoints_is_bounded(monkeypatch):
    m = machine(sw(A1, A1, 0), add(A1, A1, A2), jal(ZERO, -8))
    m.write_register(A1, DATA)
    m.write_register(A2, 4096)
    monkeypatch.setattr("rvsim.debug.history.CHECKPOINT_MEMORY", 1 << 20)
    history = History(m, spacing=30)
    run_to(history, 3000)
    assert 3 <= len(history.checkpoints) <= 4
    history.step_back()
    assert m.instructions == 2999


def test_going_back_and_on_prints_once(trace):
    printed: list[bytes] = []
    m = fresh(printed)
    history = History(m)
    assert history.resume(1 << 20).reason == "exit"
    assert printed == [(27).to_bytes(4, "little")]
    for _ in range(12):
        history.step_back()
    assert state(m) == trace[-13]
    stop = history.resume(1 << 20)
    assert (stop.reason, stop.exit_code, state(m)) == ("exit", 7, trace[-1])
    assert len(printed) == 1


def test_what_the_debugger_changed_is_changed_again(trace):
    m = fresh()
    history = History(m, spacing=5)
    run_to(history, 30)
    at = history.here
    history.change(lambda: m.write_register(S0, 100))
    history.change(lambda: m.write_memory(DATA + 8, b"gdb!"))
    run_to(history, 70)
    changed = state(m)
    assert changed.registers[S0] > 100
    for _ in range(30):
        history.step_back()
    history.back(lambda: False)
    assert state(m) == trace[0]
    run_to(history, changed.instructions)
    assert state(m) == changed
    assert m.read_memory(DATA + 8, 4) == b"gdb!"
    # Another change at the same place follows the others, one before it begins another future.
    while history.here.instructions > at.instructions - 3:
        history.step_back()
    history.change(lambda: m.write_register(S0, 1000))
    run_to(history, changed.instructions)
    other = state(m)
    assert other.registers[S0] > 1000
    assert m.read_memory(DATA + 8, 4) == bytes(4)
    for _ in range(4):
        history.step_back()
    run_to(history, other.instructions)
    assert state(m) == other


def test_a_changed_pc_is_kept(trace):
    m = fresh()
    history = History(m, spacing=5)
    run_to(history, 30)
    target = trace[0].pc + 4 * (len(HANDLER) + 1)
    history.change(lambda: setattr(m, "pc", target))
    history.step()
    after = state(m)
    for _ in range(3):
        history.step_back()
    run_to(history, after.instructions)
    assert state(m) == after


def test_a_change_that_fails_is_not_remembered():
    m = fresh()
    history = History(m)
    history.resume(3)

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        history.change(fail)
    history.step_back()
    assert history.step().reason == "step"


def test_many_changes_are_bounded(monkeypatch):
    monkeypatch.setattr("rvsim.debug.history.CHANGES", 10)
    m = fresh()
    history = History(m)
    history.step()
    for number in range(25):
        history.change(lambda number=number: m.write_register(T0, number))
    assert len(history._changes) <= 10
    assert m.registers[T0] == 24


def test_running_backwards_can_be_interrupted(trace):
    m = fresh()
    history = History(m, spacing=10)
    run_to(history, 100)
    here = state(m)
    answers = iter([False, False, True])
    assert history.back(lambda: next(answers)).reason == "interrupted"
    assert state(m) in trace
    assert m.instructions <= here.instructions


def test_checkpoints_grow_apart_with_their_age():
    m = machine(addi(A0, A0, 1), jal(ZERO, -4))
    history = History(m, limit=16, spacing=100)
    run_to(history, 100_000)
    kept = history.checkpoints
    assert len(kept) <= 16
    assert kept[0] == 0
    gaps = [b - a for a, b in pairwise(kept)]
    assert max(gaps[-3:]) < max(gaps[:5])
    history.step_back()
    assert m.instructions == 99_999
    history.back(lambda: False)
    assert m.instructions == 0
