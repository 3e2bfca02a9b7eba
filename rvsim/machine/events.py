"""What hardware performance counters (Zihpm) count: the events that mhpmevent selects.

The numbers are ours; docs/machine.md lists them.
"""

from __future__ import annotations

from rvsim.isa.bundle import summaries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rvsim.machine.machine import Machine

CSR_ACCESS = 8
# Events that are counts of retired instructions by timing class; the first event counts nothing.
CLASSES = {
    1: ("load",),
    2: ("store",),
    3: ("branch",),
    5: ("jump",),
    6: ("multiply", "multiply-high"),
    7: ("divide",),
    CSR_ACCESS: ("csr",),
    9: ("coprocessor",),
    10: ("atomic",),
    15: ("custom",),
}
TAKEN_BRANCH, COMPRESSED, MISALIGNED, TRAP, STALL_CYCLES = 4, 11, 12, 13, 14
EVENT_COUNT = 16


def counters(machine: Machine) -> list[Callable[[], int]]:
    """The count of each event so far, by its number."""

    def of_classes(names: tuple[str, ...]) -> Callable[[], int]:
        return lambda: sum(
            n for n, class_ in zip(machine.hart.instruction_counts(), machine.classes, strict=True) if class_ in names
        )

    def compressed() -> int:
        return sum(
            n for n, each in zip(machine.hart.instruction_counts(), summaries("rv32"), strict=False) if each.size == 2
        )

    table: list[Callable[[], int]] = [lambda: 0] * EVENT_COUNT
    for number, names in CLASSES.items():
        table[number] = of_classes(names)
    table[TAKEN_BRANCH] = lambda: machine.hart.taken_branches
    table[COMPRESSED] = compressed
    table[MISALIGNED] = lambda: machine.hart.misaligned_accesses
    table[TRAP] = lambda: machine.hart.traps
    table[STALL_CYCLES] = lambda: sum(machine.stalls.values()) + sum(machine.trap_cycles().values())
    return table
