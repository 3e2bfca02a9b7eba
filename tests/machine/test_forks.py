"""A loop with two ways around, done without a jump between them: what either way meets is as in the interpreter."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rvsim.asm import assemble
from rvsim.machine import Machine
from rvsim.machine.elf import parse_elf
from tests.tiers import COMPILED_SOON, INTERPRETER, Tier, compiled_tiers, difference, glance, observed

TIERS = compiled_tiers()
pytestmark = pytest.mark.skipif(not TIERS, reason="no compiled code on this processor or system")

KEYS, ROUNDS = 12, 250
# Two tables of addresses of keys are merged ROUNDS times, the last time two others and to another place.
SOURCE = """
    .section .text, "awx"
    .globl _start
    .space 64
victim:
    addi s2, s2, 1
    ret
    .space 60
_start:
    li   s0, ROUNDS
round:
    la   a0, left
    la   a1, right
    la   a5, out
    addi t0, s0, -1
    bnez t0, 1f
    la   a0, last_left
    la   a1, last_right
    la   a5, LAST
1:  lw   a2, left_key
    lw   a3, right_key
2:  blt  a3, a2, 4f
3:  sw   a2, 0(a5)
    lw   t1, 0(a0)
    addi a5, a5, 4
    addi a0, a0, 4
    beqz t1, 5f
    {load} a2, {offset}(t1)
    bge  a3, a2, 3b
4:  sw   a3, 0(a5)
    lw   t1, 0(a1)
    addi a5, a5, 4
    addi a1, a1, 4
    beqz t1, 5f
    {load} a3, {offset}(t1)
    j    2b
5:  {busy}
    la   t2, out
    sub  t2, a5, t2
    add  s3, s3, t2
    call victim
    addi s0, s0, -1
    bnez s0, round
    li   a7, 93
    ecall
    .balign 4
    .space 4096
out:
    .space 128
keys:
{keys}
left_key:   .word 5
right_key:  .word 6
left:       {left}
right:      {right}
last_left:  {last_left}
last_right: {last_right}
"""
# Keeps other registers so busy that the merge's are in memory outside of it.
BUSY = (
    "li t6, {times}\n7:"
    + "".join(f" add s{n}, s{n}, t6\n xor s{n}, s{n}, s{n + 1}\n" for n in range(4, 11))
    + (" addi t6, t6, -1\n bnez t6, 7b")
)
PLACES = {
    "no memory": "0x40000000",
    "split": "keys + 1",
    "a device": "0x02000000",
    "code": "_start",
    "nothing": "0",
}


def machine(tier: Tier, seed: int = 3, last: str = "out", load: str = "lw", busy: str = "", **places: Any) -> Machine:
    """Not begun; `places` gives for left or right a number in its last table, and what stands there."""
    rng = random.Random(seed)
    keys = [key for _ in range(2) for key in sorted(rng.randrange(-(1 << 31), 1 << 31) for _ in range(KEYS))]
    tables = {
        "left": [f"keys + {4 * n}" for n in range(KEYS)],
        "right": [f"keys + {4 * n + 4 * KEYS}" for n in range(KEYS)],
    }
    text = {name: ".word " + ", ".join([*rows, "0"]) for name, rows in tables.items()}
    for name, rows in tables.items():
        if name in places:
            rows[places[name][0]] = places[name][1]
        text["last_" + name] = ".word " + ", ".join([*rows, "0"])
    source = SOURCE.format(keys="\n".join(f"    .word {key}" for key in keys), load=load, offset=0, busy=busy, **text)
    with tier.chosen():
        return Machine(
            parse_elf(assemble(source.replace("LAST", last), defines={"ROUNDS": ROUNDS}), "fork.elf"), core="ibex-small"
        )


def agree(**how: Any) -> None:
    ends = []
    for tier in (INTERPRETER, *TIERS):
        m = machine(tier, **how)
        m.run(900_000)
        ends.append(observed(m))
        assert ends[-1]["registers"][8] <= 1, "the last round has begun"
    for other in ends[1:]:
        assert (found := difference(ends[0], other)) is None, found


def forks(m: Machine) -> bool:
    """Whether compiled code has a store that goes to the stack unless its way is taken: cmovne or cmove rax, rsp."""
    return any(code in text for _, text in m.hart.compiled() for code in (b"\x48\x0f\x45\xc4", b"\x48\x0f\x44\xc4"))


@pytest.mark.parametrize("way", [{}, {"left": (7, "0x40000000")}, {"right": (7, "0x40000000")}, {"last": "victim - 8"}])
def test_it_is_compiled_as_such(way: dict[str, Any]) -> None:
    m = machine(COMPILED_SOON, **way)
    m.run(100_000)
    assert forks(m)


@pytest.mark.parametrize("load", ["lw", "lh", "lbu"])
@pytest.mark.parametrize("seed", range(8))
def test_ways_in_any_order(seed: int, load: str) -> None:
    agree(seed=seed, load=load)


@pytest.mark.parametrize(("times", "seed"), [(8, 2), (8, 12), (8, 39), (20, 15), (40, 12)])
def test_registers_that_are_in_memory_outside(times: int, seed: int) -> None:
    m = machine(COMPILED_SOON, seed=seed, busy=BUSY.format(times=times))
    m.run(900_000)
    assert forks(m)
    agree(seed=seed, busy=BUSY.format(times=times))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("at", [0, 3, 7])
@pytest.mark.parametrize("way", ["left", "right"])
def test_a_load_elsewhere(way: str, at: int, place: str) -> None:
    agree(**{way: (at, PLACES[place])})


@pytest.mark.parametrize(
    "place", ["out + 1", "0x40000000", "victim", "victim - 8", "victim - 36", "victim - 22", "keys", "round - 12"]
)
def test_a_store_elsewhere(place: str) -> None:
    agree(last=place)


@pytest.mark.parametrize("way", ["left", "right"])
def test_a_limit_at_each_instruction(way: str) -> None:
    fault: dict[str, Any] = {way: (6, "0x40000000")}
    machines = [machine(tier, **fault) for tier in (INTERPRETER, *TIERS)]
    whole = machine(INTERPRETER, **fault).run(100_000).instructions
    for m in machines:
        m.resume(whole - 300)
        assert m in machines[:-1] or forks(m)
    for step in [1] * 160 + [7, 11, 13, 29, 64, 65]:
        first, *others = (glance(m) for m in machines if m.resume(step))
        for other in others:
            assert (found := difference(first, other)) is None, found
