"""Exact cycles of a run: the core's pipeline, made from its numbers and the platform's memory, shown what retires."""

from __future__ import annotations

from rvsim.errors import UsageError
from rvsim.timing._exact import CAUSE_NAMES, Pipeline
from rvsim.timing.operation import ILLEGAL, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rvsim.isa.ir import Instruction
    from rvsim.machine._hart import Hart
    from rvsim.timing import CoreTiming
    from rvsim.timing.platform import Platform, WaitStates

BUSY_CYCLES, BUS_CYCLES = 256, 48
"""More cycles, and more accesses to memory, than any instruction takes: a division, fence.i; lines of caches filled."""


MOST_REGIONS, MOST_WAIT = 31, 1000
"""What the models' tables and times hold (exact/operation.h)."""


class Timed:
    """One hart's pipeline.

    Parameters
    ----------
    hart : Hart
        Before its first instruction.
    timing : CoreTiming
    instructions : sequence of (Instruction, str)
        By number, each with its class.
    platform : Platform or None
        Whose memories and devices answer with wait states; None for memory without.
    entry : int

    Raises
    ------
    UsageError
        There is no exact model of the core, or its numbers are not those of the model.
    """

    def __init__(
        self,
        hart: Hart,
        timing: CoreTiming,
        instructions: Sequence[tuple[Instruction, str]],
        platform: Platform | None,
        entry: int,
    ) -> None:
        if not timing.model:
            raise UsageError(f"--timing exact: core {timing.name} has no exact model; choose another core, or table")
        regions, outside = _waits(platform, timing.name)
        try:
            self.pipeline = Pipeline(timing.model, timing.pipeline, regions, outside, entry)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{timing.path or timing.name}: [pipeline]: {error}") from None
        self._hart = hart
        self._instructions = instructions
        self._described: dict[tuple[int, int, int], bytes] = {}
        longest = max(*outside, *(wait for region in regions for wait in region[2:]))
        hart.use_pipeline(self.pipeline.shown, BUSY_CYCLES + BUS_CYCLES * (1 + longest))

    def state(self) -> dict[str, Any]:
        """For snapshots, behind the hart's own."""
        lost = [[pc, *cycles] for pc, cycles in sorted(self._hart.lost().items())]
        return {"hart": self._hart.cache_state(), "lost": lost, **self.pipeline.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`, behind the hart's own."""
        self.pipeline.restore(state)
        self._hart.cache_restore(state["hart"])
        self._hart.restore_lost(state["lost"])

    def lost(self) -> dict[int, dict[str, int]]:
        """By address of an instruction: cycles beyond its first, by what they were lost to."""
        return {
            pc: {name: n for name, n in zip(CAUSE_NAMES, cycles, strict=True) if n}
            for pc, cycles in self._hart.lost().items()
        }

    def operation(self, number: int, word: int, following: int) -> bytes:
        """What the pipeline sees of an instruction word (`rvsim.timing.operation.describe`)."""
        key = number, word, following
        found = self._described.get(key)
        if found is None:
            found = ILLEGAL
            if number < len(self._instructions):
                found = describe(*self._instructions[number], word, following)
            self._described[key] = found
        return found


def _waits(platform: Platform | None, core: str) -> tuple[list[tuple[int, int, int, int, int]], tuple[int, int, int]]:
    """Of each region first and last address and wait states of fetches, loads and stores; and those of all else."""
    if platform is None:
        return [], (0, 0, 0)
    if len(platform.regions) > MOST_REGIONS:
        raise UsageError(
            f"platform {platform.name}: expected at most {MOST_REGIONS} regions for exact cycles, found "
            f"{len(platform.regions)}; join some, or choose --timing table"
        )
    regions = [(r.base, r.end - 1, *_three(platform.wait(r.base, core))) for r in platform.regions]
    outside = _three(platform.device_wait + platform.wait_states.get(core, type(platform.device_wait)()))
    longest = max(*outside, *(wait for region in regions for wait in region[2:]))
    if longest > MOST_WAIT:
        raise UsageError(
            f"platform {platform.name}: wait states of a region and of core {core} add up to {longest}; expected at "
            f"most {MOST_WAIT}"
        )
    return regions, outside


def _three(wait: WaitStates) -> tuple[int, int, int]:
    return wait.fetch, wait.load, wait.store
