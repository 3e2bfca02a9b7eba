"""Instructions that one handler does together leave what they leave one by one; so do branches done without a branch.

Single steps, on which a watchpoint insists, execute each instruction by itself: they are the oracle here. Their own
are the differential tests.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from rvsim import Machine
from rvsim.isa.bundle import bundled
from rvsim.isa.fusion import CHAINS, PAIRS, PREDICATED, parse
from tests.isa.snippets import word_of
from tests.machine.guest import (
    A0,
    BASE,
    DATA,
    EXIT,
    NOP,
    RA,
    S2,
    S3,
    S4,
    T0,
    ZERO,
    add,
    addi,
    beq,
    bne,
    code,
    flat,
    jal,
    li,
    lui,
    lw,
    machine,
    sw,
)

INSTRUCTIONS = {i.mnemonic: i for i in bundled("rv32").instructions}
SEQUENCES = {line: [names for names, _ in parse(line)] for line in CHAINS.strip().splitlines()} | {
    f"{first} and another": [pair for pair in PAIRS if pair[0] == first] for first in dict.fromkeys(a for a, _ in PAIRS)
}
ROUNDS, TOGETHER = 8, 8
OBJECTS = {"table": (DATA, 0x200), "here": (DATA + 0x400, 0x40), "there": (DATA + 0x440, 0x40)}


def one(name: str, rng: random.Random, **registers: int) -> int:
    """An instruction on x8 to x11, those given or any; a branch goes over an instruction of 4 bytes."""
    name = name.removeprefix("over:")
    instruction = INSTRUCTIONS[name]
    three_bits = instruction.size == 2 and name != "c.mv"
    fields = {
        field: registers.get(field, rng.choice([8, 9, 10, 11])) - 8 * three_bits for field in ("rd", "rs1", "rs2")
    }
    if name == "jal":
        fields["rd"] = RA  # without a link it is the handler of c.j
    if name == "c.jr":
        fields["rs1"] = RA
    goes = any(op.code == "setpc" for op in instruction.body) or name.startswith(("b", "c.b", "jal"))
    return word_of(
        instruction, **fields, imm=instruction.size + 4 if goes else 4 * rng.randrange(4), shamt=rng.randrange(5)
    )


def body(names: tuple[str, ...], rng: random.Random, forwards: tuple[tuple[int, int, int], ...] = ()) -> list[int]:
    """A chain's instructions, which take their operands from each other as it says, and what a branch goes over.

    That only computes where the branch is to be none of the host; a multiplication keeps it one. A return goes there.
    """
    while True:
        rd = [rng.choice([8, 9, 10, 11]) for _ in names]
        if not any(rd[source] in rd[source + 1 : to] for source, to, _ in forwards):
            break
    words = []
    for n, name in enumerate(names):
        slots = ("rs2",) if name == "c.mv" else ("rs1", "rs2")
        given = {slots[slot]: rd[source] for source, to, slot in forwards if to == n}
        words.append(one(name, rng, rd=rd[n], **given))
    if names[-1] == "c.jr":
        words = [jal(RA, 4), addi(RA, RA, 4 + len(code(*words))), *words]
    return [*words, one(rng.choice(PREDICATED) if names[-1].startswith("over:") else "mul", rng)]


def rounds(bodies: list[list[int]], rng: random.Random, zeros: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Rounds of each of some sequences, on registers loaded from a table, and what `machine` needs beside them."""
    words: list[Any] = [li(S2, DATA)]
    for body in bodies:
        inner = [*(lw(8 + n, S2, 4 * n) for n in range(4)), addi(S2, S2, 16), NOP, *body, addi(S3, S3, -1)]
        words += [addi(S3, ZERO, ROUNDS), inner, bne(S3, ZERO, -len(code(*inner)))]
    # Addresses, some of them equal or 0, and what is there: addresses again, and small numbers among them 0.
    table = [
        (rng.randrange(4) >= zeros) * (DATA + 0x400 + 4 * rng.randrange(24)) for _ in range(4 * ROUNDS * len(bodies))
    ]
    there = [rng.choice([0, 1, 0x80000000, *table]) for _ in range(32)]
    data = b"".join(v.to_bytes(4, "little") for v in table).ljust(0x400, b"\0") + b"".join(
        v.to_bytes(4, "little") for v in there
    )
    return [*words, EXIT], {"data": data, "objects": OBJECTS}


def state(m: Machine) -> dict[str, Any]:
    result = m.result().to_dict()
    return {key: value for key, value in result.items() if key not in ("engine", "host_seconds")} | {
        "registers": m.registers,
        "pc": m.pc,
        "data": m.read_memory(DATA, 0x480),
    }


def both(words: list[Any], image: dict[str, Any], limit: int = 4000) -> tuple[Machine, Machine]:
    """The program run in blocks, and in single steps."""
    blocks = machine(*words, image=image, core="ibex-small", engine="interp")
    steps = machine(*words, image=image, core="ibex-small", engine="interp")
    steps.add_watchpoint(DATA + 0x10000, 4, "rw")
    for m in (blocks, steps):
        m.run(limit)
    return blocks, steps


@pytest.mark.parametrize("line", SEQUENCES)
def test_a_chain_does_what_its_instructions_do(line: str) -> None:
    rng = random.Random(line)
    bodies = [body(names, rng) for names in SEQUENCES[line]]
    for n in range(0, len(bodies), TOGETHER):
        blocks, steps = both(*rounds(bodies[n : n + TOGETHER], rng))
        assert state(blocks) == state(steps), SEQUENCES[line][n : n + TOGETHER]


@pytest.mark.parametrize("line", [line for line in CHAINS.strip().splitlines() if "(" in line])
def test_a_chain_hands_its_results_on(line: str) -> None:
    rng = random.Random(line)
    sequences = parse(line)
    for names, forwards in rng.sample(sequences, min(2, len(sequences))):
        for attempt in range(8):  # some of them end in a trap: what is computed may be no address
            blocks, steps = both(*rounds([body(names, rng, forwards)], rng, zeros=attempt % 4))
            assert state(blocks) == state(steps), names


@pytest.mark.parametrize("branch", ["beq", "bne", "blt", "bge", "bltu", "bgeu", "c.beqz", "c.bnez"])
@pytest.mark.parametrize("skipped", PREDICATED)
def test_a_branch_over_one_instruction(branch: str, skipped: str) -> None:
    rng = random.Random(branch + skipped)
    bodies = []
    for names in ((), ("andi",), ("andi", "srli"), ("lw",)):
        body = [one(name, rng) for name in (*names, branch)]
        if INSTRUCTIONS[skipped].size == 2:
            body[-1] = word_of(INSTRUCTIONS[branch], rs1=2, rs2=rng.choice([9, 10]), imm=INSTRUCTIONS[branch].size + 2)
        bodies.append([*body, one(skipped, rng)])
    blocks, steps = both(*rounds(bodies, rng))
    assert state(blocks) == state(steps)


# A shift register's step, as in a CRC: the bit shifted out decides whether the polynomial is applied.
BITS = [
    addi(T0, A0, 0),
    word_of(INSTRUCTIONS["andi"], rd=8, rs1=10, imm=1),
    word_of(INSTRUCTIONS["srli"], rd=10, rs1=10, shamt=1),
]
CRC = [lui(S4, 0xEDB88), addi(A0, ZERO, 0x5A5), addi(S3, ZERO, 20), *BITS, beq(8, ZERO, 8),
       word_of(INSTRUCTIONS["xor"], rd=10, rs1=10, rs2=S4), addi(S3, S3, -1), bne(S3, ZERO, -24), EXIT]  # fmt: skip
SKIPPED = BASE + 4 * 7


def test_every_limit_is_exact_around_a_branch_over_one_instruction() -> None:
    whole, steps = both(CRC, {})
    assert state(whole) == state(steps) and 0 < whole.result().taken_branches - 19 < 20
    stepping = machine(*CRC, engine="interp")
    stepping.run(70)
    for n in range(1, 60):
        fresh = machine(*CRC, engine="interp")
        fresh.run(70)  # both ways out of the branch are known
        fresh.run(n)
        stepping.run(1)
        assert state(fresh) | {"message": ""} == state(stepping) | {"message": ""}, n


@pytest.mark.parametrize("address", [SKIPPED, SKIPPED + 4], ids=["the instruction", "behind it"])
def test_a_breakpoint_is_met_though_the_branch_goes_over_it(address: int) -> None:
    m = machine(*CRC, engine="interp")
    m.resume(70)
    m.add_breakpoint(address)
    stops = []
    while (stop := m.resume()).reason == "breakpoint":
        stops.append((stop.pc, m.instructions))
    steps = machine(*CRC, engine="interp")
    steps.resume(70)
    expected = []
    while steps.stop is None or steps.stop.reason != "exit":
        if steps.pc == address and steps.instructions > 70:
            expected.append((address, steps.instructions))
        steps.resume(1)
    assert stops == expected and state(m)["registers"] == state(steps)["registers"]


def test_the_instruction_that_is_gone_over_is_rewritten() -> None:
    other = addi(A0, A0, 3)
    patch = [lui(T0, BASE >> 12), li(9, other), sw(9, T0, 0)]
    words = [addi(S3, ZERO, 40), addi(8, ZERO, 0), jal(ZERO, 8), EXIT]
    at = len(code(*words))
    loop = [word_of(INSTRUCTIONS["andi"], rd=8, rs1=S3, imm=1), beq(8, ZERO, 8), addi(A0, A0, 1), add(A0, A0, S3)]
    again = [addi(9, S3, -20), bne(9, ZERO, 4 + 4 * 4)]
    body = [*loop, *again, *flat(patch), addi(S3, S3, -1)]
    body[-2] = sw(9, T0, at + 8)
    back = bne(S3, ZERO, -4 * len(body))
    leave = jal(ZERO, -4 * (len(body) + 1) - 8)
    # The first words jump over EXIT, to the loop.
    words[2] = jal(ZERO, 12)
    words = flat(words)
    blocks, steps = both([*words, *body, back, leave], {}, 1000)
    assert blocks.result().stop_reason == "exit" and state(blocks) == state(steps)
    assert state(blocks)["registers"][A0] != sum(range(41)) + 20
