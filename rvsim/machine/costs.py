"""What the hart has to know of each instruction and of the core: cycles, accesses, and whether it exists."""

from __future__ import annotations

from rvsim.errors import UsageError
from rvsim.isa.bundle import bundled, summaries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    from rvsim.isa.ir import Instruction
    from rvsim.isa.select import Selection
    from rvsim.timing import CoreTiming

Kind: TypeAlias = "tuple[int, int, bool, bool, bool, bool, bool]"


def instruction_kinds(selection: Selection, timing: CoreTiming) -> list[Kind]:
    """For each instruction: cycles, bytes accessed, is a store, divides, is a CSR access, is a branch, is selected."""
    kinds = []
    for instruction, enabled in zip(summaries("rv32"), selection.enabled, strict=True):
        class_ = instruction.class_
        is_ = [class_ == name for name in ("store", "divide", "csr", "branch")]
        kinds.append((timing.cycles[class_], instruction.access, is_[0], is_[1], is_[2], is_[3], enabled))
    return kinds


def hart_costs(timing: CoreTiming) -> dict[str, Any]:
    """Cycles beyond those of instructions, as `Hart` takes them.

    Raises
    ------
    UsageError
        The core's table names a CSR that does not exist.
    """
    from rvsim.isa import names

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


def describe_all(classes: Sequence[str], added: Sequence[Instruction]) -> list[tuple[Instruction, str]]:
    """All instructions by number, each with its class; those added at run time are the last ones.

    It loads the whole description, which a run by the table does without.
    """
    return [*zip([*bundled("rv32").instructions, *added], classes, strict=True)]
