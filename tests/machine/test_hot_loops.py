"""A hot loop of any shape is stopped, interrupted, saved or watched at any of its instructions, in every tier alike."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from rvsim.asm import assemble
from rvsim.machine import Machine
from rvsim.machine.elf import Program, parse_elf
from tests.tiers import COMPILED_FIRST, COMPILED_SOON, INTERPRETER, Tier, compiled_tiers, difference, glance, observed

TIERS = compiled_tiers()
pytestmark = pytest.mark.skipif(not TIERS, reason="no compiled code on this processor or system")

# A loop runs while s0 is not 0; a0 to a7, t1 to t6 are its own, s1 is the address of 64 words.
LOOPS = {
    "nothing": "",
    "hammock, every second": "andi t1, s0, 1\n beqz t1, 1f\n addi a0, a0, 1\n 1: xor a1, a1, a0",
    "hammock, hardly ever": "andi t1, s0, 63\n bnez t1, 1f\n addi a0, a0, 1\n slli a1, a0, 2\n sub a2, a1, a0\n"
    " mv a3, a2\n1:",
    "hammock, always": "bgeu s0, zero, 1f\n addi a0, a0, 1\n addi a1, a1, 1\n 1:",
    "hammock over a store": "andi t1, s0, 3\n bnez t1, 1f\n sw a0, 4(s1)\n 1: addi a0, a0, 1",
    "two ways": "andi t1, s0, 2\n beqz t1, 1f\n addi a0, a0, 1\n j 2f\n1: addi a1, a1, 3\n mul a1, a1, a0\n"
    "2: add a2, a0, a1",
    "every branch": "".join(
        f"{op} a0, a1, 1f\n addi a2, a2, {n}\n1: addi a{n % 2}, a{n % 2}, {3 * n - 7}\n"
        for n, op in enumerate(("beq", "bne", "blt", "bge", "bltu", "bgeu"))
    ),
    "nested": "li t1, 3\n1: li t2, 2\n2: addi a0, a0, 1\n addi t2, t2, -1\n bnez t2, 2b\n addi t1, t1, -1\n"
    " bnez t1, 1b",
    "call": "call f\n call f\n j 2f\nf: addi a0, a0, 1\n ret\n2:",
    "recursion": "andi a0, s0, 7\n la sp, top\n call f\n j 2f\nf: beqz a0, 1f\n addi sp, sp, -16\n"
    " sw ra, 0(sp)\n addi a0, a0, -1\n"
    " call f\n lw ra, 0(sp)\n addi sp, sp, 16\n1: addi a1, a1, 1\n ret\n.balign 16\n.space 256\ntop:\n2:",
    "jump table": "andi t1, s0, 3\n slli t1, t1, 3\n la t2, 1f\n add t2, t2, t1\n jr t2\n.option norvc\n"
    "1: addi a0, a0, 1\n j 2f\n"
    " addi a0, a0, 2\n j 2f\n xori a0, a0, 5\n j 2f\n slli a0, a0, 1\n j 2f\n.option rvc\n2:",
    "loads and stores": "lw t1, 0(s1)\n addi t1, t1, 3\n sw t1, 0(s1)\n sh t1, 6(s1)\n lb t2, 6(s1)\n add a0, a0, t2",
    "two windows by turns": "andi t1, s0, 1\n slli t1, t1, 20\n add t1, t1, s1\n lw t2, 8(t1)\n addi t2, t2, 1\n"
    " sw t2, 8(t1)",
    "split accesses": "lw t1, 1(s1)\n addi t1, t1, 3\n sw t1, 5(s1)\n lhu t2, 3(s1)\n add a0, a0, t2",
    "device": "li t1, 0x02000000\n lw t2, 0(t1)\n sw zero, 0(t1)\n add a0, a0, t2",
    "divisions": "div a0, s0, a1\n rem a2, s0, a0\n addi a1, a1, 1\n divu a3, s0, a2\n mulh a4, a3, s0\n"
    " mulhsu a5, a4, s0\n remu a6, a5, zero",
    "x0": "add x0, a0, s0\n lw x0, 0(s1)\n jal x0, 1f\n1: mul x0, s0, s0\n sltu a0, x0, s0\n addi x0, x0, 5\n"
    " beq x0, a7, 2f\n2:",
    "counters": "csrr t1, mcycle\n csrr t2, minstret\n add a0, a0, t1\n xor a1, a1, t2\n csrr t3, mcycle\n"
    " sub a2, t3, t1",
    "stack": "la sp, top2\n addi sp, sp, -16\n sw a0, 12(sp)\n sw s0, 8(sp)\n lw a0, 8(sp)\n lw a1, 12(sp)\n"
    " addi sp, sp, 16\n j 1f\n"
    ".balign 16\n.space 64\ntop2:\n1:",
    "merge, its branch twice": "li t1, -1640531535\n mul t1, t1, s0\n andi t2, s0, 60\n add t2, t2, s1\n sw t1, 0(t2)\n"
    " mv a0, s1\n addi a1, s1, 32\n addi a5, s1, 64\n lw a2, 0(a0)\n lw a3, 0(a1)\n li a6, 6\n"
    "1: blt a3, a2, 3f\n2: sw a2, 0(a5)\n addi a0, a0, 4\n addi a5, a5, 4\n addi a6, a6, -1\n beqz a6, 4f\n"
    " lw a2, 0(a0)\n bge a3, a2, 2b\n3: sw a3, 0(a5)\n addi a1, a1, 4\n addi a5, a5, 4\n addi a6, a6, -1\n"
    " beqz a6, 4f\n lw a3, 0(a1)\n j 1b\n4:",
    "merge, many registers": "li t1, -1640531535\n mul t1, t1, s0\n andi t2, s0, 60\n add t2, t2, s1\n sw t1, 0(t2)\n"
    " mv a0, s1\n addi a1, s1, 32\n li a6, 5\n"
    "1: xor t3, a2, a3\n lh t1, 102(s1)\n sw t3, 108(s1)\n andi t3, t3, 4\n addi a6, a6, -1\n beqz t3, 2f\n"
    " sb t6, 100(s1)\n lhu a2, 0(a0)\n addi a0, a0, 4\n"
    " add t4, t4, a2\n mul t6, t4, t4\n j 3f\n2: sh zero, 104(s1)\n lb a3, 1(a1)\n addi a1, a1, 4\n sub t5, t5, a3\n"
    " xori a7, a3, 85\n sltu a4, a7, t5\n3: bnez a6, 1b",
    "merge, stores last": "li t1, -1640531535\n mul t1, t1, s0\n andi t2, s0, 60\n add t2, t2, s1\n sw t1, 0(t2)\n"
    " mv a0, s1\n addi a1, s1, 32\n li a6, 7\n"
    "1: bltu a2, a3, 2f\n addi a6, a6, -1\n beqz a6, 3f\n lb a2, 1(a0)\n addi a0, a0, 4\n sb a2, 100(s1)\n j 1b\n"
    "2: addi a6, a6, -1\n beqz a6, 3f\n lw a3, 0(a1)\n addi a1, a1, 4\n mul a4, a3, a3\n sh a4, 104(s1)\n j 1b\n3:",
    "no window": "li t1, 0x40000000\n and t2, s0, zero\n beqz t2, 1f\n lw t3, 0(t1)\n1: addi a0, a0, 1",
}  # fmt: skip
SOURCE = """
    .section .text, "awx"
    .globl _start
_start:
    la   s1, words
    li   s0, 700
    la   t0, handler
    csrw mtvec, t0
    li   t0, 0x02004000
    li   t1, DEADLINE
    sw   zero, 4(t0)
    sw   t1, 0(t0)
    li   t0, 0x80
    csrw mie, t0
    csrsi mstatus, 8
loop:
{body}
    addi s0, s0, -1
    bnez s0, far
    csrci mstatus, 8
    csrw mtvec, zero
    li   a7, 93
    ecall
far: j loop
    .balign 4
handler:
    csrr s2, mepc
    csrr s3, mcycle
    csrr s4, minstret
    add  s5, s5, s2
    li   t0, 0x02004000
    lw   s6, 0(t0)
    addi s6, s6, STEP
    sw   s6, 0(t0)
    mret
    .balign 4
words: .space 256
"""
NEVER = 0x7FFF_FFFF
WARM = 700  # instructions after which the loops are compiled


@functools.cache
def program(name: str, deadline: int = NEVER, step: int = 0) -> Program:
    source = SOURCE.replace("{body}", LOOPS[name])
    return parse_elf(assemble(source, defines={"DEADLINE": deadline, "STEP": step}), "loop.elf")


def machine(tier: Tier, name: str, *timer: int) -> Machine:
    with tier.chosen():
        return Machine(program(name, *timer), core="ibex-small")


@pytest.mark.parametrize("name", LOOPS)
def test_a_limit_at_each_instruction(name: str) -> None:
    machines = [machine(tier, name) for tier in (INTERPRETER, *TIERS)]
    for each in machines:
        each.resume(WARM)
    steps = [1] * 40 + [2, 3, 5, 7, 11, 13, 64, 65, 129] * 3
    for step in steps:
        first, *others = (glance(m) for m in machines if m.resume(step))
        for other in others:
            assert (found := difference(first, other)) is None, found
    for each in machines:
        assert each.run(60_000).stop_reason == "exit"
    first, *others = (observed(m, pieces=True) for m in machines)
    for other in others:
        assert (found := difference(first, other)) is None, found


@pytest.mark.parametrize("name", LOOPS)
def test_a_timer_at_each_cycle(name: str) -> None:
    """Interrupts come at intervals prime to the loop's, so in time before each of its instructions."""
    for step in (97, 41):
        ends = []
        for tier in (INTERPRETER, *TIERS):
            m = machine(tier, name, 400, step)
            m.run(200_000)
            ends.append(observed(m))
        assert ends[0]["stop"].reason == "exit" and ends[0]["registers"][21], "no interrupt came"
        for other in ends[1:]:
            assert (found := difference(ends[0], other)) is None, found


@pytest.mark.parametrize("name", LOOPS)
def test_saved_by_one_tier_restored_by_another(name: str, tmp_path: Path) -> None:
    reference = machine(INTERPRETER, name)
    reference.run(60_000)
    end = observed(reference, pieces=True)
    for at in (WARM, WARM + 1, WARM + 7):
        for saver, loader in (
            (INTERPRETER, COMPILED_FIRST),
            (COMPILED_SOON, INTERPRETER),
            (COMPILED_FIRST, COMPILED_SOON),
        ):
            m = machine(saver, name)
            m.resume(at)
            m.save(tmp_path / "snapshot")
            with loader.chosen():
                loaded = Machine.load(tmp_path / "snapshot")
            assert (loaded.engine == "jit") == (loader is not INTERPRETER)
            loaded.run(60_000)
            assert (found := difference(end, observed(loaded, pieces=True))) is None, (saver.name, loader.name, found)


@pytest.mark.parametrize("name", LOOPS)
def test_breakpoints_watchpoints_and_rollback(name: str) -> None:
    """Set in a loop that is hot: at its head, then one watched word, then back and on without them."""

    def story(tier: Tier) -> list[dict[str, Any]]:
        m = machine(tier, name)
        pages = []
        symbol = m.program.symbol("loop")
        words = m.program.symbol("words")
        assert symbol is not None and words is not None
        m.resume(WARM)
        back = m.checkpoint()
        m.add_breakpoint(symbol.address)
        for _ in range(3):
            m.resume(1000)
            pages.append(glance(m))
        m.remove_breakpoint(symbol.address)
        m.add_watchpoint(words.address, 8, "rw")
        for _ in range(3):
            m.resume(100)
            pages.append(glance(m))
        m.remove_watchpoint(words.address, 8, "rw")
        m.resume(333)
        m.rollback(back)
        pages.append(glance(m))
        m.run(60_000)
        return [*pages, observed(m, pieces=True)]

    first = story(INTERPRETER)
    for tier in TIERS:
        assert (found := difference(first, story(tier))) is None, f"{tier.name}: {found}"
