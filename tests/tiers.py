"""The ways in which instructions are executed, and all that has to be equal between them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rvsim.machine import Machine, snapshot
from tests.conftest import ROOT


class Tier(NamedTuple):
    """One way: `engine` is the environment's RVSIM_ENGINE, `how` its RVSIM_JIT (docs/engine.md)."""

    name: str
    engine: str
    how: str = ""

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Machines made meanwhile, by other processes too, execute instructions in this way."""
        given = {"RVSIM_ENGINE": self.engine, "RVSIM_JIT": self.how}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


INTERPRETER = Tier("interpreter", "interp")
# Blocks are compiled before they are entered, so that nothing is the interpreter's that need not be; after a few
# instructions, so that runs go from one to the other, and windows, successors and busy registers are known; as users
# have it.
COMPILED_FIRST = Tier("compiled first", "jit", "128,0")
COMPILED_SOON = Tier("compiled soon", "jit", "128,1")
COMPILED = Tier("compiled", "jit")


@functools.cache
def can_compile() -> bool:
    """Whether this host runs compiled code."""
    with COMPILED.chosen():
        return Machine.from_elf(ROOT / "kernels" / "bench" / "nop.elf").engine == "jit"


def compiled_tiers(*tiers: Tier) -> tuple[Tier, ...]:
    """Those of `tiers` that this host has, by default the two where compiled code does the most."""
    return (tiers or (COMPILED_FIRST, COMPILED_SOON)) if can_compile() else ()


def glance(machine: Machine) -> dict[str, Any]:
    """What can be looked at in the middle of a run without a change in how it goes on."""
    return {
        "stop": machine.stop,
        "pc": machine.pc,
        "registers": list(machine.registers),
        "instructions": machine.instructions,
        "cycles": machine.cycles,
    }


def observed(machine: Machine, pieces: bool = False) -> dict[str, Any]:
    """All that a user can see: where it stopped and why, registers, every count and profile, devices, memory.

    Of runs in `pieces` the cycles of single instructions are left out: those of split accesses stand at the first
    instruction of a block, and blocks are others where a run stopped.
    """
    result = machine.result().to_dict()
    state = snapshot.state_of(machine)
    executed = sorted(state["parts"]["hart"].pop("executed"))
    return {
        **glance(machine),
        "result": {key: value for key, value in result.items() if key not in ("engine", "host_seconds")},
        "by pc": [(pc, number, n, None if pieces else cycles) for pc, number, n, cycles, _ in executed if n],
        "state": state,
        "memory": machine.hart.pages({}),
    }


def difference(first: object, second: object, where: str = "") -> str | None:
    """The first place where two such values differ, and both values there."""
    if first == second:
        return None
    pairs: list[tuple[object, object, object]] = []
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        pairs = [(key, first.get(key), second.get(key)) for key in [*first, *(k for k in second if k not in first)]]
    elif isinstance(first, Sequence) and isinstance(second, Sequence) and not isinstance(first, str):
        if len(first) == len(second):
            pairs = [(n, a, b) for n, (a, b) in enumerate(zip(first, second, strict=True))]
        else:
            where += f", {len(first)} and {len(second)} of them"
            rows = ([v for v in one if v not in other] for one, other in ((first, second), (second, first)))
            first, second = (list(v)[:3] for v in rows)
    for key, a, b in pairs:
        if (found := difference(a, b, f"{where}, {key:#x}" if isinstance(key, int) else f"{where}, {key}")) is not None:
            return found
    return f"{where.removeprefix(', ')}: {first!r:.200} and {second!r:.200}"
