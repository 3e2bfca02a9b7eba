"""What the hart has to know of each instruction and of the core: cycles, accesses, and whether it exists."""

from __future__ import annotations

from typing import Any

from rvsim.errors import UsageError
from rvsim.isa import names
from rvsim.isa.ccode import instruction_class
from rvsim.isa.ir import Isa, walk
from rvsim.isa.select import Selection
from rvsim.timing import CoreTiming

Kind = tuple[int, int, bool, bool, bool, bool, bool]


def instruction_kinds(isa: Isa, selection: Selection, timing: CoreTiming) -> list[Kind]:
    """For each instruction: cycles, bytes accessed, is a store, divides, is a CSR access, is a branch, is selected."""
    kinds = []
    for instruction, enabled in zip(isa.instructions, selection.enabled, strict=True):
        class_ = instruction_class(instruction)
        sizes = [op.attr[1] for op in walk(instruction.body) if op.code in ("load", "store") and op.attr[0] == "MEM"]
        is_ = [class_ == name for name in ("store", "divide", "csr", "branch")]
        kinds.append((timing.cycles[class_], sizes[0] if sizes else 0, is_[0], is_[1], is_[2], is_[3], enabled))
    return kinds


def hart_costs(timing: CoreTiming) -> dict[str, Any]:
    """Cycles beyond those of instructions, as `Hart` takes them.

    Raises
    ------
    UsageError
        The core's table names a CSR that does not exist.
    """
    csr = {}
    for name, cycles in timing.csr_write_cycles.items():
        if name not in names.CSR_NUMBERS:
            raise UsageError(f"core {timing.name}: csr_write_cycles.{name}: no such CSR")
        csr[names.CSR_NUMBERS[name]] = cycles
    return {
        "taken": timing.taken_branch_cycles,
        "straddle": timing.straddle_cycles,
        "misaligned": timing.misaligned_cycles,
        "trap": timing.trap_cycles,
        "divide": timing.divide_histogram_cycles(),
        "csr": csr,
        "split_misaligned": timing.misaligned == "split",
    }
