"""Programs that do what none should end or go on in the same way, with the same counts, in every tier.

Each is run by the interpreter and by compiled code, at once and in pieces, without a trap handler and with one.
"""

from __future__ import annotations

import functools
import random
from typing import Any, NamedTuple

import pytest

from rvsim.asm import assemble
from rvsim.machine import Machine
from rvsim.machine.elf import Program, parse_elf
from tests.tiers import COMPILED, INTERPRETER, Tier, compiled_tiers, difference, observed

LIMIT = 40_000
TIERS = compiled_tiers() + compiled_tiers(COMPILED)
pytestmark = pytest.mark.skipif(not TIERS, reason="no compiled code on this processor or system")

# Counts traps in s11, hashes causes, values and places in s10, and goes on behind the instruction; at s9, behind the
# loop, where that could not be fetched. After 400 traps it ends the program. t5 and t6 are its own.
HANDLER = """
    .option norvc
handler:
    addi s11, s11, 1
    li   t5, 400
    beq  s11, t5, give_up
    csrr t5, mcause
    csrr t6, mtval
    add  s10, s10, t5
    slli t5, s10, 5
    add  s10, s10, t5
    xor  s10, s10, t6
    csrr t6, mcause
    csrr t5, mepc
    add  s10, s10, t5
    addi t6, t6, -2
    bltz t6, resume
    lhu  t6, 0(t5)
    andi t6, t6, 3
    addi t6, t6, -3
    addi t5, t5, 4
    beqz t6, step
    addi t5, t5, -2
step:
    csrw mepc, t5
    mret
resume:
    csrw mepc, s9
    mret
give_up:
    csrw mtvec, zero
    li   a0, 99
    li   a7, 93
    ecall
"""
START = """
    .section .text, "awx"
    .option norvc
    .globl _start
_start:
    la   s9, over
    .if HANDLED
    la   t0, handler
    csrw mtvec, t0
    .endif
"""
# s0 counts down from 300 in each.
LOOP = """
    li   s0, 300
"""
AGAIN = """
    addi s0, s0, -1
    bnez s0, loop
"""
END = """
over:
    csrw mtvec, zero
    mv   a0, zero
    li   a7, 93
    ecall
"""


class Guest(NamedTuple):
    """A body, how it ends without a handler, a part of the message, and options of the machine."""

    body: str
    reason: str = "exit"
    message: str = ""
    options: dict[str, Any] = {}  # noqa: RUF012
    text: int = 0x8000_0000


def rewriting(site: str, store: str, body: str, fence: bool = True) -> str:
    """A loop that puts two words by turns at `site`; the words are at `one` and `two`."""
    return f"""
    la   s1, {site}
    la   s2, one
    lw   s3, 0(s2)
    lw   s4, 4(s2)
    {LOOP}
loop:
    mv   t1, s3
    mv   s3, s4
    mv   s4, t1
    {store}
    {"fence.i" if fence else ""}
    {body}
    {AGAIN}
    j over
    .balign 4
one: addi a0, a0, 1
two: xori a0, a0, 0x55
"""


OWN = {
    "ahead in its block": rewriting("site", "sw t1, 0(s1)", "addi a1, a1, 1\nsite: addi a0, a0, 1\n addi a2, a2, 1"),
    "the next instruction": rewriting("site", "sw t1, 0(s1)\nsite: nop", ""),
    "behind in its block": rewriting("site", "nop\nsite: addi a0, a0, 1\nsw t1, 0(s1)", ""),
    "the head of its loop": rewriting("loop", "sw t1, 0(s1)", "").replace("mv   t1, s3", "nop\n mv   t1, s3"),
    "its block by halves": rewriting("site", "sh t1, 0(s1)\n srli t2, t1, 16\n sh t2, 2(s1)", "site: addi a0, a0, 1"),
    "its block by bytes": rewriting(
        "site", "sb t1, 0(s1)\n.rept 3\nsrli t1, t1, 8\naddi s1, s1, 1\nsb t1, 0(s1)\n.endr\naddi s1, s1, -3",
        "site: addi a0, a0, 1",
    ),
    "the next block": rewriting("site", "sw t1, 0(s1)", "bnez s0, site\n nop\n nop\nsite: addi a0, a0, 1"),
    "the next block, which it falls into": rewriting("site", "sw t1, 0(s1)", "beqz s0, over\nsite: addi a0, a0, 1"),
    "a function called": rewriting("f", "sw t1, 0(s1)", "call f\n j 2f\nf: nop\n ret\n2:"),
    "a function called, far away": rewriting(
        "f", "sw t1, 0(s1)", "call f\n j 2f\n.balign 4096\nf: nop\n ret\n.balign 4096\n2:"
    ),
    "a function through a register": rewriting("f", "sw t1, 0(s1)", "la t0, f\njalr t0\n j 2f\nf: nop\n ret\n2:"),
    "over the edge of a page": rewriting(
        "site", "sh t1, 0(s1)\n srli t2, t1, 16\n sh t2, 2(s1)",
        "j 1f\n.balign 4096\n.space 4092\n.option rvc\n1: c.nop\n.option norvc\nsite: addi a0, a0, 1\nj 2f\n2:",
    ),
    "the second half of an instruction": rewriting("site", "srli t2, t1, 16\n sh t2, 2(s1)", "site: addi a0, a0, 1"),
    "words among the code": rewriting("site", "sw t1, 0(s1)", "lw t2, 0(s1)\nadd a0, a0, t2\n j 1f\nsite: .word 5\n1:"),
    "the same word": rewriting("site", "lw t1, 0(s1)\n sw t1, 0(s1)", "site: addi a0, a0, 1"),
    "now and then": rewriting(
        "site", "andi t2, s0, 63\n bnez t2, 1f\n sw t1, 0(s1)\n 1:", "nop\nsite: addi a0, a0, 1\n bnez s0, 1f\n 1: nop"
    ),
}  # fmt: skip

IN_A_LOOP = f"""
    la   s1, words
    mv   s2, s1
    {LOOP}
loop:
    addi a1, a1, 1
    li   t1, 60
    bne  s0, t1, 1f
    %s
1:  addi a2, a2, 3
    %s
    addi a3, a3, 5
    {AGAIN}
    j over
    .balign 4
words: .word 1, 2, 3, 4
"""


def once(prepare: str, access: str) -> str:
    """A loop whose 241st round does what the others do not."""
    return IN_A_LOOP % (prepare, access)


def jump_once(target: str) -> str:
    """A loop that jumps forward through a register, at last to somewhere else."""
    return f"""
    la   s1, good
    {LOOP}
loop:
    li   t1, 60
    bne  s0, t1, 1f
    {target}
1:  addi a1, a1, 1
    jr   s1
    nop
good:
    addi a2, a2, 1
    {AGAIN}
    j over
"""


OUTSIDE = {"devices": ("none",), "memory": ("stack=0x90000000,4",)}
EDGE = """
    la   t0, piece
    li   s1, 0x90001000 - %d
    mv   t1, s1
    li   t2, %d
1:  lh   t3, 0(t0)
    sh   t3, 0(t1)
    addi t0, t0, 2
    addi t1, t1, 2
    addi t2, t2, -2
    bnez t2, 1b
    la   s2, back
    mv   s3, zero
    li   s0, 300
loop:
    jr   s1
back:
    addi s0, s0, -1
    bnez s0, loop
    li   s3, 1
    jr   s1
piece:
    addi a0, a0, 1
    bnez s3, 1f
    jr   s2
1:  addi a1, a1, 1
    %s
"""


def at_the_edge(last: str, size: int, cut: int = 0) -> str:
    """Code at the end of memory that returns 300 times, then runs on; `cut` bytes of it have no place there."""
    return EDGE % (16 + size - cut, 16 + size - cut, last)


# Traps and loops in which no round is special.
GUESTS: dict[str, Guest] = {
    **{f"rewrites {what}": Guest(body) for what, body in OWN.items()},
    **{f"rewrites {what}, no fence.i": Guest(body.replace("fence.i", "")) for what, body in OWN.items()},
    "patches its immediate": Guest(
        f"la s1, site\n lui s2, 0x100\n{LOOP}loop:\n lw t1, 0(s1)\n add t1, t1, s2\n sw t1, 0(s1)\n"
        f"site: addi a0, zero, 0\n add a1, a1, a0\n{AGAIN} j over"
    ),
    "patches its immediate, two blocks on": Guest(
        f"la s1, site\n lui s2, 0x100\n{LOOP}loop:\n lw t1, 0(s1)\n add t1, t1, s2\n sw t1, 0(s1)\n j 1f\n"
        "1: beqz s0, over\n"
        f"site: addi a0, zero, 0\n add a1, a1, a0\n{AGAIN} j over"
    ),
    "turns its own branch": Guest(
        f"la s1, site\n lw s2, skip\n{LOOP}loop:\n li t1, 60\n bne s0, t1, 1f\n sw s2, 0(s1)\n1: addi a1, a1, 1\n"
        f"site: beqz s0, over\n addi a2, a2, 1\n{AGAIN} j over\n .balign 4\nskip: bnez s0, . + 8\n"
    ),
    "copies code and calls it": Guest(
        f"la s1, buffer\n{LOOP}loop:\n la t0, f\n andi t1, s0, 8\n beqz t1, 1f\n la t0, g\n"
        "1: lw t1, 0(t0)\n lw t2, 4(t0)\n"
        f" sw t1, 0(s1)\n sw t2, 4(s1)\n fence.i\n jalr s1\n jalr s1\n{AGAIN} j over\n"
        "f: addi a0, a0, 1\n ret\ng: slli a0, a0, 1\n ret\n.balign 4096\nbuffer: .space 16"
    ),
    "becomes another function": Guest(
        f"{LOOP}loop: call f\n{AGAIN}\n la s1, f\n lw t1, g\n lw t2, g + 4\n sw t1, 0(s1)\n sw t2, 4(s1)\n"
        f"{LOOP}\n"
        "1: call f\n addi s0, s0, -1\n bnez s0, 1b\n j over\nf: addi a0, a0, 1\n ret\n .balign 4\n"
        "g: addi a0, a0, 7\n ret"
    ),
    "writes over its end with nothing": Guest(
        f"la s1, site\n{LOOP}loop:\n li t1, 60\n bne s0, t1, 1f\n sw zero, 0(s1)\n1: addi a1, a1, 1\n"
        f"site: addi a2, a2, 1\n{AGAIN} j over",
        "illegal-instruction", "this is no code",
    ),
    "clears memory over itself": Guest(
        "la s1, loop\n addi s1, s1, -16\n li s0, 300\n1: addi s0, s0, -1\n bnez s0, 1b\nloop: sw zero, 0(s1)\n"
        " addi s1, s1, 4\n addi a1, a1, 1\n j loop",
        "illegal-instruction",
    ),
    # ---------------------------------------------------------------- into the middle
    "jumps into an instruction": Guest(
        # The upper half of `lui a1, 0x0505` is `c.addi a0, 0`-like code: two ways through the same bytes.
        f"{LOOP}la s1, site\n la s2, site + 2\nloop:\n andi t1, s0, 3\n mv t0, s1\n bnez t1, 1f\n mv t0, s2\n1: jr t0\n"
        f"site: .word 0x05050513\n addi a1, a1, 1\n{AGAIN} j over"
    ),
    "jumps into a block": Guest(
        f"{LOOP}loop:\n la t0, b\n andi t1, s0, 7\n slli t1, t1, 2\n add t0, t0, t1\n jr t0\n"
        f"b: .rept 8\n addi a0, a0, 3\n .endr\n{AGAIN} j over"
    ),
    "jumps into an instruction of another size": Guest(
        f".option rvc\n{LOOP}la s1, site\nloop:\n andi t1, s0, 2\n add t0, s1, t1\n jr t0\n"
        f"site: .word 0x00010001\n .word 0x00150513\n .half 0x0513, 0x0015, 0x0001\n{AGAIN} j over\n.option norvc"
    ),
    "jumps into nonsense": Guest(
        jump_once("la s1, site + 2\n j 1f\n.balign 4\nsite: .word 0x0000a537"), "illegal-instruction"
    ),
    # ---------------------------------------------------------------- off the end of memory
    "runs off the end": Guest(at_the_edge("addi a2, a2, 1", 4), "access-fault", "address 0x90001000", OUTSIDE),
    "runs off in an instruction": Guest(
        at_the_edge("addi a2, a2, 1", 4, 2), "access-fault", "address 0x90001000", OUTSIDE
    ),
    "falls through a branch at the end": Guest(
        at_the_edge("beqz s3, . - 16", 4), "access-fault", "address 0x90001000", OUTSIDE
    ),
    "branches off the end": Guest(
        at_the_edge("bnez s3, . + 64", 4), "access-fault", "address 0x9000103c", OUTSIDE
    ),
    "jumps off the end": Guest(at_the_edge("j . + 0x1000", 4), "access-fault", "address 0x90001ffc", OUTSIDE),
    "calls off the end": Guest(at_the_edge("jal . + 0x1000", 4), "access-fault", "address 0x90001ffc", OUTSIDE),
    # ---------------------------------------------------------------- recursion
    "recurses out of memory": Guest(
        "li sp, 0x90001000\n call f\n j over\nf: addi sp, sp, -16\n sw ra, 12(sp)\n sw s0, 8(sp)\n addi s0, s0, 1\n"
        " call f\n lw ra, 12(sp)\n addi sp, sp, 16\n ret",
        "access-fault", "store", OUTSIDE,
    ),
    "recurses into code": Guest(
        "la sp, room + 8192\n call f\n j over\n .balign 16\nf: addi sp, sp, -16\n sw ra, 12(sp)\n sw s0, 8(sp)\n"
        " addi s0, s0, 1\n call f\n lw ra, 12(sp)\n addi sp, sp, 16\n ret\n .balign 16\nroom: .space 8192",
        "illegal-instruction",
    ),
    "two recurse, each over the other": Guest(
        "la sp, room + 4096\n call f\n j over\nf: addi sp, sp, -32\n sw ra, 28(sp)\n sw sp, 24(sp)\n andi t0, s0, 1\n"
        " addi s0, s0, 1\n beqz t0, 1f\n call f\n1: call g\n ret\ng: addi sp, sp, -16\n sw ra, 12(sp)\n call f\n ret\n"
        "room: .space 4096",
        "illegal-instruction",
    ),
    # ---------------------------------------------------------------- traps in mid-block
    "loads beside memory": Guest(
        once("li s2, 0x40000000", "lw a4, 4(s2)"), "access-fault", "load access fault at address 0x40000004"
    ),
    "stores beside memory": Guest(
        once("li s2, 0x40000000", "sw a2, 4(s2)"), "access-fault", "store access fault at address 0x40000004"
    ),
    "loads over the end of memory": Guest(
        once("li s2, 0x90001000", "lw a4, -2(s2)"), "access-fault", "address 0x90001000", OUTSIDE
    ),
    "stores over the end of memory": Guest(
        once("li s2, 0x90001000", "sh a2, -1(s2)"), "access-fault", "address 0x90001000", OUTSIDE
    ),
    "loads over the end of addresses": Guest(once("li s2, -2", "lw a4, 0(s2)"), "access-fault", "0xfffffffe"),
    "loads misaligned": Guest(
        once("addi s2, s2, 1", "lw a4, 0(s2)"), "trap", "misaligned", {"settings": {"core.misaligned": "trap"}}
    ),
    "stores misaligned": Guest(
        once("addi s2, s2, 1", "sh a2, 0(s2)"), "trap", "misaligned", {"settings": {"core.misaligned": "trap"}}
    ),
    "loads misaligned, which the hart splits": Guest(once("addi s2, s2, 1", "lw a4, 0(s2)")),
    "stores into its own text": Guest(
        once("la s2, loop", "sw a2, 0(s2)").replace("words: .word 1, 2, 3, 4", ".data\nwords: .word 1, 2, 3, 4\n.text"),
        "access-fault", "store", {}, 0x10000,
    ),
    "executes nonsense": Guest(once("li a5, 1", "beqz a5, 2f\n .word 0xffffffff\n2:"), "illegal-instruction"),
    "executes nonsense once": Guest(once("li a5, 1", "beqz a5, 2f\n .word 0xffffffff\n2:"), "illegal-instruction"),
    "reads a CSR that is not there": Guest(once("li a5, 1", "beqz a5, 2f\n csrr a4, 0x7c0\n2:"), "illegal-instruction"),
    "writes a CSR that is not there": Guest(once("", "csrw 0x7c0, a2"), "illegal-instruction"),
    "breaks": Guest(once("li a5, 1", "beqz a5, 2f\n ebreak\n2:"), "breakpoint"),
    "breaks each round": Guest(once("", "ebreak"), "breakpoint"),
    "calls a host that does not know it": Guest(once("", "li a7, 7777\n ecall"), "exit"),
    "exits in mid-loop": Guest(once("li a7, 93\n li a5, 1", "beqz a5, 2f\n ecall\n2:"), "exit"),
    "waits for ever": Guest(once("li a5, 1", "beqz a5, 2f\n wfi\n2:"), "trap", "wfi"),
    "divides by nothing": Guest(once("", "div a4, a2, zero\n rem a5, a2, zero\n divu a6, a2, s11")),
    # ---------------------------------------------------------------- jumps
    "jumps to nothing": Guest(jump_once("li s1, 0"), "access-fault", "address 0x00000000"),
    "jumps to an odd address": Guest(jump_once("addi s1, s1, 1")),
    "jumps to an odd address, beside memory": Guest(jump_once("li s1, 0x40000003"), "access-fault", "0x40000002"),
    "jumps to the last address": Guest(jump_once("li s1, -2"), "access-fault", "0xfffffffe"),
    "jumps to a device": Guest(jump_once("li s1, 0x10000000"), "access-fault", "0x10000000"),
    "jumps to data": Guest(jump_once("la s1, words").replace("j over", "j over\n.data\nwords: .word 0x13, 0x13\n.text"),
                           "access-fault", "instruction access fault", {}, 0x10000),
    "jumps to itself": Guest("j .", "limit"),
    "branches to itself": Guest("beqz zero, .", "limit"),
    "jumps to itself through a register": Guest("la t0, 1f\n1: jr t0", "limit"),
    "traps without end": Guest("la s9, site\nsite: .word 0\n", "illegal-instruction"),
    "its handler traps": Guest(
        "la t0, bad\n csrw mtvec, t0\n li a7, 1\n ecall\n .balign 4\nbad: .word 0", "illegal-instruction"
    ),
    "returns to nowhere": Guest(jump_once("li t0, 0x40000000\n csrw mepc, t0\n mret"), "access-fault", "0x40000000"),
}  # fmt: skip


# These end although they have a handler.
FATAL = ("its handler traps", "waits for ever")


@functools.cache
def program(name: str, handled: bool) -> Program:
    guest = GUESTS[name]
    source = START + guest.body + END + HANDLER
    return parse_elf(assemble(source, defines={"HANDLED": int(handled)}, text=guest.text), "guest.elf")


def ran(name: str, handled: bool, tier: Tier, pieces: random.Random | None) -> Machine:
    with tier.chosen():
        machine = Machine(program(name, handled), core="ibex-small", **GUESTS[name].options)
    while machine.instructions < LIMIT:
        left = LIMIT - machine.instructions
        if machine.resume(min(left, pieces.choice((1, 2, 7, 64, 400))) if pieces else left).reason != "limit":
            break
    if machine.stop.reason == "limit":
        machine.resume(0)  # the message says the limit of the last piece
    return machine


@pytest.mark.parametrize("handled", [False, True], ids=["no handler", "handler"])
@pytest.mark.parametrize("name", GUESTS)
def test_every_tier_ends_alike(name: str, handled: bool) -> None:
    machine = ran(name, handled, INTERPRETER, None)
    stop, guest = machine.stop, GUESTS[name]
    if handled:
        assert stop.reason in ("exit", "limit") or name in FATAL, stop
    else:
        assert stop.reason == guest.reason, stop
        assert guest.message in (stop.message or ""), stop
    for pieces in (False, True):
        reference = observed(machine, pieces)
        for tier in (INTERPRETER, *TIERS):
            other = ran(name, handled, tier, random.Random(name) if pieces else None)
            found = difference(reference, observed(other, pieces))
            assert found is None, f"interpreter and {tier.name}{', in pieces' if pieces else ''}: {found}"
