"""Debugging: breakpoints, watchpoints and steps stop where they should, and change nothing that is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvsim.asm import assemble
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.machine.guest import A0, BASE, NOP, addi, code, jal, machine
from tests.machine.programs import ISA, LIMIT, PROGRAMS, everything, guest

pytestmark = pytest.mark.usefixtures("tier")

# A loop whose head is reached by falling through, by a taken branch, a jump, an indirect jump, a return and mret.
WAYS = """
_start: la s0, handler
        csrw mtvec, s0
        li s1, 4
        la s2, head
head:   addi a0, a0, 1          # fallen into, branched to, jumped to
        c.addi a1, 1
        sw a0, -16(sp)
        lw a2, -16(sp)
        call leaf
        andi t0, a0, 3
        beqz t0, 1f
        addi t0, t0, -1
        beqz t0, 2f
        addi t0, t0, -1
        beqz t0, head
        jr s2
1:      ecall
        j head
2:      addi s1, s1, -1
        bnez s1, head
        csrw mtvec, zero
        li a7, 93
        ecall
leaf:   xor a3, a3, a0
        ret
        .balign 4
handler: csrr t1, mepc
        addi t1, t1, 4
        csrw mepc, t1
        mret
"""


@cache
def image(source: str) -> bytes:
    return assemble(source, isa=ISA)


def assembled(source: str, **options: Any) -> Machine:
    return Machine(parse_elf(image(source), "guest.elf"), **{"isa": ISA, "core": "ibex-small", **options})


def trace(m: Machine) -> list[int]:
    """Every pc a single step comes to, the first one's before it."""
    pcs = [m.pc]
    while m.resume(step=True).reason == "step" and len(pcs) < 10_000:
        pcs.append(m.pc)
    assert m.stop.reason == "exit"
    return pcs


WAYS_TRACE = trace(assembled(WAYS))


# ---------------------------------------------------------------------------------------------------------- breakpoints
@pytest.mark.parametrize("at", sorted(set(WAYS_TRACE)))
def test_a_breakpoint_stops_each_time(at: int) -> None:
    """Before the instruction, in the middle of a block or at its head, whichever way leads there; not at the start."""
    m = assembled(WAYS)
    m.add_breakpoint(at)
    visits = [n for n, pc in enumerate(WAYS_TRACE) if pc == at and n > 0]
    for n in visits:
        stop = m.resume()
        assert (stop.reason, stop.pc, m.pc, stop.message) == ("breakpoint", at, at, None), n
        # Steps that trap retire nothing.
        assert m.instructions <= n
    assert m.resume().reason == "exit"


@settings(max_examples=60)
@given(where=st.sets(st.sampled_from(WAYS_TRACE)), warm=st.integers(0, 60), slices=st.none() | st.integers(1, 9))
def test_any_breakpoints(where: set[int], warm: int, slices: int | None) -> None:
    """Set in a machine whose blocks are known already, and however the run is cut."""
    m = assembled(WAYS)
    m.resume(warm)
    first = m.instructions
    model = assembled(WAYS)
    while model.instructions < first:
        model.resume(step=True)
    # A trap whose instruction does not retire: both stand behind it, or before it.
    expected = [pc for pc in trace(model)[1:] if pc in where]
    if m.pc != WAYS_TRACE[-1] and model.stop.reason == "exit" and m.stop.reason == "exit":
        return
    for at in where:
        m.add_breakpoint(at)
    seen = []
    while (stop := m.resume(slices)).reason != "exit":
        # Where a slice ends, the next one begins, and does not stop there.
        if stop.pc in where:
            seen.append(stop.pc)
    assert seen == expected


def test_breakpoints_come_and_go() -> None:
    m = assembled(WAYS)
    head = WAYS_TRACE[6]
    m.add_breakpoint(head)
    m.add_breakpoint(head)
    assert m.resume().pc == head
    m.remove_breakpoint(head)
    m.remove_breakpoint(head)
    m.remove_breakpoint(0x1234)
    inside = head + 4
    m.add_breakpoint(inside)
    assert m.resume().pc == inside and m.breakpoints == {inside}
    m.remove_breakpoint(inside)
    assert m.resume().reason == "exit"


def test_one_at_the_pc_stops_on_the_way_round() -> None:
    m = machine(NOP, jal(0, 0))
    m.add_breakpoint(BASE + 4)
    for instructions in (1, 2, 3):
        assert (m.resume(100).reason, m.instructions) == ("breakpoint", instructions)
    # One at the first instruction does not stop the first run; nor does a step stop for it.
    m = machine(NOP, jal(0, -4))
    m.add_breakpoint(BASE)
    m.add_breakpoint(BASE + 4)
    assert [m.resume(step=True).reason for _ in range(3)] == ["step"] * 3
    assert [m.resume(100).pc for _ in range(3)] == [BASE, BASE + 4, BASE]


def test_the_limit_comes_first_or_the_breakpoint() -> None:
    m = machine(NOP, NOP, NOP, jal(0, -12))
    m.add_breakpoint(BASE + 8)
    assert (m.resume(1).reason, m.pc) == ("limit", BASE + 4)
    assert (m.resume(2).reason, m.pc) == ("breakpoint", BASE + 8)
    assert (m.resume(0).reason, m.pc) == ("limit", BASE + 8)


def test_where_no_instruction_begins() -> None:
    """A breakpoint in the middle of an instruction never stops; neither does one outside memory."""
    m = assembled(WAYS)
    for at in (BASE + 2, 0x10, 0xFFFF_FFFE):
        m.add_breakpoint(at)
    assert m.resume().reason == "exit"


# ---------------------------------------------------------------------------------------------------------- watchpoints
P = BASE + 0x4000
# Instruction, bytes it reads, bytes it writes; s0 holds P, s1 is 7.
ACCESSES = {
    "lb a0, 1(s0)": ((1, 1), None),
    "lhu a0, 2(s0)": ((2, 2), None),
    "lw a0, 4(s0)": ((4, 4), None),
    "lw a0, 5(s0)": ((5, 4), None),
    "c.lw a0, 8(s0)": ((8, 4), None),
    "sb s1, 3(s0)": (None, (3, 1)),
    "sh s1, 6(s0)": (None, (6, 2)),
    "sw s1, 12(s0)": (None, (12, 4)),
    "sh s1, 11(s0)": (None, (11, 2)),
    "c.sw s1, 4(s0)": (None, (4, 4)),
    "amoadd.w a0, s1, (s0)": ((0, 4), (0, 4)),
    "amoswap.w zero, s1, (s0)": ((0, 4), (0, 4)),
    "lr.w a0, (s0)": ((0, 4), None),
    "sc.w a0, s1, (s0)": (None, None),  # without a reservation
    "addi a0, s0, 4": (None, None),
}


@pytest.mark.parametrize("text", ACCESSES)
@pytest.mark.parametrize("access", ["r", "w", "rw"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_watchpoint_sees_every_byte(text: str, access: str, size: int) -> None:
    """It stops behind an access that has a byte in common with it, and names one such byte; no other stops."""
    reads, writes = ACCESSES[text]
    source = f"_start: li s0, {P}\n li s1, 7\n {text}\n{'1: j 1b'}\n"
    for low in range(P - 2, P + 16):
        m = assembled(source, core="ideal")
        m.add_watchpoint(low, size, access)
        kinds = [k for k, span in (("r", reads), ("w", writes)) if span and k in access]
        spans = {k: span for k, span in (("r", reads), ("w", writes)) if span}
        hits = [k for k in kinds if spans[k][0] + P < low + size and low < spans[k][0] + P + spans[k][1]]
        stop = m.resume(6)
        assert (stop.reason == "watchpoint") == bool(hits), hex(low)
        if hits:
            assert stop.access in hits and stop.address is not None
            assert low <= stop.address < low + size and 0 <= stop.address - P - spans[stop.access][0] < 4
            # The access has taken place, and was counted once.
            assert m.resume(5).reason == "limit"


def test_watchpoints_at_the_end_of_addresses() -> None:
    m = assembled("_start: li s0, -4\n sw s0, 0(s0)\n1: j 1b", memory=["top=0xfffff000,4"])
    m.add_watchpoint(0xFFFF_FFFF, 8, "w")
    stop = m.resume(100)
    assert (stop.reason, stop.address) == ("watchpoint", 0xFFFF_FFFF)


def test_watchpoints_come_and_go() -> None:
    m = assembled(f"_start: li s0, {P}\n1: lw a0, (s0)\n sw a0, (s0)\n j 1b")
    m.add_watchpoint(P, 4, "r")
    m.add_watchpoint(P, 4, "r")
    m.add_watchpoint(P + 3, 1, "w")
    assert [m.resume().access for _ in range(4)] == ["r", "w", "r", "w"]
    m.remove_watchpoint(P, 4, "r")
    m.remove_watchpoint(P, 4, "w")  # there is none
    assert m.resume().access == "r"
    m.remove_watchpoint(P, 4, "r")
    assert [m.resume().access for _ in range(2)] == ["w", "w"]
    m.remove_watchpoint(P + 3, 1, "w")
    assert m.resume(100).reason == "limit"
    with pytest.raises(KeyError):
        m.add_watchpoint(P, 4, "x")


def test_what_watchpoints_do_not_see() -> None:
    """Fetches, what the host writes for a call, and the debugger's own writes (docs/machine.md)."""
    m = assembled(f"_start: li a0, 0\n li a1, {P}\n li a2, 4\n li a7, 63\n ecall\n 1: j 1b", stdin=lambda n: b"read")
    m.add_watchpoint(P, 4, "rw")
    m.add_watchpoint(BASE, 64, "rw")
    m.write_memory(P, b"mine")
    assert m.resume(100).reason == "limit"
    assert m.read_memory(P, 4) == b"read"


def test_registers_of_devices_are_watched() -> None:
    m = assembled("_start: li s0, 0x02004000\n sw s0, 0(s0)\n lw a0, 0(s0)\n 1: j 1b")
    m.add_watchpoint(0x0200_4000, 4, "r")
    assert m.resume(100).access == "r" and m.registers[A0] == 0x0200_4000


# ---------------------------------------------------------------------------------------------------------- steps
def test_steps() -> None:
    """Over a host call, into a trap, to an interrupt, over wfi and mret."""
    source = """
            .option norvc
    _start: la t0, handler
            csrw mtvec, t0
            li s0, 0x02000000
            li t0, 8
            csrw mie, t0
            ecall
            csrsi mstatus, 8
            li t1, 1
            sw t1, 0(s0)
            nop
            li a7, 93
            csrw mtvec, zero
            ecall
            .balign 4
    handler: csrr t2, mcause
            bltz t2, 1f
            csrr t3, mepc
            addi t3, t3, 4
            csrw mepc, t3
            mret
    1:      sw zero, 0(s0)
            mret
    """
    m = assembled(source)
    assert m.program.symbol("handler") is not None
    handler = m.program.symbol("handler").address  # type: ignore[union-attr]
    steps = [(pc - handler) // 4 for pc in trace(m)]
    # The ecall's trap stops at the handler; mret goes behind the ecall. The store to msip is followed by the handler's
    # first two instructions: a step to an interrupt executes the first one.
    assert steps == [*range(-14, -7), *range(6), -7, -6, -5, 0, 1, 6, 7, -4, -3, -2, -1]


def test_a_step_over_wfi_lets_time_pass() -> None:
    m = assembled("_start: li s0, 0x02004000\n li t0, 5000\n sw zero, 4(s0)\n sw t0, 0(s0)\n li t0, 128\n"
                  " csrw mie, t0\n wfi\n nop\n 1: j 1b")  # fmt: skip
    while m.read_memory(m.pc, 4) != b"\x73\x00\x50\x10":
        m.resume(step=True)
    before = m.pc
    assert m.resume(step=True) == m.stop
    assert (m.stop.reason, m.pc) == ("step", before + 4) and m.cycles >= 5000


def test_a_step_that_ends_the_program() -> None:
    m = assembled("_start: li a7, 93\n li a0, 3\n ecall")
    assert [m.resume(step=True).reason for _ in range(3)] == ["step", "step", "exit"]
    assert m.stop.exit_code == 3 and m.instructions == 3
    m = machine(0)
    assert m.resume(step=True).reason == "illegal-instruction" and m.instructions == 0


# ---------------------------------------------------------------------------------------------------------- counters
@pytest.fixture(scope="module")
def undebugged(tier: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    nothing = tmp_path_factory.mktemp("nothing")

    @cache
    def run(name: str) -> tuple[dict[str, Any], Path, list[int]]:
        g = guest(name)
        m = g.machine()
        m.resume(LIMIT)
        other = guest(name).machine()
        pcs = [other.pc]
        for _ in range(500):
            other.resume(step=True)
            pcs.append(other.pc)
        return everything(m, g, nothing), nothing, pcs

    return run


ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 30)),
    st.tuples(st.just("run"), st.integers(0, 300)),
    st.tuples(st.sampled_from(["break", "clear"]), st.integers(0, 500)),
    st.tuples(st.sampled_from(["watch", "unwatch"]), st.integers(0, 40)),
    st.tuples(st.sampled_from(["go", "look", "same", "back"]), st.just(0)),
)


@settings(max_examples=150)
@given(
    name=st.sampled_from([name for name in PROGRAMS if name not in ("dense", "files")]),
    actions=st.lists(ACTIONS, max_size=12),
)
def test_counters_are_those_of_a_run_without_a_debugger(
    name: str, actions: list[tuple[str, int]], undebugged: Callable[[str], Any]
) -> None:
    end, nothing, pcs = undebugged(name)
    g = guest(name)
    m = g.machine()
    for action, n in actions:
        if action == "step":
            for _ in range(n):
                m.resume(step=True)
        elif action == "run":
            m.resume(n)
        elif action == "go":
            m.resume(5000)
        elif action == "break":
            m.add_breakpoint(pcs[n])
        elif action == "clear":
            m.remove_breakpoint(pcs[n])
        elif action == "watch":
            m.add_watchpoint(m.registers[2] + 4 * n - 64, 4, "rw")
        elif action == "unwatch":
            m.remove_watchpoint(m.registers[2] + 4 * n - 64, 4, "rw")
        elif action == "look":
            m.result()
            m.instruction_counts()
        elif action == "same":
            m.pc = m.pc
            m.write_register(5, m.registers[5])
            m.write_memory(m.pc & -4, m.read_memory(m.pc & -4, 8))
        else:
            m.rollback(m.checkpoint())
    while m.resume(LIMIT).reason != "exit":
        assert m.stop.reason in ("breakpoint", "watchpoint")
    assert everything(m, g, nothing) == end


# ---------------------------------------------------------------------------------------------------------- changes
def test_patched_code_takes_effect() -> None:
    """In the block that runs, behind the pc, at the pc, and in a block that another is chained to."""
    m = machine(addi(A0, A0, 1), addi(A0, A0, 1), addi(A0, A0, 1), jal(0, -12))
    m.resume(4 * 100 + 1)
    assert m.registers[A0] == 301
    m.write_memory(BASE + 8, code(addi(A0, A0, 100)))  # behind the pc
    m.resume(3)
    assert m.registers[A0] == 402
    m.write_memory(m.pc, code(addi(A0, A0, 1000)))  # at the pc
    m.resume(1)
    assert m.registers[A0] == 1402
    m.write_memory(BASE, code(jal(0, 0)))
    m.resume(100)
    assert (m.pc, m.registers[A0]) == (BASE, 1503)


def test_registers_and_pc() -> None:
    m = machine(addi(A0, A0, 1), jal(0, -4))
    m.resume(10)
    m.write_register(A0, -1)
    m.write_register(0, 5)
    assert (m.registers[A0], m.registers[0]) == (0xFFFF_FFFF, 0)
    m.pc = BASE
    m.resume(1)
    assert m.registers[A0] == 0 and m.instructions == 11
    m.pc = BASE + 1
    assert m.pc == BASE


def test_an_enabled_interrupt_written_by_the_debugger_is_taken() -> None:
    """CSRs of a stopped machine may be written; the next instruction sees it."""
    m = assembled("_start: nop\n nop\n nop\n1: j 1b\n .balign 4\nhandler: j handler")
    handler = m.program.symbol("handler")
    assert handler is not None
    m.resume(1)
    m.csrs.write(0x305, handler.address)
    m.csrs.write(0x304, 8)
    m.device_store(0x0200_0000, 4, 1)
    m.csrs.write(0x300, 8)
    m.resume(1)
    assert m.pc == handler.address and m.csrs.mcause == 1 << 31 | 3


# ---------------------------------------------------------------------------------------------------------- the end
STORE = """
import "RISCVBase.core_desc"
InstructionSet XPut extends RISCVBase {
    instructions {
        PUT {
            encoding: 7'd0 :: rs2[4:0] :: rs1[4:0] :: 3'd0 :: 5'b0 :: 7'b0101011;
            assembly: {"put", "{name(rs1)}, {name(rs2)}"};
            behavior: MEM[X[rs1] + 3 : X[rs1]] = X[rs2];
        }
    }
}
"""


@pytest.mark.parametrize(("address", "value", "status"), [(0x10_0000, 0x5555, 0), (0x10_0000, 0x7_3333, 7)])
@pytest.mark.parametrize("stepping", [False, True])
def test_an_added_instruction_may_end_the_run(
    address: int, value: int, status: int, stepping: bool, tmp_path: Path
) -> None:
    """A store to the finisher by an instruction of --isa-ext; it counts as a store of the base set does."""
    (tmp_path / "put.core_desc").write_text(STORE)
    # Two rounds store into memory: what follows the last store is known code by then.
    source = f"""
    _start: li s0, 3
            li a0, {P}
            li a3, {address}
            li a1, {value}
    1:      addi s0, s0, -1
            bnez s0, 2f
            mv a0, a3
    2:      .insn 4, 0x00b5002b
            nop
            j 1b
    """
    plain = source.replace(".insn 4, 0x00b5002b", "sw a1, 0(a0)")
    ends = []
    for text in (source, plain):
        m = Machine(
            parse_elf(assemble(text, isa="rv32im"), "x.elf"), isa_ext=[str(tmp_path / "put.core_desc")], core="ideal"
        )
        while m.resume(100, step=stepping).reason == "step":
            pass
        assert (m.stop.reason, m.stop.exit_code) == ("exit", status)
        ends.append((m.instructions, m.pc))
    assert ends[0] == ends[1]
