"""Compiled code has one memory of a given size: programs that fill it count as ever, and it is seldom rebuilt."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from rvsim.asm import assemble
from rvsim.errors import UsageError
from rvsim.machine import Machine
from rvsim.machine.elf import Program, parse_elf
from tests.tiers import INTERPRETER, Tier, compiled_tiers, difference, observed

SMALL = 512 << 10
TIERS = compiled_tiers(Tier("compiled first", "jit", "128,0,512"), Tier("compiled soon", "jit", "4096,1,512"))
pytestmark = pytest.mark.skipif(not TIERS, reason="no compiled code on this processor or system")

START = """
    .section .text, "awx"
    .globl _start
_start:
    la   s1, words
    li   a4, 0x00100593 # addi a1, zero, 1
    li   s0, ROUNDS
    li   s2, 0x100000
"""
END = """
    addi s0, s0, -1
    beqz s0, 1f
    j    loop
1:  li   a7, 93
    andi a0, a0, 127
    ecall
    .balign 4
words: .space 256
"""


def many_blocks() -> str:
    """Branches both ways, loads, stores, calls: thousands of them, all executed in each round."""
    rows = ["loop:"]
    for n in range(4000):
        rows += [
            f" addi a0, a0, {n % 1999}",
            f" {('beq', 'bne', 'blt', 'bgeu')[n % 4]} a0, a1, 1f",
            f" {('lw', 'sw')[n % 2]} a2, {n % 60 * 4}(s1)",
            f"1: xor a1, a1, a{n % 3}",
        ]
    return "\n".join(rows)


def straight() -> str:
    """No branch at all."""
    return "loop:\n" + "\n".join(f" addi a{n % 6}, a{(n + 1) % 6}, {n % 2003}" for n in range(45_000))


def patched_functions() -> str:
    """Each round adds 1 to an immediate in one of 64 functions, then calls all."""
    rows = ["loop:", " andi t0, s0, 63", " slli t0, t0, 4", " la t1, functions", " add t1, t1, t0"]
    rows += [" lw t2, 0(t1)", " add t2, t2, s2", " sw t2, 0(t1)", *(f" jal ra, f{n}" for n in range(64)), " j 2f"]
    rows += [" .option norvc", " .balign 64", "functions:"]
    for n in range(64):
        rows += [f"f{n}: addi a1, zero, {n}", " add a0, a0, a1", " xor a2, a2, a0", " ret"]
    return "\n".join([*rows, " .option rvc", "2:"])


def moved_function() -> str:
    """Each round copies a function to another place of 256, calls it there, and spoils it."""
    return """
loop: la   t1, function
    la   t0, places
    andi t2, s0, 255
    slli t2, t2, 6
    add  t0, t0, t2
    lw   a3, 0(t1)
    lw   a4, 4(t1)
    lw   a5, 8(t1)
    add  a3, a3, s2
    sw   a3, 0(t1)
    sw   a3, 0(t0)
    sw   a4, 4(t0)
    sw   a5, 8(t0)
    jalr t0
    sw   zero, 4(t0)
    j    2f
    .option norvc
    .balign 64
function: addi a1, zero, 1
    add  a0, a0, a1
    ret
    .balign 64
places: .space 64 * 256
    .option rvc
2:"""


def late_code() -> str:
    """Stores whose windows are on `first` and `second` write a function there, once it is called."""
    return """
loop: la   t1, first
    andi t0, s0, 1
    beqz t0, 1f
    la   t1, second
1:  sw   a4, 0(t1)
    sw   a4, 1024(t1)
    add  a4, a4, s2
    li   t0, ROUNDS / 2
    bltu t0, s0, 2f
    jalr t1
    j    2f
    .macro place name
    .option norvc
    .balign 256
    .type \\name, @object
    .size \\name, 1280
\\name: addi a1, zero, 1
    add  a0, a0, a1
    ret
    .balign 256
    .space 1024
    .option rvc
    .endm
    place first
    place second
2:"""


def up_to_code() -> str:
    """Stores walk through data, by turns in two places, up to the first instruction of a function behind it."""
    return """
loop: la   t1, low
    andi t0, s0, 1
    beqz t0, 1f
    la   t1, high
1:  li   t0, 65
2:  sw   a4, 0(t1)
    addi t1, t1, 4
    addi t0, t0, -1
    bnez t0, 2b
    add  a4, a4, s2
    jalr -4(t1)
    j    3f
    .option norvc
    .balign 256
low: .space 256
    addi a1, zero, 1
    add  a0, a0, a1
    ret
    .balign 256
high: .space 256
    addi a1, zero, 1
    add  a0, a0, a1
    ret
    .balign 256
    .option rvc
3:"""


@functools.cache
def program(body: Callable[[], str], rounds: int) -> Program:
    return parse_elf(assemble(START + body() + END, defines={"ROUNDS": rounds}), "program.elf")


def machine(tier: Tier, body: Callable[[], str], rounds: int) -> Machine:
    with tier.chosen():
        return Machine(program(body, rounds), core="ibex-small")


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize(
    ("body", "rounds"),
    [
        (many_blocks, 6),
        (straight, 4),
        (patched_functions, 1500),
        (moved_function, 12_000),
        (late_code, 6000),
        (up_to_code, 3000),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_count_is_the_interpreters(tier: Tier, body: Callable[[], str], rounds: int) -> None:
    machines = [machine(each, body, rounds) for each in (INTERPRETER, tier)]
    for each in machines:
        assert each.run(50_000_000).stop_reason == "exit"
    code = [len(code) for _, code in machines[1].hart.compiled()]
    assert (found := difference(*map(observed, machines))) is None, found
    assert 0 < sum(code[::2]) < SMALL and sum(code[1::2]) < SMALL


@pytest.mark.parametrize(("body", "rounds"), [(many_blocks, 300), (straight, 100)], ids=["blocks", "straight"])
def test_more_than_fits_is_not_compiled_over_and_over(body: Callable[[], str], rounds: int) -> None:
    """All is in use and does not fit: it is made anew at looks 1, 2, 4, 8, ..., of more than a thousand."""
    m = machine(TIERS[1], body, rounds)
    m.run()
    assert m.instructions > 1000 * 4096
    assert m.hart.rebuilds < 20


def test_code_that_changes_uses_bounded_memory() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    m = machine(TIERS[0], moved_function, 30_000)
    m.resume(100_000)
    before, rebuilds = resident(), m.hart.rebuilds
    m.run()
    assert m.hart.rebuilds > rebuilds + 3, "code memory was not full several times"
    assert resident() - before < 4 << 20


def test_code_memory_has_the_size_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for kib in (512, 4096):
        monkeypatch.setenv("RVSIM_JIT", f"4096,1,{kib}")
        m = Machine(program(straight, 10), engine="jit")
        m.run()
        sizes.append(sum(len(code) for _, code in m.hart.compiled()[::2]))
    assert sizes[0] < SMALL < sizes[1]


@pytest.mark.parametrize("how", ["128,0,0", "128,0,511", "128,0,262145", "128,0,-1", "128,0,", "128,0,512,1"])
def test_other_sizes_are_refused(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("RVSIM_JIT", how)
    with pytest.raises(UsageError, match="RVSIM_JIT: expected"):
        Machine(program(straight, 1), engine="jit")
