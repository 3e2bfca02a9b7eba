"""What an added instruction costs in each tier: `python -m tests.machine.added_speed` prints docs/isa.md's table."""

from __future__ import annotations

import time
from unittest import mock

from rvsim.machine import extension
from tests.machine.guest import A0, A1, A2, DATA, EXIT, S0, T0, ZERO, addi, bne, flat, machine
from tests.machine.test_routine import ADDED, word

INSTRUCTIONS: dict[str, dict[str, int]] = {
    "ROTATE": {},
    "SATADD": {},
    "DOT4": {},
    "REQUANTISE": {},
    "ACCUMULATE": {},
    "LOAD_POST": {"rs1": S0, "imm": 0},
    "EXCHANGE": {"rs1": S0},
    "BRANCH_BIT": {"bit": 0, "imm": 8},
    "LEADING": {},
}
# Engine, routines allowed, rounds of the loop. Without routines the evaluator does every added instruction.
TIERS = {
    "compiled": ("jit", extension.MAX_ROUTINES, 400_000),
    "interpreter": ("interp", extension.MAX_ROUTINES, 400_000),
    "evaluator": ("interp", 0, 2_000),
}
COPIES = 8


def cpu_seconds(body: list[int], tier: str) -> float:
    """CPU time of a loop around some instructions."""
    engine, routines, rounds = TIERS[tier]
    with mock.patch.object(extension, "MAX_ROUTINES", routines):
        words = [*body, addi(T0, T0, -1), bne(T0, ZERO, -4 * (len(body) + 1)), EXIT]
        made = machine(*flat(words), isa_ext=[str(ADDED)], engine=engine, image={"data": bytes(64)})
        for register, value in {T0: rounds, A0: 3, A1: 0x12345678, A2: 0x9ABCDEF0, S0: DATA}.items():
            made.hart.set_register(register, value)
        start = time.process_time()
        made.run()
        return time.process_time() - start


def nanoseconds(name: str, tier: str) -> float:
    """CPU time of one instruction: of a loop of eight, less the loop's own; the least of three."""
    body = [word(name, **{"rd": A0, "rs1": A1, "rs2": A2, **INSTRUCTIONS[name]})] * COPIES
    least = min(cpu_seconds(body, tier) - cpu_seconds([], tier) for _ in range(3))
    return least / TIERS[tier][2] / COPIES * 1e9


if __name__ == "__main__":
    print("| Instruction |", " | ".join(TIERS), "|")
    print("|---|" + "---|" * len(TIERS))
    for each in INSTRUCTIONS:
        print(f"| `{each}` |", " | ".join(f"{nanoseconds(each, tier):,.3g}" for tier in TIERS), "|", flush=True)
